//! One call of the git executable: a clean environment, a time bound and bounded output.
//!
//! Invariants: standard input is empty or a file, so git never waits for a person; the child leads its
//! own process group, which is killed when the bound is passed; a pipe that a grandchild keeps open is
//! never waited for; output past its bound ends the call with an error, never with a part of it; no hook,
//! file monitor or remote helper of the repository runs, unless a call asks for it by name.
//!
//! It does not decide what a failure means: an exit status is a value here.

use super::blocking::Places;
use crate::executor::MANAGER_VARIABLES;
use crate::world::{GitFault, INTERRUPTED, ending, notify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest time of a call that reads names and ids: the daemon stands still for as long.
const READ_LIMIT: Duration = Duration::from_secs(20);
/// Longest time of a call that reads all files of a worktree, or all objects of a history.
pub(super) const CONTENT_LIMIT: Duration = Duration::from_secs(120);
/// A call that takes longer is looked after: something may keep git waiting.
const WARY_AFTER: Duration = Duration::from_millis(500);
/// Most output kept of one call; a diff of a million paths stays below it.
pub(super) const OUTPUT_BYTES_MAX: usize = 256 << 20;
/// Most of git's complaints that is kept; the first lines name the cause.
const STDERR_BYTES_MAX: usize = 16 << 10;
/// Longest cause in an error, in characters.
const CAUSE_CHARS_MAX: usize = 600;
/// How long a killed git may take to vanish before it is left to the kernel.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// How long a call may still take when this process was told to end: it has 5 s for everything.
const END_GRACE: Duration = Duration::from_secs(2);

/// Variables of git that tell where the user's configuration lies; every other `GIT_*` is removed,
/// because it could point the call at another repository, index or object store.
const KEPT: [&str; 3] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"];

/// `committed,reference`: objects and refs that git writes are synced by git.
pub(super) const FSYNC: (&str, &str) = ("core.fsync", "committed,reference");
/// Where no hook is found. A hook is a program of whoever can write to the repository, a job included: it
/// could bend what is read, or outlive the call.
const NO_HOOKS: (&str, &str) = ("core.hooksPath", "/dev/null");
/// Settings of every call.
const SETTINGS: [(&str, &str); 3] = [FSYNC, NO_HOOKS, ("core.fsmonitor", "false")];
/// An object that is missing is not fetched: that would start what `remote.*` says.
const NO_FETCH: &str = "GIT_NO_LAZY_FETCH";

/// A call under construction.
pub(super) struct Call {
    act: &'static str,
    command: Command,
    config: Vec<(String, String)>,
    limit: Duration,
    /// The setting that the limit is of.
    setting: &'static str,
    stdin: Option<File>,
    wary: Places,
}

/// A call that has ended.
pub(super) struct Answer {
    act: &'static str,
    /// How git ended.
    pub(super) status: ExitStatus,
    /// What it printed.
    pub(super) stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Call {
    /// A call made in `dir`; `act` is the verb of its errors.
    pub(super) fn new(act: &'static str, dir: &Path) -> Self {
        let mut command = Command::new("git");
        command.current_dir(dir);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("GIT_") && !KEPT.contains(&text.as_ref()) {
                command.env_remove(&name);
            }
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").env_remove("LANGUAGE");
        // A replace ref would show another commit than the one that is named.
        command.env("GIT_NO_REPLACE_OBJECTS", "1");
        command.env(NO_FETCH, "1");
        for name in MANAGER_VARIABLES {
            command.env_remove(name);
        }
        let config = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        Self {
            act,
            command,
            config,
            limit: READ_LIMIT,
            setting: "",
            stdin: None,
            wary: Places::default(),
        }
    }

    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(super) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(super) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// A setting that beats every configuration file.
    pub(super) fn config(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A call that may fetch what a partial clone has left out, as a checkout of the user's would.
    pub(super) fn fetching(mut self) -> Self {
        self.command.env_remove(NO_FETCH);
        self
    }

    /// A call whose purpose is to run a hook of the user's.
    pub(super) fn with_hooks(mut self) -> Self {
        self.config.retain(|(key, _)| key != NO_HOOKS.0);
        self
    }

    pub(super) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A call that is bounded by `git.timeout`.
    pub(super) fn configured_limit(self, limit: Duration) -> Self {
        Self { limit, setting: " (`git.timeout`)", ..self }
    }

    /// Where something may lie that git would wait on for ever.
    pub(super) fn wary(mut self, places: Places) -> Self {
        self.wary = places;
        self
    }

    /// A file as standard input; without it there is none.
    pub(super) fn stdin(mut self, file: File) -> Self {
        self.stdin = Some(file);
        self
    }

    /// Runs the call to its end; a status other than 0 is an error.
    pub(super) fn ok(self) -> Result<Vec<u8>, GitFault> {
        let answer = self.run()?;
        if answer.status.success() { Ok(answer.stdout) } else { Err(answer.fault()) }
    }

    /// Runs the call to its end, whatever its status.
    pub(super) fn run(mut self) -> Result<Answer, GitFault> {
        let act = self.act;
        self.command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (n, (key, value)) in self.config.iter().enumerate() {
            self.command.env(format!("GIT_CONFIG_KEY_{n}"), key);
            self.command.env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        self.command.stdin(self.stdin.take().map_or_else(Stdio::null, Stdio::from));
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = self.command.spawn().map_err(|e| GitFault {
            act,
            cause: format!("cannot run git: {e} (is git installed and in PATH?)"),
        })?;
        converse(child, (self.limit, self.setting), &self.wary, act)
    }
}

impl Answer {
    /// The answer as an error.
    pub(super) fn fault(&self) -> GitFault {
        GitFault { act: self.act, cause: cause(&self.stderr, self.status) }
    }
}

/// A failed operation on a file as a git error.
pub(super) fn file_fault(act: &'static str, path: &Path, error: &io::Error) -> GitFault {
    GitFault { act, cause: format!("{}: {error}", path.display()) }
}

/// A refusal of ours as a git error.
pub(super) fn refused(act: &'static str, cause: impl Into<String>) -> GitFault {
    GitFault { act, cause: cause.into() }
}

/// Fields of an output that ends each one with a NUL.
pub(super) fn fields(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output.split(|b| *b == 0).filter(|f| !f.is_empty())
}

/// The first line as text.
pub(super) fn line(output: &[u8]) -> String {
    String::from_utf8_lossy(output).lines().next().unwrap_or_default().trim().to_owned()
}

fn converse(
    mut child: Child,
    (limit, setting): (Duration, &str),
    wary: &Places,
    act: &'static str,
) -> Result<Answer, GitFault> {
    let talk = |e: io::Error| refused(act, format!("cannot follow git: {e}"));
    let pid = Pid::from_child(&child);
    let taken = child.stdout.take().zip(child.stderr.take());
    let Some((mut out, mut err)) = taken else {
        return Err(refused(act, "git was started without pipes"));
    };
    let mut said = Said { stdout: Vec::new(), stderr: Vec::new() };
    let followed = (|| {
        rustix::io::ioctl_fionbio(&out, true)?;
        rustix::io::ioctl_fionbio(&err, true)?;
        follow(pid, &mut out, &mut err, &mut said, (Instant::now() + limit, wary))
    })();
    if !matches!(followed, Ok(Follow::Ended)) {
        // An error here means that the group has ended by itself.
        let _ = kill_process_group(pid, Signal::KILL);
        reap(&mut child, pid);
    }
    match followed.map_err(talk)? {
        Follow::CutOff => Err(refused(act, INTERRUPTED)),
        Follow::Late => Err(refused(
            act,
            format!("git did not end within {} s and was killed{setting}", limit.as_secs_f64()),
        )),
        Follow::Waits(on) => Err(refused(
            act,
            format!(
                "git would wait for ever on {}, which is no regular file: remove it",
                on.display()
            ),
        )),
        Follow::TooMuch => {
            Err(refused(act, format!("git printed more than {} MiB", OUTPUT_BYTES_MAX >> 20)))
        }
        Follow::Ended => {
            let status = child.wait().map_err(talk)?;
            Ok(Answer { act, status, stdout: said.stdout, stderr: said.stderr })
        }
    }
}

struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

enum Follow {
    Ended,
    Late,
    Waits(PathBuf),
    TooMuch,
    CutOff,
}

/// When a call ends at the latest because this process was told to end.
fn cut_off_at() -> Option<Instant> {
    let told = ending::told()?;
    Some(if ending::at_once() { told } else { told + END_GRACE })
}

/// The process was told to end, and waiting longer would keep it from that.
pub(super) fn is_cut_off() -> bool {
    cut_off_at().is_some_and(|at| Instant::now() >= at)
}

/// Reads until the main process has ended, then takes what lies in the pipes without waiting.
fn follow(
    pid: Pid,
    out: &mut (impl Read + AsFd),
    err: &mut (impl Read + AsFd),
    said: &mut Said,
    (deadline, wary): (Instant, &Places),
) -> io::Result<Follow> {
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    let (mut out_open, mut err_open) = (true, true);
    let mut patience = WARY_AFTER;
    let mut look_at = Instant::now() + patience;
    loop {
        if is_cut_off() {
            return Ok(Follow::CutOff);
        }
        // Its time is bounded, so waiting for it is no hanging.
        notify::alive();
        let until = cut_off_at().map_or(deadline, |at| at.min(deadline));
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() && until == deadline {
            return Ok(Follow::Late);
        }
        if Instant::now() >= look_at {
            if let Some(on) = wary.find() {
                return Ok(Follow::Waits(on));
            }
            patience *= 2;
            look_at = Instant::now() + patience;
        }
        let left = left.min(look_at.saturating_duration_since(Instant::now()));
        let left = notify::alive_in().map_or(left, |alive| left.min(alive));
        let wait = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::new(&ended, PollFlags::IN)];
        if out_open {
            fds.push(PollFd::new(out, PollFlags::IN));
        }
        if err_open {
            fds.push(PollFd::new(err, PollFlags::IN));
        }
        fds.extend(ending::fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, Some(&wait)) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        // Asked before the pipes are read, so that what was written before the end is seen.
        let gone = !fds[0].revents().is_empty();
        drop(fds);
        if out_open {
            out_open = drain(out, &mut said.stdout, OUTPUT_BYTES_MAX)?;
        }
        if err_open {
            err_open = drain(err, &mut said.stderr, usize::MAX)?;
            said.stderr.truncate(STDERR_BYTES_MAX);
        }
        if said.stdout.len() > OUTPUT_BYTES_MAX {
            return Ok(Follow::TooMuch);
        }
        if gone {
            return Ok(Follow::Ended);
        }
    }
}

/// Takes what the pipe holds now; `false` once it has been closed.
fn drain(pipe: &mut impl Read, into: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    let mut chunk = [0_u8; 65536];
    // A flood is left after 16 MiB a turn, so that the time bound is looked at.
    for _ in 0..256 {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(n) => into.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        if into.len() > bytes_max {
            return Ok(true);
        }
    }
    Ok(true)
}

/// Takes the status of a killed child; one that the kernel cannot end now is left behind.
fn reap(child: &mut Child, pid: Pid) {
    if let Ok(ended) = pidfd_open(pid, PidfdFlags::empty()) {
        let wait = Timespec::try_from(KILL_WAIT).ok();
        let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], wait.as_ref());
    }
    let _ = child.try_wait();
}

/// What git complained about, as one line: its fatal and error lines, else its last line.
fn cause(stderr: &[u8], status: ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let named = |l: &&&str| l.starts_with("fatal:") || l.starts_with("error:");
    let mut picked: Vec<&str> = lines.iter().filter(named).copied().collect();
    if picked.is_empty() {
        picked.extend(lines.last());
    }
    let plain = |c: char| if c.is_control() { '?' } else { c };
    let said: String = picked.join("; ").chars().map(plain).take(CAUSE_CHARS_MAX).collect();
    match (said.is_empty(), status.code(), status.signal()) {
        (false, ..) => format!("git: {said}"),
        (true, Some(code), _) => format!("git ended with status {code} and said nothing"),
        (true, None, Some(signal)) => format!("git was ended by signal {signal}"),
        (true, None, None) => "git ended without a status".to_owned(),
    }
}

/// Variables for the commands of an order, so that their commits are synced like ours.
pub(super) fn job_environment() -> Vec<(&'static str, &'static str)> {
    vec![("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", FSYNC.0), ("GIT_CONFIG_VALUE_0", FSYNC.1)]
}

/// A read-only file in memory, as standard input of a call.
pub(super) fn memory_file(act: &'static str, bytes: &[u8]) -> Result<File, GitFault> {
    use std::io::Seek;
    let fault = |e: io::Error| refused(act, format!("cannot make a file in memory: {e}"));
    let fd = rustix::fs::memfd_create("jobyard-git", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|e| fault(e.into()))?;
    let mut file = File::from(fd);
    super::files::write_all(&file, bytes).map_err(fault)?;
    file.rewind().map_err(fault)?;
    Ok(file)
}

/// `OsString` from raw bytes of git's output.
pub(super) fn os(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).to_owned()
}
