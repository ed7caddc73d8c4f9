//! The text of the project as the checks see it: comments and literals blanked, tests told apart.
//!
//! Invariant: blanking keeps every line break, so that a position in the code is one in the file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One file of the project.
pub(super) struct Source {
    /// Path relative to the package.
    pub(super) path: String,
    /// As it stands on the disk.
    pub(super) text: String,
    /// Comments and the contents of literals are blanks.
    pub(super) code: String,
    /// Like `code`, with everything under `#[cfg(test)]` blank too.
    pub(super) production: String,
}

impl Source {
    /// A file as the checks see it.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let production = blank_tests(&code);
        Self { path: path.to_owned(), text: text.to_owned(), code, production }
    }

    /// Where a byte of the file stands, for findings.
    pub(super) fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.text[..offset].matches('\n').count() + 1)
    }

    /// Code that ships: neither under `tests/` nor a test module of its own.
    pub(super) fn ships(&self) -> bool {
        self.path.starts_with("src/") && !self.production.trim().is_empty()
    }

    /// Module path of a file of the library.
    pub(super) fn module(&self) -> Vec<String> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let root = path == "lib" || path == "main";
        let parts = path.split('/').filter(|_| !root).map(str::to_owned);
        std::iter::once("crate".to_owned()).chain(parts).collect()
    }
}

/// Every Rust file of the package. Files that only tests declare have no production code.
pub(super) fn rust() -> Vec<Source> {
    let mut sources: Vec<Source> = texts()
        .into_iter()
        .filter(|(p, _)| p.ends_with(".rs"))
        .map(|(p, t)| Source::new(&p, &t))
        .collect();
    let test_files: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if test_files.iter().any(|t| stem == t || stem.starts_with(&format!("{t}/"))) {
            source.production = blank(&source.production);
        }
    }
    sources
}

/// Every text file of the package, path and content.
pub(super) fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut found);
    found.sort();
    found
}

fn walk(dir: &Path, below: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let skipped = [".git", "target", ".worktrees", "Cargo.lock"].contains(&name.as_str());
        match entry.file_type().unwrap() {
            _ if skipped => {}
            kind if kind.is_dir() => walk(&entry.path(), &path, found),
            _ => found.extend(fs::read_to_string(entry.path()).ok().map(|text| (path, text))),
        }
    }
}

/// Files that `#[cfg(test)] mod name;` declares, without their ending; `#[path]` included.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let (dir, file) = stem.rsplit_once('/').unwrap_or(("", stem));
    let base = if ["mod", "lib", "main"].contains(&file) { dir } else { stem };
    let marks = source.code.match_indices("#[cfg(test)]").map(|(at, mark)| at + mark.len());
    let names = marks.filter_map(|at| {
        let item = source.text[at..].trim_start();
        if let Some(named) = item.strip_prefix("#[path = \"") {
            return Some(format!("{dir}/{}", named.split(".rs\"").next()?));
        }
        let (name, _) = item.strip_prefix("mod ")?.split_once([';', '{', ' '])?;
        Some(format!("{base}/{name}"))
    });
    names.collect()
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c.to_string() } else { " ".repeat(c.len_utf8()) }).collect()
}

/// Blanks comments and what stands inside quotes.
fn blank_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let (kept, hidden) = match literal(rest, word) {
            Some(lengths) => lengths,
            None => (rest.chars().next().map_or(1, char::len_utf8), 0),
        };
        code.push_str(&rest[..kept]);
        code.push_str(&blank(&rest[kept..kept + hidden]));
        rest = &rest[kept + hidden..];
    }
    code
}

/// Length of what is kept and of what is hidden when `rest` begins with a comment or literal.
fn literal(rest: &str, after_word: bool) -> Option<(usize, usize)> {
    if rest.starts_with("//") {
        return Some((0, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((0, rest.find("*/").map_or(rest.len(), |end| end + 2)));
    }
    if let Some(body) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = body.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return Some((1, end.unwrap_or(body.len())).map_end(rest));
    }
    let hashes = rest.strip_prefix('r').filter(|_| !after_word);
    let hashes = hashes.or_else(|| rest.strip_prefix("br").filter(|_| !after_word));
    if let Some(raw) = hashes {
        let count = raw.len() - raw.trim_start_matches('#').len();
        let body = raw[count..].strip_prefix('"')?;
        let start = rest.len() - body.len();
        let end = body.find(&format!("\"{}", "#".repeat(count))).unwrap_or(body.len());
        return Some((start, end + 1 + count));
    }
    let body = rest.strip_prefix('\'').filter(|_| !after_word)?;
    let end = match body.strip_prefix('\\') {
        Some(escape) => 1 + escape.chars().next()?.len_utf8() + escape[1..].find('\'')?,
        None => body.chars().next()?.len_utf8(),
    };
    (body.as_bytes().get(end) == Some(&b'\'')).then_some((1, end)).map(|l| l.map_end(rest))
}

/// A hidden stretch takes its closing quote with it.
trait MapEnd {
    fn map_end(self, rest: &str) -> Self;
}

impl MapEnd for (usize, usize) {
    fn map_end(self, rest: &str) -> Self {
        (self.0, (self.1 + 1).min(rest.len() - self.0))
    }
}

/// Blanks the items that stand under `#[cfg(test)]`.
fn blank_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut production = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let item = &rest[at..];
        let end = item_end(item);
        production.push_str(&rest[..at]);
        production.push_str(&blank(&item[..end]));
        rest = &item[end..];
    }
    production + rest
}

/// Length of the item that `code` begins with: to its `;` or its closing brace.
pub(super) fn item_end(code: &str) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, c) in code.char_indices() {
        match c {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            _ => {}
        }
        let over = c == ';' || c == '}';
        if over && braces == 0 && others == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// The identifiers of some code, with where they stand.
pub(super) fn words(code: &str) -> Vec<(usize, &str)> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in code.char_indices().chain([(code.len(), ' ')]) {
        match (start, part(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                found.push((from, &code[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    found
}

#[test]
fn comments_and_literals_are_blank_and_positions_stay() {
    let text = "let a = \"x{\\\"\"; // {\nlet b = '{'; let c: &'a str = r#\"{\"}\"#; /* { */ z";
    let code = blank_literals(text);
    assert_eq!(code.len(), text.len());
    assert!(!code.contains('{') && code.ends_with(" z") && code.contains("&'a str"), "{code}");
}

#[test]
fn tests_are_no_production() {
    let source =
        Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n");
    assert!(source.production.contains("fn a") && source.production.contains("fn c"));
    assert!(!source.production.contains("fn b"));
    let declared = Source::new("src/a/mod.rs", "#[cfg(test)]\nmod tests;\n");
    assert_eq!(test_modules(&declared), ["src/a/tests"]);
    let elsewhere = Source::new("src/a/b.rs", "#[cfg(test)]\n#[path = \"c.rs\"]\nmod tests;\n");
    assert_eq!(test_modules(&elsewhere), ["src/a/c"]);
}
