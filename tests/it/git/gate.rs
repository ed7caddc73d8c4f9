//! What a job can try so that the gate does not see a change, and what the gate sees all the same.

use super::{TREE, by_path, put, run, yard};
use jobyard::model::tree::{CommitId, TreeFacts};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

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
    assert_eq!(y.git.worktree(TREE, super::BRANCH), Ok(false));
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
    let scratch = fs::read_dir(y.root.join("_ctx/runs/.jobyard")).unwrap();
    let left = scratch
        .filter(|n| n.as_ref().unwrap().file_name().to_string_lossy().starts_with("git-scratch"));
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
