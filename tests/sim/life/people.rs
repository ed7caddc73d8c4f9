//! Persons at the tickets, and what they know of them.
//!
//! Invariants: a person reads before editing and saves what they read plus one edit; who finds an edit
//! of theirs gone saves nothing, so that a loss stays visible; what people did against the rules (two
//! files for one id, texts read long ago, deletions of running tickets) is noted as `meddled`, and
//! excuses the place of that order, never what runs.

use super::asks::Ask;
use super::orders::{BROKEN, Spec, edits_of, is_held, with_edit, without_hold};
use super::rare::{Close, Rare};
use super::setup::{Class, Temper};
use crate::rng::Rng;
use crate::world::{Machine, SimFile};
use jobyard::model::id::OrderId;
use jobyard::observe::Arrival;

/// The directories of the four states.
pub(crate) const DIRS: [&str; 4] = ["pending", "running", "done", "failed"];
/// A lock that is not in jobyard's form.
pub(crate) const FOREIGN_LOCK: &[u8] = b"WO-X\n";
/// The owner of the root.
pub(crate) const OWNER: u32 = 1000;
/// Somebody else who may file requests.
pub(crate) const OTHER: u32 = 1001;

/// What people know of a ticket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Presence {
    /// It was not written yet, or was lost before it was durable.
    #[default]
    Never,
    /// It is there.
    There,
    /// A person deleted it.
    Deleted,
}

/// One order as people know it.
#[derive(Debug)]
pub(crate) struct Order {
    /// What it is.
    pub(crate) spec: Spec,
    /// Whether its ticket is there.
    pub(crate) presence: Presence,
    /// The edits its text is built on.
    pub(crate) edits: Vec<u32>,
    /// What a power cut may bring back.
    pub(crate) versions: Vec<Vec<u32>>,
    /// Its name survives a power cut.
    pub(crate) durable: bool,
    /// People broke the rules; see the module.
    pub(crate) meddled: bool,
    /// A person has moved it.
    pub(crate) moved: bool,
    /// Its text is unreadable for now.
    pub(crate) broken: bool,
    /// It lies in `done/` or `failed/` since before the first start.
    pub(crate) ancient: Option<&'static str>,
    /// A lock file of nobody's lies beside it.
    pub(crate) foreign_lock: bool,
    pub(super) in_place: bool,
    /// What they wrote in place since the last cut carries the stamp of a settlement.
    pub(super) over_stamp: bool,
    pub(crate) writer: Option<(SimFile, String)>,
    pub(super) stale: Option<(String, Vec<u8>, Vec<u32>)>,
}

/// What the daemon is told of.
#[derive(Clone, Debug)]
pub(crate) enum Hint {
    /// A ticket or lock.
    Ticket(OrderId, Arrival),
    /// A name in `control/`.
    Request(String, Arrival),
    /// A name in `pending/` that is no ticket's.
    Stray,
}

/// All persons.
#[derive(Debug)]
pub(crate) struct People {
    /// The orders, by number.
    pub(crate) orders: Vec<Order>,
    /// The requests, oldest first.
    pub(crate) asks: Vec<Ask>,
    /// Told to the daemon and not heard yet.
    pub(crate) hints: Vec<Hint>,
    /// Chance.
    pub(crate) rng: Rng,
    /// The character of the life.
    pub(crate) temper: Temper,
    /// What was begun close to an actor.
    pub(super) close: Close,
    edits_made: u32,
}

/// Path of a ticket.
pub(crate) fn ticket(dir: &str, id: &str) -> String {
    format!("_ctx/jobs/{dir}/{id}.yaml")
}

impl People {
    /// Persons with some orders in mind.
    pub(crate) fn new(mut rng: Rng, temper: Temper) -> Self {
        let count = rng.between(1, 5);
        let order = |spec| Order {
            spec,
            presence: Presence::Never,
            edits: vec![0],
            versions: Vec::new(),
            durable: false,
            meddled: false,
            moved: false,
            broken: false,
            ancient: None,
            foreign_lock: false,
            in_place: false,
            over_stamp: false,
            writer: None,
            stale: None,
        };
        let mut orders: Vec<_> =
            (1..=count).map(|n| order(Spec::draw(&mut rng, n, count))).collect();
        if temper.rare.is_some() {
            orders.truncate(2);
            orders.iter_mut().for_each(|order| order.spec.simplify(&mut rng));
        }
        let (asks, hints, close) = (Vec::new(), Vec::new(), Close::default());
        Self { orders, asks, hints, rng, temper, close, edits_made: 0 }
    }

