//! The seven promises about branches, worktrees and locks that older tools made, under the names that
//! their tests had.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::Yard;
use jobyard::model::id::OrderId;
use std::fs;
use std::process::Command;

/// A repository in which somebody has taken an order.
fn taken() -> Yard {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("WO-0013", "");
    yard.ask("WO-0013.take", "");
    assert_eq!(yard.answer("WO-0013", "take")["code"], 0, "{}", yard.sight());
    yard
}

/// Makes a file look untouched for two hours.
fn age(yard: &Yard, name: &str) {
    let mut touch = Command::new("touch");
    assert!(touch.args(["-d", "2 hours ago"]).arg(yard.path(name)).status().unwrap().success());
}

#[test]
fn branch_generation() {
    assert_eq!(OrderId::parse("WO-0013").unwrap().branch(), "feat/wo-WO-0013");
    let yard = taken();
    yard.run_git(".", &["rev-parse", "--verify", "refs/heads/feat/wo-WO-0013"]);
    assert_eq!(yard.key("running", "WO-0013", "branch"), "feat/wo-WO-0013");
}

#[test]
fn worktree_path_generation() {
    assert_eq!(OrderId::parse("WO-0013").unwrap().worktree(), ".worktrees/WO-0013");
    let yard = taken();
    assert!(yard.path(".worktrees/WO-0013/src/a.txt").exists());
    assert_eq!(yard.key("running", "WO-0013", "worktree"), ".worktrees/WO-0013");
}

#[test]
fn lock_creation() {
    let yard = taken();
    let lock = yard.text("_ctx/jobs/running/WO-0013.lock");
    let lines: Vec<&str> = lock.lines().collect();
    assert!(lines[0].starts_with("Locked by jobyard take at 20"), "{lock}");
    assert_eq!(lines[1], format!("PID: {}", yard.daemon_pid()));
    assert!(lines[2].starts_with("User: ") && lines[3].starts_with("Hostname: "), "{lock}");
    yard.ask("WO-0013.take.00000000000000aa", "");
    let answers = yard.answers("WO-0013", "take", 2);
    assert_eq!(answers[1]["code"], 5, "{}", answers[1]);
    assert_eq!(yard.text("_ctx/jobs/running/WO-0013.lock"), lock);
    let names = fs::read_dir(yard.path("_ctx/jobs/running")).unwrap();
    let strange = |name: &String| !name.starts_with("WO-0013.") && !name.starts_with(".lease");
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(strange).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn lock_age_detection() {
    let mut yard = taken();
    let takeover = "{takeover: true, reason: nobody is there}";
    yard.ask("WO-0013.take.00000000000000aa", takeover);
    assert_eq!(yard.answers("WO-0013", "take", 2)[1]["code"], 5, "fresh");
    for name in ["index", "HEAD", "logs/HEAD"] {
        age(&yard, &format!(".git/worktrees/WO-0013/{name}"));
    }
    age(&yard, ".worktrees/WO-0013");
    age(&yard, "_ctx/jobs/running/WO-0013.lock");
    yard.ask("WO-0013.take.00000000000000bb", "");
    assert_eq!(yard.answers("WO-0013", "take", 3)[2]["code"], 5, "age alone is not death");
    yard.ask("WO-0013.take.00000000000000cc", takeover);
    assert_eq!(yard.answers("WO-0013", "take", 4)[3]["code"], 5, "times of files kill nobody");
    yard.configure("settle = \"20ms\"\nstale_after = \"1ms\"\n");
    yard.term();
    yard.start();
    yard.ask("WO-0013.take.00000000000000dd", takeover);
    assert_eq!(yard.answers("WO-0013", "take", 5)[4]["code"], 0, "{}", yard.sight());
    yard.until("the next attempt", || {
        yard.text("_ctx/jobs/running/WO-0013.lock").contains("\nAttempt: 2\n")
    });
    assert!(yard.text("_ctx/runs/WO-0013/1/lock").contains("\nAttempt: 1\n"));
}

#[test]
fn worktree_creation() {
    let yard = taken();
    let (main, branch) = ("main", "feat/wo-WO-0013");
    assert_eq!(yard.run_git(".", &["rev-parse", main]), yard.run_git(".", &["rev-parse", branch]));
    let here = yard.run_git(".worktrees/WO-0013", &["symbolic-ref", "--short", "HEAD"]);
    assert_eq!(here, branch);
    assert_eq!(yard.run_git(".worktrees/WO-0013", &["status", "--porcelain"]), "");
    assert_eq!(yard.run_git(".", &["symbolic-ref", "--short", "HEAD"]), main);
}

#[test]
fn worktree_list() {
    let yard = taken();
    let list = yard.run_git(".", &["worktree", "list", "--porcelain"]);
    let tree = format!("worktree {}", yard.path(".worktrees/WO-0013").display());
    assert!(list.lines().any(|line| line == tree), "{list}");
    assert!(list.lines().any(|line| line == "branch refs/heads/feat/wo-WO-0013"), "{list}");
}

#[test]
fn worktree_idempotency() {
    let yard = taken();
    yard.put(".worktrees/WO-0013/src/b.txt", "work\n");
    yard.run_git(".worktrees/WO-0013", &["add", "."]);
    yard.run_git(".worktrees/WO-0013", &["commit", "-q", "-m", "work"]);
    yard.put(".worktrees/WO-0013/half.txt", "not committed\n");
    let head = yard.run_git(".worktrees/WO-0013", &["rev-parse", "HEAD"]);
    yard.ask("WO-0013.cancel", "");
    yard.until_in("failed", "WO-0013");
    yard.ask("WO-0013.requeue", "");
    yard.until_in("pending", "WO-0013");
    yard.ask("WO-0013.take", "");
    assert_eq!(yard.answers("WO-0013", "take", 2)[1]["code"], 0, "{}", yard.sight());
    assert_eq!(yard.run_git(".worktrees/WO-0013", &["rev-parse", "HEAD"]), head);
    assert_eq!(yard.text(".worktrees/WO-0013/half.txt"), "not committed\n");
    assert_eq!(yard.run_git(".", &["worktree", "list"]).lines().count(), 2);
}
