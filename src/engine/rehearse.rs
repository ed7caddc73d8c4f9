//! Asking an engine what it would do, without letting it: for a world that is only looked at.
//!
//! Invariants: answers come from the same functions that the turn uses; nothing is recorded.

use super::Engine;
use crate::model::attempt::{CommandEnd, CommandKind};
use crate::model::id::OrderId;
use crate::model::protocol::{End, StartCommand, ToExecutor};
use crate::observe::Arrival;
use crate::plan::action::Action;
use crate::plan::verdict::{self, GateInput, Verdict};
use crate::world::{Fault, World};

impl<W: World> Engine<W> {
    /// Looks at everything there is, each file as it is now.
    pub fn look_at_all(&mut self) -> Result<(), Fault> {
        for (arrival, at) in self.requests.values_mut() {
            (*arrival, *at) = (Arrival::Renamed, None);
        }
        self.look_at_requests()?;
        let known: Vec<OrderId> = self.index.tickets.keys().cloned().collect();
        known.iter().try_for_each(|id| self.look_at_ticket(id, Arrival::Renamed))
    }

    /// One step of the gate, in memory only: the look at the worktree, or the start of a check, which is
    /// given for the caller to run and to tell the end of.
    pub fn step_of_gate(
        &mut self,
        id: &OrderId,
        action: &Action,
    ) -> Result<Option<StartCommand>, Fault> {
        match action {
            Action::OpenGate => self.open_gate(id)?,
            Action::Start { kind: kind @ CommandKind::Check(_) } => self.start(id, *kind)?,
            _ => {}
        }
        Ok(self.outbox.drain(..).find_map(|message| match message {
            ToExecutor::Start(start) => Some(*start),
            _ => None,
        }))
    }

    /// How the check ended that was given.
    pub fn check_ended(&mut self, id: &OrderId, end: End) {
        self.record_end(id, CommandEnd::Seen(end));
        self.outbox.clear();
    }

    /// The verdict on what is known now, and what it rests on.
    pub fn verdict_now(&mut self, id: &OrderId) -> Result<Option<(GateInput, Verdict)>, Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else {
            return Ok(None);
        };
        let mut input = self.gate_input(id, &attempt)?;
        for check in input.checks.iter_mut().filter(|check| check.sha256.is_empty()) {
            check.log.clear();
        }
        let verdict = verdict::decide(&input);
        Ok(Some((input, verdict)))
    }
}
