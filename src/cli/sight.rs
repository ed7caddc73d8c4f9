//! What an order is doing and what it waits for, in words.
//!
//! Invariants: what is said follows from the facts the daemon decides on, and from its own functions; a
//! cancelled, skipped or lost order is called so.

use super::out;
use crate::model::attempt::{Attempt, CommandKind, Mode, Wish};
use crate::model::id::OrderId;
use crate::model::index::{Brief, Reading, Ticket};
use crate::model::lease::{LeaseBody, LeaseMode};
use crate::model::order::State;
use crate::model::sealed::Sealed;
use crate::model::time::Moment;
use crate::plan::action::{self, Wait, wait_text};
use crate::plan::ready;
use crate::scan::View;
use crate::world::stall::Stall;
use serde_json::{Value, json};

/// One reason why an order does not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Obstacle {
    /// Machine word.
    pub(super) kind: &'static str,
    /// What is missing.
    pub(super) text: String,
    /// What would release it.
    pub(super) release: String,
    /// The order it waits for, for dependencies.
    pub(super) upstream: Option<OrderId>,
    /// When it came about, where that is not a matter of the order itself.
    pub(super) since: Option<Moment>,
}

/// What is to be done about an order that was begun and whose ticket is gone.
pub(super) const MISSING: &str =
    "its ticket is gone: bring it back to running/, or end the order by `jobyard cancel`";

/// Whether a daemon serves the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It does.
    Up,
    /// The daemon of this process id was stopped (`SIGSTOP`, a debugger).
    Frozen(u32),
    /// None does.
    Down,
}

/// The state of an order, with the cases people tell apart.
pub(super) fn word(view: &View, id: &OrderId) -> &'static str {
    let Some(ticket) = view.index.tickets.get(id) else { return "unknown" };
    let Some(state) = ticket.state() else {
        return if ticket.places.iter().any(Option::is_some) { "doubled" } else { "missing" };
    };
    let refused = matches!(ticket.place(state).map(|p| &p.reading), Some(Reading::Refused(_)));
    match state {
        _ if refused => "refused",
        State::Pending if view.cyclic.contains(id) || view.extra.refused.contains_key(id) => {
            "refused"
        }
        State::Failed => match result(view, id).as_deref() {
            Some("cancelled") => "cancelled",
            Some("skipped") => "skipped",
            _ if reason(view, id).as_deref() == Some("lost") => "lost",
            _ => "failed",
        },
        _ => state.name(),
    }
}

/// The `result` of a settled order.
pub(super) fn result(view: &View, id: &OrderId) -> Option<String> {
    view.known(id)?.order.view.result.clone()
}

/// Why its last attempt ended as it did.
pub(super) fn reason(view: &View, id: &OrderId) -> Option<String> {
    view.known(id)?.order.own.reason.clone()
}

/// When a settled order ended, milliseconds since 1970.
pub(super) fn ended_ms(view: &View, id: &OrderId) -> i64 {
    let Some(known) = view.known(id) else { return 0 };
    let said = known.order.view.finished_at.as_deref().and_then(Moment::parse);
    said.map_or(known.changed_ms, |at| at.0)
}

/// Every reason that keeps a pending order from running; empty for all others.
pub(super) fn obstacles(view: &View, id: &OrderId, presence: Presence) -> Vec<Obstacle> {
    let Some(ticket) = view.index.tickets.get(id) else { return Vec::new() };
    let Some(place) = ticket.place(State::Pending) else { return Vec::new() };
    if ticket.state() != Some(State::Pending) {
        let text = "different files carry this id in more than one state".to_owned();
        return vec![Obstacle::new("refused", text, "keep one of them; `jobyard lint` names them")];
    }
    match &place.reading {
        Reading::Settling(_) => vec![Obstacle::new(
            "settling",
            "somebody is writing its file".to_owned(),
            "the writer closes the file",
        )],
        Reading::Refused(defects) => defects
            .iter()
            .map(|d| Obstacle::new("refused", d.to_string(), "correct the file"))
            .collect(),
        Reading::Settled { .. } => Vec::new(),
        Reading::Order(brief) => of_order(view, id, ticket, brief, presence),
    }
}

