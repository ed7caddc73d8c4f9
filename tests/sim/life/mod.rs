//! One life: people, a daemon, verbs and an executor on one simulated machine, decided by one seed.
//!
//! A random phase, in which everything allowed goes wrong, then a calm one, in which nothing does and
//! all must come to rest. The judge looks after each step.

mod actors;
mod aim;
mod asks;
mod calm;
mod cut;
mod orders;
mod people;
mod rare;
mod scene;
mod setup;

pub(crate) use asks::Ask;
pub(crate) use orders::edits_of;
pub(crate) use people::{DIRS, FOREIGN_LOCK, Order, People, Presence, ticket};
pub(crate) use rare::Rare;
pub(crate) use setup::{Class, Setup};

use crate::cover;
use crate::planted;
use crate::rng::Rng;
use crate::world::{Head, Machine, Shared, Traffic};
use actors::Actor;
use jobyard::engine::Turn;
use people::OWNER;
use scene::Scene;
use setup::Temper;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

/// Turns in which a daemon hears its executor out; a link may delay what is under way.
const HEARD_TURNS_MAX: u64 = 4;

/// How a life went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended {
    /// The first invariants that were broken.
    pub(crate) broken: Vec<String>,
    /// Hooks of settlements that ran.
    pub(crate) hooks: u64,
    /// How often a planted fault took effect.
    pub(crate) met: u64,
    /// One line per raw call, when wanted.
    pub(crate) trace: Vec<String>,
}

/// A life under way.
pub(crate) struct Life {
    m: Shared,
    scene: Rc<RefCell<Scene>>,
    rng: Rng,
    temper: Temper,
    setup: Setup,
    daemon: Actor,
    last: Turn,
    seed: u64,
}

/// Lives the life of a seed.
pub(crate) fn live(seed: u64, setup: &Setup, traced: bool) -> Ended {
    planted::begin(setup.planted, seed);
    let mut life = Life::begin(seed, setup, traced);
    life.random_phase();
    if life.broken().is_empty() {
        life.calm_phase();
    }
    let broken = life.broken();
    life.daemon = Actor::Gone;
    let mut m = life.m.borrow_mut();
    let mut trace = m.trace.take().unwrap_or_default();
    if traced {
        trace.extend(remains(&m));
    }
    let hooks = life.scene.borrow().judge.hooks;
    Ended { broken, hooks, met: planted::met(), trace }
}

/// What lies on the disk: names, and the texts that people read.
fn remains(m: &Machine) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, _, bytes) in m.disk.dump() {
        let name = path.display().to_string();
        lines.push(format!("== {name}"));
        let told = [".yaml", ".jsonl", ".lock", ".why"].iter().any(|end| name.ends_with(end));
        if told || name.contains("/control/") {
            let text = String::from_utf8_lossy(bytes);
            lines.extend(text.lines().map(|l| format!("       | {l}")));
        }
    }
    lines
}

impl Life {
    fn begin(seed: u64, setup: &Setup, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let temper = Temper::draw(&mut rng, setup);
        let m = Machine::shared(rng.next(), OWNER);
        let people = People::new(rng.fork(), temper.clone());
        let scene = Rc::new(RefCell::new(Scene::new(people, rng.fork())));
        scene.borrow_mut().judge.require_checks = temper.require_checks;
        if traced {
            m.borrow_mut().trace = Some(Vec::new());
        }
        let (setup, daemon) = (setup.clone(), Actor::Gone);
        let last = Turn::default();
        let mut life = Self { m, scene, rng, temper, setup, daemon, last, seed };
        life.furnish();
        life
    }

