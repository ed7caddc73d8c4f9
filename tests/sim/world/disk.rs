//! The simulated disk: inodes, names and permissions, as POSIX says, and what of it is durable.
//!
//! Invariants: an inode's index is never used again, its number may be, as on ext4; a number belongs
//! to one inode as long as a name, an open file or a power cut could still show it. Contents change
//! only in `content.rs`, names only in `names.rs`, durability only in `power.rs`. A disk draws no random
//! number but at a power cut.

use super::content::Data;
use jobyard::world::{Entry, Kind, Stat};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// Index of an inode; not what `stat` shows.
pub(crate) type Ino = usize;
/// An error number of the system.
pub(crate) type Errno = i32;
/// The index of the root directory.
pub(crate) const ROOT: Ino = 0;

const NAME_BYTES_MAX: usize = 255;

/// What the disk refuses until the driver mends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Health {
    /// Nothing.
    #[default]
    Well,
    /// Everything that grows: ENOSPC.
    Full,
    /// Every change: EROFS.
    ReadOnly,
    /// Everything: EIO.
    Broken,
}

/// A file system with one root.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(super) inodes: Vec<Inode>,
    /// Number of the last change of names.
    pub(super) seq: u64,
    pub(super) free_numbers: Vec<u64>,
    next_number: u64,
    /// Wall clock for the times of files, in nanoseconds since 1970.
    pub(crate) now_ns: i64,
    /// Persistent trouble.
    pub(crate) health: Health,
    /// Whether `has_writer` gets an answer.
    pub(crate) tells_writers: bool,
    /// After a sync that failed with EIO, whether later syncs of that file only pretend, as Linux does.
    pub(crate) forgets_failed_sync: bool,
    /// Whether a power cut may leave zeros where unsynced bytes were.
    pub(crate) leaves_zeros: bool,
    /// Whether `fsync` of a directory makes its own names durable alone, as btrfs's log does.
    pub(crate) logs_names: bool,
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) node: Node,
    pub(super) uid: u32,
    pub(super) mode: u32,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    /// Names now.
    pub(super) links: u64,
    /// Durable names, and names that a power cut could make durable.
    pub(super) held: u64,
    /// `Disk::seq` at its last sync: earlier names of it may have been committed along.
    pub(super) synced_seq: u64,
    pub(super) open: Rc<()>,
    pub(super) writers: Rc<()>,
}

#[derive(Debug)]
pub(super) enum Node {
    File(Data),
    Dir(Dir),
    Symlink,
    Fifo,
    /// Lost in a power cut.
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Dir {
    pub(super) names: BTreeMap<OsString, Ino>,
    pub(super) durable: BTreeMap<OsString, Ino>,
    pub(super) pending: VecDeque<Half>,
    /// Names that a rename gave, and where from, until they change again.
    pub(super) arrivals: BTreeMap<OsString, (Ino, u64)>,
}

/// One change of one name that is not durable yet.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) seq: u64,
    pub(super) name: OsString,
    pub(super) to: Option<Ino>,
    /// Directories, and up to which of their changes these are durable whenever this one is.
    pub(super) needs: Vec<(Ino, u64)>,
    /// The same of the directory that the file of this name came from before; not for a logged sync.
    pub(super) came: Option<(Ino, u64)>,
}

impl Disk {
    /// A disk with a root directory only.
    pub(crate) fn new(uid: u32, now_ns: i64) -> Self {
        let mut disk = Self {
            inodes: Vec::new(),
            seq: 0,
            free_numbers: Vec::new(),
            next_number: 2,
            now_ns,
            health: Health::Well,
            tells_writers: true,
            forgets_failed_sync: false,
            leaves_zeros: false,
            logs_names: false,
        };
        disk.fresh(Node::Dir(Dir::default()), uid, 0o755);
        disk
    }

    /// The names in a directory. The order changes with every change of names.
    pub(crate) fn list(&self, path: &Path, uid: u32) -> Result<Vec<Entry>, Errno> {
        let at = self.walk(path)?;
        let dir = self.dir(at)?;
        self.readable(at, uid)?;
        let mut out: Vec<Entry> = dir
            .names
            .iter()
            .map(|(name, &ino)| Entry {
                name: name.clone(),
                inode: self.inodes[ino].number,
                kind: self.kind(ino),
            })
            .collect();
        if !out.is_empty() {
            let by = self.seq as usize % out.len();
            out.rotate_left(by);
        }
        Ok(out)
    }

    /// `lstat`; `None` for ENOENT.
    pub(crate) fn stat(&self, path: &Path) -> Result<Option<Stat>, Errno> {
        Ok(self.find(path)?.map(|ino| self.stat_of(ino)))
    }

