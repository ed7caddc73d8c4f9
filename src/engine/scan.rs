//! Looking: from hints, and from what the executor says, to fresh facts.
//!
//! Invariants: a lost hint costs time, not work; what the executor says counts only for a command that has
//! no end yet, whatever order messages come in.

use super::claim::CANNOT_CLAIM;
use super::{Engine, LOOKS_MAX};
use crate::model::defect::Defect;
use crate::model::id::OrderId;
use crate::model::index::{ExecutorFact, ExecutorState, Place, Reading, Seen, Ticket};
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::{FromExecutor, JournalLine, KnownCommand, ToExecutor};
use crate::model::time::{Millis, Tick};
use crate::observe::{self, Arrival, Look};
use crate::world::ledger;
use crate::world::leftovers;
use crate::world::store::{self, errno};
use crate::world::{ExecutorLink, Fault, World};
use std::collections::BTreeSet;
use std::path::Path;

/// Most of an executor's journal that is read; it is rotated long before.
const JOURNAL_BYTES_MAX: usize = 64 << 20;

/// Between two starts of an executor that does not stay.
const EXECUTOR_PAUSE: Millis = Millis(1000);

impl<W: World> Engine<W> {
    /// Marks everything there is to be looked at: at start, after lost events, and now and then.
    pub fn rescan(&mut self) -> Result<(), Fault> {
        self.refusals = observe::refusals(&mut self.world)?;
        self.doubt_names();
        for state in State::ALL {
            let entries = self.world.list(&paths::dir(state))?;
            self.forget_moves(state, &entries)?;
            for entry in entries {
                let Some(name) = entry.name.to_str() else { continue };
                let stem = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".lock"));
                if let Some(id) = stem.and_then(|s| OrderId::parse(s).ok()) {
                    self.hint(id, Arrival::Unsure);
                }
            }
        }
        for entry in self.world.list(Path::new(paths::CONTROL))? {
            let Some(name) = entry.name.to_str() else { continue };
            if leftovers::is_ours(name) {
                leftovers::unpublished(&mut self.world, &Path::new(paths::CONTROL).join(name))?;
                continue;
            }
            // Of an explanation without its request: that may have been taken back while nobody looked.
            let name = name.strip_suffix(".why").unwrap_or(name);
            self.hint_request(name.to_owned(), Arrival::Unsure);
        }
        let known: Vec<OrderId> = self.index.tickets.keys().cloned().collect();
        for id in known {
            self.hint(id, Arrival::Unsure);
        }
        self.forget_obstacles();
        self.reconsider();
        self.strays()
    }

    /// What kept orders from being claimed may have gone: they are read and tried again.
    pub(super) fn reconsider(&mut self) {
        let all: Vec<OrderId> = self.index.tickets.keys().cloned().collect();
        for id in all {
            self.reconsider_one(&id);
        }
    }

    pub(super) fn reconsider_one(&mut self, id: &OrderId) {
        let Some(ticket) = self.index.tickets.get_mut(id) else { return };
        let place = &mut ticket.places[State::Pending as usize];
        let unclaimed =
            |p: &Place| matches!(&p.reading, Reading::Refused(d) if d[0].code == CANNOT_CLAIM);
        if place.as_deref().is_some_and(unclaimed) {
            *place = None;
            self.dirty.insert(id.clone(), Arrival::Renamed);
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
            if let Err(fault) = self.look_at_ticket(&id, arrival) {
                self.set_aside(&id, fault)?;
            }
        }
        Ok(())
    }

    /// Brings the facts of one ticket up to date.
    pub fn look_at_ticket(&mut self, id: &OrderId, arrival: Arrival) -> Result<(), Fault> {
        let (tick, now) = (self.world.tick(), self.age_context());
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
        self.question_stamps(&mut after)?;
        after.stamp_at = before.stamp_at;
        let appeared = before.state().is_none() != after.state().is_none();
        self.come_back(id, &mut after);
        if before.succeeded() != after.succeeded() || appeared {
            self.replan.extend(self.index.dependants.get(id).into_iter().flatten().cloned());
        }
        self.link_dependencies(id, &before, &after);
        let wanted = |t: &Ticket| t.brief().map(|b| b.dependencies.clone()).unwrap_or_default();
        if wanted(&before) != wanted(&after) {
            self.replan_downstream(id);
        }
        before.places = Default::default();
        self.replan.insert(id.clone());
        // What the ledger has begun with it is not forgotten while it is seen nowhere for a moment.
        let begun = !matches!(after.seen, Seen::Never | Seen::Settled(_));
        if begun || !after.is_empty() {
            self.index.tickets.insert(id.clone(), after);
        } else {
            self.keep_number(id, after.last_attempt);
        }
        self.forget_whys(id)
    }

    /// A settlement stamp that was moved here by hand counts when the ledger has its line: one of another
    /// root settles nothing here.
    fn question_stamps(&mut self, ticket: &mut Ticket) -> Result<(), Fault> {
        if ticket.attempt.is_some() {
            return Ok(());
        }
        for state in [State::Pending, State::Running] {
            let Some(place) = ticket.places[state as usize].as_deref_mut() else { continue };
            let Reading::Order(brief) = &place.reading else { continue };
            let Some(stamp) = &brief.stamp else { continue };
            if !ledger::has_hash(&mut self.world, &stamp.hash)? {
                let text = "it carries a settlement that the ledger of this root does not have: \
                            remove `x_jobyard` to have it run here";
                let defect = Defect::whole("unknown-settlement", text);
                place.reading = Reading::Refused(Box::new([defect]));
            }
        }
        Ok(())
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
        for upstream in before.upstreams() {
            if let Some(set) = self.index.dependants.get_mut(&upstream) {
                set.remove(id);
                if set.is_empty() {
                    self.index.dependants.remove(&upstream);
                }
            }
        }
        for upstream in after.upstreams() {
            self.index.dependants.entry(upstream).or_default().insert(id.clone());
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
        let Some((id, _, None)) = named else { return Ok(()) };
        match self.world.unlink(&Path::new(paths::CONTROL).join(format!("{file}.why"))) {
            Err(fault) if fault.errno != errno::ENOENT => self.without(&id, Err(fault)),
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
            let key = &request.key;
            // Read only now, since it had a writer: what it asks is answered, or about to be.
            if self.answers.keys().any(|(_, _, asked)| asked == key) {
                request.refused = true;
                self.answering.push((id.clone(), request.file.clone()));
            } else if self.answered.get(key).is_some_and(|code| *code == 0 || !request.by_hand) {
                // One that was refused stays where a person wrote it, as its `.why` says.
                request.refused = true;
                self.answered_files.push((id.clone(), request.file.clone()));
            }
            let carried = self.carried.get(&id).and_then(|requests| requests.get(key));
            request.carried = carried.copied().unwrap_or_default();
            request.refused |=
                before.is_some_and(|b| b.inode == request.inode && b.refused && !b.by_hand);
            ticket.requests.push(request);
            ticket.requests.sort_by(|a, b| a.file.cmp(&b.file));
        }
        self.hint(id, Arrival::Unsure);
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
        let Some(message) = self.take_hook_message(message) else { return Ok(()) };
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
        if ended && matches!(fact, ExecutorFact::Running | ExecutorFact::Swept(_)) {
            return Ok(());
        }
        let id = OrderId::parse(&key.id).ok();
        let attempt = id.as_ref().and_then(|id| self.ticket(id)?.attempt.as_deref());
        let current = attempt.filter(|a| a.number == key.attempt).and_then(|a| a.unended());
        if current.is_some_and(|c| c.number == key.number) {
            self.index.executor.insert(key, fact);
            self.replan.extend(id);
        } else if matches!(fact, ExecutorFact::Ended(_)) {
            self.outbox.push(ToExecutor::Ack { key });
        }
        Ok(())
    }

    fn take_hello(&mut self, commands: Vec<KnownCommand>) -> Result<(), Fault> {
        self.index.executor.clear();
        self.index.executor_state = ExecutorState::Up;
        self.outbox.retain(|m| !matches!(m, ToExecutor::Start(_)));
        self.forget_hooks(&commands);
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
                if let Some(end) = line.end.filter(|_| wanted.contains(&line.key)) {
                    self.index.executor.insert(line.key, ExecutorFact::Ended(Box::new(end)));
                }
            }
        }
        Ok(())
    }
}
