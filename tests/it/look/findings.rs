//! One tree for each finding, and trees without any.

use super::{lint, say, settled, snapshot};
use crate::yard::Yard;
use jobyard::model::attempt::Holder;
use jobyard::model::lease::{Lease, LeaseMode};
use jobyard::model::time::Moment;
use jobyard::world::identity;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

const P: &str = "_ctx/jobs/pending";
const R: &str = "_ctx/jobs/running";
const PAST: Duration = Duration::from_secs(7200);

/// A tree and the finding it must give.
struct Case {
    code: &'static str,
    severity: &'static str,
    file: &'static str,
    make: fn(&Yard),
}

fn order(rest: &str) -> String {
    format!("id: WO-1\ntitle: T\nrun: make\n{rest}")
}

fn manual(rest: &str) -> String {
    format!("id: WO-1\ntitle: T\nworkspace: none\nowner: ann\nstarted_at: '2026-01-01'\n{rest}")
}

/// A lease of jobyard's own form.
fn lease(mode: LeaseMode, pid: u32, start_time: u64) -> String {
    let who = identity::of_this_process().unwrap();
    let lease = Lease {
        mode,
        pid,
        start_time,
        user: who.user,
        host: who.host,
        boot: who.boot,
        instance: "0123456789abcdef".to_owned(),
    };
    lease.render(Moment(0), &jiff::tz::TimeZone::UTC)
}

fn by_ann(pid: u32, start_time: u64) -> String {
    let holder = Holder { uid: 7, name: "ann".to_owned() };
    lease(LeaseMode::Manual { attempt: 1, holder }, pid, start_time)
}

fn own_process() -> (u32, u64) {
    let who = identity::of_this_process().unwrap();
    (who.pid, who.start_time)
}

fn aged(yard: &Yard, name: &str) {
    let file = File::options().append(true).open(yard.path(name)).unwrap();
    file.set_modified(SystemTime::now() - PAST).unwrap();
}

fn verdict(yard: &Yard, id: &str, attempt: u32, result: &str) {
    let text = format!(
        "{{\"schema\":\"jobyard.verdict.v1\",\"id\":\"{id}\",\"attempt\":{attempt},\"result\":\"{result}\",\
         \"reason\":\"x\",\"sentences\":[],\"override\":null,\"base\":null,\"commit\":null,\
         \"verified_at_sha\":null,\"started\":\"\",\"ended\":\"\",\"checks\":[],\"scope_violations\":[],\
         \"order_digest\":\"\",\"ledger_seq\":1,\"ledger_hash\":\"\"}}"
    );
    yard.put(&format!("_ctx/runs/{id}/{attempt}/verdict.json"), &text);
}

const LEDGER: &str = "_ctx/audit/00000001.jsonl";

fn cases() -> Vec<Case> {
    let mut cases = tickets();
    cases.extend(places());
    cases.extend(leases());
    cases.extend(content());
    cases
}

fn tickets() -> Vec<Case> {
    vec![
        Case {
            code: "invalid-ticket",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), "id: WO-1\ntitle: [\n"),
        },
        Case {
            code: "invalid-ticket",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yml",
            make: |y| y.put(&format!("{P}/WO-1.yml"), &order("")),
        },
        Case {
            code: "invalid-ticket",
            severity: "P0",
            file: "_ctx/jobs/pending/a b.yaml",
            make: |y| y.put(&format!("{P}/a b.yaml"), &order("")),
        },
        Case {
            code: "invalid-ticket",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| fs::create_dir(y.path(format!("{P}/WO-1.yaml"))).unwrap(),
        },
        Case {
            code: "invalid-ticket",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| symlink("/etc/passwd", y.path(format!("{P}/WO-1.yaml"))).unwrap(),
        },
        Case {
            code: "invalid-ticket",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.fifo(&format!("{P}/WO-1.yaml")),
        },
        Case {
            code: "id-mismatch",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-2.yaml",
            make: |y| y.put(&format!("{P}/WO-2.yaml"), &order("")),
        },
        Case {
            code: "id-used-twice",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-2.yaml",
            make: |y| {
                y.put(&format!("{P}/WO-1.yaml"), &order(""));
                y.put(&format!("{P}/WO-2.yaml"), &order(""));
            },
        },
        Case {
            code: "id-in-two-states",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                y.put(&format!("{P}/WO-1.yaml"), &order(""));
                y.put("_ctx/jobs/failed/WO-1.yaml", &order(""));
            },
        },
        Case {
            code: "status-mismatch",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), &order("status: done\n")),
        },
        Case {
            code: "unknown-status",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), &order("status: partial\n")),
        },
        Case {
            code: "unknown-key",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), &order("dependancies: []\n")),
        },
        Case {
            code: "empty-scope",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), &order("scope: {}\n")),
        },
        Case {
            code: "done-without-settlement",
            severity: "P1",
            file: "_ctx/jobs/done/WO-1.yaml",
            make: |y| {
                y.put(LEDGER, "");
                y.put("_ctx/jobs/done/WO-1.yaml", &order(""));
            },
        },
        Case {
            code: "done-without-settlement",
            severity: "P2",
            file: "_ctx/jobs/failed/WO-1.yaml",
            make: |y| y.put("_ctx/jobs/failed/WO-1.yaml", &order("")),
        },
        Case {
            code: "done-without-settlement",
            severity: "P1",
            file: "_ctx/jobs/failed/WO-1.yaml",
            make: |y| y.put("_ctx/jobs/failed/WO-1.yaml", &settled("WO-1", "done", "")),
        },
    ]
}

