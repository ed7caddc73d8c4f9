//! The processes of commands: how they behave, what they do to their worktree, how they end.
//!
//! What a command does is drawn at its start from [`Mix`]; words in its arguments decide instead:
//! its end by `pass fail hang flood missing`, its deeds by `clean commit commit:PATH dirty untracked`,
//! and `leftover` (a child stays behind), `stubborn` (ignores TERM), `quick` (ends in its first tick).

use super::content::SimFile;
use super::disk::Errno;
use super::effects::{Run, RunEnd};
use super::machine::{Machine, Role};
use crate::rng::Rng;
use jobyard::model::protocol::{Cause, CommandKey, End, StartCommand};
use std::path::Path;

/// How commands behave: chances in percent.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// Exit status other than 0.
    pub(crate) fail: u64,
    /// Never ends by itself and says nothing.
    pub(crate) hang: u64,
    /// Writes more than its log may hold.
    pub(crate) flood: u64,
    /// Leaves a child behind.
    pub(crate) leftover: u64,
    /// Ignores TERM.
    pub(crate) stubborn: u64,
    /// Commits in its worktree.
    pub(crate) commit: u64,
    /// Leaves a tracked file changed.
    pub(crate) dirty: u64,
    /// Leaves an untracked file.
    pub(crate) untracked: u64,
    /// Longest run time of one that ends by itself.
    pub(crate) longest_ms: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            fail: 15,
            hang: 3,
            flood: 2,
            leftover: 8,
            stubborn: 15,
            commit: 60,
            dirty: 6,
            untracked: 6,
            longest_ms: 60_000,
        }
    }
}

/// The main process of a command.
#[derive(Debug)]
pub(crate) struct Job {
    /// Which command.
    pub(crate) key: CommandKey,
    cwd: String,
    log: SimFile,
    log_bytes: u64,
    started_ms: i64,
    /// Its line in the effects.
    run: usize,
    /// Tick and status when it is left alone; `None`: never.
    natural: Option<(u64, i32)>,
    /// Tick and reason when its executor ends it first.
    forced: Option<(u64, Cause)>,
    grace_ms: u64,
    stubborn: bool,
    deeds: Deeds,
    /// It belongs to no attempt, and may run beside the next one.
    hook: bool,
}

fn is_hook(command: &StartCommand) -> bool {
    command.env.iter().any(|(name, _)| name == "JOBYARD_HOOK")
}

/// What a command does to its worktree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Deeds {
    /// Commits a change of this path.
    pub(crate) commit: Option<String>,
    /// Leaves a tracked file changed.
    pub(crate) dirty: bool,
    /// Leaves an untracked file.
    pub(crate) untracked: bool,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    Exit(i32),
    Signal(i32, Cause),
}

impl Job {
    fn death(&self, at: u64) -> Death {
        match (self.natural, self.forced) {
            (Some((tick, status)), None) if tick <= at => Death::Exit(status),
            (Some((tick, status)), Some((limit, _))) if tick < limit => Death::Exit(status),
            (_, Some((_, cause))) => Death::Signal(if self.stubborn { 9 } else { 15 }, cause),
            _ => Death::Signal(9, Cause::Exited),
        }
    }

    /// Its executor ends it at once, whatever it ignores.
    pub(super) fn end_now(&mut self, now: u64) {
        (self.natural, self.forced) = (None, Some((now, Cause::Stopped)));
    }

    /// Its executor ends it, at once or after the grace.
    pub(super) fn stop(&mut self, now: u64, cause: Cause) {
        let at = if self.stubborn { now + self.grace_ms } else { now };
        if self.forced.is_none_or(|(tick, _)| at < tick) {
            self.forced = Some((at, cause));
        }
    }
}

