//! The facts: what lies where, as far as decisions need it, and what follows from it at once.
//!
//! Invariants: a pure value, updated by what changed; the plan on an updated index equals the plan on
//! a rebuilt one; disposable: everything in it is read back from the disk at every start.

use super::attempt::{Attempt, Holder};
use super::defect::Defect;
use super::hold::Holds;
use super::id::OrderId;
use super::lease::LeaseBody;
use super::order::{Dependency, Priority, Stamp, State, When, Workspace};
use super::protocol::{CommandKey, End};
use super::request::{RequestBody, Verb};
use super::time::{Moment, Tick};
use std::collections::{BTreeMap, BTreeSet};

/// What of a valid ticket decides when it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Brief {
    /// Urgency.
    pub priority: Priority,
    /// When it should be done.
    pub deadline: Option<When>,
    /// Not started earlier.
    pub not_before: Option<When>,
    /// Not retried earlier.
    pub retry_at: Option<Moment>,
    /// Upstream orders.
    pub dependencies: Box<[Dependency]>,
    /// Slot group.
    pub group: Option<Box<str>>,
    /// Where it works.
    pub workspace: Workspace,
    /// Held, and why.
    pub hold: Option<Box<str>>,
    /// The daemon can run it; otherwise a person takes it.
    pub executable: bool,
    /// Last attempt, as the ticket says.
    pub attempt: u32,
    /// Settlement stamp.
    pub stamp: Option<Box<Stamp>>,
    /// The file holds warnings (`lint` shows them).
    pub warned: bool,
}

/// What reading a ticket gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Perhaps still being written; look again at this tick.
    Settling(Tick),
    /// Not a valid order.
    Refused(Box<[Defect]>),
    /// A valid order.
    Order(Box<Brief>),
    /// In `done/` or `failed/` with a settlement stamp for that directory.
    Settled {
        /// The stamp's attempt.
        attempt: u32,
        /// No check vouches for it.
        unverified: bool,
    },
}

/// A ticket file in one of the four directories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Inode.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds.
    pub mtime_ns: i64,
    /// Change time in nanoseconds when it was first seen here: the order of intake.
    pub intake_ns: i64,
    /// Owner.
    pub uid: u32,
    /// A `.why` lies beside it that explained a refusal.
    pub why: bool,
    /// What it says.
    pub reading: Reading,
}

/// A lock file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseFact {
    /// Inode.
    pub inode: u64,
    /// What it says.
    pub body: LeaseBody,
    /// Its process is proven dead, as far as one sign goes: other boot of this host, or no such process.
    pub holder_dead: bool,
    /// How long a manual holder has given no sign of life; looked at only when someone asks.
    pub silent_ms: Option<u64>,
}

/// A request that is whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Name of its file in `control/`.
    pub file: String,
    /// What is asked.
    pub verb: Verb,
    /// What names it in the ledger: its 16 hexadecimal digits, or [`hand_key`] where a person left them out.
    pub key: String,
    /// A person left its digits out.
    pub by_hand: bool,
    /// Owner of the file: who asks.
    pub uid: u32,
    /// The user's name, for people.
    pub user: String,
    /// Inode.
    pub inode: u64,
    /// Change time in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Its content.
    pub body: Result<RequestBody, Defect>,
    /// Already refused; a `.why` lies beside it.
    pub refused: bool,
    /// What the ledger says of it, when a crash came between that and its answer.
    pub carried: Carried,
}

/// How far a request was carried out before a crash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Carried {
    /// No line of the ledger names it.
    #[default]
    No,
    /// A line says what it does; the ticket shows whether that came to its end.
    Begun,
    /// The order was claimed after that.
    Over,
}

/// What names a request without digits: the very file it is. Who writes another one, or puts it there
/// again, asks anew.
pub fn hand_key(inode: u64, ctime_ns: i64) -> String {
    format!("{inode}-{ctime_ns}")
}

