//! From the words of the tables to facts, and from what the planner makes of them back to words.
//!
//! Invariant: a combination that can come about in several ways is built in all of them.

use super::parts::{
    BOOT, HOST, INSTANCE, OTHER_BOOT, SETTLED, add, asked, attempt, attempts, end, exited, holder,
    id, leases, places,
};
use jobyard::model::attempt::{
    Attempt, CommandEnd, CommandKind, Gate, Mode, Objection, VerdictFact, Wish,
};
use jobyard::model::index::{ExecutorFact, ExecutorState, Index, Seen, Ticket};
use jobyard::model::order::State;
use jobyard::model::sealed::SealedRetry;
use jobyard::model::time::{Moment, Tick};
use jobyard::plan::Policy;
use jobyard::plan::action::Action;
use jobyard::plan::step::{Step, step};

/// One table: its columns with their values, and what the planner makes of a combination, in every way
/// it can come about. No way at all: the combination cannot be.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, &'static [&'static str])],
    pub(super) plan: fn(&[&str]) -> Vec<String>,
}

pub(super) const STATES: Case = Case {
    name: "states",
    columns: &[
        ("place", &["none", "P", "R", "D", "F", "twice", "two", "ends"]),
        ("lease", &["none", "mine", "dead", "alive", "person", "rebooted", "foreign"]),
        (
            "attempt",
            &["none", "claiming", "taking", "taken", "running", "ran", "to-P", "to-D", "to-F"],
        ),
        ("says", &["order", "bare", "done", "failed", "own", "refused", "writing"]),
        ("seen", &["never", "fresh", "pending", "settled", "requeued", "unrun", "adopted"]),
    ],
    plan: states,
};

pub(super) const COMMAND: Case = Case {
    name: "command",
    columns: &[
        (
            "executor",
            &["nothing", "sent", "running", "ended", "refused", "sweeping", "swept", "left"],
        ),
        ("link", &["up", "down"]),
        ("boot", &["this", "other"]),
        ("wish", &["none", "stop", "finish"]),
    ],
    plan: command,
};

pub(super) const COURSE: Case = Case {
    name: "course",
    columns: &[
        ("carrier", &["daemon", "person"]),
        ("asked", &["none", "finish", "skip", "cancel", "requeue"]),
        ("run", &["left", "passed", "failed", "retry"]),
        ("gate", &["none", "open", "unmet", "violated"]),
        ("checks", &["left", "lost", "ended"]),
        ("verdict", &["none", "good", "bad"]),
    ],
    plan: course,
};

fn policy() -> Policy {
    let (instance, host) = (INSTANCE.to_owned(), HOST.to_owned());
    Policy { instance, host, ..Policy::new(jiff::tz::TimeZone::UTC, 1) }
}

/// What the planner decides about one ticket, in words.
fn planned(
    ticket: Ticket,
    executor: Option<ExecutorFact>,
    link: ExecutorState,
    fresh: bool,
) -> String {
    let mut index = Index { boot: BOOT.to_owned(), durable_seq: SETTLED, ..Index::default() };
    index.executor_state = link;
    if let Some(attempt) = &ticket.attempt {
        index.open.insert(id());
        if let (Some(fact), Some(command)) = (executor, attempt.last()) {
            index.executor.insert(attempt.key(command.number), fact);
        }
    }
    index.tickets.insert(id(), ticket);
    let policy = Policy { fresh, ..policy() };
    word(&step(&index, &id(), Moment(1_000_000), Tick(1_000), &policy))
}

