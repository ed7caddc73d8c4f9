//! Commands: recorded, made durable, then handed to the executor.
//!
//! Invariants: a start is sent only after its `started` line is synced; sending it again is harmless,
//! since the executor starts a key at most once; the values of `env` travel to the executor only; without
//! all of them, as sealed, a command is not started.

use super::Engine;
use crate::model::attempt::{Attempt, CommandEnd, CommandKind, Place};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::ExecutorFact;
use crate::model::protocol::{Cause, End, MESSAGE_BYTES_MAX, StartCommand, ToExecutor};
use crate::plan::argv::argv;
use crate::world::{Fault, World};
use std::collections::BTreeMap;

/// Variables every command gets from the executor's environment when they are set there.
const PASSED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TERM",
    "SSH_AUTH_SOCK",
];

impl<W: World> Engine<W> {
    pub(super) fn start(&mut self, id: &OrderId, kind: CommandKind) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let number = u32::try_from(attempt.commands.len()).unwrap_or(u32::MAX).saturating_add(1);
        let name = command_name(&attempt, kind);
        let boot = self.world.identity().boot.clone();
        let strayed = self.strayed(&attempt, kind)?;
        self.record(id, Some(attempt.number), Event::Started { number, kind, name, boot, strayed });
        self.use_spare(id, attempt.number, number);
        if let Some(unfit) = self.queue_start(id)? {
            self.end_unstarted(id, number, unfit);
        }
        Ok(())
    }

    /// Sends a recorded start again: the executor does not know it.
    pub(super) fn resend(&mut self, id: &OrderId) -> Result<(), Fault> {
        if self.queue_start(id)?.is_some() {
            // It may have been started before: whatever is left of it ends first.
            self.sweep(id);
        }
        Ok(())
    }

    /// Hands it over with the next messages, unless it cannot be started as it was sealed.
    fn queue_start(&mut self, id: &OrderId) -> Result<Option<Unfit>, Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else {
            return Ok(None);
        };
        let Some(env) = self.secret_env(id, &attempt)? else {
            self.notes.push(format!(
                "{id}: the sealed copy of the order was changed or removed: nothing is started \
                 without the `env` that it holds"
            ));
            return Ok(Some(Unfit { cause: Cause::SealedChanged, detail: None }));
        };
        let Some(start) = self.start_command(&attempt, env) else { return Ok(None) };
        if is_too_long(&start) {
            let detail = format!(
                "hand over the command: with its variables it is longer than the \
                 {MESSAGE_BYTES_MAX} bytes that an executor is told at once; shorten `env` or the command"
            );
            return Ok(Some(Unfit { cause: Cause::CouldNotStart, detail: Some(detail) }));
        }
        let waiting = |m: &ToExecutor| matches!(m, ToExecutor::Start(s) if s.key == start.key);
        if !self.outbox.iter().any(waiting) {
            self.outbox.push(ToExecutor::Start(Box::new(start)));
        }
        Ok(None)
    }

    /// The end of a command that was never handed to the executor.
    fn end_unstarted(&mut self, id: &OrderId, number: u32, unfit: Unfit) {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.as_deref()) else { return };
        let (attempt, now) = (attempt.number, self.world.now().0);
        let end = CommandEnd::Seen(End {
            exit: None,
            signal: None,
            cause: unfit.cause,
            detail: unfit.detail,
            started_ms: now,
            ended_ms: now,
            leftovers: 0,
            log_bytes: 0,
        });
        self.record(id, Some(attempt), Event::Ended { number, end });
    }

    fn start_command(
        &self,
        attempt: &Attempt,
        env: BTreeMap<String, String>,
    ) -> Option<StartCommand> {
        let command = attempt.unended()?;
        let config = &self.options.config;
        let sealed = &attempt.claim.sealed;
        let (text, timeout, idle) = match command.kind {
            CommandKind::Run(i) => {
                (sealed.run.get(i as usize)?.as_str(), sealed.timeout_ms, sealed.idle_timeout_ms)
            }
            CommandKind::Check(i) => {
                (sealed.checks.get(i as usize)?.command.as_str(), sealed.check_timeout_ms, None)
            }
        };
        Some(StartCommand {
            key: attempt.key(command.number),
            argv: argv(text, &config.shell),
            cwd: workdir(attempt).to_owned(),
            env: self.variables(attempt, env),
            pass: self.passed(),
            log: format!("{}/{}", attempt.run_dir(), command.log_name()),
            token: attempt.claim.token.clone(),
            timeout_ms: Some(timeout),
            idle_timeout_ms: idle,
            grace_ms: config.grace.0,
            log_bytes_max: config.log_max,
        })
    }

    /// Names of variables that commands get of the executor's environment.
    pub(super) fn passed(&self) -> Vec<String> {
        let own = PASSED.iter().map(|name| (*name).to_owned());
        own.chain(self.options.config.env_pass.iter().cloned()).collect()
    }

    fn variables(&self, attempt: &Attempt, env: BTreeMap<String, String>) -> Vec<(String, String)> {
        let root = self.world.root();
        let run_dir = format!("{root}/{}", attempt.run_dir());
        let at = |name: &str| format!("{run_dir}/{name}");
        let own = [
            ("JOBYARD_ID", attempt.id.clone()),
            ("JOBYARD_ATTEMPT", attempt.number.to_string()),
            ("JOBYARD_TOKEN", attempt.claim.token.clone()),
            ("JOBYARD_ROOT", root.to_owned()),
            ("JOBYARD_WORKTREE", format!("{root}/{}", workdir(attempt))),
            ("JOBYARD_CONTEXT", at("context.md")),
            ("JOBYARD_PROGRESS", at("progress")),
            ("JOBYARD_INPUTS", at("inputs")),
            ("JOBYARD_SPAWN_DIR", at("spawn")),
            ("JOBYARD_RUN_DIR", run_dir.clone()),
            ("GIT_CONFIG_COUNT", "1".to_owned()),
            ("GIT_CONFIG_KEY_0", "core.fsync".to_owned()),
            ("GIT_CONFIG_VALUE_0", "committed,reference".to_owned()),
        ];
        let own = own.into_iter().map(|(k, v)| (k.to_owned(), v));
        env.into_iter().filter(|(k, _)| !k.starts_with("JOBYARD_")).chain(own).collect()
    }

    pub(super) fn record_end(&mut self, id: &OrderId, end: CommandEnd) {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.as_deref()) else { return };
        let Some(command) = attempt.unended() else { return };
        let (number, key) = (command.number, attempt.key(command.number));
        let attempt = attempt.number;
        self.record(id, Some(attempt), Event::Ended { number, end });
        self.forget_obstacle(id);
        self.index.executor.remove(&key);
        self.outbox.push(ToExecutor::Ack { key });
    }

    pub(super) fn stop(&mut self, id: &OrderId) {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.as_deref()) else { return };
        if let Some(command) = attempt.unended() {
            let key = attempt.key(command.number);
            self.outbox.push(ToExecutor::Stop { key });
        }
    }

    pub(super) fn sweep(&mut self, id: &OrderId) {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.as_deref()) else { return };
        let Some(command) = attempt.unended() else { return };
        let key = attempt.key(command.number);
        let token = attempt.claim.token.clone();
        let grace_ms = self.options.config.grace.0;
        // A start that still waits to be sent would begin what is being ended.
        self.outbox.retain(|m| !matches!(m, ToExecutor::Start(s) if s.key == key));
        self.index.executor.insert(key.clone(), ExecutorFact::Sweeping);
        self.outbox.push(ToExecutor::Sweep { key, token, grace_ms });
    }
}

