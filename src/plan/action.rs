//! What the planner can decide: a closed list. `perform` carries each out and chooses nothing.

use super::argv;
use crate::model::attempt::{CommandEnd, CommandKind, Holder, Mode, Options, Wish};
use crate::model::id::OrderId;
use crate::model::index::Request;
use crate::model::order::State;
use crate::model::time::{Moment, Tick};

/// One thing to do about one order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Record that a valid ticket appeared in `pending/`.
    Intake,
    /// Record that a pending ticket was deleted by a person.
    Withdraw,
    /// Write `<file>.why` beside the ticket.
    Why {
        /// Where the ticket lies.
        state: State,
        /// What it says.
        text: String,
        /// Whether it explains a refused ticket (and goes when the ticket is mended).
        refusal: bool,
    },
    /// Remove a `.why` that no longer applies.
    ClearWhy {
        /// Where the ticket lies.
        state: State,
    },
    /// Claim the order: seal, lease, worktree, move. Undone in whole when a step fails.
    Claim {
        /// Who will carry it.
        mode: Mode,
        /// The request that asked for it.
        request: Option<Request>,
        /// The ticket is in `running/` already: a person moved it there.
        in_place: bool,
    },
    /// Complete a person's claim: consume its request, record it, stamp the ticket.
    CompleteTake,
    /// Answer a completed take.
    AnswerTake,
    /// Undo a claim that a crash interrupted before anything ran.
    UndoClaim {
        /// Why.
        reason: String,
    },
    /// Give a running order a lease of this instance.
    AdoptLease,
    /// Remove a lease of ours that no attempt owns.
    DropLease,
    /// Record and start the next command.
    Start {
        /// Of `run`, or a check.
        kind: CommandKind,
    },
    /// Send a recorded start again: the executor does not know it.
    Resend,
    /// End the whole tree of the running command.
    Stop,
    /// End whatever is left of a command whose executor is gone.
    Sweep,
    /// Record the end of the running command.
    RecordEnd {
        /// How.
        end: CommandEnd,
    },
    /// Look at the worktree before the checks.
    OpenGate,
    /// Decide the verdict.
    Judge,
    /// Decide where the ticket goes; from here everything rolls forward.
    Settle {
        /// `Done`, `Failed`, or `Pending`.
        state: State,
        /// `pass`, `fail`, `cancelled`, …
        result: String,
        /// Machine word.
        reason: String,
        /// For `Pending`.
        retry_at: Option<Moment>,
    },
    /// Stamp and move a settled ticket.
    CarryOut,
    /// The ticket is where it belongs: end the lease, answer who asked.
    Release,
    /// Settle an order that never ran, or lies in `failed/` already.
    SettleUnrun {
        /// Where it lies.
        from: State,
        /// `cancelled` or `skipped`.
        result: String,
        /// Machine word or sentence.
        reason: String,
        /// The request to answer.
        request: Option<Request>,
    },
    /// Record a settled ticket that was there before the ledger.
    AdoptSettled {
        /// Where it lies.
        state: State,
    },
    /// Undo a move by hand.
    PutBack {
        /// Where it lies.
        from: State,
        /// Where it belongs.
        to: State,
        /// Said in the `.why`; empty when no person did it.
        why: String,
    },
    /// A move by hand out of `running/` is a request: put back and accepted.
    PullBack {
        /// Where it lies.
        from: State,
        /// What it asks.
        wish: Wish,
    },
    /// Make a failed order pending again.
    Requeue {
        /// Where it lies: `Failed`, or `Pending` when a person moved it.
        from: State,
        /// The request to answer.
        request: Option<Request>,
    },
    /// Hold a pending order, or let it go (`None`).
    Hold {
        /// Why.
        reason: Option<String>,
        /// The request to answer.
        request: Request,
    },
    /// Write the hold of a pending order into its ticket again, which has lost it.
    RestoreHold {
        /// Why, as the ledger says.
        reason: String,
    },
    /// Bind a request to the open attempt.
    Accept {
        /// The request.
        request: Request,
        /// What it wants.
        wish: Wish,
        /// The rest of it.
        options: Options,
        /// Who asks.
        by: Holder,
    },
    /// Start over an order whose holder gave no sign of life.
    Takeover {
        /// The request.
        request: Request,
    },
    /// Refuse a request.
    Refuse {
        /// The request.
        request: Request,
        /// Exit code of the verb.
        code: u8,
        /// One sentence.
        text: String,
    },
    /// Answer a request that was carried out before a crash.
    Confirm {
        /// The request.
        request: Request,
    },
    /// Refuse what the attempt was asked, keeping the attempt.
    RefuseAsked {
        /// Exit code of the verb.
        code: u8,
        /// One sentence.
        text: String,
    },
    /// One file under two names, left by an interrupted move: remove the earlier name.
    DropDouble {
        /// The name that goes.
        earlier: State,
    },
    /// Write the running stamp.
    StampRunning,
}

