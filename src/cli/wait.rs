//! `jobyard wait`: until orders are settled.
//!
//! Invariants: an order counts as settled only by jobyard's own stamp, so a file moved by hand ends no
//! wait; it never waits past its time-out; nothing is written.

use super::look::{self, Seat};
use super::notice::{self, Notice};
use super::status_line::StatusLine;
use super::{Globals, Outcome, code, history, out, request, say, sight};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::paths;
use crate::scan::View;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Flags of `jobyard wait`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Ids of the work orders
    #[arg(required_unless_present_any = ["all", "group"], value_name = "ID")]
    ids: Vec<String>,
    /// Those too that are pending or running now
    #[arg(long)]
    all: bool,
    /// Those of this group too that are pending or running now
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Longest wait in seconds, or as 90s, 10m, 1h30m (default 7 days)
    #[arg(long, value_name = "S", value_parser = notice::span)]
    timeout: Option<Duration>,
}

/// How an order ended.
#[derive(Clone, PartialEq, Eq, Debug)]
struct End {
    state: &'static str,
    word: String,
    reason: Option<String>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let ids: Result<BTreeSet<OrderId>, _> =
        given.ids.iter().map(|text| request::order_id(text)).collect();
    let mut ids = ids?;
    let mut seat = look::open(globals)?;
    if given.all || given.group.is_some() {
        let group = given.group.as_deref().filter(|_| !given.all);
        ids.extend(open_ones(&seat.look()?, group));
        if ids.is_empty() {
            let of = group.map_or_else(String::new, |g| format!(" of the group {}", out::plain(g)));
            say::talk(&format!("jobyard: no order{of} is pending or running"));
        }
    }
    let notice = Notice::new(given.timeout.unwrap_or(notice::WAIT_MAX))?;
    let dirs: Vec<PathBuf> = State::ALL.map(|s| seat.root.join(paths::dir(s))).into();
    let mut ends: BTreeMap<OrderId, End> = BTreeMap::new();
    let mut open = ids.clone();
    let mut line = StatusLine::of_stderr(globals.json);
    let mut first = true;
    while !open.is_empty() {
        notice.watch_all(&dirs)?;
        seat.still_there()?;
        line.clear();
        look_again(&mut seat, &mut open, &mut ends, first, globals.json)?;
        if std::mem::take(&mut first) && !open.is_empty() && seat.daemon().is_none() {
            say::talk("jobyard: no daemon runs now; `jobyard daemon` starts one");
        }
        if line.is_shown() && !open.is_empty() {
            line.show(&under_way(&seat.look_at(&open)?, &open, ids.len()));
        }
        if !open.is_empty() && !notice.wait_for(line.pause())? {
            break;
        }
    }
    line.clear();
    let exit = match (open.is_empty(), ends.values().all(|e| e.state == "done")) {
        (false, _) => code::AGAIN,
        (true, true) => code::DONE,
        (true, false) => code::FAILED,
    };
    if globals.json {
        let orders: Value = ids.iter().map(|id| of_end(id, ends.get(id))).collect();
        say::object("wait", [("code", exit.into()), ("orders", orders)])?;
    } else if !open.is_empty() {
        let names: Vec<&str> = open.iter().map(OrderId::as_str).collect();
        say::talk(&format!("jobyard: time is up; not settled yet: {}", names.join(", ")));
    }
    Ok(exit)
}

/// The orders that are pending or running, of a group or of all.
fn open_ones(view: &View, group: Option<&str>) -> BTreeSet<OrderId> {
    let wanted = |id: &OrderId| {
        let ticket = view.index.tickets.get(id);
        let state = ticket.and_then(|t| t.state());
        let begun = ticket.is_some_and(|t| t.attempt.is_some());
        (matches!(state, Some(State::Pending | State::Running)) || state.is_none() && begun)
            && group.is_none_or(|group| view.group(id) == Some(group))
    };
    view.ids().into_iter().filter(wanted).collect()
}

/// What goes on, in one line.
fn under_way(view: &View, open: &BTreeSet<OrderId>, of: usize) -> String {
    let running = |id: &&OrderId| {
        view.index.tickets.get(*id).is_some_and(|t| t.state() == Some(State::Running))
    };
    let words = open.iter().filter(running).map(|id| format!("{id} {}", sight::activity(view, id)));
    let words: Vec<String> = words.collect();
    let pending = open.len() - words.len();
    let mut line = format!("{} of {of} settled, {pending} pending", of - open.len());
    for word in words {
        line.push_str(&format!(" | {word}"));
    }
    line
}

fn of_end(id: &OrderId, end: Option<&End>) -> Value {
    json!({
        "id": id.as_str(),
        "settled": end.is_some(),
        "state": end.map(|e| e.state),
        "result": end.map(|e| e.word.as_str()),
        "reason": end.and_then(|e| e.reason.as_deref()),
    })
}

fn look_again(
    seat: &mut Seat,
    open: &mut BTreeSet<OrderId>,
    ends: &mut BTreeMap<OrderId, End>,
    first: bool,
    quiet: bool,
) -> Result<(), super::Failure> {
    let mut left = BTreeSet::new();
    for id in open.iter() {
        if seat.has_left(id)? || first {
            left.insert(id.clone());
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let view = seat.look_at(&left)?;
    for id in left {
        let end = match view.ids().contains(&id) || view.attempt(&id).is_some() {
            true => settled(&view, &id),
            false => withdrawn(seat, &id, first)?,
        };
        let Some(end) = end else { continue };
        if !quiet {
            let reason = end.reason.as_ref().map_or_else(String::new, |r| format!(" ({r})"));
            let line = format!("{id} {}: {}{reason}", end.state, end.word);
            out::text(&format!("{}\n", out::plain(&line)))?;
        }
        open.remove(&id);
        ends.insert(id, end);
    }
    Ok(())
}

fn settled(view: &View, id: &OrderId) -> Option<End> {
    let ticket = view.index.tickets.get(id)?;
    let state = ticket.state()?;
    ticket.is_settled().then(|| End {
        state: state.name(),
        word: sight::result(view, id).unwrap_or_else(|| sight::word(view, id).to_owned()),
        reason: sight::reason(view, id),
    })
}

/// Its ticket is nowhere: it was deleted, or never there.
fn withdrawn(seat: &mut Seat, id: &OrderId, first: bool) -> Result<Option<End>, super::Failure> {
    let lines = history::lines(&mut seat.world, Some(id))?;
    let last = lines.iter().rev().find_map(|l| match &l.event {
        Event::Settled { state, result, reason, .. } => {
            Some(State::parse(state).filter(|s| matches!(s, State::Done | State::Failed)).map(
                |s| End { state: s.name(), word: result.clone(), reason: Some(reason.clone()) },
            ))
        }
        Event::Withdrawn | Event::Intake => Some(None),
        _ => None,
    });
    if last.is_none() && first {
        return Err(look::unknown(id));
    }
    Ok(Some(last.flatten().unwrap_or_else(|| End {
        state: "withdrawn",
        word: "its ticket was deleted".to_owned(),
        reason: None,
    })))
}
