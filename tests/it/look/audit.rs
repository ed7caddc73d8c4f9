//! `audit`: a ledger that was touched is found, and the first bad line named.

use super::say;
use crate::yard::Yard;
use std::fs;

const LEDGER: &str = "_ctx/audit/00000001.jsonl";

fn worked() -> Yard {
    let yard = Yard::git();
    yard.submit("WO-1", "run: 'true'\nworkspace: none\nverify: {commands: [test -d .]}\n");
    yard.submit("WO-2", "run: 'false'\nworkspace: none\n");
    assert_eq!(yard.drain(), 0);
    yard
}

/// What `audit verify` says after the lines of the ledger were changed.
#[track_caller]
fn after(change: impl Fn(&mut Vec<String>)) -> (i32, String) {
    let yard = worked();
    let mut lines: Vec<String> = yard.text(LEDGER).lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(yard.path(LEDGER), lines.join("\n") + "\n").unwrap();
    let said = say(&yard, &["audit", "verify", "--json"]);
    let json = said.json();
    assert_eq!(json["ok"], said.code == 0);
    let bad = &json["bad"];
    let person = say(&yard, &["audit", "verify"]);
    assert_eq!(person.code, said.code);
    let first = person.out.lines().next().unwrap().to_owned();
    if said.code != 0 {
        assert!(first.starts_with(bad["file"].as_str().unwrap()), "{first}");
    }
    (
        said.code,
        format!("{}:{} {}", bad["file"].as_str().unwrap_or(""), bad["line"], bad["message"]),
    )
}

#[test]
fn a_whole_ledger_is_whole() {
    let yard = worked();
    let json = say(&yard, &["audit", "verify", "--json"]).json();
    assert_eq!(json["schema"], "jobyard.audit.v1");
    assert_eq!(
        (&json["ok"], &json["stamps"], &json["verdicts"]),
        (&true.into(), &2.into(), &1.into())
    );
    let limit = json["limit"].as_str().unwrap();
    assert!(limit.contains("rewritten") && limit.contains("cut off at the end"), "{limit}");
    assert_eq!(json["lines"], yard.ledger().len());
}

#[test]
fn changed_removed_swapped_and_cut_lines_are_found() {
    let (code, first) = after(|l| l[4] = l[4].replacen("WO-", "XX-", 1));
    assert_eq!(code, 7);
    assert!(
        first.starts_with("_ctx/audit/00000001.jsonl:5 ") && first.contains("changed"),
        "{first}"
    );
    let (code, first) = after(|l| drop(l.remove(4)));
    assert_eq!(code, 7);
    assert!(
        first.starts_with("_ctx/audit/00000001.jsonl:5 ") && first.contains("5 is expected"),
        "{first}"
    );
    let (code, first) = after(|l| l.swap(4, 5));
    assert_eq!(code, 7);
    assert!(first.starts_with("_ctx/audit/00000001.jsonl:5 "), "{first}");
    let (code, first) = after(|l| l.truncate(6));
    assert_eq!(code, 7);
    assert!(first.contains("cut off"), "{first}");
    let (code, first) = after(|l| drop(l.remove(0)));
    assert_eq!(code, 7);
    assert!(first.starts_with("_ctx/audit/00000001.jsonl:1 "), "{first}");
    let more = |l: &mut Vec<String>| {
        l[4].pop();
        l[4].push_str(",\"event\":\"intake\"}");
    };
    let (code, first) = after(more);
    assert_eq!(code, 7);
    assert!(
        first.starts_with("_ctx/audit/00000001.jsonl:5 ") && first.contains("end in its hash"),
        "{first}"
    );
}

#[test]
fn torn_lines_count_only_as_torn_lines() {
    let torn = |l: &mut Vec<String>| {
        let half = l[5][..40].to_owned();
        l.insert(5, format!("{half} ~TORN"));
    };
    assert_eq!(after(torn).0, 0);
    let (code, first) = after(|l| l.insert(5, "{\"seq\":3,\"time\" ~TORN".to_owned()));
    assert_eq!(code, 7);
    assert!(first.starts_with("_ctx/audit/00000001.jsonl:6 ") && first.contains("torn"), "{first}");
    let (code, first) = after(|l| l[5].push_str(" ~TORN"));
    assert_eq!(code, 7, "a line hidden as torn");
    assert!(first.starts_with("_ctx/audit/00000001.jsonl:7 "), "{first}");
    let mut yard = worked();
    let text = yard.text(LEDGER);
    let next = yard.ledger().len() + 1;
    fs::write(yard.path(LEDGER), format!("{text}{{\"seq\":{next},\"ti")).unwrap();
    let said = say(&yard, &["audit", "verify"]);
    let line = format!("{LEDGER}:{next}: the last line is cut off");
    assert!(said.code == 7 && said.out.starts_with(&line), "{}", said.out);
    // Somebody who holds the root may just be writing it.
    fs::write(yard.path(LEDGER), &text).unwrap();
    yard.start();
    yard.settle_down("LAST");
    let text = yard.text(LEDGER);
    let next = yard.ledger().len() + 1;
    fs::write(yard.path(LEDGER), format!("{text}{{\"seq\":{next},\"ti")).unwrap();
    let said = say(&yard, &["audit", "verify"]);
    assert!(said.code == 0 && said.out.contains("no newline yet"), "{}", said.out);
    fs::write(yard.path(LEDGER), text).unwrap();
}

