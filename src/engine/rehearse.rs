//! Asking an engine what it would do, without letting it: for a world that is only looked at.
//!
//! Invariants: answers come from the same functions that the turn uses; nothing is recorded.

use super::Engine;
use crate::model::attempt::{Gate, Place};
use crate::model::id::OrderId;
use crate::observe::Arrival;
use crate::plan::verdict::{self, Verdict};
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

    /// What the gate sees before the checks.
    pub fn gate_now(&mut self, id: &OrderId) -> Result<Option<Gate>, Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else {
            return Ok(None);
        };
        Ok(Some(match &attempt.claim.place {
            Place::Root => Gate::default(),
            Place::Tree { path, branch, .. } => self.inspect(&attempt, path, branch)?,
        }))
    }

    /// The verdict on what is known now.
    pub fn verdict_now(&mut self, id: &OrderId) -> Result<Option<Verdict>, Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else {
            return Ok(None);
        };
        Ok(Some(verdict::decide(&self.gate_input(id, &attempt)?)))
    }
}