impl Machine {
    /// Starts the main process of a command whose log is open; returns its id and start time.
    pub(super) fn start_job(&mut self, command: &StartCommand, log: SimFile) -> (u32, u64) {
        let now = self.clock.tick_ms;
        let fate = Fate::draw(command, &self.mix, &mut self.rng);
        for proc in self.procs.values() {
            if let Role::Job(other) = &proc.role
                && other.key.id == command.key.id
                && !(other.hook || is_hook(command))
            {
                self.effects.overlaps.push((other.key.clone(), command.key.clone()));
            }
        }
        let run = self.effects.begin(Run {
            key: command.key.clone(),
            token: command.token.clone(),
            pid: 0,
            start: 0,
            boot: self.clock.boot,
            from_ms: self.clock.age_ms,
            to_ms: None,
            end: None,
        });
        let _ = self.disk.write(&log, b"begin\n");
        let job = Job {
            key: command.key.clone(),
            cwd: command.cwd.clone(),
            log,
            log_bytes: 6,
            started_ms: self.clock.wall_ms,
            run,
            natural: fate.status.map(|status| (now + fate.duration_ms, status)),
            forced: fate.limit(command).map(|(ms, cause)| (now + ms, cause)),
            grace_ms: command.grace_ms,
            stubborn: fate.stubborn,
            deeds: fate.deeds,
            hook: is_hook(command),
        };
        let token = Some(command.token.clone());
        let (pid, start) = self.spawn(Role::Job(Box::new(job)), token.clone());
        (self.effects.runs[run].pid, self.effects.runs[run].start) = (pid, start);
        if fate.leftover {
            let ends = now + 10 * self.mix.longest_ms;
            self.spawn(Role::Leftover { of: (pid, start), ends }, token);
        }
        (pid, start)
    }

    /// The next process that ends: tick and id.
    pub(super) fn next_end(&self) -> Option<(u64, u32)> {
        let due = |pid: u32, start: u64, role: &Role| match role {
            Role::Job(job) => {
                let natural = job.natural.map(|(tick, _)| tick);
                let forced = job.forced.map(|(tick, _)| tick);
                let forced = forced.filter(|_| self.exec.owns(&job.key, pid, start));
                natural.into_iter().chain(forced).min()
            }
            Role::Leftover { ends, .. } => Some(*ends),
            _ => None,
        };
        let ends = self.procs.iter();
        ends.filter_map(|(&pid, p)| Some((due(pid, p.start, &p.role)?, pid))).min()
    }

    /// A process that is due ends.
    pub(super) fn end_by_itself(&mut self, pid: u32) {
        let Some(proc) = self.procs.remove(&pid) else { return };
        if let Role::Job(mut job) = proc.role {
            if !self.exec.owns(&job.key, pid, proc.start) {
                job.forced = None;
            }
            let death = job.death(self.clock.tick_ms);
            self.bury(pid, proc.start, &job, death);
        }
    }

    /// A main process that is gone from the table already was killed from outside.
    pub(super) fn die_with_parent(&mut self, pid: u32, start: u64, job: &Job) {
        self.bury(pid, start, job, Death::Signal(9, Cause::Exited));
    }

    /// What follows the end of a main process: its deeds, its children, and who saw it.
    fn bury(&mut self, pid: u32, start: u64, job: &Job, death: Death) {
        let (exit, signal, cause) = match death {
            Death::Exit(status) => (Some(status), None, Cause::Exited),
            Death::Signal(signal, cause) => (None, Some(signal), cause),
        };
        self.do_deeds(job, exit.is_some());
        let written: Result<usize, Errno> = self.disk.write(&job.log, b"end\n");
        let age = self.clock.age_ms;
        let key = &job.key;
        self.note(|| format!("-- {key:?} of process {pid} ended: {death:?}"));
        if !self.exec.owns(&job.key, pid, start) {
            self.effects.end(job.run, RunEnd::Unseen { exit }, age);
            return;
        }
        let leftovers = self.end_leftovers(pid, start);
        self.effects.end(job.run, RunEnd::Seen { exit, cause }, age);
        let end = End {
            exit,
            signal,
            cause,
            detail: None,
            started_ms: job.started_ms,
            ended_ms: self.clock.wall_ms,
            leftovers,
            log_bytes: job.log_bytes + written.map_or(0, |n| n as u64),
        };
        self.report_end(&job.key, end);
    }

