//! One actor (a daemon or a verb) on the simulated machine: the simulated [`World`].
//!
//! Invariants: a dead actor has no effect: each of its calls fails with [`CRASHED`], or sees nothing;
//! an actor dies by its fuse, when its process is killed, and with its boot. The machine is not
//! borrowed while a hook runs.

use super::content::SimFile;
use super::disk::Errno;
use super::fuse::{Blow, CRASHED, Call, Fuse, Hook, When};
use super::git_steps::{Progress, Step};
use super::machine::{Machine, Role, Shared};
use crate::rng::Rng;
use jobyard::model::protocol::{FromExecutor, ToExecutor};
use jobyard::model::time::{Moment, Tick};
use jobyard::model::tree::{Change, CommitId, TreeFacts, WorktreeMade};
use jobyard::world::{Entry, ExecutorLink, Fault, GitFault, Identity, Stat, World};
use std::path::Path;
use std::rc::Rc;

/// Steps of one git command after which it gives up.
const GIT_STEPS_MAX: u32 = 50;

/// An actor.
pub(crate) struct SimWorld {
    /// The machine.
    pub(crate) machine: Shared,
    /// Faults that wait.
    pub(crate) fuse: Fuse,
    /// Runs around every raw call.
    pub(crate) hook: Option<Hook>,
    identity: Identity,
    in_git: bool,
    boot: u64,
    rng: Rng,
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

    fn alive(&self, machine: &Machine) -> bool {
        machine.clock.boot == self.boot
            && machine.lives(self.identity.pid, self.identity.start_time)
    }

    fn me(&self) -> (u32, u64) {
        (self.identity.pid, self.identity.start_time)
    }

    /// Every raw call: hooks, fuse, the call itself, trace.
    fn raw<T>(
        &mut self,
        act: &'static str,
        path: &Path,
        changes: bool,
        call: impl FnOnce(&mut Machine) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        self.run_hook(Call { when: When::Before, act, path, changes });
        let result = self.struck(changes, call);
        self.write_trace(act, path, &result);
        self.run_hook(Call { when: When::After, act, path, changes });
        result
    }

    fn struck<T>(
        &mut self,
        changes: bool,
        call: impl FnOnce(&mut Machine) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if self.crashed() {
            return Err(CRASHED);
        }
        let blow = self.fuse.burn(changes, self.in_git);
        if blow == Some(Blow::Crash) {
            self.kill();
            return Err(CRASHED);
        }
        if let Some(Blow::Errno(errno)) = blow {
            return Err(errno);
        }
        let result = call(&mut self.machine.borrow_mut());
        match blow {
            Some(Blow::CrashAfter) => {
                self.kill();
                Err(CRASHED)
            }
            Some(Blow::Lost(errno)) => result.and(Err(errno)),
            _ => result,
        }
    }

    fn run_hook(&mut self, call: Call<'_>) {
        if let Some(mut hook) = self.hook.take() {
            hook(&self.machine, call);
            self.hook.get_or_insert(hook);
        }
    }

    fn write_trace<T>(&self, act: &str, path: &Path, result: &Result<T, Errno>) {
        let errno = result.as_ref().err();
        self.machine.borrow_mut().note(|| match errno {
            Some(errno) => format!("{} {act} {} -> {errno}", self.identity.pid, path.display()),
            None => format!("{} {act} {}", self.identity.pid, path.display()),
        });
    }

    fn disk<T>(
        &mut self,
        act: &'static str,
        path: &Path,
        changes: bool,
        call: impl FnOnce(&mut Machine, u32) -> Result<T, Errno>,
    ) -> Result<T, Fault> {
        let uid = self.identity.uid;
        let result = self.raw(act, path, changes, |m| call(m, uid));
        result.map_err(|errno| Fault { act, path: path.to_path_buf(), errno })
    }

