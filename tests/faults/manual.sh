# A person takes an order and finishes it, with no daemon. Strike the verbs (their processes are the sites).
. "$(dirname "$0")/lib.sh"
setup() { root git; }
submit() { manual S-1 <<'KEYS'
verify:
  commands: [test -e work.txt]
KEYS
}
drive() {
    # A take that was struck leaves the lease with whoever asked, or nothing: taken again, it says which.
    jy take S-1 --wait 10 || [ $? = 5 ]
    did START S-1 1
    echo done >"$ROOT/.worktrees/S-1/work.txt"
    git -C "$ROOT/.worktrees/S-1" add work.txt
    git -C "$ROOT/.worktrees/S-1" diff --cached --quiet || git -C "$ROOT/.worktrees/S-1" commit -q -m work
    did END S-1 1
    jy finish S-1 --wait 10
}
recover() {
    export GIT_CONFIG_GLOBAL=/dev/null
    case $(jy list --json | grep -o '"state": *"[a-z]*"' | head -n 1) in
        *done*) ;;
        *) drive ;;
    esac
    drain
}
scenario "$1"
