//! `--dry-run` of the verbs that ask, and of the daemon: the plan they would carry out, in words.
//!
//! Invariants: the plan is the planner's own, made on the same facts with the same request; nothing
//! is changed and no lock is taken; a request that would be refused gets the same text and exit code, also
//! when it is the gate that refuses it.

mod words;

use super::ask::drive::world;
use super::ask::{Answer, Ask};
use super::{Failure, Globals, Outcome, code, request, root, say};
use crate::engine::Engine;
use crate::model::attempt::{Asked, CommandKind, Mode};
use crate::model::id::OrderId;
use crate::model::index::{Carried, Request};
use crate::model::lease::LeaseBody;
use crate::model::protocol::{End, StartCommand};
use crate::observe::Arrival;
use crate::plan::action::{Action, Wait, describe};
use crate::plan::step::{Step, step};
use crate::plan::verdict::{GateInput, Verdict};
use crate::plan::{plan, ready};
use crate::world::read_only::ReadOnly;
use crate::world::real::RealWorld;
use crate::world::{Fault, World};
use std::collections::BTreeSet;
use std::path::Path;

/// What would be done.
struct Rehearsal {
    engine: Engine<ReadOnly<RealWorld>>,
    actions: Vec<Action>,
    waits: Vec<Wait>,
}

/// An engine that is only looked at, and what it would do.
type Rehearsed = (Engine<ReadOnly<RealWorld>>, Vec<(OrderId, Action)>);

