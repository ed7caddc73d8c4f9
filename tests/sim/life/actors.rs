//! The actors: a daemon that comes and goes, and verbs that do the work while there is none.
//!
//! Invariant: an actor works on the root only while it holds its lock, as the real ones do.

use super::people::{Hint, OWNER};
use super::setup::Class;
use super::{Life, Scene};
use crate::planted;
use crate::world::{Blow, SimWorld};
use jiff::tz::TimeZone;
use jobyard::engine::{Engine, Options, Round};
use jobyard::model::config::{Config, Hooks};
use jobyard::model::id::OrderId;
use jobyard::model::protocol::ToExecutor;
use jobyard::model::time::Millis;
use jobyard::observe::Arrival;
use jobyard::plan::action::Action;
use jobyard::plan::{self, Policy};
use jobyard::world::World;
use std::cell::RefCell;
use std::rc::Rc;

/// Turns that a verb waits for its answer.
const VERB_TURNS: u64 = 6;

/// The daemon.
pub(crate) enum Actor {
    /// No process.
    Gone,
    /// A process whose engine met a fault: it opens another one.
    Stunned(Box<SimWorld>),
    /// At work.
    Up(Box<Engine<SimWorld>>),
}

/// Commands that end soon, one well and one badly.
fn hooks() -> Hooks {
    let (settled, drained) = (Some("pass quick clean".into()), Some("fail quick clean".into()));
    Hooks { settled, drained, ..Hooks::default() }
}

impl Life {
    /// What an engine is opened with.
    pub(super) fn options(&self, only: Option<&str>) -> Options {
        let config = Config {
            timeout: Millis::from_secs(60),
            check_timeout: Millis::from_secs(30),
            unsatisfiable: self.temper.unsatisfiable,
            require_checks: self.temper.require_checks,
            hooks: if self.setup.hooks { hooks() } else { Hooks::default() },
            ..Config::default()
        };
        let policy = Policy {
            host: "simulated".to_owned(),
            runs: only.is_none(),
            only: only.and_then(|id| OrderId::parse(id).ok()).map(|id| [id].into()),
            ..Policy::of(&config, TimeZone::UTC, self.temper.slots)
        };
        Options { config, policy }
    }

    /// A new process of the owner that holds the root's lock.
    fn process(&mut self) -> Option<SimWorld> {
        let mut world = SimWorld::new(&self.m, OWNER);
        if !world.lock_root() {
            world.kill();
            return None;
        }
        world.hook = Some(hook(&self.scene));
        Some(world)
    }

    /// Lays the faults of one turn.
    fn arm(&mut self, world: &mut SimWorld) {
        let mut fuse = std::mem::take(&mut world.fuse);
        let rng = &mut self.rng;
        let mut at = |seen: u64, span: u64| seen + 1 + rng.below(span);
        let soon = at(fuse.changes_seen(), 40);
        let look = at(fuse.looks_seen(), 80);
        let temper = &self.temper;
        if temper.strikes(&mut self.rng, Class::Crash, 12) {
            let blow = if self.rng.chance(50) { Blow::Crash } else { Blow::CrashAfter };
            fuse = fuse.on_change(soon, blow);
        } else if temper.strikes(&mut self.rng, Class::Errno, 8) {
            let errno = *self.rng.pick(&[libc::EIO, libc::ENOSPC, libc::EROFS]).unwrap_or(&5);
            fuse = match self.rng.chance(30) {
                true => fuse.on_look(look, Blow::Errno(libc::EIO)),
                false => fuse.on_change(soon, Blow::Errno(errno)),
            };
        } else if temper.strikes(&mut self.rng, Class::Lost, 8) {
            fuse = fuse.on_change(soon, Blow::Lost(libc::EIO));
        } else if temper.strikes(&mut self.rng, Class::Short, 8) {
            fuse = fuse.on_change(soon, Blow::Short);
        }
        fuse.spares_git = !temper.has(Class::GitFault);
        world.fuse = fuse;
        let between = self.temper.strikes(&mut self.rng, Class::Between, 40);
        let until = between.then(|| self.rng.below(90));
        let aims = self.temper.strikes(&mut self.rng, Class::Between, 95);
        let mut scene = self.scene.borrow_mut();
        scene.until = until;
        if aims {
            scene.wait_for_more();
        }
    }

    /// The daemon works until it has nothing to do now; started when there is none.
    pub(super) fn daemon_turn(&mut self, faults: bool) {
        match std::mem::replace(&mut self.daemon, Actor::Gone) {
            Actor::Gone => {
                let Some(mut world) = self.process() else { return };
                if faults {
                    self.arm(&mut world);
                }
                self.daemon = self.open(world);
            }
            Actor::Stunned(mut world) => {
                if faults {
                    self.arm(&mut world);
                }
                self.daemon = self.open(*world);
            }
            Actor::Up(mut engine) => {
                if faults {
                    self.arm(&mut engine.world);
                }
                self.deliver(&mut engine, faults);
                self.daemon = self.turn(engine);
            }
        }
        self.scene.borrow_mut().until = None;
    }

