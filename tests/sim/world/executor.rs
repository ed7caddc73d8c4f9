//! The simulated executor and the link to it.
//!
//! Invariants: it starts a key only if it does not know it and could create its log exclusively; it
//! keeps an end until it is acknowledged, and adds it to its journal without a sync; when it dies it
//! forgets everything, and its commands live on. It survives its daemon. It answers `Hello` with
//! `Hello` and also greets whoever connects. It reads when something was sent, and when time passes.
//!
//! Not simulated: another version of the protocol, the time between TERM and the end of a tree.

use super::content::SimFile;
use super::disk::Errno;
use super::machine::{Machine, Role};
use crate::planted;
use jobyard::model::protocol::{
    Cause, CommandKey, End, FromExecutor, JournalLine, KnownCommand, StartCommand, ToExecutor,
    VERSION,
};
use jobyard::world::ExecutorLink;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

/// The executor's journal.
pub(crate) const JOURNAL: &str = "_ctx/runs/.jobyard/exec.journal";

/// What goes wrong on the link: chances in percent, for each message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    /// It vanishes.
    pub(crate) lost: u64,
    /// It arrives twice.
    pub(crate) doubled: u64,
    /// It stays under way until the next call or the next passing of time.
    pub(crate) delayed: u64,
    /// The link breaks, with all that is under way.
    pub(crate) broken: u64,
    /// The executor dies between a command's log and its start.
    pub(crate) dies: u64,
    /// A process withstands a sweep.
    pub(crate) unkillable: u64,
}

/// The executor and the link to it.
#[derive(Debug, Default)]
pub(crate) struct Executor {
    /// Its process: id and start time; `None`: dead.
    pub(crate) proc: Option<(u32, u64)>,
    /// It lives but cannot be talked to.
    pub(crate) unreachable: bool,
    /// What goes wrong on the link.
    pub(crate) traffic: Traffic,
    /// The process that is connected.
    pub(crate) peer: Option<(u32, u64)>,
    /// Sent to it, not read yet.
    pub(crate) inbox: VecDeque<ToExecutor>,
    /// Sent by it, not received yet.
    pub(crate) outbox: VecDeque<FromExecutor>,
    /// Commands that run or whose end was not acknowledged.
    pub(crate) known: BTreeMap<CommandKey, KnownCommand>,
    /// It was told to end.
    pub(crate) bye: bool,
}

impl Executor {
    /// Does this process run a command of this executor?
    pub(super) fn owns(&self, key: &CommandKey, pid: u32, start: u64) -> bool {
        self.known.get(key).is_some_and(|k| (k.pid, k.start_time) == (pid, start))
    }

    /// Does any command run?
    pub(crate) fn busy(&self) -> bool {
        self.known.values().any(|k| k.end.is_none())
    }

    /// Its death: only the conditions of the link stay.
    pub(super) fn forget(&mut self) {
        let (unreachable, traffic) = (self.unreachable, self.traffic);
        *self = Self { unreachable, traffic, ..Self::default() };
    }

    /// Breaks the link; all that is under way is lost.
    pub(crate) fn break_link(&mut self) {
        self.peer = None;
        self.inbox.clear();
        self.outbox.clear();
    }

    fn say(&mut self, message: FromExecutor) {
        if self.peer.is_some() {
            self.outbox.push_back(message);
        }
    }

    fn greet(&mut self) {
        let commands = self.known.values().cloned().collect();
        let pid = self.proc.map_or(0, |(pid, _)| pid);
        self.say(FromExecutor::Hello { version: VERSION, pid, commands });
    }
}

impl Machine {
    /// Starts an executor unless one lives. False when one does.
    pub(crate) fn start_executor(&mut self) -> bool {
        if self.exec.proc.is_some() {
            return false;
        }
        self.note(|| "-- executor starts".to_owned());
        self.exec.proc = Some(self.spawn(Role::Executor, None));
        true
    }

    /// `kill -9` of the executor: its commands live on, unseen.
    pub(crate) fn kill_executor(&mut self) {
        self.note(|| "-- executor killed".to_owned());
        if let Some((pid, _)) = self.exec.proc {
            self.kill(pid);
        }
    }

    /// TERM of the executor: it ends its commands, writes their ends down and ends.
    pub(crate) fn shut_executor(&mut self) {
        self.note(|| "-- executor told to shut down".to_owned());
        let now = self.clock.tick_ms;
        for proc in self.procs.values_mut() {
            if let Role::Job(job) = &mut proc.role {
                job.stop(now, Cause::Shutdown);
            }
        }
        while self.exec.busy() {
            let Some((due, pid)) = self.next_end() else { break };
            self.pass(due.saturating_sub(self.clock.tick_ms));
            self.end_by_itself(pid);
        }
        self.kill_executor();
    }

