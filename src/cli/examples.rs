//! Examples for the help and the manual page of each verb.
//!
//! Invariant: every verb has some, and every line is a command line that is understood.

use clap::Command;

/// Lines and what they do, by verb.
const EXAMPLES: [(&str, &[(&str, &str)]); 36] = [
    (
        "init",
        &[
            ("jobyard init", "make the repository you are in a root"),
            ("jobyard init --systemd", "print how to have it served"),
        ],
    ),
    (
        "daemon",
        &[
            ("jobyard daemon", "work until told to end"),
            ("jobyard daemon --drain --slots 2", "work until nothing is left, two at once"),
        ],
    ),
    (
        "import",
        &[
            ("jobyard import ../old", "say what could be adopted, and what is wrong there"),
            ("jobyard import ../old --apply", "adopt it"),
        ],
    ),
    (
        "submit",
        &[
            ("jobyard submit fix.yaml test.yaml", "publish both, or none"),
            ("jobyard submit - --id nightly", "publish what standard input says"),
        ],
    ),
    (
        "add",
        &[
            ("jobyard add -- make test", "in a worktree of its own"),
            ("jobyard add --after build --check 'test -s report' -- make report", "after another"),
        ],
    ),
    (
        "plan",
        &[
            ("jobyard plan system_test --mode demo --count 5", "five tasks of 30 seconds"),
            ("jobyard plan --list", "the workflows there are, yours among them"),
        ],
    ),
    (
        "edit",
        &[
            ("jobyard edit nightly", "in your editor"),
            ("jobyard edit nightly --set priority=high", "without one"),
        ],
    ),
    (
        "take",
        &[
            ("jobyard take notes --owner agent-7", "lease, branch and worktree"),
            ("jobyard take notes --takeover --reason 'ann is away'", "from a silent holder"),
        ],
    ),
    (
        "finish",
        &[
            ("jobyard finish", "the order whose worktree you are in"),
            ("jobyard finish notes --stop", "end its commands first"),
        ],
    ),
    ("verify", &[("jobyard verify notes", "what finish would say now")]),
    ("cancel", &[("jobyard cancel nightly --reason 'not needed'", "end its whole process tree")]),
    ("requeue", &[("jobyard requeue nightly", "once more, on the same branch")]),
    ("hold", &[("jobyard hold nightly --reason 'after the release'", "keep it from starting")]),
    ("unhold", &[("jobyard unhold nightly", "let it go")]),
    ("heartbeat", &[("jobyard heartbeat notes", "say that you are still at it")]),
    (
        "list",
        &[
            ("jobyard list", "what runs, what waits and for what, what ended"),
            ("jobyard list --state failed", "what failed only"),
        ],
    ),
    ("status", &[("jobyard status --watch", "the whole root, kept up to date")]),
    (
        "show",
        &[
            ("jobyard show notes", "everything about it"),
            ("jobyard show notes --field worktree", "its worktree, for a script"),
        ],
    ),
    ("why", &[("jobyard why nightly", "what keeps it, since when, what would release it")]),
    ("impact", &[("jobyard impact build", "what waits for it")]),
    (
        "deps",
        &[
            ("jobyard deps --graph", "as a tree"),
            ("jobyard deps --list-blocking", "who keeps others back"),
        ],
    ),
    ("stats", &[("jobyard stats --json", "counts and run times, for a machine")]),
    (
        "groups",
        &[
            ("jobyard groups", "their slots, and what is paused"),
            ("jobyard groups pause gpu --reason 'new driver'", "start no more of its orders"),
        ],
    ),
    (
        "wait",
        &[
            ("jobyard wait build test --timeout 1h", "exit 0 only if both are done"),
            ("jobyard wait --all", "until nothing is pending or running"),
        ],
    ),
    (
        "logs",
        &[
            ("jobyard logs nightly --tail 20", "the end of each log"),
            ("jobyard logs -f", "of all orders, also of those that start later"),
        ],
    ),
    (
        "lint",
        &[
            ("jobyard lint", "what is wrong with the root"),
            ("jobyard lint drafts/", "with orders that are not submitted yet"),
        ],
    ),
    ("reconcile", &[("jobyard reconcile --apply", "repair what has one safe repair")]),
    (
        "doctor",
        &[
            ("jobyard doctor", "is all well here?"),
            ("jobyard doctor unknown-lease", "what a finding means, and its cure"),
        ],
    ),
    (
        "gc",
        &[
            ("jobyard gc", "what would go"),
            ("jobyard gc --apply --branches", "take away what is merged and clean"),
        ],
    ),
    ("fmt", &[("jobyard fmt --check drafts/fix.yaml", "exit 7 when it would change")]),
    (
        "audit",
        &[
            ("jobyard audit verify", "is the ledger whole?"),
            ("jobyard audit show nightly", "what it says of an order"),
        ],
    ),
    ("schema", &[("jobyard schema work-order", "for your editor")]),
    ("config", &[("jobyard config slots", "one value")]),
    ("completions", &[("jobyard completions bash", "for: source <(...)")]),
    ("man", &[("jobyard man take", "the page of a verb")]),
    ("demo", &[("jobyard demo", "five orders in a scratch repository")]),
];

/// How to begin.
const FIRST: [(&str, &str); 4] = [
    ("jobyard init", "make it a root"),
    ("jobyard add -- make test", "a command as an order; `submit FILE` for more than that"),
    ("jobyard daemon --drain", "work until nothing is left"),
    ("jobyard list", "what became of it"),
];

/// The command line with its examples, below what its help says already.
pub(super) fn add_to(command: Command) -> Command {
    let command = command.after_help(text("Begin in a repository:", &FIRST));
    EXAMPLES.iter().fold(command, |command, (verb, lines)| {
        command.mut_subcommand(verb, |sub| {
            let said = sub.get_after_help().map_or_else(String::new, |said| format!("{said}\n\n"));
            sub.after_help(said + &text("Examples:", lines))
        })
    })
}

fn text(head: &str, lines: &[(&str, &str)]) -> String {
    let widest = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    let lines = lines.iter().map(|(line, what)| format!("\n  {line:<widest$}  # {what}"));
    lines.fold(head.to_owned(), |text, line| text + &line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use clap::CommandFactory;

    /// Words as a shell reads them, for lines with single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (at, part) in line.split('\'').enumerate() {
            match at % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        words
    }

    #[test]
    fn what_the_help_of_a_verb_says_stays() {
        let mut command = add_to(Arguments::command());
        let help = command.find_subcommand_mut("add").unwrap().render_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("not in this directory") && help.contains("Examples:"), "{help}");
    }

    #[test]
    fn every_verb_has_examples_and_every_example_is_understood() {
        let command = Arguments::command();
        for verb in command.get_subcommands().map(clap::Command::get_name) {
            let lines = EXAMPLES.iter().find(|(of, _)| *of == verb).map(|(_, lines)| *lines);
            let lines = lines.unwrap_or_else(|| panic!("`{verb}` has no example"));
            assert!(lines.iter().all(|(line, _)| line.starts_with(&format!("jobyard {verb}"))));
            for (line, what) in lines.iter().chain(&FIRST) {
                assert!(!what.is_empty() && line.len() + what.len() < 94, "{line} is too long");
                let parsed = command.clone().try_get_matches_from(words(line));
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            }
        }
    }
}
