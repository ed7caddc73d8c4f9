//! The log of one command: created once, watched without waking for silence, cut at its bound.
//!
//! Invariants: the file is created exclusively and never opened twice for writing by the command; its
//! lock belongs to the open description that only the command's processes hold, so a held lock proves
//! that one of them lives; a silent command causes no wake-up after [`FIRST_LOOK`].

use super::beneath;
use super::note;
use rustix::fs::OFlags;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Most commands have ended by then and never cost a watch or a wake-up.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// Between two looks while output flows fast.
const LOOK_FAST: Duration = Duration::from_millis(20);

/// Between two looks while output flows.
const LOOK_SLOW: Duration = Duration::from_millis(200);

/// Between two looks where the kernel gives no watch.
const LOOK_UNWATCHED: Duration = Duration::from_secs(1);

/// Output between two looks is fast when it is more than this part of the bound.
const FAST_PART: u64 = 64;

/// Tries to lock the new log. Only somebody who asks whether it is locked can hold it, for an instant.
const LOCK_TRIES: u32 = 1000;

/// Watches on logs, all behind one descriptor.
pub(crate) struct Watches {
    queue: Option<OwnedFd>,
    reported: bool,
}

impl Watches {
    /// Without the kernel's leave logs are looked at once a second.
    pub(crate) fn new() -> Self {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let mut watches = Self { queue: None, reported: false };
        match queue {
            Ok(queue) => watches.queue = Some(queue),
            Err(errno) => watches.report(errno),
        }
        watches
    }

    /// For the poll.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.as_ref().map(AsFd::as_fd)
    }

    /// Watches that fired.
    pub(crate) fn fired(&self) -> Vec<i32> {
        let mut fired = Vec::new();
        let Some(queue) = &self.queue else { return fired };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(queue, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::MODIFY) {
                fired.push(event.wd());
            }
        }
        fired
    }

    /// Arms a watch that fires once.
    fn arm(&mut self, log: &File) -> Option<i32> {
        let queue = self.queue.as_ref()?;
        let path = format!("/proc/self/fd/{}", log.as_raw_fd());
        match inotify::add_watch(queue, path, WatchFlags::MODIFY | WatchFlags::ONESHOT) {
            Ok(watch) => Some(watch),
            Err(errno) => {
                self.report(errno);
                None
            }
        }
    }

    fn disarm(&self, watch: i32) {
        if let Some(queue) = &self.queue {
            // Gone already when it has just fired.
            let _ = inotify::remove_watch(queue, watch);
        }
    }

    fn report(&mut self, errno: rustix::io::Errno) {
        if !self.reported {
            note(&format!("watch a log: {errno}; logs are looked at once a second instead"));
        }
        self.reported = true;
    }
}

/// Creates the log exclusively, its directory when missing; locked, for the command to inherit.
pub(crate) fn create(root: &OwnedFd, path: &str) -> io::Result<File> {
    let path = Path::new(path);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::APPEND;
    let file = match beneath::open_file(root, path, flags, 0o644) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            beneath::ensure_dir(root, parent.unwrap_or(Path::new(".")))?;
            beneath::open_file(root, path, flags, 0o644)
        }
        other => other,
    };
    let file = match file {
        // Whether the command was started before is what its log tells: never guessed from a bad disk.
        Err(error) if beneath::exists(root, path).unwrap_or(true) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, error));
        }
        other => other?,
    };
    // Opened nonblocking against FIFOs; the command must not inherit that.
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    let locked = (0..LOCK_TRIES).any(|_| {
        let free = file.try_lock().is_ok();
        if !free {
            std::thread::yield_now();
        }
        free
    });
    if locked { Ok(file) } else { Err(io::Error::other("somebody else keeps it locked")) }
}

/// The executor's view of a log.
pub(crate) struct Output {
    file: File,
    bytes_max: u64,
    idle: Option<Duration>,
    bytes_seen: u64,
    last_output: Instant,
    look_at: Option<Instant>,
    watch: Option<i32>,
}

/// What a look at the log found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// Nothing to do.
    Fine,
    /// It passed its bound, by so many bytes.
    TooMuch(u64),
    /// Nothing was written for too long.
    Silent,
}

