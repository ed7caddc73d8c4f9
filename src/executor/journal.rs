//! The executor's journal: one line per start and per end, and the fence of what was already started.
//!
//! Invariants: a line is one unsynced write, made before the command is started or its end told to anybody;
//! a torn line hides no other; at most two files of [`FILE_BYTES_MAX`] each; what runs, and ends that nobody
//! acknowledged, survive the change of files. A journal that cannot be written costs one line on stderr,
//! never a command.

use super::beneath::{self, EXEC_DIR};
use super::note;
use crate::model::protocol::{CommandKey, End, JournalLine};
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Size at which the journal becomes `exec.journal.1` and a new one begins: some ten thousand ends.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Longest journal that is read, in bytes; a single write may pass the bound above by one line.
const READ_BYTES_MAX: u64 = 2 * FILE_BYTES_MAX;

const CURRENT: &str = "exec.journal";
const PREVIOUS: &str = "exec.journal.1";

/// Every end in both journals, older first. Torn or foreign lines are left out; missing files are empty.
/// An end may appear twice.
pub fn read_journal(root: &Path) -> io::Result<Vec<(CommandKey, End)>> {
    let dir = match beneath::open_exec_dir(root) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = read_one(&dir, PREVIOUS)?.into_iter().chain(read_one(&dir, CURRENT)?);
    Ok(lines.filter_map(|line| Some((line.key, line.end?))).collect())
}

