//! The keys of an order that say when, after what, where and how much.
//!
//! Not here: what is executed (see `commands`) and what the daemon wrote (see `own`).

use super::keys;
use super::reader::{Reader, digits};
use crate::model::defect::{EMPTY_SCOPE, IGNORED_KEY};
use crate::model::form::names;
use crate::model::id::OrderId;
use crate::model::order::{
    Checkout, Dependency, DependsOn, DiffBudget, Order, Retry, RetryOn, Scope, When, Workspace,
};
use crate::model::strict::{Ix, Kind};
use crate::model::time::Millis;
use std::collections::BTreeSet;

/// Most retries that can be asked for; more is a loop.
pub(super) const RETRIES_MAX: u64 = 1000;

/// Largest growth of a delay: hundredfold.
pub(super) const FACTOR_PERCENT_MAX: u32 = 10_000;

/// What is said of a time that cannot be read.
const WHEN_EXPECTED: &str =
    "a date such as 2026-01-31 or a time with its offset such as 2026-01-31T18:00:00Z";

/// What is said of a span that cannot be read.
const SPAN_EXPECTED: &str =
    "a duration such as 500ms, 90s, 10m or 1h30m (a number alone is seconds), at most 366d";

/// A date or a time.
pub(super) fn when(reader: &mut Reader<'_>, ix: Ix, name: &str) -> Option<When> {
    if reader.tree.is_null(ix) {
        return None;
    }
    let when = reader.tree.text(ix).and_then(When::parse);
    if when.is_none() {
        reader.fail_type(ix, name, WHEN_EXPECTED);
    }
    when
}

/// A span, zero included.
pub(super) fn span(reader: &mut Reader<'_>, ix: Ix, name: &str) -> Option<Millis> {
    if reader.tree.is_null(ix) {
        return None;
    }
    let span = reader.tree.text(ix).and_then(Millis::parse);
    if span.is_none() {
        reader.fail_type(ix, name, SPAN_EXPECTED);
    }
    span
}

/// A span in which something must be able to happen.
pub(super) fn limit(reader: &mut Reader<'_>, ix: Ix, name: &str) -> Option<Millis> {
    let span = span(reader, ix, name)?;
    if span == Millis(0) {
        let message = format!("`{name}` is 0: nothing could run; leave it out for the default");
        reader.fail(ix, message);
    }
    Some(span)
}

/// `hold: true` or the reason.
pub(super) fn hold(reader: &mut Reader<'_>, ix: Ix) -> Option<String> {
    match reader.truth(ix) {
        Some(true) => Some("`hold: true` in the work order".to_owned()),
        Some(false) => None,
        None => reader.text(ix, "hold").filter(|text| !text.trim().is_empty()),
    }
}

/// Ids, or maps of `id` and `on`.
pub(super) fn dependencies(reader: &mut Reader<'_>, order: &mut Order, ix: Ix) {
    let tree = reader.tree;
    if tree.is_null(ix) {
        return;
    }
    let Some(items) = tree.list(ix) else {
        return reader.fail_type(ix, "dependencies", "a list of ids, or `[]` for none");
    };
    let mut known = BTreeSet::new();
    for item in items {
        let Some(dependency) = dependency(reader, *item) else { continue };
        if dependency.id == order.id {
            reader.fail(*item, "`dependencies`: an order cannot wait for itself; remove it");
        } else if known.insert(dependency.clone()) {
            order.dependencies.push(dependency);
        }
    }
}

fn dependency(reader: &mut Reader<'_>, ix: Ix) -> Option<Dependency> {
    const EXPECTED: &str = "an id, or a map `{id: …, on: success | failure | always}`";
    let tree = reader.tree;
    if tree.map(ix).is_none() {
        if tree.is_null(ix) || tree.text(ix).is_none() {
            reader.fail_type(ix, "dependencies", EXPECTED);
            return None;
        }
        let id = id(reader, ix, "dependencies")?;
        return Some(Dependency { id, on: DependsOn::Success });
    }
    let mut found = None;
    let mut on = DependsOn::Success;
    for (key, value) in reader.entries(ix, "dependencies", EXPECTED) {
        match reader.key(*key) {
            "id" => found = id(reader, *value, "dependencies.id"),
            "on" => {
                if let Some(text) = reader.text(*value, "dependencies.on") {
                    match DependsOn::parse(&text) {
                        Some(word) => on = word,
                        None => {
                            reader.fail_word(*value, "dependencies.on", &text, &DependsOn::WORDS);
                        }
                    }
                }
            }
            _ => reader.unknown_key(*key, "dependencies.", &names(&keys::DEPENDENCY)),
        }
    }
    if found.is_none() && tree.get(ix, "id").is_none_or(|value| tree.is_null(value)) {
        reader.fail_type(ix, "dependencies", EXPECTED);
    }
    found.map(|id| Dependency { id, on })
}

