//! What `jobyard doctor` looks at besides the orders: root, disk, git, limits, daemon and ledger.
//!
//! Invariants: only looks; each check says what it found, and what to do when that is not good. What only a
//! start can try, such as what a file system is able to do, is left to the start, which refuses by name.

use crate::cli::audit::verify;
use crate::cli::look::Seat;
use crate::cli::sight::Presence;
use crate::model::order::State;
use crate::model::paths;
use crate::world::git::{Bounds, Git};
use rustix::fs::{Access, access, statvfs};
use std::path::Path;

/// How good it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Health {
    /// As it should be.
    Good,
    /// It works, but not as well or not for long.
    Poor,
    /// Work is refused or lost until it is mended.
    Bad,
    /// It could not be found out.
    Unknown,
}

impl Health {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Poor => "poor",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// One check.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) health: Health,
    pub(super) text: String,
    pub(super) next: Option<String>,
}

impl Check {
    fn new(name: &'static str, health: Health, text: impl Into<String>) -> Self {
        Self { name, health, text: text.into(), next: None }
    }

    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Less room than this and the next orders fill the disk.
const ROOM_BYTES_MIN: u64 = 256 << 20;

/// The same in inodes.
const ROOM_INODES_MIN: u64 = 10_000;

/// Watches that the daemon needs: one for each directory of the state, and some to spare.
const WATCHES_MIN: u64 = 64;

/// All of them, in the order in which one would look.
pub(super) fn all(seat: &mut Seat) -> Vec<Check> {
    let root = seat.root.clone();
    vec![
        directories(&root),
        configuration(seat),
        room(&root),
        repository(&root),
        watches(),
        daemon(seat),
        ledger(seat),
    ]
}

fn directories(root: &Path) -> Check {
    let name = "root";
    let dirs = State::ALL.map(paths::dir);
    let missing = dirs.iter().find(|dir| !root.join(dir).is_dir());
    if let Some(dir) = missing {
        let text = format!("{} has no directory {}", root.display(), dir.display());
        return Check::new(name, Health::Poor, text).next("jobyard init");
    }
    let mut all = dirs.into_iter().chain([paths::RUNS, paths::CONTROL].map(|p| p.into()));
    let closed = all.find(|dir| {
        let dir = root.join(dir);
        dir.is_dir() && access(&dir, Access::WRITE_OK | Access::EXEC_OK).is_err()
    });
    match closed {
        Some(dir) => {
            let text = format!("{} cannot be written by this user", root.join(dir).display());
            Check::new(name, Health::Bad, text).next("work as the owner of the root")
        }
        None => Check::new(name, Health::Good, root.display().to_string()),
    }
}

fn configuration(seat: &Seat) -> Check {
    let name = "configuration";
    match seat.defects().first() {
        None => Check::new(name, Health::Good, format!("{} can be taken", paths::CONFIG)),
        Some(defect) => {
            let text = format!("{}: {defect}", paths::CONFIG);
            Check::new(name, Health::Bad, text).next("correct it, then send the daemon HUP")
        }
    }
}

fn room(root: &Path) -> Check {
    let name = "room";
    let found = match statvfs(root) {
        Ok(found) => found,
        Err(e) => return Check::new(name, Health::Unknown, format!("ask {}: {e}", root.display())),
    };
    let bytes = found.f_bavail.saturating_mul(found.f_frsize);
    let text = format!("{} MiB and {} inodes free", bytes >> 20, found.f_favail);
    // File systems without a table of inodes say 0 of 0.
    let few = found.f_files > 0 && found.f_favail < ROOM_INODES_MIN;
    if few || bytes < ROOM_BYTES_MIN {
        return Check::new(name, Health::Poor, text)
            .next("make room; on a full disk work waits and nothing is lost");
    }
    Check::new(name, Health::Good, text)
}

fn repository(root: &Path) -> Check {
    let name = "git";
    let git = Git::new(root.to_owned(), Bounds::default());
    match git.is_repository() {
        Ok(true) => match git.base(None) {
            Ok(base) => {
                let text = format!("a repository; work begins at {:.12}", base.as_str());
                Check::new(name, Health::Good, text)
            }
            Err(fault) => Check::new(name, Health::Poor, format!("no base for branches: {fault}"))
                .next("make a first commit, or set git.base"),
        },
        Ok(false) => {
            let text = "no repository: only orders with `workspace: none` can run";
            Check::new(name, Health::Poor, text).next("git init, if orders are to have branches")
        }
        Err(fault) => Check::new(name, Health::Bad, fault.to_string())
            .next("install git, or cure what it says"),
    }
}

fn watches() -> Check {
    let name = "watches";
    let limit = |what: &str| -> Option<u64> {
        let path = format!("/proc/sys/fs/inotify/{what}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    match (limit("max_user_watches"), limit("max_user_instances")) {
        (Some(watches), Some(instances)) => {
            let text = format!("{watches} watches and {instances} instances for each user");
            if watches < WATCHES_MIN || instances < 2 {
                return Check::new(name, Health::Bad, text)
                    .next("raise fs.inotify.max_user_watches and max_user_instances");
            }
            Check::new(name, Health::Good, text)
        }
        _ => Check::new(name, Health::Unknown, "the limits of inotify cannot be read"),
    }
}

fn daemon(seat: &Seat) -> Check {
    let name = "daemon";
    match (seat.presence(), seat.daemon()) {
        (Presence::Frozen(pid), _) => {
            let text = format!("frozen (pid {pid}): it was stopped and does nothing");
            Check::new(name, Health::Bad, text).next(format!("kill -CONT {pid}"))
        }
        (_, Some(daemon)) => match seat.stall() {
            Some(stall) => {
                let text = format!("pid {}: {}", daemon.pid, stall.text);
                Check::new(name, Health::Bad, text).next(&stall.release)
            }
            None => {
                Check::new(name, Health::Good, format!("serves this root (pid {})", daemon.pid))
            }
        },
        (_, None) => {
            Check::new(name, Health::Poor, "none: nothing starts by itself").next("jobyard daemon")
        }
    }
}

fn ledger(seat: &mut Seat) -> Check {
    let name = "ledger";
    let held = seat.holder.is_some();
    match verify::verify(&mut seat.world, held) {
        Err(failure) => Check::new(name, Health::Unknown, failure.text),
        Ok(report) => match report.bad {
            None => {
                let text = format!("{} lines, the chain holds", report.lines);
                Check::new(name, Health::Good, text)
            }
            Some(bad) => {
                let text = format!("{}:{}: {}", bad.file, bad.line, bad.what);
                Check::new(name, Health::Bad, text).next("jobyard audit verify")
            }
        },
    }
}
