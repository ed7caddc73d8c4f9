# An order that somebody moves to failed/ while it runs, which asks for its end: its own command does, and then
# goes on for long.
. "${0%/*}/lib.sh"
setup() { root; }
submit() { order S-1 'mv -n "$JOBYARD_ROOT/_ctx/jobs/running/S-1.yaml" "$JOBYARD_ROOT/_ctx/jobs/failed/S-1.yaml"; sleep 60' <<'KEYS'
workspace: none
KEYS
}
scenario "$1"
