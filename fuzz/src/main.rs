//! One fuzzer for all targets; the variable `FUZZ_TARGET` says which.
//!
//! Invariant: nothing is parsed or judged here. The targets live in `targets`, which the tests include too.
//! It is built and run by `fuzz/run`.

#![no_main]

mod mutate;
mod targets;

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::sync::OnceLock;
use targets::{Slowest, Target};

static TARGET: OnceLock<(&'static Target, Vec<String>)> = OnceLock::new();

fn target() -> &'static (&'static Target, Vec<String>) {
    TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = targets::named(&name);
        let target = target.unwrap_or_else(|| panic!("FUZZ_TARGET={name}: no such target"));
        (target, (target.words)())
    })
}

/// Longest input that others are made of, in bytes.
const KEPT_BYTES_MAX: usize = 4096;

thread_local! {
    static SLOWEST: std::cell::Cell<Slowest> = const { std::cell::Cell::new(Slowest::NONE) };
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let slowest = target().0.run(bytes);
    SLOWEST.with(|known| {
        if slowest.spent > known.get().spent {
            known.set(slowest);
            eprintln!("slowest: {slowest}");
        }
    });
    // Long ones are made of short ones again and again; kept, they would take the time of all others.
    if bytes.len() > KEPT_BYTES_MAX { Corpus::Reject } else { Corpus::Keep }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match mutate::mutate(data, size, max_size, seed, &target().1) {
        Some(size) => size,
        None => fuzzer_mutate(data, size, max_size),
    }
});
