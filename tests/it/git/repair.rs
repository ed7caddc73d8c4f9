//! The states that a killed git leaves, made by hand, and their repair.

use super::{BRANCH, TREE, Yard, put, run, yard};
use jobyard::model::tree::WorktreeMade;
use jobyard::world::git::{Bounds, Git};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Brings a whole worktree into a state that a killed git leaves.
type Breaking = fn(&Yard);

fn missing(y: &Yard, file: &str) {
    fs::remove_file(y.admin().join(file)).unwrap();
}

fn torn(y: &Yard, file: &str) {
    fs::write(y.admin().join(file), "").unwrap();
}

fn initializing(y: &Yard) {
    fs::write(y.admin().join("locked"), "initializing").unwrap();
}

/// As before the checkout: no file but `.git`.
fn no_files(y: &Yard) {
    for name in ["src", ".gitignore"] {
        let path = y.tree().join(name);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
    let _ = fs::remove_file(y.admin().join("index"));
}

#[test]
fn every_state_of_an_interrupted_git_is_repaired() {
    let cases: [(&str, Breaking); 19] = [
        ("initializing, all else done", initializing),
        ("no gitdir", |y| missing(y, "gitdir")),
        ("torn gitdir", |y| torn(y, "gitdir")),
        ("beginning of gitdir", |y| fs::write(y.admin().join("gitdir"), "/").unwrap()),
        ("no commondir", |y| missing(y, "commondir")),
        ("torn commondir", |y| torn(y, "commondir")),
        ("no HEAD", |y| missing(y, "HEAD")),
        ("torn HEAD", |y| torn(y, "HEAD")),
        ("HEAD of nothing", |y| {
            initializing(y);
            fs::write(y.admin().join("HEAD"), format!("{}\n", "0".repeat(40))).unwrap();
        }),
        ("torn index", |y| torn(y, "index")),
        ("index.lock", |y| {
            initializing(y);
            fs::rename(y.admin().join("index"), y.admin().join("index.lock")).unwrap();
        }),
        ("half of the files", |y| {
            initializing(y);
            missing(y, "index");
            fs::remove_file(y.tree().join("src/f1.txt")).unwrap();
            fs::write(y.tree().join("src/f2.txt"), "").unwrap();
        }),
        ("no file yet", |y| {
            initializing(y);
            no_files(y);
        }),
        ("no .git file yet", |y| {
            initializing(y);
            no_files(y);
            fs::remove_file(y.tree().join(".git")).unwrap();
            missing(y, "HEAD");
        }),
        ("only an empty entry", |y| {
            fs::remove_dir_all(y.tree()).unwrap();
            fs::remove_dir_all(y.admin()).unwrap();
            fs::create_dir(y.admin()).unwrap();
        }),
        ("entry with the lock only", |y| {
            fs::remove_dir_all(y.tree()).unwrap();
            fs::remove_dir_all(y.admin()).unwrap();
            fs::create_dir(y.admin()).unwrap();
            initializing(y);
        }),
        ("entry with a torn lock", |y| {
            fs::remove_dir_all(y.tree()).unwrap();
            fs::remove_dir_all(y.admin()).unwrap();
            fs::create_dir(y.admin()).unwrap();
            torn(y, "locked");
        }),
        ("torn .git file", |y| {
            initializing(y);
            fs::write(y.tree().join(".git"), "").unwrap();
        }),
        ("lock of the branch's ref", |y| {
            fs::remove_dir_all(y.tree()).unwrap();
            fs::remove_dir_all(y.admin()).unwrap();
            run(&y.root, &["branch", "-q", "-d", BRANCH]);
            put(&y.root.join(format!(".git/refs/heads/{BRANCH}.lock")), "");
        }),
    ];
    std::thread::scope(|scope| {
        for (what, breaking) in cases {
            scope.spawn(move || is_repaired(what, breaking));
        }
    });
}

fn is_repaired(what: &str, breaking: Breaking) {
    let y = yard();
    // A bystander whose name is the one git takes when ours is in use.
    y.git.add(".worktrees/WO-11", "feat/wo-WO-11", &y.base, None).unwrap();
    y.add();
    breaking(&y);
    let made = y.git.add(TREE, BRANCH, &y.base, None).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(made.worktree_created, "{what}");
    assert_eq!(made.moved_aside, None, "{what}");
    y.assert_whole(what);
    assert_eq!(y.asides(), [""; 0], "{what}");
    assert!(y.git.worktree(".worktrees/WO-11", "feat/wo-WO-11").unwrap(), "{what}");

    breaking(&y);
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(!y.tree().exists() && !y.admin().exists(), "{what}");
    assert_eq!(y.git.list().unwrap().len(), 2, "{what}");
}

#[test]
fn locks_of_a_killed_commit_do_not_fail_the_next_one() {
    let y = yard();
    y.add();
    put(&y.admin().join("index.lock"), "");
    put(&y.root.join(format!(".git/refs/heads/{BRANCH}.lock")), "");
    let mut inside = Command::new("cat")
        .current_dir(y.tree())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(y.add(), WorktreeMade::default());
    assert!(y.admin().join("index.lock").exists(), "somebody works there");
    drop(inside.stdin.take());
    inside.wait().unwrap();
    assert_eq!(y.add(), WorktreeMade::default());
    put(&y.tree().join("new"), "x");
    y.commit("next");
}

#[test]
fn a_half_made_worktree_is_completed_without_losing_a_file() {
    let y = yard();
    y.add();
    initializing(&y);
    missing(&y, "index");
    put(&y.tree().join("src/f3.txt"), "somebody was quick\n");
    put(&y.tree().join("extra"), "and here\n");
    let made = y.add();
    assert_eq!(made.moved_aside.as_deref(), Some(".worktrees/.aside-WO-1-1"));
    let kept = y.root.join(".worktrees/.aside-WO-1-1/src/f3.txt");
    assert_eq!(fs::read_to_string(kept).unwrap(), "somebody was quick\n");
    assert_eq!(y.facts().untracked, ["extra"]);
    assert!(y.facts().changed.is_empty());
}

#[test]
fn an_entry_of_another_worktree_is_never_touched() {
    let y = yard();
    // Another worktree of the same name, elsewhere, itself half made.
    run(&y.root, &["worktree", "add", "-q", "-b", "theirs", "../there/WO-1"]);
    fs::write(y.admin().join("locked"), "initializing").unwrap();
    let before = fs::read(y.admin().join("gitdir")).unwrap();
    let made = y.add();
    assert!(made.worktree_created);
    assert!(y.root.join(".git/worktrees/WO-11").is_dir());
    assert!(y.git.worktree(TREE, BRANCH).unwrap());
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert_eq!(fs::read(y.admin().join("gitdir")).unwrap(), before);
    assert!(y.admin().join("locked").exists());
}

#[test]
fn the_lock_of_a_stopped_git_is_waited_for_no_longer_than_the_setting_says() {
    let y = yard();
    let lock = fs::File::create(y.root.join(".git/jobyard-change")).unwrap();
    lock.lock().unwrap();
    let timeout = Duration::from_millis(200);
    let git = Git::new(y.root.clone(), Bounds { timeout, ..Bounds::default() });
    let began = Instant::now();
    let refused = git.add(TREE, BRANCH, &y.base, None).unwrap_err().to_string();
    assert!(refused.contains(".git/jobyard-change"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(30), "a minute is for longer settings");
    drop(lock);
    assert!(git.add(TREE, BRANCH, &y.base, None).unwrap().worktree_created);
}
