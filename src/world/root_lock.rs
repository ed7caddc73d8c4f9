//! The lock of a root: whoever holds it may change state and append to the ledger.
//!
//! Invariants: held by `flock` on the directory `_ctx` itself, so that the kernel ends it with its holder and
//! nobody frees it by deleting a file; the text of the file `root.lock`, locked too, only tells people and
//! waiting verbs whether a daemon or a verb holds it, and is never trusted for more.

use crate::executor::process_start_time;
use crate::model::paths;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
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
    let start_time: u64 = words.nth(1)?.parse().ok()?;
    Some(process_start_time(pid) == Some(start_time))
}

/// Tries to take the lock of a root; never waits. `who`: more for people, such as the verb.
pub fn try_lock(root: &Path, role: Role, who: &str) -> io::Result<Tried> {
    let own = root.join(paths::OWN);
    std::fs::create_dir_all(&own)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NOFOLLOW)
        .open(own.join("root.lock"))?;
    let dir = File::open(root.join("_ctx"))?;
    match dir.try_lock().and_then(|()| file.try_lock()) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return taken(&mut file),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let word = if role == Role::Daemon { "daemon" } else { "verb" };
    let pid = std::process::id();
    let who = format!("pid {pid} started {}{who}", process_start_time(pid).unwrap_or(0));
    // The text is for waiting processes only; a full disk must not keep a verb from working.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{word} {who}\n").as_bytes()));
    Ok(Tried::Held(RootLock { file, _dir: dir, role }))
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
}

/// Looks who holds the lock, by its text and the kernel's list of locks; takes and writes nothing.
pub fn look(root: &Path) -> io::Result<Option<Found>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(root.join(paths::OWN).join("root.lock"));
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(nameless(root)),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(e) => return Err(e),
    };
    let inode = file.metadata()?.ino();
    let mut text = String::new();
    file.take(512).read_to_string(&mut text)?;
    let pid = text.split_whitespace().nth(2).and_then(|w| w.parse().ok());
    let Some(pid) = pid.filter(|_| holder_lives(&text) == Some(true)) else { return Ok(None) };
    // Without the list the living process that wrote the text is believed.
    let locked = std::fs::read_to_string("/proc/locks").map_or(true, |l| lists(&l, pid, inode));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    let role = if text.starts_with("daemon") { Role::Daemon } else { Role::Verb };
    let text = text.trim().to_owned();
    Ok(locked.then(|| Found { role, pid, frozen: state.starts_with(['T', 't']), text }))
}

/// Whoever holds the root although somebody removed the file that tells who it is.
fn nameless(root: &Path) -> Option<Found> {
    let inode = std::fs::metadata(root.join("_ctx")).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let mut pids = locks.lines().filter_map(|line| line.split_whitespace().nth(4)?.parse().ok());
    let pid = pids.find(|pid| lists(&locks, *pid, inode))?;
    let text = format!("pid {pid}; its file root.lock was removed");
    Some(Found { role: Role::Daemon, pid, frozen: false, text })
}

/// Whether `/proc/locks` says that this process holds a `flock` on this inode.
fn lists(locks: &str, pid: u32, inode: u64) -> bool {
    let (pid, inode) = (pid.to_string(), inode.to_string());
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"FLOCK")
            && words.get(4) == Some(&pid.as_str())
            && words.get(5).and_then(|w| w.rsplit(':').next()) == Some(inode.as_str())
    })
}

fn taken(file: &mut File) -> io::Result<Tried> {
    let mut text = String::new();
    file.rewind()?;
    file.take(512).read_to_string(&mut text)?;
    let daemon = text.starts_with("daemon") && holder_lives(&text) != Some(false);
    let role = if daemon { Role::Daemon } else { Role::Verb };
    Ok(Tried::Taken { role, text: text.trim().to_owned() })
}
