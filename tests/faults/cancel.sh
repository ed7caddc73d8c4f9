# An order that is cancelled while it runs: its own command files the request and then goes on for long.
. "${0%/*}/lib.sh"
setup() { root; }
submit() { order S-1 'echo enough > "$JOBYARD_ROOT/_ctx/jobs/control/S-1.cancel"; sleep 60' <<'KEYS'
workspace: none
KEYS
}
scenario "$1"
