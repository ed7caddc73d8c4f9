//! The gate: from preconditions, changes and checks to one verdict.
//!
//! Invariants: the verdict is a function of its input; nothing is PASS unless a check that could have
//! failed passed on a commit that did not move; what could not be run never counts as passed.

use super::scope::Violation;
use super::vacuous::is_vacuous;
use crate::model::protocol::{Cause, End};
use crate::model::tree::{CommitId, TreeFacts};
use std::fmt;

/// Most names in one sentence.
const NAMES_MAX: usize = 5;

/// How one check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Status 0.
    Pass,
    /// Another status.
    Fail,
    /// Not found, not executable, killed, timed out: it says nothing about the work.
    CouldNotRun,
    /// It ended with 0 and could not have ended otherwise.
    Vacuous,
}

impl Outcome {
    /// The word in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::CouldNotRun => "could-not-run",
            Self::Vacuous => "vacuous",
        }
    }
}

/// One check that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckResult {
    /// Short name, unique in the attempt.
    pub name: String,
    /// The command as sealed.
    pub text: String,
    /// Working directory, relative to the root.
    pub cwd: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Exit status.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Wall clock, milliseconds since 1970.
    pub started_ms: i64,
    /// Wall clock, milliseconds since 1970.
    pub ended_ms: i64,
    /// `timeout` or `idle_timeout` passed.
    pub timed_out: bool,
    /// Why it says nothing about the work; empty when it does, or when nobody saw its end.
    pub unrun: String,
    /// Log, relative to the root; empty when none was kept.
    pub log: String,
    /// SHA-256 of the log, hexadecimal; empty when there is no log.
    pub sha256: String,
}

/// Something that must hold before anything is judged, and does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// No registered worktree at its place.
    NoWorktree {
        /// The order's branch.
        branch: String,
    },
    /// HEAD is on no branch.
    Detached {
        /// The order's branch.
        branch: String,
    },
    /// HEAD is on another branch.
    WrongBranch {
        /// Where it is.
        found: String,
        /// The order's branch.
        branch: String,
    },
    /// HEAD has no commit that can be read.
    NoCommit,
    /// Tracked files differ from HEAD.
    Changed(Vec<String>),
    /// Files that nothing tracks or ignores.
    Untracked(Vec<String>),
    /// Files that git was told not to look at.
    Hidden(Vec<String>),
    /// As the ledger has it, or found outside the worktree.
    Recorded {
        /// The machine's word.
        word: &'static str,
        /// One sentence.
        text: String,
    },
}

impl Precondition {
    /// The machine's word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoWorktree { .. } => "no-worktree",
            Self::Detached { .. } => "detached",
            Self::WrongBranch { .. } => "wrong-branch",
            Self::NoCommit => "no-commit",
            Self::Changed(_) | Self::Untracked(_) => "dirty",
            Self::Hidden(_) => "hidden-files",
            Self::Recorded { word, .. } => word,
        }
    }

    /// A precondition as the ledger has it. An unknown word is read as `git`.
    pub fn recorded(word: &str, text: &str) -> Self {
        const WORDS: [&str; 7] = [
            "no-worktree",
            "detached",
            "wrong-branch",
            "no-commit",
            "dirty",
            "hidden-files",
            "sealed-changed",
        ];
        let word = WORDS.into_iter().find(|w| *w == word).unwrap_or("git");
        Self::Recorded { word, text: text.to_owned() }
    }
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWorktree { branch } => write!(
                f,
                "the worktree is missing or is not registered with this repository: `git worktree \
                 add -f` it again on {branch}, or `jobyard cancel` the order and `requeue` it"
            ),
            Self::Detached { branch } => write!(
                f,
                "HEAD is detached: `git switch {branch}` in the worktree (merge what you committed)"
            ),
            Self::WrongBranch { found, branch } => {
                write!(f, "the worktree is on branch {found:?}: `git switch {branch}` there")
            }
            Self::NoCommit => f.write_str("HEAD names no commit: commit the work"),
            Self::Changed(files) => {
                write!(f, "changes are not committed: {}: commit or undo them", names(files))
            }
            Self::Untracked(files) => write!(
                f,
                "files are neither tracked nor ignored: {}: add, ignore or delete them",
                names(files)
            ),
            Self::Hidden(files) => write!(
                f,
                "git was told not to look at {}: `git update-index --no-skip-worktree \
                 --no-assume-unchanged` them",
                names(files)
            ),
            Self::Recorded { text, .. } => f.write_str(text),
        }
    }
}

