//! Findings about what tickets say: names that lead nowhere, cycles, checks that prove nothing.

use super::leases::is_live;
use super::{Extra, Facts, Finding, Known, Severity, ticket_file};
use crate::model::dod::DodEntry;
use crate::model::id::OrderId;
use crate::model::index::Ticket;
use crate::model::order::{DependsOn, Order, State};
use crate::plan::vacuous;
use std::collections::{BTreeMap, BTreeSet};

type Lines = BTreeMap<String, u32>;

/// Where a finding stands.
struct Spot<'a> {
    id: &'a OrderId,
    file: &'a str,
    lines: &'a Lines,
}

impl Spot<'_> {
    fn finding(
        &self,
        code: &'static str,
        severity: Severity,
        key: &str,
        message: String,
        repair: &str,
    ) -> Finding {
        Finding {
            code,
            severity,
            id: Some(self.id.to_string()),
            file: self.file.to_owned(),
            line: self.lines.get(key).copied().unwrap_or(0),
            message,
            repair: repair.to_owned(),
        }
    }
}

/// What depends on where the ticket lies.
pub(super) fn of_ticket(
    facts: &Facts<'_>,
    id: &OrderId,
    state: State,
    known: &Known,
    file: &str,
    found: &mut Vec<Finding>,
) {
    let Some(ticket) = facts.index.tickets.get(id) else { return };
    let spot = Spot { id, file, lines: &known.lines };
    let said = known.order.status.as_deref().and_then(State::parse);
    let busy = is_live(ticket) || ticket.attempt.is_some();
    if let Some(said) = said.filter(|said| *said != state && !busy) {
        let message = format!("`status: {}`, but it lies in {}/", said.name(), state.name());
        let repair = "the directory counts; correct the word, or leave it";
        found.push(spot.finding("status-mismatch", Severity::P2, "status", message, repair));
    }
    if known.order.status.is_some() && said.is_none() && !is_open(state) {
        let word = known.order.status.as_deref().unwrap_or_default();
        let message = format!("`status: {}` names no directory", word.escape_debug());
        let repair = "the directory counts; correct the word, or leave it";
        found.push(spot.finding("unknown-status", Severity::P2, "status", message, repair));
    }
    if state == State::Done {
        for upstream in known.order.dependencies.iter().filter(|d| d.on == DependsOn::Success) {
            let ended = facts.index.tickets.get(&upstream.id).and_then(Ticket::succeeded);
            if ended == Some(false) {
                let message =
                    format!("it is done, but it depends on {}, which failed", upstream.id);
                let repair = "`requeue` what failed, or look whether the result still holds";
                let code = "done-depends-on-failed";
                found.push(spot.finding(code, Severity::P1, "dependencies", message, repair));
            }
        }
    }
}

const fn is_open(state: State) -> bool {
    matches!(state, State::Pending | State::Running)
}

/// Everything that an order says about others, and its checks.
pub(super) fn of_order(
    extra: &Extra,
    order: &Order,
    lines: &Lines,
    file: &str,
    found: &mut Vec<Finding>,
) {
    names(extra, order, lines, file, found);
    checks(Some(extra), order, lines, file, found);
}

/// Names that nothing in the root carries.
pub(super) fn names(
    extra: &Extra,
    order: &Order,
    lines: &Lines,
    file: &str,
    found: &mut Vec<Finding>,
) {
    let spot = Spot { id: &order.id, file, lines };
    if let Some(engine) = order.engine.as_ref().filter(|e| !extra.engines.contains(*e)) {
        let message = format!(
            "the engine `{}` is not configured; the order waits for a person",
            engine.escape_debug()
        );
        let repair = "add [engines.<name>] to _ctx/jobyard.toml, or `run` to the order";
        let severity = if order.run.is_empty() { Severity::P1 } else { Severity::P2 };
        found.push(spot.finding("unknown-engine", severity, "execution", message, repair));
    }
    if let Some(epic) = &order.epic_id {
        let known = extra.epics.iter().flatten().any(|e| e.id == *epic);
        if !known {
            let message = format!("the epic `{}` is not in the backlog", epic.escape_debug());
            let repair = "add it to _ctx/backlog/backlog.yaml, or correct `epic_id`";
            found.push(spot.finding("unknown-epic", Severity::P2, "epic_id", message, repair));
        }
    }
    if let Some(dod) = order.dod_id.as_ref().filter(|d| !extra.catalogue.contains_key(*d)) {
        let message = format!(
            "the DoD `{}` is in no file of _ctx/dod; the verdict can be no better than UNVERIFIED",
            dod.escape_debug()
        );
        let repair = "add the entry to _ctx/dod, or correct `dod_id`";
        found.push(spot.finding("unknown-dod", Severity::P2, "dod_id", message, repair));
    }
}

/// Dependencies on ids that do not exist.
pub(super) fn dependencies(
    exists: &dyn Fn(&OrderId) -> bool,
    known: &Known,
    file: &str,
    found: &mut Vec<Finding>,
) {
    let spot = Spot { id: &known.order.id, file, lines: &known.lines };
    for upstream in &known.order.dependencies {
        if !exists(&upstream.id) {
            let message = format!(
                "it depends on {}, which is in no state; it never counts as met",
                upstream.id
            );
            let repair = "submit that order, or remove the dependency";
            let code = "unknown-dependency";
            found.push(spot.finding(code, Severity::P1, "dependencies", message, repair));
        }
    }
}

