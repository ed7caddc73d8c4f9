//! Faults of single raw calls, and the places where others may act between two of them.
//!
//! Invariant: calls are counted from 1, those that change state and those that look apart; a call is
//! counted once, also when it fails.

use super::disk::Errno;
use super::machine::Shared;
use std::collections::BTreeMap;
use std::path::Path;

/// The error number of every call of a crashed actor. No system uses it.
pub(crate) const CRASHED: Errno = 9999;

/// What strikes one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blow {
    /// The actor dies before the call.
    Crash,
    /// The actor dies right after the call.
    CrashAfter,
    /// The call does nothing and fails.
    Errno(Errno),
    /// The call is carried out and reported as failed.
    Lost(Errno),
    /// A `write` takes half of the bytes; any other call is not struck.
    Short,
}

/// The blows that wait for an actor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fuse {
    changes: BTreeMap<u64, Blow>,
    looks: BTreeMap<u64, Blow>,
    changes_seen: u64,
    looks_seen: u64,
    /// Git commands are struck by crashes only.
    pub(crate) spares_git: bool,
}

impl Fuse {
    /// The actor dies before its n-th call that changes state, counted from its birth.
    pub(crate) fn crash_at(n: u64) -> Self {
        Self::default().on_change(n, Blow::Crash)
    }

    /// Adds a blow for the n-th call that changes state.
    pub(crate) fn on_change(mut self, n: u64, blow: Blow) -> Self {
        self.changes.insert(n, blow);
        self
    }

    /// Adds a blow for the n-th call that only looks.
    pub(crate) fn on_look(mut self, n: u64, blow: Blow) -> Self {
        self.looks.insert(n, blow);
        self
    }

    /// Calls that change state, so far.
    pub(crate) fn changes_seen(&self) -> u64 {
        self.changes_seen
    }

    /// Calls that only look, so far.
    pub(crate) fn looks_seen(&self) -> u64 {
        self.looks_seen
    }

    /// What waits for the next call that changes state.
    pub(super) fn next_change(&self) -> Option<Blow> {
        self.changes.get(&(self.changes_seen + 1)).copied()
    }

    /// Counts a call; returns what strikes it.
    pub(super) fn burn(&mut self, changes: bool, git: bool) -> Option<Blow> {
        let blow = self.next(changes);
        let spared = git && self.spares_git && matches!(blow, Some(Blow::Errno(_) | Blow::Lost(_)));
        blow.filter(|_| !spared)
    }

    fn next(&mut self, changes: bool) -> Option<Blow> {
        if changes {
            self.changes_seen += 1;
            self.changes.remove(&self.changes_seen)
        } else {
            self.looks_seen += 1;
            self.looks.remove(&self.looks_seen)
        }
    }
}

/// Before or after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// Nothing has happened yet.
    Before,
    /// It has happened, or was refused.
    After,
}

/// A raw call as a hook sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// Before or after it.
    pub(crate) when: When,
    /// What is attempted: `link`, `git worktree add`.
    pub(crate) act: &'static str,
    /// On which path, or the branch; empty when there is none.
    pub(crate) path: &'a Path,
    /// Whether it changes state.
    pub(crate) changes: bool,
}

/// Runs around every raw call, with the machine free to be borrowed: may let another actor act, play a
/// person, let time pass, kill the caller, cut the power. A hook is not called from within itself.
pub(crate) type Hook = Box<dyn FnMut(&Shared, Call<'_>)>;