    /// The time of a change: no two are the same.
    pub(super) fn moment(&mut self) -> i64 {
        self.now_ns += 1;
        self.now_ns
    }

    /// `touch` of an existing file.
    pub(crate) fn touch(&mut self, path: &Path) -> Result<(), Errno> {
        let ino = self.find(path)?.ok_or(libc::ENOENT)?;
        self.changeable(false)?;
        let now = self.moment();
        self.changed(ino, now);
        Ok(())
    }

    /// `chmod`.
    pub(crate) fn chmod(&mut self, path: &Path, mode: u32) -> Result<(), Errno> {
        let ino = self.find(path)?.ok_or(libc::ENOENT)?;
        self.changeable(false)?;
        self.inodes[ino].mode = mode;
        self.inodes[ino].ctime_ns = self.now_ns;
        Ok(())
    }

    /// `chown`.
    pub(crate) fn chown(&mut self, path: &Path, uid: u32) -> Result<(), Errno> {
        let ino = self.find(path)?.ok_or(libc::ENOENT)?;
        self.changeable(false)?;
        self.inodes[ino].uid = uid;
        self.inodes[ino].ctime_ns = self.now_ns;
        Ok(())
    }

    /// Everything there is, for checks and traces: path, kind, content (empty unless a file).
    pub(crate) fn dump(&self) -> Vec<(PathBuf, Kind, &[u8])> {
        let mut out = Vec::new();
        self.dump_below(ROOT, Path::new(""), &mut out);
        out
    }

    /// The content of a file, past all permissions and troubles.
    pub(crate) fn peek(&self, path: &Path) -> Option<&[u8]> {
        match &self.inodes[self.resolve(path).ok()??].node {
            Node::File(data) => Some(&data.bytes),
            _ => None,
        }
    }

    /// The inode of a name, past all permissions and troubles. Unlike what `stat` shows, an inode is
    /// told from every earlier one.
    pub(crate) fn peek_inode(&self, path: &str) -> Option<u64> {
        self.resolve(Path::new(path)).ok()?.map(|ino| ino as u64)
    }

    /// Grows with every change of names.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// The names in a directory, sorted, past all permissions and troubles.
    pub(crate) fn peek_names(&self, path: &str) -> Vec<String> {
        let found = self.resolve(Path::new(path)).ok().flatten();
        let dir = found.and_then(|ino| self.dir(ino).ok());
        let names = dir.into_iter().flat_map(|d| d.names.keys());
        names.map(|n| n.to_string_lossy().into_owned()).collect()
    }

    fn dump_below<'a>(&'a self, at: Ino, base: &Path, out: &mut Vec<(PathBuf, Kind, &'a [u8])>) {
        let Node::Dir(dir) = &self.inodes[at].node else { return };
        for (name, &ino) in &dir.names {
            let path = base.join(name);
            let content = match &self.inodes[ino].node {
                Node::File(data) => data.bytes.as_slice(),
                _ => &[],
            };
            out.push((path.clone(), self.kind(ino), content));
            self.dump_below(ino, &path, out);
        }
    }

    /// The inode of a path; `None` when nothing has this name. Never follows a symlink.
    pub(super) fn find(&self, path: &Path) -> Result<Option<Ino>, Errno> {
        self.well()?;
        self.resolve(path)
    }