    fn do_deeds(&mut self, job: &Job, complete: bool) {
        let deeds = if complete {
            job.deeds.clone()
        } else {
            let begun = job.deeds != Deeds::default() && self.rng.chance(50);
            Deeds { commit: None, dirty: begun, untracked: false }
        };
        let there = self.disk.stat(Path::new(&job.cwd)).is_ok_and(|s| s.is_some());
        if there && deeds != Deeds::default() {
            self.git.work(&job.cwd, &deeds);
        }
    }

    fn end_leftovers(&mut self, pid: u32, start: u64) -> u32 {
        let before = self.procs.len();
        self.procs
            .retain(|_, p| !matches!(p.role, Role::Leftover { of, .. } if of == (pid, start)));
        (before - self.procs.len()) as u32
    }
}

/// What chance has in store for one command.
struct Fate {
    duration_ms: u64,
    /// `None`: never ends by itself.
    status: Option<i32>,
    flood: bool,
    leftover: bool,
    stubborn: bool,
    deeds: Deeds,
}

impl Fate {
    fn draw(command: &StartCommand, mix: &Mix, rng: &mut Rng) -> Self {
        let words: Vec<&str> = command.argv.iter().flat_map(|a| a.split_whitespace()).collect();
        let said = |word: &str| words.contains(&word);
        let fixed = ["pass", "fail", "hang", "flood"].into_iter().any(said);
        let mut drawn = |word: &str, percent: u64| {
            let luck = rng.chance(percent);
            if fixed { said(word) } else { luck }
        };
        let (fail, hang) = (drawn("fail", mix.fail), drawn("hang", mix.hang));
        let flood = drawn("flood", mix.flood);
        let duration_ms = rng.between(1, mix.longest_ms);
        Self {
            duration_ms: if said("quick") { 0 } else { duration_ms },
            status: (!hang).then_some(i32::from(fail)),
            flood,
            leftover: rng.chance(mix.leftover) || said("leftover"),
            stubborn: rng.chance(mix.stubborn) || said("stubborn"),
            deeds: Deeds::draw(&words, mix, rng),
        }
    }

    /// When and why the executor ends it.
    fn limit(&self, command: &StartCommand) -> Option<(u64, Cause)> {
        let silent = command.idle_timeout_ms.filter(|_| self.status.is_none());
        let flooded = self.flood.then_some(self.duration_ms / 2);
        let grace = if self.stubborn { command.grace_ms } else { 0 };
        [
            (flooded, Cause::OutputLimit),
            (silent, Cause::IdleTimeout),
            (command.timeout_ms, Cause::Timeout),
        ]
        .into_iter()
        .filter_map(|(ms, cause)| Some((ms?.saturating_add(grace), cause)))
        .min_by_key(|(ms, _)| *ms)
    }
}

impl Deeds {
    fn draw(words: &[&str], mix: &Mix, rng: &mut Rng) -> Self {
        let path = words.iter().find_map(|w| w.strip_prefix("commit:"));
        let said = |word: &str| words.contains(&word);
        let any = rng.below(20);
        let luck = (rng.chance(mix.commit), rng.chance(mix.dirty), rng.chance(mix.untracked));
        let usual = || format!("src/part{any}.rs");
        let fixed = ["clean", "commit", "dirty", "untracked"].into_iter().any(said);
        if fixed || path.is_some() {
            let commit = path.map(str::to_owned).or_else(|| said("commit").then(usual));
            return Self { commit, dirty: said("dirty"), untracked: said("untracked") };
        }
        Self { commit: luck.0.then(usual), dirty: luck.1, untracked: luck.2 }
    }
}
