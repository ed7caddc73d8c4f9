//! `verify`: the gate tried out, with nothing changed; and the evidence of what is settled.

use super::root::{Root, Said};
use std::fs;
use std::io::{BufRead, BufReader};

impl Root {
    /// Runs `verify`, after which everything is as it was.
    #[track_caller]
    fn verified(&self, arguments: &[&str], code: i32) -> Said {
        let before = self.snapshot();
        let said = self.run(&[&["verify"], arguments].concat()).ends(code);
        assert_eq!(self.snapshot(), before, "{arguments:?}");
        said
    }
}

const CHECKED: &str =
    "env: {WORD: secret}\nverify: {commands: ['echo hello; test -f made && test $WORD = secret']}";

#[test]
fn the_checks_are_run_and_nothing_is_settled() {
    let root = Root::new();
    root.order("A", CHECKED);
    let said = root.verified(&["A"], 4);
    assert!(said.err.contains("finish would be refused"), "{said:?}");
    root.run(&["take", "A"]).ends(0);
    let said = root.verified(&["A"], 6);
    for part in ["A would be FAIL", "fail          check: echo hello", "  | hello", "because"] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    assert!(!said.out.contains(".log"), "there is no log to see: {said:?}");
    fs::write(root.path(".worktrees/A/made"), "").unwrap();
    let said = root.verified(&["A"], 4);
    assert!(
        said.err.contains("made"),
        "a dirty worktree is refused as finish refuses it: {said:?}"
    );
    let worktree = root.path(".worktrees/A");
    let worktree = worktree.to_str().unwrap();
    root.git(&["-C", worktree, "add", "made"]);
    root.git(&["-C", worktree, "commit", "-qm", "made"]);
    let json = root.verified(&["A", "--json"], 0).json();
    assert_eq!(json["schema"], "jobyard.verify.v1");
    assert_eq!((&json["result"], &json["settled"]), (&"pass".into(), &false.into()));
    assert_eq!(json["checks"][0]["output_tail"], "hello");
    // Beside a daemon it is the same, and what it ran is in no way part of the attempt.
    let _daemon = root.daemon();
    root.run(&["verify", "A"]).ends(0);
    root.run(&["finish", "A"]).ends(0);
    let log = fs::read_to_string(root.path("_ctx/runs/A/1/01-check.log")).unwrap();
    assert_eq!(log, "hello\n");
}

#[test]
fn the_checks_end_with_the_verb() {
    let root = Root::new();
    let pipe = root.fifo("pipe");
    let hang = format!(
        "verify: {{commands: ['exec >{}; setsid sleep 1000 & echo on; wait']}}",
        pipe.display()
    );
    root.order("A", &hang);
    root.run(&["take", "A"]).ends(0);
    let verb = root.begin(&["verify", "A"]);
    let mut lines = BufReader::new(fs::File::open(&pipe).unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "on");
    verb.signal(rustix::process::Signal::KILL);
    // The pipe ends when the last process that holds it has gone.
    assert!(lines.next().is_none());
}

#[test]
fn evidence_that_was_changed_is_named() {
    let root = Root::new();
    root.order("A", "verify: {commands: ['echo seen; test -f README']}");
    root.run(&["take", "A"]).ends(0);
    root.run(&["finish", "A"]).ends(0);
    let said = root.verified(&["A"], 0);
    for part in [
        "the evidence holds",
        "holds  ledger",
        "holds  log _ctx/runs/A/1/01-check.log",
        "holds  commit",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    fs::write(root.path("_ctx/runs/A/1/01-check.log"), "seen it\n").unwrap();
    let said = root.verified(&["A"], 7);
    assert!(said.out.contains("WRONG  log _ctx/runs/A/1/01-check.log: its bytes"), "{said:?}");
    root.git(&["worktree", "remove", ".worktrees/A"]);
    root.git(&["update-ref", "refs/heads/feat/wo-A", "HEAD"]);
    let json = root.verified(&["A", "--json"], 7).json();
    assert_eq!((&json["settled"], &json["code"]), (&true.into(), &7.into()));
    root.run(&["verify", "NONE"]).ends(3);
}

#[test]
fn what_has_to_be_mended_first_is_said() {
    type Mishap = fn(&Root);
    let moved = |to: &'static str| {
        move |root: &Root| {
            fs::create_dir_all(root.path(&format!("_ctx/jobs/{to}"))).unwrap();
            let from = root.path("_ctx/jobs/running/A.yaml");
            fs::rename(from, root.path(&format!("_ctx/jobs/{to}/A.yaml"))).unwrap();
        }
    };
    let (done, failed, pending) = (moved("done"), moved("failed"), moved("pending"));
    let unlocked: Mishap = |root| fs::remove_file(root.path("_ctx/jobs/running/A.lock")).unwrap();
    let mishaps: [&dyn Fn(&Root); 4] = [&unlocked, &done, &failed, &pending];
    for mishap in mishaps {
        let root = Root::new();
        root.order("A", "verify: {commands: ['test -f README']}");
        root.run(&["take", "A"]).ends(0);
        mishap(&root);
        let said = root.verified(&["A"], 4);
        assert!(said.err.contains("jobyard would"), "{said:?}");
    }
}

