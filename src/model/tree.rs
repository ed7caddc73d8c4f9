//! What git says about a worktree, a branch and a range of commits, as values.
//!
//! Paths are text: bytes that are not UTF-8 are written `\xNN`, and a backslash of a name is doubled, so
//! that two different paths never have the same text.

pub use super::cone::Cone;
use std::fmt;

/// A full commit id: 40 or 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommitId(Box<str>);

impl CommitId {
    /// Accepts a full object id.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (hex && matches!(text.len(), 40 | 64)).then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of nothing, which git prints for a missing commit.
    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A worktree as the gate and the scanner see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeFacts {
    /// The directory exists and is a registered worktree of this repository at this path.
    pub exists: bool,
    /// Short name of the branch checked out; `None` when detached.
    pub branch: Option<String>,
    /// Commit of HEAD; `None` when unborn or unreadable.
    pub head: Option<CommitId>,
    /// Tracked files that differ from HEAD, staged or not, the hidden ones included (bounded list).
    pub changed: Vec<String>,
    /// Untracked files that no rule sealed at the claim ignores (bounded list).
    pub untracked: Vec<String>,
    /// Files marked `skip-worktree` or `assume-unchanged` (bounded list).
    pub hidden: Vec<String>,
}

/// How one path changed between two commits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Path before, when it existed (for a rename the old name).
    pub old_path: Option<String>,
    /// Path after, when it exists.
    pub new_path: Option<String>,
    /// Lines added; 0 for binary files.
    pub added: u64,
    /// Lines deleted; 0 for binary files.
    pub deleted: u64,
    /// Git does not count lines of it.
    pub binary: bool,
    /// Git file mode after, such as 0o100644, 0o120000 (symlink), 0o160000 (submodule); 0 when deleted.
    pub new_mode: u32,
    /// Git file mode before; 0 when added.
    pub old_mode: u32,
    /// For a symlink after the change: its target.
    pub link_target: Option<String>,
}

/// What making a worktree found and created. Undo removes only what is `true` here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorktreeMade {
    /// The branch did not exist before.
    pub branch_created: bool,
    /// The worktree did not exist before.
    pub worktree_created: bool,
    /// Something unknown stood in the way and was moved here (root-relative).
    pub moved_aside: Option<String>,
}