    /// The order with this id.
    pub(crate) fn order(&self, id: &str) -> Option<&Order> {
        self.orders.iter().find(|o| o.spec.id == id)
    }

    /// One act of one person.
    pub(crate) fn act(&mut self, m: &mut Machine) {
        let at = self.rng.index(self.orders.len());
        self.act_on(m, at);
    }

    /// One act of one person on one order.
    pub(super) fn act_on(&mut self, m: &mut Machine, at: usize) {
        if self.orders[at].writer.is_some() {
            return self.write_on(m, at);
        }
        if self.orders[at].presence != Presence::There {
            return self.drop_ticket(m, at);
        }
        if let Some(rare) = self.temper.rare {
            return self.act_rarely(m, at, rare);
        }
        match self.rng.below(100) {
            0..22 if self.temper.has(Class::Edit) => {
                let in_place = self.rng.chance(30);
                self.edit(m, at, in_place);
            }
            22..30 if self.temper.has(Class::Broken) => self.toggle_broken(m, at),
            30..36 if self.temper.has(Class::Stale) => self.stale(m, at),
            36..52 if self.temper.has(Class::Move) => {
                let done = if self.rng.chance(30) { self.one_in(m, "done") } else { None };
                self.move_ticket(m, done.unwrap_or(at), None);
            }
            52..54 if self.temper.has(Class::Delete) => self.delete(m, at),
            54..58 if self.temper.has(Class::Foreign) => self.foreign(m, at),
            58..60 if self.temper.has(Class::Git) => self.meddle_with_git(m, at),
            60..68 => self.work(m, at),
            _ if self.temper.has(Class::Ask) => self.ask(m, at),
            _ => {}
        }
    }

    /// The directories in which a ticket lies, with the inode.
    pub(crate) fn places(m: &Machine, id: &str) -> Vec<(&'static str, u64)> {
        let inode = |dir: &&'static str| m.disk.peek_inode(&ticket(dir, id));
        DIRS.iter().filter_map(|dir| inode(dir).map(|inode| (*dir, inode))).collect()
    }

    /// The daemon hears of a ticket.
    pub(crate) fn tell(&mut self, id: &str, arrival: Arrival) {
        if let Ok(id) = OrderId::parse(id) {
            self.hints.push(Hint::Ticket(id, arrival));
        }
    }

    pub(super) fn next_edit(&mut self) -> u32 {
        self.edits_made += 1;
        self.edits_made
    }

    fn drop_ticket(&mut self, m: &mut Machine, at: usize) {
        let edit = self.next_edit();
        let order = &mut self.orders[at];
        let id = order.spec.id.clone();
        if !Self::places(m, &id).is_empty() {
            return;
        }
        if order.presence == Presence::Deleted {
            order.meddled = true;
        }
        order.edits = vec![0, edit];
        order.versions = vec![order.edits.clone()];
        order.broken = false;
        let text = order.spec.text(&order.edits);
        let path = ticket("pending", &id);
        // Where nobody can tell writers, a slow one is read half-written: a limit that is documented.
        let ways = if m.disk.tells_writers { 10 } else { 8 };
        let way = self.rng.below(if self.temper.rare == Some(Rare::Moves) { 4 } else { ways });
        let arrival = if way < 6 { Arrival::Renamed } else { Arrival::Unsure };
        let done = match way {
            0..6 => m.hand(OWNER).save(&path, text.as_bytes()),
            6..8 => m.hand(OWNER).write(&path, text.as_bytes()),
            _ => self.begin_writing(m, at, &path, &text),
        };
        let order = &mut self.orders[at];
        if done.is_err() {
            let _ = m.hand(OWNER).rm(&path);
            order.writer = None;
            return;
        }
        order.presence = Presence::There;
        order.in_place = way >= 6;
        // Whoever wants it to stay syncs the names up to the root: the directories may be as young.
        let mut dirs = std::path::Path::new(PENDING).ancestors();
        order.durable = way < 3 && dirs.all(|dir| m.disk.sync_dir(dir).is_ok());
        self.tell(&id, arrival);
    }

