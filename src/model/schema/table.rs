//! Schemas of people's files, made of the tables of their keys.

use crate::model::dod::ENTRY;
use crate::model::form::{Form, Key};
use crate::model::id::ID_BYTES_MAX;
use crate::model::time::Millis;
use serde_json::{Map, Value, json};

/// Types of a scalar: YAML makes numbers and truths of texts that look like them.
const SCALAR: [&str; 3] = ["string", "number", "boolean"];

/// Durations as text.
const SPAN: &str = "^([0-9]+|([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$";

/// Head of every schema.
pub(super) fn head(title: &str) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".to_owned(), title.into());
    schema
}

/// The schema of a file that is one map.
pub(super) fn whole(title: &str, keys: &[Key]) -> Value {
    let mut schema = head(title);
    schema.extend(map(keys));
    Value::Object(schema)
}

/// The schema of a catalogue file: a list under `dod`, a list alone, or one entry.
pub(super) fn catalogue(title: &str) -> Value {
    let mut schema = head(title);
    let entry = json!({ "$ref": "#/$defs/entry" });
    let list = json!({ "type": "array", "items": entry });
    let under = json!({
        "type": "object",
        "required": ["dod"],
        "properties": { "dod": or_null(list.clone()) },
    });
    let alone = json!({ "allOf": [entry], "not": { "required": ["dod"] } });
    schema.insert("anyOf".to_owned(), json!([under, list, alone]));
    schema.insert("$defs".to_owned(), json!({ "entry": map(&ENTRY) }));
    Value::Object(schema)
}

/// A map: its known keys; all others are left alone.
fn map(keys: &[Key]) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    let required: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    let property = |key: &Key| {
        let value = value(key.form);
        let value = if key.required { value } else { or_null(value) };
        let mut property = Map::new();
        property.insert("description".to_owned(), key.text.into());
        property.extend(value.as_object().cloned().unwrap_or_default());
        (key.name.to_owned(), Value::Object(property))
    };
    schema.insert("properties".to_owned(), Value::Object(keys.iter().map(property).collect()));
    schema
}

/// The same, or absent.
fn or_null(mut schema: Value) -> Value {
    let absent = json!({ "type": "null" });
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.push(absent);
        return schema;
    }
    let words = schema.get("enum").is_some();
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(one) if !words => *one = json!([one.take(), "null"]),
        _ if words => return json!({ "anyOf": [schema, absent] }),
        _ => {}
    }
    schema
}

fn value(form: Form) -> Value {
    match form {
        Form::Any => json!({}),
        Form::Text => json!({ "type": SCALAR }),
        Form::Filled => json!({ "type": SCALAR, "pattern": "\\S" }),
        Form::Id => json!({
            "type": SCALAR,
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            "maxLength": ID_BYTES_MAX,
            "not": { "type": "string", "pattern": "[.][.]|[.]$|[.]lock$" },
        }),
        Form::Revision => json!({ "type": SCALAR, "pattern": "^[^-\\s]\\S*$" }),
        Form::Beginning(text) => json!({ "type": "string", "pattern": format!("^{text}") }),
        Form::One => json!({ "enum": [1, "1"] }),
        Form::Words(words) => json!({ "enum": words }),
        Form::AnyCase(words) => either(words, any_case),
        Form::Dashed(words) => either(words, |word| word.replace('-', "[-_]")),
        Form::When => {
            json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9].+)?$" })
        }
        Form::Time => {
            json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9].+$" })
        }
        Form::Span => span(0),
        Form::Limit => span(1),
        Form::Whole(most) => json!({ "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": most },
            { "type": "string", "pattern": "^[0-9]+$" },
        ] }),
        Form::Share(least, most) => json!({ "anyOf": [
            { "type": "number", "minimum": least, "maximum": most },
            { "type": "string", "pattern": "^[0-9]+([.][0-9]{1,2}| *%)?$" },
        ] }),
        Form::Variables => json!({
            "type": "object",
            "propertyNames": {
                "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
                "not": { "pattern": "^JOBYARD_" },
            },
            "additionalProperties": { "type": SCALAR },
        }),
        Form::Map(keys) => Value::Object(map(keys)),
        Form::List(item) => json!({ "type": "array", "items": value(*item) }),
        Form::Either(forms) => {
            let choices: Vec<Value> = forms.iter().map(|form| value(*form)).collect();
            json!({ "anyOf": choices })
        }
    }
}

/// Seconds as a number, or a text with units.
fn span(least: u64) -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": least, "maximum": Millis::MAX.0 / 1000 },
        { "type": "string", "minLength": 1, "pattern": SPAN },
    ] })
}

/// The words for completion, and a pattern for the other ways to write them.
fn either(words: &[&str], pattern: impl Fn(&str) -> String) -> Value {
    let patterns: Vec<String> = words.iter().map(|word| pattern(word)).collect();
    let pattern = format!("^({})$", patterns.join("|"));
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": pattern }] })
}

fn any_case(word: &str) -> String {
    let letter = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        false => c.to_string(),
    };
    word.chars().map(letter).collect()
}
