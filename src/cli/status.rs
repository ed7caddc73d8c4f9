//! `jobyard status`: how the root is, on one screen.

mod watch;

use super::look::{self, Seat};
use super::out::{self, Colour, Screen};
use super::{Failure, Globals, Outcome, code, notice, say, sight};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::plan::action::pause_and_release;
use crate::plan::findings::{Finding, Severity};
use crate::scan::View;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Flags of `jobyard status`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Go on: show it anew whenever something has changed
    #[arg(short, long)]
    watch: bool,
    /// Longest time to watch, in seconds or as 90s, 10m, 1h30m (default 7 days)
    #[arg(long, value_name = "S", value_parser = notice::span, requires = "watch")]
    timeout: Option<Duration>,
}

/// Findings that are printed; `lint` has all.
const FINDINGS_MAX: usize = 10;

/// Counts, by name.
pub(super) type Counts = BTreeMap<&'static str, usize>;

/// Runs it.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    match given.watch {
        true => watch::run(globals, given.timeout.unwrap_or(notice::WAIT_MAX)),
        false => {
            say::line(&shown(globals, &mut look::open(globals)?, Screen::of_stdout())?)?;
            Ok(code::DONE)
        }
    }
}

/// The root as it is now.
fn shown(globals: &Globals, seat: &mut Seat, screen: Screen) -> Result<String, Failure> {
    let (view, found) = seat.findings()?;
    let counts = counts(&view);
    match globals.json {
        true => Ok(say::object_text("status", object(seat, &view, &found, &counts))),
        false => Ok(text(seat, &view, &found, &counts, screen)),
    }
}

/// Orders by state. Counted apart: `unverified` and `skipped` (verification) of the done ones, `cancelled`
/// and `not_reached` (a dependency cannot be satisfied any more) of the failed ones, `refused` of the pending
/// and running ones. No orders are `doubled` (different files of one id) and `misnamed` (never a ticket);
/// `missing` are those that were begun and whose ticket is gone.
pub(super) fn counts(view: &View) -> Counts {
    let names = State::ALL.map(State::name);
    let apart = [
        "refused",
        "unverified",
        "skipped",
        "cancelled",
        "not_reached",
        "doubled",
        "missing",
        "misnamed",
    ];
    let mut counts: Counts = names.into_iter().chain(apart).map(|n| (n, 0)).collect();
    let mut count = |name: &'static str| *counts.entry(name).or_default() += 1;
    for id in view.ids() {
        let word = sight::word(view, &id);
        let state = view.index.tickets.get(&id).and_then(|t| t.state());
        match state {
            Some(state) => count(state.name()),
            None if word == "missing" => count("missing"),
            None => count("doubled"),
        }
        match word {
            "refused" => count("refused"),
            "cancelled" => count("cancelled"),
            _ => {}
        }
        let settled = matches!(state, Some(State::Done | State::Failed));
        match sight::result(view, &id).as_deref().filter(|_| settled) {
            Some("unverified") => count("unverified"),
            Some("skipped") if word == "skipped" => count("not_reached"),
            Some("skipped") => count("skipped"),
            _ => {}
        }
    }
    let strays = view.extra.strays.iter().filter(|s| s.refused.is_some()).count();
    counts.insert("misnamed", strays);
    counts
}

fn running(view: &View) -> Vec<OrderId> {
    let here = |id: &OrderId| {
        view.index.tickets.get(id).is_some_and(|t| t.place(State::Running).is_some())
    };
    let mut ids: Vec<OrderId> = view.ids().into_iter().filter(here).collect();
    ids.sort_by_key(|id| view.attempt(id).map_or(i64::MAX, |a| a.claimed_ms));
    ids
}

