//! Trees made by hand, each with one thing wrong.

use super::settled;
use crate::yard::Yard;
use jobyard::model::attempt::Holder;
use jobyard::model::lease::{Lease, LeaseMode};
use jobyard::model::time::Moment;
use jobyard::world::identity;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

pub(super) const P: &str = "_ctx/jobs/pending";
pub(super) const R: &str = "_ctx/jobs/running";
const PAST: Duration = Duration::from_secs(7200);

/// A tree and the finding it must give.
pub(super) struct Case {
    pub(super) code: &'static str,
    pub(super) severity: &'static str,
    pub(super) file: &'static str,
    pub(super) make: fn(&Yard),
}

impl Case {
    pub(super) fn wants_git(&self) -> bool {
        self.code.contains("worktree")
            || self.code.contains("git")
            || self.code == "missing-metadata"
    }
}

pub(super) fn order(rest: &str) -> String {
    format!("id: WO-1\ntitle: T\nrun: make\n{rest}")
}

pub(super) fn manual(rest: &str) -> String {
    format!("id: WO-1\ntitle: T\nworkspace: none\nowner: ann\nstarted_at: '2026-01-01'\n{rest}")
}

/// A lease of jobyard's own form.
fn lease(mode: LeaseMode, pid: u32, start_time: u64) -> String {
    let who = identity::of_this_process().unwrap();
    let lease = Lease {
        mode,
        pid,
        start_time,
        user: who.user,
        host: who.host,
        boot: who.boot,
        instance: "0123456789abcdef".to_owned(),
    };
    lease.render(Moment(0), &jiff::tz::TimeZone::UTC)
}

pub(super) fn by_ann(pid: u32, start_time: u64) -> String {
    let holder = Holder { uid: 7, name: "ann".to_owned() };
    lease(LeaseMode::Manual { attempt: 1, holder }, pid, start_time)
}

pub(super) fn own_process() -> (u32, u64) {
    let who = identity::of_this_process().unwrap();
    (who.pid, who.start_time)
}

fn aged(yard: &Yard, name: &str) {
    let file = File::options().append(true).open(yard.path(name)).unwrap();
    file.set_modified(SystemTime::now() - PAST).unwrap();
}

fn verdict(yard: &Yard, id: &str, attempt: u32, result: &str) {
    let text = format!(
        "{{\"schema\":\"jobyard.verdict.v1\",\"id\":\"{id}\",\"attempt\":{attempt},\"result\":\"{result}\",\
         \"reason\":\"x\",\"sentences\":[],\"override\":null,\"base\":null,\"commit\":null,\
         \"verified_at_sha\":null,\"started\":\"\",\"ended\":\"\",\"checks\":[],\"scope_violations\":[],\
         \"order_digest\":\"\",\"ledger_seq\":1,\"ledger_hash\":\"\"}}"
    );
    yard.put(&format!("_ctx/runs/{id}/{attempt}/verdict.json"), &text);
}

const LEDGER: &str = "_ctx/audit/00000001.jsonl";

const fn case(
    code: &'static str,
    severity: &'static str,
    file: &'static str,
    make: fn(&Yard),
) -> Case {
    Case { code, severity, file, make }
}

/// Every tree.
pub(super) fn cases() -> Vec<Case> {
    let all = [files(), tickets(), places(), leases(), content()];
    all.into_iter().flatten().collect()
}

fn files() -> Vec<Case> {
    vec![
        case("invalid-ticket", "P0", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), "id: WO-1\ntitle: [\n");
        }),
        case("cannot-claim", "P1", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order(""));
            y.put(&format!("{P}/WO-1.yaml.why"), "refused: failed to create worktree: no git\n");
        }),
        case("obstructed", "P1", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order(""));
            y.put(
                &format!("{P}/WO-1.yaml.why"),
                "refused: obstructed: list _ctx/runs/WO-1: loop\n",
            );
        }),
        case("invalid-ticket", "P0", "_ctx/jobs/pending/WO-1.yml", |y| {
            y.put(&format!("{P}/WO-1.yml"), &order(""));
        }),
        case("invalid-ticket", "P0", "_ctx/jobs/pending/a b.yaml", |y| {
            y.put(&format!("{P}/a b.yaml"), &order(""));
        }),
        case("invalid-ticket", "P0", "_ctx/jobs/pending/WO-1.yaml", |y| {
            fs::create_dir(y.path(format!("{P}/WO-1.yaml"))).unwrap();
        }),
        case("invalid-ticket", "P0", "_ctx/jobs/pending/WO-1.yaml", |y| {
            symlink("/etc/passwd", y.path(format!("{P}/WO-1.yaml"))).unwrap();
        }),
        case("invalid-ticket", "P0", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.fifo(&format!("{P}/WO-1.yaml"));
        }),
        case("id-mismatch", "P0", "_ctx/jobs/pending/WO-2.yaml", |y| {
            y.put(&format!("{P}/WO-2.yaml"), &order(""));
        }),
    ]
}

