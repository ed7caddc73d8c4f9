//! What must hold when nothing is left to do and nothing goes wrong any more.

use super::story::{Story, Where};
use super::{Judge, stamp};
use crate::life::{Order, People, Presence, edits_of, ticket};
use crate::world::Machine;
use jobyard::world::Kind;
use std::path::Path;

impl Judge {
    /// Looks at everything that must hold when all is quiet.
    pub(crate) fn at_quiet(&mut self, m: &Machine, people: &People) -> Vec<String> {
        let mut broken = self.look(m, people);
        for order in &people.orders {
            let found = self.order(m, people, order);
            broken.extend(found.err().map(|text| format!("{}: {text}", order.spec.id)));
        }
        broken.extend(unknown_tickets(m, people));
        broken.extend(explanations(m, people));
        let waits = m.exec.known.keys().next();
        broken.extend(waits.map(|key| format!("the executor still keeps {key:?}")));
        if !interrupted(people) {
            broken.extend(leftovers(m));
        }
        broken.extend(self.requests(m, people));
        for (name, text) in &self.precious {
            let kept = m.disk.dump().iter().any(|(path, kind, bytes)| {
                *kind == Kind::File && path.ends_with(name) && *bytes == text.as_slice()
            });
            if !kept {
                broken.push(format!("{name}, which nobody may delete, is gone"));
            }
        }
        broken
    }

    fn order(&self, m: &Machine, people: &People, order: &Order) -> Result<(), String> {
        let id = order.spec.id.as_str();
        let places = People::places(m, id);
        if order.presence != Presence::There || order.meddled {
            return Ok(());
        }
        let [(dir, _)] = places[..] else { return Err(format!("it lies in {places:?}")) };
        let text = m.disk.peek(Path::new(&ticket(dir, id))).unwrap_or_default();
        if edits_of(text).as_ref() != Some(&order.edits) && !(interrupted(people) && kept(m, order))
        {
            let left = edits_of(text);
            return Err(format!("a person saved {:?}, what is left is {left:?}", order.edits));
        }
        let story = self.stories.get(id).cloned().unwrap_or_default();
        if story.place == Where::Nowhere && dir != "pending" {
            // Never seen pending: a finding, and nothing is made of it.
            let lock = m.disk.peek_inode(&format!("_ctx/jobs/running/{id}.lock")).is_some();
            return if lock { Err("a lease for a ticket nobody knows".to_owned()) } else { Ok(()) };
        }
        if story.adopted && order.moved && stamp(text).is_none() && dir != "pending" {
            // Moved while it was being adopted: nobody knows any more what it was.
            return Ok(());
        }
        if story.requeueing && dir == "failed" {
            return self.settled(text, dir, id);
        }
        if order.moved && dir == "failed" && story.place == Where::Pending {
            // A person moved it back to where its stamp still says it was settled.
            return self.settled(text, dir, id);
        }
        if dir != story.place.dir() {
            return Err(format!("it lies in {dir}/, the ledger says {:?}", story.place));
        }
        let lock = m.disk.peek_inode(&format!("_ctx/jobs/running/{id}.lock")).is_some();
        if lock != (dir == "running") {
            return Err(format!("it lies in {dir}/, lease: {lock}"));
        }
        match story.place {
            Where::Done | Where::Failed => self.settled(text, dir, id),
            Where::Running => running(&story),
            Where::Nowhere | Where::Pending => self.pending(m, people, order, &story, text),
        }
    }

    fn settled(&self, text: &[u8], dir: &str, id: &str) -> Result<(), String> {
        let stamp = stamp(text).ok_or_else(|| format!("it lies in {dir}/ without a stamp"))?;
        let line =
            self.book.find(stamp.seq, &stamp.hash).ok_or("its stamp is not in the ledger")?;
        let fits = matches!(line.event.as_str(), "settled" | "adopted")
            && line.id == id
            && line.value["state"] == dir
            && stamp.state == dir;
        if fits { Ok(()) } else { Err(format!("its stamp tells of {} {}", line.event, line.id)) }
    }