fn places() -> Vec<Case> {
    vec![
        Case {
            code: "running-without-worktree",
            severity: "P1",
            file: "_ctx/jobs/running/WO-1.yaml",
            make: |y| y.put(&format!("{R}/WO-1.yaml"), &order("")),
        },
        Case {
            code: "worktree-without-order",
            severity: "P1",
            file: ".worktrees/WO-9",
            make: |y| {
                y.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-9", "-b", "feat/wo-WO-9"]);
            },
        },
        Case {
            code: "worktree-of-pending",
            severity: "P1",
            file: ".worktrees/WO-1",
            make: |y| {
                y.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-1", "-b", "feat/wo-WO-1"]);
                y.put(&format!("{P}/WO-1.yaml"), &order(""));
            },
        },
        Case {
            code: "state-tracked-by-git",
            severity: "P1",
            file: "_ctx/jobs/done/WO-1.yaml",
            make: |y| {
                y.put("_ctx/jobs/done/WO-1.yaml", &settled("WO-1", "done", ""));
                y.run_git(".", &["add", "-f", "_ctx/jobs/done/WO-1.yaml"]);
            },
        },
        Case {
            code: "foreign-file",
            severity: "P2",
            file: "_ctx/jobs/pending/.gitkeep",
            make: |y| y.put(&format!("{P}/.gitkeep"), ""),
        },
        Case {
            code: "foreign-file",
            severity: "P2",
            file: "_ctx/jobs/control/what is this",
            make: |y| y.put("_ctx/jobs/control/what is this", ""),
        },
        Case {
            code: "foreign-file",
            severity: "P2",
            file: "_ctx/jobs/done/a\\nb",
            make: |y| y.put("_ctx/jobs/done/a\nb", ""),
        },
        Case {
            code: "invalid-config",
            severity: "P1",
            file: "_ctx/jobyard.toml",
            make: |y| y.configure("slotz = 3\n"),
        },
        Case {
            code: "invalid-dod",
            severity: "P1",
            file: "_ctx/dod/a.yaml",
            make: |y| y.put("_ctx/dod/a.yaml", "dod: 3\n"),
        },
        Case {
            code: "invalid-backlog",
            severity: "P1",
            file: "_ctx/backlog/backlog.yaml",
            make: |y| y.put("_ctx/backlog/backlog.yaml", "[]\n"),
        },
    ]
}