fn read_one(dir: &OwnedFd, name: &str) -> io::Result<Vec<JournalLine>> {
    let mut bytes = Vec::new();
    match beneath::open_file(dir, Path::new(name), OFlags::RDONLY, 0) {
        Ok(file) => file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

/// The journal of a running executor.
pub(crate) struct Journal {
    dir: OwnedFd,
    boot: String,
    file: Option<File>,
    bytes: u64,
    /// The last write was cut short: the next line begins on a new one.
    torn: bool,
    /// A failure was reported and nothing has succeeded since.
    failing: bool,
    /// Keys in the current journal, and in the one before.
    fence: [BTreeSet<CommandKey>; 2],
}

impl Journal {
    /// Reads what earlier executors left in `dir` and opens the journal for appending.
    pub(crate) fn open(dir: OwnedFd, boot: String) -> Self {
        let keys = |name| match read_one(&dir, name) {
            Ok(lines) => lines.into_iter().map(|line| line.key).collect(),
            Err(error) => {
                note(&format!("read {EXEC_DIR}/{name}: {error}"));
                BTreeSet::new()
            }
        };
        let fence = [keys(CURRENT), keys(PREVIOUS)];
        // A line that an earlier executor tore is closed by the newline that begins the first one.
        Self { dir, boot, file: None, bytes: 0, torn: true, failing: false, fence }
    }

    /// Whether this command is in the journals.
    pub(crate) fn knows(&self, key: &CommandKey) -> bool {
        self.fence.iter().any(|keys| keys.contains(key))
    }

    /// Writes a start, or an end. `others` are the commands that must survive when a new file begins: what
    /// runs, and ends that nobody acknowledged.
    pub(crate) fn append<'a>(
        &mut self,
        key: &CommandKey,
        end: Option<&End>,
        others: impl Iterator<Item = (&'a CommandKey, Option<&'a End>)>,
    ) {
        if self.bytes > FILE_BYTES_MAX {
            self.turn(others);
        }
        self.write(key, end);
    }

    fn turn<'a>(&mut self, others: impl Iterator<Item = (&'a CommandKey, Option<&'a End>)>) {
        if let Err(errno) = rustix::fs::renameat(&self.dir, CURRENT, &self.dir, PREVIOUS) {
            self.report(&format!("rename {EXEC_DIR}/{CURRENT} to {PREVIOUS}: {errno}"));
            return;
        }
        self.file = None;
        self.bytes = 0;
        self.fence.swap(0, 1);
        self.fence[0].clear();
        for (key, end) in others {
            self.write(key, end);
        }
    }

    fn write(&mut self, key: &CommandKey, end: Option<&End>) {
        let (boot, key, end) = (self.boot.clone(), key.clone(), end.cloned());
        let line = JournalLine { boot, key, end };
        match self.try_write(&line) {
            Ok(()) => self.failing = false,
            Err(error) => self.report(&format!("append to {EXEC_DIR}/{CURRENT}: {error}")),
        }
        self.fence[0].insert(line.key);
    }

    fn try_write(&mut self, line: &JournalLine) -> io::Result<()> {
        if self.file.is_none() {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND;
            let file = beneath::open_file(&self.dir, Path::new(CURRENT), flags, 0o644)?;
            self.bytes = file.metadata()?.len();
            self.torn = self.bytes > 0;
            self.file = Some(file);
        }
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        let mut bytes = Vec::with_capacity(512);
        if self.torn {
            bytes.push(b'\n');
        }
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
        let written = file.write(&bytes)?;
        self.bytes += written as u64;
        self.torn = written < bytes.len();
        if self.torn { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    fn report(&mut self, what: &str) {
        if !self.failing {
            note(&format!(
                "{what}; ends are still told to the daemon, but a restart may not know them"
            ));
        }
        self.failing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol::Cause;

    fn key(number: u32) -> CommandKey {
        CommandKey { id: "WO-1".into(), attempt: 1, number }
    }

    fn end(detail: &str) -> End {
        End {
            exit: Some(0),
            signal: None,
            cause: Cause::Exited,
            detail: Some(detail.into()),
            started_ms: 1,
            ended_ms: 2,
            leftovers: 0,
            log_bytes: 3,
        }
    }

    fn place() -> (tempfile::TempDir, OwnedFd) {
        let root = tempfile::tempdir().unwrap();
        let base = beneath::open_root(root.path()).unwrap();
        beneath::ensure_dir(&base, Path::new(EXEC_DIR)).unwrap();
        let dir = beneath::open_exec_dir(root.path()).unwrap();
        (root, dir)
    }

    #[test]
    fn a_torn_tail_hides_neither_earlier_nor_later_ends() {
        let (root, dir) = place();
        let mut first = Journal::open(dir, "boot".into());
        first.append(&key(1), None, std::iter::empty());
        first.append(&key(1), Some(&end("a")), std::iter::empty());
        let path = root.path().join(EXEC_DIR).join(CURRENT);
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(br#"{"boot":"b","key":{"#).unwrap();
        let dir = beneath::open_exec_dir(root.path()).unwrap();
        let mut second = Journal::open(dir, "boot".into());
        assert!(second.knows(&key(1)) && !second.knows(&key(2)));
        second.append(&key(2), Some(&end("b")), std::iter::empty());
        let keys: Vec<u32> =
            read_journal(root.path()).unwrap().iter().map(|(key, _)| key.number).collect();
        assert_eq!(keys, [1, 2]);
    }

    #[test]
    fn two_bounded_files_keep_what_nobody_acknowledged() {
        let (root, dir) = place();
        let mut journal = Journal::open(dir, "boot".into());
        let (waiting, long) = (end("waits"), end(&"x".repeat(1000)));
        let runs = CommandKey { id: "WO-2".into(), attempt: 1, number: 1 };
        journal.append(&runs, None, std::iter::empty());
        journal.append(&key(0), Some(&waiting), std::iter::empty());
        let count = 3 * (FILE_BYTES_MAX / 1000) as u32;
        for number in 1..count {
            let others = [(&key(0), Some(&waiting)), (&runs, None)];
            journal.append(&key(number), Some(&long), others.into_iter());
        }
        let lines = read_journal(root.path()).unwrap();
        assert!(lines.iter().any(|(known, _)| *known == key(0)));
        assert!(lines.iter().any(|(known, _)| *known == key(count - 1)));
        let bytes =
            |name: &str| std::fs::metadata(root.path().join(EXEC_DIR).join(name)).unwrap().len();
        assert!(bytes(CURRENT) < FILE_BYTES_MAX + 2000 && bytes(PREVIOUS) < FILE_BYTES_MAX + 2000);
        assert!(journal.knows(&runs) && !lines.iter().any(|(known, _)| *known == runs));
        assert!(journal.fence.iter().map(BTreeSet::len).sum::<usize>() < lines.len() + 4);
    }

    #[test]
    fn no_journal_is_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read_journal(root.path()).unwrap(), []);
    }
}
