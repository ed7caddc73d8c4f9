//! `why`: every unmet condition at once, since when it stands, and what ends it.

use super::{Said, say};
use crate::yard::{Yard, signal};
use jobyard::world::root_lock::{Role, Tried, look, try_lock};
use rustix::process::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

fn why(yard: &Yard, id: &str) -> Value {
    say(yard, &["why", id, "--json"]).json()
}

fn kinds(json: &Value) -> Vec<&str> {
    json["waits"].as_array().unwrap().iter().map(|w| w["kind"].as_str().unwrap()).collect()
}

/// Since when the condition of this kind stands, in milliseconds since 1970.
#[track_caller]
fn since(json: &Value, kind: &str) -> i64 {
    let waits = json["waits"].as_array().unwrap();
    let wait = waits.iter().find(|w| w["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {json}"));
    let text = wait["since"].as_str().unwrap_or_else(|| panic!("{kind}: {json}"));
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

fn line_ms(line: &Value) -> i64 {
    line["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

#[test]
fn full_slots_are_said_beside_everything_else() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"20ms\"\ngrace = \"1s\"\n[groups.gpu]\nslots = 1\n");
    yard.args = vec!["--slots", "1"];
    yard.start();
    yard.fifo("gate");
    yard.submit("A", "run: cat gate\nworkspace: none\ngroup: gpu\n");
    yard.until_in("running", "A");
    yard.submit("B", "run: 'true'\nworkspace: none\ngroup: gpu\nhold: budget\n");
    yard.until("B seen", || !yard.events("B", "intake").is_empty());
    let json = why(&yard, "B");
    assert_eq!(kinds(&json), ["held", "slot", "slot"], "{json}");
    let text = json["waits"].to_string();
    assert!(text.contains("1 of 1 slots of group gpu are taken"), "{text}");
    assert!(text.contains("1 of 1 slots are taken"), "{text}");
    let intake = line_ms(&yard.events("B", "intake")[0]);
    assert_eq!(since(&json, "slot"), intake);
    yard.open_gate("gate");
    yard.until_in("done", "A");
}

#[test]
fn slots_that_fill_later_are_taken_since_then() {
    let mut yard = Yard::bare();
    yard.args = vec!["--slots", "1"];
    yard.start();
    yard.submit("B", "run: 'true'\nworkspace: none\nnot_before: '2199-01-01'\n");
    yard.until("B seen", || !yard.events("B", "intake").is_empty());
    yard.fifo("gate");
    yard.submit("A", "run: cat gate\nworkspace: none\n");
    yard.until_in("running", "A");
    let json = why(&yard, "B");
    assert_eq!(kinds(&json), ["not-before", "slot"], "{json}");
    assert_eq!(since(&json, "not-before"), line_ms(&yard.events("B", "intake")[0]));
    assert_eq!(since(&json, "slot"), line_ms(&yard.events("A", "claiming")[0]));
    yard.open_gate("gate");
    yard.until_in("done", "A");
}

#[test]
fn an_order_in_a_cycle_shows_what_else_keeps_it() {
    let yard = Yard::bare();
    yard.submit("A", "run: 'true'\ndependencies: [B, C]\nhold: budget\nnot_before: '2199-01-01'\n");
    yard.submit("B", "run: 'true'\ndependencies: [A]\n");
    let json = why(&yard, "A");
    // That it needs B is said by the cycle.
    assert_eq!(
        kinds(&json),
        ["refused", "held", "not-before", "dependency", "no-daemon"],
        "{json}"
    );
    assert!(json["waits"][0]["text"].as_str().unwrap().contains("cycle"), "{json}");
    assert_eq!(json["waits"][3]["upstream"], "C");
}

#[test]
fn a_frozen_daemon_starts_nothing_and_is_called_so() {
    let mut yard = Yard::bare();
    yard.start();
    let pid = yard.daemon_pid();
    signal(pid, Signal::STOP);
    yard.until("the daemon to freeze", || say(&yard, &["status"]).out.contains("frozen (pid "));
    yard.submit("A", "run: 'true'\nworkspace: none\n");
    let json = why(&yard, "A");
    assert_eq!(kinds(&json), ["frozen-daemon"], "{json}");
    assert_eq!(json["waits"][0]["release"], format!("`kill -CONT {pid}`"));
    assert!(json["waits"][0]["since"].is_string(), "{json}");
    let Said { out, .. } = say(&yard, &["why", "A"]);
    assert!(out.contains("the daemon is frozen") && !out.contains("about to start"), "{out}");
    let Said { out, .. } = say(&yard, &["list"]);
    assert!(out.contains("the daemon is frozen") && !out.contains("about to start"), "{out}");
    signal(pid, Signal::CONT);
    yard.until_in("done", "A");
}

#[test]
fn an_order_that_was_begun_and_whose_ticket_is_gone_is_still_seen() {
    let mut yard = Yard::bare();
    yard.start();
    yard.fifo("gate");
    yard.submit("A", "run: cat gate\nworkspace: none\n");
    yard.until("its start", || !yard.commands().is_empty());
    std::fs::remove_file(yard.path(Yard::ticket("running", "A"))).unwrap();
    let Said { out, .. } = say(&yard, &["list"]);
    assert!(out.contains("missing") && out.contains("jobyard cancel"), "{out}");
    assert_eq!(say(&yard, &["status", "--json"]).json()["counts"]["missing"], 1);
    let Said { out, .. } = say(&yard, &["why", "A"]);
    assert!(out.contains("its ticket is gone"), "{out}");
    let said = say(&yard, &["wait", "--all", "--timeout", "0"]);
    assert_ne!(said.code, 0, "{}", said.out);
    assert_eq!(yard.verb(&["cancel", "A"]).0, 0, "{}", yard.sight());
}

/// The kernel shows more locks than fit a page in pieces, and each one that goes meanwhile hides another.
#[test]
fn the_holder_is_found_among_many_locks_that_come_and_go() {
    let yard = Yard::bare();
    let file = |n: u32| std::fs::File::create(yard.path(format!("lock-{n}"))).unwrap();
    let others: Vec<_> = (0..200).map(file).collect();
    others.iter().for_each(|f| f.lock().unwrap());
    let Tried::Held(_lock) = try_lock(&yard.root, Role::Daemon, "").unwrap() else {
        panic!("not held")
    };
    let ended = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                others.iter().for_each(|f| f.unlock().unwrap());
                others.iter().for_each(|f| f.lock().unwrap());
            }
        });
        let found = (0..2000).filter(|_| look(&yard.root).unwrap().is_some()).count();
        ended.store(true, Ordering::Relaxed);
        found
    });
    assert_eq!(found, 2000);
}

