//! Opening: from nothing to an index, out of the ledger's tail and the directories.
//!
//! Invariants: opening reads the last ledger segment and the directories, never history, except to learn
//! where a ticket was that lies where nothing explains it; the names of the directories are durable before
//! the ledger's first segment is; there is no other recovery.

use super::{Engine, Options};
use crate::model::event::{Event, Line, Link};
use crate::model::id::OrderId;
use crate::model::index::{Index, Reading, Seen, Ticket};
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::{ToExecutor, VERSION};
use crate::model::time::{Moment, Tick};
use crate::observe::Arrival;
use crate::observe::catalogue::Catalogue;
use crate::world::ledger::{self, Ledger};
use crate::world::leftovers;
use crate::world::store::errno;
use crate::world::{Fault, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

impl<W: World> Engine<W> {
    /// Opens a root: makes the directories, reads the ledger's tail, looks at everything.
    pub fn open(mut world: W, mut options: Options) -> Result<Self, (W, Fault)> {
        let (notes, ledger, tail) = match open_ledger(&mut world) {
            Ok(opened) => opened,
            Err(fault) => return Err((world, fault)),
        };
        options.policy.fresh = tail.fresh;
        options.policy.instance.clone_from(&world.identity().instance);
        let mut index = Index { boot: world.identity().boot.clone(), ..Index::default() };
        index.durable_seq = 0;
        for id in tail.pending {
            index.ticket_mut(&id).seen = Seen::Pending;
        }
        index.holds = tail.holds;
        for (id, seen) in tail.begun {
            index.ticket_mut(&id).seen = seen;
        }
        for (id, attempt) in tail.attempts {
            let ticket = index.ticket_mut(&id);
            ticket.last_attempt = attempt.number;
            ticket.attempt = Some(Box::new(attempt));
            index.open.insert(id);
        }
        let opened = (world.tick(), world.now());
        let hooks = super::hooks::Hooks::open(&index, ledger.head().0);
        let mut engine = Self {
            world,
            index,
            options,
            ledger,
            dirty: BTreeMap::new(),
            replan: BTreeSet::new(),
            requests: BTreeMap::new(),
            look_at: BTreeSet::new(),
            outbox: Vec::new(),
            answers: BTreeMap::new(),
            copies: super::sealed::Copies::default(),
            dirs: BTreeSet::new(),
            logs: BTreeMap::new(),
            lease_file: None,
            notes,
            wake_at: None,
            planned_at: Moment(i64::MIN),
            look_for_strays: false,
            executor_retry_at: Tick(0),
            refusals: BTreeSet::new(),
            noted: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            unwatched: false,
            group_due: None,
            numbers: BTreeMap::new(),
            answering: Vec::new(),
            answered_files: Vec::new(),
            answered: tail.answered,
            carried: tail.carried,
            spare: false,
            opened,
            catalogue: Catalogue::default(),
            bases: BTreeMap::new(),
            aside: BTreeMap::new(),
            hooks,
            said: BTreeSet::new(),
            watcher: None,
            told_to_end: None,
        };
        engine.keep_bases();
        match engine.begin(&tail.numbers) {
            Ok(()) => Ok(engine),
            Err(fault) => Err((engine.world, fault)),
        }
    }

    fn begin(&mut self, numbers: &BTreeMap<OrderId, u32>) -> Result<(), Fault> {
        // An executor that is connected already has said `Hello` to an earlier engine.
        let _ = self.world.send(&ToExecutor::Hello { version: VERSION });
        if self.ledger.needs_segment() {
            self.begin_segment()?;
        }
        self.ledger.sync(&mut self.world)?;
        self.index.durable_seq = self.ledger.head().0;
        self.rescan()?;
        let all: Vec<OrderId> = self.dirty.keys().cloned().collect();
        for id in all {
            if let Err(fault) = self.look_at_ticket(&id, Arrival::Unsure) {
                self.set_aside(&id, fault)?;
            }
        }
        self.dirty.clear();
        for (id, number) in numbers {
            if let Some(ticket) = self.index.tickets.get_mut(id) {
                ticket.last_attempt = ticket.last_attempt.max(*number);
            } else {
                self.keep_number(id, *number);
            }
        }
        self.explain()?;
        self.close_carried_out();
        self.note_copies()
    }

    /// Learns from the ledger's history where tickets were that lie where nothing explains it.
    fn explain(&mut self) -> Result<(), Fault> {
        let mut puzzling = BTreeSet::new();
        for (id, ticket) in &mut self.index.tickets {
            let Some(state) = ticket.state() else { continue };
            let stamped = |t: &Ticket| {
                t.place(state).is_some_and(|p| matches!(p.reading, Reading::Settled { .. }))
            };
            let begun = !matches!(ticket.seen, Seen::Never | Seen::Pending | Seen::Settled(_));
            // The stamp that a requeue takes off is not its own.
            if begun && stamped(ticket) && ticket.seen != Seen::Requeued {
                ticket.seen = Seen::Settled(state);
            }
            let known = ticket.attempt.is_some() || begun || ticket.seen == Seen::Pending;
            let place = ticket.place(state).filter(|_| !known && state != State::Pending);
            if place.is_some_and(|p| !matches!(p.reading, Reading::Settled { .. })) {
                puzzling.insert(id.clone());
            }
        }
        if puzzling.is_empty() || self.options.policy.fresh {
            return Ok(());
        }
        for (id, seen) in last_words(&mut self.world, puzzling)? {
            self.index.ticket_mut(&id).seen = seen;
        }
        Ok(())
    }

    /// Attempts whose settlement the disk already shows in whole are closed.
    fn close_carried_out(&mut self) {
        let boot = self.index.boot.as_str();
        let over = |id: &&OrderId| self.ticket(id).is_some_and(|t| is_carried_out(t, boot));
        let ids: Vec<OrderId> = self.index.open.iter().filter(over).cloned().collect();
        for id in ids {
            self.close(&id);
        }
    }
}

/// What a person has to look at, the ledger, and what its tail says.
type Opened<F> = (Vec<String>, Ledger<F>, ledger::Tail);

/// Makes the directories, tidies them and reads the ledger; also says what a person has to look at.
///
/// The names of the directories are durable before the ledger's first segment is begun.
fn open_ledger<W: World>(world: &mut W) -> Result<Opened<W::File>, Fault> {
    let mut changed = BTreeSet::new();
    let all = paths::needed();
    for dir in &all {
        match world.mkdir(dir) {
            Ok(()) => changed.extend(dir.parent()),
            Err(fault) if fault.errno == errno::EEXIST => {}
            Err(fault) => return Err(fault),
        }
    }
    let kept = tidy(world)?;
    let (ledger, tail) = Ledger::open(world)?;
    if tail.fresh {
        // Whoever made them may have died before they were durable.
        changed.extend(all.iter().filter_map(|dir| dir.parent()));
    }
    for dir in changed {
        world.sync_dir(dir)?;
    }
    Ok((kept, ledger, tail))
}

/// Removes what interrupted primitives and ended instances left behind.
fn tidy<W: World>(world: &mut W) -> Result<Vec<String>, Fault> {
    let tickets = |name: &str| -> Vec<PathBuf> {
        let id = name.strip_suffix(".yaml").and_then(|s| OrderId::parse(s).ok());
        id.map(|id| State::ALL.map(|s| paths::ticket(s, &id)).to_vec()).unwrap_or_default()
    };
    let mut kept = Vec::new();
    let all = State::ALL.map(paths::dir);
    for dir in &all {
        kept.extend(leftovers::tidy(world, dir, &all, &tickets)?);
    }
    let backlog = |_: &str| vec![PathBuf::from(paths::BACKLOG)];
    let dir = Path::new(paths::BACKLOG).parent().unwrap_or(Path::new(""));
    kept.extend(leftovers::tidy(world, dir, &[], &backlog)?);
    let config = |_: &str| vec![PathBuf::from(paths::CONFIG)];
    kept.extend(leftovers::tidy(world, Path::new(paths::CTX), &[], &config)?);
    let nothing = |_: &str| Vec::new();
    leftovers::tidy(world, Path::new(paths::OWN), &[], &nothing)?;
    let own = format!("lease-{}-", world.identity().instance);
    for entry in world.list(Path::new(paths::OWN))? {
        let lease = entry.name.to_str().filter(|n| n.starts_with("lease-") && !n.starts_with(&own));
        if let Some(name) = lease {
            world.unlink(&Path::new(paths::OWN).join(name))?;
        }
    }
    Ok(kept)
}

/// The settlement of its attempt is carried out, as far as the files tell: nothing is left to do or answer.
/// The lease goes last, so its absence says so, unless a power cut took it, or a person did: then the ticket
/// still says that the attempt runs.
fn is_carried_out(ticket: &Ticket, boot: &str) -> bool {
    let Some(attempt) = ticket.attempt.as_deref() else { return false };
    let Some(settled) = attempt.settled.as_ref().filter(|_| attempt.asked.is_none()) else {
        return false;
    };
    let state = ticket.state();
    let reading = state.and_then(|state| ticket.place(state)).map(|p| &p.reading);
    let unstamped = match reading {
        Some(Reading::Order(brief)) => brief.stamp.is_none() && brief.attempt == attempt.number,
        _ => false,
    };
    let terminal = settled.state() != State::Pending && state == Some(settled.state());
    let elsewhere = state != Some(State::Running) && !(terminal && unstamped);
    if ticket.lease.is_none() && elsewhere && attempt.claim.boot == boot {
        return true;
    }
    let Some(state) = state else { return ticket.is_gone() };
    let shown = match reading {
        Some(Reading::Order(brief)) if settled.state() == State::Pending => {
            state == State::Pending && brief.attempt == attempt.number
        }
        Some(Reading::Order(brief)) => brief.stamp.as_ref().is_some_and(|s| s.seq == settled.seq),
        Some(Reading::Settled { attempt: number, .. }) => *number == attempt.number,
        // A person broke it since: a settlement in progress would still have its lease.
        Some(Reading::Refused(_)) => state == settled.state(),
        Some(Reading::Settling(_)) | None => false,
    };
    shown && ticket.lease.is_none()
}

/// What the ledger last said of some orders, newest segment first.
pub(super) fn last_words<W: World>(
    world: &mut W,
    mut wanted: BTreeSet<OrderId>,
) -> Result<BTreeMap<OrderId, Seen>, Fault> {
    let mut found = BTreeMap::new();
    for number in ledger::segments(world)?.into_iter().rev() {
        let text = ledger::read_segment(world, number)?;
        for line in text.split(|b| *b == b'\n').rev() {
            let Some(link) = std::str::from_utf8(line).ok().and_then(|l| Link::parse(l).ok())
            else {
                continue;
            };
            let id = link.line.id.as_deref().and_then(|t| OrderId::parse(t).ok());
            let Some(id) = id.filter(|id| wanted.contains(id)) else { continue };
            if let Some(seen) = said(&link.line) {
                wanted.remove(&id);
                found.insert(id, seen);
            }
        }
        if wanted.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn said(line: &Line) -> Option<Seen> {
    let settled = |s: &str| match State::parse(s) {
        Some(State::Pending) | None => Seen::Pending,
        Some(state) => Seen::Settled(state),
    };
    match &line.event {
        Event::Settled { .. } if line.attempt.is_none() => Some(Seen::Unrun),
        Event::Intake | Event::Released { .. } | Event::Held { .. } | Event::Unheld { .. } => {
            Some(Seen::Pending)
        }
        Event::Settled { state, .. } | Event::Adopted { state } => Some(settled(state)),
        // Elsewhere it was moved back to where an earlier line had put it.
        Event::PutBack { to, .. } if to == "pending" => Some(Seen::Pending),
        Event::Requeued { .. } => Some(Seen::Requeued),
        Event::Withdrawn => Some(Seen::Never),
        _ => None,
    }
}
