//! Findings about where files lie: tickets, strange names, worktrees, what git tracks.

use super::{Facts, Finding, Severity, of_defect, ticket_file, whole};
use crate::model::attempt::Place as Workplace;
use crate::model::id::OrderId;
use crate::model::index::{Reading, Ticket};
use crate::model::order::{State, Workspace};
use crate::plan::step::OBSTRUCTED_MARK;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn find(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for (id, ticket) in &facts.index.tickets {
        refused(id, ticket, found);
        doubled(id, ticket, found);
        unsettled(facts, id, ticket, found);
        without_worktree(facts, id, ticket, found);
    }
    for (id, (state, text)) in &facts.extra.refused {
        found.push(not_begun(id, *state, text));
    }
    twice(facts, found);
    strays(facts, found);
    requests(facts, found);
    trees(facts, found);
    tracked(facts, found);
    for (file, defect) in &facts.extra.broken {
        let mut finding =
            Finding { severity: Severity::P1, ..of_defect(Severity::P0, None, file, defect) };
        if file == crate::model::paths::CONFIG {
            finding.repair = "correct the file, then send the daemon HUP (`systemctl reload`, or \
                              `kill -HUP` its pid, which `jobyard status` names)"
                .to_owned();
        }
        found.push(finding);
    }
}

/// A file that is not a valid order.
fn refused(id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    for state in State::ALL {
        let Some(Reading::Refused(defects)) = ticket.place(state).map(|p| &p.reading) else {
            continue;
        };
        let file = ticket_file(state, id);
        found.extend(defects.iter().map(|d| of_defect(Severity::P0, Some(id), &file, d)));
    }
}

/// A valid order that could not be claimed, or met an obstacle on its way.
fn not_begun(id: &OrderId, state: State, text: &str) -> Finding {
    let (code, cure) = match text.starts_with(OBSTRUCTED_MARK) {
        true => ("obstructed", "move it away"),
        false => ("cannot-claim", "cure that"),
    };
    let file = ticket_file(state, id);
    let repair =
        format!("{cure}, then `touch {file}`, or start the daemon again: it is tried anew");
    whole(code, Severity::P1, id, file, text.to_owned(), repair)
}

/// One id in more than one state.
fn doubled(id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    let there: Vec<State> = State::ALL.into_iter().filter(|s| ticket.place(*s).is_some()).collect();
    let [first, .., last] = there[..] else { return };
    let names: Vec<&str> = there.iter().map(|s| s.name()).collect();
    let inode = |s: State| ticket.place(s).map(|p| p.inode);
    let same = inode(first) == inode(last);
    let (message, repair) = match same {
        true => (
            format!("one file under two names, in {}: a move was cut off", names.join(" and ")),
            "start the daemon: it removes the earlier name".to_owned(),
        ),
        false => (
            format!("different files carry this id, in {}", names.join(" and ")),
            "keep the one that is right and move the others out of _ctx/jobs; nothing is chosen \
             between them"
                .to_owned(),
        ),
    };
    let file = ticket_file(first, id);
    found.push(whole("id-in-two-states", Severity::P0, id, file, message, repair));
}

/// One id in several files, by their `id` field.
fn twice(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let mut files: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for claimed in &facts.extra.claimed {
        files.entry(&claimed.id).or_default().insert(&claimed.file);
    }
    for claimed in &facts.extra.claimed {
        let others = files.get(claimed.id.as_str());
        let mut others: Vec<String> = others
            .into_iter()
            .flatten()
            .filter(|f| **f != claimed.file)
            .map(|f| (*f).to_owned())
            .collect();
        let owner = OrderId::parse(&claimed.id).ok();
        let places = owner.iter().flat_map(|id| {
            let ticket = facts.index.tickets.get(id);
            let there = State::ALL
                .into_iter()
                .filter(move |s| ticket.is_some_and(|t| t.place(*s).is_some()));
            there.map(|s| ticket_file(s, id))
        });
        others.extend(places);
        let Some(other) = others.first() else { continue };
        found.push(Finding {
            code: "id-used-twice",
            severity: Severity::P0,
            id: Some(claimed.id.clone()),
            file: claimed.file.clone(),
            line: claimed.line,
            message: format!("the id `{}` is also that of {other}", claimed.id),
            repair: "give one of them another id and a file name equal to it".to_owned(),
        });
    }
}

/// In `done/` or `failed/` without jobyard's own stamp for that directory.
fn unsettled(facts: &Facts<'_>, id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    let Some(state @ (State::Done | State::Failed)) = ticket.state() else { return };
    let Some(Reading::Order(brief)) = ticket.place(state).map(|p| &p.reading) else { return };
    if ticket.attempt.is_some() {
        return;
    }
    let (severity, message, repair) = match (&brief.stamp, facts.extra.fresh) {
        (Some(stamp), _) => (
            Severity::P1,
            format!("it lies in {}/ but was settled into {}/", state.name(), stamp.state.name()),
            "start the daemon: it puts the ticket back".to_owned(),
        ),
        (None, true) => (
            Severity::P2,
            "it carries no settlement stamp, and there is no ledger yet".to_owned(),
            "`jobyard init` or the first daemon adopts it as it is".to_owned(),
        ),
        (None, false) => (
            Severity::P1,
            format!("it lies in {}/ but carries no settlement stamp", state.name()),
            "move it to pending/ and let it be run, or taken and finished; or move it out of \
             _ctx/jobs"
                .to_owned(),
        ),
    };
    let file = ticket_file(state, id);
    found.push(whole("done-without-settlement", severity, id, file, message, repair));
}

