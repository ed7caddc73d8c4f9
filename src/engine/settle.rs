//! Settling: the decided end of an attempt, carried out forward, each step repeatable.
//!
//! Invariants: the `settled` line is durable before the ticket is touched; content first, then one
//! rename; a lease is released only when its ticket has left `running/`; a person's edit survives.

use super::Engine;
use super::hooks::Told;
use crate::model::attempt::{Asked, Attempt, Place, Wish};
use crate::model::defect::Defect;
use crate::model::edit::{Change, Key, Scalar, edit, own_changes};
use crate::model::event::{Event, sha256_hex};
use crate::model::id::OrderId;
use crate::model::index::{Reading, Request, Seen, Ticket};
use crate::model::order::{OwnKeys, Stamp, State};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::time::Moment;
use crate::world::store::{
    Outcome, Snapshot, TICKET_BYTES_MAX, errno, exchange_in, read_whole, relocate, rename_free,
    write_stamp,
};
use crate::world::{Fault, World};
use std::path::{Path, PathBuf};

/// A ticket as it was read, and its text as it is to be.
type Draft<F> = (Snapshot<F>, String);

impl<W: World> Engine<W> {
    pub(super) fn settle(
        &mut self,
        id: &OrderId,
        state: State,
        result: String,
        reason: String,
        retry_at: Option<Moment>,
    ) {
        let Some(number) = self.ticket(id).and_then(|t| t.attempt.as_deref()).map(|a| a.number)
        else {
            return;
        };
        let state = state.name().to_owned();
        let retry_at = retry_at.map(Moment::rfc3339);
        self.record(
            id,
            Some(number),
            Event::Settled { state, result, reason, retry_at, request: String::new() },
        );
    }

    /// Stamps the ticket and moves it to where its attempt ended.
    pub(super) fn carry_out(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let Some(settled) = attempt.settled.clone() else { return Ok(()) };
        self.hold_if_edited(id, &attempt)?;
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        // The evidence is there before the ticket is.
        self.write_log(id)?;
        self.write_end(id, &attempt)?;
        let changes = |own: &OwnKeys| settled_changes(&attempt, own);
        let to = settled.state();
        let keep = paths::run(id, attempt.number).join(paths::SEALED);
        self.rewrite(id, State::Running, Some(to), &changes, Some((&attempt, keep.as_path())))?;
        Ok(())
    }

    /// The running stamp: what a person reads in a ticket that is being worked on.
    pub(super) fn stamp_running(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        self.ensure_run_dir(id, attempt.number)?;
        self.sync_copies(id, attempt.number)?;
        let keep = paths::run(id, attempt.number).join(paths::SEALED);
        let changes = |own: &OwnKeys| running_changes(&attempt, own);
        self.rewrite(id, State::Running, None, &changes, Some((&attempt, keep.as_path())))?;
        Ok(())
    }

    /// One stamp, and one move when `to` is given. A person's edit in between wins: look again.
    pub(super) fn rewrite(
        &mut self,
        id: &OrderId,
        from: State,
        to: Option<State>,
        changes: &dyn Fn(&OwnKeys) -> Vec<Change>,
        sealed: Option<(&Attempt, &Path)>,
    ) -> Result<Outcome, Fault> {
        let path = paths::ticket(from, id);
        let Some((snapshot, text)) = self.draft(id, from, changes)? else {
            return Ok(Outcome::LookAgain);
        };
        self.hint(id.clone(), crate::observe::Arrival::Renamed);
        if from != State::Running || self.unwatched {
            self.sync_doubtful(from)?;
        }
        let (temp, inode) = write_stamp(&mut self.world, &snapshot, text.as_bytes())?;
        let keep = sealed.filter(|(a, _)| sha256_hex(&snapshot.bytes) == a.claim.sealed.digest);
        let (stamped, kept) = self.put_in_place(id, &snapshot, &temp, keep.map(|(_, to)| to))?;
        self.changed(&path);
        match (stamped, sealed) {
            (Outcome::LookAgain, _) => self.look_later(id, from),
            (Outcome::Done, Some((a, _))) => self.copy_stamped(id, a.number, kept)?,
            (Outcome::Done, None) => {}
        }
        let Some(to) = to.filter(|_| stamped == Outcome::Done) else { return Ok(stamped) };
        if to == State::Pending {
            self.sync_now(from)?;
        }
        let target = paths::ticket(to, id);
        let moved = relocate(&mut self.world, &path, &target, inode)?;
        self.changed(&path);
        self.changed(&target);
        if to == State::Pending {
            self.sync_now(from)?;
        }
        Ok(moved)
    }

