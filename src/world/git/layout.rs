//! Where a repository keeps things: its common directory and the entries of its worktrees, read from
//! the files themselves, without starting git.
//!
//! Invariants: nothing is written; a file that is missing, torn or too long is a value, not an error; a
//! worktree counts as registered only when directory and entry name each other.

use super::child::file_fault;
use crate::model::tree::CommitId;
use crate::world::GitFault;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// The files of git that are read here hold one path or one name.
const SMALL_FILE_BYTES_MAX: u64 = 16 << 10;
/// What git writes into `locked` while it makes a worktree.
pub(super) const INITIALIZING: &str = "initializing";

/// A repository as seen from a root.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The root, without symlinks.
    pub(super) root: PathBuf,
    /// The top of the checkout that holds the root.
    pub(super) top: PathBuf,
    /// The directory that all worktrees share.
    pub(super) common: PathBuf,
}

/// What a worktree's HEAD says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Head {
    /// On a branch (short name).
    Branch(String),
    /// On a commit.
    Detached(CommitId),
    /// Kept in a reftable: only git can tell.
    Elsewhere,
    /// Missing or torn.
    Unreadable,
}

/// A directory `worktrees/<name>` of the common directory.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) dir: PathBuf,
    /// The worktree it names; `None` when its `gitdir` file is missing or torn.
    pub(super) names: Option<PathBuf>,
    /// Content of `gitdir` as it is.
    pub(super) gitdir: Option<String>,
}

impl Layout {
    /// Finds the repository that holds `root`; `None` when there is none.
    pub(super) fn discover(root: &Path) -> io::Result<Option<Self>> {
        let root = fs::canonicalize(root)?;
        for top in root.ancestors() {
            if let Some(git_dir) = git_dir_of(top)
                && git_dir.join("HEAD").symlink_metadata().is_ok()
            {
                let common = common_of(&git_dir);
                return Ok(Some(Self { top: top.to_owned(), common, root }));
            }
        }
        Ok(None)
    }

    /// The root inside the checkout; empty when they are the same.
    pub(super) fn prefix(&self) -> &Path {
        self.root.strip_prefix(&self.top).unwrap_or(Path::new(""))
    }