    fn git<T>(
        &mut self,
        act: &'static str,
        on: &str,
        changes: bool,
        call: impl FnOnce(&mut Machine) -> Result<T, String>,
    ) -> Result<T, GitFault> {
        self.in_git = true;
        let result = self.raw(act, Path::new(on), changes, |m| Ok(call(m)));
        self.in_git = false;
        let cause = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(cause)) => cause,
            Err(CRASHED) => "the actor has crashed".to_owned(),
            Err(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        };
        Err(GitFault { act, cause })
    }

    fn look<T: Default>(&mut self, act: &'static str, call: impl FnOnce(&mut Machine) -> T) -> T {
        self.raw(act, Path::new(""), false, |m| Ok(call(m))).unwrap_or_default()
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

    fn list(&mut self, dir: &Path) -> Result<Vec<Entry>, Fault> {
        self.disk("list", dir, false, |m, uid| m.disk.list(dir, uid))
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>, Fault> {
        self.disk("stat", path, false, |m, _| m.disk.stat(path))
    }

    fn open(&mut self, path: &Path) -> Result<Option<SimFile>, Fault> {
        self.disk("open", path, false, |m, uid| m.disk.open(path, uid))
    }

    fn stat_file(&mut self, file: &SimFile) -> Result<Stat, Fault> {
        self.disk("stat", &file.path, false, |m, _| m.disk.stat_file(file))
    }

    fn read(&mut self, file: &SimFile, offset: u64, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        self.disk("read", &file.path, false, |m, _| m.disk.read(file, offset, bytes_max))
    }

    fn has_writer(&mut self, file: &SimFile) -> Result<Option<bool>, Fault> {
        self.disk("has_writer", &file.path, false, |m, _| Ok(m.disk.has_writer(file)))
    }

    fn create(&mut self, path: &Path, mode: u32) -> Result<SimFile, Fault> {
        self.disk("create", path, true, |m, uid| m.disk.create(path, mode, uid))
    }

    fn append(&mut self, path: &Path, mode: u32) -> Result<SimFile, Fault> {
        self.disk("append", path, true, |m, uid| m.disk.append(path, mode, uid))
    }

    fn write(&mut self, file: &SimFile, bytes: &[u8]) -> Result<usize, Fault> {
        let short = self.fuse.next_change() == Some(Blow::Short);
        let taken = if short { bytes.len().div_ceil(2) } else { bytes.len() };
        self.disk("write", &file.path, true, |m, _| m.disk.write(file, &bytes[..taken]))
    }

    fn sync(&mut self, file: &SimFile) -> Result<(), Fault> {
        let fails = matches!(self.fuse.next_change(), Some(Blow::Errno(libc::EIO)));
        let result = self.disk("sync", &file.path, true, |m, _| m.disk.sync(file));
        if fails && !self.crashed() {
            self.machine.borrow_mut().disk.sync_failed(file);
        }
        result
    }

    fn sync_dir(&mut self, dir: &Path) -> Result<(), Fault> {
        self.disk("sync_dir", dir, true, |m, _| m.disk.sync_dir(dir))
    }

    fn link(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        self.disk("link", to, true, |m, uid| m.disk.link(from, to, uid))
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        self.disk("rename", to, true, |m, uid| m.disk.rename(from, to, uid))
    }

    fn exchange(&mut self, a: &Path, b: &Path) -> Result<(), Fault> {
        self.disk("exchange", b, true, |m, uid| m.disk.exchange(a, b, uid))
    }

    fn unlink(&mut self, path: &Path) -> Result<(), Fault> {
        self.disk("unlink", path, true, |m, uid| m.disk.unlink(path, uid))
    }

    fn mkdir(&mut self, path: &Path) -> Result<(), Fault> {
        self.disk("mkdir", path, true, |m, uid| m.disk.mkdir(path, uid))
    }

    fn process_alive(&mut self, pid: u32, start_time: u64) -> bool {
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

    fn send(&mut self, message: &ToExecutor) -> Result<(), Fault> {
        let me = self.me();
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

    fn git_branch(&mut self, branch: &str) -> Result<Option<CommitId>, GitFault> {
        self.git("look up branch", branch, false, |m| {
            m.git_answers()?;
            Ok(m.git.tip(branch).cloned())
        })
    }

    fn git_worktree(&mut self, path: &str, branch: &str) -> Result<bool, GitFault> {
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

    fn git_remove(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<(), GitFault> {
        let act = "remove worktree";
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

    fn git_tree(&mut self, path: &str, _excludes: &[u8]) -> Result<TreeFacts, GitFault> {
        self.git("look at worktree", path, false, |m| {
            m.git_answers()?;
            Ok(m.git_facts(path))
        })
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

    fn git_changes(
        &mut self,
        path: &str,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault> {
        self.git("compare commits", path, false, |m| {
            m.git_answers()?;
            m.git.changes(base, head).ok_or_else(|| "fatal: bad object".to_owned())
        })
    }

    fn git_excludes(&mut self) -> Result<Vec<u8>, GitFault> {
        self.git("read ignore rules", "", false, |m| Ok(m.git.excludes.clone()))
    }

    fn git_sync(&mut self, branch: &str, commit: &CommitId) -> Result<(), GitFault> {
        self.git("sync commit", branch, true, |m| {
            m.git_answers()?;
            if m.git.sync(branch, commit) { Ok(()) } else { Err("fatal: bad object".to_owned()) }
        })
    }
}
