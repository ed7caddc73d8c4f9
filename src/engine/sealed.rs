//! The sealed copy in the run directory: the order, and the ignore rules of its worktree.
//!
//! Invariants: the ledger decides what is checked, by text and by digest; a copy is read only for what the
//! ledger must not hold (the values of `env`) or is too long for it (ignore rules), and counts only while its
//! digest is the sealed one. An order with `env` has its copy before it runs; any other at its first stamp.
//!
//! It does not judge: what it finds missing or changed is a value.

use super::Engine;
use super::aside::uninterrupted;
use crate::model::attempt::{Attempt, CommandKind, Place};
use crate::model::event::sha256_hex;
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::protocol::{CommandKey, ToExecutor};
use crate::model::tree::CommitId;
use crate::plan::verdict::Precondition;
use crate::world::store::{TICKET_BYTES_MAX, errno, publish, read_whole};
use crate::world::{Fault, World};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest file of sealed ignore rules: the user's and the repository's, 1 MiB each.
const RULES_BYTES_MAX: usize = (2 << 20) + 16;
/// Only the owner reads values of `env`.
const PRIVATE: u32 = 0o600;

/// Copies of sealed orders that this process answers for.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Sealed bytes of attempts without a copy yet: one per running order at most.
    waiting: BTreeMap<OrderId, (u32, Vec<u8>)>,
    /// Attempts whose copy has been seen: its absence is somebody's deed.
    kept: BTreeMap<OrderId, u32>,
    /// Attempts whose copies this process has made durable.
    durable: BTreeMap<OrderId, u32>,
}

impl<W: World> Engine<W> {
    /// An attempt has begun. With `env` its sealed order is written before anything can run.
    pub(super) fn seal_copy(
        &mut self,
        id: &OrderId,
        number: u32,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        self.copies.waiting.insert(id.clone(), (number, bytes.to_vec()));
        let has_env = |a: &Attempt| !a.claim.sealed.env.is_empty();
        if self.ticket(id).and_then(|t| t.attempt.as_deref()).is_some_and(has_env) {
            self.ensure_run_dir(id, number)?;
            self.write_copy(id, number)?;
        }
        Ok(())
    }

    /// Makes the copies of an attempt durable, by a path that is: its directories may have been made just
    /// now, and whoever made them may have died. Nothing to do where this process has done it, or where no
    /// `env` needs them.
    pub(super) fn sync_copies(&mut self, id: &OrderId, attempt: u32) -> Result<(), Fault> {
        let has_env = |a: &Attempt| a.number == attempt && !a.claim.sealed.env.is_empty();
        let needed = self.ticket(id).and_then(|t| t.attempt.as_deref()).is_some_and(has_env);
        if !needed || self.copies.durable.get(id) == Some(&attempt) {
            return Ok(());
        }
        for dir in [paths::run(id, attempt), paths::runs(id), PathBuf::from(paths::RUNS)] {
            match self.world.sync_dir(&dir) {
                Err(fault) if fault.errno != errno::ENOENT && !fault.is_obstacle() => {
                    return Err(fault);
                }
                _ => drop(self.dirs.remove(&dir)),
            }
        }
        self.copies.durable.insert(id.clone(), attempt);
        Ok(())
    }

    /// Makes the copies durable without which a command that is about to be sent could have no successor.
    pub(super) fn sync_copies_of_starts(&mut self) -> Result<(), Fault> {
        let start = |m: &ToExecutor| match m {
            ToExecutor::Start(start) => Some(start.key.clone()),
            _ => None,
        };
        let keys: Vec<CommandKey> = self.outbox.iter().filter_map(start).collect();
        for key in keys {
            if let Ok(id) = OrderId::parse(&key.id) {
                self.sync_copies(&id, key.attempt)?;
            }
        }
        Ok(())
    }

