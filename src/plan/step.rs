//! One ticket: what its files, its lease and its attempt mean, and what follows. The rows S1 to S5 are
//! those of `docs/states.md`.
//!
//! Invariants: every combination has an answer, if only "nothing"; two different files for one id are
//! never chosen between; a ticket with an open attempt is never started a second time.

use super::Policy;
use super::action::{Action, Wait, describe};
use super::{progress, ready, requests};
use crate::model::attempt::{Attempt, Settlement, Wish};
use crate::model::defect::Defect;
use crate::model::id::OrderId;
use crate::model::index::{Brief, Index, LeaseFact, Place, Reading, Seen, Ticket};
use crate::model::lease::{LeaseBody, LeaseMode};
use crate::model::order::State;
use crate::model::time::{Moment, Tick};

/// How the explanation of a dependency cycle begins.
pub const CYCLE_MARK: &str = "dependency cycle";

/// How the explanation of an order that was set aside begins.
pub const OBSTRUCTED_MARK: &str = "obstructed";

/// What follows for one ticket.
#[derive(Default, Debug)]
pub struct Step {
    /// What to do now.
    pub actions: Vec<Action>,
    /// Why it does not run.
    pub waits: Vec<Wait>,
    /// It may be started when a slot is free.
    pub ready: bool,
    /// Look at it again then.
    pub look_at: Option<Tick>,
}

impl Step {
    pub(super) fn act(action: Action) -> Self {
        Self { actions: vec![action], ..Self::default() }
    }

    fn wait(wait: Wait) -> Self {
        Self { waits: vec![wait], ..Self::default() }
    }

    fn settling(at: Tick) -> Self {
        Self { look_at: Some(at), ..Self::wait(Wait::Settling(at)) }
    }
}

/// The facts one ticket is decided on.
pub struct Facts<'a> {
    /// All facts.
    pub index: &'a Index,
    /// Which ticket.
    pub id: &'a OrderId,
    /// The ticket.
    pub ticket: &'a Ticket,
    /// Wall clock.
    pub now: Moment,
    /// Steady clock.
    pub tick: Tick,
    /// Policy.
    pub policy: &'a Policy,
}

/// Decides about one ticket.
pub fn step(index: &Index, id: &OrderId, now: Moment, tick: Tick, policy: &Policy) -> Step {
    let Some(ticket) = index.tickets.get(id) else { return Step::default() };
    let facts = Facts { index, id, ticket, now, tick, policy };
    if let Some(text) = &ticket.obstacle {
        return progress::aside(&facts, text);
    }
    let there: Vec<State> = State::ALL.into_iter().filter(|s| ticket.place(*s).is_some()).collect();
    match there[..] {
        [] => absent(&facts),
        [state] => match ticket.place(state) {
            Some(place) => placed(&facts, state, place),
            None => Step::default(),
        },
        _ => doubled(&facts, &there),
    }
}

fn placed(facts: &Facts<'_>, state: State, place: &Place) -> Step {
    let attempt = facts.ticket.attempt.as_deref();
    if let Some(settled) = attempt.and_then(|a| a.settled.as_ref())
        && state != State::Running
        && let Reading::Order(brief) = &place.reading
        && brief.stamp.as_ref().is_some_and(|stamp| stamp.seq == settled.seq)
    {
        // Carried out, and moved on by a person before the lease was ended.
        return release(facts, settled.seq);
    }
    match (state, attempt) {
        (State::Pending, None) => pending(facts, place),
        (State::Pending, Some(attempt)) => pending_with_attempt(facts, place, attempt),
        (State::Running, None) => running_without_attempt(facts, place),
        (State::Running, Some(attempt)) => running(facts, place, attempt),
        (_, None) => settled(facts, state, place),
        (_, Some(attempt)) => settling(facts, state, place, attempt),
    }
}

/// No file. A pending one was withdrawn; a running one keeps its attempt until somebody brings it back, or
/// until it is settled: then nothing is left to carry out.
fn absent(facts: &Facts<'_>) -> Step {
    match facts.ticket.attempt.as_deref() {
        Some(attempt) if untouched(facts, attempt) => Step::act(undo("its ticket is gone")),
        Some(Attempt { settled: Some(settled), .. }) => release(facts, settled.seq),
        Some(attempt) => {
            let mut step = progress::without_ticket(facts, attempt);
            if untold(facts, attempt) {
                step.actions.insert(0, Action::AnswerTake);
            }
            step.actions.extend(requests::missing(facts, attempt));
            step
        }
        None if facts.ticket.seen == Seen::Pending => Step::act(Action::Withdraw),
        None => Step {
            actions: requests::refuse_all(facts, 3, "there is no such work order"),
            ..Step::default()
        },
    }
}

