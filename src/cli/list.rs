//! `jobyard list`: every order, one line each.
//!
//! Invariants: the order of the lines follows from the facts: running ones by their claim, then pending
//! ones as they are queued, then settled ones, the newest last.

use super::out::{self, Colour, Screen};
use super::sight::Presence;
use super::table::{self, Cell, Column};
use super::{Globals, Outcome, code, look, say, sight};
use crate::model::id::OrderId;
use crate::model::index::Rank;
use crate::model::order::State;
use crate::model::paths;
use crate::scan::View;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Flags of `jobyard list`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only orders in this state: pending, running, done or failed
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<State>,
    /// Only ids, one a line, by the names of the files; for scripts that complete
    #[arg(long, hide = true)]
    ids: bool,
}

fn state(text: &str) -> Result<State, String> {
    let names = State::ALL.map(State::name).join(", ");
    State::parse(text).ok_or_else(|| format!("expected one of {names}"))
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    if given.ids {
        return names(globals, given.state);
    }
    let mut seat = look::open(globals)?;
    let view = seat.look()?;
    let presence = seat.presence();
    let mut ids = ordered(&view);
    ids.retain(|id| given.state.is_none_or(|s| lies_in(&view, id, s)));
    if globals.json {
        let orders: Value = ids.iter().map(|id| one(&view, id, presence)).collect();
        say::object("list", [("orders", orders)])?;
        return Ok(code::DONE);
    }
    let columns = [
        Column { name: "ID", least: None },
        Column { name: "STATE", least: None },
        Column { name: "PRI", least: Some(8) },
        Column { name: "TITLE", least: Some(12) },
        Column { name: "RESULT / WAITS FOR", least: Some(24) },
    ];
    let rows: Vec<Vec<Cell>> = ids.iter().map(|id| row(&view, id, presence)).collect();
    if rows.is_empty() {
        say::talk("jobyard: no work orders; `jobyard submit FILE` publishes one");
        return Ok(code::DONE);
    }
    out::text(&table::lines(&columns, &rows, Screen::of_stdout()))?;
    Ok(code::DONE)
}

/// Ids by the names of the files, sorted. No file is opened: a key was pressed and somebody waits.
fn names(globals: &Globals, state: Option<State>) -> Outcome {
    let root = globals.find_root()?;
    let mut ids = BTreeSet::new();
    for state in State::ALL.into_iter().filter(|s| state.is_none_or(|only| only == *s)) {
        let Ok(entries) = std::fs::read_dir(root.join(paths::dir(state))) else { continue };
        let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
        ids.extend(names.filter_map(|n| OrderId::parse(n.strip_suffix(".yaml")?).ok()));
    }
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    out::text(&text)?;
    Ok(code::DONE)
}

fn lies_in(view: &View, id: &OrderId, state: State) -> bool {
    view.index.tickets.get(id).is_some_and(|t| t.place(state).is_some())
}

/// Every id in the order of the list.
pub(super) fn ordered(view: &View) -> Vec<OrderId> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Key {
        Running(i64, OrderId),
        Queued(Rank),
        Unqueued(OrderId),
        Settled(i64, OrderId),
    }
    let key = |id: &OrderId| match view.index.tickets.get(id).and_then(|t| t.state()) {
        Some(State::Running) => {
            let claimed = view.attempt(id).map_or(i64::MAX, |a| a.claimed_ms);
            Key::Running(claimed, id.clone())
        }
        Some(State::Done | State::Failed) => Key::Settled(sight::ended_ms(view, id), id.clone()),
        _ => match view.index.queued.get(id) {
            Some(queued) => Key::Queued(queued.rank.clone()),
            None => Key::Unqueued(id.clone()),
        },
    };
    let mut ids: Vec<OrderId> = view.ids().into_iter().collect();
    ids.sort_by_cached_key(key);
    ids
}

fn row(view: &View, id: &OrderId, presence: Presence) -> Vec<Cell> {
    let word = sight::word(view, id);
    let colour = match word {
        "done" => Some(Colour::Green),
        "running" => Some(Colour::Yellow),
        "pending" => None,
        _ => Some(Colour::Red),
    };
    let order = view.known(id).map(|k| &k.order);
    vec![
        Cell::new(id.as_str()),
        Cell::coloured(word, colour),
        Cell::new(order.map_or("", |o| o.priority.name())),
        Cell::new(order.map_or("", |o| &o.title)),
        Cell::new(&remark(view, id, presence)),
    ]
}

/// What a settled order came to, what a running one does, what a pending one waits for.
fn remark(view: &View, id: &OrderId, presence: Presence) -> String {
    match view.index.tickets.get(id).and_then(|t| t.state()) {
        Some(State::Running) => sight::activity(view, id),
        Some(State::Done | State::Failed) => {
            let result = sight::result(view, id).unwrap_or_default();
            match sight::reason(view, id).filter(|r| *r != result) {
                Some(reason) if !reason.is_empty() => format!("{result} ({reason})"),
                _ => result,
            }
        }
        None if sight::word(view, id) == "missing" => sight::MISSING.to_owned(),
        _ => {
            let found = sight::obstacles(view, id, presence);
            let texts: Vec<&str> =
                found.iter().map(|o| o.text.lines().next().unwrap_or_default()).collect();
            if texts.is_empty() { "is about to start".to_owned() } else { texts.join("; ") }
        }
    }
}

/// One order for machines.
pub(super) fn one(view: &View, id: &OrderId, presence: Presence) -> Value {
    let ticket = view.index.tickets.get(id);
    let state = ticket.and_then(|t| t.state()).map(State::name);
    let order = view.known(id).map(|k| &k.order);
    let waits: Value = sight::obstacles(view, id, presence)
        .iter()
        .map(|o| json!({ "kind": o.kind, "text": o.text, "release": o.release }))
        .collect();
    let attempt = view.attempt(id).map(|a| a.number).or(order.map(|o| o.own.attempt));
    let running = ticket.and_then(|t| t.state()) == Some(State::Running);
    json!({
        "id": id.as_str(),
        "state": state,
        "word": sight::word(view, id),
        "priority": order.map(|o| o.priority.name()),
        "title": order.map(|o| o.title.as_str()),
        "attempt": attempt.unwrap_or(0),
        "result": sight::result(view, id),
        "reason": sight::reason(view, id),
        "activity": running.then(|| sight::activity(view, id)),
        "progress": sight::progress(view, id),
        "waits": waits,
    })
}
