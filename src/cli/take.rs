//! `jobyard take`: a person or an agent takes a work order.
//!
//! Invariants: the success banner, the failed step and the rollback are printed in the form older tools
//! print them; who is told that it is held learns by whom, since when, and how to go on.

use super::ask::{self, Answer, Done};
use super::request::{self, needed_reason, order_id};
use super::{Failure, Globals, Outcome, code, out, rehearse, say};
use crate::model::attempt::{Claim, Mode, Place};
use crate::model::id::OrderId;
use crate::model::lease::{LeaseBody, LeaseMode};
use crate::model::order::State;
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::request::{RequestBody, Verb};
use crate::world::git::{Bounds, Git};
use crate::world::identity;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Flags of `jobyard take`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order
    #[arg(required_unless_present_any = ["list", "status"])]
    id: Option<String>,
    /// Name of the owner, for people (default: the current user)
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
    /// Skip the test of dependencies
    #[arg(long)]
    force: bool,
    /// Take it over from a holder that is silent or unknown
    #[arg(long)]
    takeover: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// List pending work orders
    #[arg(long)]
    list: bool,
    /// Show how many orders are in each state, and who works on what
    #[arg(long)]
    status: bool,
    #[command(flatten)]
    asking: request::Asking,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let root = globals.find_root()?;
    if given.list || given.status {
        return overview(globals, &root, given.status);
    }
    let id = order_id(given.id.as_deref().unwrap_or_default())?;
    let mut reason = given.reason;
    for (flag, set) in [("--force", given.force), ("--takeover", given.takeover)] {
        if set {
            let line = format!("jobyard take {id} {flag} --reason TEXT");
            reason = Some(needed_reason(reason, flag, &line)?);
        }
    }
    let body = RequestBody {
        reason,
        as_: given.owner,
        force: given.force,
        takeover: given.takeover,
        ..RequestBody::default()
    };
    let asked = given.asking.ask(id, Verb::Take, body);
    if given.asking.dry_run {
        return rehearse::run(globals, &root, &asked);
    }
    if let Err(error) = Git::new(root.clone(), Bounds::default()).ensure_excludes()
        && error.kind() != std::io::ErrorKind::NotFound
    {
        say::talk(&format!("jobyard: keep state out of git: {error}; `jobyard init` tries again"));
    }
    let Done { answer, claim } = ask::ask(&root, &asked)?;
    match answer.code {
        code::DONE => taken(globals, &asked.id, &answer, claim),
        code::HELD => held(globals, &root, &asked, answer),
        _ if answer.text.starts_with('✗') => {
            say::talk(&answer.text);
            if globals.json {
                say::object("take", fields(&asked.id, &answer))?;
            }
            Ok(answer.code)
        }
        _ => request::report(globals, &asked, &answer),
    }
}

fn fields(id: &OrderId, answer: &Answer) -> [(&'static str, Value); 4] {
    [
        ("id", id.as_str().into()),
        ("attempt", answer.attempt.into()),
        ("code", answer.code.into()),
        ("text", answer.text.as_str().into()),
    ]
}

fn taken(globals: &Globals, id: &OrderId, answer: &Answer, claim: Option<(u32, Claim)>) -> Outcome {
    let claim = claim.map(|(_, claim)| claim);
    let (branch, worktree) = match claim.as_ref().map(|c| &c.place) {
        Some(Place::Root) => (None, ".".to_owned()),
        Some(Place::Tree { path, branch, .. }) => (Some(branch.clone()), path.clone()),
        None => (Some(id.branch()), id.worktree()),
    };
    let owner = match claim.as_ref().map(|c| &c.mode) {
        Some(Mode::Manual(holder)) => holder.name.clone(),
        _ => identity::user_name(rustix::process::geteuid().as_raw()),
    };
    if globals.json {
        let fields = [
            ("id", id.as_str().into()),
            ("attempt", answer.attempt.into()),
            ("code", answer.code.into()),
            ("text", answer.text.as_str().into()),
            ("branch", branch.into()),
            ("worktree", worktree.into()),
            ("owner", owner.into()),
        ];
        say::object("take", fields)?;
        return Ok(code::DONE);
    }
    say::line(&banner(id, branch.as_deref(), &worktree, &owner))?;
    Ok(code::DONE)
}

fn banner(id: &OrderId, branch: Option<&str>, worktree: &str, owner: &str) -> String {
    let rule = "━".repeat(40);
    let branch = branch.unwrap_or("(none)");
    format!(
        "{rule}\n   ✅ Work Order {id} Taken Successfully\n{rule}\n  WO ID:     {id}\n  \
         Branch:    {branch}\n  Worktree:  {worktree}\n  Owner:     {owner}\n\nNext steps:\n  \
         1. cd {worktree}\n  2. Start working on {id}\n  3. Run: jobyard finish {id}"
    )
}

/// Who holds it, how old that is, and how to go on.
fn held(globals: &Globals, root: &Path, asked: &ask::Ask, mut answer: Answer) -> Outcome {
    let id = &asked.id;
    let lock = root.join(paths::lock(id));
    let (text, seen) = (fs::read(&lock).unwrap_or_default(), fs::symlink_metadata(&lock));
    let body = LeaseBody::parse(&text);
    let first = String::from_utf8_lossy(&text);
    let first = first.lines().next().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    if let Ok(seen) = seen {
        let attempt = match &body {
            LeaseBody::Ours(lease) => match &lease.mode {
                LeaseMode::Manual { attempt, .. } => Some(*attempt),
                LeaseMode::Process => None,
            },
            LeaseBody::Foreign(_) => None,
        };
        let age = SystemTime::UNIX_EPOCH + nanos(seen.ctime(), seen.ctime_nsec());
        lines.push(format!("  lock:              {} ({first})", paths::lock(id).display()));
        lines.push(format!("  age:               {}", ago(locked_at(&first).unwrap_or(age))));
        if attempt.is_some() {
            lines.push(format!("  last sign of life: {}", ago(sign_of_life(root, id, attempt))));
        }
    }
    let next = match &body {
        LeaseBody::Ours(lease) if lease.mode == LeaseMode::Process => {
            format!("jobyard cancel {id}")
        }
        _ => {
            let verb = "take | requeue | cancel";
            format!("jobyard ({verb}) {id} --takeover --reason TEXT   (once it is stale)")
        }
    };
    lines.push(format!("  to go on:          {next}"));
    answer.text = format!("{}\n{}", answer.text, lines.join("\n"));
    request::report(globals, asked, &answer)
}

fn nanos(seconds: i64, nanos: i64) -> Duration {
    Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
}

/// When a lock says it was made.
fn locked_at(first: &str) -> Option<SystemTime> {
    let (_, at) = first.rsplit_once(" at ")?;
    let ms = at.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).ok()?))
}

