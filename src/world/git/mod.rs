//! git, by its executable: worktrees, what changed in them, and what makes a commit durable.
//!
//! Invariants: every call has a time bound, no terminal and no `GIT_*` variable of ours to mislead it;
//! nothing that could be somebody's work is deleted: what stands in the way is moved aside; an admin
//! entry of another worktree is never touched; there is no bare prune, no `-D`, no stash, reset or clean.
//! Calls that change worktrees or branches are serialised per repository by a lock that every git they
//! start inherits, so that a git that outlived its daemon is waited for and not worked against.
//!
//! It does not decide: it reports what it found and made. Where git's own behaviour can be bent by a job
//! with write access to `.git`, `docs/gate.md` says what is forced and what is not promised.

mod add;
mod ancestry;
mod blocking;
mod bounds;
mod bundle;
mod changes;
mod child;
mod excludes;
mod exclusive;
mod files;
mod layout;
mod remove;
mod repair;
mod settings;
mod sparse;
mod submodules;
mod sync;
mod tree;

pub use bounds::Bounds;
pub use tree::Absent;

use super::GitFault;
use crate::model::cone::Cone;
use crate::model::tree::{Change, CommitId, TreeFacts, WorktreeMade};
use blocking::Places;
use child::{Call, fields, file_fault, line, os, refused};
use layout::{Entry, Head, Layout};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Most paths in a list of facts; a person is helped by the first ones.
pub const LIST_MAX: usize = 1000;

/// What is attempted when a new branch needs a place to begin at.
const BASE: &str = "resolve base";

/// Directories of state that git must not track, relative to the root.
pub const STATE_PATHS: [&str; 5] =
    ["_ctx/jobs", "_ctx/runs", "_ctx/audit", "_ctx/packages", ".worktrees"];

/// The repository of one root.
#[derive(Clone, Debug)]
pub struct Git {
    root: PathBuf,
    bounds: Bounds,
}

/// A worktree as git lists it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListedWorktree {
    /// Absolute path.
    pub path: PathBuf,
    /// Commit of HEAD; `None` when unborn.
    pub head: Option<CommitId>,
    /// Short name of the branch; `None` when detached or bare.
    pub branch: Option<String>,
    /// The reason of git's lock on it; empty when none was given.
    pub locked: Option<String>,
    /// Why git would prune it.
    pub prunable: Option<String>,
    /// The first of the list: the main checkout (or the bare repository).
    pub main: bool,
}

/// A worktree's place, checked: below the root, through real directories only.
struct Place {
    /// As given: relative to the root.
    relative: PathBuf,
    /// Absolute, without symlinks.
    path: PathBuf,
    /// Absolute directory that holds it.
    parent: PathBuf,
    /// Last component.
    id: String,
}

impl Git {
    /// The repository that holds `root`, an absolute path. Nothing is read yet.
    pub fn new(root: PathBuf, bounds: Bounds) -> Self {
        Self { root, bounds }
    }

    /// Variables that make the commits of an order's commands durable when git makes them.
    pub fn job_environment() -> Vec<(&'static str, &'static str)> {
        child::job_environment()
    }

    /// Is the root inside a git repository that git agrees to work with? `Err`: there is one, but git
    /// refuses it (another owner, a damaged configuration) or cannot be run.
    pub fn is_repository(&self) -> Result<bool, GitFault> {
        let act = "look for a repository";
        match Layout::discover(&self.root) {
            Err(e) => Err(file_fault(act, &self.root, &e)),
            Ok(None) => Ok(false),
            Ok(Some(_)) => {
                Call::new(act, &self.root).args(&["rev-parse", "--git-common-dir"]).ok()?;
                Ok(true)
            }
        }
    }

    /// For a path inside a linked worktree: the top of the main checkout, found by reading files only.
    /// `None` for any other path.
    pub fn main_checkout(path: &Path) -> Option<PathBuf> {
        layout::main_checkout(path)
    }

    /// Resolves the base of a new branch: `wanted`, else `main`, else `master`, else the branch of the main
    /// checkout.
    ///
    /// # Errors
    /// The revision does not exist, or the repository has no commit.
    pub fn base(&self, wanted: Option<&str>) -> Result<CommitId, GitFault> {
        let layout = self.layout(BASE)?;
        let top = layout.top.display();
        Self::find_in(&layout, wanted)?.ok_or_else(|| {
            let cause = match wanted {
                Some(text) => {
                    format!("{text:?} names no commit of {top}: correct `base` or make the commit")
                }
                None => format!(
                    "{top} has no commit on main, master or HEAD: make a first commit, or set `base`"
                ),
            };
            refused(BASE, cause)
        })
    }

