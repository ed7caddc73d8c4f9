//! One attempt of one order: the fold of its ledger lines.
//!
//! Invariants: an attempt is open from its `claiming` line to its `released` line or until its
//! `settled` line has been carried out; [`Attempt::apply`] is the only way it changes; the same lines
//! give the same attempt, live or read back.

use super::event::Event;
use super::id::OrderId;
use super::order::State;
use super::protocol::{Cause, End};
use super::request::parse_request_name;
use super::sealed::Sealed;
use super::time::Moment;
use super::tree::CommitId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who asked for something: the owner of a file, with a label for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// User id: the only part that is compared.
    pub uid: u32,
    /// Label: `--owner`, or the user's name.
    pub name: String,
}

/// Who carries an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The daemon runs the commands of `run`.
    Process,
    /// A person or an agent works in the worktree and finishes it.
    Manual(Holder),
}

/// Where an attempt works.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the root; no git.
    Root,
    /// In a worktree.
    Tree {
        /// Directory relative to the root.
        path: String,
        /// Its branch.
        branch: String,
        /// Commit the branch starts from; never resolved again.
        base: String,
        /// The branch was there before.
        branch_existed: bool,
        /// The worktree was there before.
        worktree_existed: bool,
    },
}

/// The `claiming` line: everything decided at the claim.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Who carries it.
    pub mode: Mode,
    /// Where.
    pub place: Place,
    /// Marks the processes of the attempt.
    pub token: String,
    /// Boot of the claim.
    pub boot: String,
    /// File name of the take request that asked for it, until it is answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<String>,
    /// Why it was taken although a dependency is not met (`take --force`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub forced: Option<String>,
    /// The sealed order.
    pub sealed: Sealed,
}

/// What a command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CommandKind {
    /// `run[index]`.
    Run(u32),
    /// `checks[index]`.
    Check(u32),
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CommandEnd {
    /// The executor saw it.
    Seen(End),
    /// Nobody saw it.
    Lost,
}

/// One command of an attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Command {
    /// From 1.
    pub number: u32,
    /// Of `run`, or a check.
    pub kind: CommandKind,
    /// Name for people and the log file.
    pub name: String,
    /// Boot of its start.
    pub boot: String,
    /// For a check: where HEAD was at its start, when it was not where the gate saw it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub strayed: Option<String>,
    /// Absent while nobody knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end: Option<CommandEnd>,
}

impl Command {
    /// Name of its log in the run directory.
    pub fn log_name(&self) -> String {
        log_name(self.number, &self.name)
    }
}

/// Name of the log of command `number` called `name` in the run directory.
pub fn log_name(number: u32, name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().take(40).map(safe).collect();
    format!("{number:02}-{name}.log")
}

/// What the gate saw before the checks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Gate {
    /// Branch tip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub head: Option<String>,
    /// Preconditions that do not hold.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unmet: Vec<Objection>,
    /// Scope and budget violations.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub violations: Vec<Objection>,
}

/// One thing the gate objects to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Objection {
    /// Machine word of the precondition or rule.
    pub word: String,
    /// The path it is about, where it is about one.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub path: String,
    /// One sentence.
    pub text: String,
}

/// What a request asks besides its verb.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Options {
    /// The reason given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// `finish --skip-verification`.
    #[serde(skip_serializing_if = "is_false", default)]
    pub skip_verification: bool,
    /// `finish --stop`.
    #[serde(skip_serializing_if = "is_false", default)]
    pub stop: bool,
    /// `--takeover`: over a holder that is silent or unknown.
    #[serde(skip_serializing_if = "is_false", default)]
    pub takeover: bool,
}

fn is_false(b: &bool) -> bool {
    !b
}

/// What an accepted request wants of the attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Run the gate and settle.
    Finish,
    /// Stop and settle as failed.
    Cancel,
    /// Stop and go back to `pending/` (takeover).
    Requeue,
}

/// A request being carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// What.
    pub wish: Wish,
    /// Which request; empty for a move by hand.
    pub request: String,
    /// Who.
    pub by: Holder,
    /// The rest.
    pub options: Options,
}

/// The decided end of an attempt, not yet carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Settlement {
    /// Where the ticket goes.
    pub state: String,
    /// `pass`, `fail`, `cancelled`, …
    pub result: String,
    /// Machine word or sentence.
    pub reason: String,
    /// When decided.
    pub at_ms: i64,
    /// For a retry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_at: Option<String>,
    /// Ledger line of the settlement.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Settlement {
    /// The directory the ticket goes to.
    pub fn state(&self) -> State {
        State::parse(&self.state).unwrap_or(State::Failed)
    }
}

/// The verdict as the ledger has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VerdictFact {
    /// `pass`, `unverified`, `fail`, `skipped`.
    pub result: String,
    /// Machine word.
    pub reason: String,
    /// Branch tip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// Verified commit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verified_at: Option<String>,
}

/// One open attempt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The order.
    pub id: String,
    /// From 1.
    pub number: u32,
    /// When the claim was made, milliseconds since 1970.
    pub claimed_ms: i64,
    /// What was decided at the claim.
    pub claim: Claim,
    /// A person's claim was completed.
    #[serde(skip_serializing_if = "is_false", default)]
    pub claimed: bool,
    /// Commands started, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub commands: Vec<Command>,
    /// Request being carried out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub asked: Option<Asked>,
    /// What the gate saw.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gate: Option<Gate>,
    /// Commands that had been started when the gate looked; checks of this gate come after.
    #[serde(default)]
    pub gate_after: usize,
    /// What it decided.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<VerdictFact>,
    /// Decided end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settled: Option<Settlement>,
    /// Its order goes back held, and why: it is no longer what was sealed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<String>,
}

