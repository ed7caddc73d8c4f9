//! What lies at the place of a worktree, and what an interrupted git left of it, mended by name.
//!
//! Invariants: only the entry that names our place, or the one git would have been making for it, is
//! touched; a file with content that differs from the commit is moved aside, never overwritten; every
//! step can be interrupted and is found again by the same look.

use super::child::{fields, file_fault, os, refused};
use super::exclusive::{Exclusive, clear_locks, locks_of};
use super::layout::{Entry, Head, INITIALIZING, Layout, git_dir_of, small_file};
use super::sparse::{Fill, filling};
use super::{Git, Place, files};
use crate::model::tree::CommitId;
use crate::world::GitFault;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Most things moved aside for one order before somebody has to look.
const ASIDE_MAX: u32 = 9999;
/// Words that begin the reason of our own lock on a worktree.
pub(super) const LOCK_PREFIX: &str = "jobyard: ";

/// What lies in the directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Nothing,
    /// A directory without anything in it but, at most, the `.git` file.
    Bare,
    /// A directory with content.
    Content,
    /// Something else than a directory.
    Thing,
}

/// Looks at the place without following a symlink.
pub(super) fn look(place: &Path, act: &'static str) -> Result<Found, GitFault> {
    let fault = |e: io::Error| file_fault(act, place, &e);
    match fs::symlink_metadata(place) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(fault(e)),
        Ok(meta) if !meta.is_dir() => return Ok(Found::Thing),
        Ok(_) => {}
    }
    for name in fs::read_dir(place).map_err(fault)? {
        let name = name.map_err(fault)?;
        if name.file_name() != ".git" || name.file_type().is_ok_and(|t| !t.is_file()) {
            return Ok(Found::Content);
        }
    }
    Ok(Found::Bare)
}

/// Renames `from` to the first free name `.<word>-<id>-<n>` beside the worktree; returns that name.
pub(super) fn put_aside(
    from: &Path,
    place: &Place,
    word: &str,
    act: &'static str,
) -> Result<PathBuf, GitFault> {
    for n in 1..=ASIDE_MAX {
        let name = format!(".{word}-{}-{n}", place.id);
        match renameat_with(CWD, from, CWD, place.parent.join(&name), RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(place.relative.with_file_name(name)),
            Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(file_fault(act, from, &e.into())),
        }
    }
    Err(refused(
        act,
        format!("{} holds {ASIDE_MAX} things moved aside: clear them", place.parent.display()),
    ))
}

/// Removes the directory of an entry that is proven to be ours.
pub(super) fn drop_entry(entry: &Entry, act: &'static str) -> Result<(), GitFault> {
    match fs::remove_dir_all(&entry.dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file_fault(act, &entry.dir, &e)),
        _ => Ok(()),
    }
}

