//! The backlog: epics, their queues of orders and their status.
//!
//! Invariant: an edit changes one `status` and nothing else. When an epic's status should change is
//! not decided here.

use super::defect::{CANNOT_EDIT, Defect, INVALID_BACKLOG};
use super::edit::{Scalar, Target, Want, edit_maps, read};
use super::form::{Form, Key, TEXTS, key, needed};
use super::parse::reader::Reader;
use super::strict::source::Source;
use super::strict::{Ix, Tree, clip};
use std::collections::BTreeSet;

/// Keys of the top level.
pub const BACKLOG: [Key; 1] =
    [key("epics", Form::List(&Form::Map(&EPIC)), "Epics, each with an id of its own")];

/// Keys of an epic.
pub const EPIC: [Key; 3] = [
    needed("id", Form::Text, "What `epic_id` of a work order names"),
    key("wo_queue", TEXTS, "Ids of its orders, in order"),
    key("status", Form::Text, "Follows the queue, but for `paused`, which stays"),
];

/// Largest backlog in bytes.
pub const BACKLOG_BYTES_MAX: usize = 1 << 20;

/// One epic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epic {
    /// What `epic_id` names.
    pub id: String,
    /// Ids of its orders, in order; not checked to be valid ids.
    pub wo_queue: Vec<String>,
    /// As written: `active`, `paused`, `done`, `pending`, `complete` or anything else.
    pub status: Option<String>,
}

/// Reads `backlog.yaml`: a map with the list `epics`.
pub fn parse_backlog(bytes: &[u8]) -> Result<Vec<Epic>, Vec<Defect>> {
    let source = Source::decode(bytes, BACKLOG_BYTES_MAX, INVALID_BACKLOG).map_err(|d| vec![d])?;
    let tree = Tree::read(source)?;
    let mut reader = Reader::new(source, &tree);
    let expected = "a map with the list `epics`";
    if tree.map(tree.root()).is_none() {
        reader.fail(tree.root(), format!("a backlog is {expected}"));
        return Err(reader.defects);
    }
    let Some(list) = tree.get(tree.root(), "epics").filter(|ix| !tree.is_null(*ix)) else {
        return Ok(Vec::new());
    };
    let Some(items) = tree.list(list) else {
        reader.fail_type(list, "epics", "a list of epics with `id`");
        return Err(reader.defects);
    };
    let mut epics: Vec<Epic> = Vec::new();
    let mut ids = BTreeSet::new();
    for item in items {
        let Some(epic) = epic(&mut reader, *item) else { continue };
        if !ids.insert(epic.id.clone()) {
            reader.fail(*item, format!("the epic `{}` stands twice", clip(&epic.id)));
        }
        epics.push(epic);
    }
    if reader.defects.is_empty() { Ok(epics) } else { Err(reader.defects) }
}

fn epic(reader: &mut Reader<'_>, ix: Ix) -> Option<Epic> {
    if reader.tree.map(ix).is_none() {
        reader.fail_type(ix, "epics", "an epic: a map with `id`");
        return None;
    }
    let mut id = None;
    let mut wo_queue = Vec::new();
    let mut status = None;
    for (key, value) in reader.entries(ix, "epics", "an epic: a map with `id`") {
        match reader.key(*key) {
            "id" => id = reader.text(*value, "id"),
            "wo_queue" => wo_queue = reader.text_or_texts(*value, "wo_queue"),
            "status" => status = reader.text(*value, "status"),
            _ => {}
        }
    }
    if id.is_none() {
        reader.fail(ix, "an epic without `id`; work orders name it by that");
    }
    Some(Epic { id: id?, wo_queue, status })
}

/// The text with the status of one epic set; a missing `status` is added to the epic.
pub fn set_epic_status(text: &str, epic_id: &str, status: &str) -> Result<String, Defect> {
    let source = Source::decode(text.as_bytes(), BACKLOG_BYTES_MAX, CANNOT_EDIT)?;
    let tree = read(source)?;
    let Some(map) = find(&tree, epic_id) else {
        let message = format!("the backlog has no epic `{}`", clip(epic_id));
        return Err(Defect::whole(CANNOT_EDIT, message));
    };
    let scalar = Scalar::Text(status.to_owned());
    edit_maps(source, &tree, &[Target { map, wants: vec![("status", Want::Is(&scalar))] }])
}

fn find(tree: &Tree<'_>, epic_id: &str) -> Option<Ix> {
    let epics = tree.list(tree.get(tree.root(), "epics")?)?;
    let named = |ix: &&Ix| tree.get(**ix, "id").and_then(|id| tree.text(id)) == Some(epic_id);
    epics.iter().find(named).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "version: 1\n# ours\nepics:\n  - id: E-1 # first\n    wo_queue: [WO-1, WO-2]\n    \
                           status: active   # now\n    x_note: 'a'\n  - id: E-2\n  - {id: E-3, status: \
                           paused} # flow\n# end\n";

    #[test]
    fn epics_are_read() {
        let epics = parse_backlog(SAMPLE.as_bytes()).unwrap();
        let ids: Vec<&str> = epics.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(ids, ["E-1", "E-2", "E-3"]);
        assert_eq!(epics[0].wo_queue, ["WO-1", "WO-2"]);
        assert_eq!(epics[2].status.as_deref(), Some("paused"));
        assert_eq!(parse_backlog(b"version: 1\n"), Ok(Vec::new()));
        assert_eq!(parse_backlog(b"epics: []\n"), Ok(Vec::new()));
    }

    #[test]
    fn the_example_is_accepted() {
        let epics = parse_backlog(include_bytes!("../../examples/backlog.yaml")).unwrap();
        assert_eq!(epics[0].wo_queue, ["WO-0012", "WO-0013"]);
        assert_eq!(epics[1].status.as_deref(), Some("paused"));
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let check = |text: &str, part: &str| {
            let defects = parse_backlog(text.as_bytes()).expect_err(text);
            assert!(defects[0].to_string().contains(part), "{text:?} gave {}", defects[0]);
        };
        check("- a\n", "a map with the list `epics`");
        check("epics: x\n", "1:8: `epics`: expected a list");
        check("epics: [x]\n", "1:9: `epics`: expected an epic");
        check("epics: [{title: x}]\n", "without `id`");
        check("epics: [{id: a}, {id: a}]\n", "stands twice");
    }

    #[test]
    fn one_status_changes_and_nothing_else() {
        let set = |id, status| set_epic_status(SAMPLE, id, status).unwrap();
        assert_eq!(set("E-1", "done"), SAMPLE.replace("status: active", "status: done"));
        assert_eq!(
            set("E-2", "done"),
            SAMPLE.replace("- id: E-2\n", "- id: E-2\n    status: done\n")
        );
        assert_eq!(set("E-3", "done"), SAMPLE.replace("status: paused", "status: done"));
        // Without the anchor what follows would be no YAML: what is said points into the file as it is.
        let anchored = "epics:\n- id: E\n  status: &s |+\n    a- id: F\n  b: *s\n";
        let refused = set_epic_status(anchored, "E", "done").unwrap_err();
        assert!(refused.to_string().starts_with("2:3: an edit would leave"), "{refused}");
        assert!(set_epic_status(SAMPLE, "E-9", "done").is_err());
        assert!(set_epic_status("epics: [\n", "E-9", "done").is_err());
    }
}