/// The first thing a step does.
fn word(step: &Step) -> String {
    match step.actions.first() {
        None if step.ready => "Ready".to_owned(),
        None => "wait".to_owned(),
        Some(Action::PutBack { to, .. }) => format!("PutBack to {}", to.name()),
        Some(Action::PullBack { wish, .. }) => format!("PullBack {}", wish.name()),
        Some(Action::Settle { state, .. }) => format!("Settle {}", state.name()),
        Some(Action::Start { kind: CommandKind::Run(_) }) => "Start run".to_owned(),
        Some(Action::Start { kind: CommandKind::Check(_) }) => "Start check".to_owned(),
        Some(Action::RecordEnd { end: CommandEnd::Lost }) => "RecordEnd lost".to_owned(),
        Some(Action::RecordEnd { .. }) => "RecordEnd seen".to_owned(),
        Some(action) => {
            let text = format!("{action:?}");
            text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

fn states(values: &[&str]) -> Vec<String> {
    let [at, lease, attempt, says, seen] = values[..] else { return Vec::new() };
    let says = match (says, attempt) {
        ("own", "to-D") => "own done",
        ("own", "to-F") => "own failed",
        ("bare", "to-P") => "bare",
        ("own" | "bare", _) => return Vec::new(),
        _ => says,
    };
    let mut planned_ways = Vec::new();
    for places in places(at, says) {
        for attempt in attempts(attempt) {
            for lease in leases(lease) {
                let running = attempt.as_ref().is_some_and(|a| a.unended().is_some());
                let ticket = Ticket {
                    places: places.clone(),
                    lease,
                    attempt: attempt.clone().map(Box::new),
                    seen: last_word(seen, at),
                    ..Ticket::default()
                };
                let executor = running.then_some(ExecutorFact::Running);
                let fresh = seen == "fresh";
                planned_ways.push(planned(ticket, executor, ExecutorState::Up, fresh));
            }
        }
    }
    planned_ways
}

/// The settlement of an attempt, decided but not durable, with its ticket at `at`.
pub(super) fn not_durable(at: &str, attempt: &str) -> String {
    let says = if attempt == "to-F" { "own failed" } else { "own done" };
    let says = if attempt == "to-P" { "order" } else { says };
    let mut attempt = attempts(attempt).remove(0).unwrap();
    if let Some(settled) = &mut attempt.settled {
        settled.seq = SETTLED + 1;
    }
    let ticket = Ticket {
        places: places(at, says).remove(0),
        lease: leases("mine").remove(0),
        attempt: Some(Box::new(attempt)),
        ..Ticket::default()
    };
    planned(ticket, None, ExecutorState::Up, false)
}

fn last_word(seen: &str, at: &str) -> Seen {
    match seen {
        "pending" => Seen::Pending,
        "settled" => Seen::Settled(if at == "D" { State::Done } else { State::Failed }),
        "requeued" => Seen::Requeued,
        "unrun" => Seen::Unrun,
        "adopted" => Seen::Adopted(if at == "D" { State::Done } else { State::Failed }),
        _ => Seen::Never,
    }
}

/// A ticket in `running/` with its lease.
fn in_running(attempt: Attempt) -> Ticket {
    let lease_word = if attempt.is_process() { "mine" } else { "person" };
    Ticket {
        places: places("R", "order").remove(0),
        lease: leases(lease_word).remove(0),
        attempt: Some(Box::new(attempt)),
        ..Ticket::default()
    }
}

fn command(values: &[&str]) -> Vec<String> {
    let [executor, link, boot, wish] = values[..] else { return Vec::new() };
    let fact = match executor {
        "sent" => Some(ExecutorFact::Sent),
        "running" => Some(ExecutorFact::Running),
        "ended" => Some(ExecutorFact::Ended(Box::new(end(0)))),
        "refused" => Some(ExecutorFact::Refused),
        "sweeping" => Some(ExecutorFact::Sweeping),
        "swept" => Some(ExecutorFact::Swept(0)),
        "left" => Some(ExecutorFact::Swept(2)),
        _ => None,
    };
    let wishes = match wish {
        "none" => vec![None],
        "finish" => vec![Some(asked(Wish::Finish, false, false))],
        _ => vec![
            Some(asked(Wish::Cancel, false, false)),
            Some(asked(Wish::Requeue, false, false)),
            Some(asked(Wish::Finish, true, false)),
        ],
    };
    let links = match link {
        "up" => vec![ExecutorState::Up],
        _ => vec![ExecutorState::Unknown, ExecutorState::Dead],
    };
    let mut ways = Vec::new();
    for asked in &wishes {
        for link in &links {
            let mut attempt = attempt(Mode::Process);
            let check = wish == "finish";
            let kind = if check { CommandKind::Check(0) } else { CommandKind::Run(0) };
            add(&mut attempt, kind, None);
            attempt.commands[0].boot = if boot == "this" { BOOT } else { OTHER_BOOT }.to_owned();
            attempt.asked.clone_from(asked);
            for ticket in everywhere(&attempt) {
                ways.push(planned(ticket, fact.clone(), *link, false));
            }
        }
    }
    ways
}

/// In `running/`, missing, and there twice: the end of a command is recorded in any case.
fn everywhere(attempt: &Attempt) -> Vec<Ticket> {
    let mut tickets = vec![in_running(attempt.clone())];
    for at in ["none", "ends"] {
        let places = places(at, "order").remove(0);
        tickets.push(Ticket { places, ..in_running(attempt.clone()) });
    }
    tickets
}

fn course(values: &[&str]) -> Vec<String> {
    let [carrier, asks, run, gate, checks, verdict] = values[..] else { return Vec::new() };
    let mut ways = vec![course_of([carrier, asks, run, gate, checks, verdict], "fail")];
    if (run, verdict) == ("retry", "bad") {
        let passed = [carrier, asks, "passed", gate, checks, verdict];
        ways.push(course_of(passed, "verify-fail"));
    }
    ways
}

/// One way of the course; `again` is what is tried again.
fn course_of(values: [&str; 6], again: &str) -> String {
    let [carrier, asks, run, gate, checks, verdict] = values;
    let mode = if carrier == "daemon" { Mode::Process } else { Mode::Manual(holder()) };
    let mut attempt = attempt(mode);
    attempt.claimed = carrier == "person";
    let retries = SealedRetry {
        max: u32::from(run == "retry" || again == "verify-fail"),
        cap_ms: 1,
        on: vec![again.to_owned()],
        ..SealedRetry::default()
    };
    attempt.claim.sealed.retry = Some(retries);
    add(&mut attempt, CommandKind::Run(0), Some(exited(0)));
    match run {
        "passed" => add(&mut attempt, CommandKind::Run(1), Some(exited(0))),
        "failed" | "retry" => add(&mut attempt, CommandKind::Run(1), Some(exited(1))),
        _ => {}
    }
    attempt.asked = match asks {
        "finish" => Some(asked(Wish::Finish, false, false)),
        "skip" => Some(asked(Wish::Finish, false, true)),
        "cancel" => Some(asked(Wish::Cancel, false, false)),
        "requeue" => Some(asked(Wish::Requeue, false, false)),
        _ => None,
    };
    let objection =
        || vec![Objection { word: "dirty".to_owned(), path: String::new(), text: "t".to_owned() }];
    attempt.gate = match gate {
        "open" => Some(Gate::default()),
        "unmet" => Some(Gate { unmet: objection(), ..Gate::default() }),
        "violated" => Some(Gate { violations: objection(), ..Gate::default() }),
        _ => None,
    };
    attempt.gate_after = attempt.commands.len();
    let first = if checks == "lost" { CommandEnd::Lost } else { exited(0) };
    add(&mut attempt, CommandKind::Check(0), Some(first));
    if checks != "left" {
        add(&mut attempt, CommandKind::Check(1), Some(exited(0)));
    }
    let result = if verdict == "good" { "pass" } else { "fail" };
    attempt.verdict = (verdict != "none").then(|| VerdictFact {
        result: result.to_owned(),
        reason: result.to_owned(),
        commit: None,
        verified_at: None,
    });
    planned(in_running(attempt), None, ExecutorState::Up, false)
}
