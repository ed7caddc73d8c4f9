//! The executor as a whole: what it knows, and what each message and each dead child does to it.
//!
//! Invariants: a key is started at most once; an end is in the journal before anybody is told; the going
//! of a client ends no command; when nothing runs and nobody is connected, the executor has no reason to
//! stay. It decides nothing about work orders.

use super::beneath;
use super::clients::Clients;
use super::command::{Running, duration, now_ms};
use super::family::{Family, Mark};
use super::groups::Groups;
use super::journal::Journal;
use super::note;
use super::output::{self, Output, Watches};
use super::proc::{self, Process};
use super::start;
use super::tree::{Standing, Tree};
use super::wait::Stay;
use crate::model::protocol::{
    Cause, CommandKey, End, FromExecutor, KnownCommand, StartCommand, ToExecutor, VERSION,
};
use rustix::process::{WaitOptions, wait};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// An executor that nobody ever greeted ends after this.
const LONELY: Duration = Duration::from_secs(30);

/// Ends kept in memory until acknowledged; with more of them some are only in the journal.
const ENDED_MAX: usize = 8192;

/// Ends that fit into `Hello`; further ones follow as messages of their own.
const HELLO_ENDS_MAX: usize = 1000;

/// Longest detail in characters.
const DETAIL_CHARS_MAX: usize = 1000;

/// Children waited for before clients have their turn.
const REAP_MAX: usize = 4096;

/// What the executor knows.
pub(crate) struct Executor {
    root: OwnedFd,
    /// Who is connected.
    pub(crate) clients: Clients,
    /// Watches on logs.
    pub(crate) watches: Watches,
    /// What others have started counts too. None for an executor of one client's own.
    journal: Option<Journal>,
    groups: Option<Groups>,
    family: Family,
    running: BTreeMap<CommandKey, Running>,
    ended: BTreeMap<CommandKey, KnownCommand>,
    watched: BTreeMap<i32, CommandKey>,
    /// Survivors of a dead executor that are being ended.
    sweeps: BTreeMap<CommandKey, Tree>,
    began: Instant,
    greeted: bool,
    /// The daemon said `Bye` and none has come since.
    dismissed: bool,
    /// It was told to end itself.
    ending: bool,
    /// How long it stays; no longer than needed once a daemon of another version has come.
    stay: Stay,
    /// Logs that go when it ends: those of one client's own executor.
    passing: Vec<String>,
}

impl Executor {
    /// One that runs nothing yet.
    pub(crate) fn new(
        root: OwnedFd,
        clients: Clients,
        journal: Option<Journal>,
        stay: Stay,
    ) -> Self {
        Self {
            root,
            clients,
            watches: Watches::new(),
            journal,
            groups: Groups::discover(),
            family: Family::new(),
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            watched: BTreeMap::new(),
            sweeps: BTreeMap::new(),
            began: Instant::now(),
            greeted: false,
            dismissed: false,
            ending: false,
            stay,
            passing: Vec::new(),
        }
    }

    /// Whether there is a reason to stay.
    pub(crate) fn is_needed(&self, now: Instant) -> bool {
        if !self.running.is_empty() || !self.sweeps.is_empty() {
            return true;
        }
        if self.ending {
            return false;
        }
        match self.stay {
            Stay::Always => true,
            Stay::Client => !self.clients.is_empty(),
            Stay::Needed if self.dismissed => false,
            Stay::Needed => {
                let lonely = self.greeted || now >= self.began + LONELY;
                !(self.clients.is_empty() && lonely)
            }
        }
    }

    /// An executor of one client's own ends what it runs when that client has gone.
    pub(crate) fn end_if_left(&mut self) {
        if self.stay == Stay::Client && self.clients.is_empty() && !self.ending {
            self.end();
        }
    }

