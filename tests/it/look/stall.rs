//! A daemon that lives and does nothing is seen from outside, with what it waits for and what ends that.
//!
//! Invariants: what stands in the way is real: a hook of git, a disk that refuses, a stopped process. Once it
//! is gone nothing is said of it any more.

use super::{Said, say};
use crate::local_faults::slow_git;
use crate::yard::{Yard, lives, signal, until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;

/// What keeps the daemon from an order, and what ends that, once it does.
fn stall(yard: &Yard, id: &str) -> (String, String) {
    let found = || {
        let waits = say(yard, &["why", id, "--json"]).json()["waits"].take();
        let waits = waits.as_array().unwrap().clone();
        waits.into_iter().find(|wait| wait["kind"] == "stalled-daemon")
    };
    yard.until("the stall", || found().is_some());
    let wait = found().unwrap();
    let text = |key: &str| wait[key].as_str().unwrap().to_owned();
    (text("text"), text("release"))
}

/// Nothing is said of it any more.
fn is_over(yard: &Yard) {
    yard.until("no stall", || {
        say(yard, &["status", "--json"]).json()["daemon"]["stall"] == Value::Null
    });
}

#[test]
fn a_hook_of_git_that_does_not_end_is_named() {
    let mut yard = slow_git();
    yard.start();
    yard.submit("A", "run: 'true'\n");
    let hook = yard.lines("hook.said", 1)[0].clone();
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    let (text, release) = stall(&yard, "B");
    assert!(text.contains("waits for git") && text.contains("sleep 600"), "{text}");
    assert!(release.contains(&format!("kill {hook}")), "{release}");
    for verb in ["status", "doctor"] {
        let Said { out, .. } = say(&yard, &[verb]);
        assert!(out.contains("waits for git") && out.contains("sleep 600"), "{out}");
    }
    let (code, said) = yard.verb(&["hold", "A", "--wait", "1"]);
    assert!(code == 75 && said.contains("waits for git"), "{code} {said}");
    signal(hook.parse().unwrap(), Signal::TERM);
    yard.until_in("done", "B");
    is_over(&yard);
}

#[test]
fn git_is_ended_after_its_configured_time_and_the_others_go_on() {
    let mut yard = slow_git();
    yard.configure("settle = \"20ms\"\n[git]\ntimeout = \"1s\"\n");
    yard.start();
    yard.submit("A", "run: 'true'\n");
    let hook = yard.lines("hook.said", 1)[0].parse().unwrap();
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    yard.until_in("done", "B");
    yard.until("the explanation", || yard.path("_ctx/jobs/pending/A.yaml.why").exists());
    let why = yard.why("pending", "A");
    assert!(why.contains("git did not end within 1 s and was killed (`git.timeout`)"), "{why}");
    until("the end of the hook", || !lives(hook));
}

#[test]
fn a_disk_that_refuses_is_quoted() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    let (done, away) = (yard.path("_ctx/jobs/done"), yard.path("_ctx/elsewhere"));
    fs::rename(&done, &away).unwrap();
    symlink(&away, &done).unwrap();
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    let (text, _) = stall(&yard, "B");
    assert!(text.contains("cannot go on") && text.contains("_ctx/jobs/done"), "{text}");
    fs::remove_file(&done).unwrap();
    fs::rename(&away, &done).unwrap();
    yard.until_in("done", "B");
    is_over(&yard);
}

#[test]
fn what_an_order_says_moves_no_cursor() {
    let mut yard = Yard::bare();
    yard.start();
    yard.publish("_ctx/jobs/pending/A.yaml", "id: A\ntitle: a\npriority: \"\\e[2Jgone\"\n");
    yard.until("the note", || yard.said().contains("gone"));
    for text in [yard.said(), say(&yard, &["why", "A"]).out] {
        assert!(text.contains("\\u{1b}[2Jgone") && !text.contains('\u{1b}'), "{text:?}");
    }
}

#[test]
fn a_frozen_executor_is_called_so() {
    let mut yard = Yard::bare();
    yard.start();
    yard.fifo("gate");
    yard.submit("A", "run: cat gate\nworkspace: none\n");
    yard.until("its start", || !yard.commands().is_empty());
    let executor = yard.executor_pid().unwrap();
    signal(executor, Signal::STOP);
    yard.until("the stop", || {
        let json = say(&yard, &["status", "--json"]).json();
        json["daemon"]["stall"].as_str().is_some_and(|s| s.contains("executor is frozen"))
    });
    let Said { out, .. } = say(&yard, &["why", "A"]);
    assert!(out.contains(&format!("the executor is frozen (pid {executor})")), "{out}");
    signal(executor, Signal::CONT);
    yard.open_gate("gate");
    yard.until_in("done", "A");
    is_over(&yard);
}
