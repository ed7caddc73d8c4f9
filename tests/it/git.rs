//! git by its executable, against real repositories: worktrees, repair, facts, changes, durability.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod gate;
mod programs;
mod repair;
mod sparse;
mod submodules;

use jobyard::model::tree::{Change, CommitId, TreeFacts, WorktreeMade};
use jobyard::world::git::{Absent, Bounds, Git};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const TREE: &str = ".worktrees/WO-1";
const BRANCH: &str = "feat/wo-WO-1";

/// A repository with one commit, and the way to it.
struct Yard {
    _dir: TempDir,
    root: PathBuf,
    git: Git,
    base: CommitId,
}

fn run(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "git {args:?} in {}: {}",
        dir.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn yard() -> Yard {
    let dir = TempDir::new().unwrap();
    let root = fs::canonicalize(dir.path()).unwrap().join("r");
    fs::create_dir(&root).unwrap();
    run(&root, &["init", "-q", "-b", "main"]);
    for n in 0..5 {
        put(&root.join(format!("src/f{n}.txt")), &format!("line {n}\n"));
    }
    put(&root.join(".gitignore"), "*.tmp\n");
    run(&root, &["add", "."]);
    run(&root, &["commit", "-q", "-m", "one"]);
    let git = Git::new(root.clone(), Bounds { checkout_workers: Some(1), ..Bounds::default() });
    put(&root.join("_ctx/runs/excludes"), "");
    let base = git.base(None).unwrap();
    Yard { _dir: dir, root, git, base }
}

impl Yard {
    fn add(&self) -> WorktreeMade {
        self.git.add(TREE, BRANCH, &self.base, None).unwrap()
    }

    fn tree(&self) -> PathBuf {
        self.root.join(TREE)
    }

    fn admin(&self) -> PathBuf {
        self.root.join(".git/worktrees/WO-1")
    }

    fn facts(&self) -> TreeFacts {
        let rules = fs::read(self.root.join("_ctx/runs/excludes")).unwrap();
        self.git.tree(TREE, &rules, Absent::Nothing).unwrap()
    }

    fn commit(&self, message: &str) -> CommitId {
        run(&self.tree(), &["add", "-A"]);
        run(&self.tree(), &["commit", "-q", "-m", message]);
        CommitId::parse(&run(&self.tree(), &["rev-parse", "HEAD"])).unwrap()
    }

    /// The worktree is whole, clean, on its branch; every worktree command works.
    fn assert_whole(&self, what: &str) {
        assert!(self.git.worktree(TREE, BRANCH).unwrap(), "{what}: not usable");
        let facts = self.facts();
        let clean = TreeFacts {
            exists: true,
            branch: Some(BRANCH.to_owned()),
            head: Some(self.base.clone()),
            ..TreeFacts::default()
        };
        assert_eq!(facts, clean, "{what}");
        run(&self.root, &["worktree", "list"]);
        assert_eq!(run(&self.tree(), &["status", "--porcelain"]), "", "{what}");
        put(&self.tree().join("probe"), "x");
        run(&self.tree(), &["add", "probe"]);
        run(&self.tree(), &["rm", "-q", "--cached", "probe"]);
        fs::remove_file(self.tree().join("probe")).unwrap();
    }

    fn asides(&self) -> Vec<String> {
        let names = fs::read_dir(self.root.join(".worktrees")).unwrap();
        let mut all: Vec<String> =
            names.map(|n| n.unwrap().file_name().into_string().unwrap()).collect();
        all.retain(|n| n.starts_with('.'));
        all.sort();
        all
    }
}

fn by_path(changes: &[Change], path: &str) -> Change {
    let hit = |c: &&Change| c.new_path.as_deref().or(c.old_path.as_deref()) == Some(path);
    changes.iter().find(hit).unwrap_or_else(|| panic!("{path} in {changes:#?}")).clone()
}

#[test]
fn a_worktree_is_made_reused_and_taken_away() {
    let y = yard();
    assert_eq!(y.git.is_repository(), Ok(true));
    assert_eq!(y.git.branch(BRANCH), Ok(None));
    let made = y.add();
    let want = WorktreeMade { branch_created: true, worktree_created: true, moved_aside: None };
    assert_eq!(made, want);
    y.assert_whole("fresh");
    assert_eq!(y.git.branch(BRANCH), Ok(Some(y.base.clone())));
    assert_eq!(y.add(), WorktreeMade::default(), "reused as it is");

    let listed = y.git.list().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed[0].main);
    assert_eq!(listed[1].path, y.tree());
    assert_eq!(listed[1].branch.as_deref(), Some(BRANCH));

    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert!(!y.tree().exists() && !y.admin().exists());
    assert_eq!(y.git.branch(BRANCH), Ok(None));
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert_eq!(y.git.list().unwrap().len(), 1);
}