/// What the ledger last said of an order without an open attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Seen {
    /// Nothing is known.
    #[default]
    Never,
    /// It was pending.
    Pending,
    /// It was settled into that directory.
    Settled(State),
    /// It was adopted in that directory, but lacks the stamp.
    Adopted(State),
    /// It is on its way from `failed/` to `pending/`.
    Requeued,
    /// It was settled into `failed/` without an attempt, but lacks the stamp.
    Unrun,
}

/// Everything known of one id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ticket {
    /// Its files, in the order of [`State::ALL`].
    pub places: [Option<Box<Place>>; 4],
    /// Its lock file.
    pub lease: Option<Box<LeaseFact>>,
    /// Its open attempt.
    pub attempt: Option<Box<Attempt>>,
    /// Its `take` is granted: the request was renamed away, though no line says so yet.
    pub granted: bool,
    /// What the ledger last said.
    pub seen: Seen,
    /// The highest attempt the ledger's tail named.
    pub last_attempt: u32,
    /// Requests, by file name.
    pub requests: Vec<Request>,
    /// It met an obstacle and is not acted on until that is cleared: what, and the cure.
    pub obstacle: Option<Box<str>>,
    /// The running stamp of a short order is skipped: it is not written before this tick.
    pub stamp_at: Tick,
}

impl Ticket {
    /// The file in one directory.
    pub fn place(&self, state: State) -> Option<&Place> {
        self.places[state as usize].as_deref()
    }

    /// The only directory it lies in; `None` when there is none or more than one.
    pub fn state(&self) -> Option<State> {
        let mut there = State::ALL.into_iter().filter(|s| self.place(*s).is_some());
        let first = there.next()?;
        there.next().is_none().then_some(first)
    }

    /// It lies in one place, carries jobyard's own stamp, and no attempt of it is open.
    pub fn is_settled(&self) -> bool {
        let place = self.state().and_then(|s| self.place(s));
        let stamped = place.is_some_and(|p| matches!(p.reading, Reading::Settled { .. }));
        stamped && self.attempt.is_none()
    }

    /// The valid order, when it is in exactly one directory.
    pub fn brief(&self) -> Option<&Brief> {
        match &self.place(self.state()?)?.reading {
            Reading::Order(brief) => Some(brief),
            _ => None,
        }
    }

    /// The orders whose end or worktree it waits for. One that is running only keeps a worktree.
    pub fn upstreams(&self) -> Vec<OrderId> {
        let Some(brief) = self.brief() else { return Vec::new() };
        let waits = self.state() == Some(State::Pending);
        let keeps = waits || self.state() == Some(State::Running);
        let ends = brief.dependencies.iter().filter(|_| waits).map(|d| &d.id);
        let tree = match &brief.workspace {
            Workspace::Inherit(other) if keeps => Some(other),
            _ => None,
        };
        ends.chain(tree).cloned().collect()
    }

    /// No file and no lock.
    pub fn is_gone(&self) -> bool {
        self.places.iter().all(Option::is_none) && self.lease.is_none()
    }

    /// Nothing is left to know.
    pub fn is_empty(&self) -> bool {
        self.places.iter().all(Option::is_none)
            && self.lease.is_none()
            && self.attempt.is_none()
            && self.requests.is_empty()
    }

    /// It ended well, as dependants see it. Only the stamp of a settlement counts, not the directory.
    pub fn succeeded(&self) -> Option<bool> {
        let state = self.state()?;
        let stamped = matches!(self.place(state)?.reading, Reading::Settled { .. });
        match (state, stamped && self.attempt.is_none()) {
            (State::Done, true) => Some(true),
            (State::Failed, true) => Some(false),
            _ => None,
        }
    }
}

/// What the executor knows of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExecutorFact {
    /// A start was sent and not answered yet.
    Sent,
    /// A sweep was sent and not answered yet.
    Sweeping,
    /// It runs.
    Running,
    /// It ended and that is not acknowledged yet.
    Ended(Box<End>),
    /// It will not be started: it was before.
    Refused,
    /// No process of the attempt is left (`0`), or that many are.
    Swept(u32),
}

