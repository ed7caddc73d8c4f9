//! `jobyard finish`: the gate, and what it found.
//!
//! Invariants: exit 0 only for PASS, UNVERIFIED and a recorded skip; whatever the verdict is, where the
//! evidence lies is said.

use super::ask::{self, Answer, Done};
use super::request::{self, needed_reason, order_id};
use super::{Failure, Globals, Outcome, code, rehearse, say};
use crate::model::id::OrderId;
use crate::model::order::{State, Workspace};
use crate::model::parse::{ORDER_BYTES_MAX, parse_order};
use crate::model::paths;
use crate::model::request::{RequestBody, Verb};
use crate::model::verdict::VerdictFile;
use crate::observe::plain;
use crate::world::World;
use crate::world::git::Bounds;
use crate::world::real::RealWorld;
use std::path::{Component, Path, PathBuf};

/// Flags of `jobyard finish`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order (default: that of the worktree you are in)
    id: Option<String>,
    /// Settle without running the checks
    #[arg(long)]
    skip_verification: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End its commands first
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    asking: request::Asking,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let root = globals.find_root()?;
    let id = match &given.id {
        Some(text) => order_id(text)?,
        None => here(&root, "finish")?,
    };
    let mut reason = given.reason;
    if given.skip_verification {
        let line = format!("jobyard finish {id} --skip-verification --reason TEXT");
        reason = Some(needed_reason(reason, "--skip-verification", &line)?);
    }
    let body = RequestBody {
        reason,
        skip_verification: given.skip_verification,
        stop: given.stop,
        ..RequestBody::default()
    };
    let asked = given.asking.ask(id, Verb::Finish, body);
    if given.asking.dry_run {
        return rehearse::run(globals, &root, &asked);
    }
    let Done { answer, .. } = ask::ask(&root, &asked)?;
    match answer.code {
        code::DONE | code::CHECKS => told(globals, &root, &asked.id, &answer),
        _ => request::report(globals, &asked, &answer),
    }
}

/// The order whose worktree the current directory lies in.
pub(super) fn here(root: &Path, verb: &str) -> Result<OrderId, Failure> {
    let missing = || {
        let text = format!("{verb} which order? Name it, or run this inside its worktree");
        Failure::new(code::USAGE, text)
    };
    let here = std::env::current_dir().and_then(|d| d.canonicalize()).map_err(|_| missing())?;
    let below = here.strip_prefix(root.join(".worktrees")).map_err(|_| missing())?;
    let tree = match below.components().next() {
        Some(Component::Normal(name)) => {
            OrderId::parse(&name.to_string_lossy()).map_err(|_| missing())?
        }
        _ => return Err(missing()),
    };
    let mut heirs = heirs(root, &tree).unwrap_or_default();
    match (heirs.pop(), heirs.len()) {
        (None, _) => Ok(tree),
        (Some(heir), 0) => Ok(heir),
        _ => Err(missing()),
    }
}

/// The running orders that work in the worktree of another one, which does not run itself.
fn heirs(root: &Path, tree: &OrderId) -> Option<Vec<OrderId>> {
    let mut world = RealWorld::open(root, PathBuf::new(), Bounds::default()).ok()?;
    if world.stat(&paths::ticket(State::Running, tree)).ok()?.is_some() {
        return None;
    }
    let mut found = Vec::new();
    for entry in world.list(&paths::dir(State::Running)).ok()? {
        let stem = entry.name.to_str().and_then(|name| name.strip_suffix(".yaml"));
        let Some(id) = stem.and_then(|s| OrderId::parse(s).ok()) else { continue };
        let path = paths::ticket(State::Running, &id);
        let Ok(Ok(Some(read))) = plain::snapshot(&mut world, &path, ORDER_BYTES_MAX) else {
            continue;
        };
        let parsed = parse_order(&read.bytes, id.as_str());
        if parsed.is_ok_and(|p| p.order.workspace == Workspace::Inherit(tree.clone())) {
            found.push(id);
        }
    }
    Some(found)
}

/// What the verdict says, and where the evidence lies.
fn told(globals: &Globals, root: &Path, id: &OrderId, answer: &Answer) -> Outcome {
    let dir = answer.attempt.map(|attempt| paths::run(id, attempt));
    let verdict = dir.as_ref().and_then(|dir| {
        let bytes = std::fs::read(root.join(dir).join("verdict.json")).ok()?;
        serde_json::from_slice::<VerdictFile>(&bytes).ok()
    });
    let dir = dir.map(|d| d.to_string_lossy().into_owned());
    if globals.json {
        let fields = [
            ("id", id.as_str().into()),
            ("attempt", answer.attempt.into()),
            ("code", answer.code.into()),
            ("text", answer.text.as_str().into()),
            ("run_dir", dir.into()),
            ("verdict", serde_json::to_value(&verdict).unwrap_or_default()),
        ];
        say::object("finish", fields)?;
    } else {
        say::line(&text(id, answer, verdict.as_ref(), dir.as_deref()))?;
    }
    if let Some(verdict) = verdict.filter(|v| v.result == "unverified") {
        say::talk(&format!(
            "jobyard: warning: {id} is UNVERIFIED: {}",
            verdict.sentences.join("; ")
        ));
    }
    Ok(answer.code)
}

fn text(id: &OrderId, answer: &Answer, verdict: Option<&VerdictFile>, dir: Option<&str>) -> String {
    let Some(verdict) = verdict else {
        return format!("{id}: {}", answer.text);
    };
    let sign = if answer.code == code::DONE { "✅" } else { "✗" };
    let mut text = format!("{sign} Work Order {id}: {}", verdict.result.to_uppercase());
    let mut row = |key: &str, value: &str| text.push_str(&format!("\n  {key:<10} {value}"));
    row("Result:", &answer.text);
    if let Some(commit) = &verdict.commit {
        row("Commit:", commit);
    }
    if let Some(reason) = &verdict.override_reason {
        row("Skipped:", reason);
    }
    for sentence in &verdict.sentences {
        row("Because:", sentence);
    }
    for check in &verdict.checks {
        row("Check:", &format!("{}: {} ({})", check.name, check.outcome, check.log));
    }
    if let Some(dir) = dir {
        row("Evidence:", dir);
    }
    text
}
