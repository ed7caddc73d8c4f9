//! The calls whose output is kept, in the order in which they are made: what only looks, then what changes
//! the tree. A new verb goes to the end. Words are divided by blanks; `NAME=VALUE` before the verb is a
//! variable, `@text` the same without its quotes: a word with `_` for blanks.

/// Every call, without `jobyard`.
pub(super) const CALLS: &[&str] = &[
    "list",
    "COLUMNS=80 list",
    "COLUMNS=40 list",
    "list --state failed",
    "status",
    "COLUMNS=40 status",
    "show WO-01",
    "show WO-05",
    "show WO-07",
    "show WO-02 --field result",
    "show WO-99",
    "why WO-01",
    "why WO-02",
    "why WO-03",
    "why WO-05",
    "why WO-07",
    "why WO-10",
    "impact WO-07",
    "impact WO-02",
    "deps",
    "COLUMNS=40 deps",
    "deps --graph",
    "deps --dot",
    "deps --list-blocking",
    "stats",
    "wait WO-01",
    "wait WO-01 WO-02",
    "wait WO-09 --timeout 0",
    "logs WO-04",
    "logs WO-04 --command 2",
    "logs WO-09",
    "lint",
    "lint draft.yaml",
    "reconcile",
    "doctor",
    "doctor stale-lease",
    "gc",
    "fmt --check draft.yaml",
    "audit verify",
    "audit show WO-04",
    "config",
    "config groups.bench.slots",
    "config grcae",
    "schema",
    "schema findings",
    "completions bash",
    "man heartbeat",
    "demo --dry-run",
    "init --dry-run --root fresh",
    "init --root fresh",
    "daemon --dry-run",
    "submit draft.yaml --dry-run",
    "submit draft.yaml",
    "submit draft.yaml",
    "submit bad.yaml",
    "take --list",
    "take --status",
    "take WO-08",
    "take WO-07 --owner agent-8",
    "take draft --owner agent-8 --dry-run",
    "take draft --owner agent-8",
    "heartbeat WO-07",
    "heartbeat WO-09",
    "hold WO-09 --reason @after_the_release --dry-run",
    "hold WO-09 --reason @after_the_release",
    "hold WO-01",
    "unhold WO-09",
    "requeue WO-04 --dry-run",
    "requeue WO-04",
    "cancel WO-04 --reason @not_wanted_any_more",
    "cancel WO-04",
    "verify WO-01",
    "verify WO-09",
    "verify WO-07",
    "finish WO-07 --dry-run",
    "finish WO-07",
    "finish WO-07",
    "finish draft --skip-verification",
    "finish draft --skip-verification --reason @seen_by_hand",
    "reconcile --apply",
    "daemon --drain",
    "import older",
    "import older --apply",
    "gc --apply --bundle WO-02",
    "fmt draft.yaml",
    "demo demo",
];

/// A word as it is given.
pub(super) fn word(word: &str) -> String {
    match word.strip_prefix('@') {
        Some(text) => text.replace('_', " "),
        None => word.to_owned(),
    }
}

/// The call as somebody would type it.
pub(super) fn typed(call: &str) -> String {
    let (mut before, mut after) = (Vec::new(), vec!["jobyard".to_owned()]);
    for part in call.split_whitespace() {
        match part.strip_prefix('@') {
            Some(_) => after.push(format!("'{}'", word(part))),
            None if after.len() == 1 && part.contains('=') => before.push(part.to_owned()),
            None => after.push(part.to_owned()),
        }
    }
    before.extend(after);
    before.join(" ")
}
