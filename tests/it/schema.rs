//! The published schemas: the files are what the verb prints, and they agree with the parsers and with
//! what jobyard writes.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod check;

use super::yard::Yard;
use check::wrong;
use jobyard::model::backlog::{BACKLOG, parse_backlog};
use jobyard::model::defect::INVALID_TICKET;
use jobyard::model::dod::{ENTRY, parse_dod};
use jobyard::model::form::{Form, Key};
use jobyard::model::parse::{keys, parse_order};
use jobyard::model::schema::{ALL, text};
use jobyard::model::strict::source::Source;
use jobyard::model::strict::{Ix, Kind, Tree};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobyard"));
    command.args(args).current_dir("/").env_remove("JOBYARD_ROOT").output().unwrap()
}

fn schema(name: &str) -> Value {
    serde_json::from_str(&text(name).unwrap()).unwrap()
}

/// A YAML text as other programs read it: by the core schema of YAML 1.2.
fn values(yaml: &str) -> Value {
    let source = Source::decode(yaml.as_bytes(), 1 << 20, INVALID_TICKET).unwrap();
    let tree = Tree::read(source).unwrap();
    value(&tree, tree.root())
}

fn value(tree: &Tree<'_>, ix: Ix) -> Value {
    match &tree.node(ix).kind {
        Kind::Map(entries) => {
            let pair = |(k, v): &(Ix, Ix)| (tree.text(*k).unwrap().to_owned(), value(tree, *v));
            Value::Object(entries.iter().map(pair).collect())
        }
        Kind::List(items) => items.iter().map(|item| value(tree, *item)).collect(),
        _ if tree.is_null(ix) => Value::Null,
        _ => match tree.plain(ix) {
            Some("true") => true.into(),
            Some("false") => false.into(),
            Some(text) => number(text).unwrap_or_else(|| text.into()),
            None => tree.text(ix).unwrap().into(),
        },
    }
}

fn number(text: &str) -> Option<Value> {
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let whole = text.parse::<i64>().ok().map(Value::from);
    whole.or_else(|| text.parse::<f64>().ok().map(Value::from)).filter(|_| begins)
}

