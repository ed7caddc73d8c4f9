//! The judge: what must hold at every moment, after every power cut, and when all is quiet.
//!
//! Invariants: decides from the disk, the ledger, what people did and what really ran; uses neither
//! the engine's index nor its planner. Each sentence it returns is a broken invariant.

mod answers;
mod book;
mod quiet;
mod rules;
mod story;
mod trees;

use book::Book;
pub(crate) use book::last_of;
use story::Stories;

use crate::life::{FOREIGN_LOCK, People, Presence, ticket};
use crate::world::{Call, Machine, When};
use answers::Answers;
use jobyard::model::tree::CommitId;
use std::collections::BTreeMap;
use std::path::Path;
use story::Witness;

/// The judge of one life.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// The ledger.
    pub(crate) book: Book,
    /// What it tells.
    pub(crate) stories: Stories,
    answers: Answers,
    runs_seen: usize,
    /// Hooks of settlements that really ran.
    pub(crate) hooks: u64,
    precious: BTreeMap<String, Vec<u8>>,
    /// What lies where an actor is just renaming something to.
    target: Option<u64>,
    /// Branches as they were when a commit of theirs was last made durable.
    synced: BTreeMap<String, (String, bool)>,
    /// Worktrees, branches and requests around single calls.
    trees: trees::Trees,
    /// Policy: an unverified upstream is no success.
    pub(crate) require_checks: bool,
}

/// What a settled ticket says of its settlement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// The directory it was settled into.
    pub(crate) state: String,
    /// The ledger's line.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) hash: String,
}

/// The settlement stamp in a ticket's text.
pub(crate) fn stamp(text: &[u8]) -> Option<Stamp> {
    let text = std::str::from_utf8(text).ok().filter(|t| t.contains("settled_state:"))?;
    let value = |key: &str| {
        // On a line of its own, or between the braces of a flow mapping.
        let mut entries = text.lines().flat_map(|l| l.split(['{', ',', '}'])).map(str::trim);
        let value = entries.find_map(|e| e.strip_prefix(key));
        value.map(|v| v.trim().trim_matches(['\'', '"']).to_owned())
    };
    let (state, hash) = (value("settled_state:")?, value("settled_hash:")?);
    Some(Stamp { state, seq: value("settled_seq:")?.parse().ok()?, hash })
}

impl Judge {
    /// Looks at everything that must hold at any moment.
    pub(crate) fn look(&mut self, m: &Machine, people: &People) -> Vec<String> {
        let mut broken = self.read_on(m, people);
        broken.extend(self.runs(m));
        for order in &people.orders {
            let id = order.spec.id.as_str();
            let places = People::places(m, id);
            if order.presence == Presence::There && places.is_empty() && !order.meddled {
                broken.push(format!("{id}: its ticket is gone"));
            }
            let one = places.iter().all(|(_, inode)| *inode == places[0].1);
            if !one && !order.meddled {
                broken.push(format!("{id}: two files, in {places:?}"));
            }
            let story = self.stories.get(id).filter(|_| !order.meddled);
            if story.is_some_and(|story| trees::left(m, people, order, story)) {
                broken.push(format!("{id}: its claim was undone, but the worktree is left"));
            }
            for (dir, _) in places {
                let text = m.disk.peek(Path::new(&ticket(dir, id))).unwrap_or_default();
                // A power cut may tear what people wrote in place.
                let Some(stamp) = stamp(text).filter(|s| s.hash.len() == 64) else { continue };
                if self.book.find(stamp.seq, &stamp.hash).is_none() {
                    broken.push(format!(
                        "{id}: it is stamped with line {}, which is not in the ledger",
                        stamp.seq
                    ));
                }
            }
        }
        broken
    }

