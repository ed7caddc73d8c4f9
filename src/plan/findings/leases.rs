//! Findings about leases and about what a running order lacks.

use super::{Facts, Finding, Known, Severity, lock_file, ticket_file, whole};
use crate::model::id::OrderId;
use crate::model::index::{LeaseFact, Ticket};
use crate::model::lease::{LeaseBody, LeaseMode};
use crate::model::order::{State, Workspace};

pub(super) fn find(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for (id, ticket) in &facts.index.tickets {
        let running = ticket.place(State::Running).is_some();
        match &ticket.lease {
            None if running => without_lease(id, ticket, found),
            None => {}
            Some(lease) if running => held(facts, id, ticket, lease, found),
            Some(lease) => without_order(facts, id, ticket, lease, found),
        }
        if running {
            failed_verdict(facts, id, ticket, found);
            metadata(facts, id, ticket, found);
        }
    }
}

/// Somebody is just working on it: an attempt of the ledger is open, or the process behind the lease lives.
pub(super) fn is_live(ticket: &Ticket) -> bool {
    let lease = ticket.lease.as_deref();
    lease.is_some_and(|l| {
        matches!(l.body, LeaseBody::Ours(_)) && (ticket.attempt.is_some() || !l.holder_dead)
    })
}

fn without_lease(id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    let (message, repair) = match &ticket.attempt {
        Some(attempt) => (
            format!("attempt {} is open, but its lease is gone", attempt.number),
            "start the daemon: it makes the lease again".to_owned(),
        ),
        None => (
            "it lies in running/, but nobody holds a lease".to_owned(),
            format!(
                "move it to pending/; then the daemon runs it, or `jobyard take {id}` takes it"
            ),
        ),
    };
    let file = ticket_file(State::Running, id);
    found.push(whole("running-without-lease", Severity::P1, id, file, message, repair));
}

/// A lock in `running/` without the ticket.
fn without_order(
    facts: &Facts<'_>,
    id: &OrderId,
    ticket: &Ticket,
    lease: &LeaseFact,
    found: &mut Vec<Finding>,
) {
    if ticket.state().is_some() && is_live(ticket) {
        return;
    }
    let where_ = match ticket.state() {
        Some(state) => format!("its ticket lies in {}/", state.name()),
        None => "there is no such ticket".to_owned(),
    };
    let ours = matches!(lease.body, LeaseBody::Ours(_));
    let repair = match (ours, ticket.state()) {
        (true, Some(_)) => "start the daemon: it removes a dead lease of its own".to_owned(),
        (false, Some(State::Pending)) => format!(
            "find out who works on it; `jobyard requeue {id} --takeover --reason TEXT` keeps the \
             lock in the run directory and goes on, and so do `take` and `cancel`"
        ),
        _ => format!("make sure that nobody works on {id}, then remove the lock file"),
    };
    found.push(whole(
        "lease-without-order",
        Severity::P1,
        id,
        lock_file(id),
        format!("a lease{}, but {where_}", aged(facts, id)),
        repair,
    ));
}

fn aged(facts: &Facts<'_>, id: &OrderId) -> String {
    let age = facts.extra.lock_age_ms.get(id);
    age.map_or_else(String::new, |ms| format!(" ({} old)", span(*ms)))
}

