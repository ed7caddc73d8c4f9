//! Obstacles: what concerns one order's own paths and is not the disk refusing never stops the others.
//!
//! Invariants: an order that meets an obstacle is set aside, said once, and not acted on again before
//! its files change, a rescan, or a restart; its facts are then read anew, as after a crash; derived files
//! go on without it: what stands in their way is moved aside, never deleted.
//!
//! It does not repair tickets, leases or requests: those are a person's.

use super::Engine;
use super::open::last_words;
use crate::model::id::OrderId;
use crate::model::index::{Place, Ticket};
use crate::model::order::State;
use crate::model::paths;
use crate::observe::Arrival;
use crate::plan::step::OBSTRUCTED_MARK;
use crate::world::store::{errno, move_aside, put_clearing};
use crate::world::{Fault, GitFault, Kind, World};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is wrong with one name itself, also where many orders share a directory.
const OF_THE_NAME: [i32; 8] = [
    errno::ENXIO,
    errno::EEXIST,
    errno::EISDIR,
    errno::ELOOP,
    errno::EXDEV,
    errno::ENAMETOOLONG,
    errno::EMLINK,
    errno::ENOTEMPTY,
];

/// What of an order's files tells that somebody changed them: inode, size, times of each.
pub(super) type Mark = Vec<(String, u64, u64, i64)>;

fn mark(ticket: &Ticket) -> Mark {
    let place = |state: State, p: &Place| (state.name().to_owned(), p.inode, p.size, p.mtime_ns);
    let places = State::ALL.into_iter().filter_map(|s| ticket.place(s).map(|p| place(s, p)));
    let lease = ticket.lease.iter().map(|l| ("lock".to_owned(), l.inode, 0, 0));
    let requests = ticket.requests.iter();
    let requests = requests.map(|r| (r.file.clone(), r.inode, u64::from(r.refused), r.ctime_ns));
    places.chain(lease).chain(requests).collect()
}

/// The fault is one of this order's own names, and not of the disk or of a directory that others share.
fn is_local(id: &OrderId, fault: &Fault) -> bool {
    let path = fault.path.as_path();
    if path.starts_with(paths::runs(id)) || path.starts_with(".worktrees") {
        return fault.is_obstacle() || fault.errno == errno::ENOENT;
    }
    let jobs = path.parent().is_some_and(|dir| {
        dir == Path::new(paths::CONTROL) || State::ALL.iter().any(|s| dir == paths::dir(*s))
    });
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let own = name.strip_prefix('.').unwrap_or(name).starts_with(&format!("{id}."));
    let of_the_name = OF_THE_NAME.contains(&fault.errno)
        || fault.errno == errno::EACCES && fault.act == "open"
        || fault.errno == errno::EPERM && fault.act != "link";
    jobs && own && of_the_name
}

/// A git command that was cut off decides nothing: it ends the turn.
pub(super) fn uninterrupted(git: &GitFault) -> Result<(), Fault> {
    git.interruption().map_or(Ok(()), Err)
}

impl<W: World> Engine<W> {
    /// Sets an order aside that met an obstacle; any other fault is everybody's.
    pub(super) fn set_aside(&mut self, id: &OrderId, fault: Fault) -> Result<(), Fault> {
        if !is_local(id, &fault) {
            return Err(fault);
        }
        self.read_anew(id)?;
        let text = format!(
            "{OBSTRUCTED_MARK}: {fault}; nothing is done about it until that is cleared: move it away, then \
             `touch` the ticket"
        );
        let ticket = self.index.ticket_mut(id);
        ticket.obstacle = Some(text.as_str().into());
        let marked = mark(ticket);
        let state = ticket.state();
        self.aside.insert(id.clone(), marked);
        self.dirty.remove(id);
        self.replan.insert(id.clone());
        match state {
            Some(state @ (State::Pending | State::Running)) => {
                self.write_why(id, state, &text, true)
            }
            _ => {
                self.note_once(format!("{id}: {text}"));
                Ok(())
            }
        }
    }

