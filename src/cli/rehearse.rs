//! `--dry-run` of the verbs that ask: the plan they would carry out, in words.
//!
//! Invariants: the plan is the planner's own, made on the same facts with the same request; nothing
//! is changed and no lock is taken; a request that would be refused gets the same text and exit code.

use super::ask::drive::world;
use super::ask::{Answer, Ask};
use super::{Failure, Globals, Outcome, code, request, root, say};
use crate::engine::Engine;
use crate::model::attempt::{Attempt, Mode, Wish};
use crate::model::id::OrderId;
use crate::model::index::{Request, Ticket};
use crate::model::order::{State, Workspace};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::observe::Arrival;
use crate::plan::action::{Action, Wait};
use crate::plan::step::{describe, step};
use crate::world::World;
use crate::world::read_only::ReadOnly;
use crate::world::real::RealWorld;
use crate::world::store::{TICKET_BYTES_MAX, read_whole};
use std::path::Path;

/// What would be done.
struct Rehearsal {
    engine: Engine<ReadOnly<RealWorld>>,
    actions: Vec<Action>,
    waits: Vec<Wait>,
}

/// Prints what `ask` would do.
pub(super) fn run(globals: &Globals, place: &Path, ask: &Ask) -> Outcome {
    let mut rehearsal = rehearse(place, ask)?;
    let refusal = rehearsal.actions.iter().find_map(|action| match action {
        Action::Refuse { code, text, .. } => Some((*code, text.clone())),
        _ => None,
    });
    if let Some((code, text)) = refusal {
        return request::report(globals, ask, &Answer { code, text, attempt: None });
    }
    let actions = std::mem::take(&mut rehearsal.actions);
    let ticket = rehearsal.engine.index.tickets.get(&ask.id).cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for action in &actions {
        lines.extend(words(&mut rehearsal.engine, &ask.id, &ticket, action));
    }
    if lines.is_empty() {
        lines.push(format!("would wait: {}", describe(&rehearsal.waits)));
    }
    if globals.json {
        let fields = [
            ("id", ask.id.as_str().into()),
            ("dry_run", true.into()),
            ("code", code::DONE.into()),
            ("plan", lines.into()),
        ];
        say::object(ask.verb.name(), fields)?;
    } else {
        say::line(&lines.join("\n"))?;
    }
    Ok(code::DONE)
}

fn rehearse(place: &Path, ask: &Ask) -> Result<Rehearsal, Failure> {
    let mut options = root::options(place, None, false, &mut say::talk)?;
    options.policy.only = Some(ask.id.clone());
    let opened = Engine::open(ReadOnly(world(place)?), options);
    let failed = |f| Failure::new(code::AGAIN, format!("look at {}: {f}", place.display()));
    let mut engine = opened.map_err(|(_, fault)| failed(fault))?;
    let asked = request(&engine.world, ask);
    engine.index.ticket_mut(&ask.id).requests.push(asked);
    engine.look_at_ticket(&ask.id, Arrival::Renamed).map_err(failed)?;
    let (tick, now) = (engine.world.tick(), engine.world.now());
    let planned = step(&engine.index, &ask.id, now, tick, &engine.options.policy);
    Ok(Rehearsal { engine, actions: planned.actions, waits: planned.waits })
}

fn request(world: &ReadOnly<RealWorld>, ask: &Ask) -> Request {
    let who = world.identity();
    Request {
        file: format!("{}.{}", ask.id, ask.verb.name()),
        verb: ask.verb,
        hex: String::new(),
        uid: who.uid,
        user: who.user.clone(),
        inode: 0,
        ctime_ns: 0,
        body: Ok(ask.body.clone()),
        refused: false,
    }
}