/// A span for people, in its largest unit.
fn span(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// A lease beside its running ticket: unknown, stale, or as it should be.
fn held(
    facts: &Facts<'_>,
    id: &OrderId,
    ticket: &Ticket,
    lease: &LeaseFact,
    found: &mut Vec<Finding>,
) {
    let LeaseBody::Ours(body) = &lease.body else {
        let text = match &lease.body {
            LeaseBody::Foreign(first) => first.escape_debug().to_string(),
            LeaseBody::Ours(_) => String::new(),
        };
        let message = format!("a lock that jobyard did not write{}: {text:.80}", aged(facts, id));
        found.push(unknown(id, message));
        return;
    };
    let silent = lease.silent_ms.filter(|ms| *ms >= facts.extra.stale_after_ms);
    match (&body.mode, silent) {
        (LeaseMode::Manual { holder, .. }, Some(ms)) => found.push(whole(
            "stale-lease",
            Severity::P1,
            id,
            lock_file(id),
            format!("{} has given no sign of life for {}", holder.name, span(ms)),
            format!(
                "ask the holder (`jobyard heartbeat {id}` is a sign of life); `jobyard requeue {id} \
                 --takeover --reason TEXT` goes on without, and so do `take` and `cancel`"
            ),
        )),
        _ if ticket.attempt.is_none() && lease.holder_dead => found.push(unknown(
            id,
            format!("pid {} on {} is dead and no open attempt owns it", body.pid, body.host),
        )),
        _ => {}
    }
}

fn unknown(id: &OrderId, message: String) -> Finding {
    whole(
        "unknown-lease",
        Severity::P1,
        id,
        lock_file(id),
        message,
        format!(
            "find out who works on it; `jobyard requeue {id} --takeover --reason TEXT` goes on \
             without, and so do `take` and `cancel`"
        ),
    )
}

/// The newest attempt was judged FAIL, but the ticket stays in `running/`.
fn failed_verdict(facts: &Facts<'_>, id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    let attempt = ticket.attempt.as_deref();
    if attempt.is_some_and(|a| a.settled.is_some() || a.asked.is_some()) {
        return;
    }
    let judged = attempt.and_then(|a| a.verdict.as_ref()).is_some_and(|v| v.result == "fail");
    let on_file = facts.extra.verdicts.get(id).filter(|(_, result)| result == "fail");
    if !judged && on_file.is_none() {
        return;
    }
    let file = on_file.map_or_else(|| ticket_file(State::Running, id), |(file, _)| file.clone());
    let repair = match attempt {
        Some(_) => "start the daemon: it settles the order".to_owned(),
        None => format!("`jobyard cancel {id} --takeover --reason TEXT`, or move it to pending/"),
    };
    let message = "the verdict of its newest attempt is FAIL, but it lies in running/".to_owned();
    found.push(whole("failed-but-running", Severity::P1, id, file, message, repair));
}

/// What the ticket should say about its attempt and does not; what lease and worktrees let us infer.
fn metadata(facts: &Facts<'_>, id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    let Some(known) = facts.extra.orders.get(&(id.clone(), State::Running)) else { return };
    if is_live(ticket) || ticket.attempt.is_some() {
        return;
    }
    let missing = missing(known);
    if missing.is_empty() {
        return;
    }
    let inferred = inferred(facts, id, ticket, &missing);
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let inferred = match inferred.is_empty() {
        true => "nothing lets us infer them".to_owned(),
        false => format!("to infer: {}", inferred.join(", ")),
    };
    let message = format!("it is running without {}; {inferred}", names.join(", "));
    found.push(whole(
        "missing-metadata",
        Severity::P2,
        id,
        ticket_file(State::Running, id),
        message,
        format!("move it to pending/ and `jobyard take {id}`: that writes them"),
    ));
}

fn missing(known: &Known) -> Vec<(&'static str, bool)> {
    let (order, view) = (&known.order, &known.order.view);
    let tree = order.workspace != Workspace::None;
    [
        ("owner", order.owner.is_none() && order.run.is_empty()),
        ("branch", tree && view.branch.is_none()),
        ("worktree", tree && view.worktree.is_none()),
        ("started_at", view.started_at.is_none()),
    ]
    .into_iter()
    .filter(|(_, missing)| *missing)
    .collect()
}

fn inferred(
    facts: &Facts<'_>,
    id: &OrderId,
    ticket: &Ticket,
    missing: &[(&'static str, bool)],
) -> Vec<String> {
    let path = id.worktree();
    let tree = facts.extra.trees.iter().flatten().find(|t| t.path == path);
    let lease = ticket.lease.as_deref();
    let value = |name: &str| match name {
        "owner" => lease.and_then(|l| match &l.body {
            LeaseBody::Ours(body) => Some(body.user.clone()),
            LeaseBody::Foreign(_) => None,
        }),
        "branch" => tree.and_then(|t| t.branch.clone()),
        "worktree" => tree.map(|t| t.path.clone()),
        _ => facts.extra.lock_age_ms.get(id).map(|ms| format!("{} ago", span(*ms))),
    };
    let known = missing.iter().filter_map(|(name, _)| Some((*name, value(name)?)));
    known.map(|(name, value)| format!("{name} {value}")).collect()
}
