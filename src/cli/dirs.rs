//! The directories of a root, made when they are missing.
//!
//! Invariants: what exists is left as it is; a directory that was made is durable before anything is
//! put into it.

use crate::model::paths;
use crate::world::store::errno;
use crate::world::{Fault, World};
use std::path::{Path, PathBuf};

/// Where people put what they write.
pub(super) fn offered() -> Vec<PathBuf> {
    let names = ["backlog", "dod", "orchestrators", "packages", "schema", "templates", "workflows"];
    names.iter().map(|name| Path::new(paths::CTX).join(name)).collect()
}

/// Makes those that are missing and returns them.
pub(super) fn make<W: World>(world: &mut W, dirs: &[PathBuf]) -> Result<Vec<PathBuf>, Fault> {
    let mut made = Vec::new();
    for dir in dirs {
        match world.mkdir(dir) {
            Ok(()) => made.push(dir.clone()),
            Err(fault) if fault.errno == errno::EEXIST => {}
            Err(fault) => return Err(fault),
        }
    }
    for dir in &made {
        world.sync_dir(dir.parent().unwrap_or(Path::new("")))?;
    }
    Ok(made)
}

/// Those that are missing.
pub(super) fn missing<W: World>(world: &mut W, dirs: &[PathBuf]) -> Result<Vec<PathBuf>, Fault> {
    let mut missing = Vec::new();
    for dir in dirs {
        if world.stat(dir)?.is_none() {
            missing.push(dir.clone());
        }
    }
    Ok(missing)
}
