//! The simulated executor keeps its protocol, and the record of what ran tells the truth.

use super::{JOURNAL, Machine, RunEnd, Shared, SimWorld, Traffic};
use jobyard::model::protocol::{
    Cause, CommandKey, FromExecutor, JournalLine, StartCommand, ToExecutor, VERSION,
};
use jobyard::world::{ExecutorLink, World};
use std::path::Path;

const ME: u32 = 1000;

fn key(attempt: u32, number: u32) -> CommandKey {
    CommandKey { id: "WO-1".to_owned(), attempt, number }
}

fn command(key: CommandKey, words: &str) -> ToExecutor {
    ToExecutor::Start(Box::new(StartCommand {
        log: format!("_ctx/runs/WO-1/{}/{:02}-run.log", key.attempt, key.number),
        token: format!("token-{}", key.attempt),
        key,
        argv: vec!["job".to_owned(), format!("{words} clean")],
        cwd: ".".to_owned(),
        env: Vec::new(),
        pass: Vec::new(),
        timeout_ms: Some(100_000),
        idle_timeout_ms: None,
        grace_ms: 5_000,
        log_bytes_max: 1 << 20,
    }))
}

/// A machine with an executor whose jobs do only what their words say, and a connected daemon.
fn connected() -> (Shared, SimWorld) {
    let m = Machine::shared(11, ME);
    m.borrow_mut().mix = super::Mix { leftover: 0, stubborn: 0, ..super::Mix::default() };
    m.borrow_mut().start_executor();
    let mut w = SimWorld::new(&m, ME);
    assert_eq!(w.executor(), ExecutorLink::Up);
    let hello = w.receive();
    assert!(matches!(&hello[..], [FromExecutor::Hello { commands, .. }] if commands.is_empty()));
    (m, w)
}

fn ended(messages: &[FromExecutor]) -> Option<(Option<i32>, Cause, u32)> {
    messages.iter().find_map(|m| match m {
        FromExecutor::Ended { end, .. } => Some((end.exit, end.cause, end.leftovers)),
        _ => None,
    })
}

fn run_to_end(words: &str) -> (Shared, SimWorld, Vec<FromExecutor>) {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), words)).unwrap();
    assert!(matches!(&w.receive()[..], [FromExecutor::Started { .. }]));
    m.borrow_mut().advance(200_000);
    let messages = w.receive();
    (m, w, messages)
}

#[test]
fn words_decide_how_a_command_ends() {
    for (words, expected) in [
        ("pass", (Some(0), Cause::Exited, 0)),
        ("fail", (Some(1), Cause::Exited, 0)),
        ("hang", (None, Cause::Timeout, 0)),
        ("flood", (None, Cause::OutputLimit, 0)),
        ("pass leftover", (Some(0), Cause::Exited, 1)),
    ] {
        assert_eq!(ended(&run_to_end(words).2), Some(expected), "{words}");
    }
    let (_, mut w) = connected();
    w.send(&command(key(1, 1), "missing")).unwrap();
    assert_eq!(ended(&w.receive()), Some((None, Cause::CouldNotStart, 0)));
}

#[test]
fn an_end_is_kept_until_it_is_acknowledged_and_written_down() {
    let (m, mut w, _) = run_to_end("pass");
    let known = |w: &mut SimWorld| {
        w.send(&ToExecutor::Hello { version: VERSION }).unwrap();
        match &w.receive()[..] {
            [FromExecutor::Hello { commands, .. }] => commands.clone(),
            other => panic!("{other:?}"),
        }
    };
    let first = known(&mut w);
    assert!(first[0].end.is_some() && first.len() == 1);
    w.send(&ToExecutor::Ack { key: key(1, 1) }).unwrap();
    assert_eq!(known(&mut w), []);
    let journal = m.borrow().disk.peek(Path::new(JOURNAL)).unwrap().to_vec();
    let line: JournalLine = serde_json::from_slice(&journal).unwrap();
    assert_eq!((line.key, line.boot), (key(1, 1), w.identity().boot.clone()));
}

#[test]
fn a_key_starts_once() {
    let (m, mut w) = connected();
    let start = command(key(1, 1), "pass");
    w.send(&start).unwrap();
    w.send(&start).unwrap();
    let answers = w.receive();
    assert!(matches!(answers[1], FromExecutor::Started { .. }), "{answers:?}");
    m.borrow_mut().advance(100_000);
    w.send(&ToExecutor::Ack { key: key(1, 1) }).unwrap();
    w.receive();
    w.send(&start).unwrap();
    let log_exists = w.receive();
    assert!(matches!(&log_exists[..], [FromExecutor::Refused { .. }]), "{log_exists:?}");
    assert_eq!(m.borrow().effects.times(&key(1, 1)), 1);
    assert!(m.borrow().effects.repeated().is_empty());
}

#[test]
fn a_repeated_key_is_recorded_when_its_log_is_gone() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "pass quick")).unwrap();
    m.borrow_mut().advance(1);
    m.borrow_mut().kill_executor();
    m.borrow_mut().hand(ME).rm("_ctx/runs/WO-1/1/01-run.log").unwrap();
    m.borrow_mut().start_executor();
    assert_eq!(w.executor(), ExecutorLink::Up);
    w.send(&command(key(1, 1), "pass")).unwrap();
    assert_eq!(m.borrow().effects.repeated(), [&key(1, 1)]);
}

