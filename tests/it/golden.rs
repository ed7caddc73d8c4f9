//! What each verb prints, for a person and for a machine, against files kept in `tests/it/golden`.
//!
//! Invariants: one tree with orders in every state, made by the real binary; only what differs from run to
//! run is replaced (`normal`), so that a changed word fails. `JOBYARD_BLESS=1` writes the files anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod calls;
pub(crate) mod normal;
pub(crate) mod scene;

use calls::CALLS;
use normal::Normal;
use scene::{Said, Scene};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// How a missing or changed file is written.
const BLESS: &str = "JOBYARD_BLESS=1 cargo test --test it -- golden readme";

/// Lines and bytes of an output that are kept; scripts, pages and schemas have tests of their own.
const KEPT: (usize, usize) = (120, 6000);

fn dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden"))
}

/// Compares a text with a kept one outside the files of the verbs.
#[track_caller]
pub(crate) fn same(name: &str, now: &str) {
    let mut wrong = Vec::new();
    compare(name, now, &mut wrong);
    none(&wrong);
}

/// The verb of a call: its first word that is no variable.
fn verb(call: &str) -> &str {
    call.split_whitespace().find(|word| !word.contains('=')).unwrap()
}

/// The verbs that the binary itself lists.
pub(crate) fn verbs() -> BTreeSet<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_jobyard")).arg("--help").output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty());
    let names = names.filter(|line| !line.starts_with("   ")).map(|line| line.trim_start());
    let names = names.map(|line| line.split(' ').next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

/// A call as a person sees it: the command, what came on stdout, what was said (`!`), a code but 0.
fn seen(call: &str, said: &Said) -> String {
    let mut text = format!("$ {}\n{}", calls::typed(call), shortened(&said.out));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.extend(said.err.lines().map(|line| format!("! {line}\n")));
    if said.code != 0 {
        text.push_str(&format!("[exit {}]\n", said.code));
    }
    text
}

fn shortened(out: &str) -> String {
    if out.lines().count() <= KEPT.0 {
        return out.to_owned();
    }
    let first: Vec<&str> = out.lines().take(KEPT.0 / 8).collect();
    format!("{}\n[…]\n", first.join("\n"))
}

/// The same for a machine: stdout is one object with a schema of ours.
#[track_caller]
fn read(call: &str, said: &Said) -> Value {
    let object: Value = serde_json::from_str(&said.out)
        .unwrap_or_else(|e| panic!("`{call}` prints no JSON object: {e}: {}", said.out));
    assert_eq!(said.out.lines().count(), 1, "`{call}` prints more than one line");
    let schema = object["schema"].as_str().unwrap_or_default();
    assert!(schema.starts_with("jobyard."), "`{call}`: the object has no `schema`");
    let talk: Vec<&str> = said.err.lines().collect();
    json!({ "call": calls::typed(call), "exit": said.code, "stdout": cut(object), "stderr": talk })
}

/// Long texts cut.
fn cut(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > KEPT.1 => {
            let first: String = text.chars().take(KEPT.1 / 30).collect();
            format!("{first}[…]").into()
        }
        Value::Array(items) => items.into_iter().map(cut).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, cut(value))).collect(),
        other => other,
    }
}

/// Compares what was printed with a file, or writes it.
fn compare(name: &str, now: &str, wrong: &mut Vec<String>) {
    let file = dir().join(name);
    if std::env::var_os("JOBYARD_BLESS").is_some() {
        fs::write(file, now).unwrap();
        return;
    }
    let kept = fs::read_to_string(file).unwrap_or_default();
    if kept == now {
        return;
    }
    let (old, new) = (kept.lines(), now.lines());
    let at = old.clone().zip(new.clone()).take_while(|(a, b)| a == b).count();
    let line = |mut lines: std::str::Lines<'_>| lines.nth(at).unwrap_or("(nothing)").to_owned();
    let (old, new) = (line(old), line(new));
    wrong.push(format!("{name}:{}:\n  kept: {old}\n  now:  {new}", at + 1));
}

#[track_caller]
fn none(wrong: &[String]) {
    let count = wrong.len();
    assert!(count == 0, "{count} differ; when that is meant: {BLESS}\n{}", wrong.join("\n"));
}

/// Every call on one tree, by verb.
fn all(json: bool) -> BTreeMap<&'static str, Vec<(&'static str, Said)>> {
    let scene = Scene::new();
    let normal = Normal::of(scene.root());
    let mut by_verb: BTreeMap<_, Vec<_>> = BTreeMap::new();
    // A width means nothing to a machine.
    for call in CALLS.iter().filter(|call| !json || !call.contains("COLUMNS")) {
        let said = normal.of_said(scene.run(call, json));
        by_verb.entry(verb(call)).or_default().push((*call, said));
    }
    by_verb
}

#[test]
fn people_read_what_was_approved() {
    let mut wrong = Vec::new();
    for (verb, calls) in all(false) {
        let seen: Vec<String> = calls.iter().map(|(call, said)| seen(call, said)).collect();
        compare(&format!("{verb}.txt"), &seen.join("\n"), &mut wrong);
    }
    none(&wrong);
}

#[test]
fn machines_read_what_was_approved() {
    let mut wrong = Vec::new();
    for (verb, calls) in all(true) {
        let read: Value = calls.iter().map(|(call, said)| read(call, said)).collect();
        let text = format!("{}\n", serde_json::to_string_pretty(&read).unwrap());
        compare(&format!("{verb}.json"), &text, &mut wrong);
    }
    none(&wrong);
}

#[test]
fn colour_adds_no_word_and_is_only_for_whoever_wants_it() {
    let scene = Scene::new();
    let normal = Normal::of(scene.root());
    let escapes = regex_lite::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    for call in ["list", "status", "doctor", "lint"] {
        let plain = scene.run(&format!("COLUMNS=80 {call}"), false).out;
        assert!(!escapes.is_match(&plain), "{call}: colour in a pipe: {plain:?}");
        let shown = scene.on_terminal(&format!("TERM=xterm COLUMNS=80 {call}"));
        assert!(escapes.is_match(&shown), "{call}: no colour: {shown:?}");
        for call in
            ["TERM=xterm NO_COLOR=1", "TERM=dumb"].map(|to| format!("{to} COLUMNS=80 {call}"))
        {
            let bare = scene.on_terminal(&call);
            assert!(!escapes.is_match(&bare), "{call}: {bare:?}");
            let without = escapes.replace_all(&shown, "").into_owned();
            assert_eq!(normal.text(without), normal.text(bare), "{call}");
        }
    }
}

#[test]
fn every_verb_has_its_two_files() {
    let verbs = verbs();
    assert!(verbs.len() > 25, "{verbs:?}");
    let called: BTreeSet<String> = CALLS.iter().map(|call| verb(call).to_owned()).collect();
    for verb in &verbs {
        assert!(
            called.contains(verb),
            "`{verb}` has no golden output: write calls of it at the end of CALLS in \
             tests/it/golden/calls.rs, run {BLESS}, and read what it wrote"
        );
        for name in [format!("{verb}.txt"), format!("{verb}.json")] {
            assert!(dir().join(&name).exists(), "tests/it/golden/{name} is missing: {BLESS}");
        }
    }
    for entry in fs::read_dir(dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some((stem, "txt" | "json")) = name.split_once('.') else { continue };
        assert!(verbs.contains(stem), "tests/it/golden/{name} is of no verb: remove it");
    }
}
