//! From the words of the tables to facts, and from what the planner makes of them back to words.
//!
//! Invariant: a combination that can come about in several ways is built in all of them.

use jobyard::model::attempt::{
    Asked, Attempt, Claim, Command, CommandEnd, CommandKind, Gate, Holder, Mode, Objection,
    Options, Place as Workplace, Settlement, VerdictFact, Wish,
};
use jobyard::model::config::Unsatisfiable;
use jobyard::model::defect::Defect;
use jobyard::model::id::OrderId;
use jobyard::model::index::{
    Brief, ExecutorFact, ExecutorState, Index, LeaseFact, Place, Reading, Seen, Ticket,
};
use jobyard::model::lease::{Lease, LeaseBody, LeaseMode};
use jobyard::model::order::{Priority, Stamp, State};
use jobyard::model::protocol::{Cause, End};
use jobyard::model::sealed::{Sealed, SealedCheck, SealedRetry};
use jobyard::model::time::{Moment, Tick};
use jobyard::plan::Policy;
use jobyard::plan::action::Action;
use jobyard::plan::step::{Step, step};
use std::collections::BTreeMap;

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
        ("place", &["none", "P", "R", "D", "F", "twice", "two"]),
        ("lease", &["none", "mine", "dead", "alive", "person", "rebooted", "foreign"]),
        (
            "attempt",
            &["none", "claiming", "taking", "taken", "running", "ran", "to-P", "to-D", "to-F"],
        ),
        ("says", &["order", "done", "failed", "refused", "writing"]),
        ("seen", &["never", "fresh", "pending", "settled", "requeued"]),
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

const BOOT: &str = "this boot";
const OTHER_BOOT: &str = "another boot";
const INSTANCE: &str = "0123456789abcdef";
const OTHER_INSTANCE: &str = "fedcba9876543210";
const HOST: &str = "here";

fn id() -> OrderId {
    OrderId::parse("A").unwrap()
}

fn policy() -> Policy {
    Policy {
        zone: jiff::tz::TimeZone::UTC,
        slots: 1,
        groups: BTreeMap::new(),
        unsatisfiable: Unsatisfiable::Hold,
        require_checks: false,
        stale_after_ms: 3_600_000,
        instance: INSTANCE.to_owned(),
        host: HOST.to_owned(),
        runs: true,
        fresh: false,
        only: None,
    }
}

fn holder() -> Holder {
    Holder { uid: 7, name: "ann".to_owned() }
}

fn state(letter: &str) -> Option<State> {
    ["P", "R", "D", "F"].iter().position(|l| *l == letter).map(|at| State::ALL[at])
}

/// What the planner decides about one ticket, in words.
fn planned(
    ticket: Ticket,
    executor: Option<ExecutorFact>,
    link: ExecutorState,
    fresh: bool,
) -> String {
    let mut index = Index { boot: BOOT.to_owned(), durable_seq: 10, ..Index::default() };
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
    let mut attempt = attempts(attempt).remove(0).unwrap();
    if let Some(settled) = &mut attempt.settled {
        settled.seq = 11;
    }
    let ticket = Ticket {
        places: places(at, "order").remove(0),
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
        _ => Seen::Never,
    }
}

type Places = [Option<Box<Place>>; 4];

/// The files of a place; two files lie in every pair of directories.
fn places(at: &str, says: &str) -> Vec<Places> {
    if at == "none" {
        return vec![Places::default()];
    }
    if let Some(only) = state(at) {
        let mut places = Places::default();
        places[only as usize] = Some(Box::new(place(only, says, 1)));
        return vec![places];
    }
    let mut all = Vec::new();
    for (first, earlier) in State::ALL.into_iter().enumerate() {
        for later in State::ALL.into_iter().skip(first + 1) {
            let mut places = Places::default();
            places[earlier as usize] = Some(Box::new(place(earlier, says, 1)));
            let inode = if at == "twice" { 1 } else { 2 };
            places[later as usize] = Some(Box::new(place(later, says, inode)));
            all.push(places);
        }
    }
    all
}

fn place(state: State, says: &str, inode: u64) -> Place {
    let stamp = |state: State| Stamp { state, attempt: 1, seq: 5, hash: String::new() };
    let settled = |to: State| match to == state {
        true => Reading::Settled { attempt: 1, unverified: false },
        false => Reading::Order(Box::new(brief(Some(stamp(to))))),
    };
    let reading = match says {
        "order" => Reading::Order(Box::new(brief(None))),
        "done" => settled(State::Done),
        "failed" => settled(State::Failed),
        "refused" => Reading::Refused(Box::new([Defect::whole("invalid-ticket", "is wrong")])),
        _ => Reading::Settling(Tick(2_000)),
    };
    Place { inode, size: 9, mtime_ns: 1, intake_ns: 1, uid: 7, why: false, reading }
}

/// A ready order that the daemon can run; it carries the running stamp of its first attempt.
fn brief(stamp: Option<Stamp>) -> Brief {
    Brief {
        priority: Priority::Medium,
        deadline: None,
        not_before: None,
        retry_at: None,
        dependencies: Box::default(),
        group: None,
        hold: None,
        executable: true,
        attempt: 1,
        stamp: stamp.map(Box::new),
        warned: false,
    }
}

fn lease(mode: LeaseMode, host: &str, boot: &str, instance: &str, dead: bool) -> LeaseFact {
    let lease = Lease {
        mode,
        pid: 42,
        start_time: 1,
        user: "ann".to_owned(),
        host: host.to_owned(),
        boot: boot.to_owned(),
        instance: instance.to_owned(),
    };
    LeaseFact { inode: 9, body: LeaseBody::Ours(lease), holder_dead: dead, silent_ms: None }
}

