//! Tests of edits: generated documents through a whole life, and mutated ones.

use super::*;
use crate::model::order::{Stamp, State};
use crate::model::parse::parse_order;

fn set(name: &'static str, value: &str) -> Change {
    Change::Set(Key::Top(name), Scalar::Text(value.to_owned()))
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % bound
    }

    fn one<'r>(&mut self, of: &[&'r str]) -> &'r str {
        of[self.below(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A document and the pieces of it that every edit must keep, in order.
struct Sample {
    text: String,
    kept: Vec<String>,
    comments: usize,
}

impl Sample {
    fn comment(&mut self) -> String {
        self.comments += 1;
        format!("# note {} é: 'x", self.comments)
    }

    /// An entry of the user, kept to the byte.
    fn foreign(&mut self, entry: &str) {
        self.text.push_str(entry);
        self.kept.push(entry.trim_end_matches(['\r', '\n']).to_owned());
    }

    /// An entry of ours: only its comment is kept.
    fn ours(&mut self, random: &mut Random, entry: &str) {
        self.text.push_str(entry);
        if random.chance(40) {
            let comment = self.comment();
            self.text.push_str(random.one(&[" ", "   ", "\t"]));
            self.text.push_str(&comment);
            self.kept.push(comment);
        }
        self.text.push('\n');
    }
}

const FOREIGN: [&str; 14] = [
    "objective: |\n  First line\n    deeper # no comment\n\n  last\n",
    "objective: >-\n    folded\n    text\n",
    "objective: |+\n  kept\n\n\n",
    "objective: |2-\n    two deep\n",
    "objective: plain text\n  over lines   # with a note\n",
    "objective: \"double \\\n  broken\\tline\"\n",
    "tags: [a, 'b', \"c\"] # flow\n",
    "scope:\n  allow:\n  - a/**  # first\n  # between\n  - \"b: c\"\n  deny: []\n",
    "scope: {allow: [x], # in flow\n  deny: []}\n",
    "governance:\n- a: 1\n  b:\n- ~\n-\n",
    "x_text:   'it''s'\t# tab before\n",
    "x_anchor: &base {a: 1}\nx_alias: *base\n",
    "'x_quoted key': yes\n? x_complex\n: value\n",
    "run:\n    - 'echo \"a: b\"'\n    - |\n      make\n      make test\n",
];

const OURS: [(&str, &[&str]); 6] = [
    ("status", &["pending", "'pending'", "\"pending\"", "", "~", "&s pending", "pen\n  ding"]),
    ("owner", &["null", "", "bob", "'bob'", "\"a: b\"", "!!str bob"]),
    ("started_at", &["2026-01-09T21:13:46Z", "'2026-01-09'", "null"]),
    ("result", &["null", "|\n  text # no comment\n\n  more", ">-\n  text", "|", "'x'"]),
    ("commit_sha", &["1234567", "\"1234567\"", ""]),
    ("x_jobyard", &["", "{}", "{attempt: 0}", "\n  attempt: 0 # x\n  other: 1", "~"]),
];

fn block_sample(random: &mut Random) -> Sample {
    let mut sample = Sample { text: String::new(), kept: Vec::new(), comments: 0 };
    if random.chance(30) {
        let comment = format!("{}\n", sample.comment());
        sample.foreign(&comment);
    }
    if random.chance(30) {
        sample.foreign("---\n");
    }
    let mut entries: Vec<(&str, bool)> = vec![("id: WO-1\n", false), ("title: \"T\" # t\n", false)];
    for _ in 0..random.below(4) {
        let entry = random.one(&FOREIGN);
        let same = |e: &str| e.split(':').next() == entry.split(':').next();
        if !entries.iter().any(|(e, _)| same(e)) {
            entries.push((entry, false));
        }
    }
    for (name, _) in OURS {
        if random.chance(60) {
            entries.push((name, true));
        }
    }
    for at in (1..entries.len()).rev() {
        let other = random.below(at + 1);
        entries.swap(at, other);
    }
    for (entry, ours) in entries {
        if ours {
            let values = OURS.iter().find(|(name, _)| *name == entry).map_or(&[""][..], |o| o.1);
            let value = random.one(values);
            let blank = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
            let block = value.starts_with(['|', '>']) || value.starts_with('\n');
            if block {
                sample.text.push_str(&format!("{entry}:{blank}{value}\n"));
            } else {
                sample.ours(random, &format!("{entry}:{blank}{value}"));
            }
        } else {
            sample.foreign(entry);
        }
        if random.chance(25) {
            let indent = random.one(&["", "  "]);
            // An indented comment behind a block text would be part of it.
            let indent =
                if sample.text.contains('|') || sample.text.contains('>') { "" } else { indent };
            let comment = format!("{indent}{}\n", sample.comment());
            sample.foreign(&comment);
        }
        if random.chance(15) {
            sample.text.push('\n');
        }
    }
    if random.chance(10) {
        sample.foreign("...\n");
    }
    if random.chance(25) {
        while sample.text.ends_with('\n') {
            sample.text.pop();
        }
    }
    sample
}

fn flow_sample(random: &mut Random) -> Sample {
    let mut sample = Sample { text: String::new(), kept: Vec::new(), comments: 0 };
    let json = random.chance(50);
    let gap = random.one(&[" ", "\n  "]);
    sample.text.push('{');
    let entries: &[&str] = if json {
        &[
            "\"id\": \"WO-1\"",
            "\"title\": \"T, {x}\"",
            "\"status\": \"pending\"",
            "\"tags\": [\"a\"]",
        ]
    } else {
        &["id: WO-1", "title: 'T, {x}'", "status: pending", "tags: [a, b]", "owner", "result: "]
    };
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            sample.text.push(',');
            if gap != " " && !json && random.chance(30) {
                let comment = sample.comment();
                sample.text.push_str(&format!(" {comment}"));
                sample.kept.push(comment);
            }
            sample.text.push_str(gap);
        }
        sample.text.push_str(entry);
        if !["status", "owner", "result"].iter().any(|ours| entry.contains(ours)) {
            sample.kept.push((*entry).to_owned());
        }
    }
    sample.text.push_str(random.one(&["}", "}\n", " }\n", ",}\n"]));
    sample
}

