//! Hooks: commands of the configuration that are told what happened.
//!
//! Invariants: the executor runs them, as commands that no attempt counts; only what this engine settled is
//! told, so that nothing is told twice; nothing waits for a hook but the next one and `--drain`; how it ends
//! is a line in the daemon's log and changes no order. All of it is in memory: a crash may lose a hook, never
//! repeat it.

use super::Engine;
use crate::model::attempt::Attempt;
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::{ExecutorState, Index};
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::{
    Cause, CommandKey, End, FromExecutor, KnownCommand, StartCommand, ToExecutor,
};
use crate::plan::argv::argv;
use crate::world::{Entry, World};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// Hooks that run at once.
const AT_ONCE_MAX: usize = 4;

/// Hooks that wait; what comes then is dropped, with a line in the log.
const QUEUE_MAX: usize = 1000;

/// Whose key `drained` has: no order is called so.
const NOBODY: &str = ".drained";

/// Logs of `drained` that are kept: only what failed leaves one.
const DRAINED_LOGS_MAX: usize = 8;

/// Where they are.
fn drained_logs() -> PathBuf {
    Path::new(paths::OWN).join("hooks")
}

/// A settlement that is to be told.
pub(super) struct Told<'a> {
    /// The attempt; 0: the order was settled without one.
    pub(super) attempt: u32,
    pub(super) state: State,
    /// Line of the ledger.
    pub(super) seq: u64,
    pub(super) result: &'a str,
    pub(super) reason: &'a str,
}

/// One hook to be run.
#[derive(Debug)]
pub(super) struct Hook {
    key: CommandKey,
    name: &'static str,
    /// Its log, relative to the root.
    log: String,
    token: String,
    env: Vec<(&'static str, String)>,
}

/// What waits, and what runs.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    queue: VecDeque<Hook>,
    running: BTreeMap<CommandKey, Hook>,
    /// An order was run since `drained` last was.
    worked: bool,
    /// What was under way at the start, and has not gone on yet.
    under_way: BTreeSet<OrderId>,
    /// The last line of the ledger when the engine was opened.
    opened_seq: u64,
}

impl Hooks {
    /// What is under way at a start is work once it goes on.
    pub(super) fn open(index: &Index, opened_seq: u64) -> Self {
        let attempt = |id: &OrderId| index.tickets.get(id)?.attempt.as_deref();
        let runs =
            |id: &&OrderId| attempt(id).is_some_and(|a| a.is_process() && a.settled.is_none());
        let under_way = index.open.iter().filter(runs).cloned().collect();
        Self { under_way, opened_seq, ..Self::default() }
    }

    /// What was under way at the start has gone on: until then, `drained` may have been told of it.
    pub(super) fn went_on(&mut self, id: &OrderId, event: &Event) {
        let on =
            matches!(event, Event::Started { .. } | Event::Ended { .. } | Event::Settled { .. });
        self.worked |= on && self.under_way.remove(id);
    }

    /// The daemon begins to run an order.
    pub(super) fn work(&mut self) {
        self.worked = true;
    }

    /// None is under way.
    pub(super) fn none_runs(&self) -> bool {
        self.running.is_empty()
    }

    /// None is under way or waits.
    fn none_is_left(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }
}

impl<W: World> Engine<W> {
    /// The settlement of an attempt is carried out. One from before the start may have been told then.
    pub(super) fn hook_attempt(&mut self, id: &OrderId, attempt: &Attempt) {
        let settled = attempt.settled.as_ref().filter(|s| s.state() != State::Pending);
        if let Some(s) = settled.filter(|s| s.seq > self.hooks.opened_seq) {
            let (attempt, state) = (attempt.number, s.state());
            let (seq, result, reason) = (s.seq, &*s.result, &*s.reason);
            self.hook_settled(id, &Told { attempt, state, seq, result, reason });
        }
    }