#[test]
fn a_log_that_a_check_replaces_is_not_followed() {
    for trick in ["mkfifo", "ln -s /etc/passwd"] {
        let root = Root::new();
        let check = format!("l=$(readlink /proc/$$/fd/1); rm $l; {trick} $l; false");
        root.order("A", &format!("verify: {{commands: ['{check}']}}"));
        root.run(&["take", "A"]).ends(0);
        let said = root.run(&["verify", "A"]).ends(6);
        assert!(!said.out.contains("root:"), "{said:?}");
        assert!(said.err.starts_with("jobyard: l=$(readlink"), "the check is named: {said:?}");
        let left = fs::read_dir(root.path("_ctx/runs/.jobyard")).unwrap();
        let left =
            left.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("verify"));
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn a_verdict_that_is_gone_or_forged_is_no_evidence() {
    let root = Root::new();
    root.order("A", "verify: {commands: ['echo seen; test -f README']}");
    root.run(&["take", "A"]).ends(0);
    root.run(&["finish", "A"]).ends(0);
    let path = root.path("_ctx/runs/A/1/verdict.json");
    let text = fs::read_to_string(&path).unwrap();
    let digest = text.split("\"sha256\": \"").nth(1).unwrap()[..64].to_owned();
    let commit = text.split("\"commit\": \"").nth(1).unwrap()[..40].to_owned();
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["checks"] = serde_json::Value::Array(Vec::new());
    let emptied = value.to_string();
    for (forged, part) in [
        ("{".to_owned(), "WRONG  verdict"),
        (text.replace(&digest, ""), "WRONG  log"),
        (emptied, "WRONG  verdict"),
        (text.replace(&commit, &"0".repeat(40)), "WRONG  verdict"),
    ] {
        fs::write(&path, forged).unwrap();
        let said = root.run(&["verify", "A"]).ends(7);
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    fs::remove_file(&path).unwrap();
    let said = root.run(&["verify", "A"]).ends(7);
    assert!(said.out.contains("verdict.json: it is not there"), "{said:?}");
}

#[test]
fn what_a_daemon_runs_is_refused_as_finish_refuses_it() {
    let root = Root::new();
    let pipe = root.fifo("pipe");
    root.order("A", &format!("workspace: none\nrun: 'echo > {0}; cat {0}'", pipe.display()));
    let daemon = root.daemon();
    assert_eq!(fs::read(&pipe).unwrap(), b"\n");
    let refused = |root: &Root, arguments: &[&str]| {
        let said = root.run(arguments).ends(4);
        assert!(said.err.contains("finish --stop"), "{arguments:?}: {said:?}");
    };
    let all: [&[&str]; 3] = [&["finish", "A"], &["finish", "A", "--dry-run"], &["verify", "A"]];
    all.iter().for_each(|arguments| refused(&root, arguments));
    let said = root.run(&["cancel", "A", "--dry-run"]).ends(0);
    assert!(said.out.contains("would end the whole tree"), "{said:?}");
    daemon.kill();
    refused(&root, &["verify", "A"]);
    root.run(&["cancel", "A"]).ends(0);
}

#[test]
fn a_verdict_on_what_was_settled_meanwhile_is_none() {
    let root = Root::new();
    let pipe = root.fifo("pipe");
    root.order("A", &format!("verify: {{commands: ['cat {}']}}", pipe.display()));
    root.run(&["take", "A"]).ends(0);
    let verb = root.begin(&["verify", "A"]);
    let gate = fs::File::options().write(true).open(&pipe).unwrap();
    root.run(&["cancel", "A"]).ends(0);
    drop(gate);
    let said = verb.wait().ends(75);
    assert!(said.out.is_empty() && said.err.contains("meanwhile"), "{said:?}");
}

#[test]
fn what_its_killed_executor_left_behind_is_ended() {
    let root = Root::new();
    let pipe = root.fifo("pipe");
    let check = format!("exec 3>{}; setsid sleep 1000 & kill -9 $PPID; wait", pipe.display());
    root.order("A", &format!("verify: {{commands: ['{check}']}}"));
    root.run(&["take", "A"]).ends(0);
    let verb = root.begin(&["verify", "A"]);
    // It ends when the last process that holds it has gone.
    assert_eq!(fs::read(&pipe).unwrap(), b"");
    let said = verb.wait().ends(1);
    assert!(said.err.contains("its executor ended"), "{said:?}");
}

#[test]
fn a_check_that_cannot_be_started_is_told_too() {
    let root = Root::new();
    root.order("A", "env: {WORD: secret}\nverify: {commands: ['echo one', 'test -f README']}");
    root.run(&["take", "A"]).ends(0);
    fs::write(root.path("_ctx/runs/A/1/order.yaml"), "id: A\ntitle: t\n").unwrap();
    fs::write(root.path("_ctx/jobs/running/A.yaml"), "id: A\ntitle: t\n").unwrap();
    let said = root.run(&["verify", "A", "--json"]).ends(6);
    assert!(said.err.contains("sealed copy of the order was changed"), "{said:?}");
    assert!(!said.err.contains("secret"), "{said:?}");
    assert_ne!(said.json()["checks"].as_array().unwrap().len(), 0, "{said:?}");
}
