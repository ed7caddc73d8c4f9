//! Hooks: told once of each settlement and of the end of work; whatever they do, orders are as without them.

use super::root::{Root, until};
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const RUN: &str = "run: 'true'\nworkspace: none";

/// A root with these lines under `[hooks]`.
fn yard(hooks: &str) -> Root {
    let root = Root::without_git();
    let text = format!("slots = 8\nsettle = \"1ms\"\ngrace = \"1s\"\n[hooks]\n{hooks}\n");
    fs::write(root.path("_ctx/jobyard.toml"), text).unwrap();
    root
}

fn lines(root: &Root, name: &str) -> Vec<String> {
    let text = fs::read_to_string(root.path(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Lets whoever reads the gate go on.
fn open_gate(root: &Root) {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let _ = File::options().write(true).custom_flags(nonblocking).open(root.path("gate"));
}

#[test]
fn each_settlement_is_told_once_and_the_end_of_work_last() {
    let told = "settled = 'echo $JOBYARD_HOOK $JOBYARD_ID $JOBYARD_STATE $JOBYARD_RESULT $JOBYARD_ATTEMPT \
                ${JOBYARD_RUN_DIR#$JOBYARD_ROOT/} >> told'\ndrained = 'echo $JOBYARD_HOOK >> told'";
    let root = yard(told);
    root.order("A", RUN);
    root.order("B", "run: 'false'\nworkspace: none\nretry: {max: 1, backoff: 1ms}");
    root.order("C", &format!("{RUN}\ndependencies: [A]"));
    root.order("D", &format!("{RUN}\nhold: x"));
    root.run(&["daemon", "--drain"]).ends(0);
    let mut all = lines(&root, "told");
    assert_eq!(all.pop().as_deref(), Some("drained"), "{all:?}");
    all.sort();
    let want = [
        "settled A done unverified 1 _ctx/runs/A/1",
        "settled B failed fail 2 _ctx/runs/B/2",
        "settled C done unverified 1 _ctx/runs/C/1",
    ];
    assert_eq!(all, want);
    root.run(&["daemon", "--drain"]).ends(0);
    assert_eq!(lines(&root, "told").len(), 4, "nothing has happened since");
    let _daemon = root.daemon();
    root.run(&["cancel", "D"]).ends(0);
    let last = "settled D failed cancelled 0 _ctx/runs/D";
    until("the cancel is told", || lines(&root, "told").last().is_some_and(|l| l == last));
}

#[test]
fn work_that_cannot_go_on_is_not_told_again_by_the_next_daemon() {
    let root = yard("drained = 'echo >> told'");
    root.fifo("gate");
    root.order("A", "run: 'echo > began; cat gate'\nworkspace: none");
    let daemon = root.daemon();
    until("it runs", || root.path("began").exists());
    fs::rename(root.path("_ctx/jobs/running/A.yaml"), root.path("away.yaml")).unwrap();
    until("the end of work is told", || {
        open_gate(&root);
        lines(&root, "told").len() == 1
    });
    daemon.kill();
    root.order("B", "hold: x\nrun: 'true'\nworkspace: none");
    let _daemon = root.daemon();
    root.run(&["cancel", "B"]).ends(0);
    assert_eq!(lines(&root, "told").len(), 1);
    fs::rename(root.path("away.yaml"), root.path("_ctx/jobs/running/A.yaml")).unwrap();
    until("what goes on is told", || lines(&root, "told").len() == 2);
}

#[test]
fn drain_returns_when_the_hooks_have_ended() {
    let root = yard("settled = 'echo > began; cat gate; echo > ended'");
    root.fifo("gate");
    root.order("A", RUN);
    let drain = root.begin(&["daemon", "--drain"]);
    until("the hook runs", || root.path("began").exists());
    assert_eq!(root.state("A"), "done", "a hook comes after the settlement");
    until("it ends", || {
        open_gate(&root);
        root.path("ended").exists()
    });
    let said = drain.wait().ends(0);
    assert!(!said.err.contains("hook"), "{said:?}");
}

#[test]
fn a_hook_that_fails_is_a_line_and_nothing_else() {
    let root = yard("settled = 'echo oops; exit 3'\ndrained = './nothing-there'");
    root.order("A", RUN);
    let said = root.run(&["daemon", "--drain"]).ends(0);
    let line = said.err.lines().find(|l| l.contains("hook `settled` failed")).unwrap();
    let log = line.rsplit(' ').next().unwrap();
    assert!(line.contains("A: hook `settled` failed: exit status 3"), "{line}");
    assert!(log.starts_with("_ctx/runs/A/1/hook-settled-"), "{line}");
    assert_eq!(fs::read_to_string(root.path(log)).unwrap(), "oops\n");
    assert!(said.err.contains("hook `drained` failed: "), "{said:?}");
    assert_eq!(root.state("A"), "done");
}

#[test]
fn of_the_logs_of_drained_that_failed_the_newest_are_kept() {
    let root = yard("drained = 'echo >> told; exit 1'");
    let _daemon = root.daemon();
    let logs = || {
        let names = fs::read_dir(root.path("_ctx/runs/.jobyard/hooks")).into_iter().flatten();
        names.map(|e| e.unwrap().path()).collect::<std::collections::BTreeSet<_>>()
    };
    let mut seen = std::collections::BTreeSet::new();
    for n in 1..=10 {
        root.order(&format!("A{n}"), RUN);
        until("the end of work is told", || lines(&root, "told").len() == n);
        seen.extend(logs());
    }
    assert_eq!(seen.len(), 10);
    until("two are gone", || logs().len() == 8);
}

#[test]
fn a_slow_hook_is_ended_with_its_whole_tree() {
    let hook = "settled = 'setsid tail -f /dev/null & echo $! > pids; tail -f /dev/null'";
    let root = yard(&format!("{hook}\ntimeout = \"300ms\""));
    root.order("A", RUN);
    let said = root.run(&["daemon", "--drain"]).ends(0);
    assert!(said.err.contains("A: hook `settled` failed: it took too long"), "{said:?}");
    let pid = lines(&root, "pids").remove(0);
    let stat = fs::read_to_string(Path::new("/proc").join(&pid).join("stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{pid}: {stat}");
    assert_eq!(root.state("A"), "done");
}

#[test]
fn no_more_than_four_run_at_once_and_orders_do_not_wait_for_them() {
    let root = yard("settled = 'sh hook'");
    let count = "echo >> began; echo $(($(wc -l < began) - $(wc -l < ended))) >> at_once";
    let hook =
        format!("flock counts sh -c '{count}'\ncat gate\nflock counts sh -c 'echo >> ended'\n");
    fs::write(root.path("hook"), hook).unwrap();
    fs::write(root.path("ended"), "").unwrap();
    root.fifo("gate");
    let _daemon = root.daemon();
    let ids = ["A", "B", "C", "D", "E", "F", "G"];
    ids.iter().for_each(|id| root.order(id, RUN));
    until("all are done", || ids.iter().all(|id| root.state(id) == "done"));
    until("four hooks run", || lines(&root, "began").len() >= 4);
    root.order("H", RUN);
    until("another one is done", || root.state("H") == "done");
    assert_eq!(lines(&root, "began").len(), 4);
    until("all were told", || {
        open_gate(&root);
        lines(&root, "ended").len() == 8
    });
    // As each of them saw it when it began, itself among them: a fifth would have come late.
    let at_once = lines(&root, "at_once");
    assert_eq!((at_once.len(), at_once.iter().max().unwrap().as_str()), (8, "4"), "{at_once:?}");
}

#[test]
fn a_settlement_is_not_told_again_by_the_next_daemon() {
    let root = yard("settled = 'echo $JOBYARD_ID >> told'");
    let daemon = root.daemon();
    root.order("A", RUN);
    until("it is told", || lines(&root, "told") == ["A"]);
    daemon.kill();
    let _daemon = root.daemon();
    root.order("B", RUN);
    until("the next one is told", || lines(&root, "told") == ["A", "B"]);
    let said = fs::read_to_string(root.path("daemon.log")).unwrap();
    assert!(!said.contains("hook"), "what was settled before is not tried again: {said}");
}

#[test]
fn a_verb_without_a_daemon_says_that_it_runs_no_hook() {
    let root = yard("settled = 'echo > told'");
    root.order("A", RUN);
    let said = root.run(&["cancel", "A"]).ends(0);
    assert!(said.err.contains("A: its hook `settled` is not run: no daemon serves"), "{said:?}");
    assert!(!root.path("told").exists());
}

#[test]
fn hooks_are_read_again_at_a_reload() {
    let root = yard("");
    let _daemon = root.daemon();
    let file = root.path("_ctx/jobyard.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}settled = 'echo > told'\n")).unwrap();
    root.run(&["groups", "slots", "gpu", "1"]).ends(0);
    root.order("A", RUN);
    until("it is told", || root.path("told").exists());
}
