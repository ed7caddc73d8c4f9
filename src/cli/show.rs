//! `jobyard show`: everything about one order.

use super::sight::Presence;
use super::{Failure, Globals, Outcome, code, history, list, look, out, request, say, sight};
use crate::model::attempt::{Mode, Place, log_name};
use crate::model::defect::{Defect, MISSING_KEY};
use crate::model::event::{Event, Line};
use crate::model::id::OrderId;
use crate::model::order::{State, Workspace};
use crate::model::paths;
use crate::model::sealed::Sealed;
use crate::model::time::Moment;
use crate::scan::View;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Flags of `jobyard show`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order
    id: String,
    /// Print one fact only
    #[arg(long, value_enum, value_name = "FIELD")]
    field: Option<Field>,
}

/// A fact a script may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Field {
    /// Its branch
    Branch,
    /// Its worktree, as an absolute path
    Worktree,
    /// Its lock file, as an absolute path
    Lease,
    /// pending, running, done or failed
    State,
    /// Number of its last attempt
    Attempt,
    /// What it came to
    Result,
}

/// One command as the ledger tells it.
struct Ran {
    kind: &'static str,
    name: String,
    text: Option<String>,
    end: Option<String>,
}

/// One attempt as the ledger tells it.
#[derive(Default)]
struct Told {
    claimed: Option<Moment>,
    by: String,
    sealed: Option<Sealed>,
    commands: BTreeMap<u32, Ran>,
    verdict: Option<String>,
    end: Option<(Moment, String)>,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let id = request::order_id(&given.id)?;
    let mut seat = look::open(globals)?;
    let view = seat.look_at(&BTreeSet::from([id.clone()]))?;
    let lines = history::lines(&mut seat.world, Some(&id))?;
    if !view.ids().contains(&id) && view.attempt(&id).is_none() {
        return Err(match lines.iter().rfind(|line| history::tells(line)) {
            None => look::unknown(&id),
            Some(last) => {
                let last = history::words(last);
                let text = format!("{id} has no ticket any more; the ledger last said: {last}");
                Failure::new(code::NOT_FOUND, text)
            }
        });
    }
    if let Some(field) = given.field {
        let value = value(&seat.root, &view, &id, field).ok_or_else(|| {
            let text = format!("{id} has no {}", format!("{field:?}").to_lowercase());
            Failure::new(code::NOT_FOUND, text)
        })?;
        match globals.json {
            true => say::object("show", [("id", id.as_str().into()), ("value", value.into())])?,
            false => say::line(&out::plain(&value))?,
        }
        return Ok(code::DONE);
    }
    let told = told(&lines);
    let presence = seat.presence();
    if globals.json {
        let object = object(&seat.root, &view, &id, &told, presence);
        say::line(&Value::Object(object).to_string())?;
        return Ok(code::DONE);
    }
    out::text(&text(&seat.root, &view, &id, &told, presence))?;
    Ok(code::DONE)
}

/// Branch and worktree (root-relative) of an order; those it has, else those it will have.
fn workplace(view: &View, id: &OrderId) -> Option<(String, String)> {
    if let Some(attempt) = view.attempt(id) {
        return match &attempt.claim.place {
            Place::Root => None,
            Place::Tree { path, branch, .. } => Some((branch.clone(), path.clone())),
        };
    }
    match view.known(id).map(|k| &k.order.workspace) {
        Some(Workspace::None) => None,
        Some(Workspace::Inherit(other)) => Some((other.branch(), other.worktree())),
        _ => Some((id.branch(), id.worktree())),
    }
}

fn value(root: &Path, view: &View, id: &OrderId, field: Field) -> Option<String> {
    let absolute = |path: &Path| root.join(path).to_string_lossy().into_owned();
    let ticket = view.index.tickets.get(id);
    match field {
        Field::Branch => workplace(view, id).map(|(branch, _)| branch),
        Field::Worktree => workplace(view, id).map(|(_, path)| absolute(Path::new(&path))),
        Field::Lease => ticket?.lease.as_ref().map(|_| absolute(&paths::lock(id))),
        Field::State => ticket?.state().map(|s| s.name().to_owned()),
        Field::Attempt => Some(attempt_number(view, id).to_string()),
        Field::Result => sight::result(view, id),
    }
}

