//! Faults in the real program: each system call that changes something is struck in turn, the program is
//! started again, and what it promises is looked at.
//!
//! `cargo test --test faults` strikes a choice of calls; with `FAULTS=all` every call of every scenario,
//! pairs of calls, and power cuts on real file systems, a line of figures for each sweep: hours. With
//! `FAULTS_STRIDE=7` besides, every seventh, from another one on in each sweep (`make proof`).
//! Invariants: a sweep ends when a run makes fewer calls than the one to be struck, and fails when it struck
//! none; what this machine cannot do is said on a line that begins with `NOT RUN` and counts as not shown.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod disk;
mod judge;
mod seen;
mod trace;
mod trial;

use nix::errno::Errno;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use trace::Fault;
use trial::{Scenario, Stage};

const fn scenario(name: &'static str, ends: &'static str) -> Scenario {
    Scenario { name, kids: false, again: false, waits: false, ends }
}

const PLAIN: Scenario = scenario("plain", "done");
const DEPENDENCIES: Scenario = Scenario { waits: true, ..scenario("dependencies", "done") };
const FAILING: Scenario = scenario("failing-check", "failed");
const CANCEL: Scenario = scenario("cancel", "failed");
const MOVED: Scenario = scenario("moved", "failed");
const RETRY: Scenario = Scenario { again: true, ..scenario("retry", "done") };
const TAKE: Scenario = Scenario { kids: true, ..scenario("take", "done") };
const FINISH: Scenario = Scenario { kids: true, ..scenario("finish", "done") };
const WORKTREE: Scenario = Scenario { kids: true, again: true, ..scenario("worktree", "done") };
const SPARSE: Scenario = Scenario { kids: true, again: true, ..scenario("sparse", "done") };
const EPIC: Scenario = scenario("epic", "done");
const REQUEUE: Scenario = Scenario { again: true, ..scenario("requeue", "done") };
const TAKEOVER: Scenario = Scenario { kids: true, ..scenario("takeover", "done") };
const LEFTOVER: Scenario = scenario("leftover", "");

const GC: Scenario = Scenario { kids: true, again: true, ..scenario("gc", "done") };

const ALL: [Scenario; 15] = [
    PLAIN,
    DEPENDENCIES,
    FAILING,
    CANCEL,
    MOVED,
    RETRY,
    TAKE,
    FINISH,
    WORKTREE,
    SPARSE,
    EPIC,
    REQUEUE,
    TAKEOVER,
    LEFTOVER,
    GC,
];

/// Of pairs of calls: every so many of the second start.
const SECOND_STRIDE: usize = 3;

/// The same fault at one call after another.
#[derive(Clone, Copy)]
struct Sweep {
    scenario: Scenario,
    fault: Fault,
    /// The first call.
    first: usize,
    /// Every so many calls.
    stride: usize,
    /// The start after it is killed too, at every third of its own calls.
    again: bool,
    /// On this file system, whose power is cut.
    power: Option<&'static str>,
    /// What the orders do besides.
    work: &'static str,
}

const fn sweep(scenario: Scenario, fault: Fault, stride: usize) -> Sweep {
    Sweep { scenario, fault, first: 1, stride, again: false, power: None, work: ":" }
}

/// A choice that takes less than a minute.
fn some() -> Vec<Sweep> {
    vec![
        sweep(PLAIN, Fault::Kill, 1),
        sweep(REQUEUE, Fault::Kill, 2),
        sweep(PLAIN, Fault::KillAll, 2),
        sweep(WORKTREE, Fault::KillAll, 19),
        sweep(SPARSE, Fault::KillAll, 23),
        sweep(TAKE, Fault::KillAll, 11),
        sweep(TAKE, Fault::Error(Errno::EINTR), 9),
        sweep(FINISH, Fault::Kill, 15),
        sweep(GC, Fault::KillAll, 13),
        sweep(DEPENDENCIES, Fault::Error(Errno::EIO), 9),
        sweep(RETRY, Fault::Sticky(Errno::ENOSPC), 41),
        sweep(CANCEL, Fault::Lost(Errno::EIO), 9),
        sweep(MOVED, Fault::Kill, 3),
        sweep(EPIC, Fault::Short, 1),
        sweep(EPIC, Fault::Kill, 2),
        sweep(PLAIN, Fault::Freeze, 17),
    ]
}

