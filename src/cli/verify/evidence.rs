//! Whether what a settled order left behind is still what was recorded: ledger, logs, commit.
//!
//! Invariant: it only reads. That somebody rewrote everything alike it cannot find (`audit verify` says so).

use crate::cli::audit::verify as audit;
use crate::cli::look::Seat;
use crate::cli::{Globals, Outcome, code, history, out, say};
use crate::model::event::sha256_hex;
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::tree::CommitId;
use crate::model::verdict::VerdictFile;
use crate::world::git::Git;
use crate::world::store::read_plain;
use serde_json::{Value, json};
use std::path::Path;

/// Largest file that is read whole.
const BYTES_MAX: usize = 128 << 20;

/// One thing that was looked at.
struct Item {
    what: String,
    /// What is wrong with it.
    wrong: Option<String>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, seat: &mut Seat, id: &OrderId) -> Outcome {
    let mut items = vec![ledger(seat)?];
    match verdict(seat, id)? {
        Some(verdict) => {
            items.extend(verdict.checks.iter().filter(|c| !c.sha256.is_empty()).map(|check| {
                let found = read_plain(&mut seat.world, Path::new(&check.log), BYTES_MAX);
                let wrong = match found {
                    Ok(Some(read)) if sha256_hex(&read.bytes) == check.sha256 => None,
                    Ok(Some(_)) => Some("its bytes are not those of the verdict".to_owned()),
                    Ok(None) => Some("it is not there".to_owned()),
                    Err(fault) => Some(fault.to_string()),
                };
                Item { what: format!("log {}", check.log), wrong }
            }));
            items.extend(verdict.commit.as_deref().map(|commit| of_commit(seat, id, commit)));
        }
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

/// The verdict of the last attempt that has one.
fn verdict(seat: &mut Seat, id: &OrderId) -> Result<Option<VerdictFile>, crate::cli::Failure> {
    let lines = history::lines(&mut seat.world, Some(id))?;
    let Some(attempt) = lines.iter().rev().find_map(|line| line.attempt) else { return Ok(None) };
    let path = paths::run(id, attempt).join(paths::VERDICT);
    let read = read_plain(&mut seat.world, &path, BYTES_MAX).ok().flatten();
    Ok(read.and_then(|read| serde_json::from_slice(&read.bytes).ok()))
}

/// The commit is there, and on the order's branch while that exists.
fn of_commit(seat: &Seat, id: &OrderId, commit: &str) -> Item {
    let what = format!("commit {commit:.12}");
    let wrong = match CommitId::parse(commit) {
        None => Some("it is no commit id".to_owned()),
        Some(commit) => {
            let git = Git::new(seat.root.clone(), None);
            let tip = git.branch(&id.branch()).ok().flatten();
            let met = git.merge_base(&commit, tip.as_ref().unwrap_or(&commit));
            match met {
                Ok(Some(base)) if base == commit => None,
                Ok(_) => Some(format!("{} does not contain it any more", id.branch())),
                Err(git) => Some(git.to_string()),
            }
        }
    };
    Item { what, wrong }
}