    fn read_on(&mut self, m: &Machine, people: &People) -> Vec<String> {
        let known = match self.book.read_on(&m.disk) {
            Ok(known) => known,
            Err(text) => return vec![text],
        };
        let mut broken = Vec::new();
        let (effects, git, require_checks) = (&m.effects, &m.git, self.require_checks);
        let over = |line: &book::Line| line.event == "adoption-over";
        let adoption_is_over = self.book.lines[..known].iter().any(over);
        let synced = &self.synced;
        let mut by = Witness { people, effects, require_checks, git, synced, adoption_is_over };
        for line in &self.book.lines[known..] {
            by.adoption_is_over |= over(line);
            if let Err(text) = story::tell(&mut self.stories, line, &by) {
                broken.push(text);
            }
            if line.event == "answer" {
                broken.extend(self.answers.heard(line, &self.stories, people));
            }
        }
        broken
    }

    /// Whoever asked makes sure that an answer stays before they count on it.
    pub(crate) fn tell_askers(&mut self, m: &mut Machine) {
        if self.answers.waiting() {
            self.answers.told(book::sync(&mut m.disk));
        }
    }

    /// What really ran: once, alone, and announced.
    fn runs(&mut self, m: &Machine) -> Vec<String> {
        let mut broken = Vec::new();
        for run in &m.effects.runs[self.runs_seen..] {
            if m.effects.times(&run.key) > 1 {
                broken.push(format!("{:?} ran twice", run.key));
            }
            let settled = self.tells_a_settlement(run);
            self.hooks += u64::from(settled);
            if !settled && run.key.id != ".drained" && !self.announced(run) {
                broken.push(format!("{:?} ran without a `started` line", run.key));
            }
        }
        self.runs_seen = m.effects.runs.len();
        for (first, second) in &m.effects.overlaps {
            broken.push(format!("{second:?} started while {first:?} lived"));
        }
        broken
    }

    /// It is the hook of a settlement that stands in the ledger, for good.
    fn tells_a_settlement(&self, run: &crate::world::Run) -> bool {
        self.book.lines.iter().any(|line| {
            line.seq == u64::from(run.key.number)
                && (line.event == "settled" && line.id == run.key.id)
                && line.value["state"] != "pending"
        })
    }

    fn announced(&self, run: &crate::world::Run) -> bool {
        let attempt = u64::from(run.key.attempt);
        let tale = self.stories.get(&run.key.id).and_then(|s| s.attempts.get(&attempt));
        tale.is_some_and(|t| t.commands.iter().any(|c| c.number == u64::from(run.key.number)))
    }

    /// The power failed: what had run must still be announced, what was answered must still hold.
    pub(crate) fn after_cut(&mut self, m: &Machine, people: &People) -> Vec<String> {
        self.book.reset();
        self.stories.clear();
        self.trees.forget();
        self.runs_seen = 0;
        self.answers.told(false);
        let mut broken = self.read_on(m, people);
        self.answers.told(true);
        for text in self.runs(m).into_iter().filter(|t| t.contains("without")) {
            broken.push(format!("after a power cut: {text}"));
        }
        broken.extend(self.answers.still_true(&self.stories));
        broken.extend(self.commits_lost(m, people));
        broken
    }

    /// What a verdict names must be on its branch.
    fn commits_lost(&self, m: &Machine, people: &People) -> Vec<String> {
        if people.temper.has(crate::life::Class::Git) {
            return Vec::new();
        }
        let named = |line: &&book::Line| line.event == "verdict" && line.value["result"] == "pass";
        let lost = |line: &book::Line| {
            let commit = line.value["commit"].as_str()?;
            let parent = |at: &CommitId| m.git.commits.get(at)?.parent.clone();
            let tip = m.git.tip(&format!("feat/wo-{}", line.id)).cloned();
            let there = std::iter::successors(tip, parent).any(|at| at.as_str() == commit);
            (!there).then(|| format!("{}: its verdict names a commit that is gone", line.id))
        };
        self.book.lines.iter().filter(named).filter_map(lost).collect()
    }

    /// Right before a raw call of an actor.
    pub(crate) fn about_to(&mut self, m: &Machine, call: Call<'_>) {
        let there = || m.disk.peek_inode(&call.path.to_string_lossy());
        self.target = if call.act == "rename" { there() } else { None };
    }

