//! Worktrees that hold some directories only: what is there, what git makes of them, what hides nothing.

use super::{BRANCH, TREE, Yard, put, run, yard};
use jobyard::model::cone::Cone;
use jobyard::model::order::{DiffBudget, Scope};
use jobyard::model::tree::{Change, CommitId, TreeFacts, WorktreeMade};
use jobyard::plan::scope::{VIOLATIONS_MAX, judge};
use jobyard::world::git::Absent;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A yard with directories inside and outside of `src/deep/**`.
fn wide() -> (Yard, Cone) {
    let y = yard();
    for name in ["src/deep/d.txt", "src/deep/er/e.txt", "src/near/n.txt", "other/o.txt", "z/y/x"] {
        put(&y.root.join(name), &format!("{name}\n"));
    }
    run(&y.root, &["add", "src", "other", "z"]);
    run(&y.root, &["commit", "-q", "-m", "two"]);
    let base = CommitId::parse(&run(&y.root, &["rev-parse", "HEAD"])).unwrap();
    (Yard { base, ..y }, Cone::of_globs(&["src/deep/**".to_owned()]).unwrap())
}

const HELD: [&str; 8] = [
    ".gitignore",
    "src/deep/d.txt",
    "src/deep/er/e.txt",
    "src/f0.txt",
    "src/f1.txt",
    "src/f2.txt",
    "src/f3.txt",
    "src/f4.txt",
];

fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(at) = todo.pop() {
        for name in fs::read_dir(dir.join(&at)).unwrap() {
            let path = at.join(name.unwrap().file_name());
            match fs::symlink_metadata(dir.join(&path)).unwrap().is_dir() {
                true => todo.push(path),
                false if path != Path::new(".git") => found.push(path.display().to_string()),
                false => {}
            }
        }
    }
    found.sort();
    found
}

impl Yard {
    fn add_cone(&self, cone: &Cone) -> WorktreeMade {
        self.git.add(TREE, BRANCH, &self.base, Some(cone)).unwrap()
    }

    fn seen(&self, absent: Absent<'_>) -> TreeFacts {
        self.git.tree(TREE, b"", absent).unwrap()
    }

    #[track_caller]
    fn assert_holds(&self, cone: &Cone, what: &str) {
        assert!(self.git.worktree(TREE, BRANCH).unwrap(), "{what}: not usable");
        assert_eq!(files(&self.tree()), HELD, "{what}");
        let clean = TreeFacts {
            exists: true,
            branch: Some(BRANCH.to_owned()),
            head: Some(self.base.clone()),
            ..TreeFacts::default()
        };
        assert_eq!(self.seen(Absent::Outside(cone)), clean, "{what}");
        assert_eq!(self.seen(Absent::Marked), clean, "{what}");
        assert_eq!(run(&self.tree(), &["status", "--porcelain"]), "", "{what}");
        assert!(!self.admin().join("locked").exists(), "{what}");
    }
}

