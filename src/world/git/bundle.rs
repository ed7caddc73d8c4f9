//! Bundles: the commits of a branch in one file, before its worktree and its branch go.
//!
//! Invariants: the file has its name only when git has read it back, and it is durable then; a file that is
//! there already is never replaced.

use super::child::{file_fault, refused};
use super::{Git, files, full_ref};
use crate::world::GitFault;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::path::Path;

const ACT: &str = "save a branch in a bundle";

impl Git {
    /// Saves all commits of a branch in a file that `git fetch` and `git clone` read, and looks whether
    /// they do. A whole file of this name is kept as it is.
    pub fn bundle(&self, branch: &str, file: &Path) -> Result<(), GitFault> {
        let layout = self.layout(ACT)?;
        let name = full_ref(ACT, branch)?;
        let dir = file.parent().ok_or_else(|| refused(ACT, "it has no directory"))?;
        fs::create_dir_all(dir).map_err(|e| file_fault(ACT, dir, &e))?;
        let verify = |path: &Path| {
            Self::reading(ACT, &layout).args(&["bundle", "verify", "--quiet"]).arg(path).ok()
        };
        if file.exists() {
            return verify(file).map(drop);
        }
        let temp = file.with_extension(format!("{}.tmp", std::process::id()));
        let made = Self::reading(ACT, &layout)
            .args(&["bundle", "create", "--quiet"])
            .arg(&temp)
            .arg(&name)
            .ok()
            .and_then(|_| verify(&temp));
        let placed = made.and_then(|_| {
            files::sync(&temp).map_err(|e| file_fault(ACT, &temp, &e))?;
            renameat_with(CWD, &temp, CWD, file, RenameFlags::NOREPLACE)
                .map_err(|e| file_fault(ACT, file, &e.into()))?;
            files::sync(dir).map_err(|e| file_fault(ACT, dir, &e))
        });
        if placed.is_err() {
            // What was begun is of no use; a failure to remove it changes nothing about the first one.
            let _ = fs::remove_file(&temp);
        }
        placed
    }
}
