//! A worktree that is inherited, and one that something stands in the way of.

use crate::yard::Yard;
use std::process::Command;

const HEIR: &str = "workspace: {inherit: A}\nverify: {commands: ['test -f src/a.txt']}\n";

#[test]
fn nobody_inherits_from_an_order_that_is_not_there() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("B", &format!("{HEIR}run: 'true'\n"));
    yard.settle_down("C");
    assert_eq!(yard.places("B"), ["pending"]);
    let (_, said) = yard.verb(&["why", "B"]);
    assert!(said.contains("inherits the worktree of A, and there is no such order"), "{said}");
    assert!(!yard.path(".worktrees/A").exists());
    assert_eq!(yard.run_git(".", &["branch", "--list", "feat/*"]), "");
    let (code, said) = yard.verb(&["take", "B"]);
    assert_eq!(code, 4, "{said}");
}

#[test]
fn an_heir_waits_until_the_worktree_is_free() {
    let mut yard = Yard::git();
    yard.fifo("gate");
    yard.start();
    yard.submit("A", "run: 'read go < $JOBYARD_ROOT/gate; test -e nothing.tmp'\n");
    yard.until_in("running", "A");
    yard.submit("B", &format!("{HEIR}run: 'pwd > here.tmp; read go < $JOBYARD_ROOT/gate'\n"));
    yard.settle_down("C");
    assert_eq!(yard.places("B"), ["pending"]);
    let (_, said) = yard.verb(&["why", "B"]);
    assert!(said.contains("the worktree of A, which is running"), "{said}");
    yard.open_gate("gate");
    yard.until_in("failed", "A");
    yard.until_in("running", "B");
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0);
    yard.settle_down("D");
    assert_eq!(yard.places("A"), ["pending"], "B works in its worktree");
    yard.open_gate("gate");
    yard.until_in("done", "B");
    assert_eq!(yard.key("done", "B", "worktree"), ".worktrees/A");
    assert_eq!(
        yard.text(".worktrees/A/here.tmp").trim(),
        yard.path(".worktrees/A").display().to_string()
    );
    yard.open_gate("gate");
    yard.until_in("failed", "A");
}

#[test]
fn an_order_without_a_worktree_leaves_none() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("A", "run: 'true'\nhold: later\n");
    yard.submit("B", &format!("{HEIR}run: 'true'\n"));
    yard.until("the explanation", || yard.why("pending", "B").contains("A has no worktree"));
    assert_eq!(yard.verb(&["unhold", "A"]).0, 0);
    yard.until_in("done", "A");
    yard.until_in("done", "B");
    assert_eq!(yard.why("pending", "B"), "");
}

#[test]
fn finish_in_an_inherited_worktree_means_the_heir() {
    let yard = Yard::git();
    yard.submit("A", "verify: {commands: ['test -f src/a.txt']}\n");
    assert_eq!(yard.verb(&["take", "A"]).0, 0);
    assert_eq!(yard.verb(&["finish", "A"]).0, 0);
    yard.submit("B", HEIR);
    assert_eq!(yard.verb(&["take", "B"]).0, 0);
    let mut finish = Command::new(&yard.program);
    finish.arg("finish").current_dir(yard.path(".worktrees/A/src"));
    let out = finish.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(yard.places("B"), ["done"]);
}

#[test]
fn what_is_moved_aside_is_on_record() {
    let yard = Yard::git();
    yard.put(".worktrees/A/keep", "mine\n");
    yard.submit("A", "verify: {commands: ['test -f src/a.txt']}\n");
    assert_eq!(yard.verb(&["take", "A"]).0, 0);
    let moved = yard.events("A", "moved-aside").pop().unwrap();
    assert_eq!(moved["from"], ".worktrees/A");
    let kept = format!("{}/keep", moved["to"].as_str().unwrap());
    assert_eq!(yard.text(&kept), "mine\n");
    let log = yard.text("_ctx/runs/A/execution.log");
    assert!(log.contains("| MOVED_ASIDE     | what stood at .worktrees/A is now"), "{log}");
}
