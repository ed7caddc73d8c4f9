//! What the lives of a thread have met: actions carried out and rows of the table of states.
//!
//! Invariants: counted where the engine acts, by what it knows at that moment; a new variant of
//! [`Action`] does not compile until it has a name here.

use jobyard::model::attempt::Attempt;
use jobyard::model::id::OrderId;
use jobyard::model::index::{Index, Reading, Ticket};
use jobyard::model::lease::LeaseBody;
use jobyard::model::order::State;
use jobyard::plan::action::Action;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How often each thing was met.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

thread_local! {
    static MET: RefCell<Counts> = const { RefCell::new(BTreeMap::new()) };
}

/// Names of all actions.
pub(crate) const ACTIONS: [&str; 32] = [
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
    "Accept",
    "Takeover",
    "Refuse",
    "RefuseAsked",
    "DropDouble",
    "StampRunning",
];

/// Names of the rows of `docs/states.md`, and of the non-rows that are findings.
pub(crate) const ROWS: [&str; 25] = [
    "S1 pending",
    "S1 refused",
    "S1 still being written",
    "S1 with a lock of nobody's",
    "S1 with an orphaned lease",
    "S2 claiming, no lease yet",
    "S2 claiming",
    "S2 requeueing",
    "S2 running, moved by hand",
    "S2 another settlement, moved by hand",
    "S3 running",
    "S3 taken by a person, not completed",
    "S3 taken by a person",
    "S3 asked",
    "S3 lease lost",
    "S3 settled, not carried out",
    "R without an attempt",
    "R without an attempt, a lock of nobody's",
    "S4 settling",
    "S4 another settlement, moved by hand",
    "S4 moved by hand",
    "S5 settled",
    "S5 moved by hand",
    "one file under two names",
    "two files",
];

/// The engine's watcher.
pub(crate) fn watch(index: &Index, id: &OrderId, action: &Action) {
    let row = index.tickets.get(id).and_then(row);
    MET.with_borrow_mut(|met| {
        *met.entry(name(action)).or_default() += 1;
        if let Some(row) = row {
            *met.entry(row).or_default() += 1;
        }
    });
}

/// Counts the rows that an index shows.
pub(crate) fn see(index: &Index) {
    MET.with_borrow_mut(|met| {
        for row in index.tickets.values().filter_map(row) {
            *met.entry(row).or_default() += 1;
        }
    });
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

fn name(action: &Action) -> &'static str {
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
        Action::Accept { .. } => "Accept",
        Action::Takeover { .. } => "Takeover",
        Action::Refuse { .. } => "Refuse",
        Action::RefuseAsked { .. } => "RefuseAsked",
        Action::DropDouble { .. } => "DropDouble",
        Action::StampRunning => "StampRunning",
    }
}

fn row(ticket: &Ticket) -> Option<&'static str> {
    let there: Vec<State> = State::ALL.into_iter().filter(|s| ticket.place(*s).is_some()).collect();
    let attempt = ticket.attempt.as_deref();
    match there[..] {
        [] => None,
        [State::Pending] => Some(pending(ticket, attempt)),
        [State::Running] => Some(running(ticket, attempt)),
        [state] => Some(settled(ticket, state, attempt)),
        _ => {
            let inode = |s: &State| ticket.place(*s).map(|p| p.inode);
            let one = there.iter().all(|s| inode(s) == inode(&there[0]));
            Some(if one { "one file under two names" } else { "two files" })
        }
    }
}

fn untouched(attempt: &Attempt) -> bool {
    attempt.commands.is_empty() && !attempt.claimed && attempt.settled.is_none()
}

fn pending(ticket: &Ticket, attempt: Option<&Attempt>) -> &'static str {
    let lease = ticket.lease.as_deref().map(|l| &l.body);
    match (attempt, lease) {
        (Some(a), None) if untouched(a) => "S2 claiming, no lease yet",
        (Some(a), Some(_)) if untouched(a) => "S2 claiming",
        (Some(a), _) => match &a.settled {
            None => "S2 running, moved by hand",
            Some(s) if s.state() == State::Pending => "S2 requeueing",
            Some(_) => "S2 another settlement, moved by hand",
        },
        (None, Some(LeaseBody::Foreign(_))) => "S1 with a lock of nobody's",
        (None, Some(_)) => "S1 with an orphaned lease",
        (None, None) => match ticket.place(State::Pending).map(|p| &p.reading) {
            Some(Reading::Refused(_)) => "S1 refused",
            Some(Reading::Settling(_)) => "S1 still being written",
            _ => "S1 pending",
        },
    }
}

fn running(ticket: &Ticket, attempt: Option<&Attempt>) -> &'static str {
    let Some(attempt) = attempt else {
        return match ticket.lease {
            Some(_) => "R without an attempt, a lock of nobody's",
            None => "R without an attempt",
        };
    };
    if attempt.settled.is_some() {
        return "S3 settled, not carried out";
    }
    if ticket.lease.is_none() {
        return "S3 lease lost";
    }
    match (attempt.is_process(), attempt.claimed, &attempt.asked) {
        (_, _, Some(_)) => "S3 asked",
        (true, _, _) => "S3 running",
        (false, false, _) => "S3 taken by a person, not completed",
        (false, true, _) => "S3 taken by a person",
    }
}

fn settled(ticket: &Ticket, state: State, attempt: Option<&Attempt>) -> &'static str {
    match attempt {
        Some(attempt) => match &attempt.settled {
            Some(s) if s.state() == state => "S4 settling",
            Some(_) => "S4 another settlement, moved by hand",
            None => "S4 moved by hand",
        },
        None => match ticket.place(state).map(|p| &p.reading) {
            Some(Reading::Settled { .. }) => "S5 settled",
            _ => "S5 moved by hand",
        },
    }
}
