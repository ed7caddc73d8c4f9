//! Signs of life of a person's attempt, looked at only when somebody asks.
//!
//! Invariants: an age counts from what the ledger itself says (the claim); times of files, which anybody
//! can set, can only make it younger. What is too large to look at whole counts as alive.

use super::Look;
use crate::model::attempt::Place;
use crate::model::id::OrderId;
use crate::model::index::Ticket;
use crate::model::paths;
use crate::world::store::read_whole;
use crate::world::{Fault, Kind, Stat, World};
use std::path::{Path, PathBuf};

/// Most files of a worktree that are looked at.
const FILES_MAX: usize = 200_000;

/// Longest `.git` file of a worktree.
const GIT_FILE_BYTES_MAX: usize = 4096;

/// Milliseconds since the last sign of life: the claim, a touch of the lock, progress, a commit, a changed
/// file in the worktree.
pub fn silence<W: World>(
    world: &mut W,
    look: &Look<'_>,
    id: &OrderId,
    ticket: &Ticket,
    lock: Stat,
) -> Result<u64, Fault> {
    let attempt = ticket.attempt.as_deref();
    let claimed = attempt.map_or(0, |a| a.claimed_ms.saturating_mul(1_000_000));
    let mut newest = claimed.max(lock.mtime_ns);
    let number = attempt.map_or(0, |a| a.number);
    newest = newest.max(touched(world, &paths::run(id, number).join("progress"))?);
    let tree = match attempt.map(|a| &a.claim.place) {
        Some(Place::Root) => None,
        Some(Place::Tree { path, .. }) => Some(PathBuf::from(path)),
        None => Some(PathBuf::from(id.worktree())),
    };
    if let Some(tree) = tree {
        for sign in admin(world, &tree)? {
            newest = newest.max(touched(world, &sign)?);
        }
        let Some(changed) = changed(world, tree)? else { return Ok(0) };
        newest = newest.max(changed);
    }
    let silent = look.now.0.saturating_sub(newest / 1_000_000);
    Ok(u64::try_from(silent).unwrap_or(0))
}

fn touched<W: World>(world: &mut W, path: &Path) -> Result<i64, Fault> {
    Ok(world.stat(path)?.map_or(0, |stat| stat.mtime_ns))
}

/// What git writes at a commit, where the worktree itself says it is, if that lies beneath the root.
fn admin<W: World>(world: &mut W, tree: &Path) -> Result<Vec<PathBuf>, Fault> {
    let file = tree.join(".git");
    if world.stat(&file)?.is_none_or(|s| s.kind != Kind::File) {
        return Ok(Vec::new());
    }
    let text = read_whole(world, &file, GIT_FILE_BYTES_MAX)?.map(|s| s.bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let dir = text.strip_prefix("gitdir:").map(|dir| Path::new(dir.trim()));
    let dir = dir.and_then(|dir| dir.strip_prefix(world.root()).ok());
    let names = ["index", "HEAD", "logs/HEAD"];
    Ok(dir.map(|dir| names.map(|name| dir.join(name)).to_vec()).unwrap_or_default())
}

/// When something in a directory was last changed, at any depth; `None` when it is too large to be said.
fn changed<W: World>(world: &mut W, tree: PathBuf) -> Result<Option<i64>, Fault> {
    let (mut newest, mut seen) = (0, 0);
    let mut todo = vec![tree];
    while let Some(path) = todo.pop() {
        let Some(stat) = world.stat(&path)? else { continue };
        newest = newest.max(stat.mtime_ns);
        seen += 1;
        if seen > FILES_MAX {
            return Ok(None);
        }
        if stat.kind == Kind::Dir {
            // What goes meanwhile, or may not be read, is left out.
            let entries = world.list(&path).unwrap_or_default();
            todo.extend(entries.iter().map(|entry| path.join(&entry.name)));
        }
    }
    Ok(Some(newest))
}
