//! Clocks that jump: an hour and years, to and fro, while a daemon runs, while it does not, and while a
//! command runs; and a day in which the machine slept. Only `not_before`, `retry_at` and `deadline` follow
//! the wall clock; no lease changes, nothing runs twice, nothing ends before its time.
//!
//! Invariants: the program is the real one; `clocks.c` stands between it and the C library's clocks, and
//! the clock that no sleep moves is left alone. The machine's own clocks are not touched.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

use super::yard::{Yard, signal};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// What `clocks.c` became, compiled once.
fn shim() -> String {
    static BUILT: OnceLock<TempDir> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clock/clocks.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]);
        cc.arg(dir.path().join("clocks.so")).arg(source);
        assert!(cc.status().unwrap().success(), "clocks.c could not be compiled");
        dir
    });
    dir.path().join("clocks.so").to_str().unwrap().to_owned()
}

/// A root whose daemon, executor and verbs have clocks of their own.
struct Clocks {
    yard: Yard,
    /// So many orders have shown that the daemon has looked at its clocks.
    looks: u32,
}

impl Clocks {
    fn new(slots: &'static str) -> Self {
        let mut yard = Yard::bare();
        let file = yard.beside("clocks");
        fs::write(&file, [0; 16]).unwrap();
        yard.env.push(("LD_PRELOAD", shim()));
        yard.env.push(("JOBYARD_TEST_CLOCKS", file.to_str().unwrap().to_owned()));
        yard.args = vec!["--slots", slots];
        Self { yard, looks: 0 }
    }

    /// From now on the wall clock, and the clock that a machine's sleep moves too, are so much ahead of
    /// what they are, in milliseconds.
    fn set(&self, wall: i64, sleep: i64) {
        let file = fs::File::options().write(true).open(self.yard.beside("clocks")).unwrap();
        file.write_all_at(&[wall.to_ne_bytes(), sleep.to_ne_bytes()].concat(), 0).unwrap();
    }

    /// The same, and the daemon has looked.
    #[track_caller]
    fn jump(&mut self, wall: i64, sleep: i64) {
        self.set(wall, sleep);
        self.look();
    }

    /// Waits until the daemon has looked at everything again.
    #[track_caller]
    fn look(&mut self) {
        self.looks += 1;
        self.yard.settle_down(&format!("LOOK-{}", self.looks));
    }

    /// A verb by the same clocks; what it printed.
    fn verb(&self, args: &[&str]) -> String {
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", "15"]).arg(&self.yard.program).args(args);
        command.arg("--root").arg(&self.yard.root);
        command.envs(self.yard.env.iter().map(|(name, value)| (name, value)));
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{args:?}: {said}\n{}", self.yard.sight());
        String::from_utf8(out.stdout).unwrap()
    }

    /// `now` by the machine, later by so much, as a ticket says it.
    fn later(ms: i64) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        jobyard::model::time::Moment(now.as_millis() as i64 + ms).rfc3339()
    }

    fn lease(&self, id: &str) -> (u64, String) {
        let name = format!("_ctx/jobs/running/{id}.lock");
        (fs::metadata(self.yard.path(&name)).unwrap().ino(), self.yard.text(&name))
    }
}

/// Something of everything that could mind the time: a command with a bound on its time and its silence, a
/// person's lease, an order to be tried again in half an hour, and one that waits for half an hour.
fn busy() -> Clocks {
    let mut clocks = Clocks::new("4");
    let yard = &mut clocks.yard;
    yard.configure("settle = \"20ms\"\ngrace = \"1s\"\nstale_after = \"30m\"\n");
    yard.fifo("gate");
    yard.start();
    let bounds = "timeout: 30m\nidle_timeout: 30m\n";
    let run = "run: 'echo begun >> runs; read line < gate; echo ended >> runs'\n";
    yard.submit("RUNS", &format!("workspace: none\n{bounds}{run}"));
    yard.submit("HELD", "workspace: none\n");
    let retry = "retry: {max: 1, backoff: 30m}\n";
    yard.submit("AGAIN", &format!("workspace: none\n{retry}run: 'echo x >> again; false'\n"));
    let at = Clocks::later(HOUR / 2);
    yard.submit("LATER", &format!("workspace: none\nnot_before: {at}\nrun: 'echo x >> later'\n"));
    yard.lines("runs", 1);
    yard.until("the back-off", || yard.events("AGAIN", "settled").len() == 1);
    yard.until_in("pending", "AGAIN");
    clocks.verb(&["take", "HELD"]);
    clocks.yard.until_in("running", "HELD");
    clocks
}

