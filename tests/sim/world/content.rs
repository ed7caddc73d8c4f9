//! Open files and their contents.
//!
//! Invariants: an open file shows its inode, whatever becomes of the names; what is durable of a content
//! changes here only to be set aside before an overwrite.

use super::disk::{Disk, Errno, Ino};
use jobyard::world::Stat;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// An open file. Dropping it closes it; it outlives its names.
#[derive(Debug)]
pub(crate) struct SimFile {
    pub(super) ino: Ino,
    /// The path it was opened by, for errors.
    pub(crate) path: PathBuf,
    access: Access,
    _open: Rc<()>,
    writer: Option<Rc<()>>,
}

#[derive(Debug)]
enum Access {
    Read,
    Write(Cell<usize>),
    Append,
}

#[derive(Debug)]
pub(super) struct Data {
    pub(super) bytes: Vec<u8>,
    pub(super) durable: Durable,
    /// A sync failed and the system forgot that these bytes are dirty.
    pub(super) rotten: bool,
}

/// What of a file's content survives for certain.
#[derive(Debug)]
pub(super) enum Durable {
    /// The first bytes of the present content.
    Prefix(usize),
    /// Another content: the present one overwrote it in place.
    Other(Vec<u8>),
}

impl Disk {
    /// `fstat`.
    pub(crate) fn stat_file(&self, file: &SimFile) -> Result<Stat, Errno> {
        self.well()?;
        Ok(self.stat_of(file.ino))
    }

    /// Opens a regular file for reading; `None` for ENOENT.
    pub(crate) fn open(&self, path: &Path, uid: u32) -> Result<Option<SimFile>, Errno> {
        let Some(ino) = self.find(path)? else { return Ok(None) };
        self.regular(ino)?;
        self.readable(ino, uid)?;
        Ok(Some(self.handle(ino, path, Access::Read)))
    }

    /// Reads; past the end there is nothing.
    pub(crate) fn read(&self, file: &SimFile, offset: u64, max: usize) -> Result<Vec<u8>, Errno> {
        self.well()?;
        if !matches!(file.access, Access::Read) {
            return Err(libc::EBADF);
        }
        let bytes = &self.data(file.ino)?.bytes;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(max).min(bytes.len());
        Ok(bytes[from..to].to_vec())
    }

    /// Whether another open file can write to this one.
    pub(crate) fn has_writer(&self, file: &SimFile) -> Option<bool> {
        let own = 1 + usize::from(file.writer.is_some());
        self.tells_writers.then(|| Rc::strong_count(&self.inodes[file.ino].writers) > own)
    }

    /// Opens for writing at the end what exists; what a person's editor or a log does.
    pub(crate) fn open_append(&self, path: &Path, uid: u32) -> Result<SimFile, Errno> {
        let ino = self.find(path)?.ok_or(libc::ENOENT)?;
        self.regular(ino)?;
        self.changeable(false)?;
        if !self.may(ino, uid, 2) {
            return Err(libc::EACCES);
        }
        Ok(self.handle(ino, path, Access::Append))
    }

    /// Opens a file just made, for writing from its beginning.
    pub(super) fn opened_new(&self, ino: Ino, path: &Path) -> SimFile {
        self.handle(ino, path, Access::Write(Cell::new(0)))
    }

    /// One `write`.
    pub(crate) fn write(&mut self, file: &SimFile, bytes: &[u8]) -> Result<usize, Errno> {
        self.changeable(true)?;
        let now = self.moment();
        let data = self.data_mut(file.ino)?;
        let at = match &file.access {
            Access::Read => return Err(libc::EBADF),
            Access::Append => data.bytes.len(),
            Access::Write(at) => at.replace(at.get() + bytes.len()),
        };
        data.write_at(at, bytes);
        self.changed(file.ino, now);
        Ok(bytes.len())
    }

    /// Empties a file in place, as `>` in a shell does.
    pub(crate) fn truncate(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        let file = self.open_append(path, uid)?;
        self.truncate_open(&file)
    }

    /// The same through an open file.
    pub(crate) fn truncate_open(&mut self, file: &SimFile) -> Result<(), Errno> {
        self.changeable(false)?;
        let now = self.moment();
        let data = self.data_mut(file.ino)?;
        data.keep_durable(0);
        data.bytes.clear();
        self.changed(file.ino, now);
        Ok(())
    }

    fn handle(&self, ino: Ino, path: &Path, access: Access) -> SimFile {
        let inode = &self.inodes[ino];
        let writer = (!matches!(access, Access::Read)).then(|| Rc::clone(&inode.writers));
        SimFile { ino, path: path.to_path_buf(), access, _open: Rc::clone(&inode.open), writer }
    }
}

impl Data {
    /// An empty file of which nothing is durable but its emptiness.
    pub(super) fn empty() -> Self {
        Self { bytes: Vec::new(), durable: Durable::Prefix(0), rotten: false }
    }

    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        self.keep_durable(at);
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
    }

    /// Sets the durable content aside before bytes from `at` on are overwritten.
    fn keep_durable(&mut self, at: usize) {
        if let Durable::Prefix(len) = self.durable
            && at < len
        {
            self.durable = Durable::Other(self.bytes[..len].to_vec());
        }
    }
}
