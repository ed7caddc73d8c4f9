//! git by its executable, against real repositories: worktrees, repair, facts, changes, durability.

use jobyard::model::tree::{Change, CommitId, TreeFacts, WorktreeMade};
use jobyard::world::git::Git;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
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
    let git = Git::new(root.clone(), Some(1));
    put(&root.join("_ctx/runs/excludes"), "");
    let base = git.base(None).unwrap();
    Yard { _dir: dir, root, git, base }
}

impl Yard {
    fn add(&self) -> WorktreeMade {
        self.git.add(TREE, BRANCH, &self.base).unwrap()
    }

    fn tree(&self) -> PathBuf {
        self.root.join(TREE)
    }

    fn admin(&self) -> PathBuf {
        self.root.join(".git/worktrees/WO-1")
    }

    fn facts(&self) -> TreeFacts {
        self.git.tree(TREE, "_ctx/runs/excludes").unwrap()
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
    let said = y.git.add(TREE, BRANCH, &y.base).unwrap_err().to_string();
    assert!(said.contains("elsewhere"), "{said}");
    assert!(!y.tree().exists());
    assert_eq!(y.git.list().unwrap().len(), 2);
}

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
    let cases: [(&str, Breaking); 18] = [
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
    for (what, breaking) in cases {
        let y = yard();
        // A bystander whose name is the one git takes when ours is in use.
        y.git.add(".worktrees/WO-11", "feat/wo-WO-11", &y.base).unwrap();
        y.add();
        breaking(&y);
        let made = y.git.add(TREE, BRANCH, &y.base).unwrap_or_else(|e| panic!("{what}: {e}"));
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
        assert!(y.git.add(bad, BRANCH, &y.base).is_err(), "{bad:?}");
    }
    symlink("/tmp", y.root.join(".worktrees")).unwrap();
    let said = y.git.add(TREE, BRANCH, &y.base).unwrap_err().to_string();
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
    let git = Git::new(dir.path().to_owned(), None);
    assert_eq!(git.is_repository(), Ok(false));
    assert!(git.base(None).unwrap_err().to_string().contains("git init"));
    assert!(git.ensure_excludes().is_err());
    run(dir.path(), &["init", "-q", "-b", "main"]);
    assert_eq!(git.is_repository(), Ok(true));
    assert!(git.base(None).unwrap_err().to_string().contains("first commit"));
}

/// Something a job does to hide a change from the gate.
type Attack = fn(&Path);

#[test]
fn no_trick_hides_a_changed_tracked_file() {
    let cases: [(&str, Attack); 9] = [
        ("plain", |t| put(&t.join("src/f1.txt"), "LINE 1\n")),
        ("skip-worktree", |t| {
            run(t, &["update-index", "--skip-worktree", "src/f1.txt"]);
            put(&t.join("src/f1.txt"), "LINE 1\n");
        }),
        ("assume-unchanged", |t| {
            run(t, &["update-index", "--assume-unchanged", "src/f1.txt"]);
            put(&t.join("src/f1.txt"), "LINE 1\n");
        }),
        ("deleted and hidden", |t| {
            run(t, &["update-index", "--skip-worktree", "src/f1.txt"]);
            fs::remove_file(t.join("src/f1.txt")).unwrap();
        }),
        ("same size and time, blunted settings", |t| {
            run(t, &["config", "core.trustctime", "false"]);
            run(t, &["config", "core.checkStat", "minimal"]);
            run(t, &["status"]);
            let stamp = fs::metadata(t.join("src/f1.txt")).unwrap().modified().unwrap();
            fs::write(t.join("src/f1.txt"), "LINE 1\n").unwrap();
            let file = fs::File::options().write(true).open(t.join("src/f1.txt")).unwrap();
            file.set_modified(stamp).unwrap();
        }),
        ("a file monitor that lies", |t| {
            let lie = t.parent().unwrap().join("lie");
            put(&lie, "#!/bin/sh\nprintf 'token\\0'\n");
            fs::set_permissions(&lie, fs::Permissions::from_mode(0o755)).unwrap();
            run(t, &["config", "core.fsmonitor", lie.to_str().unwrap()]);
            run(t, &["status"]);
            put(&t.join("src/f1.txt"), "LINE 1\n");
        }),
        ("staged only", |t| {
            put(&t.join("src/f1.txt"), "LINE 1\n");
            run(t, &["add", "src/f1.txt"]);
            put(&t.join("src/f1.txt"), "line 1\n");
        }),
        ("mode", |t| {
            run(t, &["config", "core.fileMode", "false"]);
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(t.join("src/f1.txt"), mode).unwrap();
        }),
        ("replaced by a link", |t| {
            run(t, &["config", "core.symlinks", "false"]);
            fs::remove_file(t.join("src/f1.txt")).unwrap();
            symlink("f2.txt", t.join("src/f1.txt")).unwrap();
        }),
    ];
    for (what, attack) in cases {
        let y = yard();
        y.add();
        attack(&y.tree());
        assert!(y.facts().changed.contains(&"src/f1.txt".to_owned()), "{what}: {:?}", y.facts());
    }
    let y = yard();
    y.add();
    run(&y.tree(), &["update-index", "--skip-worktree", "src/f1.txt"]);
    run(&y.tree(), &["update-index", "--assume-unchanged", "src/f2.txt"]);
    assert_eq!(y.facts().hidden, ["src/f1.txt", "src/f2.txt"]);
}

#[test]
fn an_index_of_the_jobs_own_making_is_not_believed() {
    let y = yard();
    y.add();
    // Stamps of the changed file under the id of the old content.
    let old = run(&y.tree(), &["rev-parse", "HEAD:src/f1.txt"]);
    put(&y.tree().join("src/f1.txt"), "LINE 1\n");
    run(&y.tree(), &["add", "src/f1.txt"]);
    let new = run(&y.tree(), &["rev-parse", ":src/f1.txt"]);
    let index = y.admin().join("index");
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    };
    let mut bytes = fs::read(&index).unwrap();
    let at = bytes.windows(20).position(|w| w == hex(&new)).unwrap();
    bytes[at..at + 20].copy_from_slice(&hex(&old));
    // Without its cached trees, and with the checksum left out, as git allows.
    let length = bytes.len();
    bytes[length - 20..].fill(0);
    fs::write(&index, bytes).unwrap();
    assert_eq!(y.facts().changed, ["src/f1.txt"]);
}

