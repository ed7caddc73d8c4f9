//! Who may know whom: the layers of the architecture as a table.

use super::source::{Source, item_end, words};

/// Effects of the standard library that belong to the outer layers.
const EFFECTS: [&str; 8] = [
    "std::fs",
    "std::env",
    "std::process",
    "std::net",
    "std::thread",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::os::unix",
];

/// Crates that perform effects.
const SYSTEM: [&str; 5] = ["rustix", "libc", "tokio", "signal_hook", "git2"];

/// Collections without an order.
const UNORDERED: [&str; 2] = ["std::collections::HashMap", "std::collections::HashSet"];

/// Paths that a part of the library must not name.
struct Rule {
    within: &'static [&'static str],
    banned: &'static [&'static [&'static str]],
}

const RULES: [Rule; 7] = [
    Rule {
        within: &["crate::model"],
        banned: &[
            &EFFECTS,
            &SYSTEM,
            &UNORDERED,
            &["crate::plan", "crate::world", "crate::engine", "crate::observe"],
            &["crate::executor", "crate::cli", "crate::daemon"],
        ],
    },
    Rule {
        within: &["crate::plan"],
        banned: &[
            &EFFECTS,
            &SYSTEM,
            &UNORDERED,
            &["crate::world", "crate::engine", "crate::observe"],
            &["crate::executor", "crate::cli", "crate::daemon"],
        ],
    },
    Rule {
        within: &["crate::engine", "crate::observe"],
        banned: &[
            &EFFECTS,
            &SYSTEM,
            &UNORDERED,
            &["crate::world::real", "crate::executor", "crate::cli", "crate::daemon"],
        ],
    },
    Rule {
        within: &["crate::world"],
        banned: &[&[
            "crate::plan",
            "crate::engine",
            "crate::observe",
            "crate::cli",
            "crate::daemon",
        ]],
    },
    Rule {
        within: &["crate::executor"],
        banned: &[
            &["crate::plan", "crate::world", "crate::engine", "crate::observe"],
            &["crate::cli", "crate::daemon"],
        ],
    },
    Rule {
        within: &["crate::tasks"],
        banned: &[
            &["crate::model", "crate::plan", "crate::world", "crate::engine", "crate::observe"],
            &["crate::executor", "crate::cli", "crate::daemon"],
        ],
    },
    Rule { within: &["crate::daemon"], banned: &[&["crate::cli"]] },
];

/// Where the effects of the standard library may be named. The binary only joins the rest.
const OUTER: [&str; 6] = [
    "crate::world",
    "crate::executor",
    "crate::tasks",
    "crate::cli",
    "crate::daemon",
    "crate::main",
];

/// What stands in a layer that must not know it.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.ships()) {
        let module = if source.path == "src/main.rs" {
            vec!["crate".to_owned(), "main".to_owned()]
        } else {
            source.module()
        };
        let name = module.join("::");
        for (at, path) in paths(source, &module) {
            let rule = RULES.iter().find(|r| r.within.iter().any(|w| under(&name, w)));
            let ruled_out = rule.is_some_and(|r| {
                r.banned.iter().any(|list| list.iter().any(|banned| under(&path, banned)))
            });
            let outer = OUTER.iter().any(|w| under(&name, w));
            let effect = !outer && EFFECTS.iter().any(|banned| under(&path, banned));
            if ruled_out || effect {
                findings.push(format!("{}: {name} must not know {path}", source.at(at)));
            }
        }
    }
    findings.dedup();
    findings
}

fn under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Every path that a file names, in full, with where it stands.
fn paths(source: &Source, module: &[String]) -> Vec<(usize, String)> {
    let code = &source.production;
    let mut found = Vec::new();
    let mut next = 0;
    for (at, word) in words(code) {
        if at < next {
            continue;
        }
        if word == "use" {
            let length = item_end(&code[at..]);
            let tree = code[at + 3..at + length].trim_end_matches(';');
            branches(tree, "", &mut |path| found.push((at, resolve(path, module))));
            next = at + length;
        } else if code[at + word.len()..].starts_with("::") {
            let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let end = code[at..].find(|c| !part(c)).unwrap_or(code.len() - at);
            found.push((at, resolve(code[at..at + end].trim_end_matches(':'), module)));
            next = at + end;
        }
    }
    found
}

/// The paths of a `use` tree.
fn branches(tree: &str, before: &str, found: &mut dyn FnMut(&str)) {
    let tree = tree.trim();
    match tree.split_once('{') {
        None => {
            let path = tree.split(" as ").next().unwrap_or_default().trim();
            found(format!("{before}{path}").trim_end_matches("::self"));
        }
        Some((head, inner)) => {
            let before = format!("{before}{}", head.trim());
            let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
            for branch in commas(inner).into_iter().filter(|b| !b.trim().is_empty()) {
                branches(branch, &before, found);
            }
        }
    }
}

/// Splits at the commas outside braces.
fn commas(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// `super` and `self` in full.
fn resolve(path: &str, module: &[String]) -> String {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut here: Vec<&str> = module.iter().map(String::as_str).collect();
    let relative = matches!(parts.first(), Some(&"super" | &"self"));
    while let Some(first @ ("super" | "self")) = parts.first().copied() {
        if first == "super" {
            here.pop();
        }
        parts.remove(0);
    }
    if relative {
        here.extend(parts);
        return here.join("::");
    }
    parts.join("::")
}

#[test]
fn a_layer_that_knows_too_much_is_found() {
    let check_one = |path: &str, text: &str| check(&[Source::new(path, text)]);
    for (path, text) in [
        ("src/model/id.rs", "use std::{fs, io};\n"),
        ("src/model/id.rs", "fn f() { std::env::var(\"A\"); }\n"),
        ("src/plan/step.rs", "use crate::{model::id::{self}, world::{Fault}};\n"),
        ("src/plan/step.rs", "use super::super::engine::Engine;\n"),
        ("src/plan/score.rs", "use std::collections::{BTreeMap, HashMap};\n"),
        ("src/plan/score.rs", "use std::time::{Duration, Instant};\n"),
        ("src/world/store.rs", "use crate::plan::Policy;\n"),
        ("src/engine/mod.rs", "use crate::executor::Link;\n"),
        ("src/observe.rs", "use rustix::fs::stat;\n"),
        ("src/daemon.rs", "use crate::cli::Failure;\n"),
        ("src/newcomer.rs", "use std::fs;\n"),
    ] {
        assert_eq!(check_one(path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/world/store.rs", "use std::fs::File;\n"),
        ("src/plan/step.rs", "use super::score;\nuse crate::model::id::OrderId;\n"),
        ("src/model/id.rs", "#[cfg(test)]\nmod tests { use std::time::Instant; }\n"),
        ("src/model/id.rs", "// use std::fs;\n"),
    ] {
        assert_eq!(check_one(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}
