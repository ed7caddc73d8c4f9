# A start over what a crash left: a running order whose command still lives, and a pending one.
. "${0%/*}/lib.sh"
setup() { root; }
submit() {
    order S-1 'sleep 60' <<'KEYS'
workspace: none
retry: {max: 0}
KEYS
    "$JOBYARD" daemon --root "$ROOT" >/dev/null 2>&1 &
    daemon=$!
    until grep -q 'START S-1' "$EFFECTS"; do sleep 0.01; done
    kill -9 "$daemon"
    # Its executor too; the command is left for the start that follows.
    for dir in /proc/[0-9]*; do
        if tr '\0' ' ' <"$dir/cmdline" 2>/dev/null | grep -q "^$JOBYARD exec .*$ROOT"; then kill -9 "${dir#/proc/}"; fi
    done
    order S-2 : <<'KEYS'
workspace: none
KEYS
}
scenario "$1"
