//! What a worktree holds, compared by content.
//!
//! Invariants: the entry's own git directory, the shared one and the worktree are named to git outright, so
//! that no `.git` file, `commondir` or `core.worktree` can lead elsewhere; files are compared with HEAD
//! through a fresh index, so that no flag, time stamp or forged entry of the job's index hides a change;
//! attributes are those of HEAD; only `.gitignore` files and the given rules ignore anything. Nothing of the
//! worktree is written.

use super::changes::path_text;
use super::child::{CONTENT_LIMIT, Call, fields, memory_file, os};
use super::layout::{Entry, Layout};
use super::submodules::{self, Look};
use super::{Git, LIST_MAX};
use crate::model::cone::Cone;
use crate::model::paths;
use crate::model::tree::{CommitId, TreeFacts};
use crate::world::GitFault;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const ACT: &str = "look at worktree";
/// How the names of an index or a view begin; a process id and a number follow.
const SCRATCH: &str = "git-scratch.";

/// Which rules outside the `.gitignore` files ignore untracked files.
#[derive(Clone, Copy)]
pub(super) enum Rules<'a> {
    /// These.
    Sealed(&'a [u8]),
    /// Those in force now.
    Current,
}

/// Which tracked files may be absent without being missed.
#[derive(Clone, Copy)]
pub enum Absent<'a> {
    /// None.
    Nothing,
    /// Those outside the directories that the worktree holds by what was sealed, if its own index marks them
    /// `skip-worktree`: without that mark, what asks git for more of the files does not bring them.
    Outside(&'a Cone),
    /// Those that its own index marks `skip-worktree`: for whoever asks what would be lost, and not what
    /// somebody did.
    Marked,
}

/// Tells the files that may be absent.
pub(super) struct Missed<'a> {
    place: &'a Path,
    absent: Absent<'a>,
    marked: BTreeSet<&'a [u8]>,
}

impl<'a> Missed<'a> {
    /// `listing`: `git ls-files -v -z` through the worktree's own index.
    fn new(place: &'a Path, absent: Absent<'a>, listing: &'a [u8]) -> Self {
        // Lower case: marked `assume-unchanged` besides, which is said apart.
        let marked = |field: &'a [u8]| field.strip_prefix(b"S ").or(field.strip_prefix(b"s "));
        let tagged = fields(listing).filter_map(marked);
        let marked = (!matches!(absent, Absent::Nothing)).then(|| tagged.collect());
        Self { place, absent, marked: marked.unwrap_or_default() }
    }

    /// Every file is missed.
    pub(super) fn all() -> Self {
        Self { place: Path::new(""), absent: Absent::Nothing, marked: BTreeSet::new() }
    }

    /// Does it count as there being nothing wrong that no file is at this path?
    fn is_not(&self, path: &[u8]) -> bool {
        let may = match self.absent {
            Absent::Nothing => false,
            Absent::Outside(cone) => !cone.holds(path) && self.marked.contains(path),
            Absent::Marked => self.marked.contains(path),
        };
        may && fs::symlink_metadata(self.place.join(os(path)))
            .is_err_and(|e| matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    }

    /// Does the mark `skip-worktree` hide something here? Where a file may be absent it does not: one that is
    /// there is compared all the same.
    fn is_hidden(&self, path: &[u8]) -> bool {
        match self.absent {
            Absent::Nothing => true,
            Absent::Outside(cone) => cone.holds(path),
            Absent::Marked => false,
        }
    }
}

/// A name of ours for an index or a view of the repository, outside the git directories, where what a
/// killed git leaves would pass for a lock of the repository's. Gone when dropped; the process id in it tells
/// later callers whether a left one can be removed.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    /// A new name in the root's own directory; removes those of dead processes.
    pub(super) fn new(root: &Path) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = root.join(paths::OWN);
        let _ = fs::create_dir_all(&dir);
        for name in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let text = name.file_name();
            let pid = text.to_str().and_then(|t| t.strip_prefix(SCRATCH));
            let pid = pid.and_then(|t| t.split('.').next()).and_then(|t| t.parse::<u32>().ok());
            if pid.is_some_and(|p| {
                p != std::process::id() && !Path::new("/proc").join(p.to_string()).exists()
            }) {
                discard(&name.path());
            }
        }
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(dir.join(format!("{SCRATCH}{}.{n}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        discard(&self.0);
        let mut lock = self.0.clone().into_os_string();
        lock.push(".lock");
        discard(Path::new(&lock));
    }
}

/// Best effort: what stays is removed by a later call.
fn discard(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        let _ = fs::remove_dir_all(path);
    } else {
        let _ = fs::remove_file(path);
    }
}

