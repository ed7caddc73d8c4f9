//! A running attempt in the words of the tables `command` and `course` of `docs/states.md`.
//!
//! Invariant: decided from the attempt and from what the executor said, by code of its own.

use super::facts::{is_run, went_well};
use jobyard::model::attempt::{Attempt, Command, CommandEnd, CommandKind, Mode, Wish};
use jobyard::model::index::{ExecutorFact, ExecutorState, Index};
use jobyard::model::protocol::{Cause, CommandKey};

/// Checks whose end nobody saw are begun again so often.
const CHECK_ROUNDS_MAX: usize = 5;

/// The command whose end is not recorded.
pub(super) fn under_way(attempt: &Attempt) -> Option<&Command> {
    attempt.commands.iter().find(|command| command.end.is_none())
}

/// The values of `executor`, `link`, `boot` and `wish`.
pub(super) fn command(index: &Index, attempt: &Attempt, command: &Command) -> [&'static str; 4] {
    let (id, number) = (attempt.id.clone(), command.number);
    let key = CommandKey { id, attempt: attempt.number, number };
    let executor = match index.executor.get(&key) {
        None => "nothing",
        Some(ExecutorFact::Sent) => "sent",
        Some(ExecutorFact::Sweeping) => "sweeping",
        Some(ExecutorFact::Running) => "running",
        Some(ExecutorFact::Ended(_)) => "ended",
        Some(ExecutorFact::Refused) => "refused",
        Some(ExecutorFact::Swept(0)) => "swept",
        Some(ExecutorFact::Swept(_)) => "left",
    };
    let link = if index.executor_state == ExecutorState::Up { "up" } else { "down" };
    let boot = if command.boot == index.boot { "this" } else { "other" };
    let wish = match &attempt.asked {
        None => "none",
        Some(asked) if asked.wish != Wish::Finish => "stop",
        Some(asked) if asked.options.stop && is_run(command) => "stop",
        Some(_) => "finish",
    };
    [executor, link, boot, wish]
}

/// The values of `carrier`, `asked`, `run`, `gate`, `checks` and `verdict`.
pub(super) fn course(attempt: &Attempt) -> [&'static str; 6] {
    let carrier = if attempt.claim.mode == Mode::Process { "daemon" } else { "person" };
    let asked = match &attempt.asked {
        None => "none",
        Some(asked) => match (asked.wish, asked.options.skip_verification) {
            (Wish::Finish, true) => "skip",
            (Wish::Finish, false) => "finish",
            (Wish::Cancel, _) => "cancel",
            (Wish::Requeue, _) => "requeue",
        },
    };
    let gate = match &attempt.gate {
        None => "none",
        Some(gate) if !gate.unmet.is_empty() => "unmet",
        Some(gate) if !gate.violations.is_empty() => "violated",
        Some(_) => "open",
    };
    [carrier, asked, run(attempt), gate, checks(attempt), verdict(attempt)]
}

/// Nothing to look at: no worktree and no check.
pub(super) fn nothing_to_look_at(attempt: &Attempt) -> bool {
    attempt.base().is_none() && attempt.claim.sealed.checks.is_empty()
}

fn run(attempt: &Attempt) -> &'static str {
    let mut passed = 0;
    for command in attempt.commands.iter().filter(|c| is_run(c)) {
        match &command.end {
            Some(end) if went_well(end) => passed += 1,
            Some(end) => return if retried(attempt, kind(end)) { "retry" } else { "failed" },
            None => return "left",
        }
    }
    if passed < attempt.claim.sealed.run.len() {
        return "left";
    }
    let again = verdict(attempt) == "bad" && retried(attempt, "verify-fail");
    if again { "retry" } else { "passed" }
}

/// The word of `retry.on` for an end that was not well.
fn kind(end: &CommandEnd) -> &'static str {
    let CommandEnd::Seen(end) = end else { return "lost" };
    match end.cause {
        Cause::Exited if end.exit.is_none() && end.signal.is_none() => "lost",
        Cause::Exited | Cause::CouldNotStart | Cause::SealedChanged => "fail",
        Cause::Timeout | Cause::IdleTimeout => "timeout",
        Cause::OutputLimit => "output-limit",
        Cause::Stopped | Cause::Shutdown => "stopped",
    }
}

fn retried(attempt: &Attempt, kind: &str) -> bool {
    let sealed = &attempt.claim.sealed;
    let Some(policy) = sealed.retry.as_ref().filter(|_| attempt.claim.mode == Mode::Process) else {
        return false;
    };
    let fails = sealed.verify_fails + u32::from(kind == "verify-fail");
    sealed.retries < policy.max
        && policy.on.iter().any(|on| on == kind)
        && policy.max_fail_verify.is_none_or(|max| fails < max)
}

fn checks(attempt: &Attempt) -> &'static str {
    let since = attempt.commands.iter().skip(attempt.gate_after);
    let unseen = |end: &CommandEnd| match end {
        CommandEnd::Lost => true,
        CommandEnd::Seen(end) => end.cause == Cause::Shutdown,
    };
    let lost = since.clone().filter_map(|c| c.end.as_ref()).any(unseen);
    let rounds = attempt.commands.iter().filter(|c| c.kind == CommandKind::Check(0)).count();
    if lost && rounds < CHECK_ROUNDS_MAX {
        return "lost";
    }
    if since.count() < attempt.claim.sealed.checks.len() { "left" } else { "ended" }
}

fn verdict(attempt: &Attempt) -> &'static str {
    match attempt.verdict.as_ref().map(|v| v.result.as_str()) {
        None => "none",
        Some("fail") => "bad",
        Some(_) => "good",
    }
}
