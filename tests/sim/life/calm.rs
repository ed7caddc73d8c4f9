//! The calm phase: nothing goes wrong any more, and all must come to rest.

use super::Life;
use super::actors::Actor;
use crate::world::{Fuse, Health, Traffic};

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
        let words = self.second_opinion(&engine);
        drop(engine);
        let mut scene = self.scene.borrow_mut();
        scene.broken.extend(words);
        let words = {
            let scene = &mut *scene;
            scene.judge.at_quiet(&self.m.borrow(), &scene.people)
        };
        scene.broken.extend(words);
        drop(scene);
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
                if rested > 3 {
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
