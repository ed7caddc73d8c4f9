# A person finishes an order that was taken, with no daemon.
. "${0%/*}/lib.sh"
setup() { root git; }
submit() {
    manual S-1 <<'KEYS'
verify:
  commands: [test -e work.txt]
KEYS
    jy take S-1 >/dev/null 2>&1
    work
}
drive() { export GIT_CONFIG_GLOBAL=/dev/null; exec "$JOBYARD" --root "$ROOT" finish S-1 --wait 10; }
recover() {
    export GIT_CONFIG_GLOBAL=/dev/null
    # What was decided is carried out first; what was not, the person asks for again.
    jy daemon --drain
    [ -e "$ROOT/_ctx/jobs/done/S-1.yaml" ] || jy finish S-1 --wait 10
    drain
}
scenario "$1"
