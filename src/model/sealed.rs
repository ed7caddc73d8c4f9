//! What is sealed at the claim: everything the gate and the executor will need, decided once.
//!
//! Invariants: written into the ledger before anything runs and never resolved again; holds names of
//! environment variables only, never their values (those stay in the ticket and its sealed copy).

use super::cone::Cone;
use super::order::{DiffBudget, Retry, RetryOn, Scope};
use super::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One Definition-of-Done command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SealedCheck {
    /// Name for people and for the log file.
    pub name: String,
    /// Shell text.
    pub command: String,
}

/// Retry policy in ledger form; times in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SealedRetry {
    /// Extra attempts.
    pub max: u32,
    /// First delay.
    pub start_ms: u64,
    /// Growth in percent.
    pub factor_percent: u32,
    /// Largest delay.
    pub cap_ms: u64,
    /// Random share in percent.
    pub jitter_percent: u32,
    /// Which ends are retried.
    pub on: Vec<String>,
    /// Most attempts that may end in a FAIL of the gate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_fail_verify: Option<u32>,
}

/// The sealed order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sealed {
    /// SHA-256 of the ticket's bytes at the claim.
    pub digest: String,
    /// SHA-256 of the ignore rules outside `.gitignore` files; absent without a worktree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excludes: Option<String>,
    /// SHA-256 of the settings by which git converts files and borrows objects; absent without a worktree.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settings: Option<String>,
    /// Digest of its terms ([`super::terms`]), where it may be tried again by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub terms: Option<String>,
    /// Commands of `run`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub run: Vec<String>,
    /// Checks, those of the DoD entry included.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub checks: Vec<SealedCheck>,
    /// Globs of files that must exist.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub required_artifacts: Vec<String>,
    /// `dod_id` when the catalogue did not know it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unknown_dod: Option<String>,
    /// Absent: everything allowed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<SealedScope>,
    /// Directories that the worktree holds; absent: everything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cone: Option<Vec<String>>,
    /// Most files touched.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_files: Option<u64>,
    /// Most lines added plus deleted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_loc: Option<u64>,
    /// Retry policy; absent when nothing is ever retried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry: Option<SealedRetry>,
    /// Longest time of each command of `run`.
    pub timeout_ms: u64,
    /// Longest silence of each command of `run`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub idle_timeout_ms: Option<u64>,
    /// Longest time of each check.
    pub check_timeout_ms: u64,
    /// Names of the order's variables.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub env: Vec<String>,
    /// Slot group.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
    /// Epic whose status follows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epic: Option<String>,
    /// Retries used before this attempt.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub retries: u32,
    /// Failed verdicts before this attempt, since the last request of a person.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub verify_fails: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Scope in ledger form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SealedScope {
    /// Globs of what may change.
    pub allow: Vec<String>,
    /// Globs of what may not.
    pub deny: Vec<String>,
}

impl Sealed {
    /// The scope as the gate takes it.
    pub fn scope(&self) -> Option<Scope> {
        self.scope.as_ref().map(|s| Scope { allow: s.allow.clone(), deny: s.deny.clone() })
    }

    /// The directories that the worktree holds; `None`: everything.
    pub fn cone(&self) -> Option<Cone> {
        self.cone.clone().map(Cone::of_dirs)
    }

    /// The budget as the gate takes it.
    pub fn budget(&self) -> DiffBudget {
        DiffBudget { max_files: self.max_files, max_loc: self.max_loc }
    }

    /// The retry policy as the planner takes it.
    pub fn retry(&self) -> Retry {
        match &self.retry {
            None => Retry { max: 0, ..Retry::default() },
            Some(r) => Retry {
                max: r.max,
                start: Millis(r.start_ms),
                factor_percent: r.factor_percent,
                cap: Millis(r.cap_ms),
                jitter_percent: r.jitter_percent,
                on: r.on.iter().filter_map(|w| retry_on(w)).collect(),
                max_fail_verify: r.max_fail_verify,
            },
        }
    }
}

impl SealedRetry {
    /// Ledger form of a policy; `None` when it never retries.
    pub fn of(retry: &Retry) -> Option<Self> {
        (retry.max > 0).then(|| Self {
            max: retry.max,
            start_ms: retry.start.0,
            factor_percent: retry.factor_percent,
            cap_ms: retry.cap.0,
            jitter_percent: retry.jitter_percent,
            on: retry.on.iter().map(|w| retry_word(*w).to_owned()).collect(),
            max_fail_verify: retry.max_fail_verify,
        })
    }
}

/// The word of `retry.on`.
pub const fn retry_word(on: RetryOn) -> &'static str {
    match on {
        RetryOn::Fail => "fail",
        RetryOn::VerifyFail => "verify-fail",
        RetryOn::Timeout => "timeout",
        RetryOn::Lost => "lost",
        RetryOn::Stopped => "stopped",
        RetryOn::OutputLimit => "output-limit",
    }
}

fn retry_on(word: &str) -> Option<RetryOn> {
    use RetryOn::{Fail, Lost, OutputLimit, Stopped, Timeout, VerifyFail};
    [Fail, VerifyFail, Timeout, Lost, Stopped, OutputLimit]
        .into_iter()
        .find(|o| retry_word(*o) == word)
}