    /// When something is due, though nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        let running = self.running.values().filter_map(Running::due);
        let sweeps = self.sweeps.values().filter_map(Tree::due);
        let unheard = !self.greeted && self.stay == Stay::Needed && self.clients.is_empty();
        let lonely = unheard.then(|| self.began + LONELY);
        running.chain(sweeps).chain(lonely).min()
    }

    /// Takes what one client said.
    pub(crate) fn hear(&mut self, at: usize) {
        let messages = self.clients.get(at).map(super::clients::Client::hear).unwrap_or_default();
        for message in messages {
            if self.clients.get(at).is_some_and(|client| client.is_closing()) {
                return;
            }
            let greeted = self.clients.get(at).is_some_and(|client| client.greeted);
            match message {
                ToExecutor::Hello { version } => self.greet(at, version),
                _ if !greeted => {
                    if let Some(client) = self.clients.get(at) {
                        client.drop_because("its first message is not Hello");
                    }
                    return;
                }
                ToExecutor::Start(command) => self.start(at, *command),
                ToExecutor::Stop { key } => self.stop(&key),
                ToExecutor::Sweep { key, token, grace_ms } => self.sweep(key, token, grace_ms),
                ToExecutor::Ack { key } => drop(self.ended.remove(&key)),
                ToExecutor::Bye => self.dismissed = true,
            }
        }
    }

    fn greet(&mut self, at: usize, version: u32) {
        let running = self.running.values().map(Running::known);
        let ended = self.ended.values().take(HELLO_ENDS_MAX).cloned();
        let commands = running.chain(ended).collect();
        let pid = std::process::id();
        let Some(client) = self.clients.get(at) else { return };
        client.tell(&FromExecutor::Hello { version: VERSION, pid, commands });
        if version != VERSION {
            client.close(&format!("it speaks version {version}, this executor {VERSION}"));
            self.stay = Stay::Needed;
            return;
        }
        client.greeted = true;
        self.greeted = true;
        self.dismissed = false;
        for known in self.ended.values().skip(HELLO_ENDS_MAX) {
            if let Some(end) = known.end.clone() {
                client.tell(&FromExecutor::Ended { key: known.key.clone(), end });
            }
        }
    }

    fn start(&mut self, at: usize, start: StartCommand) {
        if self.ending {
            // Unanswered on purpose: nothing was created, so the next executor may start it.
            note("a start was left undone: this executor is ending");
            return;
        }
        let key = start.key.clone();
        if self.running.contains_key(&key)
            || self.ended.contains_key(&key)
            || self.journal.as_ref().is_some_and(|journal| journal.knows(&key))
        {
            return self.refuse(at, key, "it was started before".to_owned());
        }
        let started_ms = now_ms();
        let log = match output::create(&self.root, &start.log) {
            Ok(log) => log,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return self.refuse(at, key, format!("its log {} exists ({error})", start.log));
            }
            Err(error) => {
                let detail = format!("create the log {}: {error}", start.log);
                return self.finish(key, 0, 0, not_started(started_ms, detail, 0));
            }
        };
        if self.stay == Stay::Client {
            self.passing.push(start.log.clone());
        }
        // Its log may be taken away while it runs; this line is not.
        self.write_down(&key, None);
        let idle = start.idle_timeout_ms.map(duration);
        let output = match Output::open(&self.root, &start.log, start.log_bytes_max, idle) {
            Ok(output) => output,
            Err(error) => {
                let detail = format!("open the log {}: {error}", start.log);
                return self.finish(key, 0, 0, not_started(started_ms, detail, 0));
            }
        };
        match start::spawn(&self.root, &start, log, self.groups.as_mut()) {
            Ok((pid, group)) => {
                let start_time = proc::process_start_time(pid).unwrap_or_default();
                let main = Process { pid, start_time };
                let token = start.token.clone();
                self.enter(start, started_ms, Tree::of_command(key, main, token, group), output);
            }
            Err(detail) => {
                output.say(&detail);
                let end = not_started(started_ms, detail, output.bytes());
                self.finish(key, 0, 0, end);
            }
        }
    }

    fn enter(&mut self, start: StartCommand, started_ms: i64, tree: Tree, output: Output) {
        let Some(Process { pid, start_time }) = tree.main else { return };
        let key = start.key.clone();
        let mark = Mark {
            pid,
            start_time,
            token: start.token.clone(),
            group: tree.group.as_ref().map(|group| group.name().to_owned()),
            log: output.identity(),
        };
        self.family.enter(key.clone(), mark);
        self.running.insert(key.clone(), Running::new(start, started_ms, tree, output));
        self.clients.tell_all(&FromExecutor::Started { key, pid, start_time });
    }

    fn refuse(&mut self, at: usize, key: CommandKey, reason: String) {
        if let Some(client) = self.clients.get(at) {
            client.tell(&FromExecutor::Refused { key, reason });
        }
    }

    fn stop(&mut self, key: &CommandKey) {
        if let Some(running) = self.running.get_mut(key) {
            running.stop(Cause::Stopped, &mut self.family, Instant::now());
        } else if let Some(end) = self.ended.get(key).and_then(|known| known.end.clone()) {
            self.clients.tell_all(&FromExecutor::Ended { key: key.clone(), end });
        }
    }

    fn sweep(&mut self, key: CommandKey, token: String, grace_ms: u64) {
        if self.sweeps.contains_key(&key) {
            return;
        }
        let now = Instant::now();
        for running in self.running.values_mut().filter(|running| running.carries(&token)) {
            running.stop(Cause::Stopped, &mut self.family, now);
        }
        // A process that shed its environment may still write to a log of the attempt.
        let mut logs = beneath::path_of(&self.root).unwrap_or_default();
        logs.push(format!("_ctx/runs/{}/{}", key.id, key.attempt));
        let mut tree = Tree::of_attempt(token, logs);
        tree.ask(&mut self.family, now, duration(grace_ms));
        self.sweeps.insert(key, tree);
        self.step_sweeps(now, true);
    }

    /// TERM for everything; called again: KILL.
    pub(crate) fn end(&mut self) {
        let now = Instant::now();
        for running in self.running.values_mut() {
            running.stop(Cause::Shutdown, &mut self.family, now);
            if self.ending {
                running.hasten(now);
            }
        }
        for sweep in self.sweeps.values_mut() {
            sweep.hasten(now);
        }
        self.ending = true;
    }

    /// Waits for the children that have ended, without blocking; whether there may be more of them.
    pub(crate) fn reap(&mut self) -> bool {
        for _ in 0..REAP_MAX {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
                    let key = self.family.reaped(pid);
                    if let Some(running) = key.and_then(|key| self.running.get_mut(&key)) {
                        running.exited(status);
                    }
                }
                outcome => {
                    self.family.set_childless(outcome.is_err());
                    return false;
                }
            }
        }
        true
    }

    /// The watches that fired.
    pub(crate) fn output_flowed(&mut self, now: Instant) {
        for watch in self.watches.fired() {
            let key = self.watched.remove(&watch);
            if let Some(running) = key.and_then(|key| self.running.get_mut(&key)) {
                running.output().flowed(now);
            }
        }
    }

    /// Does what is due for every command, and finishes those whose tree is gone. `changed`: a process
    /// has ended.
    pub(crate) fn step(&mut self, changed: bool) {
        let now = Instant::now();
        let mut over = Vec::new();
        for (key, running) in &mut self.running {
            let due = running.due().is_some_and(|due| now >= due);
            if !(due || changed && running.has_exited()) {
                continue;
            }
            let end = running.step(&mut self.family, &mut self.watches, now);
            if let Some(watch) = running.output().watch() {
                self.watched.insert(watch, key.clone());
            }
            over.extend(end.map(|end| (key.clone(), end)));
        }
        for (key, end) in over {
            self.leave(key, end);
        }
        self.step_sweeps(now, changed);
    }

    fn leave(&mut self, key: CommandKey, end: End) {
        let Some(mut running) = self.running.remove(&key) else { return };
        if let Some(watch) = running.output().watch() {
            self.watched.remove(&watch);
        }
        running.output().close(&self.watches);
        self.family.leave(&key);
        if let (Some(groups), Some(group)) = (&mut self.groups, running.tree().group.take()) {
            groups.release(group);
        }
        let known = running.known();
        self.finish(key, known.pid, known.start_time, end);
    }

    fn finish(&mut self, key: CommandKey, pid: u32, start_time: u64, mut end: End) {
        end.detail = end.detail.map(|detail| detail.chars().take(DETAIL_CHARS_MAX).collect());
        self.write_down(&key, Some(&end));
        self.clients.tell_all(&FromExecutor::Ended { key: key.clone(), end: end.clone() });
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_first();
        }
        self.ended.insert(key.clone(), KnownCommand { key, pid, start_time, end: Some(end) });
    }

    /// A line of the journal, with what must survive when a new one begins.
    fn write_down(&mut self, key: &CommandKey, end: Option<&End>) {
        let Some(journal) = &mut self.journal else { return };
        let ended = self.ended.values();
        let ended = ended.filter_map(|known| Some((&known.key, Some(known.end.as_ref()?))));
        let running = self.running.keys().map(|key| (key, None));
        journal.append(key, end, ended.chain(running));
    }

    fn step_sweeps(&mut self, now: Instant, changed: bool) {
        let (family, clients) = (&mut self.family, &mut self.clients);
        self.sweeps.retain(|key, tree| {
            if !changed && tree.due().is_none_or(|due| now < due) {
                return true;
            }
            let left = if !tree.left(family) {
                0
            } else if let Standing::GivenUp(count) = tree.step(family, now) {
                count
            } else {
                tree.watch();
                return true;
            };
            let killed = tree.seen.saturating_sub(left);
            clients.tell_all(&FromExecutor::Swept { key: key.clone(), killed, left });
            false
        });
    }

    /// For the poll: processes that are not children and whose end is waited for.
    pub(crate) fn strangers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sweeps.values().flat_map(Tree::watched)
    }

    /// The last words: everything waiting is sent as far as possible, and the traces are removed.
    pub(crate) fn bury(mut self) {
        self.clients.flush();
        self.clients.close();
        for log in &self.passing {
            if let Err(error) = beneath::remove(&self.root, std::path::Path::new(log)) {
                note(&format!("remove {log}: {error}"));
            }
        }
        if let Some(groups) = &mut self.groups {
            groups.remove_all();
        }
    }
}

fn not_started(started_ms: i64, detail: String, log_bytes: u64) -> End {
    End {
        exit: None,
        signal: None,
        cause: Cause::CouldNotStart,
        detail: Some(detail),
        started_ms,
        ended_ms: now_ms(),
        leftovers: 0,
        log_bytes,
    }
}
