//! No daemon: the verb does the work itself.

use super::root::{Root, until};
use jobyard::world::root_lock::{Role, Tried, try_lock};
use rustix::process::Signal;
use std::fs;

#[test]
fn a_taken_order_has_lease_branch_and_worktree_and_the_banner_says_so() {
    let root = Root::new();
    root.order("WO-0013", "");
    let said = root.run(&["take", "WO-0013", "--owner", "felipe_gonzalez"]).ends(0);
    let rule = "━".repeat(40);
    let want = format!(
        "{rule}\n   ✅ Work Order WO-0013 Taken Successfully\n{rule}\n  WO ID:     WO-0013\n  \
         Branch:    feat/wo-WO-0013\n  Worktree:  .worktrees/WO-0013\n  Owner:     felipe_gonzalez\n\n\
         Next steps:\n  1. cd .worktrees/WO-0013\n  2. Start working on WO-0013\n  \
         3. Run: jobyard finish WO-0013\n"
    );
    assert_eq!((said.out, said.err), (want, String::new()));
    assert_eq!(root.state("WO-0013"), "running");
    assert!(root.has_lock("WO-0013") && root.path(".worktrees/WO-0013/README").exists());
    assert!(root.ticket("WO-0013").contains("owner: felipe_gonzalez"));
    assert!(fs::read_to_string(root.path(".git/info/exclude")).unwrap().contains("_ctx/jobs"));
    assert_eq!(root.requests(), Vec::<String>::new());
}

#[test]
fn a_held_order_says_by_whom_since_when_and_how_to_go_on() {
    let root = Root::new();
    root.order("A", "");
    root.run(&["take", "A", "--owner", "ann"]).ends(0);
    let said = root.run(&["take", "A"]).ends(5);
    for part in ["ann (uid", "age:", "last sign of life:", "A --takeover --reason TEXT"] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    let fresh = root.run(&["take", "A", "--takeover", "--reason", "mine"]).ends(5);
    assert!(fresh.err.contains("last sign of life"), "{fresh:?}");
}

#[test]
fn a_silent_holder_is_taken_over_with_a_reason() {
    let root = Root::new();
    root.order("A", "");
    root.run(&["take", "A"]).ends(0);
    let config = "settle = \"1ms\"\nstale_after = \"1ms\"\n";
    fs::write(root.path("_ctx/jobyard.toml"), config).unwrap();
    let bare = root.run(&["take", "A", "--takeover"]).ends(2);
    assert!(bare.err.contains("jobyard take A --takeover --reason TEXT"), "{bare:?}");
    root.run(&["take", "A", "--takeover", "--reason", "gone", "--owner", "eve"]).ends(0);
    assert!(root.ticket("A").contains("owner: eve") && root.path("_ctx/runs/A/1/lock").exists());
    root.run(&["requeue", "A", "--takeover", "--reason", "again"]).ends(0);
    assert_eq!((root.state("A"), root.has_lock("A")), ("pending", false));
}

#[test]
fn a_blocked_take_names_every_unmet_condition_and_force_skips_dependencies_only() {
    let root = Root::new();
    root.order("A", "");
    root.order("B", "dependencies: [A, NONE]\nhold: later");
    let said = root.run(&["take", "B"]).ends(4);
    for part in ["held (later)", "success of A, which is pending", "NONE, which is unknown"] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
    root.run(&["take", "B", "--force"]).ends(2);
    let held = root.run(&["take", "B", "--force", "--reason", "r"]).ends(4);
    assert!(!held.err.contains("NONE") && held.err.contains("later"), "{held:?}");
    root.run(&["unhold", "B"]).ends(0);
    root.run(&["take", "B", "--force", "--reason", "r"]).ends(0);
}

#[test]
fn ids_that_are_none_and_orders_that_are_nowhere() {
    let root = Root::new();
    root.run(&["take", "../x y"]).ends(2);
    root.run(&["take"]).ends(2);
    for verb in ["take", "finish", "cancel", "requeue", "hold", "unhold", "heartbeat"] {
        root.run(&[verb, "NONE"]).ends(3);
    }
    let elsewhere = tempfile::TempDir::new().unwrap();
    let said = root.run(&["--root", elsewhere.path().join("no").to_str().unwrap(), "take", "A"]);
    said.ends(3);
}

#[test]
fn a_failed_step_is_said_and_rolled_back() {
    let root = Root::new();
    root.order("A", "base: no-such-branch");
    let said = root.run(&["take", "A"]).ends(1);
    assert!(said.err.starts_with("✗ Failed to prepare the worktree: "), "{said:?}");
    assert!(said.err.contains("no-such-branch"), "{said:?}");
    assert!(said.err.contains("\nExecuting rollback...\n"), "{said:?}");
    assert!(said.err.ends_with("✓ Rollback completed\n"), "{said:?}");
    assert_eq!((root.state("A"), root.has_lock("A")), ("pending", false));
}

