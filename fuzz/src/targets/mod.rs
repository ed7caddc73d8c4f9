//! What is fuzzed: each target calls the parser that jobyard calls, and holds its results against what they
//! promise. The fuzzer (`fuzz/src/main.rs`) and the tests (`tests/it/fuzz.rs`) share these functions.
//!
//! Invariants: a broken promise is a panic that says which; each call of a parser is timed by the CPU time of
//! its thread, so that a busy machine alarms nobody. Where inputs come from is not decided here.

mod backlog;
mod catalogue;
mod configuration;
mod control;
mod edit;
mod executor;
mod lease;
mod ledger;
mod order;
mod promises;
mod verdict;
mod view;

use rustix::time::{ClockId, clock_gettime};
use std::fmt;
use std::time::Duration;

/// Most CPU time that one call of a parser may take. The build of the tests is not the released one, and
/// other tests use the caches of the processor at the same time.
pub(crate) const CPU_MAX: Duration = Duration::from_millis(if cfg!(fuzzing) { 50 } else { 250 });

/// One thing that is fuzzed.
pub(crate) struct Target {
    /// Its name, that of its directory of kept inputs too.
    pub(crate) name: &'static str,
    /// Parses some bytes and judges what comes out.
    pub(crate) check: fn(&mut Watch, &[u8]),
    /// Words that its inputs know.
    pub(crate) words: fn() -> Vec<String>,
}

/// All of them; the first six are those that a long run is about.
pub(crate) const ALL: [Target; 10] = [
    Target { name: "order", check: order::check, words: order::words },
    Target { name: "lease", check: lease::check, words: lease::words },
    Target { name: "verdict", check: verdict::check, words: verdict::words },
    Target { name: "backlog", check: backlog::check, words: backlog::words },
    Target { name: "control", check: control::check, words: control::words },
    Target { name: "configuration", check: configuration::check, words: configuration::words },
    Target { name: "edit", check: edit::check, words: order::words },
    Target { name: "catalogue", check: catalogue::check, words: catalogue::words },
    Target { name: "ledger", check: ledger::check, words: ledger::words },
    Target { name: "executor", check: executor::check, words: executor::words },
];

/// The target of a name.
pub(crate) fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// The call that took longest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slowest {
    /// CPU time.
    pub(crate) spent: Duration,
    /// Which call.
    pub(crate) call: &'static str,
    /// Size of the whole input.
    pub(crate) bytes: usize,
}

impl Slowest {
    /// Nothing was called yet.
    pub(crate) const NONE: Self = Self { spent: Duration::ZERO, call: "", bytes: 0 };
}

impl fmt::Display for Slowest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.spent.as_secs_f64() * 1000.0;
        write!(f, "{ms:.3} ms in {} with {} bytes", self.call, self.bytes)
    }
}

/// Times the calls of one run.
pub(crate) struct Watch {
    slowest: Slowest,
}

impl Watch {
    /// Calls a parser. What was slow is tried twice more, and the fastest counts: the first call of a process
    /// also pays for what is loaded and allocated for the first time.
    pub(crate) fn call<T>(&mut self, call: &'static str, mut parse: impl FnMut() -> T) -> T {
        let (mut result, mut spent) = timed(&mut parse);
        for _ in 0..2 {
            if spent > CPU_MAX / 5 {
                let (again, spent_again) = timed(&mut parse);
                (result, spent) = (again, spent.min(spent_again));
            }
        }
        if spent > self.slowest.spent {
            self.slowest = Slowest { spent, call, ..self.slowest };
        }
        assert!(spent <= CPU_MAX, "too slow: {}; at most {CPU_MAX:?}", self.slowest);
        result
    }
}

fn timed<T>(parse: &mut impl FnMut() -> T) -> (T, Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let start = now();
    let result = parse();
    (result, now().saturating_sub(start))
}

impl Target {
    /// Runs it on one input; panics when a promise is broken or a call too slow.
    pub(crate) fn run(&self, input: &[u8]) -> Slowest {
        let mut watch = Watch { slowest: Slowest { bytes: input.len(), ..Slowest::NONE } };
        (self.check)(&mut watch, input);
        watch.slowest
    }
}

/// What gives a file of YAML its shape.
const MARKS: [&str; 15] = [
    ", ", "{", "}", "[", "]", "\'", "\"", "# ", "\r\n", "&a ", "*a", "~", "|\n", "\u{feff}", "\\e",
];

/// Words as they are put into an input.
fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
