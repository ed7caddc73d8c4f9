//! What the ledger tells of one order, line by line, and what must hold of each line.
//!
//! Invariants: decided from lines, from what people meant and from what really ran; nothing of the
//! engine's own folding is used.

use super::book::Line;
use super::rules;
use crate::life::{Order, People};
use crate::world::{Effects, Git, RunEnd};
use jobyard::model::protocol::{Cause, CommandKey};
use serde_json::Value;
use std::collections::BTreeMap;

/// How often checks are begun whose end nobody sees.
const CHECK_ROUNDS: usize = 5;

/// Where an order is, as the ledger says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Where {
    /// It says nothing.
    #[default]
    Nowhere,
    /// `pending/`
    Pending,
    /// `running/`
    Running,
    /// `done/`
    Done,
    /// `failed/`
    Failed,
}

impl Where {
    /// The name of the directory; what was never told of lies in `pending/`.
    pub(crate) const fn dir(self) -> &'static str {
        match self {
            Self::Nowhere | Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "running" => Self::Running,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Nowhere,
        }
    }
}

/// One order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// Where it is.
    pub(crate) place: Where,
    /// Its result, when settled.
    pub(crate) result: String,
    /// Its attempts by number.
    pub(crate) attempts: BTreeMap<u64, Tale>,
    /// Held by a request; nobody knows once it was withdrawn, for it may have come back as it was.
    pub(crate) held: Option<bool>,
    withdrawn: bool,
    /// It was adopted where it lay, and nothing was said of it since.
    pub(crate) adopted: bool,
    /// The last word is that it is to be pending again; whoever asked may withdraw before it is.
    pub(crate) requeueing: bool,
    retries_in_a_row: u64,
    /// It was adopted once.
    pub(super) vouched: bool,
    /// When it is to be tried again.
    pub(super) retry_at: Option<String>,
    /// When it was first seen pending, if nothing else was said of where it lies since.
    pub(super) intake_at: Option<String>,
    /// Where it was before, and when it left: one round of the engine decides on one moment.
    pub(super) left: (Where, String),
}

/// One attempt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tale {
    /// The person who holds it; `None`: the daemon carries it.
    pub(crate) holder: Option<u64>,
    /// The claim was completed.
    pub(crate) claimed: bool,
    /// The base of the worktree that did not exist before.
    pub(crate) made_tree: Option<String>,
    /// Its commands.
    pub(crate) commands: Vec<Command>,
    /// It was undone.
    pub(crate) released: bool,
    /// State, result: its end.
    pub(crate) settled: Option<(Where, String)>,
    run: usize,
    pub(super) checks: usize,
    pub(super) retry_max: u64,
    gate_after: usize,
    pub(super) verdict: Option<String>,
    pub(super) asked: bool,
    /// Whoever asked skips the checks.
    pub(super) skips: bool,
    /// Its `claiming` line.
    pub(super) claim: Value,
    /// What was asked of it and is neither carried out nor answered.
    pub(crate) wish: Option<String>,
    /// When it was cancelled, if nothing else was asked of it since.
    pub(super) cancelled_at: Option<String>,
}

/// One command of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// Its number.
    pub(crate) number: u64,
    /// `run` index or check index.
    pub(crate) kind: Kind,
    ended: bool,
    passed: bool,
    /// Nobody saw its end.
    lost: bool,
}

/// What a command is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Of `run`.
    Run(u64),
    /// A check.
    Check(u64),
}

impl Tale {
    /// Neither undone nor settled.
    pub(crate) fn open(&self) -> bool {
        !self.released && self.settled.is_none()
    }
}

/// What a line is judged by.
pub(crate) struct Witness<'a> {
    /// What people meant and did.
    pub(crate) people: &'a People,
    /// What really ran.
    pub(crate) effects: &'a Effects,
    /// An unverified upstream is no success.
    pub(crate) require_checks: bool,
    /// The repository.
    pub(crate) git: &'a Git,
    /// Branches as they were when a commit of theirs was last made durable: tip, and a clean worktree.
    pub(crate) synced: &'a BTreeMap<String, (String, bool)>,
    /// Nothing is adopted any more.
    pub(crate) adoption_is_over: bool,
}

/// All orders.
pub(crate) type Stories = BTreeMap<String, Story>;