fn object(
    seat: &Seat,
    view: &View,
    found: &[Finding],
    counts: &Counts,
) -> [(&'static str, Value); 8] {
    let holder = seat.holder.as_ref();
    let daemon = json!({
        "up": seat.daemon().is_some(),
        "pid": seat.daemon().map(|d| d.pid),
        "frozen": seat.daemon().is_some_and(|d| d.frozen),
        "stall": seat.stall().map(|s| s.text.as_str()),
        "lock": holder.map(|h| h.text.as_str()),
    });
    let (taken, groups) = view.index.slots_taken();
    let policy = &view.settings.policy;
    let groups: Value = policy
        .groups
        .iter()
        .map(|(g, limit)| {
            let taken = groups.get(g.as_str()).copied().unwrap_or(0);
            (g.clone(), json!({ "taken": taken, "limit": limit }))
        })
        .collect::<serde_json::Map<String, Value>>()
        .into();
    let of_running = |id: &OrderId| {
        let attempt = view.attempt(id);
        let command = attempt.and_then(|a| a.unended());
        let age = attempt.zip(command).map(|(a, c)| sight::command_age_ms(view, id, a, c.number));
        json!({
            "id": id.as_str(),
            "attempt": attempt.map(|a| a.number),
            "activity": sight::activity(view, id),
            "progress": sight::progress(view, id),
            "command": attempt.zip(command).map(|(a, c)| {
                sight::command_text(&a.claim.sealed, c.kind).unwrap_or(&c.name)
            }),
            "command_age_ms": age,
            "age_ms": attempt.map(|a| view.now.0 - a.claimed_ms),
        })
    };
    let by = look::by_severity(found);
    [
        ("root", seat.root.to_string_lossy().into()),
        ("findings", look::findings_json(found)),
        ("findings_by_severity", json!({ "P0": by[0], "P1": by[1], "P2": by[2] })),
        ("counts", counts.iter().map(|(n, c)| ((*n).to_owned(), json!(c))).collect()),
        ("daemon", daemon),
        ("running", running(view).iter().map(of_running).collect()),
        ("paused", json!({ "all": policy.paused.all, "groups": policy.paused.groups })),
        ("slots", json!({ "taken": taken, "limit": policy.slots, "groups": groups })),
    ]
}

fn text(seat: &Seat, view: &View, found: &[Finding], counts: &Counts, screen: Screen) -> String {
    let mut text = format!("root     {}\n", out::plain(&seat.root.to_string_lossy()));
    text.push_str(&format!("daemon   {}\n", daemon(seat, screen)));
    let (taken, groups) = view.index.slots_taken();
    let policy = &view.settings.policy;
    text.push_str(&format!("slots    {taken} of {} taken", policy.slots));
    for (group, limit) in &policy.groups {
        let taken = groups.get(group.as_str()).copied().unwrap_or(0);
        text.push_str(&format!(", {}: {taken} of {limit}", out::plain(group)));
    }
    let all = policy.paused.all.iter().map(|reason| (None, reason));
    let groups = policy.paused.groups.iter().map(|(g, reason)| (Some(g.as_str()), reason));
    for (group, reason) in all.chain(groups) {
        let line = pause_and_release(group, reason);
        text.push_str(&format!("\npaused   {}", out::plain(&line)));
    }
    text.push_str(&format!("\norders   {}\n", orders(counts)));
    for id in running(view) {
        let line = format!("  {id}  {}", out::plain(&sight::activity(view, &id)));
        text.push_str(&format!("{}\n", out::cut(&line, screen.columns)));
    }
    let by = look::by_severity(found);
    if found.is_empty() {
        text.push_str("findings none");
        return text;
    }
    text.push_str(&format!("findings {} P0, {} P1, {} P2\n", by[0], by[1], by[2]));
    for finding in found.iter().take(FINDINGS_MAX) {
        let colour = (finding.severity != Severity::P2).then_some(Colour::Red);
        let line = format!("  {} {}: {}", finding.code, finding.file, finding.message);
        let line = out::cut(&out::plain(&line), screen.columns);
        text.push_str(&format!("{}\n", screen.paint(colour, &line)));
    }
    if found.len() > FINDINGS_MAX {
        let more = found.len() - FINDINGS_MAX;
        text.push_str(&format!("  and {more} more: `jobyard lint` shows all\n"));
    }
    text.truncate(text.trim_end().len());
    text
}

fn daemon(seat: &Seat, screen: Screen) -> String {
    match (seat.daemon(), &seat.holder) {
        (Some(d), _) if d.frozen => {
            screen.paint(Some(Colour::Red), &format!("frozen (pid {}): it was stopped", d.pid))
        }
        (Some(d), _) => match seat.stall() {
            None => screen.paint(Some(Colour::Green), &format!("up (pid {})", d.pid)),
            Some(stall) => {
                let text = format!("up (pid {}), but {}", d.pid, out::plain(&stall.text));
                screen.paint(Some(Colour::Red), &text)
            }
        },
        (None, Some(verb)) => {
            format!("down; a verb works on the root ({})", out::plain(&verb.text))
        }
        (None, None) => {
            format!("{}; `jobyard daemon` starts it", screen.paint(Some(Colour::Red), "down"))
        }
    }
}

/// The counts in one line.
pub(super) fn orders(counts: &Counts) -> String {
    let of = |name: &str| counts.get(name).copied().unwrap_or(0);
    let apart = |names: &[&'static str]| {
        let parts: Vec<String> = names
            .iter()
            .filter(|n| of(n) > 0)
            .map(|n| format!("{} {}", of(n), n.replace('_', " ")))
            .collect();
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    };
    let rest: Vec<String> = ["doubled", "missing", "misnamed"]
        .iter()
        .filter(|n| of(n) > 0)
        .map(|n| format!(", {} {n}", of(n)))
        .collect();
    format!(
        "{} pending{}, {} running, {} done{}, {} failed{}{}",
        of("pending"),
        apart(&["refused"]),
        of("running"),
        of("done"),
        apart(&["unverified", "skipped"]),
        of("failed"),
        apart(&["cancelled", "not_reached"]),
        rest.concat()
    )
}
