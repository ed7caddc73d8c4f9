//! The lock of a root: whoever holds it may change state and append to the ledger.
//!
//! Invariants: held by `flock`, so that the kernel ends it with its holder; its text only tells people and
//! waiting verbs whether a daemon or a verb holds it, and is never trusted for more.

use crate::executor::process_start_time;
use crate::model::paths;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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
    _file: File,
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
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return taken(&mut file),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let word = if role == Role::Daemon { "daemon" } else { "verb" };
    let pid = std::process::id();
    let who = format!("pid {pid} started {}{who}", process_start_time(pid).unwrap_or(0));
    // The text is for waiting processes only; a full disk must not keep a verb from working.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{word} {who}\n").as_bytes()));
    Ok(Tried::Held(RootLock { _file: file }))
}

fn taken(file: &mut File) -> io::Result<Tried> {
    let mut text = String::new();
    file.rewind()?;
    file.take(512).read_to_string(&mut text)?;
    let daemon = text.starts_with("daemon") && holder_lives(&text) != Some(false);
    let role = if daemon { Role::Daemon } else { Role::Verb };
    Ok(Tried::Taken { role, text: text.trim().to_owned() })
}
