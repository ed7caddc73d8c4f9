//! Lives in which little happens but what is rare elsewhere: tickets are moved, requeued and shown twice
//! while the power fails (`Moves`), or somebody does something within the very call that it disturbs
//! (`Close`).
//!
//! Invariants: nothing happens that could not happen between any two calls; people see what they do it to, so
//! that what is lost is lost by jobyard; other lives are what they are without this module.

use super::Scene;
use super::aim::named;
use super::asks::Ask;
use super::people::{DIRS, FOREIGN_LOCK, Hint, OWNER, People, ticket};
use super::setup::Class;
use crate::planted;
use crate::world::{Call, Health, Machine, Shared, SimFile, Style, When};
use jobyard::observe::Arrival;
use std::path::Path;

/// What a life repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rare {
    /// Moves, while the power fails.
    Moves,
    /// What falls into one call.
    Close,
}

/// Actors that are killed while they begin a segment of the ledger.
const SEGMENT_KILLS_MAX: u32 = 2;

/// What persons have begun who are close to an actor.
#[derive(Debug, Default)]
pub(crate) struct Close {
    /// Saved unchanged a moment ago: the place of the order in the list.
    resaved: Option<usize>,
    /// Saved a moment ago, and the actor is to die.
    torn: Option<usize>,
    /// A ticket that is open for writing: the file, the text to come and its edits.
    opened: Option<(usize, SimFile, String, Vec<u32>)>,
    /// Requests that are being written: name, file, the rest.
    slow: Vec<(String, SimFile, String)>,
    segment_kills: u32,
    /// A ticket was moved while an actor looked for it, and nobody has acted since.
    meanwhile: bool,
}

impl Close {
    /// Somebody has this ticket open.
    pub(super) fn holds(&self, at: usize) -> bool {
        self.opened.as_ref().is_some_and(|(of, ..)| *of == at)
    }
}

impl Scene {
    /// Around a raw call.
    pub(super) fn rarely(&mut self, m: &Shared, call: Call<'_>) {
        match self.people.temper.rare {
            Some(Rare::Moves) if call.when == When::After && !self.over => self.fail(m, call),
            Some(Rare::Close) if !self.over && m.borrow().disk.health == Health::Well => {
                self.come_close(m, call);
            }
            _ => {}
        }
    }

    /// A power cut of a life with rare moves: with preference it loses what should have been synced.
    pub(super) fn cut_rarely(&mut self, m: &mut Machine) -> Style {
        let lost = planted::unsynced().unwrap_or_default();
        match self.rng.below(10) {
            0..4 => {
                m.power_cut_losing(&lost);
                Style::Everything
            }
            4..8 => {
                m.power_cut_as(Style::Nothing);
                Style::Nothing
            }
            _ => m.power_cut(),
        }
    }

    fn fail(&mut self, m: &Shared, call: Call<'_>) {
        let path = call.path.to_string_lossy().into_owned();
        let is_ticket = named(call.path, ".yaml").is_some();
        let kills = match call.act {
            "rename" if path.ends_with("-0") => 40,
            "rename" if is_ticket && self.rng.chance(5) => {
                // The file shows where it was and where it is.
                let others = DIRS.iter().map(|dir| format!("_ctx/jobs/{dir}"));
                let others = others.filter(|dir| !path.starts_with(dir.as_str()));
                let disk = &m.borrow().disk;
                let lost: Vec<_> = others.filter_map(|d| disk.ino_of(Path::new(&d))).collect();
                self.lost = Some(lost);
                0
            }
            "rename" | "exchange" if is_ticket => 4,
            "write" | "sync" => 0,
            _ if call.changes && path.starts_with("_ctx/audit") => {
                self.people.close.segment_kills += 1;
                if self.people.close.segment_kills > SEGMENT_KILLS_MAX { 0 } else { 30 }
            }
            _ => 0,
        };
        if self.lost.is_some() {
            self.cut_power(m);
        } else if self.rng.chance(kills) {
            kill(m);
        }
    }

