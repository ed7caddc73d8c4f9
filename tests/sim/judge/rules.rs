//! What each line of the ledger must keep to besides its order: holds, slots, times, retries, who may ask.
//!
//! Invariants: decided from earlier lines, from what people meant and from git as it is; looked at before the
//! line itself is taken into account.

use super::book::Line;
use super::story::{Kind, Stories, Story, Tale, Where, Witness};
use crate::life::{Class, Order};
use crate::world::RunEnd;
use jiff::{SignedDuration, Timestamp};
use jobyard::model::tree::CommitId;
use serde_json::Value;

/// How long a holder must have been silent.
const STALE_AFTER: SignedDuration = SignedDuration::from_secs(3600);

/// What is cancelled ends within its grace.
const STOPPED_WITHIN: SignedDuration = SignedDuration::from_secs(20);
/// What has been pending so long was looked at.
const LONG_ENOUGH: SignedDuration = SignedDuration::from_secs(30);

/// The rule that a line breaks.
pub(super) fn check(stories: &Stories, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let order = by.people.order(&line.id);
    let Some(order) = order.filter(|o| !o.meddled) else { return Ok(()) };
    let story = stories.get(&line.id);
    let vouched = story.is_some_and(|s| s.vouched) || !by.adoption_is_over;
    if line.event == "adopted" && line.attempt == 0 && !vouched {
        return Err("it is adopted though nothing vouches for it".to_owned());
    }
    let Some(story) = story.filter(|s| s.place != Where::Nowhere) else {
        let begun = line.event == "claiming";
        return if begun { Err("it was never seen pending".to_owned()) } else { Ok(()) };
    };
    let tale = story.attempts.get(&line.attempt);
    match (line.event.as_str(), tale) {
        ("claiming", _) if line.value["mode"] == "process" => {
            claimed(stories, story, line, by)?;
            first(stories, order, line, by)
        }
        // Moved while it was adopted, nobody knows any more where it was.
        ("requeued", _) if story.place == Where::Done && !story.adopted => {
            Err("a done order is requeued".to_owned())
        }
        ("request", Some(tale)) => asked(tale, line, by),
        ("settled", None) => hopeless(stories, order, line),
        ("settled", Some(tale)) => taken_over(tale, line, by).and_then(|()| retried(tale, line)),
        // Who moves an order to `running/` while it is claimed may find it begun without its run directory.
        ("verdict", _) if word(&line.value, "reason") == "sealed-changed" && !order.moved => {
            Err("what was sealed is called changed, and nobody changed it".to_owned())
        }
        ("verdict", Some(tale)) => {
            checked(tale, line)?;
            unchanged(line, by)?;
            in_scope(tale, order, line, by)
        }
        ("ended", Some(tale)) => stopped(tale, line, by).and_then(|()| ended(line, by)),
        _ => Ok(()),
    }
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn time(value: &Value, key: &str) -> Option<Timestamp> {
    word(value, key).parse().ok()
}

/// The daemon starts it: not held, its time has come, a slot is free.
fn claimed(stories: &Stories, story: &Story, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    if story.held == Some(true) {
        return Err("it is started, but held".to_owned());
    }
    let retry_at: Option<Timestamp> = story.retry_at.as_deref().and_then(|at| at.parse().ok());
    if retry_at.is_some_and(|at| time(&line.value, "time") < Some(at)) {
        return Err(format!("it is tried again before {}", retry_at.unwrap_or_default()));
    }
    // What is moved while an actor looks for it is seen nowhere, and takes no slot.
    let unseen = |o: &Order| o.moved && by.people.temper.rare.is_some();
    let meddled = |id: &str| by.people.order(id).is_none_or(|o| o.meddled || unseen(o));
    let runs = |s: &Story| s.attempts.values().any(|t| t.open() && t.holder.is_none());
    let running = stories.iter().filter(|(id, s)| !meddled(id) && runs(s)).count();
    let slots = by.people.temper.slots;
    if running >= slots { Err(format!("it is started beside {running} others")) } else { Ok(()) }
}

/// A request is accepted: of whoever holds it, with a reason where one is needed.
fn asked(tale: &Tale, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    as_written(line, by)?;
    if word(&line.value, "verb") != "finish" || word(&line.value, "request").is_empty() {
        return Ok(());
    }
    let uid = line.value["by"]["uid"].as_u64();
    if tale.holder.is_some() && uid != tale.holder {
        return Err(format!("{uid:?} finishes what {:?} holds", tale.holder));
    }
    if line.value["skip_verification"] == true && word(&line.value, "reason").is_empty() {
        return Err("its checks are skipped without a reason".to_owned());
    }
    Ok(())
}

/// What is accepted is the whole of what was written.
fn as_written(line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let hex = word(&line.value, "request");
    let ask = by.people.asks.iter().find(|a| a.hex == hex && !hex.is_empty() && !a.perhaps_lost);
    let Some(ask) = ask else { return Ok(()) };
    let reason = !word(&line.value, "reason").is_empty();
    let skips = line.value["skip_verification"] == true;
    match ask.nonsense || (reason, skips) != (ask.reason, ask.skip) {
        true => Err(format!("{} is accepted, but not as it was written", ask.file)),
        false => Ok(()),
    }
}

/// It is given up for an upstream order: one of them has ended otherwise.
fn hopeless(stories: &Stories, order: &Order, line: &Line) -> Result<(), String> {
    if word(&line.value, "reason") != "dependency-unsatisfiable" {
        return Ok(());
    }
    let ended = |place: Where| matches!(place, Where::Done | Where::Failed);
    let any = order
        .spec
        .dependencies
        .iter()
        .any(|(up, _)| stories.get(up).is_some_and(|s| ended(s.place) || ended(s.left.0)));
    if any { Ok(()) } else { Err("it is given up, but what it needs can still come".to_owned()) }
}

/// An order is taken from its holder only after a long silence. Of a lock that nobody knows, nobody can tell.
fn taken_over(tale: &Tale, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let taken = matches!(word(&line.value, "result"), "taken-over" | "requeued");
    let unsure = [Class::Clock, Class::Foreign].into_iter().any(|c| by.people.temper.has(c));
    let (Some(from), Some(to)) = (time(&tale.claim, "time"), time(&line.value, "time")) else {
        return Ok(());
    };
    if taken && tale.holder.is_some() && !unsure && to.duration_since(from) < STALE_AFTER {
        return Err(format!("it is taken from its holder after {}", to.duration_since(from)));
    }
    Ok(())
}

/// Retried is what its policy names, and all of that.
fn retried(tale: &Tale, line: &Line) -> Result<(), String> {
    let reason = word(&line.value, "reason");
    let kind = match reason {
        _ if tale.verdict.as_deref() == Some("fail") => "verify-fail",
        "timeout" | "idle-timeout" => "timeout",
        "output-limit" | "stopped" | "lost" => reason,
        _ => "fail",
    };
    let sealed = &tale.claim["sealed"];
    let on = sealed["retry"]["on"].as_array().cloned().unwrap_or_default();
    let named = on.iter().any(|word| word == kind);
    let left = sealed["retries"].as_u64().unwrap_or(0) < tale.retry_max;
    let retried = line.value.get("retry_at").is_some();
    if retried && !named {
        return Err(format!("it is tried again after {reason}, which its policy does not name"));
    }
    let due = tale.holder.is_none() && !tale.asked && named && left;
    if due && word(&line.value, "result") == "fail" && !retried {
        return Err(format!("it is not tried again after {reason}"));
    }
    Ok(())
}

/// Unverified is what has no checks, or whose checks were skipped; vacuous ones are run too.
fn checked(tale: &Tale, line: &Line) -> Result<(), String> {
    let run = tale.commands.iter().filter(|c| matches!(c.kind, Kind::Check(_))).count();
    let missing = run < tale.checks && !tale.skips;
    match missing && word(&line.value, "result") == "unverified" {
        true => Err("it is called unverified, and its checks were not run".to_owned()),
        false => Ok(()),
    }
}

/// What passed is what lies there: committed, and nothing else. Where nobody acts meanwhile.
fn unchanged(line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let branch = format!("feat/wo-{}", line.id);
    let seen = by.synced.get(&branch);
    let commit = line.value["commit"].as_str();
    let differs = seen.is_some_and(|(tip, clean)| !clean || Some(tip.as_str()) != commit);
    let pass = word(&line.value, "result") == "pass" && commit.is_some();
    // Where people are close to an actor they leave worktrees alone meanwhile.
    let acted = by.people.temper.has(Class::Between) && by.people.temper.rare.is_none();
    if pass && differs && !acted {
        return Err(format!("PASS for {commit:?}, but the worktree is at {seen:?}"));
    }
    Ok(())
}

/// Whoever cancels what runs has it ended, and does not wait for its own end.
fn stopped(tale: &Tale, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    use Class::{Crash, Errno, Executor, Health, Lost, Power, Short, Traffic, Verb};
    let unsure = [Crash, Errno, Executor, Health, Lost, Power, Short, Traffic, Verb, Class::Clock];
    let end = &line.value["end"]["seen"];
    let timeout = matches!(word(end, "cause"), "timeout" | "idle-timeout");
    if !timeout || unsure.into_iter().any(|class| by.people.temper.has(class)) {
        return Ok(());
    }
    let Some(asked) = tale.cancelled_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok())
    else {
        return Ok(());
    };
    let ended = end["ended_ms"].as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let late = ended.is_some_and(|ended| ended.duration_since(asked) > STOPPED_WITHIN);
    if late { Err("it was cancelled, and ran on until its own end".to_owned()) } else { Ok(()) }
}

