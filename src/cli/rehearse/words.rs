//! Actions of the planner in words.
//!
//! Invariants: every action has words, or is one that only the record is about; names of values, never
//! values of `env`.

use super::{Engine, Failure, code};
use crate::cli::history;
use crate::model::attempt::{Attempt, CommandKind, Mode, Wish};
use crate::model::id::OrderId;
use crate::model::order::{Order, State, Workspace};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::plan::action::{Action, describe};
use crate::plan::step::Step;
use crate::world::World;
use crate::world::store::{TICKET_BYTES_MAX, read_whole};

/// An action that a request leads to; nothing for what only the record is about.
pub(super) fn of_request<W: World>(
    engine: &mut Engine<W>,
    id: &OrderId,
    action: &Action,
) -> Vec<String> {
    match action {
        Action::Intake | Action::ClearWhy { .. } | Action::Why { .. } => Vec::new(),
        Action::PutBack { .. } | Action::AdoptLease | Action::DropLease => {
            let words = of_daemon(engine, id, action);
            words.iter().map(|w| w.replacen("would ", "would first ", 1)).collect()
        }
        other => of_daemon(engine, id, other),
    }
}

/// An action of a daemon.
pub(super) fn of_daemon<W: World>(
    engine: &mut Engine<W>,
    id: &OrderId,
    action: &Action,
) -> Vec<String> {
    let attempt = engine.index.tickets.get(id).and_then(|t| t.attempt.as_deref());
    let line = match action {
        Action::Claim { mode, .. } => return claim(engine, id, mode),
        Action::Accept { wish, options, .. } => return accept(attempt, *wish, options.stop),
        Action::Intake => "would note that it was seen in pending/".to_owned(),
        Action::Withdraw => "would note that its ticket was deleted".to_owned(),
        Action::Why { state, text, .. } => {
            let first = text.lines().next().unwrap_or_default();
            format!("would write {}: {first}", paths::why(*state, id).display())
        }
        Action::ClearWhy { state } => format!("would remove {}", paths::why(*state, id).display()),
        Action::SettleUnrun { from, result, reason, .. } => {
            format!("would move it from {}/ to failed/: {result}: {reason}", from.name())
        }
        Action::Hold { reason: Some(reason), .. } => format!("would hold it: {reason}"),
        Action::RestoreHold { reason } => format!("would write into it that it is held: {reason}"),
        Action::Hold { reason: None, .. } => "would let it go".to_owned(),
        Action::Requeue { from, .. } => {
            format!("would move it from {}/ to pending/, same branch and worktree", from.name())
        }
        Action::Takeover { .. } => {
            "would keep the old lock in the run directory and end that attempt, then ask again"
                .to_owned()
        }
        Action::PutBack { from, to, .. } => {
            format!("would put it back from {}/ to {}/", from.name(), to.name())
        }
        Action::PullBack { from, wish } => {
            let (from, wish) = (from.name(), wish.name());
            format!("would put it back from {from}/ to running/, and take that for `{wish}`")
        }
        Action::AdoptLease => "would renew its lease".to_owned(),
        Action::DropLease => "would remove a lease that no attempt owns".to_owned(),
        Action::UndoClaim { reason } => format!("would undo a claim: {reason}"),
        Action::CompleteTake | Action::AnswerTake => "would complete its `take`".to_owned(),
        Action::Refuse { request, text, .. } => {
            format!("would refuse {}: {text}", request.verb.name())
        }
        Action::RefuseAsked { text, .. } => format!("would refuse what was asked: {text}"),
        Action::AdoptSettled { state } => format!("would adopt it as it lies in {}/", state.name()),
        Action::DropDouble { earlier } => {
            format!("would remove its name in {}/: it is the same file", earlier.name())
        }
        Action::StampRunning => "would write the running stamp".to_owned(),
        other => of_attempt(attempt, other),
    };
    vec![line]
}

/// A step of an attempt that is under way.
fn of_attempt(attempt: Option<&Attempt>, action: &Action) -> String {
    match action {
        Action::Start { kind } => {
            let text =
                attempt.and_then(|a| crate::cli::sight::command_text(&a.claim.sealed, *kind));
            format!("would start the {}: {}", kind_word(*kind), text.unwrap_or_default())
        }
        Action::Resend => "would send the start of its command again".to_owned(),
        Action::Stop => "would end the whole tree of its command".to_owned(),
        Action::Sweep => "would end what is left of its command".to_owned(),
        Action::RecordEnd { end } => {
            format!("would record how its command ended: {}", history::end_words(end))
        }
        Action::OpenGate => "would look at the worktree before the checks".to_owned(),
        Action::Judge => "would decide the verdict".to_owned(),
        Action::Settle { state, result, reason, .. } => {
            format!("would move it to {}/: {result}: {reason}", state.name())
        }
        _ => "would carry out its settlement".to_owned(),
    }
}

const fn kind_word(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Run(_) => "command of `run`",
        CommandKind::Check(_) => "check",
    }
}

