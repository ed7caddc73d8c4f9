# Three orders, the third after both others, the second after the first.
. "${0%/*}/lib.sh"
setup() { root; }
submit() {
    order S-3 : <<'KEYS'
workspace: none
dependencies: [S-1, S-2]
KEYS
    order S-2 : <<'KEYS'
workspace: none
dependencies: [S-1]
KEYS
    order S-1 "${WORK:-:}" <<'KEYS'
workspace: none
KEYS
}
scenario "$1"
