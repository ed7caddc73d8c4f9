//! Faults: plans that are changed before they are carried out.

use super::{Fault, How};
use jobyard::engine::Round;
use jobyard::model::attempt::{Attempt, CommandEnd, CommandKind, Mode, Options, Wish};
use jobyard::model::id::OrderId;
use jobyard::model::index::{Index, Request, Seen, Ticket, owner};
use jobyard::model::lease::LeaseBody;
use jobyard::model::order::State;
use jobyard::model::request::Verb;
use jobyard::model::time::{Millis, Moment};
use jobyard::plan::action::{Action, Wait};
use jobyard::plan::{Policy, ready};

const fn plan(
    name: &'static str,
    broken: &'static str,
    alter: fn(&mut Round<'_>) -> bool,
) -> Fault {
    Fault { name, broken, how: How::Plan(alter) }
}

/// Replaces the actions for which there are others.
fn replace(
    round: &mut Round<'_>,
    by: impl Fn(&Index, &OrderId, &Action) -> Option<Vec<Action>>,
) -> bool {
    let mut met = false;
    let mut actions = Vec::new();
    for (id, action) in std::mem::take(&mut round.plan.actions) {
        match by(round.index, &id, &action) {
            Some(others) => {
                met = true;
                actions.extend(others.into_iter().map(|a| (id.clone(), a)));
            }
            None => actions.push((id, action)),
        }
    }
    round.plan.actions = actions;
    met
}

pub(super) fn attempt<'a>(index: &'a Index, id: &OrderId) -> Option<&'a Attempt> {
    index.tickets.get(id)?.attempt.as_deref()
}

/// The order and its attempt are forgotten, as if neither had been.
fn forget(round: &mut Round<'_>, picks: fn(&Action) -> bool) -> bool {
    let picked: Vec<OrderId> =
        round.plan.actions.iter().filter(|(_, a)| picks(a)).map(|(id, _)| id.clone()).collect();
    round.plan.actions.retain(|(_, a)| !picks(a));
    for id in &picked {
        round.index.open.remove(id);
        let ticket = round.index.ticket_mut(id);
        (ticket.attempt, ticket.seen) = (None, Seen::Pending);
    }
    !picked.is_empty()
}

fn release_early(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| {
        (*action == Action::CarryOut).then(|| vec![Action::DropLease, Action::CarryOut])
    })
}

fn second_attempt(round: &mut Round<'_>) -> bool {
    forget(round, |a| matches!(a, Action::PutBack { from: State::Pending, to: State::Running, .. }))
}

fn undo_skipped(round: &mut Round<'_>) -> bool {
    forget(round, |a| matches!(a, Action::UndoClaim { .. }))
}

fn trust_hand(round: &mut Round<'_>) -> bool {
    let trusted =
        |a: &Action| matches!(a, Action::PutBack { from: State::Done, to: State::Pending, .. });
    let ids: Vec<OrderId> =
        round.plan.actions.iter().filter(|(_, a)| trusted(a)).map(|(id, _)| id.clone()).collect();
    round.plan.actions.retain(|(_, a)| !trusted(a));
    for id in &ids {
        round.index.ticket_mut(id).seen = Seen::Settled(State::Done);
    }
    !ids.is_empty()
}

fn settled_stays_moved(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| match action {
        Action::PutBack { to: State::Done | State::Failed, .. } if attempt(index, id).is_none() => {
            Some(Vec::new())
        }
        _ => None,
    })
}

fn moved_stays_moved(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| {
        matches!(action, Action::PutBack { to: State::Running, .. }).then(Vec::new)
    })
}

fn steal_by_age(round: &mut Round<'_>) -> bool {
    let now = round.now;
    let old = |id: &&OrderId| {
        let held = attempt(round.index, id)
            .filter(|a| !a.is_process() && a.claimed && a.settled.is_none());
        held.is_some_and(|a| now.0 - a.claimed_ms > 3_600_000)
    };
    let ids: Vec<OrderId> = round.index.open.iter().filter(old).cloned().collect();
    let settle = settle(State::Pending, "taken-over", "old", None);
    round.plan.actions.extend(ids.iter().map(|id| (id.clone(), settle.clone())));
    !ids.is_empty()
}

fn settle(state: State, result: &str, reason: &str, retry_at: Option<Moment>) -> Action {
    Action::Settle { state, result: result.to_owned(), reason: reason.to_owned(), retry_at }
}

