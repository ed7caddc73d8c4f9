//! What a job says of its progress, and what counts as a sign of life.

use crate::yard::Yard;
use std::fs;
use std::process::Command;

#[test]
fn progress_is_shown_while_it_runs() {
    let mut yard = Yard::bare();
    // A pipe for each: whoever opens one that is just being closed reads nothing from it.
    yard.fifo("first");
    yard.fifo("second");
    yard.start();
    let write = |text, gate| format!("echo {text} > $JOBYARD_PROGRESS; read go < {gate}");
    let run = format!("{}; {}", write("50 half way", "first"), write("150", "second"));
    yard.submit("A", &format!("workspace: none\nrun: '{run}'\n"));
    yard.until("the progress", || yard.text("_ctx/runs/A/1/progress").contains("50"));
    for args in [&["list"][..], &["status"], &["show", "A"], &["why", "A"]] {
        let (_, said) = yard.verb(args);
        assert!(said.contains("50 %: half way; run 1/1"), "{args:?}: {said}");
    }
    let (_, said) = yard.verb(&["list", "--json"]);
    assert!(said.contains("\"message\":\"half way\""), "{said}");
    yard.open_gate("first");
    yard.until("the next progress", || yard.text("_ctx/runs/A/1/progress").contains("150"));
    let (_, said) = yard.verb(&["show", "A"]);
    assert!(said.contains("Progress must be between 0 and 100; run 1/1"), "{said}");
    yard.open_gate("second");
    yard.until_in("done", "A");
}

fn touch(yard: &Yard, when: &str, name: &str) {
    let mut touch = Command::new("touch");
    assert!(touch.args(["-d", when]).arg(yard.path(name)).status().unwrap().success());
}

/// Whether a holder is alive by a file of the future alone, when a millisecond makes it stale.
fn is_alive_by(make: impl Fn(&Yard) -> String) -> bool {
    let yard = Yard::git();
    yard.configure("settle = \"20ms\"\nstale_after = \"1m\"\n");
    yard.put("src/deep/er/b.txt", "b\n");
    yard.run_git(".", &["add", "."]);
    yard.run_git(".", &["commit", "-q", "-m", "b"]);
    yard.submit("A", "");
    assert_eq!(yard.verb(&["take", "A"]).0, 0);
    yard.configure("settle = \"20ms\"\nstale_after = \"1ms\"\n");
    let sign = make(&yard);
    touch(&yard, "1 hour", &sign);
    let (code, said) = yard.verb(&["take", "A", "--takeover", "--reason", "gone"]);
    assert!(code == 0 || code == 5, "{said}");
    code == 5
}

#[test]
fn a_change_anywhere_in_the_worktree_is_a_sign_of_life() {
    assert!(is_alive_by(|_| ".worktrees/A/src/deep/er/b.txt".to_owned()));
    assert!(is_alive_by(|yard| {
        fs::write(yard.path(".worktrees/A/src/deep/new"), "n").unwrap();
        ".worktrees/A/src/deep/new".to_owned()
    }));
    assert!(is_alive_by(|yard| {
        fs::write(yard.path("_ctx/runs/A/1/progress"), "10\n").unwrap();
        "_ctx/runs/A/1/progress".to_owned()
    }));
    assert!(!is_alive_by(|_| "src/a.txt".to_owned()), "the main checkout is not its worktree");
}

#[test]
fn a_commit_is_a_sign_of_life_wherever_git_keeps_it() {
    let admin = |yard: &Yard| {
        let dir = yard.run_git(".worktrees/A", &["rev-parse", "--absolute-git-dir"]);
        format!("{}/logs/HEAD", dir.strip_prefix(&format!("{}/", yard.root.display())).unwrap())
    };
    assert!(is_alive_by(admin));
}
