//! What is wrong with the state on disk: one classification for every verb that asks.
//!
//! Invariants: a pure function of facts; the same facts give the same findings in the same order; a code
//! keeps its meaning for ever (`docs/findings.md`); what a live holder is just doing is no finding;
//! nothing is repaired here.

mod content;
mod leases;
mod places;

use crate::model::backlog::Epic;
use crate::model::defect::{Defect, MISSING_KEY};
use crate::model::dod::DodEntry;
use crate::model::id::OrderId;
use crate::model::index::Index;
use crate::model::order::{Order, State};
use crate::plan::ready;
use std::collections::{BTreeMap, BTreeSet};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The state contradicts itself, or a file cannot be read at all.
    P0,
    /// Something will not go on, or not as its author thinks.
    P1,
    /// Worth knowing.
    P2,
}

impl Severity {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::P0, Self::P1, Self::P2];

    /// `P0`, `P1` or `P2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
        }
    }
}

/// One thing wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Stable word.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The order, where it is about one.
    pub id: Option<String>,
    /// File or directory, relative to the root.
    pub file: String,
    /// Line, from 1; 0 for the whole file.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// What cures it.
    pub repair: String,
}

/// A valid ticket with everything in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// The order.
    pub order: Order,
    /// What its reading warned of.
    pub warnings: Vec<Defect>,
    /// Lines of its top-level keys, from 1.
    pub lines: BTreeMap<String, u32>,
    /// When the file was last changed, milliseconds since 1970.
    pub changed_ms: i64,
}

impl Known {
    fn line(&self, key: &str) -> u32 {
        self.lines.get(key).copied().unwrap_or(0)
    }
}

/// A file that says it holds an order, under a name that is not that order's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claimed {
    /// What its `id` says.
    pub id: String,
    /// The file.
    pub file: String,
    /// Line of `id`.
    pub line: u32,
}

/// A name in a state directory that is no ticket, no lease and no explanation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stray {
    /// The file, escaped.
    pub file: String,
    /// Why it can never be a ticket although it wants to be one; `None`: it does not want to.
    pub refused: Option<String>,
}

/// A worktree that git knows, below the root's directory of worktrees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    /// Relative to the root.
    pub path: String,
    /// Short name of its branch.
    pub branch: Option<String>,
    /// Its directory is gone.
    pub gone: bool,
}

/// What findings rely on besides the index.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Valid tickets, everything in them.
    pub orders: BTreeMap<(OrderId, State), Known>,
    /// Files with the `id` of another name.
    pub claimed: Vec<Claimed>,
    /// Names that do not belong.
    pub strays: Vec<Stray>,
    /// Requests that were refused, and why.
    pub refused_requests: Vec<(String, String)>,
    /// Worktrees; `None`: not looked at. Empty without a repository.
    pub trees: Option<Vec<Tree>>,
    /// State files that git tracks.
    pub tracked: Vec<String>,
    /// Epics; `None` without a backlog.
    pub epics: Option<Vec<Epic>>,
    /// DoD catalogue.
    pub catalogue: BTreeMap<String, DodEntry>,
    /// The file of each entry.
    pub dod_files: BTreeMap<String, String>,
    /// Engines of the configuration.
    pub engines: BTreeSet<String>,
    /// Files of the configuration, the catalogue and the backlog that cannot be taken as they are.
    pub broken: Vec<(String, Defect)>,
    /// The newest verdict of orders in `running/`: its file and its result.
    pub verdicts: BTreeMap<OrderId, (String, String)>,
    /// Valid tickets that something refused nevertheless: where they lie, and what was said.
    pub refused: BTreeMap<OrderId, (State, String)>,
    /// How long ago each lock file was changed, in milliseconds.
    pub lock_age_ms: BTreeMap<OrderId, u64>,
    /// A manual lease without sign of life for so long is stale.
    pub stale_after_ms: u64,
    /// There is no ledger yet: settled tickets will be adopted.
    pub fresh: bool,
}

