//! `jobyard daemon`: the scheduler of one root.

use super::root;
use super::{Failure, Outcome, code};
use crate::daemon::{Ended, Failed, Start};
use crate::world::real::RealWorld;
use crate::world::root_lock::{Role, Tried, try_lock};
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
}

/// Runs the daemon.
pub(super) fn run(given: Option<&Path>, arguments: Arguments) -> Outcome {
    let root = root::find(given).or_else(|missing| match given {
        Some(dir) if dir.is_dir() => root::existing(dir),
        _ => Err(missing),
    })?;
    let begun = Instant::now();
    let _lock = loop {
        let tried = try_lock(&root, Role::Daemon, "")
            .map_err(|e| Failure::new(code::AGAIN, format!("lock {}: {e}", root.display())))?;
        match tried {
            Tried::Held(lock) => break lock,
            Tried::Taken { role: Role::Daemon, text } => {
                eprintln!("jobyard: {} is served already ({text})", root.display());
                return Ok(if arguments.drain { code::DONE } else { code::HELD });
            }
            Tried::Taken { text, .. } if begun.elapsed() > VERB_PATIENCE => {
                let text = format!("{} is held ({text}); try again", root.display());
                return Err(Failure::new(code::AGAIN, text));
            }
            Tried::Taken { .. } => std::thread::park_timeout(Duration::from_millis(20)),
        }
    };
    serve(&root, arguments)
}

fn serve(root: &Path, arguments: Arguments) -> Outcome {
    let program = std::env::current_exe()
        .map_err(|e| Failure::new(code::FAILED, format!("find this program: {e}")))?;
    let workers = root::config(root)?.checkout_workers;
    let world = RealWorld::open(root, program, Some(workers).filter(|n| *n > 0))
        .map_err(|e| Failure::new(code::FAILED, format!("open {}: {e}", root.display())))?;
    let (place, slots) = (root.to_owned(), arguments.slots);
    let options = move || {
        root::options(&place, slots, true, &mut |text| eprintln!("jobyard: {text}"))
            .map_err(|f| f.text)
    };
    let start = Start {
        options: Box::new(options),
        drain: arguments.drain,
        ready_file: arguments.ready_file,
        talk: Box::new(|text| eprintln!("jobyard: {text}")),
    };
    match crate::daemon::run(world, start) {
        Ok(Ended::Done) => Ok(code::DONE),
        Ok(Ended::DiskRefuses) => Ok(code::AGAIN),
        Err(Failed::Options(text)) => Err(Failure::new(code::USAGE, text)),
        Err(Failed::Machine(text)) => Err(Failure::new(code::FAILED, text)),
    }
}
