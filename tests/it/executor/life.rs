//! The executor's own life: who keeps it, who ends it, who is listened to.

use super::yard::{Groups, Yard, bash, key, launch, lives, until};
use jobyard::executor::{self, Link};
use jobyard::model::protocol::{Cause, FromExecutor, ToExecutor, VERSION};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const UNTIL_GO: &str = "echo > ready; until [ -e go ]; do sleep 0.01; done; exit 4";

#[test]
fn a_command_outlives_its_client_and_the_next_one_learns_the_end() {
    let mut yard = Yard::new();
    yard.start_until_ready(bash(1, UNTIL_GO));
    yard.started(1);
    let known = yard.reconnect();
    assert_eq!(known.iter().map(|known| &known.key).collect::<Vec<_>>(), [&key(1)]);
    assert_eq!(known[0].end, None);
    fs::write(yard.path("go"), "").unwrap();
    let end = yard.ended(1);
    assert_eq!(end.exit, Some(4));
    yard.send(ToExecutor::Hello { version: VERSION });
    assert_eq!(yard.hello()[0].end, Some(end));
    yard.send(ToExecutor::Ack { key: key(1) });
    yard.send(ToExecutor::Hello { version: VERSION });
    assert_eq!(yard.hello(), []);
}

#[test]
fn every_client_is_told_every_event() {
    let mut yard = Yard::new();
    let mut other = Link::connect(yard.root()).unwrap();
    yard.start_until_ready(bash(1, UNTIL_GO));
    fs::write(yard.path("go"), "").unwrap();
    yard.ended(1);
    let mut heard = Vec::new();
    until("the other client's news", || {
        heard.extend(other.receive());
        heard.iter().any(|said| matches!(said, FromExecutor::Ended { .. }))
    });
    assert!(matches!(heard[0], FromExecutor::Hello { version: VERSION, .. }));
}

#[test]
fn without_clients_it_ends_after_its_last_command() {
    let mut yard = Yard::new();
    yard.start_until_ready(bash(1, UNTIL_GO));
    let command = yard.started(1);
    yard.disconnect();
    assert!(executor::is_locked(yard.root()).unwrap() && lives(command));
    fs::write(yard.path("go"), "").unwrap();
    assert_eq!(yard.executor_exit(), Some(0));
    let lines = executor::read_journal(yard.root()).unwrap();
    assert_eq!(lines.last().map(|(_, end)| end.exit), Some(Some(4)));
    assert!(!executor::is_locked(yard.root()).unwrap());
}

#[test]
fn an_idle_one_ends_with_its_daemon() {
    let mut yard = Yard::new();
    yard.disconnect();
    assert_eq!(yard.executor_exit(), Some(0));
    assert!(!executor::exec_dir(yard.root()).join("exec.sock").exists());
}

#[test]
fn bye_waits_for_what_runs() {
    let mut yard = Yard::new();
    yard.start_until_ready(bash(1, UNTIL_GO));
    yard.send(ToExecutor::Bye);
    fs::write(yard.path("go"), "").unwrap();
    assert_eq!(yard.ended(1).exit, Some(4));
    assert_eq!(yard.executor_exit(), Some(0));
}

#[test]
fn there_is_one_for_each_root() {
    let yard = Yard::new();
    let mut second = Command::new(env!("CARGO_BIN_EXE_jobyard"));
    second.arg("exec").arg("--root").arg(yard.root()).stderr(Stdio::piped());
    let said = second.output().unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).contains("running already"));
    assert!(executor::is_locked(yard.root()).unwrap());
}

#[test]
fn term_ends_everything_in_order() {
    let mut yard = Yard::new();
    let daemon = "setsid -f sleep 1000; echo > ready; sleep 1000";
    yard.start_until_ready(bash(1, daemon));
    yard.start(bash(
        2,
        "trap 'echo tidied; exit 0' TERM; echo > second; while :; do sleep 0.01; done",
    ));
    let second = yard.path("second");
    until("the second command", || second.exists());
    yard.signal_executor(Signal::TERM);
    assert_eq!((yard.ended(1).cause, yard.ended(2).cause), (Cause::Shutdown, Cause::Shutdown));
    assert_eq!(yard.executor_exit(), Some(0));
    assert!(yard.log(2).ends_with("tidied\n"));
    assert_eq!(executor::survivors(&yard.token()), Vec::<u32>::new());
    let lines = executor::read_journal(yard.root()).unwrap();
    assert!(lines.iter().all(|(_, end)| end.cause == Cause::Shutdown) && lines.len() == 2);
}

#[test]
fn a_second_term_kills_at_once() {
    let mut yard = Yard::new();
    let mut start = bash(1, "trap 'echo > asked' TERM; echo > ready; while :; do sleep 0.01; done");
    start.grace_ms = 3_600_000;
    yard.start_until_ready(start);
    yard.signal_executor(Signal::TERM);
    let asked = yard.path("asked");
    until("the first TERM", || asked.exists());
    yard.signal_executor(Signal::TERM);
    let end = yard.ended(1);
    assert_eq!((end.cause, end.signal), (Cause::Shutdown, Some(9)));
    assert_eq!(yard.executor_exit(), Some(0));
}

#[test]
fn nonsense_closes_only_the_client_that_said_it() {
    let mut yard = Yard::new();
    for nonsense in ["what?\n", "{\"type\":\"bye\"}\n", "{\"type\":\"dance\"}\n"] {
        let mut stranger = executor::connect(yard.root()).unwrap();
        stranger.write_all(nonsense.as_bytes()).unwrap();
        stranger.set_nonblocking(false).unwrap();
        let mut answer = String::new();
        let _ = stranger.read_to_string(&mut answer);
        assert_eq!(answer, "");
    }
    assert_eq!(yard.run(bash(1, "exit 0")).exit, Some(0));
}

#[test]
fn another_version_is_told_ours_and_left() {
    let mut yard = Yard::new();
    let mut stranger = executor::connect(yard.root()).unwrap();
    stranger.write_all(b"{\"type\":\"hello\",\"version\":99}\n{\"type\":\"bye\"}\n").unwrap();
    stranger.set_nonblocking(false).unwrap();
    let mut answer = String::new();
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("{\"type\":\"hello\",\"version\":1,"), "{answer}");
    assert_eq!(yard.run(bash(1, "exit 0")).exit, Some(0));
}

#[test]
fn a_long_path_to_the_root_is_no_obstacle() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = dir.path().join("x".repeat(120));
    fs::create_dir(&root).unwrap();
    let mut child = launch(&root, Groups::Off);
    drop(Link::connect(&root).unwrap());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_spawned_executor_says_when_it_can_be_connected_to() {
    let dir = tempfile::TempDir::new().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_jobyard"));
    let mut child = executor::spawn(program, dir.path(), std::process::Stdio::inherit()).unwrap();
    child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    let mut link = Link::connect(dir.path()).unwrap();
    link.send(&ToExecutor::Bye).unwrap();
    assert!(child.wait().unwrap().success());
}