/// Orders of this round that wait in `pending/` for nothing but what is picked.
fn waiting(round: &Round<'_>, picks: fn(&Wait) -> bool) -> Vec<OrderId> {
    let waits = |id: &&OrderId| {
        let ticket = round.index.tickets.get(*id).filter(|t| t.attempt.is_none());
        let pending =
            ticket.filter(|t| t.state() == Some(State::Pending) && t.seen == Seen::Pending);
        let brief = pending.and_then(Ticket::brief).filter(|b| b.executable && b.stamp.is_none());
        brief.is_some_and(|brief| {
            let waits = ready::unmet(round.index, id, brief, round.now, round.policy);
            !waits.is_empty() && waits.iter().all(picks)
        })
    };
    if round.policy.runs {
        round.changed.iter().filter(waits).cloned().collect()
    } else {
        Vec::new()
    }
}

fn claim(round: &mut Round<'_>, ids: Vec<OrderId>) -> bool {
    let met = !ids.is_empty();
    let claim = Action::Claim { mode: Mode::Process, request: None, in_place: false };
    round.plan.actions.extend(ids.into_iter().map(|id| (id, claim.clone())));
    met
}

fn unknown_is_met(round: &mut Round<'_>) -> bool {
    let ids = waiting(
        round,
        |wait| matches!(wait, Wait::Dependency { state, .. } if &**state == "unknown"),
    );
    claim(round, ids)
}

fn locked_is_claimed(round: &mut Round<'_>) -> bool {
    let ids = waiting(round, |wait| matches!(wait, Wait::Lease(_)));
    claim(round, ids)
}

fn open_is_hopeless(round: &mut Round<'_>) -> bool {
    let ids = waiting(round, |wait| matches!(wait, Wait::Dependency { possible: true, .. }));
    let (result, reason) = ("skipped".to_owned(), "dependency-unsatisfiable".to_owned());
    let unrun = Action::SettleUnrun { from: State::Pending, result, reason, request: None };
    round.plan.actions.extend(ids.iter().map(|id| (id.clone(), unrun.clone())));
    !ids.is_empty()
}

fn one_slot_more(round: &mut Round<'_>) -> bool {
    let claims = |a: &Action| matches!(a, Action::Claim { mode: Mode::Process, .. });
    if !round.policy.runs
        || round.policy.only.is_some()
        || round.plan.actions.iter().any(|(_, a)| claims(a))
    {
        return false;
    }
    let more = Policy { slots: round.policy.slots + 1, ..round.policy.clone() };
    let best = ready::best(round.index, &more);
    let best = best.filter(|id| !round.plan.actions.iter().any(|(busy, _)| busy == id));
    claim(round, best.into_iter().collect())
}

fn last_first(round: &mut Round<'_>) -> bool {
    let last =
        round.index.ready.values().filter_map(|queue| queue.last()).max().map(|r| r.id.clone());
    let mut met = false;
    for (id, action) in &mut round.plan.actions {
        if let (Action::Claim { mode: Mode::Process, .. }, Some(last)) = (action, &last) {
            met |= id != last;
            id.clone_from(last);
        }
    }
    met
}

fn restart_lost(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| {
        let command = attempt(index, id)?.unended()?;
        let run = matches!(command.kind, CommandKind::Run(_));
        (run && *action == Action::RecordEnd { end: CommandEnd::Lost })
            .then(|| vec![action.clone(), Action::Start { kind: command.kind }])
    })
}

fn unswept(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| {
        (*action == Action::Sweep).then(|| vec![Action::RecordEnd { end: CommandEnd::Lost }])
    })
}

fn unstamped_released(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| {
        let settled = attempt(index, id)?.settled.as_ref()?.state();
        let there =
            matches!(action, Action::PutBack { from, to: State::Running, .. } if *from == settled);
        there.then(|| vec![Action::Release])
    })
}

fn finished_by_hand(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| {
        matches!(action, Action::PullBack { wish: Wish::Finish, .. })
            .then(|| vec![settle(State::Done, "pass", "moved", None)])
    })
}

fn check_unrun(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| {
        matches!(action, Action::Start { kind: CommandKind::Check(_) }).then(|| vec![Action::Judge])
    })
}

fn lost_check_counts(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| {
        let again = *action == Action::OpenGate && attempt(index, id)?.gate.is_some();
        again.then(|| vec![Action::Judge])
    })
}

fn failed_goes_on(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| {
        let attempt = attempt(index, id)?;
        let next = attempt.commands.len();
        let failed = matches!(action, Action::Settle { result, .. } if result == "fail");
        (failed && attempt.verdict.is_none() && next < attempt.claim.sealed.run.len())
            .then(|| vec![Action::Start { kind: CommandKind::Run(next as u32) }])
    })
}

