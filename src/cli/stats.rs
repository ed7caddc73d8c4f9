//! `jobyard stats`: how many orders there are and what became of them, and what the ledger says of how long
//! they took.
//!
//! Invariants: counts of states are those of `status`; history is read from the ledger, a segment at a
//! time; nothing is written.

use super::out::{self, Screen};
use super::status::{self, Counts};
use super::table::{self, Cell, Column};
use super::{Globals, Outcome, code, history, look, say, sight};
use crate::model::order::State;
use crate::model::time::Moment;
use crate::plan::stats::{self, ByState, Tally};
use crate::scan::View;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Flags of `jobyard stats`.
#[derive(clap::Args)]
pub(super) struct Arguments {}

/// Orders by a name.
type Parts = BTreeMap<String, ByState>;

/// Runs it.
pub(super) fn run(globals: &Globals, _: Arguments) -> Outcome {
    let mut seat = look::open(globals)?;
    let view = seat.look()?;
    let mut tally = Tally::new(view.now);
    history::each(&mut seat.world, None, &mut |line| tally.take(&line))?;
    let counts = status::counts(&view);
    let results = results(&view);
    let epics = stats::by_epic(&view.index, &view.extra);
    let groups = stats::by_group(&view.index, &view.extra);
    if globals.json {
        let fields = [
            ("counts", counts.iter().map(|(n, c)| ((*n).to_owned(), json!(c))).collect()),
            ("results", results.iter().map(|(r, c)| (r.clone(), json!(c))).collect()),
            ("epics", parts_json(&epics)),
            ("groups", parts_json(&groups)),
            ("history", history_json(&tally)),
        ];
        say::object("stats", fields)?;
        return Ok(code::DONE);
    }
    out::text(&text(&counts, &results, [&epics, &groups], &tally))?;
    Ok(code::DONE)
}

/// Settled orders by their result.
fn results(view: &View) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for id in view.ids() {
        let state = view.index.tickets.get(&id).and_then(|t| t.state());
        if let Some(State::Done | State::Failed) = state {
            let result = sight::result(view, &id).unwrap_or_else(|| "none".to_owned());
            *counts.entry(result).or_default() += 1;
        }
    }
    counts
}

fn parts_json(parts: &Parts) -> Value {
    let one = |(name, counts): (&String, &ByState)| {
        let states = State::ALL.map(State::name).into_iter().zip(counts);
        let states: Map<String, Value> = states.map(|(s, n)| (s.to_owned(), json!(n))).collect();
        (name.clone(), Value::from(states))
    };
    parts.iter().map(one).collect::<Map<String, Value>>().into()
}

fn history_json(tally: &Tally) -> Value {
    let mut results: BTreeMap<&str, u64> = BTreeMap::new();
    for ((_, result), count) in &tally.results {
        *results.entry(result).or_default() += count;
    }
    let [hour, day, week] = tally.recent;
    let spans = &tally.run_time;
    json!({
        "since": tally.since.map(Moment::rfc3339),
        "settled": tally.settled,
        "results": results,
        "last_hour": hour,
        "last_day": day,
        "last_week": week,
        "retries": tally.retries,
        "requeued": tally.requeued,
        "lost": tally.lost,
        "unverified": tally.of(State::Done, "unverified"),
        "skipped": tally.of(State::Done, "skipped"),
        "not_reached": tally.of(State::Failed, "skipped"),
        "run_time": {
            "count": spans.count,
            "median_ms": spans.percentile(50),
            "p95_ms": spans.percentile(95),
            "max_ms": (spans.count > 0).then_some(spans.max_ms),
        },
    })
}

fn text(
    counts: &Counts,
    results: &BTreeMap<String, usize>,
    [epics, groups]: [&Parts; 2],
    tally: &Tally,
) -> String {
    let listed = |parts: Vec<String>| {
        if parts.is_empty() { "none".to_owned() } else { out::plain(&parts.join(", ")) }
    };
    let mut text = format!("orders      {}\n", status::orders(counts));
    let results = results.iter().map(|(result, count)| format!("{count} {result}")).collect();
    text.push_str(&format!("results     {}\n", listed(results)));
    for (head, parts) in [("EPIC", epics), ("GROUP", groups)] {
        if !parts.is_empty() {
            text.push_str(&format!("\n{}", table(head, parts)));
        }
    }
    if !epics.is_empty() || !groups.is_empty() {
        text.push('\n');
    }
    let Some(since) = tally.since else {
        text.push_str("history     none\n");
        return text;
    };
    let [hour, day, week] = tally.recent;
    text.push_str(&format!("history     since {}\n", since.rfc3339()));
    text.push_str(&format!(
        "settled     {} ({hour} in the last hour, {day} in 24 hours, {week} in 7 days)\n",
        tally.settled
    ));
    for (name, count) in [
        ("retries", tally.retries),
        ("requeued", tally.requeued),
        ("lost", tally.lost),
        ("unverified", tally.of(State::Done, "unverified")),
        ("skipped", tally.of(State::Done, "skipped")),
        ("not reached", tally.of(State::Failed, "skipped")),
    ] {
        text.push_str(&format!("{name:<11} {count}\n"));
    }
    text.push_str(&format!("run time    {}\n", run_time(tally)));
    text
}

fn run_time(tally: &Tally) -> String {
    let spans = &tally.run_time;
    match (spans.percentile(50), spans.percentile(95)) {
        (Some(median), Some(late)) => format!(
            "median {}, p95 {}, max {} of {} orders",
            took(median),
            took(late),
            took(spans.max_ms),
            spans.count
        ),
        _ => "none".to_owned(),
    }
}

fn took(ms: u64) -> String {
    match ms {
        0..120_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => out::span(i64::try_from(ms).unwrap_or(i64::MAX)),
    }
}

fn table(head: &'static str, parts: &Parts) -> String {
    let columns = [
        Column { name: head, least: Some(12) },
        Column { name: "PENDING", least: None },
        Column { name: "RUNNING", least: None },
        Column { name: "DONE", least: None },
        Column { name: "FAILED", least: None },
    ];
    let row = |(name, counts): (&String, &ByState)| {
        let numbers = counts.iter().map(|n| Cell::new(&n.to_string()));
        std::iter::once(Cell::new(name)).chain(numbers).collect()
    };
    let rows: Vec<Vec<Cell>> = parts.iter().map(row).collect();
    table::lines(&columns, &rows, Screen::of_stdout())
}
