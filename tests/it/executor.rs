//! The executor as a real process with real commands.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod life;
mod limits;
mod trees;
mod yard;

use crate::yard::lives;
use jobyard::executor;
use jobyard::model::protocol::{Cause, ToExecutor};
use rustix::process::Signal;
use std::fs;
use yard::{Yard, bash, key, until};

#[test]
fn a_command_runs_once_with_what_it_was_given_and_its_end_is_told() {
    let mut yard = Yard::new();
    fs::create_dir(yard.path("place")).unwrap();
    let mut start = bash(1, "pwd; env | sort; echo oops >&2; cat; exit 3");
    start.cwd = "place".into();
    start.env.push(("COLOUR".into(), "blue".into()));
    start.pass = vec!["SECRET_TO_PASS".into(), "NOT_THERE".into()];
    let end = yard.run(start);
    assert_eq!((end.exit, end.signal, end.cause), (Some(3), None, Cause::Exited));
    assert_eq!((end.leftovers, end.detail), (0, None));
    assert!(end.started_ms > 0 && end.ended_ms >= end.started_ms);
    let log = yard.log(1);
    assert_eq!(end.log_bytes, log.len() as u64);
    let place = fs::canonicalize(yard.path("place")).unwrap();
    assert_eq!(log.lines().next(), place.to_str());
    assert!(log.contains("\nCOLOUR=blue\n") && log.contains("\nSECRET_TO_PASS=passed\n"));
    assert!(log.contains(&format!("\nJOBYARD_TOKEN={}\n", yard.token())));
    assert!(!log.contains("HOME=") && log.ends_with("oops\n"));
}

#[test]
fn a_signal_is_told_as_a_signal() {
    let mut yard = Yard::new();
    let end = yard.run(bash(1, "kill -9 $$"));
    assert_eq!((end.exit, end.signal, end.cause), (None, Some(9), Cause::Exited));
}

#[test]
fn commands_begin_with_default_signals() {
    let mut yard = Yard::new();
    yard.run(bash(1, "grep -E '^Sig(Ign|Blk)' /proc/self/status"));
    for line in yard.log(1).lines() {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // 32 and 33 belong to the C library, which lets nobody change them.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

#[test]
fn a_program_is_found_in_the_commands_own_path() {
    let mut yard = Yard::new();
    fs::create_dir(yard.path("tools")).unwrap();
    fs::write(yard.path("tools/greet"), "echo hello \"$1\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(yard.path("tools/greet"), mode).unwrap();
    let mut start = bash(1, "");
    start.argv = vec!["greet".into(), "you there".into()];
    start.env = vec![("PATH".into(), "tools:/usr/bin:/bin".into())];
    assert_eq!(yard.run(start).exit, Some(0));
    assert_eq!(yard.log(1), "hello you there\n");
}

#[test]
fn a_key_is_started_at_most_once_also_by_the_next_executor() {
    let mut yard = Yard::new();
    yard.run(bash(1, "echo once"));
    yard.start(bash(1, "echo twice"));
    assert!(yard.refused(1).contains("started before"));
    let mut other_log = bash(1, "echo twice");
    other_log.log = "elsewhere.log".into();
    yard.send(ToExecutor::Ack { key: key(1) });
    yard.start(other_log.clone());
    assert!(yard.refused(1).contains("started before"));
    yard.send(ToExecutor::Bye);
    assert_eq!(yard.executor_exit(), Some(0));

    yard.executor = yard::launch(yard.root(), yard::Groups::Wanted);
    assert_eq!(yard.reconnect(), []);
    yard.start(other_log);
    assert!(yard.refused(1).contains("started before"));
    fs::write(yard.path("_ctx/runs/WO-1/1/02.log"), "").unwrap();
    yard.start(bash(2, "echo twice"));
    assert!(yard.refused(2).contains("02.log exists"));
    assert_eq!(yard.log(1), "once\n");
    assert!(!yard.path("elsewhere.log").exists());
}

#[test]
fn a_key_is_started_at_most_once_also_when_its_log_is_gone_and_its_executor_was_killed() {
    let mut yard = Yard::new();
    yard.start_until_ready(bash(1, "echo > ready; exec sleep 1000"));
    let command = yard.started(1);
    fs::remove_dir_all(yard.path("_ctx/runs/WO-1")).unwrap();
    yard.signal_executor(Signal::KILL);
    yard.executor_exit();
    yard.executor = yard::launch(yard.root(), yard::Groups::Wanted);
    assert_eq!(yard.reconnect(), []);
    yard.start(bash(1, "echo twice"));
    assert!(yard.refused(1).contains("started before"));
    assert!(lives(command));
    yard.send(ToExecutor::Sweep { key: key(1), token: yard.token(), grace_ms: 0 });
    until("the sweep", || !lives(command));
}

#[test]
fn what_cannot_start_says_what_was_attempted() {
    let mut yard = Yard::new();
    std::os::unix::fs::symlink("/tmp", yard.path("link")).unwrap();
    let mut program = bash(1, "");
    program.argv = vec!["no-such-program".into()];
    let mut place = bash(2, "");
    place.cwd = "nowhere".into();
    let mut linked = bash(3, "");
    linked.cwd = "link".into();
    let mut log = bash(4, "");
    log.log = "../outside.log".into();
    let mut words = bash(5, "");
    words.argv.clear();
    let mut directory = bash(6, "");
    directory.argv = vec!["/tmp".into()];
    let cases = [
        (program, "no-such-program"),
        (place, "working directory nowhere"),
        (linked, "working directory link"),
        (log, "../outside.log"),
        (words, "no words"),
        (directory, "/tmp"),
    ];
    for (start, said) in cases {
        let end = yard.run(start);
        assert_eq!((end.cause, end.exit, end.signal), (Cause::CouldNotStart, None, None));
        assert!(end.detail.as_ref().is_some_and(|detail| detail.contains(said)), "{end:?}");
    }
    assert!(yard.log(1).contains("no-such-program"));
}

#[test]
fn a_journal_that_cannot_be_written_costs_no_end() {
    let mut yard = Yard::new();
    fs::create_dir(executor::exec_dir(yard.root()).join("exec.journal")).unwrap();
    assert_eq!(yard.run(bash(1, "exit 7")).exit, Some(7));
}

#[test]
fn every_end_is_in_the_journal_before_it_is_told() {
    let mut yard = Yard::new();
    for number in 1..=20 {
        let end = yard.run(bash(number, "true"));
        let lines = executor::read_journal(yard.root()).unwrap();
        assert_eq!(lines.last(), Some(&(key(number), end)));
    }
}

#[test]
fn a_lock_on_the_log_lives_as_long_as_the_command() {
    let mut yard = Yard::new();
    yard.start_until_ready(bash(1, "echo > ready; exec sleep 1000"));
    let log = fs::File::open(yard.path("_ctx/runs/WO-1/1/01.log")).unwrap();
    assert!(log.try_lock_shared().is_err());
    yard.send(ToExecutor::Stop { key: key(1) });
    assert_eq!(yard.ended(1).cause, Cause::Stopped);
    until("the lock's end", || log.try_lock_shared().is_ok());
}