#[test]
fn lines_cut_off_at_the_end_are_missed_by_what_they_left_behind() {
    let cut = |yard: &Yard, lines: usize| {
        let text = yard.text(LEDGER);
        let kept: Vec<&str> = text.lines().collect();
        fs::write(yard.path(LEDGER), kept[..kept.len() - lines].join("\n") + "\n").unwrap();
        let said = say(yard, &["audit", "verify"]);
        fs::write(yard.path(LEDGER), text).unwrap();
        said
    };
    let yard = worked();
    yard.submit("B", "run: 'true'\nworkspace: none\n");
    for verb in ["hold", "unhold"] {
        assert_eq!(say(&yard, &[verb, "B"]).code, 0);
    }
    let said = say(&yard, &["audit", "verify"]);
    assert_eq!(said.code, 0, "{}", said.out);
    let said = cut(&yard, 2);
    assert!(said.code == 7 && said.out.contains("control/.answered/B."), "{}", said.out);
    // A command that runs has a log; a person's request lies in the run directory.
    assert_eq!(say(&yard, &["take", "B"]).code, 0);
    assert_eq!(say(&yard, &["audit", "verify"]).code, 0);
    let claiming = yard.ledger().iter().position(|l| l["event"] == "claiming" && l["id"] == "B");
    let said = cut(&yard, yard.ledger().len() - claiming.unwrap());
    assert!(said.code == 7 && said.out.contains("_ctx/runs/B/1/B.take."), "{}", said.out);
    let mut yard = Yard::bare();
    yard.start();
    yard.fifo("gate");
    yard.submit("A", "run: cat gate\nworkspace: none\n");
    yard.until("A's log", || yard.path("_ctx/runs/A/1/01-run.log").exists());
    yard.until("A's stamp", || yard.key("running", "A", "status") == "running");
    assert_eq!(say(&yard, &["audit", "verify"]).code, 0);
    let said = cut(&yard, 1);
    assert!(said.code == 7 && said.out.contains("_ctx/runs/A/1/01-run.log: "), "{}", said.out);
    yard.open_gate("gate");
    yard.until_in("done", "A");
}

#[test]
fn stamps_and_verdicts_bind_the_ledger() {
    let yard = worked();
    let ticket = Yard::ticket("done", "WO-1");
    let text = yard.text(&ticket);
    let at = text.find("settled_hash: ").unwrap() + "settled_hash: ".len();
    let mut other = text.clone();
    other.replace_range(at..at + 4, "0000");
    yard.put(&ticket, &other);
    let said = say(&yard, &["audit", "verify"]);
    assert!(said.code == 7 && said.out.contains(&ticket), "{}", said.out);
    yard.put(&ticket, &text);
    assert_eq!(say(&yard, &["audit", "verify"]).code, 0);
    let verdict = "_ctx/runs/WO-1/1/verdict.json";
    let text = yard.text(verdict);
    for (from, to) in [("\"ledger_seq\": ", "\"ledger_seq\": 1"), ("\"pass\"", "\"unverified\"")] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        yard.put(verdict, &changed);
        let said = say(&yard, &["audit", "verify"]);
        assert!(said.code == 7 && said.out.contains(verdict), "{}", said.out);
    }
}

#[test]
fn segments_follow_each_other() {
    let yard = worked();
    let before = yard.text(LEDGER);
    yard.put("_ctx/audit/00000003.jsonl", "");
    let said = say(&yard, &["audit", "verify"]);
    assert!(
        said.code == 7 && said.out.contains("00000002.jsonl: the segment is missing"),
        "{}",
        said.out
    );
    fs::remove_file(yard.path("_ctx/audit/00000003.jsonl")).unwrap();
    let (first, second) = before.split_at(before.match_indices('\n').nth(5).unwrap().0 + 1);
    yard.put(LEDGER, first);
    yard.put("_ctx/audit/00000002.jsonl", second);
    let said = say(&yard, &["audit", "verify"]);
    assert_eq!(said.code, 0, "{}", said.out);
    let (head, _) = second.split_once('\n').unwrap();
    let changed = second.replacen(head, &head.replace("seq", "qes"), 1);
    yard.put("_ctx/audit/00000002.jsonl", &changed);
    let said = say(&yard, &["audit", "verify"]);
    assert!(
        said.code == 7 && said.out.starts_with("_ctx/audit/00000002.jsonl:1: "),
        "{}",
        said.out
    );
}

#[test]
fn the_ledger_speaks() {
    let yard = worked();
    let said = say(&yard, &["audit", "show", "WO-1"]);
    for part in [
        "seen in pending/",
        "claimed by the daemon",
        "exit 0",
        "verdict PASS",
        "settled into done/",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("WO-2"));
    let json = say(&yard, &["audit", "show", "--json"]).json();
    assert_eq!(json["lines"].as_array().unwrap().len(), yard.ledger().len());
    assert_eq!(json["lines"][0]["event"]["event"], "checkpoint");
}
