//! `verdict.json`: the form in which a verdict is kept.
//!
//! Invariant: the schema is published (`docs/verdict.md`); fields are added, never changed. Times are RFC
//! 3339 in UTC.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Value of the field `schema`.
pub const SCHEMA: &str = "jobyard.verdict.v1";

/// The schema itself, as `init` hands it out.
pub const JSON_SCHEMA: &str = include_str!("../../schema/verdict.schema.json");

/// One verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerdictFile {
    /// [`SCHEMA`].
    pub schema: String,
    /// The order.
    pub id: String,
    /// Its attempt.
    pub attempt: u32,
    /// `pass`, `unverified`, `fail` or `skipped`.
    pub result: String,
    /// One machine word.
    pub reason: String,
    /// Every reason, for people.
    pub sentences: Vec<String>,
    /// The reason a person gave for skipping the verification.
    #[serde(rename = "override")]
    pub override_reason: Option<String>,
    /// Commit the branch started from, as sealed.
    pub base: Option<String>,
    /// Commit the verdict is about.
    pub commit: Option<String>,
    /// Commit the checks passed on.
    pub verified_at_sha: Option<String>,
    /// When the gate began.
    pub started: String,
    /// When it decided.
    pub ended: String,
    /// Every check, in order.
    pub checks: Vec<CheckEntry>,
    /// Changes out of scope or over budget.
    pub scope_violations: Vec<ViolationEntry>,
    /// SHA-256 of the sealed order.
    pub order_digest: String,
    /// Ledger line of the verdict.
    pub ledger_seq: u64,
    /// Its hash.
    pub ledger_hash: String,
}

/// One check of a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckEntry {
    /// Short name.
    pub name: String,
    /// The command as sealed.
    pub command: String,
    /// Working directory, relative to the root.
    pub cwd: String,
    /// `pass`, `fail`, `could-not-run` or `vacuous`.
    pub outcome: String,
    /// Exit status.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// When it began.
    pub started: String,
    /// How long it ran.
    pub duration_ms: u64,
    /// It ran out of time.
    pub timed_out: bool,
    /// Log, relative to the root.
    pub log: String,
    /// SHA-256 of the log.
    pub sha256: String,
}

/// One violation of a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ViolationEntry {
    /// The path; empty when the whole change is meant.
    pub path: String,
    /// The rule's word.
    pub rule: String,
    /// One sentence.
    pub text: String,
}
