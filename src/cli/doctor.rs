//! `jobyard doctor`: is this root, and this machine, fit for work; what is wrong, why, and what cures it.
//!
//! Invariants: the findings are those of `lint`, the repairs those of `reconcile`, the causes those of
//! `docs/findings.md`; without `--apply` nothing is written and no lock is taken; a check that cannot be
//! made is said to be so, never counted as passed.

mod checks;

use super::look;
use super::out::{self, Colour, Screen};
use super::reconcile::{self, Repairs};
use super::{Failure, Globals, Outcome, code, say};
use crate::plan::findings::{Finding, Severity};
use checks::{Check, Health};
use serde_json::{Value, json};
use std::time::Duration;

/// The page that explains each code.
const PAGE: &str = include_str!("../../docs/findings.md");

/// Flags of `jobyard doctor`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Explain this code of a finding instead
    #[arg(value_name = "CODE", conflicts_with_all = ["apply", "wait"])]
    code: Option<String>,
    /// Carry out what has one safe repair
    #[arg(long)]
    apply: bool,
    /// Longest wait for another verb on the root, and for its repairs, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u64,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    if let Some(wanted) = given.code {
        return explain(globals, &wanted);
    }
    let mut seat = look::open(globals)?;
    let checks = checks::all(&mut seat);
    let repairs = reconcile::repairs(&seat, given.apply, Duration::from_secs(given.wait))?;
    let (_, found) = seat.findings()?;
    let grave = found.iter().any(|f| f.severity != Severity::P2);
    let bad = grave || checks.iter().any(|c| c.health == Health::Bad);
    let exit = if bad { code::FINDINGS } else { code::DONE };
    if globals.json {
        let of_check = |c: &Check| {
            let health = c.health.name();
            json!({ "name": c.name, "health": health, "text": c.text, "next": c.next })
        };
        let fields = [
            ("checks", checks.iter().map(of_check).collect::<Value>()),
            ("findings", look::findings_json(&found)),
            ("repairs", repairs.lines.into()),
            ("applied", repairs.applied.into()),
            ("served", repairs.served.into()),
        ];
        say::object("doctor", fields)?;
        return Ok(exit);
    }
    out::text(&text(&checks, &found, &repairs))?;
    Ok(exit)
}

fn text(checks: &[Check], found: &[Finding], repairs: &Repairs) -> String {
    let screen = Screen::of_stdout();
    let mut text = String::new();
    for check in checks {
        let colour = match check.health {
            Health::Good | Health::Unknown => None,
            Health::Poor => Some(Colour::Yellow),
            Health::Bad => Some(Colour::Red),
        };
        let word = screen.paint(colour, &format!("{:<8}", check.health.name()));
        text.push_str(&format!("{word}{:<14}{}\n", check.name, indented(&check.text)));
        if let Some(next) = &check.next {
            text.push_str(&format!("{:22}next: {}\n", "", out::plain(next)));
        }
    }
    for finding in found {
        let line = if finding.line > 0 { format!(":{}", finding.line) } else { String::new() };
        let colour = if finding.severity == Severity::P2 { Colour::Yellow } else { Colour::Red };
        let head =
            screen.paint(Some(colour), &format!("{} {}", finding.severity.name(), finding.code));
        text.push_str(&format!(
            "\n{head} {}{line}\n  what:  {}\n",
            out::plain(&finding.file),
            out::plain_lines(&finding.message).replace('\n', "\n         "),
        ));
        if let Some((cause, _)) = explained(finding.code) {
            text.push_str(&format!("  cause: {cause}\n"));
        }
        text.push_str(&format!("  cure:  {}\n", out::plain(&finding.repair)));
    }
    if !repairs.lines.is_empty() {
        let head = if repairs.applied { "repaired:" } else { "repaired by `--apply`:" };
        text.push_str(&format!("\n{head}\n"));
        text.extend(repairs.lines.iter().map(|line| format!("  {}\n", out::plain(line))));
    } else if repairs.applied {
        text.push_str("\nnothing to repair\n");
    }
    if found.is_empty() {
        text.push_str("\nno findings\n");
    } else if repairs.served {
        text.push_str("\nthe daemon repairs by itself what has a safe repair\n");
    }
    text
}

/// A text of several lines, below where it begins.
fn indented(text: &str) -> String {
    out::plain_lines(text).replace('\n', &format!("\n{:22}", ""))
}

/// Cause and cure of a code, from the page.
fn explained(wanted: &str) -> Option<(String, String)> {
    let row = PAGE.lines().find(|l| l.starts_with(&format!("| `{wanted}` |")))?;
    let row = row.replace("\\|", "\u{1}");
    let mut cells = row.trim_matches('|').split('|').map(|c| c.trim().replace('\u{1}', "|"));
    let (cause, cure) = (cells.nth(2)?, cells.next()?);
    Some((cause, cure))
}

/// The codes of the page.
fn codes() -> impl Iterator<Item = &'static str> {
    PAGE.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next())
}

fn explain(globals: &Globals, wanted: &str) -> Outcome {
    let Some((cause, cure)) = explained(wanted) else {
        let known: Vec<&str> = codes().collect();
        let text = format!("no finding is called {wanted}; there are: {}", known.join(", "));
        return Err(Failure::new(code::NOT_FOUND, text));
    };
    if globals.json {
        let fields = [("code", wanted.into()), ("cause", cause.into()), ("cure", cure.into())];
        say::object("explanation", fields)?;
        return Ok(code::DONE);
    }
    say::line(&format!("{wanted}\n  cause: {cause}\n  cure:  {cure}"))?;
    Ok(code::DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_page_has_cause_and_cure() {
        assert!(codes().count() > 30);
        for code in codes() {
            let (cause, cure) = explained(code).unwrap();
            assert!(!cause.is_empty() && !cure.is_empty(), "{code}");
        }
        let (cause, _) = explained("check-hides-failure").unwrap();
        assert!(cause.contains("`|| true`"), "{cause}");
    }
}
