//! Daemons that come and go, directories and files that are pulled away under them, and many orders at
//! once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::{Yard, signal};
use rustix::process::Signal;
use std::fs;
use std::process::Command;

const GATED: &str = "workspace: none\nrun: 'echo $$ >> begun; read line < gate'\n";

fn gated() -> Yard {
    gated_with(vec!["--slots", "4"])
}

/// A daemon with these arguments and an order whose command waits for its pipe.
fn gated_with(args: Vec<&'static str>) -> Yard {
    let mut yard = Yard::bare();
    yard.args = args;
    yard.fifo("gate");
    yard.start();
    yard.submit("A", GATED);
    yard.lines("begun", 1);
    yard
}

#[test]
fn a_second_daemon_names_the_first_and_leaves_it_alone() {
    let mut yard = Yard::bare();
    yard.start();
    let second = |more: &[&str]| {
        let mut command = Command::new(&yard.program);
        command.arg("daemon").arg("--root").arg(&yard.root).args(more).output().unwrap()
    };
    let refused = second(&[]);
    assert_eq!(refused.status.code(), Some(5));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&yard.daemon_pid().to_string()), "{said}");
    assert_eq!(second(&["--drain"]).status.code(), Some(0));
    yard.settle_down("A");
    assert!(yard.beside("ready").exists());
    assert_eq!(yard.term(), Some(0));
    assert!(!yard.beside("ready").exists());
}

#[test]
fn replaced_and_removed_directories_lose_nothing() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("FIRST");
    for (n, name) in ["pending", "done", "control", "running", "failed"].into_iter().enumerate() {
        let dir = yard.path(format!("_ctx/jobs/{name}"));
        fs::rename(&dir, yard.beside(&format!("old-{name}"))).unwrap();
        fs::create_dir(&dir).unwrap();
        yard.settle_down(&format!("AFTER-{n}"));
    }
    fs::remove_dir_all(yard.path("_ctx/jobs/control")).unwrap();
    for n in 0..10 {
        let id = format!("FAILS-{n}");
        fs::remove_dir_all(yard.path("_ctx/jobs/failed")).unwrap();
        yard.submit(&id, "workspace: none\nrun: false\n");
        yard.until_in("failed", &id);
    }
    yard.submit("TAKEN", "workspace: none\n");
    yard.ask("TAKEN.take", "");
    assert_eq!(yard.answer("TAKEN", "take")["code"], 0);
}

#[test]
fn a_lock_that_is_deleted_comes_back() {
    for restarted in [false, true] {
        let mut yard = gated();
        let lock = yard.path("_ctx/jobs/running/A.lock");
        fs::remove_file(&lock).unwrap();
        if restarted {
            yard.kill();
            yard.start();
        }
        yard.until("the lock", || lock.exists());
        yard.open_gate("gate");
        yard.until_in("done", "A");
        assert_eq!(yard.lines("begun", 1).len(), 1);
    }
}

#[test]
fn a_running_ticket_that_is_deleted_can_be_brought_back() {
    let mut yard = gated();
    let ticket = yard.path(Yard::ticket("running", "A"));
    yard.until("the running stamp", || yard.key("running", "A", "status") == "running");
    let text = fs::read_to_string(&ticket).unwrap();
    fs::remove_file(&ticket).unwrap();
    yard.open_gate("gate");
    yard.until("the end", || yard.events("A", "ended").len() == 1);
    yard.settle_down("LATER");
    assert_eq!(yard.places("A"), Vec::<&str>::new());
    yard.kill();
    yard.start();
    yard.publish(&Yard::ticket("running", "A"), &text);
    yard.until_in("done", "A");
    assert_eq!(yard.lines("begun", 1).len(), 1);
}

#[test]
fn drain_does_not_wait_for_a_ticket_that_is_gone() {
    let mut yard = gated();
    fs::remove_file(yard.path(Yard::ticket("running", "A"))).unwrap();
    yard.open_gate("gate");
    yard.until("the end", || yard.events("A", "ended").len() == 1);
    yard.kill();
    assert_eq!(yard.drain(), 0);
}

