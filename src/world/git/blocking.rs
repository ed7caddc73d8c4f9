//! Things that git would open and wait on for ever: a FIFO or a device under a name that git reads.
//!
//! Invariants: nothing is opened; the search is bounded. It is made only when git takes long, so that an
//! ordinary call pays nothing for it. Settings that lead git to such a thing elsewhere are not searched for;
//! the bound of the call ends those.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Names that git reads wherever they lie in a worktree.
const READ_BY_GIT: [&str; 3] = [".gitignore", ".gitattributes", ".gitmodules"];
/// Most names looked at; a larger tree is left to the bound of the call.
const NAMES_MAX: usize = 1_000_000;

/// Where a call of git could be made to wait.
#[derive(Clone, Default)]
pub(super) struct Places {
    /// The worktree, if the call looks at one.
    pub(super) tree: Option<PathBuf>,
    /// The directories of the repository.
    pub(super) own: Vec<PathBuf>,
}

impl Places {
    /// The first thing that git would wait on.
    pub(super) fn find(&self) -> Option<PathBuf> {
        let mut left = NAMES_MAX;
        let own = |dir: &PathBuf| {
            let flat = [dir.clone(), dir.join("info"), dir.join("objects/info")];
            let flat = flat.iter().find_map(|d| walk(d, false, &|_| true, &mut left));
            flat.or_else(|| walk(&dir.join("refs"), true, &|_| true, &mut left))
        };
        if let Some(found) = self.own.iter().find_map(own) {
            return Some(found);
        }
        let named = |name: &str| READ_BY_GIT.contains(&name);
        self.tree.as_ref().and_then(|tree| walk(tree, true, &named, &mut left))
    }
}

/// A thing to wait on with such a name in a directory or, `deep`, below it.
fn walk(top: &Path, deep: bool, named: &dyn Fn(&str) -> bool, left: &mut usize) -> Option<PathBuf> {
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            *left = left.checked_sub(1)?;
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if deep {
                    todo.push(entry.path());
                }
                continue;
            }
            let wanted = entry.file_name().to_str().is_some_and(named);
            if wanted && !kind.is_file() && waits(&entry.path()) {
                return Some(entry.path());
            }
        }
    }
    None
}

/// Whether opening it, or reading it to its end, can take for ever; links are followed, as git may.
fn waits(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| {
        let kind = meta.file_type();
        kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
    })
}
