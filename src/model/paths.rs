//! Names on disk, built in one place only. All relative to the root.

use super::id::OrderId;
use super::order::State;
use std::path::PathBuf;

/// What holds everything else, and makes a directory a root.
pub const CTX: &str = "_ctx";
/// Requests.
pub const CONTROL: &str = "_ctx/jobs/control";
/// Requests that were answered without an attempt.
pub const ANSWERED: &str = "_ctx/jobs/control/.answered";
/// Run directories.
pub const RUNS: &str = "_ctx/runs";
/// What the daemon and the executor keep for themselves.
pub const OWN: &str = "_ctx/runs/.jobyard";
/// A run directory made ahead, with its first attempt's directory in it.
pub const SPARE: &str = "_ctx/runs/.jobyard/spare";
/// The ledger.
pub const AUDIT: &str = "_ctx/audit";
/// The configuration.
pub const CONFIG: &str = "_ctx/jobyard.toml";
/// The DoD catalogue.
pub const DOD: &str = "_ctx/dod";
/// The epics.
pub const BACKLOG: &str = "_ctx/backlog/backlog.yaml";
/// Ignore rules as they were at a claim, in its run directory.
pub const EXCLUDES: &str = "excludes";
/// The sealed order, in its run directory.
pub const SEALED: &str = "order.yaml";

/// How an attempt ended that no verdict was reached on, in its run directory.
pub const END: &str = "end.txt";
/// The verdict of an attempt, in its run directory.
pub const VERDICT: &str = "verdict.json";

/// The published form of `verdict.json`.
pub const VERDICT_SCHEMA: &str = "_ctx/schema/verdict.schema.json";

/// The directories that jobyard works with, each after that which holds it.
pub fn needed() -> Vec<PathBuf> {
    let above = [CTX, "_ctx/jobs"].map(PathBuf::from);
    let own = [CONTROL, ANSWERED, RUNS, OWN, AUDIT].map(PathBuf::from);
    above.into_iter().chain(State::ALL.map(dir)).chain(own).collect()
}

/// Directory of a state.
pub fn dir(state: State) -> PathBuf {
    PathBuf::from(format!("_ctx/jobs/{}", state.name()))
}

/// A ticket.
pub fn ticket(state: State, id: &OrderId) -> PathBuf {
    PathBuf::from(format!("_ctx/jobs/{}/{id}.yaml", state.name()))
}

/// The explanation beside a ticket.
pub fn why(state: State, id: &OrderId) -> PathBuf {
    PathBuf::from(format!("_ctx/jobs/{}/{id}.yaml.why", state.name()))
}

/// The lease of a running order.
pub fn lock(id: &OrderId) -> PathBuf {
    PathBuf::from(format!("_ctx/jobs/running/{id}.lock"))
}

/// The synced file that process leases of one instance are links to.
pub fn instance_lease(instance: &str, generation: u32) -> PathBuf {
    PathBuf::from(format!("{OWN}/lease-{instance}-{generation}"))
}

/// The attempts of an order.
pub fn runs(id: &OrderId) -> PathBuf {
    PathBuf::from(format!("{RUNS}/{id}"))
}

/// One attempt.
pub fn run(id: &OrderId, attempt: u32) -> PathBuf {
    PathBuf::from(format!("{RUNS}/{id}/{attempt}"))
}

/// The audit log of an order.
pub fn execution_log(id: &OrderId) -> PathBuf {
    PathBuf::from(format!("{RUNS}/{id}/execution.log"))
}