/// The best of the queue is started first: no order that waits for nothing and was never touched is better.
fn first(stories: &Stories, order: &Order, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    use Class::{Broken, Edit, Move};
    // Lives in which nothing else could keep an order back.
    let plain = |class: Class| matches!(class, Edit | Broken | Move | Class::Ask);
    let mut classes = Class::ALL.into_iter().map(|(class, _)| class);
    if by.people.temper.slow || classes.any(|c| by.people.temper.has(c) && !plain(c)) {
        return Ok(());
    }
    let Some(now) = time(&line.value, "time") else { return Ok(()) };
    let waits = |other: &&Order| {
        let story = stories.get(&other.spec.id);
        let since = story.and_then(|s| s.intake_at.as_deref()?.parse::<Timestamp>().ok());
        let long = since.is_some_and(|since| now.duration_since(since) > LONG_ENOUGH);
        let untouched = story.is_some_and(|s| s.place == Where::Pending && s.attempts.is_empty())
            && other.versions.len() == 1
            && !(other.meddled || other.moved || other.broken || other.writer.is_some())
            && !by.people.asks.iter().any(|a| a.id == other.spec.id);
        long && untouched && !other.spec.run.is_empty() && other.spec.dependencies.is_empty()
    };
    let better = |other: &&Order| other.spec.priority < order.spec.priority;
    match by.people.orders.iter().filter(better).find(waits) {
        Some(other) => Err(format!("it is started before {}, which is better", other.spec.id)),
        None => Ok(()),
    }
}

