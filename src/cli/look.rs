//! What every verb that only looks begins with.
//!
//! Invariants: nothing is written or locked; a broken configuration is a finding, not an end.

use super::sight::Presence;
use super::{Failure, Globals, code, root, say};
use crate::model::config::{CONFIG_BYTES_MAX, Config, parse_config};
use crate::model::defect::{Defect, INVALID_CONFIG};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::paths;
use crate::plan::Policy;
use crate::plan::findings::{Finding, Severity, Tree};
use crate::scan::{self, Settings, View};
use crate::world::git::{Bounds, Git};
use crate::world::real::RealWorld;
use crate::world::root_lock::{self, Found, Role};
use crate::world::stall::{self, Stall};
use crate::world::{Fault, GitFault, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A root, ready to be looked at.
pub(super) struct Seat {
    /// The root.
    pub(super) root: PathBuf,
    /// The machine, for reading only.
    pub(super) world: RealWorld,
    /// Who holds the root lock.
    pub(super) holder: Option<Found>,
    settings: Settings,
}

/// Finds the root and opens it.
pub(super) fn open(globals: &Globals) -> Result<Seat, Failure> {
    seat(globals.find_root()?)
}

/// Opens a root.
pub(super) fn seat(root: PathBuf) -> Result<Seat, Failure> {
    let world = RealWorld::open(&root, PathBuf::new(), Bounds::default())
        .map_err(|e| Failure::of_disk("open", &root, &e))?;
    let holder =
        root_lock::look(&root).map_err(|e| Failure::of_disk("look at the lock of", &root, &e))?;
    let (config, defects) = config(&root);
    let policy = policy(&config, holder.as_ref())?;
    let daemon = holder.as_ref().filter(|h| h.role == Role::Daemon && !h.frozen);
    let stall = daemon.and_then(|daemon| stall::look(&root, daemon));
    let (trees, tracked) = (None, Vec::new());
    let settings = Settings { config, defects, policy, trees, tracked, stall };
    Ok(Seat { root, world, holder, settings })
}

fn config(root: &Path) -> (Config, Vec<Defect>) {
    let path = root.join(paths::CONFIG);
    let mut text = String::new();
    let read = std::fs::symlink_metadata(&path).and_then(|found| {
        if !found.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        let file = std::fs::File::open(&path)?;
        file.take(CONFIG_BYTES_MAX as u64 + 1).read_to_string(&mut text)
    });
    match read {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (Config::default(), Vec::new()),
        Err(e) => (Config::default(), vec![Defect::whole(INVALID_CONFIG, format!("read it: {e}"))]),
        Ok(_) => match parse_config(&text) {
            Ok(config) => (config, Vec::new()),
            Err(defects) => (Config::default(), defects),
        },
    }
}

/// The policy as the daemon has it, as far as can be seen from outside.
fn policy(config: &Config, holder: Option<&Found>) -> Result<Policy, Failure> {
    let daemon = holder.filter(|h| h.role == Role::Daemon);
    root::policy(config, daemon.and_then(|d| slots_of(d.pid)))
}

/// `--slots` of a running daemon.
fn slots_of(pid: u32) -> Option<u32> {
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> =
        words.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let at = words.iter().position(|w| w == "--slots" || w.starts_with("--slots="))?;
    match words[at].strip_prefix("--slots=") {
        Some(number) => number.parse().ok(),
        None => words.get(at + 1)?.parse().ok(),
    }
}

impl Seat {
    /// A daemon serves the root.
    pub(super) fn daemon(&self) -> Option<&Found> {
        self.holder.as_ref().filter(|h| h.role == Role::Daemon)
    }

    /// Whether a daemon serves the root, and does so now.
    pub(super) fn presence(&self) -> Presence {
        match self.daemon() {
            Some(daemon) if daemon.frozen => Presence::Frozen(daemon.pid),
            Some(_) => Presence::Up,
            None => Presence::Down,
        }
    }

    /// What keeps the daemon from going on.
    pub(super) fn stall(&self) -> Option<&Stall> {
        self.settings.stall.as_ref()
    }

    /// A root that goes while somebody waits on it settles nothing.
    pub(super) fn still_there(&self) -> Result<(), Failure> {
        if self.root.join(paths::CTX).is_dir() {
            return Ok(());
        }
        let text = format!("the root {} is gone: nothing more comes", self.root.display());
        Err(Failure::new(code::NOT_FOUND, text))
    }

    /// Why the configuration cannot be taken as it is.
    pub(super) fn defects(&self) -> &[Defect] {
        &self.settings.defects
    }

    /// The configured base of branches.
    pub(super) fn base(&self) -> Option<&str> {
        self.settings.config.git_base.as_deref()
    }

    /// The repository, with the configured bounds.
    pub(super) fn git(&self) -> Git {
        Git::new(self.root.clone(), Bounds::of(&self.settings.config))
    }

    /// Everything.
    pub(super) fn look(&mut self) -> Result<View, Failure> {
        let settings = self.settings.clone();
        scan::look(&mut self.world, settings).map_err(|f| self.failed(&f))
    }

    /// Some orders and what they wait for.
    pub(super) fn look_at(&mut self, ids: &BTreeSet<OrderId>) -> Result<View, Failure> {
        let settings = self.settings.clone();
        scan::look_at_some(&mut self.world, settings, ids).map_err(|f| self.failed(&f))
    }

    /// Whether the ticket of an order is neither pending nor running: a cheap first look.
    pub(super) fn has_left(&mut self, id: &OrderId) -> Result<bool, Failure> {
        for state in [State::Pending, State::Running] {
            let found = self.world.stat(&paths::ticket(state, id)).map_err(|f| self.failed(&f))?;
            if found.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Everything, worktrees and tracked files too, and what is wrong with it. Beside a live daemon what
    /// looks wrong is looked at twice: it may just have been in the middle of something.
    pub(super) fn findings(&mut self) -> Result<(View, Vec<Finding>), Failure> {
        self.ask_git();
        let view = self.look()?;
        let found = view.findings();
        if found.is_empty() || self.holder.is_none() {
            return Ok((view, found));
        }
        self.ask_git();
        let again = self.look()?;
        let found = scan::agreed(again.findings(), &found);
        Ok((again, found))
    }

    /// Without an answer of git, findings about worktrees are left out.
    fn ask_git(&mut self) {
        if let Err(fault) = self.try_git() {
            self.settings.trees = None;
            say::talk(&format!("jobyard: worktrees are not looked at: {fault}"));
        }
    }

    fn try_git(&mut self) -> Result<(), GitFault> {
        let git = self.git();
        self.settings.trees = Some(Vec::new());
        if !git.is_repository()? {
            return Ok(());
        }
        self.settings.tracked = git.tracked_state()?;
        let below = |path: &Path| path.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned);
        let trees = git.list()?.into_iter().filter(|t| !t.main).filter_map(|t| {
            let gone = t.prunable.is_some() || !t.path.is_dir();
            Some(Tree { path: below(&t.path)?, branch: t.branch, gone })
        });
        self.settings.trees = Some(trees.collect());
        Ok(())
    }

    fn failed(&self, fault: &Fault) -> Failure {
        Failure::new(code::FAILED, format!("look at {}: {fault}", self.root.display()))
    }
}

/// No such order.
pub(super) fn unknown(id: &OrderId) -> Failure {
    let text = format!("no work order {id}; `jobyard list` shows those there are");
    Failure::new(code::NOT_FOUND, text)
}

/// Findings as `lint` and `status` print them.
pub(super) fn findings_json(found: &[Finding]) -> Value {
    let one = |f: &Finding| {
        json!({
            "code": f.code, "severity": f.severity.name(), "id": f.id, "file": f.file,
            "line": f.line, "message": f.message, "repair": f.repair,
        })
    };
    found.iter().map(one).collect()
}

/// How many findings there are of each severity.
pub(super) fn by_severity(found: &[Finding]) -> [usize; 3] {
    Severity::ALL.map(|s| found.iter().filter(|f| f.severity == s).count())
}