/// Everything.
fn all() -> Vec<Sweep> {
    let errors = [Errno::ENOSPC, Errno::EIO, Errno::EACCES, Errno::EINTR, Errno::EDQUOT];
    let mut faults = vec![Fault::Kill, Fault::KillAll, Fault::Lost(Errno::EIO), Fault::Short];
    faults.push(Fault::Freeze);
    faults.extend(errors.into_iter().flat_map(|e| [Fault::Error(e), Fault::Sticky(e)]));
    let each = |scenario| faults.iter().map(move |fault| sweep(scenario, *fault, 1));
    let mut sweeps: Vec<Sweep> = ALL.into_iter().flat_map(each).collect();
    sweeps.push(Sweep { work: "sleep 0.3", ..sweep(PLAIN, Fault::Kill, 1) });
    for scenario in [PLAIN, CANCEL] {
        sweeps.push(Sweep { again: true, ..sweep(scenario, Fault::Kill, 1) });
    }
    for fs in ["ext4", "xfs", "btrfs"] {
        if let Some(why) = disk::lacking(fs) {
            println!("NOT RUN power cuts on {fs}: {why}");
            continue;
        }
        for scenario in [PLAIN, RETRY, REQUEUE, FINISH] {
            sweeps.push(Sweep { power: Some(fs), ..sweep(scenario, Fault::KillAll, 1) });
        }
    }
    sweeps
}

/// What a sweep found.
#[derive(Default)]
struct Found {
    struck: AtomicUsize,
    pairs: AtomicUsize,
    over: AtomicBool,
    broken: Mutex<Vec<String>>,
}

impl Sweep {
    fn name(&self) -> String {
        let power = self.power.map(|fs| format!(" power cut on {fs}")).unwrap_or_default();
        let again = if self.again { " twice" } else { "" };
        let long = if self.work == ":" { "" } else { " long" };
        format!("{} {:?}{again}{power}{long}", self.scenario.name, self.fault)
    }

    /// One trial. `second`: the call of the start after it that is struck too. False: there was none.
    fn trial(&self, at: usize, second: usize, found: &Found) -> bool {
        let mut stage = Stage::new(self.scenario, self.power, self.work);
        let (course, mut wrong) = stage.strike("drive", at, self.fault);
        let mut place = course.struck.clone().unwrap_or_default();
        let mut reached = course.struck.is_some();
        if self.fault == Fault::KillAll && reached {
            stage.kill_all();
        }
        if self.power.is_some() && reached {
            stage.power_cut();
        }
        if second > 0 && reached {
            let (course, hung) = stage.strike("recover", second, self.fault);
            reached = course.struck.is_some();
            place.extend(course.struck.map(|s| format!(", then @{second} {s}")));
            wrong = wrong.or(hung);
        }
        let mut broken: Vec<String> = wrong.into_iter().chain(stage.recover()).collect();
        broken.extend(judge::broken(&stage, self.fault));
        if !broken.is_empty() {
            let text = format!("{} @{at} {place}: {}", self.name(), broken.join("; "));
            println!("BROKEN {text}");
            found.broken.lock().expect("the list").push(text);
        }
        reached
    }

    fn at(&self, at: usize, found: &Found) {
        if !self.trial(at, 0, found) {
            found.over.store(true, Ordering::Relaxed);
            return;
        }
        found.struck.fetch_add(1, Ordering::Relaxed);
        for second in (1..).step_by(SECOND_STRIDE).take_while(|_| self.again) {
            if !self.trial(at, second, found) {
                break;
            }
            found.pairs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn run(&self) -> Vec<String> {
        let found = Found::default();
        let next = AtomicUsize::new(0);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        // After an error the daemon mostly waits before it tries again.
        let waits = !matches!(self.fault, Fault::Kill | Fault::KillAll | Fault::Short);
        let workers = if waits { 6 * cores } else { cores };
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while !found.over.load(Ordering::Relaxed) {
                        let at = self.first + self.stride * next.fetch_add(1, Ordering::Relaxed);
                        self.at(at, &found);
                    }
                });
            }
        });
        let (struck, pairs) = (found.struck.into_inner(), found.pairs.into_inner());
        let broken = found.broken.into_inner().expect("the list");
        println!("{}: {struck} calls, {pairs} pairs, {} broken", self.name(), broken.len());
        assert!(struck > 0, "{}: no call was struck", self.name());
        broken
    }
}

#[test]
fn every_struck_call_is_survived() {
    let everything = std::env::var("FAULTS").is_ok_and(|v| v == "all");
    let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let mut sweeps = if everything { all() } else { some() };
    let stride = std::env::var("FAULTS_STRIDE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for (n, sweep) in sweeps.iter_mut().enumerate().filter(|(_, s)| !s.again) {
        (sweep.first, sweep.stride) = (1 + n % stride, sweep.stride * stride);
    }
    let exact = sweeps.iter().any(|sweep| sweep.name() == only);
    let fits = |name: String| if exact { name == only } else { name.contains(&only) };
    let chosen = sweeps.iter().filter(|sweep| fits(sweep.name()));
    let broken: Vec<String> = chosen.flat_map(Sweep::run).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
