//! Claiming: a transaction, each step with its undo, committed by the move into `running/`.
//!
//! Invariants: the `claiming` line stands in the ledger before the first step, so that an interrupted
//! claim is always recognised; undo removes only what this attempt created, never unmerged commits or
//! dirty files; one order has one lease, made by `link`.

use super::aside::uninterrupted;
use super::settle::set;
use super::{Engine, OwnLease};
use crate::model::attempt::{Attempt, Claim, Mode, Place};
use crate::model::defect::Defect;
use crate::model::edit;
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::{Place as Located, Reading, Request};
use crate::model::lease::{LEASE_BYTES_MAX, Lease, LeaseBody, LeaseMode};
use crate::model::order::{Order, OwnKeys, Stamp, State};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::request::REASON_BYTES_MAX;
use crate::model::time::{Millis, Moment};
use crate::model::tree::WorktreeMade;
use crate::observe::{self, Arrival};
use crate::world::store::{
    Outcome, Snapshot, TICKET_BYTES_MAX, errno, read_whole, relocate, write_beside,
};
use crate::world::{Fault, GitFault, World};
use std::path::{Path, PathBuf};

/// A command that has run so long gets its running stamp; shorter ones skip it.
const STAMP_AFTER: Millis = Millis(100);

/// Code of a claim that git refused: looked at again when the ticket changes, and at each rescan.
pub(super) const CANNOT_CLAIM: &str = "cannot-claim";

/// Why a claim was not made.
pub(super) enum Refusal {
    /// The ticket changed or somebody was faster.
    LookAgain,
    /// The order cannot be claimed as it is.
    Order(Defect),
    /// Git failed at a step.
    Git(GitFault),
}

impl<W: World> Engine<W> {
    pub(super) fn claim(
        &mut self,
        id: &OrderId,
        mode: Mode,
        request: Option<&Request>,
        in_place: bool,
    ) -> Result<(), Fault> {
        let from = if in_place { State::Running } else { State::Pending };
        let path = paths::ticket(from, id);
        let Some(snapshot) = read_whole(&mut self.world, &path, TICKET_BYTES_MAX)? else {
            self.hint(id.clone(), Arrival::Unsure);
            return Ok(());
        };
        let order = match self.readable(id, from, &snapshot) {
            Ok(order) => order,
            Err(Refusal::Order(defect)) => return self.not_claimable(id, from, request, &defect),
            Err(_) => {
                self.forget(id, from);
                return Ok(());
            }
        };
        // In `pending/` that was asked when it was read.
        if in_place && self.world.has_writer(&snapshot.file)? == Some(true) {
            self.look_later(id, from);
            return Ok(());
        }
        let number = self.next_attempt(id, order.own.attempt)?;
        let decided = self.decide(id, number, &order, &snapshot.bytes, mode, request)?;
        let (claim, rules) = match decided {
            Ok(decided) => decided,
            Err(Refusal::Git(git)) => {
                uninterrupted(&git)?;
                let step = (from, "prepare the worktree");
                return self.claim_failed(id, None, request, step, &git);
            }
            Err(Refusal::Order(defect)) => return self.not_claimable(id, from, request, &defect),
            Err(Refusal::LookAgain) => {
                self.forget(id, from);
                return Ok(());
            }
        };
        self.begin_attempt(id, number, claim);
        match self.take_hold(id, number, from, &snapshot, &rules)? {
            Ok(()) => Ok(()),
            Err(Refusal::Git(git)) => {
                uninterrupted(&git)?;
                self.claim_failed(id, Some(number), request, (from, "create worktree"), &git)
            }
            Err(_) => {
                self.undo_claim(id, "the ticket changed meanwhile")?;
                self.forget(id, from);
                Ok(())
            }
        }
    }

    /// The order, if the ticket still says what was planned on, and can be edited faithfully.
    fn readable(
        &mut self,
        id: &OrderId,
        state: State,
        snapshot: &Snapshot<W::File>,
    ) -> Result<Order, Refusal> {
        let parsed = parse_order(&snapshot.bytes, id.as_str()).map_err(|_| Refusal::LookAgain)?;
        let brief =
            observe::brief(&parsed.order, &self.options.config, !parsed.warnings.is_empty());
        let stat = &snapshot.stat;
        // Another file may still be being written: only the one that was looked at is known to be whole.
        let same = |p: &&Located| {
            (p.inode, p.size, p.mtime_ns) == (stat.inode, stat.size, stat.mtime_ns)
                && p.reading == Reading::Order(Box::new(brief))
        };
        if self.ticket(id).and_then(|t| t.place(state)).filter(same).is_none() {
            return Err(Refusal::LookAgain);
        }
        let text = String::from_utf8_lossy(&snapshot.bytes);
        edit::edit(&text, &largest_changes(id, &parsed.order.own)).map_err(|defect| {
            let why = format!("how it ends could not be written into it: {}", defect.message);
            Refusal::Order(Defect::whole(CANNOT_CLAIM, why))
        })?;
        Ok(parsed.order)
    }

