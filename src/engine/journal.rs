//! `execution.log`: the audit log of one order, for people, derived from the ledger's events.
//!
//! Invariants: one whole line per fact: local time, actor, event padded to 15, text; control characters
//! are escaped; lines are only ever appended. `end.txt` beside the logs of an attempt says how it ended when
//! no verdict does.

use super::Engine;
use crate::model::attempt::{Attempt, CommandEnd, Mode};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::{Cause, End};
use crate::model::time::Moment;
use crate::world::store::move_aside;
use crate::world::{Fault, World};
use std::path::Path;

impl<W: World> Engine<W> {
    pub(super) fn log_event(
        &mut self,
        id: &OrderId,
        attempt: Option<u32>,
        event: &Event,
        at: Moment,
    ) {
        if let Some((actor, name, text)) = words(attempt, event) {
            self.log_line(id, (actor, name, &text), at);
        }
    }

    /// A fact that is no line of the ledger.
    pub(super) fn log_words(&mut self, id: &OrderId, name: &str, text: &str) {
        let at = self.world.now();
        self.log_line(id, ("SYSTEM", name, text), at);
    }

    fn log_line(&mut self, id: &OrderId, (actor, name, text): (&str, &str, &str), at: Moment) {
        let time = at.local(&self.options.policy.zone);
        let line =
            format!("{time} | {:<9} | {name:<15} | {}\n", format!("[{actor}]"), escape(text));
        self.logs.entry(id.clone()).or_default().push_str(&line);
    }

    /// Says in the run directory how an attempt ended that no verdict tells of.
    pub(super) fn write_end(&mut self, id: &OrderId, attempt: &Attempt) -> Result<(), Fault> {
        let Some(settled) = &attempt.settled else { return Ok(()) };
        if attempt.verdict.is_some() || attempt.commands.is_empty() {
            return Ok(());
        }
        let number = attempt.number;
        let reason = escape(&settled.reason);
        let mut text = format!("attempt {number} of {id}: {} ({reason})\n", settled.result);
        for command in &attempt.commands {
            let how = match &command.end {
                Some(CommandEnd::Seen(end)) => end_text(end),
                Some(CommandEnd::Lost) | None => "nobody saw its end".to_owned(),
            };
            text.push_str(&format!("{}: {}\n", command.log_name(), escape(&how)));
        }
        let dir = Path::new(&attempt.run_dir()).to_owned();
        // No verdict was reached: what is called so is the job's own.
        let verdict = dir.join(paths::VERDICT);
        if self.world.stat(&verdict).is_ok_and(|found| found.is_some()) {
            let aside = move_aside(&mut self.world, &verdict)?;
            self.moved_aside(id, &verdict, &aside);
        }
        self.put_evidence(id, &dir.join(paths::END), text.as_bytes())
    }
}