/// Why an order does not run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wait {
    /// The ticket is not valid; its `.why` says more.
    Refused(String),
    /// It may still be being written.
    Settling(Tick),
    /// Held.
    Held(String),
    /// Its group is paused, or everything (`None`): it is not started, but may be taken.
    Paused {
        /// The group.
        group: Option<String>,
        /// Why.
        reason: String,
    },
    /// Not yet.
    NotBefore(Moment),
    /// Back-off after a failed attempt.
    RetryAt(Moment),
    /// An upstream order has not ended as wanted.
    Dependency {
        /// Upstream.
        id: OrderId,
        /// What is known of it: `unknown`, `pending`, `running`, `done`, `done but unverified`, `failed`.
        state: String,
        /// What is wanted: `success`, `failure`, `always`.
        on: &'static str,
        /// It can still happen.
        possible: bool,
    },
    /// The worktree it would work in is not to be had now.
    Workspace(String),
    /// Nothing to run: a person or an agent takes it.
    Manual,
    /// All slots, or those of its group, are taken.
    Slot(String),
    /// A lock file that jobyard did not make, or that no attempt owns.
    Lease(String),
    /// It runs.
    Running(String),
    /// It is settled.
    Settled(State),
    /// The daemon does not run.
    NoDaemon,
}

/// The decisions of one round.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// What to do, per order, in order.
    pub actions: Vec<(OrderId, Action)>,
    /// When to look again by the wall clock.
    pub wake_at: Option<Moment>,
    /// When to look again by the steady clock, and at which orders.
    pub look_at: Vec<(Tick, OrderId)>,
}

/// Waits as one line for people.
pub fn describe(waits: &[Wait]) -> String {
    let texts: Vec<String> = waits.iter().map(wait_text).collect();
    texts.join("; ")
}

/// One wait for people: what is missing and what would release it.
pub fn wait_text(wait: &Wait) -> String {
    match wait {
        Wait::Refused(text) => format!("refused: {text}"),
        Wait::Settling(_) => "it may still be being written".to_owned(),
        Wait::Held(reason) => format!("held ({reason}); released by `unhold`"),
        Wait::Paused { group, reason } => pause_and_release(group.as_deref(), reason),
        Wait::NotBefore(at) => format!("not before {}", at.rfc3339()),
        Wait::RetryAt(at) => format!("retried at {}", at.rfc3339()),
        Wait::Dependency { id, state, on, possible } => {
            let end = if *possible { "" } else { ": that can no longer happen" };
            format!("needs {on} of {id}, which is {state}{end}")
        }
        Wait::Workspace(text) => text.clone(),
        Wait::Manual => "nothing to run: a person or an agent takes it with `take`".to_owned(),
        Wait::Slot(text) => format!("waits for a slot ({text})"),
        Wait::Lease(text) => format!("a lock file holds it ({text})"),
        Wait::Running(text) => text.clone(),
        Wait::Settled(state) => format!("it is {}", state.name()),
        Wait::NoDaemon => "no daemon runs; start one with `jobyard daemon`".to_owned(),
    }
}

/// What is paused, and why.
pub fn pause(group: Option<&str>, reason: &str) -> String {
    let what = group.map_or_else(|| "everything".to_owned(), |group| format!("group {group}"));
    format!("{what} is paused: {reason}")
}

/// The same, with what ends it.
pub fn pause_and_release(group: Option<&str>, reason: &str) -> String {
    format!("{}, released by `{}`", pause(group, reason), resume(group))
}

/// The command line that ends a pause.
pub fn resume(group: Option<&str>) -> String {
    let words = ["jobyard", "groups", "resume", group.unwrap_or("--all")];
    argv::line(&words.map(str::to_owned))
}
