//! Tables of the gate: every rule with the input that shows it.

use super::*;
use crate::plan::scope::Rule;

fn commit(digit: &str) -> CommitId {
    CommitId::parse(&digit.repeat(40)).unwrap()
}

fn check(outcome: Outcome) -> CheckResult {
    CheckResult {
        name: "check-1".to_owned(),
        text: "make test".to_owned(),
        cwd: ".".to_owned(),
        outcome,
        exit: Some(if outcome == Outcome::Fail { 1 } else { 0 }),
        signal: None,
        started_ms: 0,
        ended_ms: 1,
        timed_out: false,
        unrun: String::new(),
        log: "log".to_owned(),
        sha256: String::new(),
    }
}

fn good(outcomes: &[Outcome]) -> GateInput {
    GateInput {
        checks: outcomes.iter().map(|o| check(*o)).collect(),
        head_before: Some(commit("1")),
        head_after: Some(commit("1")),
        ..GateInput::default()
    }
}

fn violation(rule: Rule) -> Violation {
    Violation { path: "p".to_owned(), rule, text: "t".to_owned() }
}

fn end(cause: Cause, exit: Option<i32>, signal: Option<i32>) -> End {
    End {
        exit,
        signal,
        cause,
        detail: None,
        started_ms: 0,
        ended_ms: 0,
        leftovers: 0,
        log_bytes: 0,
    }
}

#[test]
fn how_a_check_ended_becomes_its_outcome() {
    use Outcome::{CouldNotRun, Fail, Pass, Vacuous};
    let cases = [
        (Cause::Exited, Some(0), None, "make", Pass),
        (Cause::Exited, Some(1), None, "make", Fail),
        (Cause::Exited, Some(125), None, "make", Fail),
        (Cause::Exited, Some(126), None, "make", CouldNotRun),
        (Cause::Exited, Some(127), None, "make", CouldNotRun),
        (Cause::Exited, None, Some(9), "make", CouldNotRun),
        (Cause::Exited, None, None, "make", CouldNotRun),
        (Cause::Exited, Some(0), None, "# nothing\ntrue", Vacuous),
        (Cause::Exited, Some(1), None, "true", Fail),
        (Cause::Exited, Some(127), None, "true", CouldNotRun),
        (Cause::Timeout, Some(0), None, "make", CouldNotRun),
        (Cause::Timeout, None, Some(15), "make", CouldNotRun),
        (Cause::IdleTimeout, None, Some(9), "make", CouldNotRun),
        (Cause::OutputLimit, None, Some(9), "make", CouldNotRun),
        (Cause::Stopped, Some(0), None, "make", CouldNotRun),
        (Cause::Shutdown, Some(0), None, "true", CouldNotRun),
        (Cause::CouldNotStart, None, None, "make", CouldNotRun),
    ];
    for (cause, exit, signal, text, want) in cases {
        assert_eq!(outcome(&end(cause, exit, signal), text), want, "{cause:?} {exit:?} {signal:?}");
    }
}

#[test]
fn checks_decide_when_all_else_holds() {
    use Outcome::{CouldNotRun, Fail, Pass, Vacuous};
    let cases: [(&[Outcome], &str, &str); 9] = [
        (&[Pass], "pass", "passed"),
        (&[Pass, Vacuous], "pass", "passed"),
        (&[], "unverified", "no-checks"),
        (&[Vacuous], "fail", "vacuous"),
        (&[Vacuous, Vacuous], "fail", "vacuous"),
        (&[Pass, Fail], "fail", "checks-failed"),
        (&[CouldNotRun, Fail], "fail", "checks-failed"),
        (&[Pass, CouldNotRun], "fail", "could-not-run"),
        (&[Vacuous, CouldNotRun], "fail", "could-not-run"),
    ];
    for (outcomes, result, reason) in cases {
        let verdict = decide(&good(outcomes));
        assert_eq!((verdict.result.name(), verdict.reason), (result, reason), "{outcomes:?}");
        assert_eq!(verdict.commit, Some(commit("1")));
        assert_eq!(verdict.verified_at.is_some(), result == "pass");
        assert!(!verdict.sentences.is_empty());
    }
}

type Case<'a> = (&'a str, GateInput, &'a str, &'a str);

