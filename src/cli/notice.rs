//! Waiting until something changes in some directories.
//!
//! Invariants: a change is only a hint to look again; a directory that is not there yet is watched as soon
//! as it is; no wait outlasts its span.

use super::{Failure, code};
use crate::world::watch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Look again after so long whatever the kernel says: watches can be lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Longest wait of a verb when none is given.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(7 * 86_400);

/// A set of watched directories.
pub(super) struct Notice {
    fd: OwnedFd,
    deadline: Instant,
}

impl Notice {
    /// Nothing is watched yet. `span`: how long there may be waiting in all.
    pub(super) fn new(span: Duration) -> Result<Self, Failure> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| refused(e, "for changes"))?;
        let now = Instant::now();
        Ok(Self { fd, deadline: now.checked_add(span).unwrap_or(now + WAIT_MAX) })
    }

    /// Watches a directory; watching it again changes nothing. `false`: it is not there.
    pub(super) fn watch(&self, dir: &Path) -> Result<bool, Failure> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.fd, dir, flags) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(e) => Err(refused(e, &dir.display().to_string())),
        }
    }

    /// Watches a directory no longer.
    pub(super) fn forget(&self, dir: &Path) -> Result<(), Failure> {
        // Adding a watch again gives the one there is; that of a directory that has gone went with it.
        match inotify::add_watch(&self.fd, dir, WatchFlags::CREATE | WatchFlags::ONLYDIR) {
            Ok(watch) => inotify::remove_watch(&self.fd, watch)
                .map_err(|e| Failure::new(code::FAILED, format!("watch {}: {e}", dir.display()))),
            Err(_) => Ok(()),
        }
    }

    /// Watches all of them.
    pub(super) fn watch_all(&self, dirs: &[PathBuf]) -> Result<(), Failure> {
        dirs.iter().try_for_each(|dir| self.watch(dir).map(|_| ()))
    }

    /// How long there may still be waiting.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for a change. `false`: time is up.
    pub(super) fn wait(&self) -> Result<bool, Failure> {
        self.wait_for(LOOK_AGAIN)
    }

    /// The same, but no longer than `most`.
    pub(super) fn wait_for(&self, most: Duration) -> Result<bool, Failure> {
        let left = self.left();
        if left.is_zero() {
            return Ok(false);
        }
        let span = left.min(most).min(LOOK_AGAIN) + Duration::from_millis(1);
        let span = Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)], Some(&span)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Failure::new(code::FAILED, format!("wait for changes: {e}"))),
        }
        let mut buffer = [0; 16 << 10];
        while rustix::io::read(&self.fd, &mut buffer).is_ok_and(|n| n > 0) {}
        Ok(true)
    }
}

fn refused(errno: Errno, what: &str) -> Failure {
    let attempt = watch::attempt(errno.raw_os_error());
    Failure::new(code::FAILED, format!("{attempt} {what}: {errno}"))
}

/// A span as people write it: `90`, `90s`, `1h30m`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    crate::model::time::Millis::parse(text)
        .map(|ms| Duration::from_millis(ms.0))
        .ok_or_else(|| "expected seconds, or a span such as 90s, 10m, 1h30m".to_owned())
}
