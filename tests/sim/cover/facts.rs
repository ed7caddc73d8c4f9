//! What is known of one ticket, in the words of the table `states` of `docs/states.md`.
//!
//! Invariants: decided from the index and the policy alone, by code of its own; what the page does not
//! speak of (three files for one id) has no words.

use super::page::ANY;
use jobyard::engine::Round;
use jobyard::model::attempt::{Attempt, Command, CommandEnd, CommandKind, Mode};
use jobyard::model::config::Unsatisfiable;
use jobyard::model::id::OrderId;
use jobyard::model::index::{Index, Reading, Seen, Ticket};
use jobyard::model::lease::{LeaseBody, LeaseMode};
use jobyard::model::order::{DependsOn, State};
use jobyard::model::protocol::Cause;
use jobyard::model::time::Moment;
use std::collections::BTreeSet;

/// What stands between a valid order and its claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Nothing.
    Free,
    /// Something that can pass.
    Barred,
    /// It waits, by way of others, for itself.
    Circular,
    /// A dependency that can no longer be met, with a policy for that.
    Hopeless,
}

const LETTERS: [&str; 4] = ["P", "R", "D", "F"];
const SETTLES: [&str; 4] = ["to-P", "to-R", "to-D", "to-F"];

/// The values of `place`, `lease`, `attempt`, `says` and `seen`.
pub(super) fn words(round: &Round<'_>, ticket: &Ticket) -> Option<[&'static str; 5]> {
    let place = place(ticket)?;
    let says = match LETTERS.iter().position(|letter| *letter == place) {
        Some(at) => says(ticket, State::ALL[at]),
        None => ANY,
    };
    let attempt = ticket.attempt.as_deref().map_or("none", |a| {
        // In `running/` a take is granted by the line, elsewhere by what became of its request.
        attempt(a, a.claimed || (place != "R" && ticket.granted))
    });
    Some([place, lease(round, ticket), attempt, says, seen(round, ticket)])
}

fn place(ticket: &Ticket) -> Option<&'static str> {
    let inodes = State::ALL.map(|state| ticket.place(state).map(|p| p.inode));
    let there: Vec<usize> = (0..4).filter(|at| inodes[*at].is_some()).collect();
    match there[..] {
        [] => Some("none"),
        [at] => Some(LETTERS[at]),
        [first, second] if inodes[first] == inodes[second] => Some("twice"),
        [2, 3] => Some("ends"),
        [_, _] => Some("two"),
        _ => None,
    }
}

fn lease(round: &Round<'_>, ticket: &Ticket) -> &'static str {
    let Some(fact) = ticket.lease.as_deref() else { return "none" };
    let LeaseBody::Ours(lease) = &fact.body else { return "foreign" };
    if lease.host != round.policy.host {
        return "foreign";
    }
    if lease.instance == round.policy.instance {
        return "mine";
    }
    let rebooted = lease.boot != round.index.boot;
    match (lease.mode == LeaseMode::Process, rebooted) {
        (true, _) => {
            if rebooted || fact.holder_dead {
                "dead"
            } else {
                "alive"
            }
        }
        (false, true) => "rebooted",
        (false, false) => "person",
    }
}

fn attempt(attempt: &Attempt, taken: bool) -> &'static str {
    if let Some(settled) = &attempt.settled {
        let at = State::ALL.iter().position(|s| s.name() == settled.state);
        return SETTLES[at.unwrap_or(3)];
    }
    match (&attempt.claim.mode, attempt.commands.is_empty()) {
        (Mode::Manual(_), _) => {
            if taken {
                "taken"
            } else {
                "taking"
            }
        }
        (Mode::Process, true) => "claiming",
        (Mode::Process, false) => {
            if run_goes_on(attempt) {
                "running"
            } else {
                "ran"
            }
        }
    }
}

/// A command of `run` is under way or still to come.
fn run_goes_on(attempt: &Attempt) -> bool {
    let mut ended_well = 0;
    for command in attempt.commands.iter().filter(|c| is_run(c)) {
        match &command.end {
            None => return true,
            Some(end) if went_well(end) => ended_well += 1,
            Some(_) => return false,
        }
    }
    ended_well < attempt.claim.sealed.run.len()
}

pub(super) fn is_run(command: &Command) -> bool {
    matches!(command.kind, CommandKind::Run(_))
}

