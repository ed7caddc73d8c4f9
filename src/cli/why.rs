//! `jobyard why`: every reason why an order does not run, since when, and what would release it.

use super::sight::{self, Obstacle};
use super::{Globals, Outcome, code, history, look, out, request, say};
use crate::model::event::{Event, Line};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::paths;
use crate::model::time::Moment;
use crate::scan::View;
use crate::world::root_lock;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Flags of `jobyard why`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order
    id: String,
}

/// Longest `.why` that is shown.
const WHY_BYTES_MAX: u64 = 64 << 10;

/// An obstacle with the time it stands there.
struct Standing {
    obstacle: Obstacle,
    since: Option<Moment>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let id = request::order_id(&given.id)?;
    let mut seat = look::open(globals)?;
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    let lines = history::lines(&mut seat.world, Some(&id))?;
    let told = lines.iter().any(history::tells);
    if !told && !view.ids().contains(&id) && view.attempt(&id).is_none() {
        return Err(look::unknown(&id));
    }
    let served = root_lock::last_served(&seat.root).map(Moment).max(view.served);
    let mut standing = Vec::new();
    for obstacle in sight::obstacles(&view, &id, seat.presence()) {
        let since = since(&view, &id, &obstacle, &lines, served);
        standing.push(Standing { obstacle, since });
    }
    let sentence = sentence(&view, &id, &lines, &standing);
    let why = why_file(&seat.root, &view, &id);
    if globals.json {
        let waits: Value = standing.iter().map(of_standing).collect();
        let fields = [
            ("id", id.as_str().into()),
            ("state", state(&view, &id).into()),
            ("word", sight::word(&view, &id).into()),
            ("text", sentence.into()),
            ("waits", waits),
            ("why_file", why.into()),
        ];
        say::object("why", fields)?;
        return Ok(code::DONE);
    }
    out::text(&text(&view, &id, &sentence, &standing, why.as_deref()))?;
    Ok(code::DONE)
}

fn state(view: &View, id: &OrderId) -> Option<&'static str> {
    view.index.tickets.get(id)?.state().map(State::name)
}

fn of_standing(standing: &Standing) -> Value {
    let o = &standing.obstacle;
    json!({
        "kind": o.kind,
        "text": o.text,
        "since": standing.since.map(Moment::rfc3339),
        "release": o.release,
        "upstream": o.upstream.as_ref().map(OrderId::as_str),
    })
}

/// The newest line by which an order came to lie where it lies.
fn last_move(lines: &[Line]) -> Option<Moment> {
    let moves = |l: &&Line| {
        matches!(
            l.event,
            Event::Intake
                | Event::Claiming(_)
                | Event::Settled { .. }
                | Event::Adopted { .. }
                | Event::Requeued { .. }
                | Event::PutBack { .. }
                | Event::Released { .. }
        )
    };
    lines.iter().rev().find(moves).map(|l| l.time)
}

/// Since when a condition is unmet: never earlier than the order came to lie where it lies.
fn since(
    view: &View,
    id: &OrderId,
    obstacle: &Obstacle,
    lines: &[Line],
    served: Option<Moment>,
) -> Option<Moment> {
    let place = view.index.tickets.get(id).and_then(|t| t.place(t.state()?));
    let came_here = place.map(|p| Moment(p.intake_ns / 1_000_000));
    let edited = place.map(|p| Moment(p.mtime_ns / 1_000_000));
    let came = last_move(lines).or(came_here);
    match obstacle.kind {
        "held" => held_since(lines, &obstacle.text).or(came.max(edited)),
        "dependency" => {
            let upstream = obstacle.upstream.as_ref();
            came.max(upstream.and_then(|up| view.arrived.get(up).copied()))
        }
        "refused" | "settling" => came_here,
        // The configuration does not say since when.
        "paused" => None,
        "lease" => {
            let age = view.extra.lock_age_ms.get(id).and_then(|ms| i64::try_from(*ms).ok());
            age.map(|ms| Moment(view.now.0.saturating_sub(ms))).or(came)
        }
        // Its end, or its freezing, is recorded nowhere: from its last sign of life on.
        "no-daemon" | "frozen-daemon" | "stalled-daemon" => came.max(served),
        _ => came.max(obstacle.since),
    }
}

