//! The ledger line: what happened, once, in order.
//!
//! Invariants: keys stand in the order `seq, time, id, event, attempt, …, prev, hash`; `hash` is the
//! SHA-256 of the line's bytes before `,"hash":`; `prev` is the hash of the line before, across segments.

use super::attempt::{Attempt, Claim, CommandEnd, CommandKind, Gate, Holder};
use super::time::Moment;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// `prev` of the first line of a ledger.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// First line of each segment: the attempts that are open, whole.
    Checkpoint {
        /// Every attempt without a `settled` or `released` line.
        open: Vec<Attempt>,
        /// Every order that was last seen pending.
        #[serde(default)]
        pending: Vec<String>,
        /// Every order that a request holds, with the reason.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        held: BTreeMap<String, String>,
        /// Settled tickets that were there before the ledger are still being adopted.
        #[serde(default, skip_serializing_if = "is_false")]
        adopting: bool,
    },
    /// From here on a settled ticket needs a settlement of ours.
    AdoptionOver,
    /// A valid ticket was first seen in `pending/`.
    Intake,
    /// A pending ticket was deleted by a person.
    Withdrawn,
    /// A settled ticket was there before the ledger was, or another daemon goes on with an attempt.
    Adopted {
        /// `done` or `failed`; `running` for an attempt.
        state: String,
    },
    /// A claim begins: everything sealed, and what existed before. Nothing runs by this line.
    Claiming(Box<Claim>),
    /// A claim by a person was completed: the ticket is in `running/`.
    Claimed,
    /// A claim was undone; the attempt is over and ran nothing.
    Released {
        /// Why.
        reason: String,
    },
    /// A command is about to start; synced before it does.
    Started {
        /// Number of the command in the attempt, from 1.
        number: u32,
        /// Of `run`, or a check.
        kind: CommandKind,
        /// Name for people and log file.
        name: String,
        /// Boot in which it starts.
        boot: String,
        /// For a check: where HEAD was, when it was not where the gate saw it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        strayed: Option<String>,
    },
    /// The end of a command.
    Ended {
        /// Number of the command.
        number: u32,
        /// How.
        end: CommandEnd,
    },
    /// The gate looked at the worktree before the checks.
    Gate(Box<Gate>),
    /// What the gate decided.
    Verdict {
        /// `pass`, `unverified`, `fail`, `skipped`.
        result: String,
        /// Machine word.
        reason: String,
        /// Branch tip, where there is one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        commit: Option<String>,
        /// The commit the checks ran on, for PASS.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        verified_at: Option<String>,
    },
    /// The attempt is over; the ticket goes to `state`. From here everything rolls forward.
    Settled {
        /// `done`, `failed`, or `pending` for a retry or requeue.
        state: String,
        /// `pass`, `unverified`, `skipped`, `fail`, `cancelled`, …
        result: String,
        /// Machine word or sentence.
        reason: String,
        /// For `pending`: not started again earlier.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        retry_at: Option<String>,
        /// The request that it carries out, of an order that never ran.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        request: String,
    },
    /// A request was accepted into an attempt and is being carried out.
    Request {
        /// `finish`, `cancel`, `requeue`.
        verb: String,
        /// Its 16 hexadecimal digits, or inode and change time of a file without; empty for a move by hand.
        request: String,
        /// Who asked.
        by: Holder,
        /// What was asked besides the verb.
        #[serde(flatten)]
        asked: super::attempt::Options,
    },
    /// The answer to a request.
    Answer {
        /// The verb.
        verb: String,
        /// Its 16 hexadecimal digits, or inode and change time of a file without; empty for a move by hand.
        request: String,
        /// Exit code of the verb.
        code: u8,
        /// One sentence.
        text: String,
    },
    /// A ticket moved by hand was put back.
    PutBack {
        /// Where it was found.
        from: String,
        /// Where it belongs.
        to: String,
        /// Why.
        reason: String,
    },
    /// Something stood where a worktree belongs; nothing of it is lost.
    MovedAside {
        /// Where it stood, relative to the root.
        from: String,
        /// Where it is now.
        to: String,
    },
    /// A settled order was made pending again by a person.
    Requeued {
        /// Why, as given.
        reason: String,
        /// The request that it carries out; none for a move by hand.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        request: String,
    },
    /// A pending order is held.
    Held {
        /// Why, as given.
        reason: String,
        /// The request that it carries out; none when the daemon holds it.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        request: String,
    },
    /// No longer held.
    Unheld {
        /// The request that it carries out.
        #[serde(skip_serializing_if = "String::is_empty", default)]
        request: String,
    },
    /// The epic's status in the backlog was changed.
    Epic {
        /// Which.
        epic: String,
        /// New status.
        status: String,
    },
}

