//! `init`, `submit`, `heartbeat`, `demo`: what they make, and that they change nothing else.

use super::root::Root;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

#[test]
fn init_makes_a_root_once_and_adopts_what_was_settled_before() {
    let root = Root::new();
    fs::remove_dir_all(root.path("_ctx")).unwrap();
    fs::create_dir_all(root.path("_ctx/jobs/done")).unwrap();
    let old = "id: OLD\ntitle: t # kept\nstatus: done\n";
    fs::write(root.path("_ctx/jobs/done/OLD.yaml"), old).unwrap();
    root.git(&["add", "-f", "_ctx/jobs/done/OLD.yaml"]);
    let said = root.run(&["init"]).ends(0);
    assert!(said.out.contains("made _ctx/jobyard.toml"), "{said:?}");
    assert!(said.out.contains("adopted 1 settled"), "{said:?}");
    assert!(said.err.contains("git tracks state") && said.err.contains("OLD.yaml"), "{said:?}");
    assert!(root.ticket("OLD").starts_with(old) && root.ticket("OLD").contains("settled_state"));
    let config = fs::read_to_string(root.path("_ctx/jobyard.toml")).unwrap();
    assert!(config.lines().all(|l| l.is_empty() || l.starts_with('#')));
    let before = root.snapshot();
    let again = root.run(&["init"]).ends(0);
    assert!(again.out.contains("nothing to do"), "{again:?}");
    assert_eq!(root.snapshot(), before);
}

#[test]
fn init_means_the_repository_one_is_in_also_within_another_root() {
    let root = Root::new();
    fs::create_dir_all(root.path("inner/below")).unwrap();
    root.run_in("inner/below", &["init"]).ends(0);
    assert!(!root.path("inner/_ctx").exists(), "the root around it is the one");
    fs::create_dir(root.path("inner/.git")).unwrap();
    root.git(&["-C", "inner", "init", "-q"]);
    let said = root.run_in("inner/below", &["init"]).ends(0);
    assert!(root.path("inner/_ctx/jobs").exists(), "{said:?}");
    // The worktree of an order is none of its own.
    root.order("A", "");
    root.run(&["take", "A"]).ends(0);
    let said = root.run_in(".worktrees/A", &["init"]).ends(0);
    assert!(!root.path(".worktrees/A/_ctx").exists(), "{said:?}");
}

