//! What survives: syncs, write-back and power cuts.
//!
//! The model. A synced file keeps its content, a synced directory its names. Of the rest:
//! - content: the durable bytes, all bytes, or something between (a longer prefix; with
//!   [`Disk::leaves_zeros`] zeros at the end; of a file overwritten in place also an empty one);
//! - names: within one directory a prefix of its changes in their order. A rename is never lost on
//!   both sides: what it took from one directory is durable only with what it gave to the other; the
//!   reverse may show both names, as btrfs does (not for directories), as long as both are that one file:
//!   what came before in the one directory, and what comes after of this name in the other, needs the
//!   whole rename. An exchange is whole or not at all.
//!   Where a file system logs single directories ([`Disk::logs_names`]), a sync of the other directory alone
//!   keeps what came after there, and the one directory may still show the file as it was.
//! - a synced file whose name was never synced may be gone; or its name came along with the sync, as a
//!   journal does it, with every earlier change in that directory.
//!
//! One cut draws one [`Style`]. What no name reaches any more is gone. It does not model: torn
//! sectors, lost permissions or times, lost bytes that were synced, renumbered inodes.

use super::content::{Durable, SimFile};
use super::disk::{Disk, Errno, Half, Ino, Node, ROOT};
use crate::rng::Rng;
use std::path::Path;

/// How a file system treats what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Loses all of it, also the unsynced names of synced files.
    Nothing,
    /// Keeps all of it.
    Everything,
    /// One journal: a prefix of all changes of names, at least up to the last sync.
    Ordered,
    /// Each directory for itself.
    Torn,
}

impl Disk {
    /// `fdatasync`.
    pub(crate) fn sync(&mut self, file: &SimFile) -> Result<(), Errno> {
        self.sync_ino(file.ino)
    }

    fn sync_ino(&mut self, ino: Ino) -> Result<(), Errno> {
        self.changeable(false)?;
        let seq = self.seq;
        let data = self.data_mut(ino)?;
        if data.rotten {
            return Ok(());
        }
        data.durable = Durable::Prefix(data.bytes.len());
        self.inodes[ino].synced_seq = seq;
        Ok(())
    }

    /// Opens and syncs a file.
    pub(crate) fn sync_path(&mut self, path: &Path) -> Result<(), Errno> {
        let ino = self.walk(path)?;
        self.sync_ino(ino)
    }

    /// What a failed sync leaves: with [`Disk::forgets_failed_sync`] later ones succeed without effect.
    pub(crate) fn sync_failed(&mut self, file: &SimFile) {
        let forgets = self.forgets_failed_sync;
        if let Ok(data) = self.data_mut(file.ino) {
            data.rotten |= forgets;
        }
    }

    /// `fsync` of a directory.
    pub(crate) fn sync_dir(&mut self, path: &Path) -> Result<(), Errno> {
        let at = self.walk(path)?;
        self.dir(at)?;
        self.changeable(false)?;
        self.flush_from(at, self.seq, self.logs_names);
        self.inodes[at].synced_seq = self.seq;
        Ok(())
    }

    /// Makes everything durable, as time does.
    pub(crate) fn write_back(&mut self) {
        for ino in 0..self.inodes.len() {
            self.flush(ino, u64::MAX);
            if let Node::File(data) = &mut self.inodes[ino].node
                && !data.rotten
            {
                data.durable = Durable::Prefix(data.bytes.len());
            }
        }
    }

    /// The power fails. Open files of before must not be used again.
    pub(crate) fn power_cut(&mut self, rng: &mut Rng) -> Style {
        let styles = [Style::Nothing, Style::Everything, Style::Ordered, Style::Torn, Style::Torn];
        let style = *rng.pick(&styles).unwrap_or(&Style::Torn);
        self.power_cut_as(style, rng);
        style
    }

    /// The power fails: everything was durable but what these files and directories were to sync.
    pub(crate) fn power_cut_losing(&mut self, lost: &[Ino], rng: &mut Rng) {
        for ino in 0..self.inodes.len() {
            if !lost.contains(&ino) {
                self.flush(ino, u64::MAX);
            } else if let Node::File(data) = &mut self.inodes[ino].node {
                data.rotten = true;
            }
        }
        self.restart(Style::Everything, rng);
    }

    /// The inode of a path, for [`Disk::power_cut_losing`].
    pub(crate) fn ino_of(&self, path: &Path) -> Option<Ino> {
        self.find(path).ok().flatten()
    }