    /// The ticket has been stamped over; `out`: what came out was the sealed order, and is its copy now.
    pub(super) fn copy_stamped(
        &mut self,
        id: &OrderId,
        number: u32,
        out: bool,
    ) -> Result<(), Fault> {
        if out {
            self.copies.waiting.remove(id);
            self.copies.kept.insert(id.clone(), number);
            return Ok(());
        }
        self.write_copy(id, number)
    }

    /// Writes the copy from memory, if it is not there already.
    fn write_copy(&mut self, id: &OrderId, number: u32) -> Result<(), Fault> {
        let Some((of, bytes)) = self.copies.waiting.remove(id) else { return Ok(()) };
        if of != number {
            return Ok(());
        }
        let path = paths::run(id, number).join(paths::SEALED);
        match publish(&mut self.world, &path, &bytes, PRIVATE) {
            // What stands there, or took the directory away, is found at the gate.
            Err(fault) if !fault.is_obstacle() && fault.errno != errno::ENOENT => {
                return Err(fault);
            }
            _ => {}
        }
        self.copies.kept.insert(id.clone(), number);
        self.changed(&path);
        Ok(())
    }

    /// The attempt is over.
    pub(super) fn forget_copy(&mut self, id: &OrderId) {
        self.copies.waiting.remove(id);
        self.copies.kept.remove(id);
        self.copies.durable.remove(id);
    }

    /// At the opening: the copies that are there now must be there at the gate.
    pub(super) fn note_copies(&mut self) -> Result<(), Fault> {
        let open: Vec<(OrderId, u32)> = self
            .index
            .open
            .iter()
            .filter_map(|id| Some((id.clone(), self.ticket(id)?.attempt.as_deref()?.number)))
            .collect();
        for (id, number) in open {
            let path = paths::run(&id, number).join(paths::SEALED);
            let there = match self.world.stat(&path) {
                Ok(found) => found.is_some(),
                // Whatever stands there: the gate looks at it closely.
                Err(fault) if fault.is_obstacle() => true,
                Err(fault) => return Err(fault),
            };
            if there {
                self.copies.kept.insert(id, number);
            }
        }
        Ok(())
    }

    /// Why the sealed copy of the order is not what it was, if so. The gate does not use it, but whoever
    /// changed it wanted another gate.
    pub(super) fn copy_changed(
        &mut self,
        id: &OrderId,
        attempt: &Attempt,
    ) -> Result<Option<String>, Fault> {
        let path = paths::run(id, attempt.number).join(paths::SEALED);
        let sealed = &attempt.claim.sealed;
        let expected = !sealed.env.is_empty() || self.copies.kept.get(id) == Some(&attempt.number);
        let what = match self.read_copy(&path, TICKET_BYTES_MAX)? {
            Copy::Read(bytes) if sha256_hex(&bytes) == sealed.digest => return Ok(None),
            Copy::Missing if !expected => return Ok(None),
            // It is the person's file, which a power cut may have torn as they left it.
            Copy::Read(_) if attempt.claim.boot != self.index.boot => return Ok(None),
            Copy::Read(_) => "changed",
            Copy::Missing => "removed",
            Copy::Blocked => "replaced by something that cannot be read",
        };
        let shown = path.display();
        Ok(Some(format!("the sealed copy of the order, {shown}, was {what} while the attempt ran")))
    }

    /// The values of the order's `env`, from a file that is the sealed order to the byte; `None` when there
    /// is none any more.
    pub(super) fn secret_env(
        &mut self,
        id: &OrderId,
        attempt: &Attempt,
    ) -> Result<Option<BTreeMap<String, String>>, Fault> {
        if attempt.claim.sealed.env.is_empty() {
            return Ok(Some(BTreeMap::new()));
        }
        let copy = paths::run(id, attempt.number).join(paths::SEALED);
        for path in [copy, paths::ticket(State::Running, id)] {
            if let Copy::Read(bytes) = self.read_copy(&path, TICKET_BYTES_MAX)?
                && sha256_hex(&bytes) == attempt.claim.sealed.digest
                && let Ok(parsed) = parse_order(&bytes, id.as_str())
            {
                return Ok(Some(parsed.order.env));
            }
        }
        Ok(None)
    }