/// What does not hold in a worktree that should be on `branch` and clean; empty when all is well.
pub fn preconditions(branch: &str, before: &TreeFacts) -> Vec<Precondition> {
    if !before.exists {
        return vec![Precondition::NoWorktree { branch: branch.to_owned() }];
    }
    let mut missing = Vec::new();
    match &before.branch {
        None => missing.push(Precondition::Detached { branch: branch.to_owned() }),
        Some(found) if found != branch => missing
            .push(Precondition::WrongBranch { found: found.clone(), branch: branch.to_owned() }),
        Some(_) => {}
    }
    if before.head.is_none() {
        missing.push(Precondition::NoCommit);
    }
    type Made = fn(Vec<String>) -> Precondition;
    let lists: [(&Vec<String>, Made); 3] = [
        (&before.changed, Precondition::Changed),
        (&before.untracked, Precondition::Untracked),
        (&before.hidden, Precondition::Hidden),
    ];
    for (files, made) in lists {
        if !files.is_empty() {
            missing.push(made(files.clone()));
        }
    }
    missing
}

/// What the end of a check means. `command_text` is the command as sealed.
pub fn outcome(end: &End, command_text: &str) -> Outcome {
    match (end.cause, end.exit, end.signal) {
        (Cause::Exited, Some(126 | 127) | None, _) | (Cause::Exited, _, Some(_)) => {
            Outcome::CouldNotRun
        }
        (Cause::Exited, Some(0), None) if is_vacuous(command_text) => Outcome::Vacuous,
        (Cause::Exited, Some(0), None) => Outcome::Pass,
        (Cause::Exited, Some(_), None) => Outcome::Fail,
        (
            Cause::Timeout
            | Cause::IdleTimeout
            | Cause::OutputLimit
            | Cause::Stopped
            | Cause::Shutdown
            | Cause::CouldNotStart
            | Cause::SealedChanged,
            ..,
        ) => Outcome::CouldNotRun,
    }
}

/// Why a check could not be run; empty when it was.
pub fn unrun(end: &End) -> String {
    let detail = || end.detail.as_ref().map_or_else(String::new, |d| format!(": {d}"));
    match (end.cause, end.exit, end.signal) {
        (Cause::Timeout, ..) => "ran out of time".to_owned(),
        (Cause::IdleTimeout, ..) => "was silent for too long".to_owned(),
        (Cause::OutputLimit, ..) => "wrote more than log.max and was ended".to_owned(),
        (Cause::Stopped, ..) => "was stopped".to_owned(),
        (Cause::Shutdown, ..) => "was ended with the executor".to_owned(),
        (Cause::CouldNotStart, ..) => format!("could not be started{}", detail()),
        (Cause::SealedChanged, ..) => {
            format!("was not started: what it needs is not what was sealed{}", detail())
        }
        (Cause::Exited, _, Some(signal)) => format!("was ended by signal {signal}"),
        (Cause::Exited, Some(127), _) => "was not found, or runs what was not (status 127)".into(),
        (Cause::Exited, Some(126), _) => {
            "is not executable, or runs what is not (status 126)".into()
        }
        (Cause::Exited, None, None) => "ended without a status".to_owned(),
        (Cause::Exited, Some(_), None) => String::new(),
    }
}

/// All that a verdict depends on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GateInput {
    /// What did not hold before; the rest is then not looked at.
    pub preconditions: Vec<Precondition>,
    /// Changes out of scope or over budget.
    pub violations: Vec<Violation>,
    /// Every check that was run, in order.
    pub checks: Vec<CheckResult>,
    /// `required_artifacts` of the DoD entry that are not there.
    pub missing_artifacts: Vec<String>,
    /// A `dod_id` that the catalogue did not know at the claim.
    pub unknown_dod: Option<String>,
    /// The recorded reason of `--skip-verification`.
    pub skip: Option<String>,
    /// Commit of HEAD before the checks.
    pub head_before: Option<CommitId>,
    /// Commit of HEAD after them; the same value when none was run.
    pub head_after: Option<CommitId>,
    /// Checks that began while HEAD was elsewhere, with where it was.
    pub strayed: Vec<String>,
    /// Tracked files that differ from HEAD after the checks.
    pub changed_after: Vec<String>,
    /// `workspace: none`: no git, no commit.
    pub workspace_none: bool,
}

/// The four ends of the gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VerdictResult {
    /// Verified: to `done/`.
    Pass,
    /// Nothing was found wrong, and nothing was proven: to `done/`, counted apart.
    Unverified,
    /// To `failed/`.
    Fail,
    /// A person skipped the verification and said why: to `done/`, counted apart.
    Skipped,
}

impl VerdictResult {
    /// The word in files and tickets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unverified => "unverified",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// What the gate decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Which end.
    pub result: VerdictResult,
    /// One machine word: the first reason by weight.
    pub reason: &'static str,
    /// Every reason, for people.
    pub sentences: Vec<String>,
    /// The commit that the checks passed on; only for [`VerdictResult::Pass`].
    pub verified_at: Option<CommitId>,
    /// The commit the verdict is about.
    pub commit: Option<CommitId>,
}

