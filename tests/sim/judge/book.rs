//! The ledger as a stranger reads it: lines, chain, and what they tell of each order.
//!
//! Invariants: shares no code with the engine's own reading; reads on where it stopped, and from the
//! beginning after a power cut.

use crate::world::Disk;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

const DIR: &str = "_ctx/audit";

/// One whole line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// `seq`
    pub(crate) seq: u64,
    /// `hash`
    pub(crate) hash: String,
    /// `id`, empty when there is none.
    pub(crate) id: String,
    /// `attempt`, 0 when there is none.
    pub(crate) attempt: u64,
    /// `event`
    pub(crate) event: String,
    /// The whole line.
    pub(crate) value: Value,
}

/// Everything read so far.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The lines, oldest first.
    pub(crate) lines: Vec<Line>,
    head: String,
    read: BTreeMap<String, usize>,
}

impl Book {
    /// Forgets all: the past may have changed.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Reads what is new; returns the number of lines known before, or what is wrong with the chain.
    pub(crate) fn read_on(&mut self, disk: &Disk) -> Result<usize, String> {
        let known = self.lines.len();
        for name in segments(disk) {
            let path = format!("{DIR}/{name}");
            let Some(bytes) = disk.peek(Path::new(&path)) else { continue };
            let from = self.read.get(&name).copied().unwrap_or(0);
            if bytes.len() < from {
                return Err(format!("{path} has become shorter"));
            }
            let fresh = bytes[from..].to_vec();
            let whole = fresh.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            for line in fresh[..whole].split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                self.take(line).map_err(|text| format!("{path}: {text}"))?;
            }
            self.read.insert(name, from + whole);
        }
        Ok(known)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.ends_with(b" ~TORN") {
            return Ok(());
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "a line is not UTF-8".to_owned())?;
        let value: Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
        let word = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let (hash, seq) = (word("hash"), value["seq"].as_u64().unwrap_or(0));
        let cut = text.rfind(",\"hash\":\"").unwrap_or(0);
        if digest(&bytes[..cut]) != hash {
            return Err(format!("the hash of line {seq} is not that of its bytes"));
        }
        let last = self.lines.last().map_or(0, |l| l.seq);
        let before = if self.head.is_empty() { "0".repeat(64) } else { self.head.clone() };
        if word("prev") != before {
            return Err(format!("line {seq} does not follow line {last}"));
        }
        if seq != last + 1 {
            return Err(format!("after line {last} comes line {seq}"));
        }
        self.head.clone_from(&hash);
        let (id, event) = (word("id"), word("event"));
        let attempt = value["attempt"].as_u64().unwrap_or(0);
        self.lines.push(Line { seq, hash, id, attempt, event, value });
        Ok(())
    }

    /// The line with this number and hash.
    pub(crate) fn find(&self, seq: u64, hash: &str) -> Option<&Line> {
        let at = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.lines.get(at).filter(|l| l.hash == hash)
    }
}

/// The last line of an order, as it is written; one that was cut off counts as never written.
pub(crate) fn last_of(disk: &Disk, id: &str) -> Option<String> {
    let last = format!("{DIR}/{}", segments(disk).last()?);
    let text = String::from_utf8_lossy(disk.peek(Path::new(&last))?).into_owned();
    let named = format!("\"id\":\"{id}\"");
    let whole = |line: &&str| line.contains(&named) && line.ends_with('}');
    text.lines().rev().find(whole).map(str::to_owned)
}

/// `fdatasync` of every segment; false when the disk refuses.
pub(crate) fn sync(disk: &mut Disk) -> bool {
    let all = segments(disk);
    all.iter().all(|name| disk.sync_path(Path::new(&format!("{DIR}/{name}"))).is_ok())
}

fn segments(disk: &Disk) -> Vec<String> {
    let names = disk.peek_names(DIR);
    names.into_iter().filter(|n| n.ends_with(".jsonl")).collect()
}

fn digest(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    Sha256::digest(bytes).iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
