//! `kill -9` of the daemon and of the executor: what runs goes on or is known to be lost, and nothing
//! runs twice.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::{Yard, copy_program, lives, signal};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;

/// Says that it has begun, waits for its pipe, ends with a status of its own.
const GATED: &str = "workspace: none\nrun: 'echo $$ >> begun; read line < gate; exit 7'\n";

/// The process id of the only command that has begun.
fn begun(yard: &Yard) -> u32 {
    let lines = yard.lines("begun", 1);
    assert_eq!(lines.len(), 1, "{}", yard.sight());
    lines[0].parse().unwrap()
}

fn gated() -> Yard {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.start();
    yard.submit("A", GATED);
    begun(&yard);
    yard
}

/// The order has run once, to the end that its command gave it.
#[track_caller]
fn ran_once_to_its_end(yard: &Yard) {
    yard.open_gate("gate");
    yard.until_in("failed", "A");
    begun(yard);
    assert_eq!(yard.events("A", "started").len(), 1, "{}", yard.sight());
    assert_eq!(yard.events("A", "claiming").len(), 1);
    let settled = yard.events("A", "settled");
    assert_eq!(settled[0]["reason"], "exit-7", "{}", yard.sight());
    let log = yard.text("_ctx/runs/A/execution.log");
    assert!(log.contains("| ADOPTED         | attempt 1 "), "{log}");
    assert!(log.contains("exit 7"), "{log}");
}

#[test]
fn a_command_goes_on_when_its_daemon_is_killed() {
    let mut yard = gated();
    let (command, executor) = (begun(&yard), yard.executor_pid());
    yard.kill();
    assert!(lives(command));
    yard.start();
    yard.settle_down("LATER");
    assert!(lives(command));
    assert_eq!(yard.executor_pid(), executor);
    ran_once_to_its_end(&yard);
}

#[test]
fn an_end_that_no_daemon_saw_is_recorded_by_the_next() {
    let mut yard = gated();
    let command = begun(&yard);
    yard.kill();
    yard.open_gate("gate");
    yard.until("the end of the command", || !lives(command));
    yard.until("the executor's end", || yard.executor_pid().is_none());
    yard.start();
    yard.until_in("failed", "A");
    begun(&yard);
    assert_eq!(yard.events("A", "settled")[0]["reason"], "exit-7", "{}", yard.sight());
    assert_eq!(yard.events("A", "started").len(), 1);
}

#[test]
fn a_command_goes_on_when_the_binary_is_replaced() {
    let mut yard = Yard::bare();
    let (old, new) = (yard.beside("jobyard"), yard.beside("jobyard.new"));
    copy_program(&yard.program, &old);
    copy_program(&yard.program, &new);
    yard.program = old.clone();
    yard.fifo("gate");
    yard.start();
    yard.submit("A", GATED);
    let command = begun(&yard);
    let executor = yard.executor_pid();
    yard.kill();
    fs::rename(&new, &old).unwrap();
    yard.start();
    yard.settle_down("LATER");
    assert!(lives(command));
    assert_eq!(yard.executor_pid(), executor, "the executor keeps its binary while it works");
    ran_once_to_its_end(&yard);
}

#[test]
fn term_leaves_commands_to_the_executor_and_takes_an_idle_one_along() {
    let mut yard = gated();
    let command = begun(&yard);
    assert_eq!(yard.term(), Some(0));
    assert!(lives(command));
    yard.start();
    ran_once_to_its_end(&yard);
    assert_eq!(yard.term(), Some(0));
    assert_eq!(yard.executor_pid(), None);
}

#[test]
fn a_command_whose_executor_is_killed_is_lost_and_nothing_of_it_lives() {
    let mut yard = Yard::bare();
    yard.start();
    let script = "setsid -f sleep 1000 && (sleep 1001 &) ; echo $$ >> begun; sleep 1002";
    yard.submit("A", &format!("workspace: none\nrun: '{script}'\n"));
    begun(&yard);
    yard.until("its children", || yard.commands().len() >= 3);
    signal(yard.executor_pid().unwrap(), Signal::KILL);
    yard.until_in("failed", "A");
    assert_eq!(yard.commands(), Vec::<u32>::new());
    assert_eq!(yard.events("A", "settled")[0]["reason"], "lost", "{}", yard.sight());
    assert!(yard.text("_ctx/runs/A/execution.log").contains("nobody saw its end"));
    begun(&yard);
    yard.settle_down("LATER");
}

#[test]
fn lost_is_tried_again_where_the_order_says_so() {
    let mut yard = Yard::bare();
    yard.start();
    let retry = "retry: {max: 1, on: [lost], backoff: 1ms}";
    let script = "echo $$ >> begun; test $JOBYARD_ATTEMPT = 2 || sleep 1000";
    yard.submit("A", &format!("workspace: none\n{retry}\nrun: '{script}'\n"));
    begun(&yard);
    signal(yard.executor_pid().unwrap(), Signal::KILL);
    yard.until_in("done", "A");
    assert_eq!(yard.lines("begun", 2).len(), 2);
    assert_eq!(yard.commands(), Vec::<u32>::new());
}

#[test]
fn daemon_and_executor_killed_together_leave_nothing_behind() {
    let mut yard = gated();
    let command = begun(&yard);
    let executor = yard.executor_pid().unwrap();
    yard.kill();
    signal(executor, Signal::KILL);
    yard.until("the executor's end", || !lives(executor));
    assert!(lives(command), "nobody is left who could have ended it");
    yard.start();
    yard.until_in("failed", "A");
    assert!(!lives(command));
    assert_eq!(yard.events("A", "settled")[0]["reason"], "lost", "{}", yard.sight());
    begun(&yard);
}

