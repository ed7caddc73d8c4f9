//! Many lives: no invariant is broken, and everything is met.
//!
//! `SIM_SEED=7 cargo test --test sim one_life -- --nocapture` prints the trace of one life;
//! `SIM_WITHOUT=crash,power` leaves classes out, `SIM_ONLY=ask,move` leaves all others out,
//! `SIM_PLANTED=stamp-by-rename` plants a fault, `SIM_LIVES=1000000` lives longer, `SIM_GO_ON=1` does not
//! stop at the first broken life.

use crate::cover::{self, Counts};
use crate::life::{Ended, Setup, live};
use crate::planted;
use std::sync::atomic::{AtomicU64, Ordering};

/// From so many lives on, everything must have been met often.
const LIVES: u64 = 20_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Lives the seeds from `first` on; the smallest seed at which an invariant is broken, and what was met.
/// With `SIM_GO_ON` a broken life is only told of, so that what all of them meet can be counted.
fn search(first: u64, lives: u64, setup: &Setup) -> (Option<(u64, Ended)>, Counts) {
    let (next, worst) = (AtomicU64::new(first), AtomicU64::new(u64::MAX));
    let go_on = number("SIM_GO_ON").is_some();
    let work = || {
        let mut found: Option<(u64, Ended)> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + lives || seed > worst.load(Ordering::Relaxed) {
                return (found, cover::take());
            }
            let ended = live(seed, setup, false);
            if !ended.broken.is_empty() {
                if go_on {
                    println!("SIM_SEED={seed}: {}", ended.broken[0]);
                } else {
                    worst.fetch_min(seed, Ordering::Relaxed);
                }
                found = found.filter(|(other, _)| *other < seed).or(Some((seed, ended)));
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        let mut all = Counts::new();
        let mut first: Option<(u64, Ended)> = None;
        for thread in threads {
            let (found, counts) = thread.join().expect("a life panicked");
            cover::add(&mut all, counts);
            first = first.into_iter().chain(found).min_by_key(|(seed, _)| *seed);
        }
        (first, all)
    })
}

#[test]
fn one_life() {
    let planted = std::env::var("SIM_PLANTED").ok();
    let planted = planted.map(|name| planted::named(&name).expect("a fault of docs/mutation.md"));
    let setup = Setup::with(planted);
    let setup = match std::env::var("SIM_KIND").ok() {
        Some(kind) => crate::mutation::setup(&kind, planted, number("SIM_SOUND").is_none()),
        None => Setup { hooks: number("SIM_HOOKS").is_some(), ..setup },
    };
    let seed = number("SIM_SEED");
    let ended = live(seed.unwrap_or(1), &setup, seed.is_some());
    for line in &ended.trace {
        println!("{line}");
    }
    assert!(ended.broken.is_empty(), "life {}: {:#?}", seed.unwrap_or(1), ended.broken);
}

/// Lives with every class, or those that `SIM_ONLY` and `SIM_WITHOUT` leave in; `SIM_LIVES` of them.
#[test]
fn lives_with_every_class() {
    let lives = number("SIM_LIVES").unwrap_or(LIVES);
    let first = number("SIM_FIRST").unwrap_or(1);
    let (found, met) = search(first, lives, &Setup::from_env());
    let count = |name: &str| met.get(name).copied().unwrap_or(0);
    let all: Vec<_> = cover::ACTIONS.into_iter().chain(cover::rows()).collect();
    for name in &all {
        println!("{:>9} {name}", count(name));
    }
    let rare: Vec<_> = all.into_iter().filter(|name| count(name) < 200).collect();
    println!("met less than 200 times: {rare:?}");
    if let Some((seed, ended)) = found {
        panic!("SIM_SEED={seed}: {:#?}", ended.broken);
    }
    assert!(rare.is_empty() || lives < LIVES, "met less than 200 times: {rare:?}");
}

/// Lives in which people ask, move and edit while the power fails: nothing else blurs what that does.
const POWER: &[&str] = &["ask", "move", "edit", "power"];
const POWER_LIVES: u64 = 2_000;

