//! Printing logs, each from where it was left.
//!
//! Invariants: a byte is printed once; a change of log is said; what is no regular file is not read.

use super::{Arguments, Log};
use crate::cli::look::Seat;
use crate::cli::{Failure, code, out, say};
use crate::world::{Kind, World};
use std::collections::BTreeMap;
use std::fs::File;

/// Bytes read at once.
const PART_BYTES: usize = 64 << 10;

/// What has been printed.
pub(super) struct Printer<'a> {
    pub(super) given: &'a Arguments,
    /// How far each log was printed.
    pub(super) done: BTreeMap<Log, u64>,
    last: Option<Log>,
}

impl<'a> Printer<'a> {
    /// Nothing yet.
    pub(super) fn new(given: &'a Arguments) -> Self {
        Self { given, done: BTreeMap::new(), last: None }
    }
}

impl Printer<'_> {
    /// Prints what is new in a log. `false`: the reader has gone.
    pub(super) fn print(&mut self, seat: &mut Seat, log: &Log) -> Result<bool, Failure> {
        let path = log.path();
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(code::FAILED, format!("read {}: {e}", path.display()))
        };
        let kind = seat.world.stat(&path).map_err(|f| failed(&f))?.map(|s| s.kind);
        if kind.is_some_and(|kind| kind != Kind::File) {
            if self.done.insert(log.clone(), 0).is_none() {
                let path = out::plain(&path.to_string_lossy());
                say::talk(&format!("jobyard: {path} is no regular file: it is not read"));
            }
            return Ok(true);
        }
        let file = match seat.world.open(&path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(true),
            Err(fault) if fault.is_obstacle() => {
                if !self.done.contains_key(log) {
                    say::talk(&format!("jobyard: {fault}: left out"));
                    self.done.insert(log.clone(), 0);
                }
                return Ok(true);
            }
            Err(fault) => return Err(failed(&fault)),
        };
        let new = !self.done.contains_key(log);
        let mut at = match (self.done.get(log), self.given.tail) {
            (Some(at), _) => *at,
            (None, Some(lines)) => last_lines(&file, lines).map_err(|e| failed(&e))?,
            (None, None) => 0,
        };
        self.done.insert(log.clone(), at);
        let mut headed = false;
        loop {
            let part = seat.world.read(&file, at, PART_BYTES).map_err(|f| failed(&f))?;
            let wants_head = new || (!part.is_empty() && self.last.as_ref() != Some(log));
            if wants_head && !std::mem::replace(&mut headed, true) && !self.head(log)? {
                return Ok(false);
            }
            if part.is_empty() {
                return Ok(true);
            }
            at += part.len() as u64;
            self.done.insert(log.clone(), at);
            if !out::bytes(&part)? {
                return Ok(false);
            }
        }
    }

    /// Says whose output follows.
    fn head(&mut self, log: &Log) -> Result<bool, Failure> {
        let first = self.last.replace(log.clone()).is_none();
        if self.given.command.is_some() && self.given.ids.len() == 1 {
            return Ok(true);
        }
        let gap = if first { "" } else { "\n" };
        let id = if self.given.ids.len() == 1 { String::new() } else { format!("{}, ", log.id) };
        let name = out::plain(&log.name);
        out::text(&format!("{gap}==> {id}attempt {}, {name} <==\n", log.attempt))
    }
}

/// Where the last lines of a file begin.
fn last_lines(file: &File, lines: usize) -> std::io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let end = file.metadata()?.len();
    let mut at = end;
    let mut left = lines;
    let mut part = vec![0; PART_BYTES];
    while at > 0 {
        let from = at.saturating_sub(PART_BYTES as u64);
        let wanted = usize::try_from(at - from).unwrap_or(PART_BYTES);
        file.read_exact_at(&mut part[..wanted], from)?;
        for (offset, byte) in part[..wanted].iter().enumerate().rev() {
            let here = from + offset as u64;
            if *byte == b'\n' && here + 1 < end {
                if left <= 1 {
                    return Ok(if lines == 0 { end } else { here + 1 });
                }
                left -= 1;
            }
        }
        at = from;
    }
    Ok(if lines == 0 { end } else { 0 })
}
