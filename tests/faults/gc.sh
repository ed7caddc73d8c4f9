# A kept worktree, merged and clean, is taken away; its order is then asked for again and gets a new one. Two
# worktrees that are somebody else's, one with a commit and one with a file that is not committed, stand beside it.
. "${0%/*}/lib.sh"
setup() {
    root git
    for name in one two; do
        git -C "$ROOT" worktree add -q -b "$name" "${ROOT%/*}/$name"
        echo "$name" >"${ROOT%/*}/$name/own.txt"
    done
    git -C "${ROOT%/*}/one" add own.txt
    git -C "${ROOT%/*}/one" commit -q -m own
}
submit() {
    order S-1 'test -e b.txt && echo $JOBYARD_ATTEMPT > work.txt && git add work.txt && git commit -q -m work &&
        test $JOBYARD_ATTEMPT -ge 2' </dev/null
    jy daemon --drain >/dev/null 2>&1
    git -C "$ROOT" merge -q feat/wo-S-1
}
drive() { export GIT_CONFIG_GLOBAL=/dev/null; exec "$JOBYARD" --root "$ROOT" gc --apply --branches; }
recover() {
    export GIT_CONFIG_GLOBAL=/dev/null
    [ "$(cat "${ROOT%/*}/two/own.txt")" = two ]
    git -C "${ROOT%/*}/two" status --porcelain | grep -qxF '?? own.txt'
    [ "$(git -C "$ROOT" show one:own.txt)" = one ]
    [ "$(git -C "$ROOT" show main:work.txt)" = 1 ]
    [ -z "$(git -C "${ROOT%/*}/one" status --porcelain)" ]
    jy requeue S-1 --wait 10 || [ $? = 4 ]
    drain
}
scenario "$1"