#[test]
fn undo_removes_only_what_was_created_and_never_work() {
    let y = yard();
    let made = y.add();
    y.git.remove(TREE, BRANCH, &y.base, &WorktreeMade::default()).unwrap();
    y.assert_whole("nothing was created by this attempt");

    for (name, text) in [("src/f1.txt", "changed\n"), ("new", "x\n")] {
        put(&y.tree().join(name), text);
        assert!(y.git.remove(TREE, BRANCH, &y.base, &made).is_err(), "{name}");
        assert_eq!(fs::read_to_string(y.tree().join(name)).unwrap(), text);
        run(&y.tree(), &["checkout", "-q", "src"]);
        let _ = fs::remove_file(y.tree().join("new"));
    }
    put(&y.tree().join("src/f1.txt"), "hidden\n");
    run(&y.tree(), &["update-index", "--assume-unchanged", "src/f1.txt"]);
    assert!(y.git.remove(TREE, BRANCH, &y.base, &made).is_err(), "hidden change");
    run(&y.tree(), &["update-index", "--no-assume-unchanged", "src/f1.txt"]);

    let commit = y.commit("work");
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert!(!y.tree().exists());
    assert_eq!(y.git.branch(BRANCH), Ok(Some(commit)), "a branch with work stays");
}

#[test]
fn detached_work_and_foreign_locks_are_not_removed() {
    let y = yard();
    let made = y.add();
    run(&y.tree(), &["switch", "-q", "--detach"]);
    put(&y.tree().join("src/f1.txt"), "x");
    y.commit("detached");
    assert!(y.git.remove(TREE, BRANCH, &y.base, &made).is_err());
    assert!(y.tree().exists());
    run(&y.tree(), &["switch", "-q", BRANCH]);
    run(&y.root, &["worktree", "lock", "--reason", "mine", TREE]);
    let said = y.git.remove(TREE, BRANCH, &y.base, &made).unwrap_err().to_string();
    assert!(said.contains("mine"), "{said}");
    assert_eq!(y.git.lock(TREE, "order"), Ok(false));
    assert_eq!(y.git.unlock(TREE), Ok(false));
    run(&y.root, &["worktree", "unlock", TREE]);
    assert_eq!(y.git.lock(TREE, "order"), Ok(true));
    assert_eq!(y.git.list().unwrap()[1].locked.as_deref(), Some("jobyard: order"));
    assert_eq!(y.git.unlock(TREE), Ok(true));
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
}

#[test]
fn what_stands_in_the_way_is_moved_aside_and_back() {
    let y = yard();
    fs::create_dir_all(y.tree()).unwrap();
    let made = y.add();
    assert_eq!(made.moved_aside, None, "an empty directory is reused");
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();

    put(&y.tree().join("note"), "mine");
    let made = y.add();
    assert_eq!(made.moved_aside.as_deref(), Some(".worktrees/.aside-WO-1-1"));
    y.assert_whole("after a directory");
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert_eq!(fs::read_to_string(y.tree().join("note")).unwrap(), "mine", "undone by its name");

    fs::remove_dir_all(y.tree()).unwrap();
    symlink("/", y.tree()).unwrap();
    let made = y.add();
    assert!(made.moved_aside.is_some());
    y.assert_whole("after a symlink");
}

#[test]
fn a_worktree_on_another_branch_is_moved_aside_and_stays_registered() {
    let y = yard();
    y.add();
    run(&y.tree(), &["switch", "-q", "-c", "other"]);
    put(&y.tree().join("draft"), "x");
    let made = y.add();
    assert_eq!(made.moved_aside.as_deref(), Some(".worktrees/.aside-WO-1-1"));
    assert!(!made.branch_created && made.worktree_created);
    let aside = y.root.join(".worktrees/.aside-WO-1-1");
    assert_eq!(run(&aside, &["branch", "--show-current"]), "other");
    assert_eq!(run(&aside, &["status", "--porcelain"]), "?? draft");
    assert!(y.git.worktree(TREE, BRANCH).unwrap());
    assert_eq!(y.git.list().unwrap().len(), 3);
}

