//! The read-only view of a root: the same facts the daemon decides on, for whoever only looks.
//!
//! Invariants: nothing is written, locked or answered; tickets are classified by [`observe::ticket`], as the
//! daemon does it, but a file is read at the first look; a live daemon may change everything meanwhile,
//! so what looks wrong is looked at again before it is said.

mod closely;

use crate::model::attempt::{Attempt, CommandKind, Mode};
use crate::model::config::Config;
use crate::model::defect::Defect;
use crate::model::event::{Event, Link};
use crate::model::id::OrderId;
use crate::model::index::{Index, Reading, Ticket};
use crate::model::order::State;
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::progress::Progress;
use crate::model::time::{Moment, Tick};
use crate::observe::{self, Arrival, Look};
use crate::plan::findings::{self, Extra, Finding, Known, Tree};
use crate::plan::{Policy, ready};
use crate::world::ledger;
use crate::world::stall::Stall;
use crate::world::store::errno;
use crate::world::{Entry, Fault, Kind, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How often an order that is just being moved is looked at.
const LOOKS_MAX: u32 = 4;

/// What a view is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration, the default one when it cannot be read.
    pub config: Config,
    /// Why the configuration cannot be taken as it is.
    pub defects: Vec<Defect>,
    /// Policy of the planner.
    pub policy: Policy,
    /// Worktrees, when git was asked.
    pub trees: Option<Vec<Tree>>,
    /// State files that git tracks.
    pub tracked: Vec<String>,
    /// What keeps the daemon from going on.
    pub stall: Option<Stall>,
}

/// Everything there is to see.
pub struct View {
    /// The facts.
    pub index: Index,
    /// What findings need besides.
    pub extra: Extra,
    /// What it was made with.
    pub settings: Settings,
    /// Wall clock.
    pub now: Moment,
    /// Steady clock.
    pub tick: Tick,
    /// When commands of open attempts were started, by order and number.
    pub started: BTreeMap<(OrderId, u32, u32), Moment>,
    /// When orders came to lie where they lie, as far as the ledger's tail says.
    pub arrived: BTreeMap<OrderId, Moment>,
    /// How far running orders say they are.
    pub progress: BTreeMap<OrderId, Result<Progress, &'static str>>,
    /// When a daemon last claimed an order or started a command, as far as the ledger's tail says.
    pub served: Option<Moment>,
    /// Pending orders on a dependency cycle.
    pub cyclic: BTreeSet<OrderId>,
    last_attempt: BTreeMap<OrderId, u32>,
}

/// Looks at a whole root.
pub fn look<W: World>(world: &mut W, settings: Settings) -> Result<View, Fault> {
    let mut view = begin(world, settings)?;
    let mut ids: BTreeSet<OrderId> = view.index.tickets.keys().cloned().collect();
    for state in State::ALL {
        for entry in list(world, &paths::dir(state))? {
            match ticket_name(state, &entry) {
                Some(id) => {
                    ids.insert(id);
                }
                None => closely::stray(world, state, &entry, &mut view.extra)?,
            }
        }
    }
    for id in ids {
        look_at(world, &mut view, &id)?;
    }
    close(&mut view.index);
    closely::catalogue(world, &mut view.extra)?;
    closely::backlog(world, &mut view.extra)?;
    closely::control(world, &mut view.extra)?;
    rank(&mut view);
    Ok(view)
}

/// Looks at single orders, at everything upstream of them, and at what is open.
pub fn look_at_some<W: World>(
    world: &mut W,
    settings: Settings,
    ids: &BTreeSet<OrderId>,
) -> Result<View, Fault> {
    let mut view = begin(world, settings)?;
    let mut seen = BTreeSet::new();
    let mut todo: Vec<OrderId> = ids.union(&view.index.open).cloned().collect();
    while let Some(id) = todo.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        look_at(world, &mut view, &id)?;
        todo.extend(view.index.tickets.get(&id).map(Ticket::upstreams).unwrap_or_default());
    }
    close(&mut view.index);
    rank(&mut view);
    Ok(view)
}

