//! The executor's protocol: JSON lines over a stream socket, one message a line.
//!
//! Invariants: the first message of each side is `Hello` with [`VERSION`]; messages may be lost, so
//! each is either answered or repeated in the next `Hello`; the executor starts a [`CommandKey`] at
//! most once, ever; an `Ended` is repeated until acknowledged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the protocol; a daemon that meets another one waits until that executor has ended.
pub const VERSION: u32 = 1;

/// Longest message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Identity of one start: the fence.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CommandKey {
    /// Order id.
    pub id: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// Number of the command in the attempt, from 1, checks included. Checks that are run again get new
    /// numbers.
    pub number: u32,
}

/// One command to start. Times are milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StartCommand {
    /// Identity.
    pub key: CommandKey,
    /// Program and arguments; already decided whether a shell is needed.
    pub argv: Vec<String>,
    /// Working directory, relative to the root; `.` for the root itself.
    pub cwd: String,
    /// Complete variables to set, in this order.
    pub env: Vec<(String, String)>,
    /// Names to copy out of the executor's own environment when present.
    pub pass: Vec<String>,
    /// Log file relative to the root; created exclusively. Its directory is created when missing.
    pub log: String,
    /// Value of `JOBYARD_TOKEN`; marks every process of the attempt.
    pub token: String,
    /// Longest run time.
    pub timeout_ms: Option<u64>,
    /// Longest time without output.
    pub idle_timeout_ms: Option<u64>,
    /// Time between TERM and KILL.
    pub grace_ms: u64,
    /// Largest log in bytes.
    pub log_bytes_max: u64,
}

/// Why a command ended before its time, or that it did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// By itself.
    Exited,
    /// `timeout_ms` passed.
    Timeout,
    /// `idle_timeout_ms` passed.
    IdleTimeout,
    /// The log grew past `log_bytes_max`.
    OutputLimit,
    /// A `Stop` message.
    Stopped,
    /// The executor itself was told to end.
    Shutdown,
    /// It could not be started: not found, not executable, no working directory.
    CouldNotStart,
    /// It was never handed over: the sealed order, which holds its environment, was changed. The scheduler
    /// says this, never the executor.
    SealedChanged,
}

/// The end of a command: the wait status is the only end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Exit status, unless a signal ended it or it never started.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Why.
    pub cause: Cause,
    /// For `CouldNotStart`: what was attempted and why it failed.
    pub detail: Option<String>,
    /// Wall clock at start and end, milliseconds since 1970.
    pub started_ms: i64,
    /// See `started_ms`.
    pub ended_ms: i64,
    /// Processes of the command that were still there when its main process had ended, and were ended.
    pub leftovers: u32,
    /// Size of the log in bytes.
    pub log_bytes: u64,
}

/// A command the executor knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownCommand {
    /// Identity.
    pub key: CommandKey,
    /// Process id of the main process, 0 if it never started.
    pub pid: u32,
    /// Its start time in clock ticks since boot (field 22 of /proc/pid/stat).
    pub start_time: u64,
    /// Absent while it runs.
    pub end: Option<End>,
}

/// Daemon to executor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToExecutor {
    /// First message.
    Hello {
        /// [`VERSION`].
        version: u32,
    },
    /// Start a command.
    Start(Box<StartCommand>),
    /// End the whole tree of a command: TERM, grace, KILL.
    Stop {
        /// Which.
        key: CommandKey,
    },
    /// End every process that carries the token, though no command of this executor (left by a dead one).
    Sweep {
        /// Echoed in `Swept`.
        key: CommandKey,
        /// The attempt's token.
        token: String,
        /// Time between TERM and KILL.
        grace_ms: u64,
    },
    /// The end of this command is recorded; forget it.
    Ack {
        /// Which.
        key: CommandKey,
    },
    /// The daemon ends; end too once nothing runs.
    Bye,
}

/// Executor to daemon.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromExecutor {
    /// First message, with everything it knows and was not acknowledged.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Its process id.
        pid: u32,
        /// Commands that run, or whose end was not acknowledged.
        commands: Vec<KnownCommand>,
    },
    /// The command runs.
    Started {
        /// Which.
        key: CommandKey,
        /// Main process.
        pid: u32,
        /// Field 22 of /proc/pid/stat.
        start_time: u64,
    },
    /// The command and its whole tree are gone.
    Ended {
        /// Which.
        key: CommandKey,
        /// How.
        end: End,
    },
    /// The key was started before (it is known, or its log exists): nothing was started.
    Refused {
        /// Which.
        key: CommandKey,
        /// Why.
        reason: String,
    },
    /// No process with the token is left, or `left` could not be ended.
    Swept {
        /// As asked.
        key: CommandKey,
        /// Processes ended.
        killed: u32,
        /// Processes still there.
        left: u32,
    },
}

/// One line of the executor's journal (`_ctx/runs/.jobyard/exec.journal`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JournalLine {
    /// Boot in which it was written; a line of another boot is still true.
    pub boot: String,
    /// Which command.
    pub key: CommandKey,
    /// How it ended; absent: it is about to be started.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<End>,
}