    /// An order was settled for good, and that is durable.
    pub(super) fn hook_settled(&mut self, id: &OrderId, told: &Told<'_>) {
        let Told { attempt, state, seq, result, reason } = *told;
        if self.options.config.hooks.settled.is_none() {
            return;
        }
        if !self.options.policy.runs {
            let text = "its hook `settled` is not run: no daemon serves the root";
            return self.notes.push(format!("{id}: {text}"));
        }
        let dir = if attempt == 0 { paths::runs(id) } else { paths::run(id, attempt) };
        let number = u32::try_from(seq).unwrap_or(u32::MAX);
        let token = self.hook_token();
        self.queue_hook(Hook {
            key: CommandKey { id: id.to_string(), attempt, number },
            name: "settled",
            log: format!("{}/hook-settled-{seq}.log", dir.display()),
            token,
            env: vec![
                ("JOBYARD_ID", id.to_string()),
                ("JOBYARD_ATTEMPT", attempt.to_string()),
                ("JOBYARD_STATE", state.name().to_owned()),
                ("JOBYARD_RESULT", result.to_owned()),
                ("JOBYARD_REASON", reason.to_owned()),
                ("JOBYARD_RUN_DIR", format!("{}/{}", self.world.root(), dir.display())),
            ],
        });
    }

    fn queue_hook(&mut self, hook: Hook) {
        if self.hooks.queue.len() < QUEUE_MAX {
            self.hooks.queue.push_back(hook);
        } else {
            let text = format!("not run: {QUEUE_MAX} wait already");
            self.note_hook(&hook, &text);
        }
    }

    /// Starts what there is room for.
    pub(super) fn run_hooks(&mut self) {
        self.look_whether_drained();
        while self.index.executor_state == ExecutorState::Up
            && self.hooks.running.len() < AT_ONCE_MAX
            && let Some(hook) = self.hooks.queue.pop_front()
        {
            // A configuration that was read meanwhile may have none.
            let Some(start) = self.hook_command(&hook) else {
                self.note_hook(&hook, "is not run: the configuration has none any more");
                continue;
            };
            if self.world.send(&ToExecutor::Start(Box::new(start))).is_err() {
                return self.hooks.queue.push_front(hook);
            }
            self.hooks.running.insert(hook.key.clone(), hook);
        }
    }

    /// Once after there was something: nothing runs, nothing can be started, and all other hooks have ended.
    fn look_whether_drained(&mut self) {
        let wanted = self.drained_is_due() && self.options.policy.runs;
        if !wanted || !self.hooks.none_is_left() || !self.is_quiet() {
            return;
        }
        self.hooks.worked = false;
        self.tidy_drained_logs();
        let seq = self.ledger.head().0;
        let number = u32::try_from(seq).unwrap_or(u32::MAX);
        let token = self.hook_token();
        self.queue_hook(Hook {
            key: CommandKey { id: NOBODY.to_owned(), attempt: 0, number },
            name: "drained",
            log: format!("{}/drained-{seq}.log", drained_logs().display()),
            token,
            env: Vec::new(),
        });
    }

    fn hook_token(&mut self) -> String {
        format!("{:016x}{:016x}", self.world.random(), self.world.random())
    }

    fn hook_command(&self, hook: &Hook) -> Option<StartCommand> {
        let config = &self.options.config;
        let text = match hook.name {
            "drained" => config.hooks.drained.as_deref()?,
            _ => config.hooks.settled.as_deref()?,
        };
        let own = [
            ("JOBYARD_HOOK", hook.name.to_owned()),
            ("JOBYARD_ROOT", self.world.root().to_owned()),
        ];
        let env = hook.env.iter().chain(&own).map(|(k, v)| ((*k).to_owned(), v.clone()));
        Some(StartCommand {
            key: hook.key.clone(),
            argv: argv(text, &config.shell),
            cwd: ".".to_owned(),
            env: env.collect(),
            pass: self.passed(),
            log: hook.log.clone(),
            token: hook.token.clone(),
            timeout_ms: Some(config.hooks.timeout.0),
            idle_timeout_ms: None,
            grace_ms: config.grace.0,
            log_bytes_max: config.log_max,
        })
    }