#[test]
fn only_sealed_rules_ignore_untracked_files() {
    let cases: [(&str, Attack); 6] = [
        ("plain", |t| put(&t.join("new"), "x")),
        ("info/exclude", |t| {
            put(&t.join("new"), "x");
            let common = run(t, &["rev-parse", "--git-common-dir"]);
            put(&Path::new(&common).join("info/exclude"), "new\n");
        }),
        ("core.excludesFile", |t| {
            put(&t.join("new"), "x");
            put(&t.parent().unwrap().join("rules"), "*\n");
            let rules = t.parent().unwrap().join("rules");
            run(t, &["config", "core.excludesFile", rules.to_str().unwrap()]);
        }),
        ("settings of status", |t| {
            put(&t.join("new"), "x");
            run(t, &["config", "status.showUntrackedFiles", "no"]);
            run(t, &["config", "core.untrackedCache", "true"]);
        }),
        ("intent to add", |t| {
            put(&t.join("new"), "x");
            run(t, &["add", "-N", "new"]);
        }),
        ("staged", |t| {
            put(&t.join("new"), "x");
            run(t, &["add", "new"]);
        }),
    ];
    for (what, attack) in cases {
        let y = yard();
        y.add();
        attack(&y.tree());
        let facts = y.facts();
        let seen = facts.untracked.iter().chain(&facts.changed).any(|f| f == "new");
        assert!(seen, "{what}: {facts:?}");
    }
    let y = yard();
    y.add();
    put(&y.root.join("_ctx/runs/excludes"), "/sealed\n");
    put(&y.tree().join("sealed"), "x");
    put(&y.tree().join("a.tmp"), "x");
    put(&y.tree().join("dir/sealed"), "x");
    assert_eq!(y.facts().untracked, ["dir/sealed"]);
    fs::remove_file(y.root.join("_ctx/runs/excludes")).unwrap();
    assert!(y.git.tree(TREE, "_ctx/runs/excludes").is_err(), "no rules is not no rule");
}

#[test]
fn a_worktree_that_points_elsewhere_does_not_exist() {
    let y = yard();
    y.add();
    let decoy = y.root.parent().unwrap().join("decoy");
    run(&y.root, &["clone", "-q", ".", decoy.to_str().unwrap()]);
    fs::write(y.tree().join(".git"), format!("gitdir: {}\n", decoy.join(".git").display()))
        .unwrap();
    assert_eq!(y.facts(), TreeFacts::default());
    assert_eq!(y.git.worktree(TREE, BRANCH), Ok(false));
    fs::write(y.tree().join(".git"), format!("gitdir: {}\n", y.admin().display())).unwrap();
    assert!(y.facts().exists);
    fs::write(y.admin().join("commondir"), format!("{}\n", decoy.join(".git").display())).unwrap();
    assert!(!y.facts().exists);
}

#[test]
fn core_worktree_and_replace_refs_lead_nowhere() {
    let y = yard();
    y.add();
    let decoy = y.root.parent().unwrap().join("decoy");
    run(&y.root, &["clone", "-q", ".", decoy.to_str().unwrap()]);
    put(&y.tree().join("src/f1.txt"), "LINE 1\n");
    run(&y.tree(), &["config", "extensions.worktreeConfig", "true"]);
    let worktree = decoy.to_str().unwrap();
    run(&y.tree(), &["config", "--worktree", "core.worktree", worktree]);
    assert_eq!(y.facts().changed, ["src/f1.txt"]);
    run(
        &y.root,
        &[
            "config",
            "--file",
            y.admin().join("config.worktree").to_str().unwrap(),
            "--unset",
            "core.worktree",
        ],
    );
    let head = y.commit("bad");
    run(&y.root, &["replace", head.as_str(), y.base.as_str()]);
    assert_eq!(y.facts().head, Some(head.clone()));
    let changes = y.git.changes(TREE, &y.base, &head).unwrap();
    assert_eq!(changes.len(), 1);
}

