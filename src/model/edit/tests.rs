//! Tests of edits: single cases.

use super::*;
use crate::model::order::{Stamp, State};
use crate::model::parse::parse_order;

fn text(value: &str) -> Scalar {
    Scalar::Text(value.to_owned())
}

fn set(name: &'static str, value: &str) -> Change {
    Change::Set(Key::Top(name), text(value))
}

fn own(name: &'static str, value: i64) -> Change {
    Change::Set(Key::Own(name), Scalar::Int(value))
}

/// Edits and compares.
fn check(before: &str, changes: &[Change], after: &str) {
    match edit(before, changes) {
        Ok(new) => assert_eq!(new, after, "from {before:?}"),
        Err(defect) => panic!("refused {before:?}: {defect}"),
    }
}

#[test]
fn values_are_replaced_in_place() {
    check(
        "# top\nid: a # x\nstatus: pending   # s\ntitle: 'T'\n",
        &[set("status", "running")],
        "# top\nid: a # x\nstatus: running   # s\ntitle: 'T'\n",
    );
    check("id: a\nstatus: 'b'\n", &[set("status", "it's")], "id: a\nstatus: 'it''s'\n");
    check("id: a\nstatus: \"b\"\n", &[set("status", "c")], "id: a\nstatus: \"c\"\n");
    check("id: a\nstatus:\n", &[set("status", "c")], "id: a\nstatus: c\n");
    check("id: a\nstatus:   # none\n", &[set("status", "c")], "id: a\nstatus: c   # none\n");
    check("id: a\nstatus: ~\n", &[set("status", "yes")], "id: a\nstatus: \"yes\"\n");
    check("id: a\nstatus: one\n  two # c\n", &[set("status", "c")], "id: a\nstatus: c # c\n");
    check("id: a\nstatus: &s b\n", &[set("status", "c")], "id: a\nstatus: &s c\n");
    check("x: &s b\nstatus: *s\n", &[set("status", "c")], "x: &s b\nstatus: c\n");
    check("? status\n# c\n: b\nid: a\n", &[set("status", "c")], "? status\n# c\n: c\nid: a\n");
    check("\"status\": b\nid: a\n", &[set("status", "c")], "\"status\": c\nid: a\n");
    check("status: b\n", &[set("status", "b")], "status: b\n");
    check("status: b\n", &[Change::Set(Key::Top("status"), Scalar::Null)], "status: null\n");
}

#[test]
fn block_texts_are_replaced_and_removed_whole() {
    let block = "id: a\nresult: |- # why\n  one\n\n  two\n# after\nz: 1\n";
    check(block, &[set("result", "c")], "id: a\nresult: c # why\n# after\nz: 1\n");
    let gone = Change::Remove(Key::Top("result"));
    check(block, std::slice::from_ref(&gone), "id: a\n# why\n# after\nz: 1\n");
    check("id: a\nresult: |\n  one\n", &[set("result", "c")], "id: a\nresult: c\n");
    check("id: a\nresult: >\n  one", &[set("result", "c")], "id: a\nresult: c");
    check("id: a\nresult: |\nz: 1\n", &[set("result", "c")], "id: a\nresult: c\nz: 1\n");
    check(
        "result: |\r\n  one\r\n  two\r\nz: 1\r\n",
        &[set("result", "c")],
        "result: c\r\nz: 1\r\n",
    );
    check("result: |\r\n  one\r\n  two\r\nz: 1\r\n", &[gone], "z: 1\r\n");
}

