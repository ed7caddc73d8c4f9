//! The ledger on disk: append-only segments of hash-chained lines.
//!
//! Invariants: only the holder of the root lock appends; a line is a fact only once it is whole, with
//! its newline; a torn tail is closed with ` ~TORN`, never joined; every segment opens with a
//! checkpoint of the open attempts, so that start-up reads the last segment only. Lines are gathered
//! in memory and written by one call; [`Ledger::sync`] makes them durable together.

use super::store::{errno, read_whole, write_all};
use super::{Fault, World};
use crate::model::attempt::Attempt;
use crate::model::event::{Event, GENESIS, Line, Link};
use crate::model::hold::Holds;
use crate::model::id::OrderId;
use crate::model::index::{Carried, Seen};
use crate::model::order::State;
use crate::model::time::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Directory of the segments.
pub const DIR: &str = "_ctx/audit";

/// A segment is closed when it has grown past this: bounds what start-up reads.
pub const SEGMENT_BYTES: u64 = 8 << 20;

/// Mark of a line that was cut off by a crash.
pub const TORN: &str = " ~TORN";

/// The open ledger.
pub struct Ledger<F> {
    file: Option<F>,
    number: u64,
    bytes: u64,
    seq: u64,
    head: String,
    buffer: Vec<u8>,
    unsynced: bool,
    new_segment: bool,
    /// Inode of the open segment.
    inode: Option<u64>,
}

/// What reading the tail gave.
#[derive(Default)]
pub struct Tail {
    /// Attempts that have neither been released nor, as far as the lines say, carried out.
    pub attempts: BTreeMap<OrderId, Attempt>,
    /// Orders that were last seen pending.
    pub pending: BTreeSet<OrderId>,
    /// Orders that were last said to be settled or requeued without an attempt: perhaps not carried out.
    pub begun: BTreeMap<OrderId, Seen>,
    /// Orders that a request holds, and why.
    pub holds: Holds,
    /// Requests that these lines answer, with the code.
    pub answered: BTreeMap<String, u8>,
    /// Requests that these lines carry out.
    pub carried: CarriedRequests,
    /// The highest attempt that these lines name, by order.
    pub numbers: BTreeMap<OrderId, u32>,
    /// Settled tickets that were there before the ledger are to be adopted.
    pub fresh: bool,
}

impl<F> Ledger<F> {
    /// Opens the ledger, closes a torn tail and folds the last segment into its open attempts.
    pub fn open<W: World<File = F>>(world: &mut W) -> Result<(Self, Tail), Fault> {
        let numbers = segments(world)?;
        let mut ledger = Self {
            file: None,
            number: numbers.last().copied().unwrap_or(0),
            bytes: 0,
            seq: 0,
            head: GENESIS.to_owned(),
            buffer: Vec::new(),
            unsynced: false,
            new_segment: true,
            inode: None,
        };
        let mut tail = Tail { fresh: numbers.is_empty(), ..Tail::default() };
        let mut first = numbers.len().saturating_sub(1);
        let mut texts = Vec::new();
        while let Some(number) = numbers.get(first) {
            let text = read_segment(world, *number)?;
            let complete = begins_with_checkpoint(&text);
            texts.push((*number, text));
            if complete || first == 0 {
                break;
            }
            first -= 1;
        }
        for (_, text) in texts.iter().rev() {
            ledger.fold(text, &mut tail);
        }
        tail.fresh |= texts.iter().all(|(_, text)| is_unwritten(text));
        if let Some((number, text)) = texts.first() {
            ledger.reopen(world, *number, text)?;
        }
        Ok((ledger, tail))
    }

    fn fold(&mut self, text: &[u8], tail: &mut Tail) {
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        for line in text[..whole].split(|b| *b == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Ok(link) = Link::parse(line) else { continue };
            self.seq = link.line.seq;
            self.head.clone_from(&link.hash);
            tail.take(&link);
        }
    }

