//! From the bytes of a ticket to a work order, or to everything that is wrong with it.
//!
//! Invariants: an order comes out only if every key that is read has the type and range it needs;
//! unknown keys are never refused; no message holds a value of `env`. Whether an engine, an epic or
//! a DoD entry exists is not judged here.

mod commands;
mod fields;
pub mod keys;
mod near;
mod own;
pub(crate) mod reader;
#[cfg(test)]
mod tests;

pub use near::nearest;

use super::defect::{Defect, ID_MISMATCH, INVALID_TICKET, MISSING_KEY, UNKNOWN_STATUS};
use super::form::names;
use super::id::OrderId;
use super::order::{Order, Priority, State};
use super::strict::source::Source;
use super::strict::{Ix, Tree, clip};
use reader::Reader;

/// Largest ticket in bytes; the longest orders met in practice have 8 KB.
pub const ORDER_BYTES_MAX: usize = 1 << 20;

/// Keys of the top level that have a meaning here or in older work orders.
const KNOWN: [&str; keys::ORDER.len()] = names(&keys::ORDER);

/// Keys that a full work order has and that a short one may leave out.
const EXPECTED: [&str; 6] = ["version", "epic_id", "priority", "status", "dod_id", "execution"];

/// An order and what does not keep it from being one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// The order.
    pub order: Order,
    /// What a person may want to know.
    pub warnings: Vec<Defect>,
}

/// Reads the ticket `<stem>.yaml`. The defects are all that keep it from being taken, never empty.
pub fn parse_order(bytes: &[u8], stem: &str) -> Result<Parsed, Vec<Defect>> {
    let one = |defect: Defect| vec![defect];
    let id = OrderId::parse(stem)
        .map_err(|rule| one(Defect::whole(INVALID_TICKET, format!("the file name: {rule}"))))?;
    let source = Source::decode(bytes, ORDER_BYTES_MAX, INVALID_TICKET).map_err(one)?;
    let tree = Tree::read(source)?;
    let mut reader = Reader::new(source, &tree);
    if tree.map(tree.root()).is_none() {
        reader.fail(tree.root(), "a work order is a map: `key: value` lines with `id` and `title`");
        return Err(reader.defects);
    }
    let entries = reader.entries(tree.root(), "", "");
    check_id(&mut reader, stem);
    let mut order = Order::new(id, String::new());
    for (key, value) in entries {
        read_key(&mut reader, &mut order, *key, *value);
    }
    order.own.settled = order.own.settled.filter(|s| s.id.is_empty() || s.id == stem);
    if order.title.trim().is_empty() {
        fail_missing(&mut reader, "title");
    }
    fields::note_checkout(&mut reader, &order);
    note_missing(&mut reader);
    if reader.defects.is_empty() {
        Ok(Parsed { order, warnings: reader.warnings })
    } else {
        Err(reader.defects)
    }
}

/// `id` must be there and say what the file name says.
fn check_id(reader: &mut Reader<'_>, stem: &str) {
    let tree = reader.tree;
    let Some(value) = tree.get(tree.root(), "id").filter(|ix| !tree.is_null(*ix)) else {
        return fail_missing(reader, "id");
    };
    match tree.text(value) {
        Some(id) if id == stem => {}
        Some(id) => {
            let message = format!(
                "`id` is `{}` but the file is named `{stem}.yaml`; make them equal",
                clip(id)
            );
            let place = tree.raw(value).place;
            reader.defects.push(reader.source.defect_as(ID_MISMATCH, place, message));
        }
        None => reader.fail_type(value, "id", "text"),
    }
}

/// Refuses an absent or empty required key, pointing at a key that looks like it.
fn fail_missing(reader: &mut Reader<'_>, name: &str) {
    let tree = reader.tree;
    if reader.defects.iter().any(|d| d.message.starts_with(&format!("`{name}`"))) {
        return;
    }
    if let Some((key, _)) = tree.entry(tree.root(), name) {
        return reader.fail(key, format!("`{name}`: expected text, found nothing; fill it in"));
    }
    let entries = tree.map(tree.root()).unwrap_or(&[]);
    let near = entries.iter().find(|(key, _)| {
        tree.text(*key)
            .is_some_and(|word| !KNOWN.contains(&word) && nearest(word, &[name]).is_some())
    });
    match near {
        Some((key, _)) => {
            let word = clip(reader.key(*key));
            reader.fail(*key, format!("the key `{name}` is missing; is `{word}` meant to be it?"));
        }
        None => {
            let message = format!("the key `{name}` is missing; add a line `{name}: …`");
            reader.defects.push(Defect::whole(INVALID_TICKET, message));
        }
    }
}

