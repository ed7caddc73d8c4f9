# One plain order.
. "${0%/*}/lib.sh"
setup() { root; }
submit() { order S-1 "${WORK:-:}" <<'KEYS'
workspace: none
KEYS
}
scenario "$1"
