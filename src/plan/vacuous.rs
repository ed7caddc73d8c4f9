//! Checks that prove nothing, and checks that cannot fail.
//!
//! Invariants: only what surely cannot tell anything is called vacuous; in doubt a command counts as a real
//! check, whose status decides.

use super::shell::{Joint, Simple, is_assignment, split};

/// Is the command nothing but comments, `true`, `:`, `echo` and the like, however they are joined?
pub fn is_vacuous(command: &str) -> bool {
    let line = split(command);
    if line.odd {
        return false;
    }
    // What follows `||` never runs when what stands before it cannot fail.
    let mut skipped = false;
    for simple in &line.commands {
        if !skipped && !says_nothing(simple) {
            return false;
        }
        skipped = simple.joint == Joint::Or;
    }
    true
}

/// A command that succeeds whatever the state of the tree.
fn says_nothing(simple: &Simple) -> bool {
    if simple.redirects {
        return false;
    }
    let call = simple.call();
    let assigned = &simple.words[..simple.words.len() - call.len()];
    match simple.name() {
        // An assignment alone has the status of a substitution in it.
        "" => call.is_empty() && assigned.iter().all(|w| is_assignment(w) && !w.substitution),
        "true" | "/bin/true" | "/usr/bin/true" | ":" => true,
        "echo" | "/bin/echo" | "/usr/bin/echo" | "printf" | "/usr/bin/printf" => true,
        "set" | "{" | "}" => call.iter().all(|w| !w.substitution) && braces_say_nothing(simple),
        "exit" => match call {
            [_] => true,
            [_, status] => status.text == "0",
            _ => false,
        },
        _ => false,
    }
}

/// `{ true` arrives as one command: what stands after the brace is judged by itself.
fn braces_say_nothing(simple: &Simple) -> bool {
    if simple.name() != "{" {
        return true;
    }
    let inner = Simple { words: simple.call()[1..].to_vec(), ..simple.clone() };
    inner.words.is_empty() || says_nothing(&inner)
}

/// Commands that only show, cut or keep what they are given, and succeed when their input is a failure's.
const FILTERS: [&str; 20] = [
    "head", "tail", "tee", "wc", "cat", "sort", "uniq", "cut", "tr", "sed", "awk", "less", "more",
    "column", "nl", "fold", "ts", "xxd", "od", "pr",
];

/// Commands that set the stage or let time pass: their failure shows in what comes after.
const PREPARATIONS: [&str; 10] =
    ["cd", "export", "set", "source", ".", "umask", "ulimit", "unset", "shopt", "sleep"];

/// Why a failure inside the command would not fail the check; `None` when it would.
pub fn hides_failure(command: &str) -> Option<&'static str> {
    let line = split(command);
    let commands = &line.commands;
    let sets = |word: &str, short: char| {
        commands.iter().filter(|c| c.name() == "set").any(|c| {
            c.call()[1..]
                .iter()
                .any(|w| w.text == word || (w.text.starts_with('-') && w.text[1..].contains(short)))
        })
    };
    let pipefail = sets("pipefail", '\0');
    let errexit = sets("errexit", 'e');
    let last = commands.last()?;
    for pair in commands.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        if before.joint == Joint::Or && says_nothing(after) {
            return Some("`|| true` and the like turn every failure into success");
        }
        if before.joint == Joint::Pipe
            && !pipefail
            && after.joint != Joint::Pipe
            && FILTERS.contains(&after.name())
            && !says_nothing(before)
        {
            return Some(
                "a pipeline has the status of its last command, here a filter that succeeds: \
                 begin with `set -o pipefail`",
            );
        }
    }
    if last.joint == Joint::Background && !says_nothing(last) {
        return Some("`&` at the end: nobody waits for the command or looks at its status");
    }
    let real = |c: &Simple| {
        !says_nothing(c) && !PREPARATIONS.contains(&c.name()) && !is_compound(c.name())
    };
    let compound = commands.iter().any(|c| is_compound(c.name()));
    let swallowed =
        commands[..commands.len() - 1].iter().any(|c| real(c) && matches!(c.joint, Joint::Then));
    (swallowed && !errexit && !compound).then_some(
        "only the status of the last command counts: join them by `&&`, begin with `set -e`, or \
         write one check for each",
    )
}

fn is_compound(name: &str) -> bool {
    matches!(
        name,
        "if" | "then"
            | "else"
            | "elif"
            | "fi"
            | "for"
            | "while"
            | "until"
            | "do"
            | "done"
            | "case"
            | "esac"
            | "function"
            | "select"
            | "[["
            | "{"
            | "}"
            | "!"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_nothing_is_vacuous() {
        let vacuous = [
            "",
            "  \n\t",
            "# a comment",
            "true",
            "  true  ",
            ":",
            ": anything",
            "echo done",
            "echo ok && true",
            "echo a; echo b\n# c\n:",
            "true | true",
            "exit 0",
            "exit",
            "echo \"$(pytest)\"",
            "echo `pytest`",
            "echo done >/dev/null 2>&1",
            "/bin/true",
            "set -e\necho ok",
            "X=1",
            "X=1 true",
            "true || pytest",
            "( true )",
            "{ true; }",
            "true &",
            "printf 'ok\\n'",
            "'true'",
            "ec'h'o x",
            "t\\rue",
        ];
        for text in vacuous {
            assert!(is_vacuous(text), "{text:?}");
        }
        let real = [
            "pytest",
            "echo x | grep y",
            "true && pytest",
            "echo a; pytest",
            "false",
            "exit 1",
            "cd src",
            "test -f a",
            "X=$(pytest)",
            "echo x > file",
            "cat <<E\nx\nE",
            "pytest || true",
            "! true",
            "if true; then pytest; fi",
            "echo 'open",
            "true\npytest",
            "truex",
            "./true",
            "{ pytest; }",
            "(true; pytest)",
            "exit $x",
            "set $(pytest)",
            "true | tee file",
        ];
        for text in real {
            assert!(!is_vacuous(text), "{text:?}");
        }
    }

    #[test]
    fn what_hides_a_failure_is_pointed_at() {
        let hiding = [
            ("pytest || true", "|| true"),
            ("pytest || :", "|| true"),
            ("pytest || echo failed", "|| true"),
            ("pytest || exit 0", "|| true"),
            ("pytest | tail -5", "pipeline"),
            ("pytest 2>&1 | tee log", "pipeline"),
            ("pytest | grep -v x | wc -l", "pipeline"),
            ("cd a && pytest | head", "pipeline"),
            ("pytest &", "`&`"),
            ("pytest; echo done", "last command"),
            ("pytest\nruff check", "last command"),
            ("pytest; true", "last command"),
        ];
        for (text, part) in hiding {
            assert!(hides_failure(text).is_some_and(|why| why.contains(part)), "{text:?}");
        }
        let fine = [
            "pytest",
            "pytest && ruff check",
            "set -e\npytest\nruff check",
            "cd src; pytest",
            "sleep 3; test -f x",
            "set -euo pipefail; pytest | tail",
            "echo begin; pytest",
            "pytest || exit 1",
            "cargo test | grep -q ok",
            "",
            "true",
            "export A=1\npytest",
            "pytest || false",
            "if a; then b; fi",
            "for f in *; do\n a $f || exit 1\ndone",
            "echo x | wc -l",
        ];
        for text in fine {
            assert_eq!(hides_failure(text), None, "{text:?}");
        }
    }
}