/// One action for people; nothing for what only the record is about.
fn words<W: World>(
    engine: &mut Engine<W>,
    id: &OrderId,
    ticket: &Ticket,
    action: &Action,
) -> Vec<String> {
    let attempt = ticket.attempt.as_deref();
    let line = match action {
        Action::Claim { mode, .. } => return claim(engine, id, ticket, mode),
        Action::Accept { wish, options, .. } => return accept(attempt, *wish, options.stop),
        Action::SettleUnrun { from, result, reason, .. } => {
            format!("would move it from {}/ to failed/: {result}: {reason}", from.name())
        }
        Action::Hold { reason: Some(reason), .. } => format!("would hold it: {reason}"),
        Action::Hold { reason: None, .. } => "would let it go".to_owned(),
        Action::Requeue { from, .. } => {
            format!("would move it from {}/ to pending/, same branch and worktree", from.name())
        }
        Action::Takeover { .. } => {
            "would keep the old lock in the run directory and end that attempt, then ask again"
                .to_owned()
        }
        Action::Intake | Action::ClearWhy { .. } | Action::Why { .. } => return Vec::new(),
        Action::PutBack { from, to, .. } => {
            format!("would first put it back from {}/ to {}/", from.name(), to.name())
        }
        Action::AdoptLease => "would first renew its lease".to_owned(),
        Action::DropLease => "would first remove a lease that no attempt owns".to_owned(),
        Action::UndoClaim { reason } => format!("would first undo a claim: {reason}"),
        other => format!("would first carry on what is under way: {other:?}"),
    };
    vec![line]
}

fn claim<W: World>(
    engine: &mut Engine<W>,
    id: &OrderId,
    ticket: &Ticket,
    mode: &Mode,
) -> Vec<String> {
    let owner = match mode {
        Mode::Manual(holder) => format!("{} (uid {})", holder.name, holder.uid),
        Mode::Process => "the daemon".to_owned(),
    };
    let last = ticket.last_attempt.max(ticket.brief().map_or(0, |b| b.attempt));
    let mut lines = vec![format!("would make the lease {} for {owner}", paths::lock(id).display())];
    match workspace(engine, id) {
        Workspace::None => lines.push("would work in the root: no branch, no worktree".to_owned()),
        Workspace::Worktree => lines.extend(tree(engine, id)),
        Workspace::Inherit(other) => lines.extend(tree(engine, &other)),
    }
    let after = if last > 0 { format!(", after attempt {last}") } else { String::new() };
    lines.push(format!("would move it from pending/ to running/{after}"));
    lines
}

fn workspace<W: World>(engine: &mut Engine<W>, id: &OrderId) -> Workspace {
    let path = paths::ticket(State::Pending, id);
    let read = read_whole(&mut engine.world, &path, TICKET_BYTES_MAX).ok().flatten();
    let parsed = read.and_then(|s| parse_order(&s.bytes, id.as_str()).ok());
    parsed.map(|p| p.order.workspace).unwrap_or_default()
}

fn tree<W: World>(engine: &mut Engine<W>, id: &OrderId) -> [String; 2] {
    let branch = match engine.world.git_branch(&id.branch()) {
        Ok(Some(tip)) => format!("would use the branch {} at {}", id.branch(), tip.as_str()),
        Ok(None) => format!("would make the branch {}", id.branch()),
        Err(git) => format!("would fail: {git}"),
    };
    [branch, format!("would make the worktree {}, or use it if it is there", id.worktree())]
}

fn accept(attempt: Option<&Attempt>, wish: Wish, stop: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let running = attempt.and_then(|a| a.unended());
    if let Some(command) = running.filter(|_| stop || wish != Wish::Finish) {
        lines.push(format!("would end the whole tree of {}", command.log_name()));
    }
    let end = match wish {
        Wish::Finish => {
            for check in attempt.iter().flat_map(|a| &a.claim.sealed.checks) {
                lines.push(format!("would run {}: {}", check.name, check.command));
            }
            "would move it to done/, or to failed/ when the gate says FAIL".to_owned()
        }
        Wish::Cancel => format!("would move it to {}/: cancelled", State::Failed.name()),
        Wish::Requeue => format!("would move it to {}/", State::Pending.name()),
    };
    lines.push(end);
    lines
}
