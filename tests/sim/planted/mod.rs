//! Faults that are planted at run time, to prove that the lives find them. None of them stands in `src`.
//!
//! A fault is one of four: raw calls of the engine that lie, each known by the line of the source that makes
//! it (`syncs.rs`, `calls.rs`); a plan that is changed before it is carried out (`plans.rs`); facts that are
//! not what the disk says, while a plan is made on them, or something that the simulated machine leaves out
//! (`facts.rs`).
//! `docs/mutation.md` has a row for each: the life that finds it, or why none does.
//!
//! Invariants: a life without a fault is what it is without this module; a fault counts how often it took
//! effect, so that one that was never met is told from one that survives; the tables of `docs/states.md` are
//! compared with the plan before it is changed, and with the facts as they were made to be: a fault is found
//! by what it does, never by its own trace in the plan. A life that is aimed at a fault meets the same power
//! cuts when the calls do not lie.

mod calls;
mod facts;
mod plans;
mod site;
mod syncs;

use crate::cover;
use crate::rng::Rng;
use crate::world::Ino;
use jobyard::engine::{Round, Watcher};
use jobyard::model::id::OrderId;
use jobyard::model::index::{Index, Ticket};
use jobyard::model::tree::TreeFacts;
use jobyard::plan::action::Action;
use jobyard::world::Stat;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// Rounds, and raw calls, after which a life with a fault never ends.
const ROUNDS_MAX: u64 = 30_000;
const CALLS_MAX: u64 = 3_000_000;

/// A bug.
pub(crate) struct Fault {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is broken.
    pub(crate) broken: &'static str,
    /// How it is planted.
    pub(crate) how: How,
}

