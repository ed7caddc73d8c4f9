//! One actor (a daemon or a verb) on the simulated machine: the simulated [`World`].
//!
//! Invariants: a dead actor has no effect: each of its calls fails with [`CRASHED`], or sees nothing;
//! an actor dies by its fuse, when its process is killed, and with its boot. The machine is not
//! borrowed while a hook runs.

use super::content::SimFile;
use super::fuse::{Blow, CRASHED, Fuse, Hook};
use super::git_steps::{Progress, Step};
use super::lies;
use super::machine::{Machine, Role, Shared};
use crate::planted::{self, Lie};
use crate::rng::Rng;
use jobyard::model::protocol::{FromExecutor, ToExecutor};
use jobyard::model::time::{Moment, Tick};
use jobyard::model::tree::{Change, CommitId, Cone, TreeFacts, WorktreeMade};
use jobyard::world::{Entry, ExecutorLink, Fault, GitFault, Identity, Stat, World};
use std::panic::Location;
use std::path::Path;
use std::rc::Rc;

/// Steps of one git command after which it gives up.
const GIT_STEPS_MAX: u32 = 50;

/// Under this name stand the directories that are to be synced later.
pub(super) const LATE_DIRS: &str = "late";

/// An actor.
pub(crate) struct SimWorld {
    /// The machine.
    pub(crate) machine: Shared,
    /// Faults that wait.
    pub(crate) fuse: Fuse,
    /// Runs around every raw call.
    pub(crate) hook: Option<Hook>,
    pub(super) identity: Identity,
    pub(super) in_git: bool,
    pub(super) boot: u64,
    pub(super) rng: Rng,
}

impl SimWorld {
    /// A new process of this user.
    pub(crate) fn new(machine: &Shared, uid: u32) -> Self {
        let mut m = machine.borrow_mut();
        let (pid, start_time) = m.spawn(Role::Actor, None);
        let mut rng = m.rng.fork();
        let identity = Identity {
            pid,
            start_time,
            boot: m.boot_id(),
            host: "simulated".to_owned(),
            user: format!("user{uid}"),
            uid,
            instance: format!("{:016x}", rng.next()),
        };
        let boot = m.clock.boot;
        drop(m);
        let (machine, fuse) = (Rc::clone(machine), Fuse::default());
        Self { machine, fuse, hook: None, identity, in_git: false, boot, rng }
    }

    /// The same with a fuse.
    pub(crate) fn with_fuse(machine: &Shared, uid: u32, fuse: Fuse) -> Self {
        Self { fuse, ..Self::new(machine, uid) }
    }

    /// Is its process gone?
    pub(crate) fn crashed(&self) -> bool {
        !self.alive(&self.machine.borrow())
    }

    /// `kill -9`, or the regular end of the process.
    pub(crate) fn kill(&self) {
        let mut machine = self.machine.borrow_mut();
        if self.alive(&machine) {
            machine.kill(self.identity.pid);
        }
    }

    /// Locks the root as the kernel does it: held until [`SimWorld::unlock_root`] or death. False when
    /// another process holds it, or when this one is dead.
    pub(crate) fn lock_root(&self) -> bool {
        let mut machine = self.machine.borrow_mut();
        if planted::is("root-lock-untested") {
            machine.root_lock = Some(self.me());
        }
        self.alive(&machine) && *machine.root_lock.get_or_insert(self.me()) == self.me()
    }

    /// Gives the lock of the root back.
    pub(crate) fn unlock_root(&self) {
        let me = self.me();
        let mut machine = self.machine.borrow_mut();
        if self.alive(&machine) {
            machine.root_lock.take_if(|holder| *holder == me);
        }
    }

    pub(super) fn alive(&self, machine: &Machine) -> bool {
        machine.clock.boot == self.boot
            && machine.lives(self.identity.pid, self.identity.start_time)
    }

    pub(super) fn me(&self) -> (u32, u64) {
        (self.identity.pid, self.identity.start_time)
    }
}

impl World for SimWorld {
    type File = SimFile;

    fn root(&self) -> &str {
        "/sim"
    }

    fn now(&self) -> Moment {
        Moment(self.machine.borrow().clock.wall_ms)
    }

