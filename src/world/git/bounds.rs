//! What a call of git may use, as the configuration has it.
//!
//! Invariant: there is a bound on time always.

use crate::model::config::Config;
use std::time::Duration;

/// What a call that changes worktrees or branches may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Parallel writers of a checkout; `None` leaves it to the user's configuration.
    pub checkout_workers: Option<u32>,
    /// Its longest time.
    pub timeout: Duration,
}

impl Bounds {
    /// What `[git]` of the configuration says.
    pub fn of(config: &Config) -> Self {
        let timeout = Duration::from_millis(config.git_timeout.0);
        Self { checkout_workers: Some(config.checkout_workers).filter(|n| *n > 0), timeout }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(&Config::default())
    }
}