#[test]
fn whoever_could_not_read_a_file_cannot_read_its_ticket() {
    use std::os::unix::fs::PermissionsExt;
    let root = Root::new();
    fs::write(root.path("a.yaml"), "id: A\ntitle: t\nenv: {TOKEN: s}\n").unwrap();
    fs::set_permissions(root.path("a.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    root.run(&["submit", "a.yaml"]).ends(0);
    let mode = fs::metadata(root.path("_ctx/jobs/pending/A.yaml")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn init_adopts_later_comers_only_when_told_to() {
    let root = Root::new();
    root.run(&["init"]).ends(0);
    fs::write(root.path("_ctx/jobs/failed/LATE.yaml"), "id: LATE\ntitle: t\n").unwrap();
    root.run(&["init"]).ends(0);
    assert!(!root.ticket("LATE").contains("settled_state"));
    root.run(&["init", "--adopt"]).ends(0);
    assert!(root.ticket("LATE").contains("settled_state: failed"));
}

#[test]
fn init_works_without_git_and_says_what_that_means() {
    let root = Root::without_git();
    let said = root.run(&["init"]).ends(0);
    assert!(said.err.contains("workspace: none"), "{said:?}");
    let json = root.run(&["init", "--json"]).ends(0).json();
    assert_eq!(json["schema"], "jobyard.init.v1");
}

#[test]
fn submit_publishes_all_or_nothing() {
    let root = Root::new();
    let put = |name: &str, text: &str| fs::write(root.path(name), text).unwrap();
    put("a.yaml", "id: A\ntitle: t # why\n");
    put("b.yaml", "id: B\ntitle: t\n");
    put("bad.yaml", "id: C\ntitle: [\n");
    let said = root.run(&["submit", "a.yaml", "bad.yaml"]).ends(4);
    assert!(
        said.err.contains("bad.yaml:2:8") && said.err.contains("nothing was submitted"),
        "{said:?}"
    );
    assert_eq!(root.state("A"), "nowhere");
    root.run(&["submit", "a.yaml", "a.yaml"]).ends(4);
    root.run(&["submit", "a.yaml", "none.yaml"]).ends(3);
    let said = root.run(&["submit", "a.yaml", "b.yaml"]).ends(0);
    assert_eq!((said.out.as_str(), said.err.as_str()), ("A\nB\n", ""));
    assert_eq!(root.ticket("A"), "id: A\ntitle: t # why\n");
    let names: Vec<_> = fs::read_dir(root.path("_ctx/jobs/pending")).unwrap().collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn submit_refuses_an_id_that_exists_in_any_state() {
    let root = Root::new();
    fs::write(root.path("a.yaml"), "id: A\ntitle: t\n").unwrap();
    root.run(&["submit", "a.yaml"]).ends(0);
    let refused = |state: &str| {
        assert_eq!(root.state("A"), state);
        let said = root.run(&["submit", "a.yaml"]).ends(4);
        assert!(said.err.contains("exists"), "{said:?}");
    };
    refused("pending");
    root.run(&["take", "A"]).ends(0);
    refused("running");
    root.run(&["finish", "A"]).ends(0);
    refused("done");
    let again = root.run(&["submit", "a.yaml", "--id", "A2", "--json"]).ends(0).json();
    assert_eq!(again["ids"], serde_json::json!(["A2"]));
    assert!(root.ticket("A2").contains("id: A2"));
    root.run(&["cancel", "A2"]).ends(0);
    root.run(&["submit", "a.yaml", "--id", "A2"]).ends(4);
}

#[test]
fn submit_reads_standard_input() {
    let root = Root::new();
    fs::write(root.path("in"), "title: t\n").unwrap();
    let stdin = || Stdio::from(File::open(root.path("in")).unwrap());
    let missing = root.begin_in("", &["submit", "-"], stdin()).wait().ends(4);
    assert!(missing.err.contains("has no `id`"), "{missing:?}");
    root.begin_in("", &["submit", "-", "--id", "X"], stdin()).wait().ends(0);
    assert_eq!(root.state("X"), "pending");
}

#[test]
fn heartbeat_touches_the_lock_and_nothing_else() {
    let root = Root::new();
    root.order("A", "");
    let none = root.run(&["heartbeat", "A"]).ends(3);
    assert!(none.err.contains("jobyard take A"), "{none:?}");
    root.run(&["take", "A"]).ends(0);
    let lock = root.path("_ctx/jobs/running/A.lock");
    let old = SystemTime::now() - Duration::from_secs(7200);
    File::open(&lock).unwrap().set_modified(old).unwrap();
    let before = root.snapshot();
    root.run(&["heartbeat", "A", "--dry-run"]).ends(0);
    assert_eq!(fs::metadata(&lock).unwrap().modified().unwrap(), old);
    root.run(&["heartbeat", "A"]).ends(0);
    let age = fs::metadata(&lock).unwrap().modified().unwrap().elapsed().unwrap_or_default();
    assert!(age < Duration::from_secs(600));
    assert_eq!(root.snapshot(), before);
    fs::write(&lock, "WO-1\n").unwrap();
    root.run(&["heartbeat", "A"]).ends(5);
}

#[test]
fn the_demo_ends_as_it_should() {
    let root = Root::new();
    let place = root.path("demo");
    let said = root.run(&["demo", place.to_str().unwrap(), "--json"]).ends(0).json();
    assert_eq!(said["expected"], true, "{said}");
    assert_eq!(said["orders"].as_array().unwrap().len(), 5);
    root.run(&["demo", place.to_str().unwrap()]).ends(2);
}
