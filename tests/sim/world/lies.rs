//! What looks of an actor say while a fault is planted.
//!
//! Invariant: without a fault each returns what it was given.

use crate::planted::{self, Lie};
use jobyard::model::protocol::ToExecutor;
use jobyard::model::tree::TreeFacts;
use jobyard::world::Stat;
use std::path::Path;

/// What a name is said to be.
pub(super) fn stat(lie: Option<Lie>, path: &Path, said: Option<Stat>) -> Option<Stat> {
    match lie {
        Some(Lie::Nothing) => None,
        _ if !planted::remembers() => said,
        Some(Lie::Stat(other)) => other(path, said),
        Some(lie @ (Lie::AsLast | Lie::AsSeen)) => planted::stat_before(path, lie).or(said),
        _ => {
            planted::saw_stat(path, said, false);
            said
        }
    }
}

/// What an open file is said to be.
pub(super) fn stat_file(lie: Option<Lie>, path: &Path, said: Stat) -> Stat {
    if !planted::remembers() {
        return said;
    }
    if let Some(lie @ (Lie::AsLast | Lie::AsSeen)) = lie {
        return planted::stat_before(path, lie).unwrap_or(said);
    }
    planted::saw_stat(path, Some(said), true);
    said
}

/// What is read.
pub(super) fn read(lie: Option<Lie>, path: &Path, read: Vec<u8>) -> Vec<u8> {
    match lie {
        Some(Lie::AsSeen) => planted::bytes_before(path).unwrap_or(read),
        Some(Lie::Bytes(other)) => other(read),
        _ => {
            if planted::remembers() {
                planted::saw_bytes(path, &read);
            }
            read
        }
    }
}

/// A file has another name, which says the same.
pub(super) fn renamed(from: &Path, to: &Path) {
    if let Some(stat) = planted::stat_before(from, Lie::AsSeen) {
        planted::saw_stat(to, Some(stat), false);
    }
}

/// What a worktree looks like: as clean as can be, or as it was seen before.
pub(super) fn tree(lie: Option<Lie>, path: &str, mut facts: TreeFacts) -> TreeFacts {
    let path = Path::new(path);
    match lie {
        Some(Lie::Nothing) => {
            facts.changed.clear();
            facts.untracked.clear();
        }
        Some(Lie::AsSeen) => return planted::tree_before(path).unwrap_or(facts),
        _ if planted::remembers() => planted::saw_tree(path, &facts),
        _ => {}
    }
    facts
}

/// The name of a message.
pub(super) fn message(message: &ToExecutor) -> &'static str {
    match message {
        ToExecutor::Hello { .. } => "hello",
        ToExecutor::Start(_) => "start",
        ToExecutor::Stop { .. } => "stop",
        ToExecutor::Sweep { .. } => "sweep",
        ToExecutor::Ack { .. } => "ack",
        ToExecutor::Bye => "bye",
    }
}
