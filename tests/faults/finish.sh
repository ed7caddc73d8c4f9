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
    # What was decided is carried out first, also that a check could not be run, or a commit not be synced; what
    # was not decided, the person asks for again.
    jy daemon --drain
    [ ! -e "$ROOT/_ctx/jobs/running/S-1.yaml" ] || jy finish S-1 --wait 10
    drain
}
scenario "$1"
