# An order with a worktree, a commit and a check; git's own calls are sites too.
. "${0%/*}/lib.sh"
setup() { root git; }
submit() { order S-1 'echo done > work.txt && git add work.txt && git commit -q -m work' <<'KEYS'
verify:
  commands: [test -e work.txt]
retry: {max: 3, backoff: 0s, on: [lost]}
KEYS
}
drive() { export GIT_CONFIG_GLOBAL=/dev/null; drain; }
recover() { export GIT_CONFIG_GLOBAL=/dev/null; drain; }
scenario "$1"
