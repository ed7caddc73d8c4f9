//! Everything that only looks, with the real binary against trees made by hand and by a real daemon.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod audit;
mod doctor;
mod findings;
mod follow;
mod relations;
mod stall;
mod trees;
mod verbs;
mod why;

use crate::yard::Yard;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a verb said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}{}", self.out, self.err))
    }
}

/// A verb on the root of a yard, ready to run.
fn verb(yard: &Yard, args: &[&str]) -> Command {
    let mut command = Command::new(&yard.program);
    command.args(args).arg("--root").arg(&yard.root).stdin(Stdio::null());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env_remove("COLUMNS");
    command
}

/// Runs a verb.
fn say(yard: &Yard, args: &[&str]) -> Said {
    let out = verb(yard, args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: out.status.code().unwrap(), out: text(&out.stdout), err: text(&out.stderr) }
}

/// Findings of `lint --json`.
#[track_caller]
fn lint(yard: &Yard) -> Vec<Value> {
    let said = say(yard, &["lint", "--json"]);
    let json = said.json();
    assert_eq!(json["schema"], "jobyard.lint.v1");
    json["findings"].as_array().unwrap().clone()
}

/// A settled ticket, as jobyard leaves it.
fn settled(id: &str, state: &str, rest: &str) -> String {
    format!(
        "id: {id}\ntitle: T\nrun: 'true'\nworkspace: none\n{rest}status: {state}\nresult: pass\n\
         x_jobyard:\n  attempt: 1\n  settled_state: {state}\n  settled_attempt: 1\n  settled_seq: 1\n  \
         settled_hash: '{}'\n",
        "0".repeat(64)
    )
}

/// What every file below a directory is: names, sizes, times, content.
fn snapshot(dir: &Path) -> BTreeMap<String, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let meta = entry.path().symlink_metadata().unwrap();
            if meta.is_dir() {
                todo.push(entry.path());
            }
            let bytes = if meta.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            found.insert(entry.path().display().to_string(), (meta.len(), bytes));
        }
    }
    found
}
