//! Bugs that can be switched on at run time, to prove that the tests find them.
//!
//! Invariants: none is ever on in production; with [`Planted::None`] every function here does nothing. Bugs
//! that leave something out stand as one condition where it is left out; what one does instead stands here.

use super::Engine;
use crate::model::attempt::{CommandEnd, CommandKind, Mode};
use crate::model::id::OrderId;
use crate::model::index::Seen;
use crate::model::order::State;
use crate::model::time::Moment;
use crate::observe::Arrival;
use crate::plan::action::{Action, Plan, Wait};
use crate::plan::ready;
use crate::world::World;
use std::collections::BTreeSet;

/// Bugs that can be switched on at run time, to prove that the tests find them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Planted {
    /// None.
    #[default]
    None,
    /// The ledger is not synced before a start.
    StartWithoutSync,
    /// A settlement is carried out before its line is durable.
    SettleWithoutSync,
    /// The lease stays when a claim is undone.
    UndoKeepsLease,
    /// A leftover claim is forgotten instead of undone.
    UndoSkipped,
    /// A person's lease is stolen because it is old.
    StealByAge,
    /// A stamp is a plain rename over the ticket.
    StampByRename,
    /// An attempt is begun beside a living one.
    SecondAttempt,
    /// Dependencies that are unknown count as met.
    UnknownIsMet,
    /// A command whose end nobody saw is started again.
    RestartLost,
    /// The directories are not synced before an answer.
    AnswerWithoutSync,
    /// The lease is released while the ticket is still in `running/`.
    ReleaseEarly,
    /// A withdrawn take is granted.
    GrantWithdrawn,
    /// A move by hand to `done/` counts as settled.
    TrustHand,
}

impl<W: World> Engine<W> {
    /// An hour is taken for a sign of death.
    pub(super) fn planted_theft(&mut self) {
        if self.options.faults != Planted::StealByAge {
            return;
        }
        let now = self.world.now();
        let old = |id: &&OrderId| {
            let attempt = self.index.tickets.get(*id).and_then(|t| t.attempt.as_deref());
            let held = attempt.filter(|a| !a.is_process() && a.claimed && a.settled.is_none());
            held.is_some_and(|a| now.0 - a.claimed_ms > 3_600_000)
        };
        let ids: Vec<OrderId> = self.index.open.iter().filter(old).cloned().collect();
        for id in ids {
            self.settle(&id, State::Pending, "taken-over".to_owned(), "old".to_owned(), None);
        }
    }

    /// An order that waits for nobody but unknown ones is claimed.
    pub(super) fn planted_claims(&self, plan: &mut Plan, changed: &BTreeSet<OrderId>, now: Moment) {
        if self.options.faults != Planted::UnknownIsMet {
            return;
        }
        let unknown =
            |wait: &Wait| matches!(wait, Wait::Dependency { state, .. } if &**state == "unknown");
        for id in changed {
            let ticket = self.index.tickets.get(id).filter(|t| t.attempt.is_none());
            let pending = ticket.filter(|t| t.state() == Some(State::Pending));
            let Some(brief) = pending.and_then(|t| t.brief()).filter(|b| b.executable) else {
                continue;
            };
            let waits = ready::unmet(&self.index, id, brief, now, &self.options.policy);
            if !waits.is_empty() && waits.iter().all(unknown) && self.options.policy.runs {
                let claim = Action::Claim { mode: Mode::Process, request: None, in_place: false };
                plan.actions.push((id.clone(), claim));
            }
        }
    }

    /// A move by hand is believed instead of put back. True: that was done.
    pub(super) fn planted_trust(&mut self, id: &OrderId, from: State, to: State) -> bool {
        match (self.options.faults, from, to) {
            (Planted::SecondAttempt, State::Pending, State::Running) => self.forget_attempt(id),
            (Planted::TrustHand, State::Done, State::Pending) => {
                self.index.ticket_mut(id).seen = Seen::Settled(State::Done);
            }
            _ => return false,
        }
        true
    }

    /// The command of `run` to be started once more because nobody saw its end.
    pub(super) fn planted_restart(&self, id: &OrderId, end: &CommandEnd) -> Option<CommandKind> {
        let lost = *end == CommandEnd::Lost && self.options.faults == Planted::RestartLost;
        let attempt = self.index.tickets.get(id).and_then(|t| t.attempt.as_deref());
        let command = attempt.filter(|_| lost)?.unended()?;
        Some(command.kind).filter(|kind| matches!(kind, CommandKind::Run(_)))
    }

    /// A way out of an attempt without a word.
    pub(super) fn forget_attempt(&mut self, id: &OrderId) {
        self.index.open.remove(id);
        let ticket = self.index.ticket_mut(id);
        (ticket.attempt, ticket.seen) = (None, Seen::Pending);
        self.hint(id.clone(), Arrival::Unsure);
    }
}
