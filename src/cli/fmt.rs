//! `jobyard fmt`: keys of work orders in the documented order, one blank line at most between them.
//!
//! Invariants: a file that is not valid is left alone, and so is a running or settled ticket; a file is
//! replaced whole, by exchange of names, keeps its mode, and nothing is put where a file has gone: a ticket
//! that was claimed meanwhile does not come back.

use super::{Failure, Globals, Outcome, code, out, say};
use crate::model::defect::Defect;
use crate::model::edit::arrange;
use crate::model::order::State;
use crate::model::parse::{ORDER_BYTES_MAX, Parsed, parse_order};
use crate::model::paths;
use crate::model::strict::Tree;
use crate::model::strict::source::Source;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Flags of `jobyard fmt`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Work orders; `-` reads standard input and prints
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Change nothing; say which files would change, and exit 7 when there are any
    #[arg(long)]
    check: bool,
}

/// A file and what it becomes.
struct Draft {
    file: String,
    before: Vec<u8>,
    after: String,
}

/// Runs it. No root is needed; nothing is written unless all files are valid.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    let drafts: Vec<Draft> =
        given.files.iter().map(|file| draft(file)).collect::<Result<_, _>>()?;
    let changed: Vec<&Draft> = drafts.iter().filter(|d| d.before != d.after.as_bytes()).collect();
    if !given.check {
        for draft in drafts.iter().filter(|d| d.file == "-" && !globals.json) {
            out::text(&draft.after)?;
        }
        for draft in changed.iter().filter(|d| d.file != "-") {
            replace(Path::new(&draft.file), draft)?;
        }
    }
    let names: Vec<&str> = changed.iter().map(|d| d.file.as_str()).collect();
    if globals.json {
        let checked = given.check.into();
        say::object("fmt", [("changed", json!(names)), ("check", checked)])?;
    } else {
        for name in names.iter().filter(|name| given.check || **name != "-") {
            say::line(name)?;
        }
    }
    Ok(if given.check && !names.is_empty() { code::FINDINGS } else { code::DONE })
}

fn draft(file: &str) -> Result<Draft, Failure> {
    let before = read(file)?;
    let refused = |defects: &[Defect]| {
        let texts: Vec<String> = defects.iter().map(|d| format!("{file}:{d}")).collect();
        Failure::new(code::REFUSED, texts.join("\n"))
    };
    let parsed = parse(file, &before).map_err(|defects| refused(&defects))?;
    let settled = parsed.order.own.settled.is_some();
    if settled || lies_in_running(file) {
        let what = if settled { "settled" } else { "running" };
        let text = format!("{file}: the ticket of a {what} order is left as it is");
        return Err(Failure::new(code::REFUSED, text));
    }
    let text = String::from_utf8_lossy(&before);
    let after = arrange(&text).map_err(|defect| refused(&[defect]))?;
    Ok(Draft { file: file.to_owned(), before, after })
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let failed = |e: io::Error| Failure::new(code::NOT_FOUND, format!("read {file}: {e}"));
    let most = ORDER_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if file == "-" {
        io::stdin().take(most).read_to_end(&mut bytes).map_err(failed)?;
        return Ok(bytes);
    }
    regular(file).map_err(failed)?;
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags).open(file);
    opened.map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn regular(file: &str) -> io::Result<Metadata> {
    let found = fs::symlink_metadata(file)?;
    if found.is_file() { Ok(found) } else { Err(io::Error::other("it is no regular file")) }
}

/// A ticket has to be named after its order; a draft may be called anything.
fn parse(file: &str, bytes: &[u8]) -> Result<Parsed, Vec<Defect>> {
    let path = Path::new(file);
    if file != "-" && State::ALL.iter().any(|s| lies_in(path, &paths::dir(*s))) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        return parse_order(bytes, &stem);
    }
    let source = Source::decode(bytes, ORDER_BYTES_MAX, crate::model::defect::INVALID_TICKET);
    let source = source.map_err(|defect| vec![defect])?;
    let tree = Tree::read(source)?;
    let id = tree.get(tree.root(), "id").and_then(|id| tree.text(id));
    parse_order(bytes, id.unwrap_or("order"))
}

fn lies_in_running(file: &str) -> bool {
    file != "-" && lies_in(Path::new(file), &paths::dir(State::Running))
}

fn lies_in(path: &Path, dir: &Path) -> bool {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    absolute.parent().is_some_and(|parent| parent.ends_with(dir))
}

/// Puts the new text in the place of the old: both names are exchanged in one step, so that a file that
/// has gone stays gone; what was there is compared, so that a save meanwhile is not lost.
fn replace(path: &Path, draft: &Draft) -> Result<(), Failure> {
    let failed = |e: io::Error| {
        Failure::new(
            code::FAILED,
            format!("write {}: {e}; nothing of it was changed", path.display()),
        )
    };
    let beside = beside(path);
    write_new(&beside, path, draft).map_err(failed)?;
    let exchange = || renameat_with(CWD, &beside, CWD, path, RenameFlags::EXCHANGE);
    let swapped = exchange().map_err(io::Error::from).and_then(|()| {
        if fs::read(&beside)? == draft.before {
            return Ok(());
        }
        exchange()?;
        Err(io::Error::other("it was changed meanwhile"))
    });
    let removed = fs::remove_file(&beside);
    swapped.and(removed).map_err(failed)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// A hidden name in the same directory, which no scheduler takes for a ticket.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.fmt-{}", std::process::id()))
}

fn write_new(beside: &Path, path: &Path, draft: &Draft) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.permissions().mode();
    let written = File::options().write(true).create_new(true).mode(0o600).open(beside);
    let mut file = written?;
    let filled = file
        .write_all(draft.after.as_bytes())
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode & 0o7777)))
        .and_then(|()| file.sync_all());
    if filled.is_err() {
        let _ = fs::remove_file(beside);
    }
    filled
}
