//! Answers to requests: each is given once in substance, and stays true.
//!
//! Invariants: an answer counts once whoever asked has read its line and synced it; a power cut may take
//! lines that nobody has read.

use super::book::Line;
use super::story::{Stories, Where};
use crate::life::People;
use std::collections::BTreeMap;

/// What was answered.
#[derive(Clone, Debug)]
struct Answer {
    id: String,
    verb: String,
    attempt: u64,
    code: u64,
}

/// All answers that could be read, by the digits of their requests.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    known: BTreeMap<String, Answer>,
    /// Read, but not synced.
    fresh: Vec<String>,
}

impl Answers {
    /// Some were read since the last [`Answers::told`].
    pub(super) fn waiting(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Whoever asked has synced what was read, and counts on it; or could not, and does not.
    pub(super) fn told(&mut self, synced: bool) {
        for hex in std::mem::take(&mut self.fresh) {
            if !synced {
                self.known.remove(&hex);
            }
        }
    }

    /// An answer can be read.
    pub(super) fn heard(
        &mut self,
        line: &Line,
        stories: &Stories,
        people: &People,
    ) -> Option<String> {
        let hex = line.value["request"].as_str().unwrap_or_default();
        let ask = people.asks.iter().find(|a| a.hex == hex && !hex.is_empty())?;
        let answer = Answer {
            id: line.id.clone(),
            verb: line.value["verb"].as_str().unwrap_or_default().to_owned(),
            attempt: line.attempt,
            code: line.value["code"].as_u64().unwrap_or(99),
        };
        if answer.id != ask.id {
            return Some(format!("the answer to {} is given to {}", ask.file, answer.id));
        }
        if ask.withdrawn && answer.verb == "take" && answer.code == 0 {
            return Some(format!("{} was withdrawn, and granted", ask.file));
        }
        let whole = !ask.nonsense && !ask.perhaps_lost && (ask.reason || !ask.skip);
        if answer.code == 2 && whole {
            let text = &line.value["text"];
            return Some(format!("{} is refused, and asks nothing wrong: {text}", ask.file));
        }
        if let Some(before) = self.known.get(hex).filter(|b| b.code != answer.code) {
            let (one, two) = (before.code, answer.code);
            return Some(format!("{} is answered with {one}, then with {two}", ask.file));
        }
        let untrue = untrue(&answer, stories);
        if self.known.insert(hex.to_owned(), answer).is_none() {
            self.fresh.push(hex.to_owned());
        }
        untrue.map(|text| format!("{}: {text}", ask.file))
    }

    /// After a power cut: what was promised by an attempt's lines must still be told by them.
    pub(super) fn still_true(&self, stories: &Stories) -> Vec<String> {
        let check = |(hex, answer): (&String, &Answer)| {
            let text = untrue(answer, stories)?;
            Some(format!("after a power cut, request {hex} of {}: {text}", answer.id))
        };
        self.known.iter().filter_map(check).collect()
    }

    /// The code that a request was answered with.
    pub(super) fn code(&self, hex: &str) -> Option<u64> {
        self.known.get(hex).map(|a| a.code)
    }
}

/// What an answer says that its attempt does not bear out.
fn untrue(answer: &Answer, stories: &Stories) -> Option<String> {
    let story = stories.get(&answer.id);
    let tale = story.and_then(|s| s.attempts.get(&answer.attempt));
    let end = tale.and_then(|t| t.settled.as_ref());
    match (answer.verb.as_str(), answer.code) {
        ("take", 0) => {
            let held = tale.is_some_and(|t| t.claimed && !t.released);
            (!held).then(|| "granted, but not held".to_owned())
        }
        ("finish", 0) => match end {
            Some((Where::Done, _)) => None,
            end => Some(format!("finished, but its end is {end:?}")),
        },
        ("finish", 6) => match end {
            Some((Where::Failed, result)) if result == "fail" => None,
            end => Some(format!("checks failed, but its end is {end:?}")),
        },
        ("cancel", 0) if answer.attempt > 0 => match end {
            Some((Where::Failed, result)) if result == "cancelled" => None,
            end => Some(format!("cancelled, but its end is {end:?}")),
        },
        _ => None,
    }
}
