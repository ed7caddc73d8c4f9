//! Pure decisions: facts, policy and time in; actions, waits and the next look out.
//!
//! Invariants: nothing here reads a clock, a disk, the environment or a random source; one match per
//! ticket; planning again after the actions were carried out gives nothing.

pub mod action;
pub mod argv;
pub mod artifacts;
pub mod check;
pub mod findings;
pub mod graph;
pub mod impact;
pub mod kept;
mod pending;
pub mod progress;
pub mod ready;
pub mod requests;
pub mod retry;
pub mod route;
#[cfg(test)]
mod sample;
pub mod scope;
pub mod score;
mod shell;
pub mod stats;
pub mod step;
pub mod system_test;
pub mod vacuous;
pub mod verdict;
pub mod verdict_json;

use crate::model::config::{Config, Pauses, Unsatisfiable};
use crate::model::id::OrderId;
use crate::model::index::{Index, Reading};
use crate::model::order::State;
use crate::model::time::{Moment, Tick};
use action::{Action, Plan};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

/// What the planner may rely on besides the facts.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Zone of the machine: decides what "today" is.
    pub zone: TimeZone,
    /// Commands at once.
    pub slots: usize,
    /// Commands at once by group.
    pub groups: BTreeMap<String, usize>,
    /// What is not started.
    pub paused: Pauses,
    /// What becomes of an order whose dependency can no longer be satisfied.
    pub unsatisfiable: Unsatisfiable,
    /// An unverified upstream does not count as a success.
    pub require_checks: bool,
    /// A manual lease without sign of life for so long may be taken over.
    pub stale_after_ms: u64,
    /// This run of the process, as leases name it.
    pub instance: String,
    /// Host name, as leases name it.
    pub host: String,
    /// Whether commands of `run` may be started: the daemon may, a verb may not.
    pub runs: bool,
    /// The ledger was just begun: settled tickets are adopted.
    pub fresh: bool,
    /// Only these orders are acted on; `None`: all.
    pub only: Option<BTreeSet<OrderId>>,
}

impl Policy {
    /// A daemon's, with the defaults of the configuration.
    pub fn new(zone: TimeZone, slots: usize) -> Self {
        Self::of(&Config::default(), zone, slots)
    }

    /// A daemon's, as configured.
    pub fn of(config: &Config, zone: TimeZone, slots: usize) -> Self {
        Self {
            zone,
            slots,
            groups: config.groups.iter().map(|(g, n)| (g.clone(), *n as usize)).collect(),
            paused: config.paused.clone(),
            unsatisfiable: config.unsatisfiable,
            require_checks: config.require_checks,
            stale_after_ms: config.stale_after.0,
            instance: String::new(),
            host: String::new(),
            runs: true,
            fresh: false,
            only: None,
        }
    }
}

/// Decides what to do about the orders that changed, then fills free slots. At most one order is
/// claimed for running in a round: the next round sees its consequences.
pub fn plan(
    index: &mut Index,
    changed: &BTreeSet<OrderId>,
    now: Moment,
    tick: Tick,
    policy: &Policy,
) -> Plan {
    let mut plan = Plan::default();
    let mut ids: BTreeSet<OrderId> = changed.clone();
    ids.extend(ready::due(index, now));
    for id in &ids {
        if policy.only.as_ref().is_some_and(|only| !only.contains(id)) {
            continue;
        }
        let step = step::step(index, id, now, tick, policy);
        ready::dequeue(index, id);
        if step.ready {
            ready::enqueue(index, id, now, policy);
        }
        ready::wake_when(index, id, &step.waits);
        plan.look_at.extend(step.look_at.map(|at| (at, id.clone())));
        plan.actions.extend(step.actions.into_iter().map(|a| (id.clone(), a)));
    }
    if policy.runs
        && policy.only.is_none()
        && let Some(id) = ready::best(index, policy)
        && !plan.actions.iter().any(|(busy, a)| *busy == id || withdraws_an_end(a))
    {
        let mode = crate::model::attempt::Mode::Process;
        plan.actions.push((id, Action::Claim { mode, request: None, in_place: false }));
    }
    plan.wake_at = index.wakes.first().map(|(at, _)| *at);
    plan
}

/// What others wait for is about to be no longer so; the next round sees it.
fn withdraws_an_end(action: &Action) -> bool {
    matches!(action, Action::Requeue { .. })
}

/// Whether anything is left that the daemon can do without a person: what `--drain` waits for.
pub fn busy(index: &Index) -> bool {
    let retrying = |id: &OrderId| {
        let brief = index.tickets.get(id).and_then(|t| t.brief());
        brief.is_some_and(|b| b.executable && b.retry_at.is_some())
    };
    let works = |id: &OrderId| {
        let Some(ticket) = index.tickets.get(id) else { return false };
        let Some(attempt) = ticket.attempt.as_deref() else { return false };
        let place = ticket.state().and_then(|s| ticket.place(s));
        // A ticket that is missing, there twice or broken waits for a person, its commands do not.
        let whole = place.is_some_and(|p| !matches!(p.reading, Reading::Refused(_)))
            && ticket.obstacle.is_none();
        let goes_on = attempt.is_process() || attempt.asked.is_some() || attempt.settled.is_some();
        goes_on && (whole || attempt.unended().is_some())
    };
    index.open.iter().any(works)
        || !index.ready.is_empty()
        || index.wakes.iter().any(|(_, id)| retrying(id))
        || index.tickets.values().any(|t| {
            State::ALL
                .into_iter()
                .filter_map(|s| t.place(s))
                .any(|p| matches!(p.reading, Reading::Settling(_)))
        })
}
