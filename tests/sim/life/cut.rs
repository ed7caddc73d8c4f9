//! What people find after a power cut: that is what they go on with.
//!
//! Invariant: what a cut may have torn is what they wrote in place since the one before; a ticket torn so
//! that nobody can know any more what it was counts as `meddled`; all else must be as somebody wrote it.

use super::orders::{BROKEN, edits_of};
use super::people::{OWNER, People, Presence, ticket};
use crate::judge::stamp;
use crate::world::Machine;

impl People {
    /// Power failed: what is there now is what people know, if it may be.
    pub(crate) fn after_cut(&mut self, m: &mut Machine) -> Vec<String> {
        (0..self.orders.len()).filter_map(|at| self.look_again(m, at).err()).collect()
    }

    fn look_again(&mut self, m: &mut Machine, at: usize) -> Result<(), String> {
        let torn = self.orders[at].writer.take().is_some() || self.orders[at].in_place;
        let order = &mut self.orders[at];
        order.stale = None;
        order.in_place = false;
        let over_stamp = std::mem::take(&mut order.over_stamp);
        let id = order.spec.id.clone();
        let places = Self::places(m, &id);
        order.foreign_lock &= m.disk.peek_inode(&format!("_ctx/jobs/running/{id}.lock")).is_some();
        let Some((dir, _)) = places.first() else {
            let lost = order.presence == Presence::There && order.durable;
            if order.presence == Presence::There {
                order.presence = Presence::Never;
                order.meddled = true;
            }
            return if lost { Err(format!("{id}: a durable ticket is gone")) } else { Ok(()) };
        };
        order.presence = Presence::There;
        order.durable = true;
        let path = ticket(dir, &id);
        let text = m.hand(OWNER).cat(&path).unwrap_or_default();
        order.broken = text.starts_with(BROKEN.as_bytes());
        // What they wrote over the stamp may have lost it.
        let status = String::from_utf8_lossy(&text);
        let settled = over_stamp
            || matches!(*dir, "done" | "failed")
            || status.lines().any(|l| matches!(l, "status: done" | "status: failed"));
        order.meddled |= torn && settled && stamp(&text).is_none();
        // Or how often it was retried.
        let retried = status.lines().any(|l| l.starts_with("  retries:"));
        order.meddled |= torn && !retried && status.lines().any(|l| l == "status: pending");
        match edits_of(&text) {
            Some(edits) if order.versions.contains(&edits) && whole(&text) => {
                order.edits = edits;
            }
            _ if torn || order.meddled => {
                let edit = self.next_edit();
                let order = &mut self.orders[at];
                order.meddled = true;
                order.edits.push(edit);
                order.broken = false;
                let text = order.spec.text(&order.edits);
                let _ = m.hand(OWNER).save(&path, text.as_bytes());
                let _ = m.disk.sync_dir(std::path::Path::new(&format!("_ctx/jobs/{dir}")));
            }
            Some(edits) => {
                return Err(format!("{id}: a power cut left edits {edits:?}, which never were"));
            }
            None => return Err(format!("{id}: a power cut left no whole ticket")),
        }
        let order = &mut self.orders[at];
        order.versions = vec![order.edits.clone()];
        Ok(())
    }
}

/// The text has its end.
fn whole(text: &[u8]) -> bool {
    text.ends_with(b"\n")
}