    /// The executor reads at most so many messages, and then sees what has ended.
    pub(crate) fn run_executor(&mut self, messages_max: usize) {
        for _ in 0..messages_max {
            if self.exec.proc.is_none() || self.exec.unreachable {
                break;
            }
            let Some(message) = self.exec.inbox.pop_front() else { break };
            self.note(|| format!("-- executor reads {}", brief(&message)));
            self.obey(message);
        }
        while let Some((due, pid)) = self.next_end()
            && due <= self.clock.tick_ms
        {
            self.end_by_itself(pid);
        }
        self.end_idle_executor();
    }

    /// The link as the process `me` sees it; connects when it can.
    pub(super) fn link_state(&mut self, me: (u32, u64)) -> ExecutorLink {
        if self.exec.proc.is_none() {
            return ExecutorLink::Dead;
        }
        if self.exec.unreachable {
            return ExecutorLink::Unreachable;
        }
        if self.exec.peer != Some(me) {
            // What an earlier peer has sent is still read, perhaps after our first message.
            self.exec.outbox.clear();
            self.exec.peer = Some(me);
            self.exec.greet();
        }
        ExecutorLink::Up
    }

    /// A message of the process `me` enters the link.
    pub(super) fn post(&mut self, me: (u32, u64), message: &ToExecutor) -> Result<(), Errno> {
        if self.exec.proc.is_none() || self.exec.peer != Some(me) {
            return Err(libc::EPIPE);
        }
        let traffic = self.exec.traffic;
        if self.rng.chance(traffic.broken) {
            self.exec.break_link();
            return Ok(());
        }
        if self.rng.chance(traffic.lost) {
            return Ok(());
        }
        let copies = 1 + usize::from(self.rng.chance(traffic.doubled));
        self.exec.inbox.extend(std::iter::repeat_n(message, copies).cloned());
        if !self.rng.chance(traffic.delayed) {
            self.run_executor(usize::MAX);
        }
        Ok(())
    }

    /// What has arrived for the process `me`.
    pub(super) fn collect(&mut self, me: (u32, u64)) -> Vec<FromExecutor> {
        let mut out = Vec::new();
        while self.exec.peer == Some(me) {
            let traffic = self.exec.traffic;
            if self.rng.chance(traffic.delayed) {
                break;
            }
            let Some(message) = self.exec.outbox.pop_front() else { break };
            if self.rng.chance(traffic.lost) {
                continue;
            }
            if self.rng.chance(traffic.doubled) {
                out.push(message.clone());
            }
            out.push(message);
        }
        out
    }

    /// The executor learns the end of a command of its own.
    pub(super) fn report_end(&mut self, key: &CommandKey, end: End) {
        if planted::is("end-unwritten") {
            return self.tell_end(key, end);
        }
        let line = JournalLine { boot: self.boot_id(), key: key.clone(), end: Some(end.clone()) };
        let _ = self.add_to_journal(&line);
        self.tell_end(key, end);
    }

    fn tell_end(&mut self, key: &CommandKey, end: End) {
        if let Some(known) = self.exec.known.get_mut(key) {
            known.end = Some(end.clone());
        }
        self.exec.say(FromExecutor::Ended { key: key.clone(), end });
    }

    fn add_to_journal(&mut self, line: &JournalLine) -> Result<(), Errno> {
        let path = Path::new(JOURNAL);
        let mut text = serde_json::to_vec(line).map_err(|_| libc::EINVAL)?;
        text.push(b'\n');
        self.disk.mkdir_all(path.parent().ok_or(libc::EINVAL)?, self.uid)?;
        let file = self.disk.append(path, 0o644, self.uid)?;
        self.disk.write(&file, &text).map(|_| ())
    }

    fn obey(&mut self, message: ToExecutor) {
        match message {
            ToExecutor::Hello { .. } => {
                self.exec.bye = false;
                self.exec.greet();
            }
            ToExecutor::Start(command) => self.start_command(&command),
            ToExecutor::Stop { key } => self.stop_command(&key),
            ToExecutor::Sweep { key, token, .. } => self.sweep(key, &token),
            ToExecutor::Ack { key } => {
                if self.exec.known.get(&key).is_some_and(|k| k.end.is_some()) {
                    self.exec.known.remove(&key);
                }
            }
            ToExecutor::Bye => self.exec.bye = true,
        }
    }

