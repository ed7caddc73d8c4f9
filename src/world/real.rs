//! The real machine: one system call, one git command or one message for each method of [`World`].
//!
//! Invariants: every path is resolved beneath the root without following a symlink; nothing blocks on a
//! FIFO or a device; descriptors are never inherited by children.

use super::calls::{again, announced, fault, file_fault, io_fault, kind, nanos};
use super::git::{Absent, Bounds, Git};
use super::store::errno;
use super::{Entry, ExecutorLink, Fault, GitFault, Identity, Kind, Stat, World, writers};
use crate::executor;
use crate::model::protocol::{FromExecutor, ToExecutor};
use crate::model::time::{Moment, Tick};
use crate::model::tree::{Change, CommitId, Cone, TreeFacts, WorktreeMade};
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Directories whose descriptors are kept open: those of the hot path.
const KEPT: [&str; 6] = [
    "_ctx/jobs/pending",
    "_ctx/jobs/running",
    "_ctx/jobs/done",
    "_ctx/jobs/failed",
    "_ctx/jobs/control",
    "_ctx/audit",
];

/// The real machine, seen from one root.
pub struct RealWorld {
    root: PathBuf,
    root_text: String,
    root_dir: OwnedFd,
    kept: BTreeMap<PathBuf, OwnedFd>,
    identity: Identity,
    git: Git,
    program: PathBuf,
    link: Option<executor::Link>,
    starting: Option<Child>,
    aloof: bool,
    /// Executors are started by somebody else: here one is only waited for.
    pub executors_are_supplied: bool,
}

impl RealWorld {
    /// Opens a root. `program`: the binary to start as executor.
    pub fn open(root: &Path, program: PathBuf, git: Bounds) -> std::io::Result<Self> {
        let root_dir =
            fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let identity = super::identity::of_this_process()?;
        Ok(Self {
            root: root.to_owned(),
            root_text: root.to_string_lossy().into_owned(),
            root_dir,
            kept: BTreeMap::new(),
            identity,
            git: Git::new(root.to_owned(), git),
            program,
            link: None,
            starting: None,
            aloof: false,
            executors_are_supplied: false,
        })
    }

    /// Executors that are started from here get nothing of ours to write to: they may outlive a verb, and
    /// whoever reads the verb's stderr to its end would wait for them.
    pub fn stay_aloof(&mut self) {
        self.aloof = true;
    }

    /// Git at this root.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// Absolute path of the root.
    pub fn root_path(&self) -> &Path {
        &self.root
    }

    /// Forgets kept directories: one of them was replaced.
    pub fn forget_directories(&mut self) {
        self.kept.clear();
    }

    /// The executor's socket, for waiting, and whether it has to be written to.
    pub fn executor_socket(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.link.as_ref().map(|l| (l.fd(), l.wants_write()))
    }