    /// What was half done is forgotten; the files and the ledger tell, as they do at the start.
    fn read_anew(&mut self, id: &OrderId) -> Result<(), Fault> {
        match self.look_at_ticket(id, Arrival::Unsure) {
            Err(fault) if !is_local(id, &fault) => return Err(fault),
            _ => {}
        }
        let unowned = self.ticket(id).is_some_and(|t| t.attempt.is_none());
        if unowned && !self.options.policy.fresh {
            self.ledger.flush(&mut self.world)?;
            let said = last_words(&mut self.world, BTreeSet::from([id.clone()]))?;
            if let Some(seen) = said.get(id) {
                self.index.ticket_mut(id).seen = *seen;
            }
        }
        Ok(())
    }

    /// Whether an order that was set aside looks otherwise now: then it is acted on again.
    pub(super) fn come_back(&mut self, id: &OrderId, ticket: &mut Ticket) {
        if self.aside.get(id).is_some_and(|before| *before != mark(ticket)) {
            self.aside.remove(id);
            ticket.obstacle = None;
        }
    }

    /// Everything that was set aside is tried again.
    pub(super) fn forget_obstacles(&mut self) {
        for id in std::mem::take(&mut self.aside).into_keys() {
            self.forget_obstacle(&id);
        }
    }

    /// An order that was set aside is tried again.
    pub(super) fn forget_obstacle(&mut self, id: &OrderId) {
        self.aside.remove(id);
        if let Some(ticket) = self.index.tickets.get_mut(id)
            && ticket.obstacle.take().is_some()
        {
            self.replan.insert(id.clone());
        }
    }

    /// Says something about a lasting state of affairs, the first time.
    pub(super) fn note_once(&mut self, text: String) {
        if self.said.len() >= SAID_MAX {
            self.said.clear();
        }
        if self.said.insert(text.clone()) {
            self.notes.push(text);
        }
    }

    /// Writes a derived file of an order into its run directory, whatever stands there. An obstacle that
    /// stays is said; the order goes on without the file.
    pub(super) fn put_evidence(
        &mut self,
        id: &OrderId,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let put = match put_clearing(&mut self.world, path, bytes) {
            Err(fault) if is_local(id, &fault) => self.put_anew(id, path, bytes),
            put => put,
        };
        let put = put.map(|aside| {
            if let Some(aside) = aside {
                self.moved_aside(id, path, &aside);
            }
        });
        self.without(id, put)
    }

    fn put_anew(
        &mut self,
        id: &OrderId,
        path: &Path,
        bytes: &[u8],
    ) -> Result<Option<PathBuf>, Fault> {
        self.clear_run_dirs(id, path)?;
        put_clearing(&mut self.world, path, bytes)
    }

    /// Makes the directories above an order's file real ones: what stands in their place is moved aside.
    pub(super) fn clear_run_dirs(&mut self, id: &OrderId, path: &Path) -> Result<(), Fault> {
        let top = paths::runs(id);
        let mut dirs: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
        dirs.retain(|dir| dir.starts_with(&top));
        for dir in dirs.into_iter().rev() {
            match self.world.stat(&dir)?.map(|s| s.kind) {
                Some(Kind::Dir) => continue,
                Some(_) => match move_aside(&mut self.world, &dir) {
                    Ok(aside) => self.moved_aside(id, &dir, &aside),
                    // Somebody cleared it in this moment.
                    Err(fault) if fault.errno == errno::ENOENT => {}
                    Err(fault) => return Err(fault),
                },
                None => {}
            }
            self.ensure_dir(&dir)?;
        }
        Ok(())
    }

    /// Said in the daemon's log and in the order's.
    pub(super) fn moved_aside(&mut self, id: &OrderId, path: &Path, aside: &Path) {
        let text =
            format!("what stood in the way of {} is now {}", path.display(), aside.display());
        self.log_words(id, "MOVED_ASIDE", &text);
        self.notes.push(format!("{id}: {text}"));
    }

    /// A file that explains something could not be written or removed: the order goes on without.
    pub(super) fn without(&mut self, id: &OrderId, done: Result<(), Fault>) -> Result<(), Fault> {
        match done {
            Err(fault) if is_local(id, &fault) => {
                self.note_once(format!("{id}: it goes on without: {fault}"));
                Ok(())
            }
            done => done,
        }
    }
}

/// Sentences that are remembered as said.
const SAID_MAX: usize = 1000;
