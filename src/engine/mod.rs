//! The one loop: observe what changed, plan, perform, make durable, answer. The daemon runs it for ever,
//! a verb runs it for one ticket while no daemon does, the simulator runs it on a simulated disk.
//!
//! Invariants: an event is a hint and only marks an id to be looked at; starts wait for one shared
//! sync, answers for the sync of what they promise; a disk fault ends the turn, and the engine is then
//! opened anew from the disk: there is no other recovery.

mod aside;
mod claim;
mod commit;
mod gate;
mod hooks;
mod journal;
mod open;
mod rehearse;
mod requests;
mod scan;
mod seal;
mod sealed;
mod settle;
mod start;
mod tickets;

use crate::model::config::Config;
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::{ExecutorState, Index, Ticket};
use crate::model::lease::LeaseBody;
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::ToExecutor;
use crate::model::time::{Millis, Moment, Tick};
use crate::observe::Arrival;
use crate::observe::catalogue::Catalogue;
use crate::plan::action::{Action, Plan};
use crate::plan::{self, Policy};
use crate::world::ledger::{CarriedRequests, Ledger, follow_carried};
use crate::world::{Fault, World};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

/// Ids looked at before the loop turns to planning and starting again.
const LOOKS_MAX: usize = 64;

/// Rounds of one turn; a turn that needs more goes on in the next one.
const ROUNDS_MAX: usize = 10_000;

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Configuration.
    pub config: Config,
    /// Policy for the planner.
    pub policy: Policy,
}

/// An answer that waits for what it promises to be durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    attempt: Option<u32>,
    code: u8,
    text: String,
}

/// The synced file that the process leases of this instance are links to.
pub(crate) struct OwnLease {
    path: PathBuf,
    generation: u32,
    inode: u64,
    body: LeaseBody,
}

/// A plan, and what it was made on.
#[derive(Debug)]
pub struct Round<'a> {
    /// The facts; the queue is as the plan has left it.
    pub index: &'a mut Index,
    /// The orders that changed.
    pub changed: &'a BTreeSet<OrderId>,
    /// Wall clock.
    pub now: Moment,
    /// Policy.
    pub policy: &'a Policy,
    /// What is to be done.
    pub plan: &'a mut Plan,
}

/// Told of what is about to happen: for tests that count, compare, and plant bugs. None in production.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    /// Told of the facts before a plan is made on them.
    pub facts: fn(&mut Index),
    /// Told of each plan before anything of it is carried out.
    pub plans: fn(&mut Round<'_>),
    /// Told of each action before it is carried out.
    pub acts: fn(&Index, &OrderId, &Action),
}

/// What a turn leaves for later.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Look again when the wall clock says so.
    pub wake_at: Option<Moment>,
    /// Look again when the steady clock says so.
    pub look_at: Option<Tick>,
}

/// The loop and its state. Everything in it can be read back from the disk.
pub struct Engine<W: World> {
    /// The machine.
    pub world: W,
    /// The facts.
    pub index: Index,
    /// What it was opened with.
    pub options: Options,
    ledger: Ledger<W::File>,
    dirty: BTreeMap<OrderId, Arrival>,
    replan: BTreeSet<OrderId>,
    requests: BTreeMap<String, (Arrival, Option<Tick>)>,
    look_at: BTreeSet<(Tick, OrderId)>,
    outbox: Vec<ToExecutor>,
    answers: BTreeMap<(OrderId, String, String), Answer>,
    copies: sealed::Copies,
    dirs: BTreeSet<PathBuf>,
    logs: BTreeMap<OrderId, String>,
    lease_file: Option<OwnLease>,
    notes: Vec<String>,
    wake_at: Option<Moment>,
    /// The wall clock of the last plan.
    planned_at: Moment,
    look_for_strays: bool,
    executor_retry_at: Tick,
    refusals: BTreeSet<(State, OrderId)>,
    noted: BTreeSet<OsString>,
    /// Directories of tickets in which others may have changed something that is not durable.
    doubtful: BTreeSet<PathBuf>,
    /// What is doubtful was changed while nobody watched.
    unwatched: bool,
    group_due: Option<Tick>,
    /// The highest attempt of orders that have no ticket now.
    numbers: BTreeMap<OrderId, u32>,
    /// Requests whose answer is being prepared, by id and file.
    answering: Vec<(OrderId, String)>,
    /// Requests whose answer is recorded; their files go after the next flush.
    answered_files: Vec<(OrderId, String)>,
    /// Hexes of the requests that this segment answers.
    answered: BTreeMap<String, u8>,
    /// Requests that the ledger's last segment carries out.
    carried: CarriedRequests,
    spare: bool,
    /// Steady and wall clock when it was opened.
    opened: (Tick, Moment),
    /// The DoD catalogue as last read.
    catalogue: Catalogue,
    /// Branch and base of the last attempts of orders, as far as remembered.
    bases: BTreeMap<OrderId, seal::Begun>,
    /// Orders that met an obstacle, as they looked then.
    aside: BTreeMap<OrderId, aside::Mark>,
    /// Commands that are told what happened.
    hooks: hooks::Hooks,
    /// What was said once.
    said: BTreeSet<String>,
    /// Told of plans and actions.
    pub watcher: Option<Watcher>,
    /// Whether this process was told to end: then nothing new is begun.
    pub told_to_end: Option<fn() -> bool>,
}