fn bad_is_done(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| match action {
        Action::Settle { state: State::Failed, reason, .. }
            if attempt(index, id)?.verdict.is_some() =>
        {
            Some(vec![settle(State::Done, "pass", reason, None)])
        }
        _ => None,
    })
}

/// Those of the daemon's failed attempts that are not tried again, are.
fn retried(round: &mut Round<'_>, picks: fn(&Attempt, &str) -> bool) -> bool {
    let at = round.now.after(Millis(2000));
    replace(round, |index, id, action| match action {
        Action::Settle { state: State::Failed, result, reason, .. }
            if picks(attempt(index, id)?, result) =>
        {
            Some(vec![settle(State::Pending, result, reason, Some(at))])
        }
        _ => None,
    })
}

fn one_retry_more(round: &mut Round<'_>) -> bool {
    retried(round, |a, result| {
        let retry = a.claim.sealed.retry();
        a.is_process()
            && result == "fail"
            && a.asked.is_none()
            && a.claim.sealed.retries >= retry.max
            && retry.max > 0
    })
}

fn any_end_retried(round: &mut Round<'_>) -> bool {
    retried(round, |a, result| {
        let retry = a.claim.sealed.retry();
        a.is_process()
            && result == "fail"
            && a.asked.is_none()
            && a.claim.sealed.retries < retry.max
    })
}

fn cancelled_retried(round: &mut Round<'_>) -> bool {
    retried(round, |a, result| a.is_process() && result == "cancelled")
}

fn person_retried(round: &mut Round<'_>) -> bool {
    retried(round, |a, _| !a.is_process())
}

fn never_retried(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| match action {
        Action::Settle { state: State::Pending, result, reason, retry_at: Some(_) } => {
            Some(vec![settle(State::Failed, result, reason, None)])
        }
        _ => None,
    })
}

fn later_name_dropped(round: &mut Round<'_>) -> bool {
    replace(round, |index, id, action| {
        let ticket = index.tickets.get(id)?;
        let later = State::ALL.into_iter().rfind(|s| ticket.place(*s).is_some())?;
        matches!(action, Action::DropDouble { .. })
            .then(|| vec![Action::DropDouble { earlier: later }])
    })
}

/// A request that is refused with these words is accepted.
fn accepted(round: &mut Round<'_>, words: &str, wish: Wish) -> bool {
    replace(round, |_, _, action| match action {
        Action::Refuse { request, text, .. } if text.contains(words) => {
            Some(vec![accept(request, wish)?])
        }
        _ => None,
    })
}

fn accept(request: &Request, wish: Wish) -> Option<Action> {
    let body = request.body.as_ref().ok()?;
    let options = Options {
        reason: body.reason.clone(),
        skip_verification: body.skip_verification,
        stop: body.stop,
        takeover: body.takeover,
    };
    let by = owner(request.uid, &request.user);
    Some(Action::Accept { request: request.clone(), wish, options, by })
}

fn anybody_finishes(round: &mut Round<'_>) -> bool {
    accepted(round, "only the holder finishes it", Wish::Finish)
}

fn skipped_without_reason(round: &mut Round<'_>) -> bool {
    accepted(round, "`finish --skip-verification` needs", Wish::Finish)
}

fn held_is_taken(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| match action {
        Action::Refuse { request, code: 5, text }
            if text.contains(" holds it") && request.verb == Verb::Take =>
        {
            Some(vec![Action::Takeover { request: request.clone() }])
        }
        _ => None,
    })
}

fn done_is_requeued(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| match action {
        Action::Refuse { request, text, .. }
            if text.starts_with("it is done; drop a new order") =>
        {
            Some(vec![Action::Requeue { from: State::Done, request: Some(request.clone()) }])
        }
        _ => None,
    })
}

fn refusal_unsaid(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| matches!(action, Action::Refuse { .. }).then(Vec::new))
}

fn take_untold(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| (*action == Action::AnswerTake).then(Vec::new))
}

fn requeue_by_hand_ignored(round: &mut Round<'_>) -> bool {
    replace(round, |_, _, action| {
        matches!(action, Action::Requeue { request: None, .. }).then(Vec::new)
    })
}

fn any_lease_ended(round: &mut Round<'_>) -> bool {
    let own = LeaseBody::parse(super::calls::OWN_LEASE.as_bytes());
    let releases =
        |(id, action): &(OrderId, Action)| (*action == Action::Release).then(|| id.clone());
    let ids: Vec<OrderId> = round.plan.actions.iter().filter_map(releases).collect();
    ids.iter().fold(false, |met, id| {
        let process = attempt(round.index, id).is_some_and(Attempt::is_process);
        match round.index.ticket_mut(id).lease.as_deref_mut() {
            Some(lease) if process && matches!(lease.body, LeaseBody::Foreign(_)) => {
                lease.body = own.clone();
                true
            }
            _ => met,
        }
    })
}

