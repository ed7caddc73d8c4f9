//! What differs from run to run, replaced by placeholders: nothing but what has the form of a time, a span,
//! a digest, a commit, a process, a machine, a user or a version where one is printed.

use super::scene::Said;
use jobyard::world::identity;
use regex_lite::Regex;
use std::path::Path;

/// Form and placeholder; the first that fits counts.
const FORMS: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    // The order in which the tickets of one moment are seen is the directory's.
    (r"(?m)^ +\d+  <time>", "     <n>  <time>"),
    (r#""seq":\d+"#, r#""seq":"<n>""#),
    (r"\b[0-9a-f]{64}\b", "<digest>"),
    (r"\b[0-9a-f]{40}\b", "<commit>"),
    (r"\b([0-9a-f]{16}|[0-9a-f]{32})\b", "<hex>"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<boot>"),
    (r"\b[0-9a-f]{12}\b", "<short>"),
    (r"(?m)^[0-9a-f]{7} ", "<short> "),
    (r"\bpid \d+\b", "pid <pid>"),
    (r"\bstarted \d+\b", "started <ticks>"),
    (r#""pid":\d+"#, r#""pid":"<pid>""#),
    (r"\(uid \d+\)", "(uid <uid>)"),
    (r#""uid":\d+"#, r#""uid":"<uid>""#),
    (r#""([a-z0-9_]*_ms)":\d+"#, r#""$1":"<ms>""#),
    (r"\b\d+\.\ds\b", "<span>"),
    (r"\bAfter \d+\.\d s\b", "After <span>"),
    (r"\((\d+s|\d+[mhd]\d\d[smh])\)", "(<span>)"),
    (r", (\d+s|\d+[mhd]\d\d[smh])\b", ", <span>"),
    (r"\b(after|median|p95|max) \d+[mhd]\d\d[smh]\b", "$1 <span>"),
    (r"\b\d+ s ago\b", "<span> ago"),
    (r"\(\d+ s old\)", "(<span> old)"),
    (r"\bsign of life for \d+ s\b", "sign of life for <span>"),
    (r"\b\d+ MiB and \d+ inodes\b", "<size> MiB and <count> inodes"),
    (r"\b\d+ watches and \d+ instances\b", "<count> watches and <count> instances"),
    (r"\bjobyard \d+\.\d+\.\d+\b", "jobyard <version>"),
];

/// The replacements for one tree.
pub(crate) struct Normal {
    forms: Vec<(Regex, &'static str)>,
    texts: Vec<(String, &'static str)>,
}

impl Normal {
    /// For this root on this machine.
    pub(crate) fn of(root: &Path) -> Self {
        let who = identity::of_this_process().unwrap();
        let forms = FORMS.iter().map(|(form, to)| (Regex::new(form).unwrap(), *to)).collect();
        let root = root.display().to_string();
        let texts = vec![
            (root, "<root>"),
            (format!("Hostname: {}", who.host), "Hostname: <host>"),
            (format!("by {}", who.user), "by <user>"),
            (format!("\"owner\":\"{}\"", who.user), "\"owner\":\"<user>\""),
        ];
        Self { forms, texts }
    }

    /// What a call said, without what differs.
    pub(super) fn of_said(&self, said: Said) -> Said {
        Said { code: said.code, out: self.text(said.out), err: self.text(said.err) }
    }

    /// A text without what differs.
    pub(crate) fn text(&self, text: String) -> String {
        let text = self.texts.iter().fold(text, |text, (from, to)| text.replace(from, to));
        self.forms.iter().fold(text, |text, (form, to)| form.replace_all(&text, *to).into_owned())
    }
}

#[test]
fn words_and_numbers_that_mean_something_stay() {
    let forms: Vec<Regex> = FORMS.iter().map(|(form, _)| Regex::new(form).unwrap()).collect();
    let fits = |text: &str| forms.iter().any(|form| form.is_match(text));
    for text in ["exit 3", "attempt 1", "2 of 4 slots", "WO-0123456789", "grace = \"1s\"", "3:11:"]
    {
        assert!(!fits(text), "{text}");
    }
    for text in [
        "2026-01-02T03:04:05.678Z",
        "pid 77",
        "(3s)",
        "(2m05s)",
        "x, 1h02m",
        "x, 3d04h",
        "after 2m05s",
        "after 0.1s",
        "\"age_ms\":12",
    ] {
        assert!(fits(text), "{text}");
    }
}
