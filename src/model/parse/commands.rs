//! The keys of an order that are executed: `run`, `verify`, `execution`, `env`, `base`.
//!
//! Invariants: no placeholder of a template gets through unsubstituted; no message and no snippet
//! holds a value of `env`.

use super::fields;
use super::keys;
use super::reader::{DEFECTS_MAX, Reader};
use crate::model::defect::Defect;
use crate::model::form::names;
use crate::model::order::Order;
use crate::model::strict::{Ix, clip};
use std::collections::BTreeMap;

/// Variables that the daemon sets itself.
const RESERVED_PREFIX: &str = "JOBYARD_";

/// Shell commands: one text or a list of texts, none of them empty.
pub(super) fn list(reader: &mut Reader<'_>, ix: Ix, name: &str) -> Vec<String> {
    let tree = reader.tree;
    if tree.is_null(ix) {
        return Vec::new();
    }
    let commands = reader.text_or_texts(ix, name);
    let items: &[Ix] = tree.list(ix).unwrap_or(std::slice::from_ref(&ix));
    for item in items {
        let Some(text) = tree.text(*item).filter(|_| !tree.is_null(*item)) else { continue };
        if text.trim().is_empty() {
            reader.fail(*item, format!("`{name}`: a command is empty; write it or remove it"));
        }
        refuse_placeholder(reader, *item, name, text);
    }
    commands
}

/// `commands` and `timeout`; other keys of `verify` are kept and not read.
pub(super) fn verify(reader: &mut Reader<'_>, order: &mut Order, ix: Ix) {
    const KNOWN: [&str; keys::VERIFY.len()] = names(&keys::VERIFY);
    for (key, value) in reader.entries(ix, "verify", "a map with `commands`") {
        match reader.key(*key) {
            "commands" => order.checks = list(reader, *value, "verify.commands"),
            "timeout" => order.check_timeout = fields::limit(reader, *value, "verify.timeout"),
            word if KNOWN.contains(&word) => {}
            _ => reader.unknown_key(*key, "verify.", &KNOWN[..2]),
        }
    }
}

/// `engine`; other keys of `execution` are kept and not read.
pub(super) fn execution(reader: &mut Reader<'_>, ix: Ix) -> Option<String> {
    const KNOWN: [&str; keys::EXECUTION.len()] = names(&keys::EXECUTION);
    let mut engine = None;
    for (key, value) in reader.entries(ix, "execution", "a map with `engine`") {
        match reader.key(*key) {
            "engine" => {
                engine = reader.text(*value, "execution.engine");
                if let Some(text) = &engine {
                    refuse_placeholder(reader, *value, "execution.engine", text);
                }
            }
            word if KNOWN.contains(&word) => {}
            _ => reader.unknown_key(*key, "execution.", &KNOWN),
        }
    }
    engine
}

/// Names and values. What is said about them never holds the value, and shows no line of it.
pub(super) fn env(reader: &mut Reader<'_>, ix: Ix) -> BTreeMap<String, String> {
    let tree = reader.tree;
    let mut env = BTreeMap::new();
    if !tree.is_null(ix) && tree.map(ix).is_none() {
        fail_silently(reader, ix, "`env`: expected a map of names and texts".to_owned());
        return env;
    }
    for (key, value) in reader.entries(ix, "env", "a map of names and texts") {
        let name = reader.key(*key);
        let shown = clip(name);
        if !is_variable(name) {
            let message = format!(
                "`env`: `{shown}` is no variable name; use letters, digits and `_`, not a digit first"
            );
            fail_silently(reader, *key, message);
        } else if name.starts_with(RESERVED_PREFIX) {
            let message =
                format!("`env.{shown}`: names that begin with {RESERVED_PREFIX} are ours");
            fail_silently(reader, *key, message);
        }
        match tree.text(*value).filter(|_| !tree.is_null(*value)) {
            Some(text) if placeholder(text).is_some() => {
                let message =
                    format!("`env.{shown}`: the value holds a `{{{{…}}}}` that nobody filled in");
                fail_silently(reader, *value, message);
            }
            Some(text) => {
                env.insert(name.to_owned(), text.to_owned());
            }
            None => {
                let message = format!(
                    "`env.{shown}`: expected text; write '' for an empty value, and quote a value \
                     that holds `: ` or begins with `{{` or `[`"
                );
                fail_silently(reader, *value, message);
            }
        }
    }
    env
}

/// A revision for git, which must not be taken for an option.
pub(super) fn base(reader: &mut Reader<'_>, ix: Ix) -> Option<String> {
    let base = reader.text(ix, "base")?;
    refuse_placeholder(reader, ix, "base", &base);
    if base.starts_with('-') || base.is_empty() || base.contains(char::is_whitespace) {
        reader.fail_type(ix, "base", "a git revision such as `main` or `v1.2`");
    }
    Some(base)
}

fn fail_silently(reader: &mut Reader<'_>, ix: Ix, message: String) {
    let place = reader.tree.raw(ix).place;
    let code = reader.source.code;
    let (line, column) = (place.line, place.column);
    if reader.defects.len() >= DEFECTS_MAX {
        return;
    }
    reader.defects.push(Defect { code, line, column, message, snippet: String::new() });
}

fn is_variable(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(word) && !name.as_bytes()[0].is_ascii_digit()
}

fn refuse_placeholder(reader: &mut Reader<'_>, ix: Ix, name: &str, text: &str) {
    if let Some(found) = placeholder(text) {
        let found = clip(found);
        reader
            .fail(ix, format!("`{name}`: `{found}` was never filled in; write what it stands for"));
    }
}

/// The first `{{…}}` of a text that is a placeholder: on one line, not empty, and neither a template
/// of another program (`{{.Name}}`, `{{json .}}`, `{{end}}`) nor a brace expansion of the shell.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(open) = text[from..].find("{{").map(|n| from + n) {
        let inner_start = open + 2;
        let close = text[inner_start..].find(['{', '}', '\n']).map(|n| inner_start + n);
        if let Some(close) = close.filter(|n| text[*n..].starts_with("}}")) {
            let inner = text[inner_start..close].trim();
            let foreign = inner.starts_with(['.', '$', '-', '/', '"', '\''])
                || inner.contains([',', '\\'])
                || inner.contains(" .")
                || inner.contains(" $")
                || matches!(inner, "" | "end" | "else" | "break" | "continue");
            if !foreign {
                return Some(&text[open..close + 2]);
            }
        }
        from = open + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_other_braces() {
        let check = |text: &str, want: Option<&str>| assert_eq!(placeholder(text), want, "{text}");
        check("echo {{item}}", Some("{{item}}"));
        check("echo {{ outputs.plan }} x", Some("{{ outputs.plan }}"));
        check("a {{.Id}} {{original_prompt}}", Some("{{original_prompt}}"));
        check("echo ${{ matrix.os }}", Some("{{ matrix.os }}"));
        check("{{{item}}}", Some("{{item}}"));
        check("docker inspect -f '{{.State}}' x", None);
        check("go list -f '{{json .}}{{end}}'", None);
        check("echo {{a,b},c}", None);
        check("awk '{{print}\n}'", None);
        check("f() { { true; } }", None);
        check("find {{}}", None);
        check("{{{{{{", None);
    }
}