#[test]
fn orphans_live_until_they_are_swept_and_overlaps_are_recorded() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "hang leftover")).unwrap();
    m.borrow_mut().kill_executor();
    assert_eq!(w.executor(), ExecutorLink::Dead);
    assert!(w.send(&ToExecutor::Bye).is_err());
    m.borrow_mut().advance(500_000);
    assert_eq!(w.survivors("token-1").len(), 2, "nobody is there to end them");
    m.borrow_mut().start_executor();
    assert_eq!(w.executor(), ExecutorLink::Up);
    w.send(&command(key(2, 1), "hang")).unwrap();
    assert_eq!(m.borrow().effects.overlaps, [(key(1, 1), key(2, 1))]);
    w.receive();
    let sweep = |attempt: u32| ToExecutor::Sweep {
        key: key(attempt, 1),
        token: format!("token-{attempt}"),
        grace_ms: 0,
    };
    w.send(&sweep(1)).unwrap();
    assert!(matches!(w.receive()[..], [FromExecutor::Swept { killed: 2, left: 0, .. }]));
    assert!(w.survivors("token-1").is_empty());
    w.send(&sweep(2)).unwrap();
    let answers = w.receive();
    let swept = |m: &FromExecutor| matches!(m, FromExecutor::Swept { left: 0, .. });
    assert!(answers.iter().any(swept), "{answers:?}");
    let end = m.borrow().effects.last(&key(1, 1)).unwrap().end;
    assert_eq!(end, Some(RunEnd::Unseen { exit: None }));
}

#[test]
fn stop_ends_a_command_after_its_grace_at_the_latest() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "hang stubborn leftover")).unwrap();
    w.send(&ToExecutor::Stop { key: key(1, 1) }).unwrap();
    m.borrow_mut().advance(4_999);
    assert_eq!(ended(&w.receive()), None);
    m.borrow_mut().advance(1);
    assert_eq!(ended(&w.receive()), Some((None, Cause::Stopped, 1)));
}

#[test]
fn the_executor_outlives_its_daemon_and_tells_the_next_one() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "pass")).unwrap();
    w.kill();
    m.borrow_mut().advance(10);
    let mut next = SimWorld::new(&m, ME);
    assert_eq!(next.executor(), ExecutorLink::Up);
    match &next.receive()[..] {
        [FromExecutor::Hello { commands, .. }] => assert_eq!(commands[0].key, key(1, 1)),
        other => panic!("{other:?}"),
    }
    m.borrow_mut().advance(100_000);
    assert_eq!(ended(&next.receive()), Some((Some(0), Cause::Exited, 0)));
}

#[test]
fn bye_ends_an_executor_once_nothing_runs() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "pass")).unwrap();
    w.send(&ToExecutor::Bye).unwrap();
    assert_eq!(w.executor(), ExecutorLink::Up);
    m.borrow_mut().advance(100_000);
    assert_eq!(w.executor(), ExecutorLink::Dead);
    assert!(m.borrow().disk.peek(Path::new(JOURNAL)).is_some());
}

#[test]
fn a_shutdown_ends_all_and_writes_it_down() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "hang")).unwrap();
    m.borrow_mut().shut_executor();
    assert_eq!(w.executor(), ExecutorLink::Dead);
    let journal = m.borrow().disk.peek(Path::new(JOURNAL)).unwrap().to_vec();
    let line: JournalLine = serde_json::from_slice(&journal).unwrap();
    assert_eq!(line.end.unwrap().cause, Cause::Shutdown);
}

#[test]
fn traffic_loses_doubles_delays_and_breaks() {
    let with = |traffic: Traffic| {
        let (m, mut w) = connected();
        m.borrow_mut().exec.traffic = traffic;
        w.send(&command(key(1, 1), "pass")).unwrap();
        let answers = w.receive().len();
        m.borrow_mut().advance(0);
        let times = m.borrow().effects.times(&key(1, 1));
        let up = m.borrow().exec.peer.is_some();
        (answers, times, up)
    };
    assert_eq!(with(Traffic { lost: 100, ..Traffic::default() }), (0, 0, true));
    assert_eq!(with(Traffic { delayed: 100, ..Traffic::default() }), (0, 1, true));
    assert_eq!(with(Traffic { doubled: 100, ..Traffic::default() }), (4, 1, true));
    assert_eq!(with(Traffic { broken: 100, ..Traffic::default() }), (0, 0, false));
    let (_, times, up) = with(Traffic { dies: 100, ..Traffic::default() });
    assert_eq!((times, up), (0, false), "it died between the log and the start");
}

#[test]
fn a_power_cut_ends_everything() {
    let (m, mut w) = connected();
    w.send(&command(key(1, 1), "hang")).unwrap();
    m.borrow_mut().power_cut();
    assert!(m.borrow().procs.is_empty() && w.crashed());
    let end = m.borrow().effects.last(&key(1, 1)).unwrap().end;
    assert_eq!(end, Some(RunEnd::PowerCut));
    assert_eq!(SimWorld::new(&m, ME).executor(), ExecutorLink::Dead);
}

#[test]
fn a_full_disk_keeps_a_command_from_starting() {
    let (m, mut w) = connected();
    m.borrow_mut().disk.health = super::Health::Full;
    w.send(&command(key(1, 1), "pass")).unwrap();
    assert_eq!(ended(&w.receive()), Some((None, Cause::CouldNotStart, 0)));
    assert_eq!(m.borrow().effects.times(&key(1, 1)), 0);
}