/// Removes a directory that holds nothing but, at most, a `.git` file.
pub(super) fn drop_bare(place: &Path, act: &'static str) -> Result<(), GitFault> {
    for (path, done) in [
        (place.join(".git"), fs::remove_file(place.join(".git"))),
        (place.to_owned(), fs::remove_dir(place)),
    ] {
        match done {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(file_fault(act, &path, &e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Does a process work in the directory? A commit with an editor open holds its lock for as long.
pub(super) fn in_use(place: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|p| fs::read_link(p.path().join("cwd")).ok())
        .any(|cwd| cwd.starts_with(place))
}

/// An empty `commondir`, as a power cut leaves it, makes every `git worktree` command of the repository fail.
/// Git writes nothing else into it than this, so it is written again, for worktrees beside `place` only.
/// The one of the place itself stays as it is: it tells that the worktree is half made.
pub(super) fn mend_neighbours(
    layout: &Layout,
    place: &Place,
    act: &'static str,
) -> Result<(), GitFault> {
    for entry in layout.entries(act)? {
        let file = entry.dir.join("commondir");
        let torn = fs::symlink_metadata(&file).is_ok_and(|m| m.is_file() && m.len() == 0);
        let named = entry.names.as_deref().unwrap_or(&place.path);
        let own = entry.names.as_deref() == Some(&place.path);
        if torn && !own && named.parent() == Some(&place.parent) {
            files::write(&file, "../..\n").map_err(|e| file_fault(act, &file, &e))?;
        }
    }
    Ok(())
}

/// Refuses to touch a worktree that somebody else has locked.
pub(super) fn refuse_foreign_lock(entry: &Entry, act: &'static str) -> Result<(), GitFault> {
    // Git writes its own word before it names the worktree; a person's lock is on one that has a name.
    let gits = |reason: &str| {
        reason == INITIALIZING || (entry.names.is_none() && INITIALIZING.starts_with(reason))
    };
    match entry.locked() {
        Some(reason) if !reason.starts_with(LOCK_PREFIX) && !gits(&reason) => Err(refused(
            act,
            format!(
                "worktree entry {} is locked by somebody ({}): `git worktree unlock` it first",
                entry.name.display(),
                reason.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
            ),
        )),
        _ => Ok(()),
    }
}

impl Git {
    /// Can this half-made worktree be completed where it stands: is it ours alone to finish?
    pub(super) fn can_complete(entry: &Entry, place: &Place, branch: &str) -> bool {
        let back = match small_file(&place.path.join(".git")) {
            Some(text) => {
                text.trim().is_empty()
                    || git_dir_of(&place.path).is_some_and(|d| d.file_name() == Some(&entry.name))
            }
            None => fs::symlink_metadata(place.path.join(".git")).is_err(),
        };
        let head = entry.head();
        back && !entry.in_progress()
            && (head == Head::Unreadable || head == Head::Branch(branch.to_owned()))
    }

    /// Finishes a worktree that git was interrupted in making. Files that are there and differ from the
    /// commit are moved aside, empty ones are written again. Returns where to, if anything was moved.
    pub(super) fn complete(
        &self,
        held: &Exclusive,
        layout: &Layout,
        entry: &Entry,
        place: &Place,
        branch: &str,
        fill: Fill<'_>,
    ) -> Result<Option<PathBuf>, GitFault> {
        let act = "complete worktree";
        write_missing(entry, place, branch, act)?;
        clear_locks(locks_of(&entry.dir), act)?;
        let partly = fill.prepare(entry, act)?;
        let call = || held.carry(self, act, Self::inside(act, layout, entry, &place.path));
        let index = entry.dir.join("index");
        if fs::metadata(&index).is_ok_and(|m| m.len() == 0) {
            fs::remove_file(&index).map_err(|e| file_fault(act, &index, &e))?;
        }
        if !index.exists() {
            call()?.args(&["read-tree", "HEAD"]).ok()?;
        }
        // Status 1 says that files need an update, which is the question.
        call()?.args(&["update-index", "-q", "--refresh"]).run()?;
        let out = call()?
            .args(&["diff-files", "-z", "--name-only", "--diff-filter=MT", "--no-renames"])
            .args(&["--ignore-submodules=all"])
            .ok()?;
        let moved = make_way(&out, place, act)?;
        if partly {
            filling(call()?).ok()?;
        }
        call()?.fetching().args(&["checkout-index", "--all", "--quiet", "--index"]).ok()?;
        made(entry, act)?;
        post_checkout(self, held, place, &Self::head_commit(layout, entry, place, act)?)?;
        Ok(moved)
    }

    /// The commit of a worktree's HEAD.
    pub(super) fn head_commit(
        layout: &Layout,
        entry: &Entry,
        place: &Place,
        act: &'static str,
    ) -> Result<CommitId, GitFault> {
        let out = Self::inside(act, layout, entry, &place.path)
            .args(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])
            .ok()?;
        CommitId::parse(&super::child::line(&out))
            .ok_or_else(|| refused(act, "HEAD of the worktree is no commit"))
    }
}

/// Takes away the lock that says that it is being made.
pub(super) fn made(entry: &Entry, act: &'static str) -> Result<(), GitFault> {
    if entry.locked().as_deref() == Some(INITIALIZING) {
        let lock = entry.dir.join("locked");
        fs::remove_file(&lock).map_err(|e| file_fault(act, &lock, &e))?;
    }
    Ok(())
}

/// Writes those of the files that join directory and entry that are missing or empty. `gitdir` is the
/// first, so that from then on the entry names the place.
fn write_missing(
    entry: &Entry,
    place: &Place,
    branch: &str,
    act: &'static str,
) -> Result<(), GitFault> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            refused(act, format!("{} is not UTF-8: remove the entry by hand", path.display()))
        })
    };
    let files = [
        (entry.dir.join("gitdir"), format!("{}\n", text(&place.path.join(".git"))?)),
        (entry.dir.join("commondir"), "../..\n".to_owned()),
        (entry.dir.join("HEAD"), format!("ref: refs/heads/{branch}\n")),
        (place.path.join(".git"), format!("gitdir: {}\n", text(&entry.dir)?)),
    ];
    for (path, content) in files {
        let there = small_file(&path).unwrap_or_default();
        let torn = match path.file_name().and_then(OsStr::to_str) {
            Some("gitdir") => entry.names.is_none(),
            Some("HEAD") => entry.head() == Head::Unreadable,
            _ => there.trim().is_empty(),
        };
        if torn {
            files::write(&path, content).map_err(|e| file_fault(act, &path, &e))?;
        }
    }
    Ok(())
}

