//! `jobyard gc`: takes away kept worktrees that are merged and clean; what else it is told to, once its
//! commits are saved.
//!
//! Invariants: dry unless `--apply`; nothing uncommitted and no commit is ever lost: a worktree goes only
//! clean, a branch only when its commits are in the base or in a bundle that git has read back; it works
//! beside a daemon, since it looks again, while nobody else changes worktrees, whether anybody claims the
//! order or inherits the worktree. What git ignores goes with a worktree, as with `git worktree remove`.
//! Worktrees that are no order's are not looked at.

use super::look::{self, Seat};
use super::{Failure, Globals, Outcome, code, out, request, say};
use crate::model::id::OrderId;
use crate::model::order::{State, Workspace};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::tree::CommitId;
use crate::plan::kept::{Kept, stays};
use crate::scan::View;
use crate::world::git::{Absent, Git, ListedWorktree};
use crate::world::{GitFault, store};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Flags of `jobyard gc`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Orders whose kept worktrees are meant (default: all)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Do it; else it is only said
    #[arg(long, conflicts_with = "dry_run")]
    apply: bool,
    /// Only say what would be done, as without a flag
    #[arg(long)]
    dry_run: bool,
    /// The branches go too
    #[arg(long)]
    branches: bool,
    /// Also what is not merged: its commits are saved in a bundle in the run directory first
    #[arg(long, requires = "ids")]
    bundle: bool,
}

/// What becomes of one.
struct Fate {
    id: OrderId,
    path: String,
    word: &'static str,
    text: String,
}

/// Git and what it is asked about.
struct Keeper {
    git: Git,
    root: PathBuf,
    base: CommitId,
    given: Arguments,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let named = given.ids.iter().map(|id| request::order_id(id)).collect::<Result<Vec<_>, _>>()?;
    let mut seat = look::open(globals)?;
    if let Some(defect) = seat.defects().first() {
        return Err(Failure::new(code::USAGE, format!("{}: {defect}", paths::CONFIG)));
    }
    let git = seat.git();
    let failed = |f: GitFault| Failure::new(code::FAILED, format!("look at worktrees: {f}"));
    let trees = match git.is_repository().map_err(failed)? {
        true => kept(&seat, git.list().map_err(failed)?),
        false => Vec::new(),
    };
    for id in &named {
        if !trees.iter().any(|(of, _, _)| of == id) {
            let text =
                format!("there is no worktree {}; `git worktree list` shows all", id.worktree());
            return Err(Failure::new(code::NOT_FOUND, text));
        }
    }
    let mut fates = Vec::new();
    if !trees.is_empty() {
        let base = git.base(seat.base()).map_err(failed)?;
        let view = seat.look()?;
        let keeper = Keeper { git, root: seat.root.clone(), base, given };
        for (id, path, listed) in trees {
            if named.is_empty() || named.contains(&id) {
                fates.push(keeper.decide(&mut seat, &view, id, path, &listed));
            }
        }
        return report(globals, &fates, &keeper.given);
    }
    report(globals, &fates, &given)
}

