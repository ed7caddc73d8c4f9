//! Finding the root, and reading what is configured there.
//!
//! Invariants: inside a linked worktree the root is always the main checkout's; a root is never made
//! by looking for it.

use super::{Failure, code};
use crate::engine::Options;
use crate::model::config::{CONFIG_BYTES_MAX, Config, parse_config};
use crate::model::defect::Defect;
use crate::model::paths;
use crate::observe::catalogue::Catalogue;
use crate::observe::plain;
use crate::plan::Policy;
use crate::world::git::{Bounds, Git};
use crate::world::identity;
use crate::world::real::RealWorld;
use jiff::tz::TimeZone;
use std::path::{Path, PathBuf};

/// `JOBYARD_ROOT`; empty is as good as unset.
pub fn named() -> Option<PathBuf> {
    std::env::var_os("JOBYARD_ROOT").filter(|name| !name.is_empty()).map(Into::into)
}

/// The root: `--root`, else `JOBYARD_ROOT`, else the nearest ancestor with `_ctx/`.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = given.map(Path::to_owned).or_else(named) {
        let root = existing(&named)?;
        if root.join(paths::CTX).is_dir() {
            return Ok(root);
        }
        let shown = root.display();
        let text = format!(
            "{shown} is no root: it has no _ctx/; `jobyard init --root {shown}` makes it one"
        );
        return Err(Failure::new(code::NOT_FOUND, text));
    }
    let here = std::env::current_dir().map_err(|e| {
        Failure::new(
            code::NOT_FOUND,
            format!("find the current directory: {e}; go to one that is there"),
        )
    })?;
    let start = Git::main_checkout(&here).unwrap_or_else(|| here.clone());
    let found = start.ancestors().find(|dir| dir.join(paths::CTX).is_dir());
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
    let Some(text) = config_text(root)? else { return Ok(Config::default()) };
    parse_config(&text).map_err(|defects| refused(root, &defects))
}

/// The configuration as it is written; `None` where there is none.
pub fn config_text(root: &Path) -> Result<Option<String>, Failure> {
    let shown = root.join(paths::CONFIG);
    let failed = |text: String| Failure::new(code::FAILED, text);
    let mut world = RealWorld::open(root, PathBuf::new(), Bounds::default())
        .map_err(|e| failed(format!("open {}: {e}", root.display())))?;
    let read = plain::snapshot(&mut world, Path::new(paths::CONFIG), CONFIG_BYTES_MAX)
        .map_err(|fault| failed(format!("read {}: {fault}", shown.display())))?
        .map_err(|text| failed(format!("read {}: it {text}", shown.display())))?;
    let Some(read) = read else { return Ok(None) };
    let text = String::from_utf8(read.bytes)
        .map_err(|e| failed(format!("read {}: it is not UTF-8: {e}", shown.display())))?;
    Ok(Some(text))
}

/// What is wrong with the configuration, as it is said.
pub fn refused(root: &Path, defects: &[Defect]) -> Failure {
    let shown = root.join(paths::CONFIG);
    let texts: Vec<String> = defects.iter().map(|d| format!("{}:{d}", shown.display())).collect();
    Failure::new(code::USAGE, texts.join("\n"))
}

/// Says what of the DoD catalogue cannot be taken; whoever needs an entry reads it anew at the claim.
fn check_catalogue(root: &Path, talk: &mut dyn FnMut(&str)) -> Result<(), Failure> {
    let mut catalogue = Catalogue::default();
    let refused = |text: String| Failure::new(code::FAILED, format!("read {}: {text}", paths::DOD));
    let mut world = RealWorld::open(root, PathBuf::new(), Bounds::default())
        .map_err(|e| refused(e.to_string()))?;
    catalogue.refresh(&mut world).map_err(|fault| refused(fault.to_string()))?;
    for (name, defect) in &catalogue.broken {
        let name = name.to_string_lossy();
        talk(&format!("{}/{}: {defect}", root.join(paths::DOD).display(), name.escape_debug()));
    }
    Ok(())
}

/// What an engine is opened with. `runs`: whether it may start commands of `run`.
pub fn options(
    root: &Path,
    slots: Option<u32>,
    runs: bool,
    talk: &mut dyn FnMut(&str),
) -> Result<Options, Failure> {
    let config = config(root)?;
    check_catalogue(root, talk)?;
    let policy = Policy { runs, ..policy(&config, slots)? };
    Ok(Options { config, policy })
}

/// The policy of a process on this machine; `slots` beats the configuration.
pub(super) fn policy(config: &Config, slots: Option<u32>) -> Result<Policy, Failure> {
    let who = identity::of_this_process()
        .map_err(|e| Failure::new(code::FAILED, format!("learn who this process is: {e}")))?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = slots.or(config.slots).filter(|n| *n > 0);
    let slots = wanted.map_or(cpus, |n| n as usize);
    let policy = Policy::of(config, TimeZone::system(), slots);
    Ok(Policy { instance: who.instance, host: who.host, ..policy })
}
