//! The effects: a trait of single raw calls, implemented by the real machine and by the simulator.
//!
//! Invariants: one method is one system call (or one git command, or one message), so that a fault
//! between any two of them can be simulated; every path is relative to the root; no method follows a
//! symlink or leaves the root; no method decides anything.

pub mod ability;
pub(crate) mod calls;
pub mod ending;
pub mod git;
pub mod identity;
pub mod journald;
pub mod ledger;
pub mod leftovers;
pub mod notify;
pub mod read_only;
pub mod real;
pub mod root_lock;
pub mod stall;
pub mod store;
pub mod wall;
pub mod watch;
pub mod writers;

use crate::model::protocol::{FromExecutor, ToExecutor};
use crate::model::time::{Moment, Tick};
use crate::model::tree::{Change, CommitId, Cone, TreeFacts, WorktreeMade};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A raw call that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{act} {}: {}", path.display(), std::io::Error::from_raw_os_error(*errno))]
pub struct Fault {
    /// What was attempted: "link", "sync".
    pub act: &'static str,
    /// On which path, relative to the root.
    pub path: PathBuf,
    /// The system's error number.
    pub errno: i32,
}

impl Fault {
    /// One name stands in the way, or may not be used: a directory, link or FIFO where a file should be, a
    /// name that exists. Anything else says that the disk refuses.
    pub fn is_obstacle(&self) -> bool {
        store::errno::OBSTACLES.contains(&self.errno)
    }
}

/// A git command that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{act}: {cause}")]
pub struct GitFault {
    /// What was attempted: "create worktree".
    pub act: &'static str,
    /// What git said, one line, or why git could not be run.
    pub cause: String,
}

/// The cause of a git command that was cut off because this process was told to end.
pub const INTERRUPTED: &str = "cut off: jobyard was told to end";

impl GitFault {
    /// Cut off by ourselves: a fault that says nothing about the order, and ends the turn as a crash would.
    pub fn interruption(&self) -> Option<Fault> {
        let errno = store::errno::EINTR;
        (self.cause == INTERRUPTED).then_some(Fault { act: self.act, path: PathBuf::new(), errno })
    }
}

/// Kind of a directory entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// FIFO, socket, device.
    Other,
}

/// What the disk says of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Inode number.
    pub inode: u64,
    /// Kind.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Names of the inode.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name, in whatever bytes it has.
    pub name: OsString,
    /// Inode number.
    pub inode: u64,
    /// Kind.
    pub kind: Kind,
}

/// Who this process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot.
    pub start_time: u64,
    /// Boot id of the machine.
    pub boot: String,
    /// Host name.
    pub host: String,
    /// User name.
    pub user: String,
    /// User id.
    pub uid: u32,
    /// Random name of this run of the process, 16 hexadecimal digits.
    pub instance: String,
}

/// The link to the executor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExecutorLink {
    /// Connected; messages flow.
    Up,
    /// No executor holds the executor's lock: the kernel has proven it dead.
    Dead,
    /// One lives, but it cannot be talked to now (it starts, or speaks another version).
    Unreachable,
}

/// One raw call each. See the invariants of the module.
pub trait World {
    /// An open file. Dropping it closes it.
    type File;

    /// Absolute path of the root, for the environment of commands.
    fn root(&self) -> &str;
    /// Wall clock.
    fn now(&self) -> Moment;
    /// Clock that never jumps.
    fn tick(&self) -> Tick;
    /// Who we are.
    fn identity(&self) -> &Identity;
    /// Name of a user for people; the number when it has none.
    fn user(&self, uid: u32) -> String;
    /// 64 random bits.
    fn random(&mut self) -> u64;

