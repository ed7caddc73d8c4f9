//! From system calls to values: errors with their path, times, kinds, interrupted calls.

use super::store::errno;
use super::{Fault, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Child;

/// A system call that failed.
pub(super) fn fault(act: &'static str, path: &Path, errno: Errno) -> Fault {
    Fault { act, path: path.to_owned(), errno: errno.raw_os_error() }
}

/// A call of the standard library that failed.
pub(super) fn io_fault(act: &'static str, error: &std::io::Error) -> Fault {
    Fault { act, path: PathBuf::new(), errno: error.raw_os_error().unwrap_or(errno::EIO) }
}

/// A call on an open file that failed, with the file's name as the kernel knows it now.
pub(super) fn file_fault(
    act: &'static str,
    root: &Path,
    file: &File,
    error: &std::io::Error,
) -> Fault {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let path = std::fs::read_link(link).unwrap_or_default();
    let path = path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
    Fault { path, ..io_fault(act, error) }
}

/// Seconds and nanoseconds as nanoseconds.
pub(super) fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Kind of an entry.
pub(super) fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// How often a call that was interrupted is made; one that always is has another cause.
const INTERRUPTIONS_MAX: u32 = 100;

/// Repeats a call that a signal interrupted, but not for ever.
pub(crate) fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..INTERRUPTIONS_MAX {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
    call()
}

/// Takes the end of a starting executor's output, so that it wakes nobody again.
pub(super) fn announced(child: &mut Child) {
    let Some(out) = &child.stdout else { return };
    let mut fds = [PollFd::new(out, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0) {
        child.stdout = None;
    }
}
