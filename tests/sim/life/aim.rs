//! Somebody acts at a telling moment: while a ticket is read, stamped or moved, a lease made or ended, a
//! settlement decided and not carried out, a command handed over.
//!
//! Invariant: nothing happens that could not happen between any two calls; the aim only makes likely
//! what chance alone would bring together once in many thousand lives.

use super::people::{DIRS, People};
use super::setup::Class;
use crate::rng::Rng;
use crate::world::{Call, Machine, When};
use std::path::Path;

/// The moment waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Aim {
    /// A ticket is about to be read.
    Reading,
    /// The ledger is durable, and what stands at its end is not carried out: a settlement into this
    /// directory, one without an attempt (`unrun`), or a requeue (`requeued`).
    Decided(&'static str),
    /// A ticket is about to be stamped.
    Stamping,
    /// It has been.
    Stamped,
    /// A ticket was moved into this directory.
    Moved(&'static str),
    /// A lease was made.
    Locked,
    /// A lease was ended.
    Unlocked,
    /// The executor was told something.
    Told,
}

/// What is waited for, and how often in proportion.
const WEIGHTS: [(Aim, u64); 15] = [
    (Aim::Reading, 1),
    (Aim::Decided("pending"), 5),
    (Aim::Decided("done"), 8),
    (Aim::Decided("failed"), 2),
    (Aim::Decided("unrun"), 6),
    (Aim::Decided("requeued"), 2),
    (Aim::Stamping, 1),
    (Aim::Stamped, 1),
    (Aim::Moved("pending"), 1),
    (Aim::Moved("running"), 5),
    (Aim::Moved("done"), 10),
    (Aim::Moved("failed"), 3),
    (Aim::Locked, 6),
    (Aim::Unlocked, 1),
    (Aim::Told, 2),
];

impl Aim {
    /// One of them.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut at = rng.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        let mut drawn = WEIGHTS.into_iter().filter(|(_, weight)| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        drawn.next().map_or(Self::Stamping, |(aim, _)| aim)
    }

    /// Is this the moment? Then the name of the order that it is about; empty for none in particular.
    pub(crate) fn meets(self, m: &Machine, call: Call<'_>) -> Option<String> {
        let (when, act) = match self {
            Self::Reading => (When::Before, "open"),
            Self::Decided(_) => (When::After, "sync"),
            Self::Stamping => (When::Before, "exchange"),
            Self::Stamped => (When::After, "exchange"),
            Self::Moved(_) => (When::After, "rename"),
            Self::Locked => (When::After, "link"),
            Self::Unlocked => (When::After, "unlink"),
            Self::Told => (When::After, "send"),
        };
        if call.when != when || call.act != act {
            return None;
        }
        match self {
            Self::Told => Some(String::new()),
            Self::Decided(what) => decided(m, call.path, what),
            Self::Locked | Self::Unlocked => named(call.path, ".lock"),
            Self::Moved(dir) if call.path.parent()?.file_name()? != dir => None,
            _ => named(call.path, ".yaml"),
        }
    }

    /// How often in 20 times it kills the actor, and how often it cuts the power.
    pub(crate) fn blows(self) -> (u64, u64) {
        match self {
            Self::Stamped | Self::Decided("unrun") => (11, 2),
            Self::Locked | Self::Moved("running") => (3, 11),
            _ => (5, 2),
        }
    }

    /// Where people often put the ticket then: ahead of jobyard, or where they think that it belongs.
    fn suggests(self) -> Option<&'static str> {
        match self {
            Self::Decided("done") => Some("done"),
            Self::Decided("pending") => Some("pending"),
            Self::Moved("done") => Some("failed"),
            _ => None,
        }
    }

    /// What the same person often waits for next: to save while the ticket is read at its new place, to
    /// see the stamp of what was decided.
    pub(crate) fn then(self) -> Option<Self> {
        match self {
            Self::Moved("done" | "failed") => Some(Self::Reading),
            Self::Decided("requeued") => Some(Self::Stamped),
            _ => None,
        }
    }
}

/// The name of an order, from the path of its ticket or lock file.
pub(super) fn named(path: &Path, end: &str) -> Option<String> {
    let name = path.strip_prefix("_ctx/jobs").ok()?.file_name()?.to_str()?;
    name.strip_suffix(end).filter(|id| !id.starts_with('.')).map(str::to_owned)
}

/// The order that the last lines of the ledger decide like this.
fn decided(m: &Machine, path: &Path, what: &str) -> Option<String> {
    let ledger = m.disk.peek(path).filter(|_| path.starts_with("_ctx/audit"))?;
    let tail = String::from_utf8_lossy(&ledger[ledger.len().saturating_sub(1500)..]);
    let tells = |line: &&str| {
        let says = |key: &str, value: &str| line.contains(&format!("\"{key}\":\"{value}\""));
        match what {
            "requeued" => says("event", "requeued"),
            "unrun" => says("event", "settled") && !line.contains("\"attempt\""),
            state => says("event", "settled") && says("state", state),
        }
    };
    let line = tail.lines().rev().take(3).find(tells)?;
    Some(line.split_once("\"id\":\"")?.1.split('"').next()?.to_owned())
}

impl People {
    /// A person acts on the ticket that an actor is just at work on.
    pub(super) fn act_at(&mut self, m: &mut Machine, aim: Aim, id: &str) {
        let at = self.orders.iter().position(|o| o.spec.id == id);
        let Some(at) = at else { return self.act(m) };
        let edits = self.temper.has(Class::Edit);
        let deletes = self.temper.has(Class::Delete) && self.rng.chance(45);
        match aim {
            Aim::Reading if edits => self.edit(m, at, true),
            Aim::Stamping if edits && self.rng.chance(40) => self.edit(m, at, false),
            Aim::Locked if deletes => self.delete(m, at),
            Aim::Decided(_) if deletes && self.rng.chance(40) => self.delete(m, at),
            _ if self.temper.has(Class::Move) && self.rng.chance(80) => {
                let wanted = aim.suggests().filter(|_| self.rng.chance(65));
                self.move_ticket(m, at, wanted);
            }
            _ => self.act_on(m, at),
        }
    }

    /// One of the orders that lie in a directory.
    pub(super) fn one_in(&mut self, m: &Machine, dir: &str) -> Option<usize> {
        let lies = |id: &str| Self::dir_of(m, id) == Some(dir);
        let there: Vec<usize> =
            (0..self.orders.len()).filter(|at| lies(&self.orders[*at].spec.id)).collect();
        self.rng.pick(&there).copied()
    }

    /// `cp` where `mv` was meant: two files for one id.
    pub(super) fn copy(&mut self, m: &mut Machine, at: usize) {
        let id = self.orders[at].spec.id.clone();
        let Some(from) = Self::dir_of(m, &id) else { return };
        let Some(to) = self.rng.pick(&DIRS).copied().filter(|to| *to != from) else { return };
        let text = m.hand(super::people::OWNER).cat(&super::ticket(from, &id));
        self.orders[at].meddled = true;
        let path = super::ticket(to, &id);
        if text.is_some_and(|text| m.hand(super::people::OWNER).save(&path, &text).is_ok()) {
            self.tell(&id, jobyard::observe::Arrival::Renamed);
        }
    }
}
