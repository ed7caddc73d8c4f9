//! Asking an engine what it would do, without letting it: for a world that is only looked at.
//!
//! Invariants: answers come from the same functions that the turn uses; nothing is recorded.

use super::Engine;
use crate::model::attempt::{CommandEnd, CommandKind};
use crate::model::id::OrderId;
use crate::model::protocol::{End, StartCommand, ToExecutor};
use crate::observe::Arrival;
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

    /// The look through the gate, in memory only.
    pub fn look_through_gate(&mut self, id: &OrderId) -> Result<(), Fault> {
        self.open_gate(id)
    }

    /// The start of a check, in memory only: it is for the caller to run, and to tell the end of. `None`: it
    /// cannot be started, and has ended so.
    pub fn start_check(&mut self, id: &OrderId, index: u32) -> Result<Option<StartCommand>, Fault> {
        self.start(id, CommandKind::Check(index))?;
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