    fn come_close(&mut self, m: &Shared, call: Call<'_>) {
        let people = &mut self.people;
        let machine = &mut *m.borrow_mut();
        let id = named(call.path, ".yaml");
        let at = id.as_ref().and_then(|id| people.orders.iter().position(|o| o.spec.id == *id));
        let mut dies = false;
        match (call.when, call.act, at) {
            (When::Before, "exchange", Some(at)) => people.before_stamp(machine, at),
            (When::After, "exchange", Some(at)) => dies = people.after_stamp(machine, at),
            (When::Before, "rename", Some(at)) if people.rng.chance(3) => {
                people.copy_to(machine, at, call.path);
            }
            (When::Before, "rename", None) if call.path.to_string_lossy().ends_with("-0") => {
                people.leave_one_name(machine, call.path, 60);
            }
            (When::Before, "stat", Some(_)) => people.leave_one_name(machine, call.path, 8),
            (When::After, "stat", Some(at)) => people.move_meanwhile(machine, at, call.path),
            (When::Before, "link", None) => people.lock_first(machine, call.path),
            (When::After, "create worktree", _) => people.change_their_mind(machine, call.path),
            (When::After, "rename", None) => people.ask_again(machine, call.path),
            _ => {}
        }
        if dies && machine.root_lock.is_some() {
            let pid = machine.root_lock.map_or(0, |(pid, _)| pid);
            machine.kill(pid);
        }
    }
}

fn kill(m: &Shared) {
    let actor = m.borrow().root_lock;
    if let Some((pid, _)) = actor {
        m.borrow_mut().kill(pid);
    }
}

impl People {
    /// One act of one person on one order, in a life of rare things.
    pub(super) fn act_rarely(&mut self, m: &mut Machine, at: usize, rare: Rare) {
        if self.close.holds(at) {
            return self.write_opened(m);
        }
        if rare == Rare::Close && self.orders[at].foreign_lock && self.rng.chance(50) {
            let id = self.orders[at].spec.id.clone();
            let _ = m.hand(OWNER).rm(&format!("_ctx/jobs/running/{id}.lock"));
            self.orders[at].foreign_lock = false;
            return self.tell(&id, Arrival::Unsure);
        }
        match self.rng.below(100) {
            0..35 => self.move_ticket(m, at, None),
            35..70 => self.ask(m, at),
            70..85 => {
                // What a person saves beside an earlier move that is not durable is theirs to make sure of.
                for dir in DIRS.iter().filter(|_| rare == Rare::Moves) {
                    let _ = m.disk.sync_dir(Path::new(&format!("_ctx/jobs/{dir}")));
                }
                self.edit(m, at, false);
            }
            85..90 if rare == Rare::Close => self.toggle_broken(m, at),
            _ if rare == Rare::Close => self.write_requests(m, 40),
            _ => self.work(m, at),
        }
    }

    /// What nobody does while an actor is within a call.
    pub(super) fn act_apart(&mut self, m: &mut Machine) {
        self.close.meanwhile = false;
        let at = self.rng.index(self.orders.len());
        match self.rng.below(4) {
            0 => self.link_up(m, at),
            1 => self.forget_explanation(m),
            2 => self.work_on(m, at),
            _ => self.write_requests(m, 60),
        }
    }

    /// Everything that was begun is ended.
    pub(super) fn end_rare(&mut self, m: &mut Machine) {
        self.write_opened(m);
        self.write_requests(m, 100);
    }

    /// A stamp is about to be put in place of what was read.
    fn before_stamp(&mut self, m: &mut Machine, at: usize) {
        let Close { resaved: None, torn: None, opened: None, .. } = self.close else { return };
        let crash = self.temper.has(Class::Crash);
        match self.rng.below(100) {
            0..8 if m.disk.tells_writers => self.open_ticket(m, at),
            8..18 => {
                let Some((path, text)) = self.read(m, at) else { return };
                if m.hand(OWNER).save(&path, &text).is_ok() {
                    self.close.resaved = Some(at);
                }
            }
            18..36 if crash => {
                let before = self.orders[at].edits.len();
                self.edit(m, at, false);
                self.close.torn = (self.orders[at].edits.len() > before).then_some(at);
            }
            _ => {}
        }
    }

    /// It has been put there. True: the actor dies.
    fn after_stamp(&mut self, m: &mut Machine, at: usize) -> bool {
        if self.close.resaved.take() == Some(at) && self.rng.chance(80) {
            self.edit(m, at, true);
        }
        if self.close.torn.take() != Some(at) || self.rng.chance(20) {
            return false;
        }
        let id = self.orders[at].spec.id.clone();
        if self.rng.chance(50)
            && let Some(dir) = Self::dir_of(m, &id)
        {
            // Somebody who has not seen what was just saved.
            let _ = m.hand(OWNER).add(&ticket(dir, &id), b"# noted\n");
            self.tell(&id, Arrival::Unsure);
        }
        true
    }

