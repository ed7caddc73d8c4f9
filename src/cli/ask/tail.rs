//! The end of the ledger, read from a noted place on: where the answer to a request will stand.
//!
//! Invariants: only whole lines with a matching hash count; an answer is told only once its line is durable;
//! nothing is written; waiting is bounded by the caller.

use crate::cli::Failure;
use crate::cli::mark::{Grown, Mark};
use crate::model::attempt::Claim;
use crate::model::event::{Event, Link};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::world::calls::again;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fdatasync;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
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
    mark: Mark,
    dir: PathBuf,
    id: OrderId,
    hex: String,
    /// The newest claim of the order since the noted place, with its attempt.
    pub(super) claim: Option<(u32, Claim)>,
    answer: Option<Answer>,
    watch: Option<OwnedFd>,
}

impl Tail {
    /// Notes where the ledger ends now.
    pub(super) fn note(root: &Path, id: &OrderId, hex: &str) -> Result<Self, Failure> {
        let (id, hex, mark) = (id.clone(), hex.to_owned(), Mark::at_end(root)?);
        let dir = root.join(paths::AUDIT);
        Ok(Self { mark, dir, id, hex, claim: None, answer: None, watch: None })
    }

    /// Looks for the answer to another request.
    pub(super) fn follow(&mut self, hex: &str) {
        hex.clone_into(&mut self.hex);
    }

    /// The answer, if it stands there by now.
    pub(super) fn answer(&mut self) -> Result<Option<Answer>, Failure> {
        while self.answer.is_none()
            && let Some(Grown { lines, file }) = self.mark.more()?
        {
            lines.iter().for_each(|line| self.take_line(line));
            if self.answer.is_some() {
                again(|| fdatasync(&file))
                    .map_err(|e| Failure::of_disk("sync", &self.dir, &e.into()))?;
            }
        }
        Ok(self.answer.clone())
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
