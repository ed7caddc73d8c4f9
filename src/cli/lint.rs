//! `jobyard lint`: what is wrong with the root, or with files that are not submitted yet.

use super::look::{self, Seat};
use super::out::{self, Colour, Screen};
use super::{Failure, Globals, Outcome, code, root, say};
use crate::model::defect::{Defect, INVALID_TICKET};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::parse::ORDER_BYTES_MAX;
use crate::model::paths;
use crate::plan::findings::{self, Finding, Known, Severity};
use crate::scan;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Flags of `jobyard lint`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Files that are not submitted yet, or directories with such files (default: the whole root)
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// A file that was read.
struct Draft {
    file: String,
    read: Result<Known, Vec<Defect>>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let found = match given.paths.is_empty() {
        true => look::open(globals)?.findings()?.1,
        false => of_paths(globals, &given.paths)?,
    };
    let bad = found.iter().any(|f| f.severity != Severity::P2);
    let exit = if bad { code::FINDINGS } else { code::DONE };
    if globals.json {
        let by = look::by_severity(&found);
        let fields = [
            ("findings", look::findings_json(&found)),
            ("findings_by_severity", json!({ "P0": by[0], "P1": by[1], "P2": by[2] })),
        ];
        say::object("lint", fields)?;
        return Ok(exit);
    }
    out::text(&text(&found))?;
    Ok(exit)
}

/// Findings for people: where, what, and the cure.
pub(super) fn text(found: &[Finding]) -> String {
    let screen = Screen::of_stdout();
    if found.is_empty() {
        return "no findings\n".to_owned();
    }
    let mut text = String::new();
    for finding in found {
        let line = if finding.line > 0 { format!(":{}", finding.line) } else { String::new() };
        let colour = match finding.severity {
            Severity::P0 | Severity::P1 => Colour::Red,
            Severity::P2 => Colour::Yellow,
        };
        let head =
            screen.paint(Some(colour), &format!("{} {}", finding.severity.name(), finding.code));
        text.push_str(&format!(
            "{}{line}: {head}: {}\n    cure: {}\n",
            out::plain(&finding.file),
            out::plain_lines(&finding.message).replace('\n', "\n    "),
            out::plain(&finding.repair),
        ));
    }
    let by = look::by_severity(found);
    text.push_str(&format!("{} P0, {} P1, {} P2\n", by[0], by[1], by[2]));
    text
}

fn of_paths(globals: &Globals, given: &[PathBuf]) -> Result<Vec<Finding>, Failure> {
    let mut drafts = Vec::new();
    for path in given {
        for file in files(path)? {
            drafts.push(draft(&file)?);
        }
    }
    let view = match seat(globals)? {
        Some(mut seat) => Some(seat.look()?),
        None => None,
    };
    let mut ids: BTreeSet<OrderId> = view.as_ref().map(scan::View::ids).unwrap_or_default();
    ids.extend(drafts.iter().filter_map(|d| Some(d.read.as_ref().ok()?.order.id.clone())));
    let known = view.as_ref().map(|v| (&v.extra, &ids));
    let of_draft = |d: &Draft| findings::of_draft(known, &d.read, &d.file);
    Ok(drafts.iter().flat_map(of_draft).collect())
}

/// The root, where there is one; a root that was named has to be there.
fn seat(globals: &Globals) -> Result<Option<Seat>, Failure> {
    let named = globals.root.is_some() || root::named().is_some();
    match root::find(globals.root.as_deref()) {
        Ok(root) => look::seat(root).map(Some),
        Err(failure) if named => Err(failure),
        Err(_) => Ok(None),
    }
}

/// The file, or the work orders in the directory.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e| Failure::new(code::NOT_FOUND, format!("read {}: {e}", path.display()));
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let visible = !name.as_encoded_bytes().starts_with(b".");
        if visible && name.as_encoded_bytes().ends_with(b".yaml") {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn draft(path: &Path) -> Result<Draft, Failure> {
    let failed = |e| Failure::new(code::NOT_FOUND, format!("read {}: {e}", path.display()));
    let file = path.to_string_lossy().into_owned();
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let opened = opened.map_err(failed)?;
    if !opened.metadata().map_err(failed)?.is_file() {
        let text = "is no regular file; a work order is one";
        return Ok(Draft { file, read: Err(vec![Defect::whole(INVALID_TICKET, text)]) });
    }
    let mut bytes = Vec::new();
    opened.take(ORDER_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let read = match is_ticket(path) {
        true => scan::ticket(&bytes, &stem),
        false => scan::draft(&bytes, &stem),
    };
    Ok(Draft { file, read })
}

/// It lies in a state directory, where the file's name counts.
fn is_ticket(path: &Path) -> bool {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let Some(dir) = absolute.parent() else { return false };
    State::ALL.iter().any(|s| dir.ends_with(paths::dir(*s)))
}