#[test]
fn the_files_are_what_the_verb_prints() {
    let names: Vec<&str> = ALL.iter().map(|p| p.name).collect();
    for name in &names {
        let said = run(&["schema", name]);
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
        let file = format!("{PACKAGE}/schema/{name}.schema.json");
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let printed = String::from_utf8(said.stdout).unwrap();
        assert!(printed == kept, "{file} is not what is printed; run `make schema`");
        let schema: Value = serde_json::from_str(&kept).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    let said = run(&["schema"]);
    let lines = String::from_utf8(said.stdout).unwrap();
    let first = |line: &str| line.split(' ').next().unwrap().to_owned();
    assert_eq!(lines.lines().map(first).collect::<Vec<_>>(), names);
    let files = fs::read_dir(Path::new(PACKAGE).join("schema")).unwrap().count();
    assert_eq!(files, names.len(), "a file under schema/ that no name belongs to");
}

#[test]
fn an_unknown_name_is_not_found() {
    let said = run(&["schema", "work_order"]);
    assert_eq!(said.status.code(), Some(3));
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(text.contains("nearest: work-order") && said.stdout.is_empty(), "{text}");
    let said = run(&["--json", "schema"]);
    let json: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(json["schema"], "jobyard.schemas.v1");
    assert_eq!(json["schemas"][0]["name"], "work-order");
}

#[test]
fn the_examples_follow_their_schemas() {
    let mut seen = 0;
    for entry in fs::read_dir(format!("{PACKAGE}/examples")).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        let (schema_name, files) = match name.as_str() {
            "backlog.yaml" => ("backlog", vec![path]),
            "dod" => ("dod", fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect()),
            // What a graph is made of, and how.
            "graph" => continue,
            _ => ("work-order", vec![path]),
        };
        for file in files {
            let yaml = fs::read_to_string(&file).unwrap();
            assert_eq!(wrong(&schema(schema_name), &values(&yaml)), None, "{}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}

#[test]
fn what_parsers_accept_in_other_shapes_the_schemas_accept() {
    let head = "id: WO-1\ntitle: T\n";
    for body in [
        "priority: HIGH\ndeadline: '2026-01-31 18:00:00Z'\nversion: '1'\nhold: yes\n",
        "dependencies: [1, {id: B, on: always}]\ntags: one\nscope: {allow: a, x: 1}\n",
        "timeout: 90\nidle_timeout: 1h30m\nretry: {max: '2', backoff: 10, on: output_limit}\n",
        "retry: {backoff: {start: 500ms, factor: 1.5, cap: 2m, jitter: 20 %}, on: []}\n",
        "workspace: inherit:WO-2\nartifacts: {a: 1}\nenv: {A: 1, B: '', C: true}\nbase: 1.2\n",
        "x_jobyard: {attempt: 1, retry_at: '2026-01-31T18:00:00.5Z', settled_seq: x, y: 2}\n",
        "objective: ~\nrun: null\nenv:\nscope: ~\nretry: {max: ~, on: ~}\nverify: {commands: }\n",
        "trace: 5\nrisks: [1]\nmy own: {a: [b]}\n",
    ] {
        let yaml = format!("{head}{body}");
        if let Err(defects) = parse_order(yaml.as_bytes(), "WO-1") {
            panic!("{yaml}{}", defects[0]);
        }
        assert_eq!(wrong(&schema("work-order"), &values(&yaml)), None, "{yaml}");
    }
    for yaml in ["[{id: A, required_checks: [make]}]", "{id: A, required_checks: ~}", "dod:\n"] {
        assert!(parse_dod(yaml.as_bytes()).is_ok(), "{yaml}");
        assert_eq!(wrong(&schema("dod"), &values(yaml)), None, "{yaml}");
    }
}

/// A text with a hole for the value of one key, and what that value may be.
struct Hole {
    before: String,
    after: String,
    form: Form,
}

/// A hole for every key of a table and of the tables below it.
fn holes(keys: &[Key], before: &str, after: &str, found: &mut Vec<Hole>) {
    for key in keys {
        let mut head = format!("{before}{{");
        for other in keys.iter().filter(|k| k.required && k.name != key.name) {
            let id = if before.is_empty() { "WO-1" } else { "A" };
            head.push_str(&format!("{}: {id}, ", other.name));
        }
        head.push_str(&format!("{}: ", key.name));
        let tail = format!("}}{after}");
        below(&key.form, &head, &tail, found);
        found.push(Hole { before: head, after: tail, form: key.form });
    }
}

fn below(form: &Form, before: &str, after: &str, found: &mut Vec<Hole>) {
    match form {
        Form::Map(keys) => holes(keys, before, after, found),
        Form::List(item) => below(item, &format!("{before}["), &format!("]{after}"), found),
        Form::Either(forms) => forms.iter().for_each(|f| below(f, before, after, found)),
        _ => {}
    }
}

const VALUES: [&str; 13] = [
    "[]",
    "[[x]]",
    "[~]",
    "{q: 1}",
    "'no such: word!'",
    "-1",
    "1.234",
    "true",
    "''",
    "0",
    "~",
    "99999999999",
    "2026-13",
];

/// What a schema refuses, its parser refuses; and for every key it refuses something.
fn check_refusals(name: &str, found: &[Hole], refused: &dyn Fn(&str) -> bool) {
    let schema = schema(name);
    let mut strict = Vec::new();
    for hole in found {
        let mut wrongs = 0;
        for value in VALUES {
            let yaml = format!("{}{value}{}", hole.before, hole.after);
            if wrong(&schema, &values(&yaml)).is_some() {
                wrongs += 1;
                if !refused(&yaml) {
                    strict.push(yaml);
                }
            }
        }
        let free = matches!(hole.form, Form::Any);
        assert_eq!(wrongs == 0, free, "{}…{}: {wrongs} refused", hole.before, hole.after);
    }
    assert_eq!(strict, Vec::<String>::new(), "accepted by the parser, not by the schema");
}

#[test]
fn wrong_values_of_every_key_are_refused_by_schema_and_parser() {
    let mut found = Vec::new();
    holes(&keys::ORDER, "", "", &mut found);
    assert!(found.len() > 75, "{}", found.len());
    check_refusals("work-order", &found, &|yaml| parse_order(yaml.as_bytes(), "WO-1").is_err());
    found.clear();
    holes(&BACKLOG, "", "", &mut found);
    check_refusals("backlog", &found, &|yaml| parse_backlog(yaml.as_bytes()).is_err());
    found.clear();
    holes(&ENTRY, "{dod: [", "]}", &mut found);
    check_refusals("dod", &found, &|yaml| parse_dod(yaml.as_bytes()).is_err());
}

#[test]
fn findings_and_ledger_follow_their_schemas() {
    let yard = Yard::git();
    let check = "verify: {commands: ['test -f src/a.txt', 'false']}\nretry: {max: 1}\n";
    yard.submit("A", &format!("run: 'true'\nenv: {{X: y}}\n{check}"));
    yard.submit("B", "run: 'true'\nworkspace: none\ndependencies: [NONE]\nscope: {deny: [a]}\n");
    yard.submit("C", "run: [exit 3]\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    yard.put("_ctx/jobs/pending/bad.yaml", "id: [\n");
    let root = yard.root.to_str().unwrap();
    let said = run(&["lint", "--json", "--root", root]);
    let findings: Value = serde_json::from_slice(&said.stdout).unwrap();
    let published = schema("findings");
    assert_eq!(wrong(&published, &findings), None);
    let one = &published["properties"]["findings"]["items"]["properties"];
    let found = findings["findings"].as_array().unwrap();
    assert!(found.len() >= 3, "{findings}");
    for key in found.iter().flat_map(|f| f.as_object().unwrap().keys()) {
        assert!(one.get(key).is_some(), "{key} is not published");
    }
    let ledger = schema("ledger");
    let mut events = Vec::new();
    for file in fs::read_dir(yard.path("_ctx/audit")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(wrong(&ledger, &line), None);
            assert_published(&ledger, &line);
            events.push(line["event"].as_str().unwrap().to_owned());
        }
    }
    for event in ["checkpoint", "intake", "claiming", "started", "ended", "verdict", "settled"] {
        assert!(events.iter().any(|e| e == event), "{event}: {events:?}");
    }
    let unknown = json!({"seq": 1, "time": "", "event": "x", "prev": "", "hash": ""});
    assert!(wrong(&ledger, &unknown).is_some());
}

/// Every key of a line is one of the chain's or one of its event's.
fn assert_published(ledger: &Value, line: &Value) {
    let branches = ledger["oneOf"].as_array().unwrap();
    let own = |branch: &&Value| branch["properties"]["event"]["const"] == line["event"];
    let branch = branches.iter().find(own).unwrap();
    let inner = branch["$ref"].as_str().map(|path| path.trim_start_matches('#'));
    let inner = inner.and_then(|path| ledger.pointer(path)).unwrap_or(&Value::Null);
    for key in line.as_object().unwrap().keys() {
        let known = [ledger, branch, inner].iter().any(|s| s["properties"].get(key).is_some());
        assert!(known, "{key} of {} is not published", line["event"]);
    }
}
