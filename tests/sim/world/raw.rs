//! How an actor makes a raw call: hooks, fuse, a planted fault's lie, the call itself, trace.
//!
//! Invariants: a dead actor has no effect, and a lie never hides that it is dead.

use super::actor::{LATE_DIRS, SimWorld};
use super::disk::{Errno, Ino};
use super::fuse::{Blow, CRASHED, Call, When};
use super::machine::Machine;
use crate::planted::{self, Lie};
use jobyard::world::{Fault, GitFault};
use std::panic::Location;
use std::path::Path;

impl SimWorld {
    /// Every raw call: hooks, fuse, the call itself, trace.
    pub(super) fn raw<T>(
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

    pub(super) fn struck<T>(
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

    pub(super) fn run_hook(&mut self, call: Call<'_>) {
        if let Some(mut hook) = self.hook.take() {
            hook(&self.machine, call);
            self.hook.get_or_insert(hook);
        }
    }

    pub(super) fn write_trace<T>(&self, act: &str, path: &Path, result: &Result<T, Errno>) {
        let errno = result.as_ref().err();
        self.machine.borrow_mut().note(|| match errno {
            Some(errno) => format!("{} {act} {} -> {errno}", self.identity.pid, path.display()),
            None => format!("{} {act} {}", self.identity.pid, path.display()),
        });
    }

    pub(super) fn disk<T>(
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

    pub(super) fn git<T>(
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

    /// What the planted fault has this call do; nothing when the actor is dead.
    pub(super) fn lie(&self, act: &'static str, path: &Path, at: &Location<'_>) -> Option<Lie> {
        if planted::on() && !self.crashed() { planted::lie(act, path, at) } else { None }
    }

    /// What the call that lies, or would, was to sync.
    pub(super) fn meant(&self, ino: Option<Ino>) {
        if planted::on() && !self.crashed() {
            planted::meant(ino);
        }
    }

    /// A refusal that is taken for success, unless the actor is dead.
    pub(super) fn believe(&self, lie: Option<Lie>, done: Result<(), Fault>) -> Result<(), Fault> {
        if matches!(lie, Some(Lie::Ignore)) && !self.crashed() { Ok(()) } else { done }
    }

    /// Carries out what a planted fault has put off.
    pub(super) fn catch_up(&self, path: &Path) {
        if !planted::on() || self.crashed() {
            return;
        }
        for bytes in planted::due(self.identity.pid, path) {
            let mut machine = self.machine.borrow_mut();
            if let Ok(file) = machine.disk.append(path, 0o644, self.identity.uid) {
                let _ = machine.disk.write(&file, &bytes);
            }
        }
    }

    /// Syncs the directories that a planted fault has put off.
    pub(super) fn sync_late_dirs(&self) {
        if !planted::on() || self.crashed() {
            return;
        }
        for name in planted::due(self.identity.pid, Path::new(LATE_DIRS)) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let _ = self.machine.borrow_mut().disk.sync_dir(Path::new(&name));
        }
    }

    pub(super) fn look<T: Default>(
        &mut self,
        act: &'static str,
        call: impl FnOnce(&mut Machine) -> T,
    ) -> T {
        self.raw(act, Path::new(""), false, |m| Ok(call(m))).unwrap_or_default()
    }
}
