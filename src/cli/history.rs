//! What the ledger says of an order, in words.
//!
//! Invariants: only whole lines with a matching hash count; nothing is written.

use super::out::{plain, span};
use super::{Failure, code};
use crate::model::attempt::{CommandEnd, CommandKind, Mode, Place};
use crate::model::event::{Event, Line, Link};
use crate::model::id::OrderId;
use crate::model::protocol::{Cause, End};
use crate::world::ledger;
use crate::world::real::RealWorld;
use crate::world::store::errno;

/// The lines of an order, or all of them, oldest first.
pub(super) fn lines(world: &mut RealWorld, id: Option<&OrderId>) -> Result<Vec<Line>, Failure> {
    let mut found = Vec::new();
    each(world, id, &mut |line| found.push(line))?;
    Ok(found)
}

/// The same, one after the other: never more than a segment is in memory.
pub(super) fn each(
    world: &mut RealWorld,
    id: Option<&OrderId>,
    seen: &mut dyn FnMut(Line),
) -> Result<(), Failure> {
    let failed = |f| Failure::new(code::FAILED, format!("read the ledger: {f}"));
    let numbers = match ledger::segments(world) {
        Ok(numbers) => numbers,
        Err(fault) if fault.errno == errno::ENOENT => Vec::new(),
        Err(fault) => return Err(failed(fault)),
    };
    let mark = id.map(|id| format!("\"id\":\"{id}\""));
    for number in numbers {
        let text = ledger::read_segment(world, number).map_err(failed)?;
        for line in ledger::whole_lines(&text) {
            if mark.as_ref().is_some_and(|mark| !line.contains(mark.as_str())) {
                continue;
            }
            let Ok(Link { line, .. }) = Link::parse(line) else { continue };
            if id.is_none_or(|id| line.id.as_deref() == Some(id.as_str())) {
                seen(line);
            }
        }
    }
    Ok(())
}

/// Whether a line tells of the order itself; a refused request may be about one that never was.
pub(super) fn tells(line: &Line) -> bool {
    !matches!(line.event, Event::Answer { .. })
}

/// One line in words.
pub(super) fn words(line: &Line) -> String {
    let attempt = line.attempt.map_or_else(String::new, |n| format!("attempt {n}: "));
    plain(&format!("{attempt}{}", event(&line.event)))
}

fn event(event: &Event) -> String {
    match event {
        Event::AdoptionOver => "settled tickets are adopted no longer".to_owned(),
        Event::Checkpoint { open, .. } => format!("a segment begins, {} attempts open", open.len()),
        Event::Intake => "seen in pending/".to_owned(),
        Event::Withdrawn => "withdrawn: its ticket was deleted".to_owned(),
        Event::Adopted { state } => format!("adopted as it lay in {state}/"),
        Event::Claiming(claim) => {
            let who = match &claim.mode {
                Mode::Process => "the daemon".to_owned(),
                Mode::Manual(holder) => format!("{} (uid {})", holder.name, holder.uid),
            };
            match &claim.place {
                Place::Root => format!("claimed by {who}, in the root"),
                Place::Tree { path, branch, base, .. } => {
                    format!("claimed by {who}, in {path} on {branch} from {base:.12}")
                }
            }
        }
        Event::Claimed => "taken".to_owned(),
        Event::Released { reason } => format!("the claim was undone: {reason}"),
        Event::Started { number, kind, name, .. } => {
            format!("command {number} started: {} ({name})", kind_word(*kind))
        }
        Event::Ended { number, end } => format!("command {number} ended: {}", end_words(end)),
        Event::Gate(gate) => match gate.unmet.iter().chain(&gate.violations).count() {
            0 => "the gate sees nothing against the checks".to_owned(),
            _ => {
                let all = gate.unmet.iter().chain(&gate.violations);
                let texts: Vec<&str> = all.map(|o| o.text.as_str()).collect();
                format!("the gate objects: {}", texts.join("; "))
            }
        },
        Event::Verdict { result, reason, .. } => {
            format!("verdict {} ({reason})", result.to_uppercase())
        }
        Event::Settled { state, result, reason, retry_at, .. } => match retry_at {
            Some(at) => format!("back to {state}/: {result} ({reason}); tried again at {at}"),
            None => format!("settled into {state}/: {result} ({reason})"),
        },
        Event::Request { verb, by, asked, .. } => {
            let reason = asked.reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
            format!("{verb} asked by {} (uid {}){reason}", by.name, by.uid)
        }
        Event::Answer { verb, code, text, .. } => format!("{verb} answered {code}: {text}"),
        Event::PutBack { from, to, reason } => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            format!("put back from {from}/ to {to}/{why}")
        }
        Event::MovedAside { from, to } => format!("what stood at {from} is now {to}"),
        Event::Requeued { reason, .. } => format!("requeued: {reason}"),
        Event::Held { reason, .. } => format!("held: {reason}"),
        Event::Unheld { .. } => "no longer held".to_owned(),
        Event::Epic { epic, status } => format!("the epic {epic} is {status}"),
    }
}

/// What a command is for.
pub(super) const fn kind_word(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Run(_) => "run",
        CommandKind::Check(_) => "check",
    }
}

/// How a command ended.
pub(super) fn end_words(end: &CommandEnd) -> String {
    let CommandEnd::Seen(end) = end else { return "lost: nobody saw its end".to_owned() };
    let how = match (end.exit, end.signal) {
        (Some(status), _) => format!("exit {status}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "not started".to_owned(),
    };
    let cause = match end.cause {
        Cause::Exited => "",
        Cause::Timeout => ", it ran past its timeout",
        Cause::IdleTimeout => ", it was silent past its idle_timeout",
        Cause::OutputLimit => ", it wrote more than log.max",
        Cause::Stopped => ", stopped",
        Cause::Shutdown => ", the executor was stopped",
        Cause::SealedChanged => ", the sealed order was changed",
        Cause::CouldNotStart => ", it could not be started",
    };
    let detail = end.detail.as_ref().map_or_else(String::new, |d| format!(": {d}"));
    format!("{how}{cause}{detail} after {}", took(end))
}

fn took(end: &End) -> String {
    let ms = end.ended_ms.saturating_sub(end.started_ms).max(0);
    match ms {
        0..120_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => span(ms),
    }
}
