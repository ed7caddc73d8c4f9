//! Programs that a job plants in the repository: hooks, helpers, remotes. None runs while the gate looks.

use super::{BRANCH, TREE, Yard, put, run, yard};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program that leaves a mark.
fn program(path: &Path, text: &str) {
    put(path, &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Plants everything that git may be told to run; the mark it would leave.
fn plant(y: &Yard) -> PathBuf {
    let ran = y.root.parent().unwrap().join("ran");
    let mark = format!("echo \"$0 $*\" >> {}", ran.display());
    let hooks = y.root.parent().unwrap().join("hooks");
    for hook in [
        "post-index-change",
        "reference-transaction",
        "pre-auto-gc",
        "fsmonitor-watchman",
        "query-watchman",
    ] {
        program(&hooks.join(hook), &mark);
    }
    let tool = hooks.join("tool");
    program(&tool, &mark);
    let tool = tool.to_str().unwrap();
    for key in [
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.alternateRefsCommand",
        "core.gitProxy",
        "diff.external",
        "diff.planted.textconv",
        "diff.planted.command",
        "gpg.program",
        "credential.helper",
    ] {
        run(&y.root, &["config", key, tool]);
    }
    run(&y.root, &["config", "core.hooksPath", hooks.to_str().unwrap()]);
    run(&y.root, &["config", "log.showSignature", "true"]);
    run(&y.root, &["config", "remote.planted.url", &format!("ext::{tool}")]);
    run(&y.root, &["config", "protocol.ext.allow", "always"]);
    run(&y.root, &["config", "remote.planted.promisor", "true"]);
    put(&y.root.join(".git/info/attributes"), "* diff=planted\n");
    ran
}

#[test]
fn no_planted_program_runs_while_the_gate_looks() {
    let y = yard();
    y.add();
    put(&y.tree().join("src/f1.txt"), "x\n");
    let head = y.commit("work");
    put(&y.tree().join("src/f2.txt"), "changed\n");
    let ran = plant(&y);
    assert_eq!(y.facts().changed, ["src/f2.txt"]);
    assert_eq!(y.git.changes(TREE, &y.base, &head).unwrap().len(), 1);
    y.git.sync(BRANCH, &head, Some(&y.base)).unwrap();
    y.git.branch(BRANCH).unwrap();
    y.git.base(None).unwrap();
    y.git.excludes().unwrap();
    y.git.list().unwrap();
    y.git.tracked_state().unwrap();
    // A missing object is not fetched from where the job says.
    let blob = run(&y.tree(), &["-c", "core.hooksPath=/dev/null", "rev-parse", "HEAD:src/f1.txt"]);
    fs::remove_file(y.root.join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    assert!(y.git.changes(TREE, &y.base, &head).is_err());
    assert!(y.git.sync(BRANCH, &head, Some(&y.base)).is_err());
    assert_eq!(fs::read_to_string(&ran).unwrap_or_default(), "", "programs ran");
}

#[test]
fn a_hook_hides_no_change_and_refuses_no_claim() {
    let y = yard();
    let hooks = y.root.join(".git/hooks");
    program(&hooks.join("reference-transaction"), "exit 1");
    let made = y.add();
    assert!(made.branch_created, "a hook that refuses every ref is not asked");
    fs::remove_file(hooks.join("reference-transaction")).unwrap();
    program(
        &hooks.join("post-index-change"),
        "case \"$GIT_INDEX_FILE\" in *jobyard*) git -c core.hooksPath=/dev/null \
         update-index --assume-unchanged src/f1.txt;; esac",
    );
    put(&y.tree().join("src/f1.txt"), "LINE 1\n");
    assert_eq!(y.facts().changed, ["src/f1.txt"]);
}

#[test]
fn the_hook_after_a_checkout_runs_once_when_a_worktree_is_made() {
    let y = yard();
    let said = y.root.parent().unwrap().join("said");
    let text = format!("echo \"$PWD $* $(git rev-parse HEAD)\" >> {}; exit 1", said.display());
    program(&y.root.join(".git/hooks/post-checkout"), &text);
    let made = y.add();
    let none = "0".repeat(40);
    let line = format!("{} {none} {1} 1 {1}\n", y.tree().display(), y.base);
    assert_eq!(fs::read_to_string(&said).unwrap(), line);
    y.add();
    y.facts();
    y.git.remove(TREE, BRANCH, &y.base, &made).unwrap();
    assert_eq!(fs::read_to_string(&said).unwrap(), line);
}