fn id(reader: &mut Reader<'_>, ix: Ix, name: &str) -> Option<OrderId> {
    let text = reader.text(ix, name)?;
    match OrderId::parse(&text) {
        Ok(id) => Some(id),
        Err(rule) => {
            reader.fail(ix, format!("`{name}`: {rule}"));
            None
        }
    }
}

/// `allow` and `deny`.
pub(super) fn scope(reader: &mut Reader<'_>, ix: Ix) -> Option<Scope> {
    if reader.tree.is_null(ix) {
        return None;
    }
    let mut scope = Scope::default();
    for (key, value) in reader.entries(ix, "scope", "a map with `allow` and `deny`") {
        match reader.key(*key) {
            "allow" => scope.allow = reader.text_or_texts(*value, "scope.allow"),
            "deny" => scope.deny = reader.text_or_texts(*value, "scope.deny"),
            _ => reader.unknown_key(*key, "scope.", &names(&keys::SCOPE)),
        }
    }
    if scope.allow.is_empty() && reader.tree.map(ix).is_some() {
        let message = "`scope` without `allow`: no path may be changed; list globs under \
                       `scope.allow`, or remove `scope` to allow all";
        reader.warn(EMPTY_SCOPE, ix, message);
    }
    Some(scope)
}

/// `max_files` and `max_loc`.
pub(super) fn diff_budget(reader: &mut Reader<'_>, ix: Ix) -> DiffBudget {
    let mut budget = DiffBudget::default();
    for (key, value) in reader.entries(ix, "diff_budget", "a map with `max_files` and `max_loc`") {
        match reader.key(*key) {
            "max_files" => {
                budget.max_files = reader.whole(*value, "diff_budget.max_files", u64::MAX);
            }
            "max_loc" => budget.max_loc = reader.whole(*value, "diff_budget.max_loc", u64::MAX),
            _ => reader.unknown_key(*key, "diff_budget.", &names(&keys::DIFF_BUDGET)),
        }
    }
    budget
}

/// `max`, `backoff` and `on`.
pub(super) fn retry(reader: &mut Reader<'_>, retry: &mut Retry, ix: Ix) {
    const EXPECTED: &str = "a map such as `{max: 2, backoff: {start: 10s}, on: [fail]}`";
    for (key, value) in reader.entries(ix, "retry", EXPECTED) {
        match reader.key(*key) {
            "max" => {
                let max = reader.whole(*value, "retry.max", RETRIES_MAX);
                retry.max = max.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            }
            "backoff" => backoff(reader, retry, *value),
            "on" => retry_on(reader, retry, *value),
            _ => reader.unknown_key(*key, "retry.", &names(&keys::RETRY)),
        }
    }
    if retry.start > retry.cap {
        retry.cap = retry.start;
    }
}

fn retry_on(reader: &mut Reader<'_>, retry: &mut Retry, ix: Ix) {
    let tree = reader.tree;
    if tree.is_null(ix) {
        return;
    }
    let items: &[Ix] = tree.list(ix).unwrap_or(std::slice::from_ref(&ix));
    retry.on.clear();
    for item in items {
        let Some(text) = reader.item(*item, "retry.on") else { continue };
        match RetryOn::parse(&text) {
            Some(word) if !retry.on.contains(&word) => retry.on.push(word),
            Some(_) => {}
            None => reader.fail_word(*item, "retry.on", &text, &RetryOn::WORDS),
        }
    }
}

fn backoff(reader: &mut Reader<'_>, retry: &mut Retry, ix: Ix) {
    if matches!(reader.tree.node(ix).kind, Kind::Scalar(..)) {
        retry.start = span(reader, ix, "retry.backoff").unwrap_or(retry.start);
        return;
    }
    let expected = "a duration, or a map with `start`, `factor`, `cap` and `jitter`";
    for (key, value) in reader.entries(ix, "retry.backoff", expected) {
        match reader.key(*key) {
            "start" => {
                retry.start = span(reader, *value, "retry.backoff.start").unwrap_or(retry.start);
            }
            "cap" => retry.cap = span(reader, *value, "retry.backoff.cap").unwrap_or(retry.cap),
            "factor" => {
                let expected = "a number from 1 to 100, such as 2 or 1.5";
                let found = percent(reader, *value, "retry.backoff.factor", expected);
                if let Some(percent) = found {
                    retry.factor_percent = percent;
                    if !(100..=FACTOR_PERCENT_MAX).contains(&percent) {
                        reader.fail_type(*value, "retry.backoff.factor", expected);
                    }
                }
            }
            "jitter" => {
                let expected = "a share from 0 to 1 such as 0.2, or a percentage such as 20%";
                let found = percent(reader, *value, "retry.backoff.jitter", expected);
                if let Some(percent) = found {
                    retry.jitter_percent = percent;
                    if percent > 100 {
                        reader.fail_type(*value, "retry.backoff.jitter", expected);
                    }
                }
            }
            _ => reader.unknown_key(*key, "retry.backoff.", &names(&keys::BACKOFF)),
        }
    }
}