fn unvouched_adopted(round: &mut Round<'_>) -> bool {
    let lies = |id: &&OrderId| {
        let ticket = round.index.tickets.get(*id)?;
        let state = ticket.state().filter(|s| matches!(s, State::Done | State::Failed))?;
        let unvouched =
            matches!(ticket.seen, Seen::Never | Seen::Settled(_)) && ticket.attempt.is_none();
        let bare = ticket.brief().is_some_and(|b| b.stamp.is_none());
        (unvouched && bare && !round.policy.fresh).then_some(state)
    };
    let found: Vec<_> =
        round.changed.iter().filter_map(|id| Some((id.clone(), lies(&id)?))).collect();
    let met = !found.is_empty();
    round
        .plan
        .actions
        .extend(found.into_iter().map(|(id, state)| (id, Action::AdoptSettled { state })));
    met
}

/// Plans that are changed.
pub(super) static PLANS: &[Fault] = &[
    plan(
        "release-early",
        "the lease is released while the ticket is still in `running/`",
        release_early,
    ),
    plan("second-attempt", "an attempt is begun beside a living one", second_attempt),
    plan("undo-skipped", "a leftover claim is forgotten instead of undone", undo_skipped),
    plan("trust-hand", "a move by hand to `done/` counts as settled", trust_hand),
    plan(
        "settled-stays-moved",
        "a settled order that was moved by hand stays there",
        settled_stays_moved,
    ),
    plan(
        "moved-stays-moved",
        "a running order that was moved by hand stays there",
        moved_stays_moved,
    ),
    plan("steal-by-age", "a person's lease is stolen because it is old", steal_by_age),
    plan("unknown-is-met", "dependencies that are unknown count as met", unknown_is_met),
    plan("locked-is-claimed", "an order is claimed though a lock holds it", locked_is_claimed),
    plan(
        "open-is-hopeless",
        "a dependency that may still be met counts as hopeless",
        open_is_hopeless,
    ),
    plan("one-slot-more", "more commands run at once than there are slots", one_slot_more),
    plan("last-first", "the last of the queue is claimed first", last_first),
    plan("restart-lost", "a command whose end nobody saw is started again", restart_lost),
    plan("unswept", "a command is called lost before what is left of it has ended", unswept),
    plan(
        "unstamped-released",
        "a ticket that lies where it was settled counts as stamped",
        unstamped_released,
    ),
    plan("finished-by-hand", "a move by hand to `done/` is a settlement", finished_by_hand),
    plan("check-unrun", "the verdict does not wait for the checks", check_unrun),
    plan("lost-check-counts", "a check whose end nobody saw is not begun again", lost_check_counts),
    plan("failed-goes-on", "after a command that failed comes the next one", failed_goes_on),
    plan("bad-is-done", "a verdict of FAIL is settled as passed", bad_is_done),
    plan(
        "one-retry-more",
        "an attempt is retried once more than its policy allows",
        one_retry_more,
    ),
    plan("any-end-retried", "an end that the policy does not name is retried", any_end_retried),
    plan("cancelled-retried", "a cancelled attempt is retried", cancelled_retried),
    plan("person-retried", "a person's attempt is retried", person_retried),
    plan("never-retried", "no attempt is retried", never_retried),
    plan("later-name-dropped", "of an interrupted move the later name goes", later_name_dropped),
    plan("anybody-finishes", "somebody else finishes what a person holds", anybody_finishes),
    plan("skipped-without-reason", "checks are skipped without a reason", skipped_without_reason),
    plan("held-is-taken", "an order that a person holds is taken from them", held_is_taken),
    plan("done-is-requeued", "a done order is requeued", done_is_requeued),
    plan("refusal-unsaid", "a request that cannot be carried out is dropped", refusal_unsaid),
    plan("take-untold", "who takes an order is not told", take_untold),
    plan(
        "requeue-by-hand-ignored",
        "a failed order that was moved to `pending/` stays as it is",
        requeue_by_hand_ignored,
    ),
    plan("any-lease-ended", "a settlement removes whatever lock there is", any_lease_ended),
    plan(
        "unvouched-adopted",
        "a ticket that no settlement vouches for is adopted",
        unvouched_adopted,
    ),
];
