//! `list`, `status`, `show`, `why`: for people and for machines.

use super::{say, settled, verb};
use crate::yard::{Yard, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::process::Stdio;

/// Orders in every state, no daemon.
fn many() -> Yard {
    let mut yard = Yard::git();
    yard.submit("A-done", "run: echo hello\nworkspace: none\nverify: {commands: [test -d .]}\n");
    yard.submit("B-bad", "run: exit 3\nworkspace: none\n");
    yard.submit("C-unverified", "run: 'true'\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    yard.start();
    yard.fifo("gate");
    yard.submit("D-runs", "run: ['cat gate', echo more]\nworkspace: none\n");
    yard.until_in("running", "D-runs");
    yard.submit("E-first", "priority: critical\nrun: 'true'\nnot_before: '2199-01-01'\n");
    yard.submit("F-waits", "run: 'true'\ndependencies: [B-bad, D-runs, Z-none]\n");
    yard.submit("G-held", "run: 'true'\nhold: budget\n");
    yard.submit("H-manual", "");
    yard.put("_ctx/jobs/pending/I-broken.yaml", "id: I-broken\n");
    yard.until("I-broken's explanation", || !yard.why("pending", "I-broken").is_empty());
    yard
}

fn ids(json: &Value) -> Vec<&str> {
    json["orders"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap()).collect()
}

#[test]
fn list_goes_from_running_to_queued_to_settled() {
    let yard = many();
    let json = say(&yard, &["list", "--json"]).json();
    assert_eq!(json["schema"], "jobyard.list.v1");
    let all = ids(&json);
    let (queued, rest) = (&all[..2], &all[2..6]);
    assert_eq!(queued, ["D-runs", "E-first"]);
    assert_eq!(rest, ["F-waits", "G-held", "H-manual", "I-broken"]);
    let mut ended = all[6..].to_vec();
    ended.sort_unstable();
    assert_eq!(ended, ["A-done", "B-bad", "C-unverified"]);
    let words: Vec<&str> =
        json["orders"].as_array().unwrap().iter().map(|o| o["word"].as_str().unwrap()).collect();
    assert_eq!(&words[..6], ["running", "pending", "pending", "pending", "pending", "refused"]);
    let held = say(&yard, &["list", "--state", "pending", "--json"]).json();
    assert_eq!(ids(&held).len(), 5);
    assert_eq!(say(&yard, &["list", "--state", "gone"]).code, 2);
    yard.open_gate("gate");
}

#[test]
fn list_for_people_fits_and_is_safe() {
    let yard = Yard::bare();
    yard.publish(
        "_ctx/jobs/pending/W.yaml",
        "id: W\ntitle: \"漢字漢字 \\e[31m red\\nnext\"\nrun: a\n",
    );
    let long = format!("id: L\ntitle: {}\nrun: a\n", "long ".repeat(60));
    yard.publish("_ctx/jobs/pending/L.yaml", &long);
    for columns in ["60", "80"] {
        let out = verb(&yard, &["list"]).env("COLUMNS", columns).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("\\u{1b}[31m red\\nnext") || columns == "60", "{text}");
        let most: usize = columns.parse().unwrap();
        let wide = |c: char| if ('\u{2e80}'..'\u{a000}').contains(&c) { 2 } else { 1 };
        for line in text.lines() {
            assert!(line.chars().map(wide).sum::<usize>() <= most, "{columns}: {line}");
        }
    }
}

#[test]
fn status_counts_and_says_who_serves() {
    let mut yard = many();
    let json = say(&yard, &["status", "--json"]).json();
    assert_eq!(json["schema"], "jobyard.status.v1");
    let counts = &json["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!([count("pending"), count("running"), count("done"), count("failed")], [5, 1, 2, 1]);
    assert_eq!([count("refused"), count("unverified"), count("skipped")], [1, 1, 0]);
    assert_eq!(json["daemon"]["up"], true);
    assert_eq!(json["daemon"]["pid"], yard.daemon_pid());
    assert_eq!((&json["slots"]["taken"], &json["slots"]["limit"]), (&1.into(), &4.into()));
    assert_eq!(json["running"][0]["id"], "D-runs");
    assert_eq!(json["running"][0]["command"], "cat gate");
    assert!(json["running"][0]["command_age_ms"].as_i64().unwrap() >= 0);
    let text = say(&yard, &["status"]).out;
    for part in ["up (pid ", "1 of 4 taken", "(1 refused)", "(1 unverified)", "run 1/2: cat gate"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    yard.open_gate("gate");
    yard.until_in("done", "D-runs");
    yard.term();
    let json = say(&yard, &["status", "--json"]).json();
    assert_eq!(json["daemon"]["up"], false);
    assert!(say(&yard, &["status"]).out.contains("down; `jobyard daemon` starts it"));
}

#[test]
fn results_are_counted_of_settled_orders_only() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"20ms\"\npaused = true\n");
    yard.start();
    yard.submit("A", "workspace: none\nrun: 'true'\n");
    let cancelled =
        || say(&yard, &["status", "--json"]).json()["counts"]["cancelled"].as_u64().unwrap();
    assert_eq!(yard.verb(&["cancel", "A"]).0, 0);
    assert_eq!((yard.places("A"), cancelled()), (vec!["failed"], 1));
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0);
    assert_eq!((yard.places("A"), cancelled()), (vec!["pending"], 0));
}

