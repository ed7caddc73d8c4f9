//! `groups`: what is paused does not start, with the daemon up or down; the configuration says so.

use super::root::{Root, until};
use std::fs;

const GPU: &str = "run: echo ran >> ran\nworkspace: none\ngroup: gpu";

/// The configuration below the lines that every root has.
fn config(root: &Root) -> String {
    let text = fs::read_to_string(root.path("_ctx/jobyard.toml")).unwrap();
    text.strip_prefix("settle = \"1ms\"\ngrace = \"1s\"\n").unwrap().to_owned()
}

#[test]
fn a_paused_group_starts_nothing_until_it_is_resumed_and_the_daemon_is_not_restarted() {
    let root = Root::without_git();
    let _daemon = root.daemon();
    let said = root.run(&["groups", "pause", "gpu", "--reason", "dear"]).ends(0);
    assert_eq!(said.out, "group gpu is paused: dear\n");
    assert!(said.err.contains("was told") && said.err.contains("no order names"), "{said:?}");
    root.order("A", GPU);
    root.order("B", "run: 'true'\nworkspace: none");
    until("an order without a group has run", || root.state("B") == "done");
    assert_eq!(root.state("A"), "pending");
    let why = root.run(&["why", "A"]).ends(0).out;
    assert!(why.contains("group gpu is paused: dear\n      released by"), "{why}");
    assert!(why.contains("released by: `jobyard groups resume gpu`"), "{why}");
    let list = root.run(&["list"]).ends(0).out;
    assert!(list.contains("group gpu is paused: dear"), "{list}");
    let status = root.run(&["status"]).ends(0).out;
    let line = "paused   group gpu is paused: dear, released by `jobyard groups resume gpu`\n";
    assert!(status.contains(line), "{status}");
    let said = root.run(&["groups", "resume", "gpu"]).ends(0);
    assert_eq!(said.out, "group gpu is not paused\n");
    until("the order has run", || root.state("A") == "done");
    assert_eq!(fs::read_to_string(root.path("ran")).unwrap(), "ran\n");
}

#[test]
fn what_runs_goes_on_and_people_may_take() {
    let root = Root::new();
    let _daemon = root.daemon();
    root.fifo("gate");
    root.order(
        "A",
        "run: 'echo > began; read x < gate; echo > ended'\nworkspace: none\ngroup: gpu",
    );
    until("it runs", || root.path("began").exists());
    root.run(&["groups", "pause", "--all"]).ends(0);
    root.order("B", "run: 'true'\ngroup: gpu");
    root.order("C", "");
    let why = root.run(&["why", "B"]).ends(0).out;
    assert!(why.contains("everything is paused: no reason given"), "{why}");
    assert!(why.contains("`jobyard groups resume --all`"), "{why}");
    assert!(!root.run(&["why", "C"]).ends(0).out.contains("paused"));
    root.run(&["take", "B"]).ends(0);
    fs::write(root.path("gate"), "go\n").unwrap();
    until("it has ended well", || root.state("A") == "done");
}

#[test]
fn a_pause_that_was_written_by_hand_reaches_the_daemon_when_it_is_asked_for() {
    let root = Root::without_git();
    let _daemon = root.daemon();
    let file = root.path("_ctx/jobyard.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}[groups.gpu]\npaused = \"dear\"\n")).unwrap();
    let said = root.run(&["groups", "pause", "gpu", "--reason", "dear"]).ends(0);
    assert_eq!(said.out, "group gpu is paused: dear; unchanged\n");
    assert!(said.err.contains("was told to read it"), "{said:?}");
    root.order("A", GPU);
    root.order("B", "run: 'true'\nworkspace: none");
    until("an order without a group has run", || root.state("B") == "done");
    assert_eq!(root.state("A"), "pending");
}

#[test]
fn drain_does_not_wait_for_what_is_paused() {
    let root = Root::without_git();
    root.order("A", GPU);
    root.order("B", "run: 'true'\nworkspace: none");
    let said = root.run(&["groups", "pause", "gpu"]).ends(0);
    assert!(said.err.contains("no daemon runs now"), "{said:?}");
    root.run(&["daemon", "--drain"]).ends(0);
    assert_eq!((root.state("A"), root.state("B")), ("pending", "done"));
    let dry = root.run(&["daemon", "--dry-run"]).ends(0).out;
    assert!(!dry.contains("A:"), "{dry}");
    root.run(&["groups", "resume", "gpu"]).ends(0);
    root.run(&["daemon", "--drain"]).ends(0);
    assert_eq!(root.state("A"), "done");
}