fn begin<W: World>(world: &mut W, settings: Settings) -> Result<View, Fault> {
    let mut index = Index { boot: world.identity().boot.clone(), ..Index::default() };
    let mut started = BTreeMap::new();
    let mut arrived = BTreeMap::new();
    let mut served = None;
    let mut last_attempt: BTreeMap<OrderId, u32> = BTreeMap::new();
    let tail = ledger::look(world, &mut |link: &Link| {
        let line = &link.line;
        let Some(id) = line.id.as_deref().and_then(|t| OrderId::parse(t).ok()) else { return };
        let known = last_attempt.entry(id.clone()).or_default();
        *known = (*known).max(line.attempt.unwrap_or(0));
        if let (Event::Started { number, .. }, Some(attempt)) = (&line.event, line.attempt) {
            started.insert((id.clone(), attempt, *number), line.time);
        }
        if is_of_a_daemon(&line.event) {
            served = Some(line.time);
        }
        if moves(&line.event) {
            arrived.insert(id, line.time);
        }
    })?;
    index.holds = tail.holds;
    for (id, attempt) in tail.attempts {
        let ticket = index.ticket_mut(&id);
        ticket.last_attempt = attempt.number;
        ticket.attempt = Some(Box::new(attempt));
        index.open.insert(id);
    }
    let mut extra = Extra {
        trees: settings.trees.clone(),
        tracked: settings.tracked.clone(),
        engines: settings.config.engines.keys().cloned().collect(),
        stale_after_ms: settings.policy.stale_after_ms,
        fresh: tail.fresh,
        ..Extra::default()
    };
    extra.broken.extend(settings.defects.iter().map(|d| (paths::CONFIG.to_owned(), d.clone())));
    let (now, tick) = (world.now(), world.tick());
    let (progress, cyclic) = (BTreeMap::new(), BTreeSet::new());
    Ok(View {
        index,
        extra,
        settings,
        now,
        tick,
        started,
        arrived,
        served,
        progress,
        cyclic,
        last_attempt,
    })
}

/// Lines that no verb writes.
const fn is_of_a_daemon(event: &Event) -> bool {
    match event {
        Event::Claiming(claim) => matches!(claim.mode, Mode::Process),
        Event::Started { kind, .. } => matches!(kind, CommandKind::Run(_)),
        _ => false,
    }
}

/// Lines after which a ticket lies somewhere else, or newly there.
const fn moves(event: &Event) -> bool {
    matches!(
        event,
        Event::Intake
            | Event::Claiming(_)
            | Event::Released { .. }
            | Event::Settled { .. }
            | Event::Adopted { .. }
            | Event::PutBack { .. }
            | Event::Requeued { .. }
    )
}

/// The order a name in a state directory belongs to, if it is a ticket's or a lease's.
fn ticket_name(state: State, entry: &Entry) -> Option<OrderId> {
    let name = entry.name.to_str()?;
    let lock = || name.strip_suffix(".lock").filter(|_| state == State::Running);
    let stem = name.strip_suffix(".yaml").or_else(lock)?;
    OrderId::parse(stem).ok()
}

