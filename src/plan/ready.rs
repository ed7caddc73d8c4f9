//! What stands between a pending order and its start, and the queue of those with nothing in between.
//!
//! Invariants: an unknown id never counts as met; the queue holds exactly the executable orders that
//! nothing but a slot keeps back; the same facts give the same queue, however they came about.

use super::Policy;
use super::action::Wait;
use super::score::{deadline, earliest, score};
use crate::model::id::OrderId;
use crate::model::index::{Brief, Index, Queued, Rank, Reading, Ticket};
use crate::model::order::{Dependency, DependsOn, State, Workspace};
use crate::model::time::Moment;

/// What is known of an upstream order that is done, but that no check vouches for, where that is asked for.
pub const UNVERIFIED: &str = "done but unverified";

/// Every unmet condition of a pending order, slots left out. `force` skips the dependencies only.
pub fn unmet(
    index: &Index,
    id: &OrderId,
    brief: &Brief,
    now: Moment,
    policy: &Policy,
) -> Vec<Wait> {
    let mut waits = Vec::new();
    // A ticket can lose what a request wrote into it; the ledger does not.
    if let Some(reason) = brief.hold.as_deref().or(index.holds.of(id, now)) {
        waits.push(Wait::Held(reason.to_string()));
    }
    let not_before = brief.not_before.map(|w| earliest(w, &policy.zone));
    if let Some(at) = not_before.filter(|at| *at > now) {
        waits.push(Wait::NotBefore(at));
    }
    if let Some(at) = brief.retry_at.filter(|at| *at > now) {
        waits.push(Wait::RetryAt(at));
    }
    waits.extend(unmet_dependencies(index, brief, policy));
    waits.extend(workspace(index, id, brief).map(Wait::Workspace));
    let ticket = index.tickets.get(id).filter(|t| t.attempt.is_none());
    if let Some(lease) = ticket.and_then(|t| t.lease.as_ref()) {
        waits.push(Wait::Lease(lease.body.describe()));
    }
    waits
}

/// Every unmet condition of its start by the daemon, slots left out: also the pauses.
pub fn unstarted(
    index: &Index,
    id: &OrderId,
    brief: &Brief,
    now: Moment,
    policy: &Policy,
) -> Vec<Wait> {
    let mut waits = unmet(index, id, brief, now, policy);
    waits.extend(paused(brief, policy));
    waits
}

/// The pauses that keep an order from being started. Nobody is kept from taking it.
fn paused(brief: &Brief, policy: &Policy) -> Vec<Wait> {
    let paused = &policy.paused;
    let all = paused.all.iter().map(|reason| (None, reason));
    let group = brief.group.as_deref();
    let of_group = group.and_then(|g| Some((Some(g.to_owned()), paused.groups.get(g)?)));
    let both = all.chain(of_group).filter(|_| brief.executable);
    both.map(|(group, reason)| Wait::Paused { group, reason: reason.clone() }).collect()
}

/// Why its worktree is not to be had now: nobody owns it, or somebody works there.
fn workspace(index: &Index, id: &OrderId, brief: &Brief) -> Option<String> {
    let works = |other: &OrderId, in_tree: &OrderId| {
        let attempt = index.tickets.get(other).and_then(|t| t.attempt.as_deref());
        other != id && attempt.and_then(|a| a.tree()) == Some(in_tree.as_str())
    };
    match &brief.workspace {
        Workspace::None => None,
        Workspace::Worktree => {
            let other = index.dependants_of(id).find(|other| works(other, id))?;
            Some(format!("its worktree is used by {other}, which is running"))
        }
        Workspace::Inherit(tree) => {
            let owner = index.tickets.get(tree);
            let inherits = format!("it inherits the worktree of {tree}");
            if owner.is_none_or(|t| t.state().is_none() && t.attempt.is_none()) {
                return Some(format!("{inherits}, and there is no such order"));
            }
            if owner.is_some_and(|t| t.attempt.is_some() || t.place(State::Running).is_some()) {
                return Some(format!("{inherits}, which is running"));
            }
            let other = index.open.iter().find(|other| works(other, tree))?;
            Some(format!("{inherits}, in which {other} is running"))
        }
    }
}

