//! What happens around the raw calls of an actor: persons act, power fails, the judge looks on.

use super::aim::Aim;
use super::people::{Hint, People};
use super::setup::Class;
use crate::judge::Judge;
use crate::planted;
use crate::rng::Rng;
use crate::world::{Call, Health, Ino, Shared, Style, When};
use jobyard::model::id::OrderId;
use jobyard::model::tree::CommitId;
use jobyard::observe::Arrival;

/// Moments waited for at once.
const AIMS_MAX: usize = 8;

/// Everything but the actors and the machine.
pub(crate) struct Scene {
    /// The persons.
    pub(crate) people: People,
    /// The judge.
    pub(crate) judge: Judge,
    /// Invariants that were broken.
    pub(crate) broken: Vec<String>,
    /// Branches and commits of others.
    pub(crate) commits: Vec<(String, CommitId)>,
    /// Calls until somebody acts between two of them.
    pub(crate) until: Option<u64>,
    /// Moments at which somebody acts.
    pub(crate) aims: Vec<Aim>,
    /// What the power cut that comes now loses.
    pub(super) lost: Option<Vec<Ino>>,
    /// Nothing goes wrong any more.
    pub(super) over: bool,
    pub(super) rng: Rng,
}

impl Scene {
    /// A scene before anything has happened.
    pub(crate) fn new(people: People, rng: Rng) -> Self {
        Self {
            people,
            judge: Judge::default(),
            broken: Vec::new(),
            commits: Vec::new(),
            until: None,
            aims: Vec::new(),
            lost: None,
            over: false,
            rng,
        }
    }

    /// Nobody is about to do anything.
    pub(crate) fn nobody_strikes(&mut self) {
        self.until = None;
        self.aims.clear();
    }

    /// Around a raw call of an actor.
    pub(crate) fn on_call(&mut self, m: &Shared, call: Call<'_>) {
        if call.when == When::After {
            let word = self.judge.has_replaced(&m.borrow(), call);
            self.broken.extend(word);
            self.broken.extend(self.judge.trees(&m.borrow(), call));
        }
        let boot = m.borrow().clock.boot;
        self.around(m, call);
        // Where the power failed right before it, the call is never made.
        if call.when == When::Before && m.borrow().clock.boot == boot {
            self.judge.about_to(&m.borrow(), call);
            self.broken.extend(self.judge.trees(&m.borrow(), call));
        }
    }

    fn around(&mut self, m: &Shared, call: Call<'_>) {
        let word = self.judge.call(&m.borrow(), call, &self.people);
        self.broken.extend(word);
        self.watch_for(m, call);
        self.rarely(m, call);
        if call.when == When::After {
            if call.changes {
                self.overhear(call);
            }
            return;
        }
        if planted::strikes() && self.people.temper.has(Class::Power) {
            self.cut_power(m);
        }
        match self.until {
            Some(0) => {
                self.until = None;
                self.strike(m);
            }
            Some(n) => self.until = Some(n - 1),
            None => {}
        }
    }

    /// The daemon's own changes wake it too.
    fn overhear(&mut self, call: Call<'_>) {
        let renamed = matches!(call.act, "rename" | "exchange" | "link");
        let Some(path) = call.path.to_str().filter(|_| renamed && self.rng.chance(15)) else {
            return;
        };
        let Some(name) = path.strip_prefix("_ctx/jobs/").and_then(|p| p.split_once('/')) else {
            return;
        };
        if let Some(id) = name.1.strip_suffix(".yaml").and_then(|s| OrderId::parse(s).ok()) {
            self.people.hints.push(Hint::Ticket(id, Arrival::Renamed));
        }
    }

    fn strike(&mut self, m: &Shared) {
        let power = self.people.temper.has(Class::Power);
        let executor = self.people.temper.has(Class::Executor);
        match self.rng.below(20) {
            0 if power => self.cut_power(m),
            1 if executor => m.borrow_mut().kill_executor(),
            2 => m.borrow_mut().advance(self.rng.between(1, 3000)),
            _ => self.act(m),
        }
        if self.rng.chance(40) {
            self.until = Some(self.rng.below(12));
        }
    }

