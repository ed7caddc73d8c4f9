//! The parts of facts: files, leases and attempts, each for one word of the tables.

use jobyard::model::attempt::{
    Asked, Attempt, Claim, Command, CommandEnd, CommandKind, Holder, Mode, Options,
    Place as Workplace, Settlement, Wish,
};
use jobyard::model::defect::Defect;
use jobyard::model::id::OrderId;
use jobyard::model::index::{Brief, LeaseFact, Place, Reading};
use jobyard::model::lease::{Lease, LeaseBody, LeaseMode};
use jobyard::model::order::{Priority, Stamp, State, Workspace};
use jobyard::model::protocol::{Cause, End};
use jobyard::model::sealed::{Sealed, SealedCheck};
use jobyard::model::time::{Moment, Tick};

pub(super) const BOOT: &str = "this boot";
pub(super) const OTHER_BOOT: &str = "another boot";
pub(super) const INSTANCE: &str = "0123456789abcdef";
pub(super) const OTHER_INSTANCE: &str = "fedcba9876543210";
pub(super) const HOST: &str = "here";
/// Ledger line of a settlement; the last one that is durable.
pub(super) const SETTLED: u64 = 10;

pub(super) fn id() -> OrderId {
    OrderId::parse("A").unwrap()
}

pub(super) fn state(letter: &str) -> Option<State> {
    ["P", "R", "D", "F"].iter().position(|l| *l == letter).map(|at| State::ALL[at])
}

pub(super) type Places = [Option<Box<Place>>; 4];

pub(super) fn holder() -> Holder {
    Holder { uid: 7, name: "ann".to_owned() }
}

/// The files of a place; two files lie in every pair of directories that the place means.
pub(super) fn places(at: &str, says: &str) -> Vec<Places> {
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
            let ends = (earlier, later) == (State::Done, State::Failed);
            if at != "twice" && ends != (at == "ends") {
                continue;
            }
            let mut places = Places::default();
            places[earlier as usize] = Some(Box::new(place(earlier, says, 1)));
            let inode = if at == "twice" { 1 } else { 2 };
            places[later as usize] = Some(Box::new(place(later, says, inode)));
            all.push(places);
        }
    }
    all
}

pub(super) fn place(state: State, says: &str, inode: u64) -> Place {
    let settled = |to: State, seq: u64| match to == state {
        // The stamp of an earlier attempt, or of the one that is open.
        true => Reading::Settled { attempt: u32::from(seq == SETTLED), unverified: false },
        false => {
            let stamp =
                Stamp { id: String::new(), state: to, attempt: 1, seq, hash: String::new() };
            Reading::Order(Box::new(brief(Some(stamp))))
        }
    };
    let reading = match says {
        "order" => Reading::Order(Box::new(brief(None))),
        "bare" => Reading::Order(Box::new(Brief { attempt: 0, ..brief(None) })),
        "done" => settled(State::Done, SETTLED - 1),
        "failed" => settled(State::Failed, SETTLED - 1),
        "own done" => settled(State::Done, SETTLED),
        "own failed" => settled(State::Failed, SETTLED),
        "refused" => Reading::Refused(Box::new([Defect::whole("invalid-ticket", "is wrong")])),
        _ => Reading::Settling(Tick(2_000)),
    };
    Place { inode, size: 9, mtime_ns: 1, intake_ns: 1, uid: 7, why: false, reading }
}

/// A ready order that the daemon can run; it carries the running stamp of its first attempt.
pub(super) fn brief(stamp: Option<Stamp>) -> Brief {
    Brief {
        priority: Priority::Medium,
        deadline: None,
        not_before: None,
        retry_at: None,
        dependencies: Box::default(),
        group: None,
        workspace: Workspace::Worktree,
        hold: None,
        executable: true,
        attempt: 1,
        stamp: stamp.map(Box::new),
        warned: false,
    }
}

pub(super) fn lease(
    mode: LeaseMode,
    host: &str,
    boot: &str,
    instance: &str,
    dead: bool,
) -> LeaseFact {
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

pub(super) fn leases(word: &str) -> Vec<Option<Box<LeaseFact>>> {
    let process = || LeaseMode::Process;
    let manual = || LeaseMode::Manual { attempt: 1, holder: holder() };
    let facts = match word {
        "none" => return vec![None],
        "mine" => vec![
            lease(process(), HOST, BOOT, INSTANCE, false),
            lease(manual(), HOST, BOOT, INSTANCE, false),
        ],
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

pub(super) fn attempt(mode: Mode) -> Attempt {
    let check = |name: &str| SealedCheck { name: name.to_owned(), command: "make test".to_owned() };
    let sealed = Sealed {
        digest: String::new(),
        excludes: None,
        settings: None,
        terms: None,
        run: vec!["make".to_owned(), "make install".to_owned()],
        checks: vec![check("one"), check("two")],
        required_artifacts: Vec::new(),
        unknown_dod: None,
        scope: None,
        cone: None,
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
    let claim = Claim {
        mode,
        place,
        token: "t".to_owned(),
        boot: BOOT.to_owned(),
        request: None,
        forced: None,
        sealed,
    };
    Attempt::begin(&id(), 1, Moment(0), claim)
}

/// The attempts that a word stands for. A settled one can be a person's or the daemon's.
pub(super) fn attempts(word: &str) -> Vec<Option<Attempt>> {
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
        seq: SETTLED,
        hash: String::new(),
    };
    process.settled = Some(settled.clone());
    manual.settled = Some(settled);
    vec![Some(process), Some(manual)]
}

pub(super) fn add(attempt: &mut Attempt, kind: CommandKind, end: Option<CommandEnd>) {
    let number = u32::try_from(attempt.commands.len()).unwrap() + 1;
    let name = "command".to_owned();
    let boot = BOOT.to_owned();
    attempt.commands.push(Command { number, kind, name, boot, strayed: None, end });
}

pub(super) fn end(status: i32) -> End {
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

pub(super) fn exited(status: i32) -> CommandEnd {
    CommandEnd::Seen(end(status))
}

pub(super) fn asked(wish: Wish, stop: bool, skip_verification: bool) -> Asked {
    let options =
        Options { reason: Some("so".to_owned()), skip_verification, stop, takeover: false };
    Asked { wish, request: "0".repeat(16), by: holder(), options }
}