/// Requests that were refused lie there until somebody writes them again.
fn requests(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for (file, why) in &facts.extra.refused_requests {
        found.push(Finding {
            code: "refused-request",
            severity: Severity::P1,
            id: None,
            file: file.clone(),
            line: 0,
            message: format!("the request was refused: {why}"),
            repair: "remove it, or write it again when that is mended".to_owned(),
        });
    }
}

/// Names in the state directories that do not belong there.
fn strays(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for stray in &facts.extra.strays {
        let (code, severity, message, repair) = match &stray.refused {
            Some(text) => {
                ("invalid-ticket", Severity::P0, text.as_str(), "rename or remove the file")
            }
            None => (
                "foreign-file",
                Severity::P2,
                "no ticket, lease or request: it is left alone",
                "nothing to do; move it elsewhere if it should not be here",
            ),
        };
        found.push(Finding {
            code,
            severity,
            id: None,
            file: stray.file.clone(),
            line: 0,
            message: message.to_owned(),
            repair: repair.to_owned(),
        });
    }
}

/// The worktree a running order needs; `None` when it needs none of its own.
fn workplace(facts: &Facts<'_>, id: &OrderId, ticket: &Ticket) -> Option<String> {
    if let Some(attempt) = &ticket.attempt {
        return match &attempt.claim.place {
            Workplace::Tree { path, .. } => Some(path.clone()),
            Workplace::Root => None,
        };
    }
    let known = facts.extra.orders.get(&(id.clone(), State::Running))?;
    match &known.order.workspace {
        Workspace::Worktree => Some(id.worktree()),
        Workspace::Inherit(other) => Some(other.worktree()),
        Workspace::None => None,
    }
}

fn without_worktree(facts: &Facts<'_>, id: &OrderId, ticket: &Ticket, found: &mut Vec<Finding>) {
    let Some(trees) = facts.extra.trees.as_ref() else { return };
    let leaves = ticket.attempt.as_ref().is_some_and(|a| a.settled.is_some());
    if ticket.state() != Some(State::Running) || leaves {
        return;
    }
    let Some(path) = workplace(facts, id, ticket) else { return };
    if trees.iter().any(|t| t.path == path && !t.gone) {
        return;
    }
    let repair = match ticket.attempt.as_ref().map(|a| &a.claim.place) {
        Some(Workplace::Tree { branch, .. }) => format!(
            "`git worktree add -f {path} {branch}` brings it back from its branch; or `jobyard cancel \
             {id}`, then `jobyard requeue {id}`"
        ),
        // Nobody claimed it: there may be no branch.
        _ => format!("move it to pending/; taken there, it gets its worktree {path}"),
    };
    let message = format!("it is running, but {path} is not a worktree of the repository");
    let file = ticket_file(State::Running, id);
    found.push(whole("running-without-worktree", Severity::P1, id, file, message, repair));
}

/// Worktrees below the root that no order owns.
fn trees(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let inherited: BTreeSet<String> = facts
        .extra
        .orders
        .iter()
        .filter(|((_, state), _)| matches!(state, State::Pending | State::Running))
        .filter_map(|(_, known)| match &known.order.workspace {
            Workspace::Inherit(other) => Some(other.worktree()),
            _ => None,
        })
        .collect();
    for tree in facts.extra.trees.iter().flatten() {
        let Some(name) = tree.path.strip_prefix(".worktrees/") else { continue };
        if name.starts_with('.') || inherited.contains(&tree.path) {
            continue;
        }
        let id = OrderId::parse(name).ok();
        let ticket = id.as_ref().and_then(|id| facts.index.tickets.get(id));
        let branch = tree.branch.as_deref().unwrap_or("no branch");
        match ticket {
            None => found.push(Finding {
                code: "worktree-without-order",
                severity: Severity::P1,
                id: id.map(|id| id.to_string()),
                file: tree.path.clone(),
                line: 0,
                message: format!("a worktree on {branch}, but no ticket {name} in any state"),
                repair: format!(
                    "save what is in it, then `git worktree remove {}`; or bring the ticket back",
                    tree.path
                ),
            }),
            Some(ticket) => {
                if let Some(id) = id.filter(|_| never_tried(ticket)) {
                    found.push(pending_owner(&id, &tree.path, branch));
                }
            }
        }
    }
}

/// Pending, and no attempt was ever made or is being made.
fn never_tried(ticket: &Ticket) -> bool {
    ticket.state() == Some(State::Pending)
        && ticket.lease.is_none()
        && ticket.attempt.is_none()
        && ticket.last_attempt == 0
        && ticket.brief().is_some_and(|b| b.attempt == 0)
}

fn pending_owner(id: &OrderId, path: &str, branch: &str) -> Finding {
    whole(
        "worktree-of-pending",
        Severity::P1,
        id,
        path.to_owned(),
        format!("a worktree on {branch}, but its order is pending and was never tried"),
        format!(
            "if somebody works in it: `jobyard take {id}` goes on with it; else `git worktree remove \
             {path}`"
        ),
    )
}

/// State that git tracks.
fn tracked(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let Some(first) = facts.extra.tracked.first() else { return };
    let count = facts.extra.tracked.len();
    found.push(Finding {
        code: "state-tracked-by-git",
        severity: Severity::P1,
        id: None,
        file: first.clone(),
        line: 0,
        message: format!(
            "git tracks {count} file(s) of the state; a checkout or merge would bring old tickets back"
        ),
        repair: "`git rm -r -q --cached --ignore-unmatch _ctx/jobs _ctx/runs _ctx/audit _ctx/packages`, \
                 commit, then `jobyard init`"
            .to_owned(),
    });
}
