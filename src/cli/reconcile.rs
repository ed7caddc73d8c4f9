//! `jobyard reconcile`: what is wrong with the root, and what of it jobyard repairs by itself.
//!
//! Invariants: the findings are those of `lint`; a repair is an action of the planner, carried out by the
//! loop that the daemon runs, under the root lock; no command of `run` is started; nothing is deleted, made
//! up or chosen between. What has no safe repair stays, with its cure.

use super::ask::drive;
use super::look::{self, Seat};
use super::sight::Presence;
use super::{Failure, Globals, Outcome, code, history, lint, out, rehearse, say};
use crate::engine::{Engine, Turn};
use crate::model::event::{Event, Line};
use crate::plan::findings::{Finding, Severity};
use crate::world::World;
use crate::world::real::RealWorld;
use crate::world::root_lock::{Role, RootLock, Tried, try_lock};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Flags of `jobyard reconcile`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Carry out what has one safe repair
    #[arg(long, conflicts_with = "dry_run")]
    apply: bool,
    /// Only say what would be done, as without a flag
    #[arg(long)]
    dry_run: bool,
    /// Longest wait for another verb on the root, and for its repairs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

/// Between two tries to get the root lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A look that is due later than this is not waited for: nothing that can be repaired now.
const SOON_MS: u64 = 2_000;

/// What jobyard does by itself.
pub(super) struct Repairs {
    /// One line for each.
    pub(super) lines: Vec<String>,
    /// They were carried out just now.
    pub(super) applied: bool,
    /// A daemon serves the root, and repairs without being asked.
    pub(super) served: bool,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let mut seat = look::open(globals)?;
    let repairs = repairs(&seat, given.apply, Duration::from_secs(given.wait))?;
    let (_, found) = seat.findings()?;
    report(globals, "reconcile", &found, &repairs)
}

/// Prints findings and repairs; 7 when something grave is left.
pub(super) fn report(
    globals: &Globals,
    name: &str,
    found: &[Finding],
    repairs: &Repairs,
) -> Outcome {
    let bad = found.iter().any(|f| f.severity != Severity::P2);
    let exit = if bad { code::FINDINGS } else { code::DONE };
    if globals.json {
        let by = look::by_severity(found);
        let fields = [
            ("findings", look::findings_json(found)),
            ("findings_by_severity", json!({ "P0": by[0], "P1": by[1], "P2": by[2] })),
            ("repairs", repairs.lines.as_slice().into()),
            ("applied", repairs.applied.into()),
            ("served", repairs.served.into()),
        ];
        say::object(name, fields)?;
        return Ok(exit);
    }
    let mut text = lint::text(found);
    if !repairs.lines.is_empty() {
        let head = if repairs.applied { "repaired:" } else { "repaired by `--apply`:" };
        text.push_str(&format!("{head}\n"));
        text.extend(repairs.lines.iter().map(|line| format!("  {}\n", out::plain(line))));
    } else if repairs.applied {
        text.push_str("nothing to repair\n");
    }
    if repairs.served {
        text.push_str("a daemon serves this root: it repairs by itself what has a safe repair\n");
    }
    out::text(&text)?;
    Ok(exit)
}

/// What jobyard would repair, or has repaired.
pub(super) fn repairs(seat: &Seat, apply: bool, wait: Duration) -> Result<Repairs, Failure> {
    let root = seat.root.as_path();
    match seat.presence() {
        Presence::Up => Ok(Repairs { lines: Vec::new(), applied: false, served: true }),
        Presence::Frozen(pid) if apply => {
            let text =
                format!("repair {}: its daemon is frozen; `kill -CONT {pid}`", root.display());
            Err(Failure::new(code::AGAIN, text))
        }
        _ if !apply => {
            // With a configuration that cannot be read nothing is decided.
            let readable = seat.defects().is_empty();
            let lines = if readable { rehearse::repairs(root)? } else { Vec::new() };
            Ok(Repairs { lines, applied: false, served: false })
        }
        _ => match hold(root, Instant::now() + wait)? {
            None => Ok(Repairs { lines: Vec::new(), applied: false, served: true }),
            Some(_lock) => {
                let lines = carry_out(root, Instant::now() + wait)?;
                Ok(Repairs { lines, applied: true, served: false })
            }
        },
    }
}

/// The root lock; `None`: a daemon came.
fn hold(root: &Path, deadline: Instant) -> Result<Option<RootLock>, Failure> {
    let who = format!("pid {} (reconcile)", std::process::id());
    loop {
        let tried = try_lock(root, Role::Verb, &who)
            .map_err(|e| Failure::of_disk("lock the root", root, &e))?;
        match tried {
            Tried::Held(lock) => return Ok(Some(lock)),
            Tried::Taken { role: Role::Daemon, .. } => return Ok(None),
            Tried::Taken { text, .. } if Instant::now() >= deadline => {
                let text = format!("repair {}: it is held ({text}); try again", root.display());
                return Err(Failure::new(code::AGAIN, text));
            }
            Tried::Taken { .. } => std::thread::park_timeout(LOCK_PAUSE),
        }
    }
}

/// Turns of the loop until nothing more is due soon; what they put on record.
fn carry_out(root: &Path, deadline: Instant) -> Result<Vec<String>, Failure> {
    let mut engine = drive::engine(root, None)?;
    let before = engine.index.durable_seq;
    loop {
        let turn = engine.turn().map_err(|fault| drive::refused_by_disk(&fault))?;
        engine.world.flush_executor();
        for note in engine.notes() {
            say::talk(&format!("jobyard: {note}"));
        }
        if is_over(&engine, &turn) || Instant::now() >= deadline {
            break;
        }
        drive::wait(&mut engine, &turn, deadline);
    }
    engine.finish().map_err(|fault| drive::refused_by_disk(&fault))?;
    let lines = history::lines(&mut engine.world, None)?;
    Ok(lines.iter().filter(|line| line.seq > before).filter_map(words).collect())
}

fn is_over(engine: &Engine<RealWorld>, turn: &Turn) -> bool {
    let now = engine.world.tick();
    turn.look_at.is_none_or(|at| at.0 > now.0.saturating_add(SOON_MS))
}

/// A repair in words; nothing for what only notes that a file is there.
fn words(line: &Line) -> Option<String> {
    let noted =
        matches!(line.event, Event::Checkpoint { .. } | Event::AdoptionOver | Event::Intake);
    let id = line.id.as_deref().filter(|_| !noted)?;
    Some(format!("{id}: {}", history::words(line)))
}
