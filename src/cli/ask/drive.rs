//! The loop run by a verb, for one order, while no daemon does.
//!
//! Invariants: run only under the root lock; commands of `run` are never started; a disk fault opens
//! the engine anew from the disk, a bounded number of times; it never outlasts the deadline but for the
//! one step under way.

use super::{Asking, Step};
use crate::cli::{Failure, code, root, say};
use crate::engine::{Engine, Turn};
use crate::model::attempt::{CommandKind, Options};
use crate::model::id::OrderId;
use crate::model::index::ExecutorFact;
use crate::model::paths;
use crate::model::protocol::CommandKey;
use crate::model::request::Verb;
use crate::observe::Arrival;
use crate::world::Fault;
use crate::world::World;
use crate::world::git::Bounds;
use crate::world::ledger;
use crate::world::real::RealWorld;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the engine is opened anew after faults of the disk.
const FAULTS_MAX: u32 = 3;

/// Between two looks when nothing announces a change.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A command that the executor runs for this order.
pub(super) struct UnderWay {
    pub(super) key: CommandKey,
    /// How long its end may take, as sealed.
    pub(super) allowed: Duration,
}

/// This program, for the executors it starts.
pub(in crate::cli) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|e| Failure::new(code::FAILED, format!("find this program: {e}")))
}

/// The real machine at a root.
pub(in crate::cli) fn world(place: &Path) -> Result<RealWorld, Failure> {
    let git = Bounds::of(&root::config(place)?);
    let mut world = RealWorld::open(place, program()?, git)
        .map_err(|e| Failure::new(code::FAILED, format!("open {}: {e}", place.display())))?;
    world.stay_aloof();
    Ok(world)
}

/// An engine that runs nothing; for some orders, or for all.
pub(in crate::cli) fn engine(
    place: &Path,
    only: Option<BTreeSet<OrderId>>,
) -> Result<Engine<RealWorld>, Failure> {
    open(place, only)?.map_err(|fault| refused_by_disk(&fault))
}

/// The same; the inner error is the disk's, which may be another one the next time.
fn open(
    place: &Path,
    only: Option<BTreeSet<OrderId>>,
) -> Result<Result<Engine<RealWorld>, Fault>, Failure> {
    let mut options =
        root::options(place, None, false, &mut |text| say::talk(&format!("jobyard: {text}")))?;
    options.policy.only = only;
    Ok(Engine::open(world(place)?, options).map_err(|(_, fault)| fault))
}

/// One turn for everything on a root whose ledger was not begun yet: tickets that were settled before
/// are adopted only then.
pub(in crate::cli) fn begin_ledger(place: &Path) -> Result<(), Failure> {
    let mut world = world(place)?;
    if ledger::is_begun(&mut world).is_ok_and(|begun| begun) {
        return Ok(());
    }
    drop(world);
    let mut engine = engine(place, None)?;
    engine.turn().map_err(|fault| refused_by_disk(&fault))?;
    Ok(())
}

pub(in crate::cli) fn refused_by_disk(fault: &Fault) -> Failure {
    Failure::of_fault(fault, "nothing is lost")
}

impl Asking<'_> {
    /// Works on the request until it is answered, the executor has to be waited for, or time is up.
    pub(super) fn drive(&mut self) -> Result<Step, Failure> {
        begin_ledger(self.root)?;
        let mut faults = 0;
        loop {
            let only = BTreeSet::from([self.ask.id.clone()]);
            let worked = match open(self.root, Some(only))? {
                Ok(engine) => self.turns(engine)?,
                Err(fault) => Err(fault),
            };
            match worked {
                Ok(step) => return Ok(step),
                Err(fault) => {
                    faults += 1;
                    if faults >= FAULTS_MAX {
                        return Err(refused_by_disk(&fault));
                    }
                }
            }
        }
    }

    /// Works until there is something to tell; the inner error: the disk's.
    fn turns(&mut self, mut engine: Engine<RealWorld>) -> Result<Result<Step, Fault>, Failure> {
        if !self.joins(&engine) {
            self.file()?;
            engine.hint_request(self.file.clone(), Arrival::Renamed);
        }
        loop {
            let turn = match engine.turn() {
                Ok(turn) => turn,
                Err(fault) => return Ok(Err(fault)),
            };
            engine.world.flush_executor();
            let notes = engine.notes();
            if let Some(answer) = self.answer()? {
                let told = |note: &&String| {
                    self.ask.verb == Verb::Finish || note.contains(answer.text.as_str())
                };
                for note in notes.iter().filter(|note| !told(note)) {
                    say::talk(&format!("jobyard: {note}"));
                }
                return Ok(Ok(Step::Answered(answer)));
            }
            if let Some(under_way) = under_way(&engine, &self.ask.id) {
                return Ok(Ok(Step::UnderWay(under_way)));
            }
            if self.is_over() {
                return Ok(Ok(Step::TimedOut));
            }
            wait(&mut engine, &turn, self.deadline);
            engine.hint(self.ask.id.clone(), Arrival::Unsure);
        }
    }
}