    /// A pending order must have a reason to be pending.
    fn pending(
        &self,
        m: &Machine,
        people: &People,
        order: &Order,
        story: &Story,
        text: &[u8],
    ) -> Result<(), String> {
        let text = String::from_utf8_lossy(text);
        if text.contains("settled_state:") {
            return Err("it is pending with a settlement stamp".to_owned());
        }
        // On a line of its own, or between the braces of a flow mapping.
        let own = text.lines().filter(|l| l.starts_with("  ") || l.starts_with("x_jobyard: {"));
        let mut entries = own.flat_map(|l| l.split(['{', ',', '}'])).map(str::trim);
        let held = entries.any(|e| e.starts_with("hold: ") && e != "hold: null");
        let half = held && self.asked_in_vain(m, people, &order.spec.id);
        if story.held.is_some_and(|said| said != held) && !half {
            return Err(format!("held: {held}, but the ledger says {:?}", story.held));
        }
        let tree = format!(".worktrees/{}", order.spec.id);
        let undone = |t: &&super::story::Tale| {
            t.released || t.settled.as_ref().is_some_and(|(_, result)| result == "withdrawn")
        };
        let last = story.attempts.values().last().filter(undone);
        let untouched = |base: &str| {
            m.git.head(&tree).is_some_and(|head| head.as_str() == base)
                && m.git.worktrees.get(&tree).is_some_and(crate::world::Worktree::clean)
        };
        if last.and_then(|t| t.made_tree.as_deref()).is_some_and(untouched)
            && !m.git.stuck.contains(&tree)
            && !people.temper.has(crate::life::Class::Git)
        {
            return Err("its last claim was undone, but the worktree is left".to_owned());
        }
        let executable = !order.spec.run.is_empty();
        if executable && !held && !circular(people, order) && self.satisfied(m, people, order) {
            return Err("it is left behind: nothing keeps it from running".to_owned());
        }
        Ok(())
    }

    /// A `hold` may be in the ticket before its line is written; who takes the request back in between
    /// leaves it so, and so does a lock that gets it refused after a crash.
    fn asked_in_vain(&self, m: &Machine, people: &People, id: &str) -> bool {
        let mut asks = people.asks.iter().filter(|a| a.id == id && a.verb == "hold");
        asks.any(|a| match a.hex.as_str() {
            "" => {
                a.withdrawn
                    || a.perhaps_lost
                    || m.disk.peek_inode(&format!("{}.why", a.path())).is_some()
            }
            hex => self.answers.code(hex) != Some(0),
        })
    }

    fn satisfied(&self, m: &Machine, people: &People, order: &Order) -> bool {
        order.spec.dependencies.iter().all(|(up, on)| {
            if people.order(up).is_none_or(|o| o.presence != Presence::There || o.meddled) {
                return false;
            }
            let story = self.stories.get(up);
            let moved = people.order(up).is_some_and(|o| o.moved);
            let there = |s: &Story| People::places(m, up).iter().any(|p| p.0 == s.place.dir());
            if moved && story.is_some_and(|s| s.adopted && !there(s)) {
                // Moved while it was being adopted: it is a finding, and meets nothing.
                return false;
            }
            let vouched = !self.require_checks || story.is_none_or(|s| s.result != "unverified");
            match story.map_or(Where::Nowhere, |s| s.place) {
                Where::Done => *on == "always" || (*on == "success" && vouched),
                Where::Failed => *on != "success",
                _ => false,
            }
        })
    }

    /// Every request was taken or refused; those of the command line are answered.
    fn requests(&self, m: &Machine, people: &People) -> Vec<String> {
        let mut broken = Vec::new();
        for ask in people.unconsumed(m) {
            let why = m.disk.peek_inode(&format!("{}.why", ask.path())).is_some();
            if !why {
                broken.push(format!("the request {} is neither taken nor refused", ask.file));
            }
        }
        for ask in &people.asks {
            let answer = self.answers.code(&ask.hex);
            let due = !ask.hex.is_empty() && !ask.withdrawn && !ask.perhaps_lost;
            let bound = |t: &super::story::Tale| t.open() && t.claimed;
            let waits = ask.verb == "finish"
                && self.stories.get(&ask.id).is_some_and(|s| s.attempts.values().any(bound));
            if due && answer.is_none() && !waits {
                broken.push(format!("the request {} was never answered", ask.file));
            }
        }
        broken
    }
}