    /// Makes the next look read the ticket again, once it is whole.
    fn forget(&mut self, id: &OrderId, state: State) {
        self.index.ticket_mut(id).places[state as usize] = None;
        self.hint(id.clone(), Arrival::Unsure);
    }

    fn next_attempt(&mut self, id: &OrderId, of_ticket: u32) -> Result<u32, Fault> {
        let known = self.ticket(id).map_or(0, |t| t.last_attempt);
        let before = self.numbers.get(id).copied().unwrap_or(0);
        let mut highest = of_ticket.max(known).max(before);
        match self.world.list(&paths::runs(id)) {
            Ok(entries) => {
                let numbers = entries.iter().filter_map(|e| e.name.to_str()?.parse::<u32>().ok());
                highest = numbers.fold(highest, u32::max);
            }
            Err(fault) if fault.errno == errno::ENOENT => {}
            Err(fault) if fault.is_obstacle() => {
                self.clear_run_dirs(id, &paths::execution_log(id))?;
            }
            Err(fault) => return Err(fault),
        }
        Ok(highest.saturating_add(1))
    }

    fn begin_attempt(&mut self, id: &OrderId, number: u32, claim: Claim) {
        let (tick, now) = self.look_context();
        let attempt = Attempt::begin(id, number, now, claim.clone());
        self.keep_base(id, &claim);
        let ticket = self.index.ticket_mut(id);
        ticket.attempt = Some(Box::new(attempt));
        ticket.last_attempt = number;
        ticket.stamp_at = tick.after(STAMP_AFTER);
        self.index.open.insert(id.clone());
        if claim.mode == Mode::Process {
            self.hooks.work();
        }
        self.record(id, Some(number), Event::Claiming(Box::new(claim)));
    }

    /// The steps: line, lease, worktree, move.
    fn take_hold(
        &mut self,
        id: &OrderId,
        number: u32,
        from: State,
        snapshot: &Snapshot<W::File>,
        rules: &[u8],
    ) -> Result<Result<(), Refusal>, Fault> {
        self.ledger.flush(&mut self.world)?;
        if !self.link_lease(id)? {
            return Ok(Err(Refusal::LookAgain));
        }
        self.seal_copy(id, number, &snapshot.bytes)?;
        if let Err(git) = self.make_worktree(id, number, rules)? {
            return Ok(Err(Refusal::Git(git)));
        }
        self.hint(id.clone(), Arrival::Unsure);
        if from == State::Running {
            self.sync_now(State::Pending)?;
            return Ok(Ok(()));
        }
        let to = paths::ticket(State::Running, id);
        let moved = relocate(&mut self.world, &snapshot.path, &to, snapshot.stat.inode)?;
        self.changed(&snapshot.path);
        self.changed(&to);
        Ok(if moved == Outcome::Done { Ok(()) } else { Err(Refusal::LookAgain) })
    }

