//! What really ran, outside the simulated disk: the judge of "at most once".
//!
//! Invariant: lines are only added, and an end is written once; no fault of a life touches this.

use jobyard::model::protocol::{Cause, CommandKey};
use std::collections::BTreeMap;

/// One process that really ran a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Of which command.
    pub(crate) key: CommandKey,
    /// Its token.
    pub(crate) token: String,
    /// Process id.
    pub(crate) pid: u32,
    /// Start time.
    pub(crate) start: u64,
    /// Number of the boot.
    pub(crate) boot: u64,
    /// Age of the life at its start, in milliseconds.
    pub(crate) from_ms: u64,
    /// Age at its end; `None` while it runs.
    pub(crate) to_ms: Option<u64>,
    /// How it ended.
    pub(crate) end: Option<RunEnd>,
}

/// How a process really ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RunEnd {
    /// The executor saw it.
    Seen {
        /// Exit status unless a signal ended it.
        exit: Option<i32>,
        /// Why.
        cause: Cause,
    },
    /// Nobody saw it: its executor was dead.
    Unseen {
        /// Exit status unless a signal ended it.
        exit: Option<i32>,
    },
    /// The power failed.
    PowerCut,
}

/// All that ran in a life.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    /// In the order of their starts.
    pub(crate) runs: Vec<Run>,
    /// How often each command was started.
    pub(crate) times: BTreeMap<CommandKey, u32>,
    /// A start (second) while another process of the same order (first) was alive.
    pub(crate) overlaps: Vec<(CommandKey, CommandKey)>,
}

impl Effects {
    /// How often this command ran.
    pub(crate) fn times(&self, key: &CommandKey) -> u32 {
        self.times.get(key).copied().unwrap_or(0)
    }

    /// Commands that ran more than once.
    pub(crate) fn repeated(&self) -> Vec<&CommandKey> {
        self.times.iter().filter(|(_, n)| **n > 1).map(|(key, _)| key).collect()
    }

    /// All processes that ever ran for an order.
    pub(crate) fn of_order<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |r| r.key.id == id)
    }

    /// The process of a command that ran last.
    pub(crate) fn last(&self, key: &CommandKey) -> Option<&Run> {
        self.runs.iter().rev().find(|r| r.key == *key)
    }

    pub(super) fn begin(&mut self, run: Run) -> usize {
        *self.times.entry(run.key.clone()).or_insert(0) += 1;
        self.runs.push(run);
        self.runs.len() - 1
    }

    pub(super) fn end(&mut self, at: usize, how: RunEnd, age_ms: u64) {
        let run = &mut self.runs[at];
        if run.end.is_none() {
            (run.end, run.to_ms) = (Some(how), Some(age_ms));
        }
    }

    pub(super) fn all_end(&mut self, how: RunEnd, age_ms: u64) {
        (0..self.runs.len()).for_each(|at| self.end(at, how, age_ms));
    }
}
