//! The changes of names: create, link, rename, exchange, unlink, mkdir.
//!
//! Invariant: each is one numbered change; its halves in one directory are durable together or not at all.

use super::content::{Data, SimFile};
use super::disk::{Dir, Disk, Errno, Half, Health, Ino, Node};
use std::ffi::OsStr;
use std::path::Path;

impl Disk {
    /// Creates a file that must not exist (`O_EXCL`).
    pub(crate) fn create(&mut self, path: &Path, mode: u32, uid: u32) -> Result<SimFile, Errno> {
        let ino = self.make(path, Node::File(Data::empty()), mode, uid)?;
        Ok(self.opened_new(ino, path))
    }

    /// Opens for appending; creates the file when it is missing.
    pub(crate) fn append(&mut self, path: &Path, mode: u32, uid: u32) -> Result<SimFile, Errno> {
        if self.find(path)?.is_none() {
            self.make(path, Node::File(Data::empty()), mode, uid)?;
        }
        self.open_append(path, uid)
    }

    /// `mkdir`, mode 0755.
    pub(crate) fn mkdir(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        self.make(path, Node::Dir(Dir::default()), 0o755, uid).map(|_| ())
    }

    /// A symlink that leads nowhere we care about.
    pub(crate) fn symlink(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        self.make(path, Node::Symlink, 0o777, uid).map(|_| ())
    }

    /// `mkfifo`.
    pub(crate) fn mkfifo(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        self.make(path, Node::Fifo, 0o644, uid).map(|_| ())
    }

    /// `link`, under the rules of `fs.protected_hardlinks`.
    pub(crate) fn link(&mut self, from: &Path, to: &Path, uid: u32) -> Result<(), Errno> {
        let ino = self.walk(from)?;
        let (dir, name) = self.place(to, uid, true)?;
        if self.dir(dir)?.names.contains_key(name) {
            return Err(libc::EEXIST);
        }
        let inode = &self.inodes[ino];
        let own = uid == 0 || inode.uid == uid;
        let plain = matches!(inode.node, Node::File(_)) && self.may(ino, uid, 6);
        if self.is_dir(ino) || !(own || plain) {
            return Err(libc::EPERM);
        }
        self.seq += 1;
        self.put(dir, name, Some(ino), None)
    }