/// Something may have come between the two halves of a stamp.
fn interrupted(people: &People) -> bool {
    use crate::life::Class::{Between, Crash, Errno, Health, Lost, Power};
    [Between, Crash, Errno, Health, Lost, Power].into_iter().any(|class| people.temper.has(class))
}

/// Of two versions that people saved around a crash, the earlier one is kept beside the ticket.
fn kept(m: &Machine, order: &Order) -> bool {
    let name = format!("{}.yaml.", order.spec.id);
    m.disk.dump().iter().any(|(path, _, bytes)| {
        let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        file.starts_with(&name)
            && file.ends_with(".kept")
            && edits_of(bytes).as_ref() == Some(&order.edits)
    })
}

fn running(story: &Story) -> Result<(), String> {
    let (number, tale) = story.attempts.last_key_value().ok_or("it runs without an attempt")?;
    if !tale.open() {
        return Err(format!("it lies in running/, but attempt {number} is over"));
    }
    if let Some(wish) = &tale.wish {
        return Err(format!("attempt {number} was asked to {wish}, and nothing came of it"));
    }
    match tale.holder {
        None => Err(format!("attempt {number} never ends")),
        Some(_) if !tale.claimed => Err(format!("the take of attempt {number} never ends")),
        Some(_) => Ok(()),
    }
}

fn circular(people: &People, order: &Order) -> bool {
    let mut todo: Vec<&str> = order.spec.dependencies.iter().map(|(id, _)| id.as_str()).collect();
    let mut seen = Vec::new();
    while let Some(id) = todo.pop() {
        if id == order.spec.id {
            return true;
        }
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let needs = people.order(id).into_iter().flat_map(|o| &o.spec.dependencies);
        todo.extend(needs.map(|(id, _)| id.as_str()));
    }
    false
}

/// It was withdrawn, perhaps in the moment of its refusal.
fn in_vain(ask: &crate::life::Ask) -> bool {
    (ask.withdrawn && !ask.left_why) || ask.perhaps_lost
}

/// Explanations of requests that are gone, and of tickets that are in order.
fn explanations(m: &Machine, people: &People) -> Vec<String> {
    let control = m.disk.peek_names("_ctx/jobs/control");
    let whose = |name: &String| name.strip_suffix(".why").map(str::to_owned);
    // Who withdraws in the moment of a refusal finds it explained afterwards.
    let excused = |of: &String| people.asks.iter().any(|a| a.file == *of && in_vain(a));
    let gone = control.iter().filter_map(whose).filter(|of| !control.contains(of) && !excused(of));
    let mut broken: Vec<String> = gone
        .map(|of| format!("the explanation of {of} is left, and the request is gone"))
        .collect();
    for order in people.orders.iter().filter(|o| !o.meddled && !circular(people, o)) {
        for dir in ["pending", "running"] {
            let path = ticket(dir, &order.spec.id);
            let why = m.disk.peek(Path::new(&format!("{path}.why"))).unwrap_or_default();
            if why.starts_with(b"refused") {
                broken.push(format!("{path} is explained as refused"));
            }
        }
    }
    broken
}

/// Hidden files, of which none stays where nothing was interrupted.
pub(super) fn leftovers(m: &Machine) -> Vec<String> {
    let hidden = |dir: &&str| m.disk.peek_names(&format!("_ctx/jobs/{dir}"));
    let names = crate::life::DIRS.iter().flat_map(hidden);
    let is_ours = |n: &String| n.starts_with('.') && (n.contains(".yaml.") || n.contains(".lock."));
    let ours = names.filter(is_ours);
    ours.map(|name| format!("{name} is left of something that was not interrupted")).collect()
}

fn unknown_tickets(m: &Machine, people: &People) -> Vec<String> {
    let mut broken = Vec::new();
    for dir in crate::life::DIRS {
        for name in m.disk.peek_names(&format!("_ctx/jobs/{dir}")) {
            let Some(id) = name.strip_suffix(".yaml").filter(|n| !n.starts_with('.')) else {
                continue;
            };
            if people.order(id).is_none() && id != "a b" {
                broken.push(format!("{dir}/{name} was written by nobody"));
            }
        }
    }
    broken
}
