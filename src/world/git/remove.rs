//! Taking away what an attempt created, git's lock on a worktree, and the deletion of what is proven clean.
//!
//! Invariants: a worktree is removed only when every tracked file equals the commit, nothing unignored is
//! untracked, it is on its branch and nobody else locked it; it first gets a name beginning with
//! `.trash-`, so that an interrupted deletion is known for what it is; the branch is deleted only by
//! comparing and swapping.

use super::child::{file_fault, refused};
use super::exclusive::Exclusive;
use super::layout::{Entry, Head, Layout, head_in};
use super::repair::{
    Found, LOCK_PREFIX, drop_bare, drop_entry, look, mend_neighbours, put_aside,
    refuse_foreign_lock,
};
use super::sparse::Fill;
use super::tree::{Absent, Rules};
use super::{Git, Place, files, full_ref};
use crate::model::tree::{CommitId, WorktreeMade};
use crate::world::GitFault;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::io;

const ACT: &str = "remove worktree";

impl Git {
    pub(super) fn remove_worktree(
        &self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<(), GitFault> {
        self.removing(path, branch, &mut || None, |held, layout, place| {
            if made.worktree_created {
                self.remove_tree(held, layout, place, branch)?;
            }
            if made.branch_created {
                self.delete_branch(held, layout, branch, base)?;
            }
            if let Some(aside) = &made.moved_aside {
                move_back(layout, place, aside);
            }
            Ok(())
        })
    }

    /// Removes a worktree that is clean and on `branch`, unless `busy`, asked while nobody else changes
    /// worktrees here, gives a reason against it. With `tip` the branch goes too, if it still is there.
    ///
    /// # Errors
    /// The reason; something uncommitted would be lost; a person's lock is on the worktree; git fails.
    pub fn remove_kept(
        &self,
        path: &str,
        branch: &str,
        tip: Option<&CommitId>,
        busy: &mut dyn FnMut() -> Option<String>,
    ) -> Result<(), GitFault> {
        self.removing(path, branch, busy, |held, layout, place| {
            self.remove_tree(held, layout, place, branch)?;
            tip.map_or(Ok(()), |tip| self.delete_branch(held, layout, branch, tip))
        })
    }

    /// Does `work` while nobody else changes worktrees or branches, after what an interrupted change left is
    /// mended, unless `busy` then gives a reason against it.
    fn removing(
        &self,
        path: &str,
        branch: &str,
        busy: &mut dyn FnMut() -> Option<String>,
        work: impl FnOnce(&Exclusive, &Layout, &Place) -> Result<(), GitFault>,
    ) -> Result<(), GitFault> {
        let (layout, place) = self.placed(path, ACT)?;
        let name = full_ref(ACT, branch)?;
        let held = Exclusive::take(self, &layout, ACT)?;
        held.clear_ref_locks(&layout, &name, ACT)?;
        drop_trash(&place);
        mend_neighbours(&layout, &place, ACT)?;
        if let Some(why) = busy() {
            return Err(refused(ACT, why));
        }
        held.noting(&layout, &name, &format!("remove {path}\n"), || work(&held, &layout, &place))
    }

    fn remove_tree(
        &self,
        held: &Exclusive,
        layout: &Layout,
        place: &Place,
        branch: &str,
    ) -> Result<(), GitFault> {
        let entry = layout.entry(&place.path, ACT)?;
        let found = look(&place.path, ACT)?;
        let Some(mut entry) = entry else {
            // What lies there unregistered is not what this attempt created, unless it is empty.
            return if found == Found::Bare { drop_bare(&place.path, ACT) } else { Ok(()) };
        };
        refuse_foreign_lock(&entry, ACT)?;
        if found != Found::Content {
            let ours = matches!(entry.head(), Head::Unreadable | Head::Elsewhere)
                || entry.head() == Head::Branch(branch.to_owned());
            if !ours || entry.in_progress() {
                return Err(refused(
                    ACT,
                    format!("entry {} is not on {branch}: look at it", entry.dir.display()),
                ));
            }
            drop_entry(&entry, ACT)?;
            return if found == Found::Bare { drop_bare(&place.path, ACT) } else { Ok(()) };
        }
        if entry.half_made() && Self::can_complete(&entry, place, branch) {
            self.complete(held, layout, &entry, place, branch, Fill::AsBegun)?;
            // What was read before is not what is there now.
            entry = layout.entry(&place.path, ACT)?.unwrap_or(entry);
        }
        self.refuse_unless_clean(layout, &entry, place, branch)?;
        put_aside(&place.path, place, "trash", ACT)?;
        drop_entry(&entry, ACT)?;
        drop_trash(place);
        Ok(())
    }

    fn refuse_unless_clean(
        &self,
        layout: &Layout,
        entry: &Entry,
        place: &Place,
        branch: &str,
    ) -> Result<(), GitFault> {
        let shown = place.path.display();
        if entry.half_made() || !entry.mutual(&place.path, &layout.common) {
            return Err(refused(ACT, format!("{shown} and its entry do not name each other")));
        }
        if entry.in_progress() || entry.dir.join("modules").exists() {
            return Err(refused(
                ACT,
                format!("{shown} has a merge or rebase under way, or submodules: end or remove it"),
            ));
        }
        let facts =
            self.inspect(layout, entry, &place.path, (Rules::Current, Absent::Marked), ACT)?;
        if facts.branch.as_deref() != Some(branch) {
            return Err(refused(ACT, format!("{shown} is not on {branch}: its HEAD may be lost")));
        }
        let mut dirty = facts.changed;
        dirty.extend(facts.hidden);
        dirty.extend(facts.untracked);
        if let Some(first) = dirty.first() {
            return Err(refused(
                ACT,
                format!("{shown} has {} uncommitted file(s), such as {first:?}", dirty.len()),
            ));
        }
        Ok(())
    }

    /// Deletes the branch if it is where it was created and nobody has it checked out.
    fn delete_branch(
        &self,
        held: &Exclusive,
        layout: &Layout,
        branch: &str,
        base: &CommitId,
    ) -> Result<(), GitFault> {
        let act = "delete branch";
        if self.branch(branch)?.as_ref() != Some(base) {
            return Ok(());
        }
        let on_it = Head::Branch(branch.to_owned());
        let mut heads: Vec<Head> = layout.entries(act)?.iter().map(Entry::head).collect();
        heads.push(head_in(&layout.common));
        if heads.contains(&on_it) {
            return Ok(());
        }
        let answer = held
            .call(self, act, &layout.common)?
            .env("GIT_DIR", &layout.common)
            .args(&["update-ref", "-d"])
            .args(&[full_ref(act, branch)?.as_str(), base.as_str()])
            .run()?;
        // It moved in this very moment: then it holds work and stays.
        if answer.status.success() || self.branch(branch)?.as_ref() != Some(base) {
            return Ok(());
        }
        Err(answer.fault())
    }

    pub(super) fn lock_worktree(&self, path: &str, reason: &str) -> Result<bool, GitFault> {
        let act = "lock worktree";
        let (layout, place) = self.placed(path, act)?;
        let Some(entry) = layout.entry(&place.path, act)?.filter(|e| !e.half_made()) else {
            return Err(refused(act, format!("{} is no worktree", place.path.display())));
        };
        let (target, temp) = (entry.dir.join("locked"), entry.dir.join("locked.jobyard"));
        let text: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        // Whole from the start: an empty lock would be taken for a person's lock without a reason.
        files::write(&temp, format!("{LOCK_PREFIX}{text}\n"))
            .map_err(|e| file_fault(act, &temp, &e))?;
        match renameat_with(CWD, &temp, CWD, &target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => {
                fs::remove_file(&temp).map_err(|e| file_fault(act, &temp, &e))?;
                Ok(false)
            }
            Err(e) => Err(file_fault(act, &target, &e.into())),
        }
    }

    pub(super) fn unlock_worktree(&self, path: &str) -> Result<bool, GitFault> {
        let act = "unlock worktree";
        let (layout, place) = self.placed(path, act)?;
        let Some(entry) = layout.entry(&place.path, act)? else { return Ok(false) };
        let ours = entry.locked().is_some_and(|r| r.starts_with(LOCK_PREFIX));
        if !ours {
            return Ok(false);
        }
        let target = entry.dir.join("locked");
        match fs::remove_file(&target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file_fault(act, &target, &e)),
            _ => Ok(true),
        }
    }