/// The worktrees below the directory of worktrees that have an order's name.
fn kept(seat: &Seat, listed: Vec<ListedWorktree>) -> Vec<(OrderId, String, ListedWorktree)> {
    let of_order = |t: ListedWorktree| {
        let path = t.path.strip_prefix(&seat.root).ok()?.to_str()?.to_owned();
        let id = OrderId::parse(path.rsplit('/').next()?).ok()?;
        (!t.main && path == id.worktree()).then_some((id, path, t))
    };
    let mut found: Vec<_> = listed.into_iter().filter_map(of_order).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

impl Keeper {
    fn decide(
        &self,
        seat: &mut Seat,
        view: &View,
        id: OrderId,
        path: String,
        listed: &ListedWorktree,
    ) -> Fate {
        let fate = |word, text| Fate { id: id.clone(), path: path.clone(), word, text };
        let branch = id.branch();
        let looked = self.look(view, &id, &path, &branch, listed);
        let (kept, tip) = match looked {
            Ok(looked) => looked,
            Err(fault) => return fate("failed", fault.to_string()),
        };
        if let Some(why) = stays(&kept, self.given.bundle) {
            return fate("stays", why);
        }
        let goes = tip.filter(|_| self.given.branches || self.given.bundle);
        let with = if goes.is_some() { format!(" and {branch}") } else { String::new() };
        let bundle = goes.as_ref().filter(|_| !kept.merged).map(|tip| {
            let name = format!("kept-{:.12}.bundle", tip.as_str());
            paths::runs(&id).join(name)
        });
        let saved = bundle
            .as_ref()
            .map_or_else(String::new, |file| format!("; its commits are in {}", file.display()));
        if !self.given.apply {
            let saved = saved.replace("; its commits are in", "; its commits would be saved in");
            return fate("would-go", format!("{path}{with}{saved}"));
        }
        let done = bundle
            .as_ref()
            .map_or(Ok(()), |file| self.git.bundle(&branch, &self.root.join(file)))
            .and_then(|()| {
                let mut busy = || busy(seat, &id);
                self.git.remove_kept(&path, &branch, goes.as_ref(), &mut busy)
            });
        match done {
            Ok(()) => fate("gone", format!("{path}{with}{saved}")),
            Err(fault) => fate("failed", fault.to_string()),
        }
    }

    /// What is known of a worktree, and where its branch is.
    fn look(
        &self,
        view: &View,
        id: &OrderId,
        path: &str,
        branch: &str,
        listed: &ListedWorktree,
    ) -> Result<(Kept, Option<CommitId>), GitFault> {
        let tip = self.git.branch(branch)?;
        let merged = match &tip {
            Some(tip) => self.git.merge_base(tip, &self.base)?.as_ref() == Some(tip),
            None => false,
        };
        let ticket = view.index.tickets.get(id);
        let kept = Kept {
            state: ticket.and_then(|t| t.state()),
            held: ticket.is_some_and(|t| t.lease.is_some() || t.attempt.is_some()),
            heirs: heirs(view, id),
            branch: branch.to_owned(),
            facts: self.git.tree(path, &self.git.excludes()?, Absent::Marked)?,
            locked: listed.locked.clone(),
            merged,
        };
        Ok((kept, tip))
    }
}

/// Orders that are pending or running and inherit the worktree.
fn heirs(view: &View, id: &OrderId) -> Vec<String> {
    let inherits = |(_, known): &(&(OrderId, State), &crate::plan::findings::Known)| {
        known.order.workspace == Workspace::Inherit(id.clone())
    };
    let open = |state: State| matches!(state, State::Pending | State::Running);
    let heirs = view.extra.orders.iter().filter(inherits).filter(|((_, state), _)| open(*state));
    heirs.map(|((heir, _), _)| heir.to_string()).collect()
}

/// Why nobody may take the worktree away now, asked while nobody else changes worktrees: whoever claims an
/// order links its lock before it asks git for a worktree.
fn busy(seat: &mut Seat, id: &OrderId) -> Option<String> {
    let settled = |state: State| seat.root.join(paths::ticket(state, id)).exists();
    if settled(State::Pending) || settled(State::Running) {
        return Some(format!("{id} is not settled any more"));
    }
    if !settled(State::Done) && !settled(State::Failed) {
        return Some(format!("the ticket of {id} has gone"));
    }
    let dir = seat.root.join(paths::dir(State::Running));
    let locks = match std::fs::read_dir(&dir) {
        Ok(locks) => locks,
        Err(e) => return Some(format!("read {}: {e}", dir.display())),
    };
    let ids: BTreeSet<OrderId> = locks
        .flatten()
        .filter_map(|e| OrderId::parse(e.file_name().to_str()?.strip_suffix(".lock")?).ok())
        .collect();
    ids.into_iter().find_map(|other| {
        let works = other == *id || !works_elsewhere(seat, &other, id);
        works.then(|| format!("{other} may be working in it"))
    })
}

/// Whether an order that somebody holds is known not to work in the worktree of another one.
fn works_elsewhere(seat: &mut Seat, order: &OrderId, of: &OrderId) -> bool {
    [State::Pending, State::Running].into_iter().any(|state| {
        let path = paths::ticket(state, order);
        let read = store::read_whole(&mut seat.world, &path, store::TICKET_BYTES_MAX);
        let parsed = read.ok().flatten().map(|s| parse_order(&s.bytes, order.as_str()));
        let inherits = |workspace: &Workspace| *workspace == Workspace::Inherit(of.clone());
        matches!(parsed, Some(Ok(parsed)) if !inherits(&parsed.order.workspace))
    })
}

fn report(globals: &Globals, fates: &[Fate], given: &Arguments) -> Outcome {
    let any = |word: &str| fates.iter().any(|f| f.word == word);
    let exit = match (any("failed"), any("stays") && given.apply && !given.ids.is_empty()) {
        (true, _) => code::FAILED,
        // It was asked for by name.
        (false, true) => code::REFUSED,
        (false, false) => code::DONE,
    };
    if globals.json {
        let of_fate = |f: &Fate| {
            let id = f.id.as_str();
            json!({ "id": id, "path": f.path, "fate": f.word, "text": f.text })
        };
        let worktrees: Value = fates.iter().map(of_fate).collect();
        say::object("gc", [("worktrees", worktrees), ("applied", given.apply.into())])?;
        return Ok(exit);
    }
    let mut text = String::new();
    for fate in fates {
        let line = match fate.word {
            "gone" => format!("removed {}", fate.text),
            "would-go" => format!("would remove {}", fate.text),
            "stays" => format!("{} stays: {}", fate.path, fate.text),
            _ => format!("{} could not be removed: {}", fate.path, fate.text),
        };
        text.push_str(&format!("{}\n", out::plain(&line)));
    }
    if fates.is_empty() {
        text.push_str("no kept worktrees\n");
    } else if any("would-go") {
        text.push_str("nothing was changed; `jobyard gc --apply` does it\n");
    }
    out::text(&text)?;
    Ok(exit)
}
