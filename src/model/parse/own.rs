//! The keys under `x_jobyard`, which the daemon writes.
//!
//! Invariant: what `edit::own_changes` writes is read back as the same [`OwnKeys`].

use super::keys;
use super::reader::{Reader, digits};
use crate::model::form::names;
use crate::model::order::{OwnKeys, Stamp, State};
use crate::model::strict::Ix;
use crate::model::time::Moment;

/// Names of the keys, in the order in which they are written.
pub(crate) const NAMES: [&str; keys::OWN.len()] = names(&keys::OWN);

/// Parts of the settlement stamp; only all of them together are one.
#[derive(Default)]
struct Settled {
    id: Option<String>,
    state: Option<State>,
    attempt: Option<u32>,
    seq: Option<u64>,
    hash: Option<String>,
}

/// Reads the map; unknown keys in it are kept and not read.
pub(super) fn read(reader: &mut Reader<'_>, ix: Ix) -> OwnKeys {
    let mut own = OwnKeys::default();
    let mut settled = Settled::default();
    for (key, value) in reader.entries(ix, "x_jobyard", "a map that jobyard wrote") {
        let value = *value;
        match reader.key(*key) {
            "attempt" => own.attempt = reader.count(value, "x_jobyard.attempt").unwrap_or(0),
            "retries" => own.retries = reader.count(value, "x_jobyard.retries").unwrap_or(0),
            "verify_fails" => {
                own.verify_fails = reader.count(value, "x_jobyard.verify_fails").unwrap_or(0);
            }
            "retry_at" => own.retry_at = moment(reader, value),
            "reason" => own.reason = reader.text(value, "x_jobyard.reason"),
            "hold" => own.hold = reader.text(value, "x_jobyard.hold"),
            "settled_id" => settled.id = reader.text(value, "x_jobyard.settled_id"),
            "settled_state" => settled.state = state(reader, value),
            "settled_attempt" => {
                settled.attempt = reader.count(value, "x_jobyard.settled_attempt");
            }
            "settled_seq" => settled.seq = reader.tree.text(value).and_then(digits),
            "settled_hash" => settled.hash = reader.text(value, "x_jobyard.settled_hash"),
            _ => reader.unknown_key(*key, "x_jobyard.", &NAMES),
        }
    }
    own.settled = match (settled.state, settled.attempt, settled.seq, settled.hash) {
        (Some(state), Some(attempt), Some(seq), Some(hash)) => {
            Some(Stamp { id: settled.id.unwrap_or_default(), state, attempt, seq, hash })
        }
        _ => None,
    };
    own
}

fn moment(reader: &mut Reader<'_>, ix: Ix) -> Option<Moment> {
    let text = reader.text(ix, "x_jobyard.retry_at")?;
    let moment = Moment::parse(&text);
    if moment.is_none() {
        reader.fail_type(ix, "x_jobyard.retry_at", "a time such as 2026-01-31T18:00:00Z");
    }
    moment
}

fn state(reader: &mut Reader<'_>, ix: Ix) -> Option<State> {
    let text = reader.text(ix, "x_jobyard.settled_state")?;
    let state = State::parse(&text).filter(|s| matches!(s, State::Done | State::Failed));
    if state.is_none() {
        reader.fail_word(ix, "x_jobyard.settled_state", &text, &["done", "failed"]);
    }
    state
}