fn is_false(b: &bool) -> bool {
    !b
}

/// One line of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// From 1, without gaps.
    pub seq: u64,
    /// When.
    pub time: Moment,
    /// The order, unless the line concerns the whole root.
    pub id: Option<String>,
    /// The attempt, where there is one.
    pub attempt: Option<u32>,
    /// What.
    pub event: Event,
}

/// A line with its place in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The line.
    pub line: Line,
    /// Hash of the line before.
    pub prev: String,
    /// Hash of this line.
    pub hash: String,
}

impl Line {
    /// The text of the line without its newline, and its hash.
    pub fn seal(&self, prev: &str) -> (String, String) {
        let mut text = format!("{{\"seq\":{},\"time\":\"{}\"", self.seq, self.time.rfc3339());
        let detail = match serde_json::to_value(&self.event) {
            Ok(Value::Object(map)) => map,
            _ => Map::new(),
        };
        if let Some(id) = &self.id {
            push(&mut text, "id", &Value::String(id.clone()));
        }
        push(&mut text, "event", detail.get("event").unwrap_or(&Value::Null));
        if let Some(attempt) = self.attempt {
            push(&mut text, "attempt", &Value::from(attempt));
        }
        for (key, value) in detail.iter().filter(|(k, _)| *k != "event") {
            push(&mut text, key, value);
        }
        push(&mut text, "prev", &Value::String(prev.to_owned()));
        let hash = sha256_hex(text.as_bytes());
        push(&mut text, "hash", &Value::String(hash.clone()));
        text.push('}');
        (text, hash)
    }
}

fn push(text: &mut String, key: &str, value: &Value) {
    text.push_str(",\"");
    text.push_str(key);
    text.push_str("\":");
    text.push_str(&value.to_string());
}

/// Lower-case hexadecimal SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha256::digest(bytes);
    let mut text = String::with_capacity(64);
    for byte in digest {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

impl Link {
    /// Reads a line (without newline) and checks its own hash. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let cut = text.rfind(",\"hash\":\"").ok_or("no hash")?;
        let mut map: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
        let hash = take_text(&mut map, "hash")?;
        if sha256_hex(&text.as_bytes()[..cut]) != hash {
            return Err("its bytes do not match its hash".to_owned());
        }
        if text[cut..] != format!(",\"hash\":\"{hash}\"}}") {
            return Err("it goes on after its hash".to_owned());
        }
        let prev = take_text(&mut map, "prev")?;
        let seq = map.remove("seq").and_then(|v| v.as_u64()).ok_or("no seq")?;
        let time = Moment::parse(&take_text(&mut map, "time")?).ok_or("no time")?;
        let id = take_text(&mut map, "id").ok();
        let attempt = map.remove("attempt").and_then(|v| v.as_u64());
        let event = serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())?;
        let attempt = attempt.and_then(|n| u32::try_from(n).ok());
        Ok(Self { line: Line { seq, time, id, attempt, event }, prev, hash })
    }
}

fn take_text(map: &mut Map<String, Value>, key: &str) -> Result<String, String> {
    match map.remove(key) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!("no {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_believed_that_the_hash_does_not_cover() {
        let line = Line {
            seq: 1,
            time: Moment(0),
            id: Some("WO-1".to_owned()),
            attempt: None,
            event: Event::Intake,
        };
        let (text, hash) = line.seal(GENESIS);
        let link = Link { line, prev: GENESIS.to_owned(), hash };
        assert_eq!(Link::parse(&text), Ok(link));
        let more = text.replace("\"}", "\",\"event\":\"withdrawn\"}");
        for changed in [text.replace("WO-1", "WO-2"), more, format!("{text} ")] {
            assert!(Link::parse(&changed).is_err(), "{changed}");
        }
    }
}
