//! `verdict.json`, as `verify`, `audit`, `finish` and the scan read it.

use super::{Watch, owned};
use jobyard::model::verdict::{SCHEMA, VerdictFile};

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let read = watch.call("VerdictFile", || serde_json::from_slice::<VerdictFile>(input));
    let file = match read {
        Ok(file) => file,
        Err(error) => {
            let lines = input.split(|b| *b == b'\n').count();
            assert!(error.line() <= lines, "line {} of {lines}", error.line());
            return;
        }
    };
    let text = serde_json::to_string(&file).unwrap_or_default();
    let again = serde_json::from_str::<VerdictFile>(&text).ok();
    assert_eq!(again, Some(file), "written again it reads as another");
}

pub(super) fn words() -> Vec<String> {
    let names = [
        "schema",
        "id",
        "attempt",
        "result",
        "reason",
        "sentences",
        "override",
        "base",
        "commit",
        "verified_at_sha",
        "started",
        "ended",
        "checks",
        "scope_violations",
        "order_digest",
        "ledger_seq",
        "ledger_hash",
        "name",
        "command",
        "cwd",
        "outcome",
        "exit",
        "signal",
        "duration_ms",
        "timed_out",
        "log",
        "sha256",
        "path",
        "rule",
        "text",
    ];
    let mut words: Vec<String> = names.iter().map(|name| format!(",\"{name}\":")).collect();
    words.extend(owned(&[
        "null", "true", "[]", "{}", "\"\"", "\\u0000", "\\ud800", "1e999", "-1", SCHEMA,
    ]));
    words
}