pub(super) fn went_well(end: &CommandEnd) -> bool {
    match end {
        CommandEnd::Seen(end) => end.cause == Cause::Exited && end.exit == Some(0),
        CommandEnd::Lost => false,
    }
}

fn says(ticket: &Ticket, state: State) -> &'static str {
    let attempt = ticket.attempt.as_deref();
    let settled = attempt.and_then(|a| Some((a, a.settled.as_ref()?)));
    let brief = match ticket.place(state).map(|place| &place.reading) {
        None | Some(Reading::Settling(_)) => return "writing",
        Some(Reading::Refused(_)) => return "refused",
        Some(Reading::Settled { attempt: number, .. }) => {
            let own = settled.is_some_and(|(a, s)| s.state == state.name() && a.number == *number);
            return if own { "own" } else { state.name() };
        }
        Some(Reading::Order(brief)) => brief,
    };
    let stamp = brief.stamp.as_deref();
    if let Some((attempt, settled)) = settled {
        let back = settled.state == State::Pending.name();
        let retry_at = settled.retry_at.as_deref().and_then(Moment::parse);
        if back && (brief.attempt != attempt.number || brief.retry_at != retry_at) {
            return "bare";
        }
        if !back && stamp.is_some_and(|stamp| stamp.seq == settled.seq) {
            return "own";
        }
    }
    match stamp {
        Some(stamp) => stamp.state.name(),
        None => "order",
    }
}

fn seen(round: &Round<'_>, ticket: &Ticket) -> &'static str {
    match ticket.seen {
        Seen::Never if round.policy.fresh => "fresh",
        Seen::Never => "never",
        Seen::Pending => "pending",
        // Elsewhere than where it was adopted it is as if it had been settled there.
        Seen::Adopted(there) if ticket.state() == Some(there) => "adopted",
        Seen::Settled(_) | Seen::Adopted(_) => "settled",
        Seen::Requeued => "requeued",
        Seen::Unrun => "unrun",
    }
}

/// The order waits, by way of others, for itself.
fn in_cycle(index: &Index, id: &OrderId) -> bool {
    let needs = |of: &OrderId| {
        let brief = index.tickets.get(of).and_then(Ticket::brief);
        brief.map(|b| &b.dependencies[..]).unwrap_or_default()
    };
    let mut reached: BTreeSet<&OrderId> = needs(id).iter().map(|d| &d.id).collect();
    loop {
        let further = reached.iter().flat_map(|of| needs(of)).map(|d| &d.id);
        let more: Vec<_> = further.filter(|of| !reached.contains(of)).collect();
        if more.is_empty() {
            return reached.contains(id);
        }
        reached.extend(more);
    }
}

/// What stands in the way of a valid order without an attempt, its lease left out.
pub(super) fn way(round: &Round<'_>, id: &OrderId, ticket: &Ticket, state: State) -> Way {
    let Some(Reading::Order(brief)) = ticket.place(state).map(|place| &place.reading) else {
        return Way::Barred;
    };
    if state == State::Pending && in_cycle(round.index, id) {
        return Way::Circular;
    }
    let manual = state == State::Pending && !brief.executable;
    let later = brief.retry_at.is_some_and(|at| at > round.now) || brief.not_before.is_some();
    let held = brief.hold.is_some() || round.index.holds.of(id, round.now).is_some();
    let barred = manual || later || held;
    let mut way = if barred { Way::Barred } else { Way::Free };
    let policy = round.policy;
    for dependency in &brief.dependencies {
        let upstream = round.index.tickets.get(&dependency.id);
        let end = upstream.and_then(|t| ended(t, policy.require_checks));
        let met = match (dependency.on, end) {
            (_, None) => None,
            (DependsOn::Success, Some((success, vouched))) => Some(success && vouched),
            (DependsOn::Failure, Some((success, _))) => Some(!success),
            (DependsOn::Always, Some(_)) => Some(true),
        };
        match met {
            Some(true) => {}
            Some(false) if policy.unsatisfiable != Unsatisfiable::Hold => return Way::Hopeless,
            _ => way = Way::Barred,
        }
    }
    way
}

/// How an order ended: well or not, and whether it counts as verified.
fn ended(ticket: &Ticket, require_checks: bool) -> Option<(bool, bool)> {
    let state = ticket.state().filter(|_| ticket.attempt.is_none())?;
    match ticket.place(state)?.reading {
        Reading::Settled { unverified, .. } => {
            Some((state == State::Done, !(unverified && require_checks)))
        }
        _ => None,
    }
}
