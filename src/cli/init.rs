//! `jobyard init`: a directory becomes a root.
//!
//! Invariants: idempotent; nothing that exists is changed; says what was made, what git tracks that it
//! should not, and what works without git.

mod systemd;

use super::ask::drive::{engine, world};
use super::{Failure, Globals, Outcome, code, dirs, root, say};
use crate::model::config;
use crate::model::id::OrderId;
use crate::model::index::{Index, Reading};
use crate::model::order::State;
use crate::model::paths;
use crate::model::schema;
use crate::world::git::{Bounds, Git};
use crate::world::real::RealWorld;
use crate::world::root_lock::{Role, RootLock, Tried, try_lock};
use crate::world::store::{errno, publish};
use crate::world::{Fault, World};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another verb on the root is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Flags of `jobyard init`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Accept tickets in done/ and failed/ that jobyard never saw, also when it was used here before
    #[arg(long)]
    adopt: bool,
    /// Print what would be made; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the lines with which systemd serves this root; make nothing
    #[arg(long, conflicts_with = "adopt")]
    systemd: bool,
    /// With --systemd: by the user's own systemd, without root
    #[arg(long, requires = "systemd")]
    user: bool,
}

/// What was found and made.
#[derive(Default)]
struct Report {
    made: Vec<String>,
    tracked: Vec<String>,
    /// Why git cannot be used.
    no_git: Option<String>,
    adopted: usize,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let root = place(globals)?;
    if given.systemd {
        systemd::print(globals, &root, given.user)?;
        return Ok(code::DONE);
    }
    // An unreadable configuration is told before anything is made.
    root::config(&root)?;
    let mut world = world(&root)?;
    let mut report = Report::default();
    make_files(&mut world, given.dry_run, &mut report).map_err(|f| {
        let left = format!("{} is no whole root yet; run init again", root.display());
        Failure::of_fault(&f, &left)
    })?;
    look_at_git(&root, given.dry_run, &mut report)?;
    if !given.dry_run {
        report.adopted = adopt(&root, given.adopt)?;
    }
    say_report(globals, &root, &report, given.dry_run)?;
    Ok(code::DONE)
}

/// The directory meant: named, else the root around, else the repository around, else this one.
fn place(globals: &Globals) -> Result<PathBuf, Failure> {
    let named = globals.root.clone().or_else(root::named);
    if let Some(named) = named {
        return root::existing(&named);
    }
    let here = std::env::current_dir().map_err(|e| {
        Failure::new(
            code::NOT_FOUND,
            format!("find the current directory: {e}; go to one that is there"),
        )
    })?;
    let here = root::existing(&here)?;
    let top = here.ancestors().find(|dir| dir.join(".git").exists());
    match (root::find(None), top) {
        // A repository within another root is meant itself.
        (Ok(found), Some(top)) if top != found && top.starts_with(&found) => Ok(top.to_owned()),
        (Ok(found), _) => Ok(found),
        (Err(_), top) => Ok(top.unwrap_or(&here).to_owned()),
    }
}

fn make_files(world: &mut RealWorld, dry: bool, report: &mut Report) -> Result<(), Fault> {
    let mut wanted = paths::needed();
    wanted.extend(dirs::offered());
    let made = if dry { dirs::missing(world, &wanted)? } else { dirs::make(world, &wanted)? };
    report.made.extend(made.iter().map(|d| format!("{}/", d.display())));
    make_file(world, dry, paths::CONFIG, &config::default_text(), report)?;
    make_file(world, dry, paths::VERDICT_SCHEMA, &schema::verdict(), report)
}

/// Makes a file that is not there.
fn make_file(
    world: &mut RealWorld,
    dry: bool,
    path: &str,
    text: &str,
    report: &mut Report,
) -> Result<(), Fault> {
    let file = Path::new(path);
    if world.stat(file)?.is_some() {
        return Ok(());
    }
    report.made.push(path.to_owned());
    if dry {
        return Ok(());
    }
    match publish(world, file, text.as_bytes(), 0o644) {
        Err(fault) if fault.errno != errno::EEXIST => Err(fault),
        _ => world.sync_dir(file.parent().unwrap_or(Path::new(""))),
    }
}

