//! Jobs that do not want to end: each is gone within the grace and a moment after its order was cancelled,
//! ran out of time or was ended with its executor, with control groups and without.
//!
//! Invariants: what resists is made by `resists.c`, ends by itself in two minutes, and at once when the
//! test's directory goes. A process is found by its name, and what forks too fast to be found by a count
//! that it keeps. It does not ask how a process is found, only that it is gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::{PATIENCE, Yard, copy_program, lives, pause, signal};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An order: its name, the processes it has besides a main one that ignores signals too, each by its
/// letters for `resists.c`, and how many of them say that they are there.
type Kind = (&'static str, &'static [&'static str], usize);

/// What runs at the same time and is ended at the same time: what hides or ignores, what forks without
/// end, and what does all of it.
const KINDS: [Kind; 3] = [
    ("HIDES", &["s", "dsd", "i", "ip", "edsoc"], 6),
    ("FORKS", &["if", "iF", "ib"], 3),
    ("ALL", &["edsiocpf", "edsiocF"], 3),
];

/// Looks at the count of generations, a moment apart, that must be the same before nothing forks.
const LOOKS: u32 = 40;

/// Whether commands may have control groups.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Groups {
    Wanted,
    Off,
}

/// What ends the order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Cancel,
    TimeOut,
    Stop,
}

/// The program that resists, compiled once.
fn resists() -> PathBuf {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/resist/resists.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-o"]).arg(dir.path().join("resists")).arg(source);
        assert!(cc.status().unwrap().success(), "resists.c could not be compiled");
        dir
    });
    dir.path().join("resists")
}

/// A daemon with nothing to do, and the program beside it.
fn yard(groups: Groups) -> Yard {
    let mut yard = Yard::bare();
    if groups == Groups::Off {
        yard.env.push(("JOBYARD_EXEC_GROUPS", "off".to_owned()));
    }
    copy_program(resists(), yard.path("resists"));
    yard.start();
    yard
}

/// Submits an order that resists in these ways.
fn begin(yard: &Yard, (id, all, _): Kind, more: &str) {
    let dir = yard.path(format!("{id}.dir"));
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("there"), "").unwrap();
    let (program, dir) = (yard.path("resists"), dir.display());
    let program = program.display();
    let others: String = all.iter().map(|how| format!("{program} {how} {dir} & ")).collect();
    yard.submit(id, &format!("workspace: none\n{more}run: '{others}exec {program} i {dir}'\n"));
}

/// Waits until all of an order is there.
fn until_there(yard: &Yard, (id, _, count): Kind) {
    yard.lines(&format!("{id}.dir/there"), count + 1);
}

/// The living processes of an order, by the name that all of them have.
fn found(yard: &Yard, id: &str) -> Vec<u32> {
    let mark = format!("\0{}\0", yard.path(format!("{id}.dir")).display());
    let resists = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(mark.len()).any(|part| part == mark.as_bytes())
            && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("resists"))
    };
    let names = fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| resists(pid) && lives(*pid)).collect()
}

/// Waits until nothing of an order is left; how long ago that was decided, counted from `since`.
#[track_caller]
fn until_gone(yard: &Yard, id: &str, since: Instant) -> Duration {
    let (mut same, mut before, mut gone_at) = (0, Vec::new(), since);
    while same < LOOKS {
        let generations = fs::read(yard.path(format!("{id}.dir/generations"))).unwrap();
        let left = found(yard, id);
        if !left.is_empty() || generations != before {
            (same, before, gone_at) = (0, generations, Instant::now());
            assert!(since.elapsed() < PATIENCE, "{id} is not gone: {left:?}\n{}", yard.sight());
        }
        same += 1;
        pause(Duration::from_millis(3));
    }
    gone_at - since
}

/// Ends the orders in one way, waits until nothing of them is left, and looks at what is said of them.
fn resist(groups: Groups, way: Way, kinds: &[Kind]) {
    let mut yard = yard(groups);
    let timeout = if way == Way::TimeOut { "timeout: 3s\n" } else { "" };
    // Of the submission, so what ends by its time can only seem to have taken longer than it did.
    let late = Instant::now() + Duration::from_secs(3);
    kinds.iter().for_each(|kind| begin(&yard, *kind, timeout));
    kinds.iter().for_each(|kind| until_there(&yard, *kind));
    let executor = yard.executor_pid().unwrap();
    if way == Way::Stop {
        assert_eq!(yard.term(), Some(0));
        let all_live = kinds.iter().all(|(id, ..)| !found(&yard, id).is_empty());
        assert!(all_live, "the end of a daemon ends no job");
    }
    let since = if way == Way::TimeOut { late } else { Instant::now() };
    if way == Way::Stop {
        signal(executor, Signal::TERM);
    }
    let end = |id: &str| {
        if way == Way::Cancel {
            let (code, said) = yard.verb(&["cancel", id]);
            assert_eq!(code, 0, "{said}\n{}", yard.sight());
        }
        let took = until_gone(&yard, id, since);
        println!("{way:?} of {id}, {}: gone after {took:?}", groups.name());
    };
    thread::scope(|scope| {
        for (id, ..) in kinds {
            scope.spawn(move || end(id));
        }
    });
    if way == Way::Stop {
        yard.start();
    }
    let reason = match way {
        Way::Cancel => "cancelled",
        Way::TimeOut => "timeout",
        Way::Stop => "stopped",
    };
    for (id, ..) in kinds {
        yard.until_in("failed", id);
        let settled = yard.events(id, "settled");
        assert_eq!(settled[0]["reason"], reason, "{}", yard.sight());
        assert_eq!(yard.events(id, "started").len(), 1, "{}", yard.sight());
    }
}

