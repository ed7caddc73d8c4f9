//! What a `work_order.yaml` may say, and what edits leave alone.

use super::*;

/// The example of the format, as older tools wrote it.
const SAMPLE: &str = "\
job_id: demo_20251211_153000
name: \"Demo - 5 tasks\"
created: '2025-12-11T15:30:00'
status: pending  # pending | running | completed | failed

manifest:
  path: manifest.jsonl
  count: 5

routing_strategy: hybrid_supervisor  # force_metal | force_cloud | hybrid_supervisor
backlog_key: \"job:demo_20251211_153000:backlog\"

output:
  results_path: results.jsonl
  logs_path: execution.log

execution:
  started_at: null
  completed_at: null
  tasks_dispatched: 5
  tasks_completed: 0
  tasks_failed: 0
";

fn sample() -> Package {
    parse_package(SAMPLE.as_bytes()).unwrap().0
}

#[test]
fn the_format_is_read() {
    let (package, warnings) = parse_package(SAMPLE.as_bytes()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(package.id.as_str(), "demo_20251211_153000");
    assert_eq!(package.name, "Demo - 5 tasks");
    assert_eq!((package.count, package.strategy), (Some(5), Strategy::Hybrid));
    assert_eq!(package.backlog_key, backlog_key(&package.id));
    assert_eq!(package.execution, Execution { dispatched: 5, ..Execution::default() });
}

#[test]
fn a_new_one_is_written_in_the_same_form() {
    let mut package = sample();
    package.execution.dispatched = 0;
    let want = SAMPLE.replace("tasks_dispatched: 5", "tasks_dispatched: 0");
    assert_eq!(package.text(), want.replace("name: \"Demo - 5 tasks\"", "name: Demo - 5 tasks"));
    package.workflow = Some("system_test".to_owned());
    package.origin = Some("demo: 1".to_owned());
    package.status = Some("pending".to_owned());
    assert_eq!(parse_package(package.text().as_bytes()), Ok((package, Vec::new())));
}

#[test]
fn facts_change_and_comments_stay() {
    let facts = Execution {
        started_at: Some("2025-12-11T15:30:05".to_owned()),
        completed_at: None,
        dispatched: 5,
        completed: 3,
        failed: 1,
    };
    let text = set_facts(SAMPLE, "running", &facts).unwrap();
    let want = SAMPLE
        .replace("status: pending  #", "status: running  #")
        .replace("started_at: null", "started_at: \"2025-12-11T15:30:05\"")
        .replace("tasks_completed: 0", "tasks_completed: 3")
        .replace("tasks_failed: 0", "tasks_failed: 1");
    assert_eq!(text, want);
    assert_eq!(parse_package(text.as_bytes()).unwrap().0.execution, facts);
    let bare = set_facts("job_id: a # mine\n", "failed", &facts).unwrap();
    assert!(bare.starts_with("job_id: a # mine\nstatus: failed\n"), "{bare}");
    assert_eq!(parse_package(bare.as_bytes()).unwrap().0.execution, facts);
}

#[test]
fn what_is_wrong_is_refused_with_its_place() {
    let check = |text: &str, part: &str| {
        let defects = parse_package(text.as_bytes()).expect_err(text);
        let all: Vec<String> = defects.iter().map(ToString::to_string).collect();
        assert!(all.join("\n").contains(part), "{text:?} gave {all:?}");
    };
    check("- a\n", "1:1: a package is a map");
    check("name: x\n", "has no `job_id`");
    check("job_id: ../x\n", "1:9: `job_id`:");
    check("job_id: a\nrouting_strategy: hybrid\n", "2:19: `routing_strategy`: expected one of");
    check(
        "job_id: a\nmanifest: {path: ../x}\n",
        "`manifest.path`: expected the name of a file in the package",
    );
    check("job_id: a\noutput: {results_path: /tmp/x}\n", "`output.results_path`");
    check("job_id: a\noutput: {results_path: b, logs_path: b}\n", "have the same name");
    check("job_id: a\noutput: {logs_path: work_order.yaml}\n", "have the same name");
    check("job_id: a\nmanifest: {count: -1}\n", "`manifest.count`: expected a whole number");
    check("job_id: a\npriority: urgent\n", "`priority`: expected one of");
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest() {
    let (_, warnings) =
        parse_package(b"job_id: a\nrouting_strategi: force_metal\nx_mine: 1\n").unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("nearest known key is `routing_strategy`"), "{texts:?}");
}