/// One warning that names the keys of a full work order that are absent.
fn note_missing(reader: &mut Reader<'_>) {
    let tree = reader.tree;
    let absent = EXPECTED.iter().filter(|name| tree.entry(tree.root(), name).is_none()).copied();
    let absent: Vec<&str> = absent.collect();
    if !absent.is_empty() {
        let message = format!("a full work order also has: {}", absent.join(", "));
        reader.warnings.push(Defect::whole(MISSING_KEY, message));
    }
}

fn read_key(reader: &mut Reader<'_>, order: &mut Order, key: Ix, value: Ix) {
    match reader.key(key) {
        "id" => {}
        "version" => version(reader, value),
        "title" => order.title = reader.text(value, "title").unwrap_or_default(),
        "objective" => order.objective = reader.text(value, "objective"),
        "epic_id" => order.epic_id = reader.text(value, "epic_id"),
        "tags" => order.tags = reader.text_or_texts(value, "tags"),
        "owner" => order.owner = reader.text(value, "owner"),
        "assignee" => order.assignee = reader.text(value, "assignee"),
        "priority" => order.priority = priority(reader, value),
        "deadline" => order.deadline = fields::when(reader, value, "deadline"),
        "not_before" => order.not_before = fields::when(reader, value, "not_before"),
        "status" => order.status = status(reader, value),
        "dod_id" => order.dod_id = reader.text(value, "dod_id"),
        "group" => order.group = reader.text(value, "group"),
        "package" => order.package = reader.text(value, "package"),
        "branch" => order.view.branch = reader.text(value, "branch"),
        "worktree" => order.view.worktree = reader.text(value, "worktree"),
        "started_at" => order.view.started_at = reader.text(value, "started_at"),
        "finished_at" => order.view.finished_at = reader.text(value, "finished_at"),
        "result" => order.view.result = reader.text(value, "result"),
        "commit_sha" => order.view.commit_sha = reader.text(value, "commit_sha"),
        "verified_at_sha" => order.view.verified_at_sha = reader.text(value, "verified_at_sha"),
        "timeout" => order.timeout = fields::limit(reader, value, "timeout"),
        "idle_timeout" => order.idle_timeout = fields::limit(reader, value, "idle_timeout"),
        "hold" => order.hold = fields::hold(reader, value),
        "dependencies" => fields::dependencies(reader, order, value),
        "scope" => order.scope = fields::scope(reader, value),
        "diff_budget" => order.diff_budget = fields::diff_budget(reader, value),
        "retry" => fields::retry(reader, &mut order.retry, value),
        "stop_conditions" => fields::stop_conditions(reader, &mut order.retry, value),
        "workspace" => order.workspace = fields::workspace(reader, &order.id, value),
        "checkout" => order.checkout = fields::checkout(reader, value),
        "artifacts" => order.artifacts = fields::artifacts(reader, value),
        "x_jobyard" => order.own = own::read(reader, value),
        "run" => order.run = commands::list(reader, value, "run"),
        "verify" => commands::verify(reader, order, value),
        "execution" => order.engine = commands::execution(reader, value),
        "env" => order.env = commands::env(reader, value),
        "base" => order.base = commands::base(reader, value),
        word if KNOWN.contains(&word) => {}
        _ => reader.unknown_key(key, "", &KNOWN),
    }
}

fn version(reader: &mut Reader<'_>, value: Ix) {
    if !reader.tree.is_null(value) && reader.tree.text(value) != Some("1") {
        reader.fail_type(value, "version", "1, the only version there is");
    }
}

fn priority(reader: &mut Reader<'_>, value: Ix) -> Priority {
    let Some(text) = reader.text(value, "priority") else { return Priority::Medium };
    let priority = Priority::parse(&text);
    if priority.is_none() {
        reader.fail_word(value, "priority", &text, &Priority::WORDS);
    }
    priority.unwrap_or(Priority::Medium)
}

/// Kept as text: the directory says the state, this key only follows it.
fn status(reader: &mut Reader<'_>, value: Ix) -> Option<String> {
    let text = reader.text(value, "status")?;
    if State::parse(&text).is_none() {
        let message = format!(
            "`status: {}` names no directory; the directory of the file counts, not this word",
            clip(&text)
        );
        reader.warn(UNKNOWN_STATUS, value, message);
    }
    Some(text)
}