    fn make_worktree(
        &mut self,
        id: &OrderId,
        number: u32,
        rules: &[u8],
    ) -> Result<Result<(), GitFault>, Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else {
            return Ok(Ok(()));
        };
        let (Place::Tree { path, branch, .. }, Some(base)) = (&attempt.claim.place, attempt.base())
        else {
            return Ok(Ok(()));
        };
        self.ledger.sync(&mut self.world)?;
        let dir = self.ensure_run_dir(id, number)?;
        self.put_evidence(id, &dir.join(paths::EXCLUDES), rules)?;
        Ok(match self.world.git_add(path, branch, &base, attempt.claim.sealed.cone().as_ref()) {
            Ok(made) => {
                if let Some(to) = made.moved_aside {
                    self.notes.push(format!("{id}: what stood in the way of {path} is now {to}"));
                    let from = path.clone();
                    self.record(id, Some(number), Event::MovedAside { from, to });
                }
                Ok(())
            }
            Err(git) => Err(git),
        })
    }

    /// The lease of the open attempt. `false` when the lock exists already.
    fn link_lease(&mut self, id: &OrderId) -> Result<bool, Fault> {
        if self.ticket(id).is_none_or(|t| t.attempt.is_none()) {
            return Ok(false);
        }
        let lock = paths::lock(id);
        self.changed(&lock);
        if let Some(temp) = self.manual_lease(id, &lock)? {
            let linked = link(&mut self.world, &temp, &lock);
            self.world.unlink(&temp)?;
            return linked;
        }
        let file = self.instance_file(false)?;
        match self.world.link(&file, &lock) {
            Err(fault) if fault.errno == errno::EMLINK || fault.errno == errno::ENOENT => {
                let file = self.instance_file(true)?;
                link(&mut self.world, &file, &lock)
            }
            Ok(()) => Ok(true),
            Err(fault) => resolve_link(&mut self.world, &file, &lock, fault),
        }
    }

    /// The lease of a person's attempt, written beside the lock. `None`: the daemon's attempt.
    fn manual_lease(&mut self, id: &OrderId, lock: &Path) -> Result<Option<PathBuf>, Fault> {
        let attempt = self.ticket(id).and_then(|t| t.attempt.as_deref());
        let Some((Mode::Manual(holder), number)) =
            attempt.map(|a| (a.claim.mode.clone(), a.number))
        else {
            return Ok(None);
        };
        let text = self.lease_text(LeaseMode::Manual { attempt: number, holder });
        write_beside(&mut self.world, lock, text.as_bytes(), 0o644).map(Some)
    }

    fn lease_text(&self, mode: LeaseMode) -> String {
        let who = self.world.identity();
        let lease = Lease {
            mode,
            pid: who.pid,
            start_time: who.start_time,
            user: who.user.clone(),
            host: who.host.clone(),
            boot: who.boot.clone(),
            instance: who.instance.clone(),
        };
        lease.render(self.world.now(), &self.options.policy.zone)
    }

    /// The synced file that the process leases of this instance are links to.
    fn instance_file(&mut self, renew: bool) -> Result<std::path::PathBuf, Fault> {
        let generation = match &self.lease_file {
            Some(own) if !renew => return Ok(own.path.clone()),
            Some(own) => own.generation + 1,
            None => 0,
        };
        let path = paths::instance_lease(&self.world.identity().instance, generation);
        let text = self.lease_text(LeaseMode::Process);
        match crate::world::store::publish(&mut self.world, &path, text.as_bytes(), 0o644) {
            Err(fault) if fault.errno != errno::EEXIST => return Err(fault),
            _ => {}
        }
        self.changed(&path);
        let inode = self.world.stat(&path)?.map_or(0, |s| s.inode);
        let body = LeaseBody::parse(text.as_bytes());
        self.lease_file = Some(OwnLease { path: path.clone(), generation, inode, body });
        Ok(path)
    }

    /// Gives a running order a lease of this instance, in place.
    pub(super) fn adopt_lease(&mut self, id: &OrderId) -> Result<(), Fault> {
        let lock = paths::lock(id);
        self.hint(id.clone(), Arrival::Unsure);
        if self.world.stat(&lock)?.is_none() {
            self.link_lease(id)?;
            return Ok(());
        }
        let temp = match self.manual_lease(id, &lock)? {
            Some(temp) => temp,
            None => {
                let file = self.instance_file(false)?;
                let temp = lock.with_file_name(format!(".{id}.lock.{:016x}", self.world.random()));
                self.world.link(&file, &temp)?;
                temp
            }
        };
        let exchanged = self.world.exchange(&temp, &lock);
        self.world.unlink(&temp)?;
        self.changed(&lock);
        match exchanged {
            Ok(()) => {
                let number = self.ticket(id).and_then(|t| t.attempt.as_deref()).map(|a| a.number);
                let state = State::Running.name().to_owned();
                self.record(id, number, Event::Adopted { state });
                Ok(())
            }
            Err(fault) if fault.errno != errno::ENOENT => Err(fault),
            Err(_) => Ok(()),
        }
    }

    /// Removes a lock of ours that no attempt owns.
    pub(super) fn drop_lease(&mut self, id: &OrderId) -> Result<(), Fault> {
        let lock = paths::lock(id);
        self.hint(id.clone(), Arrival::Unsure);
        self.changed(&lock);
        match self.world.unlink(&lock) {
            Err(fault) if fault.errno != errno::ENOENT => Err(fault),
            _ => Ok(()),
        }
    }

    /// Removes the lock of an attempt that is undone. One that somebody else has made, before this attempt
    /// could or in its place, is theirs.
    fn drop_own_lease(&mut self, id: &OrderId, attempt: &Attempt) -> Result<(), Fault> {
        match read_whole(&mut self.world, &paths::lock(id), LEASE_BYTES_MAX) {
            Ok(Some(found)) if LeaseBody::parse(&found.bytes).is_of(attempt) => self.drop_lease(id),
            Err(fault) if !fault.is_obstacle() => Err(fault),
            _ => Ok(()),
        }
    }

    /// Undoes an interrupted claim: worktree, lease, then the line that ends the attempt.
    pub(super) fn undo_claim(&mut self, id: &OrderId, reason: &str) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        self.bases.remove(id);
        self.remove_created(id, &attempt)?;
        self.drop_own_lease(id, &attempt)?;
        self.record(id, Some(attempt.number), Event::Released { reason: reason.to_owned() });
        self.index.open.remove(id);
        self.forget_copy(id);
        self.free_tree(id, attempt.tree().and_then(|t| OrderId::parse(t).ok()).as_ref());
        let ticket = self.index.ticket_mut(id);
        ticket.attempt = None;
        ticket.seen = crate::model::index::Seen::Pending;
        self.hint(id.clone(), Arrival::Unsure);
        Ok(())
    }

    /// Removes the worktree and branch this attempt created; what cannot be removed safely stays.
    pub(super) fn remove_created(&mut self, id: &OrderId, attempt: &Attempt) -> Result<(), Fault> {
        let Place::Tree { path, branch, branch_existed, worktree_existed, .. } =
            &attempt.claim.place
        else {
            return Ok(());
        };
        let Some(base) = attempt.base() else { return Ok(()) };
        let made = WorktreeMade {
            branch_created: !branch_existed,
            worktree_created: !worktree_existed,
            moved_aside: None,
        };
        if let Err(git) = self.world.git_remove(path, branch, &base, &made) {
            uninterrupted(&git)?;
            self.notes.push(format!("{id}: the worktree stays: {git}"));
        }
        Ok(())
    }

    /// A claim that git refused: undone, explained, and not tried again until the ticket changes.
    fn claim_failed(
        &mut self,
        id: &OrderId,
        attempt: Option<u32>,
        request: Option<&Request>,
        (from, step): (State, &str),
        git: &GitFault,
    ) -> Result<(), Fault> {
        let mut text = format!("✗ Failed to {step}: {}\nExecuting rollback...", git.cause);
        if attempt.is_some() {
            self.undo_claim(id, &format!("failed to {step}: {}", git.cause))?;
            text.push_str("\n  released the lease\n  removed what this attempt had created");
        }
        text.push_str("\n✓ Rollback completed");
        let defect = Defect::whole(CANNOT_CLAIM, format!("failed to {step}: {}", git.cause));
        match request {
            Some(request) => self.refuse(id, request, 1, &text),
            None => self.not_claimable(id, from, None, &defect),
        }
    }

    /// The order cannot be claimed as it is; said once, until the ticket changes.
    fn not_claimable(
        &mut self,
        id: &OrderId,
        state: State,
        request: Option<&Request>,
        defect: &Defect,
    ) -> Result<(), Fault> {
        if let Some(request) = request {
            return self.refuse(id, request, 4, &defect.to_string());
        }
        if let Some(place) = self.index.ticket_mut(id).places[state as usize].as_deref_mut() {
            place.reading = Reading::Refused(Box::new([defect.clone()]));
        }
        self.replan.insert(id.clone());
        Ok(())
    }
}

