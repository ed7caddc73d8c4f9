//! One running command: its limits, its tree, its end.
//!
//! Invariants: the first reason to end it is the one that is told; it is finished only when its main
//! process was waited for and nothing of its tree is left, or when what is left cannot be ended and
//! the end says so.

use super::family::Family;
use super::output::{Flow, Output, Watches};
use super::tree::{Standing, Tree};
use crate::model::protocol::{Cause, CommandKey, End, KnownCommand, StartCommand};
use rustix::process::WaitStatus;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant, SystemTime};

/// While a command that wrote too much may still end by itself, it may write so much more before it is
/// killed.
const OVERRUN_BYTES_MAX: u64 = 16 << 20;

/// A century: longer times are this, so that no sum with a clock overflows.
const MILLISECONDS_MAX: u64 = 100 * 366 * 86_400_000;

/// A time of the protocol.
pub(crate) fn duration(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.min(MILLISECONDS_MAX))
}

/// How the main process ended.
#[derive(Clone, Copy)]
struct Exit {
    code: Option<i32>,
    signal: Option<i32>,
    ended_ms: i64,
}

/// One command from its start to the end of its tree.
pub(crate) struct Running {
    key: CommandKey,
    pid: u32,
    start_time: u64,
    started_ms: i64,
    /// The same by a clock that nobody sets.
    began_ms: u64,
    grace: Duration,
    timeout_at: Option<Instant>,
    tree: Tree,
    output: Output,
    exit: Option<Exit>,
    cause: Option<Cause>,
    /// Absent until the main process has ended and the rest was counted.
    leftovers: Option<u32>,
}

/// Milliseconds since 1970 by the wall clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the machine was started, its sleep included.
fn steady_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1000) + u64::try_from(now.tv_nsec / 1_000_000).unwrap_or_default()
}

impl Running {
    /// A command whose main process was just spawned.
    pub(crate) fn new(start: StartCommand, started_ms: i64, tree: Tree, output: Output) -> Self {
        let (pid, start_time) =
            tree.main.map(|main| (main.pid, main.start_time)).unwrap_or_default();
        Self {
            key: start.key,
            pid,
            start_time,
            started_ms,
            began_ms: steady_ms(),
            grace: duration(start.grace_ms),
            timeout_at: start.timeout_ms.map(|timeout| Instant::now() + duration(timeout)),
            tree,
            output,
            exit: None,
            cause: None,
            leftovers: None,
        }
    }

    /// What a client is told of it.
    pub(crate) fn known(&self) -> KnownCommand {
        let (key, pid, start_time) = (self.key.clone(), self.pid, self.start_time);
        KnownCommand { key, pid, start_time, end: None }
    }

    /// The log, for its watch.
    pub(crate) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The tree, to give back its group at the end.
    pub(crate) fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }

    /// Whether the main process was waited for.
    pub(crate) fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    /// Whether its processes carry this token.
    pub(crate) fn carries(&self, token: &str) -> bool {
        self.tree.token() == token
    }

    /// The main process was waited for.
    pub(crate) fn exited(&mut self, status: WaitStatus) {
        let (code, signal) = (status.exit_status(), status.terminating_signal());
        // So that it took the time it took, also when the wall clock was set meanwhile.
        let took = i64::try_from(steady_ms().saturating_sub(self.began_ms)).unwrap_or(i64::MAX);
        let ended_ms = self.started_ms.saturating_add(took);
        self.exit = Some(Exit { code, signal, ended_ms });
        self.tree.main = None;
        self.timeout_at = None;
    }

    /// Begins to end the tree, unless that has begun or the main process has ended.
    pub(crate) fn stop(&mut self, cause: Cause, family: &mut Family, now: Instant) {
        if self.cause.is_none() && self.exit.is_none() {
            self.cause = Some(cause);
            self.tree.ask(family, now, self.grace);
        }
    }

    /// No more grace.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.tree.hasten(now);
    }

    /// When [`Self::step`] must be called, though nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.timeout_at.into_iter().chain(self.output.due()).chain(self.tree.due()).min()
    }

    /// Does what is due; the end, once the command and its tree are gone.
    pub(crate) fn step(
        &mut self,
        family: &mut Family,
        watches: &mut Watches,
        now: Instant,
    ) -> Option<End> {
        if let Some(exit) = self.exit {
            if !self.tree.left(family) {
                return Some(self.end(exit, None));
            }
            self.count_leftovers(family, now);
        }
        if self.timeout_at.is_some_and(|at| now >= at) {
            self.timeout_at = None;
            self.stop(Cause::Timeout, family, now);
        }
        match self.output.look(watches, now) {
            Flow::Fine => {}
            Flow::Silent => self.stop(Cause::IdleTimeout, family, now),
            Flow::TooMuch(over) => {
                self.stop(Cause::OutputLimit, family, now);
                if over > OVERRUN_BYTES_MAX {
                    self.tree.hasten(now);
                }
            }
        }
        match (self.tree.step(family, now), self.exit) {
            (Standing::GivenUp(count), Some(exit)) => {
                Some(self.end(exit, Some(format!("{count} of its processes could not be ended"))))
            }
            _ => None,
        }
    }

    fn count_leftovers(&mut self, family: &mut Family, now: Instant) {
        if self.leftovers.is_some() {
            return;
        }
        let count = if self.tree.is_ending() {
            self.tree.count()
        } else {
            self.tree.ask(family, now, self.grace)
        };
        self.leftovers = Some(count);
    }

    fn end(&mut self, exit: Exit, detail: Option<String>) -> End {
        let cut = self.output.cut();
        let by_itself = if cut { Cause::OutputLimit } else { Cause::Exited };
        End {
            exit: exit.code,
            signal: exit.signal,
            cause: self.cause.unwrap_or(by_itself),
            detail,
            started_ms: self.started_ms,
            ended_ms: exit.ended_ms,
            leftovers: self.leftovers.unwrap_or(0),
            log_bytes: self.output.bytes(),
        }
    }
}
