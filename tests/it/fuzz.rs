//! The kept inputs of the fuzzer through the functions that it calls, and inputs of full size that are made
//! to be slow.
//!
//! Not done here: looking for new inputs; that is `make fuzz`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod large;
#[path = "../../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use targets::{ALL, CPU_MAX, Slowest, Target, named};

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Largest size of all kept inputs together, in bytes.
const KEPT_BYTES_MAX: u64 = 400 << 10;

/// What a target does with an input.
type Check = fn(&mut targets::Watch, &[u8]);

/// One run; what broke, where something did.
fn outcome(target: &Target, input: &[u8]) -> Result<Slowest, String> {
    catch_unwind(|| target.run(input)).map_err(|broken| {
        let text = broken.downcast_ref::<String>().cloned();
        text.or_else(|| broken.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
    })
}

#[test]
fn every_kept_input_holds_what_is_promised() {
    let mut size = 0;
    let corpus = Path::new(PACKAGE).join("fuzz/corpus");
    for target in &ALL {
        let mut inputs = 0;
        for entry in fs::read_dir(corpus.join(target.name)).unwrap().map(Result::unwrap) {
            let input = fs::read(entry.path()).unwrap();
            size += input.len() as u64;
            inputs += 1;
            if let Err(broken) = outcome(target, &input) {
                panic!("{}: {broken}", entry.path().display());
            }
        }
        assert!(inputs > 20, "{}: {inputs} kept inputs", target.name);
        assert!((target.words)().len() > 10, "{}: few words", target.name);
    }
    assert!(size <= KEPT_BYTES_MAX, "{size} bytes of kept inputs; at most {KEPT_BYTES_MAX}");
    assert_eq!(fs::read_dir(corpus).unwrap().count(), ALL.len(), "kept inputs of no target");
}

#[test]
fn the_examples_hold_it_too() {
    for (name, file) in [
        ("order", "hello.yaml"),
        ("order", "WO-0018A.yaml"),
        ("order", "nightly-bench.yaml"),
        ("backlog", "backlog.yaml"),
        ("catalogue", "dod/default.yaml"),
    ] {
        let input = fs::read(format!("{PACKAGE}/examples/{file}")).unwrap();
        outcome(named(name).unwrap(), &input).unwrap();
    }
}

#[test]
fn a_parser_that_panics_or_is_slow_is_found() {
    let words = || Vec::new();
    let checks: [(Check, &str); 3] = [
        (|watch, input| watch.call("sound", || assert!(input.len() < 9)), ""),
        (|watch, input| watch.call("planted", || assert!(input.len() < 2, "planted")), "planted"),
        (|watch, _| watch.call("slow", || spend(CPU_MAX)), "too slow: "),
    ];
    for (check, part) in checks {
        let target = Target { name: "planted", check, words };
        match outcome(&target, b"abc") {
            Ok(slowest) => assert!(part.is_empty(), "nothing was found: {slowest}"),
            Err(broken) => assert!(!part.is_empty() && broken.contains(part), "{broken}"),
        }
    }
}

/// Uses more processor time than `least`.
fn spend(least: std::time::Duration) {
    use rustix::time::{ClockId, clock_gettime};
    let now = || std::time::Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = now();
    while now() - start <= least {
        std::hint::spin_loop();
    }
}

/// What is fuzzed is what is shipped: the two lists of crates agree in every crate that both name.
#[test]
fn the_fuzzer_has_the_crates_of_the_program() {
    let crates = |file: &str| -> BTreeMap<String, Vec<String>> {
        let text = fs::read_to_string(format!("{PACKAGE}/{file}")).unwrap();
        let lock: toml::Table = text.parse().unwrap();
        let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for package in lock["package"].as_array().unwrap() {
            let part = |name: &str| package[name].as_str().unwrap().to_owned();
            versions.entry(part("name")).or_default().push(part("version"));
        }
        versions
    };
    let (ours, its) = (crates("Cargo.lock"), crates("fuzz/Cargo.lock"));
    for (name, versions) in its.iter().filter(|(name, _)| ours.contains_key(*name)) {
        let known = versions.iter().all(|version| ours[name].contains(version));
        assert!(known, "{name} {versions:?} in fuzz/Cargo.lock, {:?} in Cargo.lock", ours[name]);
    }
}
