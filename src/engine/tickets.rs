//! Small facts about tickets: intake, withdrawal, `.why` files, moves by hand undone, epics.
//!
//! Invariants: a `.why` is written once and only when its text changes; nothing a person wrote is
//! deleted; a backlog is edited like a ticket, by exchange.

use super::Engine;
use crate::model::attempt::Attempt;
use crate::model::backlog;
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::Seen;
use crate::model::order::State;
use crate::model::paths;
use crate::observe::{REFUSAL_MARK, plain};
use crate::world::store::{
    Outcome, TICKET_BYTES_MAX, errno, exchange_in, kept_beside, put_derived, read_plain,
    read_whole, relocate, write_stamp,
};
use crate::world::{Entry, Fault, Kind, World};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

/// What explanations of moves and requests that were not carried out begin with.
const NOT_DONE: &str = "not done";

impl<W: World> Engine<W> {
    pub(super) fn note_intake(&mut self, id: &OrderId) {
        let ticket = self.index.ticket_mut(id);
        // Its settlement was cut off before it showed: it is the same ticket, and held as before.
        let undone = ticket.seen == Seen::Unrun;
        ticket.seen = Seen::Pending;
        let held = self.index.holds.before_its_end(id).filter(|_| undone).map(str::to_owned);
        if let Some(reason) = held {
            self.record(id, None, Event::Held { reason, request: String::new() });
        }
        self.record(id, None, Event::Intake);
    }

    pub(super) fn withdraw(&mut self, id: &OrderId) {
        self.record(id, None, Event::Withdrawn);
        let ticket = self.index.ticket_mut(id);
        ticket.seen = Seen::Never;
        if ticket.is_empty() {
            let last = ticket.last_attempt;
            self.keep_number(id, last);
            self.index.tickets.remove(id);
        }
    }

    /// Keeps the highest attempt of an order that has no ticket now: a number is never given twice.
    pub(super) fn keep_number(&mut self, id: &OrderId, last: u32) {
        if last > 0 {
            let known = self.numbers.entry(id.clone()).or_default();
            *known = last.max(*known);
        }
    }

    /// Writes `<file>.why` beside the ticket, once.
    pub(super) fn write_why(
        &mut self,
        id: &OrderId,
        state: State,
        text: &str,
        refusal: bool,
    ) -> Result<(), Fault> {
        let body = why_text(text, refusal);
        let path = paths::why(state, id);
        let first = text.lines().next().unwrap_or_default();
        let first = format!("{id}.yaml in {}/: {first}", state.name());
        match read_whole(&mut self.world, &path, TICKET_BYTES_MAX) {
            Ok(Some(old)) if old.bytes == body.as_bytes() => return Ok(()),
            // Something else has the name of the explanation: it is only said.
            Err(fault) if fault.is_obstacle() => self.note_once(first),
            Err(fault) => return Err(fault),
            Ok(_) => {
                let put = put_derived(&mut self.world, &path, body.as_bytes());
                self.without(id, put)?;
                self.notes.push(first);
            }
        }
        if refusal {
            self.refusals.insert((state, id.clone()));
            self.replan_dependants(id);
        } else {
            self.refusals.remove(&(state, id.clone()));
        }
        if let Some(place) = self.index.ticket_mut(id).places[state as usize].as_deref_mut() {
            place.why = refusal;
        }
        Ok(())
    }

    pub(super) fn clear_why(&mut self, id: &OrderId, state: State) -> Result<(), Fault> {
        if let Some(place) = self.index.ticket_mut(id).places[state as usize].as_deref_mut() {
            place.why = false;
        }
        if self.refusals.remove(&(state, id.clone())) {
            self.replan_dependants(id);
        }
        match self.world.unlink(&paths::why(state, id)) {
            Err(fault) if fault.errno != errno::ENOENT => self.without(id, Err(fault)),
            _ => Ok(()),
        }
    }

    /// The other members of a dependency cycle learn of it, and of its end, from one another.
    fn replan_dependants(&mut self, id: &OrderId) {
        self.replan.extend(self.index.dependants.get(id).into_iter().flatten().cloned());
    }

    /// Removes explanations beside tickets that are gone.
    pub(super) fn forget_whys(&mut self, id: &OrderId) -> Result<(), Fault> {
        for state in [State::Pending, State::Running] {
            let here = self.ticket(id).is_some_and(|t| t.place(state).is_some());
            if !here && self.refusals.contains(&(state, id.clone())) {
                self.clear_why(id, state)?;
            }
        }
        Ok(())
    }

