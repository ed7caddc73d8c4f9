//! `jobyard logs`: what the commands of an order wrote.
//!
//! Invariants: the bytes of a log are printed as they are; nothing is written; following ends when the order
//! is settled and everything is printed, when the reader has gone, or when time is up.

use super::look::{self, Seat};
use super::notice::{self, Notice};
use super::{Failure, Globals, Outcome, code, history, out, request, say};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::Reading;
use crate::model::order::State;
use crate::model::paths;
use crate::world::{Kind, World};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes read at once.
const PART_BYTES: usize = 64 << 10;

/// Flags of `jobyard logs`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order
    id: String,
    /// Of this attempt (default: the newest)
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Of this command only, without a head
    #[arg(long, value_name = "N")]
    command: Option<u32>,
    /// Go on until the order is settled
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
    attempt: u32,
    number: u32,
    name: String,
}

impl Log {
    fn path(&self, id: &OrderId) -> PathBuf {
        paths::run(id, self.attempt).join(&self.name)
    }
}

/// What has been printed.
struct Printer<'a> {
    id: &'a OrderId,
    given: &'a Arguments,
    /// How far each log was printed.
    done: BTreeMap<Log, u64>,
    last: Option<Log>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let id = request::order_id(&given.id)?;
    let mut seat = look::open(globals)?;
    let logs = logs(&mut seat, &id, &given)?;
    let known = exists(&mut seat, &id)?;
    if logs.is_empty() && !known {
        return Err(look::unknown(&id));
    }
    if globals.json {
        return as_json(&mut seat, &id, &logs);
    }
    let mut printer = Printer { id: &id, given: &given, done: BTreeMap::new(), last: None };
    if given.follow {
        return follow(&mut seat, &mut printer);
    }
    if logs.is_empty() {
        return Err(Failure::new(code::NOT_FOUND, missing(&mut seat, &id, &given)?));
    }
    for log in &logs {
        if !printer.print(&mut seat, log)? {
            break;
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
    let Some(attempt) = attempt else { return Ok(Vec::new()) };
    let mut logs: Vec<Log> = names(seat, &paths::run(id, attempt))?
        .into_iter()
        .filter_map(|name| {
            let number = name.strip_suffix(".log")?.split_once('-')?.0.parse().ok()?;
            Some(Log { attempt, number, name })
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
        let path = log.path(id);
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

/// Prints what comes until the order is settled.
fn follow(seat: &mut Seat, printer: &mut Printer<'_>) -> Outcome {
    let notice = Notice::new(printer.given.timeout.unwrap_or(notice::WAIT_MAX))?;
    let id = printer.id;
    let root = seat.root.clone();
    let states = State::ALL.map(|s| root.join(paths::dir(s)));
    let mut missing = 0;
    loop {
        notice.watch_all(&states)?;
        seat.still_there()?;
        notice.watch(&root.join(paths::RUNS))?;
        notice.watch(&root.join(paths::runs(id)))?;
        // Whether it is over is looked at before the logs are read: then nothing comes after.
        let over = is_over(seat, id, &mut missing)?;
        let logs = logs(seat, id, printer.given)?;
        if let Some(log) = logs.last() {
            notice.watch(&root.join(paths::run(id, log.attempt)))?;
        }
        let mut printed = false;
        for log in &logs {
            let before = printer.done.get(log).copied();
            if !printer.print(seat, log)? {
                return Ok(code::DONE);
            }
            printed |= before != printer.done.get(log).copied();
        }
        if over {
            return Ok(code::DONE);
        }
        // A directory that came just now is watched before the next wait.
        if !printed && !notice.wait()? {
            say::talk(&format!("jobyard: time is up; {id} is not settled yet"));
            return Ok(code::AGAIN);
        }
    }
}

/// The order is settled or gone; nothing more will be written.
fn is_over(seat: &mut Seat, id: &OrderId, missing: &mut u32) -> Result<bool, Failure> {
    const LOOKS: u32 = 2;
    if !seat.has_left(id)? {
        return Ok(false);
    }
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    let Some(ticket) = view.index.tickets.get(id).filter(|_| view.ids().contains(id)) else {
        *missing += 1;
        return Ok(*missing >= LOOKS && view.attempt(id).is_none());
    };
    let settled = ticket
        .state()
        .and_then(|s| ticket.place(s))
        .is_some_and(|p| matches!(p.reading, Reading::Settled { .. }));
    Ok(settled && ticket.attempt.is_none())
}

impl Printer<'_> {
    /// Prints what is new in a log. `false`: the reader has gone.
    fn print(&mut self, seat: &mut Seat, log: &Log) -> Result<bool, Failure> {
        let path = log.path(self.id);
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(code::FAILED, format!("read {}: {e}", path.display()))
        };
        let kind = seat.world.stat(&path).map_err(|f| failed(&f))?.map(|s| s.kind);
        if kind.is_some_and(|kind| kind != Kind::File) {
            if self.done.insert(log.clone(), 0).is_none() {
                let path = out::plain(&path.to_string_lossy());
                say::talk(&format!("jobyard: {path} is no regular file: it is not read"));
            }
            return Ok(true);
        }
        let file = match seat.world.open(&path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(true),
            Err(fault) if fault.is_obstacle() => {
                if !self.done.contains_key(log) {
                    say::talk(&format!("jobyard: {fault}: left out"));
                    self.done.insert(log.clone(), 0);
                }
                return Ok(true);
            }
            Err(fault) => return Err(failed(&fault)),
        };
        let new = !self.done.contains_key(log);
        let mut at = match (self.done.get(log), self.given.tail) {
            (Some(at), _) => *at,
            (None, Some(lines)) => last_lines(&file, lines).map_err(|e| failed(&e))?,
            (None, None) => 0,
        };
        self.done.insert(log.clone(), at);
        let mut headed = false;
        loop {
            let part = seat.world.read(&file, at, PART_BYTES).map_err(|f| failed(&f))?;
            let wants_head = new || (!part.is_empty() && self.last.as_ref() != Some(log));
            if wants_head && !std::mem::replace(&mut headed, true) && !self.head(log)? {
                return Ok(false);
            }
            if part.is_empty() {
                return Ok(true);
            }
            at += part.len() as u64;
            self.done.insert(log.clone(), at);
            if !out::bytes(&part)? {
                return Ok(false);
            }
        }
    }

    /// Says whose output follows.
    fn head(&mut self, log: &Log) -> Result<bool, Failure> {
        let first = self.last.replace(log.clone()).is_none();
        if self.given.command.is_some() {
            return Ok(true);
        }
        let gap = if first { "" } else { "\n" };
        let name = out::plain(&log.name);
        out::text(&format!("{gap}==> attempt {}, {name} <==\n", log.attempt))
    }
}

/// Where the last lines of a file begin.
fn last_lines(file: &File, lines: usize) -> std::io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let end = file.metadata()?.len();
    let mut at = end;
    let mut left = lines;
    let mut part = vec![0; PART_BYTES];
    while at > 0 {
        let from = at.saturating_sub(PART_BYTES as u64);
        let wanted = usize::try_from(at - from).unwrap_or(PART_BYTES);
        file.read_exact_at(&mut part[..wanted], from)?;
        for (offset, byte) in part[..wanted].iter().enumerate().rev() {
            let here = from + offset as u64;
            if *byte == b'\n' && here + 1 < end {
                if left <= 1 {
                    return Ok(if lines == 0 { end } else { here + 1 });
                }
                left -= 1;
            }
        }
        at = from;
    }
    Ok(if lines == 0 { end } else { 0 })
}
