//! House rules as tests: layers, form, names, pages. Every check has a test that it fails on a planted
//! violation; the rules themselves stand in the modules.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod form;
mod layers;
mod pages;
mod source;

use std::collections::BTreeSet;

/// Roots of the crates of this package; everything below their directories belongs to one of them.
const CRATES: [&str; 4] =
    ["src/lib.rs", "tests/it/main.rs", "tests/sim/main.rs", "fuzz/src/main.rs"];

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn layers_know_only_what_lies_below() {
    none(&layers::check(&source::rust()));
}

#[test]
fn files_open_with_what_they_are_and_stay_short() {
    none(&form::lengths(&source::rust()));
}

#[test]
fn names_say_something() {
    none(&form::names(&source::rust()));
}

#[test]
fn calls_that_hide_failures_or_races_are_absent() {
    none(&form::calls(&source::rust()));
}

#[test]
fn the_project_speaks_of_itself() {
    let mut texts = source::texts();
    // The text of a licence is not ours to change.
    texts.retain(|(path, _)| path != "LICENSE-APACHE");
    none(&pages::foreign_words(&texts));
}

#[test]
fn links_lead_somewhere() {
    let texts = source::texts();
    let files: BTreeSet<String> = texts.iter().map(|(path, _)| path.clone()).collect();
    none(&pages::dead_links(&texts, &files));
}

#[test]
fn every_crate_has_a_reason() {
    let texts = source::texts();
    let text = |path: &str| {
        texts.iter().find(|(p, _)| p == path).map(|(_, t)| t.as_str()).unwrap_or_default()
    };
    none(&pages::crates_without_reason(text("Cargo.toml"), text("docs/dependencies.md")));
}

#[test]
fn no_file_is_forgotten() {
    let mut texts = source::texts();
    texts.retain(|(path, _)| path != "src/main.rs");
    for root in CRATES {
        none(&pages::forgotten(root, &texts));
    }
}
