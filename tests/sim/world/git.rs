//! The simulated repository: commits, branches, worktrees, and what of them is durable.
//!
//! A worktree is a registration here and a directory with a `.git` file on the simulated disk; either
//! can be lost without the other. A power cut may bring a branch back to its synced commit, undo its
//! deletion, lose or halve an unsynced registration, and leave a tracked file torn. It does not model
//! corrupt refs or objects, hooks, nor anything that git keeps under locks.

use super::jobs::Deeds;
use super::power::Style;
use crate::rng::Rng;
use jobyard::model::tree::{Change, CommitId};
use std::collections::{BTreeMap, BTreeSet};

/// The repository.
#[derive(Debug)]
pub(crate) struct Git {
    /// All commits.
    pub(crate) commits: BTreeMap<CommitId, Commit>,
    /// Branches by their short names.
    pub(crate) branches: BTreeMap<String, Branch>,
    /// Registered worktrees by root-relative path.
    pub(crate) worktrees: BTreeMap<String, Worktree>,
    /// The ignore rules outside `.gitignore` files.
    pub(crate) excludes: Vec<u8>,
    /// A half-made worktree makes every `git worktree` command fail.
    pub(crate) half_breaks_all: bool,
    /// There is no repository: every call fails.
    pub(crate) absent: bool,
    /// Deleted branches whose deletion is not durable.
    graves: BTreeMap<String, CommitId>,
    /// Worktrees whose removal failed: that was said, and they are left for the next claim.
    pub(crate) stuck: BTreeSet<String>,
    commits_made: u64,
}

/// A commit.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    /// `None` for the first one.
    pub(crate) parent: Option<CommitId>,
    /// What it changes.
    pub(crate) changes: Vec<Change>,
}

/// A branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Branch {
    /// Where it points.
    pub(crate) at: CommitId,
    /// Where it points for certain after a power cut; `None`: it may be gone.
    pub(crate) durable: Option<CommitId>,
}

/// A registered worktree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Worktree {
    /// The branch checked out, or the commit when HEAD is detached.
    pub(crate) head: Head,
    /// False: an interrupted `git worktree add` left it.
    pub(crate) complete: bool,
    /// Half-made so that it makes every `git worktree` command fail.
    pub(crate) breaks_all: bool,
    /// Tracked files that differ from HEAD.
    pub(crate) changed: BTreeSet<String>,
    /// Untracked files that nothing ignores.
    pub(crate) untracked: BTreeSet<String>,
    /// Files marked `skip-worktree` or `assume-unchanged`.
    pub(crate) hidden: BTreeSet<String>,
    /// Survives a power cut.
    pub(crate) durable: bool,
}

/// HEAD of a worktree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Head {
    /// On a branch, which may not exist.
    Branch(String),
    /// Detached.
    Commit(CommitId),
}

impl Git {
    /// One commit on main.
    pub(crate) fn new() -> Self {
        let mut git = Self {
            commits: BTreeMap::new(),
            branches: BTreeMap::new(),
            worktrees: BTreeMap::new(),
            excludes: b"_ctx/jobs\n_ctx/runs\n_ctx/audit\n_ctx/packages\n.worktrees/\n".to_vec(),
            half_breaks_all: false,
            absent: false,
            stuck: BTreeSet::new(),
            graves: BTreeMap::new(),
            commits_made: 0,
        };
        let first = git.add_commit(None, "README.md");
        let main = Branch { at: first.clone(), durable: Some(first) };
        git.branches.insert("main".to_owned(), main);
        git
    }

    /// Where a branch points.
    pub(crate) fn tip(&self, branch: &str) -> Option<&CommitId> {
        self.branches.get(branch).map(|b| &b.at)
    }

    /// A new commit that changes `path` on a branch; `None` when there is no such branch.
    pub(crate) fn commit_on(&mut self, branch: &str, path: &str) -> Option<CommitId> {
        let parent = self.tip(branch)?.clone();
        let commit = self.add_commit(Some(parent), path);
        self.branches.get_mut(branch)?.at = commit.clone();
        Some(commit)
    }

    /// `git branch -D`. False when there is no such branch.
    pub(crate) fn delete_branch(&mut self, branch: &str) -> bool {
        let Some(gone) = self.branches.remove(branch) else { return false };
        if let Some(commit) = gone.durable {
            self.graves.insert(branch.to_owned(), commit);
        }
        true
    }

    /// The commit of a worktree's HEAD; `None` when there is no worktree or its branch does not exist.
    pub(crate) fn head(&self, path: &str) -> Option<&CommitId> {
        match &self.worktrees.get(path)?.head {
            Head::Branch(branch) => self.tip(branch),
            Head::Commit(commit) => Some(commit),
        }
    }

