//! A job package: the `work_order.yaml` of a directory with a manifest.
//!
//! Invariants: a [`Package`] that exists is valid and names no file outside its directory; the facts that
//! jobyard writes into it (status, counters, times) are a view for people and decide nothing; an edit
//! changes those and nothing else.

pub mod manifest;

use super::defect::{CANNOT_EDIT, Defect, INVALID_PACKAGE};
use super::edit::{Scalar, Target, Want, edit_maps, quoted, read};
use super::form::{Form, Key, key, names, needed};
use super::id::OrderId;
use super::order::Priority;
use super::parse::reader::Reader;
use super::strict::source::Source;
use super::strict::{Ix, Tree};
use std::path::{Component, Path};

/// What the file of a package is called.
pub const FILE: &str = "work_order.yaml";

/// Largest `work_order.yaml` in bytes.
pub const PACKAGE_BYTES_MAX: usize = 1 << 20;

/// Keys of `work_order.yaml`.
pub const PACKAGE: [Key; 12] = [
    needed("job_id", Form::Id, "Identity; its work order is called so too"),
    key("name", Form::Text, "One line for people"),
    key("created", Form::Text, "When it was planned, local time"),
    key("status", Form::Text, "Follows the facts: pending, running, completed or failed"),
    key("manifest", Form::Map(&MANIFEST), "The tasks"),
    key("routing_strategy", Form::Words(&Strategy::WORDS), "Which channel a task goes to"),
    key("backlog_key", Form::Text, "Name of the queue of its tasks"),
    key("output", Form::Map(&OUTPUT), "Files that are written"),
    key("execution", Form::Map(&EXECUTION), "Follows the facts"),
    key(
        "priority",
        Form::AnyCase(&Priority::WORDS),
        "Whose tasks go first where packages share a channel",
    ),
    key("workflow", Form::Text, "What planned it, and verifies it"),
    key("origin", Form::Text, "The package that this one repeats"),
];

/// Keys of `manifest`.
pub const MANIFEST: [Key; 2] = [
    key("path", Form::Filled, "The manifest, relative to the package; default manifest.jsonl"),
    key("count", Form::Whole(u32::MAX as u64), "How many tasks there were when it was planned"),
];

/// Keys of `output`.
pub const OUTPUT: [Key; 2] = [
    key("results_path", Form::Filled, "Results, relative to the package; default results.jsonl"),
    key("logs_path", Form::Filled, "The log, relative to the package; default execution.log"),
];

/// Keys of `execution`.
pub const EXECUTION: [Key; 5] = [
    key("started_at", Form::Text, "When its first task was started"),
    key("completed_at", Form::Text, "When its last task had ended"),
    key("tasks_dispatched", Form::Whole(u32::MAX as u64), "Tasks that were dispatched"),
    key("tasks_completed", Form::Whole(u32::MAX as u64), "Tasks that ended well"),
    key("tasks_failed", Form::Whole(u32::MAX as u64), "Tasks that failed for good"),
];

/// Which channel the tasks of a package go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    /// `metal` up to its depth, then `cloud` under its depth and budget (the default).
    #[default]
    Hybrid,
    /// All to `metal`.
    Metal,
    /// All to `cloud`.
    Cloud,
}

impl Strategy {
    /// The words of `routing_strategy`.
    pub const WORDS: [&'static str; 3] = ["hybrid_supervisor", "force_metal", "force_cloud"];

    /// Reads one of [`Strategy::WORDS`].
    pub fn parse(text: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|word| *word == text)?;
        Some([Self::Hybrid, Self::Metal, Self::Cloud][at])
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// The facts that a `work_order.yaml` follows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Execution {
    /// As written; `None`: not yet.
    pub started_at: Option<String>,
    /// As written; `None`: not yet.
    pub completed_at: Option<String>,
    /// Tasks that were dispatched.
    pub dispatched: u64,
    /// Tasks that ended well.
    pub completed: u64,
    /// Tasks that failed for good.
    pub failed: u64,
}

/// What a `work_order.yaml` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Identity.
    pub id: OrderId,
    /// One line for people; the id where there is none.
    pub name: String,
    /// When it was planned, as written.
    pub created: Option<String>,
    /// As written: `pending`, `running`, `completed`, `failed`, or anything else.
    pub status: Option<String>,
    /// The manifest, relative to the package.
    pub manifest: String,
    /// How many tasks there were when it was planned.
    pub count: Option<u64>,
    /// Which channel its tasks go to.
    pub strategy: Strategy,
    /// Name of the queue of its tasks.
    pub backlog_key: String,
    /// Results, relative to the package.
    pub results: String,
    /// The log, relative to the package.
    pub log: String,
    /// The view of the facts.
    pub execution: Execution,
    /// Whose tasks go first where packages share a channel.
    pub priority: Priority,
    /// What planned it.
    pub workflow: Option<String>,
    /// The package that this one repeats.
    pub origin: Option<String>,
}

