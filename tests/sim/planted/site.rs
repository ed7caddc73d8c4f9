//! Lines of the source that make raw calls, by file, function and text.
//!
//! Invariant: the text is looked for in the function only, from its first line to the next function's.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

type Site = (&'static str, &'static str, &'static str);

static LINES: LazyLock<Mutex<BTreeMap<Site, Option<u32>>>> = LazyLock::new(Mutex::default);

/// The number of that line.
pub(super) fn line(site: Site) -> Option<u32> {
    let mut lines = LINES.lock().expect("no fault breaks this lock");
    *lines.entry(site).or_insert_with(|| find(site))
}

fn find((file, function, text): Site) -> Option<u32> {
    let path = format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).ok()?;
    let begins = |line: &str, name: &str| {
        let after =
            line.trim_start().split_once("fn ").filter(|(before, _)| !before.contains("//"));
        after.is_some_and(|(_, rest)| {
            rest.starts_with(name) && rest[name.len()..].starts_with(['(', '<'])
        })
    };
    let lines = source.lines().enumerate();
    let of_it = lines.skip_while(|(_, line)| !begins(line, function));
    let is_next = |line: &str| {
        let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ");
        line.starts_with("fn ")
    };
    let mut body = of_it.skip(1).take_while(|(_, line)| !is_next(line));
    // A text with its indentation is the whole line.
    let says = |line: &str| if text.starts_with(' ') { line == text } else { line.contains(text) };
    let found = body.find(|(_, line)| says(line)).map(|(at, _)| at)?;
    let again = body.any(|(_, line)| says(line));
    if again { None } else { u32::try_from(found + 1).ok() }
}
