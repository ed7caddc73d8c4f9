//! A work order as a value: what a ticket says, after strict reading.
//!
//! Invariant: an [`Order`] that exists is valid; every default is finite and applied already, except
//! those that the configuration decides (`None` there).

use super::cone::Cone;
use super::id::OrderId;
use super::time::{Millis, Moment};
use std::collections::BTreeMap;

/// How much an order matters; `P0` = critical … `P3` = low.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Priority {
    /// P0, weight 1000.
    Critical,
    /// P1, weight 100.
    High,
    /// P2, the default, weight 10.
    Medium,
    /// P3, weight 1.
    Low,
}

impl Priority {
    /// The words of both vocabularies, for messages.
    pub const WORDS: [&'static str; 8] =
        ["P0", "P1", "P2", "P3", "critical", "high", "medium", "low"];

    /// Reads `P0`..`P3` or `critical`, `high`, `medium`, `low`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|w| w.eq_ignore_ascii_case(text))?;
        Some([Self::Critical, Self::High, Self::Medium, Self::Low][at % 4])
    }

    /// `critical`, `high`, `medium` or `low`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// A time as people write it: an instant, or a whole day in the zone of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// An RFC 3339 time.
    At(Moment),
    /// A civil date. As a deadline its last millisecond counts, as `not_before` its first.
    Day(jiff::civil::Date),
}

impl When {
    /// Reads an RFC 3339 time, with a blank instead of the `T` too, or a date `2026-01-31`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' {
            return text.parse().ok().map(Self::Day);
        }
        Moment::parse(text).map(Self::At)
    }
}

/// Which end of the upstream order satisfies a dependency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DependsOn {
    /// It is in `done/` (the default).
    Success,
    /// It is in `failed/`.
    Failure,
    /// It is in either.
    Always,
}

impl DependsOn {
    /// The words of `on`.
    pub const WORDS: [&'static str; 3] = ["success", "failure", "always"];

    /// Reads `success`, `failure` or `always`.
    pub fn parse(text: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|w| *w == text)?;
        Some([Self::Success, Self::Failure, Self::Always][at])
    }

    /// `success`, `failure` or `always`.
    pub const fn name(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// One dependency.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Dependency {
    /// The upstream order.
    pub id: OrderId,
    /// Which of its ends counts.
    pub on: DependsOn,
}

/// Which paths an order may change. `allow` empty: nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    /// Globs of what may change.
    pub allow: Vec<String>,
    /// Globs of what may not; beats `allow`.
    pub deny: Vec<String>,
}

/// How much an order may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiffBudget {
    /// Most files touched.
    pub max_files: Option<u64>,
    /// Most lines added plus deleted.
    pub max_loc: Option<u64>,
}

/// Ends of an attempt that a retry can follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RetryOn {
    /// A command of `run` ended with another status than 0.
    Fail,
    /// The gate said FAIL after `run` had passed.
    VerifyFail,
    /// `timeout` or `idle_timeout` passed.
    Timeout,
    /// Nobody saw the end of a command.
    Lost,
    /// The executor was stopped under it.
    Stopped,
    /// More output than `log.max`.
    OutputLimit,
}

impl RetryOn {
    /// The words of `retry.on`.
    pub const WORDS: [&'static str; 6] =
        ["fail", "verify-fail", "timeout", "lost", "stopped", "output-limit"];

    /// Reads one of [`RetryOn::WORDS`], `_` counting as `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace('_', "-");
        let at = Self::WORDS.iter().position(|w| *w == text)?;
        let all = [
            Self::Fail,
            Self::VerifyFail,
            Self::Timeout,
            Self::Lost,
            Self::Stopped,
            Self::OutputLimit,
        ];
        Some(all[at])
    }
}

/// Retry policy of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Extra attempts after the first; default 0.
    pub max: u32,
    /// First delay; default 1 s.
    pub start: Millis,
    /// Growth of the delay in hundredths: 200 = doubles; default 200.
    pub factor_percent: u32,
    /// Largest delay; default 60 s.
    pub cap: Millis,
    /// Random share of the delay in percent, 0..=100; default 0.
    pub jitter_percent: u32,
    /// Which ends are retried; default fail, verify-fail, timeout.
    pub on: Vec<RetryOn>,
    /// `stop_conditions.max_fail_verify`: most attempts that may end in a FAIL of the gate.
    pub max_fail_verify: Option<u32>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max: 0,
            start: Millis::from_secs(1),
            factor_percent: 200,
            cap: Millis::from_secs(60),
            jitter_percent: 0,
            on: vec![RetryOn::Fail, RetryOn::VerifyFail, RetryOn::Timeout],
            max_fail_verify: None,
        }
    }
}

/// Where the commands of an order run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Workspace {
    /// A git worktree and branch of its own (the default).
    #[default]
    Worktree,
    /// The root itself; no git preconditions, no commit.
    None,
    /// The worktree of another order.
    Inherit(OrderId),
}

/// Which files a worktree of its own begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checkout {
    /// All (the default).
    #[default]
    Full,
    /// The directories that `scope.allow` names, and the files beside them on the way.
    Scope,
}

impl Checkout {
    /// The words of `checkout`.
    pub const WORDS: [&'static str; 2] = ["full", "scope"];

    /// Reads `full` or `scope`.
    pub fn parse(text: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|w| *w == text)?;
        Some([Self::Full, Self::Scope][at])
    }
}

