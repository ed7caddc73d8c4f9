//! `jobyard import`: the tickets of another tree, reported, and copied when asked to.
//!
//! Invariants: the other tree and its locks are only read, by the scanner that looks at every root;
//! nothing here is replaced; an order is adopted once, whole, or left with a reason that is said. What ran
//! there waits here, held: it may still be somebody's. Nothing of it is ever started unasked.

use super::ask::drive::world;
use super::{Failure, Globals, Outcome, code, dirs, init, lint, look, out, root, say};
use crate::model::edit::{Change, Key, Scalar, edit};
use crate::model::id::OrderId;
use crate::model::index::Reading;
use crate::model::order::State;
use crate::model::paths;
use crate::plan::findings::Finding;
use crate::scan::View;
use crate::world::real::RealWorld;
use crate::world::store::{TICKET_BYTES_MAX, errno, publish, read_whole};
use crate::world::{Fault, Kind, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Flags of `jobyard import`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A directory with _ctx/jobs/, of jobyard or of an older tool (default: this root, where it lies)
    dir: Option<PathBuf>,
    /// Copy what can be adopted; without it nothing is changed
    #[arg(long)]
    apply: bool,
}

/// One order of the other tree.
struct Found {
    id: OrderId,
    from: State,
    /// What becomes of it, or why it stays.
    course: Result<Course, String>,
}

/// Where an order goes, as what, and what is said of that.
struct Course {
    to: State,
    bytes: Vec<u8>,
    note: String,
}

/// What is said of an import.
struct Report<'a> {
    there: &'a Path,
    here: &'a Path,
    applied: bool,
    found: &'a [Found],
    /// Files of the catalogue and the backlog that go with them.
    files: &'a [PathBuf],
    /// How many settled orders got their stamp.
    adopted: usize,
    /// What is wrong in the other tree.
    findings: &'a [Finding],
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    let here = globals.find_root()?;
    let there = match &given.dir {
        Some(dir) => root::existing(dir)?,
        None => here.clone(),
    };
    if !there.join("_ctx/jobs").is_dir() {
        let text = format!("import {}: there is no _ctx/jobs in it", there.display());
        return Err(Failure::new(code::NOT_FOUND, text));
    }
    // Before anything is looked at: nobody but a person changes what is here after that.
    let lock = given.apply.then(|| init::lock(&here, "import")).transpose()?.transpose()?;
    let mut theirs = look::seat(there.clone())?;
    let (view, findings) = theirs.findings()?;
    let mut ours = world(&here)?;
    let mut found = Vec::new();
    for id in view.ids() {
        found.extend(order(&view, &id, &mut theirs.world, &mut ours)?);
    }
    let files = if there == here { Vec::new() } else { catalogues(&mut theirs.world, &mut ours)? };
    let mut adopted = 0;
    if lock.is_some() {
        let copied = copy(&mut theirs.world, &mut ours, &found, &files);
        copied.map_err(|f| failed(&f))?;
        let imported = found.iter().filter(|f| f.course.is_ok()).map(|f| f.id.clone());
        let only = (there != here).then(|| imported.collect());
        adopted = init::adopt_locked(&here, true, only)?;
    }
    drop(lock);
    let (there, here, applied) = (&*there, &*here, given.apply);
    let (found, files, findings) = (&*found, &*files, &*findings);
    tell(globals, &Report { there, here, applied, found, files, adopted, findings })
}

fn failed(fault: &Fault) -> Failure {
    Failure::of_fault(fault, "what was copied stays; run it again when that is mended")
}

/// An order of the other tree.
fn order(
    view: &View,
    id: &OrderId,
    theirs: &mut RealWorld,
    ours: &mut RealWorld,
) -> Result<Option<Found>, Failure> {
    let Some(ticket) = view.index.tickets.get(id) else { return Ok(None) };
    let stays = |from, why: String| Ok(Some(Found { id: id.clone(), from, course: Err(why) }));
    let Some(from) = ticket.state() else {
        let why = "it lies in several states: remove the wrong ones there";
        return stays(State::Pending, why.to_owned());
    };
    match ticket.place(from).map(|place| &place.reading) {
        Some(Reading::Order(_)) => {}
        Some(Reading::Settled { .. }) => {
            return stays(from, "it carries a settlement of jobyard's already".to_owned());
        }
        _ => return stays(from, "it is no valid order: see its finding".to_owned()),
    }
    if ours.root() == theirs.root() {
        let course = Course { to: from, bytes: Vec::new(), note: "as it lies".to_owned() };
        let settled = matches!(from, State::Done | State::Failed);
        return Ok(settled.then(|| Found { id: id.clone(), from, course: Ok(course) }));
    }
    if let Some(path) = known(ours, id)? {
        return stays(from, format!("{} is here already", path.display()));
    }
    let path = paths::ticket(from, id);
    let read = read_whole(theirs, &path, TICKET_BYTES_MAX).map_err(|f| failed(&f))?;
    let Some(read) = read else { return Ok(None) };
    if from != State::Running {
        let course = Course { to: from, bytes: read.bytes, note: String::new() };
        return Ok(Some(Found { id: id.clone(), from, course: Ok(course) }));
    }
    let lock = ticket.lease.as_ref().map(|lease| lease.body.describe());
    let note = format!("held, since it ran: {}", lock.as_deref().unwrap_or("it has no lock"));
    let course = held(&read.bytes).map(|bytes| Course { to: State::Pending, bytes, note });
    Ok(Some(Found { id: id.clone(), from, course }))
}

