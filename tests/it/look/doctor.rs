//! `reconcile --apply` and `doctor`: what is repaired, by whom, and what is said of root and machine.

use super::{Said, say};
use crate::yard::{Yard, signal, until};
use rustix::process::Signal;
use serde_json::Value;

fn lines(json: &Value) -> Vec<&str> {
    json["repairs"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect()
}

/// The health of a check, and what to do next.
fn check<'a>(json: &'a Value, name: &str) -> (&'a str, &'a Value) {
    let checks = json["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{json}"));
    (found["health"].as_str().unwrap(), &found["next"])
}

#[test]
fn what_a_killed_daemon_left_is_carried_on_and_nothing_is_started() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.start();
    yard.submit("A", "workspace: none\nrun: 'read line < gate; exit 7'\n");
    until("its command", || !yard.commands().is_empty());
    yard.submit("NEXT", "workspace: none\nrun: touch started\n");
    yard.until_in("done", "NEXT");
    yard.kill();
    yard.submit("LATER", "workspace: none\nrun: touch never\n");
    yard.mv("NEXT", "done", "pending");
    yard.open_gate("gate");
    until("its end", || yard.commands().is_empty());

    let dry = say(&yard, &["reconcile", "--json"]).json();
    let put_back = "NEXT: would put it back from pending/ to done/";
    assert!(lines(&dry).contains(&put_back), "{dry}");
    assert_eq!((yard.places("A"), yard.places("NEXT")), (vec!["running"], vec!["pending"]));

    let Said { code, out, err } = say(&yard, &["reconcile", "--apply"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("repaired:\n"), "{out}");
    assert!(out.contains("  NEXT: put back from pending/ to done/"), "{out}");
    assert_eq!(yard.places("A"), ["failed"], "{out}{}", yard.sight());
    assert_eq!(yard.events("A", "settled")[0]["reason"], "exit-7");
    assert_eq!((yard.places("NEXT"), yard.places("LATER")), (vec!["done"], vec!["pending"]));
    assert!(!yard.path("never").exists());
    let again = say(&yard, &["reconcile", "--apply"]);
    assert!(again.code == 0 && again.out.ends_with("nothing to repair\n"), "{}", again.out);
    assert_eq!(yard.verb(&["audit", "verify"]).0, 0);
}

#[test]
fn a_root_that_is_served_is_left_to_its_daemon() {
    let mut yard = Yard::bare();
    yard.start();
    let json = say(&yard, &["reconcile", "--apply", "--json"]).json();
    assert_eq!((&json["served"], &json["applied"]), (&true.into(), &false.into()));
    let pid = yard.daemon_pid();
    signal(pid, Signal::STOP);
    yard.until("the daemon to freeze", || say(&yard, &["status"]).out.contains("frozen (pid "));
    let Said { code, err, .. } = say(&yard, &["reconcile", "--apply"]);
    assert!(code == 75 && err.contains(&format!("kill -CONT {pid}")), "{code} {err}");
    let json = say(&yard, &["doctor", "--json"]).json();
    assert_eq!(check(&json, "daemon"), ("bad", &format!("kill -CONT {pid}").into()));
    signal(pid, Signal::CONT);
    yard.settle_down("A");
}

#[test]
fn doctor_says_what_is_missing_and_what_to_do() {
    let yard = Yard::bare();
    let said = say(&yard, &["doctor", "--json"]);
    let json = said.json();
    assert_eq!(said.code, 0, "{json}");
    let names: Vec<_> = json["checks"].as_array().unwrap().iter().map(|c| &c["name"]).collect();
    let expected = ["root", "configuration", "room", "git", "watches", "daemon", "ledger"];
    assert_eq!(names, expected);
    assert_eq!(check(&json, "daemon"), ("poor", &"jobyard daemon".into()));
    assert_eq!(check(&json, "git").0, "poor");

    yard.put("_ctx/jobyard.toml", "slotz = 3\n");
    let said = say(&yard, &["doctor", "--json"]);
    let json = said.json();
    assert_eq!((said.code, check(&json, "configuration").0), (7, "bad"), "{json}");
    let person = say(&yard, &["doctor"]).out;
    assert!(
        person.contains("bad     configuration _ctx/jobyard.toml: 1:1: unknown key"),
        "{person}"
    );
    assert!(person.contains("  cause: `_ctx/jobyard.toml` cannot be taken as it is"), "{person}");
}

#[test]
fn a_changed_ledger_is_a_bad_one() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    yard.term();
    let text = yard.text("_ctx/audit/00000001.jsonl").replace("\"intake\"", "\"intoke\"");
    std::fs::write(yard.path("_ctx/audit/00000001.jsonl"), text).unwrap();
    let said = say(&yard, &["doctor", "--json"]);
    assert_eq!(check(&said.json(), "ledger"), ("bad", &"jobyard audit verify".into()));
    assert_eq!(said.code, 7);
}

#[test]
fn a_code_is_explained() {
    let yard = Yard::bare();
    let Said { code, out, .. } = say(&yard, &["doctor", "stale-lease"]);
    assert!(code == 0 && out.starts_with("stale-lease\n  cause: the holder"), "{code} {out}");
    let json = say(&yard, &["doctor", "stale-lease", "--json"]).json();
    assert!(json["cure"].as_str().unwrap().contains("ask the holder"), "{json}");
    let Said { code, err, .. } = say(&yard, &["doctor", "stale"]);
    assert!(code == 3 && err.contains("stale-lease"), "{code} {err}");
}