fn leases() -> Vec<Case> {
    vec![
        Case {
            code: "running-without-lease",
            severity: "P1",
            file: "_ctx/jobs/running/WO-1.yaml",
            make: |y| y.put(&format!("{R}/WO-1.yaml"), &manual("")),
        },
        Case {
            code: "lease-without-order",
            severity: "P1",
            file: "_ctx/jobs/running/WO-1.lock",
            make: |y| y.put(&format!("{R}/WO-1.lock"), "WO-1\n"),
        },
        Case {
            code: "unknown-lease",
            severity: "P1",
            file: "_ctx/jobs/running/WO-1.lock",
            make: |y| {
                let old = "Locked by ctx_wo_take.py at x\nPID: 1\nUser: u\nHostname: h\n";
                y.put(&format!("{R}/WO-1.yaml"), &manual(""));
                y.put(&format!("{R}/WO-1.lock"), old);
            },
        },
        Case {
            code: "unknown-lease",
            severity: "P1",
            file: "_ctx/jobs/running/WO-1.lock",
            make: |y| {
                y.put(&format!("{R}/WO-1.yaml"), &manual(""));
                y.put(&format!("{R}/WO-1.lock"), &by_ann(own_process().0, 1));
            },
        },
        Case {
            code: "stale-lease",
            severity: "P1",
            file: "_ctx/jobs/running/WO-1.lock",
            make: |y| {
                let (pid, start_time) = own_process();
                y.put(&format!("{R}/WO-1.yaml"), &manual(""));
                y.put(&format!("{R}/WO-1.lock"), &by_ann(pid, start_time));
                aged(y, &format!("{R}/WO-1.lock"));
            },
        },
        Case {
            code: "failed-but-running",
            severity: "P1",
            file: "_ctx/runs/WO-1/2/verdict.json",
            make: |y| {
                let (pid, start_time) = own_process();
                y.put(&format!("{R}/WO-1.yaml"), &manual(""));
                y.put(&format!("{R}/WO-1.lock"), &by_ann(pid, start_time));
                verdict(y, "WO-1", 1, "pass");
                verdict(y, "WO-1", 2, "fail");
            },
        },
        Case {
            code: "missing-metadata",
            severity: "P2",
            file: "_ctx/jobs/running/WO-1.yaml",
            make: |y| {
                y.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-1", "-b", "feat/wo-WO-1"]);
                y.put(&format!("{R}/WO-1.yaml"), "id: WO-1\ntitle: T\n");
                y.put(&format!("{R}/WO-1.lock"), "old\n");
            },
        },
    ]
}

fn content() -> Vec<Case> {
    vec![
        Case {
            code: "unknown-dependency",
            severity: "P1",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), &order("dependencies: [WO-7]\n")),
        },
        Case {
            code: "unknown-epic",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                y.put("_ctx/backlog/backlog.yaml", "epics: [{id: E-1}]\n");
                y.put(&format!("{P}/WO-1.yaml"), &order("epic_id: E-2\n"));
            },
        },
        Case {
            code: "unknown-dod",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| y.put(&format!("{P}/WO-1.yaml"), &order("dod_id: D-1\n")),
        },
        Case {
            code: "unknown-engine",
            severity: "P1",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                let text = "id: WO-1\ntitle: T\nexecution: {engine: robot}\n";
                y.put(&format!("{P}/WO-1.yaml"), text);
            },
        },
        Case {
            code: "done-depends-on-failed",
            severity: "P1",
            file: "_ctx/jobs/done/WO-1.yaml",
            make: |y| {
                let rest = "dependencies: [WO-2]\n";
                y.put("_ctx/jobs/done/WO-1.yaml", &settled("WO-1", "done", rest));
                y.put("_ctx/jobs/failed/WO-2.yaml", &settled("WO-2", "failed", ""));
            },
        },
        Case {
            code: "dependency-cycle",
            severity: "P0",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                y.put(&format!("{P}/WO-1.yaml"), &order("dependencies: [WO-2]\n"));
                y.put(&format!("{P}/WO-2.yaml"), "id: WO-2\ntitle: T\ndependencies: [WO-1]\n");
                y.put(&format!("{P}/WO-3.yaml"), "id: WO-3\ntitle: T\ndependencies: [WO-1]\n");
            },
        },
        Case {
            code: "vacuous-checks",
            severity: "P1",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                y.put(&format!("{P}/WO-1.yaml"), &order("verify: {commands: ['true']}\n"));
            },
        },
        Case {
            code: "vacuous-checks",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                y.put(&format!("{P}/WO-1.yaml"), &order("verify: {commands: [make, 'true']}\n"));
            },
        },
        Case {
            code: "check-hides-failure",
            severity: "P2",
            file: "_ctx/jobs/pending/WO-1.yaml",
            make: |y| {
                let rest = "verify: {commands: ['pytest || true']}\n";
                y.put(&format!("{P}/WO-1.yaml"), &order(rest));
            },
        },
        Case {
            code: "check-hides-failure",
            severity: "P2",
            file: "_ctx/dod",
            make: |y| {
                let text = "dod: [{id: D, required_checks: ['pytest | tail']}]\n";
                y.put("_ctx/dod/d.yaml", text);
            },
        },
    ]
}

fn has(found: &[Value], case: &Case) -> bool {
    let same = |f: &&Value| f["code"] == case.code && f["file"] == case.file;
    found.iter().filter(same).any(|f| f["severity"] == case.severity)
}

#[test]
fn every_finding_is_found_in_its_tree_and_not_without_it() {
    for case in cases() {
        let (code, file) = (case.code, case.file);
        let yard = Yard::git();
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
