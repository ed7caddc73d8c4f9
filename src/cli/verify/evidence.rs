//! Whether what a settled order left behind is still what was recorded: ledger, logs, commit.
//!
//! Invariant: it only reads. The digests of the logs are in the verdict's file alone: that somebody wrote a
//! log and its digest anew it cannot find, nor a ledger rewritten whole (`audit verify` says so).

use crate::cli::audit::verify as audit;
use crate::cli::look::Seat;
use crate::cli::{Globals, Outcome, code, history, out, say};
use crate::model::attempt::{CommandKind, log_name};
use crate::model::event::{Event, Line};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::tree::CommitId;
use crate::model::verdict::VerdictFile;
use crate::world::store::{log_digest, read_plain};
use serde_json::{Value, json};
use std::path::Path;

/// Largest verdict that is read.
const BYTES_MAX: usize = 8 << 20;

/// What the ledger says of the verdict.
struct Told<'a> {
    seq: u64,
    result: &'a String,
    commit: &'a Option<String>,
    verified_at: &'a Option<String>,
    /// Logs of the checks of the gate that decided.
    logs: Vec<String>,
}

/// One thing that was looked at.
struct Item {
    what: String,
    /// What is wrong with it.
    wrong: Option<String>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, seat: &mut Seat, id: &OrderId) -> Outcome {
    let mut items = vec![ledger(seat)?];
    let lines = history::lines(&mut seat.world, Some(id))?;
    let attempt = lines.iter().rev().find_map(|line| line.attempt);
    let told = attempt.and_then(|attempt| told(id, attempt, &lines));
    match attempt.zip(told) {
        Some((attempt, told)) => items.extend(of_verdict(seat, id, attempt, &told)),
        None => say::talk(&format!("jobyard: {id} was settled without a verdict")),
    }
    let exit = if items.iter().any(|i| i.wrong.is_some()) { code::FINDINGS } else { code::DONE };
    if globals.json {
        let one = |item: &Item| json!({ "what": item.what, "wrong": item.wrong });
        let items: Value = items.iter().map(one).collect();
        let fields = [
            ("id", id.as_str().into()),
            ("code", exit.into()),
            ("settled", true.into()),
            ("evidence", items),
        ];
        say::object("verify", fields)?;
        return Ok(exit);
    }
    let line = |item: &Item| match &item.wrong {
        None => format!("  holds  {}\n", out::plain(&item.what)),
        Some(wrong) => format!("  WRONG  {}: {}\n", out::plain(&item.what), out::plain(wrong)),
    };
    let head = match exit {
        code::DONE => format!("✅ {id}: the evidence holds\n"),
        _ => format!("✗ {id}: the evidence does not hold\n"),
    };
    out::text(&(head + &items.iter().map(line).collect::<String>()))?;
    Ok(exit)
}

/// The chain, and that it has the lines that stamps and verdicts name.
fn ledger(seat: &mut Seat) -> Result<Item, crate::cli::Failure> {
    let report = audit::verify(&mut seat.world, seat.holder.is_some())?;
    let wrong = report.bad.map(|bad| format!("{}:{}: {}", bad.file, bad.line, bad.what));
    Ok(Item { what: format!("ledger, {} lines", report.lines), wrong })
}

/// What the lines of an attempt tell; `None`: it has no verdict.
fn told<'a>(id: &OrderId, attempt: u32, lines: &'a [Line]) -> Option<Told<'a>> {
    let dir = paths::run(id, attempt);
    let mut logs = Vec::new();
    let mut told = None;
    for line in lines.iter().filter(|line| line.attempt == Some(attempt)) {
        match &line.event {
            Event::Gate(_) => logs.clear(),
            Event::Started { number, name, kind: CommandKind::Check(_), .. } => {
                logs.push(dir.join(log_name(*number, name)).display().to_string());
            }
            Event::Verdict { result, commit, verified_at, .. } => {
                let (seq, logs) = (line.seq, logs.clone());
                told = Some(Told { seq, result, commit, verified_at, logs });
            }
            _ => {}
        }
    }
    told
}

/// The verdict's file says what its line says; then what it points to.
fn of_verdict(seat: &mut Seat, id: &OrderId, attempt: u32, told: &Told<'_>) -> Vec<Item> {
    let path = paths::run(id, attempt).join(paths::VERDICT);
    let what = format!("verdict {}", path.display());
    let verdict = match read(seat, &path) {
        Err(wrong) => return vec![Item { what, wrong: Some(wrong) }],
        Ok(bytes) => match serde_json::from_slice::<VerdictFile>(&bytes) {
            Err(error) => return vec![Item { what, wrong: Some(error.to_string()) }],
            Ok(verdict) => verdict,
        },
    };
    let same = (&verdict.result, &verdict.commit, &verdict.verified_at_sha)
        == (told.result, told.commit, told.verified_at)
        && (verdict.id.as_str(), verdict.attempt, verdict.ledger_seq)
            == (id.as_str(), attempt, told.seq)
        && verdict.checks.iter().map(|check| &check.log).eq(&told.logs);
    let wrong = (!same).then(|| "the ledger says otherwise".to_owned());
    let mut items = vec![Item { what, wrong }];
    for check in &verdict.checks {
        let wrong = match log_digest(&mut seat.world, Path::new(&check.log)) {
            Ok(digest) if digest.as_ref().unwrap_or(&String::new()) == &check.sha256 => None,
            Ok(Some(_)) => Some("its bytes are not those of the verdict".to_owned()),
            Ok(None) => Some("it is not there".to_owned()),
            Err(fault) => Some(fault.to_string()),
        };
        items.push(Item { what: format!("log {}", check.log), wrong });
    }
    items.extend(verdict.commit.as_deref().map(|commit| of_commit(seat, id, commit)));
    items
}

/// A regular file, or why there is none.
fn read(seat: &mut Seat, path: &Path) -> Result<Vec<u8>, String> {
    match read_plain(&mut seat.world, path, BYTES_MAX) {
        Ok(Some(read)) => Ok(read.bytes),
        Ok(None) => Err("it is not there".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// The commit is there, and on the order's branch while that exists.
fn of_commit(seat: &Seat, id: &OrderId, commit: &str) -> Item {
    let what = format!("commit {commit:.12}");
    let wrong = match CommitId::parse(commit) {
        None => Some("it is no commit id".to_owned()),
        Some(commit) => {
            let git = seat.git();
            let tip = git.branch(&id.branch());
            let met = tip.and_then(|tip| git.merge_base(&commit, tip.as_ref().unwrap_or(&commit)));
            match met {
                Ok(Some(base)) if base == commit => None,
                Ok(_) => Some(format!("{} does not contain it any more", id.branch())),
                Err(git) => Some(git.to_string()),
            }
        }
    };
    Item { what, wrong }
}