#[test]
fn a_running_ticket_that_was_broken_by_hand_waits_to_be_mended() {
    let mut yard = gated();
    yard.until("the running stamp", || yard.key("running", "A", "status") == "running");
    let text = yard.text(&Yard::ticket("running", "A"));
    yard.publish(&Yard::ticket("running", "A"), &format!("{text}run: [\n"));
    yard.open_gate("gate");
    yard.until("the explanation", || !yard.why("running", "A").is_empty());
    yard.settle_down("LATER");
    yard.settle_down("LAST");
    let about = |line: &&str| line.contains("A.yaml in running");
    assert_eq!(yard.said().lines().filter(about).count(), 1, "{}", yard.said());
    assert_eq!(yard.places("A"), ["running"]);
    yard.kill();
    assert_eq!(yard.drain(), 0);
    assert_eq!(yard.places("A"), ["running"]);
    yard.start();
    yard.publish(&Yard::ticket("running", "A"), &text);
    yard.until_in("done", "A");
    assert_eq!(yard.why("running", "A"), "");
    assert_eq!(yard.lines("begun", 1).len(), 1);
}

#[test]
fn what_a_person_writes_into_a_running_ticket_is_kept() {
    let yard = gated();
    yard.until("the running stamp", || yard.key("running", "A", "status") == "running");
    let text = yard.text(&Yard::ticket("running", "A"));
    let edited = format!("# looked at by Ann\n{text}x_note: 'keep  me'\nretry: {{max: 5}}\n");
    yard.publish(&Yard::ticket("running", "A"), &edited);
    yard.open_gate("gate");
    yard.until_in("done", "A");
    let after = yard.text(&Yard::ticket("done", "A"));
    assert!(after.starts_with("# looked at by Ann\n"), "{after}");
    assert!(
        after.contains("x_note: 'keep  me'\n") && after.contains("retry: {max: 5}\n"),
        "{after}"
    );
    assert!(yard.text("_ctx/runs/A/1/order.yaml").contains("read line"));
}

#[test]
fn a_fact_is_one_line_of_the_log_whatever_was_written() {
    let yard = gated();
    yard.ask("A.cancel", "two\nlines | [SYSTEM] | JOB_COMPLETED | all is well\n");
    yard.until_in("failed", "A");
    yard.settle_down("LATER");
    let log = yard.text("_ctx/runs/A/execution.log");
    for line in log.lines() {
        let parts: Vec<&str> = line.splitn(4, " | ").collect();
        assert_eq!((parts.len(), parts[0].len(), parts[1].len()), (4, 19, 9), "{line:?}");
        assert!(parts[2].len() >= 15 && parts[3] != "all is well", "{line:?}");
    }
    assert!(log.lines().any(|line| line.contains("two\\nlines")), "{log}");
}

#[test]
fn hup_takes_a_good_configuration_and_keeps_the_old_one_for_a_bad() {
    let mut yard = Yard::bare();
    yard.args = Vec::new();
    yard.configure("settle = \"20ms\"\ngrace = \"1s\"\nslots = 1\n");
    yard.fifo("gate");
    yard.start();
    for id in ["A", "B"] {
        yard.submit(id, GATED);
    }
    yard.lines("begun", 1);
    yard.configure("slotz = 2\n");
    signal(yard.daemon_pid(), Signal::HUP);
    yard.until("the complaint", || yard.said().contains("slotz"));
    assert_eq!(yard.lines("begun", 1).len(), 1);
    yard.configure("settle = \"20ms\"\ngrace = \"1s\"\nslots = 2\n");
    signal(yard.daemon_pid(), Signal::HUP);
    yard.lines("begun", 2);
    for id in ["A", "B"] {
        yard.ask(&format!("{id}.cancel"), "");
        yard.until_in("failed", id);
    }
}

#[test]
fn a_root_with_odd_letters_is_a_root() {
    let mut yard = Yard::git();
    let odd = yard.beside("a \"root\"; $(touch pwned)");
    fs::rename(&yard.root, &odd).unwrap();
    yard.root = odd.clone();
    let link = yard.beside("link");
    std::os::unix::fs::symlink(&odd, &link).unwrap();
    let run = "run: 'echo \"$JOBYARD_WORKTREE\" > where.tmp; echo x > src/b.txt; \
               git add -A; git commit -qm x'\n";
    yard.submit("A", &format!("{run}verify: {{commands: ['test -f src/b.txt']}}\n"));
    assert_eq!(yard.drain(), 0);
    assert_eq!(yard.key("done", "A", "result"), "pass", "{}", yard.sight());
    let there = yard.text(".worktrees/A/where.tmp");
    assert_eq!(there.trim(), odd.join(".worktrees/A").to_str().unwrap());
    yard.root = link;
    yard.submit("B", "workspace: none\nrun: true\n");
    assert_eq!(yard.drain(), 0);
    assert_eq!(yard.places("B"), ["done"]);
}