#[test]
fn whatever_a_scope_allows_lies_in_its_cone() {
    let globs = [
        "src/a/**",
        "src/a",
        "src/a/",
        "src/*",
        "src/*/x",
        "src/{a,b/c}/x",
        "src/a/b/f",
        "*.md",
        "[ab]",
        "a?",
        "src/a[!x]/**",
        "src/a\\*b/f",
        "src/b*/**/f",
        "{src,b}/f",
        "**/f",
        "a**",
        "src",
        "b/f.md",
    ];
    let parts = ["src", "a", "b", "c", "f", "x", "ax", "a*b", "f.md"];
    let mut paths: Vec<String> = parts.map(str::to_owned).to_vec();
    for depth in 0..2 {
        let last: Vec<_> =
            paths.iter().filter(|p| p.matches('/').count() == depth).cloned().collect();
        paths.extend(last.iter().flat_map(|p| parts.map(|part| format!("{p}/{part}"))));
    }
    assert!(paths.len() < VIOLATIONS_MAX);
    let changes: Vec<Change> = paths.iter().map(|path| made_anew(path)).collect();
    let (mut allowed, mut cones) = (0, 0);
    for (n, glob) in globs.iter().enumerate() {
        let allow = [*glob, globs[(n * 7 + 3) % globs.len()]].map(str::to_owned).to_vec();
        let Some(cone) = Cone::of_globs(&allow) else { continue };
        cones += 1;
        let scope = Scope { allow, deny: Vec::new() };
        let refused = judge(Some(&scope), &DiffBudget::default(), &changes);
        let refused: BTreeSet<&str> = refused.iter().map(|v| v.path.as_str()).collect();
        for path in paths.iter().filter(|path| !refused.contains(path.as_str())) {
            allowed += 1;
            assert!(cone.holds(path.as_bytes()), "{:?} {path}", scope.allow);
        }
    }
    assert!(cones > 8 && allowed > 100, "{cones} {allowed}");
}

fn made_anew(path: &str) -> Change {
    let new_path = Some(path.to_owned());
    let (added, deleted, new_mode, old_mode) = (1, 0, 0o100_644, 0);
    Change {
        old_path: None,
        new_path,
        added,
        deleted,
        binary: false,
        new_mode,
        old_mode,
        link_target: None,
    }
}

#[test]
fn a_worktree_of_a_cone_is_made_reused_and_taken_away_and_no_setting_changes() {
    let (y, cone) = wide();
    let config = || fs::read(y.root.join(".git/config")).unwrap();
    let before = config();
    let made = y.add_cone(&cone);
    let want = WorktreeMade { branch_created: true, worktree_created: true, moved_aside: None };
    assert_eq!(made, want);
    y.assert_holds(&cone, "fresh");
    assert_eq!(y.add_cone(&cone), WorktreeMade::default(), "reused as it is");
    assert_eq!(y.git.add(TREE, BRANCH, &y.base, None), Ok(WorktreeMade::default()));
    y.assert_holds(&cone, "asked for everything: reused as it is");
    let facts = y.facts();
    assert_eq!(facts.changed, ["other/o.txt", "src/near/n.txt", "z/y/x"], "as a full one");
    assert_eq!(facts.hidden, facts.changed);
    assert_eq!(config(), before);
    assert!(!y.admin().join("config.worktree").exists());
    assert!(!y.root.join(".git/config.worktree").exists());
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert!(!y.tree().exists() && !y.admin().exists());
    assert_eq!(y.git.branch(BRANCH), Ok(None));

    let top = Cone::of_dirs(Vec::new());
    y.add_cone(&top);
    assert_eq!(files(&y.tree()), [".gitignore"]);
    assert_eq!(y.seen(Absent::Outside(&top)).changed, [""; 0]);
}

#[test]
fn an_existing_branch_and_names_that_git_would_read_as_patterns_are_checked_out() {
    let (y, _) = wide();
    for name in ["a b/!x/f", "#c/f", "[d/f", "e]/f", "f$ /f"] {
        put(&y.root.join(name), "x\n");
    }
    run(&y.root, &["add", "a b", "#c", "[d", "e]", "f$ "]);
    run(&y.root, &["commit", "-q", "-m", "names"]);
    run(&y.root, &["branch", BRANCH]);
    let globs = ["a b/!x/*", "#c/**", "e]/**", "f$ /**", "none/**"].map(str::to_owned);
    let cone = Cone::of_globs(&globs).unwrap();
    assert!(!y.add_cone(&cone).branch_created);
    assert_eq!(files(&y.tree()), ["#c/f", ".gitignore", "a b/!x/f", "e]/f", "f$ /f"]);
    assert_eq!(y.seen(Absent::Outside(&cone)).changed, [""; 0]);
    let cone = Cone::of_dirs(vec!["[d".to_owned()]);
    y.git
        .remove(
            TREE,
            BRANCH,
            &y.base,
            &WorktreeMade { worktree_created: true, ..Default::default() },
        )
        .unwrap();
    y.add_cone(&cone);
    assert_eq!(files(&y.tree()), [".gitignore", "[d/f"]);
}