/// Control characters as `\u{..}`, so that a line stays a line.
pub(super) fn escape(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let plain = (!c.is_control()).then_some(c);
            let escaped = c.is_control().then(|| c.escape_default());
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

fn words(attempt: Option<u32>, event: &Event) -> Option<(&'static str, &'static str, String)> {
    let n = attempt.unwrap_or(0);
    Some(match event {
        Event::Claiming(claim) => match &claim.mode {
            Mode::Process => ("SYSTEM", "CLAIMED", format!("attempt {n} by the daemon")),
            Mode::Manual(h) => {
                let forced = claim.forced.as_ref();
                let forced = forced.map_or_else(String::new, |why| format!(", forced: {why}"));
                ("SYSTEM", "CLAIMED", format!("attempt {n} by {} (uid {}){forced}", h.name, h.uid))
            }
        },
        Event::Claimed => ("SYSTEM", "TAKEN", format!("attempt {n}")),
        Event::Released { reason } => ("SYSTEM", "ROLLED_BACK", format!("attempt {n}: {reason}")),
        Event::Started { number, name, .. } => {
            ("SYSTEM", "JOB_STARTED", format!("attempt {n}, command {number} ({name})"))
        }
        Event::Ended { number, end } => ended(n, *number, end),
        Event::Gate(gate) if gate.unmet.is_empty() && gate.violations.is_empty() => return None,
        Event::Gate(gate) => {
            let texts: Vec<&str> =
                gate.unmet.iter().chain(&gate.violations).map(|o| o.text.as_str()).collect();
            ("GATE", "GATE_BLOCKED", texts.join("; "))
        }
        Event::Verdict { result, reason, .. } => {
            ("GATE", "VERDICT", format!("attempt {n}: {} ({reason})", result.to_uppercase()))
        }
        Event::Settled { state, result, reason, retry_at, .. } => match retry_at {
            Some(at) => ("SYSTEM", "RETRY", format!("attempt {n}: {reason}; again at {at}")),
            None => ("SYSTEM", "JOB_COMPLETED", format!("to {state}/: {result} ({reason})")),
        },
        Event::Request { verb, by, .. } => {
            ("REQUEST", "ASKED", format!("{verb} by {} (uid {})", by.name, by.uid))
        }
        Event::Answer { verb, code, text, .. } => {
            ("REQUEST", "ANSWERED", format!("{verb}: {text} (exit {code})"))
        }
        Event::PutBack { from, to, reason } => {
            ("SYSTEM", "PUT_BACK", format!("from {from}/ to {to}/ {reason}"))
        }
        Event::MovedAside { from, to } => {
            ("SYSTEM", "MOVED_ASIDE", format!("what stood at {from} is now {to}"))
        }
        Event::Requeued { reason, .. } => ("SYSTEM", "REQUEUED", reason.clone()),
        Event::Held { reason, .. } => ("SYSTEM", "HELD", reason.clone()),
        Event::Unheld { .. } => ("SYSTEM", "UNHELD", String::new()),
        Event::Epic { epic, status } => ("SYSTEM", "EPIC", format!("{epic} is {status}")),
        Event::Adopted { state } if state == State::Running.name() => {
            ("SYSTEM", "ADOPTED", format!("attempt {n} goes on under another daemon"))
        }
        Event::Checkpoint { .. }
        | Event::AdoptionOver
        | Event::Intake
        | Event::Withdrawn
        | Event::Adopted { .. } => {
            return None;
        }
    })
}

fn ended(n: u32, number: u32, end: &CommandEnd) -> (&'static str, &'static str, String) {
    let CommandEnd::Seen(end) = end else {
        let text = format!("attempt {n}, command {number}: nobody saw its end");
        return ("SYSTEM", "LOST", text);
    };
    let name =
        if end.cause == Cause::Exited && end.exit == Some(0) { "COMPLETED" } else { "FAILED" };
    ("SYSTEM", name, format!("attempt {n}, command {number}: {}", end_text(end)))
}

/// How a command ended, in words.
pub(super) fn end_text(end: &End) -> String {
    let how = match (end.exit, end.signal) {
        (Some(status), _) => format!("exit {status}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "not started".to_owned(),
    };
    let seconds = end.ended_ms.saturating_sub(end.started_ms).max(0);
    let took = format!("{}.{}s", seconds / 1000, seconds % 1000 / 100);
    let cause = match end.cause {
        Cause::Exited => String::new(),
        Cause::Timeout => ", it ran past its timeout".to_owned(),
        Cause::IdleTimeout => ", it was silent past its idle_timeout".to_owned(),
        Cause::OutputLimit => ", it wrote more than log.max".to_owned(),
        Cause::Stopped => ", stopped".to_owned(),
        Cause::Shutdown => ", the executor was stopped".to_owned(),
        Cause::SealedChanged => ", the sealed order was changed".to_owned(),
        Cause::CouldNotStart => format!(", {}", end.detail.as_deref().unwrap_or("no detail")),
    };
    let rest = match end.leftovers {
        0 => String::new(),
        n => format!(", {n} left-over processes ended"),
    };
    format!("{how} after {took}{cause}{rest}")
}