fn sample(random: &mut Random) -> Sample {
    let mut sample = if random.chance(20) { flow_sample(random) } else { block_sample(random) };
    if random.chance(25) {
        sample.text = sample.text.replace('\n', "\r\n");
        for kept in &mut sample.kept {
            *kept = kept.replace('\n', "\r\n");
        }
    }
    if random.chance(10) {
        sample.text.insert(0, '\u{feff}');
    }
    sample
}

/// One step of an order's life: changes of the top level, and the own keys afterwards.
fn life() -> Vec<(Vec<Change>, OwnKeys)> {
    let time = |name, ms| Change::Set(Key::Top(name), Scalar::Time(Moment(ms)));
    let gone = |name| Change::Remove(Key::Top(name));
    let running = |n: u32| OwnKeys { attempt: n, ..OwnKeys::default() };
    let settled = |state, n| OwnKeys {
        attempt: n,
        retries: 1,
        reason: Some("exit status 1: \"x\" # y".to_owned()),
        settled: Some(Stamp {
            id: String::new(),
            state,
            attempt: n,
            seq: 70 + u64::from(n),
            hash: "00ff".to_owned(),
        }),
        ..OwnKeys::default()
    };
    let start = |n: i64| {
        vec![
            set("status", "running"),
            set("owner", "ann"),
            set("branch", "feat/wo-WO-1"),
            set("worktree", ".worktrees/WO-1"),
            time("started_at", n * 1000),
        ]
    };
    let end = |word: &str| {
        vec![
            set("status", word),
            set("result", word),
            time("finished_at", 9),
            set("commit_sha", "123"),
        ]
    };
    let again = vec![
        set("status", "pending"),
        gone("owner"),
        gone("started_at"),
        gone("finished_at"),
        gone("result"),
        Change::Set(Key::Top("commit_sha"), Scalar::Null),
    ];
    let held = OwnKeys { hold: Some("later".to_owned()), ..running(1) };
    vec![
        (start(1), running(1)),
        (end("failed"), settled(State::Failed, 1)),
        (again, held),
        (start(2), running(2)),
        (end("done"), settled(State::Done, 2)),
        (vec![set("status", "pending")], OwnKeys::default()),
    ]
}