    /// The ticket as it is, and as it is to be. `None`: it is looked at again, for it has gone, is being
    /// written, or cannot be edited.
    fn draft(
        &mut self,
        id: &OrderId,
        state: State,
        changes: &dyn Fn(&OwnKeys) -> Vec<Change>,
    ) -> Result<Option<Draft<W::File>>, Fault> {
        let path = paths::ticket(state, id);
        let Some(snapshot) = read_whole(&mut self.world, &path, TICKET_BYTES_MAX)? else {
            self.hint(id.clone(), crate::observe::Arrival::Unsure);
            return Ok(None);
        };
        if self.world.has_writer(&snapshot.file)? == Some(true) {
            self.look_later(id, state);
            return Ok(None);
        }
        match new_text(id, &snapshot.bytes, changes) {
            Ok(text) => Ok(Some((snapshot, text))),
            Err(defect) => {
                self.refuse_place(id, state, defect);
                Ok(None)
            }
        }
    }

    /// Whether a stamp can be written, tried before anything is said of it.
    pub(super) fn can_be_stamped(&mut self, id: &OrderId, state: State) -> Result<bool, Fault> {
        let trial = |own: &OwnKeys| {
            let new = OwnKeys { reason: Some("trial".to_owned()), ..own.clone() };
            own_changes(own, &new)
        };
        Ok(self.draft(id, state, &trial)?.is_some())
    }

    /// A person is at the ticket: nothing is decided about it before it has settled.
    pub(super) fn look_later(&mut self, id: &OrderId, state: State) {
        let until = self.world.tick().after(self.options.config.settle);
        if let Some(place) = self.index.ticket_mut(id).places[state as usize].as_deref_mut() {
            place.reading = Reading::Settling(until);
        }
        self.dirty.remove(id);
        self.look_at.insert((until, id.clone()));
        self.replan.insert(id.clone());
    }

    /// The ticket cannot be edited faithfully: that is said once, until it changes.
    fn refuse_place(&mut self, id: &OrderId, state: State, defect: Defect) {
        self.notes.push(format!("{id}: nothing is made of its ticket until it changes: {defect}"));
        if let Some(place) = self.index.ticket_mut(id).places[state as usize].as_deref_mut() {
            place.reading = Reading::Refused(Box::new([defect]));
        }
        self.replan.insert(id.clone());
    }

    /// Whether it is stamped, and whether what came out is kept where that was wanted.
    fn put_in_place(
        &mut self,
        id: &OrderId,
        snapshot: &Snapshot<W::File>,
        temp: &Path,
        keep: Option<&Path>,
    ) -> Result<(Outcome, bool), Fault> {
        let elsewhere: Vec<PathBuf> = State::ALL.map(|s| paths::ticket(s, id)).to_vec();
        let (done, kept) = exchange_in(&mut self.world, snapshot, temp, keep, &elsewhere)?;
        if done == Outcome::Done {
            return Ok((done, kept.is_some()));
        }
        let note = |kept: PathBuf| format!("a version of {id} is kept as {}", kept.display());
        self.notes.extend(kept.map(note));
        Ok((done, false))
    }

