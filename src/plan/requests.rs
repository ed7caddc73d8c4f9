//! Requests: what a control file asks, and what becomes of it in each state.
//!
//! Invariants: one request is decided at a time, by file name; a request that cannot be carried out is
//! refused with one sentence and the exit code of the verb, never dropped; `force` skips dependencies
//! only; the holder of a manual lease is a user id, labels are never compared.

use super::action::{Action, Wait, describe};
use super::ready;
use super::step::Facts;
use crate::model::attempt::{Attempt, Mode, Options, Wish};
use crate::model::config::NO_REASON;
use crate::model::index::{Brief, Carried, LeaseFact, Reading, Request, owner};
use crate::model::lease::LeaseBody;
use crate::model::order::State;
use crate::model::request::{RequestBody, Verb};

const TAKEOVER_NEEDS_REASON: &str = "`--takeover` needs `--reason`";

/// The first request that is neither refused nor unreadable, with its content.
fn first<'a>(facts: &'a Facts<'_>) -> Option<(&'a Request, &'a RequestBody)> {
    let open = facts.ticket.requests.iter().filter(|r| !r.refused);
    open.into_iter().find_map(|r| r.body.as_ref().ok().map(|b| (r, b)))
}

/// A request whose content cannot be read is refused by itself, whatever the order's state.
fn unreadable(facts: &Facts<'_>) -> Option<Action> {
    let open = facts.ticket.requests.iter().filter(|r| !r.refused);
    open.into_iter()
        .find_map(|r| r.body.as_ref().err().map(|d| refuse(facts, r, 2, &d.to_string())))
}

/// Refusals for every request of an order that cannot take any.
pub fn refuse_all(facts: &Facts<'_>, code: u8, text: &str) -> Vec<Action> {
    let open = facts.ticket.requests.iter().filter(|r| !r.refused);
    open.map(|r| refuse(facts, r, code, text)).collect()
}

/// A request was carried out to its end before a crash. The lines of `hold` and `unhold` follow the deed,
/// the others come before it: there the ticket's place says whether it was done.
fn was_done(facts: &Facts<'_>, request: &Request) -> bool {
    let state = facts.ticket.state();
    match (request.carried, request.verb) {
        (Carried::No, _) => false,
        // A person can move it on unstamped, but not make it wait or run.
        (Carried::Begun, Verb::Requeue) => matches!(state, Some(State::Pending | State::Running)),
        (Carried::Begun, Verb::Cancel) => facts.ticket.place(State::Failed).is_some(),
        _ => true,
    }
}

/// Refuses a request, unless the refusal would only say that a crash came between deed and answer.
fn refuse(facts: &Facts<'_>, request: &Request, code: u8, text: &str) -> Action {
    if was_done(facts, request) {
        return Action::Confirm { request: request.clone() };
    }
    Action::Refuse { request: request.clone(), code, text: text.to_owned() }
}

/// What a request does to a pending order.
pub fn pending(facts: &Facts<'_>, brief: &Brief) -> Option<Action> {
    if let Some(refusal) = unreadable(facts) {
        return Some(refusal);
    }
    let (request, body) = first(facts)?;
    let reason = body.reason.clone();
    let ends = matches!(request.verb, Verb::Cancel | Verb::Requeue);
    if body.takeover && ends && facts.ticket.lease.is_some() {
        return Some(match reason {
            Some(_) => Action::Takeover { request: request.clone() },
            None => refuse(facts, request, 2, TAKEOVER_NEEDS_REASON),
        });
    }
    Some(match request.verb {
        Verb::Take => take(facts, brief, request, body),
        Verb::Cancel => Action::SettleUnrun {
            from: State::Pending,
            result: "cancelled".to_owned(),
            reason: reason.unwrap_or_else(|| "cancelled".to_owned()),
            request: Some(request.clone()),
        },
        Verb::Hold => Action::Hold {
            reason: Some(reason.filter(|r| !r.is_empty()).unwrap_or_else(|| NO_REASON.to_owned())),
            request: request.clone(),
        },
        Verb::Unhold => Action::Hold { reason: None, request: request.clone() },
        Verb::Finish => refuse(facts, request, 4, "it is pending; take it first"),
        Verb::Requeue if body.takeover => Action::Confirm { request: request.clone() },
        Verb::Requeue => refuse(facts, request, 4, "it is pending already"),
    })
}

