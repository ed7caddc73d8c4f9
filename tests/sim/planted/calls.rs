//! Faults: undos and removals left out, locks not tested, comparisons that are always true, order turned.

use super::{Cut, Fault, How, Lie};
use jobyard::world::{Kind, Stat};
use std::path::Path;

const fn fault(name: &'static str, broken: &'static str, cuts: &'static [Cut]) -> Fault {
    Fault { name, broken, how: How::Calls(cuts) }
}

const STORE: &str = "world/store.rs";
const LEFT: &str = "world/leftovers.rs";
const CLAIM: &str = "engine/claim.rs";
const REQUESTS: &str = "engine/requests.rs";
const TICKETS: &str = "engine/tickets.rs";
const OBSERVE: &str = "observe.rs";

const OUT_IS_READ: [Cut; 3] = [
    Cut::at(STORE, "same_as_read", "world.stat(out)?", Lie::AsLast),
    Cut::at(STORE, "same_as_read", "world.has_writer(&snapshot.file)?", Lie::Nothing),
    Cut::at(STORE, "same_as_read", "world.read(&snapshot.file", Lie::AsSeen),
];

/// Two names.
fn twice(_: &Path, stat: Option<Stat>) -> Option<Stat> {
    stat.map(|stat| Stat { links: 2, ..stat })
}

/// The inode that the name of a hidden file tells.
fn as_named(path: &Path, stat: Option<Stat>) -> Option<Stat> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let inode = name.split('-').nth(1).and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    stat.map(|stat| Stat { inode: inode.unwrap_or(stat.inode), ..stat })
}

/// Something is there.
fn there(_: &Path, stat: Option<Stat>) -> Option<Stat> {
    let (kind, mode) = (Kind::File, 0o644);
    let (inode, size, mtime_ns, ctime_ns, links, uid) = (1, 0, 0, 0, 1, 1000);
    stat.or(Some(Stat { inode, kind, size, mtime_ns, ctime_ns, links, uid, mode }))
}

/// Any request of this name is the one that was consumed.
fn same_request(_: &Path, stat: Option<Stat>) -> Option<Stat> {
    let consumed = super::last_named();
    stat.map(|stat| Stat { inode: consumed.map_or(stat.inode, |s| s.inode), ..stat })
}

/// Without its last whole line.
fn a_line_short(bytes: Vec<u8>) -> Vec<u8> {
    let last = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
    let before = bytes[..last].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if before == 0 { bytes } else { bytes[..before].to_vec() }
}

/// A lease of the daemon's, whatever is there.
fn own_lease(_: Vec<u8>) -> Vec<u8> {
    OWN_LEASE.as_bytes().to_vec()
}

pub(super) const OWN_LEASE: &str = "Locked by jobyard daemon at 2026-01-09T21:00:00.000Z\nPID: 1\nUser: x\n\
    Hostname: simulated\nAttempt: in the ledger\nMode: process\nBoot: x\nStart: 1\nInstance: x\n";