    fn reopen<W: World<File = F>>(
        &mut self,
        world: &mut W,
        number: u64,
        text: &[u8],
    ) -> Result<(), Fault> {
        let file = world.append(&segment(number), 0o644)?;
        if whole_lines(text).nth(1).is_none() {
            // Whoever began it may have died before its name was durable.
            world.sync_dir(Path::new(DIR))?;
        }
        if text.last().is_some_and(|b| *b != b'\n') {
            write_all(world, &file, format!("{TORN}\n").as_bytes())?;
        }
        self.bytes = text.len() as u64;
        self.new_segment = !begins_with_checkpoint(text);
        self.unsynced = true;
        self.file = Some(file);
        self.inode = world.stat(&segment(number))?.map(|s| s.inode);
        Ok(())
    }

    /// Adds a line to the group that the next [`Ledger::flush`] writes; returns its number and hash.
    pub fn add(
        &mut self,
        at: Moment,
        id: Option<&str>,
        attempt: Option<u32>,
        event: Event,
    ) -> (u64, String) {
        self.seq += 1;
        let line = Line { seq: self.seq, time: at, id: id.map(str::to_owned), attempt, event };
        let (text, hash) = line.seal(&self.head);
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
        self.head.clone_from(&hash);
        (self.seq, hash)
    }

    /// There is no segment to go on with.
    pub fn needs_segment(&self) -> bool {
        self.new_segment
    }

    /// A new segment is due; its checkpoint wants the open attempts.
    pub fn wants_segment(&self) -> bool {
        self.new_segment || self.bytes >= SEGMENT_BYTES
    }

    /// Begins a new segment with a checkpoint, synced together with its name.
    pub fn begin_segment<W: World<File = F>>(
        &mut self,
        world: &mut W,
        at: Moment,
        open: Vec<Attempt>,
        pending: Vec<String>,
        held: BTreeMap<String, String>,
        adopting: bool,
    ) -> Result<(), Fault> {
        self.flush(world)?;
        self.sync(world)?;
        self.number += 1;
        let path = segment(self.number);
        let file = world.append(&path, 0o644)?;
        self.file = Some(file);
        self.inode = world.stat(&path)?.map(|s| s.inode);
        self.bytes = 0;
        self.new_segment = false;
        self.add(at, None, None, Event::Checkpoint { open, pending, held, adopting });
        self.flush(world)?;
        self.sync(world)?;
        world.sync_dir(Path::new(DIR))
    }

    /// Hands the gathered lines to the system. After an error the rest is kept for the next call.
    pub fn flush<W: World<File = F>>(&mut self, world: &mut W) -> Result<(), Fault> {
        let Some(file) = &self.file else { return Ok(()) };
        while !self.buffer.is_empty() {
            let taken = match world.write(file, &self.buffer) {
                Ok(0) => {
                    let path = segment(self.number);
                    return Err(Fault { act: "append to the ledger", path, errno: errno::EIO });
                }
                Ok(taken) => taken,
                Err(fault) => return Err(fault),
            };
            self.buffer.drain(..taken);
            self.bytes += taken as u64;
            self.unsynced = true;
        }
        Ok(())
    }

    /// Makes everything flushed durable.
    pub fn sync<W: World<File = F>>(&mut self, world: &mut W) -> Result<(), Fault> {
        if !self.unsynced {
            return Ok(());
        }
        if let Some(file) = &self.file {
            world.sync(file)?;
            // What is synced into a file without a name is kept by nobody.
            let path = segment(self.number);
            if world.stat(&path)?.map(|s| s.inode) != self.inode {
                return Err(Fault { act: "append to the ledger", path, errno: errno::ESTALE });
            }
        }
        self.unsynced = false;
        Ok(())
    }

    /// Number and hash of the last line.
    pub fn head(&self) -> (u64, &str) {
        (self.seq, &self.head)
    }
}

/// How far the requests of each order were carried out, by their keys.
pub type CarriedRequests = BTreeMap<OrderId, BTreeMap<String, Carried>>;

