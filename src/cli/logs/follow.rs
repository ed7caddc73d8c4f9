//! Following logs while they are written, of orders that run and of those that start later.
//!
//! Invariants: what is named ends when it is settled and printed; without names it ends when the reader has
//! gone or time is up; which attempts there are is learnt from the ledger, so none is too short to be seen;
//! a byte is printed once, and an order that is over is watched no longer.

use super::{Log, Printer, exists, names, of_attempt};
use crate::cli::look::Seat;
use crate::cli::mark::Mark;
use crate::cli::notice::{self, Notice};
use crate::cli::{Failure, Outcome, code, say};
use crate::model::event::{Event, Link};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::paths;
use std::collections::{BTreeMap, BTreeSet};

/// Looks after which an order that is nowhere counts as gone.
const LOOKS: u32 = 2;

/// What is followed of one order.
#[derive(Default)]
struct Course {
    attempts: BTreeSet<u32>,
    missing: u32,
}

/// Prints what comes.
pub(super) fn follow(
    seat: &mut Seat,
    named: &BTreeSet<OrderId>,
    printer: &mut Printer<'_>,
) -> Outcome {
    let notice = Notice::new(printer.given.timeout.unwrap_or(notice::WAIT_MAX))?;
    let mut mark = Mark::at_end(&seat.root)?;
    let mut courses = begin(seat, named, printer)?;
    loop {
        watch(seat, &notice, &courses)?;
        seat.still_there()?;
        // Whether they are over is looked at first: of what is over, nothing comes after this look.
        let mut over = Vec::new();
        for (id, course) in &mut courses {
            if is_over(seat, id, course)? {
                over.push((id.clone(), course.attempts.len()));
            }
        }
        // What was learnt just now is watched before the next wait.
        let mut news = false;
        while let Some(grown) = mark.more()? {
            for line in grown.lines {
                news |= started(&line, named, &mut courses);
            }
        }
        for log in logs(seat, &courses, printer)? {
            let before = printer.done.get(&log).copied();
            if !printer.print(seat, &log)? {
                return Ok(code::DONE);
            }
            news |= before != printer.done.get(&log).copied();
        }
        for (id, attempts) in over {
            // One that was begun anew meanwhile goes on.
            if courses.get(&id).is_some_and(|course| course.attempts.len() == attempts) {
                forget(seat, &notice, &id, courses.remove(&id).unwrap_or_default())?;
                printer.done.retain(|log, _| log.id != id);
            }
        }
        if courses.is_empty() && !named.is_empty() {
            return Ok(code::DONE);
        }
        if !news && !notice.wait()? {
            let open: Vec<&str> = courses.keys().map(OrderId::as_str).collect();
            if !named.is_empty() {
                say::talk(&format!("jobyard: time is up; not settled yet: {}", open.join(", ")));
            }
            return Ok(code::AGAIN);
        }
    }
}

/// What is named, with its newest attempt; else what runs.
fn begin(
    seat: &mut Seat,
    named: &BTreeSet<OrderId>,
    printer: &Printer<'_>,
) -> Result<BTreeMap<OrderId, Course>, Failure> {
    let mut ids = named.clone();
    if named.is_empty() {
        let running = names(seat, &paths::dir(State::Running))?;
        let stems = running.iter().filter_map(|name| name.strip_suffix(".yaml"));
        ids.extend(stems.filter_map(|stem| OrderId::parse(stem).ok()));
    }
    let mut courses = BTreeMap::new();
    for id in ids {
        let attempts = names(seat, &paths::runs(&id))?;
        let newest = attempts.iter().filter_map(|name| name.parse().ok()).max();
        let wanted = printer.given.attempt.or(newest);
        courses.insert(id, Course { attempts: wanted.into_iter().collect(), missing: 0 });
    }
    Ok(courses)
}

fn watch(seat: &Seat, notice: &Notice, courses: &BTreeMap<OrderId, Course>) -> Result<(), Failure> {
    notice.watch_all(&State::ALL.map(|s| seat.root.join(paths::dir(s))))?;
    notice.watch(&seat.root.join(paths::AUDIT))?;
    notice.watch(&seat.root.join(paths::RUNS))?;
    for (id, course) in courses {
        notice.watch(&seat.root.join(paths::runs(id)))?;
        for attempt in &course.attempts {
            notice.watch(&seat.root.join(paths::run(id, *attempt)))?;
        }
    }
    Ok(())
}

/// Takes the watches of an order away.
fn forget(seat: &Seat, notice: &Notice, id: &OrderId, course: Course) -> Result<(), Failure> {
    for attempt in course.attempts {
        notice.forget(&seat.root.join(paths::run(id, attempt)))?;
    }
    notice.forget(&seat.root.join(paths::runs(id)))
}

/// Takes in a line that tells of a command that was started; whether its attempt is a new one.
fn started(text: &str, named: &BTreeSet<OrderId>, courses: &mut BTreeMap<OrderId, Course>) -> bool {
    if !text.contains("\"event\":\"started\"") {
        return false;
    }
    let Ok(Link { line, .. }) = Link::parse(text) else { return false };
    let id = line.id.and_then(|id| OrderId::parse(&id).ok());
    let (Event::Started { .. }, Some(id), Some(attempt)) = (line.event, id, line.attempt) else {
        return false;
    };
    let wanted = named.is_empty() || courses.contains_key(&id);
    wanted && courses.entry(id).or_default().attempts.insert(attempt)
}

/// The logs to print.
fn logs(
    seat: &mut Seat,
    courses: &BTreeMap<OrderId, Course>,
    printer: &Printer<'_>,
) -> Result<Vec<Log>, Failure> {
    let wanted = |attempt: &u32| printer.given.attempt.is_none_or(|wanted| wanted == *attempt);
    let mut logs = Vec::new();
    for (id, course) in courses {
        for attempt in course.attempts.iter().copied().filter(wanted) {
            logs.extend(of_attempt(seat, id, attempt, printer.given)?);
        }
    }
    Ok(logs)
}

/// The order is settled or gone; nothing more will be written.
fn is_over(seat: &mut Seat, id: &OrderId, course: &mut Course) -> Result<bool, Failure> {
    if !seat.has_left(id)? {
        return Ok(false);
    }
    if !exists(seat, id)? {
        course.missing += 1;
        return Ok(course.missing >= LOOKS);
    }
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    Ok(view.index.tickets.get(id).is_some_and(|ticket| ticket.is_settled()))
}