#[test]
fn removal_by_hand_leaves_nobody_stuck() {
    let y = yard();
    y.add();
    fs::remove_dir_all(y.tree()).unwrap();
    let made = y.add();
    assert!(made.worktree_created && !made.branch_created);
    y.assert_whole("directory removed by hand");
    fs::remove_dir_all(y.admin()).unwrap();
    let made = y.add();
    assert!(made.moved_aside.is_some(), "an orphan directory may hold work");
    y.assert_whole("entry removed by hand");
    fs::remove_dir_all(y.tree()).unwrap();
    run(&y.root, &["worktree", "prune"]);
    y.add();
    y.assert_whole("pruned by hand");
}

#[test]
fn a_branch_that_is_in_use_elsewhere_is_refused() {
    let y = yard();
    run(&y.root, &["branch", BRANCH]);
    run(&y.root, &["worktree", "add", "-q", "../elsewhere", BRANCH]);
    let said = y.git.add(TREE, BRANCH, &y.base, None).unwrap_err().to_string();
    assert!(said.contains("elsewhere"), "{said}");
    assert!(!y.tree().exists());
    assert_eq!(y.git.list().unwrap().len(), 2);
}

#[test]
fn an_interrupted_removal_is_carried_on() {
    let y = yard();
    let made = y.add();
    fs::rename(y.tree(), y.root.join(".worktrees/.trash-WO-1-1")).unwrap();
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert_eq!(y.asides(), [""; 0]);
    assert!(!y.admin().exists());
    assert_eq!(y.git.branch(BRANCH), Ok(None));
}

#[test]
fn a_path_that_leaves_the_root_is_refused() {
    let y = yard();
    for bad in ["../x", "/x", "a/../../x", "", "."] {
        assert!(y.git.add(bad, BRANCH, &y.base, None).is_err(), "{bad:?}");
    }
    symlink("/tmp", y.root.join(".worktrees")).unwrap();
    let said = y.git.add(TREE, BRANCH, &y.base, None).unwrap_err().to_string();
    assert!(said.contains("not a directory"), "{said}");
}

#[test]
fn bases_are_resolved_in_order() {
    let y = yard();
    run(&y.root, &["branch", "-m", "main", "trunk"]);
    assert_eq!(y.git.base(None), Ok(y.base.clone()), "the main checkout's branch");
    assert_eq!(y.git.base(Some("trunk")), Ok(y.base.clone()));
    run(&y.root, &["tag", "-a", "-m", "t", "v1"]);
    assert_eq!(y.git.base(Some("v1")), Ok(y.base.clone()), "a tag is peeled");
    for bad in ["nowhere", "--all", "", "a\nb", "HEAD~5", "v1..trunk"] {
        assert!(y.git.base(Some(bad)).is_err(), "{bad:?}");
    }
    put(&y.root.join("new"), "x");
    run(&y.root, &["switch", "-q", "-c", "main"]);
    run(&y.root, &["add", "new"]);
    run(&y.root, &["commit", "-q", "-m", "two"]);
    run(&y.root, &["switch", "-q", "trunk"]);
    assert_ne!(y.git.base(None), Ok(y.base.clone()), "main is preferred");
}

#[test]
fn no_repository_and_an_empty_one_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let git = Git::new(dir.path().to_owned(), Bounds::default());
    assert_eq!(git.is_repository(), Ok(false));
    assert!(git.base(None).unwrap_err().to_string().contains("git init"));
    assert!(git.ensure_excludes().is_err());
    run(dir.path(), &["init", "-q", "-b", "main"]);
    assert_eq!(git.is_repository(), Ok(true));
    assert!(git.base(None).unwrap_err().to_string().contains("first commit"));
}

