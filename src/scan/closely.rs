//! The parts of a view that only findings and people need: whole tickets, strange names, verdicts, the
//! catalogue, the backlog.
//!
//! Invariant: what cannot be read is a fact too, never a reason to give up the view.

use super::{View, list};
use crate::model::backlog::{BACKLOG_BYTES_MAX, parse_backlog};
use crate::model::defect::{Defect, INVALID_BACKLOG, INVALID_TICKET};
use crate::model::id::OrderId;
use crate::model::index::{Place, Reading, Ticket};
use crate::model::lease::{LeaseBody, LeaseMode};
use crate::model::order::State;
use crate::model::parse::{Parsed, parse_order};
use crate::model::paths;
use crate::model::progress::{PROGRESS_BYTES_MAX, REFUSED, parse_progress};
use crate::model::request::parse_request_name;
use crate::model::strict::Tree;
use crate::model::strict::source::Source;
use crate::model::verdict::VerdictFile;
use crate::observe::catalogue::Catalogue;
use crate::observe::{Look, plain, signs};
use crate::plan::findings::{Claimed, Extra, Known, Stray};
use crate::plan::step::CYCLE_MARK;
use crate::world::store::{TICKET_BYTES_MAX, read_whole};
use crate::world::{Entry, Fault, Kind, Stat, World, leftovers};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

/// Longest explanation that is read.
const WHY_BYTES_MAX: usize = 64 << 10;

/// Longest verdict that is read.
const VERDICT_BYTES_MAX: usize = 8 << 20;

/// A file below the root for people: one line, whatever its name is.
pub(super) fn shown(dir: &Path, name: &OsStr) -> String {
    let name = name.as_encoded_bytes();
    let text: String = String::from_utf8_lossy(name)
        .chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect();
    let text = match std::str::from_utf8(name) {
        Ok(_) => text,
        Err(_) => name.escape_ascii().to_string(),
    };
    format!("{}/{text}", dir.display())
}

/// A name in a state directory that is no ticket and no lease.
pub(super) fn stray<W: World>(
    world: &mut W,
    state: State,
    entry: &Entry,
    extra: &mut Extra,
) -> Result<(), Fault> {
    let dir = paths::dir(state);
    let file = shown(&dir, &entry.name);
    let name = entry.name.to_str();
    if name.is_some_and(|n| n.ends_with(".why") || leftovers::is_ours(n)) {
        return Ok(());
    }
    let refused = refusal(state, &entry.name);
    if refused.is_some()
        && let Some((id, line)) = claimed_in(world, &dir.join(&entry.name))?
    {
        extra.claimed.push(Claimed { id, file: file.clone(), line });
    }
    extra.strays.push(Stray { file, refused });
    Ok(())
}

/// Why a name can never be a ticket's; `None` when it does not look like one.
fn refusal(state: State, name: &OsStr) -> Option<String> {
    let bytes = name.as_encoded_bytes();
    if bytes.starts_with(b".") {
        return None;
    }
    let open = matches!(state, State::Pending | State::Running);
    if bytes.ends_with(b".yml") && open {
        return Some("a work order's name ends in .yaml; this is never looked at".to_owned());
    }
    let stem = bytes.strip_suffix(b".yaml")?;
    match std::str::from_utf8(stem) {
        Ok(stem) => OrderId::parse(stem).err().map(|rule| format!("the file name: {rule}")),
        Err(_) => Some("the file name is not UTF-8".to_owned()),
    }
}

/// The `id` of a file that is no ticket of that name, when it can be read.
fn claimed_in<W: World>(world: &mut W, path: &Path) -> Result<Option<(String, u32)>, Fault> {
    Ok(regular(world, path, TICKET_BYTES_MAX)?.and_then(|bytes| claimed_id(&bytes)))
}

/// What a file says its id is, and where.
pub(super) fn claimed_id(bytes: &[u8]) -> Option<(String, u32)> {
    let source = Source::decode(bytes, TICKET_BYTES_MAX, INVALID_TICKET).ok()?;
    let tree = Tree::read(source).ok()?;
    let value = tree.get(tree.root(), "id")?;
    let line = tree.raw(value).place.line;
    tree.text(value).map(|text| (text.to_owned(), line))
}