    /// A person opens a ticket to write it anew, and does so later.
    fn open_ticket(&mut self, m: &mut Machine, at: usize) {
        let Some((path, text)) = self.read(m, at) else { return };
        let mut edits = self.orders[at].edits.clone();
        let edit = self.next_edit();
        let Some(text) = super::orders::with_edit(&text, &edits, edit) else { return };
        edits.push(edit);
        if let Ok(file) = m.hand(OWNER).open(&path) {
            self.close.opened = Some((at, file, text, edits));
        }
    }

    fn write_opened(&mut self, m: &mut Machine) {
        let Some((at, file, text, edits)) = self.close.opened.take() else { return };
        if m.hand(OWNER).write_anew(&file, text.as_bytes()).is_ok() {
            self.orders[at].versions.push(edits.clone());
            self.orders[at].edits = edits;
        }
        let id = self.orders[at].spec.id.clone();
        self.tell(&id, Arrival::Unsure);
    }

    /// `cp` to where the ticket is about to be moved.
    fn copy_to(&mut self, m: &mut Machine, at: usize, to: &Path) {
        let id = self.orders[at].spec.id.clone();
        let to = to.to_string_lossy().into_owned();
        let Some(dir) = Self::dir_of(m, &id).filter(|dir| ticket(dir, &id) != to) else { return };
        if let Some(text) = m.hand(OWNER).cat(&ticket(dir, &id))
            && m.hand(OWNER).save(&to, &text).is_ok()
        {
            self.orders[at].meddled = true;
            self.tell(&id, Arrival::Renamed);
        }
    }

