//! A small check of JSON Schema: the keywords that our schemas use, nothing more.
//!
//! Invariant: a keyword that is not understood ends the test, so that nothing passes unlooked at.

use regex_lite::Regex;
use serde_json::Value;

/// Keywords that say nothing about a value.
const REMARKS: [&str; 7] =
    ["$schema", "$defs", "title", "description", "default", "format", "$comment"];

/// What of a value a schema does not allow; the first of it.
pub(super) fn wrong(schema: &Value, value: &Value) -> Option<String> {
    Check { whole: schema }.wrong(schema, value)
}

struct Check<'s> {
    whole: &'s Value,
}

impl Check<'_> {
    fn wrong(&self, schema: &Value, value: &Value) -> Option<String> {
        if *schema == Value::Bool(true) {
            return None;
        }
        let schema = schema.as_object().unwrap();
        let with = |(key, wanted): (&String, &Value)| {
            let wrong = self.keyword(key, wanted, value, schema.get("properties"))?;
            Some(format!("{value}: {key}: {wrong}"))
        };
        schema.iter().find_map(with)
    }

    fn keyword(
        &self,
        key: &str,
        wanted: &Value,
        value: &Value,
        properties: Option<&Value>,
    ) -> Option<String> {
        let fails = |is_wrong: bool| is_wrong.then(|| wanted.to_string());
        let fits = |schema: &Value| self.wrong(schema, value).is_none();
        let list = || wanted.as_array().unwrap();
        match key {
            _ if REMARKS.contains(&key) => None,
            "type" => fails(!one_or_more(wanted).iter().any(|t| is(t, value))),
            "enum" => fails(!list().contains(value)),
            "const" => fails(wanted != value),
            "anyOf" => fails(!list().iter().any(fits)),
            "oneOf" => fails(list().iter().filter(|s| fits(s)).count() != 1),
            "allOf" => list().iter().find_map(|s| self.wrong(s, value)),
            "not" => fails(fits(wanted)),
            "$ref" => {
                let path = wanted.as_str().unwrap().trim_start_matches('#');
                self.wrong(self.whole.pointer(path).unwrap(), value)
            }
            "pattern" => {
                let regex = Regex::new(wanted.as_str().unwrap()).unwrap();
                fails(value.as_str().is_some_and(|text| !regex.is_match(text)))
            }
            "minLength" => fails(length(value).is_some_and(|n| n < wanted.as_u64().unwrap())),
            "maxLength" => fails(length(value).is_some_and(|n| n > wanted.as_u64().unwrap())),
            "minimum" => fails(value.as_f64().is_some_and(|n| n < wanted.as_f64().unwrap())),
            "maximum" => fails(value.as_f64().is_some_and(|n| n > wanted.as_f64().unwrap())),
            "required" => {
                let absent = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
                value.as_object().and_then(|_| list().iter().find(absent)).map(Value::to_string)
            }
            "properties" => wanted.as_object().unwrap().iter().find_map(|(key, schema)| {
                self.wrong(schema, value.get(key)?).map(|wrong| format!("{key}: {wrong}"))
            }),
            "propertyNames" => {
                let names = value.as_object().into_iter().flat_map(|map| map.keys());
                names.clone().find_map(|name| self.wrong(wanted, &name.as_str().into()))
            }
            "additionalProperties" => {
                let known = |key: &str| properties.is_some_and(|p| p.get(key).is_some());
                let mut others = value.as_object().into_iter().flatten().filter(|(k, _)| !known(k));
                others.find_map(|(_, inner)| self.wrong(wanted, inner))
            }
            "items" => value.as_array()?.iter().find_map(|item| self.wrong(wanted, item)),
            "prefixItems" => {
                let pairs = value.as_array()?.iter().zip(list());
                pairs.into_iter().find_map(|(item, schema)| self.wrong(schema, item))
            }
            _ => panic!("the keyword {key} is not understood"),
        }
    }
}

fn one_or_more(wanted: &Value) -> Vec<Value> {
    wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()])
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|n| n.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not understood"),
    }
}

fn length(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

#[test]
fn the_check_finds_what_is_wrong() {
    use serde_json::json;
    let schema = json!({
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"anyOf": [{"enum": ["x"]}, {"$ref": "#/$defs/n"}]}},
        "additionalProperties": {"type": ["string", "null"], "pattern": "^y", "maxLength": 2},
        "propertyNames": {"not": {"pattern": "^z"}},
        "$defs": {"n": {"type": "integer", "minimum": 2, "maximum": 3}}
    });
    for right in [json!({"a": "x"}), json!({"a": 2, "b": "y", "c": null})] {
        assert_eq!(wrong(&schema, &right), None);
    }
    for bad in [
        json!([]),
        json!({}),
        json!({"a": "y"}),
        json!({"a": 1}),
        json!({"a": 4}),
        json!({"a": 2.5}),
        json!({"a": 2, "b": 1}),
        json!({"a": 2, "b": "x"}),
        json!({"a": 2, "b": "yyy"}),
        json!({"a": 2, "z": "y"}),
    ] {
        assert!(wrong(&schema, &bad).is_some(), "{bad}");
    }
}
