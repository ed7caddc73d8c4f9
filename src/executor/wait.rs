//! The loop: one blocked wait on signals, clients, logs and one timer.
//!
//! Invariants: it never polls, so nothing to do means no wake-up; everything that arrived together is
//! answered together; the process has one thread.

use super::beneath::{self, EXEC_DIR, LOCK};
use super::clients::Clients;
use super::journal::Journal;
use super::life::Executor;
use super::{ExecutorError, note, proc, start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{getpid, set_child_subreaper, setsid};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Tries to get the lock. Only somebody who asks whether it is held can hold it for an instant.
const LOCK_TRIES: u32 = 20;

/// Between two tries.
const LOCK_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// How long an executor stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stay {
    /// As long as it is needed.
    Needed,
    /// Until it is told to end: a service manager started it. One that lives already is waited for.
    Always,
    /// As long as the one client on the socket that is the standard input; what it runs ends with that
    /// client, and its logs go. It knows nothing of what others have started, and keeps no journal.
    Client,
}

/// The whole life of the executor of a root, in the calling process, which must have one thread: it
/// becomes a session of its own and the parent of orphans, and takes over its signals. Returns when
/// nothing runs and nobody needs it; [`ExecutorError::Held`] when another one lives.
pub fn run(root: &Path, stay: Stay) -> Result<(), ExecutorError> {
    let failed = |act: &'static str| {
        move |source: io::Error| ExecutorError::Start { act, root: root.to_owned(), source }
    };
    let root_dir = beneath::open_root(root).map_err(failed("open the root"))?;
    if stay == Stay::Client {
        let clients = the_client().map_err(failed("take the client's socket"))?;
        let signals = become_parent().map_err(failed("become the parent of commands"))?;
        live(Executor::new(root_dir, clients, None, stay), signals);
        return Ok(());
    }
    beneath::ensure_dir(&root_dir, Path::new(EXEC_DIR))
        .map_err(failed("make _ctx/runs/.jobyard"))?;
    let open = || beneath::open_dir(&root_dir, Path::new(EXEC_DIR));
    let dir = open().map_err(failed("open _ctx/runs/.jobyard"))?;
    let lock = take_lock(&dir, stay).map_err(failed("lock exec.lock"))?;
    let Some(_lock) = lock else { return Err(ExecutorError::Held { root: root.to_owned() }) };

    let signals = become_parent().map_err(failed("become the parent of commands"))?;
    let journal = Journal::open(dir, proc::boot_id());
    let clients = open().and_then(Clients::listen).map_err(failed("listen on exec.sock"))?;
    let executor = Executor::new(root_dir, clients, Some(journal), stay);
    announce();
    live(executor, signals);
    Ok(())
}

/// The client on the standard input.
fn the_client() -> io::Result<Clients> {
    Clients::only(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// A session of its own, orphans of its commands, and its signals.
fn become_parent() -> io::Result<Signals> {
    // A leader of its process group stays where it is; that only means a terminal can reach it.
    let _ = setsid();
    start::shed_brand();
    set_child_subreaper(Some(getpid()))?;
    Signals::listen()
}

fn take_lock(dir: &OwnedFd, stay: Stay) -> io::Result<Option<File>> {
    let flags = OFlags::CREATE | OFlags::RDWR;
    let file = beneath::open_file(dir, Path::new(LOCK), flags, 0o644)?;
    if stay == Stay::Always {
        file.lock()?;
        return Ok(Some(file));
    }
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => drop(poll(&mut [], Some(&LOCK_PAUSE))),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Whoever spawned the executor sees its end of the output close: clients can connect now.
fn announce() {
    let closed = beneath::null().and_then(|null| Ok(rustix::stdio::dup2_stdout(null)?));
    if let Err(error) = closed {
        note(&format!("close the output: {error}"));
    }
}

/// The signals the executor listens to.
struct Signals {
    children: UnixStream,
    term: UnixStream,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        // What this process ignores its commands would ignore too; what it catches is default for them.
        // SIGPIPE stays ignored here: the spawn makes it default.
        let ignored = proc::ignored_signals();
        let noted = Arc::new(AtomicBool::new(false));
        for signal in ignored.into_iter().filter(|signal| *signal != SIGPIPE).chain([SIGHUP]) {
            // The two that the C library keeps for itself cannot be caught, and mean nothing to commands.
            let _ = signal_hook::flag::register(signal, Arc::clone(&noted));
        }
        let (children, child_end) = UnixStream::pair()?;
        let (term, term_end) = UnixStream::pair()?;
        children.set_nonblocking(true)?;
        term.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGINT, term_end.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGTERM, term_end)?;
        signal_hook::low_level::pipe::register(SIGCHLD, child_end)?;
        Ok(Self { children, term })
    }
}

/// Takes all bytes out of a signal's pipe; whether there were any.
fn drain(mut pipe: &UnixStream) -> bool {
    let mut bytes = [0_u8; 256];
    let mut any = false;
    while pipe.read(&mut bytes).is_ok_and(|length| length > 0) {
        any = true;
    }
    any
}

/// What woke the loop.
struct Woken {
    children: bool,
    term: bool,
    door: bool,
    output: bool,
    strangers: bool,
    /// Clients by their order.
    clients: Vec<usize>,
}

fn live(mut executor: Executor, signals: Signals) {
    let mut more_children = true;
    loop {
        let now = Instant::now();
        let wait = if more_children { Some(now) } else { executor.due() };
        let woken = block(&executor, &signals, wait.map(|due| due.saturating_duration_since(now)));
        executor.clients.reopen();
        let changed = (woken.children && drain(&signals.children)) || more_children;
        if changed {
            more_children = executor.reap();
        }
        if woken.output {
            executor.output_flowed(Instant::now());
        }
        if woken.door {
            executor.clients.accept();
        }
        for at in woken.clients {
            executor.hear(at);
        }
        if woken.term && drain(&signals.term) {
            executor.end();
        }
        executor.step(changed || woken.strangers);
        executor.clients.flush();
        executor.end_if_left();
        if !executor.is_needed(Instant::now()) {
            return executor.bury();
        }
    }
}

fn block(executor: &Executor, signals: &Signals, wait: Option<Duration>) -> Woken {
    let mut fds = vec![
        PollFd::new(&signals.children, PollFlags::IN),
        PollFd::new(&signals.term, PollFlags::IN),
    ];
    let door = fds.len();
    let listener = executor.clients.listener();
    fds.extend(listener.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let first_client = fds.len();
    let sockets = executor.clients.sockets();
    fds.extend(sockets.map(|(socket, wanted)| PollFd::from_borrowed_fd(socket, wanted)));
    let first_stranger = fds.len();
    fds.extend(executor.strangers().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let first_queue = fds.len();
    fds.extend(executor.watches.fd().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let timeout = wait.map(|wait| Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(wait.subsec_nanos()),
    });
    let interrupted = poll(&mut fds, timeout.as_ref()).is_err();
    let fired = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Woken {
        children: interrupted || fired(0),
        term: interrupted || fired(1),
        door: (door..first_client).any(fired),
        output: fired(first_queue),
        strangers: (first_stranger..first_queue).any(fired),
        clients: (first_client..first_stranger)
            .filter(|at| fired(*at))
            .map(|at| at - first_client)
            .collect(),
    }
}