/// Checks that prove nothing or cannot fail.
pub(super) fn checks(
    extra: Option<&Extra>,
    order: &Order,
    lines: &Lines,
    file: &str,
    found: &mut Vec<Finding>,
) {
    let spot = Spot { id: &order.id, file, lines };
    let entry = order.dod_id.as_ref().and_then(|d| extra?.catalogue.get(d));
    let of_entry: Vec<&String> = entry.map(commands).into_iter().flatten().collect();
    let mut all = of_entry.iter().copied().chain(&order.checks);
    let alone = all.all(|c| vacuous::is_vacuous(c));
    let (severity, rest) = match alone {
        true => (Severity::P1, "; with no other check the verdict is FAIL"),
        false => (Severity::P2, ""),
    };
    let repair = "write a command that fails when the work is not right";
    for check in order.checks.iter().filter(|c| vacuous::is_vacuous(c)) {
        let message = format!("the check `{}` proves nothing{rest}", short(check));
        found.push(spot.finding("vacuous-checks", severity, "verify", message, repair));
    }
    // Beside real checks the entry itself is the place to say so.
    if let Some(entry) = entry.filter(|_| alone) {
        for check in of_entry {
            let id = entry.id.escape_debug();
            let message = format!("the check `{}` of {id} proves nothing{rest}", short(check));
            found.push(spot.finding("vacuous-checks", severity, "dod_id", message, repair));
        }
    }
    for check in &order.checks {
        if let Some(why) = vacuous::hides_failure(check) {
            let message = format!("the check `{}` hides a failure: {why}", short(check));
            let repair = "write it so that its status is that of what is checked";
            let code = "check-hides-failure";
            found.push(spot.finding(code, Severity::P2, "verify", message, repair));
        }
    }
}

/// The beginning of a command, on one line.
fn short(command: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut text: String = command.trim().chars().take(CHARS_MAX).collect();
    if command.trim().chars().nth(CHARS_MAX).is_some() {
        text.push('…');
    }
    text.escape_debug().to_string()
}

/// Every command of an entry of the catalogue.
fn commands(entry: &DodEntry) -> impl Iterator<Item = &String> {
    entry.required_checks.iter().flat_map(|c| &c.commands)
}

/// Checks of the catalogue that prove nothing or hide a failure.
pub(super) fn catalogue(extra: &Extra, found: &mut Vec<Finding>) {
    for entry in extra.catalogue.values() {
        let id = entry.id.escape_debug().to_string();
        let file = extra.dod_files.get(&entry.id).map_or(crate::model::paths::DOD, String::as_str);
        let mut push = |code, message: String, repair: &str| {
            found.push(Finding {
                code,
                severity: Severity::P2,
                id: None,
                file: file.to_owned(),
                line: 0,
                message,
                repair: repair.to_owned(),
            });
        };
        for command in commands(entry) {
            let check = short(command);
            if vacuous::is_vacuous(command) {
                let message = format!("the check `{check}` of {id} proves nothing");
                let repair = "write a command that fails when the work is not right";
                push("vacuous-checks", message, repair);
            }
            if let Some(why) = vacuous::hides_failure(command) {
                let message = format!("the check `{check}` of {id} hides a failure: {why}");
                let repair = "write it so that its status is that of what is checked";
                push("check-hides-failure", message, repair);
            }
        }
    }
}

/// Pending orders that wait for each other; each cycle once, at its first member.
pub(super) fn cycles(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for members in super::cycles(facts.index, facts.extra) {
        let Some(id) = members.first() else { continue };
        let names: Vec<&str> = members.iter().map(OrderId::as_str).collect();
        let known = facts.extra.orders.get(&(id.clone(), State::Pending));
        found.push(Finding {
            code: "dependency-cycle",
            severity: Severity::P0,
            id: Some(id.to_string()),
            file: ticket_file(State::Pending, id),
            line: known.map_or(0, |k| k.line("dependencies")),
            message: format!("these orders wait for each other: {} -> {id}", names.join(" -> ")),
            repair: "remove one of these dependencies".to_owned(),
        });
    }
}

/// Pending orders between cycles, those on them included: what is left when the ends of all chains are
/// taken away again and again. Linear, so that long chains cost nothing.
pub(super) fn on_cycles(extra: &Extra) -> BTreeSet<OrderId> {
    let pending = || extra.orders.iter().filter(|((_, s), _)| *s == State::Pending);
    let ids: BTreeSet<&OrderId> = pending().map(|((id, _), _)| id).collect();
    let mut up: BTreeMap<&OrderId, BTreeSet<&OrderId>> = BTreeMap::new();
    let mut down: BTreeMap<&OrderId, BTreeSet<&OrderId>> = BTreeMap::new();
    for ((id, _), known) in pending() {
        for upstream in known.order.dependencies.iter().map(|d| &d.id) {
            if ids.contains(upstream) {
                up.entry(id).or_default().insert(upstream);
                down.entry(upstream).or_default().insert(id);
            }
        }
    }
    let mut left = ids;
    peel(&mut left, &up, &down);
    peel(&mut left, &down, &up);
    left.into_iter().cloned().collect()
}

/// Takes away whoever has nobody left on the one side, and then those on the other side.
fn peel<'a>(
    left: &mut BTreeSet<&'a OrderId>,
    one: &BTreeMap<&'a OrderId, BTreeSet<&'a OrderId>>,
    other: &BTreeMap<&'a OrderId, BTreeSet<&'a OrderId>>,
) {
    let there = |id: &OrderId| {
        one.get(id).map_or(0, |of| of.iter().filter(|id| left.contains(*id)).count())
    };
    let mut counts: BTreeMap<&OrderId, usize> = left.iter().map(|id| (*id, there(id))).collect();
    let mut free: Vec<&OrderId> =
        counts.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    while let Some(id) = free.pop() {
        left.remove(id);
        for next in other.get(id).into_iter().flatten() {
            if let Some(count) = counts.get_mut(next) {
                *count = count.saturating_sub(1);
                if *count == 0 && left.contains(next) {
                    free.push(next);
                }
            }
        }
    }
}
