//! The end of the ledger, read from a noted place on: where the answer to a request will stand.
//!
//! Invariants: only whole lines with a matching hash count; segments are followed as they are closed; an
//! answer is told only once its line is durable; nothing is written; waiting is bounded by the caller.

use crate::model::attempt::Claim;
use crate::model::event::{Event, Link};
use crate::model::id::OrderId;
use crate::model::paths;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The answer to a request, with what was claimed for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli) struct Answer {
    /// Exit code of the verb.
    pub(in crate::cli) code: u8,
    /// What was answered.
    pub(in crate::cli) text: String,
    /// The attempt it is about.
    pub(in crate::cli) attempt: Option<u32>,
}

/// A place in the ledger, and what was seen behind it.
pub(super) struct Tail {
    dir: PathBuf,
    id: OrderId,
    hex: String,
    segment: u64,
    offset: u64,
    /// The newest claim of the order since the noted place, with its attempt.
    pub(super) claim: Option<(u32, Claim)>,
    answer: Option<Answer>,
    watch: Option<OwnedFd>,
}

impl Tail {
    /// Notes where the ledger ends now.
    pub(super) fn note(root: &Path, id: &OrderId, hex: &str) -> io::Result<Self> {
        let dir = root.join(paths::AUDIT);
        let segment = numbers(&dir)?.last().copied().unwrap_or(0);
        let offset = match fs::metadata(path(&dir, segment)) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        let (id, hex) = (id.clone(), hex.to_owned());
        Ok(Self { dir, id, hex, segment, offset, claim: None, answer: None, watch: None })
    }

    /// Looks for the answer to another request.
    pub(super) fn follow(&mut self, hex: &str) {
        hex.clone_into(&mut self.hex);
    }

    /// The answer, if it stands there by now.
    pub(super) fn answer(&mut self) -> io::Result<Option<Answer>> {
        loop {
            if self.answer.is_some() {
                return Ok(self.answer.clone());
            }
            let later = numbers(&self.dir)?.into_iter().find(|n| *n > self.segment);
            self.read_on()?;
            match later {
                Some(number) if self.answer.is_none() => (self.segment, self.offset) = (number, 0),
                _ => return Ok(self.answer.clone()),
            }
        }
    }

    fn read_on(&mut self) -> io::Result<()> {
        let mut file = match File::open(path(&self.dir, self.segment)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.offset += whole as u64;
        for line in bytes[..whole].split(|b| *b == b'\n') {
            if let Ok(line) = std::str::from_utf8(line) {
                self.take_line(line);
            }
        }
        match self.answer {
            Some(_) => file.sync_data(),
            None => Ok(()),
        }
    }

    fn take_line(&mut self, line: &str) {
        if !line.contains(&self.hex) && !line.contains("\"event\":\"claiming\"") {
            return;
        }
        let Ok(Link { line, .. }) = Link::parse(line) else { return };
        if line.id.as_deref() != Some(self.id.as_str()) {
            return;
        }
        match line.event {
            Event::Claiming(claim) => self.claim = Some((line.attempt.unwrap_or(0), *claim)),
            Event::Answer { request, code, text, .. } if request == self.hex => {
                self.answer = Some(Answer { code, text, attempt: line.attempt });
            }
            _ => {}
        }
    }

    /// Waits until the ledger may have grown, `other` is readable, or `span` has passed.
    pub(super) fn wait(&mut self, other: Option<BorrowedFd<'_>>, span: Duration) -> io::Result<()> {
        if self.watch.is_none() {
            self.watch = watch(&self.dir).ok();
            if self.watch.is_some() {
                // What was written before the watch stood is read first.
                return Ok(());
            }
        }
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let span = Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
        };
        let fds = self.watch.as_ref().map(AsFd::as_fd).into_iter().chain(other);
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&span)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 4096];
        while let Some(watch) = &self.watch
            && rustix::io::read(watch, &mut buffer).is_ok_and(|n| n > 0)
        {}
        Ok(())
    }
}

fn watch(dir: &Path) -> io::Result<OwnedFd> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&fd, dir, WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::ONLYDIR)?;
    Ok(fd)
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