impl Output {
    /// Opens an independent description for reading, which holds no lock.
    pub(crate) fn open(
        root: &OwnedFd,
        path: &str,
        bytes_max: u64,
        idle: Option<Duration>,
    ) -> io::Result<Self> {
        let file = beneath::open_file(root, Path::new(path), OFlags::RDONLY, 0)?;
        let now = Instant::now();
        let look_at = Some(now + FIRST_LOOK);
        Ok(Self { file, bytes_max, idle, bytes_seen: 0, last_output: now, look_at, watch: None })
    }

    /// Device and inode.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.file.metadata().map(|meta| (meta.dev(), meta.ino())).unwrap_or_default()
    }

    /// Size in bytes; the last one seen when the system cannot tell.
    pub(crate) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(self.bytes_seen, |meta| meta.len())
    }

    /// When [`Self::look`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let silent_at = self.idle.map(|idle| self.last_output + idle);
        self.look_at.into_iter().chain(silent_at).min()
    }

    /// The watch that is armed.
    pub(crate) fn watch(&self) -> Option<i32> {
        self.watch
    }

    /// The watch fired.
    pub(crate) fn flowed(&mut self, now: Instant) {
        self.watch = None;
        self.last_output = now;
        self.look_at = Some(now + LOOK_FAST);
    }

    /// Looks at the log when that is due.
    pub(crate) fn look(&mut self, watches: &mut Watches, now: Instant) -> Flow {
        if self.due().is_none_or(|due| now < due) {
            return Flow::Fine;
        }
        let grown = self.take_growth(now);
        if self.bytes_seen > self.bytes_max {
            self.look_at = Some(now + LOOK_FAST);
            return Flow::TooMuch(self.bytes_seen - self.bytes_max);
        }
        if let Some(grown) = grown {
            let fast = grown > self.bytes_max / FAST_PART;
            self.look_at = Some(now + if fast { LOOK_FAST } else { LOOK_SLOW });
            return Flow::Fine;
        }
        if self.idle.is_some_and(|idle| now >= self.last_output + idle) {
            self.idle = None;
            return Flow::Silent;
        }
        self.wait_for_output(watches, now);
        Flow::Fine
    }

    /// Bytes more than at the last look, if any.
    fn take_growth(&mut self, now: Instant) -> Option<u64> {
        let bytes = self.bytes();
        let grown = bytes.saturating_sub(self.bytes_seen);
        let changed = bytes != self.bytes_seen;
        self.bytes_seen = bytes;
        if changed {
            self.last_output = now;
        }
        changed.then_some(grown)
    }

    fn wait_for_output(&mut self, watches: &mut Watches, now: Instant) {
        if self.watch.is_none() {
            self.watch = watches.arm(&self.file);
        }
        // What was written before the watch was armed fires nothing.
        self.look_at = if self.watch.is_none() {
            Some(now + LOOK_UNWATCHED)
        } else {
            self.take_growth(now).map(|_| now + LOOK_FAST)
        };
    }

    /// Ends the watching.
    pub(crate) fn close(&mut self, watches: &Watches) {
        if let Some(watch) = self.watch.take() {
            watches.disarm(watch);
        }
    }

    /// Cuts the log at its bound when it has passed it, and says so in its last line; whether it did.
    pub(crate) fn cut(&mut self) -> bool {
        let bytes = self.bytes();
        if bytes <= self.bytes_max {
            return false;
        }
        let said = format!(
            "\njobyard: output cut at {} bytes, the largest log allowed; {bytes} bytes were written\n",
            self.bytes_max
        );
        let outcome = self.writable().and_then(|mut file| {
            file.set_len(self.bytes_max)?;
            file.write_all(said.as_bytes())
        });
        if let Err(error) = outcome {
            note(&format!("cut a log at {} bytes: {error}", self.bytes_max));
        }
        true
    }

    /// Adds a line of the executor's own.
    pub(crate) fn say(&self, line: &str) {
        let written = self.writable().and_then(|mut file| writeln!(file, "jobyard: {line}"));
        if let Err(error) = written {
            note(&format!("add a line to a log: {error}"));
        }
    }

    /// The same file, whatever its name is by now.
    fn writable(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}