    fn open(&mut self, world: SimWorld) -> Actor {
        self.m.borrow_mut().note(|| "== the daemon opens the root".to_owned());
        planted::during("open");
        match Engine::open(world, self.options(None)) {
            Ok(mut engine) => {
                engine.watcher = Some(planted::WATCHER);
                self.scene.borrow_mut().people.unheard();
                match engine.rescan() {
                    Ok(()) => self.turn(Box::new(engine)),
                    Err(_) => stunned(engine.world),
                }
            }
            Err((world, _)) => stunned(world),
        }
    }

    fn turn(&mut self, mut engine: Box<Engine<SimWorld>>) -> Actor {
        self.m.borrow_mut().note(|| "== turn".to_owned());
        match engine.turn() {
            Ok(_) if engine.world.crashed() => Actor::Gone,
            Ok(turn) => {
                let notes = engine.notes();
                self.m.borrow_mut().note(|| {
                    format!("== turn ended; {notes:?} {:?} {:?}", turn.wake_at, turn.look_at)
                });
                self.last = turn;
                self.check_index(&engine);
                Actor::Up(engine)
            }
            Err(fault) => {
                self.m.borrow_mut().note(|| format!("== turn failed: {fault}"));
                stunned(engine.world)
            }
        }
    }

    fn check_index(&mut self, engine: &Engine<SimWorld>) {
        let words = plan::check::check(&engine.index);
        let mut scene = self.scene.borrow_mut();
        scene.broken.extend(words.into_iter().map(|w| format!("index: {w}")));
    }

    /// Tells the daemon what has happened at its directories, as its watch does.
    fn deliver(&mut self, engine: &mut Engine<SimWorld>, faults: bool) {
        let hints = std::mem::take(&mut self.scene.borrow_mut().people.hints);
        let mut touched = std::mem::take(&mut self.m.borrow_mut().touched);
        for hint in hints {
            if faults && self.temper.strikes(&mut self.rng, Class::Hint, 15) {
                continue;
            }
            match hint {
                Hint::Ticket(id, arrival) => {
                    for state in std::mem::take(&mut touched) {
                        engine.told(id.clone(), state, arrival);
                    }
                    engine.hint(id, arrival);
                }
                Hint::Request(file, arrival) => engine.hint_request(file, arrival),
                Hint::Stray => engine.hint_stray(),
            }
        }
        if faults && self.temper.strikes(&mut self.rng, Class::Hint, 15) {
            let mut scene = self.scene.borrow_mut();
            let order = self.rng.index(scene.people.orders.len());
            let id = scene.people.orders[order].spec.id.clone();
            scene.people.tell(&id, Arrival::Unsure);
        }
        if self.rng.chance(if faults { 5 } else { 20 }) {
            let _ = engine.rescan();
        }
    }

    /// The daemon ends, well or by force.
    pub(super) fn end_daemon(&mut self) {
        match std::mem::replace(&mut self.daemon, Actor::Gone) {
            Actor::Gone => {}
            Actor::Stunned(world) => world.kill(),
            Actor::Up(mut engine) => {
                if !self.temper.has(Class::Crash) || self.rng.chance(50) {
                    planted::during("finish");
                    let _ = engine.finish();
                    let _ = engine.world.send(&ToExecutor::Bye);
                }
                self.m.borrow_mut().note(|| "== the daemon ends".to_owned());
                engine.world.kill();
            }
        }
    }

    /// A verb with no daemon there: the same loop for one ticket, without starting `run`.
    pub(super) fn verb(&mut self) {
        if self.m.borrow().disk.health != crate::world::Health::Well {
            return;
        }
        let Some(mut world) = self.process() else { return };
        let (id, verb) = {
            let scene = self.scene.borrow();
            let order = &scene.people.orders[self.rng.index(scene.people.orders.len())];
            let dir = super::People::dir_of(&self.m.borrow(), &order.spec.id);
            let verb = match (dir, self.rng.below(4)) {
                (Some("pending"), 0) => "cancel",
                (Some("pending"), _) | (None, _) => "take",
                (Some("running"), 0) => "cancel",
                (Some("running"), _) => "finish",
                (Some(_), _) => "requeue",
            };
            (order.spec.id.clone(), verb)
        };
        let filed = self.scene.borrow_mut().file(&self.m, &id, verb);
        let Some(filed) = filed else { return world.kill() };
        self.m.borrow_mut().note(|| format!("== verb {verb} {id}"));
        self.arm(&mut world);
        planted::during("open");
        let mut engine = match Engine::open(world, self.options(Some(&id))) {
            Ok(engine) => engine,
            Err((world, _)) => return world.kill(),
        };
        engine.watcher = Some(planted::WATCHER);
        let file = self.scene.borrow().people.asks[filed].file.clone();
        for _ in 0..VERB_TURNS {
            engine.hint_request(file.clone(), Arrival::Renamed);
            if engine.turn().is_err() {
                self.scene.borrow_mut().until = None;
                engine.world.kill();
                return;
            }
            let ms = self.rng.between(1, 5000);
            self.m.borrow_mut().advance(ms);
        }
        self.scene.borrow_mut().until = None;
        planted::during("finish");
        let _ = engine.finish();
        let _ = engine.world.send(&ToExecutor::Bye);
        engine.world.kill();
    }

