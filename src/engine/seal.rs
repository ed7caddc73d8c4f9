//! Sealing: everything an attempt is judged by, decided at its claim and never again.
//!
//! Invariants: a branch keeps the base of the attempt that began it; the catalogue is what it is at the
//! claim; an automatic retry runs what the attempt before it ran, or nothing until a person has said so.

use super::Engine;
use super::claim::{CANNOT_CLAIM, Refusal};
use crate::model::attempt::{Attempt, Claim, Mode, Place};
use crate::model::defect::Defect;
use crate::model::event::{Event, Link, sha256_hex};
use crate::model::id::OrderId;
use crate::model::index::Request;
use crate::model::order::{Order, State, Workspace};
use crate::model::parse::parse_order;
use crate::model::paths;
use crate::model::sealed::{Sealed, SealedCheck, SealedRetry, SealedScope};
use crate::model::terms::terms;
use crate::model::tree::CommitId;
use crate::world::store::{TICKET_BYTES_MAX, read_whole};
use crate::world::{Fault, GitFault, World, ledger};
use std::collections::BTreeSet;

/// What an attempt sealed of a branch and its worktree, and the attempts after it keep.
#[derive(Clone)]
pub(super) struct Begun {
    branch: String,
    base: CommitId,
    /// The directories that the worktree holds; `None`: everything.
    cone: Option<Vec<String>>,
}

/// Where an attempt works, and the directories that are there; `None`: everything.
type Room = (Place, Option<Vec<String>>);

impl Begun {
    fn of(claim: &Claim) -> Option<Self> {
        let Place::Tree { branch, base, .. } = &claim.place else { return None };
        let (branch, base) = (branch.clone(), CommitId::parse(base)?);
        Some(Self { branch, base, cone: claim.sealed.cone.clone() })
    }
}

/// Bases remembered; the ledger knows the others.
const BASES_MAX: usize = 4096;