    /// Somebody waits for another moment, or has enough of waiting.
    pub(crate) fn wait_for_more(&mut self) {
        if self.aims.len() < AIMS_MAX {
            self.aims.push(Aim::draw(&mut self.rng));
        } else if self.rng.chance(30) {
            self.aims.remove(0);
        }
    }

    /// Strikes when a moment that somebody waits for has come.
    fn watch_for(&mut self, m: &Shared, call: Call<'_>) {
        let met = |aim: &Aim| aim.meets(&m.borrow(), call);
        let Some((at, id)) = self.aims.iter().enumerate().find_map(|(at, a)| Some((at, met(a)?)))
        else {
            return;
        };
        if self.rng.chance(30) {
            return;
        }
        let aim = self.aims.remove(at);
        let has = |class| self.people.temper.has(class);
        let (crash, power, executor) = (has(Class::Crash), has(Class::Power), has(Class::Executor));
        let (kills, cuts) = aim.blows();
        let blow = self.rng.below(20);
        if blow < kills && crash {
            let daemon = m.borrow().root_lock;
            if let Some((pid, _)) = daemon {
                m.borrow_mut().kill(pid);
            }
        } else if blow >= kills && blow < kills + cuts && power {
            self.cut_power(m);
        } else if aim == Aim::Told && executor {
            match blow % 3 {
                0 => m.borrow_mut().shut_executor(),
                _ => m.borrow_mut().kill_executor(),
            }
        } else if let Some(next) = aim.then().filter(|_| self.rng.chance(45)) {
            self.aims.insert(0, next);
            return;
        }
        let mut m = m.borrow_mut();
        if m.disk.health == Health::Well && (blow >= kills + cuts || self.rng.chance(80)) {
            self.people.act_at(&mut m, aim, &id);
        }
    }

    /// Somebody takes over an order that its holder has left alone for long.
    pub(crate) fn take_over(&mut self, m: &Shared) {
        let mut m = m.borrow_mut();
        if m.disk.health == Health::Well {
            self.people.take_over(&mut m);
        }
    }

    /// A person acts; nobody works on a disk that refuses.
    pub(crate) fn act(&mut self, m: &Shared) {
        let mut m = m.borrow_mut();
        if m.disk.health == Health::Well {
            self.people.act(&mut m);
        }
    }

    /// The power fails and comes back.
    pub(crate) fn cut_power(&mut self, m: &Shared) {
        let mut m = m.borrow_mut();
        let style = match self.lost.take() {
            Some(lost) => {
                let _ = planted::unsynced();
                m.power_cut_losing(&lost);
                Style::Everything
            }
            None if self.people.temper.rare.is_some() => self.cut_rarely(&mut m),
            None => m.power_cut(),
        };
        // Whoever switches it on again sees to the disk first, else nobody could mend what is torn.
        m.disk.health = Health::Well;
        m.note(|| format!("-- power cut, {style:?}"));
        self.nobody_strikes();
        self.people.hints.clear();
        let words = self.people.after_cut(&mut m);
        self.people.asks_after_cut(&m);
        self.broken.extend(words);
        let words = self.judge.after_cut(&m, &self.people);
        self.broken.extend(words);
    }

    /// The judge looks at everything.
    pub(crate) fn look(&mut self, m: &Shared) {
        let words = self.judge.look(&m.borrow(), &self.people);
        self.broken.extend(words);
        self.judge.tell_askers(&mut m.borrow_mut());
    }

    /// Files a request for a verb; its place in the list.
    pub(crate) fn file(&mut self, m: &Shared, id: &str, verb: &'static str) -> Option<usize> {
        self.people.file(&mut m.borrow_mut(), id, verb)
    }
}
