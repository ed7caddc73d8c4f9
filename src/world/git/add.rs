//! Making a worktree, so that it can be interrupted anywhere and done again.
//!
//! Invariants: a worktree that is registered, whole and on the right branch is reused as it is; git's own
//! `worktree add` does the work otherwise, after the place has been freed by renames only; one that holds
//! some directories only counts as half made until those are there. Of the user's
//! hooks `post-checkout` runs, once, at the end; the others could refuse or bend what is made here.

use super::child::{file_fault, refused};
use super::exclusive::{Exclusive, clear_locks, locks_of};
use super::layout::{Entry, Head, INITIALIZING, Layout};
use super::repair::{
    Found, drop_bare, drop_entry, in_use, look, made, mend_neighbours, post_checkout, put_aside,
    refuse_foreign_lock,
};
use super::sparse::{Fill, filling};
use super::{Git, Place, files, full_ref};
use crate::model::cone::Cone;
use crate::model::tree::{CommitId, WorktreeMade};
use crate::world::GitFault;
use std::fs;
use std::path::Path;

const ACT: &str = "create worktree";

/// One making under way.
struct Making<'a> {
    git: &'a Git,
    layout: &'a Layout,
    held: &'a Exclusive,
    place: &'a Place,
    branch: &'a str,
    base: &'a CommitId,
    cone: Option<&'a Cone>,
    made: WorktreeMade,
}

impl Git {
    pub(super) fn add_worktree(
        &self,
        path: &str,
        branch: &str,
        base: &CommitId,
        cone: Option<&Cone>,
    ) -> Result<WorktreeMade, GitFault> {
        let layout = self.layout(ACT)?;
        let place = Place::check(&layout, path, ACT)?;
        let name = full_ref(ACT, branch)?;
        fs::create_dir_all(&place.parent).map_err(|e| file_fault(ACT, &place.parent, &e))?;
        let held = Exclusive::take(self, &layout, ACT)?;
        super::remove::drop_trash(&place);
        held.clear_ref_locks(&layout, &name, ACT)?;
        mend_neighbours(&layout, &place, ACT)?;
        let entry = layout.entry(&place.path, ACT)?;
        let found = look(&place.path, ACT)?;
        if let Some(entry) = &entry
            && !entry.half_made()
            && found == Found::Content
            && entry.mutual(&place.path, &layout.common)
            && Self::branch_of(&layout, entry, ACT)?.as_deref() == Some(branch)
        {
            // A commit that was killed leaves its locks, and would fail the next commit here.
            let locks = locks_of(&entry.dir);
            if !locks.is_empty() && !in_use(&place.path) {
                clear_locks(locks, ACT)?;
            }
            return Ok(WorktreeMade::default());
        }
        let made = WorktreeMade::default();
        let (git, layout, held, place) = (self, &layout, &held, &place);
        let mut making = Making { git, layout, held, place, branch, base, cone, made };
        held.noting(layout, &name, &format!("add {path}\n"), || {
            if making.complete(entry.as_ref(), found)? {
                return Ok(());
            }
            making.free(entry.as_ref(), found)?;
            let head = making.add_fresh()?;
            making.finish(&head)
        })?;
        making.made.worktree_created = true;
        Ok(making.made)
    }
}

