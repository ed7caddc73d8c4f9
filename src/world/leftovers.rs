//! What an interrupted primitive leaves behind: hidden files, recognised by their names.
//!
//! Invariants: a hidden file is `.<name>.<16 hex>` while it is being written, and once it is whole its name
//! goes on with its own inode, the digest of what is to come out, its own digest and that of the boot, with
//! dashes between. So a file whose inode is not the one in its name came out of an exchange, and its content
//! tells whether the stamp carried all of it over. What a person wrote is given back, or kept beside as
//! `<name>.<16 hex>.kept` when another version of theirs stands there, when they have taken the file away
//! since, or when a power cut may have torn it and the stamped one is whole; it is never deleted. Only the
//! holder of the root lock looks.

use super::store::{TICKET_BYTES_MAX, boot_digest, digest, errno, kept_beside, read_whole};
use super::{Fault, Kind, World};
use std::path::{Path, PathBuf};

/// A hidden name of ours.
#[derive(PartialEq, Eq, Debug)]
struct Hidden<'a> {
    /// The name it stands beside.
    visible: &'a str,
    /// Of a whole one.
    stamp: Option<Stamp<'a>>,
}

/// What the name of a stamp tells.
#[derive(PartialEq, Eq, Debug)]
struct Stamp<'a> {
    /// Inode of our version; 0 when nothing of ours is put anywhere.
    inode: u64,
    /// Digest of what was read, and is to come out.
    read: &'a str,
    /// Digest of our version.
    ours: &'a str,
    /// Digest of the boot it was written in.
    boot: &'a str,
}

fn parse(name: &str) -> Option<Hidden<'_>> {
    let (visible, tail) = name.strip_prefix('.')?.rsplit_once('.')?;
    let parts: Vec<&str> = tail.split('-').collect();
    let (hex, stamp) = match parts[..] {
        [hex] => (hex, None),
        [hex, inode] => {
            (hex, Some(Stamp { inode: inode.parse().ok()?, read: "", ours: "", boot: "" }))
        }
        [hex, inode, read, ours, boot] => {
            (hex, Some(Stamp { inode: inode.parse().ok()?, read, ours, boot }))
        }
        _ => return None,
    };
    let ours = hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    (ours && !visible.is_empty()).then_some(Hidden { visible, stamp })
}

/// A hidden name of ours: something is just being written or exchanged.
pub fn is_ours(name: &str) -> bool {
    parse(name).is_some()
}