#[test]
fn the_state_is_excluded_once_and_found_when_tracked() {
    let y = yard();
    let file = y.root.join(".git/info/exclude");
    put(&file, "# mine\nkeep");
    assert!(y.git.ensure_excludes().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(
        text,
        "# mine\nkeep\n/_ctx/jobs\n/_ctx/runs\n/_ctx/audit\n/_ctx/packages\n/.worktrees/\n"
    );
    assert!(!y.git.ensure_excludes().unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    put(&y.root.join("_ctx/jobs/pending/a.yaml"), "x");
    assert_eq!(run(&y.root, &["status", "--porcelain"]), "");
    assert_eq!(y.git.tracked_state(), Ok(vec![]));
    run(&y.root, &["add", "-f", "_ctx/jobs/pending/a.yaml"]);
    assert_eq!(y.git.tracked_state(), Ok(vec!["_ctx/jobs/pending/a.yaml".to_owned()]));
    let rules = String::from_utf8(y.git.excludes().unwrap()).unwrap();
    assert!(rules.ends_with(&text), "{rules}");
}

#[test]
fn a_root_below_the_top_of_the_checkout_works() {
    let y = yard();
    let sub = y.root.join("tools/yard [1]");
    fs::create_dir_all(&sub).unwrap();
    let git = Git::new(sub.clone(), Bounds::default());
    assert!(git.ensure_excludes().unwrap());
    put(&sub.join("_ctx/runs/x"), "x");
    fs::remove_dir_all(y.root.join("_ctx")).unwrap();
    assert_eq!(run(&y.root, &["status", "--porcelain"]), "");
    git.add(TREE, BRANCH, &y.base, None).unwrap();
    assert!(git.worktree(TREE, BRANCH).unwrap());
    assert!(sub.join(TREE).join("src/f1.txt").exists());
}

#[test]
fn the_main_checkout_is_found_from_inside_a_worktree() {
    let y = yard();
    y.add();
    assert_eq!(Git::main_checkout(&y.tree().join("src")), Some(y.root.clone()));
    assert_eq!(Git::main_checkout(&y.root), None);
    assert_eq!(Git::main_checkout(y.root.parent().unwrap()), None);
}

#[test]
fn a_commit_is_synced_loose_and_packed() {
    let y = yard();
    y.add();
    y.git.sync(BRANCH, &y.base, Some(&y.base)).unwrap();
    put(&y.tree().join("src/f1.txt"), "x\n");
    let commit = y.commit("work");
    y.git.sync(BRANCH, &commit, Some(&y.base)).unwrap();
    run(&y.root, &["gc", "-q"]);
    y.git.sync(BRANCH, &commit, Some(&y.base)).unwrap();
    assert!(y.git.sync("feat/none", &commit, None).is_err());
}

#[test]
fn a_commit_is_synced_whoever_merged_it_meanwhile() {
    let y = yard();
    y.add();
    put(&y.tree().join("src/f1.txt"), "x\n");
    let commit = y.commit("work");
    run(&y.root, &["merge", "-q", BRANCH]);
    y.git.sync(BRANCH, &commit, Some(&y.base)).unwrap();
    // What is not there cannot be synced.
    let tree = run(&y.root, &["rev-parse", &format!("{}^{{tree}}", commit.as_str())]);
    let (fan, rest) = tree.trim().split_at(2);
    fs::remove_file(y.root.join(".git/objects").join(fan).join(rest)).unwrap();
    assert!(y.git.sync(BRANCH, &commit, Some(&y.base)).is_err());
}

#[test]
fn a_git_that_outlives_its_caller_is_waited_for() {
    let y = yard();
    let lock = y.root.join(".git/jobyard-change");
    y.add();
    let file = fs::File::open(&lock).unwrap();
    file.lock().unwrap();
    // As a child of a killed daemon: it holds the file as its standard input, until told to end.
    let fifo = y.root.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut child = Command::new("cat").arg(&fifo).stdin(file).spawn().unwrap();
    let (git, base) = (y.git.clone(), y.base.clone());
    let (say, hear) = std::sync::mpsc::channel();
    let adding = std::thread::spawn(move || {
        let made = git.add(".worktrees/WO-2", "feat/wo-WO-2", &base, None);
        say.send(()).unwrap();
        made
    });
    let writer = fs::File::options().write(true).open(&fifo).unwrap();
    assert!(hear.try_recv().is_err(), "nothing was made under a living git");
    assert!(!y.root.join(".worktrees/WO-2").exists());
    drop(writer);
    assert!(child.wait().unwrap().success());
    assert!(adding.join().unwrap().unwrap().worktree_created);
}

#[test]
fn other_formats_of_repositories_work_too() {
    for format in ["--ref-format=reftable", "--object-format=sha256"] {
        let dir = TempDir::new().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let made =
            Command::new("git").args(["init", "-q", "-b", "main", format]).arg(&root).status();
        if !made.unwrap().success() {
            // An older git does not know the format: then no repository of users has it.
            continue;
        }
        put(&root.join("a"), "1\n");
        run(&root, &["add", "a"]);
        run(&root, &["commit", "-q", "-m", "one"]);
        put(&root.join("_ctx/runs/excludes"), "");
        let git = Git::new(root.clone(), Bounds::default());
        let base = git.base(None).unwrap();
        let y = Yard { _dir: dir, root, git, base };
        let made = y.add();
        y.assert_whole(format);
        symlink("a", y.tree().join("l")).unwrap();
        let head = y.commit("two");
        let all = y.git.changes(TREE, &y.base, &head).unwrap();
        assert_eq!(by_path(&all, "l").link_target.as_deref(), Some("a"), "{format}");
        y.git.sync(BRANCH, &head, Some(&y.base)).unwrap();
        y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
        assert_eq!(y.git.branch(BRANCH), Ok(Some(head)), "{format}");
    }
}