impl Attempt {
    /// A new attempt from its `claiming` line.
    pub fn begin(id: &OrderId, number: u32, at: Moment, claim: Claim) -> Self {
        Self {
            id: id.to_string(),
            number,
            claimed_ms: at.0,
            claim,
            claimed: false,
            commands: Vec::new(),
            asked: None,
            gate: None,
            gate_after: 0,
            verdict: None,
            settled: None,
            held: None,
        }
    }

    /// Takes one further line of this attempt into account.
    pub fn apply(&mut self, at: Moment, event: &Event, seq: u64, hash: &str) {
        match event {
            Event::Claimed => self.claimed = true,
            Event::Started { number, kind, name, boot, strayed } => self.commands.push(Command {
                number: *number,
                kind: *kind,
                name: name.clone(),
                boot: boot.clone(),
                strayed: strayed.clone(),
                end: None,
            }),
            Event::Ended { number, end } => {
                if let Some(c) = self.commands.iter_mut().find(|c| c.number == *number) {
                    c.end = Some(end.clone());
                }
            }
            Event::Gate(gate) => {
                self.gate = Some((**gate).clone());
                self.gate_after = self.commands.len();
            }
            Event::Verdict { result, reason, commit, verified_at } => {
                self.verdict = Some(VerdictFact {
                    result: result.clone(),
                    reason: reason.clone(),
                    commit: commit.clone(),
                    verified_at: verified_at.clone(),
                });
            }
            Event::Request { verb, request, by, asked } => {
                self.asked = Wish::parse(verb).map(|wish| Asked {
                    wish,
                    request: request.clone(),
                    by: by.clone(),
                    options: asked.clone(),
                });
                self.gate = None;
            }
            Event::Answer { verb, request, .. } => {
                let hex = |file: &str| parse_request_name(file).and_then(|(_, _, hex)| hex);
                let own = self.claim.request.as_deref().map(|file| hex(file).unwrap_or_default());
                if verb == "take" && own.as_ref() == Some(request) {
                    self.claim.request = None;
                }
                // A file without digits shares its empty name with every other one.
                let same = |a: &Asked| a.request == *request && a.wish.name() == verb;
                if self.asked.as_ref().is_some_and(same) {
                    self.asked = None;
                    self.gate = None;
                }
            }
            Event::Held { reason, .. } => self.held = Some(reason.clone()),
            Event::Settled { state, result, reason, retry_at, .. } => {
                self.settled = Some(Settlement {
                    state: state.clone(),
                    result: result.clone(),
                    reason: reason.clone(),
                    at_ms: at.0,
                    retry_at: retry_at.clone(),
                    seq,
                    hash: hash.to_owned(),
                });
            }
            _ => {}
        }
    }

    /// Its directory relative to the root.
    pub fn run_dir(&self) -> String {
        format!("_ctx/runs/{}/{}", self.id, self.number)
    }

    /// The last command, if any was started.
    pub fn last(&self) -> Option<&Command> {
        self.commands.last()
    }

    /// The command without an end, if any.
    pub fn unended(&self) -> Option<&Command> {
        self.commands.last().filter(|c| c.end.is_none())
    }

    /// Commands of `run` that have ended well.
    pub fn run_passed(&self) -> usize {
        let passed = |c: &&Command| matches!(c.kind, CommandKind::Run(_)) && c.passed();
        self.commands.iter().filter(passed).count()
    }

    /// The daemon carries it.
    pub fn is_process(&self) -> bool {
        self.claim.mode == Mode::Process
    }

    /// It takes a slot.
    pub fn holds_slot(&self) -> bool {
        self.is_process() && self.settled.is_none()
    }

    /// Whose worktree it works in.
    pub fn tree(&self) -> Option<&str> {
        match &self.claim.place {
            Place::Root => None,
            Place::Tree { path, .. } => path.rsplit('/').next(),
        }
    }

    /// The base commit, where it works in a worktree.
    pub fn base(&self) -> Option<CommitId> {
        match &self.claim.place {
            Place::Root => None,
            Place::Tree { base, .. } => CommitId::parse(base),
        }
    }
}

impl Command {
    /// It ended by itself with status 0.
    pub fn passed(&self) -> bool {
        match &self.end {
            Some(CommandEnd::Seen(end)) => end.cause == Cause::Exited && end.exit == Some(0),
            _ => false,
        }
    }
}

impl Wish {
    /// The verb of the request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finish => "finish",
            Self::Cancel => "cancel",
            Self::Requeue => "requeue",
        }
    }

    /// The reverse of [`Wish::name`].
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Finish, Self::Cancel, Self::Requeue].into_iter().find(|w| w.name() == word)
    }
}

impl Attempt {
    /// No command of `run` is running or still to come.
    pub fn run_is_over(&self) -> bool {
        let run = |c: &&Command| matches!(c.kind, CommandKind::Run(_));
        let failed = self.commands.iter().filter(run).any(|c| c.end.is_some() && !c.passed());
        failed
            || (self.run_passed() >= self.claim.sealed.run.len()
                && !self.unended().is_some_and(|c| run(&c)))
    }

    /// The checks of the present gate, oldest first.
    pub fn checks(&self) -> &[Command] {
        self.commands.get(self.gate_after..).unwrap_or_default()
    }

    /// The identity of one of its commands.
    pub fn key(&self, number: u32) -> super::protocol::CommandKey {
        super::protocol::CommandKey { id: self.id.clone(), attempt: self.number, number }
    }
}
