//! The catalogue of Definitions of Done: files with entries that work orders name by `dod_id`.
//!
//! Invariants: strict YAML, unknown keys left alone; an entry that comes out has an id. Ids that stand
//! in two files are not judged here.

use super::defect::{Defect, INVALID_DOD};
use super::form::{Form, Key, TEXTS, key, needed};
use super::parse::reader::Reader;
use super::strict::source::Source;
use super::strict::{Ix, Kind, Tree, clip};
use std::collections::BTreeSet;

/// Keys of an entry.
pub const ENTRY: [Key; 4] = [
    needed("id", Form::Filled, "What `dod_id` of a work order names"),
    key("title", Form::Text, "One line for people"),
    key("required_checks", CHECKS, "Checks that must pass, after the order's own"),
    key("required_artifacts", TEXTS, "Regular files that must be there, relative to the worktree"),
];

const CHECKS: Form = Form::List(&Form::Either(&[Form::Filled, Form::Map(&CHECK)]));

/// Keys of a check that is a map.
pub const CHECK: [Key; 2] = [
    key("name", Form::Text, "Name for people"),
    needed("commands", TEXTS, "Shell commands, in order; one at least that is not empty"),
];

/// Largest catalogue file in bytes.
pub const DOD_BYTES_MAX: usize = 1 << 20;

/// One named list of commands of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DodCheck {
    /// Name for people; `check 2` when the file has none.
    pub name: String,
    /// Shell commands, in order.
    pub commands: Vec<String>,
}

/// One entry of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DodEntry {
    /// What `dod_id` names.
    pub id: String,
    /// One line for people.
    pub title: Option<String>,
    /// Checks that must pass.
    pub required_checks: Vec<DodCheck>,
    /// Paths that must exist, relative to the worktree.
    pub required_artifacts: Vec<String>,
}

/// Reads a catalogue file: a map with the list `dod`, that list alone, or one entry alone.
pub fn parse_dod(bytes: &[u8]) -> Result<Vec<DodEntry>, Vec<Defect>> {
    let source = Source::decode(bytes, DOD_BYTES_MAX, INVALID_DOD).map_err(|d| vec![d])?;
    let tree = Tree::read(source)?;
    let root = tree.root();
    let mut reader = Reader::new(source, &tree);
    let alone = tree.get(root, "id").is_some() && tree.get(root, "dod").is_none();
    let list = if alone { root } else { tree.get(root, "dod").unwrap_or(root) };
    let items: &[Ix] =
        if alone { std::slice::from_ref(&root) } else { tree.list(list).unwrap_or(&[]) };
    if !alone && tree.list(list).is_none() && !tree.is_null(list) {
        reader.fail(list, "expected a list `dod:` of entries with `id` and `required_checks`");
    }
    let mut entries: Vec<DodEntry> = Vec::new();
    let mut ids = BTreeSet::new();
    for item in items {
        let Some(entry) = entry(&mut reader, *item) else { continue };
        if !ids.insert(entry.id.clone()) {
            let id = clip(&entry.id);
            reader.fail(*item, format!("the id `{id}` stands twice in this file"));
        }
        entries.push(entry);
    }
    if reader.defects.is_empty() { Ok(entries) } else { Err(reader.defects) }
}

fn entry(reader: &mut Reader<'_>, ix: Ix) -> Option<DodEntry> {
    let expected = "an entry with `id` and `required_checks`";
    if reader.tree.map(ix).is_none() {
        reader.fail_type(ix, "dod", expected);
        return None;
    }
    let mut id = None;
    let mut entry = DodEntry {
        id: String::new(),
        title: None,
        required_checks: Vec::new(),
        required_artifacts: Vec::new(),
    };
    for (key, value) in reader.entries(ix, "dod", expected) {
        let value = *value;
        match reader.key(*key) {
            "id" => id = reader.text(value, "id"),
            "title" => entry.title = reader.text(value, "title"),
            "required_checks" => entry.required_checks = checks(reader, value),
            "required_artifacts" => {
                entry.required_artifacts = reader.text_or_texts(value, "required_artifacts");
            }
            _ => {}
        }
    }
    match id {
        Some(id) if !id.trim().is_empty() => Some(DodEntry { id, ..entry }),
        _ => {
            reader.fail(ix, "an entry without `id`; work orders name it by that");
            None
        }
    }
}

