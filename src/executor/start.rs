//! Starting one command: directory, program, environment, process.
//!
//! Invariants: every path is opened under the root without following links; the command gets exactly the
//! listed variables, its own process group, `/dev/null` as input and its log as output and error; the
//! executor keeps no descriptor of the log that the command writes through. The program is looked up
//! here, in the command's own `PATH`, so that the spawn needs no `fork` of the executor.

use super::beneath;
use super::groups::{Group, Groups};
use crate::model::protocol::StartCommand;
use rustix::fs::{Access, AtFlags, FileType};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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
) -> Result<(Child, Option<Group>), String> {
    let Some(name) = start.argv.first() else {
        return Err("start a command: it has no words".to_owned());
    };
    let failed = |error: io::Error| format!("start {name:?}: {error}");
    let cwd = beneath::open_dir(root, Path::new(&start.cwd))
        .map_err(|error| format!("open the working directory {}: {error}", start.cwd))?;
    let plan = Plan { start, env: environment(start), cwd, log };
    let program = plan.find(name).map_err(failed)?;
    let direct = plan.command(&program, &[]).map_err(failed)?;
    match spawn_within(direct, groups.as_deref_mut()) {
        Err(error) if error.raw_os_error() == Some(ENOEXEC) => {
            let by_shell = plan.command(Path::new(SHELL), &[program]).map_err(failed)?;
            spawn_within(by_shell, groups).map_err(failed)
        }
        other => other.map_err(failed),
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
    passed.chain(set).chain([token]).collect()
}

fn spawn_within(
    mut command: Command,
    groups: Option<&mut Groups>,
) -> io::Result<(Child, Option<Group>)> {
    let Some(groups) = groups else { return Ok((command.spawn()?, None)) };
    let Some(group) = groups.obtain() else { return Ok((command.spawn()?, None)) };
    match groups.within(&group, || command.spawn()) {
        // The executor itself may stand in a group it could not leave: never to be killed as one.
        Some(outcome) if !groups.usable() => Ok((outcome?, None)),
        Some(Ok(child)) => Ok((child, Some(group))),
        Some(Err(error)) => {
            groups.release(group);
            Err(error)
        }
        // Somebody removed the group; this command does without.
        None => Ok((command.spawn()?, None)),
    }
}
