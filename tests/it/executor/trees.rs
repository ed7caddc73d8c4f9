//! Whole process trees, in every disguise, with and without control groups.

use super::yard::{Groups, Yard, bash, key, lives, until};
use jobyard::executor::survivors;
use jobyard::model::protocol::{Cause, FromExecutor, ToExecutor};
use rustix::process::Signal;
use std::fs;

/// A child in each disguise; each writes its id to `pids`, and the command itself comes last.
const DISGUISES: &str = r#"
    setsid bash -c 'echo $$ >> pids; exec sleep 1000' &
    (setsid bash -c 'echo $$ >> pids; exec sleep 1000' > /dev/null 2>&1 &)
    bash -c 'trap "" TERM; echo $$ >> pids; while :; do sleep 1000; done' &
    env -i PATH="$PATH" setsid -f bash -c 'echo $$ >> pids; exec sleep 1000'
    bash -c 'echo $$ >> pids; kill -STOP $$; exec sleep 1000' &
    bash -c 'trap "" TERM; echo $$ >> pids; (sleep 1000; :) & kill -STOP $$' &
    while [ "$(wc -l < pids)" -lt 6 ]; do :; done
    echo $$ >> pids
    echo > ready
"#;

fn stop_ends_every_disguise(groups: Groups) {
    let mut yard = Yard::with(groups);
    let mut start = bash(1, &format!("{DISGUISES} wait; sleep 1000"));
    start.grace_ms = 300;
    yard.start_until_ready(start);
    let pids = yard.pids("pids");
    assert_eq!(pids.len(), 7);
    assert!(pids.iter().all(|pid| lives(*pid)));
    yard.send(ToExecutor::Stop { key: key(1) });
    let end = yard.ended(1);
    let left: Vec<u32> = pids.into_iter().filter(|pid| lives(*pid)).collect();
    assert_eq!(left, Vec::<u32>::new());
    assert_eq!((end.cause, end.signal), (Cause::Stopped, Some(15)));
    assert_eq!(survivors(&yard.token()), Vec::<u32>::new());
}

#[test]
fn stop_ends_every_disguise_in_its_group() {
    stop_ends_every_disguise(Groups::Wanted);
}

#[test]
fn stop_ends_every_disguise_without_groups() {
    stop_ends_every_disguise(Groups::Off);
}

fn leftovers_end_before_the_end_is_told(groups: Groups) {
    let mut yard = Yard::with(groups);
    let mut start = bash(1, &format!("{DISGUISES} exit 5"));
    start.grace_ms = 300;
    let end = yard.run(start);
    let pids = yard.pids("pids");
    assert_eq!(pids.len(), 7);
    assert!(!pids.into_iter().any(lives));
    assert_eq!((end.exit, end.cause), (Some(5), Cause::Exited));
    assert!(end.leftovers >= 6, "{end:?}");
}

#[test]
fn leftovers_end_before_the_end_is_told_in_their_group() {
    leftovers_end_before_the_end_is_told(Groups::Wanted);
}

#[test]
fn leftovers_end_before_the_end_is_told_without_groups() {
    leftovers_end_before_the_end_is_told(Groups::Off);
}

fn neighbours_are_left_alone(groups: Groups) {
    let mut yard = Yard::with(groups);
    let daemon = "env -i PATH=\"$PATH\" setsid -f bash -c 'echo $$ > NAME; exec sleep 1000'";
    let daemon = |name: &str| daemon.replace("NAME", name);
    yard.start_until_ready(bash(
        1,
        &format!("{}; until [ -s a ]; do :; done; echo > ready; sleep 1000", daemon("a")),
    ));
    let neighbour = yard.pids("a")[0];
    let end = yard.run(bash(2, &format!("{}; until [ -s b ]; do :; done; exit 0", daemon("b"))));
    assert_eq!(end.leftovers, 1);
    assert!(lives(neighbour) && !lives(yard.pids("b")[0]));
    yard.send(ToExecutor::Stop { key: key(1) });
    yard.ended(1);
    assert!(!lives(neighbour));
}

