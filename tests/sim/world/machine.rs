//! The simulated machine: everything that actors share and that outlives them.
//!
//! Invariants: time moves only by [`Machine::advance`], [`Machine::jump`] and a power cut; what ends
//! does so in the order of its ticks, then of process ids; a pair of process id and start time is
//! given once per boot, and may be given again after a reboot.

use super::disk::{Disk, Ino};
use super::effects::{Effects, RunEnd};
use super::executor::Executor;
use super::git::Git;
use super::jobs::{Job, Mix};
use super::power::Style;
use crate::rng::Rng;
use jobyard::model::order::State;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The machine as its actors hold it.
pub(crate) type Shared = Rc<RefCell<Machine>>;

/// Wall clock at the beginning of each life: 2026-01-09T21:00:00Z.
const WALL_MS_FIRST: i64 = 1_767_992_400_000;
/// Few process ids, so that they are soon used again.
const PIDS: (u64, u64) = (100, 163);

/// A running process.
#[derive(Debug)]
pub(crate) struct Proc {
    /// Start time in clock ticks since boot.
    pub(crate) start: u64,
    /// Value of `JOBYARD_TOKEN`.
    pub(crate) token: Option<String>,
    /// What it is.
    pub(crate) role: Role,
}

/// What a process is.
#[derive(Debug)]
pub(crate) enum Role {
    /// A daemon or a verb.
    Actor,
    /// The executor.
    Executor,
    /// The main process of a command.
    Job(Box<Job>),
    /// A child that a command left behind; ends by itself at this tick.
    Leftover {
        /// The main process: id and start time.
        of: (u32, u64),
        /// Tick of its end.
        ends: u64,
    },
    /// Anything else, such as a person's shell.
    Other,
}

/// The clocks.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Number of the boot, from 1.
    pub(crate) boot: u64,
    /// Milliseconds since this boot.
    pub(crate) tick_ms: u64,
    /// Wall clock in milliseconds since 1970; may jump.
    pub(crate) wall_ms: i64,
    /// Milliseconds of the whole life; never jumps, never begins again.
    pub(crate) age_ms: u64,
}

/// Disk, git, processes, executor, clocks, and the record of what really ran.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The disk.
    pub(crate) disk: Disk,
    /// The repository.
    pub(crate) git: Git,
    /// The clocks.
    pub(crate) clock: Clock,
    /// The process table.
    pub(crate) procs: BTreeMap<u32, Proc>,
    /// The executor and the link to it.
    pub(crate) exec: Executor,
    /// What really ran. Not part of the simulated state: no fault touches it.
    pub(crate) effects: Effects,
    /// How commands behave.
    pub(crate) mix: Mix,
    /// Chance.
    pub(crate) rng: Rng,
    /// The process that has locked the root: id and start time.
    pub(crate) root_lock: Option<(u32, u64)>,
    /// The owner of the root.
    pub(crate) uid: u32,
    /// The directories of tickets in which people have acted since the daemon was last told.
    pub(crate) touched: BTreeSet<State>,
    /// One line per raw call, when wanted.
    pub(crate) trace: Option<Vec<String>>,
    next_start: u64,
}

impl Machine {
    /// A machine with an empty root that belongs to `uid`, and a repository with one commit on main.
    pub(crate) fn new(seed: u64, uid: u32) -> Self {
        let mut rng = Rng::new(seed);
        let wall_ms = WALL_MS_FIRST;
        Self {
            disk: Disk::new(uid, wall_ms * 1_000_000),
            git: Git::new(),
            clock: Clock { boot: 1, tick_ms: rng.below(100_000), wall_ms, age_ms: 0 },
            procs: BTreeMap::new(),
            exec: Executor::default(),
            effects: Effects::default(),
            mix: Mix::default(),
            rng,
            root_lock: None,
            touched: BTreeSet::new(),
            uid,
            trace: None,
            next_start: 1,
        }
    }

    /// The same, shared.
    pub(crate) fn shared(seed: u64, uid: u32) -> Shared {
        Rc::new(RefCell::new(Self::new(seed, uid)))
    }

