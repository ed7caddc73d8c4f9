//! Faults: each sync left out.

use super::{Cut, Fault, How, Lie};

const fn fault(name: &'static str, broken: &'static str, cuts: &'static [Cut]) -> Fault {
    Fault { name, broken, how: How::Calls(cuts) }
}

const fn ledger(during: &'static [&'static str]) -> Cut {
    Cut::at("world/ledger.rs", "sync", "world.sync(file)?", Lie::Skip).during(during)
}

const fn dirs(path: &'static str) -> Cut {
    Cut::at("engine/commit.rs", "sync_dirs", "self.world.sync_dir(&dir)", Lie::Skip).on(path)
}

const COPIES: Cut =
    Cut::at("engine/sealed.rs", "sync_copies", "self.world.sync_dir(&dir)", Lie::Skip);

const fn now(during: &'static [&'static str]) -> Cut {
    Cut::at("engine/commit.rs", "sync_now", "self.world.sync_dir(&dir)", Lie::Skip).during(during)
}

const fn beside(path: &'static str) -> Cut {
    Cut::at("world/store.rs", "write_beside", "world.sync(&file)", Lie::Skip).on(path)
}

/// The faults.
pub(super) static SYNCS: &[Fault] = &[
    fault(
        "start-unsynced",
        "the ledger is not synced before a start, a settlement or an answer goes out",
        &[ledger(&["commit"])],
    ),
    fault(
        "unrun-unsynced",
        "an order without an attempt is stamped as settled before that line is durable",
        &[ledger(&["SettleUnrun"])],
    ),
    fault(
        "requeue-unsynced",
        "a requeued order is stamped and moved before its line is durable",
        &[ledger(&["Requeue"])],
    ),
    fault(
        "hold-unsynced",
        "a hold is answered, and its request let go, before its line is durable",
        &[ledger(&["Hold"])],
    ),
    fault(
        "adoption-unsynced",
        "an adopted order is stamped before its line is durable",
        &[ledger(&["AdoptSettled"])],
    ),
    fault(
        "worktree-unsynced",
        "a worktree is made before the line of its claim is durable",
        &[ledger(&["Claim"])],
    ),
    fault(
        "opened-unsynced",
        "what an earlier instance wrote is not synced before it is acted on",
        &[ledger(&["open"])],
    ),
    fault(
        "finish-unsynced",
        "an instance that ends syncs neither its ledger nor its directories",
        &[ledger(&["finish"]), dirs("").during(&["finish"])],
    ),
    fault(
        "segment-unsynced",
        "the name of a new segment of the ledger is not synced",
        &[Cut::at("world/ledger.rs", "begin_segment", "world.sync_dir(Path::new(DIR))", Lie::Skip)],
    ),
    fault(
        "reopened-unsynced",
        "the name of a segment that its first instance may not have synced is not synced",
        &[Cut::at("world/ledger.rs", "reopen", "world.sync_dir(Path::new(DIR))?", Lie::Skip)],
    ),
    fault(
        "stamp-unsynced",
        "a stamped ticket's new content is not synced",
        &[beside(".yaml.").on("_ctx/jobs")],
    ),
    fault("manual-lease-unsynced", "a person's lease is not synced", &[beside(".lock.")]),
    fault("own-lease-unsynced", "the lease file of an instance is not synced", &[beside("lease-")]),
    fault("sealed-unsynced", "the sealed copy of an order is not synced", &[beside(".order.yaml")]),
    fault(
        "answer-unsynced",
        "no directory is synced before an answer",
        &[dirs("").during(&["commit"])],
    ),
    fault("pending-unsynced", "`pending/` is not synced before an answer", &[dirs("jobs/pending")]),
    fault("running-unsynced", "`running/` is not synced before an answer", &[dirs("jobs/running")]),
    fault("done-unsynced", "`done/` is not synced before an answer", &[dirs("jobs/done")]),
    fault("failed-unsynced", "`failed/` is not synced before an answer", &[dirs("jobs/failed")]),
    fault("control-unsynced", "`control/` is not synced before an answer", &[dirs("jobs/control")]),
    fault(
        "runs-unsynced",
        "run directories are synced neither before an answer nor before a start",
        &[dirs("_ctx/runs"), COPIES],
    ),
    fault(
        "doubtful-unsynced",
        "a ticket is stamped before it is durable that people moved it there",
        &[Cut::at("engine/commit.rs", "sync_doubtful", "self.world.sync_dir(dir)?", Lie::Skip)],
    ),
    fault(
        "left-directory-last",
        "the directories that a ticket leaves are synced after the one it comes to",
        &[
            Cut { lie: Lie::Late, ..dirs("jobs/pending") },
            Cut { lie: Lie::Late, ..dirs("jobs/running") },
        ],
    ),
    fault(
        "put-back-unsynced",
        "the directory that a ticket is put back from is not synced",
        &[now(&["PutBack"])],
    ),
    fault(
        "pull-back-unsynced",
        "the directory that a ticket is pulled back from is not synced",
        &[now(&["PullBack"])],
    ),
    fault(
        "requeue-before-settlement",
        "a requeue does not wait until the move to `failed/` is durable",
        &[now(&["Requeue"]).before("exchange")],
    ),
    fault(
        "requeue-move-unsynced",
        "neither the stamp of a requeue nor its move is synced at once",
        &[now(&["Requeue"]).after("exchange")],
    ),
    fault(
        "retry-stamp-unsynced",
        "the stamp of a retry is not synced before its move",
        &[now(&["CarryOut"]).before("sync_dir")],
    ),
    fault(
        "retry-move-unsynced",
        "the move of a retry is not synced at once",
        &[now(&["CarryOut"]).after("sync_dir")],
    ),
    fault(
        "unrun-move-unsynced",
        "a move by hand to `failed/` is settled before it is durable",
        &[now(&["SettleUnrun"])],
    ),
    fault(
        "adopted-move-unsynced",
        "a settled order is adopted before a move of it by hand is durable",
        &[now(&["AdoptSettled"])],
    ),
    fault("hold-stamp-unsynced", "the stamp of a hold is not synced", &[now(&["Hold"])]),
    fault(
        "double-unsynced",
        "an earlier name is dropped before it is durable that it was put aside",
        &[now(&["DropDouble"])],
    ),
    fault(
        "taken-by-hand-unsynced",
        "a ticket that a person moved to `running/` is claimed before that is durable",
        &[now(&["Claim"])],
    ),
    fault(
        "pending-first-unsynced",
        "a directory is synced at once, and `pending/`, which changed before it, is not",
        &[Cut::at("engine/commit.rs", "sync_now", "self.world.sync_dir(&earlier)?", Lie::Skip)],
    ),
    fault(
        "directories-unsynced",
        "the names of the directories are not synced before the ledger begins",
        &[Cut::at("engine/open.rs", "open_ledger", "world.sync_dir(dir)?", Lie::Skip)],
    ),
    fault(
        "tidied-unsynced",
        "what an interrupted stamp left is tidied, and the directory not synced",
        &[Cut::at("world/leftovers.rs", "tidy", "world.sync_dir(dir)?", Lie::Skip)],
    ),
    fault(
        "commit-unsynced",
        "a verdict names a commit that is not durable",
        &[Cut::at(
            "engine/gate.rs",
            "judge",
            "self.world.git_sync(branch, &commit, attempt.base().as_ref())",
            Lie::Skip,
        )],
    ),
];
