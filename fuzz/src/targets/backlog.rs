//! The backlog, and the edit of one status.

use super::promises::{comments_stay, line_ends_stay, refusal};
use super::view::spans;
use super::{MARKS, Watch, order, owned};
use jobyard::model::backlog::{BACKLOG, BACKLOG_BYTES_MAX, EPIC, parse_backlog, set_epic_status};
use jobyard::model::defect::{CANNOT_EDIT, INVALID_BACKLOG};
use jobyard::model::strict::Tree;
use jobyard::model::strict::source::Source;
use std::collections::BTreeSet;

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let epics = match watch.call("parse_backlog", || parse_backlog(input)) {
        Ok(epics) => epics,
        Err(defects) => return refusal(input, &defects),
    };
    let ids: BTreeSet<&str> = epics.iter().map(|epic| epic.id.as_str()).collect();
    assert_eq!(ids.len(), epics.len(), "an epic stands twice");
    let Ok(text) = std::str::from_utf8(input) else { panic!("a backlog that is no text") };
    for at in [0, epics.len() / 2, epics.len().saturating_sub(1)] {
        let Some(epic) = epics.get(at) else { break };
        let status = if epic.status.as_deref() == Some("done") { "active" } else { "done" };
        match watch.call("set_epic_status", || set_epic_status(text, &epic.id, status)) {
            Err(defect) => {
                assert_eq!(defect.code, CANNOT_EDIT);
                refusal(input, &[defect]);
            }
            Ok(new) => {
                let mut wanted = epics.clone();
                wanted[at].status = Some(status.to_owned());
                assert_eq!(parse_backlog(new.as_bytes()), Ok(wanted), "more than a status changed");
                assert_eq!(set_epic_status(&new, &epic.id, status).as_ref(), Ok(&new));
                rest_stays(text, &new);
            }
        }
    }
}

fn rest_stays(text: &str, new: &str) {
    let source = Source::decode(text.as_bytes(), BACKLOG_BYTES_MAX, INVALID_BACKLOG);
    let tree = source.ok().and_then(|source| Tree::read(source).ok());
    let texts = tree.map(|tree| spans(&tree)).unwrap_or_default();
    let in_text = |at: usize| texts.iter().any(|(start, end)| (*start..*end).contains(&at));
    comments_stay(text, new, |at| !in_text(at));
    line_ends_stay(text, new);
}

pub(super) fn words() -> Vec<String> {
    let mut words =
        owned(&["epics:\n- id: E-1\n", "\n  - id: E-2", "'", "active", "paused", "done"]);
    words.extend(owned(&MARKS));
    order::of_keys(&BACKLOG, &mut words);
    order::of_keys(&EPIC, &mut words);
    words
}
