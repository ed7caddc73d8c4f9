//! `jobyard heartbeat`: a sign of life from the holder of a manual lease.
//!
//! Invariants: touches the lock that was read and nothing else; needs no daemon and no root lock.

use super::ask::drive::world;
use super::request::order_id;
use super::{Failure, Globals, Outcome, code, say};
use crate::model::lease::{LeaseBody, LeaseMode};
use crate::model::paths;
use crate::world::World;
use std::time::SystemTime;

/// Most bytes of a lock that are read.
const LOCK_BYTES_MAX: usize = 4096;

/// Flags of `jobyard heartbeat`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order
    id: String,
    /// Print what would be touched; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let id = order_id(&given.id)?;
    let root = globals.find_root()?;
    let lock = paths::lock(&id);
    let mut world = world(&root)?;
    let failed = |why: &dyn std::fmt::Display| {
        Failure::new(code::FAILED, format!("touch {}: {why}", root.join(&lock).display()))
    };
    let file = world.open(&lock).map_err(|f| failed(&f))?.ok_or_else(|| {
        let text = format!("{id} is not held: there is no {}", lock.display());
        Failure::new(code::NOT_FOUND, format!("{text}; take it with `jobyard take {id}`"))
    })?;
    let bytes = world.read(&file, 0, LOCK_BYTES_MAX).map_err(|f| failed(&f))?;
    let uid = rustix::process::geteuid().as_raw();
    let refusal = match LeaseBody::parse(&bytes) {
        LeaseBody::Ours(lease) => match lease.mode {
            LeaseMode::Manual { holder, .. } if holder.uid == uid => None,
            LeaseMode::Manual { holder, .. } => {
                Some((code::HELD, format!("{} (uid {}) holds it", holder.name, holder.uid)))
            }
            LeaseMode::Process => Some((code::HELD, "the daemon runs it".to_owned())),
        },
        LeaseBody::Foreign(_) => Some((code::HELD, "its lock is not one of jobyard".to_owned())),
    };
    if let Some((code, text)) = refusal {
        return Err(Failure::new(code, format!("heartbeat {id}: {text}")));
    }
    if !given.dry_run {
        file.set_modified(SystemTime::now()).map_err(|e| failed(&e))?;
    }
    let done = if given.dry_run { "would touch" } else { "touched" };
    match globals.json {
        true => {
            let path = lock.to_string_lossy().into_owned();
            let fields = [
                ("id", id.as_str().into()),
                ("lock", path.into()),
                ("dry_run", given.dry_run.into()),
            ];
            say::object("heartbeat", fields)?;
        }
        false => say::line(&format!("{done} {}", lock.display()))?,
    }
    Ok(code::DONE)
}