    /// Whether there is a commit that a new branch can begin at.
    ///
    /// # Errors
    /// There is no repository, or git cannot tell.
    pub fn has_base(&self) -> Result<bool, GitFault> {
        Ok(Self::find_in(&self.layout(BASE)?, None)?.is_some())
    }

    /// The first of the candidates that is a commit.
    fn find_in(layout: &Layout, wanted: Option<&str>) -> Result<Option<CommitId>, GitFault> {
        let candidates = match wanted {
            Some(text) => vec![text],
            None => vec!["refs/heads/main", "refs/heads/master", "HEAD"],
        };
        for name in candidates {
            if name.is_empty() || name.starts_with('-') || name.contains(['\0', '\n']) {
                return Err(refused(BASE, format!("{name:?} is not a revision")));
            }
            let answer = Self::reading(BASE, layout)
                .args(&["rev-parse", "--verify", "--quiet", "--end-of-options"])
                .arg(format!("{name}^{{commit}}"))
                .run()?;
            match answer.status.code() {
                Some(0) => {
                    let text = line(&answer.stdout);
                    let told = || refused(BASE, format!("git answered {text:?} for {name:?}"));
                    return CommitId::parse(&text).ok_or_else(told).map(Some);
                }
                // With --quiet: there is no such commit.
                Some(1) => {}
                _ => return Err(answer.fault()),
            }
        }
        Ok(None)
    }

    /// The commit of a branch (short name), or `None` when it does not exist.
    pub fn branch(&self, branch: &str) -> Result<Option<CommitId>, GitFault> {
        let act = "read branch";
        let layout = self.layout(act)?;
        let name = full_ref(act, branch)?;
        let out = Self::reading(act, &layout)
            .args(&["for-each-ref", "--format=%(objectname) %(refname)"])
            .arg(&name)
            .ok()?;
        let text = String::from_utf8_lossy(&out);
        let hit = text.lines().filter_map(|l| l.split_once(' ')).find(|(_, r)| *r == name);
        Ok(hit.and_then(|(oid, _)| CommitId::parse(oid)))
    }

    /// Is this directory (root-relative) a registered, usable worktree on that branch?
    pub fn worktree(&self, path: &str, branch: &str) -> Result<bool, GitFault> {
        let act = "look at worktree";
        let layout = self.layout(act)?;
        let place = Place::check(&layout, path, act)?;
        let Some(entry) = layout.entry(&place.path, act)? else { return Ok(false) };
        Ok(!entry.half_made()
            && entry.mutual(&place.path, &layout.common)
            && Self::branch_of(&layout, &entry, act)?.as_deref() == Some(branch))
    }

    /// Makes (or reuses) the worktree at `path` (root-relative) on `branch`, creating the branch at `base`
    /// when missing. Repairs by name what an interrupted call for the same path left. What stands in
    /// the way is moved to `.worktrees/.aside-<id>-<n>`. One that is made holds the directories of `cone`,
    /// else everything; one that is reused holds what it holds.
    ///
    /// # Errors
    /// The branch is checked out elsewhere, a person's lock is on a worktree in the way, or git fails.
    pub fn add(
        &self,
        path: &str,
        branch: &str,
        base: &CommitId,
        cone: Option<&Cone>,
    ) -> Result<WorktreeMade, GitFault> {
        // The first worktree of a root that nobody has initialised: its state must stay out of commits.
        self.ensure_excludes().map_err(|e| GitFault {
            act: "keep state out of commits",
            cause: format!("write .git/info/exclude: {e}"),
        })?;
        self.add_worktree(path, branch, base, cone)
    }

