//! The course of an open attempt: its commands one after another, then the gate, then its settlement.
//!
//! Invariants: a command of `run` is started at most once per attempt; the end of a command is what
//! the executor saw, else `lost`, never a guess while a process of the attempt may live; checks whose end
//! nobody saw are run again, all of them, a bounded number of times.

use super::action::{Action, Wait};
use super::retry;
use super::step::{Facts, Step};
use crate::model::attempt::{Asked, Attempt, Command, CommandEnd, CommandKind, Place, Wish};
use crate::model::index::{ExecutorFact, ExecutorState};
use crate::model::order::{RetryOn, State};
use crate::model::protocol::Cause;
use crate::model::time::Moment;

/// How often the checks are begun again when nobody saw an end, before that counts as a failure.
pub const CHECK_ROUNDS_MAX: usize = 5;

/// What follows for a running ticket.
pub fn next(facts: &Facts<'_>, attempt: &Attempt) -> Step {
    if let Some(command) = attempt.unended() {
        return under_way(facts, attempt, command);
    }
    match &attempt.asked {
        Some(asked) if asked.wish == Wish::Cancel => Step::act(cancelled(asked)),
        Some(asked) if asked.wish == Wish::Requeue => {
            let given = asked.options.reason.clone();
            let reason = given.unwrap_or_else(|| "requeued".to_owned());
            Step::act(settle(State::Pending, "requeued", &reason, None))
        }
        Some(_) => gate(attempt, facts.now),
        None if attempt.is_process() => own_course(facts, attempt),
        None => {
            Step { waits: vec![Wait::Running("taken by a person".to_owned())], ..Step::default() }
        }
    }
}

/// What has to be recorded about a command even when the ticket itself is out of place.
pub fn bookkeeping(facts: &Facts<'_>, attempt: &Attempt) -> Step {
    match attempt.unended() {
        Some(command) => under_way(facts, attempt, command),
        None => Step::default(),
    }
}

/// An order that is set aside: only the end of its command is recorded.
pub fn aside(facts: &Facts<'_>, text: &str) -> Step {
    let attempt = facts.ticket.attempt.as_deref();
    let mut step = attempt.map(|a| bookkeeping(facts, a)).unwrap_or_default();
    step.waits.push(Wait::Refused(text.to_owned()));
    step
}

/// What follows while the ticket is missing: an accepted `cancel` needs none.
pub fn without_ticket(facts: &Facts<'_>, attempt: &Attempt) -> Step {
    match (attempt.unended(), &attempt.asked) {
        (Some(command), _) => under_way(facts, attempt, command),
        (None, Some(asked)) if asked.wish == Wish::Cancel => Step::act(cancelled(asked)),
        (None, Some(_)) => {
            let text = "its ticket is missing".to_owned();
            Step::act(Action::RefuseAsked { code: 4, text })
        }
        (None, None) => Step::default(),
    }
}

fn cancelled(asked: &Asked) -> Action {
    let given = asked.options.reason.clone();
    settle(State::Failed, "cancelled", &given.unwrap_or_else(|| "cancelled".to_owned()), None)
}

/// A command was started and its end is not recorded.
fn under_way(facts: &Facts<'_>, attempt: &Attempt, command: &Command) -> Step {
    let fact = facts.index.executor.get(&attempt.key(command.number));
    match fact {
        Some(ExecutorFact::Ended(end)) => {
            let end = CommandEnd::Seen((**end).clone());
            return Step::act(Action::RecordEnd { end });
        }
        Some(ExecutorFact::Swept(0)) => return lost(),
        Some(ExecutorFact::Running | ExecutorFact::Sent) if wants_stop(attempt, command) => {
            return Step::act(Action::Stop);
        }
        Some(ExecutorFact::Running | ExecutorFact::Sent | ExecutorFact::Sweeping) => {
            return Step { waits: vec![runs(command)], ..Step::default() };
        }
        Some(ExecutorFact::Refused) => return Step::act(Action::Sweep),
        Some(ExecutorFact::Swept(left)) => {
            let text = format!("{left} processes of {} could not be ended", command.name);
            return Step { waits: vec![Wait::Running(text)], ..Step::default() };
        }
        None => {}
    }
    if command.boot != facts.index.boot {
        return lost();
    }
    match facts.index.executor_state {
        ExecutorState::Up if wants_stop(attempt, command) => Step::act(Action::Sweep),
        ExecutorState::Up => Step::act(Action::Resend),
        _ => Step { waits: vec![runs(command)], ..Step::default() },
    }
}