    /// The machine as it is before the first start.
    fn furnish(&mut self) {
        let shared = Rc::clone(&self.m);
        let mut m = shared.borrow_mut();
        let seed = self.seed;
        m.note(|| format!("== life {seed}"));
        m.mix.longest_ms = *self.rng.pick(&[500, 5_000, 60_000]).unwrap_or(&5_000);
        m.mix.commit = 75;
        m.git.half_breaks_all = self.rng.chance(30);
        m.disk.tells_writers = self.rng.chance(90);
        m.disk.logs_names = self.temper.rare == Some(Rare::Moves) && self.rng.chance(70);
        if self.temper.prepared {
            for dir in DIRS {
                let _ = m.hand(OWNER).mkdir(&format!("_ctx/jobs/{dir}"));
            }
            let _ = m.hand(OWNER).mkdir("_ctx/jobs/control/.answered");
            let _ = m.disk.chmod(Path::new("_ctx/jobs/control"), 0o777);
            self.bystanders(&mut m);
        }
        m.write_back();
        if self.temper.has(Class::Traffic) {
            let mut chance = |percent| if self.rng.chance(50) { percent } else { 0 };
            m.exec.traffic = Traffic {
                lost: chance(8),
                doubled: chance(20),
                delayed: chance(25),
                broken: chance(4),
                dies: chance(5),
                unkillable: 80,
            };
        }
    }

    /// What was there before, and belongs to others.
    fn bystanders(&mut self, m: &mut Machine) {
        let mut scene = self.scene.borrow_mut();
        let ids: Vec<String> = scene.people.orders.iter().map(|o| o.spec.id.clone()).collect();
        for (n, id) in ids.iter().enumerate() {
            let branch = format!("feat/wo-{id}");
            match self.rng.below(12) {
                0 => {
                    let at = m.git.tip("main").cloned();
                    if let Some(at) = at {
                        m.git.branches.insert(
                            branch.clone(),
                            crate::world::Branch { at: at.clone(), durable: Some(at) },
                        );
                        let commit = m.git.commit_on(&branch, "src/old.rs");
                        scene.commits.extend(commit.map(|c| (branch.clone(), c)));
                    }
                }
                1 => {
                    let (tree, name) = (format!(".worktrees/{id}"), format!("precious-{id}"));
                    let _ = m.hand(OWNER).mkdir(&tree);
                    let _ = m.hand(OWNER).write(&format!("{tree}/{name}"), b"mine\n");
                    scene.judge.guard(&name, b"mine\n");
                }
                2 if self.temper.settled_before => {
                    let dir = DIRS[2 + n % 2];
                    let order = &mut scene.people.orders[n];
                    let text = order.spec.text(&order.edits);
                    let _ = m.hand(OWNER).save(&ticket(dir, id), text.as_bytes());
                    order.ancient = Some(dir);
                    order.presence = Presence::There;
                    order.durable = true;
                    order.versions = vec![order.edits.clone()];
                }
                _ => {}
            }
        }
        if self.temper.settled_before
            && let Some(order) = scene.people.orders.first_mut()
            && order.presence == Presence::Never
        {
            let dir = if self.rng.chance(50) { "done" } else { "failed" };
            let text = order.spec.text(&order.edits);
            let _ = m.hand(OWNER).save(&ticket(dir, &order.spec.id), text.as_bytes());
            (order.presence, order.ancient, order.durable) = (Presence::There, Some(dir), true);
            order.versions = vec![order.edits.clone()];
        }
    }

    fn random_phase(&mut self) {
        if self.temper.rare.is_some() {
            // What lies there before the first start is what is adopted.
            for _ in 0..self.rng.below(6) {
                self.scene.borrow_mut().act(&self.m);
            }
        }
        for step in 0..self.temper.steps {
            self.m.borrow_mut().note(|| format!("== step {step}"));
            self.step();
            self.judge();
            if !self.broken().is_empty() {
                return;
            }
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..38 => self.daemon_turn(true),
            38..62 if self.temper.rare == Some(Rare::Close) && self.rng.chance(40) => {
                self.scene.borrow_mut().people.act_apart(&mut self.m.borrow_mut());
            }
            38..62 => self.scene.borrow_mut().act(&self.m),
            62..80 => self.pass_time(),
            80..84 => self.end_daemon(),
            84..88 if self.temper.has(Class::Power) => self.cut_power(),
            88..92 if self.temper.has(Class::Executor) => self.trouble_executor(),
            92..95 if self.temper.has(Class::Verb) => self.verb(),
            95 if self.temper.has(Class::Clock) => {
                let hour = 3_600_000;
                let ms = self.rng.between(0, 4 * hour) as i64 - 2 * hour as i64;
                self.m.borrow_mut().jump(ms);
            }
            96 => self.write_back(),
            97..100 if self.temper.has(Class::Health) => self.trouble_disk(),
            _ => self.daemon_turn(true),
        }
    }