    /// Removes what `made` says was created: the worktree if it is clean, the branch if it still is at
    /// `base` and checked out nowhere; and moves back what was moved aside. Repeating it is harmless.
    ///
    /// # Errors
    /// Something uncommitted would be lost, or a person's lock is on the worktree.
    pub fn remove(
        &self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<(), GitFault> {
        self.remove_worktree(path, branch, base, made)
    }

    /// Looks at a worktree. `excludes`: the ignore rules sealed at the claim; only they and the `.gitignore`
    /// files count. Every tracked file is compared by its content, those of submodules too, but for files
    /// that `absent` lets be absent, and are.
    pub fn tree(
        &self,
        path: &str,
        excludes: &[u8],
        absent: Absent<'_>,
    ) -> Result<TreeFacts, GitFault> {
        self.tree_facts(path, excludes, absent)
    }

    /// The changes from `base` to `head`, renames detected. Neither the repository's configuration nor
    /// attributes that came after `base` are looked at.
    pub fn changes(
        &self,
        path: &str,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault> {
        // Commits are shared by all worktrees: which one asks does not matter.
        let _ = path;
        self.changes_between(base, head)
    }

    /// The ignore rules in force now outside `.gitignore` files: the user's file, then `info/exclude`.
    pub fn excludes(&self) -> Result<Vec<u8>, GitFault> {
        self.exclude_rules()
    }

    /// The settings and files outside the tree by which git converts files and borrows objects, as one text
    /// to compare: as the worktree at `path` (root-relative) sees them, else as a new one would.
    pub fn settings(&self, path: Option<&str>) -> Result<Vec<u8>, GitFault> {
        self.settings_text(path)
    }

    /// The commit of a worktree's HEAD as long as it is on this branch; mostly without starting git.
    pub fn head(&self, path: &str, branch: &str) -> Result<Option<CommitId>, GitFault> {
        let act = "read HEAD";
        let (layout, place) = self.placed(path, act)?;
        let Some(entry) = layout.entry(&place.path, act)? else { return Ok(None) };
        if Self::branch_of(&layout, &entry, act)?.as_deref() != Some(branch) {
            return Ok(None);
        }
        let loose = layout::small_file(&layout.common.join(full_ref(act, branch)?));
        match loose.and_then(|text| CommitId::parse(text.trim())) {
            Some(commit) => Ok(Some(commit)),
            None => self.branch(branch),
        }
    }

    /// Makes the objects of a commit and the branch's ref durable.
    pub fn sync(
        &self,
        branch: &str,
        commit: &CommitId,
        base: Option<&CommitId>,
    ) -> Result<(), GitFault> {
        self.sync_commit(branch, commit, base)
    }

    /// Adds the state directories to `info/exclude`, once, keeping what is there. `true`: it wrote.
    pub fn ensure_excludes(&self) -> io::Result<bool> {
        excludes::ensure(&self.root)
    }

    /// Whether that would write.
    pub fn lacks_excludes(&self) -> io::Result<bool> {
        excludes::lacks(&self.root)
    }

    /// Files of the state directories that git tracks (at most [`LIST_MAX`]): a merge would resurrect them.
    pub fn tracked_state(&self) -> Result<Vec<String>, GitFault> {
        let act = "list tracked state";
        let layout = self.layout(act)?;
        let out = Call::new(act, &layout.root)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .args(&["ls-files", "-z", "--"])
            .args(&STATE_PATHS)
            .ok()?;
        Ok(fields(&out).take(LIST_MAX).map(changes::path_text).collect())
    }

    /// Every worktree of the repository, the main checkout first.
    pub fn list(&self) -> Result<Vec<ListedWorktree>, GitFault> {
        let act = "list worktrees";
        let layout = self.layout(act)?;
        let out =
            Self::reading(act, &layout).args(&["worktree", "list", "--porcelain", "-z"]).ok()?;
        Ok(listed(&out))
    }

    /// Puts git's lock on the worktree of a running order, so that nobody prunes or moves it. `true`: it
    /// was not locked before. A lock of somebody else stays as it is.
    pub fn lock(&self, path: &str, reason: &str) -> Result<bool, GitFault> {
        self.lock_worktree(path, reason)
    }

    /// Takes our lock off the worktree. `true`: there was one. A lock of somebody else stays.
    pub fn unlock(&self, path: &str) -> Result<bool, GitFault> {
        self.unlock_worktree(path)
    }

    fn layout(&self, act: &'static str) -> Result<Layout, GitFault> {
        match Layout::discover(&self.root) {
            Ok(Some(layout)) => Ok(layout),
            Ok(None) => Err(refused(
                act,
                format!(
                    "{} is not in a git repository: run `git init` and commit, or use `workspace: none`",
                    self.root.display()
                ),
            )),
            Err(e) => Err(file_fault(act, &self.root, &e)),
        }
    }

    /// A call that reads from the shared directory and looks at no worktree.
    fn reading(act: &'static str, layout: &Layout) -> Call {
        Call::new(act, &layout.common)
            .env("GIT_DIR", &layout.common)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .wary(Places { tree: None, own: vec![layout.common.clone()] })
    }

    /// A call inside one worktree that trusts neither its `.git` file nor the entry's `commondir`.
    fn inside(act: &'static str, layout: &Layout, entry: &Entry, place: &Path) -> Call {
        Self::apart(act, &entry.dir, place).env("GIT_COMMON_DIR", &layout.common).wary(Places {
            tree: Some(place.to_owned()),
            own: vec![layout.common.clone(), entry.dir.clone()],
        })
    }

    /// A call with this git directory and this worktree, whatever they say of each other.
    fn apart(act: &'static str, git_dir: &Path, place: &Path) -> Call {
        Call::new(act, place)
            .env("GIT_DIR", git_dir)
            .env("GIT_WORK_TREE", place)
            .config("core.untrackedCache", "false")
            .config("core.splitIndex", "false")
            .wary(Places { tree: Some(place.to_owned()), own: vec![git_dir.to_owned()] })
    }

    /// The branch an entry is on; `None` when detached or unreadable.
    fn branch_of(
        layout: &Layout,
        entry: &Entry,
        act: &'static str,
    ) -> Result<Option<String>, GitFault> {
        match entry.head() {
            Head::Branch(name) => Ok(Some(name)),
            Head::Detached(_) | Head::Unreadable => Ok(None),
            Head::Elsewhere => {
                let answer = Call::new(act, &layout.common)
                    .env("GIT_DIR", &entry.dir)
                    .env("GIT_COMMON_DIR", &layout.common)
                    .args(&["symbolic-ref", "--quiet", "HEAD"])
                    .run()?;
                Ok(line(&answer.stdout).strip_prefix("refs/heads/").map(str::to_owned))
            }
        }
    }
}

impl Place {
    /// Accepts a root-relative path whose parents are real directories (or are missing).
    fn check(layout: &Layout, relative: &str, act: &'static str) -> Result<Self, GitFault> {
        let relative = Path::new(relative);
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
        let id = relative.file_name().and_then(|n| n.to_str());
        let (true, Some(id), Some(parent)) = (plain, id, relative.parent()) else {
            return Err(refused(act, format!("{} is not below the root", relative.display())));
        };
        let mut dir = layout.root.clone();
        for part in parent {
            dir.push(part);
            match fs::symlink_metadata(&dir) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    return Err(refused(
                        act,
                        format!("{} is not a directory: move it away", dir.display()),
                    ));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(file_fault(act, &dir, &e)),
            }
        }
        let path = dir.join(id);
        Ok(Self { relative: relative.to_owned(), path, parent: dir, id: id.to_owned() })
    }
}

/// `refs/heads/<branch>` of a name that cannot leave `refs/heads/` on disk.
fn full_ref(act: &'static str, branch: &str) -> Result<String, GitFault> {
    let plain = Path::new(branch).components().all(|c| matches!(c, Component::Normal(_)));
    if branch.is_empty() || !plain || branch.contains(|c: char| c.is_control() || "*?[".contains(c))
    {
        return Err(refused(act, format!("{branch:?} is not the name of a branch")));
    }
    Ok(format!("refs/heads/{branch}"))
}

/// Reads `git worktree list --porcelain -z`.
fn listed(out: &[u8]) -> Vec<ListedWorktree> {
    let mut found: Vec<ListedWorktree> = Vec::new();
    for field in fields(out) {
        let space = field.iter().position(|b| *b == b' ').unwrap_or(field.len());
        let (word, rest) = field.split_at(space);
        let rest = rest.strip_prefix(b" ").unwrap_or(rest);
        let text = || String::from_utf8_lossy(rest).into_owned();
        if word == b"worktree" {
            let main = found.is_empty();
            found.push(ListedWorktree { path: os(rest).into(), main, ..Default::default() });
            continue;
        }
        let Some(last) = found.last_mut() else { continue };
        match word {
            b"HEAD" => last.head = CommitId::parse(&text()).filter(|c| !c.is_zero()),
            b"branch" => last.branch = text().strip_prefix("refs/heads/").map(str::to_owned),
            b"locked" => last.locked = Some(text()),
            b"prunable" => last.prunable = Some(text()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_porcelain_list_is_read_with_all_its_fields() {
        let oid = "a".repeat(40);
        let text = format!(
            "worktree /r\0HEAD {oid}\0branch refs/heads/main\0\0worktree /r/a b\0HEAD {oid}\0detached\0\
             locked\0\0worktree /r/c\0HEAD {}\0branch refs/heads/feat/wo-1\0locked x y\0prunable gone\0\0",
            "0".repeat(40)
        );
        let all = listed(text.as_bytes());
        assert_eq!(all.len(), 3);
        assert!(all[0].main && !all[1].main);
        assert_eq!(all[0].branch.as_deref(), Some("main"));
        assert_eq!(all[1].path, PathBuf::from("/r/a b"));
        assert_eq!((all[1].branch.clone(), all[1].locked.as_deref()), (None, Some("")));
        assert_eq!(all[2].head, None);
        assert_eq!(all[2].branch.as_deref(), Some("feat/wo-1"));
        assert_eq!(all[2].locked.as_deref(), Some("x y"));
        assert_eq!(all[2].prunable.as_deref(), Some("gone"));
    }

    #[test]
    fn a_branch_cannot_leave_its_directory() {
        for bad in ["", "../x", "/x", "a/../b", "a*", "a\nb", "./a"] {
            assert!(full_ref("t", bad).is_err(), "{bad:?}");
        }
        assert_eq!(full_ref("t", "feat/wo-1"), Ok("refs/heads/feat/wo-1".to_owned()));
    }
}