    fn resolve(&self, path: &Path) -> Result<Option<Ino>, Errno> {
        match self.split(path) {
            Ok(None) => Ok(Some(ROOT)),
            Ok(Some((dir, name))) => Ok(self.dir(dir)?.names.get(name).copied()),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The inode of a path that must exist.
    pub(super) fn walk(&self, path: &Path) -> Result<Ino, Errno> {
        self.find(path)?.ok_or(libc::ENOENT)
    }

    /// The directory that holds the last component, and that component; `None` for the root itself.
    pub(super) fn split<'p>(&self, path: &'p Path) -> Result<Option<(Ino, &'p OsStr)>, Errno> {
        let mut at = ROOT;
        let mut last: Option<&OsStr> = None;
        for part in path.components() {
            let name = match part {
                Component::CurDir => continue,
                Component::Normal(name) => name,
                _ => return Err(libc::EXDEV),
            };
            if name.len() > NAME_BYTES_MAX {
                return Err(libc::ENAMETOOLONG);
            }
            if name.as_bytes().contains(&0) {
                return Err(libc::EINVAL);
            }
            if let Some(dir) = last.replace(name) {
                at = *self.dir(at)?.names.get(dir).ok_or(libc::ENOENT)?;
            }
        }
        self.dir(at)?;
        Ok(last.map(|name| (at, name)))
    }

    /// The directory with this index; ELOOP for a symlink, ENOTDIR for anything else.
    pub(super) fn dir(&self, ino: Ino) -> Result<&Dir, Errno> {
        match &self.inodes[ino].node {
            Node::Dir(dir) => Ok(dir),
            Node::Symlink => Err(libc::ELOOP),
            _ => Err(libc::ENOTDIR),
        }
    }

    pub(super) fn is_dir(&self, ino: Ino) -> bool {
        matches!(self.inodes[ino].node, Node::Dir(_))
    }

    pub(super) fn kind(&self, ino: Ino) -> Kind {
        match self.inodes[ino].node {
            Node::File(_) => Kind::File,
            Node::Dir(_) => Kind::Dir,
            Node::Symlink => Kind::Symlink,
            Node::Fifo | Node::Gone => Kind::Other,
        }
    }

    /// A new inode without a name.
    pub(super) fn fresh(&mut self, node: Node, uid: u32, mode: u32) -> Ino {
        let number = self.free_numbers.pop().unwrap_or_else(|| {
            self.next_number += 1;
            self.next_number - 1
        });
        self.inodes.push(Inode {
            number,
            node,
            uid,
            mode,
            mtime_ns: self.now_ns,
            ctime_ns: self.now_ns,
            links: 0,
            held: 0,
            synced_seq: 0,
            open: Rc::new(()),
            writers: Rc::new(()),
        });
        self.inodes.len() - 1
    }

    /// Gives the number free when nothing can show the inode again.
    pub(super) fn forget_if_unseen(&mut self, ino: Ino) {
        let inode = &mut self.inodes[ino];
        let seen = inode.links > 0 || inode.held > 0 || Rc::strong_count(&inode.open) > 1;
        if !seen && !matches!(inode.node, Node::Gone) {
            inode.node = Node::Gone;
            self.free_numbers.push(inode.number);
        }
    }

    pub(super) fn may(&self, ino: Ino, uid: u32, bits: u32) -> bool {
        let inode = &self.inodes[ino];
        let granted = if inode.uid == uid { inode.mode >> 6 } else { inode.mode };
        uid == 0 || granted & bits == bits
    }

    /// Refuses a change when the disk is in a state that refuses it.
    pub(super) fn changeable(&self, grows: bool) -> Result<(), Errno> {
        match self.health {
            Health::Well => Ok(()),
            Health::Full if grows => Err(libc::ENOSPC),
            Health::Full => Ok(()),
            Health::ReadOnly => Err(libc::EROFS),
            Health::Broken => Err(libc::EIO),
        }
    }

    pub(super) fn data_mut(&mut self, ino: Ino) -> Result<&mut Data, Errno> {
        match &mut self.inodes[ino].node {
            Node::File(data) => Ok(data),
            _ => Err(libc::EIO),
        }
    }

    pub(super) fn data(&self, ino: Ino) -> Result<&Data, Errno> {
        match &self.inodes[ino].node {
            Node::File(data) => Ok(data),
            _ => Err(libc::EIO),
        }
    }

    pub(super) fn well(&self) -> Result<(), Errno> {
        if self.health == Health::Broken { Err(libc::EIO) } else { Ok(()) }
    }

    pub(super) fn regular(&self, ino: Ino) -> Result<(), Errno> {
        match self.inodes[ino].node {
            Node::File(_) => Ok(()),
            Node::Dir(_) => Err(libc::EISDIR),
            Node::Symlink => Err(libc::ELOOP),
            Node::Fifo | Node::Gone => Err(libc::ENXIO),
        }
    }

    pub(super) fn readable(&self, ino: Ino, uid: u32) -> Result<(), Errno> {
        if self.may(ino, uid, 4) { Ok(()) } else { Err(libc::EACCES) }
    }

    pub(super) fn changed(&mut self, ino: Ino, now: i64) {
        self.inodes[ino].mtime_ns = now;
        self.inodes[ino].ctime_ns = now;
    }

    pub(super) fn stat_of(&self, ino: Ino) -> Stat {
        let inode = &self.inodes[ino];
        let size = match &inode.node {
            Node::File(data) => data.bytes.len() as u64,
            _ => 0,
        };
        Stat {
            inode: inode.number,
            kind: self.kind(ino),
            size,
            mtime_ns: inode.mtime_ns,
            ctime_ns: inode.ctime_ns,
            links: inode.links,
            uid: inode.uid,
            mode: inode.mode,
        }
    }
}
