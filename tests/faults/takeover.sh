# A lease of another host is taken over with a reason, and the order finished by its new holder.
. "${0%/*}/lib.sh"
setup() { root git; }
submit() {
    manual S-1 </dev/null
    jy take S-1 >/dev/null 2>&1
    lock=$ROOT/_ctx/jobs/running/S-1.lock
    sed 's/^Hostname: .*/Hostname: elsewhere/' "$lock" >"$lock.new"
    mv "$lock.new" "$lock"
}
drive() { exec "$JOBYARD" --root "$ROOT" take S-1 --takeover --reason moved --wait 10; }
recover() {
    export GIT_CONFIG_GLOBAL=/dev/null
    if ! grep -q 'END S-1' "$EFFECTS"; then
        # Held: a take that was struck was granted all the same, to whoever asked.
        jy take S-1 --takeover --reason moved --wait 10 || [ $? = 5 ]
        did START S-1 2
        did END S-1 2
    fi
    jy finish S-1 --wait 10 || [ $? = 4 ]
    drain
}
scenario "$1"