/// Takes a line into account; the error says which invariant it breaks.
pub(crate) fn tell(stories: &mut Stories, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    if line.id.is_empty() {
        return Ok(());
    }
    let ruled = rules::check(stories, line, by);
    let before = stories.get(&line.id).map(|s| s.place);
    if let Some(story) = stories.get_mut(&line.id) {
        story.adopted &= line.event == "answer";
        let told = |t: &&mut Tale| t.wish.as_deref() == line.value["verb"].as_str();
        if line.event == "answer"
            && let Some(tale) = story.attempts.get_mut(&line.attempt).filter(told)
        {
            tale.wish = None;
        }
    }
    let result = match line.event.as_str() {
        "claiming" => claiming(stories, line, by),
        "started" | "ended" | "verdict" | "gate" | "request" | "claimed" | "released" => {
            of_attempt(stories, line, by)
        }
        "settled" => settled(stories, line, by),
        _ => {
            of_ticket(stories.entry(line.id.clone()).or_default(), line);
            Ok(())
        }
    };
    if let Some(story) = stories.get_mut(&line.id) {
        let granted = line.value["verb"] == "requeue" && line.value["code"] == 0;
        story.requeueing = match line.event.as_str() {
            "requeued" => true,
            "answer" => story.requeueing && !granted,
            _ => false,
        };
    }
    if let (Some(before), Some(story)) = (before, stories.get_mut(&line.id))
        && before != story.place
    {
        story.left = (before, moment(line));
    }
    result
        .and(ruled)
        .map_err(|text| format!("line {} ({} {}): {text}", line.seq, line.event, line.id))
}

fn moment(line: &Line) -> String {
    line.value["time"].as_str().unwrap_or_default().to_owned()
}

fn of_ticket(story: &mut Story, line: &Line) {
    let word = |key: &str| line.value[key].as_str().unwrap_or_default();
    match line.event.as_str() {
        "intake" => {
            story.place = Where::Pending;
            story.intake_at = Some(moment(line));
            if !story.withdrawn {
                story.held.get_or_insert(false);
            }
        }
        "withdrawn" => {
            (story.place, story.held, story.retry_at) = (Where::Nowhere, None, None);
            story.withdrawn = true;
        }
        "requeued" => {
            story.place = Where::Pending;
            (story.retries_in_a_row, story.retry_at) = (0, None);
        }
        "adopted" => {
            story.place = Where::parse(word("state"));
            story.adopted = line.attempt == 0;
            story.vouched |= story.adopted;
        }
        // A settled attempt is carried on from wherever its ticket was.
        "put-back" if story.attempts.get(&line.attempt).is_some_and(|t| !t.open()) => {}
        "put-back" => story.place = Where::parse(word("to")),
        "held" => story.held = Some(true),
        "unheld" => story.held = Some(false),
        _ => {}
    }
}

fn claiming(stories: &mut Stories, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let order = by.people.order(&line.id).ok_or("nobody wrote this order")?;
    let sealed = &line.value["sealed"];
    let mode = &line.value["mode"];
    let take = line.value["request"].as_str().map(str::to_owned);
    sealed_as_meant(order, sealed)?;
    if !order.meddled && !by.people.forced(take.as_deref()) {
        dependencies_met(stories, order, by, &moment(line))?;
    }
    let story = stories.entry(line.id.clone()).or_default();
    if let Some((number, _)) = story.attempts.iter().find(|(_, t)| t.open()) {
        return Err(format!("attempt {} begins while {number} is open", line.attempt));
    }
    if let Some(last) = story.attempts.keys().last().filter(|last| **last >= line.attempt) {
        return Err(format!("attempt {} comes after attempt {last}", line.attempt));
    }
    if matches!(story.place, Where::Done | Where::Failed) && !order.meddled {
        return Err(format!("it is settled into {}/", story.place.dir()));
    }
    let tree = line.value["place"].get("tree");
    let retry_max = sealed["retry"]["max"].as_u64().unwrap_or(0);
    if sealed["retries"].as_u64().unwrap_or(0) > retry_max {
        return Err("more retries than its policy allows".to_owned());
    }
    let tale = Tale {
        holder: mode.get("manual").and_then(|m| m["uid"].as_u64()),
        made_tree: tree
            .filter(|t| t["worktree_existed"] == Value::Bool(false))
            .and_then(|t| t["base"].as_str().map(str::to_owned)),
        run: sealed["run"].as_array().map_or(0, Vec::len),
        checks: sealed["checks"].as_array().map_or(0, Vec::len),
        retry_max,
        claim: line.value.clone(),
        ..Tale::default()
    };
    story.attempts.insert(line.attempt, tale);
    story.place = Where::Running;
    Ok(())
}