fn tickets() -> Vec<Case> {
    vec![
        case("id-used-twice", "P0", "_ctx/jobs/pending/WO-2.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order(""));
            y.put(&format!("{P}/WO-2.yaml"), &order(""));
        }),
        case("id-in-two-states", "P0", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order(""));
            y.put("_ctx/jobs/failed/WO-1.yaml", &order(""));
        }),
        case("status-mismatch", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("status: done\n"));
        }),
        case("unknown-status", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("status: partial\n"));
        }),
        case("unknown-key", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("dependancies: []\n"));
        }),
        case("empty-scope", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("scope: {}\n"));
        }),
        case("done-without-settlement", "P1", "_ctx/jobs/done/WO-1.yaml", |y| {
            y.put(LEDGER, "what stood here cannot be read\n");
            y.put("_ctx/jobs/done/WO-1.yaml", &order(""));
        }),
        case("done-without-settlement", "P2", "_ctx/jobs/failed/WO-1.yaml", |y| {
            y.put("_ctx/jobs/failed/WO-1.yaml", &order(""));
        }),
        case("done-without-settlement", "P1", "_ctx/jobs/failed/WO-1.yaml", |y| {
            y.put("_ctx/jobs/failed/WO-1.yaml", &settled("WO-1", "done", ""));
        }),
    ]
}

fn places() -> Vec<Case> {
    vec![
        case("running-without-worktree", "P1", "_ctx/jobs/running/WO-1.yaml", |y| {
            y.put(&format!("{R}/WO-1.yaml"), &order(""));
        }),
        case("worktree-without-order", "P1", ".worktrees/WO-9", |y| {
            y.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-9", "-b", "feat/wo-WO-9"]);
        }),
        case("worktree-of-pending", "P1", ".worktrees/WO-1", |y| {
            y.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-1", "-b", "feat/wo-WO-1"]);
            y.put(&format!("{P}/WO-1.yaml"), &order(""));
        }),
        case("state-tracked-by-git", "P1", "_ctx/jobs/done/WO-1.yaml", |y| {
            y.put("_ctx/jobs/done/WO-1.yaml", &settled("WO-1", "done", ""));
            y.run_git(".", &["add", "-f", "_ctx/jobs/done/WO-1.yaml"]);
        }),
        case("foreign-file", "P2", "_ctx/jobs/pending/.gitkeep", |y| {
            y.put(&format!("{P}/.gitkeep"), "");
        }),
        case("foreign-file", "P2", "_ctx/jobs/control/what is this", |y| {
            y.put("_ctx/jobs/control/what is this", "");
        }),
        case("foreign-file", "P2", "_ctx/jobs/done/a\\nb", |y| y.put("_ctx/jobs/done/a\nb", "")),
        case("invalid-config", "P1", "_ctx/jobyard.toml", |y| y.configure("slotz = 3\n")),
        case("invalid-dod", "P1", "_ctx/dod/a.yaml", |y| y.put("_ctx/dod/a.yaml", "dod: 3\n")),
        case("refused-request", "P1", "_ctx/jobs/control/WO-1.hold", |y| {
            y.put("_ctx/jobs/control/WO-1.hold", "");
            y.put("_ctx/jobs/control/WO-1.hold.why", "there is no such work order\n");
        }),
        case("invalid-backlog", "P1", "_ctx/backlog/backlog.yaml", |y| {
            y.put("_ctx/backlog/backlog.yaml", "[]\n");
        }),
    ]
}