#[test]
fn checks_whose_end_nobody_saw_are_run_again_in_the_same_attempt() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.start();
    let checks = "verify:\n  commands:\n    - 'echo first >> said'\n    \
                  - 'echo second >> said; test -e well || read line < gate'\n";
    yard.submit("A", &format!("workspace: none\nrun: 'echo run >> said'\n{checks}"));
    assert_eq!(yard.lines("said", 3), ["run", "first", "second"]);
    yard.put("well", "");
    signal(yard.executor_pid().unwrap(), Signal::KILL);
    yard.until_in("done", "A");
    assert_eq!(yard.lines("said", 5), ["run", "first", "second", "first", "second"]);
    assert_eq!(yard.verdict("A", 1)["result"], "pass");
    assert_eq!(yard.events("A", "claiming").len(), 1);
}

#[test]
fn a_check_goes_on_when_its_daemon_is_killed() {
    let mut yard = Yard::bare();
    yard.fifo("gate");
    yard.start();
    let checks = "verify: {commands: ['echo check >> said; read line < gate']}\n";
    yard.submit("A", &format!("workspace: none\nrun: 'echo run >> said'\n{checks}"));
    yard.lines("said", 2);
    yard.kill();
    yard.start();
    yard.open_gate("gate");
    yard.until_in("done", "A");
    assert_eq!(yard.lines("said", 2), ["run", "check"]);
    assert_eq!(yard.verdict("A", 1)["result"], "pass");
}

#[test]
fn a_daemon_killed_again_and_again_runs_each_order_once() {
    let mut yard = Yard::git();
    yard.args = vec!["--slots", "2"];
    let ids: Vec<String> = (0..10).map(|n| format!("WO-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let workspace = if n % 2 == 0 { "workspace: none\n" } else { "" };
        let run = "run: 'echo $JOBYARD_ATTEMPT >> $JOBYARD_ROOT/$JOBYARD_ID.said'";
        let verify = "verify: {commands: ['test -d .']}";
        yard.submit(id, &format!("{workspace}{run}\n{verify}\n"));
    }
    let mut lives = 0;
    while ids.iter().any(|id| yard.places(id) != ["done"]) {
        let before = yard.ledger().len();
        yard.start();
        // The points drift: each life is cut a little later than the one before.
        let more = lives % 5;
        let over = || ids.iter().all(|id| yard.places(id) == ["done"]);
        yard.until("progress", || over() || yard.ledger().len() > before + more);
        yard.kill();
        lives += 1;
        assert!(lives < 500, "{}", yard.sight());
    }
    assert!(lives > 5, "{lives}");
    yard.start();
    for id in &ids {
        yard.until_in("done", id);
        assert_eq!(yard.lines(&format!("{id}.said"), 1).len(), 1, "{}", yard.sight());
        assert_eq!(yard.key("done", id, "result"), "pass");
        let mut starts = BTreeMap::new();
        for line in yard.events(id, "started") {
            *starts.entry(line["attempt"].to_string() + &line["kind"].to_string()).or_insert(0) +=
                1;
        }
        let runs: Vec<_> = starts.iter().filter(|(key, _)| key.contains("run")).collect();
        assert!(runs.len() == 1 && *runs[0].1 == 1, "{id}: {starts:?}");
    }
}

#[test]
fn a_settlement_that_its_ticket_does_not_show_is_carried_out_though_its_lease_is_gone() {
    let mut yard = gated();
    yard.until("the running stamp", || yard.key("running", "A", "status") == "running");
    let running = yard.text(&Yard::ticket("running", "A"));
    yard.open_gate("gate");
    yard.until_in("failed", "A");
    yard.kill();
    // As if it had been killed before the stamp, and somebody had moved ticket and lock away.
    fs::write(yard.path(Yard::ticket("failed", "A")), running).unwrap();
    yard.start();
    let stamped = || yard.text(&Yard::ticket("failed", "A")).contains("  settled_hash: ");
    yard.until("the settlement stamp", stamped);
    assert_eq!(yard.key("failed", "A", "result"), "fail");
    assert_eq!(yard.events("A", "settled").len(), 1, "{}", yard.sight());
    assert_eq!(yard.events("A", "started").len(), 1, "{}", yard.sight());
}

#[test]
fn a_first_start_that_was_killed_before_its_first_line_adopts_what_was_settled_all_the_same() {
    let mut yard = Yard::bare();
    yard.put("_ctx/jobs/done/OLD.yaml", "id: OLD\ntitle: of an older tool\n");
    yard.put("_ctx/audit/00000001.jsonl", "");
    yard.put("_ctx/audit/00000002.jsonl", "{\"seq\":1,\"ti");
    yard.start();
    yard.until("the adoption", || yard.events("OLD", "adopted").len() == 1);
    yard.until_in("done", "OLD");
    yard.until("the stamp", || yard.text(&Yard::ticket("done", "OLD")).contains("settled_hash"));
}

#[test]
fn a_command_that_is_too_long_to_be_handed_over_ends_and_says_so() {
    let mut yard = Yard::bare();
    yard.start();
    let value = "x".repeat(120 << 10);
    let more: String = (1..40).map(|n| format!("  V{n}: *long\n")).collect();
    yard.submit("A", &format!("workspace: none\nrun: 'true'\nenv:\n  V0: &long {value}\n{more}"));
    yard.until_in("failed", "A");
    let ended = &yard.events("A", "ended")[0]["end"]["seen"];
    assert_eq!(ended["cause"], "could-not-start", "{}", yard.sight());
    assert!(ended["detail"].as_str().unwrap().contains("shorten `env`"), "{ended}");
}