fn attempt_number(view: &View, id: &OrderId) -> u32 {
    let of_ticket = view.known(id).map_or(0, |k| k.order.own.attempt);
    view.attempt(id).map_or(of_ticket, |a| a.number)
}

/// The attempts, from the lines of the ledger.
fn told(lines: &[Line]) -> BTreeMap<u32, Told> {
    let mut all: BTreeMap<u32, Told> = BTreeMap::new();
    for line in lines {
        let Some(number) = line.attempt else { continue };
        let told = all.entry(number).or_default();
        match &line.event {
            Event::Claiming(claim) => {
                told.claimed = Some(line.time);
                told.sealed = Some(claim.sealed.clone());
                told.by = match &claim.mode {
                    Mode::Process => "the daemon".to_owned(),
                    Mode::Manual(holder) => holder.name.clone(),
                };
            }
            Event::Started { number, kind, name, .. } => {
                let text = told.sealed.as_ref().and_then(|s| sight::command_text(s, *kind));
                let (text, name) = (text.map(str::to_owned), name.clone());
                let ran = Ran { kind: history::kind_word(*kind), name, text, end: None };
                told.commands.insert(*number, ran);
            }
            Event::Ended { number, end } => {
                if let Some(command) = told.commands.get_mut(number) {
                    command.end = Some(history::end_words(end));
                }
            }
            Event::Verdict { result, reason, .. } => {
                told.verdict = Some(format!("{} ({reason})", result.to_uppercase()));
            }
            Event::Settled { .. } | Event::Released { .. } => {
                let words = history::words(&Line { attempt: None, ..line.clone() });
                told.end = Some((line.time, words));
            }
            _ => {}
        }
    }
    all
}

fn object(
    root: &Path,
    view: &View,
    id: &OrderId,
    told: &BTreeMap<u32, Told>,
    presence: Presence,
) -> Map<String, Value> {
    let mut map = Map::from_iter([("schema".to_owned(), Value::from("jobyard.show.v1"))]);
    if let Value::Object(of_list) = list::one(view, id, presence) {
        map.extend(of_list);
    }
    let ticket = view.index.tickets.get(id);
    let file = ticket.and_then(|t| t.state()).map(|s| paths::ticket(s, id).display().to_string());
    let place = workplace(view, id);
    let lease = ticket.and_then(|t| t.lease.as_deref()).map(|l| {
        json!({
            "file": paths::lock(id).display().to_string(),
            "holder": sight::held_by(&l.body),
            "age_ms": view.extra.lock_age_ms.get(id),
            "silent_ms": l.silent_ms,
        })
    });
    let attempts: Value = told.iter().map(|(n, t)| of_told(id, *n, t)).collect();
    let known = view.known(id);
    let rest = json!({
        "file": file,
        "branch": place.as_ref().map(|(branch, _)| branch),
        "worktree": place.as_ref().map(|(_, path)| path),
        "worktree_path": place.as_ref().map(|(_, path)| root.join(path).display().to_string()),
        "lease": lease,
        "objective": known.map(|k| &k.order.objective),
        "epic_id": known.map(|k| &k.order.epic_id),
        "dod_id": known.map(|k| &k.order.dod_id),
        "owner": known.map(|k| &k.order.owner),
        "dependencies": known.map(|k| {
            k.order.dependencies.iter().map(|d| d.id.as_str()).collect::<Vec<_>>()
        }),
        "run": known.map(|k| &k.order.run),
        "checks": known.map(|k| &k.order.checks),
        "started_at": known.map(|k| &k.order.view.started_at),
        "finished_at": known.map(|k| &k.order.view.finished_at),
        "commit_sha": known.map(|k| &k.order.view.commit_sha),
        "verified_at_sha": known.map(|k| &k.order.view.verified_at_sha),
        "warnings": known.map(|k| warnings(k).map(ToString::to_string).collect::<Vec<_>>()),
        "attempts": attempts,
        "log": paths::execution_log(id).display().to_string(),
    });
    if let Value::Object(rest) = rest {
        map.extend(rest);
    }
    map
}

