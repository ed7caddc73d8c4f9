//! Requests in `control/`, and persons at work in worktrees.
//!
//! Invariants: a person believes an answer when its line can be read; a request that its asker has
//! removed was withdrawn, unless a power cut brings it back.

use super::people::{DIRS, Hint, OTHER, OWNER, People};
use crate::world::{Deeds, Head, Machine};
use jobyard::observe::Arrival;
use std::path::Path;

const CONTROL: &str = "_ctx/jobs/control";

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The order.
    pub(crate) id: String,
    /// The verb.
    pub(crate) verb: &'static str,
    /// 16 digits, or nothing.
    pub(crate) hex: String,
    /// Who asks.
    pub(crate) uid: u32,
    /// Name of the file.
    pub(crate) file: String,
    /// Dependencies are skipped.
    pub(crate) force: bool,
    /// Its file was removed by the asker before anybody had consumed it.
    pub(crate) withdrawn: bool,
    /// The file may have been lost in a power cut.
    pub(crate) perhaps_lost: bool,
    /// It gives a reason.
    pub(crate) reason: bool,
    /// It skips the checks.
    pub(crate) skip: bool,
    /// It cannot be read.
    pub(crate) nonsense: bool,
    /// Its asker left the explanation of its refusal there.
    pub(crate) left_why: bool,
}

impl Ask {
    /// A request without digits that says nothing but its verb.
    pub(super) fn plain(id: String, verb: &'static str, file: String, uid: u32) -> Self {
        let (force, withdrawn, perhaps_lost) = (false, false, false);
        let (reason, skip, nonsense, left_why) = (false, false, false, false);
        let hex = String::new();
        Self {
            id,
            verb,
            hex,
            uid,
            file,
            force,
            withdrawn,
            perhaps_lost,
            reason,
            skip,
            nonsense,
            left_why,
        }
    }

    /// Where its file lies.
    pub(crate) fn path(&self) -> String {
        format!("{CONTROL}/{}", self.file)
    }
}

impl People {
    /// Did this request, by its file name, skip the dependencies?
    pub(crate) fn forced(&self, file: Option<&str>) -> bool {
        file.is_some_and(|f| self.asks.iter().any(|a| a.file == f && a.force))
    }

    /// Files a request that fits the state of the order, more or less, or withdraws one.
    pub(super) fn ask(&mut self, m: &mut Machine, at: usize) {
        if self.rng.chance(20) {
            return self.withdraw_one(m);
        }
        let id = self.orders[at].spec.id.clone();
        let dir = Self::places(m, &id).first().map_or("", |(dir, _)| *dir);
        let verbs: &[&'static str] = match dir {
            "pending" => &["take", "take", "take", "cancel", "hold", "hold", "unhold", "requeue"],
            "running" if holder(m, &id).is_some() => {
                &["finish", "finish", "finish", "finish", "finish", "cancel", "requeue", "take"]
            }
            "running" => &["finish", "finish", "finish", "cancel", "cancel", "requeue", "take"],
            "failed" => &["requeue", "requeue", "requeue", "take", "cancel"],
            "done" => &["requeue", "cancel", "finish"],
            _ => &["take"],
        };
        let verb = match self.rng.chance(8) {
            true => ["take", "finish", "cancel", "requeue", "hold", "unhold"][self.rng.index(6)],
            false => self.rng.pick(verbs).copied().unwrap_or("take"),
        };
        if verb == "finish" && holder(m, &id).is_some() && self.rng.chance(80) {
            self.commit(m, &id);
        }
        self.file(m, &id, verb);
    }

    /// A person commits their work.
    pub(super) fn commit(&mut self, m: &mut Machine, id: &str) {
        let commit = Some(format!("src/by-hand{}.rs", self.rng.below(20)));
        m.git.work(&format!(".worktrees/{id}"), &Deeds { commit, ..Deeds::default() });
    }

