//! What the file system of a root must be able to do: hard links, renames that never replace, exchanges.
//!
//! Invariants: nothing but files of its own is touched, and they are gone afterwards, or known as left over
//! by their names; a disk that fails is no file system that cannot.
//!
//! It does not repair or fall back: claims and stamps have no second way.

use super::store::errno;
use super::{Fault, World};
use std::path::Path;

/// How file systems say that they cannot: EPERM, EINVAL, ENOSYS, EOPNOTSUPP.
const CANNOT: [i32; 4] = [errno::EPERM, errno::EINVAL, errno::ENOSYS, errno::EOPNOTSUPP];

/// Tries in `dir`, which exists; the first thing that its file system cannot do.
pub fn lacking<W: World>(world: &mut W, dir: &Path) -> Result<Option<&'static str>, Fault> {
    let random = world.random();
    let [one, two, three, four] =
        [1, 2, 3, 4].map(|n| dir.join(format!(".ability-{n}.{random:016x}")));
    world.create(&one, 0o600)?;
    let second = world.create(&two, 0o600).map(drop);
    let tried = [
        ("files", second),
        ("hard links (link)", world.link(&one, &three)),
        ("exchanges (RENAME_EXCHANGE)", world.exchange(&one, &two)),
        ("renames that replace nothing (RENAME_NOREPLACE)", world.rename(&two, &four)),
    ];
    for path in [&one, &two, &three, &four] {
        match world.unlink(path) {
            Err(fault) if fault.errno != errno::ENOENT => return Err(fault),
            _ => {}
        }
    }
    for (what, done) in tried {
        match done {
            Ok(()) => {}
            Err(fault) if CANNOT.contains(&fault.errno) => return Ok(Some(what)),
            Err(fault) => return Err(fault),
        }
    }
    Ok(None)
}
