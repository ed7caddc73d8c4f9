//! The lock of a root: whoever holds it may change state and append to the ledger.
//!
//! Invariants: held by `flock` on the directory `_ctx` itself, so that the kernel ends it with its holder and
//! nobody frees it by deleting a file; the text of the file `root.lock` only tells people and waiting verbs
//! whether a daemon or a verb holds it, and is never trusted for more. Looking takes and writes nothing.

use super::calls::again;
use crate::executor::process_start_time;
use crate::model::paths;
use rustix::fs::{Mode, OFlags, SeekFrom, ftruncate, open, seek};
use rustix::io::{Errno, write};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

/// Who holds or wants the lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A daemon, for as long as it lives.
    Daemon,
    /// A verb, for one piece of work.
    Verb,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub struct RootLock {
    file: File,
    _dir: File,
    role: Role,
    /// The first line of its text.
    text: String,
}

impl RootLock {
    /// Says beside who holds it what the holder cannot do, or that it goes on. Best effort: no new file, and
    /// of a full disk nothing more.
    pub fn say(&self, trouble: Option<&str>) {
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        let more = trouble.map_or_else(String::new, |t| format!("{TROUBLE}{}\n", one_line(t)));
        put(&self.file, &format!("{}{more}", self.text));
    }
}

/// How the second line of the text begins, if there is one.
const TROUBLE: &str = "cannot go on: ";

/// Replaces the text. It is for other processes only; a full disk must not keep a verb from working.
fn put(file: &File, text: &str) {
    let _ = again(|| ftruncate(file, 0))
        .and_then(|()| seek(file, SeekFrom::Start(0)))
        .and_then(|_| again(|| write(file, text.as_bytes())));
}

impl Drop for RootLock {
    /// A daemon leaves behind when it ended: `why` says since when none runs.
    fn drop(&mut self) {
        if self.role == Role::Daemon {
            // Only people ask for the time; without it they see an earlier one.
            let _ = self.file.set_modified(SystemTime::now());
        }
    }
}

/// When a daemon last began or ended to hold the lock, in milliseconds since 1970, unless a verb held it
/// since.
pub fn last_served(root: &Path) -> Option<i64> {
    let path = root.join(paths::OWN).join("root.lock");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).ok()?;
    let modified = file.metadata().ok()?.modified().ok()?;
    let mut word = String::new();
    file.take(6).read_to_string(&mut word).ok()?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (word == "daemon").then(|| i64::try_from(since.as_millis()).ok())?
}

/// What trying gave.
#[derive(Debug)]
pub enum Tried {
    /// It is ours.
    Held(RootLock),
    /// Somebody else has it.
    Taken {
        /// Daemon or verb, as its text says.
        role: Role,
        /// Its text, for people.
        text: String,
    },
}

/// Whether the process named in the text lives. A dead holder's lock lives on for an instant in a child
/// that it was just starting: that is no daemon.
fn holder_lives(text: &str) -> Option<bool> {
    let mut words = text.split_whitespace().skip(2);
    let pid = words.next()?.parse().ok()?;
    let told = words.nth(1)?;
    let digits = told.find(|c: char| !c.is_ascii_digit()).unwrap_or(told.len());
    let start_time: u64 = told[..digits].parse().ok()?;
    Some(process_start_time(pid) == Some(start_time))
}

/// Tries to take the lock of a root; never waits. `who`: more for people, such as the verb.
pub fn try_lock(root: &Path, role: Role, who: &str) -> io::Result<Tried> {
    let own = root.join(paths::OWN);
    std::fs::create_dir_all(&own)?;
    let dir = File::open(root.join(paths::CTX))?;
    match dir.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return taken(root),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let file = File::from(again(|| open(own.join("root.lock"), flags, mode))?);
    let word = if role == Role::Daemon { "daemon" } else { "verb" };
    let pid = std::process::id();
    let who = format!("pid {pid} started {}{who}", process_start_time(pid).unwrap_or(0));
    let text = format!("{word} {who}\n");
    put(&file, &text);
    Ok(Tried::Held(RootLock { file, _dir: dir, role, text }))
}

/// Who holds the lock, found without touching it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Daemon or verb.
    pub role: Role,
    /// Its process.
    pub pid: u32,
    /// It was stopped (`SIGSTOP`, a debugger): it holds the lock and does nothing.
    pub frozen: bool,
    /// The text of the lock, for people.
    pub text: String,
    /// What it said that it cannot do.
    pub trouble: Option<String>,
}

