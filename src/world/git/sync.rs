//! Making a commit durable: its objects, and the ref that names it.
//!
//! Invariants: after success a power cut cannot take away what a verdict names, on a file system that honours
//! `fsync`; loose objects are synced one by one with their directories, packs whole; what the commit reaches
//! that the order began at is older than the order and is left alone, whatever was merged meanwhile.
//!
//! It does not sync submodules, nor objects borrowed from another repository. The gate sees to it that no
//! store is borrowed from that was not at the claim.

use super::child::{CONTENT_LIMIT, file_fault, refused};
use super::layout::Layout;
use super::{Git, files, full_ref};
use crate::model::tree::CommitId;
use crate::world::GitFault;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ACT: &str = "make commit durable";
/// Most pack files that are synced; git itself folds them long before.
const PACKS_MAX: usize = 10_000;

impl Git {
    pub(super) fn sync_commit(
        &self,
        branch: &str,
        commit: &CommitId,
        base: Option<&CommitId>,
    ) -> Result<(), GitFault> {
        let layout = self.layout(ACT)?;
        let name = full_ref(ACT, branch)?;
        let mut arguments = vec!["rev-list", "--objects", "--no-object-names", commit.as_str()];
        if let Some(base) = base {
            arguments.extend(["--not", base.as_str()]);
        }
        let list = Self::reading(ACT, &layout)
            .limit(CONTENT_LIMIT)
            .config("core.commitGraph", "false")
            .args(&arguments)
            .ok()?;
        sync_objects(&layout.common.join("objects"), &String::from_utf8_lossy(&list))?;
        if sync_loose_ref(&layout, &name)? {
            return Ok(());
        }
        if self.branch(branch)?.is_none() {
            return Err(refused(ACT, format!("branch {branch} does not exist")));
        }
        sync_all_refs(&layout)
    }
}

fn sync_objects(objects: &Path, ids: &str) -> Result<(), GitFault> {
    let mut dirs = BTreeSet::new();
    let mut packed = false;
    for id in ids.lines().map(str::trim) {
        let (Some(fan), Some(rest)) = (id.get(..2), id.get(2..)) else { continue };
        let dir = objects.join(fan);
        if sync_file(&dir.join(rest))? {
            refuse_link(&dir.join(rest))?;
            dirs.insert(dir);
        } else {
            packed = true;
        }
    }
    if packed {
        sync_packs(&objects.join("pack"))?;
    }
    for dir in &dirs {
        refuse_link(dir)?;
        sync_file(dir)?;
    }
    if packed || !dirs.is_empty() {
        sync_file(objects)?;
    }
    Ok(())
}

/// Git makes no links among its objects: behind one they can be taken away after the verdict.
fn refuse_link(path: &Path) -> Result<(), GitFault> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            Err(refused(ACT, format!("{} is a symbolic link", path.display())))
        }
        _ => Ok(()),
    }
}

fn sync_packs(dir: &Path) -> Result<(), GitFault> {
    let names = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| file_fault(ACT, dir, &e))?,
    };
    for (n, name) in names.enumerate() {
        if n >= PACKS_MAX {
            return Err(refused(ACT, format!("{} holds too many files", dir.display())));
        }
        let path = name.map_err(|e| file_fault(ACT, dir, &e))?.path();
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if matches!(kind, "pack" | "idx" | "rev") {
            sync_file(&path)?;
        }
    }
    sync_file(dir).map(drop)
}

/// The ref's own file with every directory above; `false` when it has none.
fn sync_loose_ref(layout: &Layout, name: &str) -> Result<bool, GitFault> {
    let mut path: PathBuf = layout.common.join(name);
    if !sync_file(&path)? {
        return Ok(false);
    }
    while path.pop() && path != layout.common {
        sync_file(&path)?;
    }
    Ok(true)
}

/// The files that hold refs together.
fn sync_all_refs(layout: &Layout) -> Result<(), GitFault> {
    let table = layout.common.join("reftable");
    for file in fs::read_dir(&table).into_iter().flatten().flatten() {
        sync_file(&file.path())?;
    }
    sync_file(&table)?;
    sync_file(&layout.common.join("packed-refs"))?;
    sync_file(&layout.common).map(drop)
}

/// Syncs a file or a directory; `false` when it is not there.
fn sync_file(path: &Path) -> Result<bool, GitFault> {
    match files::sync(path) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(e) => Err(file_fault(ACT, path, &e)),
    }
}
