//! `jobyard submit`: files become pending tickets.
//!
//! Invariants: nothing is published unless all of it is valid; a ticket appears whole, under its own
//! id, over nothing else, and is durable before its id is printed; the daemon is never waited for.

use super::ask::drive::world;
use super::{Failure, Globals, Outcome, code, dirs, say};
use crate::model::defect::{Defect, INVALID_TICKET, MISSING_KEY};
use crate::model::edit::{Change, Key, Scalar, edit};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::parse::{ORDER_BYTES_MAX, parse_order};
use crate::model::paths;
use crate::model::strict::Tree;
use crate::model::strict::source::Source;
use crate::world::real::RealWorld;
use crate::world::store::{errno, publish};
use crate::world::{Fault, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Flags of `jobyard submit`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Work orders; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Publish under this id, whatever the file says (one file only)
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Check everything and print what would be published; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Mode of a ticket, but for what its file's own takes away.
pub(super) const READABLE: u32 = 0o644;

/// A valid order that is not published yet.
pub(super) struct Draft {
    pub(super) id: OrderId,
    pub(super) bytes: Vec<u8>,
    /// Where it came from.
    file: String,
    /// Who may read it: no more than may read the file.
    mode: u32,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let root = globals.find_root()?;
    if given.id.is_some() && given.files.len() > 1 {
        return Err(Failure::new(code::USAGE, "--id names one order; give one file"));
    }
    let mut world = world(&root)?;
    let drafts = drafts(&given)?;
    refuse_known(&mut world, &drafts)?;
    let ids: Vec<Value> = drafts.iter().map(|d| d.id.as_str().into()).collect();
    if given.dry_run {
        for draft in drafts.iter().filter(|_| !globals.json) {
            let to = paths::ticket(State::Pending, &draft.id);
            say::line(&format!("would publish {} as {}", draft.file, to.display()))?;
        }
    } else {
        publish_all(&mut world, &drafts)?;
        for draft in drafts.iter().filter(|_| !globals.json) {
            say::line(draft.id.as_str())?;
        }
    }
    if globals.json {
        say::object("submit", [("ids", Value::Array(ids)), ("dry_run", given.dry_run.into())])?;
    }
    Ok(code::DONE)
}

/// All orders, or what is wrong with every one that cannot be taken.
fn drafts(given: &Arguments) -> Result<Vec<Draft>, Failure> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut defects = Vec::new();
    let mut seen = BTreeSet::new();
    for file in &given.files {
        match draft(file, given.id.as_deref())? {
            Ok(draft) if !seen.insert(draft.id.clone()) => {
                defects.push(format!("{file}: the id {} is given twice", draft.id));
            }
            Ok(draft) => drafts.push(draft),
            Err(found) => defects.extend(found.iter().map(|d| located(file, d))),
        }
    }
    if defects.is_empty() {
        return Ok(drafts);
    }
    let text = format!("{}\nnothing was submitted; correct this first", defects.join("\n"));
    Err(Failure::new(code::REFUSED, text))
}

fn draft(file: &str, id: Option<&str>) -> Result<Result<Draft, Vec<Defect>>, Failure> {
    let (bytes, mode) = read(file)?;
    let judged = identified(bytes, id).and_then(|(id, bytes)| judge(file, &id, bytes));
    Ok(judged.map(|draft| Draft { mode, ..draft }))
}

/// The order in these bytes, if it can be published under this id; what is odd about it is said.
pub(super) fn judge(file: &str, id: &str, bytes: Vec<u8>) -> Result<Draft, Vec<Defect>> {
    let parsed = parse_order(&bytes, id)?;
    for warning in parsed.warnings.iter().filter(|w| w.code != MISSING_KEY) {
        say::talk(&format!("jobyard: warning: {}", located(file, warning)));
    }
    if parsed.order.own.settled.is_some() {
        let text = "it carries the settlement of an earlier run (`x_jobyard.settled_*`): remove \
                    `x_jobyard`, or `requeue` the order where it failed";
        return Err(vec![Defect::whole("settled", text)]);
    }
    Ok(Draft { id: parsed.order.id, bytes, file: file.to_owned(), mode: READABLE })
}

pub(super) fn located(file: &str, defect: &Defect) -> String {
    let between = if defect.line > 0 { ":" } else { ": " };
    format!("{file}{between}{defect}")
}

/// What a file says, and who may read that.
fn read(file: &str) -> Result<(Vec<u8>, u32), Failure> {
    let failed = |e| Failure::new(code::NOT_FOUND, format!("read {file}: {e}"));
    let (mut bytes, mut mode) = (Vec::new(), READABLE);
    let most = ORDER_BYTES_MAX as u64 + 1;
    let read = match file {
        "-" => std::io::stdin().lock().take(most).read_to_end(&mut bytes),
        _ => {
            let found = std::fs::metadata(file).map_err(failed)?;
            if !found.is_file() {
                let text = format!("read {file}: it is not a regular file");
                return Err(Failure::new(code::NOT_FOUND, text));
            }
            mode &= found.permissions().mode();
            std::fs::File::open(file).map_err(failed)?.take(most).read_to_end(&mut bytes)
        }
    };
    read.map_err(failed)?;
    Ok((bytes, mode))
}

