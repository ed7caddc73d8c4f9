//! One change of worktrees and branches at a time, per repository.
//!
//! Invariants: the lock is a file of the common directory, held by the kernel; every git that is started
//! under it gets the same open file as its standard input, so the lock lasts until the last of them has
//! ended, also when the daemon is gone; the file's text is the note of a change under way, empty
//! otherwise, so whoever finds a note knows that the change was interrupted.

use super::child::{Call, file_fault, is_cut_off, refused};
use super::layout::Layout;
use super::{Git, files};
use crate::world::{GitFault, INTERRUPTED};
use rustix::event::{Timespec, poll};
use rustix::fs::OFlags;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a git that outlived its daemon is waited for, if `git.timeout` is not shorter.
const HELD_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a lock file of git, left by somebody, must stay the same file to count as left behind. Git
/// holds one for the time of one write.
const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(2);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest note that is read.
const NOTE_BYTES_MAX: u64 = 4096;

/// The right to change worktrees and branches.
pub(super) struct Exclusive {
    file: File,
    /// What an interrupted change was doing; empty when there was none.
    interrupted: String,
}

impl Exclusive {
    /// Waits, within a bound, for the lock of the repository.
    pub(super) fn take(git: &Git, layout: &Layout, act: &'static str) -> Result<Self, GitFault> {
        let path = layout.common.join("jobyard-change");
        let fault = |e: std::io::Error| file_fault(act, &path, &e);
        let mut file = files::open(&path, OFlags::RDWR | OFlags::CREATE).map_err(fault)?;
        let deadline = Instant::now() + HELD_WAIT_MAX.min(git.bounds.timeout);
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(fault(e)),
                Err(TryLockError::WouldBlock) if is_cut_off() => {
                    return Err(refused(act, INTERRUPTED));
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => pause(),
                Err(TryLockError::WouldBlock) => {
                    return Err(refused(
                        act,
                        format!(
                            "another git of jobyard still works on this repository and holds {}",
                            path.display()
                        ),
                    ));
                }
            }
        }
        let mut interrupted = String::new();
        let read = (&file).take(NOTE_BYTES_MAX).read_to_string(&mut interrupted);
        if read.is_err() {
            "an unreadable note".clone_into(&mut interrupted);
        }
        file.rewind().map_err(fault)?;
        Ok(Self { file, interrupted })
    }

    /// Notes what is about to be changed, does it, removes the locks on references that git left in doing so
    /// (one that cannot remove its lock warns and succeeds), and takes the note away when that has come to an
    /// end of its own, well or not. A note that is found later says that it was interrupted.
    pub(super) fn noting<T>(
        &self,
        layout: &Layout,
        full_ref: &str,
        text: &str,
        work: impl FnOnce() -> Result<T, GitFault>,
    ) -> Result<T, GitFault> {
        let act = "note a change of git";
        let fault = |e: std::io::Error| refused(act, e.to_string());
        let mut locks = ref_locks(layout, full_ref);
        locks.retain(|path| !path.exists());
        let mut file = &self.file;
        files::empty(file).map_err(fault)?;
        file.rewind().map_err(fault)?;
        files::write_all(file, text.as_bytes()).map_err(fault)?;
        let done = work();
        clear_locks(locks, act)?;
        files::empty(&self.file).map_err(fault)?;
        done
    }

    /// A call that changes something; it carries the lock.
    pub(super) fn call(&self, git: &Git, act: &'static str, dir: &Path) -> Result<Call, GitFault> {
        Ok(self.carry(git, act, Call::new(act, dir))?.configured_limit(git.bounds.timeout))
    }

    /// Gives the lock and the checkout's settings to a call.
    pub(super) fn carry(&self, git: &Git, act: &'static str, call: Call) -> Result<Call, GitFault> {
        let file = self.file.try_clone().map_err(|e| refused(act, e.to_string()))?;
        let call = call.stdin(file).configured_limit(git.bounds.timeout);
        Ok(match git.bounds.checkout_workers {
            Some(n) => call.config("checkout.workers", &n.to_string()),
            None => call,
        })
    }

    /// Removes the lock files that an interrupted change of ours left: of the branch always when it does
    /// not vanish by itself, of the packed refs only when the note says that a change was interrupted.
    pub(super) fn clear_ref_locks(
        &self,
        layout: &Layout,
        full_ref: &str,
        act: &'static str,
    ) -> Result<(), GitFault> {
        let mut locks = ref_locks(layout, full_ref);
        locks.truncate(if self.interrupted.is_empty() { 1 } else { locks.len() });
        clear_locks(locks, act)
    }
}

/// The lock files that git holds while it changes this reference: its own, and the one of the packed ones.
fn ref_locks(layout: &Layout, full_ref: &str) -> Vec<PathBuf> {
    let own = layout.common.join(format!("{full_ref}.lock"));
    vec![own, layout.common.join("packed-refs.lock")]
}

/// The lock files of git in the directory of a worktree's entry.
pub(super) fn locks_of(entry: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(entry).into_iter().flatten().flatten();
    names.map(|n| n.path()).filter(|p| p.extension().is_some_and(|e| e == "lock")).collect()
}

/// Removes those lock files of git that stay the same files for [`LEFT_BEHIND_AFTER`].
pub(super) fn clear_locks(locks: Vec<PathBuf>, act: &'static str) -> Result<(), GitFault> {
    let identity = |path: &Path| {
        let meta = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        Some((meta.ino(), meta.ctime(), meta.ctime_nsec()))
    };
    let mut left: Vec<_> =
        locks.into_iter().filter_map(|path| identity(&path).map(|first| (path, first))).collect();
    let deadline = Instant::now() + LEFT_BEHIND_AFTER;
    while !left.is_empty() && Instant::now() < deadline {
        pause();
        left.retain(|(path, first)| identity(path) == Some(*first));
    }
    for (path, _) in left {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(file_fault(act, &path, &e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Waits a moment; a wait on nothing with a bound.
fn pause() {
    crate::world::notify::alive();
    if let Ok(span) = Timespec::try_from(LOOK_EVERY) {
        let _ = poll(&mut [], Some(&span));
    }
}