    /// The same, of worktrees and requests.
    pub(crate) fn trees(&mut self, m: &Machine, call: Call<'_>) -> Option<String> {
        self.trees.call(m, call)
    }

    /// Right after it: a name that was taken still stands for the same file.
    pub(crate) fn has_replaced(&mut self, m: &Machine, call: Call<'_>) -> Option<String> {
        if call.act == "sync commit" {
            let branch = call.path.to_string_lossy().into_owned();
            let tree = branch.replacen("feat/wo-", ".worktrees/", 1);
            let clean = m.git.worktrees.get(&tree).is_some_and(|t| t.changed.is_empty());
            let tip = m.git.tip(&branch).map(|tip| tip.as_str().to_owned()).unwrap_or_default();
            self.synced.insert(branch, (tip, clean));
        }
        let before = self.target.take()?;
        let now = m.disk.peek_inode(&call.path.to_string_lossy());
        (now.is_some_and(|now| now != before))
            .then(|| format!("{} is replaced by a rename", call.path.display()))
    }

    /// Around each raw call of an actor: how lock files are made and ended.
    pub(crate) fn call(&mut self, m: &Machine, call: Call<'_>, people: &People) -> Option<String> {
        let renamed = call.when == When::After && call.act == "rename";
        if renamed && claimed_under_another(m, call.path, people) {
            return Some(format!("{} is claimed under another's lock", call.path.display()));
        }
        let id = lock_of(call.path)?;
        if call.when == When::Before && call.act == "unlink" {
            let text = m.disk.peek(call.path).unwrap_or_default();
            return (text == FOREIGN_LOCK)
                .then(|| format!("{id}: a lock of somebody else is removed"));
        }
        if call.when == When::Before || !call.changes {
            return None;
        }
        let there = m.disk.peek_inode(&call.path.to_string_lossy()).is_some();
        let made = matches!(call.act, "create" | "append" | "rename");
        if made && there {
            return Some(format!("{id}: its lease is made by {}", call.act));
        }
        if call.act == "unlink" && !there && !people.order(id).is_some_and(|o| o.meddled || o.moved)
        {
            let running = m.disk.peek_inode(&ticket("running", id)).is_some();
            let begun = self.stories.get(id).and_then(|s| s.attempts.values().last());
            let held = begun.is_some_and(|t| !t.released && (t.claimed || !t.commands.is_empty()));
            if running && held {
                return Some(format!("{id}: its lease is released while it lies in running/"));
            }
        }
        None
    }

    /// Another engine has begun: what was hidden by one before is tidied.
    pub(crate) fn begun_anew(&self, m: &Machine) -> Vec<String> {
        quiet::leftovers(m)
    }

    /// Files that must never be lost, wherever they are moved.
    pub(crate) fn guard(&mut self, name: &str, text: &[u8]) {
        self.precious.insert(name.to_owned(), text.to_vec());
    }
}

/// An order was just moved to `running/` by its claim, and its lock is nobody's of ours. One that people move
/// while it is claimed is put back there, whatever its lock is by then.
fn claimed_under_another(m: &Machine, path: &Path, people: &People) -> bool {
    let name = path.to_str().and_then(|p| p.strip_prefix("_ctx/jobs/running/"));
    let Some(id) = name.and_then(|n| n.strip_suffix(".yaml")) else { return false };
    let there = m.disk.peek_inode(&path.to_string_lossy()).is_some();
    if !there || people.order(id).is_none_or(|o| o.meddled || o.moved) {
        return false;
    }
    let lock = m.disk.peek(Path::new(&format!("_ctx/jobs/running/{id}.lock")));
    lock == Some(FOREIGN_LOCK)
        && book::last_of(&m.disk, id).is_some_and(|l| l.contains("\"claiming\""))
}

fn lock_of(path: &Path) -> Option<&str> {
    let name = path.to_str()?.strip_prefix("_ctx/jobs/running/")?;
    name.strip_suffix(".lock").filter(|id| !id.starts_with('.'))
}
