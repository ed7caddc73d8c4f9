//! Checking the chain of the ledger, line by line.
//!
//! Invariants: shares no code with what writes the chain, but for SHA-256 and the paths; every line counts,
//! also those of events this version does not know; stamps, verdicts and traces are gathered before the
//! ledger is read, so that a live daemon can only be ahead of them; the first bad line is named, nothing
//! after it.

use super::traces::{self, Traces};
use crate::cli::{Failure, code};
use crate::model::event::{GENESIS, sha256_hex};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::verdict::VerdictFile;
use crate::world::ledger::{DIR, TORN, segment};
use crate::world::real::RealWorld;
use crate::world::store::{TICKET_BYTES_MAX, errno, read_whole};
use crate::world::{Entry, Fault, Kind, World};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest segment that is read: many times what one is closed at.
const SEGMENT_BYTES_MAX: usize = 256 << 20;

/// Largest verdict that is read.
const VERDICT_BYTES_MAX: usize = 8 << 20;

/// What is wrong first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Bad {
    /// Relative to the root.
    pub(in crate::cli) file: String,
    /// From 1; 0 for the whole file.
    pub(in crate::cli) line: usize,
    /// What is wrong there.
    pub(in crate::cli) what: String,
}

/// What was checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::cli) struct Report {
    pub(in crate::cli) segments: usize,
    pub(in crate::cli) lines: u64,
    pub(in crate::cli) torn: usize,
    pub(in crate::cli) stamps: usize,
    pub(in crate::cli) verdicts: usize,
    /// Logs and consumed requests.
    pub(in crate::cli) traces: usize,
    pub(in crate::cli) bad: Option<Bad>,
    pub(in crate::cli) notes: Vec<String>,
}

/// A file that names a line of the ledger.
struct Named {
    file: String,
    id: OrderId,
    hash: String,
    event: &'static [&'static str],
    /// A word of the line that the file repeats.
    word: (&'static str, String),
}

/// Files by the line they name.
type Promises = BTreeMap<u64, Vec<Named>>;

/// Where the chain stands.
struct Chain {
    seq: u64,
    head: String,
    promises: Promises,
    traces: Traces,
    /// Somebody may be writing the last line just now.
    served: bool,
}

/// Checks everything. `served`: somebody holds the root lock.
pub(in crate::cli) fn verify(world: &mut RealWorld, served: bool) -> Result<Report, Failure> {
    let failed = |f: Fault| Failure::new(code::FAILED, format!("read the ledger: {f}"));
    let mut report = Report::default();
    let mut promises = Promises::new();
    stamps(world, &mut report, &mut promises).map_err(failed)?;
    verdicts(world, &mut report, &mut promises).map_err(failed)?;
    let traces = traces::gather(world).map_err(failed)?;
    report.traces = traces.len();
    let mut chain = Chain { seq: 0, head: GENESIS.to_owned(), promises, traces, served };
    let numbers = match segments(world).map_err(failed)? {
        Ok(numbers) => numbers,
        Err(bad) => return Ok(Report { bad: Some(bad), ..report }),
    };
    for (at, number) in numbers.iter().enumerate() {
        let path = segment(*number);
        let last = at + 1 == numbers.len();
        let read = read_whole(world, &path, SEGMENT_BYTES_MAX).map_err(failed)?;
        let bytes = read.map(|s| s.bytes).unwrap_or_default();
        let file = path.display().to_string();
        report.segments += 1;
        if bytes.len() > SEGMENT_BYTES_MAX {
            let what = "is far longer than a segment ever is".to_owned();
            return Ok(Report { bad: Some(Bad { file, line: 0, what }), ..report });
        }
        if let Err((line, what)) = chain.segment(&bytes, last, &mut report) {
            return Ok(Report { bad: Some(Bad { file, line, what }), ..report });
        }
    }
    if numbers.is_empty() {
        report.notes.push("there is no ledger".to_owned());
    }
    report.bad = chain.unkept();
    Ok(report)
}