impl<W: World> Engine<W> {
    /// Marks an id to be looked at.
    pub fn hint(&mut self, id: OrderId, arrival: Arrival) {
        // The last word counts: what was renamed in may have been written over since.
        self.dirty.insert(id, arrival);
    }

    /// Somebody has changed the name of this ticket in the directory of a state: the ticket is looked at, and
    /// what left the directory is made durable before it is stamped anew elsewhere.
    pub fn told(&mut self, id: OrderId, state: State, arrival: Arrival) {
        self.doubtful.insert(paths::dir(state));
        self.hint(id, arrival);
    }

    /// Marks a name in `control/` to be looked at.
    pub fn hint_request(&mut self, file: String, arrival: Arrival) {
        let known = self.requests.entry(file).or_insert((arrival, None));
        known.0 = known.0.max(arrival);
    }

    /// One turn: works until nothing is left to do now.
    pub fn turn(&mut self) -> Result<Turn, Fault> {
        self.take_messages()?;
        for _ in 0..ROUNDS_MAX {
            self.look()?;
            let acted = self.round()?;
            if self.told_to_end.is_some_and(|told| told()) {
                self.commit()?;
                break;
            }
            if !acted && self.dirty.is_empty() && self.replan.is_empty() && !self.commit()? {
                break;
            }
        }
        self.end_adoption()?;
        self.run_hooks();
        Ok(Turn { wake_at: self.wake_at, look_at: self.next_look() })
    }

    /// After the first whole turn nothing is adopted any more.
    fn end_adoption(&mut self) -> Result<(), Fault> {
        let adopted = self.options.policy.fresh && !self.adopts();
        let policy = &mut self.options.policy;
        if adopted && policy.only.is_none() {
            policy.fresh = false;
            self.ledger.add(self.world.now(), None, None, Event::AdoptionOver);
            self.ledger.flush(&mut self.world)?;
        }
        Ok(())
    }

    /// Plans what changed and carries it out; whether there was anything.
    fn round(&mut self) -> Result<bool, Fault> {
        let (now, tick) = (self.world.now(), self.world.tick());
        if now < self.planned_at {
            // A wall clock that was set back: what its time made ready, or urgent, may no longer be.
            self.replan.extend(self.index.queued.keys().cloned());
        }
        self.planned_at = now;
        let changed = std::mem::take(&mut self.replan);
        if let Some(watcher) = self.watcher {
            (watcher.facts)(&mut self.index);
        }
        let mut plan = plan::plan(&mut self.index, &changed, now, tick, &self.options.policy);
        if let Some(watcher) = self.watcher {
            let (index, policy) = (&mut self.index, &self.options.policy);
            (watcher.plans)(&mut Round { index, changed: &changed, now, policy, plan: &mut plan });
        }
        self.wake_at = plan.wake_at;
        self.look_at.extend(plan.look_at);
        let acted = !plan.actions.is_empty();
        for (id, action) in plan.actions {
            if let Err(fault) = self.perform(&id, action) {
                self.set_aside(&id, fault)?;
            }
        }
        Ok(acted)
    }

    fn perform(&mut self, id: &OrderId, action: Action) -> Result<(), Fault> {
        if let Some(watcher) = self.watcher {
            (watcher.acts)(&self.index, id, &action);
        }
        match action {
            Action::Intake => self.note_intake(id),
            Action::Withdraw => self.withdraw(id),
            Action::Why { state, text, refusal } => self.write_why(id, state, &text, refusal)?,
            Action::ClearWhy { state } => self.clear_why(id, state)?,
            Action::Claim { mode, request, in_place } => {
                self.claim(id, mode, request.as_ref(), in_place)?;
            }
            Action::CompleteTake => self.complete_take(id)?,
            Action::AnswerTake => self.answer_take(id)?,
            Action::UndoClaim { reason } => self.undo_claim(id, &reason)?,
            Action::AdoptLease => self.adopt_lease(id)?,
            Action::DropLease => self.drop_lease(id)?,
            Action::Start { kind } => self.start(id, kind)?,
            Action::Resend => self.resend(id)?,
            Action::Stop => self.stop(id),
            Action::Sweep => self.sweep(id),
            Action::RecordEnd { end } => self.record_end(id, end),
            Action::OpenGate => self.open_gate(id)?,
            Action::Judge => self.judge(id)?,
            Action::Settle { state, result, reason, retry_at } => {
                self.settle(id, state, result, reason, retry_at);
            }
            Action::CarryOut => self.carry_out(id)?,
            Action::Release => self.release(id)?,
            Action::SettleUnrun { from, result, reason, request } => {
                self.settle_unrun(id, from, &result, &reason, request.as_ref())?;
            }
            Action::AdoptSettled { state } => self.adopt_settled(id, state)?,
            Action::PutBack { from, to, why } => self.put_back(id, from, to, &why)?,
            Action::PullBack { from, wish } => self.pull_back(id, from, wish)?,
            Action::Requeue { from, request } => self.requeue(id, from, request.as_ref())?,
            Action::Hold { reason, request } => self.hold(id, reason, &request)?,
            Action::RestoreHold { reason } => self.restore_hold(id, reason)?,
            Action::Accept { request, wish, options, by } => {
                self.accept(id, &request, wish, options, by)?;
            }
            Action::Takeover { request } => self.takeover(id, &request)?,
            Action::Refuse { request, code, text } => self.refuse(id, &request, code, &text)?,
            Action::Confirm { request } => self.confirm(id, &request),
            Action::RefuseAsked { code, text } => self.refuse_asked(id, code, &text)?,
            Action::DropDouble { earlier } => self.drop_double(id, earlier)?,
            Action::StampRunning => self.stamp_running(id)?,
        }
        Ok(())
    }

