//! What an interrupted primitive leaves behind: hidden files, recognised by their names.
//!
//! Invariants: a hidden file is `.<name>.<16 hex>` while it is being written and `.<name>.<16 hex>-<its own
//! inode>` once it is whole; so a file whose inode is not the one in its name came out of an exchange: it
//! is what a person wrote, and it is given back, never deleted. Only the holder of the root lock looks.

use super::store::errno;
use super::{Fault, Kind, World};
use std::path::{Path, PathBuf};

/// A hidden name of ours: the name it stands beside, and the inode in it.
fn parse(name: &str) -> Option<(&str, Option<u64>)> {
    let (visible, tail) = name.strip_prefix('.')?.rsplit_once('.')?;
    let (hex, inode) = match tail.split_once('-') {
        None => (tail, None),
        Some((hex, inode)) => (hex, Some(inode.parse().ok()?)),
    };
    let ours = hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    (ours && !visible.is_empty()).then_some((visible, inode))
}

/// A hidden name of ours: something is just being written or exchanged.
pub fn is_ours(name: &str) -> bool {
    parse(name).is_some()
}

/// Tidies one directory. `places`: where the file that a name stands for may lie now.
pub fn tidy<W: World>(
    world: &mut W,
    dir: &Path,
    places: &dyn Fn(&str) -> Vec<PathBuf>,
) -> Result<(), Fault> {
    let entries = match world.list(dir) {
        Ok(entries) => entries,
        Err(fault) if fault.errno == errno::ENOENT => return Ok(()),
        Err(fault) => return Err(fault),
    };
    for entry in entries.iter().filter(|e| e.kind == Kind::File) {
        let Some((visible, inode)) = entry.name.to_str().and_then(parse) else { continue };
        let path = dir.join(&entry.name);
        let now = world.stat(&path)?.map(|s| s.inode);
        match inode {
            Some(ours) if now.is_some_and(|now| now != ours) => {
                give_back(world, &path, ours, &places(visible))?;
            }
            _ => world.unlink(&path)?,
        }
    }
    Ok(())
}

/// `temp` holds what a person wrote; our version has the inode `ours`, if it is still anywhere.
fn give_back<W: World>(
    world: &mut W,
    temp: &Path,
    ours: u64,
    places: &[PathBuf],
) -> Result<(), Fault> {
    let mut newer = false;
    for place in places {
        match world.stat(place)?.map(|s| s.inode) {
            Some(inode) if inode == ours => {
                world.exchange(temp, place)?;
                return world.unlink(temp);
            }
            Some(_) => newer = true,
            None => {}
        }
    }
    match places.first() {
        // A later version stands in its place.
        _ if newer => world.unlink(temp),
        Some(place) => world.rename(temp, place),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_form_are_ours() {
        for (name, expected) in [
            (".WO-1.yaml.0123456789abcdef", Some(("WO-1.yaml", None))),
            (".WO-1.yaml.0123456789abcdef-42", Some(("WO-1.yaml", Some(42)))),
            (".WO-1.lock.0123456789abcdef", Some(("WO-1.lock", None))),
            (".WO-1.yaml.tmp", None),
            (".WO-1.yaml.0123456789abcdef-x", None),
            ("WO-1.yaml.0123456789abcdef", None),
            (".0123456789abcdef", None),
            (".gitkeep", None),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }
}
