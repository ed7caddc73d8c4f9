//! Requests: consumed by one rename, carried on after a crash, answered once.
//!
//! Invariants: a request binds one attempt only; its answer is one ledger line with its hex; a refused
//! one leaves `<request>.why`; a take becomes a hold only by the rename of its request, so whoever
//! withdraws it first has withdrawn it.

use super::Engine;
use super::settle::{keep_lock, set};
use crate::model::attempt::{Attempt, Holder, Options, Wish};
use crate::model::edit::{Scalar, own_changes};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::index::{Request, Seen};
use crate::model::order::{OwnKeys, State};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::request::{Verb, parse_request_name};
use crate::world::store::{
    Outcome, TICKET_BYTES_MAX, errno, put_derived, read_whole, relocate, rename_free,
};
use crate::world::{Fault, World};
use std::path::{Path, PathBuf};

fn control(file: &str) -> PathBuf {
    Path::new(paths::CONTROL).join(file)
}

impl<W: World> Engine<W> {
    /// Renames a request out of `control/`. `false`: it was withdrawn.
    fn consume(&mut self, id: &OrderId, file: &str, to: &Path) -> Result<bool, Fault> {
        let from = control(file);
        self.changed(&from);
        to.ancestors()
            .take_while(|dir| *dir != Path::new(paths::RUNS))
            .for_each(|p| self.changed(p));
        let renamed = self.world.rename(&from, to);
        let here = self.world.stat(to)?.is_some();
        self.index.ticket_mut(id).requests.retain(|r| r.file != file);
        if file.rsplit('.').next().is_none_or(|hex| hex.len() != 16) {
            let _ = self.world.unlink(&control(&format!("{file}.why")));
        }
        match renamed {
            Ok(()) => Ok(true),
            Err(fault) if fault.errno == errno::ENOENT => Ok(here),
            Err(fault) if fault.errno == errno::EEXIST => {
                match self.world.unlink(&from) {
                    Err(fault) if fault.is_obstacle() => {
                        let beside = |n| to.with_file_name(format!("{file}.aside-{n}"));
                        rename_free(&mut self.world, &from, beside)?;
                    }
                    done => done?,
                }
                Ok(true)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Lets go of a request that binds no attempt: its file goes once its answer stands in the ledger, so
    /// that a crash in between asks again instead of losing it.
    pub(super) fn consume_unbound(&mut self, id: &OrderId, request: &Request) {
        for known in &mut self.index.ticket_mut(id).requests {
            known.refused |= known.file == request.file;
        }
        self.answering.push((id.clone(), request.file.clone()));
    }

    /// Removes the files of requests whose answers have been written.
    pub(super) fn consume_answered(&mut self) -> Result<(), Fault> {
        while let Some((id, file)) = self.answered_files.pop() {
            let to = Path::new(paths::ANSWERED).join(&file);
            if let Err(fault) = self.consume(&id, &file, &to) {
                let consumed = self.without(&id, Err(fault));
                if consumed.is_err() {
                    self.answered_files.push((id, file));
                }
                consumed?;
            }
        }
        Ok(())
    }

    /// Completes a person's claim: its request is consumed, or it was withdrawn.
    pub(super) fn complete_take(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        if !self.consume_take(id, &attempt)? {
            return Ok(());
        }
        self.record(id, Some(attempt.number), Event::Claimed);
        self.stamp_running(id)
    }

    /// Tells a taker that the order is held now; a power cut may have brought the request back to be
    /// withdrawn.
    pub(super) fn answer_take(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let Some(file) = attempt.claim.request.clone() else { return Ok(()) };
        if !self.consume_take(id, &attempt)? {
            return Ok(());
        }
        if !attempt.claimed {
            self.record(id, Some(attempt.number), Event::Claimed);
        }
        let hex = parse_request_name(&file).and_then(|(_, _, hex)| hex).unwrap_or_default();
        self.answer(id, Some(attempt.number), "take", &hex, 0, format!("{id} is taken"));
        Ok(())
    }

    /// Consumes the request of a take, if that is not done. `false`: it was withdrawn, and its attempt is
    /// over.
    fn consume_take(&mut self, id: &OrderId, attempt: &Attempt) -> Result<bool, Fault> {
        let dir = self.ensure_run_dir(id, attempt.number)?;
        let Some(file) = &attempt.claim.request else { return Ok(true) };
        let (from, to) = (control(file), dir.join(file));
        if let Some(consumed) = self.world.stat(&to)? {
            // Whoever consumed it may have died before that was durable, and a power cut shows it twice;
            // another file of this name is somebody else's request.
            [&from, &to].into_iter().for_each(|path| self.changed(path));
            if self.world.stat(&from)?.is_some_and(|s| s.inode == consumed.inode) {
                self.world.unlink(&from)?;
            }
            return Ok(true);
        }
        let granted = self.consume(id, file, &to)?;
        if !granted {
            self.settle(id, State::Pending, "withdrawn".to_owned(), "withdrawn".to_owned(), None);
        }
        Ok(granted)
    }

    /// Binds a request to the open attempt.
    pub(super) fn accept(
        &mut self,
        id: &OrderId,
        request: &Request,
        wish: Wish,
        asked: Options,
        by: Holder,
    ) -> Result<(), Fault> {
        let Some(number) = self.ticket(id).and_then(|t| t.attempt.as_deref()).map(|a| a.number)
        else {
            return Ok(());
        };
        let dir = self.ensure_run_dir(id, number)?;
        self.replan.insert(id.clone());
        let known =
            self.ticket(id).and_then(|t| t.attempt.as_deref()).and_then(|a| a.asked.as_ref());
        if !known.is_some_and(|k| k.wish == wish && k.request == request.key) {
            self.supersede(id, wish);
            let (verb, hex) = (wish.name().to_owned(), request.key.clone());
            self.record(id, Some(number), Event::Request { verb, request: hex, by, asked });
            self.make_ledger_durable()?;
        }
        self.consume(id, &request.file, &dir.join(&request.file))?;
        Ok(())
    }

    /// Whoever asked something else of the attempt before is told that it will not happen.
    fn supersede(&mut self, id: &OrderId, wish: Wish) {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.as_deref()) else { return };
        let Some(asked) = attempt.asked.clone() else { return };
        let (number, verb) = (attempt.number, asked.wish.name().to_owned());
        let text = format!("{} came before its end", wish.name());
        self.answered.insert(asked.request.clone(), 4);
        for known in &mut self.index.ticket_mut(id).requests {
            if known.key == asked.request {
                known.refused = true;
                self.answered_files.push((id.clone(), known.file.clone()));
            }
        }
        let answer = Event::Answer { verb, request: asked.request, code: 4, text };
        self.record(id, Some(number), answer);
    }

    /// Refuses a request: a `.why` beside it, and its answer.
    pub(super) fn refuse(
        &mut self,
        id: &OrderId,
        request: &Request,
        code: u8,
        text: &str,
    ) -> Result<(), Fault> {
        let why = control(&format!("{}.why", request.file));
        if request.by_hand {
            let put = put_derived(&mut self.world, &why, format!("{text}\n").as_bytes());
            self.without(id, put)?;
            for known in &mut self.index.ticket_mut(id).requests {
                known.refused |= known.file == request.file;
            }
        } else {
            self.consume_unbound(id, request);
        }
        let attempt = self.ticket(id).and_then(|t| t.attempt.as_deref()).map(|a| a.number);
        self.notes.push(format!("{id}: {} refused: {text}", request.verb.name()));
        self.answer(id, attempt, request.verb.name(), &request.key, code, text.to_owned());
        self.replan.insert(id.clone());
        Ok(())
    }

    /// Says of a request that what it asked is done: a crash came before its answer.
    pub(super) fn confirm(&mut self, id: &OrderId, request: &Request) {
        self.consume_unbound(id, request);
        let text = format!("{id}: {} was carried out before a restart", request.verb.name());
        self.answer(id, None, request.verb.name(), &request.key, 0, text);
    }

    /// Refuses what the attempt was asked; it stays running.
    pub(super) fn refuse_asked(&mut self, id: &OrderId, code: u8, text: &str) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let Some(asked) = &attempt.asked else { return Ok(()) };
        if self.ticket(id).is_some_and(|t| t.place(State::Running).is_some()) {
            self.write_why(id, State::Running, text, false)?;
        }
        let verb = asked.wish.name();
        self.answer(id, Some(attempt.number), verb, &asked.request, code, text.to_owned());
        self.notes.push(format!("{id}: {verb} refused: {text}"));
        Ok(())
    }

    /// Holds a pending order, or lets it go.
    pub(super) fn hold(
        &mut self,
        id: &OrderId,
        reason: Option<String>,
        request: &Request,
    ) -> Result<(), Fault> {
        // What the order itself says of `hold` is the person's to change: an empty own key overrules it.
        let overrules = reason.is_none() && self.holds_itself(id)?;
        let wanted = if overrules { Some(String::new()) } else { reason.clone() };
        if self.stamp_hold(id, wanted)? == Outcome::LookAgain {
            return Ok(());
        }
        let (event, text) = match reason.clone() {
            Some(reason) => {
                let text = format!("{id} is held: {reason}");
                (Event::Held { reason, request: request.key.clone() }, text)
            }
            None => {
                let text = format!("{id} is no longer held");
                (Event::Unheld { request: request.key.clone() }, text)
            }
        };
        // Nobody may wait for the answer: all of it is durable before the request goes.
        self.sync_now(State::Pending)?;
        self.record(id, None, event);
        self.make_ledger_durable()?;
        self.consume_unbound(id, request);
        self.answer(id, None, request.verb.name(), &request.key, 0, text);
        Ok(())
    }

    /// The ticket has lost what a request wrote into it: it says so again.
    pub(super) fn restore_hold(&mut self, id: &OrderId, reason: String) -> Result<(), Fault> {
        if self.stamp_hold(id, Some(reason.clone()))? == Outcome::Done {
            self.notes.push(format!(
                "{id}: its ticket did not say any more that it is held; it does again"
            ));
            self.record(id, None, Event::Held { reason, request: String::new() });
        }
        Ok(())
    }

    /// Writes into the ticket of a pending order that it is held, and why, or that it is not.
    pub(super) fn stamp_hold(
        &mut self,
        id: &OrderId,
        hold: Option<String>,
    ) -> Result<Outcome, Fault> {
        let changes = |own: &OwnKeys| {
            let new = OwnKeys { hold: hold.clone(), ..own.clone() };
            own_changes(own, &new)
        };
        self.rewrite(id, State::Pending, None, &changes, None)
    }

    /// The order's own `hold` is set.
    fn holds_itself(&mut self, id: &OrderId) -> Result<bool, Fault> {
        let path = paths::ticket(State::Pending, id);
        let found = read_whole(&mut self.world, &path, TICKET_BYTES_MAX)?;
        let parsed = found.and_then(|s| parse_order(&s.bytes, id.as_str()).ok());
        Ok(parsed.is_some_and(|p| p.order.hold.is_some()))
    }

    /// Makes a failed order pending again: said, stamped, moved.
    pub(super) fn requeue(
        &mut self,
        id: &OrderId,
        from: State,
        request: Option<&Request>,
    ) -> Result<(), Fault> {
        if !self.can_be_stamped(id, from)? {
            return Ok(());
        }
        // The line takes back what a settlement may just have carried out: that comes first, whoever did it.
        self.sync_now(State::Failed)?;
        let given = request.and_then(|r| r.body.as_ref().ok()).and_then(|b| b.reason.clone());
        let reason = given.unwrap_or_else(|| "requeued".to_owned());
        let key = request.map(|r| r.key.clone()).unwrap_or_default();
        self.record(id, None, Event::Requeued { reason: reason.clone(), request: key });
        self.make_ledger_durable()?;
        let changes = |own: &OwnKeys| {
            let new = OwnKeys {
                attempt: own.attempt,
                hold: own.hold.clone(),
                reason: Some(reason.clone()),
                ..OwnKeys::default()
            };
            let mut changes = vec![set("status", Scalar::Text("pending".to_owned()))];
            changes.extend(own_changes(own, &new));
            changes
        };
        self.index.ticket_mut(id).seen = Seen::Requeued;
        let to = (from != State::Pending).then_some(State::Pending);
        if self.rewrite(id, from, to, &changes, None)? == Outcome::LookAgain {
            return Ok(());
        }
        if let Some(request) = request {
            self.consume_unbound(id, request);
            let text = format!("{id} is pending again");
            self.answer(id, None, request.verb.name(), &request.key, 0, text);
        }
        Ok(())
    }

    /// A move by hand out of `running/`: put back, and accepted as a request.
    pub(super) fn pull_back(&mut self, id: &OrderId, from: State, wish: Wish) -> Result<(), Fault> {
        let Some(ticket) = self.ticket(id) else { return Ok(()) };
        let Some(place) = ticket.place(from) else { return Ok(()) };
        let (inode, uid) = (place.inode, place.uid);
        let number = ticket.attempt.as_deref().map(|a| a.number);
        let asked = ticket.attempt.as_deref().and_then(|a| a.asked.as_ref()).map(|a| a.wish);
        let (here, there) = (paths::ticket(from, id), paths::ticket(State::Running, id));
        self.hint(id.clone(), crate::observe::Arrival::Unsure);
        if self.world.stat(&here)?.map(|s| s.inode) != Some(inode) {
            return Ok(());
        }
        // Once it is back, nothing but the line says what was asked.
        if asked != Some(wish) {
            self.supersede(id, wish);
            let by = Holder { uid, name: self.world.user(uid) };
            let verb = wish.name().to_owned();
            let asked = Options::default();
            self.record(id, number, Event::Request { verb, request: String::new(), by, asked });
            self.make_ledger_durable()?;
        }
        relocate(&mut self.world, &here, &there, inode)?;
        self.changed(&here);
        self.changed(&there);
        self.sync_now(from)
    }

    /// Starts over an order whose holder gave no sign of life; the old lock is kept.
    pub(super) fn takeover(&mut self, id: &OrderId, request: &Request) -> Result<(), Fault> {
        let ticket = self.ticket(id).cloned().unwrap_or_default();
        let body = request.body.as_ref().ok();
        let reason = body.and_then(|b| b.reason.clone()).unwrap_or_default();
        self.hint(id.clone(), crate::observe::Arrival::Unsure);
        if ticket.attempt.is_some() {
            self.settle(id, State::Pending, "taken-over".to_owned(), reason, None);
            return Ok(());
        }
        let dir = self.ensure_run_dir(id, ticket.last_attempt)?;
        let lock = paths::lock(id);
        self.changed(&lock);
        self.changed(&dir.join("lock"));
        match keep_lock(&mut self.world, &lock, &dir) {
            Err(fault) if fault.errno != errno::ENOENT => return Err(fault),
            _ => {}
        }
        self.notes.push(format!("{id}: the lock of an unknown holder is now in {}", dir.display()));
        if ticket.place(State::Running).is_some() {
            self.put_back(id, State::Running, State::Pending, "")?;
        }
        if request.verb == Verb::Requeue {
            self.consume_unbound(id, request);
            let text = format!("{id} is pending again");
            self.answer(id, None, request.verb.name(), &request.key, 0, text);
        }
        Ok(())
    }
}
