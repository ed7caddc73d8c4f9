//! `jobyard verify`: what `finish` would find now, and whether the evidence of a settled order still holds.
//!
//! Invariants: planner, gate and checks are those of `finish`; the order is not changed, no request is
//! filed, nothing is recorded; what a check leaves running ends with it, and all of it with this verb.

mod evidence;

use super::ask::Ask;
use super::ask::drive::program;
use super::{Failure, Globals, Outcome, code, finish, look, out, rehearse, request, say};
use crate::executor::{Link, spawn_for_client};
use crate::model::id::OrderId;
use crate::model::protocol::{End, FromExecutor, StartCommand, ToExecutor};
use crate::model::request::{RequestBody, Verb};
use crate::plan::verdict::{GateInput, Outcome as Found, Verdict, VerdictResult};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Lines of a failed check's output that are shown.
const TAIL_LINES: usize = 40;

/// Most bytes of it that are read for that.
const TAIL_BYTES: u64 = 64 << 10;

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
    trial(globals, &seat.root, &id)
}

/// The gate, tried.
fn trial(globals: &Globals, root: &Path, id: &OrderId) -> Outcome {
    let body = RequestBody::default();
    let ask = Ask { id: id.clone(), verb: Verb::Finish, body, wait: None };
    let mut bench = Bench::new(root)?;
    let tried = rehearse::trial(root, &ask, |start| bench.run(start))?;
    match tried {
        Ok((input, verdict)) => told(globals, id, &input, &verdict, &bench.tails),
        Err(answer) => {
            let text = format!("finish would be refused: {}", answer.text);
            Err(Failure::new(answer.code, format!("verify {id}: {text}")))
        }
    }
}

/// Where checks are run: an executor for this verb alone.
struct Bench {
    root: PathBuf,
    executor: Option<(Child, Link)>,
    /// The last lines of each check, in order.
    tails: Vec<String>,
}

impl Bench {
    fn new(root: &Path) -> Result<Self, Failure> {
        Ok(Self { root: root.to_owned(), executor: None, tails: Vec::new() })
    }

    /// Runs a check to its end, under a log and a mark of its own: neither is the attempt's.
    fn run(&mut self, mut start: StartCommand) -> Result<End, Failure> {
        let own = format!("verify-{}-{}", std::process::id(), start.key.number);
        start.log = format!("_ctx/runs/.jobyard/{own}.log");
        start.token = own;
        say::talk(&format!("jobyard: {} ...", start.argv.last().map_or("", String::as_str)));
        let log = self.root.join(&start.log);
        // A verb of the same process id may have been killed before it could remove its own.
        let _ = std::fs::remove_file(&log);
        let ended = self.converse(start);
        self.tails.push(tail(&log));
        let _ = std::fs::remove_file(&log);
        ended
    }

    fn converse(&mut self, start: StartCommand) -> Result<End, Failure> {
        let failed = |what: &dyn std::fmt::Display| {
            Failure::new(code::FAILED, format!("run a check: {what}; nothing was changed"))
        };
        if self.executor.is_none() {
            let spawned = spawn_for_client(&program()?, &self.root);
            self.executor = Some(spawned.map_err(|e| failed(&e))?);
        }
        let Some((_, link)) = self.executor.as_mut() else { return Err(failed(&"no executor")) };
        let key = start.key.clone();
        link.send(&ToExecutor::Start(Box::new(start))).map_err(|e| failed(&e))?;
        loop {
            for message in link.receive() {
                match message {
                    FromExecutor::Ended { key: of, end } if of == key => return Ok(end),
                    FromExecutor::Refused { key: of, reason } if of == key => {
                        return Err(failed(&reason));
                    }
                    _ => {}
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
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some((mut child, link)) = self.executor.take() {
            drop(link);
            let _ = child.wait();
        }
    }
}

/// The last lines of a log, safe to print.
fn tail(log: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    let read = std::fs::File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    out::plain_lines(&lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
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