/// A take that was granted, though perhaps no line says so, and whose taker was not told yet.
fn untold(facts: &Facts<'_>, attempt: &Attempt) -> bool {
    let granted = attempt.claimed || facts.ticket.granted;
    granted && attempt.settled.is_none() && attempt.claim.request.is_some()
}

/// More than one file. The same file twice is an interrupted move; anything else is a finding.
fn doubled(facts: &Facts<'_>, there: &[State]) -> Step {
    let inode = |s: State| facts.ticket.place(s).map(|p| p.inode);
    let later = there[there.len() - 1];
    let twin = there[..there.len() - 1].iter().find(|s| inode(**s) == inode(later));
    if let Some(earlier) = twin {
        return Step::act(Action::DropDouble { earlier: *earlier });
    }
    let mut step = match facts.ticket.attempt.as_deref() {
        Some(attempt) if untold(facts, attempt) => Step::act(Action::AnswerTake),
        Some(attempt) => progress::bookkeeping(facts, attempt),
        None => Step::default(),
    };
    let names: Vec<_> = there.iter().map(|s| s.name()).collect();
    let text = format!("two different files carry this id, in {}", names.join(" and "));
    step.actions.extend(requests::refuse_all(facts, 4, &text));
    if let state @ (State::Pending | State::Running) = there[0] {
        let text = format!("{text}; remove or rename one of them");
        step.actions.push(Action::Why { state, text, refusal: true });
    }
    step.waits.push(Wait::Refused(text));
    step
}

/// S1, or a ticket somebody moved here.
fn pending(facts: &Facts<'_>, place: &Place) -> Step {
    if let Some(lease) = facts.ticket.lease.as_deref()
        && orphaned(facts, lease)
    {
        return Step::act(Action::DropLease);
    }
    match &place.reading {
        Reading::Settling(at) => Step::settling(*at),
        Reading::Refused(defects) => {
            let mut step = refused(State::Pending, defects);
            let asked = requests::refuse_all(facts, 4, "the ticket is not a valid work order");
            step.actions.splice(0..0, asked);
            step
        }
        Reading::Settled { .. } => Step::default(),
        Reading::Order(brief) => match &brief.stamp {
            Some(stamp) if stamp.state == State::Done => {
                Step::act(put_back(State::Pending, State::Done, "a done order stays done"))
            }
            Some(_) => Step::act(Action::Requeue { from: State::Pending, request: None }),
            None => super::pending::order(facts, place, brief),
        },
    }
}

/// It cannot be read, and waits until it is mended.
fn refused(state: State, defects: &[Defect]) -> Step {
    let text = lines(defects);
    let why = Action::Why { state, text: text.clone(), refusal: true };
    Step { actions: vec![why], ..Step::wait(Wait::Refused(text)) }
}

