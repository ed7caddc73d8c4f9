# A failed order that a person asks for again.
. "${0%/*}/lib.sh"
setup() { root; }
submit() {
    order S-1 'test $JOBYARD_ATTEMPT -ge 2' <<'KEYS'
workspace: none
KEYS
    jy daemon --drain >/dev/null 2>&1
    request S-1.requeue again
}
scenario "$1"
