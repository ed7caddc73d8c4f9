//! `verdict.json` is what its published schema says, and an attempt without one says how it ended.

use super::super::yard::Yard;
use jobyard::model::schema::text;
use serde_json::Value;

/// What of a value the schema does not allow: the keywords that it uses, nothing more.
fn wrongs(at: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    let name = |v: &Value| match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => vec![name(value).into()],
        one => vec![one.clone()],
    };
    if !types.iter().any(|t| t == name(value)) {
        found.push(format!("{at}: {value} is none of {types:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    if schema["const"] != Value::Null && schema["const"] != *value {
        found.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            found.push(format!("{at}: {key} is missing"));
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(schema) => wrongs(&format!("{at}.{key}"), schema, inner, found),
            None => found.push(format!("{at}: {key} is not published")),
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        wrongs(&format!("{at}[]"), &schema["items"], inner, found);
    }
}

#[test]
fn verdicts_follow_the_published_schema() {
    let schema: Value = serde_json::from_str(&text("verdict").unwrap()).unwrap();
    let yard = Yard::git();
    let commit = "echo x > other.txt; git add -A; git commit -qm x";
    let check = "verify: {commands: ['test -f src/a.txt', nosuchcommand, 'kill $$', echo]}\n";
    yard.submit("PASS", "run: 'true'\nverify: {commands: ['test -f src/a.txt']}\n");
    yard.submit("FAIL", &format!("run: 'true'\n{check}"));
    yard.submit("OUT", &format!("run: '{commit}'\nscope: {{allow: [src/**]}}\n{check}"));
    yard.submit("NONE", "run: 'true'\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    for (id, result) in
        [("PASS", "pass"), ("FAIL", "fail"), ("OUT", "fail"), ("NONE", "unverified")]
    {
        let verdict = yard.verdict(id, 1);
        let mut found = Vec::new();
        wrongs(id, &schema, &verdict, &mut found);
        assert_eq!(found, Vec::<String>::new(), "{verdict}");
        assert_eq!(verdict["result"], result, "{verdict}");
    }
    let mut verdict = yard.verdict("PASS", 1);
    verdict["attempt"] = "1".into();
    verdict.as_object_mut().unwrap().remove("base");
    let mut found = Vec::new();
    wrongs("PASS", &schema, &verdict, &mut found);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn the_page_names_every_field() {
    let schema: Value = serde_json::from_str(&text("verdict").unwrap()).unwrap();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verdict.md");
    let page = std::fs::read_to_string(page).unwrap();
    let of = |schema: &Value| -> Vec<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let properties = &schema["properties"];
    let lists = ["checks", "scope_violations"].map(|key| of(&properties[key]["items"]));
    for key in of(&schema).iter().chain(lists.iter().flatten()) {
        let named = page.contains(&format!("`{key}`")) || page.contains(&format!("[].{key}`"));
        assert!(named, "{key} is not in the page");
    }
}

#[test]
fn an_attempt_without_a_verdict_says_in_its_directory_how_it_ended() {
    let yard = Yard::bare();
    yard.submit("A", "run: ['true', 'exit 3']\nworkspace: none\n");
    yard.submit("B", "run: sleep 600\nworkspace: none\ntimeout: 50ms\n");
    yard.submit("C", "run: nosuchcommand\nworkspace: none\n");
    yard.submit("D", "run: 'true'\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    let end = |id: &str| yard.text(&format!("_ctx/runs/{id}/1/end.txt"));
    let text = end("A");
    assert!(text.starts_with("attempt 1 of A: fail (exit-3)\n01-run-1.log: exit 0"), "{text}");
    assert!(text.contains("02-run-2.log: exit 3"), "{text}");
    assert!(end("B").contains("it ran past its timeout"), "{}", end("B"));
    assert!(end("C").contains("nosuchcommand"), "{}", end("C"));
    assert!(!yard.path("_ctx/runs/D/1/end.txt").exists());
}
