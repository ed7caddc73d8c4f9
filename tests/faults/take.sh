# A person takes an order that asks for a worktree, with no daemon; it is finished afterwards.
. "${0%/*}/lib.sh"
setup() { root git; }
submit() { manual S-1 <<'KEYS'
verify:
  commands: [test -e work.txt]
KEYS
}
drive() { export GIT_CONFIG_GLOBAL=/dev/null; exec "$JOBYARD" --root "$ROOT" take S-1 --wait 10; }
recover() {
    export GIT_CONFIG_GLOBAL=/dev/null
    # Held: the take that was struck was granted all the same, to whoever asked.
    jy take S-1 --wait 10 || [ $? = 5 ]
    work
    jy finish S-1 --wait 10
    drain
}
scenario "$1"
