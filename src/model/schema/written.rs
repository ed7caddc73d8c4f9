//! Schemas of what jobyard writes: verdicts, findings, and lines of the ledger.

use super::table::head;
use crate::model::event::Event;
use crate::model::verdict::VerdictFile;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// `verdict.json`. Fields are added, never changed: readers leave alone what they do not know.
pub(super) fn verdict(title: &str) -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.inline_subschemas = true;
    let mut made = settings.into_generator().into_root_schema_for::<VerdictFile>();
    let mut schema = head(title);
    for key in ["type", "required", "properties"] {
        schema.insert(key.to_owned(), made.remove(key).unwrap_or_default());
    }
    Value::Object(schema)
}

/// What `lint --json` prints: findings, and how many there are of each severity.
pub(super) fn findings(title: &str) -> Value {
    let text = |text: &str| json!({ "type": "string", "description": text });
    let severities = json!(["P0", "P1", "P2"]);
    let finding = json!({
        "type": "object",
        "required": ["code", "severity", "id", "file", "line", "message", "repair"],
        "properties": {
            "code": { "type": "string", "pattern": "^[a-z]+(-[a-z]+)*$", "description": "Stable word" },
            "severity": { "enum": severities, "description": "P0: a contradiction; P1; P2: worth knowing" },
            "id": { "type": ["string", "null"], "description": "The order, where it is about one" },
            "file": text("File or directory, relative to the root"),
            "line": { "type": "integer", "minimum": 0, "description": "From 1; 0 for the whole file" },
            "message": text("What is wrong"),
            "repair": text("What cures it"),
        },
    });
    let count = json!({ "type": "integer", "minimum": 0 });
    let mut schema = head(title);
    schema.insert("type".to_owned(), "object".into());
    schema.insert("required".to_owned(), json!(["schema", "findings", "findings_by_severity"]));
    let properties = json!({
        "schema": { "const": "jobyard.lint.v1" },
        "findings": { "type": "array", "items": finding },
        "findings_by_severity": {
            "type": "object",
            "required": severities,
            "properties": { "P0": count, "P1": count, "P2": count },
        },
    });
    schema.insert("properties".to_owned(), properties);
    Value::Object(schema)
}

/// A line of the ledger: its place in the chain, and one of the events with what belongs to it.
pub(super) fn ledger(title: &str) -> Value {
    let hash =
        |text: &str| json!({ "type": "string", "pattern": "^[0-9a-f]{64}$", "description": text });
    let mut schema = head(title);
    schema.insert("type".to_owned(), "object".into());
    schema.insert("required".to_owned(), json!(["seq", "time", "event", "prev", "hash"]));
    let properties = json!({
        "seq": { "type": "integer", "minimum": 1, "description": "From 1, without gaps" },
        "time": { "type": "string", "format": "date-time", "description": "When, in UTC" },
        "id": { "type": "string", "description": "The order, unless it concerns the whole root" },
        "event": { "type": "string", "description": "What happened" },
        "attempt": { "type": "integer", "minimum": 1, "description": "Number of the attempt" },
        "prev": hash("Hash of the line before"),
        "hash": hash("SHA-256 of the bytes of this line before `,\"hash\":`"),
    });
    schema.insert("properties".to_owned(), properties);
    let event = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Event>();
    for key in ["oneOf", "$defs"] {
        schema.insert(key.to_owned(), event.get(key).cloned().unwrap_or_default());
    }
    Value::Object(schema)
}
