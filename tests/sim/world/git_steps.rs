//! `git worktree add` and `remove` as sequences of single steps, so that a fault can fall between them.
//!
//! Invariant: a step decides by what is there only, so a sequence that is begun again after a fault
//! repairs what the first one left.

use super::git::{Branch, Head, Worktree};
use super::machine::Machine;
use jobyard::model::tree::{CommitId, TreeFacts, WorktreeMade};
use jobyard::world::Kind;
use std::path::{Path, PathBuf};

/// Whether a sequence goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    More,
    Done,
}

/// What one call of `git worktree add` has done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) made: WorktreeMade,
    /// The half-made worktree is ours and of this call.
    begun: bool,
}

impl Machine {
    /// Fails when there is no repository.
    pub(super) fn git_answers(&self) -> Result<(), String> {
        match self.git.absent {
            true => Err("fatal: not a git repository".to_owned()),
            false => Ok(()),
        }
    }

    /// A half-made worktree may break every `git worktree` command, until what breaks them is mended. True:
    /// that was the step.
    fn mend_neighbour(&mut self, path: &str) -> Result<bool, String> {
        self.git_answers()?;
        let half = |(name, tree): &(&String, &mut Worktree)| *name != path && tree.breaks_all;
        match self.git.worktrees.iter_mut().find(half) {
            Some((_, tree)) => {
                tree.breaks_all = false;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Registered, complete and there.
    pub(super) fn git_usable(&self, path: &str) -> bool {
        self.git.worktrees.get(path).is_some_and(|t| t.complete)
            && self.there(&git_file(path)).is_some()
    }

    /// The next step of `git worktree add`.
    pub(super) fn git_add_step(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        progress: &mut Progress,
    ) -> Result<Step, String> {
        if self.mend_neighbour(path)? {
            return Ok(Step::More);
        }
        match self.git.worktrees.get(path) {
            None => self.add_unregistered(path, branch, base, progress),
            Some(tree) if !tree.complete && progress.begun => self.add_files(path),
            Some(tree) if !tree.complete => self.drop_half(path, progress),
            Some(_) if self.there(&git_file(path)).is_none() => {
                self.git.worktrees.remove(path);
                Ok(Step::More)
            }
            Some(tree) if tree.head != Head::Branch(branch.to_owned()) => {
                self.move_aside(path, progress)
            }
            Some(_) => Ok(Step::Done),
        }
    }

    /// The next step of a removal.
    pub(super) fn git_remove_step(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<Step, String> {
        if self.mend_neighbour(path)? {
            return Ok(Step::More);
        }
        let tip = self.git.tip(branch).cloned();
        if let Some(tree) = self.git.worktrees.get(path).filter(|_| made.worktree_created) {
            if self.git_usable(path) && !tree.clean() {
                return Err("contains modified or untracked files".to_owned());
            }
            if !self.git_usable(path) && self.holds_files(path) {
                return Err("the worktree and its entry do not name each other".to_owned());
            }
            if made.branch_created && tip.as_ref().is_some_and(|tip| tip != base) {
                return Err(format!("the branch '{branch}' is not fully merged"));
            }
            if self.there(Path::new(path)).is_some() {
                self.delete(path)?;
            } else {
                self.git.worktrees.remove(path);
            }
            return Ok(Step::More);
        }
        if made.branch_created && tip.as_ref() == Some(base) && self.checked_out(branch).is_none() {
            self.git.delete_branch(branch);
        }
        Ok(Step::Done)
    }

    /// What git says of a worktree.
    pub(super) fn git_facts(&self, path: &str) -> TreeFacts {
        let Some(tree) = self.git.worktrees.get(path).filter(|_| self.git_usable(path)) else {
            return TreeFacts::default();
        };
        let branch = match &tree.head {
            Head::Branch(name) => Some(name.clone()),
            Head::Commit(_) => None,
        };
        TreeFacts {
            exists: true,
            branch,
            head: self.git.head(path).cloned(),
            changed: tree.changed.iter().cloned().collect(),
            untracked: tree.untracked.iter().cloned().collect(),
            hidden: tree.hidden.iter().cloned().collect(),
        }
    }

    fn add_unregistered(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        progress: &mut Progress,
    ) -> Result<Step, String> {
        if let Some(other) = self.checked_out(branch) {
            return Err(format!("fatal: '{branch}' is already checked out at '{other}'"));
        }
        if self.git.tip(branch).is_none() {
            if !self.git.commits.contains_key(base) {
                return Err(format!("fatal: invalid reference: {}", base.as_str()));
            }
            let fresh = Branch { at: base.clone(), durable: None };
            self.git.branches.insert(branch.to_owned(), fresh);
            progress.made.branch_created = true;
            return Ok(Step::More);
        }
        let at = Path::new(path);
        let empty_dir = || self.disk.list(at, self.uid).is_ok_and(|names| names.is_empty());
        if self.there(at).is_some() && !empty_dir() {
            return self.move_aside(path, progress);
        }
        self.git
            .worktrees
            .insert(path.to_owned(), Worktree::begun(branch, self.git.half_breaks_all));
        progress.begun = true;
        progress.made.worktree_created = true;
        Ok(Step::More)
    }

    /// The directory, its `.git` file, the end of the work: one of them.
    fn add_files(&mut self, path: &str) -> Result<Step, String> {
        let (uid, file) = (self.uid, git_file(path));
        if self.there(Path::new(path)).is_none() {
            self.disk.mkdir_all(Path::new(path), uid).map_err(|e| errno_text("mkdir", e))?;
        } else if self.there(&file).is_none() {
            let made = self.disk.create(&file, 0o644, uid).map_err(|e| errno_text("create", e))?;
            let text = format!("gitdir: {path}\n");
            self.disk.write(&made, text.as_bytes()).map_err(|e| errno_text("write", e))?;
        } else if let Some(tree) = self.git.worktrees.get_mut(path) {
            (tree.complete, tree.breaks_all) = (true, false);
            return Ok(Step::Done);
        }
        Ok(Step::More)
    }

    /// What an interrupted call for this path left: the files first, then the registration.
    fn drop_half(&mut self, path: &str, progress: &mut Progress) -> Result<Step, String> {
        if self.holds_files(path) {
            // After a power cut what was moved aside may lie in the way again.
            self.git.worktrees.remove(path);
            return self.move_aside(path, progress);
        }
        if self.there(Path::new(path)).is_some() {
            self.delete(path)?;
        } else {
            self.git.worktrees.remove(path);
        }
        Ok(Step::More)
    }

    /// More than the `.git` file of a worktree lies there.
    fn holds_files(&self, path: &str) -> bool {
        let names = self.disk.list(Path::new(path), self.uid).unwrap_or_default();
        names.iter().any(|entry| entry.name != ".git")
    }

    fn move_aside(&mut self, path: &str, progress: &mut Progress) -> Result<Step, String> {
        let taken = |to: &String| self.there(Path::new(to)).is_some();
        let Some(to) = (1..1000).map(|n| format!("{path}.aside-{n}")).find(|to| !taken(to)) else {
            return Err(format!("move {path} aside: no name is free"));
        };
        let moved = self.disk.rename(Path::new(path), Path::new(&to), self.uid);
        moved.map_err(|e| errno_text("move aside", e))?;
        if let Some(tree) = self.git.worktrees.remove(path) {
            self.git.worktrees.insert(to.clone(), tree);
        }
        progress.made.moved_aside = Some(to);
        Ok(Step::More)
    }

    fn delete(&mut self, path: &str) -> Result<(), String> {
        self.disk.remove_all(Path::new(path), self.uid).map_err(|e| errno_text("remove", e))
    }

    /// Where a branch is checked out.
    fn checked_out(&self, branch: &str) -> Option<&String> {
        let on = |tree: &Worktree| matches!(&tree.head, Head::Branch(name) if name == branch);
        self.git.worktrees.iter().find(|(_, tree)| on(tree)).map(|(path, _)| path)
    }

    fn there(&self, path: &Path) -> Option<Kind> {
        self.disk.stat(path).ok().flatten().map(|stat| stat.kind)
    }
}

fn git_file(path: &str) -> PathBuf {
    Path::new(path).join(".git")
}

fn errno_text(act: &str, errno: i32) -> String {
    format!("{act}: {}", std::io::Error::from_raw_os_error(errno))
}