/// Decides. Preconditions come first, also before a skip: a dirty tree is no commit to talk about.
pub fn decide(input: &GateInput) -> Verdict {
    let failed = failures(input);
    let weak = weaknesses(input);
    let (result, reason) = if let Some(missing) = input.preconditions.first() {
        (VerdictResult::Fail, missing.word())
    } else if input.skip.is_some() {
        (VerdictResult::Skipped, "skipped")
    } else if let Some((word, _)) = failed.first() {
        (VerdictResult::Fail, *word)
    } else if let Some((word, _)) = weak.first() {
        (VerdictResult::Unverified, *word)
    } else {
        (VerdictResult::Pass, "passed")
    };
    let mut sentences: Vec<String> = input.preconditions.iter().map(ToString::to_string).collect();
    sentences.extend(input.skip.iter().map(|why| format!("verification was skipped: {why}")));
    sentences.extend(failed.into_iter().chain(weak).map(|(_, text)| text));
    if result == VerdictResult::Pass {
        sentences.push(format!("{} check(s) passed", input.checks.len()));
    }
    let commit = input.head_before.clone().filter(|_| !input.workspace_none);
    let verified_at = commit.clone().filter(|_| result == VerdictResult::Pass);
    Verdict { result, reason, sentences, verified_at, commit }
}

type Reasons = Vec<(&'static str, String)>;

/// What makes the verdict FAIL, heaviest first.
fn failures(input: &GateInput) -> Reasons {
    let mut found = Reasons::new();
    let (amount, place): (Vec<&Violation>, Vec<&Violation>) =
        input.violations.iter().partition(|v| v.rule.is_budget());
    found.extend(place.iter().map(|v| ("out-of-scope", v.text.clone())));
    found.extend(amount.iter().map(|v| ("over-budget", v.text.clone())));
    let of = |outcome| input.checks.iter().filter(move |c| c.outcome == outcome);
    found.extend(of(Outcome::Fail).map(|c| ("checks-failed", how_failed(c))));
    found.extend(of(Outcome::CouldNotRun).map(|c| ("could-not-run", how_not_run(c))));
    if !input.missing_artifacts.is_empty() {
        let text = format!("required artifacts are missing: {}", names(&input.missing_artifacts));
        found.push(("artifact-missing", text));
    }
    if !input.workspace_none && input.preconditions.is_empty() {
        found.extend(moved(input).map(|text| ("moved-during-checks", text)));
        if input.head_before.is_none() {
            found.push(("no-commit", Precondition::NoCommit.to_string()));
        }
    }
    if !input.checks.is_empty() && input.checks.iter().all(|c| c.outcome == Outcome::Vacuous) {
        let text = "no check could have failed: write one that looks at the work".to_owned();
        found.push(("vacuous", text));
    }
    found
}

/// What keeps a verdict without failures from being PASS.
fn weaknesses(input: &GateInput) -> Reasons {
    let mut found = Reasons::new();
    if let Some(id) = &input.unknown_dod {
        found.push(("unknown-dod", format!("dod_id {id:?} is not in the catalogue")));
    }
    let looked = input.preconditions.is_empty() && input.violations.is_empty();
    if input.checks.is_empty() && looked && input.skip.is_none() {
        found.push(("no-checks", "the order has no checks: nothing was verified".to_owned()));
    }
    found
}

fn moved(input: &GateInput) -> Option<String> {
    if input.head_before != input.head_after {
        let shown = |c: &Option<CommitId>| c.as_ref().map_or("none", CommitId::as_str).to_owned();
        return Some(format!(
            "HEAD moved while the checks ran: from {} to {}",
            shown(&input.head_before),
            shown(&input.head_after)
        ));
    }
    if !input.strayed.is_empty() {
        return Some(format!("HEAD moved between the checks: {}", input.strayed.join("; ")));
    }
    (!input.changed_after.is_empty())
        .then(|| format!("the checks changed tracked files: {}", names(&input.changed_after)))
}

fn how_failed(check: &CheckResult) -> String {
    let status = check.exit.map_or_else(|| "no status".to_owned(), |s| format!("status {s}"));
    format!("{}: {} ended with {status}{}", check.name, quoted(&check.text), see(check))
}

fn how_not_run(check: &CheckResult) -> String {
    let why = if check.unrun.is_empty() { "ended unseen" } else { &check.unrun };
    format!("{}: {} {why}{}", check.name, quoted(&check.text), see(check))
}

/// Where its output is, when it was kept.
fn see(check: &CheckResult) -> String {
    if check.log.is_empty() { String::new() } else { format!("; see {}", check.log) }
}

/// The first line of a command, shortened.
fn quoted(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let short: String = line.chars().take(80).collect();
    if short.len() < text.trim().len() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// The first names, escaped, and how many there are.
fn names(files: &[String]) -> String {
    let shown: Vec<String> = files.iter().take(NAMES_MAX).map(|f| format!("{f:?}")).collect();
    let more = files.len().saturating_sub(NAMES_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