impl Making<'_> {
    /// Finishes a half-made worktree where it stands; `false` when there is none of ours.
    fn complete(&mut self, entry: Option<&Entry>, found: Found) -> Result<bool, GitFault> {
        let Some(entry) = entry else { return Ok(false) };
        if found != Found::Content
            || !entry.half_made()
            || !Git::can_complete(entry, self.place, self.branch)
        {
            return Ok(false);
        }
        if self.git.branch(self.branch)?.is_none() {
            self.create_branch()?;
        }
        let fill = Fill::of(self.cone);
        let moved =
            self.git.complete(self.held, self.layout, entry, self.place, self.branch, fill)?;
        if let Some(moved) = moved {
            self.aside(&moved);
        }
        Ok(true)
    }

    fn create_branch(&mut self) -> Result<(), GitFault> {
        let act = "create branch";
        let none = "0".repeat(self.base.as_str().len());
        self.held
            .call(self.git, act, &self.layout.common)?
            .env("GIT_DIR", &self.layout.common)
            .args(&["update-ref", "-m", "branch: Created by jobyard"])
            .arg(full_ref(act, self.branch)?)
            .args(&[self.base.as_str(), &none])
            .ok()?;
        self.made.branch_created = true;
        Ok(())
    }

    /// Frees the place and the entry's name, by renames; removes only what is empty or proven ours.
    fn free(&mut self, entry: Option<&Entry>, found: Found) -> Result<(), GitFault> {
        if let Some(entry) = entry {
            refuse_foreign_lock(entry, ACT)?;
            let live = found == Found::Content
                && !entry.half_made()
                && entry.mutual(&self.place.path, &self.layout.common);
            if live {
                return self.move_worktree(entry);
            }
            let ours = match entry.head() {
                Head::Detached(_) => false,
                Head::Unreadable => true,
                Head::Branch(_) | Head::Elsewhere => {
                    Git::branch_of(self.layout, entry, ACT)?.is_none_or(|b| b == self.branch)
                }
            };
            if ours && !entry.in_progress() {
                drop_entry(entry, ACT)?;
            } else {
                self.aside(&put_aside(&entry.dir, self.place, "aside", ACT)?);
            }
        }
        match found {
            Found::Nothing => {}
            Found::Bare => drop_bare(&self.place.path, ACT)?,
            Found::Content | Found::Thing => {
                self.aside(&put_aside(&self.place.path, self.place, "aside", ACT)?);
            }
        }
        Ok(())
    }

    /// Moves a registered worktree that is on another branch (or detached) aside, still registered.
    fn move_worktree(&mut self, entry: &Entry) -> Result<(), GitFault> {
        if entry.dir.join("modules").exists() {
            return Err(refused(
                ACT,
                format!(
                    "{} is in the way, on another branch and with submodules, so git cannot move it: \
                     move or finish it by hand",
                    self.place.path.display()
                ),
            ));
        }
        let moved = put_aside(&self.place.path, self.place, "aside", ACT)?;
        let now = self.layout.root.join(&moved);
        let text = format!("{}\n", now.join(".git").display());
        replace(&entry.dir.join("gitdir"), text.as_bytes())?;
        self.aside(&moved);
        Ok(())
    }

    /// The commit it is made at.
    fn add_fresh(&mut self) -> Result<CommitId, GitFault> {
        let tip = self.git.branch(self.branch)?;
        let call = self
            .held
            .call(self.git, ACT, &self.layout.common)?
            .env("GIT_DIR", &self.layout.common)
            .fetching()
            .args(&["worktree", "add", "--quiet"]);
        // What is to be filled by ours stays half made until it is: git's own word for that is its lock.
        let call = match self.cone {
            Some(_) => call.args(&["--no-checkout", "--lock", "--reason", INITIALIZING]),
            None => call,
        };
        let call = if tip.is_some() {
            call.arg(&self.place.path).arg(self.branch)
        } else {
            call.args(&["--no-track", "-b", self.branch])
                .arg(&self.place.path)
                .arg(self.base.as_str())
        };
        call.ok()?;
        self.made.branch_created |= tip.is_none();
        if let Some(cone) = self.cone {
            self.fill(cone)?;
        }
        Ok(tip.unwrap_or_else(|| self.base.clone()))
    }

    /// Checks out the directories of the cone in a worktree without files and index.
    fn fill(&self, cone: &Cone) -> Result<(), GitFault> {
        let Some(entry) = self.layout.entry(&self.place.path, ACT)? else {
            return Err(refused(
                ACT,
                format!("git made no entry for {}: try again", self.place.path.display()),
            ));
        };
        clear_locks(locks_of(&entry.dir), ACT)?;
        Fill::Cone(cone).prepare(&entry, ACT)?;
        let call = Git::inside(ACT, self.layout, &entry, &self.place.path);
        filling(self.held.carry(self.git, ACT, call)?).ok()?;
        clear_locks(locks_of(&entry.dir), ACT)?;
        made(&entry, ACT)
    }

    /// Finishes what git left undone though it succeeded: it only warns when it cannot remove its own locks.
    fn finish(&mut self, head: &CommitId) -> Result<(), GitFault> {
        if let Some(entry) = self.layout.entry(&self.place.path, ACT)? {
            clear_locks(locks_of(&entry.dir), ACT)?;
            if self.complete(Some(&entry), Found::Content)? {
                return Ok(());
            }
        }
        post_checkout(self.git, self.held, self.place, head)
    }

    fn aside(&mut self, moved: &Path) {
        self.made.moved_aside = Some(moved.to_string_lossy().into_owned());
    }
}

/// Replaces a small file of git by a whole new one.
fn replace(path: &Path, content: &[u8]) -> Result<(), GitFault> {
    let temp = path.with_extension("jobyard");
    files::write(&temp, content)
        .and_then(|()| fs::rename(&temp, path))
        .map_err(|e| file_fault(ACT, path, &e))
}