/// What the executor saw is not lost.
fn ended(line: &Line, by: &Witness<'_>) -> Result<(), String> {
    use Class::{Health, Power};
    let has = |classes: &[Class]| classes.iter().any(|c| by.people.temper.has(*c));
    let end = &line.value["end"];
    if end == "lost" && !has(&[Power, Health]) {
        let number = line.value["number"].as_u64().unwrap_or(0);
        let run = by.effects.last(&super::story::key(line, number));
        if run.is_some_and(|r| matches!(r.end, Some(RunEnd::Seen { .. }))) {
            return Err("it is called lost, but its executor saw the end".to_owned());
        }
    }
    Ok(())
}

/// What passed has changed nothing but what it may.
fn in_scope(tale: &Tale, order: &Order, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let id = |value: &Value, key: &str| CommitId::parse(word(value, key));
    let base = id(&tale.claim["place"]["tree"], "base");
    let (Some(base), Some(commit)) = (base, id(&line.value, "commit")) else { return Ok(()) };
    let allowed = order.spec.may_change();
    if word(&line.value, "result") != "pass" || allowed.is_empty() {
        return Ok(());
    }
    let changes = by.git.changes(&base, &commit).unwrap_or_default();
    let outside =
        changes.iter().filter_map(|c| c.new_path.as_deref()).find(|p| !p.starts_with(allowed));
    outside.map_or(Ok(()), |path| Err(format!("PASS, but {path} was changed, which it may not")))
}
