//! `jobyard completions`: a script for the shell, with verbs and flags as they are now and ids as they are
//! when the key is pressed.
//!
//! Invariants: the script asks `jobyard list --ids`, which reads names and nothing else; without a root it
//! completes no id and prints nothing. Nothing is installed here.

use super::{Failure, Globals, Outcome, code, out, say};
use clap::{Command, ValueEnum};
use clap_complete::Shell;

/// Flags of `jobyard completions`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell that reads the script
    #[arg(value_name = "SHELL")]
    shell: Known,
}

/// Shells with a script.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Ids that complete a verb: those in one state, or all. A verb that is not here gets all of them.
const STATES: [(&str, &str); 7] = [
    ("edit", "pending"),
    ("take", "pending"),
    ("finish", "running"),
    ("heartbeat", "running"),
    ("requeue", "failed"),
    ("hold", "pending"),
    ("unhold", "pending"),
];

/// What bash does after the generated part: ids where a verb takes them.
const BASH: &str = include_str!("completions/ids.bash");

/// The same for zsh, before the generated part.
const ZSH: &str = include_str!("completions/ids.zsh");

/// The same for fish.
const FISH: &str = include_str!("completions/ids.fish");

/// Runs it. No root is needed.
pub(super) fn run(globals: &Globals, given: &Arguments, mut command: Command) -> Outcome {
    let verbs = verbs(&command);
    let shell = match given.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut command, "jobyard", &mut bytes);
    let made = String::from_utf8(bytes)
        .map_err(|e| Failure::new(code::FAILED, format!("make the script: {e}")))?;
    let text = match given.shell {
        Known::Bash => bash(&made, &verbs),
        Known::Zsh => zsh(&made, &verbs),
        Known::Fish => fish(&made, &verbs),
    };
    if globals.json {
        let fields = [("shell", shell.to_string().into()), ("script", text.into())];
        say::object("completions", fields)?;
        return Ok(code::DONE);
    }
    out::text(&text)?;
    Ok(code::DONE)
}

/// Verbs that are told an id, each with the state whose ids it means; empty: any.
fn verbs(command: &Command) -> Vec<(String, &'static str)> {
    let takes_ids = |verb: &&Command| {
        verb.get_positionals().any(|arg| matches!(arg.get_id().as_str(), "id" | "ids"))
    };
    let state = |name: &str| STATES.iter().find(|(v, _)| *v == name).map_or("", |(_, s)| s);
    let verbs = command.get_subcommands().filter(takes_ids);
    verbs.map(|verb| (verb.get_name().to_owned(), state(verb.get_name()))).collect()
}

/// The generated function stays; another one calls it and adds ids.
fn bash(made: &str, verbs: &[(String, &str)]) -> String {
    let registered = made.find("\nif [[ \"${BASH_VERSINFO[0]}\"").unwrap_or(made.len());
    let arms: String = verbs
        .iter()
        .map(|(verb, state)| format!("        {verb}) _jobyard_add_ids {state} ;;\n"))
        .collect();
    format!("{}\n{}", &made[..registered], BASH.replace("        @ARMS@\n", &arms))
}

/// Positional ids are completed by a function instead of file names.
fn zsh(made: &str, verbs: &[(String, &str)]) -> String {
    let mut verb = "";
    let mut text = String::with_capacity(made.len() + ZSH.len());
    for (at, line) in made.lines().enumerate() {
        // `(take)` begins the part of a verb.
        if let Some(name) = line.strip_prefix('(').and_then(|l| l.strip_suffix(')')) {
            verb = name;
        }
        let known = verbs.iter().find(|(name, _)| name == verb);
        let positional = [":id -- ", ":ids -- "].iter().any(|mark| line.contains(mark));
        match known.filter(|_| positional) {
            Some((_, "")) => text.push_str(&line.replace(":_default'", ":_jobyard_ids'")),
            Some((_, state)) => {
                text.push_str(&line.replace(":_default'", &format!(":_jobyard_ids_{state}'")));
            }
            None => text.push_str(line),
        }
        text.push('\n');
        if at == 0 {
            text.push_str(ZSH);
        }
    }
    text
}

fn fish(made: &str, verbs: &[(String, &str)]) -> String {
    let mut text = format!("{made}{FISH}");
    for (verb, state) in verbs {
        text.push_str(&format!(
            "complete -c jobyard -n \"__fish_jobyard_using_subcommand {verb}\" -f -a \
             \"(__fish_jobyard_ids {state})\"\n"
        ));
    }
    text
}
