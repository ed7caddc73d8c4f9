//! Starting one command: directory, program, environment, process.
//!
//! Invariants: every path is opened under the root without following links; the command gets exactly the
//! listed variables, its own process group, the brand of its token, `/dev/null` as input and its log as
//! output and error; the executor keeps no descriptor of the log that the command writes through. The
//! program is looked up here, in the command's own `PATH`, whichever way it is spawned.

use super::beneath;
use super::clone::{self, CloneError, Image};
use super::groups::{Group, Groups};
use super::proc;
use crate::model::protocol::StartCommand;
use rustix::fs::{Access, AtFlags, FileType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a command without a `PATH` is looked for; the system's own default.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// Runs a file that does not name its interpreter, as a shell would.
const SHELL: &str = "/bin/sh";

/// "Exec format error": executable, but the kernel does not know how.
const ENOEXEC: i32 = 8;

/// Spawns the command. The error says what was attempted and why it failed, without any value of a
/// variable.
pub(crate) fn spawn(
    root: &OwnedFd,
    start: &StartCommand,
    log: File,
    mut groups: Option<&mut Groups>,
) -> Result<(u32, Option<Group>), String> {
    let Some(name) = start.argv.first() else {
        return Err("start a command: it has no words".to_owned());
    };
    let failed = |error: io::Error| format!("start {name:?}: {error}");
    let cwd = beneath::open_dir(root, Path::new(&start.cwd))
        .map_err(|error| format!("open the working directory {}: {error}", start.cwd))?;
    let plan = Plan { start, env: environment(start), cwd, log };
    let program = plan.find(name).map_err(failed)?;
    let _branded = Branded::by(&start.token);
    match plan.spawn(&program, &[], groups.as_deref_mut()) {
        Err(error) if error.raw_os_error() == Some(ENOEXEC) => {
            plan.spawn(Path::new(SHELL), &[program], groups).map_err(failed)
        }
        other => other.map_err(failed),
    }
}

/// While it lives, what this process makes inherits the brand of a token.
struct Branded(Rlimit);

impl Branded {
    /// None where a limit is set from outside: then the other signs have to do.
    fn by(token: &str) -> Option<Self> {
        let own = getrlimit(Resource::Rttime);
        if own.current.is_some() {
            return None;
        }
        let brand = Rlimit { current: Some(proc::brand(token)), maximum: own.maximum };
        setrlimit(Resource::Rttime, brand).ok().map(|()| Self(own))
    }
}

/// An executor that a command has started is none of its processes: what it starts is told by brands of its
/// own.
pub(super) fn shed_brand() {
    if proc::is_branded() {
        let maximum = getrlimit(Resource::Rttime).maximum;
        // A soft limit may always be raised to the hard one.
        let _ = setrlimit(Resource::Rttime, Rlimit { current: maximum, maximum });
    }
}

impl Drop for Branded {
    fn drop(&mut self) {
        // A soft limit may always be set to what it was.
        let _ = setrlimit(Resource::Rttime, self.0);
    }
}

/// Everything a spawn needs, so that it can be repeated.
struct Plan<'a> {
    start: &'a StartCommand,
    env: Vec<(OsString, OsString)>,
    cwd: OwnedFd,
    log: File,
}

impl Plan<'_> {
    /// Starts `program` with `before` put in front of the arguments, in a group where there is one.
    fn spawn(
        &self,
        program: &Path,
        before: &[PathBuf],
        groups: Option<&mut Groups>,
    ) -> io::Result<(u32, Option<Group>)> {
        if let Some(groups) = groups
            && let Some(group) = groups.obtain()
        {
            match self.spawn_into(&group, program, before) {
                Ok(pid) => return Ok((pid, Some(group))),
                Err(CloneError::Exec(error)) => {
                    groups.release(group);
                    return Err(error);
                }
                Err(CloneError::Clone) => {
                    groups.release(group);
                    groups.give_up();
                }
            }
        }
        Ok((self.command(program, before)?.spawn()?.id(), None))
    }

    fn spawn_into(
        &self,
        group: &Group,
        program: &Path,
        before: &[PathBuf],
    ) -> Result<u32, CloneError> {
        let first =
            if before.is_empty() { OsStr::new(&self.start.argv[0]) } else { program.as_os_str() };
        let words = std::iter::once(first)
            .chain(before.iter().map(|path| path.as_os_str()))
            .chain(self.start.argv[1..].iter().map(OsStr::new));
        let env = self.env.iter().map(|(key, value)| (key.as_os_str(), value.as_os_str()));
        let image = Image::new(program.as_os_str(), words, env).map_err(CloneError::Exec)?;
        let null = beneath::null().map_err(CloneError::Exec)?;
        clone::spawn_into(group.dir(), &image, self.cwd.as_fd(), null.as_fd(), self.log.as_fd())
    }

    /// The command that runs `program` with `before` put in front of the arguments.
    fn command(&self, program: &Path, before: &[PathBuf]) -> io::Result<Command> {
        let mut command = Command::new(program);
        if before.is_empty() {
            command.arg0(&self.start.argv[0]);
        }
        command.args(before).args(&self.start.argv[1..]);
        command.env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.process_group(0);
        // The directory itself, whatever its name is by now.
        command.current_dir(format!("/proc/self/fd/{}", self.cwd.as_raw_fd()));
        command.stdin(Stdio::from(beneath::null()?));
        command.stdout(Stdio::from(self.log.try_clone()?));
        command.stderr(Stdio::from(self.log.try_clone()?));
        Ok(command)
    }

    /// The file that `name` means in the command's own `PATH` and directory.
    fn find(&self, name: &str) -> io::Result<PathBuf> {
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        let path = self.env.iter().rev().find(|(key, _)| key == "PATH");
        let path = path.map_or_else(|| OsString::from(PATH_DEFAULT), |(_, value)| value.clone());
        let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "not found in PATH"));
        for dir in std::env::split_paths(&path) {
            // An empty entry means the working directory.
            let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
            let candidate = dir.join(name);
            let Ok(stat) = rustix::fs::statat(&self.cwd, &candidate, AtFlags::empty()) else {
                continue;
            };
            if !FileType::from_raw_mode(stat.st_mode).is_file() {
                continue;
            }
            match rustix::fs::accessat(&self.cwd, &candidate, Access::EXEC_OK, AtFlags::EACCESS) {
                Ok(()) => return Ok(candidate),
                Err(errno) => outcome = Err(errno.into()),
            }
        }
        outcome
    }
}

/// Later entries win; the token always does.
fn environment(start: &StartCommand) -> Vec<(OsString, OsString)> {
    let passed = start.pass.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
    let set = start.env.iter().map(|(key, value)| (key.into(), value.into()));
    let token = ("JOBYARD_TOKEN".into(), OsString::from(&start.token));
    let all: BTreeMap<OsString, OsString> = passed.chain(set).chain([token]).collect();
    all.into_iter().collect()
}