impl<W: World> Engine<W> {
    /// Everything that is sealed: decided here, once. With the ignore rules, whose digest is in it.
    pub(super) fn decide(
        &mut self,
        id: &OrderId,
        number: u32,
        order: &Order,
        bytes: &[u8],
        mode: Mode,
        request: Option<&Request>,
    ) -> Result<Result<(Claim, Vec<u8>), Refusal>, Fault> {
        let place = match &order.workspace {
            Workspace::None => Ok((Place::Root, None)),
            Workspace::Worktree => self.place_of(id, id, number, order)?,
            Workspace::Inherit(other) => self.place_of(id, other, number, order)?,
        };
        let (place, cone) = match place {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.renew_catalogue(id, order)?;
        let mut sealed = self.seal(order, bytes);
        sealed.cone = cone;
        let mut rules = Vec::new();
        if place != Place::Root {
            match self.seal_settings(&mut sealed) {
                Ok(found) => rules = found,
                Err(git) => return Ok(Err(Refusal::Git(git))),
            }
        }
        let token = format!("{:016x}{:016x}", self.world.random(), self.world.random());
        let forced = request.and_then(|r| r.body.as_ref().ok()).filter(|b| b.force);
        let claim = Claim {
            mode,
            place,
            token,
            boot: self.world.identity().boot.clone(),
            request: request.map(|r| r.file.clone()),
            forced: forced.and_then(|b| b.reason.clone()),
            sealed,
        };
        Ok(Ok((claim, rules)))
    }

    /// Seals by what git compares files; the ignore rules.
    fn seal_settings(&mut self, sealed: &mut Sealed) -> Result<Vec<u8>, GitFault> {
        let rules = self.world.git_excludes()?;
        sealed.excludes = Some(sha256_hex(&rules));
        sealed.settings = Some(sha256_hex(&self.world.git_settings(None)?));
        Ok(rules)
    }

    /// The worktree of `tree`, for an attempt of `id`, and the directories that it holds.
    fn place_of(
        &mut self,
        id: &OrderId,
        tree: &OrderId,
        number: u32,
        order: &Order,
    ) -> Result<Result<Room, Refusal>, Fault> {
        let (path, branch) = (tree.worktree(), tree.branch());
        let tip = match self.world.git_branch(&branch) {
            Ok(tip) => tip,
            Err(git) => return Ok(Err(Refusal::Git(git))),
        };
        let mut begun = None;
        if tip.is_some() {
            begun = self.begun(id, &branch, number)?;
            if begun.is_none() && tree != id {
                begun = self.begun(tree, &branch, u32::MAX)?;
            }
        }
        let found = match (&begun, &tip) {
            (Some(begun), _) => Ok(begun.base.clone()),
            (None, tip) => self.new_base(order, tip.as_ref()),
        };
        let existed = match &tip {
            Some(_) => self.world.git_worktree(&path, &branch),
            None => Ok(false),
        };
        let (base, worktree_existed) = match (found, existed) {
            (Ok(base), Ok(existed)) => (base, existed),
            (Err(git), _) | (_, Err(git)) => return Ok(Err(Refusal::Git(git))),
        };
        if tree != id && !worktree_existed {
            let text = format!(
                "`workspace`: {tree} has no worktree {path} on {branch} to inherit; `requeue {tree}`, \
                 or name another order"
            );
            return Ok(Err(Refusal::Order(Defect::whole(CANNOT_CLAIM, text))));
        }
        if tree != id {
            // What it holds is told by the order that it was made for.
            begun = self.begun(tree, &branch, u32::MAX)?;
        }
        // A worktree that is there is judged by what it was made with: one of a person's making is whole.
        let cone = match (worktree_existed, begun) {
            (true, begun) => begun.and_then(|begun| begun.cone),
            (false, _) => order.cone().map(|cone| cone.dirs().to_vec()),
        };
        let (base, branch_existed) = (base.as_str().to_owned(), tip.is_some());
        let place = Place::Tree { path, branch, base, branch_existed, worktree_existed };
        Ok(Ok((place, cone)))
    }

    /// The base of a branch that no attempt of ours began: of one that exists, where it left it.
    fn new_base(&mut self, order: &Order, tip: Option<&CommitId>) -> Result<CommitId, GitFault> {
        let wanted = order.base.as_deref().or(self.options.config.git_base.as_deref());
        let base = self.world.git_base(wanted)?;
        let Some(tip) = tip else { return Ok(base) };
        let met = self.world.git_merge_base(&base, tip)?;
        Ok(met.unwrap_or(base))
    }

    /// What an earlier attempt of this order sealed for this branch: as remembered, else as the ledger has
    /// it.
    fn begun(&mut self, id: &OrderId, branch: &str, number: u32) -> Result<Option<Begun>, Fault> {
        if let Some(known) = self.bases.get(id)
            && known.branch == branch
        {
            return Ok(Some(known.clone()));
        }
        if number <= 1 {
            return Ok(None);
        }
        let found = claimed(&mut self.world, id, branch)?;
        if let Some(begun) = &found {
            self.remember(id, begun.clone());
        }
        Ok(found)
    }

    /// Keeps the base of an attempt, and what its worktree holds, for the next one of the same order.
    pub(super) fn keep_base(&mut self, id: &OrderId, claim: &Claim) {
        if let Some(begun) = Begun::of(claim) {
            self.remember(id, begun);
        }
    }

    /// Attempts that are open now are followed by others.
    pub(super) fn keep_bases(&mut self) {
        let attempt = |id: &OrderId| self.index.tickets.get(id)?.attempt.clone();
        let open: Vec<_> =
            self.index.open.iter().filter_map(|id| Some((id.clone(), attempt(id)?))).collect();
        for (id, attempt) in open {
            self.keep_base(&id, &attempt.claim);
        }
    }

    fn remember(&mut self, id: &OrderId, begun: Begun) {
        if self.bases.len() >= BASES_MAX {
            self.bases.clear();
        }
        self.bases.insert(id.clone(), begun);
    }

    /// The catalogue as it is now, for an order that names an entry.
    fn renew_catalogue(&mut self, id: &OrderId, order: &Order) -> Result<(), Fault> {
        let Some(dod) = &order.dod_id else { return Ok(()) };
        let read = self.catalogue.refresh(&mut self.world)?;
        let unknown = !self.catalogue.entries.contains_key(dod);
        for (name, defect) in self.catalogue.broken.iter().filter(|_| read || unknown) {
            let name = name.to_string_lossy();
            self.notes.push(format!("{}/{}: {defect}", paths::DOD, name.escape_debug()));
        }
        if unknown {
            self.notes.push(format!(
                "{id}: dod_id {dod:?} is in no file of {} that can be read; its checks cannot be run",
                paths::DOD
            ));
        }
        Ok(())
    }

    fn seal(&self, order: &Order, bytes: &[u8]) -> Sealed {
        let config = &self.options.config;
        let (checks, required_artifacts, unknown_dod) = self.demands(order);
        let engine = order.engine.as_ref().and_then(|e| config.engines.get(e));
        let run = match (order.run.is_empty(), engine) {
            (true, Some(engine)) => vec![engine.clone()],
            _ => order.run.clone(),
        };
        let retry = SealedRetry::of(&order.retry);
        Sealed {
            digest: sha256_hex(bytes),
            excludes: None,
            settings: None,
            terms: retry.is_some().then(|| terms(order)),
            run,
            checks,
            required_artifacts,
            unknown_dod,
            scope: order
                .scope
                .as_ref()
                .map(|s| SealedScope { allow: s.allow.clone(), deny: s.deny.clone() }),
            cone: None,
            max_files: order.diff_budget.max_files,
            max_loc: order.diff_budget.max_loc,
            retry,
            timeout_ms: order.timeout.unwrap_or(config.timeout).0,
            idle_timeout_ms: order.idle_timeout.or(config.idle_timeout).map(|m| m.0),
            check_timeout_ms: order.check_timeout.unwrap_or(config.check_timeout).0,
            env: order.env.keys().cloned().collect(),
            group: order.group.clone(),
            epic: order.epic_id.clone(),
            retries: order.own.retries,
            verify_fails: order.own.verify_fails,
        }
    }

    /// Checks and artifacts of the order and of its catalogue entry, and the entry that is not there.
    fn demands(&self, order: &Order) -> (Vec<SealedCheck>, Vec<String>, Option<String>) {
        let mut checks: Vec<SealedCheck> = numbered("check", &order.checks);
        let Some(dod) = &order.dod_id else { return (checks, Vec::new(), None) };
        let Some(entry) = self.catalogue.entries.get(dod) else {
            return (checks, Vec::new(), Some(dod.clone()));
        };
        for check in &entry.required_checks {
            checks.extend(numbered(&check.name, &check.commands));
        }
        (checks, entry.required_artifacts.clone(), None)
    }

    /// An order that is to be tried again by itself, but is not what ran, is held: said once, before its
    /// ticket is touched, so that it is carried out like the settlement itself.
    pub(super) fn hold_if_edited(&mut self, id: &OrderId, attempt: &Attempt) -> Result<(), Fault> {
        let retried = attempt.settled.as_ref().is_some_and(|s| s.retry_at.is_some());
        if !retried || attempt.held.is_some() {
            return Ok(());
        }
        let Some(what) = self.edited(id, attempt)? else { return Ok(()) };
        let reason = format!(
            "{what} was edited while attempt {} ran; `unhold` runs it as it is now",
            attempt.number
        );
        self.notes.push(format!("{id}: held: {reason}"));
        self.record(id, Some(attempt.number), Event::Held { reason, request: String::new() });
        self.make_ledger_durable()
    }

    /// What is no longer as it was sealed.
    fn edited(&mut self, id: &OrderId, attempt: &Attempt) -> Result<Option<String>, Fault> {
        let sealed = &attempt.claim.sealed;
        let Some(before) = &sealed.terms else { return Ok(None) };
        let path = paths::ticket(State::Running, id);
        let read = read_whole(&mut self.world, &path, TICKET_BYTES_MAX)?;
        if let Some(found) = &read
            && self.world.has_writer(&found.file)? == Some(true)
        {
            return Ok(None);
        }
        let parsed = read.and_then(|s| parse_order(&s.bytes, id.as_str()).ok());
        // What is gone or cannot be read is not stamped either: it is looked at again.
        let Some(order) = parsed.map(|p| p.order) else { return Ok(None) };
        if terms(&order) != *before {
            return Ok(Some("its ticket".to_owned()));
        }
        if let Some(dod) = &order.dod_id {
            self.catalogue.refresh(&mut self.world)?;
            let (checks, artifacts, unknown) = self.demands(&order);
            let same = checks == sealed.checks
                && artifacts == sealed.required_artifacts
                && unknown == sealed.unknown_dod;
            if !same {
                return Ok(Some(format!("the DoD entry {dod}")));
            }
        }
        let Some(settings) = &sealed.settings else { return Ok(None) };
        // Where git cannot tell now, it cannot tell at the next claim either, and that is refused.
        let now = self.world.git_settings(None).map(|now| sha256_hex(&now));
        let what = "git's setting of filters, attributes, line ends or borrowed objects";
        Ok(now.is_ok_and(|now| now != *settings).then(|| what.to_owned()))
    }
}

/// What the ledger's last claim of an order sealed for a branch. A claim that was undone began nothing.
fn claimed<W: World>(world: &mut W, id: &OrderId, branch: &str) -> Result<Option<Begun>, Fault> {
    let named = format!("\"id\":\"{id}\"");
    let mut undone = BTreeSet::new();
    for number in ledger::segments(world)?.into_iter().rev() {
        let text = ledger::read_segment(world, number)?;
        for line in ledger::whole_lines(&text).rev().filter(|line| line.contains(&named)) {
            let Ok(link) = Link::parse(line) else { continue };
            if link.line.id.as_deref() != Some(id.as_str()) {
                continue;
            }
            match &link.line.event {
                Event::Released { .. } => {
                    undone.insert(link.line.attempt);
                }
                Event::Claiming(claim) if !undone.contains(&link.line.attempt) => {
                    if let Some(begun) = Begun::of(claim).filter(|b| b.branch == branch) {
                        return Ok(Some(begun));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

fn numbered(name: &str, commands: &[String]) -> Vec<SealedCheck> {
    let one = commands.len() == 1;
    let named = commands.iter().enumerate().map(|(i, command)| SealedCheck {
        name: if one { name.to_owned() } else { format!("{name}-{}", i + 1) },
        command: command.clone(),
    });
    named.collect()
}
