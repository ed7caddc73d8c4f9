//! The calm phase: nothing goes wrong any more, and all must come to rest.

use super::actors::Actor;
use super::orders::{BROKEN, edits_of};
use super::setup::Class;
use super::{Life, OWNER, People, Presence, ticket};
use crate::world::{Fuse, Health, Machine, Traffic};
use jobyard::observe::Arrival;

/// Rounds until all must be at rest.
const ROUNDS_MAX: u64 = 4000;

impl Life {
    /// Heals everything, waits for rest, judges.
    pub(super) fn calm_phase(&mut self) {
        self.heal();
        if !self.settle_down() {
            return;
        }
        let Actor::Up(engine) = std::mem::replace(&mut self.daemon, Actor::Gone) else { return };
        {
            let mut scene = self.scene.borrow_mut();
            let scene = &mut *scene;
            let words = scene.judge.at_quiet(&self.m.borrow(), &scene.people);
            scene.broken.extend(words);
        }
        let words = self.second_opinion(&engine);
        self.scene.borrow_mut().broken.extend(words);
        self.check_commits();
    }

    fn heal(&mut self) {
        let mut m = self.m.borrow_mut();
        m.note(|| "== calm".to_owned());
        m.exec.traffic = Traffic::default();
        m.exec.unreachable = false;
        m.exec.break_link();
        m.disk.health = Health::Well;
        let mut scene = self.scene.borrow_mut();
        scene.nobody_strikes();
        scene.over = true;
        crate::planted::calm_down();
        scene.people.calm_down(&mut m);
        match &mut self.daemon {
            Actor::Stunned(world) => world.fuse = Fuse::default(),
            Actor::Up(engine) => engine.world.fuse = Fuse::default(),
            Actor::Gone => {}
        }
    }

    /// Turns and time until nothing is left to do. False: it never ends, and that is noted.
    fn settle_down(&mut self) -> bool {
        let mut rested = 0;
        for round in 0..ROUNDS_MAX {
            self.rescan_now(round);
            let before = self.progress();
            self.daemon_turn(false);
            self.judge();
            if !self.broken().is_empty() {
                return false;
            }
            let Actor::Up(_) = self.daemon else { continue };
            let waits = self.next_look();
            let busy = self.progress() != before;
            let due = self.m.borrow().next_due();
            let heard = self.m.borrow().exec.outbox.is_empty();
            if !busy && waits.is_none() && due.is_none() && heard {
                rested += 1;
                let m = &mut self.m.borrow_mut();
                if self.scene.borrow_mut().people.mend_again(m) {
                    rested = 0;
                } else if rested > 3 {
                    return true;
                }
            } else {
                rested = 0;
            }
            let tick = self.m.borrow().clock.tick_ms;
            let soon = due.map_or(u64::MAX, |due| due.saturating_sub(tick));
            let ms = waits.unwrap_or(u64::MAX).min(soon).clamp(1, 60_000);
            self.m.borrow_mut().advance(if rested > 0 { 1500 } else { ms });
        }
        self.scene.borrow_mut().broken.push("it never comes to rest".to_owned());
        false
    }

    /// Grows with every change of a name and every line of the ledger.
    fn progress(&self) -> (u64, usize) {
        (self.m.borrow().disk.seq(), self.scene.borrow().judge.book.lines.len())
    }

    /// Milliseconds until the daemon wants to look again.
    fn next_look(&self) -> Option<u64> {
        let m = self.m.borrow();
        let wall = self.last.wake_at.map(|at| at.0.saturating_sub(m.clock.wall_ms).max(0) as u64);
        let steady = self.last.look_at.map(|at| at.0.saturating_sub(m.clock.tick_ms));
        wall.into_iter().chain(steady).min()
    }

    fn rescan_now(&mut self, round: u64) {
        if let Actor::Up(engine) = &mut self.daemon
            && round.is_multiple_of(5)
        {
            let _ = engine.rescan();
        }
    }
}