fn sealed_as_meant(order: &Order, sealed: &Value) -> Result<(), String> {
    let texts = |key: &str| -> Vec<String> {
        let items = sealed[key].as_array().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().or_else(|| v["command"].as_str()).map(str::to_owned);
        items.iter().filter_map(text).collect()
    };
    if texts("run") != order.spec.run || texts("checks") != order.spec.checks {
        return Err("what is sealed is not what people wrote: it was read half-written".to_owned());
    }
    Ok(())
}

fn dependencies_met(
    stories: &Stories,
    order: &Order,
    by: &Witness<'_>,
    now: &str,
) -> Result<(), String> {
    let require_checks = by.require_checks;
    for (up, on) in &order.spec.dependencies {
        if by.people.order(up).is_some_and(|o| o.meddled) {
            continue;
        }
        let story = stories.get(up);
        let place = story.map_or(Where::Nowhere, |s| s.place);
        let vouched = !require_checks || story.is_none_or(|s| s.result != "unverified");
        let met = |place: Where| match *on {
            "success" => place == Where::Done && vouched,
            "failure" => place == Where::Failed,
            _ => matches!(place, Where::Done | Where::Failed),
        };
        let was = story.is_some_and(|s| s.left.1 == now && met(s.left.0));
        let moved = by.people.order(up).is_some_and(|o| o.moved)
            && by.people.temper.has(crate::life::Class::Power);
        if moved && place == Where::Pending && story.is_some_and(|s| met(s.left.0)) {
            // Requeued by a move; a power cut took the stamp of that, and a second move took it back.
            continue;
        }
        let still = story.is_some_and(|s| s.requeueing && met(s.left.0));
        if !met(place) && !was && !still {
            return Err(format!("it needs {on} of {up}, which is {place:?}"));
        }
    }
    Ok(())
}

fn of_attempt(stories: &mut Stories, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let story = stories.entry(line.id.clone()).or_default();
    let tale = story.attempts.get_mut(&line.attempt).ok_or("there is no such attempt")?;
    if !tale.open() {
        return Err(format!("attempt {} is over", line.attempt));
    }
    match line.event.as_str() {
        "started" => started(tale, line),
        "ended" => ended(tale, line, by),
        "gate" => {
            tale.gate_after = tale.commands.len();
            Ok(())
        }
        "verdict" => verdict(tale, line, by),
        "request" => {
            tale.asked = true;
            tale.skips |= line.value["skip_verification"] == true;
            tale.wish = line.value["verb"].as_str().map(str::to_owned);
            let cancel = line.value["verb"] == "cancel";
            let earlier = tale.cancelled_at.take().filter(|_| cancel);
            tale.cancelled_at = earlier.or_else(|| cancel.then(|| moment(line)));
            Ok(())
        }
        "claimed" => {
            tale.claimed = true;
            Ok(())
        }
        _ => {
            let touched = tale.claimed || !tale.commands.is_empty();
            tale.released = true;
            story.place = Where::Pending;
            if touched { Err("an attempt that was begun is undone".to_owned()) } else { Ok(()) }
        }
    }
}

fn started(tale: &mut Tale, line: &Line) -> Result<(), String> {
    let number = line.value["number"].as_u64().unwrap_or(0);
    let kind = match &line.value["kind"] {
        kind if kind["run"].is_u64() => Kind::Run(kind["run"].as_u64().unwrap_or(0)),
        kind => Kind::Check(kind["check"].as_u64().unwrap_or(0)),
    };
    if tale.commands.iter().any(|c| !c.ended) {
        return Err("a command starts beside another one".to_owned());
    }
    if number != tale.commands.len() as u64 + 1 {
        return Err(format!("command {number} comes after {}", tale.commands.len()));
    }
    let runs = || tale.commands.iter().filter(|c| matches!(c.kind, Kind::Run(_)));
    match kind {
        Kind::Run(at) => {
            if runs().count() as u64 != at || runs().any(|c| !c.passed) || tale.holder.is_some() {
                return Err(format!("run[{at}] starts again, or out of order"));
            }
        }
        Kind::Check(_) => {
            let whole = runs().count() == tale.run && runs().all(|c| c.passed);
            if tale.holder.is_none() && !whole && !tale.asked {
                return Err("a check starts before `run` has passed".to_owned());
            }
        }
    }
    tale.commands.push(Command { number, kind, ended: false, passed: false, lost: false });
    Ok(())
}

pub(super) fn key(line: &Line, number: u64) -> CommandKey {
    CommandKey { id: line.id.clone(), attempt: line.attempt as u32, number: number as u32 }
}