/// The faults.
pub(super) static CALLS: &[Fault] = &[
    fault(
        "stamp-by-rename",
        "a stamp is a plain rename over the ticket",
        &[
            Cut::at(STORE, "exchange_in", "world.exchange(temp, path)", Lie::Over),
            OUT_IS_READ[0],
            OUT_IS_READ[1],
            OUT_IS_READ[2],
        ],
    ),
    fault(
        "stamp-uncompared",
        "what comes out of an exchange is taken for what was read",
        &OUT_IS_READ,
    ),
    fault(
        "stamp-inode-uncompared",
        "what comes out of an exchange is compared, but not whether it is that file",
        &[OUT_IS_READ[0]],
    ),
    fault(
        "stamp-bytes-uncompared",
        "what comes out of an exchange is that file, whatever it says by now",
        &[OUT_IS_READ[0], OUT_IS_READ[2]],
    ),
    fault(
        "stamp-writer-untested",
        "a ticket that came out of an exchange may have a writer",
        &[OUT_IS_READ[1]],
    ),
    fault(
        "draft-writer-untested",
        "a ticket is stamped while a person has it open for writing",
        &[
            Cut::at("engine/settle.rs", "draft", "self.world.has_writer", Lie::Nothing),
            OUT_IS_READ[1],
        ],
    ),
    fault(
        "not-given-back",
        "what a person saved in the moment of a stamp is not put back in place",
        &[Cut::at(STORE, "give_back", "let exchanged = world.exchange", Lie::Skip)],
    ),
    fault(
        "given-back-uncompared",
        "what a person saved over a stamp, before theirs was put back, is taken for the stamp",
        &[
            Cut::at(STORE, "give_back", "world.has_writer(&found.file)?", Lie::Nothing),
            Cut::at(STORE, "read_whole", "world.read(&file", Lie::AsSeen)
                .after("exchange")
                .on("/."),
        ],
    ),
    fault(
        "not-discarded",
        "what came out of an exchange stays under its hidden name",
        &[Cut::at(STORE, "discard", "world.unlink(temp)", Lie::Skip)],
    ),
    fault(
        "move-replaces",
        "a move replaces what lies at its end",
        &[Cut::at(STORE, "relocate", "world.rename(from, to)", Lie::Over)],
    ),
    fault(
        "moved-file-uncompared",
        "a move does not look which file it moved",
        &[Cut::at(STORE, "settle_identity", "match world.stat(to)?", Lie::AsSeen)],
    ),
    fault(
        "publish-replaces",
        "a new file replaces one that has its name",
        &[Cut::at(STORE, "publish", "world.rename(&temp, path)", Lie::Over)],
    ),
    fault(
        "undo-keeps-lease",
        "the lease stays when a claim is undone",
        &[Cut::at(CLAIM, "drop_lease", "self.world.unlink(&lock)", Lie::Skip)
            .during(&["UndoClaim", "Claim"])],
    ),
    fault(
        "undo-any-lease",
        "the undo of a claim removes whatever lock there is",
        &[Cut::at(STORE, "read_whole", "world.read(&file", Lie::Bytes(own_lease))
            .during(&["UndoClaim", "Claim"])
            .on(".lock")],
    ),
    fault(
        "undo-keeps-worktree",
        "the worktree stays when a claim is undone",
        &[Cut::at(CLAIM, "remove_created", "self.world.git_remove", Lie::Skip)
            .during(&["UndoClaim", "Claim"])],
    ),
    fault(
        "withdrawn-keeps-worktree",
        "the worktree stays when a take is withdrawn",
        &[Cut::at(CLAIM, "remove_created", "self.world.git_remove", Lie::Skip)
            .during(&["Release"])],
    ),
    fault(
        "orphan-kept",
        "a lock that no attempt owns stays",
        &[Cut::at(CLAIM, "drop_lease", "self.world.unlink(&lock)", Lie::Skip)
            .during(&["DropLease"])],
    ),
    fault(
        "lease-kept",
        "the lease stays when its order is settled",
        &[Cut::at("engine/settle.rs", "end_lease", "self.world.unlink(&lock)", Lie::Skip)],
    ),
    fault(
        "taken-over-lock-kept",
        "a lock that was taken over stays where it is",
        &[Cut::at("engine/settle.rs", "keep_lock", "world.rename(lock", Lie::Skip)],
    ),
    fault(
        "adopted-lock-kept",
        "the lock that an adopted lease replaces stays under its hidden name",
        &[Cut::at(CLAIM, "adopt_lease", "self.world.unlink(&temp)?", Lie::Skip)],
    ),
    fault(
        "lease-not-adopted",
        "the lease of a running order is not exchanged for one of this instance",
        &[Cut::at(CLAIM, "adopt_lease", "self.world.exchange(&temp, &lock)", Lie::Skip)],
    ),
    fault(
        "lock-ignored",
        "an order is claimed though its lock was just made by somebody else",
        &[
            Cut::at(CLAIM, "link_lease", "self.world.link(&file, &lock)", Lie::Ignore),
            Cut::at(CLAIM, "link", "world.link(from, to)", Lie::Ignore),
        ],
    ),
    fault(
        "lease-before-line",
        "a lease is made before the line of its claim is written",
        &[Cut::at("world/ledger.rs", "flush", "world.write(file", Lie::Late).during(&["Claim"])],
    ),
    fault(
        "consumed-before-line",
        "a request is consumed before the line that accepts it is written",
        &[Cut::at("world/ledger.rs", "flush", "world.write(file", Lie::Late).during(&["Accept"])],
    ),
    fault(
        "attempts-uncounted",
        "the number of an attempt is not compared with the run directories",
        &[Cut::at(CLAIM, "next_attempt", "self.world.list(&paths::runs(id))", Lie::Nothing)],
    ),
    fault(
        "claimed-unread",
        "a ticket is claimed as it was looked at, whatever it says by now",
        &[Cut::at(STORE, "read_whole", "world.stat_file(&file)?", Lie::AsSeen).during(&["Claim"])],
    ),
    fault(
        "half-written-read",
        "a ticket that somebody is writing is taken for whole",
        &[Cut::at(OBSERVE, "read", "world.has_writer(&snapshot.file)?", Lie::Nothing)],
    ),
    fault(
        "half-written-request",
        "a request that somebody is writing is taken for whole",
        &[Cut::at(OBSERVE, "request", "world.has_writer(file)?", Lie::Nothing)],
    ),
    fault(
        "granted-unseen",
        "that the request of a take is consumed is not looked at",
        &[Cut::at(OBSERVE, "granted", "world.stat(", Lie::Nothing)],
    ),
    fault(
        "holders-dead",
        "the process of another instance's lease is taken for dead",
        &[Cut::at(OBSERVE, "lease", "world.process_alive", Lie::Nothing)],
    ),
    fault(
        "grant-withdrawn",
        "a take that was withdrawn is granted",
        &[Cut::at(REQUESTS, "consume", "let here = self.world.stat(to)?", Lie::Stat(there))
            .during(&["CompleteTake", "AnswerTake"])],
    ),
    fault(
        "request-kept",
        "a request that was answered stays",
        &[Cut::at(REQUESTS, "consume", "self.world.rename(&from, to)", Lie::Skip)
            .during(&["commit"])],
    ),
    fault(
        "accepted-request-kept",
        "a request that an attempt accepted stays",
        &[Cut::at(REQUESTS, "consume", "self.world.rename(&from, to)", Lie::Skip)
            .during(&["Accept"])],
    ),
    fault(
        "doubled-request-kept",
        "a request whose name a power cut brought back stays",
        &[Cut::at(REQUESTS, "consume", "match self.world.unlink(&from)", Lie::Skip)],
    ),
    fault(
        "another-take-consumed",
        "another request with the name of one that was granted is removed",
        &[Cut::at(REQUESTS, "consume_take", "self.world.stat(&from)?", Lie::Stat(same_request))],
    ),
    fault(
        "refusal-kept",
        "the explanation of a refused request stays when the request goes",
        &[
            Cut::at("engine/scan.rs", "forget_refusal", "self.world.unlink(", Lie::Skip),
            Cut::at(REQUESTS, "consume", "let _ = self.world.unlink(", Lie::Skip),
        ],
    ),
    fault(
        "why-kept",
        "the explanation of a refused ticket stays when the ticket is mended",
        &[Cut::at(TICKETS, "clear_why", "self.world.unlink(", Lie::Skip)],
    ),
    fault(
        "gone-unasked",
        "a ticket that a person moves in this moment is taken for gone",
        &[Cut::at("engine/settle.rs", "is_there_after_all", "self.world.stat(", Lie::Nothing)],
    ),
    fault(
        "double-untested",
        "a name is dropped though the file may have no other",
        &[
            Cut::at(TICKETS, "drop_double", "self.world.stat(&path)?", Lie::Stat(twice)),
            Cut::at(TICKETS, "drop_double", "self.world.stat(&aside)?", Lie::Stat(twice)),
        ],
    ),
    fault(
        "double-tested-once",
        "a name is dropped though the file may have lost its other one since",
        &[Cut::at(TICKETS, "drop_double", "self.world.stat(&aside)?", Lie::Stat(twice))],
    ),
    fault(
        "double-kept",
        "the earlier name of an interrupted move stays, out of sight",
        &[Cut::at(TICKETS, "drop_double", "self.world.unlink(&aside)", Lie::Skip)],
    ),
    fault(
        "leftover-unread",
        "a hidden file is removed at the start without a look at which version it is",
        &[Cut::at(LEFT, "tidy_one", "world.stat(path)?", Lie::Stat(as_named))],
    ),
    fault(
        "leftover-hidden",
        "a version that is to be kept stays under its hidden name at the start",
        &[Cut::at(LEFT, "tidy_one", "world.rename(path, &kept)?", Lie::Skip)],
    ),
    fault(
        "torn-line-joined",
        "a line that a crash cut off is not closed",
        &[Cut::at(STORE, "write_all", "world.write(file, bytes)", Lie::Skip)
            .during(&["open"])
            .on("_ctx/audit")],
    ),
    fault(
        "last-line-unread",
        "the last line of the ledger is not read at the start",
        &[Cut::at(STORE, "read_whole", "world.read(&file", Lie::Bytes(a_line_short))
            .during(&["open"])
            .on("_ctx/audit")],
    ),
    fault(
        "journal-unread",
        "the executor's journal is not read",
        &[Cut::at(STORE, "read_whole", "world.open(path)?", Lie::Nothing).on("exec.journal")],
    ),
    fault(
        "changes-unread",
        "the gate does not look at what was changed",
        &[Cut::at("engine/gate.rs", "inspect", "self.world.git_changes", Lie::Nothing)],
    ),
    fault(
        "dirt-unread",
        "the gate does not see what is not committed",
        &[Cut::at("engine/gate.rs", "tree", "self.world.git_tree", Lie::Nothing)],
    ),
    fault(
        "head-unread",
        "the gate does not look again at the worktree after the checks",
        &[Cut::at("engine/gate.rs", "tree", "self.world.git_tree", Lie::AsSeen).during(&["Judge"])],
    ),
    fault(
        "branch-unasked",
        "whether its branch exists is not asked before a claim",
        &[Cut::at("engine/seal.rs", "place_of", "self.world.git_branch", Lie::Nothing)],
    ),
    fault(
        "worktree-unasked",
        "whether its worktree exists is not asked before a claim",
        &[Cut::at("engine/seal.rs", "place_of", "self.world.git_worktree", Lie::Nothing)],
    ),
    fault(
        "stop-unsent",
        "the executor is not told to stop a command",
        &[Cut::at("engine/commit.rs", "send", "self.world.send(&message)", Lie::Skip).on("stop")],
    ),
    fault(
        "ack-unsent",
        "the executor is not told that an end is recorded",
        &[Cut::at("engine/commit.rs", "send", "self.world.send(&message)", Lie::Skip).on("ack")],
    ),
];