fn lost() -> Step {
    Step::act(Action::RecordEnd { end: CommandEnd::Lost })
}

fn runs(command: &Command) -> Wait {
    Wait::Running(format!("runs {} ({})", command.name, command.log_name()))
}

/// Somebody wants the command ended, and not just to run the gate beside a check.
fn wants_stop(attempt: &Attempt, command: &Command) -> bool {
    attempt.asked.as_ref().is_some_and(|asked| match asked.wish {
        Wish::Cancel | Wish::Requeue => true,
        Wish::Finish => asked.options.stop && matches!(command.kind, CommandKind::Run(_)),
    })
}

/// The daemon carries it: the next command of `run`, or the gate.
fn own_course(facts: &Facts<'_>, attempt: &Attempt) -> Step {
    let failed = attempt
        .commands
        .iter()
        .filter(|c| matches!(c.kind, CommandKind::Run(_)))
        .find_map(|c| c.end.as_ref().and_then(retry::failure));
    if let Some((kind, reason)) = failed {
        return Step::act(failed_attempt(attempt, kind, "fail", &reason, facts.now));
    }
    let passed = attempt.run_passed();
    if passed < attempt.claim.sealed.run.len() {
        if !facts.policy.runs {
            return Step { waits: vec![Wait::NoDaemon], ..Step::default() };
        }
        let index = u32::try_from(passed).unwrap_or(u32::MAX);
        return Step::act(Action::Start { kind: CommandKind::Run(index) });
    }
    gate(attempt, facts.now)
}

fn gate(attempt: &Attempt, now: Moment) -> Step {
    if let Some(verdict) = &attempt.verdict {
        let action = match verdict.result.as_str() {
            "fail" => failed_attempt(attempt, RetryOn::VerifyFail, "fail", &verdict.reason, now),
            result => settle(State::Done, result, &verdict.reason, None),
        };
        return Step::act(action);
    }
    let sealed = &attempt.claim.sealed;
    if attempt.claim.place == Place::Root && sealed.checks.is_empty() {
        return Step::act(Action::Judge);
    }
    let Some(seen) = &attempt.gate else { return Step::act(Action::OpenGate) };
    if !seen.unmet.is_empty() && attempt.asked.is_some() {
        let texts: Vec<&str> = seen.unmet.iter().map(|o| o.text.as_str()).collect();
        let text = format!("{}; it stays running", texts.join("; "));
        return Step::act(Action::RefuseAsked { code: 4, text });
    }
    let skip = attempt.asked.as_ref().is_some_and(|a| a.options.skip_verification);
    if skip || !seen.unmet.is_empty() || !seen.violations.is_empty() {
        return Step::act(Action::Judge);
    }
    let checks = attempt.checks();
    if checks.iter().any(unseen) && rounds(attempt) < CHECK_ROUNDS_MAX {
        return Step::act(Action::OpenGate);
    }
    if checks.len() < sealed.checks.len() {
        let index = u32::try_from(checks.len()).unwrap_or(u32::MAX);
        return Step::act(Action::Start { kind: CommandKind::Check(index) });
    }
    Step::act(Action::Judge)
}

/// Nobody saw its end, or it was ended by a shutdown: it says nothing about the work.
fn unseen(command: &Command) -> bool {
    match &command.end {
        Some(CommandEnd::Lost) => true,
        Some(CommandEnd::Seen(end)) => end.cause == Cause::Shutdown,
        None => false,
    }
}

/// How often the first check was begun.
fn rounds(attempt: &Attempt) -> usize {
    attempt.commands.iter().filter(|c| c.kind == CommandKind::Check(0)).count()
}

fn failed_attempt(
    attempt: &Attempt,
    kind: RetryOn,
    result: &str,
    reason: &str,
    now: Moment,
) -> Action {
    let by_person = attempt.asked.is_some();
    match retry::retry_at(attempt, kind, now).filter(|_| !by_person) {
        Some(at) => settle(State::Pending, result, reason, Some(at)),
        None => settle(State::Failed, result, reason, None),
    }
}

fn settle(state: State, result: &str, reason: &str, retry_at: Option<Moment>) -> Action {
    Action::Settle { state, result: result.to_owned(), reason: reason.to_owned(), retry_at }
}