fn of_told(id: &OrderId, number: u32, told: &Told) -> Value {
    let run = paths::run(id, number);
    let commands: Value = told
        .commands
        .iter()
        .map(|(n, ran)| {
            let Ran { kind, name, text, end } = ran;
            let log = run.join(log_name(*n, name)).display().to_string();
            json!({
                "number": n, "kind": kind, "name": name, "text": text, "end": end, "log": log,
            })
        })
        .collect();
    json!({
        "attempt": number,
        "by": told.by,
        "claimed": told.claimed.map(Moment::rfc3339),
        "commands": commands,
        "verdict": told.verdict,
        "ended": told.end.as_ref().map(|(at, _)| at.rfc3339()),
        "end": told.end.as_ref().map(|(_, text)| text),
        "dir": run.display().to_string(),
    })
}

fn text(
    root: &Path,
    view: &View,
    id: &OrderId,
    told: &BTreeMap<u32, Told>,
    presence: Presence,
) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let value = out::plain_lines(value).replace('\n', "\n            ");
        if !value.is_empty() {
            text.push_str(&format!("{name:<11} {value}\n"));
        }
    };
    let ticket = view.index.tickets.get(id);
    put("id", id.as_str());
    put("state", sight::word(view, id));
    if let Some(known) = view.known(id) {
        facts(known, &mut put);
    }
    for (at, obstacle) in sight::obstacles(view, id, presence).iter().enumerate() {
        put(if at == 0 { "waits for" } else { "" }, &obstacle.text);
    }
    if ticket.and_then(|t| t.state()) == Some(State::Running) {
        put("does", &sight::activity(view, id));
    }
    if let Some((branch, path)) = workplace(view, id) {
        put("branch", &branch);
        put("worktree", &root.join(path).to_string_lossy());
    }
    if let Some(lease) = ticket.and_then(|t| t.lease.as_deref()) {
        let age = view.extra.lock_age_ms.get(id).copied().unwrap_or(0);
        let age = out::span(i64::try_from(age).unwrap_or(i64::MAX));
        put("lease", &format!("{}, {age} old", sight::held_by(&lease.body)));
    }
    if let Some(state) = ticket.and_then(|t| t.state()) {
        put("file", &paths::ticket(state, id).display().to_string());
    }
    put("log", &paths::execution_log(id).display().to_string());
    for (number, told) in told {
        put("", "");
        attempt(id, *number, told, &mut put);
    }
    text
}

/// What may be a mistake. A short order is healthy.
fn warnings(known: &crate::plan::findings::Known) -> impl Iterator<Item = &Defect> {
    known.warnings.iter().filter(|w| w.code != MISSING_KEY)
}

fn facts(known: &crate::plan::findings::Known, put: &mut dyn FnMut(&str, &str)) {
    let order = &known.order;
    put("title", &order.title);
    put("priority", order.priority.name());
    put("epic", order.epic_id.as_deref().unwrap_or_default());
    put("owner", order.owner.as_deref().unwrap_or_default());
    let upstream: Vec<&str> = order.dependencies.iter().map(|d| d.id.as_str()).collect();
    put("depends on", &upstream.join(", "));
    put("result", order.view.result.as_deref().unwrap_or_default());
    put("reason", order.own.reason.as_deref().unwrap_or_default());
    put("commit", order.view.commit_sha.as_deref().unwrap_or_default());
    put("verified", order.view.verified_at_sha.as_deref().unwrap_or_default());
    for warning in warnings(known) {
        put("warning", &warning.message);
    }
}

fn attempt(id: &OrderId, number: u32, told: &Told, put: &mut dyn FnMut(&str, &str)) {
    let when = told.claimed.map(Moment::rfc3339).unwrap_or_default();
    put(&format!("attempt {number}"), &format!("by {} at {when}", told.by));
    for (n, Ran { kind, name, text, end }) in &told.commands {
        let text = out::first_line(text.as_ref().unwrap_or(name));
        let end = end.as_deref().unwrap_or("runs, or nobody saw its end yet");
        put("", &format!("{n:02} {kind} {text}: {end}"));
    }
    if let Some(verdict) = &told.verdict {
        put("", &format!("verdict {verdict}"));
    }
    if let Some((_, end)) = &told.end {
        put("", end);
    }
    put("", &format!("logs in {}/", paths::run(id, number).display()));
}