fn by_path(changes: &[Change], path: &str) -> Change {
    let hit = |c: &&Change| c.new_path.as_deref().or(c.old_path.as_deref()) == Some(path);
    changes.iter().find(hit).unwrap_or_else(|| panic!("{path} in {changes:#?}")).clone()
}

#[test]
fn changes_carry_renames_modes_links_and_submodules() {
    use std::os::unix::ffi::OsStrExt;
    let y = yard();
    y.add();
    let t = y.tree();
    let long: String = (0..40).map(|n| format!("row {n}\n")).collect();
    put(&t.join("long.txt"), &long);
    y.commit("long");
    let base = CommitId::parse(&run(&t, &["rev-parse", "HEAD"])).unwrap();
    run(&t, &["mv", "long.txt", "moved to.txt"]);
    put(&t.join("moved to.txt"), &format!("{long}one more\n"));
    fs::remove_file(t.join("src/f0.txt")).unwrap();
    fs::set_permissions(t.join("src/f1.txt"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../../outside", t.join("src/link")).unwrap();
    fs::write(t.join("bin"), b"a\0b\n").unwrap();
    fs::write(t.join(std::ffi::OsStr::from_bytes(b"odd\xff\nname")), "1\n2\n").unwrap();
    run(&t, &["add", "-A"]);
    run(&t, &["update-index", "--add", "--cacheinfo", &format!("160000,{base},vendor/sub")]);
    run(&t, &["config", "diff.renames", "false"]);
    run(&t, &["config", "diff.ignoreSubmodules", "all"]);
    run(&t, &["commit", "-q", "-m", "all"]);
    let head = CommitId::parse(&run(&t, &["rev-parse", "HEAD"])).unwrap();
    let all = y.git.changes(TREE, &base, &head).unwrap();
    assert_eq!(all.len(), 7, "{all:#?}");
    let moved = by_path(&all, "moved to.txt");
    assert_eq!(moved.old_path.as_deref(), Some("long.txt"));
    assert_eq!((moved.added, moved.deleted), (1, 0));
    let gone = by_path(&all, "src/f0.txt");
    assert_eq!((gone.new_path, gone.new_mode, gone.deleted), (None, 0, 1));
    let mode = by_path(&all, "src/f1.txt");
    assert_eq!((mode.old_mode, mode.new_mode, mode.added), (0o100_644, 0o100_755, 0));
    assert_eq!(by_path(&all, "src/link").link_target.as_deref(), Some("../../outside"));
    assert!(by_path(&all, "bin").binary);
    assert_eq!(by_path(&all, "odd\\xff\nname").added, 2);
    assert_eq!(by_path(&all, "vendor/sub").new_mode, 0o160_000);
    assert_eq!(y.git.changes(TREE, &base, &base), Ok(vec![]));
    let unknown = CommitId::parse(&"1".repeat(40)).unwrap();
    assert!(y.git.changes(TREE, &base, &unknown).is_err());
    let scratch = fs::read_dir(y.root.join(".git")).unwrap();
    let left = scratch.filter(|n| {
        n.as_ref().unwrap().file_name().to_string_lossy().starts_with("jobyard-scratch")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn attributes_and_settings_of_the_job_do_not_make_lines_uncountable() {
    let y = yard();
    y.add();
    put(&y.tree().join(".gitattributes"), "* binary -diff\n");
    put(&y.tree().join("big.txt"), &"x\n".repeat(100));
    put(&y.root.join(".git/info/attributes"), "* binary\n");
    run(&y.tree(), &["config", "diff.external", "/bin/true"]);
    run(&y.tree(), &["config", "core.bigFileThreshold", "1"]);
    let head = y.commit("big");
    let all = y.git.changes(TREE, &y.base, &head).unwrap();
    assert_eq!(by_path(&all, "big.txt").added, 100);
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
    let git = Git::new(sub.clone(), None);
    assert!(git.ensure_excludes().unwrap());
    put(&sub.join("_ctx/runs/x"), "x");
    fs::remove_dir_all(y.root.join("_ctx")).unwrap();
    assert_eq!(run(&y.root, &["status", "--porcelain"]), "");
    git.add(TREE, BRANCH, &y.base).unwrap();
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
    y.git.sync(BRANCH, &y.base).unwrap();
    put(&y.tree().join("src/f1.txt"), "x\n");
    let commit = y.commit("work");
    y.git.sync(BRANCH, &commit).unwrap();
    run(&y.root, &["gc", "-q"]);
    y.git.sync(BRANCH, &commit).unwrap();
    assert!(y.git.sync("feat/none", &commit).is_err());
}

#[test]
fn a_git_that_outlives_its_caller_is_waited_for() {
    let y = yard();
    let lock = y.root.join(".git/jobyard.lock");
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
        let made = git.add(".worktrees/WO-2", "feat/wo-WO-2", &base);
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