/// What runs is as it was, and what waits waits.
#[track_caller]
fn nothing_moved(clocks: &Clocks, leases: &[(u64, String); 2]) {
    let yard = &clocks.yard;
    assert_eq!(&[clocks.lease("RUNS"), clocks.lease("HELD")], leases, "{}", yard.sight());
    for id in ["RUNS", "HELD"] {
        assert_eq!(yard.places(id), ["running"], "{}", yard.sight());
        assert_eq!(yard.events(id, "settled").len(), 0, "{}", yard.sight());
    }
    for id in ["AGAIN", "LATER"] {
        assert_eq!(yard.places(id), ["pending"], "{}", yard.sight());
    }
    let counts = ["runs", "again", "later"].map(|name| yard.text(name).lines().count());
    assert_eq!(counts, [1, 1, 0], "{}", yard.sight());
}

/// All has run to its end, each as often as it should, and the command was not cut short.
#[track_caller]
fn all_ran_once(clocks: &mut Clocks) {
    clocks.yard.until_in("done", "LATER");
    clocks.yard.until_in("failed", "AGAIN");
    clocks.look();
    let yard = &clocks.yard;
    assert_eq!(yard.places("RUNS"), ["running"]);
    assert_eq!(yard.places("HELD"), ["running"]);
    yard.open_gate("gate");
    yard.until_in("done", "RUNS");
    assert_eq!(yard.lines("runs", 2), ["begun", "ended"]);
    assert_eq!((yard.text("again"), yard.text("later")), ("x\nx\n".into(), "x\n".into()));
    assert_eq!(yard.events("RUNS", "started").len(), 1);
    assert_eq!(yard.events("RUNS", "claiming").len(), 1);
    clocks.verb(&["finish", "HELD"]);
    clocks.yard.until_in("done", "HELD");
    clocks.verb(&["lint"]);
    clocks.verb(&["audit", "verify"]);
}

/// Where the wall clock is put, one after the other: back and forth, before the half hour is over.
const JUMPS: [i64; 6] = [-HOUR, HOUR / 4, -30 * YEAR, 0, -DAY, -YEAR];

#[test]
fn the_program_believes_the_clocks_of_these_tests() {
    let mut clocks = Clocks::new("1");
    clocks.yard.configure("settle = \"6h\"\n");
    clocks.yard.start();
    clocks.jump(10 * YEAR, 0);
    let year = |line: &serde_json::Value| line["time"].as_str().unwrap()[..4].parse::<i64>();
    let (first, last) = {
        let ledger = clocks.yard.ledger();
        (year(&ledger[0]).unwrap(), year(ledger.last().unwrap()).unwrap())
    };
    assert!((9..=10).contains(&(last - first)), "{first} {last}");
    // Written in place: believed once the steady clock has gone on by six hours.
    clocks.yard.put(&Yard::ticket("pending", "A"), "id: A\ntitle: T\nworkspace: none\nrun: true\n");
    clocks.look();
    assert_eq!(clocks.yard.places("A"), ["pending"]);
    clocks.jump(-10 * YEAR, 0);
    assert_eq!(clocks.yard.places("A"), ["pending"]);
    clocks.set(-10 * YEAR, DAY / 2);
    clocks.yard.submit("WAKES", "workspace: none\nrun: true\n");
    clocks.yard.until_in("done", "A");
}

#[test]
fn a_wall_clock_that_jumps_while_a_daemon_runs_moves_only_what_names_a_time() {
    let mut clocks = busy();
    let leases = [clocks.lease("RUNS"), clocks.lease("HELD")];
    for wall in JUMPS {
        clocks.jump(wall, 0);
        nothing_moved(&clocks, &leases);
    }
    clocks.jump(HOUR, 0);
    clocks.yard.until_in("done", "LATER");
    clocks.yard.until_in("failed", "AGAIN");
    for wall in [30 * YEAR, -30 * YEAR, 0] {
        clocks.jump(wall, 0);
        assert_eq!([clocks.lease("RUNS"), clocks.lease("HELD")], leases);
    }
    all_ran_once(&mut clocks);
}

#[test]
fn a_wall_clock_that_jumps_between_two_daemons_moves_only_what_names_a_time() {
    let mut clocks = busy();
    let held = clocks.lease("HELD");
    for (turn, wall) in JUMPS.into_iter().enumerate() {
        if turn % 2 == 0 {
            assert_eq!(clocks.yard.term(), Some(0));
        } else {
            clocks.yard.kill();
        }
        clocks.set(wall, 0);
        clocks.yard.start();
        clocks.look();
        assert_eq!(clocks.lease("HELD"), held);
        let leases = [clocks.lease("RUNS"), held.clone()];
        clocks.look();
        nothing_moved(&clocks, &leases);
    }
    clocks.yard.kill();
    clocks.set(30 * YEAR, 0);
    clocks.yard.start();
    all_ran_once(&mut clocks);
}