/// Why a command is not handed over.
struct Unfit {
    cause: Cause,
    detail: Option<String>,
}

/// It cannot be handed over. Written as JSON a byte takes six at most, so that few have to be counted.
fn is_too_long(start: &StartCommand) -> bool {
    let variables = start.env.iter().map(|(name, value)| name.len() + value.len() + 8);
    let bytes = start.argv.iter().map(String::len).chain(variables).sum::<usize>();
    bytes > MESSAGE_BYTES_MAX / 8
        && serde_json::to_vec(start).is_ok_and(|text| text.len() + 64 > MESSAGE_BYTES_MAX)
}

/// Where the commands of an attempt run, relative to the root.
pub(super) fn workdir(attempt: &Attempt) -> &str {
    match &attempt.claim.place {
        Place::Root => ".",
        Place::Tree { path, .. } => path,
    }
}

fn command_name(attempt: &Attempt, kind: CommandKind) -> String {
    match kind {
        CommandKind::Run(0) if attempt.claim.sealed.run.len() == 1 => "run".to_owned(),
        CommandKind::Run(i) => format!("run-{}", i + 1),
        CommandKind::Check(i) => {
            let name = attempt.claim.sealed.checks.get(i as usize).map(|c| c.name.as_str());
            name.unwrap_or("check").to_owned()
        }
    }
}
