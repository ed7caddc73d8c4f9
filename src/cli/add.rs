//! `jobyard add`: a command line becomes a pending ticket.
//!
//! Invariants: several words run exactly as they were given, one word alone is a line for the shell; the
//! order is read by the parser of all others and published by the path of `submit`, over nothing else.

use super::ask::drive::world;
use super::submit::{self, Draft};
use super::{Failure, Globals, Outcome, code, out, request, say};
use crate::model::defect::Defect;
use crate::model::edit::quoted;
use crate::model::event::sha256_hex;
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::paths;
use crate::plan::argv::line;
use crate::world::World;
use crate::world::git::{Bounds, Git};
use crate::world::real::RealWorld;
use crate::world::root_lock::{self, Role};
use std::path::Path;

/// Ids that are tried before one is asked for.
const TRIES_MAX: u32 = 100;

/// Flags of `jobyard add`.
#[derive(clap::Args)]
#[command(
    after_help = "It runs at the top of its worktree, or of the root, with the variables of a work \
                        order: not in this directory, nor with this shell's variables (`env.pass` names \
                        those it gets)."
)]
pub(super) struct Arguments {
    /// The command: several words run exactly as they are, one word alone is a line for the shell
    #[arg(required = true, last = true, value_name = "CMD")]
    words: Vec<String>,
    /// Its id (default: made of the command's words and the time)
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// One line for people (default: the command)
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Orders that must have ended well before
    #[arg(long, value_name = "ID", num_args = 1..)]
    after: Vec<String>,
    /// A group with slots of its own
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// critical, high, medium or low; or P0 to P3
    #[arg(long, value_name = "PRIORITY")]
    priority: Option<String>,
    /// Longest time, in seconds or as 90s, 10m, 1h30m
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    /// Not started earlier: a date, or a time with its offset
    #[arg(long, value_name = "WHEN")]
    not_before: Option<String>,
    /// A worktree and branch of its own, or the root (default: worktree where git has a commit)
    #[arg(long, value_name = "WHERE", value_parser = ["worktree", "none"])]
    workspace: Option<String>,
    /// Keep it from starting, and say why; `jobyard unhold` lets it go
    #[arg(long, value_name = "REASON")]
    hold: Option<String>,
    /// Shell lines that must end with status 0 afterwards
    #[arg(long, value_name = "CMD", num_args = 1..)]
    check: Vec<String>,
    /// Extra attempts when it fails
    #[arg(long, value_name = "N")]
    retry: Option<u32>,
    /// Print the work order that would be published; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(super) fn run(globals: &Globals, mut given: Arguments) -> Outcome {
    let root = globals.find_root()?;
    for id in &mut given.after {
        *id = request::order_id(id)?.to_string();
    }
    let usual = || usual_workspace(&root);
    let workspace = given.workspace.clone().map_or_else(usual, Ok)?;
    let mut world = world(&root)?;
    let draft = settle(&mut world, &given, &workspace)?;
    let text = String::from_utf8_lossy(&draft.bytes);
    if globals.json {
        let fields = [
            ("id", draft.id.as_str().into()),
            ("dry_run", given.dry_run.into()),
            ("order", text.as_ref().into()),
        ];
        say::object("add", fields)?;
    } else if given.dry_run {
        out::text(&text)?;
    } else {
        say::line(draft.id.as_str())?;
        say_more(&root, &mut world, &given, &draft.id, &workspace);
    }
    Ok(code::DONE)
}

/// Orders run in a worktree where git can make one, and nowhere when git cannot tell.
fn usual_workspace(root: &Path) -> Result<String, Failure> {
    let git = Git::new(root.to_owned(), Bounds::default());
    let failed = |fault| Failure::new(code::FAILED, format!("add: {fault}; or name --workspace"));
    let usable = git.is_repository().map_err(failed)? && git.has_base().map_err(failed)?;
    Ok(if usable { "worktree" } else { "none" }.to_owned())
}

