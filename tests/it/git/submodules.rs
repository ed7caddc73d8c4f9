//! Submodules in a worktree: what git's own look at them can be made to miss.

use super::{TREE, Yard, put, run, yard};
use jobyard::model::tree::CommitId;
use std::fs;
use std::path::{Path, PathBuf};

/// A yard whose base has a submodule `sub` with a submodule `deep`, all checked out.
fn nested() -> (Yard, PathBuf) {
    let y = yard();
    let beside = y.root.parent().unwrap().to_owned();
    let library = |name: &str| {
        let dir = beside.join(name);
        fs::create_dir(&dir).unwrap();
        run(&dir, &["init", "-q", "-b", "main"]);
        put(&dir.join("q"), "one\n");
        run(&dir, &["add", "."]);
        run(&dir, &["commit", "-q", "-m", "one"]);
        dir
    };
    let (deep, lib) = (library("deep"), library("lib"));
    run(&lib, &["submodule", "--quiet", "add", deep.to_str().unwrap(), "deep"]);
    run(&lib, &["commit", "-q", "-m", "two"]);
    run(&y.root, &["submodule", "--quiet", "add", lib.to_str().unwrap(), "sub"]);
    run(&y.root, &["commit", "-q", "-m", "two"]);
    let base = CommitId::parse(&run(&y.root, &["rev-parse", "HEAD"])).unwrap();
    let y = Yard { base, ..y };
    y.add();
    assert!(y.facts().changed.is_empty(), "not checked out is clean");
    run(&y.tree(), &["submodule", "--quiet", "update", "--init", "--recursive"]);
    let tree = y.tree();
    assert_eq!((y.facts().changed, y.facts().untracked), (vec![], vec![]));
    (y, tree)
}

#[test]
fn nothing_hides_a_change_in_a_submodule() {
    type Attack = fn(&Path);
    let cases: [(&str, Attack, &str); 8] = [
        ("plain", |s| put(&s.join("q"), "two\n"), "sub/q"),
        (
            "assume-unchanged",
            |s| {
                put(&s.join("q"), "two\n");
                run(s, &["update-index", "--assume-unchanged", "q"]);
            },
            "sub/q",
        ),
        (
            "skip-worktree, deep",
            |s| {
                put(&s.join("deep/q"), "two\n");
                run(&s.join("deep"), &["update-index", "--skip-worktree", "q"]);
            },
            "sub/deep/q",
        ),
        ("untracked", |s| put(&s.join("new"), "x\n"), "sub/new"),
        (
            "untracked and excluded",
            |s| {
                put(&s.join("new"), "x\n");
                let git = run(s, &["rev-parse", "--git-dir"]);
                put(&s.join(git).join("info/exclude"), "new\n");
            },
            "sub/new",
        ),
        (
            "another commit",
            |s| {
                run(s, &["commit", "-q", "--allow-empty", "-m", "x"]);
                run(s, &["config", "submodule.sub.ignore", "all"]);
            },
            "sub",
        ),
        (
            "a filter",
            |s| {
                run(s, &["config", "filter.hide.clean", "echo one"]);
                put(&s.join("q"), "two\n");
            },
            "sub",
        ),
        ("gone", |s| fs::remove_dir_all(s).unwrap(), "sub"),
    ];
    for (what, attack, path) in cases {
        let (y, tree) = nested();
        attack(&tree.join("sub"));
        let facts = y.facts();
        let seen = facts.changed.iter().chain(&facts.untracked).any(|p| p == path);
        assert!(seen, "{what}: {facts:?}");
        assert!(y.git.worktree(TREE, super::BRANCH).unwrap());
    }
}