fn link<W: World>(world: &mut W, from: &Path, to: &Path) -> Result<bool, Fault> {
    match world.link(from, to) {
        Ok(()) => Ok(true),
        Err(fault) => resolve_link(world, from, to, fault),
    }
}

/// After a failed link: the reply can be lost, so the inodes decide.
fn resolve_link<W: World>(
    world: &mut W,
    from: &Path,
    to: &Path,
    fault: Fault,
) -> Result<bool, Fault> {
    let ours = world.stat(from)?.map(|s| s.inode);
    match world.stat(to)?.map(|s| s.inode) {
        Some(there) => Ok(Some(there) == ours),
        // Somebody made the lock and has removed it since: it is tried again.
        None if fault.errno == errno::EEXIST => Ok(false),
        None => Err(fault),
    }
}

/// As much as any attempt of an order may write into its ticket: there must be room before it is claimed.
fn largest_changes(id: &OrderId, own: &OwnKeys) -> Vec<edit::Change> {
    let (time, sha) = (Moment(0), "0".repeat(64));
    let text = |len: usize| edit::Scalar::Text("x".repeat(len));
    let new = OwnKeys {
        attempt: u32::MAX,
        retries: u32::MAX,
        verify_fails: u32::MAX,
        retry_at: Some(time),
        reason: Some("x".repeat(REASON_BYTES_MAX)),
        hold: Some("x".repeat(REASON_BYTES_MAX)),
        settled: Some(Stamp {
            id: id.to_string(),
            state: State::Failed,
            attempt: u32::MAX,
            seq: u64::MAX,
            hash: sha.clone(),
        }),
    };
    let mut changes = vec![
        set("status", text(8)),
        set("started_at", edit::Scalar::Time(time)),
        set("branch", text(250)),
        set("worktree", text(250)),
        set("owner", text(250)),
        set("finished_at", edit::Scalar::Time(time)),
        set("result", text(20)),
        set("commit_sha", edit::Scalar::Text(sha.clone())),
        set("verified_at_sha", edit::Scalar::Text(sha)),
    ];
    changes.extend(edit::own_changes(own, &new));
    changes
}