fn ended(tale: &mut Tale, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let number = line.value["number"].as_u64().unwrap_or(0);
    let command = tale.commands.iter_mut().find(|c| c.number == number && !c.ended);
    let command = command.ok_or("no such command runs")?;
    command.ended = true;
    let run = by.effects.last(&key(line, number));
    let Some(seen) = line.value["end"].get("seen") else {
        command.lost = true;
        return match run {
            Some(run) if run.to_ms.is_none() => Err("it is called lost, but lives".to_owned()),
            _ => Ok(()),
        };
    };
    let exit = seen["exit"].as_i64();
    command.passed = exit == Some(0) && seen["cause"] == "exited";
    match run.map(|r| r.end) {
        None if exit.is_some() => Err("it never ran, but its end is recorded".to_owned()),
        Some(Some(RunEnd::Seen { exit: real, .. })) if real.map(i64::from) != exit => {
            Err(format!("it ended with {real:?}, not with {exit:?}"))
        }
        Some(Some(RunEnd::Unseen { .. })) => Err("nobody saw this end".to_owned()),
        Some(None) => Err("it is called ended, but lives".to_owned()),
        _ => Ok(()),
    }
}

fn verdict(tale: &mut Tale, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let result = line.value["result"].as_str().unwrap_or_default().to_owned();
    tale.verdict = Some(result.clone());
    let round = tale.commands.get(tale.gate_after..).unwrap_or_default();
    let begun = tale.commands.iter().filter(|c| c.kind == Kind::Check(0)).count();
    if round.iter().any(|c| c.lost && matches!(c.kind, Kind::Check(_))) && begun < CHECK_ROUNDS {
        return Err("a check whose end nobody saw counts".to_owned());
    }
    if result != "pass" {
        return Ok(());
    }
    let round = tale.commands.get(tale.gate_after..).unwrap_or_default();
    for at in 0..tale.checks as u64 {
        let check = round.iter().rev().find(|c| c.kind == Kind::Check(at));
        let check = check.ok_or_else(|| format!("PASS, but check {at} was not run"))?;
        let end = by.effects.last(&key(line, check.number)).and_then(|r| r.end);
        if !matches!(end, Some(RunEnd::Seen { exit: Some(0), cause: Cause::Exited })) {
            return Err(format!("PASS, but check {at} ended so: {end:?}"));
        }
    }
    let runs = tale.commands.iter().filter(|c| matches!(c.kind, Kind::Run(_)));
    let passed = runs.filter(|c| c.passed).count();
    if tale.holder.is_none() && !tale.asked && passed != tale.run {
        return Err("PASS, but `run` did not pass".to_owned());
    }
    Ok(())
}

fn settled(stories: &mut Stories, line: &Line, by: &Witness<'_>) -> Result<(), String> {
    let word = |key: &str| line.value[key].as_str().unwrap_or_default();
    let (state, result) = (Where::parse(word("state")), word("result"));
    let retried = line.value.get("retry_at").is_some();
    let meddled = by.people.order(&line.id).is_some_and(|o| o.meddled);
    let story = stories.entry(line.id.clone()).or_default();
    story.place = state;
    result.clone_into(&mut story.result);
    story.retry_at = line.value["retry_at"].as_str().map(str::to_owned);
    if line.attempt == 0 {
        if story.attempts.values().any(Tale::open) {
            return Err("it is settled beside its open attempt".to_owned());
        }
        return Ok(());
    }
    let tale = story.attempts.get_mut(&line.attempt).ok_or("there is no such attempt")?;
    if !tale.open() {
        return Err(format!("attempt {} is over", line.attempt));
    }
    if tale.commands.iter().any(|c| !c.ended) {
        return Err("it is settled while a command runs".to_owned());
    }
    if result == "pass" && tale.verdict.as_deref() != Some("pass") {
        return Err("it is settled as passed without a verdict".to_owned());
    }
    if state == Where::Done && tale.verdict.is_none() {
        return Err("it is done without a verdict".to_owned());
    }
    tale.settled = Some((state, result.to_owned()));
    if retried && tale.holder.is_some() {
        return Err("a person's attempt is retried".to_owned());
    }
    story.retries_in_a_row = if retried { story.retries_in_a_row + 1 } else { 0 };
    if story.retries_in_a_row > tale.retry_max && !meddled {
        return Err(format!("retry {} of {}", story.retries_in_a_row, tale.retry_max));
    }
    Ok(())
}
