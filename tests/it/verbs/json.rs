//! `--json`: one object with a `schema` for every verb, whatever became of it.

use super::root::Root;

/// Arguments, exit code and name of the schema, one after another on one root.
const CALLS: &[(&[&str], i32, &str)] = &[
    (&["init", "--dry-run"], 0, "init"),
    (&["submit", "c.yaml"], 0, "submit"),
    (&["submit", "bad.yaml"], 4, "error"),
    (&["add", "--id", "D", "--hold", "x", "--", "true"], 0, "add"),
    (&["add", "--id", "D", "--", "true"], 4, "error"),
    (&["take", "--list"], 0, "take-list"),
    (&["take", "B"], 4, "take"),
    (&["take", "A"], 0, "take"),
    (&["take", "A"], 5, "take"),
    (&["take", "--status"], 0, "take-status"),
    (&["heartbeat", "A"], 0, "heartbeat"),
    (&["heartbeat", "C"], 3, "error"),
    (&["hold", "C", "--dry-run"], 0, "hold"),
    (&["hold", "C"], 0, "hold"),
    (&["unhold", "C"], 0, "unhold"),
    (&["edit", "C", "--set", "title=u"], 0, "edit"),
    (&["edit", "NONE", "--set", "title=u"], 3, "error"),
    (&["list"], 0, "list"),
    (&["status"], 0, "status"),
    (&["show", "A"], 0, "show"),
    (&["show", "A", "--field", "state"], 0, "show"),
    (&["show", "NONE"], 3, "error"),
    (&["why", "C"], 0, "why"),
    (&["impact", "A"], 0, "impact"),
    (&["impact", "NONE"], 3, "error"),
    (&["deps"], 0, "deps"),
    (&["deps", "--graph"], 0, "deps-graph"),
    (&["deps", "--dot"], 0, "deps-dot"),
    (&["deps", "--list-blocking"], 0, "deps-blocking"),
    (&["stats"], 0, "stats"),
    (&["finish", "A"], 0, "finish"),
    (&["finish", "A"], 4, "finish"),
    (&["wait", "A"], 0, "wait"),
    (&["logs", "A"], 0, "logs"),
    (&["cancel", "C"], 0, "cancel"),
    (&["requeue", "C"], 0, "requeue"),
    (&["lint"], 0, "lint"),
    (&["lint", "bad.yaml"], 7, "lint"),
    (&["reconcile"], 0, "reconcile"),
    (&["reconcile", "--apply"], 0, "reconcile"),
    (&["doctor"], 0, "doctor"),
    (&["doctor", "stale-lease"], 0, "explanation"),
    (&["doctor", "nonsense"], 3, "error"),
    (&["gc"], 0, "gc"),
    (&["gc", "NONE"], 3, "error"),
    (&["audit", "verify"], 0, "audit"),
    (&["audit", "show", "A"], 0, "audit"),
    (&["daemon", "--drain"], 0, "daemon"),
    (&["daemon", "--slots", "many"], 2, "error"),
    (&["groups"], 0, "groups"),
    (&["groups", "pause", "gpu"], 0, "group"),
    (&["groups", "slots", "gpu", "0"], 2, "error"),
    (&["config"], 0, "config"),
    (&["config", "nonsense"], 3, "error"),
    (&["schema"], 0, "schemas"),
    (&["schema", "nonsense"], 3, "error"),
    (&["man", "nonsense"], 3, "error"),
    (&["completions", "nonsense"], 2, "error"),
    (&["demo", "--dry-run"], 0, "demo"),
    (&["demo", "."], 2, "error"),
    (&["nonsense"], 2, "error"),
    (&["take"], 2, "error"),
    (&["show", "../x y"], 2, "error"),
    (&["--root", "/nonexistent", "list"], 3, "error"),
];

#[test]
fn every_verb_gives_one_object() {
    let root = Root::new();
    root.order("A", "");
    root.order("B", "dependencies: [A]");
    std::fs::write(root.path("c.yaml"), "id: C\ntitle: t\n").unwrap();
    std::fs::write(root.path("bad.yaml"), "id: C\ntitle: [\n").unwrap();
    for &(arguments, code, schema) in CALLS {
        let said = root.run(&[&["--json"], arguments].concat()).ends(code);
        let json = said.json();
        assert_eq!(json["schema"], format!("jobyard.{schema}.v1"), "{arguments:?}");
        if schema == "error" {
            assert_eq!(json["code"], code, "{arguments:?}");
            assert!(json["error"].as_str().is_some_and(|e| !e.is_empty()), "{arguments:?}");
        }
    }
    let list = root.run(&["take", "--list", "--json"]).ends(0).json();
    assert_eq!(list["orders"][0], serde_json::json!({ "id": "B", "title": "t" }));
    let _daemon = root.daemon();
    let said = root.run(&["daemon", "--json"]).ends(5);
    assert!(said.json()["error"].as_str().unwrap().contains("served already"), "{said:?}");
    let said = root.run(&["daemon", "--drain", "--json"]).ends(0);
    assert_eq!(said.json()["ended"], "served-already");
}