    fn tick(&self) -> Tick {
        Tick(self.machine.borrow().clock.tick_ms)
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn user(&self, uid: u32) -> String {
        format!("user{uid}")
    }

    fn random(&mut self) -> u64 {
        self.rng.next()
    }

    #[track_caller]
    fn list(&mut self, dir: &Path) -> Result<Vec<Entry>, Fault> {
        if let Some(Lie::Nothing) = self.lie("list", dir, Location::caller()) {
            return Ok(Vec::new());
        }
        self.disk("list", dir, false, |m, uid| m.disk.list(dir, uid))
    }

    #[track_caller]
    fn stat(&mut self, path: &Path) -> Result<Option<Stat>, Fault> {
        let lie = self.lie("stat", path, Location::caller());
        let said = self.disk("stat", path, false, |m, _| m.disk.stat(path))?;
        Ok(lies::stat(lie, path, said))
    }

    #[track_caller]
    fn open(&mut self, path: &Path) -> Result<Option<SimFile>, Fault> {
        if let Some(Lie::Nothing) = self.lie("open", path, Location::caller()) {
            return Ok(None);
        }
        self.disk("open", path, false, |m, uid| m.disk.open(path, uid))
    }

    #[track_caller]
    fn stat_file(&mut self, file: &SimFile) -> Result<Stat, Fault> {
        let lie = self.lie("stat", &file.path, Location::caller());
        let said = self.disk("stat", &file.path, false, |m, _| m.disk.stat_file(file))?;
        Ok(lies::stat_file(lie, &file.path, said))
    }

    #[track_caller]
    fn read(&mut self, file: &SimFile, offset: u64, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let lie = self.lie("read", &file.path, Location::caller());
        let read =
            self.disk("read", &file.path, false, |m, _| m.disk.read(file, offset, bytes_max))?;
        Ok(lies::read(lie, &file.path, read))
    }

    #[track_caller]
    fn has_writer(&mut self, file: &SimFile) -> Result<Option<bool>, Fault> {
        if let Some(Lie::Nothing) = self.lie("has_writer", &file.path, Location::caller()) {
            return Ok(Some(false));
        }
        self.disk("has_writer", &file.path, false, |m, _| Ok(m.disk.has_writer(file)))
    }

    fn create(&mut self, path: &Path, mode: u32) -> Result<SimFile, Fault> {
        self.disk("create", path, true, |m, uid| m.disk.create(path, mode, uid))
    }

    fn append(&mut self, path: &Path, mode: u32) -> Result<SimFile, Fault> {
        self.disk("append", path, true, |m, uid| m.disk.append(path, mode, uid))
    }

    #[track_caller]
    fn write(&mut self, file: &SimFile, bytes: &[u8]) -> Result<usize, Fault> {
        self.sync_late_dirs();
        match self.lie("write", &file.path, Location::caller()) {
            Some(Lie::Skip) => return Ok(bytes.len()),
            Some(Lie::Late) => {
                planted::put_off(self.identity.pid, &file.path, bytes);
                return Ok(bytes.len());
            }
            _ => self.catch_up(&file.path),
        }
        let short = self.fuse.next_change() == Some(Blow::Short);
        let taken = if short { bytes.len().div_ceil(2) } else { bytes.len() };
        self.disk("write", &file.path, true, |m, _| m.disk.write(file, &bytes[..taken]))
    }

    #[track_caller]
    fn sync(&mut self, file: &SimFile) -> Result<(), Fault> {
        let lie = self.lie("sync", &file.path, Location::caller());
        self.meant(Some(file.ino));
        if let Some(Lie::Skip) = lie {
            return Ok(());
        }
        self.catch_up(&file.path);
        let fails = matches!(self.fuse.next_change(), Some(Blow::Errno(libc::EIO)));
        let result = self.disk("sync", &file.path, true, |m, _| m.disk.sync(file));
        if fails && !self.crashed() {
            self.machine.borrow_mut().disk.sync_failed(file);
        }
        result
    }

    #[track_caller]
    fn sync_dir(&mut self, dir: &Path) -> Result<(), Fault> {
        let lie = self.lie("sync_dir", dir, Location::caller());
        self.meant(self.machine.borrow().disk.ino_of(dir));
        match lie {
            Some(Lie::Skip) => return Ok(()),
            Some(Lie::Late) => {
                let name = dir.as_os_str().as_encoded_bytes();
                planted::put_off(self.identity.pid, Path::new(LATE_DIRS), name);
                return Ok(());
            }
            _ => {}
        }
        self.disk("sync_dir", dir, true, |m, _| m.disk.sync_dir(dir))
    }

    #[track_caller]
    fn link(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        let lie = self.lie("link", to, Location::caller());
        let done = self.disk("link", to, true, |m, uid| m.disk.link(from, to, uid));
        self.believe(lie, done)
    }

    #[track_caller]
    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        let done = match self.lie("rename", to, Location::caller()) {
            Some(Lie::Skip) => return Ok(()),
            Some(Lie::Over) => {
                self.disk("rename", to, true, |m, uid| m.disk.rename_over(from, to, uid))
            }
            lie => {
                let done = self.disk("rename", to, true, |m, uid| m.disk.rename(from, to, uid));
                self.believe(lie, done)
            }
        };
        if planted::remembers() && done.is_ok() {
            lies::renamed(from, to);
        }
        done
    }