    /// Files a request; returns its place in the list when the disk took it.
    pub(super) fn file(&mut self, m: &mut Machine, id: &str, verb: &'static str) -> Option<usize> {
        let held = holder(m, id).filter(|_| verb == "finish" && self.rng.chance(80));
        let uid = held.unwrap_or(if self.rng.chance(12) { OTHER } else { OWNER });
        let hex =
            if self.rng.chance(75) { format!("{:016x}", self.rng.next()) } else { String::new() };
        let dot = if hex.is_empty() { "" } else { "." };
        let file = format!("{id}.{verb}{dot}{hex}");
        let mut body = Vec::new();
        let force = verb == "take" && self.rng.chance(15);
        let takeover = matches!(verb, "take" | "requeue") && self.rng.chance(40);
        let skip = verb == "finish" && self.rng.chance(40);
        if force || takeover || self.rng.chance(if skip { 90 } else { 20 }) {
            body.push("reason: 'because'");
        }
        if force {
            body.push("force: true");
        }
        if takeover {
            body.push("takeover: true");
        }
        if verb == "finish" && self.rng.chance(25) {
            body.push("stop: true");
        }
        if skip {
            body.push("skip_verification: true");
        }
        if self.rng.chance(3) {
            body.push("nonsense: [");
        }
        let text = body.join("\n");
        let path = format!("{CONTROL}/{file}");
        let in_place = self.rng.chance(30);
        let theirs = m.disk.stat(Path::new(&path)).ok().flatten().is_some_and(|s| s.uid != uid);
        if theirs {
            return None;
        }
        let _ = m.hand(uid).rm(&format!("{path}.why"));
        let slow = in_place && self.begin_request(m, &file, &text, uid);
        let filed = match in_place {
            true if slow => Ok(()),
            true => m.hand(uid).write(&path, text.as_bytes()),
            false => m.hand(uid).save(&path, text.as_bytes()),
        };
        if filed.is_err() {
            return None;
        }
        let arrival = if in_place { Arrival::Unsure } else { Arrival::Renamed };
        self.hints.push(Hint::Request(file.clone(), arrival));
        // A power cut may bring an earlier text of this name back.
        let force = force || self.forced(Some(&file));
        self.asks.retain(|a| a.file != file);
        let says = |word: &str| body.iter().any(|line| line.starts_with(word));
        let ask = Ask {
            hex,
            force,
            reason: says("reason"),
            skip,
            nonsense: says("nonsense"),
            ..Ask::plain(id.to_owned(), verb, file, uid)
        };
        self.asks.push(ask);
        Some(self.asks.len() - 1)
    }

    /// Whoever begins has not heard what was said before.
    pub(super) fn unheard(&mut self) {
        self.hints.clear();
        self.asks.iter_mut().for_each(|ask| ask.left_why = false);
    }

    /// An order that a person holds.
    pub(super) fn one_held(&self, m: &Machine) -> Option<String> {
        let mut ids = self.orders.iter().map(|o| o.spec.id.as_str());
        let held = |id: &&str| Self::dir_of(m, id) == Some("running") && holder(m, id).is_some();
        ids.find(held).map(str::to_owned)
    }

    /// Somebody asks for an order that a person holds and has left alone for long.
    pub(super) fn take_over(&mut self, m: &mut Machine) {
        if let Some(id) = self.one_held(m) {
            let verb = if self.rng.chance(60) { "requeue" } else { "take" };
            self.file(m, &id, verb);
        }
    }

    fn withdraw_one(&mut self, m: &mut Machine) {
        let open: Vec<usize> = (0..self.asks.len())
            .filter(|at| m.disk.peek_inode(&self.asks[*at].path()).is_some())
            .collect();
        if let Some(at) = self.rng.pick(&open).copied() {
            self.withdraw(m, at);
        }
    }

