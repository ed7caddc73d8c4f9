//! `plan`: a workflow's tasks become a package, or a manifest alone.

use super::root::Root;
use jobyard::model::package::manifest::parse_line;
use jobyard::model::package::{Package, Strategy, parse_package};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn package(dir: &Path) -> Package {
    parse_package(&fs::read(dir.join("work_order.yaml")).unwrap()).unwrap().0
}

/// The names in a directory, hidden ones too.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A planner of the user's.
fn planner(root: &Root, workflow: &str, name: &str, script: &str) {
    let dir = root.path("_ctx/workflows").join(workflow);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), format!("#!/bin/sh\n{script}")).unwrap();
    fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_demo_becomes_a_package_in_the_known_form() {
    let root = Root::without_git();
    let said = root.run(&["plan", "system_test", "--mode", "demo", "--count", "5"]).ends(0);
    let packages = root.path("_ctx/packages");
    let all = names(&packages);
    let [id] = all.as_slice() else { panic!("{all:?}") };
    let (mode, stamp) = id.split_once('_').unwrap();
    let form: String = stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!((mode, form.as_str()), ("demo", "99999999_999999"));
    let dir = packages.join(id);
    let want = format!(
        "Created job package: {}/\n  - work_order.yaml\n  - manifest.jsonl (5 tasks)\n  \
         Strategy: hybrid_supervisor\n  Backlog: job:{id}:backlog\n",
        dir.display()
    );
    assert_eq!((said.out, said.err), (want, String::new()));
    assert_eq!(names(&dir), ["manifest.jsonl", "work_order.yaml"]);
    let package = package(&dir);
    assert_eq!((package.name.as_str(), package.count), ("Demo - 5 tasks", Some(5)));
    assert_eq!(
        (package.strategy, package.workflow.as_deref()),
        (Strategy::Hybrid, Some("system_test"))
    );
    let manifest = fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
    let labels: Vec<String> =
        manifest.lines().map(|line| parse_line(line.as_bytes()).unwrap().label()).collect();
    assert_eq!(labels, ["Job-01", "Job-02", "Job-03", "Job-04", "Job-05"]);
}

#[test]
fn packages_of_one_second_have_names_of_their_own() {
    let root = Root::without_git();
    for _ in 0..4 {
        root.run(&["plan", "system_test", "--mode", "debug", "--count", "1"]).ends(0);
    }
    let packages = root.path("_ctx/packages");
    let all = names(&packages);
    assert_eq!(all.len(), 4, "{all:?}");
    for id in &all {
        let package = package(&packages.join(id));
        assert_eq!(
            (package.id.as_str(), package.backlog_key),
            (id.as_str(), format!("job:{id}:backlog"))
        );
    }
}

#[test]
fn a_planner_prints_its_lines_or_writes_a_file() {
    let root = Root::without_git();
    let script = "test \"$JOBYARD_MODE $JOBYARD_COUNT $*\" = 'fast 2 a b' || exit 1\n\
                  printf '{\"task\":\"x\"}\\n\\n{\"task\":\"y\"}\\n'";
    planner(&root, "image", "plan.sh", script);
    let call = ["plan", "image", "--mode", "fast", "--count", "2", "--json", "--", "a", "b"];
    let said = root.run(&call).ends(0);
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&told["schema"], &told["tasks"]), (&"jobyard.plan.v1".into(), &2.into()));
    let dir = told["package"].as_str().unwrap();
    assert_eq!(package(Path::new(dir)).workflow.as_deref(), Some("image"));
    let line = "echo '{\"task\":\"x\"}' >> \"$JOBYARD_MANIFEST\"";
    planner(&root, "written", "plan", line);
    root.run(&["plan", "written"]).ends(0);
    planner(&root, "both", "plan", &format!("{line}; echo '{{}}'"));
    let before = names(&root.path("_ctx/packages"));
    let said = root.run(&["plan", "both"]).ends(4);
    assert!(said.err.contains("leave one of them"), "{said:?}");
    assert_eq!(names(&root.path("_ctx/packages")), before);
}

#[test]
fn a_planner_that_fails_or_plans_nothing_leaves_nothing() {
    let root = Root::without_git();
    planner(&root, "fails", "plan", "echo '{\"task\":\"x\"}'; echo 'no reason' >&2; exit 7");
    let said = root.run(&["plan", "fails"]).ends(1);
    assert!(said.err.contains("no reason") && said.err.contains("exit status: 7"), "{said:?}");
    planner(&root, "empty", "plan", "echo");
    let said = root.run(&["plan", "empty"]).ends(4);
    assert!(said.err.contains("planned no task"), "{said:?}");
    fs::create_dir(root.path("_ctx/workflows/bare")).unwrap();
    let said = root.run(&["plan", "bare"]).ends(3);
    assert!(said.err.contains("holds no planner"), "{said:?}");
    fs::write(root.path("_ctx/workflows/bare/plan.py"), "").unwrap();
    let said = root.run(&["plan", "bare"]).ends(4);
    assert!(said.err.contains("chmod +x"), "{said:?}");
    planner(&root, "fails", "plan.old", "exit 0");
    let said = root.run(&["plan", "fails"]).ends(4);
    assert!(said.err.contains("both plan"), "{said:?}");
    assert_eq!(names(&root.path("_ctx/packages")), [""; 0]);
}