/// How a dependency stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is satisfied.
    Met,
    /// It can still be satisfied.
    Open,
    /// As things are it cannot be satisfied any more.
    Never,
}

/// How a dependency stands when its upstream order has ended well (`true`), badly, or not yet.
pub const fn standing(on: DependsOn, ended: Option<bool>) -> Standing {
    match (on, ended) {
        (_, None) => Standing::Open,
        (DependsOn::Success, Some(true))
        | (DependsOn::Failure, Some(false))
        | (DependsOn::Always, Some(_)) => Standing::Met,
        (_, Some(_)) => Standing::Never,
    }
}

/// How a dependency stands now, and what is known of its upstream order.
pub fn look_up(index: &Index, d: &Dependency, policy: &Policy) -> (Standing, &'static str) {
    let upstream = index.tickets.get(&d.id);
    let ended = upstream.and_then(Ticket::succeeded);
    let vouched = !policy.require_checks || !upstream.is_some_and(unverified);
    let state = match upstream.and_then(Ticket::state) {
        Some(_) if ended == Some(true) && !vouched => UNVERIFIED,
        state => state.map_or("unknown", State::name),
    };
    match standing(d.on, ended) {
        Standing::Met if d.on == DependsOn::Success && !vouched => (Standing::Never, state),
        standing => (standing, state),
    }
}

/// The dependencies that are not satisfied.
pub fn unmet_dependencies<'a>(
    index: &'a Index,
    brief: &'a Brief,
    policy: &'a Policy,
) -> impl Iterator<Item = Wait> + 'a {
    brief.dependencies.iter().filter_map(|d| {
        let (standing, state) = look_up(index, d, policy);
        let possible = standing == Standing::Open;
        let (id, state, on) = (d.id.clone(), state.into(), d.on.name());
        (standing != Standing::Met).then_some(Wait::Dependency { id, state, on, possible })
    })
}

fn unverified(ticket: &Ticket) -> bool {
    ticket
        .state()
        .and_then(|s| ticket.place(s))
        .is_some_and(|p| matches!(p.reading, Reading::Settled { unverified: true, .. }))
}

/// Takes an order out of the queue and its timers.
pub fn dequeue(index: &mut Index, id: &OrderId) {
    if let Some(queued) = index.queued.remove(id) {
        if let Some(queue) = index.ready.get_mut(&queued.group) {
            queue.remove(&queued.rank);
            if queue.is_empty() {
                index.ready.remove(&queued.group);
            }
        }
        if let Some(at) = queued.rescore {
            index.rescores.remove(&(at, id.clone()));
        }
    }
    if let Some(at) = index.wake_of.remove(id) {
        index.wakes.remove(&(at, id.clone()));
    }
}

/// Puts an order into the queue.
pub fn enqueue(index: &mut Index, id: &OrderId, now: Moment, policy: &Policy) {
    let Some(ticket) = index.tickets.get(id) else { return };
    let Some(place) = ticket.place(State::Pending) else { return };
    let Reading::Order(brief) = &place.reading else { return };
    let (points, changes) = score(brief.priority, brief.deadline, now, &policy.zone);
    let due = brief.deadline.map_or(i64::MAX, |w| deadline(w, &policy.zone).0);
    let rank =
        Rank { score: -points, deadline_ms: due, intake_ns: place.intake_ns, id: id.clone() };
    let queued = Queued { rank: rank.clone(), group: brief.group.clone(), rescore: changes };
    if let Some(at) = changes {
        index.rescores.insert((at, id.clone()));
    }
    index.ready.entry(queued.group.clone()).or_default().insert(rank);
    index.queued.insert(id.clone(), queued);
}