    /// A person who moves by `ln` and `rm` removes a name that is not the one an actor looks at.
    fn leave_one_name(&mut self, m: &mut Machine, path: &Path, percent: u64) {
        if self.temper.has(Class::Crash) || !self.rng.chance(percent) {
            return;
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let id = name.trim_start_matches('.').split(".yaml").next().unwrap_or_default().to_owned();
        let Some((one, two)) = twice(m, &id) else { return };
        let here = path.parent().and_then(Path::file_name).unwrap_or_default();
        let gone = if *here == *two { one } else { two };
        let _ = m.hand(OWNER).rm(&ticket(gone, &id));
        self.tell(&id, Arrival::Unsure);
    }

    /// An actor has not found the ticket here, and looks elsewhere next.
    fn move_meanwhile(&mut self, m: &mut Machine, at: usize, path: &Path) {
        let id = self.orders[at].spec.id.clone();
        let to = path.to_string_lossy().into_owned();
        if m.disk.peek_inode(&to).is_some() || self.close.holds(at) || self.close.meanwhile {
            // Who moves it again and again is never seen to have it.
            return;
        }
        let Some(from) = Self::dir_of(m, &id) else { return };
        let settled =
            crate::judge::last_of(&m.disk, &id).is_some_and(|l| l.contains("\"settled\""));
        if self.rng.chance(if settled { 12 } else { 1 })
            && m.hand(OWNER).mv_new(&ticket(from, &id), &to).is_ok()
        {
            (self.orders[at].moved, self.close.meanwhile) = (true, true);
            self.tell(&id, Arrival::Renamed);
        }
    }

    /// Somebody makes the lock that an actor is about to make.
    fn lock_first(&mut self, m: &mut Machine, path: &Path) {
        let Some(id) = named(path, ".lock") else { return };
        let Some(at) = self.orders.iter().position(|o| o.spec.id == id) else { return };
        let lock = path.to_string_lossy().into_owned();
        if self.temper.has(Class::Foreign)
            && self.rng.chance(6)
            && m.disk.peek_inode(&lock).is_none()
            && m.hand(OWNER).save(&lock, FOREIGN_LOCK).is_ok()
        {
            self.orders[at].foreign_lock = true;
            self.tell(&id, Arrival::Renamed);
        }
    }

    /// While a worktree is made somebody saves the ticket, or takes the request back.
    fn change_their_mind(&mut self, m: &mut Machine, path: &Path) {
        let id = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(at) = self.orders.iter().position(|o| o.spec.id == id) else { return };
        match self.rng.below(100) {
            0..5 => self.edit(m, at, false),
            5..12 => {
                let there = |a: &Ask| m.disk.peek_inode(&a.path()).is_some();
                let ask = self.asks.iter().position(|a| a.id == id && a.verb == "take" && there(a));
                if let Some(ask) = ask {
                    self.withdraw(m, ask);
                }
            }
            _ => {}
        }
    }

    /// A take was granted: somebody else asks in the same words.
    fn ask_again(&mut self, m: &mut Machine, path: &Path) {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(id) = name.strip_suffix(".take").filter(|_| path.starts_with("_ctx/runs")) else {
            return;
        };
        let id = id.to_owned();
        let path = format!("_ctx/jobs/control/{name}");
        if self.rng.chance(50) && m.hand(OWNER).save(&path, b"").is_ok() {
            self.asks.retain(|a| a.file != name);
            self.asks.push(Ask::plain(id, "take", name.clone(), OWNER));
            self.hints.push(Hint::Request(name, Arrival::Renamed));
        }
    }

    /// A person begins to move a ticket by `ln`, or ends it by `rm`.
    fn link_up(&mut self, m: &mut Machine, at: usize) {
        let id = self.orders[at].spec.id.clone();
        if self.temper.has(Class::Crash) || self.close.holds(at) {
            return;
        }
        if let Some((one, two)) = twice(m, &id) {
            let gone = if self.rng.chance(50) { one } else { two };
            let _ = m.hand(OWNER).rm(&ticket(gone, &id));
        } else if let (Some(from), Some(to)) = (Self::dir_of(m, &id), self.rng.pick(&DIRS[1..])) {
            // In `pending/` a second name is refused, until the file itself changes.
            let linked = from != "pending" && {
                m.hand(OWNER).ln(&ticket(from, &id), &ticket(to, &id)).is_ok()
            };
            self.orders[at].moved |= linked;
        }
        self.tell(&id, Arrival::Renamed);
    }

    /// A request without digits that was refused is taken back, and its explanation forgotten.
    fn forget_explanation(&mut self, m: &mut Machine) {
        let refused = |a: &Ask| {
            let there = |path: &str| m.disk.peek_inode(path).is_some();
            a.hex.is_empty() && there(&a.path()) && there(&format!("{}.why", a.path()))
        };
        let Some(at) = self.asks.iter().position(refused) else { return };
        let (path, uid, file) =
            (self.asks[at].path(), self.asks[at].uid, self.asks[at].file.clone());
        if m.hand(uid).rm(&path).is_ok() {
            (self.asks[at].withdrawn, self.asks[at].left_why) = (true, true);
            self.hints.push(Hint::Request(file, Arrival::Unsure));
        }
    }

    /// A person works in the worktree of a running order.
    fn work_on(&mut self, m: &mut Machine, at: usize) {
        let running = self.one_in(m, "running").unwrap_or(at);
        let id = self.orders[running].spec.id.clone();
        self.commit(m, &id);
    }

    /// The first part of a request is there; the rest follows.
    pub(super) fn begin_request(
        &mut self,
        m: &mut Machine,
        file: &str,
        text: &str,
        uid: u32,
    ) -> bool {
        let slowly = self.temper.rare == Some(Rare::Close) && m.disk.tells_writers;
        if !slowly || text.len() < 2 || self.rng.chance(40) {
            return false;
        }
        let path = format!("_ctx/jobs/control/{file}");
        let cut = 1 + self.rng.index(text.len() - 1);
        let _ = m.hand(uid).rm(&path);
        let Ok(open) = m.hand(uid).open(&path) else { return false };
        let _ = m.hand(uid).write_open(&open, &text.as_bytes()[..cut]);
        self.close.slow.push((file.to_owned(), open, text[cut..].to_owned()));
        true
    }

    fn write_requests(&mut self, m: &mut Machine, percent: u64) {
        let mut later = Vec::new();
        for (file, open, rest) in std::mem::take(&mut self.close.slow) {
            if self.rng.chance(percent) {
                let _ = m.hand(OWNER).write_open(&open, rest.as_bytes());
                self.hints.push(Hint::Request(file, Arrival::Unsure));
            } else {
                later.push((file, open, rest));
            }
        }
        self.close.slow = later;
    }
}

/// The two names of one ticket.
fn twice(m: &Machine, id: &str) -> Option<(&'static str, &'static str)> {
    match People::places(m, id)[..] {
        [(one, a), (two, b)] if a == b => Some((one, two)),
        _ => None,
    }
}