    fn pass_time(&mut self) {
        let held = self.scene.borrow().people.one_held(&self.m.borrow()).is_some();
        let ms = match self.rng.below(12) {
            0..2 if held => 3_700_000,
            0..3 => self.rng.between(1, 200),
            3..6 => 1100,
            6..9 => self.rng.between(1000, 20_000),
            9..11 => 65_000,
            _ => 3_700_000,
        };
        if ms > 200 {
            self.hear();
        }
        self.m.borrow_mut().advance(ms);
        if ms == 3_700_000 && self.temper.has(Class::Ask) {
            self.scene.borrow_mut().take_over(&self.m);
        }
        if self.rng.chance(10) && ms > 30_000 {
            self.write_back();
        }
    }

    /// A daemon that is up reads what its executor has sent before much time passes: the link wakes it. Where
    /// clocks jump, it may have been suspended instead.
    fn hear(&mut self) {
        for _ in 0..HEARD_TURNS_MAX {
            let waits = !self.m.borrow().exec.outbox.is_empty();
            if !waits || !matches!(self.daemon, Actor::Up(_)) || self.temper.has(Class::Clock) {
                break;
            }
            self.daemon_turn(true);
        }
    }

    fn write_back(&mut self) {
        if self.m.borrow().disk.health == crate::world::Health::Well {
            self.m.borrow_mut().write_back();
            self.scene.borrow_mut().people.written_back();
        }
    }

    fn trouble_executor(&mut self) {
        let mut m = self.m.borrow_mut();
        match self.rng.below(5) {
            0 | 1 => m.kill_executor(),
            2 => m.shut_executor(),
            3 => m.exec.unreachable = !m.exec.unreachable,
            _ => m.exec.break_link(),
        }
    }

    fn trouble_disk(&mut self) {
        use crate::world::Health::{Broken, Full, ReadOnly, Well};
        let mut m = self.m.borrow_mut();
        m.disk.health = match m.disk.health {
            Well => *self.rng.pick(&[Full, ReadOnly, Broken]).unwrap_or(&Full),
            _ => Well,
        };
        let health = m.disk.health;
        m.note(|| format!("-- the disk is {health:?}"));
    }

    fn cut_power(&mut self) {
        self.scene.borrow_mut().cut_power(&self.m);
        self.daemon = Actor::Gone;
    }

    fn judge(&mut self) {
        let mut scene = self.scene.borrow_mut();
        scene.look(&self.m);
        scene.broken.extend(cover::contradictions());
    }

    fn broken(&self) -> Vec<String> {
        self.scene.borrow().broken.clone()
    }

    /// Commits and branches of others, as they were at the beginning.
    fn check_commits(&mut self) {
        let mut scene = self.scene.borrow_mut();
        let m = self.m.borrow();
        let commits = scene.commits.clone();
        for (branch, commit) in commits {
            let mut at = m.git.tip(&branch).cloned();
            while at.as_ref().is_some_and(|c| *c != commit) {
                at = at.and_then(|c| m.git.commits.get(&c)?.parent.clone());
            }
            if at.is_none() {
                scene.broken.push(format!("the commits of {branch} are gone"));
            }
        }
        for (path, tree) in &m.git.worktrees {
            if let Head::Branch(name) = &tree.head
                && m.git.tip(name).is_none()
                && !self.temper.has(Class::Power)
            {
                scene.broken.push(format!("{path}: its branch {name} is gone"));
            }
        }
    }
}