impl Package {
    /// A package with the usual names of its files.
    pub fn new(id: OrderId, name: String) -> Self {
        let backlog_key = backlog_key(&id);
        Self {
            id,
            name,
            created: None,
            status: None,
            manifest: "manifest.jsonl".to_owned(),
            count: None,
            strategy: Strategy::default(),
            backlog_key,
            results: "results.jsonl".to_owned(),
            log: "execution.log".to_owned(),
            execution: Execution::default(),
            priority: Priority::Medium,
            workflow: None,
            origin: None,
        }
    }

    /// The text of a new `work_order.yaml`; its status is pending.
    pub fn text(&self) -> String {
        let mut text =
            format!("job_id: {}\nname: {}\n", quoted(self.id.as_str()), quoted(&self.name));
        if let Some(created) = &self.created {
            text.push_str(&format!("created: '{created}'\n"));
        }
        text.push_str("status: pending  # pending | running | completed | failed\n\nmanifest:\n");
        text.push_str(&format!("  path: {}\n", quoted(&self.manifest)));
        if let Some(count) = self.count {
            text.push_str(&format!("  count: {count}\n"));
        }
        text.push_str(&format!(
            "\nrouting_strategy: {}  # force_metal | force_cloud | hybrid_supervisor\n\
             backlog_key: \"{}\"\n\noutput:\n  results_path: {}\n  logs_path: {}\n\n\
             execution:\n  started_at: null\n  completed_at: null\n  tasks_dispatched: 0\n  \
             tasks_completed: 0\n  tasks_failed: 0\n",
            self.strategy.name(),
            self.backlog_key,
            quoted(&self.results),
            quoted(&self.log),
        ));
        let more = [("workflow", &self.workflow), ("origin", &self.origin)];
        let more: Vec<_> =
            more.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect();
        if !more.is_empty() {
            text.push('\n');
        }
        for (key, value) in more {
            text.push_str(&format!("{key}: {}\n", quoted(value)));
        }
        text
    }
}

/// The usual name of the queue of a package's tasks.
pub fn backlog_key(id: &OrderId) -> String {
    format!("job:{id}:backlog")
}

/// Reads a `work_order.yaml`: the package and what is odd about it, or everything that is wrong with it.
pub fn parse_package(bytes: &[u8]) -> Result<(Package, Vec<Defect>), Vec<Defect>> {
    let source = Source::decode(bytes, PACKAGE_BYTES_MAX, INVALID_PACKAGE).map_err(|d| vec![d])?;
    let tree = Tree::read(source)?;
    let mut reader = Reader::new(source, &tree);
    let root = tree.root();
    if tree.map(root).is_none() {
        reader.fail(root, "a package is a map with `job_id` and `manifest`");
        return Err(reader.defects);
    }
    let id = tree.get(root, "job_id").filter(|ix| !tree.is_null(*ix));
    let Some(ix) = id else {
        reader.fail(root, "has no `job_id`: its tasks and its work order are called by it");
        return Err(reader.defects);
    };
    let id = reader.text(ix, "job_id").and_then(|text| match OrderId::parse(&text) {
        Ok(id) => Some(id),
        Err(rule) => {
            reader.fail(ix, format!("`job_id`: {rule}"));
            None
        }
    });
    let Some(id) = id else { return Err(reader.defects) };
    let mut package = Package::new(id.clone(), id.to_string());
    for (key, value) in reader.entries(root, FILE, "a map with `job_id`") {
        top(&mut reader, &mut package, *key, *value);
    }
    if reader.defects.is_empty() { Ok((package, reader.warnings)) } else { Err(reader.defects) }
}

fn top(reader: &mut Reader<'_>, package: &mut Package, key: Ix, value: Ix) {
    let name = reader.key(key);
    match name {
        "job_id" => {}
        "name" => {
            if let Some(text) = reader.text(value, name) {
                package.name = text;
            }
        }
        "created" => package.created = reader.text(value, name),
        "status" => package.status = reader.text(value, name),
        "workflow" => package.workflow = reader.text(value, name),
        "origin" => package.origin = reader.text(value, name),
        "backlog_key" => {
            if let Some(text) = reader.text(value, name) {
                package.backlog_key = text;
            }
        }
        "routing_strategy" => {
            if let Some(text) = reader.text(value, name) {
                match Strategy::parse(&text) {
                    Some(strategy) => package.strategy = strategy,
                    None => reader.fail_word(value, name, &text, &Strategy::WORDS),
                }
            }
        }
        "priority" => {
            if let Some(text) = reader.text(value, name) {
                match Priority::parse(&text) {
                    Some(priority) => package.priority = priority,
                    None => reader.fail_word(value, name, &text, &Priority::WORDS),
                }
            }
        }
        "manifest" => manifest_keys(reader, package, value),
        "output" => output_keys(reader, package, value),
        "execution" => execution_keys(reader, package, value),
        _ => reader.unknown_key(key, "", &names(&PACKAGE)),
    }
}

