//! A place in the ledger, from which on it is read as it grows.
//!
//! Invariants: whole lines only, each once, in order; segments are followed as they are closed; nothing is
//! written. Whether a line's hash is right is for whoever parses it.

use crate::model::paths;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A place in the ledger.
pub(super) struct Mark {
    dir: PathBuf,
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
    pub(super) fn at_end(root: &Path) -> io::Result<Self> {
        let dir = root.join(paths::AUDIT);
        let segment = numbers(&dir)?.last().copied().unwrap_or(0);
        let offset = match fs::metadata(path(&dir, segment)) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        Ok(Self { dir, segment, offset })
    }

    /// Where the segments lie.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The next lines that were written since, if there are any.
    pub(super) fn more(&mut self) -> io::Result<Option<Grown>> {
        loop {
            // Asked for first: what is read after that is all of a segment that was closed.
            let later = numbers(&self.dir)?.into_iter().find(|n| *n > self.segment);
            let grown = self.read_on()?;
            if let Some(number) = later {
                (self.segment, self.offset) = (number, 0);
            }
            if grown.is_some() || later.is_none() {
                return Ok(grown);
            }
        }
    }

    fn read_on(&mut self) -> io::Result<Option<Grown>> {
        let mut file = match File::open(path(&self.dir, self.segment)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        let lines = bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<String> =
            lines.filter_map(|line| std::str::from_utf8(line).ok().map(str::to_owned)).collect();
        Ok((!lines.is_empty()).then_some(Grown { lines, file }))
    }
}

fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:08}.jsonl"))
}

/// Numbers of the segments, ascending.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|n| n.strip_suffix(".jsonl"));
        let number: Option<u64> = stem.and_then(|n| n.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}