#[test]
fn finish_runs_the_checks_and_says_where_the_evidence_lies() {
    let root = Root::new();
    root.order("GOOD", "verify: {commands: ['test -f README', 'echo two']}");
    root.order("BAD", "verify: {commands: ['false']}");
    root.run(&["take", "GOOD"]).ends(0);
    root.run(&["take", "BAD"]).ends(0);
    let good = root.run_in(".worktrees/GOOD", &["finish"]).ends(0);
    assert!(good.out.contains("PASS") && good.out.contains("_ctx/runs/GOOD/1"), "{good:?}");
    let bad = root.run(&["finish", "BAD"]).ends(6);
    assert!(bad.out.contains("FAIL") && bad.out.contains("_ctx/runs/BAD/1"), "{bad:?}");
    assert_eq!((root.state("GOOD"), root.state("BAD")), ("done", "failed"));
    assert!(!root.has_lock("GOOD") && !root.has_lock("BAD"));
    assert!(root.ticket("GOOD").contains("result: pass"));
}

#[test]
fn an_order_that_nothing_vouches_for_is_unverified_with_a_warning() {
    let root = Root::new();
    root.order("A", "dod_id: DOD-NONE");
    root.run(&["take", "A"]).ends(0);
    let said = root.run(&["finish", "A"]).ends(0);
    assert!(said.err.contains("UNVERIFIED") && said.err.contains("DOD-NONE"), "{said:?}");
    assert_eq!(root.state("A"), "done");
}