    /// Writes the first part and keeps the file open.
    fn begin_writing(
        &mut self,
        m: &mut Machine,
        at: usize,
        path: &str,
        text: &str,
    ) -> Result<(), i32> {
        let cut = self.rng.index(text.len());
        let file = m.hand(OWNER).open(path)?;
        m.hand(OWNER).write_open(&file, &text.as_bytes()[..cut])?;
        self.orders[at].writer = Some((file, text[cut..].to_owned()));
        Ok(())
    }

    /// Writes more of what was begun; closes the file at the end.
    pub(super) fn write_on(&mut self, m: &mut Machine, at: usize) {
        let Some((file, rest)) = self.orders[at].writer.take() else { return };
        let part = if self.rng.chance(50) { rest.len() } else { self.rng.index(rest.len() + 1) };
        let (now, later) = rest.split_at(part);
        self.orders[at].in_place = true;
        if m.hand(OWNER).write_open(&file, now.as_bytes()).is_err() {
            self.orders[at].writer = Some((file, rest));
            return;
        }
        if !later.is_empty() {
            self.orders[at].writer = Some((file, later.to_owned()));
        }
        let id = self.orders[at].spec.id.clone();
        self.tell(&id, Arrival::Unsure);
    }

    /// Path and text of a ticket that lies in one place and says what people expect.
    pub(super) fn read(&self, m: &mut Machine, at: usize) -> Option<(String, Vec<u8>)> {
        let order = &self.orders[at];
        let places = Self::places(m, &order.spec.id);
        let [(dir, _)] = places[..] else { return None };
        if self.close.holds(at) {
            return None;
        }
        let path = ticket(dir, &order.spec.id);
        let text = m.hand(OWNER).cat(&path)?;
        (edits_of(&text).as_ref() == Some(&order.edits)).then_some((path, text))
    }

    /// Saves a text; `true` in place.
    pub(super) fn save(
        &mut self,
        m: &mut Machine,
        at: usize,
        in_place: bool,
        (path, text): (&str, &[u8]),
        edits: Vec<u32>,
    ) {
        let saved = match in_place {
            true => m.hand(OWNER).write(path, text),
            false => m.hand(OWNER).save(path, text),
        };
        let order = &mut self.orders[at];
        if saved.is_err() {
            // A full disk may have left it empty: its owner will put that right.
            order.broken |= in_place;
            order.meddled |= in_place;
            return;
        }
        order.in_place |= in_place;
        order.over_stamp |= in_place && crate::judge::stamp(text).is_some();
        order.versions.push(edits.clone());
        order.edits = edits;
        let id = order.spec.id.clone();
        self.tell(&id, if in_place { Arrival::Unsure } else { Arrival::Renamed });
    }

    pub(super) fn edit(&mut self, m: &mut Machine, at: usize, in_place: bool) {
        if self.temper.slow && self.orders[at].writer.is_some() {
            return self.write_on(m, at);
        }
        let Some((path, text)) = self.read(m, at) else { return };
        let edit = self.next_edit();
        let mut edits = self.orders[at].edits.clone();
        let Some(mut text) = with_edit(&text, &edits, edit) else { return };
        edits.push(edit);
        if is_held(&text) && self.rng.chance(30) {
            // Their editor had it from before it was held.
            text = without_hold(&text);
        }
        if in_place && self.temper.slow && m.disk.tells_writers && self.rng.chance(70) {
            return self.edit_slowly(m, at, (&path, &text), edits);
        }
        self.save(m, at, in_place, (&path, text.as_bytes()), edits);
    }

    /// Empties a ticket, writes the first part and keeps the file open.
    fn edit_slowly(
        &mut self,
        m: &mut Machine,
        at: usize,
        (path, text): (&str, &str),
        edits: Vec<u32>,
    ) {
        let cut = self.rng.index(text.len());
        let (now, later) = text.split_at(cut);
        let Ok(file) = m.hand(OWNER).open(path) else { return };
        if m.hand(OWNER).write(path, now.as_bytes()).is_err() {
            self.orders[at].meddled = true;
        }
        let order = &mut self.orders[at];
        order.writer = Some((file, later.to_owned()));
        order.in_place = true;
        order.over_stamp |= crate::judge::stamp(text.as_bytes()).is_some();
        order.versions.push(edits.clone());
        order.edits = edits;
        let id = order.spec.id.clone();
        self.tell(&id, Arrival::Unsure);
    }

