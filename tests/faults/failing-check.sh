# An order whose command ends well and whose check does not.
. "${0%/*}/lib.sh"
setup() { root; }
submit() { order S-1 "${WORK:-:}" <<'KEYS'
workspace: none
verify:
  commands:
    - test -e does-not-exist
KEYS
}
scenario "$1"