impl People {
    /// Everything is durable now.
    pub(crate) fn written_back(&mut self) {
        for order in &mut self.orders {
            order.versions = vec![order.edits.clone()];
            order.durable |= order.presence == Presence::There;
            order.in_place = false;
            order.over_stamp = false;
        }
    }

    /// Everything that people have begun is ended, and what they broke is mended.
    pub(crate) fn calm_down(&mut self, m: &mut Machine) {
        self.end_rare(m);
        for at in 0..self.orders.len() {
            while self.orders[at].writer.is_some() {
                self.write_on(m, at);
            }
            self.orders[at].stale = None;
            self.leave_one(m, at);
            // Who mended our version of it in the moment of a stamp finds it broken again.
            let text = self.read(m, at).map(|(_, text)| text).unwrap_or_default();
            self.orders[at].broken |= text.starts_with(BROKEN.as_bytes());
            if self.orders[at].broken {
                self.toggle_broken(m, at);
            }
            if self.orders[at].foreign_lock {
                let id = self.orders[at].spec.id.clone();
                let _ = m.hand(OWNER).rm(&format!("_ctx/jobs/running/{id}.lock"));
                self.orders[at].foreign_lock = false;
                self.tell(&id, Arrival::Unsure);
            }
        }
    }

    /// Whoever mended a ticket in the middle of a stamp is given back what they had saved before it, and
    /// mends that. Whether there was any.
    pub(crate) fn mend_again(&mut self, m: &mut Machine) -> bool {
        if !self.temper.has(Class::Between) && self.temper.rare.is_none() {
            return false;
        }
        let mut mended = false;
        for at in 0..self.orders.len() {
            let id = self.orders[at].spec.id.clone();
            let Some((dir, _)) = Self::places(m, &id).first().copied() else { continue };
            let text = m.disk.peek(std::path::Path::new(&ticket(dir, &id))).unwrap_or_default();
            let Some(rest) = text.strip_prefix(BROKEN.as_bytes()).map(<[u8]>::to_vec) else {
                continue;
            };
            let edits = self.orders[at].edits.clone();
            self.save(m, at, false, (&ticket(dir, &id), &rest), edits);
            self.orders[at].broken = false;
            mended = true;
        }
        mended
    }

    /// Two files for one id: a person keeps the one that was settled, else the one that was saved last.
    fn leave_one(&mut self, m: &mut Machine, at: usize) {
        let id = self.orders[at].spec.id.clone();
        let places = Self::places(m, &id);
        let mut inodes: Vec<u64> = places.iter().map(|(_, inode)| *inode).collect();
        inodes.sort_unstable();
        inodes.dedup();
        if inodes.len() < 2 {
            // Nobody mends a file that a power cut shows twice before one of the names is gone.
            let earlier = if self.orders[at].broken { places.split_last() } else { None };
            for (dir, _) in earlier.map(|(_, rest)| rest).unwrap_or_default() {
                let _ = m.hand(OWNER).rm(&ticket(dir, &id));
            }
            return;
        }
        let says = |dir: &str| edits_of(m.disk.peek(std::path::Path::new(&ticket(dir, &id)))?);
        let stamped = |dir: &str| {
            let text = m.disk.peek(std::path::Path::new(&ticket(dir, &id))).unwrap_or_default();
            text.ends_with(b"\n") && crate::judge::stamp(text).is_some()
        };
        let settled =
            places.iter().find(|(dir, _)| matches!(*dir, "done" | "failed") && stamped(dir));
        let meant = |(dir, _): &&(&str, u64)| says(dir).as_ref() == Some(&self.orders[at].edits);
        let (dir, keep) = *settled.or(places.iter().find(meant)).unwrap_or(&places[0]);
        if let Some(edits) = says(dir) {
            self.orders[at].edits = edits;
        }
        self.orders[at].meddled = true;
        for (dir, inode) in &places {
            if *inode != keep {
                let _ = m.hand(OWNER).rm(&ticket(dir, &id));
            }
        }
        self.tell(&id, Arrival::Unsure);
    }
}
