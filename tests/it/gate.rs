//! The gate as people and jobs meet it: a real daemon, real git, real checks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod attacks;
mod ends;
mod schema;
mod sealed;
mod sparse;

use super::yard::Yard;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// A check that holds in every worktree.
const CHECK: &str = "verify: {commands: ['test -f src/a.txt']}\n";

/// Something that is wrong with the work: what the order says, what the worker does, the machine's word.
const WRONGS: [(&str, &str, &str); 8] = [
    (
        "scope: {allow: [src/**]}\n",
        "echo x > other.txt; git add -A; git commit -qm x",
        "out-of-scope",
    ),
    (
        "scope: {allow: ['**'], deny: [src/a.txt]}\n",
        "git mv src/a.txt src/b.txt; echo > src/a.txt; git add -A; git commit -qm x",
        "out-of-scope",
    ),
    (
        "diff_budget: {max_loc: 1}\n",
        "echo y >> src/a.txt; echo z >> src/a.txt; git commit -qam x",
        "over-budget",
    ),
    (
        "diff_budget: {max_files: 1}\n",
        "echo y > src/b.txt; echo z > src/c.txt; git add -A; git commit -qm x",
        "over-budget",
    ),
    ("", "echo y >> src/a.txt", "dirty"),
    ("", "echo y > new.txt", "dirty"),
    ("", "git checkout -q --detach", "detached"),
    ("", "git checkout -q -b elsewhere", "wrong-branch"),
];

/// Whether a person may mend it and say `finish` again.
fn is_precondition(word: &str) -> bool {
    ["dirty", "detached", "wrong-branch", "no-worktree"].contains(&word)
}

/// A person takes the order.
fn take(yard: &Yard, id: &str) {
    yard.ask(&format!("{id}.take"), "");
    assert_eq!(yard.answer(id, "take")["code"], 0, "{}", yard.sight());
}

/// A person works in the worktree of an order.
fn work(yard: &Yard, id: &str, script: &str) {
    let mut bash = Command::new("bash");
    bash.args(["-e", "-c", script]).current_dir(yard.path(format!(".worktrees/{id}")));
    assert!(bash.env("GIT_CONFIG_GLOBAL", "/dev/null").status().unwrap().success(), "{script}");
}

