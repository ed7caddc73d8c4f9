//! What the README says, held against what there is: a claim names tests that exist, the verbs are those
//! of the binary, and an idle daemon is left alone.

use crate::yard::{Yard, pause, until};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const README: &str = include_str!("../../README.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// Links to Rust files of which the text is a name: ``[`name`](path)``.
fn claims(page: &str) -> Vec<(&str, &str)> {
    let link = |part: &'static str| move |text: &str| text.find(part);
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(at) = link("[`")(rest) {
        rest = &rest[at + 2..];
        let Some((name, after)) = rest.split_once("`](") else { break };
        let Some((path, _)) = after.split_once(')') else { break };
        if path.ends_with(".rs") && !name.contains('/') {
            found.push((name, path));
        }
        rest = after;
    }
    found
}

/// Claims whose test is not where they say.
fn unproven(page: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let missing = |(name, path): &(&str, &str)| {
        let text = fs::read_to_string(root.join(path)).unwrap_or_default();
        let marked = text.split("#[test]").skip(1);
        let first = |after: &str| {
            after.lines().find(|l| l.trim_start().starts_with("fn ")).map(str::to_owned)
        };
        let wanted = format!("fn {name}()");
        !marked.filter_map(first).any(|line| line.trim_start().starts_with(&wanted))
    };
    claims(page).iter().filter(|c| missing(c)).map(|(n, p)| format!("{p} has no {n}")).collect()
}

#[test]
fn every_guarantee_has_its_test() {
    assert!(claims(README).len() > 20);
    assert_eq!(unproven(README), Vec::<String>::new());
    let planted = "see [`no_such_test`](tests/it/claims.rs)";
    assert_eq!(unproven(planted).len(), 1);
}

#[test]
fn the_verbs_of_the_page_are_those_of_the_binary() {
    let out = Command::new(env!("CARGO_BIN_EXE_jobyard")).arg("--help").output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let known: BTreeSet<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let row = |line: &'static str| line.strip_prefix("| `jobyard ")?.split('`').next();
    let mut told: BTreeSet<&str> = README.lines().filter_map(row).collect();
    told.insert("help");
    assert_eq!(told, known);
}

#[test]
fn the_code_map_names_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = ARCHITECTURE.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let named: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split('`')).filter(|w| w.contains('/')).collect();
    assert!(named.len() > 80, "{}", named.len());
    let missing: Vec<_> = named.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "named but not there: {missing:?}");
}

#[test]
fn an_idle_daemon_is_not_woken() {
    let mut yard = Yard::bare();
    yard.start();
    for number in 0..200 {
        yard.submit(&format!("WO-{number}"), "workspace: none\nrun: true\nhold: not now\n");
    }
    yard.until("the intake of all", || {
        let ledger = yard.text("_ctx/audit/00000001.jsonl");
        ledger.matches("\"event\":\"intake\"").count() == 200
    });
    let status = format!("/proc/{}/status", yard.daemon_pid());
    let switches = || {
        let text = fs::read_to_string(&status).unwrap();
        let count = text.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse::<u64>().unwrap()
    };
    let mut before = switches();
    until("a while without a wake-up", || {
        pause(Duration::from_millis(1500));
        let now = switches();
        std::mem::replace(&mut before, now) == now
    });
}