    /// A command or a person works in a worktree. Nothing happens where there is none.
    pub(crate) fn work(&mut self, path: &str, deeds: &Deeds) {
        if let (Some(parent), Some(file)) = (self.head(path).cloned(), &deeds.commit) {
            let commit = self.add_commit(Some(parent), file);
            self.move_head(path, commit);
        }
        if let Some(tree) = self.worktrees.get_mut(path) {
            if deeds.dirty {
                tree.changed.insert("README.md".to_owned());
            }
            if deeds.untracked {
                tree.untracked.insert("notes.txt".to_owned());
            }
        }
    }

    /// The changes from `base` to `head`; `None` when one of them does not exist.
    pub(crate) fn changes(&self, base: &CommitId, head: &CommitId) -> Option<Vec<Change>> {
        self.commits.get(base)?;
        let mut out = Vec::new();
        let mut at = head;
        while at != base {
            let commit = self.commits.get(at)?;
            out.splice(0..0, commit.changes.iter().cloned());
            let Some(parent) = &commit.parent else { break };
            at = parent;
        }
        Some(out)
    }

    /// The first ancestor of `b` (or `b`) that is one of `a` (or `a`).
    pub(crate) fn merge_base(&self, a: &CommitId, b: &CommitId) -> Option<CommitId> {
        let parent = |at: &CommitId| self.commits.get(at)?.parent.clone();
        let line = |from: &CommitId| std::iter::successors(Some(from.clone()), parent);
        let of_a: BTreeSet<CommitId> = line(a).collect();
        line(b).find(|commit| of_a.contains(commit))
    }

    /// Makes a branch and its commits durable; false when the commit does not exist.
    pub(crate) fn sync(&mut self, branch: &str, commit: &CommitId) -> bool {
        if let Some(found) = self.branches.get_mut(branch) {
            found.durable = Some(found.at.clone());
        }
        self.commits.contains_key(commit)
    }

    /// Makes everything durable.
    pub(crate) fn write_back(&mut self) {
        self.graves.clear();
        self.branches.values_mut().for_each(|b| b.durable = Some(b.at.clone()));
        self.worktrees.values_mut().for_each(|t| t.durable = true);
    }

    /// The power fails.
    pub(crate) fn power_cut(&mut self, style: Style, rng: &mut Rng) {
        let kept = match style {
            Style::Nothing => 0,
            Style::Everything => 100,
            Style::Ordered | Style::Torn => 50,
        };
        self.branches.retain(|_, branch| {
            if rng.chance(kept) {
                return true;
            }
            let Some(commit) = branch.durable.clone() else { return false };
            branch.at = commit;
            true
        });
        for (name, commit) in std::mem::take(&mut self.graves) {
            if !rng.chance(kept) {
                let back = Branch { at: commit.clone(), durable: Some(commit) };
                self.branches.entry(name).or_insert(back);
            }
        }
        let breaks_all = self.half_breaks_all;
        let mut keep = |tree: &mut Worktree| tree.durable || rng.chance(kept) || tree.halve(rng);
        self.worktrees.retain(|_, tree| keep(tree));
        for tree in self.worktrees.values_mut() {
            tree.breaks_all |= breaks_all && !tree.complete;
        }
        let torn = |tree: &Worktree| tree.complete && !tree.durable && kept == 50;
        for tree in self.worktrees.values_mut() {
            if torn(tree) && rng.chance(25) {
                tree.changed.insert("README.md".to_owned());
            }
        }
        self.write_back();
    }

    fn move_head(&mut self, path: &str, commit: CommitId) {
        let Some(tree) = self.worktrees.get_mut(path) else { return };
        match &mut tree.head {
            Head::Commit(at) => *at = commit,
            Head::Branch(name) => {
                if let Some(branch) = self.branches.get_mut(name) {
                    branch.at = commit;
                }
            }
        }
    }

    fn add_commit(&mut self, parent: Option<CommitId>, path: &str) -> CommitId {
        self.commits_made += 1;
        let text = format!("{:040x}", 0xc0ff_ee00_0000_u64 + self.commits_made);
        let Some(id) = CommitId::parse(&text) else { unreachable!("40 hexadecimal digits") };
        let change = Change {
            old_path: None,
            new_path: Some(path.to_owned()),
            added: 3,
            deleted: 0,
            binary: false,
            new_mode: 0o100_644,
            old_mode: 0,
            link_target: None,
        };
        self.commits.insert(id.clone(), Commit { parent, changes: vec![change] });
        id
    }
}

impl Worktree {
    /// A worktree that is being made on a branch.
    pub(super) fn begun(branch: &str, breaks_all: bool) -> Self {
        Self {
            head: Head::Branch(branch.to_owned()),
            complete: false,
            breaks_all,
            changed: BTreeSet::new(),
            untracked: BTreeSet::new(),
            hidden: BTreeSet::new(),
            durable: false,
        }
    }

    /// Nothing in it would be lost.
    pub(crate) fn clean(&self) -> bool {
        self.changed.is_empty() && self.untracked.is_empty()
    }

    /// A lost registration may be lost in part. True: it stays, half-made.
    fn halve(&mut self, rng: &mut Rng) -> bool {
        self.complete &= !rng.chance(50);
        !self.complete
    }
}
