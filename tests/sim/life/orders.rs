//! The orders of a life: what people meant, and the text they write.
//!
//! Invariant: every text carries the list of edits it is built on (`x_edits`), so that a lost edit
//! shows in the text that is left.

use crate::rng::Rng;

/// An order as people mean it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Identity.
    pub(crate) id: String,
    /// Commands of `run`; none: manual.
    pub(crate) run: Vec<String>,
    /// Checks.
    pub(crate) checks: Vec<String>,
    /// It has a worktree.
    pub(crate) worktree: bool,
    /// `retry.max`.
    pub(crate) retry_max: u32,
    retry_on: &'static str,
    /// What may be changed; empty: everything.
    scope: &'static str,
    /// Upstream orders and the end that is wanted.
    pub(crate) dependencies: Vec<(String, &'static str)>,
    /// `P0` comes first.
    pub(crate) priority: u64,
    /// It has a secret environment.
    env: bool,
}

impl Spec {
    /// The order number `n` of `count`.
    pub(crate) fn draw(rng: &mut Rng, n: u64, count: u64) -> Self {
        let commands = if rng.chance(75) { rng.between(1, 2) } else { 0 };
        let mut spec = Self {
            id: name(n),
            run: (0..commands).map(|_| command(rng, "job")).collect(),
            checks: (0..rng.below(3)).map(|_| command(rng, "check")).collect(),
            worktree: rng.chance(50),
            retry_max: rng.below(3) as u32,
            retry_on: rng
                .pick(&["fail, verify-fail, timeout", "lost, stopped, fail", "lost, output-limit"])
                .copied()
                .unwrap_or("fail"),
            scope: "",
            dependencies: Vec::new(),
            priority: rng.below(4),
            env: false,
        };
        if spec.worktree {
            for check in &mut spec.checks {
                check.push_str(" clean");
            }
        }
        if spec.worktree && rng.chance(75) {
            spec.scope = "src/part*";
        }
        if rng.chance(6) {
            spec.checks = vec!["true".to_owned()];
        }
        if rng.chance(30) {
            let upstream = name(rng.between(1, count + 1));
            if upstream != spec.id {
                let on = rng.pick(&["success", "success", "failure", "always"]);
                spec.dependencies.push((upstream, on.copied().unwrap_or("success")));
            }
        }
        spec
    }

    /// The same without what only other lives need, and with an `env` now and then.
    pub(super) fn simplify(&mut self, rng: &mut Rng) {
        let jobs = ["job pass quick", "job pass quick", "job fail quick", "job pass", "job hang"];
        let job = rng.pick(&jobs).map(|job| (*job).to_owned());
        self.run = if rng.chance(70) { job.into_iter().collect() } else { Vec::new() };
        self.worktree = rng.chance(50);
        let check = if self.worktree { "check pass quick clean" } else { "check pass quick" };
        self.checks = if rng.chance(50) { vec![check.to_owned()] } else { Vec::new() };
        (self.retry_on, self.scope) = ("fail, verify-fail, timeout", "");
        self.dependencies.clear();
        self.env = rng.chance(50);
    }

    /// How the names begin that it may change; empty: everything.
    pub(crate) fn may_change(&self) -> &'static str {
        self.scope.trim_end_matches('*')
    }

    /// The whole text.
    pub(crate) fn text(&self, edits: &[u32]) -> String {
        let mut text = format!("id: {}\ntitle: 'Order {}'\n", self.id, self.id);
        if !self.worktree {
            text.push_str("workspace: none\n");
        }
        text.push_str(&format!("priority: P{}\ntimeout: 40s\n", self.priority));
        if !self.scope.is_empty() {
            text.push_str(&format!("scope: {{allow: ['{}']}}\n", self.scope));
        }
        if self.env {
            text.push_str("env: {WORD: 'secret'}\n");
        }
        list(&mut text, "run:\n", "  - ", &self.run);
        list(&mut text, "verify:\n  timeout: 30s\n  commands:\n", "    - ", &self.checks);
        if self.retry_max > 0 {
            let (max, on) = (self.retry_max, self.retry_on);
            text.push_str(&format!("retry: {{max: {max}, backoff: 2s, on: [{on}]}}\n"));
        }
        let needs: Vec<String> = self
            .dependencies
            .iter()
            .map(|(id, on)| match *on {
                "success" => id.clone(),
                on => format!("{{id: {id}, on: {on}}}"),
            })
            .collect();
        list(&mut text, "dependencies:\n", "  - ", &needs);
        text.push_str(&format!("x_edits: '{}'  # do not touch\n", join(edits)));
        text
    }
}

fn name(n: u64) -> String {
    format!("WO-{n}")
}

fn command(rng: &mut Rng, word: &str) -> String {
    let end =
        rng.pick(&["", "", "", " pass", " pass", " pass", " pass", " fail", " hang", " flood"]);
    let deed = rng.pick(&["", "", " quick", " leftover", " stubborn", " missing"]);
    let deed = deed.filter(|d| **d != " missing" || rng.chance(30));
    format!("{word}{}{}", end.unwrap_or(&""), deed.unwrap_or(&""))
}

fn list(text: &mut String, head: &str, item: &str, items: &[String]) {
    if !items.is_empty() {
        text.push_str(head);
    }
    for entry in items {
        text.push_str(&format!("{item}{entry}\n"));
    }
}

fn join(edits: &[u32]) -> String {
    let words: Vec<String> = edits.iter().map(u32::to_string).collect();
    words.join(" ")
}

/// The edits a text is built on; `None` when it is no whole text.
pub(crate) fn edits_of(text: &[u8]) -> Option<Vec<u32>> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("x_edits: '"))?;
    line.split('\'').next()?.split_whitespace().map(|w| w.parse().ok()).collect()
}

/// The same text with one more edit.
pub(crate) fn with_edit(text: &[u8], edits: &[u32], edit: u32) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let old = format!("x_edits: '{}'", join(edits));
    let mut all = edits.to_vec();
    all.push(edit);
    text.contains(&old).then(|| text.replace(&old, &format!("x_edits: '{}'", join(&all))))
}

/// What makes a text unreadable.
pub(crate) const BROKEN: &str = "broken: [1, 2\n";

/// How the line begins in which jobyard notes a hold.
const HOLD: &str = "  hold: ";

/// jobyard says in it that it is held.
pub(crate) fn is_held(text: &str) -> bool {
    text.lines().any(|line| line.starts_with(HOLD))
}

/// The same without that line.
pub(crate) fn without_hold(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with(HOLD)).collect()
}