#[test]
fn the_list_has_every_group_that_is_named_anywhere() {
    let root = Root::without_git();
    root.order("A", GPU);
    root.order("B", "group: other");
    root.order("C", "");
    root.run(&["groups", "slots", "gpu", "2"]).ends(0);
    root.run(&["groups", "pause", "idle", "--reason", "x"]).ends(0);
    let list = root.run(&["groups"]).ends(0).out;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    let want: [&[&str]; 5] = [
        &["GROUP", "SLOTS", "RUNNING", "PENDING", "PAUSED"],
        &["(none)", "-", "0", "1"],
        &["gpu", "2", "0", "1"],
        &["idle", "-", "0", "0", "x"],
        &["other", "-", "0", "1"],
    ];
    assert_eq!(rows, want);
    let json = root.run(&["groups", "--json"]).ends(0).json();
    let gpu = serde_json::json!({
        "group": "gpu", "slots": 2, "running": 0, "pending": 1, "paused": null,
    });
    assert_eq!((&json["groups"][1], &json["paused"]), (&gpu, &serde_json::Value::Null));
}

#[test]
fn only_what_is_asked_for_changes_in_the_file_and_nothing_where_it_is_so_already() {
    let root = Root::without_git();
    let file = root.path("_ctx/jobyard.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}# mine\n[groups.gpu] # dear\nslots = 2\n# end\n")).unwrap();
    root.run(&["groups", "pause", "gpu", "--reason", "x"]).ends(0);
    let paused = "# mine\n[groups.gpu] # dear\nslots = 2\npaused = \"x\"\n# end\n";
    assert_eq!(config(&root), paused);
    let saved = fs::metadata(&file).unwrap().modified().unwrap();
    let said = root.run(&["groups", "pause", "gpu", "--reason", "x"]).ends(0);
    assert_eq!(said.out, "group gpu is paused: x; unchanged\n");
    root.run(&["groups", "slots", "gpu", "2"]).ends(0);
    root.run(&["groups", "resume", "other"]).ends(0);
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), saved);
    root.run(&["groups", "slots", "gpu", "3"]).ends(0);
    assert_eq!(config(&root), paused.replace("slots = 2", "slots = 3"));
    let names = fs::read_dir(root.path("_ctx")).unwrap().flatten().map(|e| e.file_name());
    let hidden = names.filter(|n| n.to_string_lossy().starts_with('.')).count();
    assert_eq!(hidden, 0, "nothing is left beside it");
}

#[test]
fn what_cannot_be_is_refused_and_the_file_stays() {
    let root = Root::without_git();
    let check = |call: &[&str], code: i32, part: &str| {
        let before = config(&root);
        let said = root.run(call).ends(code);
        assert!(said.err.contains(part) && said.out.is_empty(), "{said:?}");
        assert_eq!(config(&root), before);
    };
    check(&["groups", "slots", "gpu", "0"], 2, "0");
    check(&["groups", "pause"], 2, "NAME");
    check(&["groups", "pause", "gpu", "--all"], 2, "--all");
    let file = root.path("_ctx/jobyard.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}slots = 2\n")).unwrap();
    check(&["groups", "slots", "gpu", "3"], 2, "`groups.gpu.slots` is 3 but `slots` is 2");
    fs::write(&file, format!("{before}slotz = 2\n")).unwrap();
    check(&["groups", "pause", "gpu"], 2, "3:1: unknown key `slotz`");
    fs::write(&file, format!("{before}# a\r\n")).unwrap();
    check(&["groups", "pause", "gpu"], 2, "some lines end in CR LF");
    fs::write(&file, [before.as_bytes(), b"# caf\xe9\n"].concat()).unwrap();
    let said = root.run(&["groups", "pause", "gpu"]).ends(1);
    assert!(said.err.contains("it is not UTF-8"), "{said:?}");
    assert!(fs::read(&file).unwrap().ends_with(b"# caf\xe9\n"));
}
