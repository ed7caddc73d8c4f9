# An order whose worktree holds the directories of its scope only; git's own calls are sites too.
. "${0%/*}/lib.sh"
setup() {
    root git
    export GIT_CONFIG_GLOBAL=/dev/null
    mkdir -p "$ROOT/src/deep" "$ROOT/other"
    for name in src/s src/deep/d other/o; do echo "$name" >"$ROOT/$name.txt"; done
    git -C "$ROOT" add src other
    git -C "$ROOT" commit -q -m two
}
submit() { order S-1 'test -e src/deep/d.txt && test -e src/s.txt && test -e a.txt && test ! -e other && echo done > src/deep/work.txt && git add src && git commit -q -m work' <<'KEYS'
checkout: scope
scope: {allow: ['src/deep/**']}
verify:
  commands: [test -e src/deep/work.txt]
retry: {max: 3, backoff: 0s, on: [lost]}
KEYS
}
drive() { export GIT_CONFIG_GLOBAL=/dev/null; drain; }
recover() { export GIT_CONFIG_GLOBAL=/dev/null; drain; }
scenario "$1"