fn sentences(verdict: &Value) -> String {
    let list = verdict["sentences"].as_array().unwrap();
    list.iter().map(|s| s.as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_person_is_refused_for_what_can_be_mended_and_failed_for_the_rest() {
    let mut yard = Yard::git();
    yard.start();
    for (n, (order, script, word)) in WRONGS.into_iter().enumerate() {
        let id = format!("WO-{n}");
        yard.submit(&id, &format!("{order}{CHECK}"));
        take(&yard, &id);
        work(&yard, &id, script);
        yard.ask(&format!("{id}.finish"), "");
        let answer = yard.answer(&id, "finish");
        if !is_precondition(word) {
            assert_eq!(answer["code"], 6, "{word}: {answer}");
            yard.until_in("failed", &id);
            assert_eq!(yard.verdict(&id, 1)["reason"], word);
            continue;
        }
        assert_eq!(answer["code"], 4, "{word}: {answer}");
        assert_eq!(yard.places(&id), ["running"]);
        assert!(!yard.why("running", &id).is_empty(), "{word}");
        assert!(!yard.path(format!("_ctx/runs/{id}/1/verdict.json")).exists());
        work(&yard, &id, &format!("git checkout -q feat/wo-{id}; git add -A"));
        work(&yard, &id, "git diff --cached --quiet || git commit -qm mended");
        yard.ask(&format!("{id}.finish"), "");
        assert_eq!(yard.answers(&id, "finish", 2)[1]["code"], 0, "{}", yard.sight());
        yard.until_in("done", &id);
        assert_eq!(yard.key("done", &id, "result"), "pass");
        assert_eq!(yard.why("running", &id), "");
    }
}

#[test]
fn a_run_that_misses_a_precondition_fails_with_its_word() {
    let mut yard = Yard::git();
    yard.start();
    for (n, (order, script, word)) in WRONGS.into_iter().enumerate() {
        let id = format!("WO-{n}");
        yard.submit(&id, &format!("{order}{CHECK}run: '{}'\n", script.replace('\'', "''")));
        yard.until_in("failed", &id);
        assert_eq!(yard.verdict(&id, 1)["reason"], word);
        assert_eq!(yard.key("failed", &id, "result"), "fail");
        assert_eq!(yard.events(&id, "settled")[0]["reason"], word);
        assert!(sentences(&yard.verdict(&id, 1)).len() > 10);
    }
}

#[test]
fn a_worktree_that_is_gone_is_refused_and_made_again_by_requeue() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("A", CHECK);
    take(&yard, "A");
    fs::remove_dir_all(yard.path(".worktrees/A")).unwrap();
    yard.ask("A.finish", "");
    let answer = yard.answer("A", "finish");
    assert_eq!(answer["code"], 4, "{answer}");
    yard.ask("A.cancel", "");
    yard.until_in("failed", "A");
    yard.ask("A.requeue", "");
    yard.until_in("pending", "A");
    yard.ask("A.take", "");
    assert_eq!(yard.answers("A", "take", 2)[1]["code"], 0, "{}", yard.sight());
    yard.ask("A.finish", "");
    assert_eq!(yard.answers("A", "finish", 2)[1]["code"], 0, "{}", yard.sight());
}

#[test]
fn what_passes_is_verified_at_its_commit() {
    let mut yard = Yard::git();
    yard.start();
    let base = yard.run_git(".", &["rev-parse", "HEAD"]);
    yard.submit("A", &format!("{CHECK}run: 'echo x >> src/a.txt; git commit -qam x'\n"));
    yard.until_in("done", "A");
    let head = yard.run_git(".", &["rev-parse", "feat/wo-A"]);
    assert_ne!(head, base);
    assert_eq!(yard.key("done", "A", "result"), "pass");
    assert_eq!(yard.key("done", "A", "commit_sha").trim_matches(['"', '\'']), head);
    assert_eq!(yard.key("done", "A", "verified_at_sha").trim_matches(['"', '\'']), head);
    let verdict = yard.verdict("A", 1);
    assert_eq!((&verdict["verified_at_sha"], &verdict["base"]), (&head.into(), &base.into()));
    assert_eq!(verdict["checks"][0]["outcome"], "pass");
    let log = verdict["checks"][0]["log"].as_str().unwrap();
    assert!(yard.path(log).exists(), "{log}");
}

/// Runs one order with these checks; the state it ends in and its verdict.
fn judged(yard: &Yard, id: &str, checks: &str) -> (&'static str, Value) {
    yard.submit(id, &format!("workspace: none\nrun: true\n{checks}"));
    yard.until(id, || ["done", "failed"].iter().any(|state| yard.places(id) == [*state]));
    let state = yard.places(id)[0];
    yard.until_in(state, id);
    (state, yard.verdict(id, 1))
}

#[test]
fn checks_that_prove_nothing_do_not_pass() {
    let mut yard = Yard::bare();
    yard.put("_ctx/dod/all.yaml", "dod:\n  - id: FILES\n    required_artifacts: [out/*.txt]\n");
    yard.start();
    let hangs = "verify: {timeout: 300ms, commands: ['sleep 1000 & sleep 1000']}\n";
    for (id, checks, state, result, reason) in [
        ("VACUOUS", "verify: {commands: ['# looks good']}\n", "failed", "fail", "vacuous"),
        ("TRUE", "verify: {commands: ['true', ':']}\n", "failed", "fail", "vacuous"),
        ("ABSENT", "verify: {commands: [no-such-program]}\n", "failed", "fail", "could-not-run"),
        ("HANGS", hangs, "failed", "fail", "could-not-run"),
        ("FAILS", "verify: {commands: ['test -f none']}\n", "failed", "fail", "checks-failed"),
        ("MISSING", "dod_id: FILES\n", "failed", "fail", "artifact-missing"),
        ("NONE", "", "done", "unverified", "no-checks"),
        ("UNKNOWN", "dod_id: NO-SUCH-DOD\n", "done", "unverified", "unknown-dod"),
        (
            "UNKNOWN-TOO",
            "dod_id: NO-SUCH-DOD\nverify: {commands: ['test -d _ctx']}\n",
            "done",
            "unverified",
            "unknown-dod",
        ),
    ] {
        let (found, verdict) = judged(&yard, id, checks);
        assert_eq!((found, verdict["result"].as_str()), (state, Some(result)), "{id}: {verdict}");
        assert_eq!(verdict["reason"], reason, "{id}: {verdict}");
        assert_eq!(verdict["verified_at_sha"], Value::Null);
    }
    let hung = yard.verdict("HANGS", 1);
    assert_eq!(hung["checks"][0]["timed_out"], true, "{hung}");
    assert_eq!(yard.commands(), Vec::<u32>::new());
    assert!(sentences(&yard.verdict("UNKNOWN", 1)).contains("NO-SUCH-DOD"));
    assert!(sentences(&yard.verdict("MISSING", 1)).contains("out/*.txt"));
    yard.put("out/a.md", "");
    std::os::unix::fs::symlink("nowhere", yard.path("out/link.txt")).unwrap();
    yard.fifo("out/fifo.txt");
    assert_eq!(judged(&yard, "NO-FILES", "dod_id: FILES\n").1["reason"], "artifact-missing");
    yard.put("out/a.txt", "");
    assert_eq!(judged(&yard, "THERE", "dod_id: FILES\n").0, "done");
}

#[test]
fn checks_that_change_what_they_look_at_do_not_pass() {
    let mut yard = Yard::git();
    yard.start();
    for (id, check) in [
        ("EDITS", "echo x >> src/a.txt"),
        ("COMMITS", "echo x >> src/a.txt; git commit -qam x"),
        ("SWITCHES", "git checkout -q -b elsewhere"),
    ] {
        yard.submit(id, &format!("run: true\nverify: {{commands: ['test -d src; {check}']}}\n"));
        yard.until_in("failed", id);
        assert_eq!(yard.verdict(id, 1)["reason"], "moved-during-checks", "{id}");
    }
}

#[test]
fn skipping_needs_a_reason_and_is_counted_apart() {
    let mut yard = Yard::git();
    yard.start();
    yard.submit("A", "verify: {commands: ['test -f none']}\n");
    take(&yard, "A");
    yard.ask("A.finish", "skip_verification: true\n");
    assert_eq!(yard.answer("A", "finish")["code"], 2);
    fs::remove_file(yard.path("_ctx/jobs/control/A.finish")).unwrap();
    yard.ask("A.finish", "{skip_verification: true, reason: the checks are broken}");
    assert_eq!(yard.answers("A", "finish", 2)[1]["code"], 0);
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "result"), "skipped");
    let verdict = yard.verdict("A", 1);
    assert_eq!(verdict["override"], "the checks are broken");
    assert_eq!(verdict["verified_at_sha"], Value::Null);
}