    /// Boot id as the system prints it.
    pub(crate) fn boot_id(&self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.clock.boot)
    }

    /// Starts a process; returns its id and start time.
    pub(crate) fn spawn(&mut self, role: Role, token: Option<String>) -> (u32, u64) {
        let mut pid = self.rng.between(PIDS.0, PIDS.1) as u32;
        while self.procs.contains_key(&pid) {
            pid += 1;
        }
        let start = self.next_start;
        self.next_start += 1;
        self.procs.insert(pid, Proc { start, token, role });
        (pid, start)
    }

    /// Is this process there?
    pub(crate) fn lives(&self, pid: u32, start: u64) -> bool {
        self.procs.get(&pid).is_some_and(|p| p.start == start)
    }

    /// `kill -9` of one process, whatever it is. False when there is none.
    pub(crate) fn kill(&mut self, pid: u32) -> bool {
        let Some(proc) = self.procs.remove(&pid) else { return false };
        self.root_lock.take_if(|holder| *holder == (pid, proc.start));
        match proc.role {
            Role::Executor => self.exec.forget(),
            Role::Job(job) => {
                self.die_with_parent(pid, proc.start, &job);
            }
            _ => {}
        }
        true
    }

    /// Ids of the processes that carry this token.
    pub(crate) fn bearers(&self, token: &str) -> Vec<u32> {
        let bears = |p: &Proc| p.token.as_deref() == Some(token);
        self.procs.iter().filter(|(_, p)| bears(p)).map(|(&pid, _)| pid).collect()
    }

    /// Time passes; what is due ends, the executor reads what waits for it.
    pub(crate) fn advance(&mut self, ms: u64) {
        let until = self.clock.tick_ms + ms;
        self.run_executor(usize::MAX);
        while let Some((due, pid)) = self.next_end()
            && due <= until
        {
            self.pass(due.saturating_sub(self.clock.tick_ms));
            self.end_by_itself(pid);
        }
        self.pass(until - self.clock.tick_ms);
        self.run_executor(usize::MAX);
    }

    /// Tick at which the next process ends, if any will.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.next_end().map(|(due, _)| due)
    }

    /// The wall clock alone jumps.
    pub(crate) fn jump(&mut self, ms: i64) {
        self.clock.wall_ms += ms;
        self.disk.now_ns = self.clock.wall_ms * 1_000_000;
    }

    /// The power fails and comes back: another boot, no process, the disk and git as they survived.
    pub(crate) fn power_cut(&mut self) -> Style {
        let mut rng = self.rng.fork();
        let style = self.disk.power_cut(&mut rng);
        self.git.power_cut(style, &mut rng);
        self.boot_again(&mut rng);
        style
    }

    /// The same when all was durable but what these were to sync.
    pub(crate) fn power_cut_losing(&mut self, lost: &[Ino]) {
        let mut rng = self.rng.fork();
        self.disk.power_cut_losing(lost, &mut rng);
        self.git.power_cut(Style::Everything, &mut rng);
        self.boot_again(&mut rng);
    }

    /// The same when only what was synced is durable.
    pub(crate) fn power_cut_as(&mut self, style: Style) {
        let mut rng = self.rng.fork();
        self.disk.power_cut_as(style, &mut rng);
        self.git.power_cut(style, &mut rng);
        self.boot_again(&mut rng);
    }

    /// Everything is written back, then the machine boots again.
    pub(crate) fn reboot(&mut self) {
        self.write_back();
        let mut rng = self.rng.fork();
        self.disk.power_cut_as(Style::Everything, &mut rng);
        self.boot_again(&mut rng);
    }

    /// Makes everything durable, as half a minute does.
    pub(crate) fn write_back(&mut self) {
        self.disk.write_back();
        self.git.write_back();
    }

    /// A person, or a program of one, at work on the disk.
    pub(crate) fn hand(&mut self, uid: u32) -> super::hand::Hand<'_> {
        super::hand::Hand { machine: self, uid }
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.clock.age_ms, line()));
        }
    }

    fn boot_again(&mut self, rng: &mut Rng) {
        self.note(|| "-- boot".to_owned());
        let age = self.clock.age_ms;
        self.effects.all_end(RunEnd::PowerCut, age);
        self.procs.clear();
        self.root_lock = None;
        self.exec.forget();
        self.next_start = 1;
        self.clock.boot += 1;
        self.clock.tick_ms = rng.below(5_000);
        self.pass(rng.below(60_000));
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.clock.tick_ms += ms;
        self.clock.age_ms += ms;
        self.jump(ms as i64);
    }
}