fn of_order(
    view: &View,
    id: &OrderId,
    ticket: &Ticket,
    brief: &Brief,
    presence: Presence,
) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let cyclic = view.cyclic.contains(id);
    let cycle = cyclic.then(|| ready::cycle(&view.index, id)).flatten().unwrap_or_default();
    if !cycle.is_empty() {
        let names: Vec<&str> = cycle.iter().map(OrderId::as_str).collect();
        let text = format!("dependency cycle: {} -> {id}", names.join(" -> "));
        found.push(Obstacle::new("refused", text, "remove one of these dependencies"));
    }
    // What it needs of the others on the cycle is said by the cycle.
    let said = |wait: &Wait| matches!(wait, Wait::Dependency { id, .. } if cycle.contains(id));
    let policy = &view.settings.policy;
    let waits = ready::unstarted(&view.index, id, brief, view.now, policy);
    if let Some((_, text)) = view.extra.refused.get(id) {
        let release = "that is cured, and its file touched or the daemon started again";
        found.push(Obstacle::new("refused", text.clone(), release));
    }
    found.extend(waits.iter().filter(|w| !said(w)).map(|w| of_wait(id, ticket, w)));
    if !brief.executable {
        let release = format!("`jobyard take {id}`");
        let text = "nothing to run: a person or an agent takes it".to_owned();
        found.push(Obstacle::new("manual", text, &release));
        return found;
    }
    found.extend(slots(view, brief));
    match presence {
        Presence::Up => found.extend(view.settings.stall.as_ref().map(stalled)),
        Presence::Frozen(pid) => {
            let text = format!("the daemon is frozen (pid {pid}): it was stopped");
            found.push(Obstacle::new("frozen-daemon", text, &format!("`kill -CONT {pid}`")));
        }
        Presence::Down => {
            let text = "no daemon runs".to_owned();
            found.push(Obstacle::new("no-daemon", text, "`jobyard daemon`"));
        }
    }
    found
}

/// The limits that leave no slot free: that of its group, and that of all.
fn slots(view: &View, brief: &Brief) -> Vec<Obstacle> {
    let policy = &view.settings.policy;
    let full = |group: Option<&str>, limit: usize| {
        let (taken, since) = view.slots_taken(group);
        let of = group.map_or_else(String::new, |g| format!(" of group {g}"));
        let text = format!("{taken} of {limit} slots{of} are taken");
        let release = "a running order ends; or more slots in _ctx/jobyard.toml";
        (taken >= limit).then(|| Obstacle { since, ..Obstacle::new("slot", text, release) })
    };
    let group = brief.group.as_deref();
    let of_group = group.and_then(|g| full(Some(g), *policy.groups.get(g)?));
    of_group.into_iter().chain(full(None, policy.slots)).collect()
}

fn stalled(stall: &Stall) -> Obstacle {
    Obstacle::new("stalled-daemon", stall.text.clone(), &stall.release)
}

impl Obstacle {
    fn new(kind: &'static str, text: String, release: &str) -> Self {
        Self { kind, text, release: release.to_owned(), upstream: None, since: None }
    }
}

fn of_wait(id: &OrderId, ticket: &Ticket, wait: &Wait) -> Obstacle {
    match wait {
        Wait::Held(reason) => {
            Obstacle::new("held", format!("held: {reason}"), &format!("`jobyard unhold {id}`"))
        }
        Wait::Paused { group, reason } => {
            let (text, release) =
                (action::pause(group.as_deref(), reason), action::resume(group.as_deref()));
            Obstacle::new("paused", text, &format!("`{release}`"))
        }
        Wait::NotBefore(at) => {
            let text = format!("not before {}", at.rfc3339());
            Obstacle::new("not-before", text, "the time passes; or edit `not_before`")
        }
        Wait::RetryAt(at) => {
            let text = format!("retried at {}", at.rfc3339());
            Obstacle::new("retry", text, "the time passes")
        }
        Wait::Dependency { id: upstream, state, on, possible } => {
            let release = match (state.as_str(), *possible) {
                ("unknown", _) => format!("`jobyard submit` an order {upstream}"),
                (_, true) => format!("{upstream} ends ({on})"),
                (ready::UNVERIFIED, _) => format!(
                    "an order with checks in place of {upstream}; or `require_checks = false` in \
                     [dependencies]"
                ),
                ("failed", false) => format!("`jobyard requeue {upstream}`"),
                _ => format!("remove the dependency on {upstream}"),
            };
            let text = wait_text(wait);
            Obstacle {
                upstream: Some(upstream.clone()),
                ..Obstacle::new("dependency", text, &release)
            }
        }
        Wait::Lease(_) => {
            let who = ticket.lease.as_deref().map_or_else(String::new, |l| held_by(&l.body));
            let release =
                format!("see `jobyard show {id}`; `take {id} --takeover` once it is stale");
            Obstacle::new("lease", format!("a lock file holds it ({who})"), &release)
        }
        other => Obstacle::new("other", wait_text(other), ""),
    }
}

