//! `import`: the tree of an older tool is reported, left as it is, and adopted when asked to.

use super::root::Root;
use std::fs;
use std::path::Path;

/// The tickets and locks that an older tool leaves behind.
fn older_tree(root: &Root) {
    let put = |path: &str, text: &str| {
        let path = root.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let order = |id: &str, status: &str, rest: &str| {
        format!(
            "version: 1\nid: {id}\nepic_id: E-1\ntitle: An older order # ours\npriority: P1\n\
             status: {status}\ndod_id: DOD-X\n{rest}"
        )
    };
    let jobs = "_ctx/jobs";
    put(&format!("{jobs}/pending/WO-1.yaml"), &order("WO-1", "pending", "dependencies: [WO-2]\n"));
    put(&format!("{jobs}/done/WO-2.yaml"), &order("WO-2", "done", "closed_at: '2026-02-12'\n"));
    put(&format!("{jobs}/failed/WO-3.yaml"), &order("WO-3", "failed", "x_failed_at: null\n"));
    put(&format!("{jobs}/running/WO-4.yaml"), &order("WO-4", "running", "owner: ann\n"));
    put(
        &format!("{jobs}/running/WO-4.lock"),
        "Locked by ctx_wo_take.py at 2026-02-21T10:00:00+00:00\nPID: 77\nUser: ann\nHostname: box\n",
    );
    put(&format!("{jobs}/running/WO-5.lock"), "WO-5\n");
    put(&format!("{jobs}/pending/WO-6.yaml"), "id: WO-6\nid: WO-6\n");
    for state in ["pending", "done"] {
        put(&format!("{jobs}/{state}/WO-7.yaml"), &order("WO-7", state, ""));
    }
    put(&format!("{jobs}/done/WO-8_job.yaml"), &order("WO-8", "done", ""));
    put(
        "_ctx/dod/x.yaml",
        "dod:\n- id: DOD-X\n  required_checks: [{name: c, commands: [test -f README]}]\n",
    );
    put("_ctx/backlog/backlog.yaml", "epics:\n- id: E-1\n");
}

fn list(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn an_older_tree_is_reported_and_adopted_whole() {
    let (older, root) = (Root::new(), Root::new());
    older_tree(&older);
    fs::remove_file(older.path("_ctx/jobyard.toml")).unwrap();
    let dir = older.path("");
    let dir = dir.to_str().unwrap();
    let (theirs, ours) = (older.snapshot(), root.snapshot());
    let said = root.run(&["import", dir]).ends(7);
    assert_eq!((older.snapshot(), root.snapshot()), (theirs.clone(), ours), "only looked at");
    for part in [
        "WO-1: pending/ -> pending/",
        "WO-2: done/ -> done/",
        "WO-3: failed/ -> failed/",
        "WO-4: running/ -> pending/ (held, since it ran: not made by jobyard: \"Locked by ctx_wo_take.py",
        "WO-6: stays in pending/: it is no valid order",
        "WO-7: stays in pending/: it lies in several states",
        "_ctx/dod/x.yaml: copied with them",
        "stands twice",
        "lease-without-order",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let applied = root.run(&["import", dir, "--apply", "--json"]).ends(7).json();
    assert_eq!((&applied["applied"], &applied["adopted"]), (&true.into(), &2.into()), "{applied}");
    assert_eq!(older.snapshot(), theirs, "the other tree is never changed");
    let states = ["WO-1", "WO-2", "WO-3", "WO-4", "WO-6"].map(|id| root.state(id));
    assert_eq!(states, ["pending", "done", "failed", "pending", "nowhere"]);
    assert!(root.ticket("WO-2").contains("title: An older order # ours\n"), "comments stay");
    assert!(
        root.ticket("WO-4").contains("hold: imported from running/"),
        "{}",
        root.ticket("WO-4")
    );
    assert_eq!(list(&root.path("_ctx/dod")), ["x.yaml"]);
    root.run(&["lint"]).ends(0);
    root.run(&["audit", "verify"]).ends(0);
    // What was done counts, and what ran waits for a word.
    root.run(&["take", "WO-4"]).ends(4);
    root.run(&["take", "WO-1"]).ends(0);
    let again = root.run(&["import", dir, "--apply"]).ends(7);
    assert!(
        again.out.contains("WO-1: stays in pending/: _ctx/jobs/running/WO-1.yaml is here already"),
        "{again:?}"
    );
}

#[test]
fn only_what_was_imported_is_adopted() {
    let (older, root) = (Root::new(), Root::new());
    older_tree(&older);
    root.order("X", "");
    root.run(&["hold", "X", "--reason", "x"]).ends(0);
    let mine = "id: Y\ntitle: t\n";
    fs::write(root.path("_ctx/jobs/done/Y.yaml"), mine).unwrap();
    fs::rename(root.path("_ctx/jobs/pending/X.yaml"), root.path("_ctx/jobs/done/X.yaml")).unwrap();
    let moved = root.ticket("X");
    root.run(&["import", older.path("").to_str().unwrap(), "--apply"]).ends(7);
    assert!(root.ticket("WO-2").contains("settled_"), "{}", root.ticket("WO-2"));
    assert_eq!((root.ticket("X"), root.ticket("Y")), (moved, mine.to_owned()));
    assert!(!root.path("_ctx/jobs/done/X.yaml.why").exists());
}

#[test]
fn a_tree_is_adopted_where_it_lies() {
    let root = Root::new();
    older_tree(&root);
    let before = root.snapshot();
    let said = root.run(&["import"]).ends(7);
    assert_eq!(root.snapshot(), before);
    for part in ["WO-2: done/ -> done/ (as it lies)", "WO-3: failed/", "unknown-lease"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    root.run(&["import", "--apply"]).ends(7);
    assert!(root.ticket("WO-2").contains("settled_"), "{}", root.ticket("WO-2"));
    assert!(root.has_lock("WO-4") && root.has_lock("WO-5"), "locks of others are left alone");
}

#[test]
fn what_cannot_be_imported_is_said() {
    let root = Root::new();
    let said = root.run(&["import", "/dev/null"]).ends(3);
    assert!(said.err.contains("no _ctx/jobs in it"), "{said:?}");
    let older = Root::new();
    older_tree(&older);
    let _daemon = root.daemon();
    let said = root.run(&["import", older.path("").to_str().unwrap(), "--apply"]).ends(5);
    assert!(said.err.contains("is served") && said.err.contains("stop it first"), "{said:?}");
    assert_eq!(root.state("WO-1"), "nowhere");
}

#[test]
fn what_goes_is_whole_and_as_it_was_meant() {
    use std::os::unix::fs::PermissionsExt;
    let (other, root) = (Root::new(), Root::new());
    let big = format!("dod:\n- id: BIG\n  title: {}\n", "x".repeat(1 << 20));
    fs::create_dir_all(other.path("_ctx/dod")).unwrap();
    fs::write(other.path("_ctx/dod/big.yaml"), big).unwrap();
    fs::write(other.path("_ctx/dod/bad.yaml"), "dod: 7\n").unwrap();
    other.order("SECRET", "env: {TOKEN: s}\nrun: 'true'");
    other.order("HELD", "run: 'true'");
    other.order("TAKEN", "hold: mine");
    other.run(&["hold", "HELD", "--reason", "not yet"]).ends(0);
    let secret = other.path("_ctx/jobs/pending/SECRET.yaml");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).unwrap();
    let ticket = other.ticket("TAKEN");
    fs::create_dir_all(other.path("_ctx/jobs/running")).unwrap();
    fs::remove_file(other.path("_ctx/jobs/pending/TAKEN.yaml")).unwrap();
    let text = format!("{ticket}status: running\nbranch: feat/wo-TAKEN\n");
    fs::write(other.path("_ctx/jobs/running/TAKEN.yaml"), text).unwrap();
    let dir = other.path("");
    let dir = dir.to_str().unwrap();
    let daemon = other.daemon();
    let said = root.run(&["import", dir, "--apply"]).ends(5);
    assert!(said.err.contains("would run them too"), "{said:?}");
    daemon.kill();
    let said = root.run(&["import", dir, "--apply"]).ends(7);
    for part in ["big.yaml: stays: it is larger", "bad.yaml: stays: "] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    assert!(!root.path("_ctx/dod").exists() || list(&root.path("_ctx/dod")).is_empty());
    let mode = fs::metadata(root.path("_ctx/jobs/pending/SECRET.yaml")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    assert!(root.ticket("HELD").contains("hold: not yet"), "{}", root.ticket("HELD"));
    assert!(!root.ticket("HELD").contains("x_jobyard"), "{}", root.ticket("HELD"));
    let taken = root.ticket("TAKEN");
    assert!(taken.contains("hold: mine") && taken.contains("status: pending"), "{taken}");
    assert!(!taken.contains("branch"), "{taken}");
    root.run(&["lint"]).ends(0);
}

#[test]
fn an_interrupted_import_is_finished_by_the_next() {
    let (older, root) = (Root::new(), Root::new());
    older_tree(&older);
    root.order("FIRST", "run: 'true'");
    root.run(&["hold", "FIRST"]).ends(0);
    fs::copy(older.path("_ctx/jobs/done/WO-2.yaml"), root.path("_ctx/jobs/done/WO-2.yaml"))
        .unwrap();
    let dir = older.path("");
    let said = root.run(&["import", dir.to_str().unwrap(), "--apply"]).ends(7);
    assert!(said.out.contains("WO-2: done/ -> done/ (copied before)"), "{said:?}");
    assert!(root.ticket("WO-2").contains("settled_"), "{}", root.ticket("WO-2"));
}