impl Git {
    pub(super) fn tree_facts(
        &self,
        path: &str,
        excludes: &[u8],
        absent: Absent<'_>,
    ) -> Result<TreeFacts, GitFault> {
        let (layout, place) = self.placed(path, ACT)?;
        let entry = layout.entry(&place.path, ACT)?;
        let real = fs::symlink_metadata(&place.path).is_ok_and(|m| m.is_dir());
        let Some(entry) =
            entry.filter(|e| real && !e.half_made() && e.mutual(&place.path, &layout.common))
        else {
            return Ok(TreeFacts::default());
        };
        self.inspect(&layout, &entry, &place.path, (Rules::Sealed(excludes), absent), ACT)
    }

    /// The facts of a registered worktree.
    pub(super) fn inspect(
        &self,
        layout: &Layout,
        entry: &Entry,
        place: &Path,
        (rules, absent): (Rules<'_>, Absent<'_>),
        act: &'static str,
    ) -> Result<TreeFacts, GitFault> {
        let call = || strict(Self::inside(act, layout, entry, place));
        let mut facts = TreeFacts { exists: true, ..TreeFacts::default() };
        let mut changed = Bounded::default();
        let fresh = Scratch::new(&self.root);
        let with_fresh = || call().env("GIT_INDEX_FILE", &fresh.0);
        let born =
            with_fresh().args(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).run()?;
        let mut status = with_fresh().limit(CONTENT_LIMIT);
        if born.status.success() {
            with_fresh().args(&["read-tree", "HEAD"]).ok()?;
            status = status.env("GIT_ATTR_SOURCE", "HEAD");
        } else {
            with_fresh().args(&["read-tree", "--empty"]).ok()?;
        }
        let status = status
            .args(&["status", "--porcelain=v2", "-z", "--branch", "--untracked-files=no"])
            .args(&["--no-renames", "--ignore-submodules=all", "--no-ahead-behind"])
            .ok()?;
        // What is staged, seen through the job's own index.
        let mut staged = Vec::new();
        if born.status.success() {
            staged = call()
                .args(&["diff-index", "--cached", "-z", "--name-only", "--no-renames"])
                .args(&["--ignore-submodules=none", "--ita-visible-in-index", "HEAD", "--"])
                .ok()?;
        }
        let listing = call().limit(CONTENT_LIMIT);
        let listing = listing.args(&["ls-files", "-z", "-v", "--cached", "--others"]);
        let given = match rules {
            Rules::Current => self.exclude_rules()?,
            Rules::Sealed(given) => given.to_vec(),
        };
        // Given as an open file, so that it cannot be another one by the time that git reads it.
        let listing = listing
            .args(&["--exclude-per-directory=.gitignore", "--exclude-from=/proc/self/fd/0"])
            .stdin(memory_file(act, &given)?);
        let listing = listing.ok()?;
        let missed = Missed::new(place, absent, &listing);
        read_status(&status, &mut facts, &mut changed, &missed);
        fields(&staged).for_each(|f| changed.add(path_text(f)));
        read_listing(&listing, &mut facts, &missed);
        let mut links = submodules::links(&with_fresh().args(&["ls-files", "--stage", "-z"]).ok()?);
        links.retain(|link| !missed.is_not(link.bytes()));
        if !links.is_empty() {
            let call = |git_dir: &Path, top: &Path| strict(Self::apart(act, git_dir, top));
            let (top, scratch, rules) = (place, self.root.as_path(), given.as_slice());
            let mut look = Look { act, top, scratch, rules, call: &call, seen: 0 };
            look.add(Path::new(""), links, 0, &mut changed, &mut facts)?;
        }
        facts.changed = changed.paths;
        Ok(facts)
    }
}