/// A number with at most two decimals in hundredths, or a percentage.
fn percent(reader: &mut Reader<'_>, ix: Ix, name: &str, expected: &str) -> Option<u32> {
    if reader.tree.is_null(ix) {
        return None;
    }
    let value = reader.tree.text(ix).and_then(hundredths);
    if value.is_none() {
        reader.fail_type(ix, name, expected);
    }
    value
}

fn hundredths(text: &str) -> Option<u32> {
    if let Some(percent) = text.strip_suffix('%') {
        return u32::try_from(digits(percent.trim_end())?).ok();
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let part = match part.len() {
        1 => digits(part)? * 10,
        2 => digits(part)?,
        _ => return None,
    };
    u32::try_from(digits(whole)?.checked_mul(100)?.checked_add(part)?).ok()
}

/// `max_fail_verify`; other keys are kept and not read.
pub(super) fn stop_conditions(reader: &mut Reader<'_>, retry: &mut Retry, ix: Ix) {
    let expected = "a map such as `{max_fail_verify: 2}`";
    for (key, value) in reader.entries(ix, "stop_conditions", expected) {
        match reader.key(*key) {
            "max_fail_verify" => {
                retry.max_fail_verify = reader.count(*value, "stop_conditions.max_fail_verify");
            }
            "max_iterations" => {}
            _ => reader.unknown_key(*key, "stop_conditions.", &names(&keys::STOP_CONDITIONS)),
        }
    }
}

/// `worktree`, `none`, `{inherit: <id>}` or `inherit:<id>`.
pub(super) fn workspace(reader: &mut Reader<'_>, own: &OrderId, ix: Ix) -> Workspace {
    const EXPECTED: &str = "`worktree`, `none` or a map `{inherit: <id>}`";
    let tree = reader.tree;
    if tree.is_null(ix) {
        return Workspace::Worktree;
    }
    let inherited = match tree.text(ix) {
        Some("worktree") => return Workspace::Worktree,
        Some("none") => return Workspace::None,
        Some(text) => text.strip_prefix("inherit:").map(|id| (ix, id.trim())),
        None => tree.get(ix, "inherit").and_then(|v| Some((v, tree.text(v)?))),
    };
    let Some((place, text)) = inherited else {
        reader.fail_type(ix, "workspace", EXPECTED);
        return Workspace::Worktree;
    };
    match OrderId::parse(text) {
        Ok(id) if id != *own => return Workspace::Inherit(id),
        Ok(_) => reader.fail(place, "`workspace`: an order cannot inherit from itself"),
        Err(rule) => reader.fail(place, format!("`workspace.inherit`: {rule}")),
    }
    Workspace::Worktree
}

/// `full` or `scope`.
pub(super) fn checkout(reader: &mut Reader<'_>, ix: Ix) -> Checkout {
    let Some(text) = reader.text(ix, "checkout") else { return Checkout::Full };
    let found = Checkout::parse(&text);
    if found.is_none() {
        reader.fail_word(ix, "checkout", &text, &Checkout::WORDS);
    }
    found.unwrap_or_default()
}

/// Warns of a `checkout` that changes nothing.
pub(super) fn note_checkout(reader: &mut Reader<'_>, order: &Order) {
    let tree = reader.tree;
    let Some(ix) = tree.get(tree.root(), "checkout").filter(|ix| !tree.is_null(*ix)) else {
        return;
    };
    let message = if order.workspace != Workspace::Worktree {
        "`checkout` is about a worktree of the order's own, which this `workspace` does not make; \
         remove it"
    } else if order.checkout != Checkout::Scope || order.cone().is_some() {
        return;
    } else if order.scope.as_ref().is_none_or(|s| s.allow.is_empty()) {
        "`checkout: scope` without `scope.allow`: everything is checked out; name directories under \
         `scope.allow`, or remove `checkout`"
    } else {
        "`checkout: scope`, but a glob of `scope.allow` begins with a wildcard that crosses directories: \
         everything is checked out; begin each glob with a directory, or remove `checkout`"
    };
    reader.warn(IGNORED_KEY, ix, message);
}

/// Globs; other shapes belong to older files and are left alone.
pub(super) fn artifacts(reader: &mut Reader<'_>, ix: Ix) -> Option<Vec<String>> {
    let tree = reader.tree;
    if tree.is_null(ix) {
        return None;
    }
    let items: &[Ix] = tree.list(ix).unwrap_or(std::slice::from_ref(&ix));
    if items.iter().any(|item| tree.text(*item).is_none()) {
        let message = "`artifacts` is no list of globs and is not read; found a map";
        reader.warn(IGNORED_KEY, ix, message);
        return None;
    }
    Some(reader.text_or_texts(ix, "artifacts"))
}