    pub(super) fn toggle_broken(&mut self, m: &mut Machine, at: usize) {
        let edits = self.orders[at].edits.clone();
        let Some((path, text)) = self.read(m, at) else { return };
        let text = String::from_utf8_lossy(&text).into_owned();
        let text = match self.orders[at].broken {
            true => text.replace(BROKEN, ""),
            false => format!("{BROKEN}{text}"),
        };
        let in_place = self.rng.chance(30);
        self.save(m, at, in_place, (&path, text.as_bytes()), edits);
        let saved = m.hand(OWNER).cat(&path).unwrap_or_default();
        self.orders[at].broken = !saved.is_empty() && saved.starts_with(BROKEN.as_bytes());
        if self.orders[at].broken && self.temper.has(Class::Move) && self.rng.chance(50) {
            self.move_ticket(m, at, None);
        }
    }

    /// Reads a ticket, or saves what was read long ago.
    fn stale(&mut self, m: &mut Machine, at: usize) {
        if self.rng.chance(15) {
            return self.copy(m, at);
        }
        let Some((path, text, mut edits)) = self.orders[at].stale.take() else {
            if let Some((path, text)) = self.read(m, at) {
                let edits = self.orders[at].edits.clone();
                self.orders[at].stale = Some((path, text, edits));
            }
            return;
        };
        let edit = self.next_edit();
        let Some(text) = with_edit(&text, &edits, edit) else { return };
        edits.push(edit);
        let broken = text.starts_with(BROKEN);
        if m.hand(OWNER).save(&path, text.as_bytes()).is_ok() {
            let order = &mut self.orders[at];
            (order.meddled, order.broken) = (true, broken);
            order.versions.push(edits.clone());
            order.edits = edits;
            let id = order.spec.id.clone();
            self.tell(&id, Arrival::Renamed);
        }
    }

    pub(super) fn move_ticket(&mut self, m: &mut Machine, at: usize, wanted: Option<&str>) {
        if self.orders[at].writer.is_some() || self.close.holds(at) {
            // What is renamed counts as whole; nobody renames what is half-written.
            return;
        }
        let id = self.orders[at].spec.id.clone();
        let places = Self::places(m, &id);
        let Some((from, _)) = self.rng.pick(&places).copied() else { return };
        let others: Vec<&str> = DIRS.into_iter().filter(|dir| *dir != from).collect();
        let Some(to) = wanted.or(self.rng.pick(&others).copied()) else { return };
        if m.hand(OWNER).mv_new(&ticket(from, &id), &ticket(to, &id)).is_ok() {
            self.orders[at].moved = true;
            self.tell(&id, Arrival::Renamed);
        }
    }

    pub(super) fn delete(&mut self, m: &mut Machine, at: usize) {
        let id = self.orders[at].spec.id.clone();
        for (dir, _) in Self::places(m, &id) {
            let _ = m.hand(OWNER).rm(&ticket(dir, &id));
            self.orders[at].meddled |= dir != "pending";
        }
        if Self::places(m, &id).is_empty() {
            let order = &mut self.orders[at];
            (order.presence, order.durable, order.broken) = (Presence::Deleted, false, false);
            // What was claimed a moment ago keeps its attempt.
            order.meddled = true;
        }
        self.tell(&id, Arrival::Unsure);
    }

    fn foreign(&mut self, m: &mut Machine, at: usize) {
        let running = if self.rng.chance(40) { self.one_in(m, "running") } else { None };
        let at = running.unwrap_or(at);
        let id = self.orders[at].spec.id.clone();
        let lock = format!("_ctx/jobs/running/{id}.lock");
        if self.rng.chance(60) {
            let other = self.orders.iter().map(|o| format!("_ctx/jobs/running/{}.lock", o.spec.id));
            let copies: Vec<_> = other.filter_map(|path| m.hand(OWNER).cat(&path)).collect();
            let copy = self.rng.pick(&copies).cloned().unwrap_or_else(|| FOREIGN_LOCK.to_vec());
            if m.disk.peek_inode(&lock).is_none() && m.hand(OWNER).save(&lock, &copy).is_ok() {
                self.orders[at].foreign_lock = true;
                self.tell(&id, Arrival::Renamed);
            }
            return;
        }
        let name = self.rng.pick(&["notes.txt", "x.yml", ".gitkeep", "a b.yaml", "y.yaml~"]);
        let path = format!("{PENDING}/{}", name.unwrap_or(&"notes.txt"));
        let _ = m.hand(OWNER).write(&path, b"nothing\n");
        self.hints.push(Hint::Stray);
    }
}

const PENDING: &str = "_ctx/jobs/pending";