    /// Every entry, by name.
    pub(super) fn entries(&self, act: &'static str) -> Result<Vec<Entry>, GitFault> {
        let dir = self.common.join("worktrees");
        let fault = |e: &io::Error| file_fault(act, &dir, e);
        let mut found = Vec::new();
        let listed = match fs::read_dir(&dir) {
            Ok(listed) => listed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(e) => return Err(fault(&e)),
        };
        for name in listed {
            let name = name.map_err(|e| fault(&e))?;
            if name.file_type().is_ok_and(|t| t.is_dir()) {
                found.push(Entry::read(name.file_name(), name.path()));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The entry of the worktree at `place`: the one that names it, else the one that git would have
    /// been making for it when it was interrupted before it could write the name.
    pub(super) fn entry(&self, place: &Path, act: &'static str) -> Result<Option<Entry>, GitFault> {
        let entries = self.entries(act)?;
        if let Some(e) = entries.iter().find(|e| e.names.as_deref() == Some(place)) {
            return Ok(Some(e.clone()));
        }
        let Some(stem) = place.file_name() else { return Ok(None) };
        // Git takes the first free of `<stem>`, `<stem>1`, `<stem>2`, …
        for n in 0..=entries.len() {
            let mut name = stem.to_owned();
            if n > 0 {
                name.push(n.to_string());
            }
            match entries.iter().find(|e| e.name == name) {
                Some(e) if e.could_become(place) => return Ok(Some(e.clone())),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn read(name: OsString, dir: PathBuf) -> Self {
        let gitdir = small_file(&dir.join("gitdir"));
        let names = gitdir.as_deref().map(str::trim_end).and_then(|text| {
            let path = normal(&dir.join(text));
            (path.file_name()? == ".git").then(|| path.parent().map(Path::to_owned))?
        });
        Self { name, dir, names, gitdir }
    }

    /// Nothing is written in `gitdir`, or a beginning of what would be written for `place`.
    fn could_become(&self, place: &Path) -> bool {
        let wanted = place.join(".git");
        let begun = self.gitdir.as_deref().unwrap_or_default().trim_end();
        self.names.is_none() && wanted.to_str().is_some_and(|w| w.starts_with(begun))
    }

    /// What HEAD says.
    pub(super) fn head(&self) -> Head {
        head_in(&self.dir)
    }

    /// Git did not get to the end of making it.
    pub(super) fn half_made(&self) -> bool {
        let empty = |f: &str| small_file(&self.dir.join(f)).is_none_or(|t| t.trim().is_empty());
        let index_empty = self.dir.join("index").metadata().is_ok_and(|m| m.len() == 0);
        self.names.is_none()
            || empty("commondir")
            || index_empty
            || self.head() == Head::Unreadable
            || self.locked().as_deref() == Some(INITIALIZING)
    }

    /// The reason of git's own lock on the worktree.
    pub(super) fn locked(&self) -> Option<String> {
        small_file(&self.dir.join("locked")).map(|t| t.trim().to_owned())
    }

    /// A merge, rebase or the like is under way in it.
    pub(super) fn in_progress(&self) -> bool {
        let signs = ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG", "rebase-merge"];
        signs.iter().chain(["rebase-apply"].iter()).any(|s| self.dir.join(s).exists())
    }

    /// The directory's `.git` file names this entry, and the entry this repository.
    pub(super) fn mutual(&self, place: &Path, common: &Path) -> bool {
        let back = git_dir_of(place);
        back.is_some_and(|d| same(&d, &self.dir)) && same(&common_of(&self.dir), common)
    }
}

/// What HEAD of a git directory says.
pub(super) fn head_in(git_dir: &Path) -> Head {
    let text = small_file(&git_dir.join("HEAD")).unwrap_or_default();
    let text = text.trim();
    match text.strip_prefix("ref: refs/heads/") {
        Some(".invalid") => Head::Elsewhere,
        Some(branch) if !branch.is_empty() => Head::Branch(branch.to_owned()),
        // While git makes a worktree, HEAD holds the id of nothing.
        _ => {
            CommitId::parse(text).filter(|c| !c.is_zero()).map_or(Head::Unreadable, Head::Detached)
        }
    }
}

/// For a path inside a linked worktree: the top of the main checkout.
pub(super) fn main_checkout(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let top = path.ancestors().find(|d| d.join(".git").symlink_metadata().is_ok())?;
    let git_dir = git_dir_of(top)?;
    small_file(&git_dir.join("commondir"))?;
    let common = common_of(&git_dir);
    (common.file_name()? == ".git").then(|| common.parent().map(Path::to_owned))?
}

/// The git directory of a checkout: `.git`, or what the file `.git` names.
pub(super) fn git_dir_of(top: &Path) -> Option<PathBuf> {
    let dot = top.join(".git");
    let meta = fs::symlink_metadata(&dot).ok()?;
    if meta.is_dir() {
        return Some(dot);
    }
    let text = small_file(&dot)?;
    let named = text.strip_prefix("gitdir:")?.trim();
    (!named.is_empty()).then(|| normal(&top.join(named)))
}

fn common_of(git_dir: &Path) -> PathBuf {
    match small_file(&git_dir.join("commondir")) {
        Some(text) if !text.trim().is_empty() => normal(&git_dir.join(text.trim())),
        _ => git_dir.to_owned(),
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).ok().zip(fs::canonicalize(b).ok()).is_some_and(|(a, b)| a == b)
}

/// The text of a small regular file; `None` when it is missing, something else, or not text.
pub(super) fn small_file(path: &Path) -> Option<String> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The path without `.` and `..`, by its text alone.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}
