# The last order of an epic: its settlement changes the backlog, comments kept.
. "${0%/*}/lib.sh"
setup() {
    root
    mkdir -p "$ROOT/_ctx/backlog"
    cat >"$ROOT/_ctx/backlog/backlog.yaml" <<'BACKLOG'
# people's words
epics:
  - id: E-1 # the only one
    title: An epic
    status: in_progress
    wo_queue: [S-1]
BACKLOG
}
submit() { order S-1 "${WORK:-:}" <<'KEYS'
workspace: none
epic_id: E-1
KEYS
}
scenario "$1"
