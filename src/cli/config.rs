//! `jobyard config`: the configuration that counts, and where each value comes from.
//!
//! Invariants: what is printed is valid TOML that reads as the same configuration; names of variables are
//! printed, never their values; a broken file is named with line and column, and no value is printed.

use super::{Failure, Globals, Outcome, code, out, root, say};
use crate::model::config::{Setting, effective};
use crate::model::parse::nearest;
use crate::model::paths;
use serde_json::{Value, json};

/// Flags of `jobyard config`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print the value of this key only, such as log.max
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    let root = globals.find_root()?;
    let text = root::config_text(&root)?.unwrap_or_default();
    let settings = effective(&text).map_err(|defects| root::refused(&root, &defects))?;
    if let Some(key) = &given.key {
        let found = settings.iter().find(|s| s.key() == *key);
        return one(globals, found.ok_or_else(|| unknown(key, &settings))?);
    }
    if globals.json {
        let all: Value = settings.iter().map(object).collect();
        say::object("config", [("file", paths::CONFIG.into()), ("settings", all)])?;
        return Ok(code::DONE);
    }
    out::text(&toml(&settings))?;
    Ok(code::DONE)
}

/// The value alone; a text without quotes, and nothing where nothing is set.
fn one(globals: &Globals, setting: &Setting) -> Outcome {
    if globals.json {
        say::object("config", [("file", paths::CONFIG.into()), ("setting", object(setting))])?;
        return Ok(code::DONE);
    }
    match &setting.value {
        Some(toml::Value::String(text)) => say::line(text)?,
        Some(value) => say::line(&value.to_string())?,
        None => {}
    }
    Ok(code::DONE)
}

fn object(setting: &Setting) -> Value {
    json!({
        "key": setting.key(),
        "value": setting.value.as_ref().map(plain),
        "source": if setting.line.is_some() { "file" } else { "default" },
        "line": setting.line,
    })
}

fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Array(items) => items.iter().map(plain).collect(),
        other => other.to_string().into(),
    }
}

/// Everything as a file, with a remark on each line.
fn toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut table: &[String] = &[];
    for setting in settings {
        if setting.table != table {
            table = &setting.table;
            let names: Vec<String> = table.iter().map(|name| bare(name)).collect();
            text.push_str(&format!("\n[{}]\n", names.join(".")));
        }
        let from = match setting.line {
            Some(line) => format!("{}:{line}", paths::CONFIG),
            None => "default".to_owned(),
        };
        let line = match &setting.value {
            Some(value) => format!("{} = {}", setting.name, single(value)),
            None => format!("# {} is not set", setting.name),
        };
        let gap = " ".repeat(32_usize.saturating_sub(out::width(&line)).max(1));
        text.push_str(&format!("{line}{gap}# {from}\n"));
    }
    text
}

/// A value on one line: a text of several lines would take the remark in.
fn single(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => quoted(text),
        toml::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(single).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}

/// A basic string of TOML, safe to print.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            _ if out::plain(c.encode_utf8(&mut [0; 4])).starts_with('\\') => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(c)));
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The name of a table; quoted where TOML wants that.
fn bare(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { quoted(name) }
}

fn unknown(key: &str, settings: &[Setting]) -> Failure {
    let keys: Vec<String> = settings.iter().map(Setting::key).collect();
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let near = nearest(key, &names).or_else(|| {
        let last = |k: &&&str| k.rsplit('.').next() == key.rsplit('.').next();
        names.iter().find(last).map(|k| (*k).to_owned())
    });
    let near =
        near.map_or_else(|| "`jobyard config` lists them".to_owned(), |n| format!("nearest: {n}"));
    Failure::new(
        code::NOT_FOUND,
        format!("no key `{}` in the configuration; {near}", out::plain(key)),
    )
}