    /// Orders with which people broke the rules: a rebuilt index may know less of them, or more.
    fn meddled(&self) -> Vec<OrderId> {
        let scene = self.scene.borrow();
        let orders = scene.people.orders.iter().filter(|o| o.meddled);
        orders.filter_map(|o| OrderId::parse(&o.spec.id).ok()).collect()
    }

    /// What another engine, opened on the same disk, makes of it.
    pub(super) fn second_opinion(&mut self, engine: &Engine<SimWorld>) -> Vec<String> {
        let mut broken = Vec::new();
        let policy = engine.options.policy.clone();
        let ours = everything(engine, &policy);
        let wake_at = ours.wake_at;
        engine.world.kill();
        let Some(world) = self.process() else { return vec!["the lock is not free".to_owned()] };
        let before = dump(&self.m.borrow());
        planted::during("open");
        let mut fresh = match Engine::open(world, self.options(None)) {
            Ok(fresh) => fresh,
            Err((_, fault)) => return vec![format!("a second engine cannot open: {fault}")],
        };
        fresh.watcher = Some(planted::ALONE);
        broken.extend(self.scene.borrow().judge.begun_anew(&self.m.borrow()));
        let meddled = self.meddled();
        let fair = |plan: plan::action::Plan| -> Vec<_> {
            plan.actions.into_iter().filter(|(id, _)| !meddled.contains(id)).collect()
        };
        self.m.borrow_mut().advance(2000);
        let _ = fresh.turn();
        if let Err(fault) = fresh.rescan().and_then(|()| fresh.turn().map(|_| ())) {
            broken.push(format!("a second engine fails: {fault}"));
        }
        let theirs = everything(&fresh, &fresh.options.policy.clone());
        let same_wake = wake_at == theirs.wake_at || !meddled.is_empty();
        let (ours, theirs) = (fair(ours), fair(theirs));
        if !ours.is_empty() {
            broken.push(format!("quiet, but the plan is {ours:?}"));
        }
        if ours != theirs || !same_wake {
            broken.push(format!("a rebuilt index gives another plan: {theirs:?}"));
        }
        if !meddled.is_empty() {
            fresh.world.kill();
            return broken;
        }
        let after = dump(&self.m.borrow());
        for (path, text) in after.iter().filter(|entry| !before.contains(entry)) {
            let text = String::from_utf8_lossy(text);
            let last = text.lines().last().unwrap_or_default();
            broken.push(format!("a second engine changes {path}: {last}"));
        }
        fresh.world.kill();
        broken
    }
}

fn hook(scene: &Rc<RefCell<Scene>>) -> crate::world::Hook {
    let scene = Rc::clone(scene);
    Box::new(move |machine, call| scene.borrow_mut().on_call(machine, call))
}

fn stunned(world: SimWorld) -> Actor {
    if world.crashed() { Actor::Gone } else { Actor::Stunned(Box::new(world)) }
}

/// The plan for all orders at once.
fn everything(engine: &Engine<SimWorld>, policy: &Policy) -> plan::action::Plan {
    let mut index = engine.index.clone();
    let all = index.tickets.keys().cloned().collect();
    let (now, tick) = (engine.world.now(), engine.world.tick());
    planted::facts(&mut index);
    let mut plan = plan::plan(&mut index, &all, now, tick, policy);
    let (changed, plan_of) = (&all, &mut plan);
    planted::changed(&mut Round { index: &mut index, changed, now, policy, plan: plan_of });
    // A refusal is planned as long as it applies; it is written once.
    plan.actions.retain(|(_, action)| !matches!(action, Action::Why { .. }));
    plan
}

/// Every file below `_ctx`, with its content.
fn dump(m: &crate::world::Machine) -> Vec<(String, Vec<u8>)> {
    let files = m.disk.dump();
    files.into_iter().map(|(p, _, bytes)| (p.display().to_string(), bytes.to_vec())).collect()
}
