//! Submodules that are checked out in a worktree, compared by content like the worktree itself.
//!
//! Invariants: which commit belongs at a path comes from the superproject's HEAD; the submodule's own index
//! is not asked, so no flag in it hides a change; one with filters or attributes of its own in its
//! repository counts as changed, because nobody sealed those and comparing would run them. A submodule that
//! is not checked out is clean when its directory is empty.

use super::changes::path_text;
use super::child::{CONTENT_LIMIT, Call, fields, line, memory_file, os, refused};
use super::layout::git_dir_of;
use super::settings;
use super::tree::{Bounded, Missed, Scratch, read_listing, read_status};
use crate::model::tree::TreeFacts;
use crate::world::GitFault;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Deepest nesting, and most submodules of a worktree, that are looked at.
const DEPTH_MAX: usize = 8;
const SUBMODULES_MAX: usize = 1000;

/// A submodule that HEAD names.
pub(super) struct Link {
    /// Path below the worktree that holds it.
    path: PathBuf,
    /// The commit that belongs there.
    commit: String,
}

impl Link {
    /// Its path in git's own bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.path.as_os_str().as_bytes()
    }
}

/// One look at all submodules of a worktree.
pub(super) struct Look<'a> {
    /// What is done.
    pub(super) act: &'static str,
    /// The worktree.
    pub(super) top: &'a Path,
    /// The root, in whose own directory indexes of ours lie.
    pub(super) scratch: &'a Path,
    /// The ignore rules that count besides `.gitignore` files.
    pub(super) rules: &'a [u8],
    /// A strict call in this git directory and this worktree.
    pub(super) call: &'a dyn Fn(&Path, &Path) -> Call,
    /// How many were looked at.
    pub(super) seen: usize,
}

/// The submodules in `git ls-files --stage -z`: `mode oid stage`, a tab, the path.
pub(super) fn links(out: &[u8]) -> Vec<Link> {
    let link = |field: &[u8]| {
        let rest = field.strip_prefix(b"160000 ")?;
        let tab = rest.iter().position(|b| *b == b'\t')?;
        let commit = String::from_utf8_lossy(rest.get(..tab)?).split(' ').next()?.to_owned();
        Some(Link { path: PathBuf::from(os(rest.get(tab + 1..)?)), commit })
    };
    fields(out).filter_map(link).collect()
}

impl Look<'_> {
    /// Adds what differs in the submodules below `base` (relative to the worktree) to the facts.
    pub(super) fn add(
        &mut self,
        base: &Path,
        links: Vec<Link>,
        depth: usize,
        changed: &mut Bounded,
        facts: &mut TreeFacts,
    ) -> Result<(), GitFault> {
        for link in links {
            self.seen += 1;
            if self.seen > SUBMODULES_MAX || depth > DEPTH_MAX {
                return Err(refused(
                    self.act,
                    format!("{} has too many or too deep submodules", self.top.display()),
                ));
            }
            let below = base.join(&link.path);
            let place = self.top.join(&below);
            match git_dir_of(&place).filter(|_| is_dir(&place)) {
                Some(git_dir) => {
                    self.compare(&below, &place, &git_dir, &link.commit, depth, changed, facts)?;
                }
                None if is_empty(&place) => {}
                None => changed.add(text(&below)),
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one submodule, named in full")]
    fn compare(
        &mut self,
        below: &Path,
        place: &Path,
        git_dir: &Path,
        commit: &str,
        depth: usize,
        changed: &mut Bounded,
        facts: &mut TreeFacts,
    ) -> Result<(), GitFault> {
        let call = || (self.call)(git_dir, place);
        if settings::has_filters(call(), git_dir)? {
            changed.add(text(below));
            return Ok(());
        }
        let head = call().args(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).run()?;
        if !head.status.success() || line(&head.stdout) != commit {
            changed.add(text(below));
            return Ok(());
        }
        let fresh = Scratch::new(self.scratch);
        let with_fresh = || call().env("GIT_INDEX_FILE", &fresh.0);
        with_fresh().args(&["read-tree", commit]).ok()?;
        let mut inner = (TreeFacts::default(), Bounded::default());
        let status = with_fresh()
            .limit(CONTENT_LIMIT)
            .env("GIT_ATTR_SOURCE", commit)
            .args(&["status", "--porcelain=v2", "-z", "--untracked-files=no", "--no-renames"])
            .args(&["--ignore-submodules=all", "--no-ahead-behind"])
            .ok()?;
        read_status(&status, &mut inner.0, &mut inner.1, &Missed::all());
        let listing = with_fresh()
            .limit(CONTENT_LIMIT)
            .args(&["ls-files", "-z", "-v", "--others", "--exclude-per-directory=.gitignore"])
            .arg("--exclude-from=/proc/self/fd/0")
            .stdin(memory_file(self.act, self.rules)?)
            .ok()?;
        read_listing(&listing, &mut inner.0, &Missed::all());
        let prefix = text(below);
        for path in inner.1.paths() {
            changed.add(format!("{prefix}/{path}"));
        }
        facts.untracked.extend(inner.0.untracked.iter().map(|path| format!("{prefix}/{path}")));
        let nested = links(&with_fresh().args(&["ls-files", "--stage", "-z"]).ok()?);
        self.add(below, nested, depth + 1, changed, facts)
    }
}

fn text(path: &Path) -> String {
    path_text(path.as_os_str().as_bytes())
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

fn is_empty(path: &Path) -> bool {
    is_dir(path) && fs::read_dir(path).is_ok_and(|mut names| names.next().is_none())
}
