//! The DoD catalogue as it is now.
//!
//! Invariants: read again only when a name, inode, size or time in its directory changed; a file that
//! cannot be taken hides no other; an entry of it is then unknown.

use super::plain;
use crate::model::defect::{Defect, INVALID_DOD};
use crate::model::dod::{DOD_BYTES_MAX, DodEntry, parse_dod};
use crate::model::paths;
use crate::world::store::errno;
use crate::world::{Entry, Fault, Stat, World};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// Entries by id, and what could not be taken.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// What `dod_id` names.
    pub entries: BTreeMap<String, DodEntry>,
    /// The file of each entry.
    pub files: BTreeMap<String, OsString>,
    /// Files, by name, that cannot be taken as they are.
    pub broken: Vec<(OsString, Defect)>,
    seen: Option<Vec<(OsString, Option<Stat>)>>,
}

impl Catalogue {
    /// Brings it up to date; whether anything was read.
    pub fn refresh<W: World>(&mut self, world: &mut W) -> Result<bool, Fault> {
        let dir = Path::new(paths::DOD);
        let mut entries = match world.list(dir) {
            Ok(entries) => entries,
            Err(fault) if fault.errno == errno::ENOENT => Vec::new(),
            Err(fault) if fault.is_obstacle() => {
                let text = format!("{fault}; make {} a directory that can be read", paths::DOD);
                let broken = vec![(OsString::from("."), Defect::whole(INVALID_DOD, text))];
                *self = Self { broken, ..Self::default() };
                return Ok(true);
            }
            Err(fault) => return Err(fault),
        };
        entries.retain(|e| e.name.as_encoded_bytes().ends_with(b".yaml"));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut seen = Vec::new();
        for Entry { name, .. } in &entries {
            seen.push((name.clone(), world.stat(&dir.join(name))?));
        }
        if self.seen.as_ref() == Some(&seen) {
            return Ok(false);
        }
        let mut fresh = Self::default();
        for (name, _) in &seen {
            fresh.read(world, name)?;
        }
        fresh.seen = Some(seen);
        *self = fresh;
        Ok(true)
    }

    fn read<W: World>(&mut self, world: &mut W, name: &OsString) -> Result<(), Fault> {
        let path = Path::new(paths::DOD).join(name);
        match plain::snapshot(world, &path, DOD_BYTES_MAX)? {
            Ok(None) => {}
            Err(text) => self.broken.push((name.clone(), Defect::whole(INVALID_DOD, text))),
            Ok(Some(read)) => match parse_dod(&read.bytes) {
                Ok(found) => {
                    self.files.extend(found.iter().map(|e| (e.id.clone(), name.clone())));
                    self.entries.extend(found.into_iter().map(|e| (e.id.clone(), e)));
                }
                Err(defects) => {
                    self.broken.extend(defects.into_iter().map(|d| (name.clone(), d)));
                }
            },
        }
        Ok(())
    }
}