    /// The power fails on a file system of this style.
    pub(crate) fn power_cut_as(&mut self, style: Style, rng: &mut Rng) {
        match style {
            Style::Nothing => {}
            Style::Everything => self.flush_all(u64::MAX),
            Style::Ordered => {
                let least = self.inodes.iter().map(|i| i.synced_seq).max().unwrap_or(0);
                let upto = rng.between(least, self.seq);
                self.flush_all(upto);
            }
            Style::Torn => self.flush_torn(rng),
        }
        self.restart(style, rng);
    }

    /// Makes the changes of one directory up to `upto` durable, and what cannot be durable without.
    fn flush(&mut self, at: Ino, upto: u64) {
        self.flush_from(at, upto, false);
    }

    /// The same; `logged`: what became of a name after its file came does not wait for where it came from.
    fn flush_from(&mut self, at: Ino, upto: u64, logged: bool) {
        let mut work = vec![(at, upto, logged)];
        while let Some((at, upto, logged)) = work.pop() {
            while let Some(half) = self.take_half(at, upto) {
                let came = half.came.filter(|_| !logged);
                work.extend(half.needs.iter().chain(&came).map(|(at, upto)| (*at, *upto, false)));
                self.make_durable(at, half);
            }
        }
    }

    fn take_half(&mut self, at: Ino, upto: u64) -> Option<Half> {
        match &mut self.inodes[at].node {
            Node::Dir(dir) if dir.pending.front()?.seq <= upto => dir.pending.pop_front(),
            _ => None,
        }
    }

    fn make_durable(&mut self, at: Ino, half: Half) {
        let Node::Dir(dir) = &mut self.inodes[at].node else { return };
        let old = match half.to {
            Some(ino) => dir.durable.insert(half.name, ino),
            None => dir.durable.remove(&half.name),
        };
        if let Some(old) = old {
            self.inodes[old].held -= 1;
            self.forget_if_unseen(old);
        }
    }

    fn flush_all(&mut self, upto: u64) {
        for ino in 0..self.inodes.len() {
            self.flush(ino, upto);
        }
    }

    fn flush_torn(&mut self, rng: &mut Rng) {
        for ino in 0..self.inodes.len() {
            let Node::Dir(dir) = &self.inodes[ino].node else { continue };
            let kept = rng.index(dir.pending.len() + 1);
            let mut upto = kept.checked_sub(1).map_or(0, |last| dir.pending[last].seq);
            for half in &dir.pending {
                let synced = half.to.map_or(0, |to| self.inodes[to].synced_seq);
                if half.seq <= synced && rng.chance(50) {
                    upto = upto.max(half.seq);
                }
            }
            self.flush(ino, upto);
        }
    }

    /// Forgets what is not durable.
    fn restart(&mut self, style: Style, rng: &mut Rng) {
        for inode in &mut self.inodes {
            (inode.links, inode.held, inode.synced_seq) = (0, 0, 0);
            if let Node::Dir(dir) = &mut inode.node {
                dir.pending.clear();
                dir.arrivals.clear();
            }
        }
        self.seq += 1;
        self.inodes[ROOT].links = 1;
        let mut work = vec![ROOT];
        while let Some(at) = work.pop() {
            let Node::Dir(dir) = &mut self.inodes[at].node else { continue };
            dir.names.clone_from(&dir.durable);
            for ino in dir.names.values().copied().collect::<Vec<_>>() {
                self.inodes[ino].links += 1;
                self.inodes[ino].held += 1;
                if self.inodes[ino].links == 1 {
                    work.push(ino);
                }
            }
        }
        let zeros = self.leaves_zeros;
        for inode in &mut self.inodes {
            match &mut inode.node {
                node if inode.links == 0 => *node = Node::Gone,
                Node::File(data) => {
                    let kept = survivor(&data.bytes, &data.durable, data.rotten, style, zeros, rng);
                    if let Some(kept) = kept {
                        data.bytes = kept;
                    }
                    (data.durable, data.rotten) = (Durable::Prefix(data.bytes.len()), false);
                }
                _ => {}
            }
        }
    }
}

/// The content after the cut, when it is not the content before.
fn survivor(
    now: &[u8],
    durable: &Durable,
    rotten: bool,
    style: Style,
    zeros: bool,
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    let (safe, floor) = match durable {
        Durable::Prefix(len) if *len == now.len() => return None,
        Durable::Prefix(len) => (&now[..*len], *len),
        Durable::Other(old) => (old.as_slice(), 0),
    };
    let draw = match style {
        Style::Nothing => 0,
        _ if rotten => 0,
        Style::Everything => 1,
        _ => rng.below(4),
    };
    match draw {
        0 => Some(safe.to_vec()),
        1 => None,
        _ => {
            let len = rng.between(floor as u64, now.len() as u64) as usize;
            let mut kept = now[..len].to_vec();
            if zeros && rng.chance(50) {
                kept.resize(now.len(), 0);
            }
            Some(kept)
        }
    }
}