#[test]
fn git_works_in_it_without_a_setting() {
    let (y, cone) = wide();
    y.add_cone(&cone);
    let t = y.tree();
    let clean = |what: &str| {
        let facts = y.seen(Absent::Outside(&cone));
        assert_eq!(
            (facts.changed, facts.hidden, facts.untracked),
            (vec![], vec![], vec![]),
            "{what}"
        );
        assert_eq!(run(&t, &["status", "--porcelain"]), "", "{what}");
    };
    put(&t.join("src/deep/d.txt"), "changed\n");
    put(&t.join("src/deep/new"), "new\n");
    assert_eq!(y.seen(Absent::Outside(&cone)).changed, ["src/deep/d.txt"]);
    run(&t, &["add", "src/deep/new"]);
    run(&t, &["commit", "-q", "-a", "-m", "work"]);
    let shown = run(&t, &["show", "--stat", "--format="]);
    assert!(shown.contains("2 files changed"), "{shown}");
    clean("commit -a");

    put(&y.root.join("other/o.txt"), "moved on\n");
    put(&y.root.join("other/p.txt"), "new\n");
    put(&y.root.join("src/f0.txt"), "moved on\n");
    fs::remove_file(y.root.join("z/y/x")).unwrap();
    run(&y.root, &["add", "-A", "other", "src", "z"]);
    run(&y.root, &["commit", "-q", "-m", "main"]);
    run(&t, &["rebase", "-q", "main"]);
    clean("rebase");
    assert!(!t.join("src/near").exists());

    put(&y.root.join("other/o.txt"), "once more\n");
    put(&y.root.join("src/near/n.txt"), "moved on\n");
    run(&y.root, &["commit", "-q", "-a", "-m", "main again"]);
    run(&t, &["merge", "-q", "--no-edit", "main"]);
    clean("merge");
    run(&t, &["stash", "list"]);
    run(&t, &["reset", "-q", "--hard"]);
    clean("reset --hard");
    run(&t, &["add", "-A"]);
    clean("add -A");
    run(&t, &["checkout", "-q", "-b", "x"]);
    run(&t, &["checkout", "-q", BRANCH]);
    clean("checkout");

    let more = ["-c", "core.sparseCheckout=true", "-c", "core.sparseCheckoutCone=true"];
    run(&t, &[&more[..], &["sparse-checkout", "add", "src/near"]].concat());
    assert!(t.join("src/near/n.txt").exists());
    clean("another directory");
    assert!(!fs::read_to_string(y.root.join(".git/config")).unwrap().contains("parse"));
}

