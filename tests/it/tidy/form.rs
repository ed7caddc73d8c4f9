//! Form: headers, lengths, names, and calls that have no place.

use super::source::{Source, item_end, words};

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
/// Code is cut by rustfmt at 100; comments may be a little longer.
const COLUMNS_MAX: usize = 110;

/// Words that name nothing.
const EMPTY_NAMES: [&str; 6] = ["manager", "handler", "helper", "util", "service", "processor"];

/// Files that may contain `unsafe`: each wraps one system call that leaves no other way.
const UNSAFE: [&str; 2] = ["src/world/writers.rs", "src/executor/clone.rs"];

/// Files that define a form on disk or on a socket; nothing else derives `Serialize`.
const FORMATS: [&str; 5] = [
    "src/model/attempt.rs",
    "src/model/event.rs",
    "src/model/protocol.rs",
    "src/model/sealed.rs",
    "src/model/verdict.rs",
];

/// Headers and lengths.
pub(super) fn lengths(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let path = &source.path;
        if !source.text.starts_with("//! ") {
            findings.push(format!("{path}:1: opens without `//!`"));
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{path}: {lines} lines; at most {FILE_LINES_MAX}"));
        }
        for (at, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let at = at + 1;
                findings.push(format!("{path}:{at}: {columns} columns; at most {COLUMNS_MAX}"));
            }
        }
        findings.extend(long_functions(source));
    }
    findings
}

fn long_functions(source: &Source) -> Vec<String> {
    let words = words(&source.code);
    let named = words.windows(2).filter(|pair| {
        pair[0].1 == "fn" && source.code[pair[0].0 + 2..pair[1].0].trim().is_empty()
    });
    let mut findings = Vec::new();
    for pair in named {
        let (at, name) = (pair[0].0, pair[1].1);
        let body = &source.code[at..at + item_end(&source.code[at..])];
        let lines = body.lines().count();
        if lines > FUNCTION_LINES_MAX {
            let place = source.at(at);
            findings.push(format!(
                "{place}: fn {name} has {lines} lines; at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
    findings
}

/// Names of modules, types and functions that say nothing.
pub(super) fn names(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let file = source.path.trim_end_matches(".rs").replace('/', "_");
        if says_nothing(&file) {
            findings.push(format!("{}: the file's name says nothing", source.path));
        }
        let words = words(&source.code);
        let defining = ["fn", "struct", "enum", "trait", "type", "mod", "union", "const", "static"];
        for pair in words.windows(2).filter(|p| defining.contains(&p[0].1)) {
            if says_nothing(pair[1].1) {
                findings.push(format!(
                    "{}: the name `{}` says nothing",
                    source.at(pair[1].0),
                    pair[1].1
                ));
            }
        }
    }
    findings
}

fn says_nothing(name: &str) -> bool {
    let mut parts = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            parts.push(String::new());
        }
        let part = parts.last_mut().unwrap();
        part.extend(c.to_lowercase().filter(|c| *c != '_'));
    }
    let empty = |p: &String| EMPTY_NAMES.contains(&p.strip_suffix('s').unwrap_or(p));
    parts.iter().any(empty) || EMPTY_NAMES.contains(&name.to_lowercase().as_str())
}

/// Calls and attributes that have no place, here or anywhere.
pub(super) fn calls(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources {
        let mut seen = |code: &str, banned: &[&str], why: &str| {
            for word in banned {
                for (at, _) in code.match_indices(word) {
                    let before = code[..at].chars().next_back();
                    let inside = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
                    if !inside || word.starts_with(['.', '#']) {
                        findings.push(format!("{}: `{word}`: {why}", source.at(at)));
                    }
                }
            }
        };
        seen(&source.code, &["todo!", "unimplemented!", "dbg!"], "not finished");
        seen(&source.code, &["#[ignore"], "a test that does not run proves nothing");
        seen(&source.code, &["sleep("], "wait on a condition");
        if source.path.starts_with("src/") {
            seen(&source.production, &[".unwrap()", ".expect("], "say what failed instead");
            seen(&source.production, &["Mutex<", "RwLock<"], "one loop owns the state");
        }
        if source.path != "src/main.rs" {
            seen(&source.production, &["process::exit("], "only `main` ends the process");
        }
        if !UNSAFE.contains(&source.path.as_str()) {
            seen(&source.code, &["unsafe "], "only in the files named in tests/it/tidy/form.rs");
        }
        if source.path.starts_with("src/") && !FORMATS.contains(&source.path.as_str()) {
            for (at, list) in source.production.match_indices("derive(") {
                let rest = &source.production[at..];
                let derived = &rest[..rest.find(')').unwrap_or(rest.len())];
                if words(derived).iter().any(|(_, w)| *w == "Serialize") {
                    let place = source.at(at + list.len());
                    findings.push(format!("{place}: derives Serialize, but is no file format"));
                }
            }
        }
    }
    findings
}

#[test]
fn lengths_and_headers_are_measured() {
    let long_function = format!("//! x\nfn f() {{\n{}}}\n", "    a();\n".repeat(69));
    for (text, found) in [
        ("fn f() {}\n", "opens without"),
        (&format!("//! x\n{}", "\n".repeat(500)), "501 lines"),
        (&format!("//! x\n// {}\n", "y".repeat(110)), "113 columns"),
        (&long_function, "fn f has 71 lines"),
    ] {
        let findings = lengths(&[Source::new("src/a.rs", text)]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(found), "{findings:?}");
    }
    let fits = format!("//! x\nfn f() {{\n{}}}\nfn g(\n) {{}}\n", "    a();\n".repeat(68));
    assert_eq!(lengths(&[Source::new("src/a.rs", &fits)]), Vec::<String>::new());
}

#[test]
fn empty_names_are_found() {
    for text in ["struct JobManager;", "mod utils;", "fn path_helper() {}", "enum ServiceKind {}"] {
        assert_eq!(names(&[Source::new("src/a.rs", text)]).len(), 1, "{text}");
    }
    assert_eq!(names(&[Source::new("src/plan/helpers.rs", "")]).len(), 1);
    for text in ["fn processes() {}", "struct Serviceable;", "// a helper", "fn f(handler: u8) {}"]
    {
        assert_eq!(names(&[Source::new("src/a.rs", text)]), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn calls_out_of_place_are_found() {
    let check = |path: &str, text: &str| calls(&[Source::new(path, text)]).len();
    for text in [
        "fn f() { a.unwrap(); }",
        "fn f() { a.expect(\"b\"); }",
        "fn f() { todo!() }",
        "fn f() { thread::sleep(d); }",
        "fn f() { std::process::exit(1); }",
        "fn f() { unsafe { g() } }",
        "#[derive(Clone, Serialize)] struct A;",
        "struct A(Arc<Mutex<u8>>);",
    ] {
        assert_eq!(check("src/a.rs", text), 1, "{text}");
    }
    assert_eq!(check("tests/it/a.rs", "#[test]\n#[ignore]\nfn f() {}"), 1);
    assert_eq!(check("tests/it/a.rs", "fn f() { sleep(1); }"), 1);
    for text in [
        "#[cfg(test)]\nmod tests { fn f() { a.unwrap(); } }",
        "fn f() { a.unwrap_or(1); nosleep(2); }",
        "const A: &str = \"sleep(1)\"; // todo!()",
        "#[derive(Deserialize)] struct A;",
    ] {
        assert_eq!(check("src/a.rs", text), 0, "{text}");
    }
    assert_eq!(check(UNSAFE[0], "unsafe fn f() {}"), 0);
    assert_eq!(check(FORMATS[0], "#[derive(Serialize)] struct A;"), 0);
}
