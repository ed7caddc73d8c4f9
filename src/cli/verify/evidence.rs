//! Whether what a settled order left behind is still what was recorded: ledger, logs, commit.
//!
//! Invariant: it only reads. The digests of the logs are in the verdict's file alone: that somebody wrote a
//! log and its digest anew it cannot find, nor a ledger rewritten whole (`audit verify` says so).

use crate::cli::audit::verify as audit;
use crate::cli::look::Seat;
use crate::cli::{Globals, Outcome, code, history, out, say};
use crate::model::event::{Event, sha256_hex};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::tree::CommitId;
use crate::model::verdict::VerdictFile;
use crate::plan::verdict::Outcome as Found;
use crate::world::git::Git;
use crate::world::store::read_plain;
use serde_json::{Value, json};
use std::path::Path;

/// Largest file that is read whole.
const BYTES_MAX: usize = 128 << 20;

/// What the ledger says of the verdict.
struct Told<'a> {
    result: &'a String,
    commit: &'a Option<String>,
    verified_at: &'a Option<String>,
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
    let told = lines.iter().rev().find_map(|line| match &line.event {
        Event::Verdict { result, commit, verified_at, .. } if line.attempt == attempt => {
            Some(Told { result, commit, verified_at })
        }
        _ => None,
    });
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
        == (told.result, told.commit, told.verified_at);
    let wrong = (!same).then(|| "the ledger says otherwise".to_owned());
    let mut items = vec![Item { what, wrong }];
    for check in &verdict.checks {
        let wrong = match read(seat, Path::new(&check.log)) {
            // What was never started has no log.
            Err(_) if check.sha256.is_empty() && check.outcome == Found::CouldNotRun.name() => {
                continue;
            }
            Err(wrong) => Some(wrong),
            Ok(bytes) if sha256_hex(&bytes) == check.sha256 => None,
            Ok(_) => Some("its bytes are not those of the verdict".to_owned()),
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
            let git = Git::new(seat.root.clone(), None);
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