/// Tidies one directory. `first`: directories whose names are made durable before its own are. `places`:
/// where the file that a name stands for may lie now. Returns what a person has to look at.
pub fn tidy<W: World>(
    world: &mut W,
    dir: &Path,
    first: &[PathBuf],
    places: &dyn Fn(&str) -> Vec<PathBuf>,
) -> Result<Vec<String>, Fault> {
    let entries = match world.list(dir) {
        Ok(entries) => entries,
        Err(fault) if fault.errno == errno::ENOENT => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let (mut kept, mut changed) = (Vec::new(), false);
    for entry in entries.iter().filter(|e| e.kind == Kind::File) {
        let Some(hidden) = entry.name.to_str().and_then(parse) else { continue };
        let path = dir.join(&entry.name);
        match tidy_one(world, &path, &hidden, &places(hidden.visible)) {
            Ok(note) => {
                changed = true;
                kept.extend(note);
            }
            Err(fault) if fault.is_obstacle() => {
                kept.push(format!("{} is left as it is: {fault}", path.display()));
            }
            Err(fault) => return Err(fault),
        }
    }
    if changed {
        // Before the next stamp makes another file of what has two names yet; what an earlier instance moved
        // here and stamped must not show where it was.
        for other in first.iter().filter(|other| *other != dir) {
            world.sync_dir(other)?;
        }
        world.sync_dir(dir)?;
    }
    Ok(kept)
}

/// Removes a file that was to be published, such as a request, when nobody writes it any more: whoever was
/// about to name it writes it again.
pub fn unpublished<W: World>(world: &mut W, path: &Path) -> Result<(), Fault> {
    let removed = match has_writer(world, path) {
        Ok(true) => return Ok(()),
        Ok(false) => world.unlink(path),
        Err(fault) => Err(fault),
    };
    match removed {
        // Somebody else's, or just gone.
        Err(fault) if fault.is_obstacle() || fault.errno == errno::ENOENT => Ok(()),
        done => done,
    }
}

/// One hidden file; what a person has to look at.
fn tidy_one<W: World>(
    world: &mut W,
    path: &Path,
    hidden: &Hidden<'_>,
    places: &[PathBuf],
) -> Result<Option<String>, Fault> {
    let Some(now) = world.stat(path)?.map(|s| s.inode) else { return Ok(None) };
    let fate = match &hidden.stamp {
        Some(stamp) if now != stamp.inode => {
            give_back(world, path, stamp, &path.with_file_name(hidden.visible), places)?
        }
        // Somebody saved over our version while it stood in place.
        Some(stamp) if !stamp.ours.is_empty() && !is_still(world, path, stamp.ours)? => Fate::Keep,
        _ => {
            world.unlink(path)?;
            Fate::Over
        }
    };
    if fate == Fate::Over {
        return Ok(None);
    }
    let kept = kept_beside(path);
    world.rename(path, &kept)?;
    Ok(Some(format!("a version of {} is kept as {}", hidden.visible, kept.display())))
}

/// What becomes of a file that came out of an exchange.
#[derive(PartialEq, Eq)]
enum Fate {
    /// It is back in its place, or all of it is there.
    Over,
    /// A person wrote it, and another version of theirs stands in its place, or none does.
    Keep,
}

/// `temp` came out of an exchange; our version is wherever it was moved to, if it is still anywhere.
fn give_back<W: World>(
    world: &mut W,
    temp: &Path,
    stamp: &Stamp<'_>,
    home: &Path,
    places: &[PathBuf],
) -> Result<Fate, Fault> {
    let carried_over = is_still(world, temp, stamp.read)?;
    let same_boot = stamp.boot == boot_digest(&world.identity().boot);
    let own = world.stat(temp)?.map(|s| s.inode);
    let (mut newer, mut doubled) = (false, false);
    for place in places {
        let Some(inode) = world.stat(place)?.map(|s| s.inode) else { continue };
        if inode == stamp.inode && !carried_over {
            if !same_boot || content(world, place)? != stamp.ours {
                return Ok(Fate::Keep);
            }
            world.exchange(temp, place)?;
            let out = world.stat(temp)?.map(|s| s.inode);
            if out != Some(stamp.inode) || !is_still(world, temp, stamp.ours)? {
                // They saved again in this moment: the later version belongs in place.
                world.exchange(temp, place)?;
                return Ok(Fate::Keep);
            }
            world.unlink(temp)?;
            return Ok(Fate::Over);
        }
        newer = true;
        doubled |= Some(inode) == own;
    }
    match newer {
        true if carried_over || doubled => world.unlink(temp)?,
        false if stamp.inode == 0 => world.rename(temp, home)?,
        // All of it was carried over, and the ticket was taken away since.
        false if carried_over && same_boot => world.unlink(temp)?,
        _ => return Ok(Fate::Keep),
    }
    Ok(Fate::Over)
}

/// It has this content, and stays so: whoever has it open is about to write more. Asked in this order, since
/// somebody may write and close it in between.
fn is_still<W: World>(world: &mut W, path: &Path, digest: &str) -> Result<bool, Fault> {
    Ok(!has_writer(world, path)? && content(world, path)? == digest)
}

fn content<W: World>(world: &mut W, path: &Path) -> Result<String, Fault> {
    let found = read_whole(world, path, TICKET_BYTES_MAX)?;
    Ok(found.map(|s| digest(&s.bytes)).unwrap_or_default())
}

fn has_writer<W: World>(world: &mut W, path: &Path) -> Result<bool, Fault> {
    match world.open(path)? {
        Some(file) => Ok(world.has_writer(&file)? == Some(true)),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_form_are_ours() {
        let whole = Stamp { inode: 42, read: "aa", ours: "bb", boot: "cc" };
        let aside = Stamp { inode: 0, read: "", ours: "", boot: "" };
        for (name, expected) in [
            (".WO-1.yaml.0123456789abcdef", Some(("WO-1.yaml", None))),
            (".WO-1.yaml.0123456789abcdef-42-aa-bb-cc", Some(("WO-1.yaml", Some(whole)))),
            (".WO-1.yaml.0123456789abcdef-0", Some(("WO-1.yaml", Some(aside)))),
            (".WO-1.lock.0123456789abcdef", Some(("WO-1.lock", None))),
            (".WO-1.yaml.tmp", None),
            (".WO-1.yaml.0123456789abcdef-x", None),
            ("WO-1.yaml.0123456789abcdef", None),
            (".0123456789abcdef", None),
            (".gitkeep", None),
        ] {
            let parsed = parse(name).map(|h| (h.visible, h.stamp));
            assert_eq!(parsed, expected, "{name}");
        }
    }
}
