//! `jobyard logs`: what the commands of an order wrote.
//!
//! Invariants: the bytes of a log are printed as they are; nothing is written.

mod follow;
mod printer;

use super::look::{self, Seat};
use super::{Failure, Globals, Outcome, code, history, notice, request, say};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::paths;
use crate::world::World;
use printer::Printer;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Flags of `jobyard logs`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Ids of the work orders; with --follow none means all, also those that start later
    #[arg(required_unless_present = "follow", value_name = "ID")]
    ids: Vec<String>,
    /// Of this attempt (default: the newest, and with --follow all that begin)
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Of this command only, without a head
    #[arg(long, value_name = "N")]
    command: Option<u32>,
    /// Go on until the orders are settled, or, when none is named, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines of each log
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Longest time to follow, in seconds or as 90s, 10m, 1h30m (default 7 days)
    #[arg(long, value_name = "S", value_parser = notice::span)]
    timeout: Option<Duration>,
}

/// One log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Log {
    id: OrderId,
    attempt: u32,
    number: u32,
    name: String,
}

impl Log {
    fn path(&self) -> PathBuf {
        paths::run(&self.id, self.attempt).join(&self.name)
    }
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let ids: Result<BTreeSet<OrderId>, _> =
        given.ids.iter().map(|text| request::order_id(text)).collect();
    let ids = ids?;
    let mut seat = look::open(globals)?;
    let mut all = Vec::new();
    for id in &ids {
        let logs = logs(&mut seat, id, &given)?;
        if logs.is_empty() && !exists(&mut seat, id)? {
            return Err(look::unknown(id));
        }
        all.push((id, logs));
    }
    if globals.json {
        let [(id, logs)] = all.as_slice() else {
            return Err(Failure::new(code::USAGE, "logs --json is about one order: name it"));
        };
        return as_json(&mut seat, id, logs);
    }
    let mut printer = Printer::new(&given);
    if given.follow {
        return follow::follow(&mut seat, &ids, &mut printer);
    }
    for (id, logs) in &all {
        if logs.is_empty() {
            return Err(Failure::new(code::NOT_FOUND, missing(&mut seat, id, &given)?));
        }
        for log in logs {
            if !printer.print(&mut seat, log)? {
                return Ok(code::DONE);
            }
        }
    }
    Ok(code::DONE)
}

/// Why there is nothing to print.
fn missing(seat: &mut Seat, id: &OrderId, given: &Arguments) -> Result<String, Failure> {
    let mut attempts: Vec<u32> =
        names(seat, &paths::runs(id))?.iter().filter_map(|n| n.parse().ok()).collect();
    attempts.sort_unstable();
    let has = |number: &u32| attempts.contains(number);
    Ok(match (given.attempt, given.command) {
        (Some(number), _) if !attempts.is_empty() && !has(&number) => {
            let known: Vec<String> = attempts.iter().map(u32::to_string).collect();
            format!("{id} has no attempt {number}; there are: {}", known.join(", "))
        }
        (_, Some(command)) if !attempts.is_empty() => {
            format!("{id} has no log of command {command} in that attempt; `jobyard logs {id}`")
        }
        _ => format!("{id} has no log yet; `jobyard logs -f {id}` waits for it"),
    })
}

/// A ticket or an attempt of that id is there.
fn exists(seat: &mut Seat, id: &OrderId) -> Result<bool, Failure> {
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    Ok(view.ids().contains(id) || view.attempt(id).is_some())
}

/// The logs that are wanted, in order.
fn logs(seat: &mut Seat, id: &OrderId, given: &Arguments) -> Result<Vec<Log>, Failure> {
    let attempt = match given.attempt {
        Some(attempt) => Some(attempt),
        None => names(seat, &paths::runs(id))?.iter().filter_map(|n| n.parse().ok()).max(),
    };
    attempt.map_or(Ok(Vec::new()), |attempt| of_attempt(seat, id, attempt, given))
}

/// Those of one attempt.
fn of_attempt(
    seat: &mut Seat,
    id: &OrderId,
    attempt: u32,
    given: &Arguments,
) -> Result<Vec<Log>, Failure> {
    let mut logs: Vec<Log> = names(seat, &paths::run(id, attempt))?
        .into_iter()
        .filter_map(|name| {
            let number = name.strip_suffix(".log")?.split_once('-')?.0.parse().ok()?;
            Some(Log { id: id.clone(), attempt, number, name })
        })
        .filter(|log| given.command.is_none_or(|n| n == log.number))
        .collect();
    logs.sort();
    Ok(logs)
}

/// Names in a directory; none when it is not there.
fn names(seat: &mut Seat, dir: &Path) -> Result<Vec<String>, Failure> {
    if seat.world.stat(dir).ok().flatten().is_none() {
        return Ok(Vec::new());
    }
    let entries = match seat.world.list(dir) {
        // What a command put in the place of its run directory holds no logs.
        Err(fault) if fault.is_obstacle() => Vec::new(),
        entries => entries.map_err(|f| Failure::new(code::FAILED, f.to_string()))?,
    };
    Ok(entries.iter().filter_map(|e| e.name.to_str().map(str::to_owned)).collect())
}

/// Logs as objects, with how their commands ended.
fn as_json(seat: &mut Seat, id: &OrderId, logs: &[Log]) -> Outcome {
    let lines = history::lines(&mut seat.world, Some(id))?;
    let end = |log: &Log| {
        lines.iter().rev().find_map(|l| match &l.event {
            Event::Ended { number, end }
                if l.attempt == Some(log.attempt) && *number == log.number =>
            {
                Some(history::end_words(end))
            }
            _ => None,
        })
    };
    let mut all = Vec::new();
    for log in logs {
        let path = log.path();
        let bytes = seat.world.stat(&path).ok().flatten().map(|s| s.size);
        all.push(json!({
            "attempt": log.attempt,
            "command": log.number,
            "file": path.display().to_string(),
            "bytes": bytes,
            "end": end(log),
        }));
    }
    say::object("logs", [("id", id.as_str().into()), ("logs", Value::Array(all))])?;
    Ok(code::DONE)
}