impl Asking<'_> {
    /// The same was asked before and is still being carried out, such as a `finish` that was interrupted:
    /// its answer is ours.
    fn joins(&mut self, engine: &Engine<RealWorld>) -> bool {
        if self.filed {
            return self.joined;
        }
        let attempt = engine.index.tickets.get(&self.ask.id).and_then(|t| t.attempt.as_deref());
        let Some(asked) = attempt.and_then(|a| a.asked.as_ref()) else { return false };
        let body = &self.ask.body;
        let options = Options {
            reason: body.reason.clone(),
            skip_verification: body.skip_verification,
            stop: body.stop,
            takeover: body.takeover,
        };
        let same = asked.wish.name() == self.ask.verb.name()
            && asked.options == options
            && asked.by.uid == engine.world.identity().uid;
        if same {
            self.tail.follow(&asked.request);
            (self.filed, self.joined) = (true, true);
        }
        same
    }
}

/// The command the executor says it runs for this order. A start that it has not confirmed is not left alone.
fn under_way(engine: &Engine<RealWorld>, id: &OrderId) -> Option<UnderWay> {
    let attempt = engine.index.tickets.get(id)?.attempt.as_deref()?;
    let command = attempt.unended()?;
    let key = attempt.key(command.number);
    let drained = engine.world.executor_socket().is_some_and(|(_, full)| !full);
    if !drained || engine.index.executor.get(&key) != Some(&ExecutorFact::Running) {
        return None;
    }
    let own = match command.kind {
        CommandKind::Check(_)
            if attempt.asked.as_ref().is_some_and(|a| a.wish.name() == "finish") =>
        {
            attempt.claim.sealed.check_timeout_ms
        }
        _ => 0,
    };
    let allowed = own.saturating_add(engine.options.config.grace.0).saturating_add(30_000);
    Some(UnderWay { key, allowed: Duration::from_millis(allowed) })
}

/// Waits for the executor or for the next look that is due.
pub(in crate::cli) fn wait(engine: &mut Engine<RealWorld>, turn: &Turn, deadline: Instant) {
    let tick = engine.world.tick();
    let due = turn.look_at.map(|at| Duration::from_millis(at.0.saturating_sub(tick.0)));
    let left = deadline.saturating_duration_since(Instant::now());
    let span = due.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN).min(left);
    let span = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(span.subsec_nanos()).saturating_add(1_000_000).min(999_999_999),
    };
    let socket = engine.world.executor_socket();
    let mut fds = Vec::new();
    if let Some((fd, full)) = socket {
        let want = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        fds.push(PollFd::from_borrowed_fd(fd, want));
    }
    if let Some(starting) = engine.world.executor_starting() {
        fds.push(PollFd::from_borrowed_fd(starting, PollFlags::IN));
    }
    // Woken early or not, the caller looks again.
    let _ = poll(&mut fds, Some(&span));
}

/// Whether a request was consumed into a run directory: the attempt it was granted to.
pub(super) fn granted(root: &Path, id: &OrderId, file: &str) -> Option<u32> {
    let attempts = std::fs::read_dir(root.join(paths::runs(id))).ok()?;
    let mut attempts = attempts.flatten().filter(|e| e.path().join(file).exists());
    attempts.find_map(|e| e.file_name().to_str()?.parse().ok())
}