    /// The names in a directory, `.` and `..` left out, in any order.
    fn list(&mut self, dir: &Path) -> Result<Vec<Entry>, Fault>;
    /// `lstat`; `None` when there is nothing.
    fn stat(&mut self, path: &Path) -> Result<Option<Stat>, Fault>;
    /// Opens a regular file for reading, never blocking; `None` when there is nothing.
    fn open(&mut self, path: &Path) -> Result<Option<Self::File>, Fault>;
    /// `fstat`.
    fn stat_file(&mut self, file: &Self::File) -> Result<Stat, Fault>;
    /// Reads from `offset` up to `bytes_max` bytes or the end.
    fn read(&mut self, file: &Self::File, offset: u64, bytes_max: usize) -> Result<Vec<u8>, Fault>;
    /// Whether another process has the file open for writing; `None` when the system cannot tell.
    fn has_writer(&mut self, file: &Self::File) -> Result<Option<bool>, Fault>;
    /// Creates a file that must not exist.
    fn create(&mut self, path: &Path, mode: u32) -> Result<Self::File, Fault>;
    /// Opens for appending, creating it when missing.
    fn append(&mut self, path: &Path, mode: u32) -> Result<Self::File, Fault>;
    /// One `write`; returns the bytes taken.
    fn write(&mut self, file: &Self::File, bytes: &[u8]) -> Result<usize, Fault>;
    /// `fdatasync` of data and size.
    fn sync(&mut self, file: &Self::File) -> Result<(), Fault>;
    /// `fsync` of a directory.
    fn sync_dir(&mut self, dir: &Path) -> Result<(), Fault>;
    /// `link`: `EEXIST` when `to` exists.
    fn link(&mut self, from: &Path, to: &Path) -> Result<(), Fault>;
    /// `renameat2(RENAME_NOREPLACE)`: `EEXIST` when `to` exists.
    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Fault>;
    /// `renameat2(RENAME_EXCHANGE)`.
    fn exchange(&mut self, a: &Path, b: &Path) -> Result<(), Fault>;
    /// `unlink`.
    fn unlink(&mut self, path: &Path) -> Result<(), Fault>;
    /// `mkdir`: `EEXIST` when it exists.
    fn mkdir(&mut self, path: &Path) -> Result<(), Fault>;

    /// Is the process with this id and start time of this boot alive?
    fn process_alive(&mut self, pid: u32, start_time: u64) -> bool;
    /// Ids of living processes that carry `JOBYARD_TOKEN=<token>`.
    fn survivors(&mut self, token: &str) -> Vec<u32>;

    /// State of the link to the executor.
    fn executor(&mut self) -> ExecutorLink;
    /// Starts an executor. It answers later with its `Hello`.
    fn start_executor(&mut self) -> Result<(), Fault>;
    /// Hands a message to the executor's socket. A lost message is legal.
    fn send(&mut self, message: &ToExecutor) -> Result<(), Fault>;
    /// Messages that have arrived, without waiting.
    fn receive(&mut self) -> Vec<FromExecutor>;

    /// Resolves the base of a new branch: `wanted`, else `main`, else `master`, else the branch of the
    /// main checkout; returns the commit.
    fn git_base(&mut self, wanted: Option<&str>) -> Result<CommitId, GitFault>;
    /// The best common ancestor of two commits, if there is one.
    fn git_merge_base(&mut self, a: &CommitId, b: &CommitId) -> Result<Option<CommitId>, GitFault>;
    /// Does this branch exist?
    fn git_branch(&mut self, branch: &str) -> Result<Option<CommitId>, GitFault>;
    /// Is this directory (root-relative) a registered, usable worktree on that branch?
    fn git_worktree(&mut self, path: &str, branch: &str) -> Result<bool, GitFault>;
    /// Makes (or reuses) the worktree on the branch, creating the branch at `base` when missing. Repairs by
    /// name what an interrupted call for the same path left. What stands in the way is moved aside. A new one
    /// holds the directories of `cone`, else everything.
    fn git_add(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        cone: Option<&Cone>,
    ) -> Result<WorktreeMade, GitFault>;
    /// Removes a worktree that is clean and, when `branch_created`, the branch if it still is at `base`.
    /// Refuses when anything uncommitted or unmerged would be lost.
    fn git_remove(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<(), GitFault>;
    /// Looks at a worktree. `excludes`: the ignore rules sealed at the claim; `cone`: the directories that it
    /// has to hold, as sealed.
    fn git_tree(
        &mut self,
        path: &str,
        excludes: &[u8],
        cone: Option<&Cone>,
    ) -> Result<TreeFacts, GitFault>;
    /// The commit of a worktree's HEAD as long as it is on this branch.
    fn git_head(&mut self, path: &str, branch: &str) -> Result<Option<CommitId>, GitFault>;
    /// The changes between two commits, renames detected.
    fn git_changes(
        &mut self,
        path: &str,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault>;
    /// The ignore rules in force now outside `.gitignore` files (info/exclude and the user's file).
    fn git_excludes(&mut self) -> Result<Vec<u8>, GitFault>;
    /// The settings and files outside the tree by which git converts files and borrows objects, as one text
    /// to compare: as the worktree at `path` sees them, else as a new one would.
    fn git_settings(&mut self, path: Option<&str>) -> Result<Vec<u8>, GitFault>;
    /// Makes the objects of a commit and the branch's ref durable, but for what `base` reaches.
    fn git_sync(
        &mut self,
        branch: &str,
        commit: &CommitId,
        base: Option<&CommitId>,
    ) -> Result<(), GitFault>;
}