fn leases(word: &str) -> Vec<Option<Box<LeaseFact>>> {
    let process = || LeaseMode::Process;
    let manual = || LeaseMode::Manual { attempt: 1, holder: holder() };
    let facts = match word {
        "none" => return vec![None],
        "mine" => vec![lease(process(), HOST, BOOT, INSTANCE, false)],
        "dead" => vec![
            lease(process(), HOST, BOOT, OTHER_INSTANCE, true),
            lease(process(), HOST, OTHER_BOOT, OTHER_INSTANCE, true),
        ],
        "alive" => vec![lease(process(), HOST, BOOT, OTHER_INSTANCE, false)],
        "person" => vec![
            lease(manual(), HOST, BOOT, OTHER_INSTANCE, false),
            lease(manual(), HOST, BOOT, OTHER_INSTANCE, true),
        ],
        "rebooted" => vec![lease(manual(), HOST, OTHER_BOOT, OTHER_INSTANCE, true)],
        _ => vec![
            lease(manual(), "elsewhere", BOOT, OTHER_INSTANCE, false),
            lease(manual(), "elsewhere", OTHER_BOOT, OTHER_INSTANCE, false),
            LeaseFact {
                inode: 9,
                body: LeaseBody::Foreign("WO-1".to_owned()),
                holder_dead: false,
                silent_ms: None,
            },
        ],
    };
    facts.into_iter().map(|fact| Some(Box::new(fact))).collect()
}

fn attempt(mode: Mode) -> Attempt {
    let check = |name: &str| SealedCheck { name: name.to_owned(), command: "make test".to_owned() };
    let sealed = Sealed {
        digest: String::new(),
        run: vec!["make".to_owned(), "make install".to_owned()],
        checks: vec![check("one"), check("two")],
        required_artifacts: Vec::new(),
        unknown_dod: None,
        scope: None,
        max_files: None,
        max_loc: None,
        retry: None,
        timeout_ms: 1000,
        idle_timeout_ms: None,
        check_timeout_ms: 1000,
        env: Vec::new(),
        group: None,
        epic: None,
        retries: 0,
        verify_fails: 0,
    };
    let place = Workplace::Tree {
        path: ".worktrees/A".to_owned(),
        branch: "feat/wo-A".to_owned(),
        base: "0".repeat(40),
        branch_existed: false,
        worktree_existed: false,
    };
    let claim =
        Claim { mode, place, token: "t".to_owned(), boot: BOOT.to_owned(), request: None, sealed };
    Attempt::begin(&id(), 1, Moment(0), claim)
}

/// The attempts that a word stands for. A settled one can be a person's or the daemon's.
fn attempts(word: &str) -> Vec<Option<Attempt>> {
    let mut process = attempt(Mode::Process);
    let mut manual = attempt(Mode::Manual(holder()));
    manual.claimed = word != "taking";
    match word {
        "none" => return vec![None],
        "claiming" => return vec![Some(process)],
        "taking" | "taken" => return vec![Some(manual)],
        _ => {}
    }
    add(&mut process, CommandKind::Run(0), Some(exited(0)));
    let last = (word != "running").then(|| exited(0));
    add(&mut process, CommandKind::Run(1), last);
    let Some(to) = word.strip_prefix("to-").and_then(state) else { return vec![Some(process)] };
    let settled = Settlement {
        state: to.name().to_owned(),
        result: "pass".to_owned(),
        reason: "pass".to_owned(),
        at_ms: 0,
        retry_at: None,
        seq: 10,
        hash: String::new(),
    };
    process.settled = Some(settled.clone());
    manual.settled = Some(settled);
    vec![Some(process), Some(manual)]
}

fn add(attempt: &mut Attempt, kind: CommandKind, end: Option<CommandEnd>) {
    let number = u32::try_from(attempt.commands.len()).unwrap() + 1;
    let name = "command".to_owned();
    attempt.commands.push(Command { number, kind, name, boot: BOOT.to_owned(), end });
}

fn end(status: i32) -> End {
    End {
        exit: Some(status),
        signal: None,
        cause: Cause::Exited,
        detail: None,
        started_ms: 0,
        ended_ms: 1,
        leftovers: 0,
        log_bytes: 0,
    }
}

fn exited(status: i32) -> CommandEnd {
    CommandEnd::Seen(end(status))
}

fn asked(wish: Wish, stop: bool, skip_verification: bool) -> Asked {
    let options = Options { reason: Some("so".to_owned()), skip_verification, stop };
    Asked { wish, request: "0".repeat(16), by: holder(), options }
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
    for at in ["none", "two"] {
        let places = places(at, "order").remove(0);
        tickets.push(Ticket { places, ..in_running(attempt.clone()) });
    }
    tickets
}

fn course(values: &[&str]) -> Vec<String> {
    let [carrier, asks, run, gate, checks, verdict] = values[..] else { return Vec::new() };
    let mode = if carrier == "daemon" { Mode::Process } else { Mode::Manual(holder()) };
    let mut attempt = attempt(mode);
    attempt.claimed = carrier == "person";
    let retries = SealedRetry {
        max: u32::from(run == "retry"),
        cap_ms: 1,
        on: vec!["fail".to_owned()],
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
    vec![planned(in_running(attempt), None, ExecutorState::Up, false)]
}