    /// The ticket is where it belongs: the lease ends, whoever asked is answered.
    pub(super) fn release(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let Some(settled) = attempt.settled.clone() else { return Ok(()) };
        if self.ticket(id).is_some_and(|t| t.state().is_none()) && self.is_there_after_all(id)? {
            return Ok(());
        }
        let waits = |a: &Asked| self.is_answering(id, a.wish.name(), &a.request);
        if attempt.asked.as_ref().is_some_and(waits) {
            // All is done but the answer, which waits for the directories.
            return Ok(());
        }
        // The lease goes last: without it nobody would follow the epic after a crash.
        self.follow_epic(id, &attempt)?;
        self.end_lease(id, &attempt, &settled.result)?;
        let state = settled.state();
        if state == State::Pending && settled.result == "withdrawn" {
            self.remove_created(id, &attempt)?;
        }
        if state != State::Pending {
            self.clear_why(id, State::Running)?;
        }
        self.index.ticket_mut(id).lease = None;
        match &attempt.asked {
            Some(asked) => {
                let (code, text) = verdict_answer(asked, &settled.result, &settled.reason, state);
                let verb = asked.wish.name();
                self.answer(id, Some(attempt.number), verb, &asked.request, code, text);
            }
            None => self.close(id),
        }
        self.hint(id.clone(), crate::observe::Arrival::Unsure);
        Ok(())
    }

