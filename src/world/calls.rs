//! From system calls to values: errors with their path, times, kinds, interrupted calls.

use super::store::errno;
use super::{Fault, Kind};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A system call that failed.
pub(super) fn fault(act: &'static str, path: &Path, errno: Errno) -> Fault {
    Fault { act, path: path.to_owned(), errno: errno.raw_os_error() }
}

/// A call of the standard library that failed.
pub(super) fn io_fault(act: &'static str, error: &std::io::Error) -> Fault {
    Fault { act, path: PathBuf::new(), errno: error.raw_os_error().unwrap_or(errno::EIO) }
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

/// Repeats a call that a signal interrupted.
pub(super) fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
