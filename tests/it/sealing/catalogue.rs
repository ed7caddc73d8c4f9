//! The catalogue, the configuration and the backlog: read when they are needed, and only if they are
//! regular files.

use crate::yard::{Yard, signal};
use rustix::process::Signal;
use std::os::unix::fs::symlink;

fn entry(check: &str) -> String {
    format!("dod:\n  - id: D\n    required_checks: [{{name: c, commands: ['{check}']}}]\n")
}

const ORDER: &str = "run: 'true'\nworkspace: none\ndod_id: D\n";

#[test]
fn the_catalogue_is_what_it_is_at_the_claim() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", ORDER);
    yard.until_in("done", "A");
    assert_eq!(yard.key("done", "A", "result"), "unverified");
    yard.put("_ctx/dod/d.yaml", &entry("test -d _ctx"));
    yard.submit("B", ORDER);
    yard.until_in("done", "B");
    assert_eq!(yard.key("done", "B", "result"), "pass");
    yard.publish("_ctx/dod/d.yaml", &entry("test -f _ctx"));
    yard.submit("C", ORDER);
    yard.until_in("failed", "C");
    yard.publish("_ctx/dod/d.yaml", "dod: nonsense\n");
    yard.submit("E", ORDER);
    yard.until_in("done", "E");
    assert_eq!(yard.key("done", "E", "result"), "unverified");
    assert!(yard.said().contains("_ctx/dod/d.yaml: 1:6: expected a list"), "{}", yard.said());
}

#[test]
fn nothing_hangs_on_a_catalogue_that_is_no_file() {
    let mut yard = Yard::bare();
    yard.put("_ctx/dod/d.yaml", &entry("test -d _ctx"));
    yard.put("outside", &entry("true"));
    yard.fifo("_ctx/dod/a.yaml");
    symlink("../../outside", yard.path("_ctx/dod/z.yaml")).unwrap();
    yard.submit("A", "workspace: none\n");
    let (code, said) = yard.verb(&["take", "A"]);
    assert_eq!(code, 0, "{said}");
    yard.start();
    yard.submit("B", ORDER);
    yard.until_in("done", "B");
    assert_eq!(yard.key("done", "B", "result"), "pass", "the link is not followed");
    assert!(yard.said().contains("a.yaml: is a FIFO, socket or device"), "{}", yard.said());
    assert!(yard.said().contains("z.yaml: is a symbolic link"), "{}", yard.said());
    signal(yard.daemon_pid(), Signal::HUP);
    yard.submit("C", ORDER);
    yard.until_in("done", "C");
    assert_eq!(yard.term(), Some(0));
}

#[test]
fn a_configuration_that_is_no_file_is_refused_at_once() {
    let yard = Yard::bare();
    std::fs::remove_file(yard.path("_ctx/jobyard.toml")).unwrap();
    yard.fifo("_ctx/jobyard.toml");
    yard.submit("A", "workspace: none\n");
    for args in [&["take", "A"][..], &["daemon", "--drain"]] {
        let (code, said) = yard.verb(args);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("jobyard.toml: it is a FIFO, socket or device"), "{said}");
    }
}

#[test]
fn a_backlog_that_is_no_file_stops_nothing() {
    let mut yard = Yard::bare();
    std::fs::create_dir_all(yard.path("_ctx/backlog")).unwrap();
    yard.fifo("_ctx/backlog/backlog.yaml");
    yard.start();
    yard.submit("A", "run: 'true'\nworkspace: none\nepic_id: E1\n");
    yard.until_in("done", "A");
    yard.until("the note", || yard.said().contains("backlog.yaml: is a FIFO"));
    yard.settle_down("B");
}
