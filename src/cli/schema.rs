//! `jobyard schema`: the published JSON Schemas, for editors and other tools.

use super::{Failure, Globals, Outcome, code, out, say};
use crate::model::parse::nearest;
use crate::model::schema::{self, ALL};
use serde_json::{Value, json};

/// Flags of `jobyard schema`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Which schema (default: list them)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Runs it. No root is needed.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let Some(name) = given.name else { return list(globals) };
    let Some(text) = schema::text(&name) else { return Err(unknown(&name)) };
    if globals.json {
        let document = serde_json::from_str::<Value>(&text)
            .map_err(|e| Failure::new(code::FAILED, format!("read schema {name}: {e}")))?;
        say::object("schema", [("name", name.into()), ("document", document)])?;
        return Ok(code::DONE);
    }
    out::text(&text)?;
    Ok(code::DONE)
}

fn list(globals: &Globals) -> Outcome {
    if globals.json {
        let schemas: Value =
            ALL.iter().map(|p| json!({ "name": p.name, "text": p.text })).collect();
        say::object("schemas", [("schemas", schemas)])?;
        return Ok(code::DONE);
    }
    for published in &ALL {
        say::line(&format!("{:<11} {}", published.name, published.text))?;
    }
    Ok(code::DONE)
}

fn unknown(name: &str) -> Failure {
    let names = ALL.map(|p| p.name);
    let near = nearest(name, &names).map_or_else(String::new, |n| format!("; nearest: {n}"));
    let text = format!("no schema `{}`{near}; there are: {}", out::plain(name), names.join(", "));
    Failure::new(code::NOT_FOUND, text)
}
