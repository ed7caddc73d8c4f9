//! A daemon holds the root: the verb asks and waits for its answer.

use super::root::{Root, until};
use std::fs;

#[test]
fn the_daemon_answers_what_the_verb_would_have_done() {
    let root = Root::new();
    let _daemon = root.daemon();
    root.order("A", "verify: {commands: ['test -f README']}");
    root.order("B", "dependencies: [A]");
    let blocked = root.run(&["take", "B"]).ends(4);
    assert!(blocked.err.contains("success of A"), "{blocked:?}");
    let said = root.run(&["take", "A", "--owner", "ann"]).ends(0);
    assert!(said.out.contains("Worktree:  .worktrees/A\n  Owner:     ann\n"), "{said:?}");
    root.run(&["take", "A"]).ends(5);
    let done = root.run_in(".worktrees/A", &["finish"]).ends(0);
    assert!(done.out.contains("PASS"), "{done:?}");
    root.run(&["hold", "B"]).ends(0);
    root.run(&["unhold", "B"]).ends(0);
    root.run(&["cancel", "B"]).ends(0);
    root.run(&["requeue", "B"]).ends(0);
    root.run(&["take", "NONE"]).ends(3);
    assert_eq!(root.requests(), Vec::<String>::new());
}

#[test]
fn a_running_order_is_held_by_the_daemon_until_it_is_cancelled() {
    let root = Root::new();
    let _daemon = root.daemon();
    root.order("A", "run: 'sleep 600'");
    until("it runs", || root.has_lock("A") && root.state("A") == "running");
    let said = root.run(&["take", "A"]).ends(5);
    assert!(said.err.contains("the daemon runs it"), "{said:?}");
    assert!(said.err.contains("jobyard cancel A"), "{said:?}");
    let refused = root.run(&["finish", "A"]).ends(4);
    assert!(refused.err.contains("--stop"), "{refused:?}");
    root.run(&["heartbeat", "A"]).ends(5);
    root.run(&["cancel", "A", "--wait", "60"]).ends(0);
    assert_eq!((root.state("A"), root.has_lock("A")), ("failed", false));
}

#[test]
fn finish_with_stop_ends_the_commands_first() {
    let root = Root::new();
    let _daemon = root.daemon();
    root.order("A", "run: 'sleep 600'\nverify: {commands: ['test -f README']}");
    until("it runs", || root.path("_ctx/runs/A/1/01-run.log").exists());
    root.run(&["finish", "A", "--stop", "--wait", "60"]).ends(0);
    assert_eq!(root.state("A"), "done");
}

#[test]
fn a_finish_that_takes_long_is_filed_and_carried_out() {
    let root = Root::new();
    let _daemon = root.daemon();
    let gate = root.path("gate");
    let check = format!("until test -f {}; do sleep 0.02; done", gate.display());
    root.order("A", &format!("verify: {{commands: ['{check}']}}"));
    root.run(&["take", "A"]).ends(0);
    let said = root.run(&["finish", "A", "--wait", "1"]).ends(75);
    assert!(said.err.contains("filed"), "{said:?}");
    fs::write(gate, "").unwrap();
    until("it is done", || root.state("A") == "done");
}

#[test]
fn of_ten_takers_exactly_one_wins() {
    let root = Root::new();
    let _daemon = root.daemon();
    let rounds = std::env::var("JOBYARD_ROUNDS").map_or(3, |n| n.parse().unwrap());
    for round in 0..rounds {
        let id = format!("A{round}");
        root.order(&id, "");
        let takers: Vec<_> = (0..10).map(|_| root.begin(&["take", &id, "--wait", "60"])).collect();
        let mut codes: Vec<i32> = takers.into_iter().map(|t| t.wait().code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 5, 5, 5, 5, 5, 5, 5, 5, 5], "round {round}");
    }
}
