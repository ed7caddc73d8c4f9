//! Opening and looking: from nothing to an index, and from hints to fresh facts.
//!
//! Invariants: opening reads the last ledger segment and the directories, never history, except to
//! learn where a ticket was that lies where nothing explains it; a lost hint costs time, not work.

use super::claim::CANNOT_CLAIM;
use super::{Engine, LOOKS_MAX, Options};
use crate::model::event::{Event, Line, Link};
use crate::model::id::OrderId;
use crate::model::index::{ExecutorFact, ExecutorState, Index, Place, Reading, Seen, Ticket};
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::{FromExecutor, JournalLine, KnownCommand, ToExecutor, VERSION};
use crate::model::time::{Millis, Tick};
use crate::observe::{self, Arrival, Look};
use crate::world::ledger::{self, Ledger};
use crate::world::leftovers;
use crate::world::store::{self, errno};
use crate::world::{ExecutorLink, Fault, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Most of an executor's journal that is read; it is rotated long before.
const JOURNAL_BYTES_MAX: usize = 64 << 20;

/// Between two starts of an executor that does not stay.
const EXECUTOR_PAUSE: Millis = Millis(1000);

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
        for (id, seen) in tail.begun {
            index.ticket_mut(&id).seen = seen;
        }
        for (id, attempt) in tail.attempts {
            let ticket = index.ticket_mut(&id);
            ticket.last_attempt = attempt.number;
            ticket.attempt = Some(Box::new(attempt));
            index.open.insert(id);
        }
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
            look_for_strays: false,
            executor_retry_at: Tick(0),
            refusals: BTreeSet::new(),
            noted: BTreeSet::new(),
            group_due: None,
            numbers: BTreeMap::new(),
            answering: Vec::new(),
            answered_files: Vec::new(),
            answered: tail.answered,
            spare: false,
            watcher: None,
        };
        match engine.begin(&tail.numbers) {
            Ok(()) => Ok(engine),
            Err(fault) => Err((engine.world, fault)),
        }
    }

    fn begin(&mut self, numbers: &BTreeMap<OrderId, u32>) -> Result<(), Fault> {
        // An executor that is connected already has said `Hello` to an earlier engine.
        let _ = self.world.send(&ToExecutor::Hello { version: VERSION });
        if self.ledger.wants_segment() {
            self.begin_segment()?;
        }
        self.ledger.sync(&mut self.world)?;
        self.index.durable_seq = self.ledger.head().0;
        self.rescan()?;
        let all: Vec<OrderId> = self.dirty.keys().cloned().collect();
        for id in all {
            self.look_at_ticket(&id, Arrival::Unsure)?;
        }
        self.dirty.clear();
        for (id, number) in numbers {
            if let Some(ticket) = self.index.tickets.get_mut(id) {
                ticket.last_attempt = ticket.last_attempt.max(*number);
            } else {
                self.numbers.insert(id.clone(), *number);
            }
        }
        self.explain()?;
        self.close_carried_out();
        self.note_copies()
    }

    /// Marks everything there is to be looked at: at start, after lost events, and now and then.
    pub fn rescan(&mut self) -> Result<(), Fault> {
        self.refusals = observe::refusals(&mut self.world)?;
        for state in State::ALL {
            for entry in self.world.list(&paths::dir(state))? {
                let Some(name) = entry.name.to_str() else { continue };
                let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".lock"));
                if let Some(id) = stem.and_then(|s| OrderId::parse(s).ok()) {
                    self.hint(id, Arrival::Unsure);
                }
            }
        }
        for entry in self.world.list(Path::new(paths::CONTROL))? {
            if let Some(name) = entry.name.to_str() {
                self.hint_request(name.to_owned(), Arrival::Unsure);
            }
        }
        let known: Vec<OrderId> = self.index.tickets.keys().cloned().collect();
        for id in known {
            self.hint(id, Arrival::Unsure);
        }
        self.reconsider();
        self.strays()
    }

    /// What kept orders from being claimed may have gone: they are read and tried again.
    pub(super) fn reconsider(&mut self) {
        for (id, ticket) in &mut self.index.tickets {
            let place = &mut ticket.places[State::Pending as usize];
            let unclaimed =
                |p: &Place| matches!(&p.reading, Reading::Refused(d) if d[0].code == CANNOT_CLAIM);
            if place.as_deref().is_some_and(unclaimed) {
                *place = None;
                self.dirty.insert(id.clone(), Arrival::Renamed);
            }
        }
    }

    /// Looks at what was hinted at, a bounded number of ids at a time.
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        let tick = self.world.tick();
        while let Some((at, id)) = self.look_at.first().cloned() {
            if at > tick {
                break;
            }
            self.look_at.pop_first();
            self.hint(id, Arrival::Unsure);
        }
        self.look_at_requests()?;
        if std::mem::take(&mut self.look_for_strays) {
            self.strays()?;
        }
        for _ in 0..LOOKS_MAX {
            let Some((id, arrival)) = self.dirty.pop_first() else { break };
            self.look_at_ticket(&id, arrival)?;
        }
        Ok(())
    }

    /// Brings the facts of one ticket up to date.
    pub fn look_at_ticket(&mut self, id: &OrderId, arrival: Arrival) -> Result<(), Fault> {
        let (tick, now) = self.look_context();
        let mut before = self.index.tickets.remove(id).unwrap_or_default();
        let context = Look {
            config: &self.options.config,
            tick,
            now,
            refusals: &self.refusals,
            own_lease: self.lease_file.as_ref().map(|l| (l.inode, &l.body)),
        };
        let seen = observe::ticket(&mut self.world, &context, id, &before, arrival);
        let mut after = match seen {
            Ok(after) => after,
            Err(fault) => {
                self.index.tickets.insert(id.clone(), before);
                return Err(fault);
            }
        };
        after.stamp_at = before.stamp_at;
        if before.succeeded() != after.succeeded() {
            self.replan.extend(self.index.dependants.get(id).into_iter().flatten().cloned());
        }
        self.link_dependencies(id, &before, &after);
        let wanted = |t: &Ticket| t.brief().map(|b| b.dependencies.clone()).unwrap_or_default();
        if wanted(&before) != wanted(&after) {
            self.replan_downstream(id);
        }
        before.places = Default::default();
        self.replan.insert(id.clone());
        if !after.is_empty() || after.seen == Seen::Pending {
            self.index.tickets.insert(id.clone(), after);
        } else if after.last_attempt > 0 {
            self.numbers.insert(id.clone(), after.last_attempt);
        }
        self.forget_whys(id)
    }

    /// Whoever waits for an order, near or far, may be in a cycle now, or no longer.
    fn replan_downstream(&mut self, id: &OrderId) {
        let mut todo = vec![id.clone()];
        let mut reached = BTreeSet::new();
        while let Some(at) = todo.pop() {
            for down in self.index.dependants.get(&at).into_iter().flatten() {
                if reached.insert(down.clone()) {
                    todo.push(down.clone());
                }
            }
        }
        self.replan.extend(reached);
    }

    fn link_dependencies(&mut self, id: &OrderId, before: &Ticket, after: &Ticket) {
        for dependency in before.brief().into_iter().flat_map(|b| b.dependencies.iter()) {
            if let Some(set) = self.index.dependants.get_mut(&dependency.id) {
                set.remove(id);
                if set.is_empty() {
                    self.index.dependants.remove(&dependency.id);
                }
            }
        }
        let pending = after.state() == Some(State::Pending);
        for dependency in
            after.brief().filter(|_| pending).into_iter().flat_map(|b| b.dependencies.iter())
        {
            self.index.dependants.entry(dependency.id.clone()).or_default().insert(id.clone());
        }
    }

    pub(super) fn look_at_requests(&mut self) -> Result<(), Fault> {
        let (tick, now) = self.look_context();
        let due: Vec<(String, Arrival, Option<Tick>)> = self
            .requests
            .iter()
            .filter(|(_, (_, at))| at.is_none_or(|at| at <= tick))
            .map(|(file, (arrival, at))| (file.clone(), *arrival, *at))
            .collect();
        for (file, arrival, mut waiting) in due {
            let context = Look {
                config: &self.options.config,
                tick,
                now,
                refusals: &self.refusals,
                own_lease: None,
            };
            let id = crate::model::request::parse_request_name(&file).map(|(id, _, _)| id);
            let ticket = id.and_then(|id| self.index.tickets.get(&id));
            let before = ticket.and_then(|t| t.requests.iter().find(|r| r.file == file));
            let world = &mut self.world;
            let found = observe::request(world, &context, &file, before, arrival, &mut waiting)?;
            if waiting.is_some() {
                self.requests.insert(file, (arrival, waiting));
                continue;
            }
            self.requests.remove(&file);
            if found.is_none() {
                self.forget_refusal(&file)?;
            }
            self.take_request(&file, found);
        }
        Ok(())
    }

    /// A request that is gone leaves no explanation behind.
    fn forget_refusal(&mut self, file: &str) -> Result<(), Fault> {
        let named = crate::model::request::parse_request_name(file);
        if named.is_none_or(|(_, _, hex)| hex.is_some()) {
            return Ok(());
        }
        match self.world.unlink(&Path::new(paths::CONTROL).join(format!("{file}.why"))) {
            Err(fault) if fault.errno != errno::ENOENT => Err(fault),
            _ => Ok(()),
        }
    }

    fn take_request(&mut self, file: &str, found: Option<(OrderId, crate::model::index::Request)>) {
        let named = crate::model::request::parse_request_name(file).map(|(id, _, _)| id);
        let Some(id) = named else { return };
        let ticket = self.index.ticket_mut(&id);
        let before = ticket.requests.iter().position(|r| r.file == file);
        let before = before.map(|at| ticket.requests.remove(at));
        if let Some((_, mut request)) = found {
            if !request.hex.is_empty() && self.answered.contains(&request.hex) {
                request.refused = true;
                self.answered_files.push((id.clone(), request.file.clone()));
            }
            request.refused |=
                before.is_some_and(|b| b.inode == request.inode && b.refused && !b.hex.is_empty());
            ticket.requests.push(request);
            ticket.requests.sort_by(|a, b| a.file.cmp(&b.file));
        }
        self.hint(id, Arrival::Unsure);
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
            if begun && stamped(ticket) {
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

    /// Takes what the executor has said into account.
    pub(super) fn take_messages(&mut self) -> Result<(), Fault> {
        let messages = self.world.receive();
        let link = self.world.executor();
        let state = match link {
            ExecutorLink::Up => self.index.executor_state,
            ExecutorLink::Dead => ExecutorState::Dead,
            ExecutorLink::Unreachable => ExecutorState::Unknown,
        };
        if state != self.index.executor_state {
            self.index.executor_state = state;
            self.index.executor.clear();
            self.replan.extend(self.index.open.iter().cloned());
        }
        for message in messages {
            self.take_message(message)?;
        }
        if link == ExecutorLink::Dead
            && self.needs_executor()
            && self.world.tick() >= self.executor_retry_at
        {
            self.executor_retry_at = self.world.tick().after(EXECUTOR_PAUSE);
            if let Err(fault) = self.world.start_executor() {
                self.notes.push(fault.to_string());
            }
        }
        Ok(())
    }

    pub(super) fn needs_executor(&self) -> bool {
        let unended = |id: &OrderId| {
            self.ticket(id)
                .and_then(|t| t.attempt.as_deref())
                .is_some_and(|a| a.unended().is_some())
        };
        self.options.policy.runs || self.index.open.iter().any(unended)
    }

    fn take_message(&mut self, message: FromExecutor) -> Result<(), Fault> {
        let (key, fact) = match message {
            FromExecutor::Hello { commands, .. } => return self.take_hello(commands),
            FromExecutor::Started { key, .. } => (key, ExecutorFact::Running),
            FromExecutor::Ended { key, end } => (key, ExecutorFact::Ended(Box::new(end))),
            FromExecutor::Swept { key, left, .. } => (key, ExecutorFact::Swept(left)),
            FromExecutor::Refused { key, .. } => {
                if self.index.executor.get(&key) != Some(&ExecutorFact::Sent) {
                    return Ok(());
                }
                (key, ExecutorFact::Refused)
            }
        };
        let ended = matches!(self.index.executor.get(&key), Some(ExecutorFact::Ended(_)));
        if ended && fact == ExecutorFact::Running {
            return Ok(());
        }
        let Ok(id) = OrderId::parse(&key.id) else { return Ok(()) };
        let attempt = self.ticket(&id).and_then(|t| t.attempt.as_deref());
        let current = attempt.filter(|a| a.number == key.attempt).and_then(|a| a.unended());
        if current.is_some_and(|c| c.number == key.number) {
            self.index.executor.insert(key, fact);
            self.replan.insert(id);
        } else if matches!(fact, ExecutorFact::Ended(_)) {
            self.outbox.push(ToExecutor::Ack { key });
        }
        Ok(())
    }

    fn take_hello(&mut self, commands: Vec<KnownCommand>) -> Result<(), Fault> {
        self.index.executor.clear();
        self.index.executor_state = ExecutorState::Up;
        self.outbox.retain(|m| !matches!(m, ToExecutor::Start(_)));
        for command in commands {
            let message = match command.end {
                Some(end) => FromExecutor::Ended { key: command.key, end },
                None => FromExecutor::Started {
                    key: command.key,
                    pid: command.pid,
                    start_time: command.start_time,
                },
            };
            self.take_message(message)?;
        }
        self.read_journal()?;
        self.replan.extend(self.index.open.iter().cloned());
        Ok(())
    }

    /// Ends that an earlier executor saw and nobody recorded.
    fn read_journal(&mut self) -> Result<(), Fault> {
        let missing = |id: &OrderId| {
            let attempt = self.ticket(id)?.attempt.as_deref()?;
            let key = attempt.key(attempt.unended()?.number);
            (!self.index.executor.contains_key(&key)).then_some(key)
        };
        let wanted: BTreeSet<_> = self.index.open.iter().filter_map(missing).collect();
        for name in ["exec.journal.1", "exec.journal"] {
            if wanted.is_empty() {
                return Ok(());
            }
            let path = Path::new(paths::OWN).join(name);
            let read = store::read_whole(&mut self.world, &path, JOURNAL_BYTES_MAX)?;
            let text = read.map(|s| s.bytes).unwrap_or_default();
            for line in text.split(|b| *b == b'\n') {
                let Ok(line) = serde_json::from_slice::<JournalLine>(line) else { continue };
                if wanted.contains(&line.key) {
                    self.index.executor.insert(line.key, ExecutorFact::Ended(Box::new(line.end)));
                }
            }
        }
        Ok(())
    }
}

/// Makes the directories, tidies them and reads the ledger; also says what a person has to look at.
///
/// The names of the directories are durable before the ledger's first segment is begun.
fn open_ledger<W: World>(
    world: &mut W,
) -> Result<(Vec<String>, Ledger<W::File>, ledger::Tail), Fault> {
    let states = State::ALL.map(paths::dir);
    let fixed = ["_ctx", "_ctx/jobs"].map(PathBuf::from);
    let rest = [paths::CONTROL, paths::ANSWERED, paths::RUNS, paths::OWN, paths::AUDIT];
    let mut changed = BTreeSet::new();
    let all: Vec<PathBuf> =
        fixed.into_iter().chain(states).chain(rest.map(PathBuf::from)).collect();
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
    for state in State::ALL {
        kept.extend(leftovers::tidy(world, &paths::dir(state), &tickets)?);
    }
    let backlog = |_: &str| vec![PathBuf::from(paths::BACKLOG)];
    let dir = Path::new(paths::BACKLOG).parent().unwrap_or(Path::new(""));
    kept.extend(leftovers::tidy(world, dir, &backlog)?);
    let nothing = |_: &str| Vec::new();
    leftovers::tidy(world, Path::new(paths::OWN), &nothing)?;
    let own = format!("lease-{}-", world.identity().instance);
    for entry in world.list(Path::new(paths::OWN))? {
        let lease = entry.name.to_str().filter(|n| n.starts_with("lease-") && !n.starts_with(&own));
        if let Some(name) = lease {
            world.unlink(&Path::new(paths::OWN).join(name))?;
        }
    }
    Ok(kept)
}

/// The settlement of its attempt is carried out, as far as the files tell: nothing is left to do or to answer.
/// The lease goes last, so its absence says so, unless a power cut took it.
fn is_carried_out(ticket: &Ticket, boot: &str) -> bool {
    let Some(attempt) = ticket.attempt.as_deref() else { return false };
    let Some(settled) = attempt.settled.as_ref().filter(|_| attempt.asked.is_none()) else {
        return false;
    };
    if ticket.lease.is_none() && attempt.claim.boot == boot {
        return true;
    }
    let Some(state) = ticket.state() else { return ticket.is_gone() };
    let reading = ticket.place(state).map(|p| &p.reading);
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
fn last_words<W: World>(
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
        Event::Intake | Event::Released { .. } | Event::Held { .. } | Event::Unheld => {
            Some(Seen::Pending)
        }
        Event::Settled { state, .. } | Event::Adopted { state } => Some(settled(state)),
        Event::PutBack { to, .. } => Some(settled(to)),
        Event::Requeued { .. } => Some(Seen::Requeued),
        Event::Withdrawn => Some(Seen::Never),
        _ => None,
    }
}