/// The bytes of a regular file; `None` for everything else, and for what may not be read.
fn regular<W: World>(
    world: &mut W,
    path: &Path,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, Fault> {
    if world.stat(path)?.is_none_or(|s| s.kind != Kind::File) {
        return Ok(None);
    }
    match read_whole(world, path, bytes_max) {
        Ok(read) => Ok(read.map(|s| s.bytes).filter(|b| b.len() <= bytes_max)),
        Err(fault) if fault.is_obstacle() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Lines of the top-level keys, from 1.
pub(super) fn lines(bytes: &[u8]) -> BTreeMap<String, u32> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = BTreeMap::new();
    for (line, at) in text.lines().zip(1..) {
        if line.starts_with([' ', '\t', '#', '-', '}', ']']) {
            continue;
        }
        if let Some((key, _)) = line.trim_start_matches(['\u{feff}', '{']).split_once(':') {
            let key = key.trim().trim_matches(['"', '\'']);
            found.entry(key.to_owned()).or_insert(at);
        }
    }
    found
}

/// Keeps the whole of a ticket, or the id it claims.
pub(super) fn read<W: World>(
    world: &mut W,
    view: &mut View,
    id: &OrderId,
    state: State,
    ticket: &Ticket,
) -> Result<(), Fault> {
    let Some(place) = ticket.place(state) else { return Ok(()) };
    let path = paths::ticket(state, id);
    let Some(bytes) = regular(world, &path, TICKET_BYTES_MAX)? else { return Ok(()) };
    if matches!(place.reading, Reading::Refused(_)) {
        if let Some((claimed, line)) = claimed_id(&bytes).filter(|(c, _)| c != id.as_str()) {
            let file = path.display().to_string();
            view.extra.claimed.push(Claimed { id: claimed, file, line });
        }
        return Ok(());
    }
    if let Ok(Parsed { order, warnings }) = parse_order(&bytes, id.as_str()) {
        let changed_ms = place.mtime_ns / 1_000_000;
        let known = Known { order, warnings, lines: lines(&bytes), changed_ms };
        view.extra.orders.insert((id.clone(), state), known);
    }
    Ok(())
}

/// What the daemon said beside a valid ticket: it tried, and something other than the ticket refused.
pub(super) fn refused<W: World>(
    world: &mut W,
    view: &mut View,
    id: &OrderId,
    ticket: &Ticket,
) -> Result<(), Fault> {
    let Some(state @ (State::Pending | State::Running)) = ticket.state() else { return Ok(()) };
    let Some(place) = ticket.place(state) else { return Ok(()) };
    let path = paths::why(state, id);
    let newer = |stat: &Stat| stat.kind == Kind::File && stat.mtime_ns >= place.mtime_ns;
    if !matches!(place.reading, Reading::Order(_))
        || !world.stat(&path)?.as_ref().is_some_and(newer)
    {
        return Ok(());
    }
    let bytes = regular(world, &path, WHY_BYTES_MAX)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let said = text.strip_prefix(crate::observe::REFUSAL_MARK).and_then(|t| t.strip_prefix(": "));
    if let Some(said) = said.filter(|s| !s.starts_with(CYCLE_MARK)) {
        view.extra.refused.insert(id.clone(), (state, said.trim_end().to_owned()));
    }
    Ok(())
}

/// Ages of the lease: of the file, and since the last sign of life of a person.
pub(super) fn lease<W: World>(
    world: &mut W,
    view: &mut View,
    id: &OrderId,
    ticket: &mut Ticket,
) -> Result<(), Fault> {
    let Some(stat) = world.stat(&paths::lock(id))? else { return Ok(()) };
    let age = view.now.0.saturating_sub(stat.mtime_ns / 1_000_000);
    view.extra.lock_age_ms.insert(id.clone(), u64::try_from(age).unwrap_or(0));
    let manual = ticket.lease.as_deref().is_some_and(
        |l| matches!(&l.body, LeaseBody::Ours(body) if body.mode != LeaseMode::Process),
    );
    if manual {
        let refusals = BTreeSet::new();
        let look = Look {
            config: &view.settings.config,
            tick: view.tick,
            now: view.now,
            refusals: &refusals,
            own_lease: None,
        };
        let silent = signs::silence(world, &look, id, ticket, stat)?;
        if let Some(lease) = ticket.lease.as_deref_mut() {
            lease.silent_ms = Some(silent);
        }
    }
    Ok(())
}

/// The newest verdict of an order in `running/`.
pub(super) fn verdict<W: World>(
    world: &mut W,
    view: &mut View,
    id: &OrderId,
    ticket: &Ticket,
) -> Result<(), Fault> {
    if ticket.place(State::Running).is_none() {
        return Ok(());
    }
    let newest = match ticket.attempt.as_deref() {
        Some(attempt) => Some(attempt.number),
        None => attempts(world, id)?.last().copied(),
    };
    let Some(number) = newest else { return Ok(()) };
    let path = paths::run(id, number).join("verdict.json");
    let text = regular(world, &path, VERDICT_BYTES_MAX)?.unwrap_or_default();
    if let Ok(verdict) = serde_json::from_slice::<VerdictFile>(&text) {
        let file = path.display().to_string();
        view.extra.verdicts.insert(id.clone(), (file, verdict.result));
    }
    Ok(())
}

/// How far the job of a running attempt says it is: the end of what it wrote.
pub(super) fn progress<W: World>(
    world: &mut W,
    view: &mut View,
    id: &OrderId,
    ticket: &Ticket,
) -> Result<(), Fault> {
    let open = ticket.attempt.as_deref().filter(|a| a.settled.is_none());
    let Some(attempt) = open.filter(|_| ticket.place(State::Running).is_some()) else {
        return Ok(());
    };
    let path = paths::run(id, attempt.number).join("progress");
    let stat = match world.stat(&path)? {
        Some(stat) if stat.kind == Kind::File => stat,
        Some(_) => {
            view.progress.insert(id.clone(), Err(REFUSED));
            return Ok(());
        }
        None => return Ok(()),
    };
    let Ok(Some(file)) = world.open(&path) else { return Ok(()) };
    let offset = stat.size.saturating_sub(PROGRESS_BYTES_MAX as u64);
    let text = world.read(&file, offset, PROGRESS_BYTES_MAX)?;
    if let Some(read) = parse_progress(&text) {
        view.progress.insert(id.clone(), read);
    }
    Ok(())
}

/// Numbers of the attempts that have a run directory, ascending.
pub(super) fn attempts<W: World>(world: &mut W, id: &OrderId) -> Result<Vec<u32>, Fault> {
    let entries = list(world, &paths::runs(id))?;
    let mut numbers: Vec<u32> =
        entries.iter().filter_map(|e| e.name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The DoD catalogue.
pub(super) fn catalogue<W: World>(world: &mut W, extra: &mut Extra) -> Result<(), Fault> {
    let mut found = Catalogue::default();
    found.refresh(world)?;
    let dir = Path::new(paths::DOD);
    extra.broken.extend(found.broken.into_iter().map(|(name, d)| (shown(dir, &name), d)));
    extra.dod_files.extend(found.files.into_iter().map(|(id, name)| (id, shown(dir, &name))));
    extra.catalogue.extend(found.entries);
    Ok(())
}

/// The backlog.
pub(super) fn backlog<W: World>(world: &mut W, extra: &mut Extra) -> Result<(), Fault> {
    let file = paths::BACKLOG.to_owned();
    let read = match plain::snapshot(world, Path::new(paths::BACKLOG), BACKLOG_BYTES_MAX)? {
        Ok(None) => return Ok(()),
        Ok(Some(read)) => read,
        Err(text) => {
            extra.broken.push((file, Defect::whole(INVALID_BACKLOG, text)));
            return Ok(());
        }
    };
    match parse_backlog(&read.bytes) {
        Ok(epics) => extra.epics = Some(epics),
        Err(defects) => extra.broken.extend(defects.into_iter().map(|d| (file.clone(), d))),
    }
    Ok(())
}

/// Names among the requests that are none, and requests that were refused.
pub(super) fn control<W: World>(world: &mut W, extra: &mut Extra) -> Result<(), Fault> {
    let dir = Path::new(paths::CONTROL);
    let entries = list(world, dir)?;
    for entry in &entries {
        let why = format!("{}.why", entry.name.to_string_lossy());
        if entries.iter().any(|e| e.name == *why.as_str()) {
            let why = regular(world, &dir.join(why), WHY_BYTES_MAX)?.unwrap_or_default();
            let why = String::from_utf8_lossy(&why).trim().to_owned();
            extra.refused_requests.push((shown(dir, &entry.name), why));
        }
    }
    for entry in entries {
        let ours = entry.name.to_str().is_some_and(|n| {
            let hidden = n == ".answered" || leftovers::is_ours(n);
            hidden || n.ends_with(".why") || parse_request_name(n).is_some()
        });
        if !ours {
            extra.strays.push(Stray { file: shown(dir, &entry.name), refused: None });
        }
    }
    Ok(())
}

/// It may still be being written, or moved.
pub(super) fn is_unsure(place: &Place) -> bool {
    matches!(place.reading, Reading::Settling(_))
}