/// What a request does to a pending order of a dependency cycle: it cannot be taken.
pub fn circular(facts: &Facts<'_>, brief: &Brief, cycle: &str) -> Option<Action> {
    match first(facts) {
        Some((request, _)) if request.verb == Verb::Take => Some(refuse(facts, request, 4, cycle)),
        _ => pending(facts, brief),
    }
}

fn take(facts: &Facts<'_>, brief: &Brief, request: &Request, body: &RequestBody) -> Action {
    let mut waits = ready::unmet(facts.index, facts.id, brief, facts.now, facts.policy);
    if body.force && body.reason.is_none() {
        return refuse(facts, request, 2, "`take --force` needs `--reason`");
    }
    if body.force {
        waits.retain(|w| !matches!(w, Wait::Dependency { .. }));
    }
    if waits.is_empty() {
        let label = body.as_.clone().unwrap_or_else(|| request.user.clone());
        let mode = Mode::Manual(owner(request.uid, &label));
        return Action::Claim { mode, request: Some(request.clone()), in_place: false };
    }
    if body.takeover && facts.ticket.lease.is_some() {
        return Action::Takeover { request: request.clone() };
    }
    let held = waits.iter().any(|w| matches!(w, Wait::Lease(_)));
    refuse(facts, request, if held { 5 } else { 4 }, &describe(&waits))
}

/// A takeover of a ticket in `running/` whose lock jobyard does not know. One that cannot be read may have
/// been settled: it is not made pending.
pub fn takeover(facts: &Facts<'_>, reading: &Reading) -> Option<Action> {
    let (request, body) = first(facts)?;
    if !body.takeover || body.reason.is_none() {
        return None;
    }
    if request.verb == Verb::Requeue && matches!(reading, Reading::Refused(_)) {
        return Some(refuse(
            facts,
            request,
            4,
            "the ticket is not a valid work order; mend it first",
        ));
    }
    Some(Action::Takeover { request: request.clone() })
}

/// What a request does to a running order.
pub fn running(facts: &Facts<'_>, attempt: &Attempt) -> Option<Action> {
    if let Some(refusal) = unreadable(facts) {
        return Some(refusal);
    }
    if let Some(action) = bound(facts, attempt) {
        return Some(action);
    }
    let (request, body) = first(facts)?;
    let cancelling = attempt.asked.as_ref().is_some_and(|a| a.wish == Wish::Cancel);
    Some(match request.verb {
        Verb::Take | Verb::Requeue if body.takeover => {
            stale_takeover(facts, attempt, request, body)
        }
        Verb::Take => refuse(facts, request, 5, &held_by(attempt)),
        Verb::Finish => finish(facts, attempt, request, body),
        Verb::Cancel if body.takeover && body.reason.is_none() => {
            refuse(facts, request, 2, TAKEOVER_NEEDS_REASON)
        }
        Verb::Cancel if cancelling => refuse(facts, request, 4, "it is being cancelled already"),
        Verb::Cancel => accept(request, body, Wish::Cancel),
        Verb::Requeue => {
            let text = "it is running; `cancel` ends it, `requeue --takeover --reason TEXT` starts \
                        a stale one over";
            refuse(facts, request, 4, text)
        }
        Verb::Hold | Verb::Unhold => {
            refuse(facts, request, 4, "it is running; only pending orders are held")
        }
    })
}

/// What requests do to an order whose ticket is missing: `cancel` ends it, nothing else can.
pub fn missing(facts: &Facts<'_>, attempt: &Attempt) -> Vec<Action> {
    if let Some(action) = bound(facts, attempt) {
        return vec![action];
    }
    let cancelling = attempt.asked.as_ref().is_some_and(|a| a.wish == Wish::Cancel);
    let mut open = facts.ticket.requests.iter().filter(|r| !r.refused && r.verb == Verb::Cancel);
    if !cancelling
        && let Some((request, body)) = open.find_map(|r| Some((r, r.body.as_ref().ok()?)))
    {
        return vec![accept(request, body, Wish::Cancel)];
    }
    let text = format!(
        "its ticket is missing: `cancel` ends it, or bring its file back as running/{}.yaml; {}/order.yaml, \
         if it is there, is how it was begun",
        facts.id,
        attempt.run_dir()
    );
    refuse_all(facts, 4, &text)
}

/// What requests do to an order that is decided, but whose ticket cannot be stamped as it is.
pub fn unmended(facts: &Facts<'_>, attempt: &Attempt) -> Vec<Action> {
    let text = "it is decided, but its ticket is no valid work order; mend it first";
    bound(facts, attempt).map_or_else(|| refuse_all(facts, 4, text), |action| vec![action])
}

