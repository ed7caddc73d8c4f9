//! A worktree that holds some directories only: git's sparse checkout, with no setting in the repository.
//!
//! Invariants: which files are left out stands in the worktree's own index (`skip-worktree`) and, for whoever
//! wants more of them, in `info/sparse-checkout` of its entry; the settings that git needs to fill it are
//! given to that one call, so that no configuration changes and git's other commands go by the index alone.
//! What the gate asks of such a worktree is not decided by these files: see `tree`.

use super::child::{Call, file_fault};
use super::files;
use super::layout::{Entry, small_file};
use crate::model::cone::Cone;
use crate::world::GitFault;
use std::fs;
use std::io;
use std::path::PathBuf;

/// The first line of a file of ours.
const OURS: &str = "# Written by jobyard for this worktree\n";

/// How a worktree is to be filled.
#[derive(Clone, Copy)]
pub(super) enum Fill<'a> {
    /// With everything.
    Full,
    /// With these directories.
    Cone(&'a Cone),
    /// As it was begun.
    AsBegun,
}

impl<'a> Fill<'a> {
    /// With these directories, else with everything.
    pub(super) fn of(cone: Option<&'a Cone>) -> Self {
        cone.map_or(Self::Full, Self::Cone)
    }

    /// Makes the entry of a worktree that nobody has worked in ready for it. True: some directories only.
    pub(super) fn prepare(self, entry: &Entry, act: &'static str) -> Result<bool, GitFault> {
        match self {
            Self::Cone(cone) => write(entry, cone, act).map(|()| true),
            Self::AsBegun => Ok(is_ours(entry)),
            Self::Full if is_ours(entry) => {
                // The index leaves out what is wanted now.
                for path in [entry.dir.join("index"), file(entry)] {
                    match fs::remove_file(&path) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => {
                            return Err(file_fault(act, &path, &e));
                        }
                        _ => {}
                    }
                }
                Ok(false)
            }
            Self::Full => Ok(false),
        }
    }
}

/// Writes which directories the worktree holds.
fn write(entry: &Entry, cone: &Cone, act: &'static str) -> Result<(), GitFault> {
    let path = file(entry);
    let dir = entry.dir.join("info");
    fs::create_dir_all(&dir).map_err(|e| file_fault(act, &dir, &e))?;
    let text = format!("{OURS}{}", cone.patterns());
    files::write(&path, text).map_err(|e| file_fault(act, &path, &e))
}

/// Was this worktree begun with some directories only, by us? One that a power cut tore is empty.
fn is_ours(entry: &Entry) -> bool {
    small_file(&file(entry)).is_some_and(|text| text.is_empty() || text.starts_with(OURS))
}

fn file(entry: &Entry) -> PathBuf {
    entry.dir.join("info/sparse-checkout")
}

/// A call that checks out what the file of the entry names, and marks the rest as left out. The index has a
/// line for each file, whatever the user's setting: one of directories would be written sooner, but without
/// the other settings each git that reads it warns, and programs that read indexes by themselves refuse it.
pub(super) fn filling(call: Call) -> Call {
    call.config("core.sparseCheckout", "true")
        .config("core.sparseCheckoutCone", "true")
        .config("index.sparse", "false")
        .fetching()
        .args(&["read-tree", "-m", "-u", "HEAD"])
}
