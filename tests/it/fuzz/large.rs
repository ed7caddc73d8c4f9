//! Inputs as large as they are read at all, each made to be slow to some way of reading: what takes the
//! square of its size needs seconds here.
//!
//! Invariant: only what the fuzzer's own functions say counts; the inputs need not be accepted.

use super::outcome;
use super::targets::named;
use std::fmt::Write;

const MIB: usize = 1 << 20;

/// `head`, then a part for each number for as long as there is room, then `tail`.
fn filled(room: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for n in 0.. {
        let part = part(n);
        if text.len() + part.len() + tail.len() > room {
            break;
        }
        text.push_str(&part);
    }
    text + tail
}

/// The same with at most so many parts.
fn some(most: usize, head: &str, part: impl Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for n in 0..most {
        let _ = write!(text, "{}", part(n));
    }
    text + tail
}

#[track_caller]
fn check(target: &str, inputs: &[(&str, String)]) {
    let mut broken = Vec::new();
    for (name, input) in inputs {
        assert!(input.len() > 20_000, "{name} has {} bytes only", input.len());
        match outcome(named(target).unwrap(), input.as_bytes()) {
            Ok(slowest) => eprintln!("{target}: {name}: {slowest}"),
            Err(text) => broken.push(format!("{target}: {name}: {text}")),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// YAML of 1 MiB below some first lines, and of nearly as many values as are read.
fn yaml(head: &str) -> Vec<(&'static str, String)> {
    let key = |n: usize| format!("key{n}: x\n");
    let wide = |n: usize| format!("k{n}{}: {}\n", "y".repeat(40), "z".repeat(40));
    let anchors = some(6000, &format!("{head}x_a: ["), |n| format!("&a{n} x, "), "x]\n");
    let deep = format!("{}{}", "[".repeat(30), "]".repeat(30));
    vec![
        ("many keys", some(9000, head, key, "")),
        ("wide keys", some(9000, head, wide, "")),
        ("empty keys", some(9000, head, |_| ": \n".into(), "")),
        ("near words", some(9000, head, |n| format!("titl{n}: x\n"), "")),
        ("keys that stand twice", some(9000, head, |n| format!("key{}: x\n", n / 2), "")),
        ("keys in braces", some(9000, &format!("{head}x: {{"), |n| format!("k{n}: x, "), "}\n")),
        ("lists", some(9000, &format!("{head}tags:\n"), |n| format!("- t{n}\n"), "")),
        (
            "aliases of the first",
            some(12_000, &format!("{anchors}x_b: ["), |_| "*a0, ".into(), "x]\n"),
        ),
        ("aliases", some(6000, &format!("{anchors}x_b: ["), |n| format!("*a{n}, "), "x]\n")),
        ("deep lists", some(600, head, |n| format!("x{n}: {deep}\n{}", "#\n".repeat(50)), "")),
        ("empty lines", filled(MIB, head, |_| "\n".into(), "")),
        ("comments", filled(MIB, head, |_| "#\n".into(), "")),
        ("comments between", some(9000, head, |n| format!("# c\n\nkey{n}: x # c\n"), "")),
        ("a text in quotes", filled(MIB, &format!("{head}x: \""), |_| "\\x41".into(), "\"\n")),
        ("a text over lines", filled(MIB, &format!("{head}x: a\n"), |_| " b\n".into(), "")),
        ("a text that is kept", filled(MIB, &format!("{head}x: |+\n"), |_| " b\n\n".into(), "")),
        (
            "a text that is folded",
            filled(MIB, &format!("{head}x: >\n"), |_| " b\n\n c\n".into(), ""),
        ),
        ("a long line", filled(MIB, &format!("{head}x: "), |_| "é".into(), "\n")),
        ("a long line, not closed", filled(MIB, &format!("{head}x: \""), |_| "é".into(), "")),
        ("a long key", filled(MIB, &format!("{head}\""), |_| "k".into(), "\": x\n")),
        ("tabs", filled(MIB, &format!("{head}x: |\n"), |_| " \t\n".into(), "\ty: 1\n")),
        ("tabs in texts", some(9000, head, |n| format!("k{n}: a\n \tb\n"), "")),
        ("documents", filled(MIB, head, |_| "---\n".into(), "")),
        ("marks", filled(MIB, head, |_| "? - : ".into(), "\n")),
        ("open brackets", filled(MIB, head, |_| "[".into(), "")),
        ("open braces", filled(MIB, head, |_| "{{".into(), "")),
        ("carriage returns", filled(MIB, head, |_| "#\r".into(), "")),
    ]
}

const ORDER: &str = "id: WO-1\ntitle: T\n";

#[test]
fn orders() {
    let dependencies = some(9000, &format!("{ORDER}dependencies:\n"), |n| format!("- D{n}\n"), "");
    let same = some(15_000, &format!("{ORDER}dependencies:\n"), |_| "- D\n".into(), "");
    let bad_env = some(9000, &format!("{ORDER}env:\n"), |n| format!("  {n}: [secret]\n"), "");
    let fields = |n: usize| format!("  {}: x\n", "max_file".repeat(1 + n % 3) + &n.to_string());
    check(
        "order",
        &[
            ("dependencies", dependencies),
            ("one dependency", same),
            ("variables", some(9000, &format!("{ORDER}env:\n"), |n| format!("  V{n}: {n}\n"), "")),
            ("wrong variables", bad_env),
            ("near words below", some(9000, &format!("{ORDER}diff_budget:\n"), fields, "")),
            ("placeholders", filled(MIB, &format!("{ORDER}run: '"), |_| "{{.a".into(), "'\n")),
            ("commands", some(9000, &format!("{ORDER}run:\n"), |_| "- '{{x}}'\n".into(), "")),
            (
                "words",
                some(9000, &format!("{ORDER}retry: {{on: ["), |_| "lost, ".into(), "fail]}\n"),
            ),
            (
                "wrong types last",
                some(9000, ORDER, |n| format!("# {n}\nk{n}: x\n"), &"run: {}\n".repeat(9)),
            ),
        ],
    );
    check("order", &yaml(ORDER));
}

#[test]
fn edits() {
    // The first byte sets every bit, so that all changes are made.
    for which in ["\u{7f}0", "10", "83"] {
        check("edit", &yaml(&format!("{which}{ORDER}")));
        let own = format!("{which}{ORDER}x_jobyard:\n");
        let comments = format!("{which}{ORDER}status: |+\n");
        check(
            "edit",
            &[
                ("own keys", some(9000, &own, |n| format!("  k{n}: x\n"), "")),
                ("a text in the way", filled(MIB, &comments, |_| "  a\n\n".into(), "")),
                (
                    "in braces",
                    some(
                        9000,
                        &format!("{which}{{id: WO-1, title: T"),
                        |n| format!(", # c\n k{n}: x"),
                        "}",
                    ),
                ),
            ],
        );
    }
}

#[test]
fn backlogs_and_catalogues() {
    check("backlog", &yaml("epics:\n- id: E\n"));
    check("catalogue", &yaml("dod:\n- id: E\n"));
    let epic = |n: usize| format!("- id: E{n}\n  status: done\n");
    let same = |n: usize| format!("- id: {}\n", "E".repeat(1 + n % 2));
    check(
        "backlog",
        &[
            ("epics", some(3900, "epics:\n", epic, "")),
            ("short epics", some(6000, "epics:\n", |n| format!("- id: E{n}\n"), "")),
            ("epics in braces", some(6000, "epics: [", |n| format!("{{id: E{n}}}, "), "]\n")),
            ("the same twice", some(6000, "epics:\n", same, "")),
            (
                "a queue",
                some(9000, "epics:\n- id: E\n  wo_queue:\n", |n| format!("  - W{n}\n"), ""),
            ),
        ],
    );
    let check_of = |n: usize| format!("  - name: c{n}\n    commands: [a]\n");
    check(
        "catalogue",
        &[
            ("entries", some(6000, "dod:\n", |n| format!("- id: E{n}\n"), "")),
            ("checks", some(3000, "dod:\n- id: E\n  required_checks:\n", check_of, "")),
            (
                "empty checks",
                some(9000, "- id: E\n  required_checks:\n", |_| "  - {}\n".into(), ""),
            ),
        ],
    );
}

#[test]
fn requests_leases_and_json() {
    let request = |head: &str, part: &str| filled(64 << 10, head, |_| part.to_owned(), "");
    let keys = filled(64 << 10, "a.take\nreason: x\n", |n| format!("k{n}: 1\n"), "");
    check(
        "control",
        &[
            ("keys", keys),
            ("open", request("a.take\n{", "[")),
            ("lines", request("a.take\n", "\n")),
            ("remarks", request("a.take\n", "# x\n")),
            ("a name", request("", ".take")),
            ("text", request("a.take\nreason: '", "é")),
        ],
    );
    let lines = filled(MIB, "Locked by jobyard x\nPID: 1\nUser: ", |_| "é".into(), "\n");
    check("lease", &[("a long line", lines), ("lines", filled(MIB, "", |_| "\n".into(), ""))]);
    for target in ["verdict", "executor", "ledger"] {
        let line = "{\"seq\":1,\"time\":\"2026-01-31T18:00:00Z\",\"event\":\"intake\"";
        check(
            target,
            &[
                ("deep", filled(MIB, "{\"a\":", |_| "[".into(), "")),
                ("keys", filled(MIB, line, |n| format!(",\"k{n}\":1"), "}")),
                ("text", filled(MIB, line, |_| "\\u0041".into(), "\"}")),
                ("numbers", filled(MIB, "{\"a\":", |_| "9".into(), "}")),
                ("hashes", filled(MIB, line, |_| ",\"hash\":\"".into(), "\"}")),
            ],
        );
    }
}

#[test]
fn configurations() {
    const ROOM: usize = 256 << 10;
    let mut inputs = Vec::new();
    for change in ["\u{0}", "\u{3}", "\u{5}"] {
        let all = |head: &str, part: &dyn Fn(usize) -> String, tail: &str| {
            filled(ROOM, &format!("{change}{head}"), part, tail)
        };
        inputs.extend([
            ("groups", all("", &|n| format!("[groups.g{n}]\nslots = 1\n"), "")),
            (
                "groups in braces",
                all("groups = {", &|n| format!("g{n}={{slots=1}},"), "x={slots=1}}\n"),
            ),
            ("groups with dots", all("", &|n| format!("groups.g{n}.slots=1\n"), "")),
            ("wrong groups", all("slots = 1\n", &|n| format!("[groups.g{n}]\nslots = 2\n"), "")),
            ("engines", all("", &|n| format!("[engines.e{n}]\ncommand = 'x'\n"), "")),
            ("unknown keys", all("", &|n| format!("slot{n} = 1\n"), "")),
            ("remarks", all("", &|_| "#\n".into(), "")),
            ("empty lines", all("", &|_| "\n".into(), "slots = 1")),
            ("a text", all("[engines.e]\ncommand = \"", &|_| "\\u0041".into(), "\"\n")),
            ("a text over lines", all("[engines.e]\ncommand = '''", &|_| "a\n".into(), "'''\n")),
            ("variables", all("[env]\npass = [", &|n| format!("\"V{n}\","), "]\n")),
            ("one variable", all("[env]\npass = [", &|_| "\"V\",".into(), "]\n")),
            ("a shell", all("shell = [", &|_| "\"V\",".into(), "]\n")),
            ("open", all("shell = ", &|_| "[".into(), "")),
            ("open braces", all("shell = ", &|_| "{a=".into(), "")),
            ("dots", all("a", &|_| ".a".into(), " = 1\n")),
            ("a table with dots", all("[a", &|_| ".a".into(), "]\n")),
            ("tables with dots", all("", &|n| format!("[{}n{n}]\n", "a.".repeat(60)), "")),
            ("lists of tables", all("", &|_| "[[groups]]\n".into(), "")),
            ("the same twice", all("", &|_| "slots=1\n".into(), "")),
            ("a long line", all("\"", &|_| "é".into(), "\" = 1\n")),
            ("a number", all("slots = ", &|_| "1_0".into(), "\n")),
        ]);
    }
    check("configuration", &inputs);
}
