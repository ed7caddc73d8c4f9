//! The tables of `docs/states.md` against the planner: every row gives the action that stands there, and
//! what stands in no row gives none.
//!
//! Invariant: the page is read, never copied; a row that is wrong, missing, unknown or in conflict with
//! another is a finding, and a planted one of each kind is found.

mod facts;
mod page;
mod parts;

use crate::yard::Yard;
use facts::{COMMAND, COURSE, Case, STATES};
use page::{Row, Table};
use std::collections::BTreeSet;

const PAGE: &str = include_str!("../../docs/states.md");

/// What one table says, held against the planner. `complete`: every combination stands in a row.
fn check(page: &str, case: &Case, complete: bool) -> Vec<String> {
    let table = match Table::read(page, case.name) {
        Ok(table) => table,
        Err(finding) => return vec![finding],
    };
    let mut findings = table.unknown_words(case.columns);
    let mut used = BTreeSet::new();
    let mut outside = 0;
    for values in combinations(case.columns) {
        let rows = table.rows_of(case.columns, &values);
        let planned: BTreeSet<String> = (case.plan)(&values).into_iter().collect();
        let at = values.join(" ");
        if planned.is_empty() {
            continue;
        }
        match rows[..] {
            [] if complete => findings.push(format!("{at}: in no row; planned {planned:?}")),
            [] => {
                outside += 1;
                if planned.iter().any(|p| p != "wait") {
                    findings.push(format!("{at}: in no row, but planned {planned:?}"));
                }
            }
            [row] => {
                used.insert(row.name.clone());
                if planned.len() != 1 || !planned.contains(&row.action) {
                    let Row { name, action, .. } = row;
                    findings.push(format!("{at}: {name} says {action}, planned {planned:?}"));
                }
            }
            _ => {
                let names: Vec<_> = rows.iter().map(|r| r.name.as_str()).collect();
                findings.push(format!("{at}: in more than one row: {names:?}"));
            }
        }
    }
    findings.extend(table.unused(&used));
    if !complete && outside == 0 {
        findings.push(format!("{}: every combination has a row; nothing is left out", case.name));
    }
    findings
}

/// Every combination of the values of some columns.
fn combinations(
    columns: &'static [(&'static str, &'static [&'static str])],
) -> Vec<Vec<&'static str>> {
    columns.iter().fold(vec![Vec::new()], |found, (_, values)| {
        let longer = |before: &Vec<&'static str>| {
            values.iter().map(|v| [&before[..], &[*v]].concat()).collect::<Vec<_>>()
        };
        found.iter().flat_map(longer).collect()
    })
}

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn every_row_gives_its_action_and_every_other_combination_none() {
    none(&check(PAGE, &STATES, false));
}

#[test]
fn a_command_under_way_is_decided_in_every_case() {
    none(&check(PAGE, &COMMAND, true));
}

#[test]
fn between_two_commands_every_case_is_decided() {
    none(&check(PAGE, &COURSE, true));
}

#[test]
fn a_settlement_that_is_not_durable_is_not_carried_out() {
    for place in ["P", "R", "D", "F"] {
        for attempt in ["to-P", "to-D", "to-F"] {
            let step = facts::not_durable(place, attempt);
            let home = matches!((place, attempt), ("P", "to-P") | ("D", "to-D") | ("F", "to-F"));
            let waits = home || place == "R";
            assert_eq!(step == "wait", waits, "{place} {attempt}: {step}");
        }
    }
}

#[test]
fn every_action_has_the_call_that_commits_it() {
    let commits = Table::read(PAGE, "commits").unwrap();
    for name in [STATES.name, COMMAND.name, COURSE.name] {
        for row in Table::read(PAGE, name).unwrap().rows {
            let action = row.action.split(' ').next().unwrap().to_owned();
            let known = action == "wait" || commits.rows.iter().any(|r| r.name == action);
            assert!(known, "{}: nothing says what commits {action}", row.name);
        }
    }
}

#[test]
fn a_page_that_is_wrong_is_found_out() {
    for (right, wrong, said) in [
        ("| pending, nothing in its way | Ready |", "| pending | Claim |", "says Claim"),
        ("| S2.1 | P | * | claiming, taking |", "| S2.1 | P | * | claiming |", "in no row"),
        ("| S2.1 | P | * | claiming,", "| S2.1 | P | * | running,", "more than one row"),
        ("| S1.2 | P | none | none | order | pending |", "| S1.2 | Q | * | * | * | * |", "`Q`"),
        ("| S5.2 | D | none, alive,", "| S5.2 | R | none, alive,", "S5.2"),
    ] {
        assert!(PAGE.contains(right), "{right}");
        let findings = check(&PAGE.replacen(right, wrong, 1), &STATES, false);
        assert!(findings.iter().any(|f| f.contains(said)), "{wrong}: {findings:?}");
    }
    assert_eq!(check("", &STATES, false).len(), 1);
}

#[test]
fn a_take_by_hand_that_git_refuses_is_put_back_and_explained() {
    let mut yard = Yard::bare();
    yard.start();
    yard.submit("A", "");
    yard.until("the intake", || yard.events("A", "intake").len() == 1);
    yard.mv("A", "pending", "running");
    yard.until_in("pending", "A");
    yard.until("the explanation", || yard.why("pending", "A").contains("prepare the worktree"));
    yard.until("its line, written after that", || yard.events("A", "put-back").len() == 1);
}