impl Groups {
    fn name(self) -> &'static str {
        if self == Self::Wanted { "with groups" } else { "without groups" }
    }
}

#[test]
fn what_resists_is_gone_after_cancel_in_its_group() {
    resist(Groups::Wanted, Way::Cancel, &KINDS);
}

#[test]
fn what_resists_is_gone_after_cancel_without_groups() {
    resist(Groups::Off, Way::Cancel, &KINDS);
}

#[test]
fn what_resists_is_gone_after_its_time_in_its_group() {
    resist(Groups::Wanted, Way::TimeOut, &KINDS);
}

#[test]
fn what_resists_is_gone_after_its_time_without_groups() {
    resist(Groups::Off, Way::TimeOut, &KINDS);
}

#[test]
fn what_resists_is_gone_after_a_stop_in_its_group() {
    resist(Groups::Wanted, Way::Stop, &KINDS);
}

#[test]
fn what_resists_is_gone_after_a_stop_without_groups() {
    resist(Groups::Off, Way::Stop, &KINDS);
}

/// Its brand is gone too: what is left of its origin is that the executor is its parent.
const NAMELESS: Kind = ("NAMELESS", &["edsiocup", "edsiocuF"], 3);

#[test]
fn what_sheds_every_sign_without_groups_is_gone_after_cancel() {
    resist(Groups::Off, Way::Cancel, &[NAMELESS]);
}

#[test]
fn what_sheds_every_sign_without_groups_is_gone_after_its_time() {
    resist(Groups::Off, Way::TimeOut, &[NAMELESS]);
}

#[test]
fn what_sheds_every_sign_without_groups_is_gone_after_a_stop() {
    resist(Groups::Off, Way::Stop, &[NAMELESS]);
}

#[test]
fn a_cancel_tells_what_cleared_itself_from_what_its_neighbour_cleared() {
    let yard = yard(Groups::Off);
    let kinds: [Kind; 2] = [("FIRST", &["edsoc"], 1), ("SECOND", &["edsoc"], 1)];
    for kind in kinds {
        begin(&yard, kind, "");
        until_there(&yard, kind);
    }
    let cancel = |id: &str| {
        let since = Instant::now();
        assert_eq!(yard.verb(&["cancel", id]).0, 0, "{}", yard.sight());
        until_gone(&yard, id, since);
    };
    cancel("SECOND");
    assert_eq!(found(&yard, "FIRST").len(), 2, "{}", yard.sight());
    cancel("FIRST");
}

/// Kills the executor under a living daemon, or the daemon first, and waits for what is found.
fn after_a_kill(groups: Groups, daemon_too: bool) {
    let mut yard = yard(groups);
    let kinds: [Kind; 3] = [
        ("TOKEN", &["s", "ip"], 3),
        ("OUTPUT", &["edsi"], 1),
        ("BRAND", &["edsioc", "edsiocp"], 3),
    ];
    for kind in kinds {
        begin(&yard, kind, "");
        until_there(&yard, kind);
    }
    let executor = yard.executor_pid().unwrap();
    if daemon_too {
        yard.kill();
    }
    let since = Instant::now();
    signal(executor, Signal::KILL);
    if daemon_too {
        yard.until("the executor's end", || !lives(executor));
        kinds.iter().for_each(|(id, ..)| assert!(!found(&yard, id).is_empty(), "{id}"));
        yard.start();
    }
    for (id, ..) in kinds {
        let took = until_gone(&yard, id, since);
        println!("kill -9 of the executor, {id}, {}: gone after {took:?}", groups.name());
        yard.until_in("failed", id);
        assert_eq!(yard.events(id, "settled")[0]["reason"], "lost", "{}", yard.sight());
        assert_eq!(yard.events(id, "started").len(), 1, "{}", yard.sight());
    }
}

#[test]
fn what_a_killed_executor_left_is_found_by_its_token_its_output_or_its_brand_in_its_group() {
    after_a_kill(Groups::Wanted, false);
}

#[test]
fn what_a_killed_executor_left_is_found_by_its_token_its_output_or_its_brand_without_groups() {
    after_a_kill(Groups::Off, false);
}

#[test]
fn what_daemon_and_executor_left_when_both_were_killed_is_found_by_the_next() {
    after_a_kill(Groups::Off, true);
}

/// What the page of proofs says is not promised, so that it says no less than there is.
#[test]
fn what_shed_every_sign_is_not_found_once_its_executor_was_killed() {
    let yard = yard(Groups::Off);
    let kind: Kind = ("LOST", &["edsiocu"], 1);
    begin(&yard, kind, "");
    until_there(&yard, kind);
    signal(yard.executor_pid().unwrap(), Signal::KILL);
    yard.until_in("failed", "LOST");
    let left = found(&yard, "LOST");
    assert_eq!(left.len(), 1, "{}", yard.sight());
    signal(left[0], Signal::KILL);
}