/// When it was held by request, in these words; nothing when the hold was written into the file.
fn held_since(lines: &[Line], text: &str) -> Option<Moment> {
    let about =
        |l: &&Line| matches!(l.event, Event::Held { .. } | Event::Unheld { .. } | Event::Intake);
    let last = lines.iter().rev().find(about)?;
    match &last.event {
        Event::Held { reason, .. } if text == format!("held: {reason}") => Some(last.time),
        _ => None,
    }
}

/// The whole in one sentence.
fn sentence(view: &View, id: &OrderId, lines: &[Line], standing: &[Standing]) -> String {
    let Some(ticket) = view.index.tickets.get(id) else {
        let last = lines.last().map(history::words).unwrap_or_default();
        return format!("{id} is in no state; the ledger last said: {last}");
    };
    match ticket.state() {
        None if ticket.places.iter().any(Option::is_some) => {
            format!("{id} lies in more than one state; nothing is done until one file is left")
        }
        None if view.attempt(id).is_some() => format!("{id} was begun; {}", sight::MISSING),
        None => format!("the ticket of {id} is gone"),
        Some(State::Pending) if standing.is_empty() => {
            format!("{id} is ready; the daemon is about to start it")
        }
        Some(State::Pending) => {
            let what = if sight::word(view, id) == "refused" { "is refused" } else { "waits" };
            format!("{id} is pending and {what}:")
        }
        Some(State::Running) => {
            let mut text = format!("{id} is running: {}", sight::activity(view, id));
            if let Some(attempt) = view.attempt(id) {
                let since = Moment(attempt.claimed_ms).rfc3339();
                text.push_str(&format!(" (attempt {}, since {since})", attempt.number));
            }
            if let Some(stall) = &view.settings.stall {
                text.push_str(&format!("; {}", stall.text));
            }
            text
        }
        Some(state) => {
            let result = sight::result(view, id).unwrap_or_else(|| "not settled".to_owned());
            let reason = sight::reason(view, id).map_or_else(String::new, |r| format!(" ({r})"));
            let at = Moment(sight::ended_ms(view, id)).rfc3339();
            format!("{id} is in {}/ since {at}: {result}{reason}", state.name())
        }
    }
}

/// The explanation beside the ticket.
fn why_file(root: &Path, view: &View, id: &OrderId) -> Option<String> {
    let state = view.index.tickets.get(id)?.state()?;
    let path = root.join(paths::why(state, id));
    let found = std::fs::symlink_metadata(&path).ok()?;
    if !found.is_file() || found.len() > WHY_BYTES_MAX {
        return None;
    }
    std::fs::read(path).ok().map(|b| String::from_utf8_lossy(&b).trim_end().to_owned())
}

fn text(
    view: &View,
    id: &OrderId,
    sentence: &str,
    standing: &[Standing],
    why: Option<&str>,
) -> String {
    let mut text = format!("{}\n", out::plain(sentence));
    for Standing { obstacle, since } in standing {
        let lines = out::plain_lines(&obstacle.text).replace('\n', "\n    ");
        text.push_str(&format!("  - {lines}\n"));
        if let Some(since) = since {
            let age = out::span(view.now.0 - since.0);
            text.push_str(&format!("      since {} ({age})\n", since.rfc3339()));
        }
        if !obstacle.release.is_empty() {
            text.push_str(&format!("      released by: {}\n", out::plain(&obstacle.release)));
        }
    }
    let failed = state(view, id) == Some(State::Failed.name());
    if failed && view.known(id).is_some_and(|k| k.order.own.attempt > 0) {
        text.push_str(&format!(
            "  `jobyard show {id}` has its commands, `jobyard logs {id}` what they wrote\n"
        ));
    }
    if let Some(why) = why {
        text.push_str("beside its file:\n");
        for line in out::plain_lines(why).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}