/// Who a lock file names.
pub(super) fn held_by(body: &LeaseBody) -> String {
    match body {
        LeaseBody::Foreign(first) => format!("not jobyard's: {first}"),
        LeaseBody::Ours(lease) => match &lease.mode {
            LeaseMode::Process => format!("daemon, pid {} on {}", lease.pid, lease.host),
            LeaseMode::Manual { attempt, holder } => {
                format!("{} (uid {}), attempt {attempt}", holder.name, holder.uid)
            }
        },
    }
}

/// What a running order does just now.
pub(super) fn activity(view: &View, id: &OrderId) -> String {
    let doing = doing(view, id);
    match view.progress.get(id) {
        None => doing,
        Some(Ok(progress)) => format!("{}; {doing}", out::first_line(&progress.line())),
        Some(Err(text)) => format!("{text}; {doing}"),
    }
}

/// How far a running order says it is, for machines.
pub(super) fn progress(view: &View, id: &OrderId) -> Value {
    match view.progress.get(id) {
        None => Value::Null,
        Some(Err(text)) => json!({ "error": text }),
        Some(Ok(p)) => json!({
            "progress": p.percent,
            "status": p.status,
            "message": p.message,
            "metadata": p.metadata,
        }),
    }
}

/// The same without what it says of itself.
fn doing(view: &View, id: &OrderId) -> String {
    let Some(ticket) = view.index.tickets.get(id) else { return String::new() };
    let Some(attempt) = ticket.attempt.as_deref() else {
        return match ticket.lease.as_deref() {
            Some(lease) => format!("held by {}", held_by(&lease.body)),
            None => "nobody holds it".to_owned(),
        };
    };
    if let Some(settled) = &attempt.settled {
        return format!("settling: {} ({})", settled.result, settled.reason);
    }
    if let Some(command) = attempt.unended() {
        let age = out::span(command_age_ms(view, id, attempt, command.number));
        let sealed = &attempt.claim.sealed;
        let (what, at, of) = match command.kind {
            CommandKind::Run(at) => ("run", at + 1, sealed.run.len()),
            CommandKind::Check(at) => ("check", at + 1, sealed.checks.len()),
        };
        let text = command_text(sealed, command.kind).unwrap_or(&command.name);
        return format!("{what} {at}/{of}: {}, {age}", out::first_line(text));
    }
    match (&attempt.asked, &attempt.claim.mode) {
        (Some(asked), _) => match asked.wish {
            Wish::Finish => "being finished".to_owned(),
            Wish::Cancel => "being cancelled".to_owned(),
            Wish::Requeue => "being requeued".to_owned(),
        },
        (None, Mode::Manual(holder)) => {
            let age = out::span(view.now.0 - attempt.claimed_ms);
            format!("taken by {}, {age}", holder.name)
        }
        (None, Mode::Process) => "between two commands".to_owned(),
    }
}

/// The text of a command.
pub(super) fn command_text(sealed: &Sealed, kind: CommandKind) -> Option<&str> {
    let at = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    match kind {
        CommandKind::Run(n) => sealed.run.get(at(n)).map(String::as_str),
        CommandKind::Check(n) => sealed.checks.get(at(n)).map(|c| c.command.as_str()),
    }
}

/// How long a command has run.
pub(super) fn command_age_ms(view: &View, id: &OrderId, attempt: &Attempt, number: u32) -> i64 {
    let at = view.started.get(&(id.clone(), attempt.number, number));
    view.now.0 - at.map_or(attempt.claimed_ms, |at| at.0)
}
