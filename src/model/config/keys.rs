//! The keys of the configuration: names, defaults as text, meanings.
//!
//! Invariant: the default text reads as the default configuration, commented out or not, but for the
//! examples of keys that have no default.

/// One key of the file.
pub(super) struct KeyText {
    /// Table, empty for the top level; `<name>` stands for a name the user chooses.
    pub(super) table: &'static str,
    /// Name in the table.
    pub(super) name: &'static str,
    /// Default or example, as TOML.
    value: &'static str,
    /// One line.
    pub(super) meaning: &'static str,
}

const fn key(
    table: &'static str,
    name: &'static str,
    value: &'static str,
    meaning: &'static str,
) -> KeyText {
    KeyText { table, name, value, meaning }
}

/// All keys, in the order of the default text; keys of one table stand together.
pub(super) const KEYS: [KeyText; 22] = [
    key(
        "",
        "settle",
        "\"1s\"",
        "How long a file written in place must stay unchanged before it is read.",
    ),
    key("", "slots", "0", "Commands that run at once; 0: as many as CPUs."),
    key(
        "",
        "shell",
        "[\"bash\", \"-c\"]",
        "Program and arguments that a command text is given to.",
    ),
    key(
        "",
        "stale_after",
        "\"1h\"",
        "A manual lease without sign of life for so long is reported as stale.",
    ),
    key("", "grace", "\"10s\"", "Time a command has to end after TERM, before KILL."),
    key(
        "",
        "timeout",
        "\"24h\"",
        "Longest time of each command of `run`, where the order says nothing.",
    ),
    key(
        "",
        "idle_timeout",
        "\"30m\"",
        "Longest time without output of each command of `run`; no limit unless set.",
    ),
    key("", "check_timeout", "\"1h\"", "Longest time of each check, where the order says nothing."),
    key("", "paused", "false", "`true` or the reason: no order is started; running ones go on."),
    key("log", "max", "\"64MiB\"", "Largest log of one command; more output ends the attempt."),
    key(
        "git",
        "base",
        "\"main\"",
        "Revision that branches start from; unset: main, master, or the branch checked out.",
    ),
    key("git", "checkout_workers", "0", "Processes of one checkout; 0: as many as CPUs."),
    key(
        "git",
        "timeout",
        "\"10m\"",
        "Longest time of a call that makes or removes a worktree; nothing else is begun meanwhile.",
    ),
    key(
        "env",
        "pass",
        "[]",
        "Names of variables of the executor that commands get too, such as \"SSH_AUTH_SOCK\".",
    ),
    key(
        "engines.<name>",
        "command",
        "\"claude -p \\\"$(cat $JOBYARD_CONTEXT)\\\"\"",
        "Shell text that runs orders with `execution: {engine: <name>}`.",
    ),
    key("groups.<name>", "slots", "1", "Commands of orders with `group: <name>` that run at once."),
    key(
        "groups.<name>",
        "paused",
        "false",
        "`true` or the reason: no order of the group is started; running ones go on.",
    ),
    key(
        "hooks",
        "settled",
        "\"echo $JOBYARD_ID: $JOBYARD_RESULT >> settled.txt\"",
        "Shell text run after an order is settled, with JOBYARD_ID, _STATE, _RESULT and others.",
    ),
    key(
        "hooks",
        "drained",
        "\"date >> drained.txt\"",
        "Shell text run once nothing runs and nothing is ready any more.",
    ),
    key("hooks", "timeout", "\"30s\"", "Longest time of each hook."),
    key(
        "dependencies",
        "unsatisfiable",
        "\"hold\"",
        "An order whose dependency can no longer be met: \"hold\", \"skip\" or \"fail\".",
    ),
    key(
        "dependencies",
        "require_checks",
        "false",
        "Whether an order that ended without checks leaves its dependants waiting.",
    ),
];

/// Names of the tables of the top level.
pub(super) const TABLES: [&str; 7] =
    ["log", "git", "env", "engines", "groups", "hooks", "dependencies"];

/// What `init` writes: every key with its meaning, every line commented out, table headers too.
pub fn default_text() -> String {
    let mut text = String::from(
        "# Configuration of jobyard. Every key is optional; the values shown are the defaults or, where\n\
         # there is none, examples. Remove the `#` to set a key, and that of its table header.\n",
    );
    let mut table = "";
    for key in &KEYS {
        if key.table != table {
            table = key.table;
            text.push_str(&format!("\n#[{}]\n", table.replace("<name>", "example")));
        } else {
            text.push('\n');
        }
        text.push_str(&format!("# {}\n#{} = {}\n", key.meaning, key.name, key.value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Config, parse_config};

    #[test]
    fn the_default_text_is_the_default() {
        let text = default_text();
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        assert_eq!(parse_config(&text), Ok(Config::default()));
    }

    #[test]
    fn uncommented_it_is_valid_and_names_every_key() {
        let bare = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => String::new(),
        };
        let text: String = default_text().lines().map(bare).collect();
        let mut config = parse_config(&text).unwrap();
        assert_eq!(config.groups.remove("example"), Some(1));
        assert!(config.engines.remove("example").is_some());
        assert_eq!(config.idle_timeout.take(), crate::model::time::Millis::parse("30m"));
        assert!(config.hooks.settled.take().is_some() && config.hooks.drained.take().is_some());
        assert_eq!(config.git_base.take().as_deref(), Some("main"));
        assert_eq!(config, Config::default());
    }
}
