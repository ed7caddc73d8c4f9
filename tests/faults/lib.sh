# What the scenarios of the fault sweeps share. Each is a script beside this file, called as `sh NAME.sh STEP`:
# `setup` makes $ROOT, `submit` publishes orders and lists their ids in $SUBMITTED, `drive` is what the fault
# strikes, `recover` is the start after it. Every command of an order writes START and END to $EFFECTS.
# Given: JOBYARD (the binary), ROOT, EFFECTS, SUBMITTED, TRIAL_TAG (marks every process of a trial), WORK.
# It does not judge: what must hold afterwards is tests/faults/judge.rs.
set -eu

jy() { "$JOBYARD" --root "$ROOT" "$@"; }

# A root: `root` without git, `root git` in a repository with one commit.
root() {
    if [ "${1:-}" = git ]; then
        export GIT_CONFIG_GLOBAL=/dev/null
        git init -q -b main "$ROOT"
        git -C "$ROOT" config user.name t
        git -C "$ROOT" config user.email t@example.org
        git -C "$ROOT" config maintenance.auto false
        for name in a b c; do echo "$name" >"$ROOT/$name.txt"; done
        git -C "$ROOT" add .
        git -C "$ROOT" commit -q -m one
    fi
    jy init >/dev/null 2>&1
    cat - "$ROOT/_ctx/jobyard.toml" >"$EFFECTS.toml" <<CONF
settle = "0s"
grace = "1s"
slots = 2
CONF
    cat "$EFFECTS.toml" >"$ROOT/_ctx/jobyard.toml"
    printf '\n[git]\ntimeout = "5s"\n\n[env]\npass = ["TRIAL_TAG", "EFFECTS", "JOBYARD", "GIT_CONFIG_GLOBAL"]\n' >>"$ROOT/_ctx/jobyard.toml"
    : >"$EFFECTS"
    : >"$SUBMITTED"
}

# An order whose command is $2, with the lines of standard input as more keys.
order() {
    {
        printf 'id: %s\ntitle: a trial # %s\n' "$1" "kept"
        printf "run: 'test -n \"\$TRIAL_TAG\" && echo START \$JOBYARD_ID \$JOBYARD_ATTEMPT >> \"\$EFFECTS\"; "
        printf "%s && echo END \$JOBYARD_ID \$JOBYARD_ATTEMPT >> \"\$EFFECTS\"'\n" "$2"
        cat
    } >"$EFFECTS.order"
    jy submit - <"$EFFECTS.order" >/dev/null 2>&1
    echo "$1" >>"$SUBMITTED"
}

# A manual order, with the lines of standard input as more keys.
manual() {
    { printf 'id: %s\ntitle: by hand\n' "$1"; cat; } | jy submit - >/dev/null 2>&1
    echo "$1" >>"$SUBMITTED"
}

# What a person's work looks like to the judge. No word twice, whatever is tried again.
did() { grep -qxF "$*" "$EFFECTS" || echo "$*" >>"$EFFECTS"; }

# A person's work in the worktree of S-1, committed.
work() {
    export GIT_CONFIG_GLOBAL=/dev/null
    did START S-1 1
    echo done >"$ROOT/.worktrees/S-1/work.txt"
    git -C "$ROOT/.worktrees/S-1" add work.txt
    git -C "$ROOT/.worktrees/S-1" commit -q -m work
    did END S-1 1
}

# A request, as it is filed by hand: hidden first, then under its name.
request() {
    echo "$2" >"$ROOT/_ctx/jobs/control/.new"
    sync "$ROOT/_ctx/jobs/control/.new"
    mv "$ROOT/_ctx/jobs/control/.new" "$ROOT/_ctx/jobs/control/$1"
    sync "$ROOT/_ctx/jobs/control"
}

drain() { exec "$JOBYARD" daemon --root "$ROOT" --drain; }
drive() { drain; }
recover() { drain; }
submit() { :; }

# Runs the step that was asked for; to be called last.
scenario() { "$1"; }