impl Tail {
    /// Takes a line into account.
    fn take(&mut self, link: &Link) {
        apply(&mut self.attempts, &link.line, &link.hash);
        follow_pending(&mut self.pending, &link.line);
        follow_begun(&mut self.begun, &link.line);
        let id = link.line.id.as_deref().and_then(|t| OrderId::parse(t).ok());
        if let (Some(id), Some(attempt)) = (id.clone(), link.line.attempt) {
            let known = self.numbers.entry(id).or_default();
            *known = (*known).max(attempt);
        }
        if let Some(id) = &id {
            self.holds.follow(id, link.line.time, &link.line.event);
        }
        follow_carried(&mut self.carried, id.as_ref(), &link.line.event);
        match &link.line.event {
            Event::Checkpoint { adopting, held, .. } => {
                self.fresh = *adopting;
                self.holds = Holds::listed(held);
            }
            Event::AdoptionOver => self.fresh = false,
            Event::Answer { request, code, .. } => {
                self.answered.insert(request.clone(), *code);
            }
            _ => {}
        }
    }
}

/// Takes a line into account in how far requests without an attempt were carried out.
pub fn follow_carried(carried: &mut CarriedRequests, id: Option<&OrderId>, event: &Event) {
    match event {
        Event::Settled { request, .. }
        | Event::Requeued { request, .. }
        | Event::Held { request, .. }
        | Event::Unheld { request } => {
            if let Some(id) = id.filter(|_| !request.is_empty()) {
                carried.entry(id.clone()).or_default().insert(request.clone(), Carried::Begun);
            }
        }
        Event::Claiming(_) => {
            let requests = id.and_then(|id| carried.get_mut(id));
            requests.into_iter().flatten().for_each(|(_, carried)| *carried = Carried::Over);
        }
        _ => {}
    }
}

/// What the ledger says, for whoever only looks: nothing is opened for writing, a torn tail is left as
/// it is. `each` sees every whole line of the tail.
pub fn look<W: World>(world: &mut W, each: &mut dyn FnMut(&Link)) -> Result<Tail, Fault> {
    let numbers = match segments(world) {
        Ok(numbers) => numbers,
        Err(fault) if fault.errno == errno::ENOENT => Vec::new(),
        Err(fault) => return Err(fault),
    };
    let mut tail = Tail { fresh: numbers.is_empty(), ..Tail::default() };
    let mut texts = Vec::new();
    for number in numbers.iter().rev() {
        let text = read_segment(world, *number)?;
        let complete = begins_with_checkpoint(&text);
        texts.push(text);
        if complete {
            break;
        }
    }
    tail.fresh |= texts.iter().all(|text| is_unwritten(text));
    for text in texts.iter().rev() {
        for line in whole_lines(text) {
            let Ok(link) = Link::parse(line) else { continue };
            tail.take(&link);
            each(&link);
        }
    }
    Ok(tail)
}