    /// The output of an executor that was started and is not connected yet: it closes when it can be
    /// connected to, or has ended.
    pub fn executor_starting(&self) -> Option<BorrowedFd<'_>> {
        let waiting = self.link.is_none();
        self.starting.as_ref().filter(|_| waiting)?.stdout.as_ref().map(AsFd::as_fd)
    }

    /// Writes what the executor's socket did not take yet.
    pub fn flush_executor(&mut self) {
        if let Some(link) = &mut self.link
            && link.flush().is_err()
        {
            self.link = None;
        }
    }

    /// The executor has closed its socket; reaps it when it is a child of ours.
    pub fn executor_has_gone(&mut self) -> bool {
        let gone = self.link.as_ref().is_none_or(executor::Link::is_closed);
        if gone && let Some(mut child) = self.starting.take() {
            let _ = child.wait();
        }
        gone
    }

    fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        loop {
            match fs::openat2(&self.root_dir, path, flags | OFlags::CLOEXEC, mode, beneath) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn file_fault(&self, act: &'static str, file: &File, error: &std::io::Error) -> Fault {
        file_fault(act, &self.root, file, error)
    }

    fn keep(&mut self, dir: &Path) -> Result<(), Errno> {
        if KEPT.iter().any(|k| Path::new(k) == dir) && !self.kept.contains_key(dir) {
            let fd = self.open_at(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            self.kept.insert(dir.to_owned(), fd);
        }
        Ok(())
    }

    /// Calls `f` with a descriptor of the parent directory and the last name.
    fn at<T>(
        &mut self,
        act: &'static str,
        path: &Path,
        f: impl FnOnce(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
    ) -> Result<T, Fault> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let done = self.keep(parent).and_then(|()| match self.kept.get(parent) {
            Some(fd) => f(fd.as_fd(), name),
            None => {
                let fd = self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
                f(fd.as_fd(), name)
            }
        });
        done.map_err(|e| fault(act, path, e))
    }

    /// The same for two paths.
    fn at_both(
        &mut self,
        act: &'static str,
        from: &Path,
        to: &Path,
        f: impl FnOnce(BorrowedFd<'_>, &OsStr, BorrowedFd<'_>, &OsStr) -> Result<(), Errno>,
    ) -> Result<(), Fault> {
        let parent = to.parent().unwrap_or(Path::new(""));
        let name = to.file_name().unwrap_or(OsStr::new("."));
        let source = from.parent().unwrap_or(Path::new(""));
        let old = from.file_name().unwrap_or(OsStr::new("."));
        let opened = self.keep(source).and_then(|()| self.keep(parent)).and_then(|()| {
            let open = |dir: &Path| match self.kept.get(dir) {
                Some(_) => Ok::<_, Errno>(None),
                None => {
                    self.open_at(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(Some)
                }
            };
            Ok((open(source)?, open(parent)?))
        });
        let (a, b) = opened.map_err(|e| fault(act, to, e))?;
        let a = a.as_ref().or_else(|| self.kept.get(source));
        let b = b.as_ref().or_else(|| self.kept.get(parent));
        match (a, b) {
            (Some(a), Some(b)) => {
                f(a.as_fd(), old, b.as_fd(), name).map_err(|e| fault(act, from, e))
            }
            _ => Err(fault(act, from, Errno::NOENT)),
        }
    }
}

impl World for RealWorld {
    type File = File;

    fn root(&self) -> &str {
        &self.root_text
    }

    fn now(&self) -> Moment {
        let t = clock_gettime(ClockId::Realtime);
        Moment(nanos(t.tv_sec, t.tv_nsec) / 1_000_000)
    }

    fn tick(&self) -> Tick {
        let t = clock_gettime(ClockId::Boottime);
        Tick(u64::try_from(nanos(t.tv_sec, t.tv_nsec) / 1_000_000).unwrap_or(0))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn user(&self, uid: u32) -> String {
        super::identity::user_name(uid)
    }

    fn random(&mut self) -> u64 {
        super::identity::random_bits()
    }

    fn list(&mut self, dir: &Path) -> Result<Vec<Entry>, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let fd = self.open_at(dir, flags, Mode::empty()).map_err(|e| fault("list", dir, e))?;
        let mut entries = Vec::new();
        for entry in Dir::new(fd).map_err(|e| fault("list", dir, e))? {
            let entry = entry.map_err(|e| fault("list", dir, e))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let name = OsStr::from_bytes(name).to_owned();
                entries.push(Entry { name, inode: entry.ino(), kind: kind(entry.file_type()) });
            }
        }
        Ok(entries)
    }

    fn stat(&mut self, path: &Path) -> Result<Option<Stat>, Fault> {
        let found =
            self.at("look at", path, |dir, name| fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW));
        match found {
            Ok(s) => Ok(Some(Stat {
                inode: s.st_ino,
                kind: kind(FileType::from_raw_mode(s.st_mode)),
                size: u64::try_from(s.st_size).unwrap_or(0),
                mtime_ns: nanos(s.st_mtime, s.st_mtime_nsec),
                ctime_ns: nanos(s.st_ctime, s.st_ctime_nsec),
                links: s.st_nlink,
                uid: s.st_uid,
                mode: s.st_mode & 0o7777,
            })),
            // Beneath something that is no directory there is nothing.
            Err(f) if [errno::ENOENT, errno::ENOTDIR, errno::ELOOP].contains(&f.errno) => Ok(None),
            Err(f) => Err(f),
        }
    }

    fn open(&mut self, path: &Path) -> Result<Option<File>, Fault> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = self.at("open", path, |dir, name| {
            fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())
        });
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(f) if f.errno == errno::ENOENT => return Ok(None),
            Err(f) => return Err(f),
        };
        match file.metadata() {
            Ok(m) if m.is_file() => Ok(Some(file)),
            Ok(_) => Err(fault("open", path, Errno::NXIO)),
            Err(e) => Err(self.file_fault("open", &file, &e)),
        }
    }

    fn stat_file(&mut self, file: &File) -> Result<Stat, Fault> {
        let m = file.metadata().map_err(|e| self.file_fault("look at", file, &e))?;
        Ok(Stat {
            inode: m.ino(),
            kind: if m.is_file() { Kind::File } else { Kind::Other },
            size: m.size(),
            mtime_ns: nanos(m.mtime(), m.mtime_nsec()),
            ctime_ns: nanos(m.ctime(), m.ctime_nsec()),
            links: m.nlink(),
            uid: m.uid(),
            mode: m.mode() & 0o7777,
        })
    }

    fn read(&mut self, file: &File, offset: u64, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; bytes_max];
        let mut filled = 0;
        while filled < bytes_max {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.file_fault("read", file, &e)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn has_writer(&mut self, file: &File) -> Result<Option<bool>, Fault> {
        Ok(writers::has_writer(file))
    }

    fn create(&mut self, path: &Path, mode: u32) -> Result<File, Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        self.at("create", path, |dir, name| fs::openat(dir, name, flags, mode)).map(File::from)
    }

    fn append(&mut self, path: &Path, mode: u32) -> Result<File, Fault> {
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let opened = self.at("open", path, |dir, name| fs::openat(dir, name, flags, mode));
        let file = opened.map(File::from)?;
        match file.metadata() {
            Ok(m) if m.is_file() => Ok(file),
            Ok(_) => Err(fault("open", path, Errno::NXIO)),
            Err(e) => Err(self.file_fault("open", &file, &e)),
        }
    }

    fn write(&mut self, file: &File, bytes: &[u8]) -> Result<usize, Fault> {
        again(|| rustix::io::write(file, bytes))
            .map_err(|e| self.file_fault("write", file, &e.into()))
    }

    fn sync(&mut self, file: &File) -> Result<(), Fault> {
        again(|| fs::fdatasync(file)).map_err(|e| self.file_fault("sync", file, &e.into()))
    }

    fn sync_dir(&mut self, dir: &Path) -> Result<(), Fault> {
        let fd = self.open_at(dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        fd.and_then(|fd| again(|| fs::fsync(&fd))).map_err(|e| fault("sync", dir, e))
    }

    fn link(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        self.at_both("link", from, to, |a, old, b, new| {
            again(|| fs::linkat(a, old, b, new, AtFlags::empty()))
        })
    }

    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Fault> {
        self.at_both("move", from, to, |a, old, b, new| {
            again(|| fs::renameat_with(a, old, b, new, RenameFlags::NOREPLACE))
        })
    }

    fn exchange(&mut self, a: &Path, b: &Path) -> Result<(), Fault> {
        self.at_both("exchange", a, b, |x, old, y, new| {
            fs::renameat_with(x, old, y, new, RenameFlags::EXCHANGE)
        })
    }

    fn unlink(&mut self, path: &Path) -> Result<(), Fault> {
        self.at("remove", path, |dir, name| again(|| fs::unlinkat(dir, name, AtFlags::empty())))
    }

    fn mkdir(&mut self, path: &Path) -> Result<(), Fault> {
        let mode = Mode::from_raw_mode(0o755);
        self.at("make directory", path, |dir, name| again(|| fs::mkdirat(dir, name, mode)))
    }

    fn process_alive(&mut self, pid: u32, start_time: u64) -> bool {
        executor::process_start_time(pid) == Some(start_time)
    }

    fn survivors(&mut self, token: &str) -> Vec<u32> {
        executor::survivors(token)
    }

    fn executor(&mut self) -> ExecutorLink {
        if self.link.as_ref().is_some_and(|l| !l.is_closed()) {
            return ExecutorLink::Up;
        }
        self.link = None;
        if let Ok(link) = executor::Link::connect(&self.root) {
            self.link = Some(link);
            return ExecutorLink::Up;
        }
        if executor::is_locked(&self.root).unwrap_or(true) {
            return ExecutorLink::Unreachable;
        }
        let opened = self.starting.as_mut().map(|c| (c.try_wait(), announced(c)));
        if matches!(opened, Some((Ok(None), _))) {
            return ExecutorLink::Unreachable;
        }
        self.starting = None;
        ExecutorLink::Dead
    }

    fn start_executor(&mut self) -> Result<(), Fault> {
        if self.executors_are_supplied {
            return Ok(());
        }
        let notes = if self.aloof { Stdio::null() } else { Stdio::inherit() };
        let child = executor::spawn(&self.program, &self.root, notes)
            .map_err(|e| io_fault("start the executor", &e))?;
        self.starting = Some(child);
        Ok(())
    }

    fn send(&mut self, message: &ToExecutor) -> Result<(), Fault> {
        let sent = self.link.as_mut().and_then(|link| link.send(message).ok());
        sent.ok_or_else(|| fault("send to the executor", Path::new(""), Errno::PIPE))
    }

    fn receive(&mut self) -> Vec<FromExecutor> {
        self.link.as_mut().map(executor::Link::receive).unwrap_or_default()
    }

    fn git_base(&mut self, wanted: Option<&str>) -> Result<CommitId, GitFault> {
        self.git.base(wanted)
    }

    fn git_merge_base(&mut self, a: &CommitId, b: &CommitId) -> Result<Option<CommitId>, GitFault> {
        self.git.merge_base(a, b)
    }

    fn git_branch(&mut self, branch: &str) -> Result<Option<CommitId>, GitFault> {
        self.git.branch(branch)
    }

    fn git_worktree(&mut self, path: &str, branch: &str) -> Result<bool, GitFault> {
        self.git.worktree(path, branch)
    }

    fn git_add(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        cone: Option<&Cone>,
    ) -> Result<WorktreeMade, GitFault> {
        self.git.add(path, branch, base, cone)
    }

    fn git_remove(
        &mut self,
        path: &str,
        branch: &str,
        base: &CommitId,
        made: &WorktreeMade,
    ) -> Result<(), GitFault> {
        self.git.remove(path, branch, base, made)
    }

    fn git_tree(
        &mut self,
        path: &str,
        excludes: &[u8],
        cone: Option<&Cone>,
    ) -> Result<TreeFacts, GitFault> {
        self.git.tree(path, excludes, cone.map_or(Absent::Nothing, Absent::Outside))
    }

    fn git_head(&mut self, path: &str, branch: &str) -> Result<Option<CommitId>, GitFault> {
        self.git.head(path, branch)
    }

    fn git_settings(&mut self, path: Option<&str>) -> Result<Vec<u8>, GitFault> {
        self.git.settings(path)
    }

    fn git_changes(
        &mut self,
        path: &str,
        base: &CommitId,
        head: &CommitId,
    ) -> Result<Vec<Change>, GitFault> {
        self.git.changes(path, base, head)
    }

    fn git_excludes(&mut self) -> Result<Vec<u8>, GitFault> {
        self.git.excludes()
    }

    fn git_sync(
        &mut self,
        branch: &str,
        commit: &CommitId,
        base: Option<&CommitId>,
    ) -> Result<(), GitFault> {
        self.git.sync(branch, commit, base)
    }
}
