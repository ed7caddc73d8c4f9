//! One tree for each finding, and trees without any.

use super::trees::{Case, P, R, by_ann, cases, manual, order, own_process};
use super::{lint, say, settled, snapshot};
use crate::yard::Yard;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;

fn has(found: &[Value], case: &Case) -> bool {
    let same = |f: &&Value| f["code"] == case.code && f["file"] == case.file;
    found.iter().filter(same).any(|f| f["severity"] == case.severity)
}

#[test]
fn every_finding_is_found_in_its_tree_and_not_without_it() {
    for case in cases() {
        let (code, file) = (case.code, case.file);
        let yard = if case.wants_git() { Yard::git() } else { Yard::bare() };
        assert_eq!(lint(&yard), Vec::<Value>::new(), "{code}: before");
        (case.make)(&yard);
        let before = snapshot(&yard.path("_ctx"));
        let said = say(&yard, &["lint", "--json"]);
        let json = said.json();
        let found = json["findings"].as_array().unwrap();
        assert!(has(found, &case), "{code} {file}: {found:#?}");
        let grave = found.iter().any(|f| f["severity"] != "P2");
        assert_eq!(said.code, if grave { 7 } else { 0 }, "{code}");
        assert!(found.iter().all(|f| f["repair"].as_str().is_some_and(|r| !r.is_empty())));
        let status = say(&yard, &["status", "--json"]).json();
        assert_eq!(status["findings"], json["findings"], "{code}: status and lint differ");
        let person = say(&yard, &["lint"]);
        assert!(person.out.contains(code) && person.out.contains(file), "{code}: {}", person.out);
        assert_eq!(snapshot(&yard.path("_ctx")), before, "{code}: looking changed something");
    }
}

/// Every code has a section in the page, and every section a code.
#[test]
fn the_page_names_every_code() {
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md")).unwrap();
    for case in cases() {
        assert!(page.contains(&format!("| `{}` |", case.code)), "{} is not in the page", case.code);
    }
    let codes: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("| `")?.split('`').next())
        .filter(|code| !["missing-key", "ignored-key"].contains(code))
        .collect();
    for code in codes {
        assert!(cases().iter().any(|c| c.code == code), "{code} has no tree");
    }
}

#[test]
fn findings_say_where() {
    let yard = Yard::git();
    yard.put(&format!("{P}/WO-1.yaml"), &order("# x\ndependencies:\n  - WO-7\ndod_id: D\n"));
    let found = lint(&yard);
    let line = |code: &str| found.iter().find(|f| f["code"] == code).unwrap()["line"].clone();
    assert_eq!((line("unknown-dependency"), line("unknown-dod")), (5.into(), 7.into()));
}

#[test]
fn names_that_are_not_text_are_escaped() {
    let yard = Yard::git();
    let name = std::ffi::OsStr::from_bytes(b"a\xff\n.yaml");
    fs::write(yard.path(P).join(name), "x").unwrap();
    let found = lint(&yard);
    assert_eq!(found[0]["file"], format!("{P}/a\\xff\\n.yaml"));
    assert_eq!(found[0]["code"], "invalid-ticket");
    assert!(say(&yard, &["list"]).code == 0);
}

#[test]
fn a_live_lease_excuses_the_status_and_kept_worktrees_are_no_finding() {
    let yard = Yard::git();
    let (pid, start_time) = own_process();
    yard.put(&format!("{R}/WO-1.yaml"), &manual("status: pending\n"));
    yard.put(&format!("{R}/WO-1.lock"), &by_ann(pid, start_time));
    yard.put("_ctx/jobs/done/WO-2.yaml", &settled("WO-2", "done", ""));
    yard.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-2", "-b", "feat/wo-WO-2"]);
    yard.run_git(".", &["worktree", "add", "-q", "../elsewhere", "-b", "mine"]);
    // Pending again after a failed attempt, its worktree kept.
    yard.put(
        &format!("{P}/WO-3.yaml"),
        "id: WO-3\ntitle: T\nrun: make\nx_jobyard:\n  attempt: 1\n",
    );
    yard.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-3", "-b", "feat/wo-WO-3"]);
    assert_eq!(lint(&yard), Vec::<Value>::new());
}

#[test]
fn ten_thousand_healthy_orders_give_none() {
    let yard = Yard::git();
    for n in 0..10_000 {
        let state = if n % 3 == 0 { "failed" } else { "done" };
        let id = format!("J-{n}");
        let path = yard.path(Yard::ticket(state, &id));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, settled(&id, state, "")).unwrap();
    }
    for n in 0..5 {
        let (tree, branch) = (format!(".worktrees/J-{n}"), format!("feat/wo-J-{n}"));
        yard.run_git(".", &["worktree", "add", "-q", &tree, "-b", &branch]);
    }
    assert_eq!(lint(&yard), Vec::<Value>::new());
    let counts = say(&yard, &["status", "--json"]).json()["counts"].clone();
    assert_eq!((&counts["done"], &counts["failed"]), (&6666.into(), &3334.into()));
    for verb in ["status", "reconcile"] {
        let said = say(&yard, &[verb, "--json"]);
        assert_eq!((said.code, &said.json()["findings"]), (0, &Value::Array(Vec::new())), "{verb}");
    }
    let tickets = || {
        ["done", "failed"].map(|state| super::snapshot(&yard.path(format!("_ctx/jobs/{state}"))))
    };
    let before = tickets();
    assert_eq!(say(&yard, &["reconcile", "--apply"]).code, 0);
    assert!(tickets() == before, "there is nothing to repair");
    let doctor = say(&yard, &["doctor", "--json"]).json();
    assert_eq!(doctor["findings"], Value::Array(Vec::new()), "{doctor}");
}