/// How a fault is planted.
#[derive(Clone, Copy)]
pub(crate) enum How {
    /// These raw calls lie.
    Calls(&'static [Cut]),
    /// Plans are made on other facts than there are; whether that was so now.
    Facts(fn(&mut Index) -> bool),
    /// Plans are changed before they are carried out; whether that was so now.
    Plan(fn(&mut Round<'_>) -> bool),
    /// The simulated machine asks for it by name.
    Machine,
}

/// A raw call that lies.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// File below `src`, function, and text of the line that makes the call.
    pub(crate) site: (&'static str, &'static str, &'static str),
    /// Only during these actions; `commit` between them, `open` and `finish` at the two ends. Empty: always.
    pub(crate) during: &'static [&'static str],
    /// Only on paths with this part.
    pub(crate) path: &'static str,
    /// Only after, or before, the action has made a call of this name.
    pub(crate) after: Option<(&'static str, bool)>,
    /// What it does instead.
    pub(crate) lie: Lie,
}

impl Cut {
    /// The call in this line, always.
    const fn at(file: &'static str, function: &'static str, line: &'static str, lie: Lie) -> Self {
        Self { site: (file, function, line), during: &[], path: "", after: None, lie }
    }

    /// Only during these actions.
    const fn during(self, during: &'static [&'static str]) -> Self {
        Self { during, ..self }
    }

    /// Only on such paths.
    const fn on(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// Only once the action has made this call.
    const fn after(self, act: &'static str) -> Self {
        Self { after: Some((act, true)), ..self }
    }

    /// Only until the action makes this call.
    const fn before(self, act: &'static str) -> Self {
        Self { after: Some((act, false)), ..self }
    }
}

/// What a call does instead of what it should.
#[derive(Clone, Copy)]
pub(crate) enum Lie {
    /// Nothing, and says that it is done.
    Skip,
    /// Says that it is done when it was refused.
    Ignore,
    /// Replaces what is there.
    Over,
    /// Finds nothing, nobody, no change.
    Nothing,
    /// Says what was last read of any file.
    AsLast,
    /// Says what was read of this path before.
    AsSeen,
    /// Says something else about a name.
    Stat(fn(&Path, Option<Stat>) -> Option<Stat>),
    /// Reads something else.
    Bytes(fn(Vec<u8>) -> Vec<u8>),
    /// Is carried out when the same file, for a directory any file, is next written.
    Late,
}

/// What is remembered while a fault is planted.
#[derive(Default)]
struct State {
    fault: Option<&'static Fault>,
    lies: bool,
    /// The power is cut soon after a call that lies, or would.
    aim: Option<Rng>,
    /// It is cut at other moments too, long after, and what should have been synced is lost.
    wide: bool,
    /// Calls until then.
    until: Option<u64>,
    /// What the last calls that lie, or would, were to sync.
    unsynced: Vec<Ino>,
    /// The last call was one.
    meant: bool,
    /// Lines of its calls.
    lines: Vec<u32>,
    /// What was read is needed later.
    remembers: bool,
    during: &'static str,
    made: Vec<&'static str>,
    met: u64,
    calls: u64,
    rounds: u64,
    stats: BTreeMap<PathBuf, Stat>,
    bytes: BTreeMap<PathBuf, Vec<u8>>,
    last: Option<Stat>,
    named: Option<Stat>,
    trees: BTreeMap<PathBuf, TreeFacts>,
    late: Vec<(u32, PathBuf, Vec<u8>)>,
    facts: Option<Facts>,
}

/// Facts as they are.
struct Facts {
    tickets: BTreeMap<OrderId, Ticket>,
    executor: BTreeMap<jobyard::model::protocol::CommandKey, jobyard::model::index::ExecutorFact>,
    boot: String,
    durable_seq: u64,
    holds: jobyard::model::hold::Holds,
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static STATE: RefCell<State> = RefCell::new(State::default());
}

/// All faults.
pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    syncs::SYNCS.iter().chain(calls::CALLS).chain(plans::PLANS).chain(facts::FACTS)
}

/// It leaves a sync out.
pub(crate) fn is_of_sync(fault: &Fault) -> bool {
    syncs::SYNCS.iter().any(|of| of.name == fault.name)
}

/// The fault of this name.
pub(crate) fn named(name: &str) -> Option<&'static Fault> {
    all().find(|fault| fault.name == name)
}

/// How a fault is planted in a life.
#[derive(Clone, Copy)]
pub(crate) struct Planting {
    /// The fault.
    pub(crate) fault: &'static Fault,
    /// Its calls lie; else they are only looked for.
    pub(crate) lies: bool,
    /// The power is cut soon after one of them.
    pub(crate) aimed: bool,
    /// Or long after, and what they were to sync is lost.
    pub(crate) wide: bool,
}

/// The life of a seed begins in this thread.
pub(crate) fn begin(planting: Option<Planting>, seed: u64) {
    let fault = planting.map(|p| p.fault);
    let lies = planting.is_some_and(|p| p.lies);
    let aim = planting.filter(|p| p.aimed).map(|_| Rng::new(!seed));
    ON.set(fault.is_some());
    let cuts: &[Cut] = match fault.map(|fault| fault.how) {
        Some(How::Calls(cuts)) => cuts,
        _ => &[],
    };
    let lines = cuts.iter().map(|cut| site::line(cut.site).unwrap_or(0)).collect();
    let looks = |cut: &Cut| matches!(cut.lie, Lie::AsSeen | Lie::AsLast | Lie::Stat(_));
    let remembers = cuts.iter().any(looks);
    STATE.replace(State {
        fault,
        lies,
        aim,
        wide: planting.is_some_and(|p| p.wide),
        lines,
        remembers,
        during: "commit",
        ..State::default()
    });
}

/// How often its fault took effect.
pub(crate) fn met() -> u64 {
    STATE.with_borrow(|state| state.met)
}

/// What is read is to be remembered.
pub(crate) fn remembers() -> bool {
    on() && STATE.with_borrow(|state| state.remembers)
}

/// Some fault is planted.
pub(crate) fn on() -> bool {
    ON.get()
}

/// The fault of this name is planted, and takes effect now.
pub(crate) fn is(name: &str) -> bool {
    on() && STATE.with_borrow_mut(|state| {
        let is = state.fault.is_some_and(|fault| fault.name == name);
        state.met += u64::from(is);
        is
    })
}

/// What the engine is about to do from now on.
pub(crate) fn during(what: &'static str) {
    if on() {
        STATE.with_borrow_mut(|state| {
            state.during = what;
            state.made.clear();
        });
    }
}

/// The engine's watcher: what is met is counted, and the planted fault changes facts and plans.
pub(crate) const WATCHER: Watcher = Watcher { facts, plans: counted, acts };

/// The same without counting.
pub(crate) const ALONE: Watcher = Watcher { facts, plans: changed, acts: noted };

/// Before a plan is made.
pub(crate) fn facts(index: &mut Index) {
    if !on() {
        return;
    }
    STATE.with_borrow_mut(|state| {
        state.rounds += 1;
        assert!(state.rounds < ROUNDS_MAX, "it never ends");
        let Some(How::Facts(alter)) = state.fault.map(|fault| fault.how) else { return };
        state.facts = Some(Facts {
            tickets: index.tickets.clone(),
            executor: index.executor.clone(),
            boot: index.boot.clone(),
            durable_seq: index.durable_seq,
            holds: index.holds.clone(),
        });
        state.met += u64::from(alter(index));
    });
}

fn counted(round: &mut Round<'_>) {
    cover::plans(round);
    changed(round);
}

/// A plan was made.
pub(crate) fn changed(round: &mut Round<'_>) {
    if !on() {
        return;
    }
    during("commit");
    STATE.with_borrow_mut(|state| {
        if let Some(facts) = state.facts.take() {
            round.index.tickets = facts.tickets;
            round.index.executor = facts.executor;
            round.index.boot = facts.boot;
            round.index.durable_seq = facts.durable_seq;
            round.index.holds = facts.holds;
        }
        if let Some(How::Plan(alter)) = state.fault.map(|fault| fault.how) {
            state.met += u64::from(alter(round));
        }
    });
}

fn acts(index: &Index, id: &OrderId, action: &Action) {
    cover::acts(index, id, action);
    noted(index, id, action);
}

fn noted(_: &Index, _: &OrderId, action: &Action) {
    during(cover::name(action));
}

/// What a raw call from this line does instead.
pub(crate) fn lie(act: &'static str, path: &Path, at: &Location<'_>) -> Option<Lie> {
    STATE.with_borrow_mut(|state| {
        state.calls += 1;
        assert!(state.calls < CALLS_MAX, "it never ends");
        let Some(How::Calls(cuts)) = state.fault.map(|fault| fault.how) else { return None };
        let wanted = |(cut, line): &(&Cut, &u32)| {
            **line == at.line()
                && at.file().ends_with(cut.site.0)
                && (cut.during.is_empty() || cut.during.contains(&state.during))
                && cut.after.is_none_or(|(act, made)| state.made.contains(&act) == made)
                && (cut.path.is_empty() || path.to_string_lossy().contains(cut.path))
        };
        let lie = cuts.iter().zip(&state.lines).find(wanted).map(|(cut, _)| cut.lie);
        state.made.push(act);
        state.met += u64::from(lie.is_some());
        state.meant = lie.is_some();
        if lie.is_some()
            && state.until.is_none()
            && let Some(rng) = &mut state.aim
            && rng.chance(if state.wide { 60 } else { 35 })
        {
            let spans: &[u64] = if state.wide { &[12, 50, 250] } else { &[24] };
            let span = if state.wide { *rng.pick(spans).unwrap_or(&24) } else { spans[0] };
            state.until = Some(rng.below(span));
        }
        lie.filter(|_| state.lies)
    })
}

/// What the call just made was to sync, if it is one that lies or would.
pub(crate) fn meant(ino: Option<Ino>) {
    STATE.with_borrow_mut(|state| {
        if std::mem::take(&mut state.meant) && state.wide {
            state.unsynced.extend(ino);
            let more = state.unsynced.len().saturating_sub(2);
            state.unsynced.drain(..more);
        }
    });
}

/// What a power cut loses now, in a life that has it lose just that: at most the last two.
pub(crate) fn unsynced() -> Option<Vec<Ino>> {
    let wide = on() && STATE.with_borrow(|state| state.wide);
    wide.then(|| STATE.with_borrow_mut(|state| std::mem::take(&mut state.unsynced)))
}

/// The power is cut no more.
pub(crate) fn calm_down() {
    STATE.with_borrow_mut(|state| (state.aim, state.until) = (None, None));
}

/// Is this the moment at which a life that is aimed at its fault has the power cut?
pub(crate) fn strikes() -> bool {
    on() && STATE.with_borrow_mut(|state| {
        let now = state.until == Some(0);
        state.until = state.until.and_then(|n| n.checked_sub(1));
        now
    })
}

/// What a name was said to be.
pub(crate) fn saw_stat(path: &Path, stat: Option<Stat>, file: bool) {
    STATE.with_borrow_mut(|state| {
        match file {
            true => state.last = stat,
            false => state.named = stat,
        }
        match stat {
            Some(stat) => state.stats.insert(path.to_owned(), stat),
            None => state.stats.remove(path),
        };
    });
}

/// What was read of a file.
pub(crate) fn saw_bytes(path: &Path, bytes: &[u8]) {
    STATE.with_borrow_mut(|state| state.bytes.insert(path.to_owned(), bytes.to_vec()));
}

/// What was last said of a name, or of any open file.
pub(crate) fn stat_before(path: &Path, lie: Lie) -> Option<Stat> {
    STATE.with_borrow(|state| match lie {
        Lie::AsLast => state.last,
        _ => state.stats.get(path).copied(),
    })
}

/// What was last said of any name.
pub(crate) fn last_named() -> Option<Stat> {
    STATE.with_borrow(|state| state.named)
}

/// What a worktree looked like.
pub(crate) fn saw_tree(path: &Path, facts: &TreeFacts) {
    STATE.with_borrow_mut(|state| state.trees.insert(path.to_owned(), facts.clone()));
}

/// What a worktree looked like before.
pub(crate) fn tree_before(path: &Path) -> Option<TreeFacts> {
    STATE.with_borrow(|state| state.trees.get(path).cloned())
}

/// What was read of a path before.
pub(crate) fn bytes_before(path: &Path) -> Option<Vec<u8>> {
    STATE.with_borrow(|state| state.bytes.get(path).cloned())
}

/// A write of this process is put off.
pub(crate) fn put_off(pid: u32, path: &Path, bytes: &[u8]) {
    STATE.with_borrow_mut(|state| state.late.push((pid, path.to_owned(), bytes.to_vec())));
}

/// The writes that this process put off for a file.
pub(crate) fn due(pid: u32, path: &Path) -> Vec<Vec<u8>> {
    STATE.with_borrow_mut(|state| {
        state.late.retain(|(by, ..)| *by == pid);
        let (now, later) = std::mem::take(&mut state.late).into_iter().partition(|l| l.1 == path);
        state.late = later;
        let now: Vec<(u32, PathBuf, Vec<u8>)> = now;
        now.into_iter().map(|(_, _, bytes)| bytes).collect()
    })
}

/// Every line of the source that a fault names is there, once.
pub(crate) fn sites() -> Vec<String> {
    let cuts = all().filter_map(|fault| match fault.how {
        How::Calls(cuts) => Some(cuts.iter().map(move |cut| (fault.name, cut.site))),
        _ => None,
    });
    let missing = |(name, site)| site::line(site).is_none().then(|| format!("{name}: {site:?}"));
    cuts.flatten().filter_map(missing).collect()
}