/// The same ticket, held; or why it cannot be.
fn held(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let reason = Scalar::Text("imported from running/".to_owned());
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let edited = edit(text, &[Change::Set(Key::Top("hold"), reason)]);
    edited.map(String::into_bytes).map_err(|defect| format!("`hold` cannot be added: {defect}"))
}

/// A ticket or a lock of this id that is here.
fn known(ours: &mut RealWorld, id: &OrderId) -> Result<Option<PathBuf>, Failure> {
    let places = State::ALL.map(|s| paths::ticket(s, id)).into_iter().chain([paths::lock(id)]);
    for path in places {
        if ours.stat(&path).map_err(|f| failed(&f))?.is_some() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Files of the catalogue and the backlog that are there and not here.
fn catalogues(theirs: &mut RealWorld, ours: &mut RealWorld) -> Result<Vec<PathBuf>, Failure> {
    let mut wanted = vec![PathBuf::from(paths::BACKLOG)];
    let dod = Path::new(paths::DOD);
    match theirs.list(dod) {
        Err(fault) if fault.errno == errno::ENOENT => {}
        Err(fault) => return Err(failed(&fault)),
        Ok(entries) => {
            let names = entries.iter().filter_map(|entry| entry.name.to_str());
            wanted.extend(names.filter(|name| name.ends_with(".yaml")).map(|name| dod.join(name)));
        }
    }
    let mut missing = Vec::new();
    for path in wanted {
        let there = theirs.stat(&path).map_err(|f| failed(&f))?;
        let here = ours.stat(&path).map_err(|f| failed(&f))?;
        if there.is_some_and(|s| s.kind == Kind::File) && here.is_none() {
            missing.push(path);
        }
    }
    Ok(missing)
}

/// Settled orders first: whatever depends on them can start at once.
fn copy(
    theirs: &mut RealWorld,
    ours: &mut RealWorld,
    found: &[Found],
    files: &[PathBuf],
) -> Result<(), Fault> {
    let mut wanted = dirs::needed();
    wanted.extend(dirs::offered());
    dirs::make(ours, &wanted)?;
    let mut touched = BTreeSet::new();
    for path in files {
        let Some(read) = read_whole(theirs, path, TICKET_BYTES_MAX)? else { continue };
        publish(ours, path, &read.bytes, 0o644)?;
        touched.extend(path.parent().map(Path::to_owned));
    }
    let courses = found.iter().filter_map(|f| Some((&f.id, f.course.as_ref().ok()?)));
    let mut going: Vec<_> = courses.filter(|(_, course)| !course.bytes.is_empty()).collect();
    going.sort_by_key(|(_, course)| course.to == State::Pending);
    for (id, course) in going {
        publish(ours, &paths::ticket(course.to, id), &course.bytes, 0o644)?;
        touched.insert(paths::dir(course.to));
    }
    touched.iter().try_for_each(|dir| ours.sync_dir(dir))
}

fn tell(globals: &Globals, report: &Report<'_>) -> Outcome {
    let Report { there, here, applied, found, files, adopted, findings } = *report;
    let stays = found.iter().filter(|f| f.course.is_err()).count();
    let exit = if stays > 0 { code::FINDINGS } else { code::DONE };
    if globals.json {
        let one = |f: &Found| {
            let (to, note) = match &f.course {
                Ok(course) => (Some(course.to.name()), &course.note),
                Err(why) => (None, why),
            };
            json!({ "id": f.id.as_str(), "from": f.from.name(), "to": to, "note": note })
        };
        let shown = |path: &PathBuf| Value::from(path.to_string_lossy().into_owned());
        let fields = [
            ("from", there.to_string_lossy().into()),
            ("to", here.to_string_lossy().into()),
            ("applied", applied.into()),
            ("orders", found.iter().map(one).collect()),
            ("files", files.iter().map(shown).collect()),
            ("adopted", adopted.into()),
            ("findings", look::findings_json(findings)),
        ];
        say::object("import", fields)?;
        return Ok(exit);
    }
    let mut text = String::new();
    for order in found {
        let (id, from) = (&order.id, order.from.name());
        let line = match &order.course {
            Ok(Course { to, note, .. }) if note.is_empty() => {
                format!("{id}: {from}/ -> {}/", to.name())
            }
            Ok(Course { to, note, .. }) => format!("{id}: {from}/ -> {}/ ({note})", to.name()),
            Err(why) => format!("{id}: stays in {from}/: {why}"),
        };
        text.push_str(&format!("{}\n", out::plain(&line)));
    }
    for file in files {
        text.push_str(&format!("{}: copied with them\n", out::plain(&file.to_string_lossy())));
    }
    if !findings.is_empty() {
        text.push_str(&format!("\nwhat is wrong in {}:\n", out::plain(&there.to_string_lossy())));
        text.push_str(&lint::text(findings));
    }
    out::text(&text)?;
    let goes = found.len() - stays;
    say::talk(&match applied {
        true => format!("jobyard: {goes} imported, {adopted} of them settled; {stays} stay there"),
        false => format!(
            "jobyard: {goes} can be imported, {stays} stay there; nothing was changed, --apply does it"
        ),
    });
    Ok(exit)
}
