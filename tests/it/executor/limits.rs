//! Time, silence and output: each bound ends the whole tree and says which it was.

use super::yard::{Yard, bash, key, pause};
use jobyard::model::protocol::{Cause, ToExecutor};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_command_past_its_time_is_ended() {
    let mut yard = Yard::new();
    let mut start = bash(1, "echo begun; sleep 1000");
    start.timeout_ms = Some(1000);
    let end = yard.run(start);
    assert_eq!((end.cause, end.signal), (Cause::Timeout, Some(15)));
    assert!(end.ended_ms - end.started_ms >= 1000);
    assert_eq!(yard.log(1), "begun\n");
}

#[test]
fn who_ignores_term_is_killed_after_the_grace() {
    let mut yard = Yard::new();
    let mut start = bash(1, "trap '' TERM; echo > ready; while :; do sleep 1000; done");
    start.grace_ms = 100;
    yard.start_until_ready(start);
    yard.send(ToExecutor::Stop { key: key(1) });
    let end = yard.ended(1);
    assert_eq!((end.cause, end.signal), (Cause::Stopped, Some(9)));
}

#[test]
fn silence_ends_a_command_and_output_keeps_it() {
    let mut yard = Yard::new();
    let mut talks = bash(1, "for i in 1 2 3 4 5 6; do sleep 0.3; echo $i; done");
    talks.idle_timeout_ms = Some(1500);
    let mut silent = bash(2, "echo one; sleep 1000");
    silent.idle_timeout_ms = Some(400);
    yard.start(talks);
    yard.start(silent);
    assert_eq!(yard.ended(2).cause, Cause::IdleTimeout);
    let end = yard.ended(1);
    assert_eq!((end.cause, end.exit), (Cause::Exited, Some(0)));
    assert!(end.ended_ms - end.started_ms > 1500);
}

#[test]
fn a_log_is_cut_at_its_bound_and_says_so() {
    let mut yard = Yard::new();
    let mut start = bash(1, "yes; :");
    (start.log_bytes_max, start.grace_ms) = (10_000, 100);
    let end = yard.run(start);
    assert_eq!(end.cause, Cause::OutputLimit);
    let log = yard.log(1);
    assert!(log.starts_with("y\ny\n") && log.len() < 10_300, "{}", log.len());
    assert!(log.trim_end().lines().last().unwrap().contains("output cut at 10000 bytes"));
    assert_eq!(end.log_bytes, log.len() as u64);
}

#[test]
fn a_short_command_that_writes_too_much_is_caught_at_its_end() {
    let mut yard = Yard::new();
    let mut start = bash(1, "head -c 20000 /dev/zero");
    start.log_bytes_max = 10_000;
    let end = yard.run(start);
    assert_eq!((end.cause, end.exit), (Cause::OutputLimit, Some(0)));
    assert!(end.log_bytes < 10_300);
}

/// Wake-ups of the executor's only thread.
fn switches(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let count = |line: &str| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    status.lines().filter(|line| line.contains("ctxt_switches")).map(count).sum()
}

#[test]
fn nothing_to_do_means_no_wake_up() {
    let mut yard = Yard::new();
    let mut start = bash(1, "echo > ready; exec sleep 1000");
    (start.timeout_ms, start.idle_timeout_ms) = (Some(3_600_000), Some(3_600_000));
    yard.start_until_ready(start);
    let pid = yard.executor.id();
    // The first look at the log comes soon after the start; then everything must be still.
    let deadline = Instant::now() + super::yard::PATIENCE;
    loop {
        let before = switches(pid);
        pause(Duration::from_secs(1));
        if switches(pid) == before {
            break;
        }
        assert!(Instant::now() < deadline, "the executor never rests");
    }
    let before = switches(pid);
    pause(Duration::from_secs(1));
    assert_eq!(switches(pid), before);
}
