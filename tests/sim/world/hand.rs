//! What a person, or an editor, does to the files of the root. No fuse strikes it, no hook sees it.

use super::content::SimFile;
use super::disk::Errno;
use super::machine::Machine;
use jobyard::model::order::State;
use jobyard::model::paths;
use std::ffi::OsString;
use std::path::Path;

/// A user at work. Borrowed from [`Machine::hand`].
#[derive(Debug)]
pub(crate) struct Hand<'a> {
    pub(super) machine: &'a mut Machine,
    pub(super) uid: u32,
}

impl Hand<'_> {
    /// `mv`: replaces.
    pub(crate) fn mv(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.note("mv", &format!("{from} {to}"));
        self.machine.disk.rename_over(Path::new(from), Path::new(to), self.uid)
    }

    /// `mv -n`, as `submit` and careful scripts do it.
    pub(crate) fn mv_new(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.note("mv -n", &format!("{from} {to}"));
        self.machine.disk.rename(Path::new(from), Path::new(to), self.uid)
    }

    /// `ln`.
    pub(crate) fn ln(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        self.note("ln", &format!("{from} {to}"));
        self.machine.disk.link(Path::new(from), Path::new(to), self.uid)
    }

    /// `rm`.
    pub(crate) fn rm(&mut self, path: &str) -> Result<(), Errno> {
        self.note("rm", path);
        self.machine.disk.unlink(Path::new(path), self.uid)
    }

    /// `rm -r`.
    pub(crate) fn rm_all(&mut self, path: &str) -> Result<(), Errno> {
        self.note("rm -r", path);
        self.machine.disk.remove_all(Path::new(path), self.uid)
    }

    /// `mkdir -p`.
    pub(crate) fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        self.note("mkdir", path);
        self.machine.disk.mkdir_all(Path::new(path), self.uid)
    }

    /// `touch` of a file that exists.
    pub(crate) fn touch(&mut self, path: &str) -> Result<(), Errno> {
        self.note("touch", path);
        self.machine.disk.touch(Path::new(path))
    }

    /// `>` in a shell: empties and writes in place, or creates.
    pub(crate) fn write(&mut self, path: &str, text: &[u8]) -> Result<(), Errno> {
        self.note("write", path);
        let (disk, at) = (&mut self.machine.disk, Path::new(path));
        if disk.stat(at)?.is_some() {
            disk.truncate(at, self.uid)?;
        }
        let file = disk.append(at, 0o644, self.uid)?;
        disk.write(&file, text).map(|_| ())
    }

    /// `>>` in a shell.
    pub(crate) fn add(&mut self, path: &str, text: &[u8]) -> Result<(), Errno> {
        let file = self.open(path)?;
        self.write_open(&file, text)
    }

    /// What an editor does on saving, and a careful script on dropping a file: a hidden file beside it,
    /// synced, renamed over it.
    pub(crate) fn save(&mut self, path: &str, text: &[u8]) -> Result<(), Errno> {
        self.note("save", path);
        let (disk, at) = (&mut self.machine.disk, Path::new(path));
        let mut name = OsString::from(format!(".save{}-", disk.seq));
        name.push(at.file_name().ok_or(libc::EINVAL)?);
        let temp = at.with_file_name(name);
        let file = disk.create(&temp, 0o644, self.uid)?;
        disk.write(&file, text)?;
        disk.sync(&file)?;
        disk.rename_over(&temp, at, self.uid)
    }

    /// Opens a file for appending and keeps it open: a slow writer.
    pub(crate) fn open(&mut self, path: &str) -> Result<SimFile, Errno> {
        self.note("open", path);
        self.machine.disk.append(Path::new(path), 0o644, self.uid)
    }

    /// Writes to what [`Hand::open`] has opened.
    pub(crate) fn write_open(&mut self, file: &SimFile, text: &[u8]) -> Result<(), Errno> {
        self.machine.disk.write(file, text).map(|_| ())
    }

    /// Empties and writes what [`Hand::open`] has opened.
    pub(crate) fn write_anew(&mut self, file: &SimFile, text: &[u8]) -> Result<(), Errno> {
        self.machine.disk.truncate_open(file)?;
        self.write_open(file, text)
    }

    /// `cat`, past permissions.
    pub(crate) fn cat(&self, path: &str) -> Option<Vec<u8>> {
        self.machine.disk.peek(Path::new(path)).map(<[u8]>::to_vec)
    }

    /// The names in a directory, sorted; none when it cannot be read.
    pub(crate) fn ls(&self, path: &str) -> Vec<OsString> {
        let entries = self.machine.disk.list(Path::new(path), self.uid).unwrap_or_default();
        let mut names: Vec<_> = entries.into_iter().map(|e| e.name).collect();
        names.sort();
        names
    }

    fn note(&mut self, act: &str, on: &str) {
        let dir = |path: &str| {
            State::ALL.into_iter().find(|s| Path::new(path).starts_with(paths::dir(*s)))
        };
        self.machine.touched.extend(on.split(' ').filter_map(dir));
        let uid = self.uid;
        self.machine.note(|| format!("-- person {uid}: {act} {on}"));
    }
}
