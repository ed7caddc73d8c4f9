//! Holds by request, as the ledger says: who is held, and why.
//!
//! Invariants: a fold over the lines in their order; a hold ends with `unhold`, with a start, or with the
//! order's ticket, never by an edit; one of a settled order counts again once that is requeued, and not for
//! another ticket under the same id. What an order itself says of `hold` is not here: that is the person's to
//! change.

use super::event::Event;
use super::id::OrderId;
use super::order::State;
use std::collections::BTreeMap;

/// One hold.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Hold {
    reason: Box<str>,
    /// Its order was settled since.
    settled: bool,
}

/// The holds by request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Holds(BTreeMap<OrderId, Hold>);

impl Holds {
    /// What a checkpoint lists: reasons by id.
    pub fn listed(list: &BTreeMap<String, String>) -> Self {
        let hold = |reason: &String| Hold { reason: reason.as_str().into(), settled: false };
        let named = |(id, reason)| Some((OrderId::parse(id).ok()?, hold(reason)));
        Self(list.iter().filter_map(|(id, reason)| named((id, reason))).collect())
    }

    /// What a checkpoint has to list: the holds of orders that may still be started.
    pub fn to_list(&self) -> BTreeMap<String, String> {
        let open = self.0.iter().filter(|(_, hold)| !hold.settled);
        open.map(|(id, hold)| (id.to_string(), hold.reason.to_string())).collect()
    }

    /// Takes a line about an order into account.
    pub fn follow(&mut self, id: &OrderId, event: &Event) {
        match event {
            Event::Held { reason, .. } => {
                let hold = Hold { reason: reason.as_str().into(), settled: false };
                self.0.insert(id.clone(), hold);
            }
            Event::Unheld { .. } | Event::Withdrawn | Event::Claiming(_) => {
                self.0.remove(id);
            }
            Event::Settled { state, .. } if state != State::Pending.name() => self.mark(id, true),
            Event::Requeued { .. } => self.mark(id, false),
            Event::Intake if self.0.get(id).is_some_and(|hold| hold.settled) => {
                self.0.remove(id);
            }
            _ => {}
        }
    }

    fn mark(&mut self, id: &OrderId, settled: bool) {
        if let Some(hold) = self.0.get_mut(id) {
            hold.settled = settled;
        }
    }

    /// The reason for which a request held this order before it was settled.
    pub fn before_its_end(&self, id: &OrderId) -> Option<&str> {
        self.0.get(id).filter(|hold| hold.settled).map(|hold| &*hold.reason)
    }

    /// The reason for which a request holds this order.
    pub fn of(&self, id: &OrderId) -> Option<&str> {
        self.0.get(id).filter(|hold| !hold.settled).map(|hold| &*hold.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason after each of these lines, `-` for none.
    fn told(lines: &str) -> String {
        let id = OrderId::parse("a").unwrap();
        let mut holds = Holds::default();
        let mut said = Vec::new();
        for word in lines.split_whitespace() {
            let (request, reason) = (String::new(), "legal".to_owned());
            let settled = |state: &str| Event::Settled {
                state: state.to_owned(),
                result: "fail".to_owned(),
                reason: String::new(),
                retry_at: None,
                request: String::new(),
            };
            let event = match word {
                "held" => Event::Held { reason, request },
                "unheld" => Event::Unheld { request },
                "requeued" => Event::Requeued { reason, request },
                "withdrawn" => Event::Withdrawn,
                "intake" => Event::Intake,
                state => settled(state),
            };
            holds.follow(&id, &event);
            said.push(holds.of(&id).unwrap_or("-").to_owned());
            let again = Holds::listed(&holds.to_list());
            assert_eq!(again.of(&id), holds.of(&id), "{word}");
        }
        said.join(" ")
    }

    #[test]
    fn a_hold_ends_by_a_word_and_counts_for_one_ticket() {
        assert_eq!(told("intake held intake pending"), "- legal legal legal");
        assert_eq!(told("held unheld"), "legal -");
        assert_eq!(told("held withdrawn"), "legal -");
        assert_eq!(told("held failed requeued intake"), "legal - legal legal");
        assert_eq!(told("held failed intake requeued"), "legal - - -");
    }
}