    /// A ticket that seemed to be gone may just have been moved from one directory to another while we
    /// looked.
    fn is_there_after_all(&mut self, id: &OrderId) -> Result<bool, Fault> {
        for state in State::ALL {
            if self.world.stat(&paths::ticket(state, id))?.is_some() {
                self.hint(id.clone(), crate::observe::Arrival::Renamed);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn end_lease(&mut self, id: &OrderId, attempt: &Attempt, result: &str) -> Result<(), Fault> {
        let lock = paths::lock(id);
        let lease = self.ticket(id).and_then(|t| t.lease.as_deref());
        let ours = lease.is_some_and(|l| l.body.is_of(attempt));
        let asked = attempt.asked.as_ref().is_some_and(|a| a.options.takeover);
        let taken_over = asked || result == "taken-over" || result == "requeued";
        if !ours && !taken_over {
            return Ok(());
        }
        self.changed(&lock);
        let ended = if taken_over {
            let dir = self.ensure_run_dir(id, attempt.number)?;
            keep_lock(&mut self.world, &lock, &dir)
        } else {
            self.world.unlink(&lock)
        };
        match ended {
            Err(fault) if fault.errno != errno::ENOENT => Err(fault),
            _ => Ok(()),
        }
    }

    /// Settles an order that never ran, or lies in `failed/` already.
    pub(super) fn settle_unrun(
        &mut self,
        id: &OrderId,
        from: State,
        result: &str,
        reason: &str,
        request: Option<&Request>,
    ) -> Result<(), Fault> {
        if !self.can_be_stamped(id, from)? {
            return Ok(());
        }
        if from == State::Failed {
            self.sync_now(State::Pending)?;
        }
        let event = Event::Settled {
            state: State::Failed.name().to_owned(),
            result: result.to_owned(),
            reason: reason.to_owned(),
            retry_at: None,
            request: request.map(|r| r.key.clone()).unwrap_or_default(),
        };
        let (seq, hash) = self.record(id, None, event);
        self.make_ledger_durable()?;
        let at = self.world.now();
        let changes = |own: &OwnKeys| {
            let mut new = own.clone();
            new.reason = Some(reason.to_owned());
            new.retry_at = None;
            new.settled = Some(stamp(id, State::Failed, own, seq, &hash));
            let mut changes = vec![
                set("status", Scalar::Text("failed".to_owned())),
                set("result", Scalar::Text(result.to_owned())),
                set("finished_at", Scalar::Time(at)),
            ];
            changes.extend(own_changes(own, &new));
            changes
        };
        let to = (from != State::Failed).then_some(State::Failed);
        // Until its stamp stands; a person may be changing the ticket in this moment.
        self.index.ticket_mut(id).seen = Seen::Unrun;
        if self.rewrite(id, from, to, &changes, None)? == Outcome::LookAgain {
            return Ok(());
        }
        let ticket = self.index.ticket_mut(id);
        ticket.seen = Seen::Settled(State::Failed);
        let attempt = ticket.last_attempt;
        let told = Told { attempt, state: State::Failed, seq, result, reason };
        self.hook_settled(id, &told);
        if let Some(request) = request {
            self.consume_unbound(id, request);
            let why = if reason == result { String::new() } else { format!(": {reason}") };
            let text = format!("{id} is failed ({result}{why})");
            self.answer(id, None, request.verb.name(), &request.key, 0, text);
        }
        Ok(())
    }

    /// Records a settled ticket that was there before the ledger.
    pub(super) fn adopt_settled(&mut self, id: &OrderId, state: State) -> Result<(), Fault> {
        if !self.can_be_stamped(id, state)? {
            return Ok(());
        }
        // A person may have moved it here from there just now: no power cut may show it twice.
        self.sync_now(State::Pending)?;
        let event = Event::Adopted { state: state.name().to_owned() };
        let (seq, hash) = self.record(id, None, event);
        self.make_ledger_durable()?;
        let changes = |own: &OwnKeys| {
            let mut new = own.clone();
            new.settled = Some(stamp(id, state, own, seq, &hash));
            own_changes(own, &new)
        };
        self.index.ticket_mut(id).seen = Seen::Adopted(state);
        if self.rewrite(id, state, None, &changes, None)? == Outcome::Done {
            self.index.ticket_mut(id).seen = Seen::Settled(state);
        }
        Ok(())
    }

    /// Something that was there before the ledger still waits to be adopted.
    pub(super) fn adopts(&self) -> bool {
        let waits = |t: &Ticket| {
            let state = t.state().filter(|s| matches!(s, State::Done | State::Failed));
            let reading = state.and_then(|s| t.place(s)).map(|p| &p.reading);
            let open = match reading {
                Some(Reading::Order(brief)) => brief.stamp.is_none(),
                Some(Reading::Settling(_)) => true,
                _ => false,
            };
            open && t.attempt.is_none() && t.seen == Seen::Never
        };
        self.index.tickets.values().any(waits)
    }

    /// Rare transitions wait for the ledger at once.
    pub(super) fn make_ledger_durable(&mut self) -> Result<(), Fault> {
        self.ledger.flush(&mut self.world)?;
        self.ledger.sync(&mut self.world)
    }
}

/// Keeps a lock that was taken over in the run directory, whatever is called `lock` there.
pub(super) fn keep_lock<W: World>(world: &mut W, lock: &Path, dir: &Path) -> Result<(), Fault> {
    match world.rename(lock, &dir.join("lock")) {
        Err(fault) if fault.errno == errno::EEXIST => {
            rename_free(world, lock, |n| dir.join(format!("lock.{n}"))).map(|_| ())
        }
        kept => kept,
    }
}

/// The new text of a ticket, or why it cannot be edited.
fn new_text(
    id: &OrderId,
    bytes: &[u8],
    changes: &dyn Fn(&OwnKeys) -> Vec<Change>,
) -> Result<String, Defect> {
    let invalid = |text: &str| Defect::whole("invalid-ticket", text);
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let parsed = parse_order(bytes, id.as_str()).map_err(|defects| {
        defects.into_iter().next().unwrap_or_else(|| invalid("it is not a valid work order"))
    })?;
    edit(text, &changes(&parsed.order.own))
}

pub(super) fn set(key: &'static str, value: Scalar) -> Change {
    Change::Set(Key::Top(key), value)
}

fn place_changes(attempt: &Attempt) -> Vec<Change> {
    let mut changes = vec![set("started_at", Scalar::Time(Moment(attempt.claimed_ms)))];
    if let Place::Tree { path, branch, .. } = &attempt.claim.place {
        changes.push(set("branch", Scalar::Text(branch.clone())));
        changes.push(set("worktree", Scalar::Text(path.clone())));
    }
    if let crate::model::attempt::Mode::Manual(holder) = &attempt.claim.mode {
        changes.push(set("owner", Scalar::Text(holder.name.clone())));
    }
    changes
}

/// What an ended attempt wrote into the ticket; the next one starts without it.
const OF_THE_END: [&str; 4] = ["finished_at", "result", "commit_sha", "verified_at_sha"];

fn running_changes(attempt: &Attempt, own: &OwnKeys) -> Vec<Change> {
    let mut changes = vec![set("status", Scalar::Text("running".to_owned()))];
    changes.extend(place_changes(attempt));
    changes.extend(OF_THE_END.map(|key| Change::Remove(Key::Top(key))));
    let mut new = own.clone();
    new.attempt = attempt.number;
    new.retry_at = None;
    new.settled = None;
    changes.extend(own_changes(own, &new));
    changes
}

fn settled_changes(attempt: &Attempt, own: &OwnKeys) -> Vec<Change> {
    let Some(settled) = &attempt.settled else { return Vec::new() };
    let state = settled.state();
    let mut changes = vec![set("status", Scalar::Text(state.name().to_owned()))];
    let unstamped = own.attempt != attempt.number;
    if unstamped {
        changes.extend(place_changes(attempt));
    }
    let mut new = own.clone();
    new.attempt = attempt.number;
    new.reason = Some(settled.reason.clone());
    new.retry_at = settled.retry_at.as_deref().and_then(Moment::parse);
    let sealed = &attempt.claim.sealed;
    if state == State::Pending {
        // An edited order is a new one: a person lets it go, and it has all its retries again.
        let retried = new.retry_at.is_some() && attempt.held.is_none();
        new.retries = if retried { sealed.retries + 1 } else { 0 };
        new.verify_fails = if retried { failed_verdicts(attempt) } else { 0 };
        if attempt.held.is_some() {
            new.hold.clone_from(&attempt.held);
        }
        new.settled = None;
        if unstamped {
            changes.extend(OF_THE_END.map(|key| Change::Remove(Key::Top(key))));
        }
    } else {
        changes.push(set("finished_at", Scalar::Time(Moment(settled.at_ms))));
        changes.push(set("result", Scalar::Text(settled.result.clone())));
        changes.extend(commit_changes(attempt));
        new.retries = sealed.retries;
        new.verify_fails = failed_verdicts(attempt);
        new.settled = Some(Stamp {
            id: attempt.id.clone(),
            state,
            attempt: attempt.number,
            seq: settled.seq,
            hash: settled.hash.clone(),
        });
    }
    changes.extend(own_changes(own, &new));
    changes
}

/// The stamp of a settlement without an attempt.
fn stamp(id: &OrderId, state: State, own: &OwnKeys, seq: u64, hash: &str) -> Stamp {
    let (id, hash) = (id.to_string(), hash.to_owned());
    Stamp { id, state, attempt: own.attempt, seq, hash }
}

/// Attempts since the last request of a person that the gate failed, this one included.
fn failed_verdicts(attempt: &Attempt) -> u32 {
    let failed = attempt.verdict.as_ref().is_some_and(|v| v.result == "fail");
    attempt.claim.sealed.verify_fails + u32::from(failed)
}

fn commit_changes(attempt: &Attempt) -> [Change; 2] {
    let Some(verdict) = attempt.verdict.as_ref().filter(|v| v.commit.is_some()) else {
        return ["commit_sha", "verified_at_sha"].map(|key| Change::Remove(Key::Top(key)));
    };
    let text = |sha: &Option<String>| sha.clone().map_or(Scalar::Null, Scalar::Text);
    [set("commit_sha", text(&verdict.commit)), set("verified_at_sha", text(&verdict.verified_at))]
}

/// Exit code and sentence for whoever asked.
fn verdict_answer(asked: &Asked, result: &str, reason: &str, state: State) -> (u8, String) {
    let text = format!("{result} ({reason}); now in {}/", state.name());
    let code = match (asked.wish, result) {
        (Wish::Finish, "fail") => 6,
        _ => 0,
    };
    (code, text)
}