/// Of the files that differ from the commit, removes the empty ones and moves the others aside.
fn make_way(
    differing: &[u8],
    place: &Place,
    act: &'static str,
) -> Result<Option<PathBuf>, GitFault> {
    let mut aside: Option<PathBuf> = None;
    for name in fields(differing) {
        let path = place.path.join(os(name));
        let meta = fs::symlink_metadata(&path).map_err(|e| file_fault(act, &path, &e))?;
        if meta.is_file() && meta.len() == 0 {
            fs::remove_file(&path).map_err(|e| file_fault(act, &path, &e))?;
            continue;
        }
        let dir = match &aside {
            Some(dir) => dir.clone(),
            None => fresh_dir(place, act)?,
        };
        let target = place.parent.join(dir.file_name().unwrap_or(OsStr::new("."))).join(os(name));
        let parent = target.parent().unwrap_or(&place.parent);
        fs::create_dir_all(parent).map_err(|e| file_fault(act, parent, &e))?;
        fs::rename(&path, &target).map_err(|e| file_fault(act, &path, &e))?;
        aside = Some(dir);
    }
    Ok(aside)
}

/// Makes an empty directory `.aside-<id>-<n>`; returns its root-relative name.
fn fresh_dir(place: &Place, act: &'static str) -> Result<PathBuf, GitFault> {
    for n in 1..=ASIDE_MAX {
        let name = format!(".aside-{}-{n}", place.id);
        match fs::create_dir(place.parent.join(&name)) {
            Ok(()) => return Ok(place.relative.with_file_name(name)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(file_fault(act, &place.parent, &e)),
        }
    }
    Err(refused(act, "no free name to move a file aside"))
}

/// The hook that `git worktree add` runs at its end, run as there: in the worktree, where git finds the
/// repository by itself. Its failure undoes nothing.
pub(super) fn post_checkout(
    git: &Git,
    held: &Exclusive,
    place: &Place,
    head: &CommitId,
) -> Result<(), GitFault> {
    let none = "0".repeat(head.as_str().len());
    held.call(git, "run post-checkout", &place.path)?
        .with_hooks()
        .fetching()
        .args(&["hook", "run", "--ignore-missing", "post-checkout", "--"])
        .args(&[none.as_str(), head.as_str(), "1"])
        .run()?;
    Ok(())
}