fn leases() -> Vec<Case> {
    vec![
        case("running-without-lease", "P1", "_ctx/jobs/running/WO-1.yaml", |y| {
            y.put(&format!("{R}/WO-1.yaml"), &manual(""));
        }),
        case("lease-without-order", "P1", "_ctx/jobs/running/WO-1.lock", |y| {
            y.put(&format!("{R}/WO-1.lock"), "WO-1\n");
        }),
        case("unknown-lease", "P1", "_ctx/jobs/running/WO-1.lock", |y| {
            let old = "Locked by ctx_wo_take.py at x\nPID: 1\nUser: u\nHostname: h\n";
            y.put(&format!("{R}/WO-1.yaml"), &manual(""));
            y.put(&format!("{R}/WO-1.lock"), old);
        }),
        case("unknown-lease", "P1", "_ctx/jobs/running/WO-1.lock", |y| {
            y.put(&format!("{R}/WO-1.yaml"), &manual(""));
            y.put(&format!("{R}/WO-1.lock"), &by_ann(own_process().0, 1));
        }),
        case("stale-lease", "P1", "_ctx/jobs/running/WO-1.lock", |y| {
            let (pid, start_time) = own_process();
            y.put(&format!("{R}/WO-1.yaml"), &manual(""));
            y.put(&format!("{R}/WO-1.lock"), &by_ann(pid, start_time));
            aged(y, &format!("{R}/WO-1.lock"));
        }),
        case("failed-but-running", "P1", "_ctx/runs/WO-1/2/verdict.json", |y| {
            let (pid, start_time) = own_process();
            y.put(&format!("{R}/WO-1.yaml"), &manual(""));
            y.put(&format!("{R}/WO-1.lock"), &by_ann(pid, start_time));
            verdict(y, "WO-1", 1, "pass");
            verdict(y, "WO-1", 2, "fail");
        }),
        case("missing-metadata", "P2", "_ctx/jobs/running/WO-1.yaml", |y| {
            y.run_git(".", &["worktree", "add", "-q", ".worktrees/WO-1", "-b", "feat/wo-WO-1"]);
            y.put(&format!("{R}/WO-1.yaml"), "id: WO-1\ntitle: T\n");
            y.put(&format!("{R}/WO-1.lock"), "old\n");
        }),
    ]
}

fn content() -> Vec<Case> {
    vec![
        case("unknown-dependency", "P1", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("dependencies: [WO-7]\n"));
        }),
        case("unknown-epic", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put("_ctx/backlog/backlog.yaml", "epics: [{id: E-1}]\n");
            y.put(&format!("{P}/WO-1.yaml"), &order("epic_id: E-2\n"));
        }),
        case("unknown-dod", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("dod_id: D-1\n"));
        }),
        case("unknown-engine", "P1", "_ctx/jobs/pending/WO-1.yaml", |y| {
            let text = "id: WO-1\ntitle: T\nexecution: {engine: robot}\n";
            y.put(&format!("{P}/WO-1.yaml"), text);
        }),
        case("done-depends-on-failed", "P1", "_ctx/jobs/done/WO-1.yaml", |y| {
            let rest = "dependencies: [WO-2]\n";
            y.put("_ctx/jobs/done/WO-1.yaml", &settled("WO-1", "done", rest));
            y.put("_ctx/jobs/failed/WO-2.yaml", &settled("WO-2", "failed", ""));
        }),
        case("dependency-cycle", "P0", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("dependencies: [WO-2]\n"));
            y.put(&format!("{P}/WO-2.yaml"), "id: WO-2\ntitle: T\ndependencies: [WO-1]\n");
            y.put(&format!("{P}/WO-3.yaml"), "id: WO-3\ntitle: T\ndependencies: [WO-1]\n");
        }),
        case("vacuous-checks", "P1", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("verify: {commands: ['true']}\n"));
        }),
        case("vacuous-checks", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            y.put(&format!("{P}/WO-1.yaml"), &order("verify: {commands: [make, 'true']}\n"));
        }),
        case("check-hides-failure", "P2", "_ctx/jobs/pending/WO-1.yaml", |y| {
            let rest = "verify: {commands: ['pytest || true']}\n";
            y.put(&format!("{P}/WO-1.yaml"), &order(rest));
        }),
        case("vacuous-checks", "P1", "_ctx/jobs/pending/WO-1.yaml", |y| {
            let text = "dod: [{id: D, required_checks: ['true', 'echo x']}]\n";
            y.put("_ctx/dod/d.yaml", text);
            y.put(&format!("{P}/WO-1.yaml"), &order("dod_id: D\n"));
        }),
        case("vacuous-checks", "P2", "_ctx/dod/d.yaml", |y| {
            y.put("_ctx/dod/d.yaml", "dod: [{id: D, required_checks: ['true', make]}]\n");
            y.put(&format!("{P}/WO-1.yaml"), &order("dod_id: D\n"));
        }),
        case("check-hides-failure", "P2", "_ctx/dod/d.yaml", |y| {
            let text = "dod: [{id: D, required_checks: ['pytest | tail']}]\n";
            y.put("_ctx/dod/d.yaml", text);
        }),
    ]
}
