//! A world that is only looked at: reads are real, whatever changes something is left undone.
//!
//! Invariants: nothing on the machine changes by it; a change seems to succeed, so it is only good for
//! opening an engine and asking what it would do, never for turning it. A directory that is missing is
//! empty.

use super::store::errno;
use super::{Entry, ExecutorLink, Fault, GitFault, Identity, Stat, World};
use crate::model::protocol::{FromExecutor, ToExecutor};
use crate::model::time::{Moment, Tick};
use crate::model::tree::{Change, CommitId, Cone, TreeFacts, WorktreeMade};
use std::path::Path;

/// See the module.
pub struct ReadOnly<W>(pub W);

impl<W: World> World for ReadOnly<W> {
    /// `None` for a file that would have been made.
    type File = Option<W::File>;

    fn root(&self) -> &str {
        self.0.root()
    }

    fn now(&self) -> Moment {
        self.0.now()
    }

    fn tick(&self) -> Tick {
        self.0.tick()
    }

    fn identity(&self) -> &Identity {
        self.0.identity()
    }

    fn user(&self, uid: u32) -> String {
        self.0.user(uid)
    }

    fn random(&mut self) -> u64 {
        self.0.random()
    }

    fn list(&mut self, dir: &Path) -> Result<Vec<Entry>, Fault> {
        match self.0.list(dir) {
            Err(fault) if fault.errno == errno::ENOENT => Ok(Vec::new()),
            other => other,
        }
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>, Fault> {
        match self.0.stat(path) {
            Err(fault) if fault.errno == errno::ENOENT => Ok(None),
            other => other,
        }
    }

    fn open(&mut self, path: &Path) -> Result<Option<Self::File>, Fault> {
        Ok(self.0.open(path)?.map(Some))
    }

    fn stat_file(&mut self, file: &Self::File) -> Result<Stat, Fault> {
        match file {
            Some(file) => self.0.stat_file(file),
            None => Err(not_there()),
        }
    }

    fn read(&mut self, file: &Self::File, offset: u64, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        match file {
            Some(file) => self.0.read(file, offset, bytes_max),
            None => Ok(Vec::new()),
        }
    }

    fn has_writer(&mut self, file: &Self::File) -> Result<Option<bool>, Fault> {
        match file {
            Some(file) => self.0.has_writer(file),
            None => Ok(None),
        }
    }

    fn create(&mut self, _: &Path, _: u32) -> Result<Self::File, Fault> {
        Ok(None)
    }

    fn append(&mut self, _: &Path, _: u32) -> Result<Self::File, Fault> {
        Ok(None)
    }

    fn write(&mut self, _: &Self::File, bytes: &[u8]) -> Result<usize, Fault> {
        Ok(bytes.len())
    }

    fn sync(&mut self, _: &Self::File) -> Result<(), Fault> {
        Ok(())
    }

    fn sync_dir(&mut self, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn rename(&mut self, _: &Path, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn exchange(&mut self, _: &Path, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn unlink(&mut self, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn mkdir(&mut self, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn process_alive(&mut self, pid: u32, start_time: u64) -> bool {
        self.0.process_alive(pid, start_time)
    }

    fn survivors(&mut self, token: &str) -> Vec<u32> {
        self.0.survivors(token)
    }

    fn executor(&mut self) -> ExecutorLink {
        ExecutorLink::Unreachable
    }

    fn start_executor(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn send(&mut self, _: &ToExecutor) -> Result<(), Fault> {
        Err(not_there())
    }

    fn receive(&mut self) -> Vec<FromExecutor> {
        Vec::new()
    }

    fn git_base(&mut self, wanted: Option<&str>) -> Result<CommitId, GitFault> {
        self.0.git_base(wanted)
    }

    fn git_merge_base(&mut self, a: &CommitId, b: &CommitId) -> Result<Option<CommitId>, GitFault> {
        self.0.git_merge_base(a, b)
    }

    fn git_branch(&mut self, branch: &str) -> Result<Option<CommitId>, GitFault> {
        self.0.git_branch(branch)
    }

    fn git_worktree(&mut self, path: &str, branch: &str) -> Result<bool, GitFault> {
        self.0.git_worktree(path, branch)
    }

    fn git_add(
        &mut self,
        _: &str,
        _: &str,
        _: &CommitId,
        _: Option<&Cone>,
    ) -> Result<WorktreeMade, GitFault> {
        Err(GitFault { act: "create worktree", cause: "this world is only looked at".to_owned() })
    }

    fn git_remove(
        &mut self,
        _: &str,
        _: &str,
        _: &CommitId,
        _: &WorktreeMade,
    ) -> Result<(), GitFault> {
        Ok(())
    }

    fn git_tree(
        &mut self,
        path: &str,
        excludes: &[u8],
        cone: Option<&Cone>,
    ) -> Result<TreeFacts, GitFault> {
        self.0.git_tree(path, excludes, cone)
    }

    fn git_head(&mut self, path: &str, branch: &str) -> Result<Option<CommitId>, GitFault> {
        self.0.git_head(path, branch)
    }

    fn git_settings(&mut self, path: Option<&str>) -> Result<Vec<u8>, GitFault> {
        self.0.git_settings(path)
    }

    fn git_changes(
        &mut self,
        path: &str,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault> {
        self.0.git_changes(path, base, head)
    }

    fn git_excludes(&mut self) -> Result<Vec<u8>, GitFault> {
        self.0.git_excludes()
    }

    fn git_sync(&mut self, _: &str, _: &CommitId, _: Option<&CommitId>) -> Result<(), GitFault> {
        Ok(())
    }
}

fn not_there() -> Fault {
    Fault { act: "use", path: std::path::PathBuf::new(), errno: errno::ENOENT }
}
