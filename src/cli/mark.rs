//! A place in the ledger, from which on it is read as it grows.
//!
//! Invariants: whole lines only, each once, in order; segments are followed as they are closed; nothing is
//! written. Whether a line's hash is right is for whoever parses it.

use super::Failure;
use crate::world::git::Bounds;
use crate::world::ledger::{segment, segments};
use crate::world::real::RealWorld;
use crate::world::store::errno;
use crate::world::{Fault, World};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const PART_BYTES: usize = 1 << 20;

/// A place in the ledger.
pub(super) struct Mark {
    world: RealWorld,
    segment: u64,
    offset: u64,
}

/// New lines, all of one segment.
pub(super) struct Grown {
    /// Without their newlines.
    pub(super) lines: Vec<String>,
    /// The segment.
    pub(super) file: File,
}

impl Mark {
    /// Where the ledger ends now.
    pub(super) fn at_end(root: &Path) -> Result<Self, Failure> {
        let world = RealWorld::open(root, PathBuf::new(), Bounds::default())
            .map_err(|e| Failure::of_disk("open", root, &e))?;
        let mut mark = Self { world, segment: 0, offset: 0 };
        mark.find_end().map_err(failed)?;
        Ok(mark)
    }

    fn find_end(&mut self) -> Result<(), Fault> {
        self.segment = self.numbers()?.last().copied().unwrap_or(0);
        let found = self.world.stat(&segment(self.segment))?;
        self.offset = found.map_or(0, |stat| stat.size);
        Ok(())
    }

    /// The next lines that were written since, if there are any.
    pub(super) fn more(&mut self) -> Result<Option<Grown>, Failure> {
        loop {
            // Asked for first: what is read after that is all of a segment that was closed.
            let numbers = self.numbers().map_err(failed)?;
            let later = numbers.into_iter().find(|n| *n > self.segment);
            let grown = self.read_on().map_err(failed)?;
            if let Some(number) = later {
                (self.segment, self.offset) = (number, 0);
            }
            if grown.is_some() || later.is_none() {
                return Ok(grown);
            }
        }
    }

    fn read_on(&mut self) -> Result<Option<Grown>, Fault> {
        let Some(file) = self.world.open(&segment(self.segment))? else { return Ok(None) };
        let mut bytes = Vec::new();
        loop {
            let part = self.world.read(&file, self.offset + bytes.len() as u64, PART_BYTES)?;
            bytes.extend_from_slice(&part);
            if part.len() < PART_BYTES {
                break;
            }
        }
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        let lines = bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<String> =
            lines.filter_map(|line| std::str::from_utf8(line).ok().map(str::to_owned)).collect();
        Ok((!lines.is_empty()).then_some(Grown { lines, file }))
    }

    fn numbers(&mut self) -> Result<Vec<u64>, Fault> {
        match segments(&mut self.world) {
            Err(fault) if fault.errno == errno::ENOENT => Ok(Vec::new()),
            numbers => numbers,
        }
    }
}

fn failed(fault: Fault) -> Failure {
    Failure::of_fault(&fault, "the ledger cannot be read on")
}
