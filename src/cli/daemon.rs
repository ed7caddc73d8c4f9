//! `jobyard daemon`: the scheduler of one root.
//!
//! Invariants: one daemon per root, by the root lock; with `--dry-run` nothing is locked or changed.

use super::ask::drive::program;
use super::{Failure, Globals, Outcome, code, out, rehearse, root, say};
use crate::daemon::{Ended, Failed, Start, Talk};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::world::ability;
use crate::world::git::Bounds;
use crate::world::journald::Journal;
use crate::world::real::RealWorld;
use crate::world::root_lock::{self, Role, RootLock, Tried, try_lock};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a daemon waits for a verb that holds the root.
const VERB_PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `jobyard daemon`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Commands that run at once (default: the configuration, else the number of CPUs)
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// Written when ready, removed at the end
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Work until nothing is left that can be done, then exit
    #[arg(long)]
    drain: bool,
    /// Wait for an executor that a service manager runs, and start none
    #[arg(long)]
    external_executor: bool,
    /// Print what the first turn would do; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the daemon.
pub(super) fn run(globals: &Globals, arguments: Arguments) -> Outcome {
    // A directory that is named becomes a root; one that is only looked for does not.
    let root = match globals.root.clone().or_else(root::named) {
        Some(named) => root::existing(&named)?,
        None => globals.find_root()?,
    };
    if arguments.dry_run {
        return rehearsed(globals, &root, &arguments);
    }
    let begun = Instant::now();
    let lock = loop {
        let tried =
            try_lock(&root, Role::Daemon, "").map_err(|e| Failure::of_disk("lock", &root, &e))?;
        match tried {
            Tried::Held(lock) => break lock,
            Tried::Taken { role: Role::Daemon, text } => {
                return served(globals, &root, &arguments, &text);
            }
            Tried::Taken { text, .. } if begun.elapsed() > VERB_PATIENCE => {
                let text = format!("{} is held ({text}); try again", root.display());
                return Err(Failure::new(code::AGAIN, text));
            }
            Tried::Taken { .. } => std::thread::park_timeout(Duration::from_millis(20)),
        }
    };
    serve(globals, &root, arguments, lock)
}

/// Another daemon is there: nothing to do for `--drain`, else a failure.
fn served(globals: &Globals, root: &Path, arguments: &Arguments, holder: &str) -> Outcome {
    let text = format!("{} is served already ({holder})", root.display());
    if !arguments.drain {
        return Err(Failure::new(code::HELD, text));
    }
    say::talk(&format!("jobyard: {text}"));
    ended(globals, root, code::DONE, "served-already")
}

/// With `--json`, how it ended.
fn ended(globals: &Globals, root: &Path, code: u8, how: &str) -> Outcome {
    if globals.json {
        let root = root.to_string_lossy().into_owned();
        let fields = [("root", root.into()), ("code", code.into()), ("ended", how.into())];
        say::object("daemon", fields)?;
    }
    Ok(code)
}

/// What the first turn would do.
fn rehearsed(globals: &Globals, root: &Path, arguments: &Arguments) -> Outcome {
    let found = root_lock::look(root).map_err(|e| Failure::of_disk("look at", root, &e))?;
    if let Some(daemon) = found.filter(|f| f.role == Role::Daemon) {
        return served(globals, root, arguments, &daemon.text);
    }
    let lines = rehearse::first_turn(root, arguments.slots)?;
    if globals.json {
        let root = root.to_string_lossy().into_owned();
        let fields = [
            ("root", root.into()),
            ("dry_run", true.into()),
            ("code", code::DONE.into()),
            ("plan", lines.into()),
        ];
        say::object("daemon", fields)?;
    } else if lines.is_empty() {
        say::line("would wait: there is nothing to do now")?;
    } else {
        say::line(&out::plain_lines(&lines.join("\n")))?;
    }
    Ok(code::DONE)
}

/// Talk goes to the journal with its fields, or to stderr.
fn talk(root: &Path) -> Talk {
    let journal = Journal::behind_stderr(root);
    Box::new(move |id, text| {
        let id = id.map(OrderId::as_str);
        if !journal.as_ref().is_some_and(|journal| journal.say(id, text)) {
            say::talk(&format!("jobyard: {text}"));
        }
    })
}

fn serve(globals: &Globals, root: &Path, arguments: Arguments, lock: RootLock) -> Outcome {
    let git = Bounds::of(&root::config(root)?);
    let mut world =
        RealWorld::open(root, program()?, git).map_err(|e| Failure::of_disk("open", root, &e))?;
    world.executors_are_supplied = arguments.external_executor;
    // A disk that fails here fails again in the daemon, which says so and goes on trying.
    if let Ok(Some(what)) = ability::lacking(&mut world, Path::new(paths::OWN)) {
        let text = format!(
            "serve {}: its file system has no {what}, on which every claim rests; put the root on a \
             local one that has, such as ext4, xfs, btrfs or tmpfs",
            root.display()
        );
        return Err(Failure::new(code::FAILED, text));
    }
    let (place, slots) = (root.to_owned(), arguments.slots);
    let options = move || {
        root::options(&place, slots, true, &mut |text| eprintln!("jobyard: {text}"))
            .map_err(|f| f.text)
    };
    let start = Start {
        options: Box::new(options),
        drain: arguments.drain,
        ready_file: arguments.ready_file,
        talk: talk(root),
        lock,
        in_trouble: false,
    };
    match crate::daemon::run(world, start) {
        Ok(Ended::Done) => ended(globals, root, code::DONE, "done"),
        Ok(Ended::DiskRefuses) => ended(globals, root, code::AGAIN, "disk-refuses"),
        Err(Failed::Options(text)) => Err(Failure::new(code::USAGE, text)),
        Err(Failed::Machine(text)) => Err(Failure::new(code::FAILED, text)),
    }
}