/// The id of an order and its text, which carries that id.
fn identified(bytes: Vec<u8>, id: Option<&str>) -> Result<(String, Vec<u8>), Vec<Defect>> {
    let source = Source::decode(&bytes, ORDER_BYTES_MAX, INVALID_TICKET).map_err(|d| vec![d])?;
    let tree = Tree::read(source)?;
    let own = tree.map(tree.root()).and_then(|_| tree.text(tree.get(tree.root(), "id")?));
    match (id, own) {
        (None, Some(own)) => {
            let own = own.to_owned();
            OrderId::parse(&own).map_err(|rule| vec![Defect::whole(INVALID_TICKET, rule)])?;
            Ok((own, bytes))
        }
        (None, None) => {
            let text = "has no `id`; write one into it, or name it with --id";
            Err(vec![Defect::whole(INVALID_TICKET, text)])
        }
        (Some(id), Some(own)) if id == own => Ok((id.to_owned(), bytes)),
        (Some(id), _) => {
            OrderId::parse(id).map_err(|rule| vec![Defect::whole(INVALID_TICKET, rule)])?;
            let change = [Change::Set(Key::Top("id"), Scalar::Text(id.to_owned()))];
            let text = edit(source.text, &change).map_err(|d| vec![d])?;
            Ok((id.to_owned(), text.into_bytes()))
        }
    }
}

/// An id is used once, whatever became of it.
pub(super) fn refuse_known(world: &mut RealWorld, drafts: &[Draft]) -> Result<(), Failure> {
    let mut known = Vec::new();
    for draft in drafts {
        // Its lock outlives the ticket of an attempt that is still open.
        for path in State::ALL
            .map(|s| paths::ticket(s, &draft.id))
            .into_iter()
            .chain([paths::lock(&draft.id)])
        {
            if world.stat(&path).map_err(|f| disk(&f))?.is_some() {
                known.push(format!("{}: {} exists", draft.file, path.display()));
            }
        }
    }
    if known.is_empty() {
        return Ok(());
    }
    let text = format!("{}\nnothing was submitted; use another id", known.join("\n"));
    Err(Failure::new(code::REFUSED, text))
}

/// Publishes them in order, durably; says what was published when one cannot be.
pub(super) fn publish_all(world: &mut RealWorld, drafts: &[Draft]) -> Result<(), Failure> {
    dirs::make(world, &paths::needed()).map_err(|f| disk(&f))?;
    let mut done = Vec::new();
    for draft in drafts {
        let path = paths::ticket(State::Pending, &draft.id);
        let published = publish(world, &path, &draft.bytes, draft.mode)
            .and_then(|()| world.sync_dir(path.parent().unwrap_or(Path::new(""))));
        if let Err(fault) = published {
            let before = match done.is_empty() {
                true => "nothing was submitted".to_owned(),
                false => format!("submitted before that: {}", done.join(", ")),
            };
            if fault.errno == errno::EEXIST {
                let text = format!("submit {}: {fault}; {before}", draft.file);
                return Err(Failure::new(code::REFUSED, text));
            }
            return Err(Failure::of_fault(&fault, &before));
        }
        done.push(draft.id.to_string());
    }
    Ok(())
}

fn disk(fault: &Fault) -> Failure {
    Failure::of_fault(fault, "nothing was submitted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_content_or_the_one_given() {
        let check = |text: &str, id: Option<&str>, want: &str| {
            let (found, bytes) = identified(text.as_bytes().to_vec(), id).unwrap();
            assert_eq!(found, want);
            let parsed = parse_order(&bytes, want).unwrap();
            assert_eq!(parsed.order.id.as_str(), want);
        };
        check("id: A\ntitle: t\n", None, "A");
        check("id: A\ntitle: t\n", Some("A"), "A");
        check("id: A # why\ntitle: t\n", Some("B"), "B");
        check("title: t\n", Some("B.1"), "B.1");
    }

    #[test]
    fn an_order_without_a_usable_id_is_refused() {
        let check = |text: &str, id: Option<&str>, part: &str| {
            let defects = identified(text.as_bytes().to_vec(), id).expect_err(text);
            assert!(defects[0].to_string().contains(part), "{text:?} gave {}", defects[0]);
        };
        check("title: t\n", None, "has no `id`");
        check("id: ../x\ntitle: t\n", None, "letter or a digit");
        check("title: t\n", Some("a b"), "may hold only");
        check("- a\n", None, "has no `id`");
    }
}
