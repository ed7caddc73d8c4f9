//! `jobyard import`: the tickets of another tree, reported, and copied when asked to.
//!
//! Invariants: the other tree and its locks are only read, by the scanner that looks at every root;
//! nothing here is replaced; an order is adopted once, whole, or left with a reason that is said. What ran
//! there waits here, held: it may still be somebody's. Nothing of it is ever started unasked.

use super::ask::drive::world;
use super::submit::READABLE;
use super::{Failure, Globals, Outcome, code, dirs, init, lint, look, out, root, say};
use crate::model::defect::{INVALID_BACKLOG, INVALID_DOD};
use crate::model::edit::{Change, Key, Scalar, edit};
use crate::model::id::OrderId;
use crate::model::index::Reading;
use crate::model::order::{OwnKeys, State};
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
    /// What is published, and who may read it; nothing when it lies there already.
    file: Option<(Vec<u8>, u32)>,
    note: String,
}

/// A file of the catalogue or the backlog, and why it stays, if it does.
struct Side {
    path: PathBuf,
    stays: Option<String>,
}

/// What is said of an import.
struct Report<'a> {
    there: &'a Path,
    here: &'a Path,
    applied: bool,
    found: &'a [Found],
    /// Files of the catalogue and the backlog that go with them.
    files: &'a [Side],
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
    if let Some(daemon) = theirs.daemon().filter(|_| lock.is_some() && there != here) {
        let text = format!(
            "import: {} is served ({}) and would run them too; stop it first",
            there.display(),
            daemon.text
        );
        return Err(Failure::new(code::HELD, text));
    }
    let (view, findings) = theirs.findings()?;
    let mut ours = world(&here)?;
    let mut found = Vec::new();
    for id in view.ids() {
        found.extend(order(&view, &id, &mut theirs.world, &mut ours)?);
    }
    let files = match there == here {
        true => Vec::new(),
        false => catalogues(&mut theirs.world, &mut ours, &findings)?,
    };
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
            return stays(from, "jobyard settled it there; its record is there too".to_owned());
        }
        _ => return stays(from, "it is no valid order: see its finding".to_owned()),
    }
    if ours.root() == theirs.root() {
        let course = Course { to: from, file: None, note: "as it lies".to_owned() };
        let settled = matches!(from, State::Done | State::Failed);
        return Ok(settled.then(|| Found { id: id.clone(), from, course: Ok(course) }));
    }
    let Some(known) = view.known(id) else {
        return stays(from, "it is just being changed there".to_owned());
    };
    let path = paths::ticket(from, id);
    let read = read_whole(theirs, &path, TICKET_BYTES_MAX).map_err(|f| failed(&f))?;
    let Some(read) = read else { return Ok(None) };
    let mode = read.stat.mode & READABLE;
    let lock = ticket.lease.as_ref().map(|lease| lease.body.describe());
    let (to, note) = match from {
        State::Running => {
            let lock = lock.unwrap_or_else(|| "it has no lock".to_owned());
            (State::Pending, format!("held, since it ran: {lock}"))
        }
        other => (other, String::new()),
    };
    let changes = match from {
        State::Running => begun_anew(known.order.hold.is_none()),
        // The counters of another root mean nothing here.
        State::Pending if known.order.own != OwnKeys::default() => {
            let hold = known.order.own.hold.clone().filter(|_| known.order.hold.is_none());
            let hold = hold.map(|reason| Change::Set(Key::Top("hold"), Scalar::Text(reason)));
            hold.into_iter().chain([Change::Remove(Key::Top("x_jobyard"))]).collect()
        }
        _ => Vec::new(),
    };
    let bytes = match changed(read.bytes, &changes) {
        Ok(bytes) => bytes,
        Err(why) => return stays(from, why),
    };
    let course = match here(ours, id, to, &bytes)? {
        Here::Nothing => Course { to, file: Some((bytes, mode)), note },
        Here::Copied => Course { to, file: None, note: "copied before".to_owned() },
        Here::Other(path) => return stays(from, format!("{} is here already", path.display())),
    };
    Ok(Some(Found { id: id.clone(), from, course: Ok(course) }))
}

/// What makes a pending, held ticket of one that ran.
fn begun_anew(hold: bool) -> Vec<Change> {
    let text = |text: &str| Scalar::Text(text.to_owned());
    let mut changes = vec![Change::Set(Key::Top("status"), text("pending"))];
    if hold {
        changes.push(Change::Set(Key::Top("hold"), text("imported from running/")));
    }
    let gone = ["branch", "worktree", "started_at", "x_jobyard"];
    changes.extend(gone.map(|key| Change::Remove(Key::Top(key))));
    changes
}