#[test]
fn new_keys_go_to_the_end() {
    check("id: a\n", &[set("owner", "b")], "id: a\nowner: b\n");
    check("id: a", &[set("owner", "b")], "id: a\nowner: b");
    check("id: a\r\n", &[set("owner", "b")], "id: a\r\nowner: b\r\n");
    check("id: a # c\n# d\n", &[set("owner", "b")], "id: a # c\n# d\nowner: b\n");
    check(
        "# c\n---\nid: a\n...\n# e\n",
        &[set("owner", "b")],
        "# c\n---\nid: a\nowner: b\n...\n# e\n",
    );
    check("  id: a\n  b: c\n", &[set("owner", "b")], "  id: a\n  b: c\n  owner: b\n");
    check("\u{feff}id: a\n", &[set("owner", "b")], "\u{feff}id: a\nowner: b\n");
    check("id: a\n", &[own("attempt", 1)], "id: a\nx_jobyard:\n  attempt: 1\n");
    check(
        "id: a\nx_jobyard:\n  attempt: 1 # n\n# end\n",
        &[own("retries", 2), set("owner", "b"), own("attempt", 2)],
        "id: a\nowner: b\nx_jobyard:\n  attempt: 2 # n\n  retries: 2\n# end\n",
    );
    check("x_jobyard: {}\nid: a\n", &[own("attempt", 1)], "x_jobyard: {attempt: 1}\nid: a\n");
    check("x_jobyard:\nid: a\n", &[own("attempt", 1)], "x_jobyard: {attempt: 1}\nid: a\n");
    check("id: a\nlast: |+\n  b\n\n", &[set("owner", "b")], "id: a\nlast: |+\n  b\n\nowner: b\n");
    check("id: a\nlast: |+\n  b\n  ", &[set("owner", "b")], "id: a\nowner: b\nlast: |+\n  b\n  ");
}

#[test]
fn flow_maps_stay_flow_maps() {
    check("{id: a, b: [c]}\n", &[set("owner", "b")], "{id: a, b: [c], owner: b}\n");
    check("{id: a, b: c,}\n", &[set("owner", "b")], "{id: a, b: c, owner: b,}\n");
    check("{id: a, b}\n", &[set("b", "c")], "{id: a, b: c}\n");
    check("{id: a, b: }\n", &[set("b", "c")], "{id: a, b: c }\n");
    check(
        "{\n  \"id\": \"a\", # c\n  \"status\":\"x\" # d\n}",
        &[set("status", "y"), own("attempt", 1), set("owner", "z")],
        "{\n  \"id\": \"a\", # c\n  \"status\":\"y\", \"owner\": \"z\", \
         \"x_jobyard\": {\"attempt\": 1} # d\n}",
    );
    let gone = |name| Change::Remove(Key::Top(name));
    check("{id: a, b: c, d: e}\n", &[gone("b")], "{id: a, d: e}\n");
    check("{id: a, b: c, d: e}\n", &[gone("b"), gone("d")], "{id: a}\n");
    check("{b: c, d: e, id: a}\n", &[gone("b"), gone("d")], "{id: a}\n");
    check("{id: a, # one\n b: c # two\n}\n", &[gone("b")], "{id: a # one\n # two\n}\n");
}

#[test]
fn removed_keys_leave_their_comments() {
    let gone = |name| Change::Remove(Key::Top(name));
    check("id: a\nowner: b\nz: 1\n", &[gone("owner")], "id: a\nz: 1\n");
    check("id: a\nowner: b # who\nz: 1\n", &[gone("owner")], "id: a\n# who\nz: 1\n");
    check("id: a\nz: 1\nowner: b", &[gone("owner")], "id: a\nz: 1");
    check("id: a\nowner: b", &[gone("owner"), set("z", "c")], "id: a\nz: c");
    check("id: a\nowner:\nz: 1\n", &[gone("owner"), gone("none")], "id: a\nz: 1\n");
    let both = [Change::Remove(Key::Own("attempt")), Change::Remove(Key::Own("retries"))];
    check("id: a\nx_jobyard:\n  attempt: 1\n  retries: 2\nz: 1\n", &both, "id: a\nz: 1\n");
    check("id: a\nx_jobyard: {attempt: 1}\n", &both, "id: a\n");
    check(
        "id: a\nx_jobyard: # ours\n  attempt: 1 # n\n  other: 2\n",
        &both,
        "id: a\nx_jobyard: # ours\n  # n\n  other: 2\n",
    );
    check("x_jobyard: # c\n  attempt: 1\nid: a\n", &both, "x_jobyard: # c\nid: a\n");
}

