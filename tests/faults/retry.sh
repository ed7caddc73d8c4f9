# An order that fails twice and is tried again each time.
. "${0%/*}/lib.sh"
setup() { root; }
submit() { order S-1 "${WORK:-:}; test \$JOBYARD_ATTEMPT -ge 3" <<'KEYS'
workspace: none
retry: {max: 6, backoff: 0s, on: [fail, lost]}
KEYS
}
scenario "$1"