fn claim<W: World>(engine: &mut Engine<W>, id: &OrderId, mode: &Mode) -> Vec<String> {
    let owner = match mode {
        Mode::Manual(holder) => format!("{} (uid {})", holder.name, holder.uid),
        Mode::Process => "the daemon".to_owned(),
    };
    let ticket = engine.index.tickets.get(id).cloned().unwrap_or_default();
    let last = ticket.last_attempt.max(ticket.brief().map_or(0, |b| b.attempt));
    let mut lines = vec![format!("would make the lease {} for {owner}", paths::lock(id).display())];
    let order = order(engine, id);
    match order.as_ref().map(|o| o.workspace.clone()).unwrap_or_default() {
        Workspace::None => lines.push("would work in the root: no branch, no worktree".to_owned()),
        Workspace::Worktree => lines.extend(tree(engine, id)),
        Workspace::Inherit(other) => lines.extend(tree(engine, &other)),
    }
    let after = if last > 0 { format!(", after attempt {last}") } else { String::new() };
    lines.push(format!("would move it from pending/ to running/{after}"));
    if *mode == Mode::Process {
        let engine = |o: &Order| o.engine.as_ref().map(|e| format!("would run the engine {e}"));
        let run = order.iter().flat_map(|o| &o.run).map(|text| format!("would run: {text}"));
        lines.extend(run.chain(order.as_ref().filter(|o| o.run.is_empty()).and_then(engine)));
    }
    lines
}

fn order<W: World>(engine: &mut Engine<W>, id: &OrderId) -> Option<Order> {
    let path = paths::ticket(State::Pending, id);
    let read = read_whole(&mut engine.world, &path, TICKET_BYTES_MAX).ok().flatten();
    read.and_then(|s| parse_order(&s.bytes, id.as_str()).ok()).map(|p| p.order)
}

fn tree<W: World>(engine: &mut Engine<W>, id: &OrderId) -> [String; 2] {
    let branch = match engine.world.git_branch(&id.branch()) {
        Ok(Some(tip)) => format!("would use the branch {} at {}", id.branch(), tip.as_str()),
        Ok(None) => format!("would make the branch {}", id.branch()),
        Err(git) => format!("would fail: {git}"),
    };
    [branch, format!("would make the worktree {}, or use it if it is there", id.worktree())]
}

fn accept(attempt: Option<&Attempt>, wish: Wish, stop: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let running = attempt.and_then(|a| a.unended());
    if let Some(command) = running.filter(|_| stop || wish != Wish::Finish) {
        lines.push(format!("would end the whole tree of {}", command.log_name()));
    }
    match wish {
        Wish::Finish => {}
        Wish::Cancel => {
            lines.push(format!("would move it to {}/: cancelled", State::Failed.name()));
        }
        Wish::Requeue => lines.push(format!("would move it to {}/", State::Pending.name())),
    }
    lines
}

/// What follows once an attempt was asked to finish.
pub(super) fn of_course<W: World>(
    engine: &mut Engine<W>,
    id: &OrderId,
    next: &Step,
) -> Result<Vec<String>, Failure> {
    let attempt = engine.index.tickets.get(id).and_then(|t| t.attempt.clone());
    let Some(attempt) = attempt else { return Ok(Vec::new()) };
    let asked = attempt.asked.as_ref().filter(|a| a.wish == Wish::Finish);
    let Some(asked) = asked else { return Ok(Vec::new()) };
    let checks = || {
        let checks = attempt.claim.sealed.checks.iter();
        let mut lines: Vec<String> =
            checks.map(|c| format!("would run {}: {}", c.name, c.command)).collect();
        lines.push("would move it to done/, or to failed/ when the gate says FAIL".to_owned());
        lines
    };
    Ok(match next.actions.first() {
        Some(Action::Start { kind: CommandKind::Check(_) }) => checks(),
        Some(Action::Judge) => {
            let failed = |f| Failure::new(code::FAILED, format!("look at {id}: {f}"));
            let Some((_, verdict)) = engine.verdict_now(id).map_err(failed)? else {
                return Ok(Vec::new());
            };
            let result = verdict.result.name();
            let to = if result == "fail" { State::Failed } else { State::Done };
            let said = verdict.sentences.iter().map(|s| format!("would say: {s}"));
            let word = if asked.options.skip_verification { "no check" } else { "no check more" };
            let mut lines = vec![format!("would run {word}")];
            lines.extend(said);
            lines.push(format!("would move it to {}/: {result}", to.name()));
            lines
        }
        None if !next.waits.is_empty() => vec![format!("would wait: {}", describe(&next.waits))],
        _ if asked.options.skip_verification => {
            vec!["would then look at the worktree, run no check, and move it to done/".to_owned()]
        }
        _ => {
            let mut lines = vec!["would then look at the worktree".to_owned()];
            lines.extend(checks());
            lines
        }
    })
}