/// The ticket with these changes; or why it cannot have them.
fn changed(bytes: Vec<u8>, changes: &[Change]) -> Result<Vec<u8>, String> {
    if changes.is_empty() {
        return Ok(bytes);
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| e.to_string())?;
    let edited = edit(text, changes);
    edited.map(String::into_bytes).map_err(|defect| format!("it cannot be changed: {defect}"))
}

/// What there is here of an order.
enum Here {
    Nothing,
    /// The very ticket that would be copied: an import was interrupted, or is repeated.
    Copied,
    Other(PathBuf),
}

fn here(ours: &mut RealWorld, id: &OrderId, to: State, bytes: &[u8]) -> Result<Here, Failure> {
    let places = State::ALL.map(|s| paths::ticket(s, id)).into_iter().chain([paths::lock(id)]);
    let mut found = Vec::new();
    for path in places {
        if ours.stat(&path).map_err(|f| failed(&f))?.is_some() {
            found.push(path);
        }
    }
    let own = paths::ticket(to, id);
    Ok(match found.iter().find(|path| **path != own).or(found.first()) {
        None => Here::Nothing,
        Some(path) if *path == own => {
            let read = read_whole(ours, &own, TICKET_BYTES_MAX).map_err(|f| failed(&f))?;
            match read.is_some_and(|read| read.bytes == bytes) {
                true => Here::Copied,
                false => Here::Other(own),
            }
        }
        Some(path) => Here::Other(path.clone()),
    })
}

/// Files of the catalogue and the backlog that are there and not here.
fn catalogues(
    theirs: &mut RealWorld,
    ours: &mut RealWorld,
    findings: &[Finding],
) -> Result<Vec<Side>, Failure> {
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
        let Some(there) = there.filter(|s| s.kind == Kind::File && here.is_none()) else {
            continue;
        };
        let broken = |f: &&Finding| {
            Path::new(&f.file) == path && matches!(f.code, INVALID_DOD | INVALID_BACKLOG)
        };
        let stays = match findings.iter().find(broken) {
            _ if there.size > TICKET_BYTES_MAX as u64 => Some("it is larger than 1 MiB".to_owned()),
            Some(finding) => Some(finding.message.clone()),
            None => None,
        };
        missing.push(Side { path, stays });
    }
    Ok(missing)
}

/// Settled orders first: whatever depends on them can start at once.
fn copy(
    theirs: &mut RealWorld,
    ours: &mut RealWorld,
    found: &[Found],
    files: &[Side],
) -> Result<(), Fault> {
    let mut wanted = paths::needed();
    wanted.extend(dirs::offered());
    dirs::make(ours, &wanted)?;
    let mut touched = BTreeSet::new();
    for Side { path, .. } in files.iter().filter(|side| side.stays.is_none()) {
        let Some(read) = read_whole(theirs, path, TICKET_BYTES_MAX)? else { continue };
        publish(ours, path, &read.bytes, read.stat.mode & READABLE)?;
        touched.extend(path.parent().map(Path::to_owned));
    }
    let courses = found.iter().filter_map(|f| Some((&f.id, f.course.as_ref().ok()?)));
    let mut going: Vec<_> =
        courses.filter_map(|(id, course)| Some((id, course.to, course.file.as_ref()?))).collect();
    going.sort_by_key(|(_, to, _)| *to == State::Pending);
    for (id, to, (bytes, mode)) in going {
        publish(ours, &paths::ticket(to, id), bytes, *mode)?;
        touched.insert(paths::dir(to));
    }
    touched.iter().try_for_each(|dir| ours.sync_dir(dir))
}

fn tell(globals: &Globals, report: &Report<'_>) -> Outcome {
    let Report { there, here, applied, found, files, adopted, findings } = *report;
    let stays = found.iter().filter(|f| f.course.is_err()).count();
    let whole = stays == 0 && files.iter().all(|side| side.stays.is_none());
    let exit = if whole { code::DONE } else { code::FINDINGS };
    if globals.json {
        let one = |f: &Found| {
            let (to, note) = match &f.course {
                Ok(course) => (Some(course.to.name()), &course.note),
                Err(why) => (None, why),
            };
            json!({ "id": f.id.as_str(), "from": f.from.name(), "to": to, "note": note })
        };
        let shown =
            |side: &Side| json!({ "file": side.path.to_string_lossy(), "stays": side.stays });
        let fields = [
            ("from", there.to_string_lossy().into()),
            ("to", here.to_string_lossy().into()),
            ("applied", applied.into()),
            ("orders", found.iter().map(one).collect()),
            ("files", files.iter().map(shown).collect::<Value>()),
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
    for Side { path, stays } in files {
        let fate =
            stays.as_ref().map_or("copied with them".to_owned(), |why| format!("stays: {why}"));
        text.push_str(&format!("{}\n", out::plain(&format!("{}: {fate}", path.display()))));
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
