//! The judge and the tracer can fail: each thing that must not be is put there by hand, and seen.

use crate::judge;
use crate::trace::Fault;
use crate::trial::{Scenario, Stage};
use crate::{FINISH, PLAIN, Sweep, sweep};
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

type Harm = (&'static str, fn(&Stage), &'static str);

/// A root whose orders ended well.
fn settled(scenario: Scenario) -> Stage {
    let stage = Stage::new(scenario, None, ":");
    assert!(stage.step("drive").status.success());
    assert_eq!(judge::broken(&stage, Fault::Kill), Vec::<String>::new());
    stage
}

fn append(stage: &Stage, name: &str, text: &str) {
    let path = stage.root().join(name);
    let mut file = File::options().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn remove(stage: &Stage, name: &str) {
    fs::remove_file(stage.root().join(name)).unwrap();
}

const DONE: &str = "_ctx/jobs/done/S-1.yaml";

const HARMS: [Harm; 13] = [
    ("lost", |s| remove(s, DONE), "S-1 is lost"),
    (
        "doubled",
        |s| {
            let there = s.root().join("_ctx/jobs/failed/S-1.yaml");
            fs::copy(s.root().join(DONE), there).unwrap();
        },
        "S-1 is doubled",
    ),
    (
        "stuck",
        |s| {
            let there = s.root().join("_ctx/jobs/running/S-1.yaml");
            fs::rename(s.root().join(DONE), there).unwrap();
        },
        "S-1 is stuck in running/",
    ),
    ("a lock", |s| append(s, "_ctx/jobs/running/S-1.lock", ""), "litter: running/S-1.lock"),
    ("half a file", |s| append(s, "_ctx/jobs/done/.S-1.yaml.1", ""), "litter: done/.S-1"),
    ("a request", |s| append(s, "_ctx/jobs/control/S-1.cancel", ""), "litter: control/S-1"),
    ("emptied", |s| drop(File::create(s.root().join(DONE)).unwrap()), "S-1.yaml is damaged"),
    ("ran twice", |s| append(s, "../effects", "START S-1 1\n"), "ran twice in one attempt"),
    ("ran again", |s| append(s, "../effects", "START S-1 2\n"), "S-1 ran again"),
    ("not recorded", |s| append(s, "../effects", "START S-1 2\n"), "ledger does not know it"),
    ("never ran", |s| remove(s, "../effects"), "never ran to its end"),
    ("a torn line", |s| append(s, "_ctx/audit/00000001.jsonl", "{\"seq\":"), "torn line"),
    ("a false line", |s| append(s, "_ctx/audit/00000001.jsonl", "{}\n"), "[\"audit\", \"verify\"]"),
];

#[test]
fn whatever_must_not_be_is_seen() {
    for (what, harm, seen) in HARMS {
        let stage = settled(PLAIN);
        harm(&stage);
        let broken = judge::broken(&stage, Fault::Kill);
        assert!(broken.iter().any(|b| b.contains(seen)), "{what}: {broken:?}");
    }
}

#[test]
fn a_damaged_repository_is_seen() {
    let stage = settled(FINISH);
    append(&stage, ".git/refs/heads/main.lock", "");
    let broken = judge::broken(&stage, Fault::Kill);
    assert!(broken.iter().any(|b| b.contains("a lock of git is left")), "{broken:?}");
}

#[test]
fn a_process_that_is_left_is_seen() {
    let stage = settled(PLAIN);
    let mut cat = Command::new("cat");
    cat.stdin(std::process::Stdio::piped()).env("TRIAL_TAG", stage.tag());
    let mut left = cat.spawn().unwrap();
    let broken = judge::broken(&stage, Fault::Kill);
    drop(left.stdin.take());
    assert!(left.wait().unwrap().success());
    assert!(broken.iter().any(|b| b.contains("a process is left")), "{broken:?}");
}

#[test]
fn each_fault_strikes_where_it_is_meant_to() {
    let struck = |fault, at| {
        let stage = Stage::new(PLAIN, None, ":");
        let (course, wrong) = stage.strike("drive", at, fault);
        assert_eq!(wrong, None);
        (course.struck.unwrap_or_default(), course.code)
    };
    let (first, code) = struck(Fault::Kill, 1);
    assert_eq!(code, None, "it was killed at {first}");
    let (same, _) = struck(Fault::Error(nix::errno::Errno::EIO), 1);
    assert_eq!(first, same, "the same number names the same call");
    let (write, code) = struck(Fault::Short, 1);
    assert!(write.starts_with("write "), "{write}");
    assert_eq!(code, Some(0), "half a write is no fault");
    assert_eq!(struck(Fault::Kill, 10_000), (String::new(), Some(0)), "there is no such call");
}

#[test]
fn a_sweep_tells_what_broke() {
    let wanted = Scenario { ends: "failed", ..PLAIN };
    let broken = Sweep { stride: 40, ..sweep(wanted, Fault::Kill, 1) }.run();
    assert!(broken.iter().any(|b| b.contains("is not failed")), "{broken:?}");
}
