//! Faults: facts that are not what the disk says, and what the simulated machine leaves out.

use super::plans::attempt;
use super::{Fault, How};
use jobyard::model::hold::Holds;
use jobyard::model::index::{ExecutorFact, Index, Reading, Seen};
use jobyard::model::lease::LeaseBody;
use jobyard::model::order::{DependsOn, State};

const fn facts(name: &'static str, broken: &'static str, alter: fn(&mut Index) -> bool) -> Fault {
    Fault { name, broken, how: How::Facts(alter) }
}

const fn machine(name: &'static str, broken: &'static str) -> Fault {
    Fault { name, broken, how: How::Machine }
}

/// Alters every brief that lies in `pending/`.
fn briefs(index: &mut Index, alter: impl Fn(&mut jobyard::model::index::Brief) -> bool) -> bool {
    let mut met = false;
    for ticket in index.tickets.values_mut() {
        if let Some(place) = ticket.places[State::Pending as usize].as_deref_mut()
            && let Reading::Order(brief) = &mut place.reading
        {
            met |= alter(brief);
        }
    }
    met
}

fn settle_undurable(index: &mut Index) -> bool {
    let settled = |id| {
        attempt(index, id)
            .and_then(|a| a.settled.as_ref())
            .is_some_and(|s| s.seq > index.durable_seq)
    };
    let met = index.open.iter().any(settled);
    index.durable_seq = u64::MAX;
    met
}

fn retry_time_ignored(index: &mut Index) -> bool {
    briefs(index, |brief| brief.retry_at.take().is_some())
}

fn hold_ignored(index: &mut Index) -> bool {
    index.holds = Holds::default();
    briefs(index, |brief| brief.hold.take().is_some())
}

fn lost_hold_ignored(index: &mut Index) -> bool {
    let tickets = index.tickets.iter().filter(|(id, _)| index.holds.has(id));
    let lost = tickets.filter_map(|(_, t)| t.brief()).any(|brief| brief.hold.is_none());
    index.holds = Holds::default();
    lost
}

fn any_end_is_met(index: &mut Index) -> bool {
    briefs(index, |brief| {
        brief.dependencies.iter_mut().for_each(|d| d.on = DependsOn::Always);
        !brief.dependencies.is_empty()
    })
}

fn dependencies_ignored(index: &mut Index) -> bool {
    briefs(index, |brief| !std::mem::take(&mut brief.dependencies).is_empty())
}

fn unverified_is_met(index: &mut Index) -> bool {
    let places = index.tickets.values_mut().flat_map(|t| t.places.iter_mut().flatten());
    places.fold(false, |met, place| match &mut place.reading {
        Reading::Settled { unverified, .. } => std::mem::take(unverified) || met,
        _ => met,
    })
}

fn left_is_gone(index: &mut Index) -> bool {
    index.executor.values_mut().fold(false, |met, fact| match fact {
        ExecutorFact::Swept(left) if *left > 0 => {
            *left = 0;
            true
        }
        _ => met,
    })
}

fn reboot_unnoticed(index: &mut Index) -> bool {
    let boot = index.boot.clone();
    let attempts = index.tickets.values_mut().filter_map(|t| t.attempt.as_deref_mut());
    attempts.flat_map(|a| &mut a.commands).filter(|c| c.end.is_none()).fold(
        false,
        |met, command| {
            let other = command.boot != boot;
            command.boot.clone_from(&boot);
            met || other
        },
    )
}

fn foreign_lock_unseen(index: &mut Index) -> bool {
    index.tickets.values_mut().fold(false, |met, ticket| {
        let foreign = |l: &LeaseBody| matches!(l, LeaseBody::Foreign(_));
        let unseen = ticket.lease.as_deref().is_some_and(|l| foreign(&l.body));
        if unseen {
            ticket.lease = None;
        }
        met || unseen
    })
}

fn nobody_is_alive(index: &mut Index) -> bool {
    let leases = index.tickets.values_mut().filter_map(|t| t.lease.as_deref_mut());
    leases.fold(false, |met, lease| {
        let asked = lease.silent_ms.is_some();
        lease.silent_ms = lease.silent_ms.map(|_| u64::MAX);
        met || asked
    })
}

fn unseen_is_pending(index: &mut Index) -> bool {
    index.tickets.values_mut().fold(false, |met, ticket| {
        let bare = ticket.state() == Some(State::Running) && ticket.attempt.is_none();
        let unseen = bare && matches!(ticket.seen, Seen::Never | Seen::Settled(_));
        if unseen {
            ticket.seen = Seen::Pending;
        }
        met || unseen
    })
}

/// Facts that are not what the disk says, and what the machine leaves out.
pub(super) static FACTS: &[Fault] = &[
    facts(
        "settle-undurable",
        "a settlement is carried out before its line is durable",
        settle_undurable,
    ),
    facts("retry-time-ignored", "an attempt is retried before its time", retry_time_ignored),
    facts("hold-ignored", "an order that is held is started", hold_ignored),
    facts("lost-hold-ignored", "a hold that its ticket has lost is forgotten", lost_hold_ignored),
    facts("any-end-is-met", "any end of an upstream order meets a dependency", any_end_is_met),
    facts("dependencies-ignored", "dependencies keep nothing back", dependencies_ignored),
    facts(
        "unverified-is-met",
        "an unverified upstream order meets a dependency",
        unverified_is_met,
    ),
    facts("left-is-gone", "processes that could not be ended count as ended", left_is_gone),
    facts(
        "reboot-unnoticed",
        "a command of an earlier boot counts as one of this boot",
        reboot_unnoticed,
    ),
    facts(
        "foreign-lock-unseen",
        "a lock that is not in jobyard's form is not seen",
        foreign_lock_unseen,
    ),
    facts("nobody-is-alive", "a takeover does not ask for signs of life", nobody_is_alive),
    facts(
        "unseen-is-pending",
        "a ticket that was never seen pending is taken from `running/`",
        unseen_is_pending,
    ),
    machine("root-lock-untested", "whoever works on a root does not hold its lock"),
    machine("log-untested", "the executor starts a command whose log is there already"),
    machine("key-untested", "the executor starts a command that it knows already"),
    machine("end-unwritten", "the executor does not write down the ends that it saw"),
    machine("sweep-unkilled", "the executor says that all has ended, and ends nothing"),
];