#[test]
fn awkward_text_is_read_back() {
    let awkward = [
        "",
        " ",
        "yes",
        "null",
        "~",
        "123",
        "0x1f",
        "1e3",
        "1:30",
        "2026-01-09",
        "a: b # c",
        "- a",
        "# a",
        "'",
        "\"",
        "\\",
        "it's",
        "a\nb\n\nc\n",
        "\ttab",
        "é ü 日本 🦀",
        "{a}",
        "[a",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a`",
        "a ",
        "---",
        "...",
        "\u{85}\u{2028}",
        "x\u{7f}y",
        "=",
        "<<",
        "?",
    ];
    let heads = [
        "status: x # c\nz: 1\n",
        "status: 'x' # c\nz: 1\n",
        "status: \"x\"\nz: 1\n",
        "{status: x, z: 1}\n",
        "z: 1\n",
    ];
    for value in awkward {
        for head in heads {
            let new = edit(head, &[set("status", value)]).unwrap();
            let source = Source::decode(new.as_bytes(), ORDER_BYTES_MAX, CANNOT_EDIT).unwrap();
            let tree = Tree::read(source).unwrap();
            let found = tree.get(tree.root(), "status").and_then(|ix| tree.text(ix));
            assert_eq!(found, Some(value), "{new:?}");
            assert!(!head.contains("# c") || new.contains(" # c\nz: 1\n"), "{new:?}");
        }
    }
}

#[test]
fn a_line_that_cannot_go_becomes_null() {
    let gone = [Change::Remove(Key::Top("owner"))];
    check("? owner\n: a\nid: x\n", &gone, "? owner\n: null\nid: x\n");
    check("a: |+\n  b\n\nowner: !!str c # d\n\nid: x\n", &gone, "a: |+\n  b\n\n# d\n\nid: x\n");
    check("a: |+\n  b\n\nowner: !!str c\n\nid: x\n", &gone, "a: |+\n  b\n\nowner: null\n\nid: x\n");
}

#[test]
fn what_would_change_more_is_refused() {
    let refused = |before: &str, changes: &[Change]| {
        let defect = edit(before, changes).expect_err(before);
        assert_eq!(defect.code, CANNOT_EDIT, "{before}");
    };
    refused("status: &s a\nx: *s\n", &[set("status", "b")]);
    refused("status: [a]\n", &[set("status", "b")]);
    refused("status: a\nx_jobyard: [1]\n", &[own("attempt", 1)]);
    refused("x: &x {attempt: 1}\nx_jobyard: *x\n", &[own("attempt", 2)]);
    refused("- a\n", &[set("status", "b")]);
    refused("a: 1\na: 2\n", &[set("status", "b")]);
    refused("a: [\n", &[set("status", "b")]);
    refused("", &[set("status", "b")]);
}

#[test]
fn own_changes_turn_one_into_the_other() {
    let settled =
        Stamp { id: "a".to_owned(), state: State::Done, attempt: 2, seq: 9, hash: "12".to_owned() };
    let full = OwnKeys {
        attempt: 2,
        retries: 1,
        verify_fails: 1,
        retry_at: Some(Moment(1_767_993_226_163)),
        reason: Some("fail: x".to_owned()),
        hold: Some("yes".to_owned()),
        settled: Some(settled),
    };
    let none = OwnKeys::default();
    let bare = "id: a\ntitle: T\n";
    assert!(own_changes(&full, &full).is_empty());
    let written = edit(bare, &own_changes(&none, &full)).unwrap();
    assert_eq!(parse_order(written.as_bytes(), "a").unwrap().order.own, full);
    assert_eq!(edit(&written, &own_changes(&full, &none)).unwrap(), bare);
}