    /// The sealed ignore rules. `Err`: they, or the settings sealed with them, are not what they were.
    pub(super) fn sealed_rules(
        &mut self,
        attempt: &Attempt,
        tree: &str,
    ) -> Result<Result<Vec<u8>, Precondition>, Fault> {
        let sealed = &attempt.claim.sealed;
        let path = format!("{}/{}", attempt.run_dir(), paths::EXCLUDES);
        let read = self.read_copy(Path::new(&path), RULES_BYTES_MAX)?;
        let same = |bytes: &[u8]| sealed.excludes.as_ref().is_none_or(|d| *d == sha256_hex(bytes));
        let what = match read {
            Copy::Read(bytes) if same(&bytes) => Ok(bytes),
            Copy::Read(_) => Err("changed"),
            _ => Err("removed"),
        };
        // A power cut may have taken the file: its rules count wherever they are read, by their digest.
        let found = match what {
            Err(_) if attempt.claim.boot != self.index.boot => self.world.git_excludes().map(Some),
            _ => Ok(None),
        };
        found.as_ref().err().map_or(Ok(()), uninterrupted)?;
        let rules = match (what, found) {
            (Ok(rules), _) => rules,
            (Err(_), Ok(Some(rules))) if same(&rules) => rules,
            (Err(_), Err(git)) => return Ok(Err(Precondition::recorded("git", &git.to_string()))),
            (Err(what), _) => {
                return Ok(Err(changed(&format!("the sealed ignore rules, {path}, were {what}"))));
            }
        };
        if let Some(digest) = &sealed.settings {
            let now = self.world.git_settings(Some(tree));
            now.as_ref().err().map_or(Ok(()), uninterrupted)?;
            match now {
                Ok(now) if sha256_hex(&now) == *digest => {}
                Ok(_) => {
                    return Ok(Err(changed(
                        "filters, attributes or line ends in git's configuration, or the object stores it \
                         borrows from, were changed since the claim",
                    )));
                }
                Err(git) => return Ok(Err(Precondition::recorded("git", &git.to_string()))),
            }
        }
        Ok(Ok(rules))
    }

    /// Before a check: where HEAD is, when it is not where the gate saw it.
    pub(super) fn strayed(
        &mut self,
        attempt: &Attempt,
        kind: CommandKind,
    ) -> Result<Option<String>, Fault> {
        let (CommandKind::Check(_), Place::Tree { path, branch, .. }) =
            (kind, &attempt.claim.place)
        else {
            return Ok(None);
        };
        let seen = attempt.gate.as_ref().and_then(|g| g.head.as_deref());
        let Some(seen) = seen.and_then(CommitId::parse) else { return Ok(None) };
        Ok(match self.world.git_head(path, branch) {
            Ok(Some(head)) if head == seen => None,
            Ok(Some(head)) => Some(head.as_str().to_owned()),
            Ok(None) => Some("no commit of the branch".to_owned()),
            Err(git) => {
                uninterrupted(&git)?;
                Some(git.to_string())
            }
        })
    }

    /// Reads a file that a job can have put anything in the place of.
    fn read_copy(&mut self, path: &Path, bytes_max: usize) -> Result<Copy, Fault> {
        match read_whole(&mut self.world, path, bytes_max) {
            Ok(Some(found)) => Ok(Copy::Read(found.bytes)),
            Ok(None) => Ok(Copy::Missing),
            Err(fault) if fault.is_obstacle() => Ok(Copy::Blocked),
            Err(fault) => Err(fault),
        }
    }
}

/// What lies in the place of a copy.
enum Copy {
    Read(Vec<u8>),
    Missing,
    Blocked,
}

fn changed(what: &str) -> Precondition {
    let text = format!(
        "{what}: put them back; or `cancel` the order and `requeue` it: that seals it anew"
    );
    Precondition::recorded("sealed-changed", &text)
}
