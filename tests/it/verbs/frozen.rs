//! The daemon holds the root and does not answer: nobody waits for ever, nobody holds by accident.

use super::root::{Root, until};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_take_that_is_not_answered_is_withdrawn_and_never_granted() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "");
    root.run(&["hold", "A"]).ends(0);
    root.run(&["unhold", "A"]).ends(0);
    daemon.freeze();
    let begun = Instant::now();
    let said = root.run(&["take", "A", "--wait", "1"]).ends(75);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(said.err.contains("withdrawn") && said.err.contains("daemon pid"), "{said:?}");
    assert_eq!(root.requests(), Vec::<String>::new());
    daemon.thaw();
    // The daemon answers in order, so whatever it made of the take is over with this answer.
    root.run(&["hold", "A"]).ends(0);
    assert_eq!((root.state("A"), root.has_lock("A")), ("pending", false));
    assert!(!root.path("_ctx/runs/A/1").exists());
    root.run(&["unhold", "A"]).ends(0);
    root.run(&["take", "A"]).ends(0);
}

#[test]
fn an_interrupted_take_is_withdrawn_too() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "");
    daemon.freeze();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let taking = root.begin(&["take", "A", "--wait", "60"]);
        until("the request is filed", || !root.requests().is_empty());
        taking.signal(signal);
        let said = taking.wait().ends(75);
        assert!(said.err.contains("interrupted"), "{said:?}");
        assert_eq!(root.requests(), Vec::<String>::new());
    }
}

#[test]
fn everything_else_is_filed_and_carried_out_later() {
    let root = Root::new();
    let daemon = root.daemon();
    for id in ["A", "B", "C"] {
        root.order(id, "");
    }
    root.run(&["take", "A"]).ends(0);
    root.run(&["hold", "C"]).ends(0);
    daemon.freeze();
    for verb in [["finish", "A"], ["cancel", "B"], ["unhold", "C"]] {
        let said = root.run(&[verb[0], verb[1], "--wait", "0"]).ends(75);
        assert!(said.err.contains("filed"), "{said:?}");
    }
    assert_eq!(root.requests().len(), 3);
    daemon.thaw();
    until("all is carried out", || {
        root.state("A") == "done"
            && root.state("B") == "failed"
            && !root.ticket("C").contains("hold:")
    });
}

#[test]
fn what_asks_nobody_works_as_ever() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "");
    root.run(&["take", "A"]).ends(0);
    daemon.freeze();
    root.run(&["heartbeat", "A"]).ends(0);
    fs::write(root.path("b.yaml"), "id: B\ntitle: t\n").unwrap();
    root.run(&["submit", "b.yaml"]).ends(0);
    root.run(&["init"]).ends(0);
    root.run(&["take", "--list"]).ends(0);
    root.run(&["take", "--status"]).ends(0);
}

#[test]
fn a_take_that_was_granted_before_it_could_be_withdrawn_counts() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "");
    daemon.freeze();
    let taking = root.begin(&["take", "A", "--wait", "1"]);
    until("the request is filed", || !root.requests().is_empty());
    // What the daemon does as the last step of a claim.
    let file = root.requests().remove(0);
    fs::create_dir_all(root.path("_ctx/runs/A/1")).unwrap();
    let to = root.path(&format!("_ctx/runs/A/1/{file}"));
    fs::rename(root.path(&format!("_ctx/jobs/control/{file}")), to).unwrap();
    let said = taking.wait().ends(0);
    assert!(said.out.contains("Taken Successfully"), "{said:?}");
}

#[test]
fn a_daemon_that_dies_meanwhile_is_stood_in_for() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "verify: {commands: ['test -f README']}");
    daemon.freeze();
    let taking = root.begin(&["take", "A", "--wait", "60"]);
    until("the request is filed", || !root.requests().is_empty());
    daemon.kill();
    taking.wait().ends(0);
    let daemon = root.daemon();
    daemon.freeze();
    let finishing = root.begin(&["finish", "A", "--wait", "60"]);
    until("the request is filed", || !root.requests().is_empty());
    daemon.kill();
    finishing.wait().ends(0);
    assert_eq!((root.state("A"), root.requests()), ("done", Vec::new()));
}

#[test]
fn what_a_dead_daemon_left_running_is_ended_by_the_verb() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "run: 'sleep 600'");
    root.order("B", "run: 'sleep 600'\nverify: {commands: ['test -f README']}");
    for id in ["A", "B"] {
        until("it runs", || root.path(&format!("_ctx/runs/{id}/1/01-run.log")).exists());
    }
    daemon.kill();
    root.run(&["take", "A"]).ends(5);
    root.run(&["finish", "B"]).ends(4);
    root.run(&["cancel", "A"]).ends(0);
    root.run(&["finish", "B", "--stop"]).ends(0);
    assert_eq!((root.state("A"), root.state("B")), ("failed", "done"));
    assert!(!root.has_lock("A") && !root.has_lock("B"));
}

#[test]
fn an_order_that_is_not_there_is_not_found_also_while_the_daemon_is_frozen() {
    let root = Root::new();
    let daemon = root.daemon();
    root.order("A", "");
    daemon.freeze();
    for verb in ["take", "finish", "cancel", "requeue", "hold", "unhold"] {
        let begun = Instant::now();
        let said = root.run(&[verb, "NONE", "--wait", "60"]).ends(3);
        assert!(begun.elapsed() < Duration::from_secs(30) && said.err.contains("NONE"), "{said:?}");
    }
    root.run(&["hold", "A", "--wait", "0"]).ends(75);
    daemon.thaw();
}