/// One work order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Identity; equal to the stem of the file name.
    pub id: OrderId,
    /// One line for people.
    pub title: String,
    /// Text for the worker.
    pub objective: Option<String>,
    /// Epic in the backlog.
    pub epic_id: Option<String>,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The `owner` key: a label, never compared.
    pub owner: Option<String>,
    /// Whom it is meant for: an orchestrator's id or a name.
    pub assignee: Option<String>,
    /// Default medium.
    pub priority: Priority,
    /// When it should be done; raises the score.
    pub deadline: Option<When>,
    /// Not started earlier.
    pub not_before: Option<When>,
    /// The `status` key as written; follows the directory, never read for a decision.
    pub status: Option<String>,
    /// What must have ended before.
    pub dependencies: Vec<Dependency>,
    /// Shell commands, in order.
    pub run: Vec<String>,
    /// `execution.engine`.
    pub engine: Option<String>,
    /// `verify.commands`.
    pub checks: Vec<String>,
    /// `verify.timeout`, for each check.
    pub check_timeout: Option<Millis>,
    /// Entry of the DoD catalogue.
    pub dod_id: Option<String>,
    /// Absent: everything allowed.
    pub scope: Option<Scope>,
    /// Absent: no limit.
    pub diff_budget: DiffBudget,
    /// Retry policy.
    pub retry: Retry,
    /// Longest time of each command of `run`.
    pub timeout: Option<Millis>,
    /// Longest silence of each command of `run`.
    pub idle_timeout: Option<Millis>,
    /// Slot group.
    pub group: Option<String>,
    /// Extra environment of the commands. Values are secret: never print them.
    pub env: BTreeMap<String, String>,
    /// Where commands run.
    pub workspace: Workspace,
    /// Which files its worktree begins with.
    pub checkout: Checkout,
    /// Git revision the branch starts from.
    pub base: Option<String>,
    /// Globs of declared artifacts; `None`: not declared.
    pub artifacts: Option<Vec<String>>,
    /// The person's own `hold:` key: `Some(reason)` holds the order.
    pub hold: Option<String>,
    /// Job package the order stands for (`package`), as written.
    pub package: Option<String>,
    /// What the ticket says about its last attempt, at the top level; a view for people.
    pub view: View,
    /// What the daemon wrote into the ticket.
    pub own: OwnKeys,
}

impl Order {
    /// An order with nothing but an identity and a title: manual, without checks.
    pub fn new(id: OrderId, title: String) -> Self {
        Self {
            id,
            title,
            objective: None,
            epic_id: None,
            tags: Vec::new(),
            owner: None,
            assignee: None,
            priority: Priority::Medium,
            deadline: None,
            not_before: None,
            status: None,
            dependencies: Vec::new(),
            run: Vec::new(),
            engine: None,
            checks: Vec::new(),
            check_timeout: None,
            dod_id: None,
            scope: None,
            diff_budget: DiffBudget::default(),
            retry: Retry::default(),
            timeout: None,
            idle_timeout: None,
            group: None,
            env: BTreeMap::new(),
            workspace: Workspace::default(),
            checkout: Checkout::default(),
            base: None,
            artifacts: None,
            hold: None,
            package: None,
            view: View::default(),
            own: OwnKeys::default(),
        }
    }

    /// The directories that its worktree holds; `None`: everything.
    pub fn cone(&self) -> Option<Cone> {
        let own = self.workspace == Workspace::Worktree && self.checkout == Checkout::Scope;
        let scope = self.scope.as_ref().filter(|_| own)?;
        Cone::of_globs(&scope.allow)
    }
}

/// Top-level keys that the daemon writes for people and other tools; no decision reads them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// `branch`
    pub branch: Option<String>,
    /// `worktree`, root-relative when the daemon wrote it.
    pub worktree: Option<String>,
    /// `started_at`
    pub started_at: Option<String>,
    /// `finished_at`
    pub finished_at: Option<String>,
    /// `result`
    pub result: Option<String>,
    /// `commit_sha`
    pub commit_sha: Option<String>,
    /// `verified_at_sha`
    pub verified_at_sha: Option<String>,
}

/// A directory a settled ticket belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// `pending/`
    Pending,
    /// `running/`
    Running,
    /// `done/`
    Done,
    /// `failed/`
    Failed,
}

impl State {
    /// All four, in the order of an order's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Running, Self::Done, Self::Failed];

    /// Name of the directory and of the `status` word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The reverse of [`State::name`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == text)
    }
}

/// The settlement stamp: proof that jobyard itself put the ticket where it lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The order it was made for: a copy under another id is not settled. Empty where it is not told.
    pub id: String,
    /// `Done` or `Failed`.
    pub state: State,
    /// The settled attempt; 0 when none was ever made.
    pub attempt: u32,
    /// Sequence number of the ledger line.
    pub seq: u64,
    /// Hash of the ledger line.
    pub hash: String,
}

/// Keys under `x_jobyard`, written by the daemon only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnKeys {
    /// Number of the last attempt.
    pub attempt: u32,
    /// Retries used since the last request of a person.
    pub retries: u32,
    /// Attempts since then that ended in a FAIL of the gate.
    pub verify_fails: u32,
    /// Not started again earlier.
    pub retry_at: Option<Moment>,
    /// Why the last attempt ended as it did.
    pub reason: Option<String>,
    /// Held by `hold`, with the reason.
    pub hold: Option<String>,
    /// Present in settled tickets only.
    pub settled: Option<Stamp>,
}