#[test]
fn neighbours_are_left_alone_in_their_group() {
    neighbours_are_left_alone(Groups::Wanted);
}

#[test]
fn neighbours_are_left_alone_without_groups() {
    neighbours_are_left_alone(Groups::Off);
}

/// Each generation forks the next and ends; it stops by itself when `fuse` is gone.
const COMET: &str = "touch fuse; c() { [ -e fuse ] && c & }; c; c; c; echo > ready; sleep 1000";

fn what_forks_without_end_is_ended(groups: Groups) {
    let mut yard = Yard::with(groups);
    let mut start = bash(1, COMET);
    start.grace_ms = 50;
    yard.start_until_ready(start);
    yard.send(ToExecutor::Stop { key: key(1) });
    let end = yard.ended(1);
    let left = survivors(&yard.token());
    fs::remove_file(yard.path("fuse")).unwrap();
    assert_eq!((left, end.detail), (vec![], None));
}

#[test]
fn what_forks_without_end_is_ended_in_its_group() {
    what_forks_without_end_is_ended(Groups::Wanted);
}

#[test]
fn what_forks_without_end_is_ended_without_groups() {
    what_forks_without_end_is_ended(Groups::Off);
}

fn survivors_of_a_killed_executor_are_swept(groups: Groups) {
    let mut yard = Yard::with(groups);
    // The kernel hangs up a process group whose parent dies while one of its processes is stopped.
    let running: Vec<&str> = DISGUISES.lines().filter(|line| !line.contains("-STOP")).collect();
    let running = running.join("\n").replace("-lt 6", "-lt 4");
    yard.start_until_ready(bash(1, &format!("{running}\nwait; sleep 1000")));
    let pids = yard.pids("pids");
    yard.signal_executor(Signal::KILL);
    yard.executor_exit();
    let log = fs::File::open(yard.path("_ctx/runs/WO-1/1/01.log")).unwrap();
    assert!(log.try_lock_shared().is_err(), "the log's lock must prove that the command lives");
    assert!(survivors(&yard.token()).contains(pids.last().unwrap()));

    yard.executor = super::yard::launch(yard.root(), groups);
    assert_eq!(yard.reconnect(), []);
    yard.start(bash(1, "echo again"));
    assert!(yard.refused(1).contains("started before"));
    let token = yard.token();
    yard.send(ToExecutor::Sweep { key: key(1), token, grace_ms: 300 });
    let (killed, left) = yard.wait(|said| match said {
        FromExecutor::Swept { killed, left, .. } => Some((*killed, *left)),
        _ => None,
    });
    assert_eq!(left, 0);
    assert!(killed >= 4, "{killed}");
    assert_eq!(survivors(&yard.token()), Vec::<u32>::new());
    until("the lock's end", || log.try_lock_shared().is_ok());
    assert_eq!(pids.into_iter().filter(|pid| lives(*pid)).collect::<Vec<_>>(), Vec::<u32>::new());
}

#[test]
fn survivors_of_a_killed_executor_are_swept_from_their_group() {
    survivors_of_a_killed_executor_are_swept(Groups::Wanted);
}

#[test]
fn survivors_of_a_killed_executor_are_swept_without_groups() {
    survivors_of_a_killed_executor_are_swept(Groups::Off);
}

#[test]
fn a_sweep_of_nothing_is_answered() {
    let mut yard = Yard::new();
    yard.send(ToExecutor::Sweep { key: key(1), token: "nobody".into(), grace_ms: 300_000 });
    let (killed, left) = yard.wait(|said| match said {
        FromExecutor::Swept { killed, left, .. } => Some((*killed, *left)),
        _ => None,
    });
    assert_eq!((killed, left), (0, 0));
}