fn manifest_keys(reader: &mut Reader<'_>, package: &mut Package, ix: Ix) {
    for (key, value) in reader.entries(ix, "manifest", "a map with `path`") {
        match reader.key(*key) {
            "path" => inside(reader, *value, "manifest.path", &mut package.manifest),
            "count" => package.count = reader.count(*value, "manifest.count").map(u64::from),
            _ => reader.unknown_key(*key, "manifest.", &names(&MANIFEST)),
        }
    }
}

fn output_keys(reader: &mut Reader<'_>, package: &mut Package, ix: Ix) {
    for (key, value) in reader.entries(ix, "output", "a map with `results_path` and `logs_path`") {
        match reader.key(*key) {
            "results_path" => inside(reader, *value, "output.results_path", &mut package.results),
            "logs_path" => inside(reader, *value, "output.logs_path", &mut package.log),
            _ => reader.unknown_key(*key, "output.", &names(&OUTPUT)),
        }
    }
    let [manifest, results, log] = [&package.manifest, &package.results, &package.log];
    if manifest == results
        || manifest == log
        || results == log
        || [results, log].contains(&&FILE.to_owned())
    {
        reader.fail(ix, "`output`: two of its files, or one and the manifest, have the same name");
    }
}

/// A file of the package.
fn inside(reader: &mut Reader<'_>, ix: Ix, name: &str, into: &mut String) {
    let Some(text) = reader.text(ix, name) else { return };
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if text.is_empty() || text.ends_with('/') || !Path::new(&text).components().all(plain) {
        let expected = "the name of a file in the package, without `..` and no absolute path";
        return reader.fail_type(ix, name, expected);
    }
    *into = text;
}

fn execution_keys(reader: &mut Reader<'_>, package: &mut Package, ix: Ix) {
    let expected = "a map with `tasks_dispatched` and the other figures";
    for (key, value) in reader.entries(ix, "execution", expected) {
        let (name, execution) = (reader.key(*key), &mut package.execution);
        match name {
            "started_at" => execution.started_at = reader.text(*value, name),
            "completed_at" => execution.completed_at = reader.text(*value, name),
            "tasks_dispatched" => execution.dispatched = whole(reader, *value, name),
            "tasks_completed" => execution.completed = whole(reader, *value, name),
            "tasks_failed" => execution.failed = whole(reader, *value, name),
            _ => reader.unknown_key(*key, "execution.", &names(&EXECUTION)),
        }
    }
}

fn whole(reader: &mut Reader<'_>, ix: Ix, name: &str) -> u64 {
    reader.count(ix, name).map_or(0, u64::from)
}

/// The text of a `work_order.yaml` with these facts; all else as it was.
pub fn set_facts(text: &str, status: &str, facts: &Execution) -> Result<String, Defect> {
    let source = Source::decode(text.as_bytes(), PACKAGE_BYTES_MAX, CANNOT_EDIT)?;
    let tree = read(source)?;
    let word = Scalar::Text(status.to_owned());
    let time = |at: &Option<String>| at.clone().map_or(Scalar::Null, Scalar::Text);
    let count = |n: u64| Scalar::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let values = [
        ("started_at", time(&facts.started_at)),
        ("completed_at", time(&facts.completed_at)),
        ("tasks_dispatched", count(facts.dispatched)),
        ("tasks_completed", count(facts.completed)),
        ("tasks_failed", count(facts.failed)),
    ];
    let mut top = vec![("status", Want::Is(&word))];
    let mut targets = Vec::new();
    match tree.get(tree.root(), "execution").filter(|ix| tree.map(*ix).is_some()) {
        Some(map) => {
            let wants = values.iter().map(|(name, value)| (*name, Want::Is(value))).collect();
            targets.push(Target { map, wants });
        }
        None => {
            let wants = values.iter().map(|(name, value)| (*name, value)).collect();
            top.push(("execution", Want::Map(wants)));
        }
    }
    targets.push(Target { map: tree.root(), wants: top });
    edit_maps(source, &tree, &targets)
}

#[cfg(test)]
mod tests;