/// Whether any line has this hash. Reads history, newest first: for what is rare.
pub fn has_hash<W: World>(world: &mut W, hash: &str) -> Result<bool, Fault> {
    let wanted = format!("\"hash\":\"{hash}\"");
    for number in segments(world)?.into_iter().rev() {
        let text = read_segment(world, number)?;
        if whole_lines(&text).any(|line| line.contains(&wanted)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The lines of a segment that have their newline.
pub fn whole_lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &str> {
    let whole = text.iter().rposition(|b| *b == b'\n').unwrap_or(0);
    text[..whole].split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok())
}

/// Takes a line into account in the open attempts.
pub fn apply(attempts: &mut BTreeMap<OrderId, Attempt>, line: &Line, hash: &str) {
    if let Event::Checkpoint { open, .. } = &line.event {
        attempts.clear();
        for attempt in open {
            if let Ok(id) = OrderId::parse(&attempt.id) {
                attempts.insert(id, attempt.clone());
            }
        }
        return;
    }
    let Some(id) = line.id.as_deref().and_then(|t| OrderId::parse(t).ok()) else { return };
    match &line.event {
        Event::Claiming(claim) => {
            let number = line.attempt.unwrap_or(0);
            let attempt = Attempt::begin(&id, number, line.time, (**claim).clone());
            attempts.insert(id, attempt);
        }
        Event::Released { .. } => {
            attempts.remove(&id);
        }
        // An answer waits for what it promises, and may come when the next attempt has begun.
        Event::Answer { .. } if line.attempt.is_none() => {}
        // Said of an order without an attempt: the last one was settled whole before.
        _ if line.attempt.is_none() => {
            attempts.remove(&id);
        }
        event => {
            if let Some(attempt) = attempts.get_mut(&id)
                && line.attempt == Some(attempt.number)
            {
                attempt.apply(line.time, event, line.seq, hash);
            }
        }
    }
}

/// Takes a line into account in the orders last seen pending.
fn follow_pending(pending: &mut BTreeSet<OrderId>, line: &Line) {
    if let Event::Checkpoint { pending: listed, .. } = &line.event {
        *pending = listed.iter().filter_map(|t| OrderId::parse(t).ok()).collect();
        return;
    }
    let Some(id) = line.id.as_deref().and_then(|t| OrderId::parse(t).ok()) else { return };
    match &line.event {
        // A settled attempt is carried on from wherever its ticket was.
        Event::PutBack { .. } if line.attempt.is_some() => {}
        Event::Intake | Event::Released { .. } | Event::Held { .. } | Event::Unheld { .. } => {
            pending.insert(id);
        }
        Event::Settled { state, .. } | Event::PutBack { to: state, .. } if state == "pending" => {
            pending.insert(id);
        }
        Event::Claiming(_)
        | Event::Settled { .. }
        | Event::PutBack { .. }
        | Event::Withdrawn
        | Event::Adopted { .. }
        | Event::Requeued { .. } => {
            pending.remove(&id);
        }
        _ => {}
    }
}

/// Takes a line into account in the orders last said to be settled or requeued without an attempt.
fn follow_begun(begun: &mut BTreeMap<OrderId, Seen>, line: &Line) {
    let Some(id) = line.id.as_deref().and_then(|t| OrderId::parse(t).ok()) else { return };
    match &line.event {
        Event::Answer { .. } | Event::Epic { .. } => {}
        // Moved back to where it was, which changes nothing about what is missing.
        Event::PutBack { to, .. } if to != "pending" => {}
        Event::Settled { .. } if line.attempt.is_none() => {
            begun.insert(id, Seen::Unrun);
        }
        Event::Requeued { .. } => {
            begun.insert(id, Seen::Requeued);
        }
        Event::Adopted { state } if line.attempt.is_none() => {
            let state = State::parse(state).unwrap_or(State::Failed);
            begun.insert(id, Seen::Adopted(state));
        }
        _ => {
            begun.remove(&id);
        }
    }
}

/// Path of a segment.
pub fn segment(number: u64) -> PathBuf {
    PathBuf::from(format!("{DIR}/{number:08}.jsonl"))
}

/// Numbers of the segments, ascending.
pub fn segments<W: World>(world: &mut W) -> Result<Vec<u64>, Fault> {
    let mut numbers: Vec<u64> = world
        .list(Path::new(DIR))?
        .iter()
        .filter_map(|e| e.name.to_str()?.strip_suffix(".jsonl")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The bytes of a segment. One group may overshoot the usual size; what is far longer is not ours, and
/// nothing is made of its beginning.
pub fn read_segment<W: World>(world: &mut W, number: u64) -> Result<Vec<u8>, Fault> {
    let bytes_max = usize::try_from(SEGMENT_BYTES * 8).unwrap_or(usize::MAX);
    let path = segment(number);
    let bytes = read_whole(world, &path, bytes_max + 1)?.map(|s| s.bytes).unwrap_or_default();
    if bytes.len() > bytes_max {
        return Err(Fault { act: "read all of", path, errno: errno::EFBIG });
    }
    Ok(bytes)
}

/// Whoever began it died before its first line: nothing was ever said in it.
fn is_unwritten(text: &[u8]) -> bool {
    !text.contains(&b'\n')
}

/// Whether a ledger was begun: a first line stands in it.
pub fn is_begun<W: World>(world: &mut W) -> Result<bool, Fault> {
    for number in segments(world)? {
        if !is_unwritten(&read_segment(world, number)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn begins_with_checkpoint(text: &[u8]) -> bool {
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    text.contains(&b'\n')
        && std::str::from_utf8(first)
            .ok()
            .and_then(|l| Link::parse(l).ok())
            .is_some_and(|l| matches!(l.line.event, Event::Checkpoint { .. }))
}