#[test]
fn a_hold_stands_since_it_was_written() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "run: 'true'\nworkspace: none\nhold: budget\n");
    yard.until("A seen", || !yard.events("A", "intake").is_empty());
    // Edited later, with the same word for the second time.
    let file = std::fs::File::options().append(true).open(yard.path("_ctx/jobs/pending/A.yaml"));
    let later = SystemTime::now() + Duration::from_secs(3600);
    file.unwrap().set_modified(later).unwrap();
    let expected = later.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    assert_eq!(i128::from(since(&why(&yard, "A"), "held")), expected as i128);
    assert_eq!(say(&yard, &["unhold", "A", "--json"]).code, 0);
    yard.until_in("done", "A");
    yard.submit("B", "run: 'true'\nworkspace: none\nnot_before: '2199-01-01'\n");
    assert_eq!(say(&yard, &["hold", "B", "--reason", "later"]).code, 0);
    assert_eq!(since(&why(&yard, "B"), "held"), line_ms(&yard.events("B", "held")[0]));
}

#[test]
fn no_daemon_runs_since_the_last_one_ended() {
    let mut yard = Yard::bare();
    yard.submit("A", "run: 'true'\nworkspace: none\nhold: budget\n");
    yard.start();
    yard.settle_down("Z");
    let last = line_ms(yard.ledger().last().unwrap());
    yard.term();
    let json = why(&yard, "A");
    assert_eq!(kinds(&json), ["held", "no-daemon"], "{json}");
    assert!(since(&json, "no-daemon") >= last, "{json} {last}");
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    assert!(since(&why(&yard, "B"), "no-daemon") >= since(&json, "no-daemon"));
}
