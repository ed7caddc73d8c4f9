//! What must hold when a fault is over and the start after it has ended.
//!
//! Invariants: it reads the files themselves and asks the program only for what people would (`lint`,
//! `audit verify`); each thing that is wrong is one sentence; it changes nothing.

use crate::trace::Fault;
use crate::trial::Stage;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const STATES: [&str; 4] = ["pending", "running", "done", "failed"];

/// Everything that is wrong.
pub(crate) fn broken(stage: &Stage, fault: Fault) -> Vec<String> {
    let mut wrong = Vec::new();
    let places = places(stage, &mut wrong);
    for id in stage.submitted() {
        let there = places.get(&id).cloned().unwrap_or_default();
        match there[..] {
            [] => wrong.push(format!("{id} is lost")),
            ["done" | "failed"] => {}
            // What it waits for was lost with the fault.
            ["pending"] if stage.scenario().waits => {}
            [one] => wrong.push(format!("{id} is stuck in {one}/")),
            _ => wrong.push(format!("{id} is doubled: {there:?}")),
        }
        content(stage, &id, &there, &mut wrong);
        effects(stage, &id, &there, &mut wrong);
        let ends = stage.scenario().ends;
        if fault == Fault::Kill && !ends.is_empty() && there[..] != [ends] {
            wrong.push(format!("{id} is not {ends}, though only the daemon was killed"));
        }
    }
    epic(stage, &places, &mut wrong);
    ledger(stage, &mut wrong);
    for verb in [&["lint"][..], &["audit", "verify"]] {
        let out = stage.jobyard(verb);
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stdout).replace('\n', " / ");
            wrong.push(format!("{verb:?} ended with {}: {said}", out.status));
        }
    }
    repository(stage, &mut wrong);
    wrong.extend(stage.processes().into_iter().map(|p| format!("a process is left: {p}")));
    wrong
}

/// Where each order lies; whatever else lies there is wrong.
fn places(stage: &Stage, wrong: &mut Vec<String>) -> BTreeMap<String, Vec<&'static str>> {
    let mut places: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    };
    for state in STATES {
        for name in names(&stage.root().join("_ctx/jobs").join(state)) {
            match name.strip_suffix(".yaml").filter(|id| !id.starts_with('.')) {
                Some(id) => places.entry(id.to_owned()).or_default().push(state),
                None => wrong.push(format!("litter: {state}/{name}")),
            }
        }
    }
    let control = names(&stage.root().join("_ctx/jobs/control"));
    let left = control.iter().filter(|name| *name != ".answered");
    wrong.extend(left.map(|name| format!("litter: control/{name}")));
    places
}

/// The status of an epic follows its only order.
fn epic(stage: &Stage, places: &BTreeMap<String, Vec<&'static str>>, wrong: &mut Vec<String>) {
    let backlog = fs::read_to_string(stage.root().join("_ctx/backlog/backlog.yaml"));
    let Ok(text) = backlog else { return };
    let done = places.get("S-1").is_some_and(|there| there[..] == ["done"]);
    if done && !text.contains("\n    status: done\n") {
        wrong.push(format!("its order is done, and the epic says otherwise: {text:?}"));
    }
}

/// A ticket is never emptied, torn or without its person's words.
fn content(stage: &Stage, id: &str, there: &[&str], wrong: &mut Vec<String>) {
    for state in there {
        let path = stage.root().join(format!("_ctx/jobs/{state}/{id}.yaml"));
        let text = fs::read_to_string(&path).unwrap_or_default();
        let whole = text.starts_with(&format!("id: {id}\n")) && text.contains("\ntitle: ");
        if !whole || text.contains('\0') {
            wrong.push(format!("{state}/{id}.yaml is damaged: {text:?}"));
        }
    }
}

/// Nothing ran twice in an attempt, nor again without being allowed to, nor is done without having run.
fn effects(stage: &Stage, id: &str, there: &[&str], wrong: &mut Vec<String>) {
    let effects = stage.effects();
    let of = |word: &str| -> Vec<String> {
        let begins = format!("{word} {id} ");
        effects.lines().filter_map(|l| l.strip_prefix(&begins)).map(str::to_owned).collect()
    };
    let (starts, ends) = (of("START"), of("END"));
    let attempts: BTreeSet<&String> = starts.iter().collect();
    if attempts.len() != starts.len() {
        wrong.push(format!("{id} ran twice in one attempt: {starts:?}"));
    }
    if !stage.scenario().again && starts.len() > 1 {
        wrong.push(format!("{id} ran again: {starts:?}"));
    }
    if there.contains(&"done") && (starts.is_empty() || ends.is_empty()) {
        wrong.push(format!("{id} is done and never ran to its end"));
    }
    let lines = lines(stage);
    for attempt in attempts {
        let begun = |line: &Value| {
            let event = line["event"].as_str().unwrap_or_default();
            let number = line["attempt"].as_u64();
            line["id"] == *id && number == attempt.parse().ok() && event != "settled"
        };
        if !lines.iter().any(begun) {
            wrong.push(format!("{id} ran as attempt {attempt}, and the ledger does not know it"));
        }
    }
}

fn lines(stage: &Stage) -> Vec<Value> {
    let text = segments(stage);
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn segments(stage: &Stage) -> String {
    let dir = fs::read_dir(stage.root().join("_ctx/audit")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = dir.map(|e| e.path()).collect();
    paths.sort();
    paths.iter().map(|p| fs::read_to_string(p).unwrap_or_default()).collect()
}

/// Every line is one whole record, or is closed as torn.
fn ledger(stage: &Stage, wrong: &mut Vec<String>) {
    let text = segments(stage);
    if !text.is_empty() && !text.ends_with('\n') {
        wrong.push("the ledger ends in a torn line".to_owned());
    }
    for line in text.lines().filter(|line| !line.ends_with(" ~TORN")) {
        if serde_json::from_str::<Value>(line).is_err() {
            wrong.push(format!("a line of the ledger is damaged: {line:?}"));
        }
    }
}

/// The repository is sound, nothing of git's is left locked, and every verified commit is there.
fn repository(stage: &Stage, wrong: &mut Vec<String>) {
    let root = stage.root();
    if !root.join(".git").exists() {
        return;
    }
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(&root).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.output().expect("run git")
    };
    let checked = git(&["fsck", "--no-dangling"]);
    if !checked.status.success() {
        wrong.push(format!("git fsck: {}", String::from_utf8_lossy(&checked.stderr)));
    }
    let mut dirs = vec![root.join(".git")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "lock") {
                wrong.push(format!("a lock of git is left: {}", path.display()));
            }
        }
    }
    for line in lines(stage) {
        let commit = line["verified_at"].as_str().unwrap_or_default();
        if !commit.is_empty() && !git(&["cat-file", "-e", commit]).status.success() {
            wrong.push(format!("the verified commit {commit} is missing"));
        }
    }
}
