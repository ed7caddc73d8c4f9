//! The four primitives: *stamp* (content in place), *move* (rename, no clobber), *link* (leases only),
//! *publish* (a new file under its name). Content and state never change in one step.
//!
//! Invariants: no primitive replaces a file it did not read; after an error the disk is asked what
//! happened, because a reply can be lost; a person's edit that arrives meanwhile always survives.
//! Durability of directories is the caller's duty: it syncs them in groups.

use super::{Fault, Stat, World};
use crate::model::event::sha256_hex;
use std::path::{Path, PathBuf};

/// Largest ticket in bytes.
pub const TICKET_BYTES_MAX: usize = 1 << 20;

/// Most files are shorter than this and are read by one call.
const FIRST_READ_BYTES: usize = 8 << 10;

/// The rest of longer ones.
const LATER_READ_BYTES: usize = 1 << 20;

/// Numbered names that are tried for what is moved aside.
const ASIDE_MAX: u32 = 1000;

/// A file as it was read, still open: proof of what a stamp is based on.
pub struct Snapshot<F> {
    /// Where it was.
    pub path: PathBuf,
    /// The open file.
    pub file: F,
    /// Its attributes after reading.
    pub stat: Stat,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What became of a stamp or a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Carried out.
    Done,
    /// Somebody changed or moved the file first; nothing was changed. Look again.
    LookAgain,
}

/// Reads a whole file of at most `bytes_max` bytes; `None` when it is not there. A file that is longer
/// comes back with `bytes_max + 1` bytes, so that the caller can refuse it.
pub fn read_whole<W: World>(
    world: &mut W,
    path: &Path,
    bytes_max: usize,
) -> Result<Option<Snapshot<W::File>>, Fault> {
    let Some(file) = world.open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let mut part_max = FIRST_READ_BYTES;
    while bytes.len() <= bytes_max {
        let wanted = part_max.min(bytes_max + 1 - bytes.len());
        let part = world.read(&file, bytes.len() as u64, wanted)?;
        bytes.extend_from_slice(&part);
        if part.len() < wanted {
            break;
        }
        part_max = LATER_READ_BYTES;
    }
    let stat = world.stat_file(&file)?;
    Ok(Some(Snapshot { path: path.to_owned(), file, stat, bytes }))
}

/// The same for a file that others may have replaced by anything: what is no readable file is not there.
pub fn read_plain<W: World>(
    world: &mut W,
    path: &Path,
    bytes_max: usize,
) -> Result<Option<Snapshot<W::File>>, Fault> {
    match read_whole(world, path, bytes_max) {
        Err(fault) if fault.is_obstacle() => Ok(None),
        read => read,
    }
}

/// SHA-256 of a command's log, hexadecimal, at most of its first 128 MiB; `None` without a regular file.
pub fn log_digest<W: World>(world: &mut W, path: &Path) -> Result<Option<String>, Fault> {
    const BYTES_MAX: usize = 128 << 20;
    let read = read_plain(world, path, BYTES_MAX)?;
    Ok(read.map(|read| sha256_hex(&read.bytes[..read.bytes.len().min(BYTES_MAX)])))
}