    /// Takes away explanations of moves that were put back, at a start or after half an hour: a settled order
    /// is as it should be since, and others have gone on when their ticket is not beside it.
    pub(super) fn forget_moves(&mut self, state: State, entries: &[Entry]) -> Result<(), Fault> {
        match state {
            State::Pending | State::Running => {
                self.forget_marked(state, entries, entries, NOT_DONE)
            }
            State::Done | State::Failed => self.forget_marked(state, entries, &[], NOT_DONE),
        }
    }

    /// Removes the explanations that begin with this mark of ours, but for those of names that are kept.
    fn forget_marked(
        &mut self,
        state: State,
        entries: &[Entry],
        kept: &[Entry],
        mark: &str,
    ) -> Result<(), Fault> {
        let kept: BTreeSet<&OsStr> = kept.iter().map(|e| e.name.as_os_str()).collect();
        for entry in entries.iter().filter(|e| e.kind == Kind::File) {
            let of = entry.name.to_str().and_then(|name| name.strip_suffix(".why"));
            if of.is_none_or(|of| kept.contains(OsStr::new(of))) {
                continue;
            }
            let path = paths::dir(state).join(&entry.name);
            let text = read_plain(&mut self.world, &path, 64)?;
            if text.is_some_and(|text| text.bytes.starts_with(mark.as_bytes())) {
                self.world.unlink(&path)?;
            }
        }
        Ok(())
    }

    /// Undoes a move by hand.
    pub(super) fn put_back(
        &mut self,
        id: &OrderId,
        from: State,
        to: State,
        why: &str,
    ) -> Result<(), Fault> {
        let Some(inode) = self.ticket(id).and_then(|t| t.place(from)).map(|p| p.inode) else {
            return Ok(());
        };
        let (here, there) = (paths::ticket(from, id), paths::ticket(to, id));
        let moved = relocate(&mut self.world, &here, &there, inode)?;
        self.changed(&here);
        self.changed(&there);
        self.hint(id.clone(), crate::observe::Arrival::Renamed);
        if moved == Outcome::LookAgain {
            return Ok(());
        }
        self.sync_now(from)?;
        if !why.is_empty() {
            self.write_why(id, to, &format!("moved from {}/: {why}", from.name()), false)?;
        }
        let attempt = self.ticket(id).and_then(|t| t.attempt.as_deref()).map(|a| a.number);
        if attempt.is_none() && to == State::Pending {
            self.index.ticket_mut(id).seen = Seen::Pending;
        }
        let (from, to) = (from.name().to_owned(), to.name().to_owned());
        self.record(id, attempt, Event::PutBack { from, to, reason: why.to_owned() });
        Ok(())
    }

    /// One file under two names: the earlier name goes.
    ///
    /// A person who moves it while we look shows it twice too. So the name is put aside first, and
    /// removed only when the file has another one; what a crash leaves aside is given back.
    pub(super) fn drop_double(&mut self, id: &OrderId, earlier: State) -> Result<(), Fault> {
        let path = paths::ticket(earlier, id);
        self.changed(&path);
        self.hint(id.clone(), crate::observe::Arrival::Unsure);
        if self.world.stat(&path)?.is_none_or(|s| s.links < 2) {
            return Ok(());
        }
        let aside = path.with_file_name(format!(".{id}.yaml.{:016x}-0", self.world.random()));
        match self.world.rename(&path, &aside) {
            Err(fault) if fault.errno == errno::ENOENT => return Ok(()),
            moved => moved?,
        }
        match self.world.stat(&aside)? {
            Some(stat) if stat.links < 2 => return self.give_double_back(id, &aside, &path),
            // The next stamp, be it of whoever comes after a crash, makes another file of the one that
            // stays: no power cut may then show this name too.
            _ => self.sync_now(earlier)?,
        }
        self.changed(&path);
        self.world.unlink(&aside)
    }

    /// Somebody saved over the other name in this moment, and may have moved it here since: what they saved
    /// stays, this one is kept beside. Without another name it was the only one.
    fn give_double_back(&mut self, id: &OrderId, aside: &Path, path: &Path) -> Result<(), Fault> {
        let mut saved = false;
        for other in State::ALL.into_iter().map(|s| paths::ticket(s, id)).filter(|p| p != path) {
            saved = saved || self.world.stat(&other)?.is_some();
        }
        if !saved {
            match self.world.rename(aside, path) {
                Err(fault) if fault.errno == errno::EEXIST => {}
                given_back => return given_back,
            }
        }
        let kept = kept_beside(aside);
        self.notes.push(format!("an earlier version of {id} is kept as {}", kept.display()));
        self.world.rename(aside, &kept)
    }

