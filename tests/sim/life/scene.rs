//! What happens around the raw calls of an actor: persons act, power fails, the judge looks on.

use super::people::{Hint, People};
use super::setup::Class;
use crate::judge::Judge;
use crate::rng::Rng;
use crate::world::{Call, Health, Shared, When};
use jobyard::model::id::OrderId;
use jobyard::model::tree::CommitId;
use jobyard::observe::Arrival;

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
    rng: Rng,
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
            rng,
        }
    }

    /// Around a raw call of an actor.
    pub(crate) fn on_call(&mut self, m: &Shared, call: Call<'_>) {
        let word = self.judge.call(&m.borrow(), call, &self.people);
        self.broken.extend(word);
        if call.when == When::After {
            if call.changes {
                self.overhear(call);
            }
            return;
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
        let style = m.power_cut();
        m.note(|| format!("-- power cut, {style:?}"));
        self.until = None;
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