#[test]
fn a_line_that_is_no_task_is_told_and_kept() {
    let root = Root::without_git();
    planner(&root, "odd", "plan", "printf 'x\\n{\"task\":\"a\",\"#args\":[]}\\n{\"task\":\"b\"}'");
    let said = root.run(&["plan", "odd"]).ends(0);
    assert!(said.out.contains("(3 tasks)"), "{said:?}");
    assert!(said.err.contains("manifest.jsonl:1: column 1: expected value"), "{said:?}");
    assert!(said.err.contains("manifest.jsonl:2: `#args` is not known"), "{said:?}");
}

#[test]
fn manifests_alone_are_numbered() {
    let root = Root::without_git();
    let dir = root.path("manifests");
    let call = ["plan", "system_test", "--mode", "stress_supervisor", "--manifest-dir"];
    let call = [&call[..], &[dir.to_str().unwrap()]].concat();
    let said = root.run(&call).ends(0);
    let first = fs::canonicalize(dir.join("system_test_stress_supervisor_01.jsonl")).unwrap();
    assert_eq!(said.out, format!("Created manifest: {} (10 tasks)\n", first.display()));
    fs::rename(&first, dir.join("system_test_stress_supervisor_41.jsonl")).unwrap();
    root.run(&call).ends(0);
    let line = "echo '{\"task\":\"x\"}' >> \"$JOBYARD_MANIFEST\"";
    planner(&root, "written", "plan", line);
    root.run(&["plan", "written", "--manifest-dir", dir.to_str().unwrap()]).ends(0);
    planner(&root, "fails", "plan", &format!("{line}; exit 1"));
    root.run(&["plan", "fails", "--manifest-dir", dir.to_str().unwrap()]).ends(1);
    let want = [
        "system_test_stress_supervisor_41.jsonl",
        "system_test_stress_supervisor_42.jsonl",
        "written_01.jsonl",
    ];
    assert_eq!(names(&dir), want);
    assert_eq!(names(&root.path("_ctx/packages")), [""; 0]);
}

#[test]
fn what_cannot_be_planned_is_refused_with_the_nearest() {
    let root = Root::without_git();
    let check = |call: &[&str], code: i32, part: &str| {
        let said = root.run(&[&["plan"], call].concat()).ends(code);
        assert!(said.err.contains(part), "{call:?}: {said:?}");
    };
    check(&["system_test"], 2, "--mode: expected one of debug, sleep, crud");
    check(&["system_test", "--mode", "dem"], 2, "nearest: demo");
    check(
        &["system_test", "--mode", "demo", "--strategy", "force_mettle"],
        2,
        "nearest: force_metal",
    );
    check(&["system_tset"], 3, "nearest: system_test");
    check(&["../x"], 2, "a workflow's name");
    check(&["system_test", "--mode", "demo", "--scale", "0"], 2, "from 0.001 to 1000");
    check(&["system_test", "--mode", "demo", "--count", "0"], 4, "planned no task");
    check(&["system_test", "--mode", "demo", "--", "x"], 2, "no words of its own");
    assert_eq!(names(&root.path("_ctx/packages")), [""; 0]);
    let said = root.run(&["plan", "--list"]).ends(0);
    let modes = "debug, sleep, crud, crud_latency, stress_supervisor, demo";
    let want = format!(
        "gap_fill         built in; mends the graph of a SQLite database\n\
         system_test      built in; modes: {modes}\n"
    );
    assert_eq!(said.out, want);
}

#[test]
fn gaps_of_a_graph_are_planned_and_their_tasks_mend_them() {
    let root = Root::without_git();
    let said = root.run(&["plan", "gap_fill"]).ends(2);
    assert!(said.err.contains("needs --db FILE"), "{said:?}");
    let said = root.run(&["plan", "gap_fill", "--db", "nowhere.db"]).ends(3);
    assert!(said.err.contains("look at nowhere.db"), "{said:?}");
    let database = rusqlite::Connection::open(root.path("graph.db")).unwrap();
    database.execute_batch(include_str!("../../../examples/graph/graph.sql")).unwrap();
    let call = ["plan", "gap_fill", "--db", "graph.db", "--json"];
    let told = root.run(&call).ends(0).json();
    assert_eq!((&told["tasks"], &told["bad_lines"]), (&4.into(), &serde_json::json!([])));
    let manifest = fs::read_to_string(told["manifest"].as_str().unwrap()).unwrap();
    for line in manifest.lines() {
        let task = parse_line(line.as_bytes()).unwrap();
        assert_eq!(done(&task.name, line), (0, line.contains("add_node").then_some("added")));
    }
    let said = root.run(&call).ends(4);
    assert!(said.err.contains("planned no task"), "{said:?}");
    let said = root.run(&["plan", "gap_fill", "--db", "graph.db", "--node-table", "nodez"]).ends(1);
    assert!(said.err.contains("no such table: nodez"), "{said:?}");
}

/// Does a task as a channel would: its exit code, and whether it says that it added something.
fn done(name: &str, line: &str) -> (i32, Option<&'static str>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_jobyard"))
        .args(["task", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    (ended.status.code().unwrap(), (result["added"] == true).then_some("added"))
}
