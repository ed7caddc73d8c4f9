//! What must hold of single raw calls: of worktrees and branches that were there before a claim, and of
//! requests that are removed.
//!
//! Invariant: decided from what lay there when the worktree was made, never from what the claim says of it.

use super::story::Story;
use crate::life::{Class, Order, People};
use crate::world::{Call, Head, Machine, When};
use std::collections::BTreeMap;

/// A worktree and its branch: are they there?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct There {
    tree: bool,
    branch: bool,
}

/// What is remembered of earlier calls.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// What was there when it was last made, by path.
    before: BTreeMap<String, There>,
    /// The call before was a step of the same.
    making: Option<String>,
    /// What is there right before a removal.
    removing: There,
    /// Name of the last file that was renamed somewhere.
    renamed: String,
}

fn branch_of(path: &str) -> String {
    path.replacen(".worktrees/", "feat/wo-", 1)
}

fn there(m: &Machine, path: &str) -> There {
    let branch = branch_of(path);
    let own = |head: &Head| *head == Head::Branch(branch.clone());
    let tree = m.git.worktrees.get(path).is_some_and(|t| t.complete && own(&t.head))
        && m.disk.peek_inode(&format!("{path}/.git")).is_some();
    // A power cut may leave a worktree on a branch that is gone: it counts as none.
    let born = m.git.tip(&branch).is_some();
    There { tree: tree && born, branch: born }
}

impl Trees {
    /// After a power cut nobody knows.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Around a raw call: what it breaks.
    pub(super) fn call(&mut self, m: &Machine, call: Call<'_>) -> Option<String> {
        let path = call.path.to_string_lossy().into_owned();
        match (call.when, call.act) {
            // A dead actor makes nothing.
            (When::Before, "create worktree") if m.root_lock.is_some() => {
                if self.making.as_ref() != Some(&path) {
                    self.before.insert(path.clone(), there(m, &path));
                }
                self.making = Some(path);
            }
            (When::Before, "remove worktree") => {
                self.making = None;
                self.removing = there(m, &path);
            }
            (When::After, "remove worktree") => return self.removed(m, &path),
            (When::Before, "rename") => {
                self.making = None;
                self.renamed = path.rsplit('/').next().unwrap_or_default().to_owned();
            }
            (When::Before, "unlink") => return self.unread(m, &path),
            (When::Before, _) => self.making = None,
            _ => {}
        }
        None
    }

    /// An undo removes only what its claim has made.
    fn removed(&self, m: &Machine, path: &str) -> Option<String> {
        let (before, now) = (self.before.get(path)?, there(m, path));
        if before.tree && self.removing.tree && !now.tree {
            return Some(format!("{path}, which was there before its claim, is removed"));
        }
        (before.branch && self.removing.branch && !now.branch)
            .then(|| format!("{}, which was there before its claim, is removed", branch_of(path)))
    }

    /// A request goes by a rename; its name is removed only where the rename found that it was kept there
    /// already, or where the file has the other name.
    fn unread(&self, m: &Machine, path: &str) -> Option<String> {
        let file = path.strip_prefix("_ctx/jobs/control/").filter(|f| !f.ends_with(".why"))?;
        let stat = m.disk.stat(std::path::Path::new(path)).ok().flatten()?;
        (!file.starts_with('.') && stat.links < 2 && self.renamed != file)
            .then(|| format!("the request {file} is removed, and nobody has read it"))
    }
}

/// The last claim was undone, and the worktree that it made is as it was made.
pub(super) fn left(m: &Machine, people: &People, order: &Order, story: &Story) -> bool {
    use Class::{Errno, Git, GitFault, Health, Lost, Power};
    let unsure = [Git, GitFault, Power, Errno, Lost, Health];
    let Some(tale) = story.attempts.values().last().filter(|t| t.released) else { return false };
    let Some(base) = tale.made_tree.as_deref() else { return false };
    let path = format!(".worktrees/{}", order.spec.id);
    let untouched = m.git.head(&path).is_some_and(|head| head.as_str() == base)
        && m.git.worktrees.get(&path).is_some_and(crate::world::Worktree::clean);
    untouched
        && !m.git.stuck.contains(&path)
        && !unsure.into_iter().any(|class| people.temper.has(class))
}