    /// Adds a ledger line and takes it into account at once.
    fn record(&mut self, id: &OrderId, attempt: Option<u32>, event: Event) -> (u64, String) {
        let at = self.world.now();
        let (seq, hash) = self.ledger.add(at, Some(id.as_str()), attempt, event.clone());
        if let Some(open) = self.index.ticket_mut(id).attempt.as_deref_mut()
            && attempt == Some(open.number)
        {
            open.apply(at, &event, seq, &hash);
        }
        self.index.holds.follow(id, at, &event);
        self.follow_carried(id, &event);
        self.hooks.went_on(id, &event);
        self.log_event(id, attempt, &event, at);
        self.replan.insert(id.clone());
        (seq, hash)
    }

    /// A request that the line carries out is known to be carried out, as it is when the line is read back.
    fn follow_carried(&mut self, id: &OrderId, event: &Event) {
        follow_carried(&mut self.carried, Some(id), event);
        let Some(carried) = self.carried.get(id) else { return };
        for request in &mut self.index.ticket_mut(id).requests {
            request.carried = carried.get(&request.key).copied().unwrap_or_default();
        }
    }

    fn ticket(&self, id: &OrderId) -> Option<&Ticket> {
        self.index.tickets.get(id)
    }

    fn look_context(&self) -> (Tick, Moment) {
        (self.world.tick(), self.world.now())
    }

    /// The time by which ages are measured: a wall clock that was set forward meanwhile makes nobody older.
    fn age_context(&self) -> Moment {
        let (tick, now) = self.opened;
        let passed = Millis(self.world.tick().0.saturating_sub(tick.0));
        self.world.now().min(now.after(passed))
    }

    fn next_look(&self) -> Option<Tick> {
        let requests = self.requests.values().filter_map(|(_, at)| *at).min();
        let tickets = self.look_at.first().map(|(at, _)| *at);
        let missing = self.index.executor_state != ExecutorState::Up && self.needs_executor();
        let soon = self.world.tick().after(Millis(100));
        let executor = missing.then(|| self.executor_retry_at.max(soon));
        requests.into_iter().chain(tickets).chain(executor).chain(self.group_due).min()
    }

    /// Lines for the daemon's own log since the last call.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Nothing is left that can be done without a person.
    pub fn is_drained(&self) -> bool {
        self.is_quiet()
            && self.answers.is_empty()
            && self.answered_files.is_empty()
            && self.dirs.is_empty()
            && self.hooks_are_over()
    }

    /// Nothing runs, and nothing was seen that could start anything.
    fn is_quiet(&self) -> bool {
        self.requests.is_empty()
            && self.dirty.is_empty()
            && self.replan.is_empty()
            && !plan::busy(&self.index)
    }

    /// Commands that run, as far as is known.
    pub fn running(&self) -> usize {
        self.index.slots_taken().0
    }

    /// No command is under way.
    pub fn is_idle(&self) -> bool {
        self.index.executor.is_empty() && self.hooks.none_runs()
    }

    /// Takes over a new configuration; what is sealed stays sealed.
    pub fn reload(&mut self, options: Options) {
        let fresh = self.options.policy.fresh;
        self.options = options;
        self.options.policy.fresh = fresh;
        self.options.policy.instance.clone_from(&self.world.identity().instance);
        let known: Vec<OrderId> = self.index.tickets.keys().cloned().collect();
        self.replan.extend(known);
        self.forget_obstacles();
        self.reconsider();
    }

    /// Marks the names in `pending/` that can never be tickets to be explained.
    pub fn hint_stray(&mut self) {
        self.look_for_strays = true;
    }

    /// The executor has said `Hello`.
    pub fn executor_up(&self) -> bool {
        self.index.executor_state == ExecutorState::Up
    }
}