/// Prints what `ask` would do.
pub(super) fn run(globals: &Globals, place: &Path, ask: &Ask) -> Outcome {
    let mut rehearsal = rehearse(place, ask)?;
    if let Some(answer) = refusal(&rehearsal.actions) {
        return request::report(globals, ask, &answer);
    }
    let actions = std::mem::take(&mut rehearsal.actions);
    let mut lines = Vec::new();
    for action in &actions {
        lines.extend(words::of_request(&mut rehearsal.engine, &ask.id, action));
        if let Some(asked) = accepted(action) {
            let next = follow(&mut rehearsal.engine, &ask.id, asked)
                .map_err(|f| Failure::new(code::FAILED, format!("look through the gate: {f}")))?;
            if let Some(answer) = refusal(&next.actions) {
                return request::report(globals, ask, &answer);
            }
            lines.extend(words::of_course(&mut rehearsal.engine, &ask.id, &next)?);
        }
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

/// The refusal among the actions.
fn refusal(actions: &[Action]) -> Option<Answer> {
    actions.iter().find_map(|action| match action {
        Action::Refuse { code, text, .. } | Action::RefuseAsked { code, text } => {
            Some(Answer { code: *code, text: text.clone(), attempt: None })
        }
        _ => None,
    })
}

/// What the planner does next about an attempt that was asked this, the gate's look included.
fn follow(
    engine: &mut Engine<ReadOnly<RealWorld>>,
    id: &OrderId,
    asked: Asked,
) -> Result<Step, Fault> {
    if let Some(attempt) = engine.index.ticket_mut(id).attempt.as_deref_mut() {
        attempt.asked = Some(asked);
    }
    engine.index.ticket_mut(id).requests.clear();
    let first = decide(engine, id);
    if !first.actions.contains(&Action::OpenGate) {
        return Ok(first);
    }
    engine.look_through_gate(id)?;
    Ok(decide(engine, id))
}

fn decide(engine: &Engine<ReadOnly<RealWorld>>, id: &OrderId) -> Step {
    let (now, tick) = (engine.world.now(), engine.world.tick());
    step(&engine.index, id, now, tick, &engine.options.policy)
}

/// What the gate would say to a `finish` now: the checks are really run, by `run`, and nothing else is.
/// The answer: that `finish` would be refused, or that something else has to be done first.
pub(super) fn trial(
    place: &Path,
    ask: &Ask,
    mut run: impl FnMut(StartCommand, &Check) -> Result<End, Failure>,
) -> Result<Result<(GateInput, Verdict), Answer>, Failure> {
    let failed = |f| Failure::of_fault(&f, "nothing was changed");
    let refused = |text| Ok(Err(Answer { code: code::REFUSED, text, attempt: None }));
    let mut rehearsal = rehearse(place, ask)?;
    let mut actions = std::mem::take(&mut rehearsal.actions);
    let mut waits = std::mem::take(&mut rehearsal.waits);
    let engine = &mut rehearsal.engine;
    if let Some(asked) = actions.iter().find_map(accepted) {
        Step { actions, waits, .. } = follow(engine, &ask.id, asked).map_err(failed)?;
    }
    // Each turn of this starts a check that the planner asks for, of which there are so many.
    loop {
        if let Some(answer) = refusal(&actions) {
            return Ok(Err(answer));
        }
        match actions.first() {
            Some(Action::Judge) => {
                let judged = engine.verdict_now(&ask.id).map_err(failed)?;
                return judged.map(Ok).ok_or_else(|| super::look::unknown(&ask.id));
            }
            Some(Action::Start { kind: CommandKind::Check(index) }) => {
                let index = *index;
                if let Some(start) = engine.start_check(&ask.id, index).map_err(failed)? {
                    let end = run(start, &check(engine, &ask.id, index))?;
                    engine.check_ended(&ask.id, end);
                }
                engine.notes().iter().for_each(|note| say::talk(&format!("jobyard: {note}")));
            }
            Some(action) => {
                let words = words::of_daemon(engine, &ask.id, action).join("; ");
                let cure = "a daemon, or `jobyard reconcile --apply`, does that first";
                return refused(format!("it is not as it was left: jobyard {words}; {cure}"));
            }
            None => return refused(format!("it waits: {}", describe(&waits))),
        }
        Step { actions, waits, .. } = decide(engine, &ask.id);
    }
}

/// A check that is started, as it is called and sealed.
pub(super) struct Check {
    pub(super) name: String,
    pub(super) text: String,
}

fn check(engine: &Engine<ReadOnly<RealWorld>>, id: &OrderId, index: u32) -> Check {
    let attempt = engine.index.tickets.get(id).and_then(|ticket| ticket.attempt.as_deref());
    let sealed = attempt.and_then(|a| a.claim.sealed.checks.get(index as usize));
    let (name, text) = sealed.map(|c| (c.name.clone(), c.command.clone())).unwrap_or_default();
    Check { name, text }
}

/// What an attempt is asked by an accepted request.
fn accepted(action: &Action) -> Option<Asked> {
    let Action::Accept { request, wish, options, by } = action else { return None };
    let (request, by) = (request.key.clone(), by.clone());
    Some(Asked { wish: *wish, request, by, options: options.clone() })
}

fn rehearse(place: &Path, ask: &Ask) -> Result<Rehearsal, Failure> {
    let mut options = root::options(place, None, false, &mut say::talk)?;
    options.policy.only = Some(BTreeSet::from([ask.id.clone()]));
    let opened = Engine::open(ReadOnly(world(place)?), options);
    let failed = |f| Failure::new(code::FAILED, format!("look at {}: {f}", place.display()));
    let mut engine = opened.map_err(|(_, fault)| failed(fault))?;
    let asked = request(&engine.world, ask);
    engine.index.ticket_mut(&ask.id).requests.push(asked);
    engine.look_at_ticket(&ask.id, Arrival::Renamed).map_err(failed)?;
    // As whoever carries the order would plan it: the daemon, or who comes after it and renews its lease.
    let lease = engine.index.tickets.get(&ask.id).and_then(|ticket| ticket.lease.as_deref());
    if let Some(LeaseBody::Ours(lease)) = lease.map(|lease| lease.body.clone()) {
        engine.options.policy.instance = lease.instance;
    }
    let planned = decide(&engine, &ask.id);
    Ok(Rehearsal { engine, actions: planned.actions, waits: planned.waits })
}

/// What a loop would do about each order in its first round.
fn first_round(place: &Path, slots: Option<u32>, runs: bool) -> Result<Rehearsed, Failure> {
    let options = root::options(place, slots, runs, &mut say::talk)?;
    let opened = Engine::open(ReadOnly(world(place)?), options);
    let failed = |f| Failure::new(code::FAILED, format!("look at {}: {f}", place.display()));
    let mut engine = opened.map_err(|(_, fault)| failed(fault))?;
    engine.look_at_all().map_err(failed)?;
    let ids: BTreeSet<OrderId> = engine.index.tickets.keys().cloned().collect();
    let (tick, now) = (engine.world.tick(), engine.world.now());
    let policy = engine.options.policy.clone();
    let planned = plan(&mut engine.index, &ids, now, tick, &policy).actions;
    Ok((engine, planned))
}

/// What the first turn of a daemon would do, one line for each thing.
pub(super) fn first_turn(place: &Path, slots: Option<u32>) -> Result<Vec<String>, Failure> {
    let (mut engine, mut planned) = first_round(place, slots, true)?;
    let mut policy = engine.options.policy.clone();
    let claim = Action::Claim { mode: Mode::Process, request: None, in_place: false };
    planned.retain(|(_, action)| *action != claim);
    // A round claims one order, and none that something else is done about; the rounds of a turn go on
    // until the slots are taken.
    while let Some(id) = ready::best(&engine.index, &policy) {
        let group = engine.index.queued.get(&id).and_then(|q| q.group.clone());
        ready::dequeue(&mut engine.index, &id);
        policy.slots = policy.slots.saturating_sub(1);
        if let Some(limit) = group.and_then(|g| policy.groups.get_mut(&*g)) {
            *limit = limit.saturating_sub(1);
        }
        planned.push((id, claim.clone()));
    }
    let mut lines = Vec::new();
    for (id, action) in &planned {
        let words = words::of_daemon(&mut engine, id, action);
        lines.extend(words.into_iter().map(|line| format!("{id}: {line}")));
    }
    Ok(lines)
}

/// What a loop that starts nothing would do at once, one line for each thing.
pub(super) fn repairs(place: &Path) -> Result<Vec<String>, Failure> {
    let (mut engine, planned) = first_round(place, None, false)?;
    let mut lines = Vec::new();
    for (id, action) in &planned {
        let words = words::of_request(&mut engine, id, action);
        let words = words.iter().map(|line| line.replacen("would first ", "would ", 1));
        lines.extend(words.map(|line| format!("{id}: {line}")));
    }
    Ok(lines)
}

fn request(world: &ReadOnly<RealWorld>, ask: &Ask) -> Request {
    let who = world.identity();
    Request {
        file: format!("{}.{}", ask.id, ask.verb.name()),
        verb: ask.verb,
        key: String::new(),
        by_hand: false,
        uid: who.uid,
        user: who.user.clone(),
        inode: 0,
        ctime_ns: 0,
        body: Ok(ask.body.clone()),
        refused: false,
        carried: Carried::No,
    }
}
