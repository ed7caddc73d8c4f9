//! `jobyard verify`: what `finish` would find now, and whether the evidence of a settled order still holds.
//!
//! Invariants: planner, gate and checks are those of `finish`; the order is not changed, no request is
//! filed, nothing is recorded; what a check leaves running ends with it, and all of it with this verb.

mod evidence;

use super::ask::Ask;
use super::ask::drive::{program, world};
use super::{Failure, Globals, Outcome, code, finish, look, out, rehearse, request, say};
use crate::executor::{Link, process_start_time, spawn_for_client};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::protocol::{CommandKey, End, FromExecutor, StartCommand, ToExecutor};
use crate::model::request::{RequestBody, Verb};
use crate::plan::verdict::{GateInput, Outcome as Found, Verdict, VerdictResult};
use crate::world::real::RealWorld;
use crate::world::{Fault, World, identity};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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
    trial(globals, &seat.root, &id, number)
}

/// The gate, tried for the attempt of this number.
fn trial(globals: &Globals, root: &Path, id: &OrderId, number: Option<u32>) -> Outcome {
    let body = RequestBody::default();
    let ask = Ask { id: id.clone(), verb: Verb::Finish, body, wait: None };
    let mut bench = Bench::new(root)?;
    let tried = rehearse::trial(root, &ask, |start, text| bench.run(start, text))?;
    let (input, verdict) = match tried {
        Ok(judged) => judged,
        Err(answer) => {
            let text = format!("verify {id}: finish would be refused: {}", answer.text);
            return Err(Failure::new(answer.code, text));
        }
    };
    let view = look::seat(root.to_owned())?.look_at(&BTreeSet::from([id.clone()]))?;
    if view.attempt(id).map(|attempt| attempt.number) != number {
        let text =
            format!("verify {id}: it was settled or begun anew meanwhile: `jobyard show {id}`");
        return Err(Failure::new(code::AGAIN, text));
    }
    told(globals, id, &input, &verdict, &bench.tails)
}

/// Where checks are run: an executor for this verb alone.
struct Bench {
    world: RealWorld,
    executor: Option<(Child, Link)>,
    /// The last lines of each check, in order.
    tails: Vec<String>,
}

impl Bench {
    fn new(root: &Path) -> Result<Self, Failure> {
        let mut bench = Self { world: world(root)?, executor: None, tails: Vec::new() };
        bench.tidy();
        Ok(bench)
    }

    /// Logs of verbs that were killed before they could remove them.
    fn tidy(&mut self) {
        for entry in self.world.list(Path::new(paths::OWN)).unwrap_or_default() {
            let name = entry.name.to_str().and_then(|name| name.strip_prefix(LOG));
            let pid = name.and_then(|name| name.split_once('-')?.0.parse::<u32>().ok());
            if pid.is_some_and(|pid| process_start_time(pid).is_none()) {
                self.remove(&Path::new(paths::OWN).join(&entry.name));
            }
        }
    }

    /// What is left is tidied by the next one.
    fn remove(&mut self, log: &Path) {
        let _ = self.world.unlink(log);
    }

    /// Runs a check to its end, under a log and a mark of its own: neither is the attempt's.
    fn run(&mut self, mut start: StartCommand, text: &str) -> Result<End, Failure> {
        let own = format!("{LOG}{}-{}", std::process::id(), start.key.number);
        start.log = format!("{}/{own}.log", paths::OWN);
        start.token = format!("{own}-{:016x}", identity::random_bits());
        say::talk(&format!("jobyard: {} ...", out::plain(text)));
        let (log, token) = (PathBuf::from(&start.log), start.token.clone());
        let key = start.key.clone();
        let start = ToExecutor::Start(Box::new(start));
        let ended = self.converse(&key, &start, &mut |message| match message {
            FromExecutor::Ended { end, .. } => Some(Ok(end)),
            FromExecutor::Refused { reason, .. } => Some(Err(reason)),
            _ => None,
        });
        if ended.is_err() {
            self.sweep(&key, token)?;
        }
        let tail = self.tail(&log).map_err(|f| Failure::of_fault(&f, "nothing was changed"))?;
        self.tails.push(tail);
        self.remove(&log);
        ended
    }

    /// The executor ends what it runs, removes its logs, and ends.
    fn dismiss(&mut self) {
        if let Some((mut child, link)) = self.executor.take() {
            drop(link);
            let _ = child.wait();
        }
    }

    /// What its executor left behind, killed in the middle of a check.
    fn sweep(&mut self, key: &CommandKey, token: String) -> Result<(), Failure> {
        self.dismiss();
        let sweep = ToExecutor::Sweep { key: key.clone(), token, grace_ms: GRACE_MS };
        self.converse(key, &sweep, &mut |message| match message {
            FromExecutor::Swept { left: 0, .. } => Some(Ok(())),
            FromExecutor::Swept { left, .. } => {
                Some(Err(format!("{left} processes are left of it")))
            }
            _ => None,
        })
    }

    /// Says one thing to the executor and waits for what answers it.
    fn converse<T>(
        &mut self,
        key: &CommandKey,
        said: &ToExecutor,
        answers: &mut dyn FnMut(FromExecutor) -> Option<Result<T, String>>,
    ) -> Result<T, Failure> {
        let failed = |what: &dyn std::fmt::Display| {
            Failure::new(code::FAILED, format!("run a check: {what}; nothing was changed"))
        };
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
            for message in link.receive() {
                let about = matches!(&message,
                    FromExecutor::Ended { key: of, .. }
                    | FromExecutor::Refused { key: of, .. }
                    | FromExecutor::Swept { key: of, .. } if of == key);
                if let Some(answer) = about.then(|| answers(message)).flatten() {
                    return answer.map_err(|what| failed(&what));
                }
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

fn told(
    globals: &Globals,
    id: &OrderId,
    input: &GateInput,
    verdict: &Verdict,
    tails: &[String],
) -> Outcome {
    let exit = if verdict.result == VerdictResult::Fail { code::CHECKS } else { code::DONE };
    if globals.json {
        let checks = input.checks.iter().zip(tails);
        let one = |(check, tail): (&crate::plan::verdict::CheckResult, &String)| {
            json!({
                "name": check.name, "command": check.text, "outcome": check.outcome.name(),
                "exit": check.exit, "signal": check.signal, "timed_out": check.timed_out,
                "duration_ms": check.ended_ms - check.started_ms, "output_tail": tail,
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
            ("checks", checks.map(one).collect::<Value>()),
        ];
        say::object("verify", fields)?;
        return Ok(exit);
    }
    let sign = if exit == code::DONE { "✅" } else { "✗" };
    let mut text = format!("{sign} {id} would be {}\n", verdict.result.name().to_uppercase());
    for (check, tail) in input.checks.iter().zip(tails) {
        let took = out::span(check.ended_ms - check.started_ms);
        let (outcome, name) = (check.outcome.name(), &check.name);
        text.push_str(&format!("  {outcome:<13} {name}: {} ({took})\n", out::plain(&check.text)));
        if check.outcome != Found::Pass && !tail.is_empty() {
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