/// A directory that is not there is empty.
fn list<W: World>(world: &mut W, dir: &Path) -> Result<Vec<Entry>, Fault> {
    match world.list(dir) {
        Ok(mut entries) => {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
        Err(fault) if fault.errno == errno::ENOENT => Ok(Vec::new()),
        // What a command put in the place of its run directory is no reason to give up the view.
        Err(fault) if fault.is_obstacle() && dir.starts_with(paths::RUNS) => Ok(Vec::new()),
        Err(fault) if fault.errno == errno::ENOTDIR => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

/// Looks at one order; again when it is just being moved.
fn look_at<W: World>(world: &mut W, view: &mut View, id: &OrderId) -> Result<(), Fault> {
    let mut before = view.index.tickets.remove(id).unwrap_or_default();
    before.last_attempt = view.last_attempt.get(id).copied().unwrap_or(0);
    let refusals = BTreeSet::new();
    let mut after = Ticket::default();
    for _ in 0..LOOKS_MAX {
        let context = Look {
            config: &view.settings.config,
            tick: view.tick,
            now: view.now,
            refusals: &refusals,
            own_lease: None,
        };
        after = observe::ticket(world, &context, id, &before, Arrival::Renamed)?;
        let unsure = after.places.iter().flatten().any(|p| closely::is_unsure(p));
        if after.state().is_some() && !unsure {
            break;
        }
    }
    written_now(world, id, &mut after)?;
    closely::lease(world, view, id, &mut after)?;
    for state in State::ALL {
        closely::read(world, view, id, state, &after)?;
    }
    closely::refused(world, view, id, &after)?;
    closely::verdict(world, view, id, &after)?;
    closely::progress(world, view, id, &after)?;
    if !after.is_empty() {
        view.index.tickets.insert(id.clone(), after);
    }
    Ok(())
}

/// A refused ticket that somebody has open for writing is not whole yet.
fn written_now<W: World>(world: &mut W, id: &OrderId, ticket: &mut Ticket) -> Result<(), Fault> {
    let Some(place) = ticket.places[State::Pending as usize].as_deref_mut() else { return Ok(()) };
    if !matches!(place.reading, Reading::Refused(_)) {
        return Ok(());
    }
    let path = paths::ticket(State::Pending, id);
    let regular = world.stat(&path)?.is_some_and(|s| s.kind == Kind::File);
    if regular
        && let Ok(Some(file)) = world.open(&path)
        && world.has_writer(&file)? == Some(true)
    {
        place.reading = Reading::Settling(world.tick());
    }
    Ok(())
}

/// Attempts whose end the disk already shows in whole are over.
fn close(index: &mut Index) {
    let over = |t: &Ticket| {
        t.lease.is_none()
            && t.attempt
                .as_deref()
                .and_then(|a| a.settled.as_ref())
                .is_some_and(|s| t.state().is_none_or(|at| at == s.state()))
    };
    let ids: Vec<OrderId> = index.open.iter().cloned().collect();
    for id in ids {
        let gone = match index.tickets.get_mut(&id) {
            None => true,
            Some(ticket) if over(ticket) => {
                ticket.attempt = None;
                true
            }
            Some(_) => false,
        };
        if gone {
            index.open.remove(&id);
        }
        if index.tickets.get(&id).is_some_and(Ticket::is_empty) {
            index.tickets.remove(&id);
        }
    }
}

/// Gives every valid pending order its place in the queue, ready or not, and finds the cycles.
fn rank(view: &mut View) {
    view.cyclic = findings::cycles(&view.index, &view.extra).into_iter().flatten().collect();
    let pending: Vec<OrderId> = view
        .index
        .tickets
        .iter()
        .filter(|(_, t)| t.state() == Some(State::Pending) && t.brief().is_some())
        .map(|(id, _)| id.clone())
        .collect();
    for id in pending {
        ready::enqueue(&mut view.index, &id, view.now, &view.settings.policy);
    }
}

impl View {
    /// What is wrong, as of this look.
    pub fn findings(&self) -> Vec<Finding> {
        findings::find(&self.index, &self.extra)
    }

    /// The open attempt of an order.
    pub fn attempt(&self, id: &OrderId) -> Option<&Attempt> {
        self.index.tickets.get(id)?.attempt.as_deref()
    }

    /// How many slots are taken, of a group or of all, and when the newest of them was.
    pub fn slots_taken(&self, group: Option<&str>) -> (usize, Option<Moment>) {
        let (all, groups) = self.index.slots_taken();
        let taken = group.map_or(all, |g| groups.get(g).copied().unwrap_or(0));
        let of_group = |a: &&Attempt| group.is_none() || a.claim.sealed.group.as_deref() == group;
        let open = self.index.open.iter().filter_map(|id| self.attempt(id));
        let holders = open.filter(|a| a.holds_slot()).filter(of_group);
        (taken, holders.map(|a| Moment(a.claimed_ms)).max())
    }

    /// The valid order, where it lies in one place.
    pub fn known(&self, id: &OrderId) -> Option<&Known> {
        let state = self.index.tickets.get(id)?.state()?;
        self.extra.orders.get(&(id.clone(), state))
    }

    /// The group of an order: as sealed while it runs, else as written.
    pub fn group(&self, id: &OrderId) -> Option<&str> {
        match self.attempt(id) {
            Some(attempt) => attempt.claim.sealed.group.as_deref(),
            None => self.known(id)?.order.group.as_deref(),
        }
    }

    /// Every id that has a ticket.
    pub fn ids(&self) -> BTreeSet<OrderId> {
        // One that was begun and whose ticket is gone is there all the same.
        let there = |t: &Ticket| t.places.iter().any(Option::is_some) || t.attempt.is_some();
        self.index.tickets.iter().filter(|(_, t)| there(t)).map(|(id, _)| id.clone()).collect()
    }
}

/// The findings that two looks agree on: a live daemon is always in the middle of something.
pub fn agreed(first: Vec<Finding>, second: &[Finding]) -> Vec<Finding> {
    let key = |f: &Finding| (f.code, f.id.clone(), f.file.clone());
    let again: BTreeSet<_> = second.iter().map(key).collect();
    first.into_iter().filter(|f| again.contains(&key(f))).collect()
}

/// Reads a draft under the name it will have: its `id`, or the stem of its file.
pub fn draft(bytes: &[u8], stem: &str) -> Result<Known, Vec<Defect>> {
    let named = closely::claimed_id(bytes).map(|(id, _)| id);
    ticket(bytes, named.as_deref().unwrap_or(stem))
}

/// Reads a ticket `<stem>.yaml` with everything in it.
pub fn ticket(bytes: &[u8], stem: &str) -> Result<Known, Vec<Defect>> {
    let parsed = parse_order(bytes, stem)?;
    let lines = closely::lines(bytes);
    Ok(Known { order: parsed.order, warnings: parsed.warnings, lines, changed_ms: 0 })
}
