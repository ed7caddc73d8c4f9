//! What a job may try in order to get past the gate. Each is caught; what is not promised is in
//! `docs/gate.md`.

use super::super::yard::Yard;
use std::fs;

/// Runs a job that does something wrong and hides it; the reason it fails with.
pub(super) fn attack(yard: &Yard, id: &str, order: &str, script: &str) -> String {
    let run = script.replace('\'', "''");
    yard.submit(id, &format!("{order}run: '{run}'\n"));
    yard.until_in("failed", id);
    assert_eq!(yard.key("failed", id, "result"), "fail");
    let settled = yard.events(id, "settled");
    settled.last().unwrap()["reason"].as_str().unwrap().to_owned()
}

pub(super) const PASSES: &str = "verify: {commands: ['test -f src/a.txt']}\n";
const FAILS: &str = "verify: {commands: ['test -f none']}\n";

#[test]
fn moving_the_base_changes_no_scope() {
    let mut yard = Yard::git();
    yard.start();
    let script = "echo x > other; git add -A; git commit -qm x; \
                  git update-ref refs/heads/main HEAD; git update-ref refs/heads/master HEAD";
    let order = format!("scope: {{allow: [src/**]}}\n{PASSES}");
    assert_eq!(attack(&yard, "A", &order, script), "out-of-scope");
}

#[test]
fn changes_hidden_from_git_are_found() {
    let mut yard = Yard::git();
    yard.start();
    for (id, script, reason) in [
        ("SKIP", "git update-index --skip-worktree src/a.txt; echo x >> src/a.txt", "dirty"),
        ("ASSUME", "git update-index --assume-unchanged src/a.txt; echo x >> src/a.txt", "dirty"),
        ("FLAG", "git update-index --skip-worktree src/a.txt", "hidden-files"),
        (
            "EXCLUDE",
            "echo new.txt >> $(git rev-parse --git-common-dir)/info/exclude; echo > new.txt",
            "dirty",
        ),
        ("CONFIG", "git config status.showUntrackedFiles no; echo > other.txt", "dirty"),
        (
            "HOOK",
            "h=$(git rev-parse --git-common-dir)/hooks/post-index-change; mkdir -p ${h%/*}; \
             echo '#!/bin/sh' > $h; \
             echo 'git -c core.hooksPath=/dev/null update-index --assume-unchanged src/a.txt' >> $h; \
             chmod +x $h; echo x > src/a.txt",
            "dirty",
        ),
    ] {
        assert_eq!(attack(&yard, id, PASSES, script), reason, "{id}");
    }
}

#[test]
fn a_verdict_written_by_the_job_carries_no_weight() {
    let mut yard = Yard::git();
    yard.start();
    let script = "echo '{\"result\": \"pass\"}' > $JOBYARD_RUN_DIR/verdict.json";
    assert_eq!(attack(&yard, "A", FAILS, script), "checks-failed");
    assert_eq!(yard.verdict("A", 1)["result"], "fail");
    assert_eq!(yard.verdict("A", 1)["id"], "A");
}

#[test]
fn what_was_sealed_counts_whatever_is_edited_afterwards() {
    let mut yard = Yard::git();
    let dod = |check: &str| {
        format!("dod:\n  - id: D\n    required_checks: [{{name: c, commands: ['{check}']}}]\n")
    };
    yard.put("_ctx/dod/d.yaml", &dod("test -f none"));
    yard.put("weaker.gate", &dod("test -d src"));
    yard.start();
    let ticket = "sed -i 's/-f none/-d src/' $JOBYARD_ROOT/_ctx/jobs/running/TICKET.yaml";
    assert_eq!(attack(&yard, "TICKET", FAILS, ticket), "checks-failed");
    let catalogue = "cp $JOBYARD_ROOT/weaker.gate $JOBYARD_ROOT/_ctx/dod/d.yaml";
    assert_eq!(attack(&yard, "CATALOGUE", "dod_id: D\n", catalogue), "checks-failed");
    let copy = "until [ -e $JOBYARD_RUN_DIR/order.yaml ]; do sleep 0.01; done; \
                sed -i 's/-f none/-d src/' $JOBYARD_RUN_DIR/order.yaml";
    assert_eq!(attack(&yard, "COPY", FAILS, copy), "sealed-changed");
}

#[test]
fn what_a_job_leaves_running_is_ended_before_the_checks() {
    let mut yard = Yard::git();
    yard.start();
    let edits = "until [ -e go.tmp ]; do sleep 0.01; done; echo x >> src/a.txt; echo > edited.tmp";
    for (id, hidden) in [
        ("PLAIN", format!("({edits}) &")),
        ("SESSION", format!("setsid -f bash -c '{edits}'")),
        ("NAMELESS", format!("env -i setsid -f bash -c '{edits}'")),
        ("TWICE", format!("(env -i setsid bash -c '({edits}) &' &)")),
    ] {
        let check = "echo > go.tmp; test ! -e edited.tmp";
        let run = hidden.replace('\'', "''");
        yard.submit(id, &format!("verify: {{commands: ['{check}']}}\nrun: '{run}'\n"));
        yard.until_in("done", id);
        assert_eq!(yard.key("done", id, "result"), "pass", "{}", yard.sight());
        assert_eq!(yard.commands(), Vec::<u32>::new(), "{id}");
        assert_eq!(yard.text(&format!(".worktrees/{id}/src/a.txt")), "one\n");
    }
}

#[test]
fn a_job_cannot_settle_itself() {
    let mut yard = Yard::git();
    yard.start();
    let jobs = "$JOBYARD_ROOT/_ctx/jobs";
    let wait = |name: &str| format!("until [ -e {jobs}/{name} ]; do sleep 0.01; done");
    let back = wait("running/MOVED.yaml");
    let moved = format!("mv {jobs}/running/MOVED.yaml {jobs}/done/; {back}");
    assert_eq!(attack(&yard, "MOVED", FAILS, &moved), "checks-failed");
    let refused = wait("control/ASKED.finish.why");
    let asked = format!("echo > {jobs}/control/ASKED.finish; {refused}");
    assert_eq!(attack(&yard, "ASKED", FAILS, &asked), "checks-failed");
    let killed = "kill -9 $PPID; sleep 1000";
    assert_eq!(attack(&yard, "KILLED", PASSES, killed), "lost");
    assert_eq!(yard.commands(), Vec::<u32>::new());
}

#[test]
fn a_job_that_skips_its_own_verification_is_never_a_pass() {
    let mut yard = Yard::git();
    yard.start();
    let request = "{skip_verification: true, stop: true, reason: trust me}";
    let script =
        format!("echo \"{request}\" > $JOBYARD_ROOT/_ctx/jobs/control/A.finish; sleep 1000");
    yard.submit("A", &format!("{FAILS}run: '{script}'\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "result"), "skipped");
    assert_eq!(yard.key("done", "A", "verified_at_sha"), "null");
}

#[test]
fn the_main_checkout_is_not_touched_by_the_gate() {
    let mut yard = Yard::git();
    yard.put("src/a.txt", "being edited by a person\n");
    yard.put("untracked.txt", "");
    let before = yard.run_git(".", &["status", "--porcelain"]);
    yard.start();
    yard.submit("A", &format!("{PASSES}run: 'echo x > src/b.txt; git add -A; git commit -qm x'\n"));
    yard.until_in("done", "A");
    assert_eq!(yard.run_git(".", &["status", "--porcelain"]), before);
    assert_eq!(fs::read_to_string(yard.path("src/a.txt")).unwrap(), "being edited by a person\n");
}
