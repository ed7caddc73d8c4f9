//! `--dry-run`: what is said is what would be done, the gate's refusal included, and nothing changes.

use super::root::{Root, Said};
use std::fs;

impl Root {
    /// Runs a verb that must change nothing.
    #[track_caller]
    fn dry(&self, arguments: &[&str], code: i32) -> Said {
        let before = self.snapshot();
        let said = self.run(&[arguments, &["--dry-run"]].concat()).ends(code);
        assert_eq!(self.snapshot(), before, "{arguments:?}");
        said
    }
}

#[test]
fn finish_is_refused_as_the_real_one_is() {
    let root = Root::new();
    root.order("A", "verify: {commands: ['test -f README', 'test -d .']}");
    root.run(&["take", "A"]).ends(0);
    let clean = root.dry(&["finish", "A"], 0);
    for part in ["would run check-1: test -f README", "would run check-2: test -d .", "to done/"] {
        assert!(clean.out.contains(part), "{part}: {clean:?}");
    }
    fs::write(root.path(".worktrees/A/new"), "x").unwrap();
    let skip = ["finish", "A", "--skip-verification", "--reason", "r"];
    for arguments in [&["finish", "A"][..], &skip] {
        let dry = root.dry(arguments, 4);
        let real = root.run(arguments).ends(4);
        assert_eq!((&dry.out, &dry.err), (&real.out, &real.err));
        assert!(dry.err.contains("stays running") && dry.err.contains("new"), "{dry:?}");
    }
    fs::remove_file(root.path(".worktrees/A/new")).unwrap();
    let dry = root.dry(&skip, 0);
    assert!(dry.out.contains("would run no check") && !dry.out.contains("README"), "{dry:?}");
    assert!(dry.out.contains("would move it to done/: skipped"), "{dry:?}");
}

#[test]
fn finish_foresees_what_is_out_of_scope() {
    let root = Root::new();
    root.order("A", "scope: {allow: ['src/**']}\nverify: {commands: ['test -f README']}");
    root.run(&["take", "A"]).ends(0);
    fs::write(root.path(".worktrees/A/README"), "changed\n").unwrap();
    let worktree = root.path(".worktrees/A");
    root.git(&["-C", worktree.to_str().unwrap(), "commit", "-qam", "out of bounds"]);
    let dry = root.dry(&["finish", "A"], 0);
    assert!(dry.out.contains("README") && dry.out.contains("to failed/: fail"), "{dry:?}");
    assert!(!dry.out.contains("would run check"), "{dry:?}");
    root.run(&["finish", "A"]).ends(6);
}

#[test]
fn a_daemon_says_what_its_first_turn_would_do() {
    let root = Root::new();
    assert!(root.dry(&["daemon"], 0).out.contains("nothing to do"));
    root.order("LOW", "run: echo low\npriority: low");
    root.order("HIGH", "run: echo high\npriority: high");
    root.order("LAST", "run: echo last\npriority: low\ndeadline: '2199-01-01'");
    root.order("BAD", "priority: urgentt");
    root.order("HELD", "run: 'true'\nhold: later");
    fs::create_dir_all(root.path("_ctx/jobs/control")).unwrap();
    fs::write(root.path("_ctx/jobs/control/HELD.cancel"), "no").unwrap();
    let said = root.dry(&["daemon", "--slots", "2"], 0);
    let at = |part: &str| said.out.find(part).unwrap_or_else(|| panic!("{part}: {said:?}"));
    assert!(at("HIGH: would run: echo high") < at("LAST: would run: echo last"), "{said:?}");
    at("HIGH: would make the branch feat/wo-HIGH");
    at("BAD: would write _ctx/jobs/pending/BAD.yaml.why: ");
    at("HELD: would move it from pending/ to failed/: cancelled");
    assert!(!said.out.contains("LOW: would run"), "{said:?}");
    let json = root.dry(&["daemon", "--json", "--slots", "3"], 0).json();
    assert_eq!(json["schema"], "jobyard.daemon.v1");
    assert!(json["plan"].to_string().contains("LOW: would run: echo low"), "{json}");
    let _daemon = root.daemon();
    let said = root.run(&["daemon", "--dry-run", "--json"]).ends(5);
    assert_eq!(said.json()["schema"], "jobyard.error.v1");
}