/// The newest of the touches that count as a sign of life.
fn sign_of_life(root: &Path, id: &OrderId, attempt: Option<u32>) -> SystemTime {
    let progress = paths::run(id, attempt.unwrap_or(0)).join("progress");
    let signs = [
        paths::lock(id),
        progress,
        id.worktree().into(),
        format!(".git/worktrees/{id}/index").into(),
        format!(".git/worktrees/{id}/HEAD").into(),
        format!(".git/worktrees/{id}/logs/HEAD").into(),
    ];
    let touched = |p: &std::path::PathBuf| fs::symlink_metadata(root.join(p)).ok()?.modified().ok();
    signs.iter().filter_map(touched).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn ago(at: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

/// What lies in the four directories.
fn overview(globals: &Globals, root: &Path, status: bool) -> Outcome {
    match (status, globals.json) {
        (false, _) => listed(globals, root)?,
        (true, true) => {
            let mut counts = Map::new();
            for state in State::ALL {
                counts.insert(state.name().to_owned(), ids(root, state)?.len().into());
            }
            let running = ids(root, State::Running)?;
            let running: Value = running
                .iter()
                .map(|id| json!({ "id": id.as_str(), "worktree": id.worktree() }))
                .collect();
            say::object("take-status", [("counts", counts.into()), ("running", running)])?;
        }
        (true, false) => {
            for state in State::ALL {
                say::line(&format!("{:<8} {}", state.name(), ids(root, state)?.len()))?;
            }
            for id in ids(root, State::Running)? {
                say::line(&format!("  {id}  {}", id.worktree()))?;
            }
        }
    }
    Ok(code::DONE)
}

/// The pending orders with their titles.
fn listed(globals: &Globals, root: &Path) -> Result<(), Failure> {
    let mut orders = Vec::new();
    for id in ids(root, State::Pending)? {
        let text = fs::read(root.join(paths::ticket(State::Pending, &id))).unwrap_or_default();
        let title = parse_order(&text, id.as_str()).ok().map(|p| p.order.title);
        if globals.json {
            orders.push(json!({ "id": id.as_str(), "title": title }));
            continue;
        }
        let title = title.map_or_else(|| "(not valid)".to_owned(), |t| out::plain(&t));
        say::line(&format!("{id}\t{title}"))?;
    }
    match globals.json {
        true => say::object("take-list", [("orders", orders.into())]),
        false => Ok(()),
    }
}

fn ids(root: &Path, state: State) -> Result<Vec<OrderId>, Failure> {
    let dir = root.join(paths::dir(state));
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Failure::of_disk("list", &dir, &e)),
    };
    let id = |e: fs::DirEntry| OrderId::parse(e.file_name().to_str()?.strip_suffix(".yaml")?).ok();
    let mut ids: Vec<OrderId> = entries.flatten().filter_map(id).collect();
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_has_its_form() {
        let id = OrderId::parse("WO-0013").unwrap();
        let text = banner(&id, Some("feat/wo-WO-0013"), ".worktrees/WO-0013", "felipe_gonzalez");
        let want = "\
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
   ✅ Work Order WO-0013 Taken Successfully
━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
  WO ID:     WO-0013
  Branch:    feat/wo-WO-0013
  Worktree:  .worktrees/WO-0013
  Owner:     felipe_gonzalez

Next steps:
  1. cd .worktrees/WO-0013
  2. Start working on WO-0013
  3. Run: jobyard finish WO-0013";
        assert_eq!(text, want);
    }

    #[test]
    fn a_lock_says_when_it_was_made() {
        let at = locked_at("Locked by jobyard take at 1970-01-01T01:00:10+01:00");
        assert_eq!(at, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(10)));
        assert_eq!(locked_at("WO-1"), None);
    }
}
