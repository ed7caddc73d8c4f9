//! `add`: a command line becomes an order that runs just that.

use super::root::{Root, until};
use jobyard::model::order::{Order, Priority, Workspace};
use jobyard::model::parse::parse_order;
use std::collections::BTreeSet;
use std::fs;

fn parse(text: &str, id: &str) -> Order {
    parse_order(text.as_bytes(), id).unwrap_or_else(|d| panic!("{text}\n{d:?}")).order
}

#[test]
fn words_run_as_they_are_and_one_word_alone_is_a_line_for_the_shell() {
    let root = Root::without_git();
    let words = ["a b", "$HOME", "it's", "", "*", "two\nlines", "{{.x}}"];
    let script = "printf '<%s>' \"$@\" > words";
    let call = [&["add", "--", "sh", "-c", script, "sh"], &words[..]].concat();
    let said = root.run(&call).ends(0);
    let first = said.out.trim_end().to_owned();
    assert_eq!(said.out, format!("{first}\n"));
    assert!(said.err.contains("in the root itself") && said.err.contains("no daemon"), "{said:?}");
    let line = root.run(&["add", "--", "echo abc | tr b X > piped"]).ends(0);
    assert!(line.out.starts_with("echo-abc-tr-b-x-piped-"), "{line:?}");
    root.run(&["daemon", "--drain"]).ends(0);
    assert_eq!(root.state(&first), "done", "{}", root.ticket(&first));
    let want: String = words.map(|word| format!("<{word}>")).concat();
    assert_eq!(fs::read_to_string(root.path("words")).unwrap(), want);
    assert_eq!(fs::read_to_string(root.path("piped")).unwrap(), "aXc\n");
}

#[test]
fn every_flag_is_a_key_of_the_order() {
    let root = Root::new();
    let flags = "add --id B --title t:1 --after U V --group gpu --priority P1 --timeout 90 --not-before \
                 2031-01-02 --workspace none --hold later --retry 2 --check true";
    let flags: Vec<&str> = flags.split_whitespace().chain(["grep -q x y"]).collect();
    let before = root.snapshot();
    let dry = root.run(&[&flags[..], &["--dry-run", "--", "make", "a b"]].concat()).ends(0);
    assert_eq!(root.snapshot(), before);
    let order = parse(&dry.out, "B");
    let want = parse(
        "id: B\ntitle: 't:1'\npriority: high\nnot_before: 2031-01-02\ndependencies: [U, V]\nhold: later\n\
         group: gpu\nrun: make 'a b'\ntimeout: 90s\nworkspace: none\nverify: {commands: ['true', grep -q x \
         y]}\nretry: {max: 2}\n",
        "B",
    );
    assert_eq!(order, want);
    let said = root.run(&[&flags[..], &["--", "make", "a b"]].concat()).ends(0);
    assert_eq!((said.out.as_str(), root.ticket("B")), ("B\n", dry.out));
    assert!(said.err.contains("waits for U, and there is no such order yet"), "{said:?}");
    let said = root.run(&["add", "--id", "B", "--", "true"]).ends(4);
    assert!(said.out.is_empty() && said.err.contains("pending/B.yaml exists"), "{said:?}");
}

#[test]
fn an_order_runs_in_a_worktree_where_git_has_a_commit() {
    let check = |root: &Root, more: &[&str], want: Workspace| {
        let call = [&["add", "--id", "A", "--dry-run"], more, &["--", "make", "test"]].concat();
        let order = parse(&root.run(&call).ends(0).out, "A");
        assert_eq!((order.workspace, order.priority), (want, Priority::Medium));
        assert_eq!(
            (order.title.as_str(), &order.run[..]),
            ("make test", &["make test".to_owned()][..])
        );
    };
    let (git, bare) = (Root::new(), Root::without_git());
    check(&git, &[], Workspace::Worktree);
    check(&git, &["--workspace", "none"], Workspace::None);
    check(&bare, &[], Workspace::None);
    bare.git(&["init", "-q"]);
    check(&bare, &[], Workspace::None);
}

#[test]
fn a_git_that_cannot_tell_is_an_error_and_not_an_order_in_the_root() {
    let root = Root::new();
    let commit = fs::read_to_string(root.path(".git/refs/heads/main")).unwrap();
    let (dir, name) = commit.trim().split_at(2);
    let object = root.path(&format!(".git/objects/{dir}/{name}"));
    fs::remove_file(&object).unwrap();
    fs::write(&object, "torn").unwrap();
    let said = root.run(&["add", "--id", "A", "--", "true"]).ends(1);
    assert!(said.err.contains("is corrupt; or name --workspace"), "{said:?}");
    assert_eq!(root.state("A"), "nowhere");
    root.run(&["add", "--id", "A", "--workspace", "none", "--", "true"]).ends(0);
}

#[test]
fn what_is_no_order_is_refused_and_nothing_is_published() {
    let root = Root::without_git();
    let check = |call: &[&str], code: i32, part: &str| {
        let said = root.run(call).ends(code);
        assert!(said.err.contains(part) && said.out.is_empty(), "{said:?}");
    };
    check(&["add", "--priority", "hihg", "--", "make"], 4, "nearest: `high`");
    check(&["add", "--timeout", "soon", "--", "make"], 4, "`timeout`");
    check(&["add", "--id", "a b", "--", "make"], 4, "may hold only");
    check(&["add", "--after", "../x y", "--", "make"], 2, "must begin with");
    check(&["add", "--", " "], 4, "`title`");
    check(&["add", "--", "echo {{name}}"], 4, "{{name}}");
    check(&["add"], 2, "CMD");
    check(&["add", "make", "test"], 2, "--");
    assert_eq!(fs::read_dir(root.path("_ctx/jobs/pending")).unwrap().count(), 0);
}

#[test]
fn of_many_adds_at_once_each_has_its_own_order() {
    let root = Root::without_git();
    let _daemon = root.daemon();
    let all: Vec<_> =
        (0..12).map(|_| root.begin(&["add", "--", "echo", "once", ">>said"])).collect();
    let ids: Vec<String> = all.into_iter().map(|v| v.wait().ends(0).out).collect();
    let distinct: BTreeSet<&str> = ids.iter().map(|id| id.trim_end()).collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    until("all are done", || distinct.iter().all(|id| root.state(id) == "done"));
}