#[test]
fn lives_with_power_cuts_break_nothing() {
    let (found, _) = search(1, POWER_LIVES, &Setup::of(POWER));
    if let Some((seed, ended)) = found {
        panic!("SIM_ONLY={} SIM_SEED={seed}: {:#?}", POWER.join(","), ended.broken);
    }
}

/// Lives with hooks: other random numbers than without, so that a life is the same for all else.
const HOOK_LIVES: u64 = 2_000;

#[test]
fn lives_with_hooks_tell_no_settlement_twice() {
    let setup = Setup { hooks: true, ..Setup::without(&[]) };
    let mut told = 0;
    for seed in 1..=HOOK_LIVES {
        let ended = live(seed, &setup, false);
        assert!(ended.broken.is_empty(), "SIM_HOOKS=1 SIM_SEED={seed}: {:#?}", ended.broken);
        told += ended.hooks;
    }
    assert!(told > HOOK_LIVES, "only {told} hooks in {HOOK_LIVES} lives");
}

/// Lives in which people take their time to write a ticket anew, in place.
const SLOW: &[&str] = &["ask", "edit", "move", "verb", "crash", "between"];
const SLOW_LIVES: u64 = 2_000;
/// One beyond them in which a start waited to be sent again when its order was cancelled.
const SWEPT_UNSENT: u64 = 8_259;

#[test]
fn lives_with_slow_writers_lose_nothing() {
    let setup = Setup { slow: true, ..Setup::of(SLOW) };
    let found = [(1, SLOW_LIVES), (SWEPT_UNSENT, 1)];
    let found = found.into_iter().find_map(|(first, lives)| search(first, lives, &setup).0);
    if let Some((seed, ended)) = found {
        panic!("SIM_ONLY={} SIM_SEED={seed}, slow: {:#?}", SLOW.join(","), ended.broken);
    }
}

/// Lives in which little happens but what is rare elsewhere.
const RARE_LIVES: u64 = 1_000;

#[test]
fn lives_of_rare_things_break_nothing() {
    let lives = number("SIM_LIVES").unwrap_or(RARE_LIVES);
    let only = std::env::var("SIM_KIND").ok();
    let wanted = |kind: &&str| only.as_ref().is_none_or(|only| only == kind);
    for kind in ["moves", "close", "torn"].into_iter().filter(wanted) {
        let (found, _) = search(1, lives, &crate::mutation::setup(kind, None, false));
        if let Some((seed, ended)) = found {
            panic!("SIM_KIND={kind} SIM_SEED={seed}: {:#?}", ended.broken);
        }
    }
}

/// Lives beyond the first [`LIVES`] that were broken once. What is drawn in a life changes with the
/// simulator: the bugs they found have tests or planted faults of their own.
const ONCE_BROKEN: [u64; 21] = [
    33_551, 115_311, 191_976, 245_313, 261_679, 325_006, 406_839, 419_295, 442_431, 446_705,
    464_121, 481_842, 516_095, 556_319, 584_910, 598_291, 599_267, 723_604, 792_371, 816_315,
    2_023_908,
];

/// The same of rare things. In 25,743 somebody saves over one of two names and moves it over the other,
/// between two calls that drop that one; in 81,891 somebody writes and closes between two looks at a version.
const CLOSE_ONCE_BROKEN: [u64; 4] = [2_652, 25_743, 30_160, 81_891];

#[test]
fn lives_that_broke_once_are_sound() {
    for seed in ONCE_BROKEN {
        let broken = live(seed, &Setup::without(&[]), false).broken;
        assert!(broken.is_empty(), "SIM_SEED={seed}: {broken:#?}");
    }
    for seed in CLOSE_ONCE_BROKEN {
        let broken = live(seed, &crate::mutation::setup("close", None, false), false).broken;
        assert!(broken.is_empty(), "SIM_KIND=close SIM_SEED={seed}: {broken:#?}");
    }
}