#[test]
fn a_day_asleep_ends_no_command_and_no_lease() {
    let mut clocks = busy();
    let leases = [clocks.lease("RUNS"), clocks.lease("HELD")];
    let whole = [clocks.yard.daemon_pid(), clocks.yard.executor_pid().unwrap()];
    whole.iter().for_each(|pid| signal(*pid, Signal::STOP));
    clocks.set(DAY, DAY);
    whole.iter().for_each(|pid| signal(*pid, Signal::CONT));
    clocks.look();
    assert_eq!([clocks.lease("RUNS"), clocks.lease("HELD")], leases);
    // The battery went empty next time: the wall clock begins anew.
    clocks.jump(-30 * YEAR, 2 * DAY);
    assert_eq!([clocks.lease("RUNS"), clocks.lease("HELD")], leases);
    all_ran_once(&mut clocks);
}

#[test]
fn time_outs_count_from_the_start_whatever_the_clocks_say() {
    let mut clocks = Clocks::new("4");
    clocks.yard.start();
    let order = "workspace: none\nrun: 'echo x >> said; exec sleep 1000'\n";
    clocks.yard.submit("TIME", &format!("{order}timeout: 2s\n"));
    clocks.yard.submit("IDLE", &format!("{order}idle_timeout: 2s\n"));
    clocks.yard.lines("said", 2);
    clocks.set(-30 * YEAR, 0);
    for (id, reason) in [("TIME", "timeout"), ("IDLE", "idle-timeout")] {
        clocks.yard.until_in("failed", id);
        assert_eq!(clocks.yard.events(id, "settled")[0]["reason"], reason);
    }
    // A check that began before the jump and ended after it took the time it took.
    clocks.yard.fifo("gate");
    let check = "verify: {commands: ['echo check >> begun; read line < gate']}\n";
    clocks.yard.submit("CHECK", &format!("workspace: none\nrun: true\n{check}"));
    clocks.yard.lines("begun", 1);
    clocks.set(30 * YEAR, 0);
    clocks.yard.open_gate("gate");
    clocks.yard.until_in("done", "CHECK");
    let took = clocks.yard.verdict("CHECK", 1)["checks"][0]["duration_ms"].as_i64();
    assert!(took.is_some_and(|ms| (0..HOUR).contains(&ms)), "{took:?}");
}

/// A daemon whose only slot is taken until the gate is opened.
fn full() -> Clocks {
    let mut clocks = Clocks::new("1");
    clocks.yard.fifo("gate");
    clocks.yard.start();
    clocks.yard.submit("FIRST", "workspace: none\nrun: 'echo x >> begun; read line < gate'\n");
    clocks.yard.lines("begun", 1);
    clocks
}

#[track_caller]
fn until_seen(clocks: &Clocks, ids: &[&str]) {
    let seen = |id: &&str| clocks.yard.events(id, "intake").len() == 1;
    clocks.yard.until("all to be seen", || ids.iter().all(seen));
}

#[test]
fn a_deadline_moves_with_the_wall_clock_forwards_and_back() {
    let urgent = ["LATE", "HIGH"];
    for (first, then, order) in
        [(0, 0, ["HIGH", "LATE"]), (0, 3 * DAY, urgent), (3 * DAY, 0, ["HIGH", "LATE"])]
    {
        let clocks = full();
        clocks.set(first, 0);
        let run = "workspace: none\nrun: 'echo $JOBYARD_ID >> said'\n";
        let deadline = Clocks::later(2 * DAY);
        clocks.yard.submit("LATE", &format!("{run}deadline: {deadline}\n"));
        clocks.yard.submit("HIGH", &format!("{run}priority: high\n"));
        until_seen(&clocks, &urgent);
        clocks.set(then, 0);
        clocks.yard.open_gate("gate");
        assert_eq!(clocks.yard.lines("said", 2), order, "{first} {then}");
        clocks.yard.until_in("done", order[1]);
    }
}

#[test]
fn what_was_due_before_the_wall_clock_was_set_back_waits_again() {
    let mut clocks = full();
    clocks.set(HOUR, 0);
    let at = Clocks::later(HOUR / 2);
    clocks.yard.submit("A", &format!("workspace: none\nnot_before: {at}\nrun: 'echo x >> said'\n"));
    until_seen(&clocks, &["A"]);
    clocks.set(0, 0);
    clocks.yard.open_gate("gate");
    clocks.look();
    clocks.look();
    assert_eq!(
        (clocks.yard.places("A"), clocks.yard.text("said")),
        (vec!["pending"], String::new())
    );
    clocks.jump(HOUR, 0);
    clocks.yard.until_in("done", "A");
    assert_eq!(clocks.yard.text("said"), "x\n");
}