/// Every piece must be there, in order.
fn check_kept(sample: &Sample, now: &str) {
    let mut from = 0;
    for piece in &sample.kept {
        match now[from..].find(piece.as_str()) {
            Some(at) => from += at + piece.len(),
            None => panic!("lost {piece:?}\nbefore:\n{}\nafter:\n{now}", sample.text),
        }
    }
}

#[test]
fn generated_documents_live_a_whole_life() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..4000 {
        let sample = sample(&mut random);
        let mut now = sample.text.clone();
        for (mut changes, own) in life() {
            let order = match parse_order(now.as_bytes(), "WO-1") {
                Ok(parsed) => parsed.order,
                Err(defects) => panic!("{}\n{now}", defects[0]),
            };
            changes.extend(own_changes(&order.own, &own));
            now = match edit(&now, &changes) {
                Ok(new) => new,
                Err(defect) => panic!("{defect}\nfirst:\n{}\nnow:\n{now}", sample.text),
            };
            let order = parse_order(now.as_bytes(), "WO-1").unwrap().order;
            assert_eq!(order.own, own, "{now}");
            let wanted = changes.iter().find_map(|c| match c {
                Change::Set(Key::Top("status"), Scalar::Text(word)) => Some(word.clone()),
                _ => None,
            });
            assert_eq!(order.status, wanted);
            check_kept(&sample, &now);
            assert_eq!(now.ends_with('\n'), sample.text.ends_with('\n'), "{now:?}");
            let lone = now.replace("\r\n", "").contains('\n');
            assert!(!sample.text.contains("\r\n") || !lone, "mixed line ends:\n{now:?}");
        }
    }
}

#[test]
fn mutated_documents_never_panic() {
    let pieces = [
        ":", "\n", " ", "- ", "{", "}", "[", "]", ",", "&a ", "*a", "!t ", "'", "\"", "#", "|",
        "...", "\r\n", "é", "? ", "---\n", "",
    ];
    let steps = life();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..8000 {
        let mut now = sample(&mut random).text;
        for _ in 0..=random.below(3) {
            let ends: Vec<usize> = now.char_indices().map(|(n, _)| n).collect();
            let first = random.below(ends.len());
            let last = (first + random.below(3)).min(ends.len() - 1);
            now.replace_range(ends[first]..ends[last], random.one(&pieces));
        }
        let (changes, own) = &steps[round % steps.len()];
        let mut changes = changes.clone();
        changes.extend(own_changes(&OwnKeys::default(), own));
        let _ = edit(&now, &changes);
    }
}

#[test]
fn generated_documents_are_arranged_once_and_say_the_same() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut moved = 0;
    for _ in 0..4000 {
        let sample = sample(&mut random);
        let order = |text: &str| match parse_order(text.as_bytes(), "WO-1") {
            Ok(parsed) => parsed.order,
            Err(defects) => panic!("{}\n{text}\nbefore:\n{}", defects[0], sample.text),
        };
        let once = arrange(&sample.text).unwrap();
        assert_eq!(order(&once), order(&sample.text), "{}\nbefore:\n{}", once, sample.text);
        assert_eq!(arrange(&once).unwrap(), once, "before:\n{}", sample.text);
        for piece in &sample.kept {
            assert!(once.contains(piece), "lost {piece:?}\n{once}\nbefore:\n{}", sample.text);
        }
        let count = |text: &str| text.matches("# note").count();
        assert_eq!(count(&once), count(&sample.text));
        assert_eq!(once.ends_with('\n'), sample.text.ends_with('\n'), "{once:?}");
        let lone = once.replace("\r\n", "").contains('\n');
        assert!(!sample.text.contains("\r\n") || !lone, "mixed line ends:\n{once:?}");
        moved += usize::from(once != sample.text);
    }
    assert!(moved > 2000, "{moved}");
}