fn checks(reader: &mut Reader<'_>, ix: Ix) -> Vec<DodCheck> {
    let tree = reader.tree;
    let Some(items) = tree.list(ix) else {
        if !tree.is_null(ix) {
            reader.fail_type(ix, "required_checks", "a list of `{name, commands}`");
        }
        return Vec::new();
    };
    let mut checks = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut check = DodCheck { name: format!("check {}", at + 1), commands: Vec::new() };
        if matches!(tree.node(*item).kind, Kind::Scalar(..)) && !tree.is_null(*item) {
            check.commands = reader.text(*item, "required_checks").into_iter().collect();
        } else {
            let expected = "a check `{name: …, commands: […]}`, or one command";
            for (key, value) in reader.entries(*item, "required_checks", expected) {
                match reader.key(*key) {
                    "name" => check.name = reader.text(*value, "name").unwrap_or(check.name),
                    "commands" => check.commands = reader.text_or_texts(*value, "commands"),
                    _ => {}
                }
            }
        }
        if check.commands.iter().all(|command| command.trim().is_empty()) {
            reader.fail(*item, "a check without `commands` can never be met; write them");
        }
        checks.push(check);
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_unknown_keys_left_alone() {
        let text = "version: 1\ndod:\n  - id: DOD-DEFAULT\n    title: Default\n    required_artifacts: \
                    [docs/a.md]\n    required_checks:\n      - name: tests\n        commands: [make, make \
                    test]\n      - commands: make lint\n      - cargo fmt --check\n    rules:\n      - be \
                    kind\n  - id: DOD-2\n";
        let entries = parse_dod(text.as_bytes()).unwrap();
        assert_eq!(entries.len(), 2);
        let names: Vec<&str> = entries[0].required_checks.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["tests", "check 2", "check 3"]);
        assert_eq!(entries[0].required_checks[0].commands, ["make", "make test"]);
        assert_eq!(entries[0].required_checks[2].commands, ["cargo fmt --check"]);
        assert_eq!(entries[0].required_artifacts, ["docs/a.md"]);
        assert!(entries[1].required_checks.is_empty());
        assert_eq!(parse_dod(b"- id: a\n").unwrap().len(), 1);
        assert_eq!(parse_dod(b"id: a\nrequired_checks: [make]\n").unwrap()[0].id, "a");
        assert_eq!(parse_dod(b"dod:\n"), Ok(Vec::new()));
    }

    #[test]
    fn the_example_is_accepted() {
        let entries = parse_dod(include_bytes!("../../examples/dod/default.yaml")).unwrap();
        let ids: Vec<&str> = entries.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, ["DOD-DEFAULT", "DOD-REPORT"]);
        assert_eq!(entries[0].required_checks[0].commands, ["make test"]);
    }

    #[test]
    fn wrong_shapes_are_refused_with_their_place() {
        let check = |text: &str, part: &str| {
            let defects = parse_dod(text.as_bytes()).expect_err(text);
            assert!(defects[0].to_string().contains(part), "{text:?} gave {}", defects[0]);
        };
        check("dod: x\n", "1:6: expected a list");
        check("other: x\n", "expected a list");
        check("dod: [a]\n", "1:7: `dod`: expected an entry");
        check("dod: [{title: a}]\n", "an entry without `id`");
        check("dod: [{id: a}, {id: a}]\n", "stands twice");
        check("dod: [{id: a, required_checks: [{name: b}]}]\n", "without `commands`");
        check("dod: [{id: a, required_checks: make}]\n", "a list of");
        check("dod:\n- id: a\n  id: b\n", "on line 2 and on line 3");
        check("", "empty");
    }
}
