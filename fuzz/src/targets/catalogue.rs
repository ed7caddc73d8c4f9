//! The catalogue of Definitions of Done.

use super::promises::refusal;
use super::{MARKS, Watch, order, owned};
use jobyard::model::dod::{CHECK, ENTRY, parse_dod};
use std::collections::BTreeSet;

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let entries = match watch.call("parse_dod", || parse_dod(input)) {
        Ok(entries) => entries,
        Err(defects) => return refusal(input, &defects),
    };
    let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids.len(), entries.len(), "an entry stands twice");
    for entry in &entries {
        assert!(!entry.id.trim().is_empty(), "an entry without an id");
        for check in &entry.required_checks {
            let filled = check.commands.iter().any(|command| !command.trim().is_empty());
            assert!(filled, "a check that can never be met: {check:?}");
        }
    }
}

pub(super) fn words() -> Vec<String> {
    let mut words = owned(&["dod:\n- id: D\n", "\n- id: E", "\n  - ", "'"]);
    words.extend(owned(&MARKS));
    order::of_keys(&ENTRY, &mut words);
    order::of_keys(&CHECK, &mut words);
    words
}