    #[track_caller]
    fn exchange(&mut self, a: &Path, b: &Path) -> Result<(), Fault> {
        match self.lie("exchange", b, Location::caller()) {
            Some(Lie::Skip) => Ok(()),
            Some(Lie::Over) => self.disk("rename", b, true, |m, uid| m.disk.rename_over(a, b, uid)),
            _ => self.disk("exchange", b, true, |m, uid| m.disk.exchange(a, b, uid)),
        }
    }

    #[track_caller]
    fn unlink(&mut self, path: &Path) -> Result<(), Fault> {
        if let Some(Lie::Skip) = self.lie("unlink", path, Location::caller()) {
            return Ok(());
        }
        self.disk("unlink", path, true, |m, uid| m.disk.unlink(path, uid))
    }

    #[track_caller]
    fn mkdir(&mut self, path: &Path) -> Result<(), Fault> {
        if let Some(Lie::Skip) = self.lie("mkdir", path, Location::caller()) {
            return Ok(());
        }
        self.disk("mkdir", path, true, |m, uid| m.disk.mkdir(path, uid))
    }

    #[track_caller]
    fn process_alive(&mut self, pid: u32, start_time: u64) -> bool {
        if let Some(Lie::Nothing) = self.lie("process_alive", Path::new(""), Location::caller()) {
            return false;
        }
        self.look("process_alive", |m| m.lives(pid, start_time))
    }

    fn survivors(&mut self, token: &str) -> Vec<u32> {
        self.look("survivors", |m| m.bearers(token))
    }

    fn executor(&mut self) -> ExecutorLink {
        let me = self.me();
        let state = self.look("executor", |m| Some(m.link_state(me)));
        state.unwrap_or(ExecutorLink::Unreachable)
    }

    fn start_executor(&mut self) -> Result<(), Fault> {
        self.disk("start", Path::new("executor"), true, |m, _| {
            m.start_executor();
            Ok(())
        })
    }

    #[track_caller]
    fn send(&mut self, message: &ToExecutor) -> Result<(), Fault> {
        let me = self.me();
        let name = lies::message(message);
        if let Some(Lie::Skip) = self.lie("send", Path::new(name), Location::caller()) {
            return Ok(());
        }
        self.disk("send", Path::new("executor"), true, |m, _| m.post(me, message))
    }

    fn receive(&mut self) -> Vec<FromExecutor> {
        let me = self.me();
        self.look("receive", |m| m.collect(me))
    }

    fn git_base(&mut self, wanted: Option<&str>) -> Result<CommitId, GitFault> {
        self.git("resolve base", wanted.unwrap_or(""), false, |m| {
            m.git_answers()?;
            let git = &m.git;
            let known = |id: &CommitId| git.commits.contains_key(id);
            let found = match wanted {
                Some(name) => git.tip(name).cloned().or(CommitId::parse(name).filter(known)),
                None => git.tip("main").or(git.tip("master")).cloned(),
            };
            found.ok_or_else(|| "fatal: needed a single revision".to_owned())
        })
    }