    /// Takes what is said of a hook; everything else is handed back.
    pub(super) fn take_hook_message(&mut self, message: FromExecutor) -> Option<FromExecutor> {
        let (FromExecutor::Started { key, .. }
        | FromExecutor::Ended { key, .. }
        | FromExecutor::Refused { key, .. }) = &message
        else {
            return Some(message);
        };
        if !self.hooks.running.contains_key(key) {
            return Some(message);
        }
        match &message {
            FromExecutor::Ended { key, end } => {
                self.end_hook(key, end);
                self.outbox.push(ToExecutor::Ack { key: key.clone() });
            }
            // It was run for an earlier daemon, or somebody made its log.
            FromExecutor::Refused { key, reason } => {
                if let Some(hook) = self.hooks.running.remove(key) {
                    self.note_hook(&hook, &format!("is not run: {reason}"));
                }
            }
            _ => {}
        }
        None
    }

    fn end_hook(&mut self, key: &CommandKey, end: &End) {
        let Some(hook) = self.hooks.running.remove(key) else { return };
        if end.exit == Some(0) && end.cause == Cause::Exited {
            if hook.key.id == NOBODY {
                // There is one for each time: only what went wrong is kept.
                let _ = self.world.unlink(hook.log.as_ref());
            }
            return;
        }
        let how = match (end.cause, end.exit, end.signal, &end.detail) {
            (Cause::Timeout, ..) => "it took too long and was ended".to_owned(),
            (Cause::OutputLimit, ..) => "it wrote too much and was ended".to_owned(),
            (Cause::Shutdown, ..) => "its executor was told to end".to_owned(),
            (_, _, _, Some(detail)) => detail.clone(),
            (_, Some(status), ..) => format!("exit status {status}"),
            (_, _, signal, _) => format!("signal {}", signal.unwrap_or_default()),
        };
        let text = format!("failed: {how}; its output is in {}", hook.log);
        self.note_hook(&hook, &text);
    }

    fn note_hook(&mut self, hook: &Hook, text: &str) {
        let whose =
            if hook.key.id == NOBODY { String::new() } else { format!("{}: ", hook.key.id) };
        self.notes.push(format!("{whose}hook `{}` {text}", hook.name));
    }

    /// The executor said what it knows: of other hooks nobody sees the end, and what is left of them ends.
    pub(super) fn forget_hooks(&mut self, known: &[KnownCommand]) {
        let knows = |key: &CommandKey| known.iter().any(|c| c.key == *key);
        let keys: Vec<CommandKey> =
            self.hooks.running.keys().filter(|key| !knows(key)).cloned().collect();
        for key in keys {
            if let Some(hook) = self.hooks.running.remove(&key) {
                self.note_hook(&hook, "is lost: the executor does not know its end");
                let grace_ms = self.options.config.grace.0;
                self.outbox.push(ToExecutor::Sweep { key, token: hook.token, grace_ms });
            }
        }
    }

    /// No hook waits or runs, and none is due.
    pub(super) fn hooks_are_over(&self) -> bool {
        self.hooks.none_is_left() && !self.drained_is_due()
    }

    fn drained_is_due(&self) -> bool {
        self.hooks.worked && self.options.config.hooks.drained.is_some()
    }

    /// Makes room for one more log of `drained`; a rest does no harm.
    fn tidy_drained_logs(&mut self) {
        let dir = drained_logs();
        let Ok(entries) = self.world.list(&dir) else { return };
        let seq = |e: &Entry| {
            let name = e.name.to_str()?.strip_prefix("drained-")?.strip_suffix(".log")?;
            Some((name.parse::<u64>().ok()?, e.name.clone()))
        };
        let logs: BTreeMap<u64, _> = entries.iter().filter_map(seq).collect();
        for name in logs.into_values().rev().skip(DRAINED_LOGS_MAX - 1) {
            let _ = self.world.unlink(&dir.join(name));
        }
    }
}