/// Looks who holds the lock: the living process that its text names, if it has `_ctx` locked.
pub fn look(root: &Path) -> io::Result<Option<Found>> {
    let text = match text_of(root) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(nameless(root)),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(e) => return Err(e),
    };
    let pid = text.split_whitespace().nth(2).and_then(|w| w.parse().ok());
    let Some(pid) = pid.filter(|_| holder_lives(&text) == Some(true)) else { return Ok(None) };
    let inode = std::fs::metadata(root.join(paths::CTX))?.ino();
    // The living process that wrote the text is believed where another user's descriptors are not shown.
    if !holds(pid, inode).unwrap_or(true) {
        return Ok(None);
    }
    let role = if text.starts_with("daemon") { Role::Daemon } else { Role::Verb };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    let trouble = lines.next().and_then(|line| line.strip_prefix(TROUBLE)).map(str::to_owned);
    Ok(Some(Found { role, pid, frozen: is_stopped(pid), text: first, trouble }))
}

/// Whether a process was stopped (`SIGSTOP`, a debugger).
pub(super) fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    state.starts_with(['T', 't'])
}

/// What became of a call to read the configuration again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Called {
    /// The daemon of this process id was told.
    Told(u32),
    /// It is just starting, and reads it after this.
    Starting(u32),
    /// No daemon holds the lock.
    Nobody,
}

/// Tells the daemon that holds the lock to read its configuration again; by a descriptor, so that no other
/// process of the same id is ever signalled.
pub fn call(root: &Path) -> io::Result<Called> {
    let daemon = |found: &Found| found.role == Role::Daemon;
    let Some(found) = look(root)?.filter(daemon) else { return Ok(Called::Nobody) };
    let raw = i32::try_from(found.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = raw else { return Ok(Called::Nobody) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(Called::Nobody),
        opened => opened?,
    };
    if look(root)?.filter(daemon).is_none_or(|now| now.pid != found.pid) {
        return Ok(Called::Nobody);
    }
    // Before it listens the signal would end it, and it has not read the configuration yet.
    if !listens(found.pid)? {
        return Ok(Called::Starting(found.pid));
    }
    pidfd_send_signal(&process, Signal::HUP)?;
    Ok(Called::Told(found.pid))
}

/// Whether a process catches HUP.
fn listens(pid: u32) -> io::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(caught.is_some_and(|mask| mask & 1 == 1))
}

/// What the holder wrote of itself.
fn text_of(root: &Path) -> io::Result<String> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(root.join(paths::OWN).join("root.lock"))?;
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

/// Whether one of a process's descriptors holds a `flock` on this inode. Not asked of `/proc/locks`: where
/// that is longer than a page, a lock that goes while it is read hides another one (proc(5), `seq_file`).
fn holds(pid: u32, inode: u64) -> io::Result<bool> {
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor that is closed meanwhile is none that holds the lock.
        let Ok(info) = std::fs::read_to_string(entry?.path()) else { continue };
        if info.lines().filter_map(|line| line.strip_prefix("lock:")).any(|lock| is_on(lock, inode))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whoever holds the root although the file that tells who it is does not: somebody removed it, or it is not
/// written yet.
fn nameless(root: &Path) -> Option<Found> {
    let inode = std::fs::metadata(root.join(paths::CTX)).ok()?.ino();
    let pid = locked_by(inode)?;
    let text = format!("pid {pid}; its file root.lock does not name it");
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let daemon = words.split(|b| *b == 0).any(|word| word == b"daemon");
    let role = if daemon { Role::Daemon } else { Role::Verb };
    Some(Found { role, pid, frozen: false, text, trouble: None })
}

/// The process that has a `flock` on this inode, as far as the kernel shows it.
pub(super) fn locked_by(inode: u64) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let line = locks.lines().find(|line| is_on(line, inode))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

/// Whether this line of the kernel (`1: FLOCK ADVISORY WRITE pid major:minor:inode 0 EOF`) is a `flock` on
/// this inode.
fn is_on(line: &str, inode: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let locked = words.get(5).and_then(|w| w.rsplit(':').next()?.parse().ok());
    words.get(1) == Some(&"FLOCK") && locked == Some(inode)
}

/// Somebody else has it. Whoever cannot be found counts as a verb: one waits.
fn taken(root: &Path) -> io::Result<Tried> {
    let text = match text_of(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let lives = holder_lives(&text);
    if (text.is_empty() || lives == Some(false))
        && let Some(Found { role, text, .. }) = nameless(root)
    {
        return Ok(Tried::Taken { role, text });
    }
    let daemon = text.starts_with("daemon") && lives != Some(false);
    let role = if daemon { Role::Daemon } else { Role::Verb };
    Ok(Tried::Taken { role, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_process_listens_is_known_before_it_is_signalled() {
        let own = std::process::id();
        assert!(!listens(own).unwrap());
        let flag = std::sync::Arc::default();
        signal_hook::flag::register(signal_hook::consts::SIGHUP, flag).unwrap();
        assert!(listens(own).unwrap());
        assert!(listens(u32::MAX).is_err());
    }
}
