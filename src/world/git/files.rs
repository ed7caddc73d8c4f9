//! Writing files of a repository; a call that was interrupted is made again, but not for ever.
//!
//! Invariants: the standard library repeats such a call until it succeeds, and hangs where it never does;
//! nothing here does. Whether a file has its name before it is whole is the caller's business.

use crate::world::calls::again;
use rustix::fs::{CWD, Mode, OFlags, fsync, ftruncate, openat};
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file; `flags` besides those that are always set.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666));
    Ok(again(|| openat(CWD, path, flags, mode))?.into())
}

/// Writes all of it where the file stands.
pub(super) fn write_all(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match again(|| rustix::io::write(file, bytes))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => bytes = bytes.get(n..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Makes a file, or replaces the content of the one that is there.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
    write_all(&file, content.as_ref())
}

/// Takes everything out of a file.
pub(super) fn empty(file: &File) -> io::Result<()> {
    Ok(again(|| ftruncate(file, 0))?)
}

/// Makes a file, or the names in a directory, durable.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    let file = open(path, OFlags::RDONLY)?;
    Ok(again(|| fsync(&file))?)
}
