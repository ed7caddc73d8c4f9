//! What may happen in a life: classes of trouble that can be switched off one by one.
//!
//! Invariant: a life draws from its seed which of the allowed classes it meets, so that most lives are
//! simple and a fault can be narrowed down by leaving classes out (`SIM_WITHOUT=crash,power`).

use super::rare::Rare;
use crate::planted::{Fault, Planting};
use crate::rng::Rng;
use jobyard::model::config::Unsatisfiable;

/// A class of trouble.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    /// Persons edit tickets: saved beside and renamed over, written in place, written slowly.
    Edit,
    /// Persons save what they read long ago.
    Stale,
    /// Persons save tickets that cannot be read, and mend them later.
    Broken,
    /// Persons move tickets between the four directories.
    Move,
    /// Persons delete tickets.
    Delete,
    /// Requests in `control/`.
    Ask,
    /// Lock files and other files that nobody of ours made.
    Foreign,
    /// Persons meddle with worktrees and branches.
    Git,
    /// `kill -9` of an actor at a raw call, or between turns.
    Crash,
    /// Raw calls that fail.
    Errno,
    /// Raw calls that are carried out but reported as failed.
    Lost,
    /// Writes that take half of the bytes.
    Short,
    /// Git commands that fail.
    GitFault,
    /// The disk is full, read-only or broken for a while.
    Health,
    /// Power cuts.
    Power,
    /// The executor dies, is shut down, or cannot be reached.
    Executor,
    /// Messages lost, doubled, delayed; links that break.
    Traffic,
    /// The wall clock jumps.
    Clock,
    /// Hints lost and doubled.
    Hint,
    /// Verbs that do the work while no daemon runs.
    Verb,
    /// Others act between two raw calls.
    Between,
}

impl Class {
    /// All of them, with the words that name them.
    pub(crate) const ALL: [(Self, &'static str); 21] = [
        (Self::Edit, "edit"),
        (Self::Stale, "stale"),
        (Self::Broken, "broken"),
        (Self::Move, "move"),
        (Self::Delete, "delete"),
        (Self::Ask, "ask"),
        (Self::Foreign, "foreign"),
        (Self::Git, "git"),
        (Self::Crash, "crash"),
        (Self::Errno, "errno"),
        (Self::Lost, "lost"),
        (Self::Short, "short"),
        (Self::GitFault, "gitfault"),
        (Self::Health, "health"),
        (Self::Power, "power"),
        (Self::Executor, "executor"),
        (Self::Traffic, "traffic"),
        (Self::Clock, "clock"),
        (Self::Hint, "hint"),
        (Self::Verb, "verb"),
        (Self::Between, "between"),
    ];
}

/// What lives are made of.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Classes that may occur.
    pub(crate) allowed: Vec<Class>,
    /// A bug that is switched on.
    pub(crate) planted: Option<Planting>,
    /// Hooks are configured.
    pub(crate) hooks: bool,
    /// Persons write in place slowly, also what is there already.
    pub(crate) slow: bool,
    /// Little happens but what is rare elsewhere.
    pub(crate) rare: Option<Rare>,
}

impl Setup {
    /// Everything that the environment does not leave out: `SIM_WITHOUT`, or nothing but `SIM_ONLY`.
    pub(crate) fn from_env() -> Self {
        let words = |name: &str| -> Option<Vec<String>> {
            let text = std::env::var(name).ok()?;
            Some(text.split(',').map(|w| w.trim().to_owned()).collect())
        };
        let (without, only) = (words("SIM_WITHOUT").unwrap_or_default(), words("SIM_ONLY"));
        let wanted = |word: &str| {
            !without.iter().any(|w| w == word)
                && only.as_ref().is_none_or(|only| only.iter().any(|w| w == word))
        };
        let allowed = Class::ALL.into_iter().filter(|(_, w)| wanted(w)).map(|(c, _)| c).collect();
        let slow = std::env::var("SIM_SLOW").is_ok();
        Self { allowed, planted: None, hooks: false, slow, rare: None }
    }

    /// Only these classes.
    pub(crate) fn of(words: &[&str]) -> Self {
        let allowed = Class::ALL.into_iter().filter(|(_, w)| words.contains(w)).map(|(c, _)| c);
        Self { allowed: allowed.collect(), planted: None, hooks: false, slow: false, rare: None }
    }

    /// All but these classes.
    pub(crate) fn without(words: &[&str]) -> Self {
        let allowed = Class::ALL.into_iter().filter(|(_, w)| !words.contains(w)).map(|(c, _)| c);
        Self { allowed: allowed.collect(), planted: None, hooks: false, slow: false, rare: None }
    }

    /// The same with a planted bug.
    pub(crate) fn with(fault: Option<&'static Fault>) -> Self {
        let planted = fault.map(|fault| Planting { fault, lies: true, aimed: false, wide: false });
        Self { planted, ..Self::from_env() }
    }
}

/// The character of one life.
#[derive(Clone, Debug)]
pub(crate) struct Temper {
    classes: Vec<Class>,
    /// Steps of the random phase.
    pub(crate) steps: u64,
    /// Commands at once.
    pub(crate) slots: usize,
    /// What becomes of hopeless orders.
    pub(crate) unsatisfiable: Unsatisfiable,
    /// An unverified upstream is no success.
    pub(crate) require_checks: bool,
    /// Tickets lie in `done/` and `failed/` before the first start.
    pub(crate) settled_before: bool,
    /// The directories are there and durable before the first start.
    pub(crate) prepared: bool,
    /// Persons write in place slowly, also what is there already.
    pub(crate) slow: bool,
    /// Little happens but what is rare elsewhere.
    pub(crate) rare: Option<Rare>,
}

impl Temper {
    /// Draws the character of a life.
    pub(crate) fn draw(rng: &mut Rng, setup: &Setup) -> Self {
        let classes = setup.allowed.iter().copied().filter(|_| rng.chance(65)).collect();
        let unsatisfiable = match rng.below(4) {
            0 => Unsatisfiable::Skip,
            1 => Unsatisfiable::Fail,
            _ => Unsatisfiable::Hold,
        };
        let temper = Self {
            classes,
            steps: rng.between(10, 180),
            slots: rng.between(1, 3) as usize,
            unsatisfiable,
            require_checks: rng.chance(15),
            settled_before: rng.chance(8),
            prepared: rng.chance(85),
            slow: setup.slow,
            rare: setup.rare,
        };
        if setup.rare.is_some() { temper.narrowed(rng, setup) } else { temper }
    }

    /// Short, and all that is allowed happens.
    fn narrowed(self, rng: &mut Rng, setup: &Setup) -> Self {
        Self {
            classes: setup.allowed.clone(),
            steps: rng.between(15, 70),
            slots: 1,
            unsatisfiable: Unsatisfiable::Hold,
            require_checks: false,
            settled_before: rng.chance(40),
            prepared: true,
            ..self
        }
    }

    /// Does this life meet that class?
    pub(crate) fn has(&self, class: Class) -> bool {
        self.classes.contains(&class)
    }

    /// True in `percent` of 100 cases, if the life meets the class at all.
    pub(crate) fn strikes(&self, rng: &mut Rng, class: Class, percent: u64) -> bool {
        self.has(class) && rng.chance(percent)
    }
}
