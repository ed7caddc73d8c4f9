//! The configuration `_ctx/jobyard.toml`: every key optional, every default finite and named here.
//!
//! Invariants: an unknown key is an error with the nearest known one; values that contradict each
//! other are errors; a [`Config`] that exists is usable. Nothing is looked up on the machine: the
//! number of CPUs or the branch `main` is the caller's business.

mod effective;
mod keys;
mod reading;
mod writing;

use super::defect::Defect;
use super::time::Millis;
use std::collections::BTreeMap;

pub use effective::{Setting, effective};
pub use keys::default_text;
pub use writing::{Change, set};

/// Largest configuration in bytes.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;

/// The reason of a pause or a hold that has none.
pub const NO_REASON: &str = "no reason given";

/// What becomes of an order whose dependency can no longer be satisfied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unsatisfiable {
    /// It stays pending, held (the default).
    #[default]
    Hold,
    /// It is settled as failed, skipped.
    Skip,
    /// It is settled as failed.
    Fail,
}

/// Commands that are told what happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hooks {
    /// `hooks.settled`: shell text run after an order is settled.
    pub settled: Option<String>,
    /// `hooks.drained`: shell text run when nothing is left to do.
    pub drained: Option<String>,
    /// `hooks.timeout`: longest time of each; default 30 s.
    pub timeout: Millis,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { settled: None, drained: None, timeout: Millis::from_secs(30) }
    }
}

/// What is paused: nothing of it is started, each with its reason.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pauses {
    /// All orders.
    pub all: Option<String>,
    /// Those of a group.
    pub groups: BTreeMap<String, String>,
}

/// All settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// How long a file written in place must stay unchanged; default 1 s.
    pub settle: Millis,
    /// Commands that run at once; `None`: as many as CPUs.
    pub slots: Option<u32>,
    /// Program and arguments before a command text; default `bash -c`. Never empty.
    pub shell: Vec<String>,
    /// A manual lease without sign of life for so long is stale; default 1 h.
    pub stale_after: Millis,
    /// Time between TERM and KILL; default 10 s.
    pub grace: Millis,
    /// Longest time of each command of `run`; default 24 h.
    pub timeout: Millis,
    /// Longest silence of each command of `run`; `None`: no limit but `timeout`.
    pub idle_timeout: Option<Millis>,
    /// Longest time of each check; default 1 h.
    pub check_timeout: Millis,
    /// `log.max`: largest log of one command in bytes; default 64 MiB.
    pub log_max: u64,
    /// `git.base`: revision that branches start from; `None`: `main`, `master` or the branch checked out.
    pub git_base: Option<String>,
    /// `git.checkout_workers`: processes of one checkout; 0 (the default): as many as CPUs.
    pub checkout_workers: u32,
    /// `git.timeout`: longest time of a call of git that changes worktrees or branches, 10 min; another's is
    /// waited for as long, a minute at most.
    pub git_timeout: Millis,
    /// `env.pass`: variables copied from the executor's environment into every command's.
    pub env_pass: Vec<String>,
    /// `[engines.<name>] command`: shell text per engine.
    pub engines: BTreeMap<String, String>,
    /// `[groups.<name>] slots`: commands of a group that run at once.
    pub groups: BTreeMap<String, u32>,
    /// `paused` and `[groups.<name>] paused`.
    pub paused: Pauses,
    /// `[hooks]`.
    pub hooks: Hooks,
    /// `dependencies.unsatisfiable`.
    pub unsatisfiable: Unsatisfiable,
    /// `dependencies.require_checks`: an unverified order satisfies no dependency; default false.
    pub require_checks: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            settle: Millis::from_secs(1),
            slots: None,
            shell: vec!["bash".to_owned(), "-c".to_owned()],
            stale_after: Millis::from_secs(3600),
            grace: Millis::from_secs(10),
            timeout: Millis::from_secs(24 * 3600),
            idle_timeout: None,
            check_timeout: Millis::from_secs(3600),
            log_max: 64 << 20,
            git_base: None,
            checkout_workers: 0,
            git_timeout: Millis::from_secs(600),
            env_pass: Vec::new(),
            engines: BTreeMap::new(),
            groups: BTreeMap::new(),
            paused: Pauses::default(),
            hooks: Hooks::default(),
            unsatisfiable: Unsatisfiable::Hold,
            require_checks: false,
        }
    }
}

/// Reads a configuration; everything that is wrong with it otherwise, never empty.
pub fn parse_config(text: &str) -> Result<Config, Vec<Defect>> {
    reading::read(text)
}