fn look_at_git(root: &Path, dry: bool, report: &mut Report) -> Result<(), Failure> {
    let git = Git::new(root.to_owned(), Bounds::default());
    match git.is_repository() {
        Ok(true) => {}
        Ok(false) => {
            report.no_git = Some("it is not in a git repository".to_owned());
            return Ok(());
        }
        Err(fault) => {
            report.no_git = Some(fault.to_string());
            return Ok(());
        }
    }
    let failed =
        |why: String| Failure::new(code::FAILED, format!("init {}: {why}", root.display()));
    let excluded = match dry {
        true => git.lacks_excludes(),
        false => git.ensure_excludes(),
    };
    let excluded = excluded.map_err(|e| failed(format!("write .git/info/exclude: {e}")))?;
    if excluded {
        report.made.push("lines in .git/info/exclude that keep state out of commits".to_owned());
    }
    report.tracked = git.tracked_state().map_err(|e| failed(e.to_string()))?;
    if let Err(fault) = git.base(None) {
        report.no_git = Some(fault.cause);
    }
    Ok(())
}

/// Settled tickets that were there before get their stamp. A daemon does that by itself.
fn adopt(root: &Path, all: bool) -> Result<usize, Failure> {
    match lock(root, "init")? {
        Ok(_lock) => adopt_locked(root, all, None),
        Err(daemon) if all => Err(daemon),
        Err(_) => Ok(0),
    }
}

/// The root lock, for a verb that works on the whole root; the inner error: a daemon serves it.
pub(super) fn lock(root: &Path, verb: &str) -> Result<Result<RootLock, Failure>, Failure> {
    let begun = Instant::now();
    let who = format!("pid {} ({verb})", std::process::id());
    loop {
        let tried = try_lock(root, Role::Verb, &who);
        match tried.map_err(|e| Failure::of_disk("lock", root, &e))? {
            Tried::Held(lock) => return Ok(Ok(lock)),
            Tried::Taken { role: Role::Daemon, text } => {
                let text = format!("{verb}: {} is served ({text}); stop it first", root.display());
                return Ok(Err(Failure::new(code::HELD, text)));
            }
            Tried::Taken { text, .. } if begun.elapsed() > PATIENCE => {
                let text = format!("{verb}: {} is held ({text}); try again", root.display());
                return Err(Failure::new(code::AGAIN, text));
            }
            Tried::Taken { .. } => std::thread::park_timeout(Duration::from_millis(20)),
        }
    }
}

/// The same, by whoever holds the root lock, for some orders or for every one: how many got their stamp.
pub(super) fn adopt_locked(
    root: &Path,
    all: bool,
    only: Option<BTreeSet<OrderId>>,
) -> Result<usize, Failure> {
    let mut opened = engine(root, only)?;
    let before = settled(&opened.index);
    opened.options.policy.fresh |= all;
    let turned = opened.turn();
    turned.map_err(|f| Failure::of_fault(&f, "run it again"))?;
    for note in opened.notes() {
        say::talk(&format!("jobyard: {note}"));
    }
    Ok(settled(&opened.index).saturating_sub(before))
}

fn settled(index: &Index) -> usize {
    let stamped = |state: State| {
        let places = index.tickets.values().filter_map(move |t| t.place(state));
        places.filter(|p| matches!(p.reading, Reading::Settled { .. })).count()
    };
    stamped(State::Done) + stamped(State::Failed)
}

fn say_report(globals: &Globals, root: &Path, report: &Report, dry: bool) -> Result<(), Failure> {
    if globals.json {
        let texts = |list: &[String]| Value::from(list.to_vec());
        let fields = [
            ("root", root.to_string_lossy().into_owned().into()),
            ("dry_run", dry.into()),
            ("made", texts(&report.made)),
            ("adopted", report.adopted.into()),
            ("tracked", texts(&report.tracked)),
            ("git", report.no_git.as_deref().map_or(Value::from("usable"), Value::from)),
        ];
        return say::object("init", fields);
    }
    let verb = if dry { "would make" } else { "made" };
    for made in &report.made {
        say::line(&format!("{verb} {made}"))?;
    }
    if report.adopted > 0 {
        say::line(&format!("adopted {} settled ticket(s)", report.adopted))?;
    }
    if report.made.is_empty() && report.adopted == 0 {
        say::line(&format!("{} is a root already; nothing to do", root.display()))?;
    }
    if let Some(why) = &report.no_git {
        say::talk(&format!(
            "jobyard: without git: {why}; orders with `workspace: none` and packages work, others \
             are refused until there is a repository with a commit"
        ));
    }
    if let Some(first) = report.tracked.first() {
        say::talk(&format!(
            "jobyard: git tracks state ({} file(s), such as {first}): a checkout or merge would bring \
             tickets back; run: git -C {} rm -r --cached --ignore-unmatch _ctx/jobs _ctx/runs \
             _ctx/audit _ctx/packages .worktrees",
            report.tracked.len(),
            root.display()
        ));
    }
    Ok(())
}