#[test]
fn show_tells_everything_and_single_facts() {
    let yard = many();
    let json = say(&yard, &["show", "A-done", "--json"]).json();
    assert_eq!((&json["schema"], &json["state"]), (&"jobyard.show.v1".into(), &"done".into()));
    let attempt = &json["attempts"][0];
    assert_eq!(attempt["commands"][0]["log"], "_ctx/runs/A-done/1/01-run.log");
    assert!(attempt["verdict"].as_str().unwrap().starts_with("PASS"));
    let text = say(&yard, &["show", "A-done"]).out;
    for part in ["done", "pass", "attempt 1", "01", "exit 0", "_ctx/runs/A-done/1/"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let field = |id: &str, name: &str| {
        let said = say(&yard, &["show", id, "--field", name]);
        (said.code, said.out.trim_end().to_owned())
    };
    let path = |name: &str| yard.path(name).display().to_string();
    assert_eq!(field("E-first", "branch"), (0, "feat/wo-E-first".to_owned()));
    assert_eq!(field("E-first", "worktree"), (0, path(".worktrees/E-first")));
    assert_eq!(field("D-runs", "lease"), (0, path("_ctx/jobs/running/D-runs.lock")));
    assert_eq!(field("D-runs", "state"), (0, "running".to_owned()));
    assert_eq!(field("B-bad", "attempt"), (0, "1".to_owned()));
    assert_eq!(field("B-bad", "result"), (0, "fail".to_owned()));
    assert_eq!(field("E-first", "lease").0, 3);
    assert_eq!(field("A-done", "branch").0, 3);
    assert_eq!(say(&yard, &["show", "A-done", "--field", "colour"]).code, 2);
    yard.open_gate("gate");
}

#[test]
fn why_names_what_is_missing_and_what_releases_it() {
    let yard = many();
    let why = |id: &str| say(&yard, &["why", id, "--json"]).json();
    let kinds = |json: &Value| -> Vec<String> {
        let waits = json["waits"].as_array().unwrap();
        waits.iter().map(|w| w["kind"].as_str().unwrap().to_owned()).collect()
    };
    let waiting = why("F-waits");
    assert_eq!(waiting["schema"], "jobyard.why.v1");
    assert_eq!(kinds(&waiting), ["dependency", "dependency", "dependency"]);
    let text = waiting["waits"].to_string();
    for part in [
        "B-bad, which is failed: that can no longer happen",
        "requeue B-bad",
        "Z-none, which is unknown",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(waiting["waits"][0]["since"].is_string());
    assert_eq!(kinds(&why("E-first")), ["not-before"]);
    assert_eq!(kinds(&why("G-held")), ["held"]);
    assert_eq!(kinds(&why("H-manual")), ["manual"]);
    let refused = why("I-broken");
    assert_eq!(
        (kinds(&refused), &refused["word"]),
        (vec!["refused".to_owned()], &"refused".into())
    );
    assert!(refused["why_file"].as_str().unwrap().starts_with("refused: "));
    let text = say(&yard, &["why", "G-held"]).out;
    for part in ["held: budget", "since 2", "released by: `jobyard unhold G-held`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(say(&yard, &["why", "D-runs"]).out.contains("is running: run 1/2: cat gate"));
    assert!(say(&yard, &["why", "B-bad"]).out.contains("is in failed/"));
    yard.open_gate("gate");
}

#[test]
fn why_knows_slots_and_a_missing_daemon() {
    let mut yard = Yard::bare();
    yard.args = vec!["--slots", "1"];
    yard.submit("WO-1", "run: cat gate\nworkspace: none\n");
    yard.fifo("gate");
    let why = |yard: &Yard, id: &str| say(yard, &["why", id]).out;
    assert!(why(&yard, "WO-1").contains("no daemon runs"), "{}", why(&yard, "WO-1"));
    yard.start();
    yard.until_in("running", "WO-1");
    yard.submit("WO-2", "run: 'true'\nworkspace: none\n");
    yard.until("WO-2 seen", || !yard.events("WO-2", "intake").is_empty());
    assert!(why(&yard, "WO-2").contains("1 of 1 slots are taken"), "{}", why(&yard, "WO-2"));
    yard.open_gate("gate");
    yard.until_in("done", "WO-2");
}

#[test]
fn an_upstream_order_without_checks_is_called_unverified() {
    let yard = Yard::bare();
    yard.configure("settle = \"20ms\"\n[dependencies]\nrequire_checks = true\n");
    yard.submit("U", "run: 'true'\nworkspace: none\n");
    yard.submit("A", "run: 'true'\nworkspace: none\ndependencies: [U]\n");
    assert_eq!(yard.drain(), 0);
    let said = say(&yard, &["why", "A"]).out;
    assert!(said.contains("success of U, which is done but unverified"), "{said}");
    assert!(said.contains("an order with checks in place of U"), "{said}");
}

#[test]
fn names_that_are_no_tickets_are_counted_apart() {
    let yard = Yard::bare();
    yard.put("_ctx/jobs/pending/a.yml", "");
    yard.put("_ctx/jobs/pending/B.yaml", "id: B\n");
    let counts = say(&yard, &["status", "--json"]).json()["counts"].clone();
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!([count("pending"), count("refused"), count("misnamed")], [1, 1, 1]);
    let text = say(&yard, &["status"]).out;
    assert!(text.contains("1 pending (1 refused)") && text.contains(", 1 misnamed"), "{text}");
}

#[test]
fn an_empty_root_of_the_environment_is_none() {
    let yard = Yard::bare();
    let mut list = std::process::Command::new(&yard.program);
    list.arg("list").current_dir(&yard.root).env("JOBYARD_ROOT", "");
    let out = list.output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

#[test]
fn a_frozen_daemon_is_called_so_and_holds_nobody_up() {
    let mut yard = Yard::bare();
    yard.start();
    signal(yard.daemon_pid(), Signal::STOP);
    yard.until("the daemon to freeze", || say(&yard, &["status"]).out.contains("frozen (pid "));
    let json = say(&yard, &["status", "--json"]).json();
    assert_eq!((&json["daemon"]["up"], &json["daemon"]["frozen"]), (&true.into(), &true.into()));
    assert_eq!(say(&yard, &["list"]).code, 0);
    signal(yard.daemon_pid(), Signal::CONT);
}

#[test]
fn unknown_ids_are_not_found() {
    let yard = Yard::bare();
    for args in [
        &["show", "NO-1"][..],
        &["why", "NO-1"],
        &["wait", "NO-1"],
        &["logs", "NO-1"],
        &["audit", "show", "NO-1"],
    ] {
        let said = say(&yard, args);
        assert_eq!((said.code, said.out.as_str()), (3, ""), "{args:?}: {}", said.err);
        assert!(said.err.contains("NO-1"), "{args:?}: {}", said.err);
    }
    assert_eq!(say(&yard, &["show", "../x y"]).code, 2);
}

#[test]
fn ends_that_are_no_failure_of_the_work_are_called_so() {
    let yard = Yard::bare();
    yard.put(LEDGER, "");
    for (id, result) in [("C", "cancelled"), ("S", "skipped"), ("L", "fail")] {
        let reason = if id == "L" { "  reason: lost\n" } else { "" };
        let text = settled(id, "failed", "").replace("result: pass", &format!("result: {result}"));
        yard.put(
            &Yard::ticket("failed", id),
            &text.replace("x_jobyard:\n", &format!("x_jobyard:\n{reason}")),
        );
    }
    let json = say(&yard, &["list", "--json"]).json();
    let word = |id: &str| {
        let all = json["orders"].as_array().unwrap();
        all.iter().find(|o| o["id"] == id).unwrap()["word"].clone()
    };
    assert_eq!([word("C"), word("S"), word("L")], ["cancelled", "skipped", "lost"]);
}

const LEDGER: &str = "_ctx/audit/00000001.jsonl";

#[test]
fn a_reader_that_goes_is_no_failure() {
    let yard = Yard::bare();
    for n in 0..3000 {
        yard.put(&format!("_ctx/jobs/pending/WO-{n}.yaml"), &format!("id: WO-{n}\ntitle: T\n"));
    }
    let mut child =
        verb(&yard, &["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_root_without_anything_can_be_looked_at() {
    let yard = Yard::bare();
    std::fs::remove_dir_all(yard.path("_ctx/jobs")).unwrap();
    for args in [&["list"][..], &["status"], &["lint"], &["audit", "verify"], &["audit", "show"]] {
        let said = say(&yard, args);
        assert_eq!(said.code, 0, "{args:?}: {}", said.err);
    }
    assert!(!yard.path("_ctx/jobs").exists() && !yard.path("_ctx/runs").exists());
}
