//! What the lives of a thread have met: actions carried out, and rows of the tables of `docs/states.md`
//! that the planner was asked about; and whether it did what these say.
//!
//! Invariants: a row is counted by the facts that a plan was made on, an action when it is carried out; a
//! new variant of [`Action`] does not compile until it has a name here.

mod agree;
mod course;
mod facts;
mod page;

use jobyard::engine::Round;
use jobyard::model::id::OrderId;
use jobyard::model::index::Index;
use jobyard::plan::action::Action;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How often each thing was met.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

thread_local! {
    static MET: RefCell<Counts> = const { RefCell::new(BTreeMap::new()) };
    static WRONG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Names of all actions.
pub(crate) const ACTIONS: [&str; 34] = [
    "Intake",
    "Withdraw",
    "Why",
    "ClearWhy",
    "Claim",
    "CompleteTake",
    "AnswerTake",
    "UndoClaim",
    "AdoptLease",
    "DropLease",
    "Start",
    "Resend",
    "Stop",
    "Sweep",
    "RecordEnd",
    "OpenGate",
    "Judge",
    "Settle",
    "CarryOut",
    "Release",
    "SettleUnrun",
    "AdoptSettled",
    "PutBack",
    "PullBack",
    "Requeue",
    "Hold",
    "RestoreHold",
    "Accept",
    "Takeover",
    "Confirm",
    "Refuse",
    "RefuseAsked",
    "DropDouble",
    "StampRunning",
];

/// The rows of the tables of `docs/states.md`.
pub(crate) fn rows() -> impl Iterator<Item = &'static str> {
    let tables = page::tables();
    let all = [&tables.states, &tables.command, &tables.course];
    all.into_iter().flat_map(|table| table.rows.iter().map(|row| row.name))
}

/// Counts the rows that a round was planned on, and notes where the plan is not what they say.
pub(crate) fn plans(round: &Round<'_>) {
    let only = round.policy.only.as_ref();
    for id in round.changed.iter().filter(|id| only.is_none_or(|only| only.contains(*id))) {
        let Some(ticket) = round.index.tickets.get(id) else { continue };
        let Some(wanted) = agree::wanted(round, id, ticket) else { continue };
        if let Some(text) = agree::contradiction(round, id, ticket, &wanted) {
            WRONG.with_borrow_mut(|wrong| wrong.push(text));
        }
        MET.with_borrow_mut(|met| {
            wanted.rows.iter().for_each(|row| *met.entry(row).or_default() += 1);
        });
    }
}

/// Counts an action.
pub(crate) fn acts(_: &Index, _: &OrderId, action: &Action) {
    MET.with_borrow_mut(|met| *met.entry(name(action)).or_default() += 1);
}

/// Takes what this thread's plans did otherwise than the page says.
pub(crate) fn contradictions() -> Vec<String> {
    WRONG.take()
}

/// Takes the counts of this thread.
pub(crate) fn take() -> Counts {
    MET.take()
}

/// Adds counts.
pub(crate) fn add(to: &mut Counts, more: Counts) {
    for (name, count) in more {
        *to.entry(name).or_default() += count;
    }
}

/// The name of an action.
pub(crate) fn name(action: &Action) -> &'static str {
    match action {
        Action::Intake => "Intake",
        Action::Withdraw => "Withdraw",
        Action::Why { .. } => "Why",
        Action::ClearWhy { .. } => "ClearWhy",
        Action::Claim { .. } => "Claim",
        Action::CompleteTake => "CompleteTake",
        Action::AnswerTake => "AnswerTake",
        Action::UndoClaim { .. } => "UndoClaim",
        Action::AdoptLease => "AdoptLease",
        Action::DropLease => "DropLease",
        Action::Start { .. } => "Start",
        Action::Resend => "Resend",
        Action::Stop => "Stop",
        Action::Sweep => "Sweep",
        Action::RecordEnd { .. } => "RecordEnd",
        Action::OpenGate => "OpenGate",
        Action::Judge => "Judge",
        Action::Settle { .. } => "Settle",
        Action::CarryOut => "CarryOut",
        Action::Release => "Release",
        Action::SettleUnrun { .. } => "SettleUnrun",
        Action::AdoptSettled { .. } => "AdoptSettled",
        Action::PutBack { .. } => "PutBack",
        Action::PullBack { .. } => "PullBack",
        Action::Requeue { .. } => "Requeue",
        Action::Hold { .. } => "Hold",
        Action::RestoreHold { .. } => "RestoreHold",
        Action::Accept { .. } => "Accept",
        Action::Takeover { .. } => "Takeover",
        Action::Refuse { .. } => "Refuse",
        Action::RefuseAsked { .. } => "RefuseAsked",
        Action::DropDouble { .. } => "DropDouble",
        Action::Confirm { .. } => "Confirm",
        Action::StampRunning => "StampRunning",
    }
}
