//! The keys of a work order, in the order of `docs/work-order.md`.
//!
//! Invariants: a key that is read stands here, with the limits that its reading applies; what is
//! [`Form::Any`] is kept and refused in no shape.

use super::fields::{FACTOR_PERCENT_MAX, RETRIES_MAX};
use crate::model::form::{COMMANDS, Form, Key, TEXTS, key, needed};
use crate::model::order::{Checkout, DependsOn, Priority, RetryOn};

use Form::{Any, Filled, Id, Limit, Map, Span, Text, Time, When};

/// Counts that jobyard writes.
const COUNT: Form = Form::Whole(u32::MAX as u64);

/// Keys of the top level.
pub const ORDER: [Key; 46] = [
    needed("id", Id, "Identity: equal to the file name without `.yaml`"),
    needed("title", Filled, "One line for people"),
    key("version", Form::One, "1, the only version there is"),
    key("objective", Text, "Text for whoever does the work"),
    key("epic_id", Text, "An epic of `_ctx/backlog/backlog.yaml`"),
    key("tags", TEXTS, "Words to find it by"),
    key("owner", Text, "A label, never compared; jobyard writes who took it"),
    key("assignee", Text, "Whom it is meant for; a label, never compared"),
    key("priority", Form::AnyCase(&Priority::WORDS), "How much it matters; P2 = medium by default"),
    key("deadline", When, "When it should be done; raises the score"),
    key("not_before", When, "It is not started earlier"),
    key("dependencies", DEPENDENCIES, "Orders that must have ended before"),
    key("hold", Text, "`true` or the reason: keeps the order pending"),
    key("group", Text, "A group of `_ctx/jobyard.toml` with slots of its own"),
    key("run", COMMANDS, "Shell commands, run in order until one fails; without them it is manual"),
    key("execution", Map(&EXECUTION), "How it is executed"),
    key("env", Form::Variables, "Variables of the commands; values are never shown"),
    key("timeout", Limit, "Longest time of each command of `run`"),
    key("idle_timeout", Limit, "Longest time without output of each command of `run`"),
    key(
        "workspace",
        WORKSPACE,
        "Where it runs: a worktree of its own, the root, or another order's",
    ),
    key(
        "checkout",
        Form::Words(&Checkout::WORDS),
        "What its worktree begins with: all files, or the directories that `scope.allow` names",
    ),
    key("base", Form::Revision, "The git revision that the branch starts from"),
    key("artifacts", Any, "Glob or list of globs to collect; other shapes are not read"),
    key("package", Text, "The job package that the order stands for"),
    key("verify", Map(&VERIFY), "What must hold afterwards"),
    key("dod_id", Text, "An entry of the DoD catalogue `_ctx/dod/*.yaml`"),
    key("scope", Map(&SCOPE), "Which paths it may change; absent: all"),
    key("diff_budget", Map(&DIFF_BUDGET), "How much it may change; absent: any amount"),
    key("retry", Map(&RETRY), "Whether and when it is tried again"),
    key("stop_conditions", Map(&STOP_CONDITIONS), "When it is tried no more"),
    key("description", Any, "Kept, not read"),
    key("deliverables", Any, "Kept, not read"),
    key("evidence_logs", Any, "Kept, not read"),
    key("trace", Any, "Kept, not read"),
    key("claim_links", Any, "Kept, not read"),
    key("risks", Any, "Kept, not read"),
    key("closed_at", Any, "Kept, not read"),
    key("status", Text, "Written by jobyard; follows the directory, never read for a decision"),
    key("branch", Text, "Written by jobyard: the branch of the last attempt"),
    key("worktree", Text, "Written by jobyard: its worktree, relative to the root"),
    key("started_at", Text, "Written by jobyard: when the last attempt began"),
    key("finished_at", Text, "Written by jobyard: when it ended"),
    key("result", Text, "Written by jobyard: how it ended"),
    key("commit_sha", Text, "Written by jobyard: the tip of its branch"),
    key("verified_at_sha", Text, "Written by jobyard: the commit that the checks passed on"),
    key("x_jobyard", Map(&OWN), "Written by jobyard; leave it alone"),
];

/// An entry of `dependencies`.
const DEPENDENCIES: Form = Form::List(&Form::Either(&[Id, Map(&DEPENDENCY)]));

/// Keys of a map in `dependencies`.
pub const DEPENDENCY: [Key; 2] = [
    needed("id", Id, "The order that is waited for"),
    key("on", Form::Words(&DependsOn::WORDS), "Which of its ends counts; success by default"),
];

/// Keys of `execution`.
pub const EXECUTION: [Key; 4] = [
    key("engine", Text, "A command of `[engines.<name>]` in `_ctx/jobyard.toml`"),
    key("segment", Any, "Kept, not read"),
    key("required_flow", Any, "Kept, not read"),
    key("x_legacy_flow", Any, "Kept, not read"),
];

/// `workspace`.
const WORKSPACE: Form =
    Form::Either(&[Form::Words(&["worktree", "none"]), Form::Beginning("inherit:"), Map(&INHERIT)]);

/// Keys of `workspace`.
pub const INHERIT: [Key; 1] = [needed("inherit", Id, "The order whose worktree it works in")];

/// Keys of `verify`.
pub const VERIFY: [Key; 5] = [
    key("commands", COMMANDS, "Checks: each must end with status 0"),
    key("timeout", Limit, "Longest time of each check"),
    key("results", Any, "Kept, not read"),
    key("verified_at_sha", Any, "Kept, not read"),
    key("notes", Any, "Kept, not read"),
];

