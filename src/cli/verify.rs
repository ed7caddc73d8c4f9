//! `jobyard verify`: what `finish` would find now, and whether the evidence of a settled order still holds.
//!
//! Invariants: planner, gate and checks are those of `finish`; the order is not changed, no request is
//! filed, nothing is recorded; what a check leaves running ends with it, and all of it with this verb.

mod evidence;

use super::ask::Ask;
use super::ask::drive::{program, world};
use super::rehearse::Check;
use super::{Failure, Globals, Outcome, code, finish, look, out, rehearse, request, say};
use crate::executor::{Link, process_start_time, spawn_for_client};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::protocol::{CommandKey, End, FromExecutor, StartCommand, ToExecutor};
use crate::model::request::{RequestBody, Verb};
use crate::plan::verdict::{CheckResult, GateInput, Outcome as Found, Verdict, VerdictResult};
use crate::world::real::RealWorld;
use crate::world::{Fault, World, identity};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Child;

/// Lines of a failed check's output that are shown.
const TAIL_LINES: usize = 40;

/// Most bytes of it that are read for that.
const TAIL_BYTES: usize = 64 << 10;

/// Between TERM and KILL for what a killed executor left behind.
const GRACE_MS: u64 = 1000;

/// How the names of its logs begin; the process follows.
const LOG: &str = "verify-";

/// Flags of `jobyard verify`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order (default: that of the worktree you are in)
    id: Option<String>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    let root = globals.find_root()?;
    let id = match &given.id {
        Some(text) => request::order_id(text)?,
        None => finish::here(&root, "verify")?,
    };
    let mut seat = look::seat(root)?;
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    let ticket = view.index.tickets.get(&id).filter(|_| view.ids().contains(&id));
    let Some(ticket) = ticket else { return Err(look::unknown(&id)) };
    if ticket.is_settled() {
        return evidence::run(globals, &mut seat, &id);
    }
    let number = view.attempt(&id).map(|attempt| attempt.number);
    let body = RequestBody::default();
    let ask = Ask { id: id.clone(), verb: Verb::Finish, body, wait: None };
    let mut bench = Bench::new(&seat.root)?;
    let tried = rehearse::trial(&seat.root, &ask, |start, check| bench.run(start, check))?;
    let (input, verdict) = match tried {
        Ok(judged) => judged,
        Err(answer) => {
            let text = format!("verify {id}: finish would be refused: {}", answer.text);
            return Err(Failure::new(answer.code, text));
        }
    };
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    if view.attempt(&id).map(|attempt| attempt.number) != number {
        let text =
            format!("verify {id}: it was settled or begun anew meanwhile: `jobyard show {id}`");
        return Err(Failure::new(code::AGAIN, text));
    }
    told(globals, &id, &input, &verdict, &bench.tails)
}

/// The last lines of each check, by its name.
type Tails = BTreeMap<String, String>;

/// Where checks are run: an executor for this verb alone, whose logs go with it.
struct Bench {
    world: RealWorld,
    executor: Option<(Child, Link)>,
    tails: Tails,
}

impl Bench {
    fn new(root: &Path) -> Result<Self, Failure> {
        let mut bench = Self { world: world(root)?, executor: None, tails: Tails::new() };
        bench.tidy();
        Ok(bench)
    }

    /// Logs that were left where the executor was killed too. This process has none yet.
    fn tidy(&mut self) {
        let dir = Path::new(paths::OWN);
        let is_gone = |pid: &u32| *pid == std::process::id() || process_start_time(*pid).is_none();
        for entry in self.world.list(dir).unwrap_or_default() {
            let name = entry.name.to_str().and_then(|name| name.strip_prefix(LOG));
            let pid = name.and_then(|name| name.split_once('-')?.0.parse().ok());
            if pid.as_ref().is_some_and(is_gone) {
                // What stays is tidied by the next one.
                let _ = self.world.unlink(&dir.join(&entry.name));
            }
        }
    }

    /// Runs a check to its end, under a log and a mark of its own: neither is the attempt's.
    fn run(&mut self, mut start: StartCommand, check: &Check) -> Result<End, Failure> {
        let own = format!("{LOG}{}-{:016x}", std::process::id(), identity::random_bits());
        start.log = format!("{}/{own}.log", paths::OWN);
        start.token = own;
        say::talk(&format!("jobyard: {} ...", out::plain(&check.text)));
        let (key, log, token) = (start.key.clone(), start.log.clone(), start.token.clone());
        let end = match self.converse(&key, &ToExecutor::Start(Box::new(start))) {
            Ok(FromExecutor::Ended { end, .. }) => end,
            Ok(FromExecutor::Refused { reason, .. }) => return Err(failed(&reason)),
            Ok(_) => return Err(failed(&"its executor answered something else")),
            Err(failure) => return Err(self.after_death(failure, key, token)),
        };
        let tail = self.tail(Path::new(&log));
        let tail = tail.map_err(|f| Failure::of_fault(&f, "nothing was changed"))?;
        self.tails.insert(check.name.clone(), tail);
        Ok(end)
    }