    fn start_command(&mut self, command: &StartCommand) {
        let key = command.key.clone();
        if let Some(known) = self.exec.known.get(&key).cloned()
            && !planted::is("key-untested")
        {
            let (pid, start_time) = (known.pid, known.start_time);
            return self.exec.say(match known.end {
                Some(end) => FromExecutor::Ended { key, end },
                None => FromExecutor::Started { key, pid, start_time },
            });
        }
        let log = match self.open_log(&command.log) {
            Ok(log) => log,
            Err(_) if self.disk.peek_inode(&command.log).is_some() => {
                let reason = "its log exists".to_owned();
                return self.exec.say(FromExecutor::Refused { key, reason });
            }
            Err(errno) => {
                let why = format!("create log {}: errno {errno}", command.log);
                return self.could_not_start(key, why);
            }
        };
        if self.rng.chance(self.exec.traffic.dies) {
            return self.kill_executor();
        }
        let missing = command.argv.iter().any(|a| a.split_whitespace().any(|w| w == "missing"));
        let cwd = Path::new(&command.cwd);
        if missing || self.disk.list(cwd, self.uid).is_err() {
            return self.could_not_start(key, format!("spawn in {}: errno 2", command.cwd));
        }
        let (pid, start_time) = self.start_job(command, log);
        let known = KnownCommand { key: key.clone(), pid, start_time, end: None };
        self.exec.known.insert(key.clone(), known);
        self.exec.say(FromExecutor::Started { key, pid, start_time });
    }

    fn open_log(&mut self, log: &str) -> Result<SimFile, Errno> {
        let path = Path::new(log);
        self.disk.mkdir_all(path.parent().ok_or(libc::EINVAL)?, self.uid)?;
        let there = self.disk.peek_inode(log).is_some();
        if there && (planted::is("log-untested") || planted::is("key-untested")) {
            self.disk.unlink(path, self.uid)?;
        }
        self.disk.create(path, 0o644, self.uid)
    }

    fn could_not_start(&mut self, key: CommandKey, why: String) {
        let known = KnownCommand { key: key.clone(), pid: 0, start_time: 0, end: None };
        self.exec.known.insert(key.clone(), known);
        let end = End {
            exit: None,
            signal: None,
            cause: Cause::CouldNotStart,
            detail: Some(why),
            started_ms: self.clock.wall_ms,
            ended_ms: self.clock.wall_ms,
            leftovers: 0,
            log_bytes: 0,
        };
        self.report_end(&key, end);
    }

    fn stop_command(&mut self, key: &CommandKey) {
        let Some(known) = self.exec.known.get(key) else { return };
        if let Some(end) = known.end.clone() {
            return self.exec.say(FromExecutor::Ended { key: key.clone(), end });
        }
        let now = self.clock.tick_ms;
        if let Some(proc) = self.procs.get_mut(&known.pid)
            && let Role::Job(job) = &mut proc.role
        {
            job.stop(now, Cause::Stopped);
        }
    }

    fn sweep(&mut self, key: CommandKey, token: &str) {
        let (mut killed, mut left) = (0, 0);
        if planted::is("sweep-unkilled") {
            return self.exec.say(FromExecutor::Swept { key, killed, left });
        }
        for pid in self.bearers(token) {
            if self.is_ours(pid) {
                self.end_now(pid);
                continue;
            }
            if self.rng.chance(self.exec.traffic.unkillable) {
                left += 1;
            } else if self.kill(pid) {
                killed += 1;
            }
        }
        self.exec.say(FromExecutor::Swept { key, killed, left });
    }

    /// A command of its own that is swept along ends as a stopped one.
    fn end_now(&mut self, pid: u32) {
        let now = self.clock.tick_ms;
        let Some(proc) = self.procs.get_mut(&pid) else { return };
        if let Role::Job(job) = &mut proc.role {
            job.end_now(now);
            self.end_by_itself(pid);
        }
    }

    /// Does this process belong to a command of the living executor?
    fn is_ours(&self, pid: u32) -> bool {
        let Some(proc) = self.procs.get(&pid) else { return false };
        match &proc.role {
            Role::Job(job) => self.exec.owns(&job.key, pid, proc.start),
            Role::Leftover { of, .. } => {
                self.exec.known.values().any(|k| (k.pid, k.start_time) == *of && k.end.is_none())
            }
            _ => false,
        }
    }

    fn end_idle_executor(&mut self) {
        if self.exec.proc.is_none() || self.exec.busy() {
            return;
        }
        let alone = self.exec.peer.is_none_or(|(pid, start)| !self.lives(pid, start));
        if alone && self.exec.peer.is_some() {
            self.exec.peer = None;
        }
        let leaves = alone && self.exec.inbox.is_empty() && self.rng.chance(30);
        if self.exec.bye || leaves {
            self.kill_executor();
        }
    }
}

fn brief(message: &ToExecutor) -> String {
    match message {
        ToExecutor::Start(command) => format!("Start {:?}", command.key),
        other => format!("{other:?}"),
    }
}
