//! Files that people write beside the tickets: configuration, catalogue, backlog.
//!
//! Invariants: read as everything under the root is: no symlink followed, nothing that blocks, bounded;
//! what is wrong with one file is a sentence about it, never a fault that stops the root.

use crate::world::store::{Snapshot, read_whole};
use crate::world::{Fault, Kind, World};
use std::path::Path;

/// A file as it was read; `Ok(None)` when it is not there. The error says why it cannot be taken, and
/// what to do.
pub type Found<F> = Result<Option<Snapshot<F>>, String>;

/// Reads a file of at most `bytes_max` bytes.
pub fn snapshot<W: World>(
    world: &mut W,
    path: &Path,
    bytes_max: usize,
) -> Result<Found<W::File>, Fault> {
    let kind = match world.stat(path) {
        Ok(None) => return Ok(Ok(None)),
        Ok(Some(stat)) => stat.kind,
        Err(fault) => return of_the_file(fault),
    };
    if let Some(what) = no_file(kind) {
        return Ok(Err(format!("is {what}; it must be a regular file")));
    }
    match read_whole(world, path, bytes_max) {
        Ok(Some(read)) if read.bytes.len() > bytes_max => {
            Ok(Err(format!("is longer than {} KiB; make it shorter", bytes_max >> 10)))
        }
        Ok(read) => Ok(Ok(read)),
        Err(fault) => of_the_file(fault),
    }
}

/// What it is instead of a regular file.
pub fn no_file(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::File => None,
        Kind::Dir => Some("a directory"),
        Kind::Symlink => Some("a symbolic link"),
        Kind::Other => Some("a FIFO, socket or device"),
    }
}

/// A fault of this one file is a sentence; one of the disk stays a fault.
fn of_the_file<T>(fault: Fault) -> Result<Result<T, String>, Fault> {
    if fault.is_obstacle() {
        return Ok(Err(format!("cannot be read: {fault}; mend its permissions or its kind")));
    }
    Err(fault)
}