    fn git_merge_base(&mut self, a: &CommitId, b: &CommitId) -> Result<Option<CommitId>, GitFault> {
        self.git("find the merge base", a.as_str(), false, |m| {
            m.git_answers()?;
            Ok(m.git.merge_base(a, b))
        })
    }

    #[track_caller]
    fn git_branch(&mut self, branch: &str) -> Result<Option<CommitId>, GitFault> {
        if let Some(Lie::Nothing) =
            self.lie("look up branch", Path::new(branch), Location::caller())
        {
            return Ok(None);
        }
        self.git("look up branch", branch, false, |m| {
            m.git_answers()?;
            Ok(m.git.tip(branch).cloned())
        })
    }

    #[track_caller]
    fn git_worktree(&mut self, path: &str, branch: &str) -> Result<bool, GitFault> {
        if let Some(Lie::Nothing) =
            self.lie("look up worktree", Path::new(path), Location::caller())
        {
            return Ok(false);
        }
        self.git("look up worktree", path, false, |m| {
            m.git_answers()?;
            Ok(m.git_facts(path).branch.as_deref() == Some(branch))
        })
    }

    fn git_add(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        _cone: Option<&Cone>,
    ) -> Result<WorktreeMade, GitFault> {
        let act = "create worktree";
        let mut progress = Progress::default();
        for _ in 0..GIT_STEPS_MAX {
            let step =
                self.git(act, path, true, |m| m.git_add_step(path, branch, base, &mut progress))?;
            if step == Step::Done {
                return Ok(progress.made);
            }
        }
        Err(GitFault { act, cause: "it does not end".to_owned() })
    }

    #[track_caller]
    fn git_remove(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<(), GitFault> {
        let act = "remove worktree";
        if let Some(Lie::Skip) = self.lie(act, Path::new(path), Location::caller()) {
            return Ok(());
        }
        for _ in 0..GIT_STEPS_MAX {
            let step = self.git(act, path, true, |m| m.git_remove_step(path, branch, base, made));
            if step.is_err() {
                self.machine.borrow_mut().git.stuck.insert(path.to_owned());
            }
            if step? == Step::Done {
                return Ok(());
            }
        }
        Err(GitFault { act, cause: "it does not end".to_owned() })
    }

    #[track_caller]
    fn git_tree(
        &mut self,
        path: &str,
        _excludes: &[u8],
        _cone: Option<&Cone>,
    ) -> Result<TreeFacts, GitFault> {
        let lie = self.lie("look at worktree", Path::new(path), Location::caller());
        let facts = self.git("look at worktree", path, false, |m| {
            m.git_answers()?;
            Ok(m.git_facts(path))
        })?;
        Ok(lies::tree(lie, path, facts))
    }

    fn git_head(&mut self, path: &str, branch: &str) -> Result<Option<CommitId>, GitFault> {
        self.git("read HEAD", path, false, |m| {
            m.git_answers()?;
            let facts = m.git_facts(path);
            Ok(facts.head.filter(|_| facts.branch.as_deref() == Some(branch)))
        })
    }

    fn git_settings(&mut self, _path: Option<&str>) -> Result<Vec<u8>, GitFault> {
        self.git("read settings", "", false, |_| Ok(Vec::new()))
    }

    #[track_caller]
    fn git_changes(
        &mut self,
        path: &str,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault> {
        if let Some(Lie::Nothing) = self.lie("compare commits", Path::new(path), Location::caller())
        {
            return Ok(Vec::new());
        }
        self.git("compare commits", path, false, |m| {
            m.git_answers()?;
            m.git.changes(base, head).ok_or_else(|| "fatal: bad object".to_owned())
        })
    }

    fn git_excludes(&mut self) -> Result<Vec<u8>, GitFault> {
        self.git("read ignore rules", "", false, |m| Ok(m.git.excludes.clone()))
    }

    #[track_caller]
    fn git_sync(
        &mut self,
        branch: &str,
        commit: &CommitId,
        _: Option<&CommitId>,
    ) -> Result<(), GitFault> {
        if let Some(Lie::Skip) = self.lie("sync commit", Path::new(branch), Location::caller()) {
            return Ok(());
        }
        self.git("sync commit", branch, true, |m| {
            m.git_answers()?;
            if m.git.sync(branch, commit) { Ok(()) } else { Err("fatal: bad object".to_owned()) }
        })
    }
}