#[test]
fn a_busy_daemon_gives_no_finding() {
    let mut yard = Yard::git();
    yard.start();
    for n in 0..24 {
        yard.submit(&format!("WO-{n}"), "run: ['true', 'true']\nverify: {commands: [test -d .]}\n");
    }
    let mut looks = 0;
    let settled = |yard: &Yard| (0..24).all(|n| yard.places(&format!("WO-{n}")) == ["done"]);
    while !settled(&yard) || looks < 3 {
        let found = lint(&yard);
        assert_eq!(found, Vec::<Value>::new(), "{}", yard.sight());
        looks += 1;
        assert!(looks < 2000, "{}", yard.sight());
    }
    assert_eq!(say(&yard, &["audit", "verify"]).code, 0);
}

#[test]
fn files_are_linted_before_they_are_submitted() {
    let yard = Yard::git();
    let file = yard.beside("draft of mine.yaml");
    let name = file.to_str().unwrap();
    let check = |text: &str, code: i32, codes: &[&str]| {
        fs::write(&file, text).unwrap();
        let said = say(&yard, &["lint", "--json", name]);
        let json = said.json();
        let found = json["findings"].as_array().unwrap();
        let found: Vec<&str> = found.iter().map(|f| f["code"].as_str().unwrap()).collect();
        assert_eq!((said.code, found), (code, codes.to_vec()), "{text}");
    };
    check("id: WO-5\ntitle: T\n", 0, &["missing-key"]);
    check("id: WO-5\n", 7, &["invalid-ticket"]);
    check("id: WO-5\ntitle: T\ndependencies: [WO-6]\n", 7, &["missing-key", "unknown-dependency"]);
    check("id: WO-5\ntitle: T\nverify: {commands: [':']}\n", 7, &["missing-key", "vacuous-checks"]);
    let elsewhere = tempfile::TempDir::new().unwrap();
    let out = std::process::Command::new(&yard.program)
        .args(["lint", "--json", name])
        .current_dir(elsewhere.path())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(7), "without a root");
}

#[test]
fn a_long_chain_is_no_cycle_and_costs_nothing() {
    let yard = Yard::bare();
    for n in 0..3000 {
        let next = format!("dependencies: [C-{}]\n", n + 1);
        let upstream = if n == 2999 { "" } else { &next };
        yard.put(&format!("{P}/C-{n}.yaml"), &format!("id: C-{n}\ntitle: T\nrun: a\n{upstream}"));
    }
    assert_eq!(lint(&yard), Vec::<Value>::new());
    let json = say(&yard, &["list", "--json"]).json();
    assert_eq!(json["orders"].as_array().unwrap().len(), 3000);
    yard.put(&format!("{P}/C-2999.yaml"), "id: C-2999\ntitle: T\nrun: a\ndependencies: [C-2990]\n");
    let found = lint(&yard);
    assert_eq!((found.len(), &found[0]["code"]), (1, &"dependency-cycle".into()));
    let json = say(&yard, &["list", "--json"]).json();
    let orders = json["orders"].as_array().unwrap();
    assert_eq!(orders.iter().filter(|o| o["word"] == "refused").count(), 10);
}

/// What people wrote: everything but the ledger, jobyard's own files and its explanations.
fn of_people(yard: &Yard) -> BTreeMap<String, (u64, Vec<u8>)> {
    let mut files = snapshot(&yard.path("_ctx"));
    let own = |name: &str| {
        let dir = std::path::Path::new(name).is_dir();
        dir || name.contains("/audit/") || name.contains("/.jobyard/") || name.ends_with(".why")
    };
    files.retain(|name, _| !own(name));
    files
}

/// Where a person has to decide `--apply` changes nothing; it never removes what is no lock of ours.
#[test]
fn reconcile_and_doctor_agree_with_lint_and_repair_only_what_is_safe() {
    let mut repaired = BTreeSet::new();
    for case in cases() {
        let code = case.code;
        let yard = if case.wants_git() { Yard::git() } else { Yard::bare() };
        (case.make)(&yard);
        let (before, all) = (of_people(&yard), snapshot(&yard.path("_ctx")));
        let expected = lint(&yard);
        for verb in ["reconcile", "doctor"] {
            let json = say(&yard, &[verb, "--json"]).json();
            assert_eq!(json["findings"].as_array(), Some(&expected), "{code}: {verb} differs");
        }
        let dry = say(&yard, &["reconcile", "--dry-run", "--json"]).json();
        assert_eq!(snapshot(&yard.path("_ctx")), all, "{code}: looking changed something");
        let said = say(&yard, &["reconcile", "--apply", "--json"]);
        if code == "invalid-config" {
            assert_eq!(said.code, 2, "{}", said.err);
            continue;
        }
        let applied = said.json();
        let none = |json: &Value| json["repairs"].as_array().unwrap().is_empty();
        assert_eq!(none(&dry), none(&applied), "{code}: {dry} {applied}");
        if none(&applied) {
            assert_eq!(of_people(&yard), before, "{code}");
        } else {
            repaired.insert(code);
            let left = applied["findings"].as_array().unwrap();
            assert!(!has(left, &case), "{code}: {applied}");
        }
    }
    let repairs: Vec<_> = repaired.into_iter().collect();
    assert_eq!(repairs, ["done-without-settlement"]);
}