/// A request that was accepted before a crash, and whose file is still there.
pub fn bound(facts: &Facts<'_>, attempt: &Attempt) -> Option<Action> {
    let asked = attempt.asked.as_ref()?;
    let same = |r: &&Request| r.key == asked.request && r.verb.name() == asked.wish.name();
    let mut open = facts.ticket.requests.iter().filter(|r| !r.refused).filter(same);
    open.find_map(|r| r.body.as_ref().ok().map(|body| accept(r, body, asked.wish)))
}

/// Who holds a running order, for whoever asks for it.
pub fn held_by(attempt: &Attempt) -> String {
    match &attempt.claim.mode {
        Mode::Process => format!("the daemon runs it (attempt {})", attempt.number),
        Mode::Manual(h) => {
            format!("{} (uid {}) holds it (attempt {})", h.name, h.uid, attempt.number)
        }
    }
}

fn stale_takeover(
    facts: &Facts<'_>,
    attempt: &Attempt,
    request: &Request,
    body: &RequestBody,
) -> Action {
    if body.reason.is_none() {
        return refuse(facts, request, 2, TAKEOVER_NEEDS_REASON);
    }
    if attempt.is_process() {
        return refuse(facts, request, 5, &format!("{}; `cancel` ends it", held_by(attempt)));
    }
    if attempt.asked.is_some() || attempt.unended().is_some() {
        return refuse(facts, request, 4, "it is being finished");
    }
    let lease = facts.ticket.lease.as_deref();
    let silent = lease.and_then(|l| l.silent_ms).unwrap_or(0);
    // A lock that is not the attempt's own names nobody whose signs of life could be looked for.
    if silent < facts.policy.stale_after_ms && !lease.is_some_and(|l| is_unknown(facts, l)) {
        let text = format!("{}; last sign of life {} s ago", held_by(attempt), silent / 1000);
        return refuse(facts, request, 5, &text);
    }
    match request.verb {
        Verb::Requeue => accept(request, body, Wish::Requeue),
        _ => Action::Takeover { request: request.clone() },
    }
}

fn is_unknown(facts: &Facts<'_>, lease: &LeaseFact) -> bool {
    match &lease.body {
        LeaseBody::Foreign(_) => true,
        LeaseBody::Ours(body) => body.host != facts.policy.host,
    }
}

fn finish(facts: &Facts<'_>, attempt: &Attempt, request: &Request, body: &RequestBody) -> Action {
    if let Mode::Manual(holder) = &attempt.claim.mode
        && holder.uid != request.uid
    {
        return refuse(
            facts,
            request,
            4,
            &format!("{}; only the holder finishes it", held_by(attempt)),
        );
    }
    if body.skip_verification && body.reason.is_none() {
        return refuse(facts, request, 2, "`finish --skip-verification` needs `--reason TEXT`");
    }
    if attempt.is_process() && !attempt.run_is_over() && !body.stop {
        return refuse(
            facts,
            request,
            4,
            "its commands still run; `finish --stop` ends them first",
        );
    }
    if attempt.asked.is_some() {
        return refuse(facts, request, 4, "it is being finished already");
    }
    accept(request, body, Wish::Finish)
}

fn accept(request: &Request, body: &RequestBody, wish: Wish) -> Action {
    let options = Options {
        reason: body.reason.clone(),
        skip_verification: body.skip_verification,
        stop: body.stop,
        takeover: body.takeover,
    };
    let by = owner(request.uid, body.as_.as_deref().unwrap_or(&request.user));
    Action::Accept { request: request.clone(), wish, options, by }
}

/// What a request does to a settled order.
pub fn settled(facts: &Facts<'_>, state: State) -> Option<Action> {
    if let Some(refusal) = unreadable(facts) {
        return Some(refusal);
    }
    let (request, _) = first(facts)?;
    Some(match (request.verb, state) {
        (Verb::Requeue, State::Failed) if request.carried != Carried::Over => {
            Action::Requeue { from: State::Failed, request: Some(request.clone()) }
        }
        (Verb::Requeue, _) => refuse(facts, request, 4, "it is done; drop a new order instead"),
        (verb, _) => {
            let hint =
                if state == State::Failed { "; `requeue` makes it pending again" } else { "" };
            refuse(
                facts,
                request,
                4,
                &format!("it is {}: nothing to {}{hint}", state.name(), verb.name()),
            )
        }
    })
}