/// Numbers of the segments; they follow each other from 1.
fn segments(world: &mut RealWorld) -> Result<Result<Vec<u64>, Bad>, Fault> {
    let mut numbers = Vec::new();
    for entry in list(world, Path::new(DIR))? {
        let name = entry.name.to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".jsonl") else { continue };
        match stem.parse::<u64>() {
            Ok(number) if segment(number) == Path::new(DIR).join(&name) => numbers.push(number),
            _ => {
                let file = format!("{DIR}/{name}");
                let what = "is not named as a segment is".to_owned();
                return Ok(Err(Bad { file, line: 0, what }));
            }
        }
    }
    numbers.sort_unstable();
    for (number, expected) in numbers.iter().zip(1..) {
        if *number != expected {
            let file = segment(expected).display().to_string();
            return Ok(Err(Bad { file, line: 0, what: "the segment is missing".to_owned() }));
        }
    }
    Ok(Ok(numbers))
}

pub(super) fn list(world: &mut RealWorld, dir: &Path) -> Result<Vec<Entry>, Fault> {
    match world.list(dir) {
        Ok(mut entries) => {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
        Err(fault) if fault.errno == errno::ENOENT || fault.errno == errno::ENOTDIR => {
            Ok(Vec::new())
        }
        Err(fault) => Err(fault),
    }
}

impl Chain {
    /// Checks the lines of one segment; the error is the first bad one.
    fn segment(
        &mut self,
        bytes: &[u8],
        last: bool,
        report: &mut Report,
    ) -> Result<(), (usize, String)> {
        let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        let tail = lines.pop().unwrap_or_default();
        for (bytes, number) in lines.iter().zip(1..) {
            if let Some(torn) = bytes.strip_suffix(TORN.as_bytes()) {
                self.torn(torn).map_err(|what| (number, what))?;
                report.torn += 1;
                continue;
            }
            self.line(bytes).map_err(|what| (number, what))?;
            report.lines += 1;
        }
        let number = lines.len() + 1;
        match (tail.is_empty(), last) {
            (true, _) => {}
            (false, true) => {
                self.torn(tail).map_err(|what| (number, what))?;
                if !self.served {
                    let what = "the last line is cut off, by a crash or by hand: it does not count; the \
                                next daemon or verb that writes marks it as torn";
                    return Err((number, what.to_owned()));
                }
                let text = "the last line has no newline yet: it is being written";
                report.notes.push(text.to_owned());
            }
            (false, false) => {
                let what = "the last line has no newline, but a later segment follows".to_owned();
                return Err((number, what));
            }
        }
        Ok(())
    }

    /// A torn line is the beginning of the next one, nothing else.
    fn torn(&self, bytes: &[u8]) -> Result<(), String> {
        let begin = format!("{{\"seq\":{},", self.seq + 1);
        let (begin, length) = (begin.as_bytes(), bytes.len().min(begin.len()));
        match bytes[..length] == begin[..length] {
            true => Ok(()),
            false => Err(format!(
                "it is marked as torn, but is not the beginning of line {}",
                self.seq + 1
            )),
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Result<(), String> {
        const HASH: &str = ",\"hash\":\"";
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let cut = text.rfind(HASH).ok_or("it has no hash")?;
        let hash = text[cut + HASH.len()..].strip_suffix("\"}").filter(|h| h.len() == 64);
        let hash = hash.ok_or("it does not end in its hash")?;
        if sha256_hex(&bytes[..cut]) != hash {
            return Err("its bytes do not match its hash: it was changed".to_owned());
        }
        let map: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
        let seq = map.get("seq").and_then(Value::as_u64).ok_or("it has no seq")?;
        let prev = map.get("prev").and_then(Value::as_str).ok_or("it has no prev")?;
        if seq != self.seq + 1 {
            let expected = self.seq + 1;
            return Err(format!(
                "it is line {seq} of the ledger, but {expected} is expected here: lines were removed, \
                 repeated or swapped"
            ));
        }
        if prev != self.head {
            return Err(format!("it does not follow the line before it ({prev:.12}…)"));
        }
        self.keep(seq, hash, &map)?;
        traces::find(&mut self.traces, &map);
        self.seq = seq;
        hash.clone_into(&mut self.head);
        Ok(())
    }

    /// Files that name this line are right about it.
    fn keep(&mut self, seq: u64, hash: &str, map: &Map<String, Value>) -> Result<(), String> {
        for named in self.promises.remove(&seq).unwrap_or_default() {
            let word = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or_default();
            let right = named.hash == hash
                && word("id") == named.id.as_str()
                && named.event.contains(&word("event"))
                && word(named.word.0) == named.word.1;
            if !right {
                return Err(format!(
                    "{} names line {seq} with the hash {:.12}… and `{}: {}`, but the line says \
                     otherwise: it or that file was rewritten",
                    named.file, named.hash, named.word.0, named.word.1
                ));
            }
        }
        Ok(())
    }

    /// A file that names a line which is not there, or that only comes about after its line.
    fn unkept(&self) -> Option<Bad> {
        let end = self.seq;
        let named = self.promises.iter().find_map(|(seq, named)| Some((seq, named.first()?)));
        if let Some((seq, named)) = named {
            let what = format!(
                "it names line {seq} of the ledger, which ends at line {end}: the end was cut off"
            );
            return Some(Bad { file: named.file.clone(), line: 0, what });
        }
        let (trace, file) = self.traces.iter().next()?;
        let what = format!(
            "no line of the ledger, which ends at line {end}, says {trace}: the end was cut off, or \
             somebody made this file"
        );
        Some(Bad { file: file.clone(), line: 0, what })
    }
}

/// The bytes of a regular file.
fn regular(world: &mut RealWorld, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
    if world.stat(path)?.is_none_or(|s| s.kind != Kind::File) {
        return Ok(None);
    }
    Ok(read_whole(world, path, bytes_max)?.map(|s| s.bytes))
}

/// The stamps of settled tickets.
fn stamps(
    world: &mut RealWorld,
    report: &mut Report,
    promises: &mut Promises,
) -> Result<(), Fault> {
    for state in [State::Done, State::Failed] {
        let dir = paths::dir(state);
        for entry in list(world, &dir)? {
            let stem = entry.name.to_str().and_then(|n| n.strip_suffix(".yaml"));
            let Some(id) = stem.and_then(|s| OrderId::parse(s).ok()) else { continue };
            let path = dir.join(&entry.name);
            let bytes = regular(world, &path, TICKET_BYTES_MAX)?.unwrap_or_default();
            let Ok(parsed) = parse_order(&bytes, id.as_str()) else { continue };
            let file = path.display().to_string();
            match parsed.order.own.settled {
                Some(stamp) => {
                    let event = &["settled", "adopted"];
                    let word = ("state", stamp.state.name().to_owned());
                    let named = Named { file, id, hash: stamp.hash, event, word };
                    promises.entry(stamp.seq).or_default().push(named);
                    report.stamps += 1;
                }
                None => report.notes.push(format!("{file} carries no settlement stamp")),
            }
        }
    }
    Ok(())
}

/// The verdicts in the run directories.
fn verdicts(
    world: &mut RealWorld,
    report: &mut Report,
    promises: &mut Promises,
) -> Result<(), Fault> {
    let runs = PathBuf::from(paths::RUNS);
    for entry in list(world, &runs)? {
        let Some(id) = entry.name.to_str().and_then(|n| OrderId::parse(n).ok()) else { continue };
        if entry.kind != Kind::Dir {
            continue;
        }
        let mut numbers: Vec<u32> = list(world, &paths::runs(&id))?
            .iter()
            .filter_map(|e| e.name.to_str()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        if world.stat(&paths::ticket(State::Running, &id))?.is_some() {
            // The verdict of an open attempt may be ahead of its line.
            numbers.pop();
        }
        for number in numbers {
            let path = paths::run(&id, number).join("verdict.json");
            let Some(bytes) = regular(world, &path, VERDICT_BYTES_MAX)? else { continue };
            let file = path.display().to_string();
            match serde_json::from_slice::<VerdictFile>(&bytes) {
                Ok(verdict) => {
                    let (seq, hash) = (verdict.ledger_seq, verdict.ledger_hash);
                    let word = ("result", verdict.result);
                    let named = Named { file, id: id.clone(), hash, event: &["verdict"], word };
                    promises.entry(seq).or_default().push(named);
                    report.verdicts += 1;
                }
                Err(error) => report.notes.push(format!("{file} cannot be read: {error}")),
            }
        }
    }
    Ok(())
}
