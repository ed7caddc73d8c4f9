//! The judge: what must hold at every moment, after every power cut, and when all is quiet.
//!
//! Invariants: decides from the disk, the ledger, what people did and what really ran; uses neither
//! the engine's index nor its planner. Each sentence it returns is a broken invariant.

mod answers;
mod book;
mod quiet;
mod story;

use book::Book;
use story::Stories;

use crate::life::{People, Presence, ticket};
use crate::world::{Call, Machine, When};
use answers::Answers;
use std::collections::BTreeMap;
use std::path::Path;
use story::Witness;

/// The judge of one life.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The ledger.
    pub(crate) book: Book,
    /// What it tells.
    pub(crate) stories: Stories,
    answers: Answers,
    runs_seen: usize,
    /// Hooks of settlements that really ran.
    pub(crate) hooks: u64,
    precious: BTreeMap<String, Vec<u8>>,
    /// Policy: an unverified upstream is no success.
    pub(crate) require_checks: bool,
}

/// What a settled ticket says of its settlement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// The directory it was settled into.
    pub(crate) state: String,
    /// The ledger's line.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) hash: String,
}

/// The settlement stamp in a ticket's text.
pub(crate) fn stamp(text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok()?;
    let value = |key: &str| {
        // On a line of its own, or between the braces of a flow mapping.
        let mut entries = text.lines().flat_map(|l| l.split(['{', ',', '}'])).map(str::trim);
        let value = entries.find_map(|e| e.strip_prefix(key));
        value.map(|v| v.trim().trim_matches(['\'', '"']).to_owned())
    };
    let (state, hash) = (value("settled_state:")?, value("settled_hash:")?);
    Some(Stamp { state, seq: value("settled_seq:")?.parse().ok()?, hash })
}

impl Judge {
    /// Looks at everything that must hold at any moment.
    pub(crate) fn look(&mut self, m: &Machine, people: &People) -> Vec<String> {
        let mut broken = self.read_on(m, people);
        broken.extend(self.runs(m));
        for order in &people.orders {
            let id = order.spec.id.as_str();
            let places = People::places(m, id);
            if order.presence == Presence::There && places.is_empty() && !order.meddled {
                broken.push(format!("{id}: its ticket is gone"));
            }
            let one = places.iter().all(|(_, inode)| *inode == places[0].1);
            if !one && !order.meddled {
                broken.push(format!("{id}: two files, in {places:?}"));
            }
            for (dir, _) in places {
                let text = m.disk.peek(Path::new(&ticket(dir, id))).unwrap_or_default();
                // A power cut may tear what people wrote in place.
                let Some(stamp) = stamp(text).filter(|s| s.hash.len() == 64) else { continue };
                if self.book.find(stamp.seq, &stamp.hash).is_none() {
                    broken.push(format!(
                        "{id}: it is stamped with line {}, which is not in the ledger",
                        stamp.seq
                    ));
                }
            }
        }
        broken
    }

    fn read_on(&mut self, m: &Machine, people: &People) -> Vec<String> {
        let known = match self.book.read_on(&m.disk) {
            Ok(known) => known,
            Err(text) => return vec![text],
        };
        let mut broken = Vec::new();
        let by = Witness { people, effects: &m.effects, require_checks: self.require_checks };
        for line in &self.book.lines[known..] {
            if let Err(text) = story::tell(&mut self.stories, line, &by) {
                broken.push(text);
            }
            if line.event == "answer" {
                broken.extend(self.answers.heard(line, &self.stories, people));
            }
        }
        broken
    }

    /// Whoever asked makes sure that an answer stays before they count on it.
    pub(crate) fn tell_askers(&mut self, m: &mut Machine) {
        if self.answers.waiting() {
            self.answers.told(book::sync(&mut m.disk));
        }
    }

    /// What really ran: once, alone, and announced.
    fn runs(&mut self, m: &Machine) -> Vec<String> {
        let mut broken = Vec::new();
        for run in &m.effects.runs[self.runs_seen..] {
            if m.effects.times(&run.key) > 1 {
                broken.push(format!("{:?} ran twice", run.key));
            }
            let settled = self.tells_a_settlement(run);
            self.hooks += u64::from(settled);
            if !settled && run.key.id != ".drained" && !self.announced(run) {
                broken.push(format!("{:?} ran without a `started` line", run.key));
            }
        }
        self.runs_seen = m.effects.runs.len();
        for (first, second) in &m.effects.overlaps {
            broken.push(format!("{second:?} started while {first:?} lived"));
        }
        broken
    }

    /// It is the hook of a settlement that stands in the ledger, for good.
    fn tells_a_settlement(&self, run: &crate::world::Run) -> bool {
        self.book.lines.iter().any(|line| {
            line.seq == u64::from(run.key.number)
                && (line.event == "settled" && line.id == run.key.id)
                && line.value["state"] != "pending"
        })
    }

    fn announced(&self, run: &crate::world::Run) -> bool {
        let attempt = u64::from(run.key.attempt);
        let tale = self.stories.get(&run.key.id).and_then(|s| s.attempts.get(&attempt));
        tale.is_some_and(|t| t.commands.iter().any(|c| c.number == u64::from(run.key.number)))
    }

    /// The power failed: what had run must still be announced, what was answered must still hold.
    pub(crate) fn after_cut(&mut self, m: &Machine, people: &People) -> Vec<String> {
        self.book.reset();
        self.stories.clear();
        self.runs_seen = 0;
        self.answers.told(false);
        let mut broken = self.read_on(m, people);
        self.answers.told(true);
        for text in self.runs(m).into_iter().filter(|t| t.contains("without")) {
            broken.push(format!("after a power cut: {text}"));
        }
        broken.extend(self.answers.still_true(&self.stories));
        broken
    }

    /// Around each raw call of an actor: how lock files are made and ended.
    pub(crate) fn call(&mut self, m: &Machine, call: Call<'_>, people: &People) -> Option<String> {
        let id = lock_of(call.path)?;
        if call.when == When::Before || !call.changes {
            return None;
        }
        let there = m.disk.peek_inode(&call.path.to_string_lossy()).is_some();
        let made = matches!(call.act, "create" | "append" | "rename");
        if made && there {
            return Some(format!("{id}: its lease is made by {}", call.act));
        }
        if call.act == "unlink" && !there && !people.order(id).is_some_and(|o| o.meddled || o.moved)
        {
            let running = m.disk.peek_inode(&ticket("running", id)).is_some();
            let begun = self.stories.get(id).and_then(|s| s.attempts.values().last());
            let held = begun.is_some_and(|t| !t.released && (t.claimed || !t.commands.is_empty()));
            if running && held {
                return Some(format!("{id}: its lease is released while it lies in running/"));
            }
        }
        None
    }

    /// Files that must never be lost, wherever they are moved.
    pub(crate) fn guard(&mut self, name: &str, text: &[u8]) {
        self.precious.insert(name.to_owned(), text.to_vec());
    }
}

fn lock_of(path: &Path) -> Option<&str> {
    let name = path.to_str()?.strip_prefix("_ctx/jobs/running/")?;
    name.strip_suffix(".lock").filter(|id| !id.starts_with('.'))
}