    /// `renameat2(RENAME_NOREPLACE)`.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path, uid: u32) -> Result<(), Errno> {
        let moved = self.movable(from, to, uid)?;
        if self.dir(moved.to.0)?.names.contains_key(moved.to.1) {
            return Err(libc::EEXIST);
        }
        self.carry_out(&moved)
    }

    /// `rename`, which replaces. The engine has no such call; editors and `mv` do.
    pub(crate) fn rename_over(&mut self, from: &Path, to: &Path, uid: u32) -> Result<(), Errno> {
        let moved = self.movable(from, to, uid)?;
        match self.dir(moved.to.0)?.names.get(moved.to.1) {
            // POSIX: a rename between two names of one file does nothing.
            Some(&old) if old == moved.ino => Ok(()),
            Some(&old) if self.is_dir(old) => Err(libc::EISDIR),
            Some(_) if self.is_dir(moved.ino) => Err(libc::ENOTDIR),
            _ => self.carry_out(&moved),
        }
    }

    /// `renameat2(RENAME_EXCHANGE)`.
    pub(crate) fn exchange(&mut self, a: &Path, b: &Path, uid: u32) -> Result<(), Errno> {
        let (left, right) = (self.walk(a)?, self.walk(b)?);
        let (a_dir, a_name) = self.place(a, uid, false)?;
        let (b_dir, b_name) = self.place(b, uid, false)?;
        if left == right {
            return Ok(());
        }
        if a.starts_with(b) || b.starts_with(a) {
            return Err(libc::EINVAL);
        }
        self.seq += 1;
        self.put(a_dir, a_name, Some(right), Some(b_dir))?;
        self.put(b_dir, b_name, Some(left), Some(a_dir))
    }

    /// `unlink`.
    pub(crate) fn unlink(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        let ino = self.walk(path)?;
        if self.is_dir(ino) {
            return Err(libc::EISDIR);
        }
        let (dir, name) = self.place(path, uid, false)?;
        self.seq += 1;
        self.put(dir, name, None, None)
    }

    /// `rmdir`.
    pub(crate) fn rmdir(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        if !self.dir(self.walk(path)?)?.names.is_empty() {
            return Err(libc::ENOTEMPTY);
        }
        let (dir, name) = self.place(path, uid, false)?;
        self.seq += 1;
        self.put(dir, name, None, None)
    }

    /// `mkdir -p`.
    pub(crate) fn mkdir_all(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        let mut missing: Vec<&Path> = Vec::new();
        for part in path.ancestors() {
            if self.find(part)?.is_some() {
                break;
            }
            missing.push(part);
        }
        missing.into_iter().rev().try_for_each(|part| self.mkdir(part, uid))
    }

    /// `rm -r`, following nothing.
    pub(crate) fn remove_all(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        if !self.is_dir(self.walk(path)?) {
            return self.unlink(path, uid);
        }
        for entry in self.list(path, uid)? {
            self.remove_all(&path.join(entry.name), uid)?;
        }
        self.rmdir(path, uid)
    }

    fn make(&mut self, path: &Path, node: Node, mode: u32, uid: u32) -> Result<Ino, Errno> {
        if self.find(path)?.is_some() {
            return Err(libc::EEXIST);
        }
        let (dir, name) = self.place(path, uid, true)?;
        let ino = self.fresh(node, uid, mode);
        self.seq += 1;
        self.put(dir, name, Some(ino), None)?;
        Ok(ino)
    }

    /// The directory and name to change, when this user may and the disk takes changes.
    fn place<'p>(&self, path: &'p Path, uid: u32, grows: bool) -> Result<(Ino, &'p OsStr), Errno> {
        if self.health == Health::Broken {
            return Err(libc::EIO);
        }
        let (dir, name) = self.split(path)?.ok_or(libc::EBUSY)?;
        if !self.may(dir, uid, 2) {
            return Err(libc::EACCES);
        }
        self.changeable(grows)?;
        Ok((dir, name))
    }

    fn movable<'p>(&self, from: &'p Path, to: &'p Path, uid: u32) -> Result<Moved<'p>, Errno> {
        let ino = self.walk(from)?;
        let source = self.place(from, uid, false)?;
        let target = self.place(to, uid, false)?;
        if self.is_dir(ino) && to.starts_with(from) && to != from {
            return Err(libc::EINVAL);
        }
        Ok(Moved { ino, from: source, to: target })
    }

    fn carry_out(&mut self, moved: &Moved<'_>) -> Result<(), Errno> {
        let (from, to) = (moved.from.0, moved.to.0);
        self.seq += 1;
        // A file may show under both names after a power cut, a directory never does.
        let back = self.is_dir(moved.ino).then_some(from);
        self.put(to, moved.to.1, Some(moved.ino), back)?;
        if let Node::Dir(dir) = &mut self.inodes[to].node
            && let Some(half) = dir.pending.back_mut().filter(|_| to != from)
        {
            dir.arrivals.insert(half.name.clone(), (from, half.seq));
            half.needs.push((from, half.seq - 1));
        }
        self.put(from, moved.from.1, None, Some(to))
    }

    /// One half of a change: this name now means this inode, or nothing.
    fn put(
        &mut self,
        at: Ino,
        name: &OsStr,
        to: Option<Ino>,
        partner: Option<Ino>,
    ) -> Result<(), Errno> {
        let (seq, now) = (self.seq, self.moment());
        if let Some(ino) = to {
            let inode = &mut self.inodes[ino];
            inode.links += 1;
            inode.held += 1;
            inode.ctime_ns = now;
        }
        let inode = &mut self.inodes[at];
        inode.mtime_ns = now;
        inode.ctime_ns = now;
        let Node::Dir(dir) = &mut inode.node else { return Err(libc::ENOTDIR) };
        let came = dir.arrivals.remove(name);
        let needs = partner.map(|partner| (partner, seq)).into_iter().collect();
        dir.pending.push_back(Half { seq, name: name.to_owned(), to, needs, came });
        let old = match to {
            Some(ino) => dir.names.insert(name.to_owned(), ino),
            None => dir.names.remove(name),
        };
        if let Some(old) = old {
            self.inodes[old].links -= 1;
            self.inodes[old].ctime_ns = now;
            self.forget_if_unseen(old);
        }
        Ok(())
    }
}

struct Moved<'p> {
    ino: Ino,
    from: (Ino, &'p OsStr),
    to: (Ino, &'p OsStr),
}