fn lines(defects: &[Defect]) -> String {
    defects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// S2: a claim that was interrupted, a requeue that is not finished, or a running ticket moved by hand.
fn pending_with_attempt(facts: &Facts<'_>, place: &Place, attempt: &Attempt) -> Step {
    match &attempt.settled {
        Some(s) if s.state() == State::Pending && !unstamped(place, attempt, s) => {
            release(facts, s.seq)
        }
        Some(_) => match place.reading {
            Reading::Settling(at) => Step { look_at: Some(at), ..Step::default() },
            _ => Step::act(put_back(State::Pending, State::Running, "")),
        },
        None if untouched(facts, attempt) => Step::act(undo("interrupted")),
        None => {
            let restarted = attempt.last().is_some_and(|c| c.boot != facts.index.boot);
            let why = if restarted {
                ""
            } else {
                "it is running; to start it again use `requeue`, to end it `cancel`"
            };
            Step::act(put_back(State::Pending, State::Running, why))
        }
    }
}

/// A ticket in `running/` that no attempt of ours owns.
fn running_without_attempt(facts: &Facts<'_>, place: &Place) -> Step {
    if let Reading::Settling(at) = &place.reading {
        return Step::settling(*at);
    }
    let lease = facts.ticket.lease.as_deref();
    if let Some(lease) = lease.filter(|lease| !orphaned(facts, lease)) {
        if let Some(action) = requests::takeover(facts, &place.reading) {
            return Step::act(action);
        }
        let actions = requests::refuse_all(facts, 5, "a lock that jobyard does not know holds it");
        return Step { actions, ..Step::wait(Wait::Lease(lease.body.describe())) };
    }
    match &place.reading {
        Reading::Order(brief) => match &brief.stamp {
            Some(stamp) => {
                let why = "a settled order is started again with `requeue`";
                Step::act(put_back(State::Running, stamp.state, why))
            }
            // Nobody's hand makes a lease: a claim moved it, and a power cut took the line that said so.
            None if lease.is_some() => Step::act(put_back(State::Running, State::Pending, "")),
            None if was_pending(facts) => taken_by_hand(facts, place, brief),
            None if facts.ticket.seen == Seen::Unrun => {
                Step::act(put_back(State::Running, State::Failed, "it was settled there"))
            }
            None => unexplained(facts),
        },
        Reading::Refused(defects) if was_pending(facts) => {
            Step::act(put_back(State::Running, State::Pending, &lines(defects)))
        }
        _ => unexplained(facts),
    }
}

/// It was pending, or on its way there, when a person moved it.
fn was_pending(facts: &Facts<'_>) -> bool {
    matches!(facts.ticket.seen, Seen::Pending | Seen::Requeued)
}

/// A finding: nothing is made of it, and whoever asks is told so.
fn unexplained(facts: &Facts<'_>) -> Step {
    let text = "it lies in running/, but was never taken from pending/; move it there";
    Step { actions: requests::refuse_all(facts, 4, text), ..Step::default() }
}

fn taken_by_hand(facts: &Facts<'_>, place: &Place, brief: &Brief) -> Step {
    let waits = ready::unmet(facts.index, facts.id, brief, facts.now, facts.policy);
    if !waits.is_empty() {
        let why = format!("it cannot be taken yet: {}", describe(&waits));
        return Step::act(put_back(State::Running, State::Pending, &why));
    }
    let holder = crate::model::index::owner(place.uid, &place.uid.to_string());
    let mode = crate::model::attempt::Mode::Manual(holder);
    Step::act(Action::Claim { mode, request: None, in_place: true })
}

/// S3.
fn running(facts: &Facts<'_>, place: &Place, attempt: &Attempt) -> Step {
    if let Some(settled) = &attempt.settled {
        let durable = settled.seq <= facts.index.durable_seq;
        return match &place.reading {
            _ if !durable => Step::default(),
            Reading::Settling(at) => Step::settling(*at),
            Reading::Refused(defects) => {
                let mut step = refused(State::Running, defects);
                step.actions.extend(requests::unmended(facts, attempt));
                step
            }
            _ => Step::act(Action::CarryOut),
        };
    }
    if !attempt.is_process() && !attempt.claimed {
        return Step::act(Action::CompleteTake);
    }
    let adopted = match facts.ticket.lease.as_deref().map(|l| &l.body) {
        None => false,
        Some(LeaseBody::Ours(lease)) => {
            lease.mode != LeaseMode::Process || lease.instance == facts.policy.instance
        }
        Some(LeaseBody::Foreign(_)) => true,
    };
    if !adopted {
        return Step::act(Action::AdoptLease);
    }
    if untold(facts, attempt) {
        return Step::act(Action::AnswerTake);
    }
    let mut step = Step::default();
    if place.why && matches!(place.reading, Reading::Order(_)) {
        step.actions.push(Action::ClearWhy { state: State::Running });
    }
    if let Some(action) = requests::running(facts, attempt) {
        step.actions.push(action);
        return step;
    }
    let progress = progress::next(facts, attempt);
    let idle = progress.actions.is_empty();
    step.actions.extend(progress.actions);
    step.waits = progress.waits;
    step.look_at = progress.look_at;
    if idle
        && let Reading::Order(brief) = &place.reading
        && brief.attempt != attempt.number
    {
        let due = facts.ticket.stamp_at;
        match facts.tick >= due {
            true => step.actions.push(Action::StampRunning),
            false => step.look_at = Some(due),
        }
    }
    step
}

/// S4: on its way out, or moved by hand.
fn settling(facts: &Facts<'_>, state: State, place: &Place, attempt: &Attempt) -> Step {
    match &attempt.settled {
        Some(s) if s.state() == state && !unstamped(place, attempt, s) => release(facts, s.seq),
        Some(_) => match place.reading {
            Reading::Settling(at) => Step { look_at: Some(at), ..Step::default() },
            _ => Step::act(put_back(state, State::Running, "")),
        },
        None if untouched(facts, attempt) => Step::act(put_back(state, State::Running, "")),
        None if state == State::Done && attempt.is_process() && !attempt.run_is_over() => {
            let why = "its commands still run; end them first with `finish --stop`";
            Step::act(put_back(state, State::Running, why))
        }
        None => {
            let wish = if state == State::Done { Wish::Finish } else { Wish::Cancel };
            Step::act(Action::PullBack { from: state, wish })
        }
    }
}

/// S5, or a ticket somebody moved here.
fn settled(facts: &Facts<'_>, state: State, place: &Place) -> Step {
    if let Some(lease) = facts.ticket.lease.as_deref()
        && orphaned(facts, lease)
    {
        return Step::act(Action::DropLease);
    }
    let by_hand = match &place.reading {
        Reading::Settling(at) => Some(Step { look_at: Some(*at), ..Step::default() }),
        Reading::Order(brief) => moved_here(facts, state, brief),
        Reading::Refused(_) if facts.ticket.seen == Seen::Pending => {
            Some(Step::act(put_back(state, State::Pending, "it is not a valid work order")))
        }
        Reading::Refused(_) => Some(Step {
            actions: requests::refuse_all(facts, 4, "the ticket is not a valid work order"),
            ..Step::wait(Wait::Settled(state))
        }),
        Reading::Settled { .. }
            if state == State::Failed && facts.ticket.seen == Seen::Requeued =>
        {
            Some(Step::act(Action::Requeue { from: state, request: None }))
        }
        Reading::Settled { .. } => None,
    };
    by_hand.unwrap_or_else(|| Step {
        actions: requests::settled(facts, state).into_iter().collect(),
        ..Step::wait(Wait::Settled(state))
    })
}

fn moved_here(facts: &Facts<'_>, state: State, brief: &Brief) -> Option<Step> {
    if let Some(stamp) = &brief.stamp {
        let why = format!("it was settled into {}/", stamp.state.name());
        return Some(Step::act(put_back(state, stamp.state, &why)));
    }
    match facts.ticket.seen {
        Seen::Pending if state == State::Failed => {
            Some(Step::act(settle_unrun(state, "cancelled")))
        }
        Seen::Pending => {
            let why = "an order gets to done/ by `take` and `finish`, or by its commands";
            Some(Step::act(put_back(state, State::Pending, why)))
        }
        Seen::Requeued => Some(Step::act(put_back(state, State::Pending, ""))),
        Seen::Unrun if state == State::Failed => Some(Step::act(settle_unrun(state, "cancelled"))),
        Seen::Unrun => Some(Step::act(put_back(state, State::Failed, "it was settled there"))),
        Seen::Never if facts.policy.fresh => Some(Step::act(Action::AdoptSettled { state })),
        Seen::Adopted(there) if there == state => Some(Step::act(Action::AdoptSettled { state })),
        Seen::Never | Seen::Settled(_) | Seen::Adopted(_) => None,
    }
}

fn release(facts: &Facts<'_>, seq: u64) -> Step {
    let durable = seq <= facts.index.durable_seq;
    if durable { Step::act(Action::Release) } else { Step::default() }
}

/// It lies where its settlement wants it, but a person moved it there: the stamp is missing.
fn unstamped(place: &Place, attempt: &Attempt, settled: &Settlement) -> bool {
    match &place.reading {
        Reading::Order(brief) if settled.state() == State::Pending => {
            let retry_at = settled.retry_at.as_deref().and_then(Moment::parse);
            brief.attempt != attempt.number || brief.retry_at != retry_at
        }
        Reading::Order(_) => true,
        Reading::Settled { attempt: number, .. } => *number != attempt.number,
        Reading::Refused(_) | Reading::Settling(_) => true,
    }
}

/// Nothing of the attempt was ever started or promised to anybody.
fn untouched(facts: &Facts<'_>, attempt: &Attempt) -> bool {
    let promised = attempt.claimed || facts.ticket.granted;
    attempt.commands.is_empty() && !promised && attempt.settled.is_none()
}

/// A lease of ours that no attempt owns: left by a claim or a settlement that a crash cut off.
fn orphaned(facts: &Facts<'_>, lease: &LeaseFact) -> bool {
    match &lease.body {
        LeaseBody::Ours(body) if body.host == facts.policy.host => {
            body.instance == facts.policy.instance
                || body.boot != facts.index.boot
                || (body.mode == LeaseMode::Process && lease.holder_dead)
        }
        _ => false,
    }
}

/// A person moved it to `failed/` before it ever ran.
fn settle_unrun(from: State, result: &str) -> Action {
    let (result, reason) = (result.to_owned(), result.to_owned());
    Action::SettleUnrun { from, result, reason, request: None }
}

fn undo(reason: &str) -> Action {
    Action::UndoClaim { reason: reason.to_owned() }
}

fn put_back(from: State, to: State, why: &str) -> Action {
    Action::PutBack { from, to, why: why.to_owned() }
}