/// Notes when a waiting order becomes ready by time alone.
pub fn wake_when(index: &mut Index, id: &OrderId, waits: &[Wait]) {
    if waits.iter().any(|wait| matches!(wait, Wait::Paused { .. })) {
        return;
    }
    let at = waits
        .iter()
        .filter_map(|w| match w {
            Wait::NotBefore(at) | Wait::RetryAt(at) => Some(*at),
            _ => None,
        })
        .max();
    if let Some(at) = at {
        index.wakes.insert((at, id.clone()));
        index.wake_of.insert(id.clone(), at);
    }
}

/// Orders whose time has come, or whose score has changed, since they were last looked at.
pub fn due(index: &Index, now: Moment) -> Vec<OrderId> {
    let timed = index.wakes.iter().take_while(|(at, _)| *at <= now);
    let rescored = index.rescores.iter().take_while(|(at, _)| *at <= now);
    timed.chain(rescored).map(|(_, id)| id.clone()).collect()
}

/// The best ready order whose group has a free slot.
pub fn best(index: &Index, policy: &Policy) -> Option<OrderId> {
    let (all, taken) = index.slots_taken();
    if all >= policy.slots {
        return None;
    }
    let free = |group: &Option<Box<str>>| match group.as_deref() {
        None => true,
        Some(g) => {
            let limit = policy.groups.get(g).copied().unwrap_or(usize::MAX);
            taken.get(g).copied().unwrap_or(0) < limit
        }
    };
    let heads = index.ready.iter().filter(|(g, _)| free(g)).filter_map(|(_, q)| q.first());
    heads.min().map(|rank| rank.id.clone())
}

/// The members of a dependency cycle through `id`, if there is one. Bounded by the number of tickets.
pub fn cycle(index: &Index, id: &OrderId) -> Option<Vec<OrderId>> {
    let upstream = |of: &OrderId| -> Vec<OrderId> {
        let brief = index.tickets.get(of).and_then(Ticket::brief);
        brief.map(|b| b.dependencies.iter().map(|d| d.id.clone()).collect()).unwrap_or_default()
    };
    let mut came_from = std::collections::BTreeMap::new();
    let mut todo = vec![id.clone()];
    while let Some(at) = todo.pop() {
        for up in upstream(&at) {
            if up == *id {
                let mut members = vec![at.clone()];
                let mut here = at;
                while here != *id {
                    here = came_from.get(&here).cloned()?;
                    members.push(here.clone());
                }
                members.reverse();
                return Some(members);
            }
            if !came_from.contains_key(&up) {
                came_from.insert(up.clone(), at.clone());
                todo.push(up);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::action::Action;
    use super::super::sample::{id, index, policy};
    use super::super::{busy, plan};
    use super::*;
    use crate::model::index::Seen;
    use crate::model::time::Tick;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_paused_is_neither_queued_nor_waited_for() {
        let check = |group: &str, pause: Option<Option<&str>>, retry: bool, want: (bool, bool)| {
            let mut index = index(&["A pending"]);
            let ticket = index.ticket_mut(&id("A"));
            ticket.seen = Seen::Pending;
            let place = ticket.places[State::Pending as usize].as_deref_mut();
            if let Some(Reading::Order(brief)) = place.map(|p| &mut p.reading) {
                brief.group = Some(group.into());
                brief.retry_at = retry.then_some(Moment(5));
            }
            let mut policy = policy();
            match pause {
                Some(Some(group)) => drop(policy.paused.groups.insert(group.into(), "x".into())),
                Some(None) => policy.paused.all = Some("x".into()),
                None => {}
            }
            let changed = BTreeSet::from([id("A")]);
            let plan = plan(&mut index, &changed, Moment(0), Tick(0), &policy);
            let claimed = plan.actions.iter().any(|(_, a)| matches!(a, Action::Claim { .. }));
            assert_eq!((claimed, busy(&index)), want, "{group} {pause:?} {retry}");
        };
        check("gpu", None, false, (true, true));
        check("gpu", Some(Some("gpu")), false, (false, false));
        check("gpu", Some(Some("other")), false, (true, true));
        check("gpu", Some(None), false, (false, false));
        check("gpu", None, true, (false, true));
        check("gpu", Some(Some("gpu")), true, (false, false));
    }
}