    /// Ends what an executor left behind that was killed in the middle of a check.
    fn after_death(&mut self, first: Failure, key: CommandKey, token: String) -> Failure {
        if self.executor.as_ref().is_none_or(|(_, link)| !link.is_closed()) {
            return first;
        }
        self.dismiss();
        let sweep = ToExecutor::Sweep { key: key.clone(), token, grace_ms: GRACE_MS };
        let left = match self.converse(&key, &sweep) {
            Ok(FromExecutor::Swept { left: 0, .. }) => return first,
            Ok(FromExecutor::Swept { left, .. }) => format!("{left} processes are left of it"),
            Ok(_) => "what is left of it is not known".to_owned(),
            Err(failure) => failure.text,
        };
        Failure::new(first.code, format!("{}; {left}", first.text))
    }

    /// The executor ends what it runs, removes its logs, and ends.
    fn dismiss(&mut self) {
        if let Some((mut child, link)) = self.executor.take() {
            drop(link);
            let _ = child.wait();
        }
    }

    /// Says one thing to the executor and waits for what it answers about that command.
    fn converse(&mut self, key: &CommandKey, said: &ToExecutor) -> Result<FromExecutor, Failure> {
        let (_, link) = match &mut self.executor {
            Some(executor) => executor,
            none => {
                let root = self.world.root_path();
                let spawned = spawn_for_client(&program()?, root).map_err(|e| failed(&e))?;
                none.insert(spawned)
            }
        };
        link.send(said).map_err(|e| failed(&e))?;
        loop {
            let answers = link.receive().into_iter().find(|message| {
                matches!(message,
                    FromExecutor::Ended { key: of, .. }
                    | FromExecutor::Refused { key: of, .. }
                    | FromExecutor::Swept { key: of, .. } if of == key)
            });
            if let Some(answer) = answers {
                return Ok(answer);
            }
            if link.is_closed() {
                return Err(failed(&"its executor ended"));
            }
            let more = if link.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
            let mut fds = [PollFd::from_borrowed_fd(link.fd(), PollFlags::IN | more)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => link.flush().map_err(|e| failed(&e))?,
                Err(errno) => return Err(failed(&errno)),
            }
        }
    }

    /// The last lines of a log, safe to print; nothing of what a check put in its place.
    fn tail(&mut self, log: &Path) -> Result<String, Fault> {
        let file = match self.world.open(log) {
            Err(fault) if fault.is_obstacle() => None,
            file => file?,
        };
        let Some(file) = file else { return Ok(String::new()) };
        let from = self.world.stat_file(&file)?.size.saturating_sub(TAIL_BYTES as u64);
        let bytes = self.world.read(&file, from, TAIL_BYTES)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        Ok(out::plain_lines(&lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.dismiss();
    }
}

fn failed(what: &dyn std::fmt::Display) -> Failure {
    Failure::new(code::FAILED, format!("run a check: {what}; nothing was changed"))
}

fn told(
    globals: &Globals,
    id: &OrderId,
    input: &GateInput,
    verdict: &Verdict,
    tails: &Tails,
) -> Outcome {
    let exit = if verdict.result == VerdictResult::Fail { code::CHECKS } else { code::DONE };
    if globals.json {
        let one = |check: &CheckResult| {
            json!({
                "name": check.name, "command": check.text, "outcome": check.outcome.name(),
                "exit": check.exit, "signal": check.signal, "timed_out": check.timed_out,
                "duration_ms": check.ended_ms - check.started_ms, "output_tail": tails.get(&check.name),
            })
        };
        let commit = verdict.commit.as_ref().map(ToString::to_string);
        let fields = [
            ("id", id.as_str().into()),
            ("code", exit.into()),
            ("settled", false.into()),
            ("result", verdict.result.name().into()),
            ("reason", verdict.reason.into()),
            ("sentences", verdict.sentences.clone().into()),
            ("commit", commit.into()),
            ("checks", input.checks.iter().map(one).collect::<Value>()),
        ];
        say::object("verify", fields)?;
        return Ok(exit);
    }
    let sign = if exit == code::DONE { "✅" } else { "✗" };
    let mut text = format!("{sign} {id} would be {}\n", verdict.result.name().to_uppercase());
    for check in &input.checks {
        let took = out::span(check.ended_ms - check.started_ms);
        let (outcome, name) = (check.outcome.name(), &check.name);
        text.push_str(&format!("  {outcome:<13} {name}: {} ({took})\n", out::plain(&check.text)));
        if let Some(tail) = tails.get(&check.name).filter(|_| check.outcome != Found::Pass) {
            text.push_str(&tail.lines().map(|line| format!("  | {line}\n")).collect::<String>());
        }
    }
    for sentence in &verdict.sentences {
        text.push_str(&format!("  because       {}\n", out::plain(sentence)));
    }
    out::text(&text)?;
    let next = match exit {
        code::DONE => format!("nothing was changed; `jobyard finish {id}` settles it"),
        _ => format!("nothing was changed; {id} is still yours to mend"),
    };
    say::talk(&format!("jobyard: {next}"));
    Ok(exit)
}