/// The order under an id that nobody has had, published unless it is only looked at.
fn settle(world: &mut RealWorld, given: &Arguments, workspace: &str) -> Result<Draft, Failure> {
    let command = line(&given.words);
    let seed = format!("{} {}", world.identity().instance, world.now().0);
    let mut n = 0;
    loop {
        n += 1;
        let made = || made_id(&command, &format!("{seed} {n}"));
        let id = given.id.clone().unwrap_or_else(made);
        let text = order(given, &id, &command, workspace);
        let draft = submit::judge(&id, &id, text.into_bytes()).map_err(|d| refused(&id, &d))?;
        let one = std::slice::from_ref(&draft);
        let published = submit::refuse_known(world, one).and_then(|()| match given.dry_run {
            true => Ok(()),
            false => submit::publish_all(world, one),
        });
        match published {
            Err(failure)
                if failure.code == code::REFUSED && given.id.is_none() && n < TRIES_MAX => {}
            done => return done.map(|()| draft),
        }
    }
}

fn refused(id: &str, defects: &[Defect]) -> Failure {
    let texts: Vec<String> = defects.iter().map(|d| submit::located(id, d)).collect();
    let text = format!("{}\nnothing was submitted; `--dry-run` prints the order", texts.join("\n"));
    Failure::new(code::REFUSED, text)
}

/// An id of a command's words, and of what tells this call from every other.
fn made_id(command: &str, seed: &str) -> String {
    const WORDS_BYTES_MAX: usize = 24;
    let words = command.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut id = String::new();
    for word in words {
        if id.len() + word.len() >= WORDS_BYTES_MAX {
            break;
        }
        id.push_str(&format!("{}-", word.to_ascii_lowercase()));
    }
    if id.is_empty() {
        id.push_str("order-");
    }
    id.push_str(&sha256_hex(seed.as_bytes())[..6]);
    id
}

/// The work order, its keys in the documented order.
fn order(given: &Arguments, id: &str, command: &str, workspace: &str) -> String {
    let list = |texts: &[String]| {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!("[{}]", texts.join(", "))
    };
    let text = |text: &Option<String>| text.as_deref().map(quoted);
    let some = |texts: &[String]| (!texts.is_empty()).then(|| list(texts));
    let title = given.title.clone().unwrap_or_else(|| out::first_line(&given.words.join(" ")));
    let keys = [
        ("id", Some(quoted(id))),
        ("title", Some(quoted(&title))),
        ("priority", text(&given.priority)),
        ("not_before", text(&given.not_before)),
        ("dependencies", some(&given.after)),
        ("hold", text(&given.hold)),
        ("group", text(&given.group)),
        ("run", Some(quoted(command))),
        ("timeout", text(&given.timeout)),
        ("workspace", Some(workspace.to_owned())),
        ("verify", some(&given.check).map(|checks| format!("{{commands: {checks}}}"))),
        ("retry", given.retry.map(|n| format!("{{max: {n}}}"))),
    ];
    let lines = keys.into_iter().filter_map(|(key, value)| Some(format!("{key}: {}\n", value?)));
    lines.collect()
}

/// Where it runs, what it may wait for in vain, and what can be asked next.
fn say_more(root: &Path, world: &mut RealWorld, given: &Arguments, id: &OrderId, workspace: &str) {
    let place = match workspace {
        "none" => "in the root itself",
        _ => "in a worktree of its own, without what is not committed",
    };
    say::talk(&format!(
        "jobyard: it runs {place}; see `jobyard logs {id} --follow`, `jobyard wait {id}`, `jobyard show {id}`"
    ));
    for up in given.after.iter().filter_map(|up| OrderId::parse(up).ok()) {
        let there = |state| world.stat(&paths::ticket(state, &up)).is_ok_and(|s| s.is_some());
        if !State::ALL.into_iter().any(there) {
            say::talk(&format!(
                "jobyard: warning: it waits for {up}, and there is no such order yet"
            ));
        }
    }
    let served = root_lock::look(root).is_ok_and(|h| h.is_some_and(|h| h.role == Role::Daemon));
    if !served {
        say::talk("jobyard: no daemon runs now; `jobyard daemon` starts one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_words_and_of_who_asks_when() {
        let check = |command: &str, want: &str| {
            let id = made_id(command, "a");
            assert!(OrderId::parse(&id).is_ok(), "{id}");
            assert_eq!(&id[..id.len() - 6], want, "{command:?}");
        };
        check("make test", "make-test-");
        check("./Run.sh --fast", "run-sh-fast-");
        check("a | b", "a-b-");
        check("é", "order-");
        check("", "order-");
        check(&"x".repeat(300), "order-");
        check("python3 -m http.server --directory public 8080", "python3-m-http-server-");
        assert_eq!(made_id("a", "1"), made_id("a", "1"));
        assert_ne!(made_id("a", "1"), made_id("a", "2"));
    }
}
