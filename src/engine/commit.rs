//! Making things durable in groups, then letting go what waited for it.
//!
//! Invariants: the ledger is synced before a start is sent and before a settlement is carried out;
//! directories are synced before an answer is recorded; starts go first, since a command is waiting.

use super::{Answer, Engine};
use crate::model::attempt::Attempt;
use crate::model::event::Event;
use crate::model::hold::Holds;
use crate::model::id::OrderId;
use crate::model::index::{ExecutorFact, ExecutorState, Seen, Ticket};
use crate::model::order::State;
use crate::model::paths;
use crate::model::protocol::ToExecutor;
use crate::model::time::Millis;
use crate::world::store::{errno, move_aside, write_all};
use crate::world::{Fault, Kind, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines and directory changes that nobody waits for are synced together after this long. Until then a
/// power cut finds the ledger's synced lines, which tell the next start what to carry out again.
const GROUP_PAUSE: Millis = Millis(25);

impl<W: World> Engine<W> {
    /// Makes everything durable; whether that gave anything new to plan.
    pub(super) fn commit(&mut self) -> Result<bool, Fault> {
        self.ledger.flush(&mut self.world)?;
        self.consume_answered()?;
        let due = self.group_due.is_some_and(|due| self.world.tick() >= due);
        let advanced = self.ledger.head().0 > self.index.durable_seq;
        if advanced && (due || self.is_waited_for()) {
            self.ledger.sync(&mut self.world)?;
            self.index.durable_seq = self.ledger.head().0;
            self.replan_settled();
        } else if advanced {
            self.group_soon();
        }
        self.sync_copies_of_starts()?;
        self.send();
        self.write_logs(false)?;
        if !self.replan.is_empty() {
            return Ok(true);
        }
        let waited_for = !self.answers.is_empty();
        if waited_for || due {
            self.sync_dirs()?;
        }
        self.answered_files.append(&mut self.answering);
        for ((id, verb, request), answer) in std::mem::take(&mut self.answers) {
            self.record_answer(&id, verb, request, answer);
        }
        if self.ledger.wants_segment() {
            // A request stays known by its lines until its file is gone; an attempt that is over is not
            // listed, and what became of its ticket must show then.
            self.ledger.flush(&mut self.world)?;
            self.consume_answered()?;
            self.sync_dirs()?;
            self.begin_segment()?;
        }
        self.prepare_spare()?;
        Ok(waited_for)
    }

    /// A command, a settlement or an answer waits for the ledger.
    fn is_waited_for(&self) -> bool {
        let start = |m: &ToExecutor| matches!(m, ToExecutor::Start(_));
        let settled = |id: &OrderId| {
            let attempt = self.index.tickets.get(id).and_then(|t| t.attempt.as_deref());
            let settled = attempt.and_then(|a| a.settled.as_ref());
            settled.is_some_and(|s| s.seq > self.index.durable_seq)
        };
        self.outbox.iter().any(start)
            || !self.answers.is_empty()
            || self.index.open.iter().any(settled)
    }

    /// What nobody waits for is made durable together, a moment later.
    fn group_soon(&mut self) {
        let due = self.world.tick().after(GROUP_PAUSE);
        self.group_due = Some(self.group_due.map_or(due, |known| known.min(due)));
    }

    fn replan_settled(&mut self) {
        let settled = |id: &&OrderId| {
            let attempt = self.index.tickets.get(*id).and_then(|t| t.attempt.as_deref());
            attempt.is_some_and(|a| a.settled.is_some())
        };
        let ids: Vec<OrderId> = self.index.open.iter().filter(settled).cloned().collect();
        self.replan.extend(ids);
    }

    /// Hands waiting messages to the executor. Starts that cannot be sent are sent again when it says
    /// what it knows.
    fn send(&mut self) {
        for message in std::mem::take(&mut self.outbox) {
            let up = self.index.executor_state == ExecutorState::Up;
            let sent = up && self.world.send(&message).is_ok();
            if let (ToExecutor::Start(start), true) = (message, sent) {
                self.index.executor.insert(start.key, ExecutorFact::Sent);
            }
        }
    }

    fn sync_dirs(&mut self) -> Result<(), Fault> {
        self.dirs.append(&mut self.doubtful);
        self.unwatched = false;
        // A ticket is stamped anew where it lies: the directories that it left before come first, so that no
        // power cut shows its old version there beside the new one.
        let earlier = [State::Pending, State::Running].map(paths::dir);
        let next = |dirs: &BTreeSet<PathBuf>| {
            earlier.iter().find(|dir| dirs.contains(*dir)).or_else(|| dirs.first()).cloned()
        };
        while let Some(dir) = next(&self.dirs) {
            match self.world.sync_dir(&dir) {
                Ok(()) => {}
                Err(fault) if fault.errno == errno::ENOENT => {}
                // Of a run directory that was replaced nothing can be made durable.
                Err(fault) if fault.is_obstacle() && is_of_order(&dir) => {}
                Err(fault) => return Err(fault),
            }
            self.dirs.remove(&dir);
        }
        self.group_due = None;
        Ok(())
    }

    /// Makes everything durable that only waits for company: before the process ends.
    pub fn finish(&mut self) -> Result<(), Fault> {
        self.write_logs(true)?;
        self.ledger.flush(&mut self.world)?;
        self.ledger.sync(&mut self.world)?;
        self.sync_dirs()
    }

    /// Notes that the directory of a path has changed.
    pub(super) fn changed(&mut self, path: &Path) {
        if let Some(dir) = path.parent()
            && self.dirs.insert(dir.to_owned())
        {
            self.group_soon();
        }
    }

    /// Makes the names in a directory durable before something else is done: rare. The other directories of
    /// tickets come first: what left one of them must not show there beside what becomes of it here.
    pub(super) fn sync_now(&mut self, state: State) -> Result<(), Fault> {
        let dir = paths::dir(state);
        self.dirs.append(&mut self.doubtful);
        for earlier in State::ALL.map(paths::dir) {
            if earlier != dir && self.dirs.contains(&earlier) {
                self.world.sync_dir(&earlier)?;
                self.dirs.remove(&earlier);
            }
        }
        self.world.sync_dir(&dir)?;
        self.dirs.remove(&dir);
        Ok(())
    }

    /// A ticket is about to be stamped anew in this directory: where others may have moved it from must not
    /// show its old version beside the new one. In `running/` it is from `pending/`, by a move of ours,
    /// unless nobody watched.
    pub(super) fn sync_doubtful(&mut self, state: State) -> Result<(), Fault> {
        let here = paths::dir(state);
        for dir in self.doubtful.iter().filter(|dir| **dir != here) {
            self.world.sync_dir(dir)?;
            self.dirs.remove(dir);
        }
        self.doubtful.retain(|dir| *dir == here);
        self.unwatched = false;
        Ok(())
    }

    /// What an earlier instance or a person did unseen in the directories of tickets may not be durable: it
    /// is made so soon, and before a ticket is stamped anew.
    pub(super) fn doubt_names(&mut self) {
        self.doubtful.extend(State::ALL.map(paths::dir));
        self.unwatched = true;
        self.group_soon();
    }

    /// Queues the answer to a request until what it promises is durable.
    pub(super) fn answer(
        &mut self,
        id: &OrderId,
        attempt: Option<u32>,
        verb: &str,
        request: &str,
        code: u8,
        text: String,
    ) {
        // Its file may be there again after a power cut.
        for known in &mut self.index.ticket_mut(id).requests {
            if known.key == request && !known.refused {
                known.refused = true;
                self.answering.push((id.clone(), known.file.clone()));
            }
        }
        let answer = Answer { attempt, code, text };
        self.answers.insert((id.clone(), verb.to_owned(), request.to_owned()), answer);
    }

    /// The answer to this request waits for what it promises; nothing is to be done about it again.
    pub(super) fn is_answering(&self, id: &OrderId, verb: &str, request: &str) -> bool {
        self.answers.contains_key(&(id.clone(), verb.to_owned(), request.to_owned()))
    }

    fn record_answer(&mut self, id: &OrderId, verb: String, request: String, answer: Answer) {
        let Answer { attempt, code, text } = answer;
        self.answered.insert(request.clone(), code);
        self.record(id, attempt, Event::Answer { verb, request, code, text });
        let settled = |a: &Attempt| a.settled.is_some();
        let over = self.ticket(id).is_some_and(|t| {
            t.attempt.as_deref().is_some_and(settled)
                && t.lease.is_none()
                && t.attempt
                    .as_deref()
                    .is_some_and(|a| a.settled.as_ref().map(|s| s.state()) == t.state())
        });
        if over {
            self.close(id);
        }
    }

    /// Forgets an attempt whose settlement is carried out.
    pub(super) fn close(&mut self, id: &OrderId) {
        self.index.open.remove(id);
        self.forget_copy(id);
        let ticket = self.index.ticket_mut(id);
        let Some(attempt) = ticket.attempt.take() else { return };
        ticket.last_attempt = ticket.last_attempt.max(attempt.number);
        let tree = attempt.tree().and_then(|t| OrderId::parse(t).ok());
        self.hook_attempt(id, &attempt);
        let ticket = self.index.ticket_mut(id);
        ticket.seen = match attempt.settled.map(|s| s.state()) {
            Some(State::Done) => Seen::Settled(State::Done),
            Some(State::Failed) => Seen::Settled(State::Failed),
            _ => Seen::Pending,
        };
        self.index.executor.retain(|key, _| key.id != id.as_str());
        self.replan.insert(id.clone());
        self.free_tree(id, tree.as_ref());
        self.replan.extend(self.index.dependants.get(id).into_iter().flatten().cloned());
    }

    /// A worktree is free again: whoever waits for it is looked at, also if its claim was refused before.
    pub(super) fn free_tree(&mut self, id: &OrderId, tree: Option<&OrderId>) {
        let Some(tree) = tree else { return };
        let waits: Vec<OrderId> = self.index.dependants_of(tree).cloned().collect();
        for other in waits {
            self.reconsider_one(&other);
            self.replan.insert(other);
        }
        if tree != id {
            self.replan.insert(tree.clone());
        }
    }

    pub(super) fn begin_segment(&mut self) -> Result<(), Fault> {
        let open = self.index.open.iter().filter_map(|id| {
            self.index.tickets.get(id).and_then(|t| t.attempt.as_deref()).cloned()
        });
        let open: Vec<Attempt> = open.collect();
        let waits = |t: &Ticket| matches!(t.seen, Seen::Pending | Seen::Unrun | Seen::Requeued);
        let waiting = self.index.tickets.iter().filter(|(_, t)| waits(t));
        let waiting = waiting.filter(|(_, t)| t.attempt.is_none());
        let pending = waiting.map(|(id, _)| id.to_string()).collect();
        let held = self.index.holds.to_list();
        let at = self.world.now();
        let adopting = self.options.policy.fresh;
        self.answered.clear();
        self.carried.clear();
        let holds = Holds::listed(&held);
        self.ledger.begin_segment(&mut self.world, at, open, pending, held, adopting)?;
        self.index.holds = holds;
        self.index.durable_seq = self.ledger.head().0;
        Ok(())
    }

    /// Appends the gathered lines to the execution logs: derived, unsynced.
    ///
    /// Those of an attempt that has just begun wait for its running stamp, unless it ends before.
    fn write_logs(&mut self, all: bool) -> Result<(), Fault> {
        let tick = self.world.tick();
        let young = |id: &OrderId| {
            let ticket = self.index.tickets.get(id);
            ticket.is_some_and(|t| {
                t.stamp_at > tick && t.attempt.as_deref().is_some_and(Attempt::is_process)
            })
        };
        let (later, now): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.logs).into_iter().partition(|(id, _)| !all && young(id));
        self.logs = later;
        for (id, text) in now {
            self.append_log(&id, &text)?;
        }
        Ok(())
    }

    /// The gathered lines of one order, now.
    pub(super) fn write_log(&mut self, id: &OrderId) -> Result<(), Fault> {
        match self.logs.remove(id) {
            Some(text) => self.append_log(id, &text),
            None => Ok(()),
        }
    }

    fn append_log(&mut self, id: &OrderId, text: &str) -> Result<(), Fault> {
        let appended = match self.append_log_once(id, text) {
            Err(fault) if fault.is_obstacle() => self.append_log_anew(id, text),
            appended => appended,
        };
        self.without(id, appended)
    }

    /// What stands in the log's place is moved aside.
    fn append_log_anew(&mut self, id: &OrderId, text: &str) -> Result<(), Fault> {
        let path = paths::execution_log(id);
        self.clear_run_dirs(id, &path)?;
        if self.world.stat(&path)?.is_some_and(|s| s.kind != Kind::File) {
            let aside = move_aside(&mut self.world, &path)?;
            self.moved_aside(id, &path, &aside);
        }
        let more = self.logs.remove(id).unwrap_or_default();
        self.append_log_once(id, &format!("{text}{more}"))
    }

    fn append_log_once(&mut self, id: &OrderId, text: &str) -> Result<(), Fault> {
        let path = paths::execution_log(id);
        let file = match self.world.append(&path, 0o644) {
            Ok(file) => file,
            Err(fault) if fault.errno == errno::ENOENT => {
                self.ensure_dir(&paths::runs(id))?;
                self.world.append(&path, 0o644)?
            }
            Err(fault) => return Err(fault),
        };
        write_all(&mut self.world, &file, text.as_bytes())
    }

    /// Makes a directory unless it is there.
    pub(super) fn ensure_dir(&mut self, dir: &Path) -> Result<(), Fault> {
        match self.world.mkdir(dir) {
            Ok(()) => Ok(()),
            Err(fault) if fault.errno == errno::EEXIST => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Makes the next run directory ahead, while nothing waits for it.
    ///
    /// One that is there already may be an order's: a power cut can take back that it was given away, and
    /// leave what the attempt wrote.
    fn prepare_spare(&mut self) -> Result<(), Fault> {
        if !self.options.policy.runs || self.spare {
            return Ok(());
        }
        let (spare, first) = (Path::new(paths::SPARE), Path::new(paths::SPARE).join("1"));
        match self.world.mkdir(spare) {
            Err(fault) if fault.errno == errno::EEXIST => self.clear_spare(spare, &first)?,
            made => made?,
        }
        self.ensure_dir(&first)?;
        self.spare = true;
        Ok(())
    }

    fn clear_spare(&mut self, spare: &Path, first: &Path) -> Result<(), Fault> {
        let is_used = match self.world.list(first) {
            Ok(entries) => !entries.is_empty(),
            Err(fault) if fault.errno == errno::ENOENT => false,
            Err(fault) if fault.is_obstacle() => true,
            Err(fault) => return Err(fault),
        };
        if is_used {
            let aside = move_aside(&mut self.world, spare)?;
            let text = "a power cut took the name of this run directory";
            self.notes.push(format!("{}: {text}", aside.display()));
            self.ensure_dir(spare)?;
        }
        Ok(())
    }

    /// Gives the directory made ahead to an order that begins its first attempt.
    pub(super) fn use_spare(&mut self, id: &OrderId, attempt: u32, command: u32) {
        if self.spare && attempt == 1 && command == 1 {
            let _ = self.world.rename(Path::new(paths::SPARE), &paths::runs(id));
            self.spare = false;
        }
    }

    /// Makes the run directory of an attempt unless it is there.
    pub(super) fn ensure_run_dir(&mut self, id: &OrderId, attempt: u32) -> Result<PathBuf, Fault> {
        let dir = paths::run(id, attempt);
        match self.world.mkdir(&dir) {
            Ok(()) => {}
            Err(fault) if fault.errno == errno::EEXIST => {
                if self.world.stat(&dir)?.is_none_or(|s| s.kind != Kind::Dir) {
                    self.clear_run_dirs(id, &dir.join(paths::SEALED))?;
                }
            }
            Err(fault) if fault.errno == errno::ENOENT => {
                self.ensure_dir(&paths::runs(id))?;
                self.ensure_dir(&dir)?;
            }
            Err(fault) if fault.is_obstacle() => {
                self.clear_run_dirs(id, &paths::execution_log(id))?;
                self.ensure_dir(&dir)?;
            }
            Err(fault) => return Err(fault),
        }
        Ok(dir)
    }
}

/// A directory of one order, which its commands may have replaced.
fn is_of_order(dir: &Path) -> bool {
    dir.starts_with(paths::RUNS) && dir != Path::new(paths::RUNS) && !dir.starts_with(paths::OWN)
}
