//! Pages and the package: links that lead somewhere, crates with a reason, words that have no place.

use std::collections::BTreeSet;

/// Words that say where the project comes from instead of what it is. Written in two parts, so that
/// this file does not hold them.
const FOREIGN: [&str; 3] = [concat!("seed", " 00"), concat!("..", "/shared"), concat!("iss", "ue")];

/// Foreign words in any text file.
pub(super) fn foreign_words(texts: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in texts {
        for (at, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for word in FOREIGN.iter().filter(|w| holds(&line, w)) {
                findings.push(format!("{path}:{}: mentions `{word}`", at + 1));
            }
        }
    }
    findings
}

/// Whether a line holds a word, not as a part of a longer one but for a plural.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].trim_start_matches('s').chars().next();
        let joined = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        !joined(before) && !joined(after)
    })
}

/// Relative links of pages that lead nowhere. `files`: every file there is.
pub(super) fn dead_links(texts: &[(String, String)], files: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in texts.iter().filter(|(p, _)| p.ends_with(".md")) {
        let mut fenced = false;
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            let links = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            for (link, _) in links.filter(|_| !fenced) {
                let target = link.split(['#', ' ']).next().unwrap_or_default();
                let elsewhere = target.is_empty() || target.contains("://");
                if !elsewhere && !leads_somewhere(path, target, files) {
                    findings.push(format!("{path}:{}: {link} leads nowhere", at + 1));
                }
            }
        }
    }
    findings
}

fn leads_somewhere(page: &str, target: &str, files: &BTreeSet<String>) -> bool {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            name => parts.push(name),
        }
    }
    let whole = parts.join("/");
    let below = format!("{whole}/");
    whole.is_empty() || files.iter().any(|f| *f == whole || f.starts_with(&below))
}

/// Crates of the package without a line in the page that gives the reasons.
pub(super) fn crates_without_reason(manifest: &str, page: &str) -> Vec<String> {
    let mut table = String::new();
    let mut missing = Vec::new();
    for line in manifest.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
            let crate_table = table.split_once("dependencies.").map(|(_, name)| name.to_owned());
            missing.extend(crate_table.filter(|name| !explained(page, name)));
        } else if table.ends_with("dependencies")
            && let Some((name, _)) = line.split_once('=')
            && !explained(page, name.trim())
        {
            missing.push(name.trim().to_owned());
        }
    }
    missing.iter().map(|name| format!("docs/dependencies.md: no line about `{name}`")).collect()
}

fn explained(page: &str, name: &str) -> bool {
    page.lines().any(|line| line.contains(&format!("`{name}`")))
}

/// Files of a crate that no `mod` of its root reaches. `texts`: path and text of the crate's files.
pub(super) fn forgotten(root: &str, texts: &[(String, String)]) -> Vec<String> {
    let dir = root.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut reached = BTreeSet::from([root.to_owned()]);
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let Some((_, text)) = texts.iter().find(|(p, _)| *p == path) else { continue };
        for file in declared(&path, text) {
            if texts.iter().any(|(p, _)| *p == file) && reached.insert(file.clone()) {
                todo.push(file);
            }
        }
    }
    let below = format!("{dir}/");
    let ours = texts.iter().filter(|(p, _)| p.starts_with(&below) && p.ends_with(".rs"));
    let lost = ours.filter(|(p, _)| !reached.contains(p));
    lost.map(|(p, _)| format!("{p}: no `mod` in {root} reaches it")).collect()
}

/// Where the files may be that a file declares as modules.
fn declared(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let (dir, file) = stem.rsplit_once('/').unwrap_or(("", stem));
    let base = if ["mod", "lib", "main"].contains(&file) { dir } else { stem };
    let mut files = Vec::new();
    let mut at_path = None;
    for line in text.lines().map(str::trim) {
        if let Some(named) = line.strip_prefix("#[path = \"").and_then(|l| l.split('"').next()) {
            at_path = Some(format!("{dir}/{named}"));
        }
        let Some((before, name)) = line.strip_suffix(';').and_then(|l| l.rsplit_once("mod "))
        else {
            continue;
        };
        if before.starts_with("//") {
            continue;
        }
        files.extend(at_path.take());
        files.push(format!("{base}/{name}.rs"));
        files.push(format!("{base}/{name}/mod.rs"));
    }
    files
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect()
}

#[test]
fn foreign_words_are_found() {
    for word in FOREIGN {
        let found = foreign_words(&owned(&[("README.md", &format!("see {word}s, or {word}."))]));
        assert_eq!(found.len(), 1, "{word}");
    }
    let (first, last) = FOREIGN[2].split_at(3);
    let joined = format!("re{first}{last} t{first}{last}");
    assert_eq!(foreign_words(&owned(&[("README.md", &joined)])), Vec::<String>::new());
}

#[test]
fn dead_links_are_found() {
    let files = BTreeSet::from(["README.md", "docs/a.md", "docs/b/c.md"].map(str::to_owned));
    let check = |page: &str, text: &str| dead_links(&owned(&[(page, text)]), &files).len();
    for link in ["docs/a.md", "docs/a.md#x", "docs/b", "docs/b/", "#here", "https://x.org/y", "."] {
        assert_eq!(check("README.md", &format!("a [link]({link}) here")), 0, "{link}");
    }
    assert_eq!(check("docs/b/c.md", "[up](../a.md) [out](../../README.md)"), 0);
    assert_eq!(check("README.md", "```\n[x](none.md)\n```\n"), 0);
    for link in ["docs/none.md", "a.md", "../README.md", "docs/a"] {
        assert_eq!(check("README.md", &format!("a [link]({link}) here")), 1, "{link}");
    }
}

#[test]
fn a_crate_without_reason_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb = { version = \"1\" }\n\
                    [dev-dependencies]\nc = \"1\"\n[dependencies.d]\nversion = \"1\"\n\
                    [lints.rust]\ne = \"deny\"\n";
    let all = "- `a`: why\n- `b`: why\n- `c`: why\n- `d`: why\n";
    assert_eq!(crates_without_reason(manifest, all), Vec::<String>::new());
    assert_eq!(crates_without_reason(manifest, "").len(), 4);
    assert_eq!(crates_without_reason(manifest, "- `a`: why\n- `c`\n- `d`\n").len(), 1);
}

#[test]
fn a_forgotten_file_is_found() {
    let texts = owned(&[
        ("tests/it/main.rs", "mod a;\n// mod e;\n#[path = \"f.rs\"]\nmod other;\n"),
        ("tests/it/a.rs", "mod b;\npub mod c;\n"),
        ("tests/it/a/b.rs", ""),
        ("tests/it/a/c/mod.rs", "mod d;\n"),
        ("tests/it/a/c/d.rs", ""),
        ("tests/it/e.rs", ""),
        ("tests/it/f.rs", ""),
        ("tests/sim/main.rs", ""),
    ]);
    let lost = forgotten("tests/it/main.rs", &texts);
    assert_eq!(lost, ["tests/it/e.rs: no `mod` in tests/it/main.rs reaches it"]);
}