    /// Explains names in `pending/` that can never be tickets.
    pub(super) fn strays(&mut self) -> Result<(), Fault> {
        let entries = self.world.list(&paths::dir(State::Pending))?;
        self.noted.retain(|name| entries.iter().any(|e| e.name == *name));
        for entry in &entries {
            let Some(text) = entry.name.to_str().and_then(stray) else {
                if entry.name.to_str().is_none() {
                    self.note_stray(&entry.name, "its name is not UTF-8");
                }
                continue;
            };
            let name = entry.name.to_string_lossy().into_owned();
            let why = paths::dir(State::Pending).join(format!("{name}.why"));
            let body = why_text(&text, true);
            let old = read_whole(&mut self.world, &why, TICKET_BYTES_MAX);
            if old.is_ok_and(|o| o.is_some_and(|o| o.bytes == body.as_bytes())) {
                continue;
            }
            self.note_stray(&entry.name, &text);
            if why.file_name().is_some_and(|n| n.len() <= 255) {
                match put_derived(&mut self.world, &why, body.as_bytes()) {
                    Err(fault) if !fault.is_obstacle() => return Err(fault),
                    _ => {}
                }
            }
        }
        // Explanations of names that are gone.
        self.forget_marked(State::Pending, &entries, &entries, REFUSAL_MARK)
    }

    /// Says once what is wrong with a name.
    fn note_stray(&mut self, name: &OsStr, text: &str) {
        if self.noted.insert(name.to_owned()) {
            self.notes.push(format!("{name:?} in pending/: {text}"));
        }
    }

    /// The epic's status follows its queue.
    pub(super) fn follow_epic(&mut self, id: &OrderId, attempt: &Attempt) -> Result<(), Fault> {
        let Some(epic_id) = attempt.claim.sealed.epic.clone() else { return Ok(()) };
        let path = Path::new(paths::BACKLOG);
        let snapshot = match plain::snapshot(&mut self.world, path, TICKET_BYTES_MAX)? {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => return Ok(()),
            Err(text) => {
                self.notes.push(format!("{id}: {}: {text}", paths::BACKLOG));
                return Ok(());
            }
        };
        let Ok(epics) = backlog::parse_backlog(&snapshot.bytes) else {
            self.notes.push(format!("{id}: {} cannot be read; `lint` says why", paths::BACKLOG));
            return Ok(());
        };
        let Some(epic) = epics.iter().find(|e| e.id == epic_id) else { return Ok(()) };
        let Some(status) = self.epic_status(epic) else { return Ok(()) };
        let text = String::from_utf8_lossy(&snapshot.bytes).into_owned();
        let Ok(text) = backlog::set_epic_status(&text, &epic_id, status) else { return Ok(()) };
        let (temp, _) = write_stamp(&mut self.world, &snapshot, text.as_bytes())?;
        self.changed(path);
        let (done, kept) = exchange_in(&mut self.world, &snapshot, &temp, None, &[])?;
        self.notes.extend(kept.map(|kept| format!("a version is kept as {}", kept.display())));
        if done == Outcome::Done {
            let status = status.to_owned();
            self.record(id, Some(attempt.number), Event::Epic { epic: epic_id, status });
        }
        Ok(())
    }

    /// The status an epic should have, when that is another one than it has.
    fn epic_status(&self, epic: &backlog::Epic) -> Option<&'static str> {
        if epic.status.as_deref() == Some("paused") || epic.wo_queue.is_empty() {
            return None;
        }
        let ended = |id: &String| {
            let id = OrderId::parse(id).ok()?;
            let ticket = self.index.tickets.get(&id)?;
            Some(ticket.place(State::Done).is_some())
        };
        let done = epic.wo_queue.iter().all(|id| ended(id) == Some(true));
        let status = if done { "done" } else { "active" };
        (epic.status.as_deref() != Some(status)).then_some(status)
    }
}

fn why_text(text: &str, refusal: bool) -> String {
    let mark = if refusal { REFUSAL_MARK } else { NOT_DONE };
    format!("{mark}: {text}\n")
}

/// Why a name in `pending/` can never be a ticket; `None` when it can, or does not want to be one.
fn stray(name: &str) -> Option<String> {
    if name.starts_with('.') || name.ends_with(".why") || name.ends_with('~') {
        return None;
    }
    if name.ends_with(".yml") {
        return Some("a work order's name ends in .yaml; rename it".to_owned());
    }
    let stem = name.strip_suffix(".yaml")?;
    OrderId::parse(stem).err()
}