    pub(super) fn placed(
        &self,
        path: &str,
        act: &'static str,
    ) -> Result<(Layout, Place), GitFault> {
        let layout = self.layout(act)?;
        let place = Place::check(&layout, path, act)?;
        Ok((layout, place))
    }
}

/// Deletes what an interrupted removal of this worktree left; what cannot be deleted now stays for the next.
pub(super) fn drop_trash(place: &Place) {
    let Ok(names) = fs::read_dir(&place.parent) else { return };
    let wanted = format!(".trash-{}-", place.id);
    for name in names.flatten() {
        let text = name.file_name();
        let number = text.to_str().and_then(|t| t.strip_prefix(&wanted));
        if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            // Deleting is not part of any promise: a failure leaves a name that says what it is.
            let _ = fs::remove_dir_all(name.path());
        }
    }
}

/// Gives a thing that was moved aside its name back, when that name is free. Not for entries of git and
/// worktrees, which keep their new name.
fn move_back(layout: &Layout, place: &Place, aside: &str) {
    let name = std::path::Path::new(aside).file_name().and_then(|n| n.to_str());
    let Some(name) = name.filter(|n| n.starts_with(".aside-")) else { return };
    let from = place.parent.join(name);
    let registered = layout
        .entries(ACT)
        .is_ok_and(|all| all.iter().any(|e| e.names.as_deref() == Some(from.as_path())));
    let entry_of_git = from.join("commondir").exists();
    if !registered && !entry_of_git {
        // The name is taken again: then it stays aside, as the event of the claim said.
        let _ = renameat_with(CWD, &from, CWD, &place.path, RenameFlags::NOREPLACE);
    }
}
