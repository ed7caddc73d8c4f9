//! What must hold of an [`Index`] whenever a turn has ended, whatever led there.
//!
//! Invariants: shares no code with the rest of the planner, so that a mistake there does not vouch for
//! itself; changes nothing; a sentence it returns is a bug of jobyard, never the state of the disk.

use crate::model::attempt::{Attempt, CommandEnd, CommandKind, Mode};
use crate::model::id::OrderId;
use crate::model::index::{Brief, Index, Queued, Reading, Ticket};
use crate::model::order::State;
use crate::model::protocol::Cause;

/// One sentence for each invariant that does not hold, with the order it is about.
pub fn check(index: &Index) -> Vec<String> {
    let mut found = Vec::new();
    for (id, ticket) in &index.tickets {
        let mut say = |text: String| found.push(format!("{id}: {text}"));
        if let Some(attempt) = ticket.attempt.as_deref() {
            check_attempt(id, ticket, attempt, &mut say);
        }
        if index.open.contains(id) != ticket.attempt.is_some() {
            say("the list of open attempts differs from its attempt".to_owned());
        }
        if let Some(queued) = index.queued.get(id) {
            check_queued(index, id, ticket, queued, &mut say);
        }
    }
    check_queues(index, &mut found);
    check_timers(index, &mut found);
    for id in index.open.iter().filter(|id| !index.tickets.contains_key(*id)) {
        found.push(format!("{id}: open, but nothing is known of it"));
    }
    for key in index.executor.keys() {
        let attempt =
            OrderId::parse(&key.id).ok().and_then(|id| index.tickets.get(&id)?.attempt.as_deref());
        let current = attempt.filter(|a| a.number == key.attempt);
        let awaited = current
            .is_some_and(|a| a.commands.iter().any(|c| c.number == key.number && c.end.is_none()));
        if !awaited {
            found.push(format!("{}: a fact about command {} is kept", key.id, key.number));
        }
    }
    found
}

fn check_attempt(id: &OrderId, ticket: &Ticket, attempt: &Attempt, say: &mut impl FnMut(String)) {
    if attempt.id != id.as_str() {
        say(format!("it carries the attempt of {}", attempt.id));
    }
    if attempt.number == 0 || attempt.number > ticket.last_attempt {
        let last = ticket.last_attempt;
        say(format!("attempt {}, while the highest known is {last}", attempt.number));
    }
    let mut expected = 0;
    let mut runs = 0;
    for (at, command) in attempt.commands.iter().enumerate() {
        expected += 1;
        if command.number != expected {
            say(format!("command {} stands at place {expected}", command.number));
        }
        if command.end.is_none() && at + 1 != attempt.commands.len() {
            say(format!("command {} has no end, but is not the last", command.number));
        }
        if let CommandKind::Run(index) = command.kind {
            if index != runs {
                say(format!("run[{index}] was started as number {runs} of `run`"));
            }
            runs += 1;
        }
    }
    if runs as usize > attempt.claim.sealed.run.len() {
        say(format!("{runs} commands of `run` were started"));
    }
    if runs > 0 && attempt.claim.mode != Mode::Process {
        say("the daemon ran commands of a person's attempt".to_owned());
    }
    check_end(attempt, say);
}

/// A settlement follows from what ended.
fn check_end(attempt: &Attempt, say: &mut impl FnMut(String)) {
    let Some(settled) = &attempt.settled else { return };
    if attempt.commands.iter().any(|c| c.end.is_none()) {
        say("it is settled while a command runs".to_owned());
    }
    if settled.state == "done" && attempt.verdict.is_none() {
        say("it is settled as done without a verdict".to_owned());
    }
    if settled.result != "pass" {
        return;
    }
    let well = |end: &CommandEnd| match end {
        CommandEnd::Seen(end) => end.cause == Cause::Exited && end.exit == Some(0),
        CommandEnd::Lost => false,
    };
    let checks = attempt.claim.sealed.checks.len();
    let round = attempt.commands.get(attempt.gate_after..).unwrap_or_default();
    let passed = round.iter().filter(|c| c.end.as_ref().is_some_and(well)).count();
    if checks == 0 || passed != checks {
        say(format!("it is settled as passed after {passed} of {checks} checks"));
    }
}

fn check_queued(
    index: &Index,
    id: &OrderId,
    ticket: &Ticket,
    queued: &Queued,
    say: &mut impl FnMut(String),
) {
    let place = ticket.places[State::Pending as usize].as_deref();
    let elsewhere = ticket.places.iter().skip(1).any(Option::is_some);
    let held = |brief: &Brief| brief.hold.is_some() || index.holds.has(id);
    let runs = place.is_some_and(|p| match &p.reading {
        Reading::Order(brief) => brief.executable && !held(brief) && brief.stamp.is_none(),
        _ => false,
    });
    if !runs || elsewhere || ticket.attempt.is_some() || ticket.lease.is_some() {
        say("it waits for a slot, but may not be started".to_owned());
    }
    let listed = index.ready.get(&queued.group).is_some_and(|q| q.contains(&queued.rank));
    if !listed || queued.rank.id != *id {
        say("it waits for a slot, but stands in no queue".to_owned());
    }
}

fn check_queues(index: &Index, found: &mut Vec<String>) {
    let ranks = index.ready.values().flatten();
    for rank in ranks.filter(|r| index.queued.get(&r.id).map(|q| &q.rank) != Some(*r)) {
        found.push(format!("{}: it stands in a queue, but nobody knows", rank.id));
    }
    for id in index.queued.keys().filter(|id| !index.tickets.contains_key(*id)) {
        found.push(format!("{id}: it waits for a slot, but is not there"));
    }
    for (group, _) in index.ready.iter().filter(|(_, q)| q.is_empty()) {
        found.push(format!("the empty queue of group {group:?} is kept"));
    }
    for (at, id) in &index.rescores {
        if index.queued.get(id).and_then(|q| q.rescore) != Some(*at) {
            found.push(format!("{id}: its score is to change, but it waits for no slot"));
        }
    }
}

fn check_timers(index: &Index, found: &mut Vec<String>) {
    for (at, id) in &index.wakes {
        if index.wake_of.get(id) != Some(at) {
            found.push(format!("{id}: it has a timer that nobody can cancel"));
        }
    }
    for (id, at) in &index.wake_of {
        if !index.wakes.contains(&(*at, id.clone())) {
            found.push(format!("{id}: its timer is lost"));
        }
    }
}