/// Keys of `scope`.
pub const SCOPE: [Key; 2] = [
    key("allow", TEXTS, "Globs of what may change; without it nothing may"),
    key("deny", TEXTS, "Globs of what may not; beats `allow`"),
];

/// Keys of `diff_budget`.
pub const DIFF_BUDGET: [Key; 2] = [
    key("max_files", Form::Whole(u64::MAX), "Most files touched"),
    key("max_loc", Form::Whole(u64::MAX), "Most lines added plus deleted"),
];

/// Keys of `retry`.
pub const RETRY: [Key; 3] = [
    key("max", Form::Whole(RETRIES_MAX), "Extra attempts; 0 by default"),
    key("backoff", Form::Either(&[Span, Map(&BACKOFF)]), "The delay before another attempt"),
    key("on", RETRY_ON, "Ends that are tried again; fail, verify-fail and timeout by default"),
];

/// `retry.on`.
const RETRY_ON: Form = Form::Either(&[RETRY_WORD, Form::List(&RETRY_WORD)]);
const RETRY_WORD: Form = Form::Dashed(&RetryOn::WORDS);

/// Keys of `retry.backoff`.
pub const BACKOFF: [Key; 4] = [
    key("start", Span, "The first delay; 1s by default"),
    key("factor", Form::Share(1, FACTOR_PERCENT_MAX / 100), "Growth of the delay; 2 by default"),
    key("cap", Span, "The longest delay; 60s by default"),
    key("jitter", Form::Share(0, 1), "Random share of the delay, such as 0.2 or 20%"),
];

/// Keys of `stop_conditions`.
pub const STOP_CONDITIONS: [Key; 2] = [
    key("max_fail_verify", COUNT, "Most attempts that may fail at the checks"),
    key("max_iterations", Any, "Kept, not read"),
];

/// Keys of `x_jobyard`, in the order in which they are written.
pub const OWN: [Key; 11] = [
    key("attempt", COUNT, "Number of the last attempt"),
    key("retries", COUNT, "Retries used since the last request of a person"),
    key("verify_fails", COUNT, "Attempts since then that failed at the checks"),
    key("retry_at", Time, "It is not started again earlier"),
    key("reason", Text, "Why the last attempt ended as it did"),
    key("hold", Text, "Held by a request, with the reason"),
    key("settled_id", Text, "The settled order"),
    key("settled_state", Form::Words(&["done", "failed"]), "Where it was settled to"),
    key("settled_attempt", COUNT, "The settled attempt"),
    key("settled_seq", Any, "Number of the ledger's line of the settlement"),
    key("settled_hash", Text, "Hash of that line"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the `match` in a function: `"word" =>` at the beginning of a line.
    fn arms<'t>(text: &'t str, function: &str) -> Vec<&'t str> {
        let start = text.find(function).unwrap_or_else(|| panic!("no {function}"));
        let body = text[start..].split("\n}\n").next().unwrap();
        let arm = |line: &'t str| line.trim().strip_prefix('"')?.split_once("\" =>");
        body.lines().filter_map(arm).map(|(word, _)| word).collect()
    }

    #[track_caller]
    fn check(text: &str, function: &str, keys: &[Key]) {
        let arms = arms(text, function);
        for arm in &arms {
            assert!(
                keys.iter().any(|k| k.name == *arm),
                "{function} reads `{arm}`: not in keys.rs"
            );
        }
        for key in keys.iter().filter(|k| !matches!(k.form, Any)) {
            assert!(arms.contains(&key.name), "{function} does not read `{}`", key.name);
        }
    }

    #[test]
    fn what_is_read_stands_in_the_tables() {
        check(include_str!("../parse.rs"), "fn read_key", &ORDER);
        let fields = include_str!("fields.rs");
        check(fields, "fn dependency(", &DEPENDENCY);
        check(fields, "fn scope(", &SCOPE);
        check(fields, "fn diff_budget(", &DIFF_BUDGET);
        check(fields, "fn retry(", &RETRY);
        check(fields, "fn backoff(", &BACKOFF);
        check(fields, "fn stop_conditions(", &STOP_CONDITIONS);
        check(include_str!("commands.rs"), "fn verify(", &VERIFY);
        check(include_str!("commands.rs"), "fn execution(", &EXECUTION);
        check(include_str!("own.rs"), "fn read(", &OWN);
        let catalogue = include_str!("../dod.rs");
        check(catalogue, "fn entry(", &crate::model::dod::ENTRY);
        check(catalogue, "fn checks(", &crate::model::dod::CHECK);
        check(include_str!("../backlog.rs"), "fn epic(", &crate::model::backlog::EPIC);
    }

    #[test]
    fn the_page_names_the_keys_in_this_order() {
        let page = include_str!("../../../docs/work-order.md");
        let mut from = 0;
        let ours = ["status", "owner", "package", "description"];
        let kept = |k: &&Key| !ours.contains(&k.name) && k.text != "Kept, not read";
        for key in ORDER.iter().filter(kept) {
            let dotted = format!("`{}.", key.name);
            let at = [format!("`{}`", key.name), dotted]
                .iter()
                .filter_map(|n| page[from..].find(n))
                .min();
            from +=
                at.unwrap_or_else(|| panic!("`{}` is not where it belongs in the page", key.name));
        }
    }
}
