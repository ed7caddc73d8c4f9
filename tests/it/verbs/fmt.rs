//! `fmt`: the order of keys, and what it leaves alone.

use super::root::Root;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const LOOSE: &str =
    "# About the order.\n\nrun: 'true'  # what\n\n\n# Name\ntitle: \"T\"\nx_mine: {a: 1}\nid: A\n";
const TIDY: &str =
    "# About the order.\n\nid: A\n\n# Name\ntitle: \"T\"\nrun: 'true'  # what\nx_mine: {a: 1}\n";

#[test]
fn a_file_is_put_in_order_and_keeps_its_mode() {
    let root = Root::new();
    let file = root.path("a.yaml");
    fs::write(&file, LOOSE).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let said = root.run(&["fmt", "--check", "a.yaml"]).ends(7);
    assert_eq!(
        (said.out.as_str(), fs::read_to_string(&file).unwrap().as_str()),
        ("a.yaml\n", LOOSE)
    );
    assert_eq!(root.run(&["fmt", "a.yaml"]).ends(0).out, "a.yaml\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), TIDY);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(root.run(&["fmt", "a.yaml"]).ends(0).out, "");
    assert_eq!(root.run(&["fmt", "--check", "a.yaml"]).ends(0).out, "");
    let hidden = |e: fs::DirEntry| e.file_name().to_string_lossy().contains(".fmt-");
    assert!(!fs::read_dir(root.path("")).unwrap().any(|e| hidden(e.unwrap())));
    let json = root.run(&["fmt", "--check", "--json", "a.yaml"]).ends(0).json();
    assert_eq!(json["changed"], serde_json::json!([]));
}

#[test]
fn standard_input_is_printed_in_order() {
    let root = Root::new();
    fs::write(root.path("in"), LOOSE).unwrap();
    let stdin = || Stdio::from(fs::File::open(root.path("in")).unwrap());
    let said = root.begin_in("", &["fmt", "-"], stdin()).wait().ends(0);
    assert_eq!(said.out, TIDY);
    root.begin_in("", &["fmt", "--check", "-"], stdin()).wait().ends(7);
}

#[test]
fn what_is_invalid_running_or_settled_is_left_alone() {
    let root = Root::new();
    root.order("A", "");
    root.order("B", "");
    root.run(&["take", "A"]).ends(0);
    root.run(&["cancel", "B"]).ends(0);
    fs::write(root.path("bad.yaml"), "title: T\nid: C\npriority: hihg\n").unwrap();
    fs::write(root.path("good.yaml"), LOOSE).unwrap();
    std::os::unix::fs::symlink("good.yaml", root.path("link.yaml")).unwrap();
    let before = root.snapshot();
    for (file, code, part) in [
        ("_ctx/jobs/running/A.yaml", 4, "running order"),
        ("_ctx/jobs/failed/B.yaml", 4, "settled order"),
        ("bad.yaml", 4, "bad.yaml:3:11: `priority`: expected one of"),
        ("link.yaml", 3, "no regular file"),
        ("none.yaml", 3, "read none.yaml"),
    ] {
        let said = root.run(&["fmt", "good.yaml", file]).ends(code);
        assert!(said.err.contains(part), "{said:?}");
    }
    assert_eq!(root.snapshot(), before);
    assert_eq!(fs::read_to_string(root.path("good.yaml")).unwrap(), LOOSE);
}

#[test]
fn a_pending_ticket_is_put_in_order_under_the_eyes_of_a_daemon() {
    let root = Root::new();
    let _daemon = root.daemon();
    root.order("A", "hold: later\nobjective: x");
    let file = root.path("_ctx/jobs/pending/A.yaml");
    root.run(&["fmt", file.to_str().unwrap()]).ends(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.find("objective").unwrap() < text.find("hold").unwrap(), "{text}");
    root.run(&["unhold", "A"]);
    root.run(&["lint"]).ends(0);
}
