//! Finding the root, and reading what is configured there.
//!
//! Invariants: inside a linked worktree the root is always the main checkout's; a root is never made
//! by looking for it.

use super::{Failure, code};
use crate::engine::{Options, Planted};
use crate::model::config::{Config, parse_config};
use crate::model::dod::{DodEntry, parse_dod};
use crate::model::paths;
use crate::plan::Policy;
use crate::world::git::Git;
use crate::world::identity;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `JOBYARD_ROOT`; empty is as good as unset.
pub fn named() -> Option<PathBuf> {
    std::env::var_os("JOBYARD_ROOT").filter(|name| !name.is_empty()).map(Into::into)
}

/// The root: `--root`, else `JOBYARD_ROOT`, else the nearest ancestor with `_ctx/`.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = given.map(Path::to_owned).or_else(named) {
        return existing(&named);
    }
    let here = std::env::current_dir()
        .map_err(|e| Failure::new(code::NOT_FOUND, format!("find the current directory: {e}")))?;
    let start = Git::main_checkout(&here).unwrap_or_else(|| here.clone());
    let found = start.ancestors().find(|dir| dir.join("_ctx").is_dir());
    match found {
        Some(root) => existing(root),
        None => Err(Failure::new(
            code::NOT_FOUND,
            format!(
                "no _ctx/ in {} or any directory above; run `jobyard init` in your repository, or \
                 name it with --root or JOBYARD_ROOT",
                start.display()
            ),
        )),
    }
}

/// A directory as an absolute path; the main checkout's when it lies in a linked worktree.
pub fn existing(dir: &Path) -> Result<PathBuf, Failure> {
    let absolute = dir.canonicalize().map_err(|e| {
        Failure::new(code::NOT_FOUND, format!("open root {}: {e}; does it exist?", dir.display()))
    })?;
    Ok(Git::main_checkout(&absolute).unwrap_or(absolute))
}

/// The configuration of a root.
pub fn config(root: &Path) -> Result<Config, Failure> {
    let path = root.join(paths::CONFIG);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(e) => {
            return Err(Failure::new(code::FAILED, format!("read {}: {e}", path.display())));
        }
    };
    parse_config(&text).map_err(|defects| {
        let texts: Vec<String> =
            defects.iter().map(|d| format!("{}:{d}", path.display())).collect();
        Failure::new(code::USAGE, texts.join("\n"))
    })
}

/// The DoD catalogue of a root; files that cannot be read are told to `talk`.
pub fn catalogue(root: &Path, talk: &mut dyn FnMut(&str)) -> BTreeMap<String, DodEntry> {
    let mut entries = BTreeMap::new();
    let dir = root.join(paths::DOD);
    let files = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut files: Vec<PathBuf> =
        files.filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    for file in files {
        let parsed = std::fs::read(&file).map_err(|e| e.to_string()).and_then(|bytes| {
            parse_dod(&bytes)
                .map_err(|d| d.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        match parsed {
            Ok(found) => entries.extend(found.into_iter().map(|e| (e.id.clone(), e))),
            Err(text) => talk(&format!("{}: {text}", file.display())),
        }
    }
    entries
}

/// What an engine is opened with. `runs`: whether it may start commands of `run`.
pub fn options(
    root: &Path,
    slots: Option<u32>,
    runs: bool,
    talk: &mut dyn FnMut(&str),
) -> Result<Options, Failure> {
    let config = config(root)?;
    let catalogue = catalogue(root, talk);
    let who = identity::of_this_process()
        .map_err(|e| Failure::new(code::FAILED, format!("learn who this process is: {e}")))?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = slots.or(config.slots).filter(|n| *n > 0);
    let policy = Policy {
        zone: TimeZone::system(),
        slots: wanted.map_or(cpus, |n| n as usize),
        groups: config.groups.iter().map(|(g, n)| (g.clone(), *n as usize)).collect(),
        unsatisfiable: config.unsatisfiable,
        require_checks: config.require_checks,
        stale_after_ms: config.stale_after.0,
        instance: who.instance,
        host: who.host,
        runs,
        fresh: false,
        only: None,
    };
    Ok(Options { config, catalogue, policy, faults: Planted::None })
}
