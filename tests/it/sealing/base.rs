//! The base is sealed once for a branch.

use super::{bases, two_attempts};
use crate::yard::Yard;

const SCOPE: &str = "scope: {allow: [docs/**]}\nverify: {commands: ['test -d src']}\n";

#[test]
fn moving_the_base_between_attempts_changes_no_scope() {
    let mut yard = Yard::git();
    yard.run_git(".", &["checkout", "-q", "-b", "elsewhere"]);
    yard.start();
    let first = "echo x > other; git add -A; git commit -qm x; git update-ref refs/heads/main HEAD";
    yard.submit("A", &two_attempts(first, "exit 0", SCOPE));
    yard.until_in("failed", "A");
    let sealed = bases(&yard, "A");
    assert_eq!((sealed.len(), &sealed[0]), (2, &sealed[1]));
    assert_eq!(yard.verdict("A", 2)["reason"], "out-of-scope");
}

#[test]
fn a_commit_on_main_between_attempts_is_nobodys_change() {
    let mut yard = Yard::git();
    yard.start();
    let first = "cd $JOBYARD_ROOT; echo z > z; git add z; git commit -qm z";
    let later = "mkdir docs; echo a > docs/a; git add -A; git commit -qm a";
    yard.submit("A", &two_attempts(first, later, SCOPE));
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "result"), "pass");
    assert_eq!(yard.verdict("A", 2)["base"], bases(&yard, "A")[0].as_str());
}

#[test]
fn a_requeued_order_keeps_its_base_over_restarts() {
    let yard = Yard::git();
    let start = yard.run_git(".", &["rev-parse", "main"]);
    yard.submit("A", "scope: {allow: [docs/**]}\nverify: {commands: ['test -d docs']}\n");
    assert_eq!(yard.verb(&["take", "A"]).0, 0);
    assert_eq!(yard.verb(&["finish", "A"]).0, 6);
    yard.put("z", "z\n");
    yard.run_git(".", &["add", "z"]);
    yard.run_git(".", &["commit", "-q", "-m", "z"]);
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0);
    let (code, said) = yard.verb(&["take", "A"]);
    assert_eq!(code, 0, "{said}");
    yard.put(".worktrees/A/docs/a", "a\n");
    yard.run_git(".worktrees/A", &["add", "."]);
    yard.run_git(".worktrees/A", &["commit", "-q", "-m", "a"]);
    let (code, said) = yard.verb(&["finish", "A"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(bases(&yard, "A"), [start.clone(), start]);
}

#[test]
fn a_branch_that_went_is_begun_anew() {
    let yard = Yard::git();
    yard.submit("A", "verify: {commands: ['test -d docs']}\n");
    assert_eq!(yard.verb(&["take", "A"]).0, 0);
    assert_eq!(yard.verb(&["finish", "A"]).0, 6);
    yard.run_git(".", &["worktree", "remove", "--force", ".worktrees/A"]);
    yard.run_git(".", &["branch", "-q", "-D", "feat/wo-A"]);
    yard.put("z", "z\n");
    yard.run_git(".", &["add", "z"]);
    yard.run_git(".", &["commit", "-q", "-m", "z"]);
    let tip = yard.run_git(".", &["rev-parse", "main"]);
    assert_eq!(yard.verb(&["requeue", "A"]).0, 0);
    assert_eq!(yard.verb(&["take", "A"]).0, 0);
    assert_eq!(bases(&yard, "A")[1], tip);
}

#[test]
fn a_branch_that_a_person_made_is_judged_by_what_it_adds() {
    let mut yard = Yard::git();
    let start = yard.run_git(".", &["rev-parse", "main"]);
    yard.run_git(".", &["branch", "feat/wo-A"]);
    yard.put("z", "z\n");
    yard.run_git(".", &["add", "z"]);
    yard.run_git(".", &["commit", "-q", "-m", "z"]);
    yard.start();
    let run = "run: 'mkdir docs; echo a > docs/a; git add -A; git commit -qm a'\n";
    yard.submit("A", &format!("{SCOPE}{run}"));
    yard.until_in("done", "A");
    assert_eq!(bases(&yard, "A"), [start]);
}