/// Everything that is wrong, the gravest first, then by file, line and code.
pub fn find(index: &Index, extra: &Extra) -> Vec<Finding> {
    let mut found = Vec::new();
    let facts = Facts { index, extra };
    places::find(&facts, &mut found);
    leases::find(&facts, &mut found);
    for ((id, state), known) in &extra.orders {
        let open = matches!(state, State::Pending | State::Running);
        let file = ticket_file(*state, id);
        content::of_ticket(&facts, id, *state, known, &file, &mut found);
        if open {
            let warnings = known.warnings.iter().filter(|w| w.code != MISSING_KEY);
            found.extend(warnings.map(|w| of_defect(Severity::P2, Some(id), &file, w)));
            content::of_order(extra, &known.order, &known.lines, &file, &mut found);
            content::dependencies(&|id| facts.exists(id), known, &file, &mut found);
        }
    }
    content::cycles(&facts, &mut found);
    content::catalogue(extra, &mut found);
    found.sort_by(|a, b| {
        let key = |f: &Finding| (f.severity, f.file.clone(), f.line, f.code);
        key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message))
    });
    found
}

/// The cycles of pending orders, each once, from its first member on.
pub fn cycles(index: &Index, extra: &Extra) -> Vec<Vec<OrderId>> {
    let mut named: BTreeSet<OrderId> = BTreeSet::new();
    let mut cycles = Vec::new();
    for id in content::on_cycles(extra) {
        if !named.contains(&id)
            && let Some(members) = ready::cycle(index, &id)
        {
            named.extend(members.iter().cloned());
            cycles.push(members);
        }
    }
    cycles
}

/// Findings of a file that is not submitted yet. `extra`: what is known of the root, if there is one.
/// `ids`: orders that are there, or come with it.
pub fn of_draft(
    root: Option<(&Extra, &BTreeSet<OrderId>)>,
    read: &Result<Known, Vec<Defect>>,
    file: &str,
) -> Vec<Finding> {
    let mut found = Vec::new();
    match read {
        Err(defects) => {
            found.extend(defects.iter().map(|d| of_defect(Severity::P0, None, file, d)));
        }
        Ok(known) => {
            let id = Some(&known.order.id);
            found.extend(known.warnings.iter().map(|w| of_defect(Severity::P2, id, file, w)));
            let extra = root.map(|(extra, _)| extra);
            content::checks(extra, &known.order, &known.lines, file, &mut found);
            if let Some((extra, ids)) = root {
                content::names(extra, &known.order, &known.lines, file, &mut found);
                content::dependencies(&|id| ids.contains(id), known, file, &mut found);
            }
        }
    }
    found
}

struct Facts<'a> {
    index: &'a Index,
    extra: &'a Extra,
}

impl Facts<'_> {
    /// A file of this order lies in some state.
    fn exists(&self, id: &OrderId) -> bool {
        self.index.tickets.get(id).is_some_and(|t| t.places.iter().any(Option::is_some))
    }
}

/// A ticket's file, relative to the root.
fn ticket_file(state: State, id: &OrderId) -> String {
    crate::model::paths::ticket(state, id).display().to_string()
}

fn lock_file(id: &OrderId) -> String {
    crate::model::paths::lock(id).display().to_string()
}

/// A finding that the reading of a file gave.
fn of_defect(severity: Severity, id: Option<&OrderId>, file: &str, defect: &Defect) -> Finding {
    let repair = match severity {
        Severity::P0 => "correct the file; it is taken up as soon as it is mended",
        _ => "correct the key, or leave it",
    };
    Finding {
        code: defect.code,
        severity,
        id: id.map(ToString::to_string),
        file: file.to_owned(),
        line: defect.line,
        message: defect.message.clone(),
        repair: repair.to_owned(),
    }
}

/// A finding of a whole file.
fn whole(
    code: &'static str,
    severity: Severity,
    id: &OrderId,
    file: String,
    message: String,
    repair: String,
) -> Finding {
    Finding { code, severity, id: Some(id.to_string()), file, line: 0, message, repair }
}