/// What is done in the worktree; then which files are changed, hidden and untracked.
type Attack = (
    &'static str,
    fn(&Path),
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const INSIDE: [Attack; 5] = [
    (
        "inside, deleted",
        |t| fs::remove_file(t.join("src/deep/d.txt")).unwrap(),
        &["src/deep/d.txt"],
        &[],
        &[],
    ),
    (
        "beside, deleted",
        |t| fs::remove_file(t.join("src/f1.txt")).unwrap(),
        &["src/f1.txt"],
        &[],
        &[],
    ),
    (
        "inside, deleted and hidden",
        |t| {
            run(t, &["update-index", "--skip-worktree", "src/deep/d.txt"]);
            fs::remove_file(t.join("src/deep/d.txt")).unwrap();
        },
        &["src/deep/d.txt"],
        &["src/deep/d.txt"],
        &[],
    ),
    (
        "inside, hidden",
        |t| drop(run(t, &["update-index", "--skip-worktree", "src/f1.txt"])),
        &[],
        &["src/f1.txt"],
        &[],
    ),
    (
        "the worktree's own cone made smaller",
        |t| {
            let more = ["-c", "core.sparseCheckout=true", "-c", "core.sparseCheckoutCone=true"];
            run(t, &[&more[..], &["sparse-checkout", "set", "src/near"]].concat());
        },
        &["src/deep/d.txt", "src/deep/er/e.txt"],
        &["src/deep/d.txt", "src/deep/er/e.txt"],
        &[],
    ),
];

const OUTSIDE: [Attack; 9] = [
    (
        "outside, without the mark: nothing brings it back",
        |t| drop(run(t, &["update-index", "--no-skip-worktree", "other/o.txt"])),
        &["other/o.txt"],
        &[],
        &[],
    ),
    ("outside, made anew", |t| put(&t.join("other/o.txt"), "mine\n"), &["other/o.txt"], &[], &[]),
    ("outside, as it was", |t| put(&t.join("other/o.txt"), "other/o.txt\n"), &[], &[], &[]),
    (
        "outside, staged",
        |t| {
            put(&t.join("other/o.txt"), "mine\n");
            run(t, &["update-index", "--no-skip-worktree", "other/o.txt"]);
            run(t, &["add", "other/o.txt"]);
            fs::remove_file(t.join("other/o.txt")).unwrap();
        },
        &["other/o.txt"],
        &[],
        &[],
    ),
    (
        "outside, taken from the index",
        |t| drop(run(t, &["rm", "-q", "--cached", "--sparse", "other/o.txt"])),
        &["other/o.txt"],
        &[],
        &[],
    ),
    (
        "outside, assume-unchanged",
        |t| drop(run(t, &["update-index", "--assume-unchanged", "other/o.txt"])),
        &[],
        &["other/o.txt"],
        &[],
    ),
    ("outside, new", |t| put(&t.join("other/new"), "x"), &[], &[], &["other/new"]),
    (
        "a directory in the place of a file",
        |t| put(&t.join("other/o.txt/x"), "x"),
        &["other/o.txt"],
        &[],
        &["other/o.txt/x"],
    ),
    (
        "a link in the place of a directory",
        |t| {
            fs::create_dir(t.join("src/deep/.o")).unwrap();
            put(&t.join("src/deep/.o/o.txt"), "mine\n");
            std::os::unix::fs::symlink("src/deep/.o", t.join("other")).unwrap();
        },
        &["other/o.txt"],
        &[],
        &["other", "src/deep/.o/o.txt"],
    ),
];

#[test]
fn what_a_job_does_to_files_inside_and_outside_is_seen() {
    for (what, attack, changed, hidden, untracked) in INSIDE.into_iter().chain(OUTSIDE) {
        let (y, cone) = wide();
        y.add_cone(&cone);
        attack(&y.tree());
        let facts = y.seen(Absent::Outside(&cone));
        assert_eq!(facts.changed, changed, "{what}");
        assert_eq!(facts.hidden, hidden, "{what}");
        assert_eq!(facts.untracked, untracked, "{what}");
    }
}

#[test]
fn an_interrupted_one_is_completed_or_taken_away() {
    let initializing = |y: &Yard| fs::write(y.admin().join("locked"), "initializing").unwrap();
    type Breaking = fn(&Yard);
    let cases: [(&str, Breaking); 9] = [
        ("all but the lock", |_| {}),
        ("no directories named", |y| {
            fs::remove_file(y.admin().join("index")).unwrap();
            fs::remove_dir_all(y.admin().join("info")).unwrap();
        }),
        ("torn directories", |y| fs::write(y.admin().join("info/sparse-checkout"), "").unwrap()),
        ("before the index", |y| fs::remove_file(y.admin().join("index")).unwrap()),
        ("torn index", |y| fs::write(y.admin().join("index"), "").unwrap()),
        ("index.lock", |y| {
            fs::rename(y.admin().join("index"), y.admin().join("index.lock")).unwrap();
        }),
        ("half of the files", |y| {
            fs::remove_file(y.admin().join("index")).unwrap();
            fs::remove_file(y.tree().join("src/f1.txt")).unwrap();
            fs::write(y.tree().join("src/deep/d.txt"), "").unwrap();
        }),
        ("no file yet", |y| {
            fs::remove_file(y.admin().join("index")).unwrap();
            fs::remove_dir_all(y.tree().join("src")).unwrap();
            fs::remove_file(y.tree().join(".gitignore")).unwrap();
        }),
        ("all files, by another order", |y| {
            run(&y.tree(), &["read-tree", "HEAD"]);
            run(&y.tree(), &["checkout-index", "-a", "-f"]);
        }),
    ];
    for (what, breaking) in cases {
        for then in ["cone", "full", "undone"] {
            let (y, cone) = wide();
            let made = y.add_cone(&cone);
            initializing(&y);
            breaking(&y);
            let what = format!("{what}, then {then}");
            match then {
                "cone" => {
                    assert!(y.add_cone(&cone).worktree_created, "{what}");
                    y.assert_holds(&cone, &what);
                }
                "full" => {
                    assert!(y.add().worktree_created, "{what}");
                    y.assert_whole(&what);
                }
                _ => {
                    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
                    assert!(!y.tree().exists() && !y.admin().exists(), "{what}");
                }
            }
            assert_eq!(y.asides(), [""; 0], "{what}");
        }
    }
}

#[test]
fn a_file_that_somebody_put_into_a_half_made_one_is_moved_aside() {
    for name in ["src/f3.txt", "other/o.txt"] {
        let (y, cone) = wide();
        y.add_cone(&cone);
        fs::write(y.admin().join("locked"), "initializing").unwrap();
        fs::remove_file(y.admin().join("index")).unwrap();
        put(&y.tree().join(name), "somebody was quick\n");
        let aside = y.add_cone(&cone).moved_aside.unwrap();
        y.assert_holds(&cone, name);
        let kept = fs::read_to_string(y.root.join(aside).join(name)).unwrap();
        assert_eq!(kept, "somebody was quick\n");
    }
}

#[test]
fn submodules_outside_are_not_missed() {
    let (y, cone) = wide();
    let lib = y.root.parent().unwrap().join("lib");
    fs::create_dir(&lib).unwrap();
    run(&lib, &["init", "-q", "-b", "main"]);
    put(&lib.join("q"), "one\n");
    run(&lib, &["add", "."]);
    run(&lib, &["commit", "-q", "-m", "one"]);
    for at in ["other/sub", "src/deep/sub"] {
        run(&y.root, &["submodule", "--quiet", "add", lib.to_str().unwrap(), at]);
    }
    run(&y.root, &["commit", "-q", "-m", "subs"]);
    let base = CommitId::parse(&run(&y.root, &["rev-parse", "HEAD"])).unwrap();
    let y = Yard { base, ..y };
    let made = y.add_cone(&cone);
    assert!(y.tree().join("src/deep/sub").is_dir() && !y.tree().join("other").exists());
    assert_eq!(y.seen(Absent::Outside(&cone)).changed, [""; 0]);
    assert_eq!(y.seen(Absent::Marked).changed, [""; 0]);
    fs::remove_dir(y.tree().join("src/deep/sub")).unwrap();
    assert_eq!(y.seen(Absent::Outside(&cone)).changed, ["src/deep/sub"]);
    fs::create_dir(y.tree().join("src/deep/sub")).unwrap();
    put(&y.tree().join("other/sub"), "a file\n");
    assert_eq!(y.seen(Absent::Outside(&cone)).changed, ["other/sub"]);
    fs::remove_dir_all(y.tree().join("other")).unwrap();
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert!(!y.tree().exists());
}
