//! The published schemas: JSON Schema (draft 2020-12) of what people write and what jobyard prints.
//!
//! Invariants: made of the tables that the parsers use and of the types that are written, so that they
//! cannot differ from them; a schema refuses nothing that the parser accepts. What a schema cannot say
//! (an id that differs from the file name, placeholders, keys that stand twice) the parser still refuses.

mod table;
mod written;

use super::backlog::BACKLOG;
use super::parse::keys::ORDER;

/// One published schema.
#[derive(Debug)]
pub struct Published {
    /// What `jobyard schema` calls it; the file is `schema/<name>.schema.json`.
    pub name: &'static str,
    /// What it describes.
    pub text: &'static str,
}

const fn published(name: &'static str, text: &'static str) -> Published {
    Published { name, text }
}

const VERDICT: &str = "what the gate decided about an attempt, verdict.json";

/// All of them.
pub const ALL: [Published; 6] = [
    published("work-order", "a work order, one YAML file"),
    published("backlog", "the epics, _ctx/backlog/backlog.yaml"),
    published("dod", "a file of the DoD catalogue, _ctx/dod/*.yaml"),
    published("verdict", VERDICT),
    published("findings", "what is wrong with a root, as `jobyard lint --json` prints it"),
    published("ledger", "a line of the ledger, _ctx/audit/*.jsonl"),
];

/// The text of a schema, with its last newline; `None` when there is none of this name.
pub fn text(name: &str) -> Option<String> {
    let title = ALL.iter().find(|p| p.name == name)?.text;
    let value = match name {
        "work-order" => table::whole(title, &ORDER),
        "backlog" => table::whole(title, &BACKLOG),
        "dod" => table::catalogue(title),
        "findings" => written::findings(title),
        "ledger" => written::ledger(title),
        _ => return Some(verdict()),
    };
    Some(format!("{value:#}\n"))
}

/// That of `verdict.json`, which `init` hands out.
pub fn verdict() -> String {
    format!("{:#}\n", written::verdict(VERDICT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_text_and_no_other() {
        assert!(ALL.iter().all(|p| text(p.name).is_some_and(|t| t.ends_with("}\n"))));
        assert_eq!(text("tickets"), None);
    }
}
