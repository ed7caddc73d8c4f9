//! A valid order in `pending/`: its intake, what is asked of it, what it waits for.
//!
//! Invariants: an order that waits for itself gets its `.why` and is not started; a request comes before
//! the start; what a request holds is not started, and its ticket says so.

use super::action::{Action, Wait};
use super::step::{CYCLE_MARK, Facts, Step};
use super::{ready, requests};
use crate::model::config::Unsatisfiable;
use crate::model::id::OrderId;
use crate::model::index::{Brief, Place, Seen};
use crate::model::order::State;

/// S1.2, S1.3 and S1.8: a valid order that lies in `pending/`.
pub(super) fn order(facts: &Facts<'_>, place: &Place, brief: &Brief) -> Step {
    let mut step = Step::default();
    if facts.ticket.seen != Seen::Pending {
        step.actions.push(Action::Intake);
    }
    if let Some(cycle) = ready::cycle(facts.index, facts.id) {
        let names: Vec<_> = cycle.iter().map(OrderId::as_str).collect();
        let text = format!(
            "{CYCLE_MARK}: {} -> {}; remove one of these dependencies",
            names.join(" -> "),
            facts.id
        );
        let asked = requests::circular(facts, brief, &text);
        step.actions.extend(asked.or_else(|| lost_hold(facts, brief)));
        step.actions.push(Action::Why { state: State::Pending, text: text.clone(), refusal: true });
        step.waits.push(Wait::Refused(text));
        return step;
    }
    if place.why {
        step.actions.push(Action::ClearWhy { state: State::Pending });
    }
    if let Some(action) = requests::pending(facts, brief) {
        step.actions.push(action);
        return step;
    }
    step.actions.extend(lost_hold(facts, brief));
    let waits = ready::unstarted(facts.index, facts.id, brief, facts.now, facts.policy);
    let hopeless = waits.iter().any(|w| matches!(w, Wait::Dependency { possible: false, .. }));
    if hopeless && facts.policy.unsatisfiable != Unsatisfiable::Hold {
        let result = match facts.policy.unsatisfiable {
            Unsatisfiable::Skip => "skipped",
            _ => "failed",
        };
        step.actions.push(Action::SettleUnrun {
            from: State::Pending,
            result: result.to_owned(),
            reason: "dependency-unsatisfiable".to_owned(),
            request: None,
        });
        return step;
    }
    step.ready = waits.is_empty() && brief.executable;
    step.waits = waits;
    if !brief.executable {
        step.waits.push(Wait::Manual);
    }
    step
}

/// A request holds it, and the ticket does not say so any more.
fn lost_hold(facts: &Facts<'_>, brief: &Brief) -> Option<Action> {
    let lost = brief.hold.is_none() && facts.ticket.lease.is_none();
    let reason = facts.index.holds.of(facts.id, facts.now).filter(|_| lost)?.to_owned();
    Some(Action::RestoreHold { reason })
}