#[test]
fn verification_is_skipped_only_with_a_reason() {
    let root = Root::new();
    root.order("A", "verify: {commands: ['false']}");
    root.run(&["take", "A"]).ends(0);
    let said = root.run(&["finish", "A", "--skip-verification"]).ends(2);
    let line = "jobyard finish A --skip-verification --reason TEXT";
    assert!(said.err.contains(line), "{said:?}");
    assert_eq!(root.state("A"), "running");
    let skip = ["finish", "A", "--skip-verification", "--reason", "it: \"burns\""];
    root.run(&skip).ends(0);
    let verdict = fs::read_to_string(root.path("_ctx/runs/A/1/verdict.json")).unwrap();
    assert!(verdict.contains(r#""override": "it: \"burns\"""#), "{verdict}");
}

#[test]
fn a_finish_that_misses_a_precondition_is_refused_and_stays() {
    let root = Root::new();
    root.order("A", "");
    root.run(&["take", "A"]).ends(0);
    fs::write(root.path(".worktrees/A/new"), "x").unwrap();
    let said = root.run(&["finish", "A"]).ends(4);
    assert!(said.err.contains("stays running"), "{said:?}");
    assert_eq!((root.state("A"), root.has_lock("A")), ("running", true));
    fs::remove_file(root.path(".worktrees/A/new")).unwrap();
    root.run(&["finish", "A"]).ends(0);
    root.run(&["finish"]).ends(2);
}

#[test]
fn an_interrupted_finish_is_joined_by_the_next_one() {
    let root = Root::new();
    let gate = root.path("gate");
    let check = format!("until test -f {}; do sleep 0.02; done", gate.display());
    root.order("A", &format!("verify: {{commands: ['{check}']}}"));
    root.run(&["take", "A"]).ends(0);
    let first = root.begin(&["finish", "A"]);
    until("the check runs", || root.path("_ctx/runs/A/1/01-check.log").exists());
    // The root is free while the check runs.
    root.order("B", "");
    root.run(&["take", "B"]).ends(0);
    first.signal(Signal::INT);
    let said = first.wait().ends(75);
    assert!(said.err.contains("filed") && said.err.contains("interrupted"), "{said:?}");
    root.run(&["finish", "A", "--wait", "0"]).ends(75);
    let second = root.begin(&["finish", "A"]);
    fs::write(gate, "").unwrap();
    second.wait().ends(0);
    assert_eq!(root.state("A"), "done");
}

#[test]
fn the_way_from_hold_to_cancel_to_requeue() {
    let root = Root::new();
    root.order("A", "run: 'true'");
    root.run(&["hold", "A", "--reason", "wait: for it"]).ends(0);
    assert!(root.ticket("A").contains("wait: for it"));
    root.run(&["unhold", "A"]).ends(0);
    root.run(&["cancel", "A", "--reason", "no"]).ends(0);
    assert_eq!(root.state("A"), "failed");
    root.run(&["cancel", "A"]).ends(4);
    root.run(&["requeue", "A"]).ends(0);
    assert_eq!(root.state("A"), "pending");
    root.run(&["take", "A"]).ends(0);
    root.run(&["hold", "A"]).ends(4);
    root.run(&["requeue", "A"]).ends(4);
    root.run(&["cancel", "A"]).ends(0);
    root.run(&["requeue", "A"]).ends(0);
    let again = root.run(&["take", "A", "--json"]).ends(0).json();
    assert_eq!(again["attempt"], 2);
}

#[test]
fn json_is_one_object_whatever_the_answer_and_wherever_the_flag_stands() {
    let root = Root::new();
    root.order("A", "");
    let taken = root.run(&["--json", "take", "A"]).ends(0).json();
    assert_eq!(taken["schema"], "jobyard.take.v1");
    assert_eq!((&taken["branch"], &taken["code"]), (&"feat/wo-A".into(), &0.into()));
    let held = root.run(&["take", "A", "--json"]).ends(5).json();
    assert_eq!((&held["schema"], &held["code"]), (&"jobyard.take.v1".into(), &5.into()));
    let usage = root.run(&["finish", "A", "--skip-verification", "--json"]).ends(2).json();
    assert_eq!(usage["schema"], "jobyard.error.v1");
    let done = root.run(&["finish", "A", "--json"]).ends(0).json();
    assert_eq!(done["verdict"]["result"], "unverified");
    let cancel = root.run(&["cancel", "A", "--json"]).ends(4).json();
    assert_eq!(cancel["schema"], "jobyard.cancel.v1");
}

#[test]
fn another_verb_is_waited_for_and_nothing_is_filed_meanwhile() {
    let root = Root::new();
    root.order("A", "");
    let place = root.path("").canonicalize().unwrap();
    let Ok(Tried::Held(lock)) = try_lock(&place, Role::Verb, "a test") else { panic!("held") };
    let said = root.run(&["take", "A", "--wait", "0"]).ends(75);
    assert!(said.err.contains("not filed") && said.err.contains("a test"), "{said:?}");
    assert_eq!(root.requests(), Vec::<String>::new());
    let waiting = root.begin(&["take", "A", "--wait", "60"]);
    drop(lock);
    waiting.wait().ends(0);
}

#[test]
fn a_request_that_cannot_be_filed_is_not_called_filed() {
    let root = Root::new();
    root.order("A", "");
    let place = root.path("").canonicalize().unwrap();
    let Ok(Tried::Held(_lock)) = try_lock(&place, Role::Daemon, "") else { panic!("held") };
    let control = place.join("_ctx/jobs/control");
    let _ = fs::remove_dir_all(&control);
    fs::write(&control, "").unwrap();
    let said = root.run(&["cancel", "A", "--wait", "1"]);
    assert!(said.code != 0 && said.err.contains("could not be filed"), "{said:?}");
    assert!(!said.err.contains("filed;"), "{said:?}");
}

#[test]
fn of_ten_takers_exactly_one_wins() {
    let root = Root::new();
    let rounds = std::env::var("JOBYARD_ROUNDS").map_or(2, |n| n.parse().unwrap());
    for round in 0..rounds {
        let id = format!("A{round}");
        root.order(&id, "");
        let takers: Vec<_> = (0..10).map(|_| root.begin(&["take", &id, "--wait", "60"])).collect();
        let mut codes: Vec<i32> = takers.into_iter().map(|t| t.wait().code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 5, 5, 5, 5, 5, 5, 5, 5, 5], "round {round}");
        assert_eq!((root.state(&id), root.has_lock(&id)), ("running", true));
    }
}

#[test]
fn without_git_an_order_without_workspace_is_taken_and_others_are_refused() {
    let root = Root::without_git();
    root.order("A", "workspace: none");
    root.order("B", "");
    let said = root.run(&["take", "A"]).ends(0);
    assert!(said.out.contains("Branch:    (none)") && said.err.is_empty(), "{said:?}");
    let refused = root.run(&["take", "B"]).ends(1);
    assert!(refused.err.contains("git init"), "{refused:?}");
    root.run(&["finish", "A"]).ends(0);
}

#[test]
fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let root = Root::new();
    root.order("A", "verify: {commands: ['test -f README']}");
    root.order("B", "dependencies: [A]");
    root.order("C", "");
    let dry = |arguments: &[&str], code: i32, part: &str| {
        let before = root.snapshot();
        let said = root.run(&[arguments, &["--dry-run"]].concat()).ends(code);
        assert!(said.out.contains(part) || said.err.contains(part), "{part}: {said:?}");
        assert!(root.snapshot() == before, "{arguments:?} changed something");
    };
    dry(&["take", "A"], 0, "would make the branch feat/wo-A");
    dry(&["take", "B"], 4, "success of A");
    dry(&["take", "NONE"], 3, "no such work order");
    root.run(&["take", "A"]).ends(0);
    dry(&["take", "A"], 5, "holds it");
    dry(&["finish", "A"], 0, "would run check: test -f README");
    dry(&["finish", "A", "--skip-verification"], 2, "--reason TEXT");
    dry(&["cancel", "A"], 0, "to failed/");
    dry(&["hold", "C", "--reason", "why not"], 0, "would hold it: why not");
    dry(&["unhold", "C"], 0, "would let it go");
    dry(&["cancel", "C"], 0, "cancelled");
    dry(&["requeue", "C"], 4, "pending already");
    root.run(&["cancel", "C"]).ends(0);
    dry(&["requeue", "C"], 0, "from failed/ to pending/");
    dry(&["init"], 0, "would make _ctx/dod/");
    dry(&["demo"], 0, "DEMO-5");
    fs::write(root.path("x.yaml"), "id: X\ntitle: t\n").unwrap();
    dry(&["submit", "x.yaml"], 0, "would publish x.yaml as _ctx/jobs/pending/X.yaml");
}
