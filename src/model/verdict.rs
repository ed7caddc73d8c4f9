//! `verdict.json`: the form in which a verdict is kept.
//!
//! Invariant: the schema is made of these types and published (`docs/verdict.md`); fields are added, never
//! changed. Times are RFC 3339 in UTC.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Value of the field `schema`.
pub const SCHEMA: &str = "jobyard.verdict.v1";

/// One verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerdictFile {
    /// Name and version of this form.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// Id of the work order.
    pub id: String,
    /// Number of the attempt.
    #[schemars(range(min = 1))]
    pub attempt: u32,
    /// What it comes to.
    #[schemars(extend("enum" = ["pass", "unverified", "fail", "skipped"]))]
    pub result: String,
    /// Machine word of the first reason by weight; `passed` for pass.
    pub reason: String,
    /// Every reason, for people.
    pub sentences: Vec<String>,
    /// The reason a person gave for skipping the verification.
    #[serde(rename = "override")]
    pub override_reason: Option<String>,
    /// Commit the branch started from, as sealed; null without git.
    pub base: Option<String>,
    /// Commit the verdict is about; null without git or without a commit.
    pub commit: Option<String>,
    /// The same commit when the checks passed on it: only for pass.
    pub verified_at_sha: Option<String>,
    /// When the first check began, else when the gate decided.
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
    /// When the gate decided.
    #[schemars(extend("format" = "date-time"))]
    pub ended: String,
    /// Every check that was begun, in order; empty when something before them decided.
    pub checks: Vec<CheckEntry>,
    /// Changes out of scope or over budget.
    pub scope_violations: Vec<ViolationEntry>,
    /// SHA-256 of the sealed order: of `order.yaml` beside this file.
    pub order_digest: String,
    /// Number of the ledger's line of this verdict.
    #[schemars(range(min = 1))]
    pub ledger_seq: u64,
    /// Hash of that line.
    #[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
    pub ledger_hash: String,
}

/// One check of a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckEntry {
    /// Short name, unique in the attempt.
    pub name: String,
    /// Its text, as sealed.
    pub command: String,
    /// Working directory, relative to the root.
    pub cwd: String,
    /// How it ended.
    #[schemars(extend("enum" = ["pass", "fail", "could-not-run", "vacuous"]))]
    pub outcome: String,
    /// Exit status; null when it did not exit by itself.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// When it began.
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
    /// How long it ran.
    pub duration_ms: u64,
    /// It ran out of time.
    pub timed_out: bool,
    /// Its output, relative to the root.
    pub log: String,
    /// SHA-256 of the log, at most of its first 128 MiB; empty without a log.
    #[schemars(extend("pattern" = "^([0-9a-f]{64})?$"))]
    pub sha256: String,
}

/// One violation of a verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ViolationEntry {
    /// The path; empty when the whole change is meant.
    pub path: String,
    /// Machine word of the rule.
    pub rule: String,
    /// One sentence.
    pub text: String,
}
