//! `jobyard audit`: is the ledger whole, and what does it say?

mod traces;
pub(super) mod verify;

use super::{Globals, Outcome, code, history, look, out, request, say};
use serde_json::Value;
use std::collections::BTreeSet;
use verify::{Bad, Report};

/// Flags of `jobyard audit`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Check every line of the ledger, and that it has those that other files tell of
    Verify,
    /// Print what the ledger says of an order, or of all
    Show {
        /// Id of the work order
        id: Option<String>,
    },
}

/// What no check without a key can find.
const LIMIT: &str = "not found by this: lines cut off at the end that no settled ticket, verdict, log of a \
                     command or file of a request tells of; a ledger rewritten from the first changed line \
                     to its end, or cut, together with every such file, by whoever owns the files";

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    match given.verb {
        Verb::Verify => check(globals),
        Verb::Show { id } => show(globals, id.as_deref()),
    }
}

fn check(globals: &Globals) -> Outcome {
    let mut seat = look::open(globals)?;
    let report = verify::verify(&mut seat.world, seat.holder.is_some())?;
    let exit = if report.bad.is_some() { code::FINDINGS } else { code::DONE };
    if globals.json {
        let bad = report
            .bad
            .as_ref()
            .map(|b| serde_json::json!({ "file": b.file, "line": b.line, "message": b.what }));
        let fields = [
            ("ok", report.bad.is_none().into()),
            ("bad", bad.into()),
            ("segments", report.segments.into()),
            ("lines", report.lines.into()),
            ("torn", report.torn.into()),
            ("stamps", report.stamps.into()),
            ("verdicts", report.verdicts.into()),
            ("traces", report.traces.into()),
            ("notes", report.notes.clone().into()),
            ("limit", LIMIT.into()),
        ];
        say::object("audit", fields)?;
        return Ok(exit);
    }
    out::text(&text(&report))?;
    Ok(exit)
}

fn text(report: &Report) -> String {
    let Report { segments, lines, torn, stamps, verdicts, traces, .. } = report;
    let mut text = match &report.bad {
        Some(Bad { file, line: 0, what }) => {
            format!("{}: {}\n", out::plain(file), out::plain(what))
        }
        Some(Bad { file, line, what }) => {
            format!("{}:{line}: {}\n", out::plain(file), out::plain(what))
        }
        None => format!(
            "the ledger is whole: {lines} lines, {torn} torn, in {segments} {}; it has the lines that \
             {stamps} settled tickets, {verdicts} verdicts and {traces} logs and requests tell of\n",
            if *segments == 1 { "segment" } else { "segments" }
        ),
    };
    for note in &report.notes {
        text.push_str(&format!("{}\n", out::plain(note)));
    }
    text.push_str(&format!("{LIMIT}\n"));
    text
}

fn show(globals: &Globals, id: Option<&str>) -> Outcome {
    let id = id.map(request::order_id).transpose()?;
    let mut seat = look::open(globals)?;
    let lines = history::lines(&mut seat.world, id.as_ref())?;
    if let Some(id) = id.as_ref().filter(|_| lines.is_empty()) {
        if !seat.look_at(&BTreeSet::from([id.clone()]))?.ids().contains(id) {
            return Err(look::unknown(id));
        }
        say::talk(&format!("jobyard: nothing is on record of {id} yet"));
    }
    if globals.json {
        let one = |line: &crate::model::event::Line| {
            serde_json::json!({
                "seq": line.seq,
                "time": line.time.rfc3339(),
                "id": line.id,
                "attempt": line.attempt,
                "event": serde_json::to_value(&line.event).unwrap_or(Value::Null),
                "text": history::words(line),
            })
        };
        say::object("audit", [("lines", lines.iter().map(one).collect())])?;
        return Ok(code::DONE);
    }
    let mut text = String::new();
    for line in &lines {
        let whose = match (&id, &line.id) {
            (None, Some(id)) => format!("{}  ", out::plain(id)),
            _ => String::new(),
        };
        let (seq, time) = (line.seq, line.time.rfc3339());
        text.push_str(&format!("{seq:>6}  {time}  {whose}{}\n", history::words(line)));
    }
    out::text(&text)?;
    Ok(code::DONE)
}