#[test]
fn the_worktree_pulled_away_from_a_running_order_fails_it() {
    let mut yard = Yard::git();
    yard.fifo("a.gate");
    yard.start();
    let run = "run: 'echo > $JOBYARD_ROOT/begun.said; read line < $JOBYARD_ROOT/a.gate'\n";
    yard.submit("A", &format!("{run}verify: {{commands: ['test -f src/a.txt']}}\n"));
    yard.lines("begun.said", 1);
    fs::remove_dir_all(yard.path(".worktrees/A")).unwrap();
    yard.open_gate("a.gate");
    yard.until_in("failed", "A");
    assert_eq!(yard.verdict("A", 1)["reason"], "no-worktree");
}

#[test]
fn slots_groups_and_priorities_hold() {
    let mut yard = Yard::bare();
    yard.configure("settle = \"20ms\"\n[groups.one]\nslots = 1\n");
    yard.args = vec!["--slots", "3"];
    let run = "workspace: none\nrun: 'n=$(ls busy | wc -l); echo \"$n $JOBYARD_ID\" >> seen; \
               mkdir busy/$JOBYARD_ID; ls busy >> log; rmdir busy/$JOBYARD_ID'\n";
    fs::create_dir(yard.path("busy")).unwrap();
    for n in 0..40 {
        yard.submit(&format!("WO-{n}"), run);
    }
    let alone = "workspace: none\ngroup: one\nrun: 'mkdir alone && rmdir alone'\n";
    for n in 0..20 {
        yard.submit(&format!("ONE-{n}"), alone);
    }
    assert_eq!(yard.drain(), 0);
    for n in 0..40 {
        assert_eq!(yard.places(&format!("WO-{n}")), ["done"]);
    }
    for n in 0..20 {
        assert_eq!(yard.places(&format!("ONE-{n}")), ["done"], "two of the group ran at once");
    }
    let most = yard.text("seen").lines().map(|l| l.split(' ').next().unwrap().to_owned()).max();
    assert!(most.unwrap().as_str() <= "2");
}

#[test]
fn the_free_slot_goes_to_the_highest_score() {
    let mut yard = gated_with(vec!["--slots", "1"]);
    // Medium and overdue weighs as much as high; the earlier deadline decides.
    let soon = "deadline: 2001-01-01\n";
    for (id, rest) in [
        ("LOW", "priority: low\n"),
        ("MEDIUM", ""),
        ("LATE", soon),
        ("HIGH", "priority: high\n"),
        ("TOP", "priority: P0\n"),
    ] {
        yard.submit(id, &format!("workspace: none\n{rest}run: 'echo {id} >> sequence'\n"));
        yard.until("the intake", || yard.events(id, "intake").len() == 1);
    }
    yard.open_gate("gate");
    assert_eq!(yard.lines("sequence", 5), ["TOP", "LATE", "HIGH", "MEDIUM", "LOW"]);
    assert_eq!(yard.term(), Some(0));
}

#[test]
fn a_burst_is_worked_off_each_once() {
    let mut yard = Yard::bare();
    yard.start();
    for n in 0..300 {
        yard.submit(&format!("WO-{n}"), "workspace: none\nrun: 'echo $JOBYARD_ID >> ran'\n");
    }
    for n in 0..300 {
        yard.until_in("done", &format!("WO-{n}"));
    }
    let mut ran = yard.lines("ran", 300);
    ran.sort_unstable();
    ran.dedup();
    assert_eq!((ran.len(), yard.text("ran").lines().count()), (300, 300));
    assert_eq!(yard.term(), Some(0));
    assert_eq!(yard.executor_pid(), None);
    let links = yard.ledger();
    let mut before = links[0]["hash"].clone();
    for line in &links[1..] {
        assert_eq!(line["prev"], before, "{line}");
        before = line["hash"].clone();
    }
}

#[test]
fn a_ledger_that_was_cut_or_torn_is_gone_on_with() {
    let mut yard = Yard::bare();
    yard.start();
    yard.settle_down("A");
    yard.kill();
    let segment = yard.path("_ctx/audit/00000001.jsonl");
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, format!("{text}{{\"seq\":99,\"time\"")).unwrap();
    yard.start();
    yard.settle_down("B");
    let after = fs::read_to_string(&segment).unwrap();
    assert!(after.starts_with(&text) && after.contains(" ~TORN\n"), "{after}");
    yard.kill();
    fs::remove_dir_all(yard.path("_ctx/audit")).unwrap();
    yard.start();
    yard.settle_down("C");
    assert_eq!((yard.places("A"), yard.places("B")), (vec!["done"], vec!["done"]));
}