    /// Removes a request; whether it was still there. Whoever is told so may rely on it.
    pub(super) fn withdraw(&mut self, m: &mut Machine, at: usize) -> bool {
        let (path, uid) = (self.asks[at].path(), self.asks[at].uid);
        // A power cut shows a consumed request here too: that name tells nothing.
        let doubled = m.disk.stat(Path::new(&path)).ok().flatten().is_some_and(|s| s.links > 1);
        if m.hand(uid).rm(&path).is_err() || doubled {
            return false;
        }
        let _ = m.hand(uid).rm(&format!("{path}.why"));
        let _ = m.disk.sync_dir(Path::new(CONTROL));
        self.asks[at].withdrawn = true;
        self.hints.push(Hint::Request(self.asks[at].file.clone(), Arrival::Unsure));
        true
    }

    /// A power cut: requests may be gone, withdrawn ones back.
    pub(super) fn asks_after_cut(&mut self, m: &Machine) {
        for ask in &mut self.asks {
            ask.perhaps_lost = true;
            if ask.withdrawn && m.disk.peek_inode(&ask.path()).is_some() {
                ask.withdrawn = false;
            }
        }
    }

    /// A person at work in a worktree, or showing a sign of life.
    pub(super) fn work(&mut self, m: &mut Machine, at: usize) {
        let id = self.orders[at].spec.id.clone();
        let tree = format!(".worktrees/{id}");
        if m.git.worktrees.get(&tree).is_some_and(|t| !t.complete) {
            return;
        }
        match self.rng.below(10) {
            0..5 => self.commit(m, &id),
            5 => m.git.work(&tree, &Deeds { dirty: true, ..Deeds::default() }),
            6 => m.git.work(&tree, &Deeds { untracked: true, ..Deeds::default() }),
            7 => {
                let _ = m.hand(OWNER).touch(&format!("_ctx/jobs/running/{id}.lock"));
            }
            _ => {
                if let Some(tree) = m.git.worktrees.get_mut(&tree) {
                    tree.changed.clear();
                    tree.untracked.clear();
                }
            }
        }
    }

    /// A person does to worktrees and branches what git allows.
    pub(super) fn meddle_with_git(&mut self, m: &mut Machine, at: usize) {
        let id = self.orders[at].spec.id.clone();
        let (tree, branch) = (format!(".worktrees/{id}"), format!("feat/wo-{id}"));
        let precious = format!("{tree}/precious-{id}");
        match self.rng.below(6) {
            0 | 1
                if m.git.worktrees.contains_key(&tree)
                    && m.disk.peek_inode(&precious).is_none() =>
            {
                m.git.worktrees.remove(&tree);
                let _ = m.hand(OWNER).rm_all(&tree);
            }
            2 => {
                let head = m.git.head(&tree).cloned();
                if let (Some(found), Some(head)) = (m.git.worktrees.get_mut(&tree), head) {
                    found.head = Head::Commit(head);
                }
            }
            3 => {
                if let Some(found) = m.git.worktrees.get_mut(&tree) {
                    found.head = Head::Branch(branch);
                }
            }
            4 => {
                let _ = m.git.commit_on("main", "src/main.rs");
            }
            _ => {
                if m.git.worktrees.contains_key(&tree) || m.disk.peek_inode(&precious).is_some() {
                    return;
                }
                let _ = m.hand(OWNER).mkdir(&tree);
                let _ = m.hand(OWNER).write(&precious, b"mine\n");
            }
        }
    }

    /// Requests whose file still lies there.
    pub(crate) fn unconsumed(&self, m: &Machine) -> Vec<&Ask> {
        self.asks.iter().filter(|a| m.disk.peek_inode(&a.path()).is_some()).collect()
    }

    /// Where a ticket lies now, if in one place.
    pub(crate) fn dir_of(m: &Machine, id: &str) -> Option<&'static str> {
        match Self::places(m, id)[..] {
            [(dir, _)] => DIRS.into_iter().find(|d| *d == dir),
            _ => None,
        }
    }
}

/// The person who holds an order, as its lock file says.
fn holder(m: &Machine, id: &str) -> Option<u32> {
    let text = m.disk.peek(Path::new(&format!("_ctx/jobs/running/{id}.lock")))?;
    let text = std::str::from_utf8(text).ok()?;
    let mode = text.lines().find_map(|line| line.strip_prefix("Mode: manual "))?;
    mode.split(' ').next()?.parse().ok()
}
