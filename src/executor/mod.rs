//! The parent of the commands: a small process that outlives the daemon.
//!
//! The daemon decides; the executor starts what it is told to, holds the wait status, and ends whole
//! process trees. Its files are in [`exec_dir`]; what is said on its socket is in
//! [`crate::model::protocol`] and `docs/executor-protocol.md`.
//!
//! Invariants: one executor per root, proven by a lock the kernel releases; a command is started at most
//! once; the end of a client touches no command; an end is told only when nothing of the command's tree
//! is left. It knows nothing of work orders, reads no configuration and never polls.

mod beneath;
mod clients;
mod clone;
mod command;
mod family;
mod groups;
mod journal;
mod life;
mod lines;
mod link;
mod output;
mod proc;
mod start;
mod tree;
mod wait;

pub use journal::read_journal;
pub use link::{Link, LinkError, connect};
pub use proc::{process_start_time, survivors};
pub use wait::{Stay, run};

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How a service manager is reached: meant for one process and not for its children.
pub const MANAGER_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Why the executor could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// Another executor of the same root lives; it serves whoever connects.
    #[error("an executor of {} is running already", root.display())]
    Held {
        /// The root.
        root: PathBuf,
    },
    /// The machine refused something it cannot do without.
    #[error("start the executor of {}: {act}: {source}", root.display())]
    Start {
        /// What was attempted.
        act: &'static str,
        /// The root.
        root: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The directory of the executor's files: `exec.lock`, `exec.sock`, `exec.journal`, `exec.journal.1`.
pub fn exec_dir(root: &Path) -> PathBuf {
    root.join(beneath::EXEC_DIR)
}

/// Whether an executor of this root lives, by the lock it holds for life. It may not listen yet.
pub fn is_locked(root: &Path) -> io::Result<bool> {
    let file = match beneath::open_exec_dir(root).and_then(|dir| {
        let lock = Path::new(beneath::LOCK);
        beneath::open_file(&dir, lock, rustix::fs::OFlags::RDONLY, 0)
    }) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Starts `program exec --root ROOT` as an executor that outlives the caller: it makes a session of its
/// own, reads nothing and writes only to `notes`, which it keeps open. The child's `stdout` is a pipe that
/// reaches its end when the executor can be connected to, or has ended. The caller waits for the child if it
/// lives long enough. The mark of an attempt is not inherited,
/// nor the link to a service manager.
pub fn spawn(program: &Path, root: &Path, notes: Stdio) -> io::Result<Child> {
    let mut command = command(program, &[], root);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(notes).spawn()
}

/// Starts an executor for the caller alone, which ends, with everything it runs, when the link is dropped.
/// The caller waits for the child.
pub fn spawn_for_client(program: &Path, root: &Path) -> io::Result<(Child, Link)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let mut command = command(program, &["--client"], root);
    let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn()?;
    Ok((child, Link::over(ours)))
}

fn command(program: &Path, flags: &[&str], root: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("exec").args(flags).arg("--root").arg(root).env_remove("JOBYARD_TOKEN");
    for name in MANAGER_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// One line on stderr. Nobody may be reading, and that is no reason to end.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "jobyard exec: {text}");
}