/// Writes all of `bytes`, however short the single writes are.
pub fn write_all<W: World>(world: &mut W, file: &W::File, mut bytes: &[u8]) -> Result<(), Fault> {
    while !bytes.is_empty() {
        match world.write(file, bytes) {
            Ok(0) => {
                return Err(Fault { act: "write", path: PathBuf::new(), errno: errno::EIO });
            }
            Ok(n) => bytes = &bytes[n..],
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Writes a new, synced file under a hidden unique name beside the file of `read`; the name ends in its own
/// inode and in the digests of what is to come out and to go in, so that what is found after a crash tells
/// whether it was exchanged, and whose version is which ([`super::leftovers`]). Returns the name and the
/// inode.
pub fn write_stamp<W: World>(
    world: &mut W,
    read: &Snapshot<W::File>,
    bytes: &[u8],
) -> Result<(PathBuf, u64), Fault> {
    let path = read.path.as_path();
    let written = write_beside(world, path, bytes, read.stat.mode)?;
    let inode = world.stat(&written)?.map_or(0, |s| s.inode);
    let mut name = written.file_name().unwrap_or_default().to_owned();
    let boot = boot_digest(&world.identity().boot);
    name.push(format!("-{inode}-{}-{}-{boot}", digest(&read.bytes), digest(bytes)));
    let named = path.with_file_name(name);
    match world.rename(&written, &named) {
        Ok(()) => Ok((named, inode)),
        Err(fault) => {
            if world.stat(&written)?.is_none() && world.stat(&named)?.is_some() {
                return Ok((named, inode));
            }
            let _ = world.unlink(&written);
            Err(fault)
        }
    }
}

/// Our version of this digest stands under this hidden name.
fn names_digest(temp: &Path, digest: &str) -> bool {
    let name = temp.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit('-').nth(1) == Some(digest)
}

/// The name under which a version that a person wrote is kept: that of its hidden file, in the open.
pub fn kept_beside(temp: &Path) -> PathBuf {
    let name = temp.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_start_matches('.');
    let (visible, tail) = name.rsplit_once('.').unwrap_or((name, ""));
    let hex = tail.split('-').next().unwrap_or_default();
    temp.with_file_name(format!("{visible}.{hex}.kept"))
}

/// Tells versions of one file apart, in a hidden name.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut digest = sha256_hex(bytes);
    digest.truncate(16);
    digest
}

/// Tells boots apart, in a hidden name.
pub(super) fn boot_digest(boot: &str) -> String {
    let mut digest = digest(boot.as_bytes());
    digest.truncate(8);
    digest
}

/// How often a file is written before somebody else is to blame that it never gets its name.
const PUBLISH_TRIES_MAX: u32 = 3;

/// Writes a new, synced file under a hidden unique name beside `path` and returns that name.
pub fn write_beside<W: World>(
    world: &mut W,
    path: &Path,
    bytes: &[u8],
    mode: u32,
) -> Result<PathBuf, Fault> {
    let stem = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let hidden = format!(".{stem}.{:016x}", world.random());
    let temp = path.with_file_name(hidden);
    let file = world.create(&temp, mode)?;
    let written = write_all(world, &file, bytes).and_then(|()| world.sync(&file));
    if let Err(fault) = written {
        let _ = world.unlink(&temp);
        return Err(fault);
    }
    Ok(temp)
}

/// Publishes `bytes` as `path`, which must not exist (`EEXIST`). The file is synced, its directory not. It is
/// written again when a start of the daemon takes it for a leftover before it has its name.
pub fn publish<W: World>(world: &mut W, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Fault> {
    let mut tries = 1;
    loop {
        let temp = write_beside(world, path, bytes, mode)?;
        let inode = world.stat(&temp)?.map(|s| s.inode);
        let Err(fault) = world.rename(&temp, path) else { return Ok(()) };
        let gone = world.stat(&temp)?.is_none();
        if gone && world.stat(path)?.map(|s| s.inode) == inode {
            return Ok(());
        }
        if gone && fault.errno == errno::ENOENT && tries < PUBLISH_TRIES_MAX {
            tries += 1;
            continue;
        }
        let _ = world.unlink(&temp);
        return Err(fault);
    }
}

/// Creates or replaces a derived file that only jobyard writes (a `.why`, a verdict): unsynced,
/// never truncated in place.
pub fn put_derived<W: World>(world: &mut W, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    if let Some(old) = read_whole(world, path, bytes.len())? {
        if old.bytes == bytes {
            return Ok(());
        }
        world.unlink(path)?;
    }
    let file = world.create(path, 0o644)?;
    write_all(world, &file, bytes)
}

/// The same where something else than a file may stand in the way, such as what a job planted in its run
/// directory: that is moved aside, and its new name returned.
pub fn put_clearing<W: World>(
    world: &mut W,
    path: &Path,
    bytes: &[u8],
) -> Result<Option<PathBuf>, Fault> {
    match put_derived(world, path, bytes) {
        Err(fault) if fault.is_obstacle() => {
            let aside = move_aside(world, path)?;
            put_derived(world, path, bytes).map(|()| Some(aside))
        }
        put => put.map(|()| None),
    }
}

/// Renames what stands at `path`, whatever it is, to `<name>.aside-<n>` beside it. Nothing is deleted.
pub fn move_aside<W: World>(world: &mut W, path: &Path) -> Result<PathBuf, Fault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // In the directory of all orders a plain name would be that of another order.
    let dot = if path.parent() == Some(Path::new(crate::model::paths::RUNS)) { "." } else { "" };
    rename_free(world, path, |n| path.with_file_name(format!("{dot}{name}.aside-{n}")))
}

/// Renames `from` to the first of the numbered names that is free.
pub fn rename_free<W: World>(
    world: &mut W,
    from: &Path,
    name: impl Fn(u32) -> PathBuf,
) -> Result<PathBuf, Fault> {
    for n in 1..ASIDE_MAX {
        let to = name(n);
        match world.rename(from, &to) {
            Ok(()) => return Ok(to),
            Err(fault) if fault.errno == errno::EEXIST => {}
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault { act: "move aside", path: from.to_owned(), errno: errno::EEXIST })
}

/// Moves `from` to `to` by one rename that never replaces a file.
/// `inode`: the file that is meant; another one in its place is left alone.
pub fn relocate<W: World>(
    world: &mut W,
    from: &Path,
    to: &Path,
    inode: u64,
) -> Result<Outcome, Fault> {
    match world.rename(from, to) {
        Ok(()) => settle_identity(world, from, to, inode),
        Err(fault) => {
            let Some(here) = world.stat(from)? else {
                if world.stat(to)?.map(|s| s.inode) == Some(inode) {
                    return Ok(Outcome::Done);
                }
                // Otherwise nobody knows whether another file was moved: the disk tells when it is read anew.
                let sure = matches!(fault.errno, errno::ENOENT | errno::EEXIST);
                return if sure { Ok(Outcome::LookAgain) } else { Err(fault) };
            };
            // With the file still in its place it is the directory of `to` that is missing.
            let moved = fault.errno == errno::ENOENT && here.inode != inode;
            if fault.errno == errno::EEXIST || moved {
                return Ok(Outcome::LookAgain);
            }
            Err(fault)
        }
    }
}

/// After a rename: was it the file that was meant? An editor may have replaced it a moment before; then
/// its new content simply travels along, and the caller looks again.
fn settle_identity<W: World>(
    world: &mut W,
    from: &Path,
    to: &Path,
    inode: u64,
) -> Result<Outcome, Fault> {
    match world.stat(to)? {
        Some(stat) if stat.inode == inode => Ok(Outcome::Done),
        Some(_) => match world.rename(to, from) {
            Err(fault) if !matches!(fault.errno, errno::EEXIST | errno::ENOENT) => Err(fault),
            _ => Ok(Outcome::LookAgain),
        },
        None => Ok(Outcome::LookAgain),
    }
}

/// The second half of a stamp: puts the synced file `temp` in the place of the file that `snapshot`
/// was read from, if that file is still the same, byte for byte, and nobody is writing it.
///
/// What comes out is unlinked, or kept under `keep` when given and free. `elsewhere` lists the paths
/// the ticket could have been moved to by a person in the same moment. The path: `keep`, if it is kept there;
/// with `LookAgain`, where a version that a person saved is kept, because they saved another one over ours in
/// this moment.
pub fn exchange_in<W: World>(
    world: &mut W,
    snapshot: &Snapshot<W::File>,
    temp: &Path,
    keep: Option<&Path>,
    elsewhere: &[PathBuf],
) -> Result<(Outcome, Option<PathBuf>), Fault> {
    let path = snapshot.path.as_path();
    let ours = world.stat(temp)?.map_or(0, |s| s.inode);
    if let Err(fault) = world.exchange(temp, path) {
        // A reply can be lost: only the inodes say whether the two were exchanged.
        if world.stat(path)?.map(|s| s.inode) != Some(ours) {
            let _ = world.unlink(temp);
            if fault.errno == errno::ENOENT {
                return Ok((Outcome::LookAgain, None));
            }
            return Err(fault);
        }
    }
    if same_as_read(world, snapshot, temp)? {
        let kept = keep.filter(|to| world.rename(temp, to).is_ok());
        if kept.is_none() {
            discard(world, temp)?;
        }
        return Ok((Outcome::Done, kept.map(Path::to_owned)));
    }
    let kept = give_back(world, path, temp, ours, elsewhere)?;
    Ok((Outcome::LookAgain, kept))
}

/// Puts `bytes` in the place of the file that was read, durably, if it is still the same and nobody writes
/// it; `elsewhere` and the path as above. For whoever does not hold the root lock: a loop that opens
/// meanwhile may tidy the hidden file away.
pub fn replace<W: World>(
    world: &mut W,
    read: &Snapshot<W::File>,
    bytes: &[u8],
    elsewhere: &[PathBuf],
) -> Result<(Outcome, Option<PathBuf>), Fault> {
    if world.has_writer(&read.file)? == Some(true) {
        return Ok((Outcome::LookAgain, None));
    }
    let (temp, _) = write_stamp(world, read, bytes)?;
    let done = match exchange_in(world, read, &temp, None, elsewhere) {
        Err(fault) => match read_whole(world, &read.path, bytes.len())? {
            Some(now) if now.bytes == bytes => (Outcome::Done, None),
            _ => return Err(fault),
        },
        exchanged => exchanged?,
    };
    world.sync_dir(read.path.parent().unwrap_or(Path::new("")))?;
    Ok(done)
}

fn discard<W: World>(world: &mut W, temp: &Path) -> Result<(), Fault> {
    match world.unlink(temp) {
        Ok(()) => Ok(()),
        Err(fault) if fault.errno == errno::ENOENT => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn same_as_read<W: World>(
    world: &mut W,
    snapshot: &Snapshot<W::File>,
    out: &Path,
) -> Result<bool, Fault> {
    let Some(stat) = world.stat(out)? else { return Ok(false) };
    if stat.inode != snapshot.stat.inode || stat.size != snapshot.bytes.len() as u64 {
        return Ok(false);
    }
    if world.has_writer(&snapshot.file)? == Some(true) {
        return Ok(false);
    }
    let now = world.read(&snapshot.file, 0, snapshot.bytes.len() + 1)?;
    Ok(now == snapshot.bytes)
}

/// The person's version goes back to where our version is now, wherever a person moved it meanwhile. The
/// path: where it is kept instead, because they saved once more.
fn give_back<W: World>(
    world: &mut W,
    path: &Path,
    temp: &Path,
    ours: u64,
    elsewhere: &[PathBuf],
) -> Result<Option<PathBuf>, Fault> {
    const ROUNDS_MAX: usize = 8;
    let theirs = world.stat(temp)?.map(|s| s.inode);
    for _ in 0..ROUNDS_MAX {
        for place in std::iter::once(path).chain(elsewhere.iter().map(PathBuf::as_path)) {
            if world.stat(place)?.map(|s| s.inode) != Some(ours) {
                continue;
            }
            let exchanged = world.exchange(temp, place);
            let out = world.stat(temp)?.map(|s| s.inode);
            if out == theirs {
                match exchanged {
                    Err(fault) if fault.errno != errno::ENOENT => return Err(fault),
                    _ => continue,
                }
            }
            let untouched = match read_whole(world, temp, TICKET_BYTES_MAX)? {
                Some(found) if out == Some(ours) => {
                    // Read again: somebody may have written, and closed it, between the two.
                    names_digest(temp, &digest(&found.bytes))
                        && world.has_writer(&found.file)? != Some(true)
                        && world.read(&found.file, 0, found.bytes.len() + 1)? == found.bytes
                }
                _ => false,
            };
            if untouched {
                world.unlink(temp)?;
                return Ok(None);
            }
            // Somebody saved over our version meanwhile: theirs stays, the earlier one is kept beside.
            match world.exchange(temp, place) {
                Err(fault) if fault.errno != errno::ENOENT => return Err(fault),
                _ => {}
            }
            let kept = kept_beside(temp);
            world.rename(temp, &kept)?;
            return Ok(Some(kept));
        }
    }
    Err(Fault { act: "give an edited ticket back", path: temp.to_owned(), errno: errno::EBUSY })
}

/// The error numbers that decide something here.
pub mod errno {
    /// No such file.
    pub const ENOENT: i32 = 2;
    /// Permission denied.
    pub const EACCES: i32 = 13;
    /// Interrupted.
    pub const EINTR: i32 = 4;
    /// Input/output error.
    pub const EIO: i32 = 5;
    /// Busy.
    pub const EBUSY: i32 = 16;
    /// The name exists.
    pub const EEXIST: i32 = 17;
    /// Not a directory.
    pub const ENOTDIR: i32 = 20;
    /// Is a directory.
    pub const EISDIR: i32 = 21;
    /// Too many links.
    pub const EMLINK: i32 = 31;
    /// Operation not permitted.
    pub const EPERM: i32 = 1;
    /// No such device or address: a FIFO without a reader, or no regular file.
    pub const ENXIO: i32 = 6;
    /// Another file system: something is mounted on the name.
    pub const EXDEV: i32 = 18;
    /// The name is too long.
    pub const ENAMETOOLONG: i32 = 36;
    /// The directory is not empty.
    pub const ENOTEMPTY: i32 = 39;
    /// Invalid argument: a flag that the file system does not know.
    pub const EINVAL: i32 = 22;
    /// File too large.
    pub const EFBIG: i32 = 27;
    /// No such system call.
    pub const ENOSYS: i32 = 38;
    /// Not supported.
    pub const EOPNOTSUPP: i32 = 95;
    /// Stale: the ledger's segment was removed or replaced while it was open.
    pub const ESTALE: i32 = 116;
    /// A symbolic link where none is followed.
    pub const ELOOP: i32 = 40;
    /// What is wrong with one name, not with the disk.
    pub const OBSTACLES: [i32; 11] = [
        EPERM,
        ENXIO,
        EACCES,
        EEXIST,
        EXDEV,
        ENOTDIR,
        EISDIR,
        EMLINK,
        ENAMETOOLONG,
        ENOTEMPTY,
        ELOOP,
    ];
}