fn judged(cases: &[Case<'_>]) {
    for (what, input, result, reason) in cases {
        let verdict = decide(input);
        assert_eq!((verdict.result.name(), verdict.reason), (*result, *reason), "{what}");
        let verified = *result == "pass" && !input.workspace_none;
        assert_eq!(verdict.verified_at.is_some(), verified, "{what}");
        assert!(!verdict.sentences.is_empty(), "{what}");
    }
}

#[test]
fn preconditions_skips_scope_and_budget_come_before_the_checks() {
    let pass = || good(&[Outcome::Pass]);
    let dirty = || vec![Precondition::Changed(vec!["f".to_owned()])];
    judged(&[
        ("dirty", GateInput { preconditions: dirty(), ..pass() }, "fail", "dirty"),
        (
            "a skip does not excuse a dirty tree",
            GateInput { preconditions: dirty(), skip: Some("x".to_owned()), ..pass() },
            "fail",
            "dirty",
        ),
        (
            "a skip excuses the rest",
            GateInput {
                violations: vec![violation(Rule::Denied)],
                skip: Some("x".to_owned()),
                ..good(&[])
            },
            "skipped",
            "skipped",
        ),
        (
            "scope",
            GateInput { violations: vec![violation(Rule::Denied)], ..pass() },
            "fail",
            "out-of-scope",
        ),
        (
            "budget",
            GateInput { violations: vec![violation(Rule::TooManyLines)], ..pass() },
            "fail",
            "over-budget",
        ),
        (
            "scope before budget",
            GateInput {
                violations: vec![violation(Rule::TooManyFiles), violation(Rule::NotAllowed)],
                ..good(&[Outcome::Fail])
            },
            "fail",
            "out-of-scope",
        ),
        (
            "scope without checks",
            GateInput { violations: vec![violation(Rule::LeavesTree)], ..good(&[]) },
            "fail",
            "out-of-scope",
        ),
    ]);
}

#[test]
fn artifacts_commits_and_the_catalogue_count_beside_the_checks() {
    let pass = || good(&[Outcome::Pass]);
    judged(&[
        (
            "artifact",
            GateInput { missing_artifacts: vec!["a".to_owned()], ..pass() },
            "fail",
            "artifact-missing",
        ),
        (
            "head moved",
            GateInput { head_after: Some(commit("2")), ..pass() },
            "fail",
            "moved-during-checks",
        ),
        ("head lost", GateInput { head_after: None, ..pass() }, "fail", "moved-during-checks"),
        (
            "files changed",
            GateInput { changed_after: vec!["f".to_owned()], ..pass() },
            "fail",
            "moved-during-checks",
        ),
        (
            "no commit",
            GateInput { head_before: None, head_after: None, ..pass() },
            "fail",
            "no-commit",
        ),
        (
            "unknown dod",
            GateInput { unknown_dod: Some("D".to_owned()), ..pass() },
            "unverified",
            "unknown-dod",
        ),
        (
            "unknown dod is no excuse",
            GateInput { unknown_dod: Some("D".to_owned()), ..good(&[Outcome::Fail]) },
            "fail",
            "checks-failed",
        ),
        (
            "no git",
            GateInput { workspace_none: true, head_before: None, head_after: None, ..pass() },
            "pass",
            "passed",
        ),
    ]);
}

#[test]
fn a_clean_tree_on_its_branch_misses_nothing() {
    let clean = TreeFacts {
        exists: true,
        branch: Some("feat/wo-1".to_owned()),
        head: Some(commit("1")),
        ..TreeFacts::default()
    };
    assert_eq!(preconditions("feat/wo-1", &clean), []);
    let files = |n: usize| (0..n).map(|i| format!("f{i}")).collect::<Vec<_>>();
    let cases = [
        (TreeFacts::default(), &["no-worktree"][..]),
        (TreeFacts { branch: None, ..clean.clone() }, &["detached"]),
        (TreeFacts { branch: Some("main".to_owned()), ..clean.clone() }, &["wrong-branch"]),
        (TreeFacts { head: None, ..clean.clone() }, &["no-commit"]),
        (TreeFacts { changed: files(1), ..clean.clone() }, &["dirty"]),
        (TreeFacts { untracked: files(7), ..clean.clone() }, &["dirty"]),
        (TreeFacts { hidden: files(1), ..clean.clone() }, &["hidden-files"]),
        (
            TreeFacts { branch: None, changed: files(1), hidden: files(1), ..clean },
            &["detached", "dirty", "hidden-files"],
        ),
    ];
    for (facts, want) in cases {
        let missing = preconditions("feat/wo-1", &facts);
        let words: Vec<&str> = missing.iter().map(Precondition::word).collect();
        assert_eq!(words, want, "{facts:?}");
    }
    let many = Precondition::Untracked(files(7)).to_string();
    assert!(many.contains("\"f4\" and 2 more: add, ignore or delete them"), "{many}");
}

#[test]
fn the_words_of_the_schema_are_those_that_are_written() {
    let schema = crate::model::schema::verdict();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let words = |value: &serde_json::Value| -> Vec<String> {
        value["enum"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect()
    };
    use VerdictResult::{Pass, Skipped, Unverified};
    let results = [Pass, Unverified, VerdictResult::Fail, Skipped].map(VerdictResult::name);
    assert_eq!(words(&schema["properties"]["result"]), results);
    let outcomes = [Outcome::Pass, Outcome::Fail, Outcome::CouldNotRun, Outcome::Vacuous];
    let check = &schema["properties"]["checks"]["items"]["properties"]["outcome"];
    assert_eq!(words(check), outcomes.map(Outcome::name));
}