/// A read that no setting of the repository can blunt, as far as git lets us.
fn strict(call: Call) -> Call {
    call.env("GIT_OPTIONAL_LOCKS", "0")
        .config("core.fileMode", "true")
        .config("core.symlinks", "true")
        .config("core.ignoreCase", "false")
        .config("core.trustctime", "true")
        .config("core.checkStat", "default")
        .config("core.ignoreStat", "false")
        .config("core.sparseCheckout", "false")
        .config("core.commitGraph", "false")
        .config("diff.ignoreSubmodules", "none")
        .config("submodule.recurse", "false")
}

/// A list without repetition, of at most [`LIST_MAX`] paths.
#[derive(Default)]
pub(super) struct Bounded {
    paths: Vec<String>,
    seen: BTreeSet<String>,
}

impl Bounded {
    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    pub(super) fn add(&mut self, path: String) {
        if self.paths.len() < LIST_MAX && self.seen.insert(path.clone()) {
            self.paths.push(path);
        }
    }
}

/// Reads `git status --porcelain=v2 -z --branch` without renames.
pub(super) fn read_status(
    out: &[u8],
    facts: &mut TreeFacts,
    changed: &mut Bounded,
    missed: &Missed<'_>,
) {
    for field in fields(out) {
        let text = || String::from_utf8_lossy(field).into_owned();
        if let Some(rest) = text().strip_prefix("# branch.oid ") {
            facts.head = CommitId::parse(rest);
        } else if let Some(rest) = text().strip_prefix("# branch.head ") {
            facts.branch = (rest != "(detached)").then(|| rest.to_owned());
        } else {
            // `1 XY sub mH mI mW hH hI path`; an unmerged `u` has two fields more.
            let before = match field.first() {
                Some(b'1') => 8,
                Some(b'u') => 10,
                _ => continue,
            };
            let Some(path) = field.splitn(before + 1, |b| *b == b' ').nth(before) else { continue };
            if !(field.starts_with(b"1 .D ") && missed.is_not(path)) {
                changed.add(path_text(path));
            }
        }
    }
}

/// Reads `git ls-files -v -z`: a tag, a space, the path. A lower-case tag is `assume-unchanged`, `S` is
/// `skip-worktree`, `?` is untracked.
pub(super) fn read_listing(out: &[u8], facts: &mut TreeFacts, missed: &Missed<'_>) {
    for field in fields(out) {
        let (Some(tag), Some(path)) = (field.first(), field.get(2..)) else { continue };
        let list = match tag {
            b'?' => &mut facts.untracked,
            b'S' if missed.is_hidden(path) => &mut facts.hidden,
            t if t.is_ascii_lowercase() => &mut facts.hidden,
            _ => continue,
        };
        if list.len() < LIST_MAX {
            list.push(path_text(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_listing_are_read_field_by_field() {
        let oid = "1".repeat(40);
        let status = format!(
            "# branch.oid {oid}\0# branch.head feat/wo-1\0# branch.upstream x\0\
             1 .M N... 100644 100644 100644 {oid} {oid} a file\nwith\0\
             1 .D S.M. 160000 160000 000000 {oid} {oid} sub\0\
             u UU N... 100644 100644 100644 100644 {oid} {oid} {oid} both\0"
        );
        let (mut facts, mut changed) = (TreeFacts::default(), Bounded::default());
        read_status(status.as_bytes(), &mut facts, &mut changed, &Missed::all());
        assert_eq!(facts.head.as_ref().map(CommitId::as_str), Some(oid.as_str()));
        assert_eq!(facts.branch.as_deref(), Some("feat/wo-1"));
        assert_eq!(changed.paths, ["a file\nwith", "sub", "both"]);

        read_listing(b"H a\0h b\0S c\0s d\0? e f\0M m\0\0", &mut facts, &Missed::all());
        assert_eq!(facts.hidden, ["b", "c", "d"]);
        assert_eq!(facts.untracked, ["e f"]);
    }

    #[test]
    fn detached_and_unborn_are_none() {
        let (mut facts, mut changed) = (TreeFacts::default(), Bounded::default());
        let text = b"# branch.oid (initial)\0# branch.head (detached)\0";
        read_status(text, &mut facts, &mut changed, &Missed::all());
        assert_eq!((facts.head, facts.branch), (None, None));
    }
}