/// The link to the executor, as a fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ExecutorState {
    /// Nothing is known, or it cannot be reached now.
    #[default]
    Unknown,
    /// Its `Hello` has come: what it does not know, it does not run.
    Up,
    /// Proven dead.
    Dead,
}

/// Place of an order in the queue; the smallest runs first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    /// Negated score.
    pub score: i64,
    /// Deadline in milliseconds since 1970; `i64::MAX` without one.
    pub deadline_ms: i64,
    /// Order of intake.
    pub intake_ns: i64,
    /// Last tie-break.
    pub id: OrderId,
}

/// Where an order stands in the queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// Its rank.
    pub rank: Rank,
    /// Its group.
    pub group: Option<Box<str>>,
    /// When its score changes.
    pub rescore: Option<Moment>,
}

/// All facts.
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// By id.
    pub tickets: BTreeMap<OrderId, Ticket>,
    /// Who waits for whom: upstream to downstream.
    pub dependants: BTreeMap<OrderId, BTreeSet<OrderId>>,
    /// Executable orders that are ready, by group.
    pub ready: BTreeMap<Option<Box<str>>, BTreeSet<Rank>>,
    /// Where an order stands in `ready` and `rescores`.
    pub queued: BTreeMap<OrderId, Queued>,
    /// When a waiting order becomes ready by time alone.
    pub wakes: BTreeSet<(Moment, OrderId)>,
    /// The other side of `wakes`.
    pub wake_of: BTreeMap<OrderId, Moment>,
    /// When the score of a ready order changes; looked at before choosing, never a reason to wake.
    pub rescores: BTreeSet<(Moment, OrderId)>,
    /// Orders with an open attempt.
    pub open: BTreeSet<OrderId>,
    /// Orders that a request holds, as the ledger says: also when their tickets have lost it.
    pub holds: Holds,
    /// What the executor said.
    pub executor: BTreeMap<CommandKey, ExecutorFact>,
    /// The link to it.
    pub executor_state: ExecutorState,
    /// Boot of this machine.
    pub boot: String,
    /// Ledger lines up to this number are durable.
    pub durable_seq: u64,
}

impl Index {
    /// The ticket of an id, made when missing.
    pub fn ticket_mut(&mut self, id: &OrderId) -> &mut Ticket {
        if !self.tickets.contains_key(id) {
            self.tickets.insert(id.clone(), Ticket::default());
        }
        self.tickets.entry(id.clone()).or_default()
    }

    /// Who waits for this order.
    pub fn dependants_of(&self, id: &OrderId) -> impl Iterator<Item = &OrderId> {
        self.dependants.get(id).into_iter().flatten()
    }

    /// Slots taken now, all and by group.
    pub fn slots_taken(&self) -> (usize, BTreeMap<&str, usize>) {
        let mut groups = BTreeMap::new();
        let mut all = 0;
        for id in &self.open {
            let Some(attempt) = self.tickets.get(id).and_then(holder_of_slot) else { continue };
            all += 1;
            if let Some(group) = &attempt.claim.sealed.group {
                *groups.entry(group.as_str()).or_default() += 1;
            }
        }
        (all, groups)
    }
}

/// The attempt that takes a slot: one that runs, or goes on as soon as it is looked at. With its ticket
/// missing, or there twice, nothing goes on.
fn holder_of_slot(ticket: &Ticket) -> Option<&Attempt> {
    let attempt = ticket.attempt.as_deref().filter(|a| a.holds_slot())?;
    (ticket.state().is_some() || attempt.unended().is_some()).then_some(attempt)
}

/// Who is behind a file, as a holder.
pub fn owner(uid: u32, name: &str) -> Holder {
    Holder { uid, name: name.to_owned() }
}
