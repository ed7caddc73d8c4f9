//! The gate: facts gathered, judged by pure rules, written down.
//!
//! Invariants: what is checked was sealed at the claim; the commit is read before the checks and must
//! be the same after them; its objects and ref are durable before the verdict is; verdict files written by
//! anybody else carry no weight.

use super::Engine;
use super::start::workdir;
use crate::model::attempt::{Attempt, Command, CommandEnd, CommandKind, Gate, Place};
use crate::model::event::{Event, sha256_hex};
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::tree::{CommitId, TreeFacts};
use crate::plan::scope;
use crate::plan::verdict::{self, CheckResult, GateInput, VerdictResult};
use crate::world::store::{TICKET_BYTES_MAX, put_derived, read_whole};
use crate::world::{Fault, World};
use std::path::Path;

/// Most bytes of a log that are hashed for the verdict; past it the hash covers the beginning.
const HASHED_BYTES_MAX: usize = 128 << 20;

impl<W: World> Engine<W> {
    /// Looks at the worktree before the checks.
    pub(super) fn open_gate(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let gate = match &attempt.claim.place {
            Place::Root => Gate::default(),
            Place::Tree { path, branch, .. } => self.inspect(&attempt, path, branch),
        };
        self.record(id, Some(attempt.number), Event::Gate(Box::new(gate)));
        Ok(())
    }

    fn inspect(&mut self, attempt: &Attempt, path: &str, branch: &str) -> Gate {
        let tree = match self.tree(attempt, path) {
            Ok(tree) => tree,
            Err(text) => return unmet("git", text),
        };
        let head = tree.head.as_ref().map(|h| h.as_str().to_owned());
        let preconditions = verdict::preconditions(branch, &tree);
        if let Some(first) = preconditions.first() {
            let reason = Some(first.reason.to_owned());
            let unmet = preconditions.iter().map(|p| p.text.clone()).collect();
            return Gate { head, unmet, reason, violations: Vec::new() };
        }
        let (Some(base), Some(tip)) = (attempt.base(), tree.head.clone()) else {
            return unmet("git", "the branch has no commit".to_owned());
        };
        match self.world.git_changes(path, &base, &tip) {
            Err(git) => unmet("git", git.to_string()),
            Ok(changes) => {
                let sealed = &attempt.claim.sealed;
                let found = scope::judge(sealed.scope().as_ref(), &sealed.budget(), &changes);
                let reason = found.first().map(|v| v.reason().to_owned());
                let violations = found.iter().map(|v| v.text.clone()).collect();
                Gate { head, unmet: Vec::new(), reason, violations }
            }
        }
    }

    fn tree(&mut self, attempt: &Attempt, path: &str) -> Result<TreeFacts, String> {
        let excludes = format!("{}/{}", attempt.run_dir(), paths::EXCLUDES);
        self.world.git_tree(path, &excludes).map_err(|git| git.to_string())
    }

    /// Decides the verdict and writes it down.
    pub(super) fn judge(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let input = self.gate_input(id, &attempt)?;
        let mut verdict = verdict::decide(&input);
        if let (Place::Tree { branch, .. }, Some(commit)) =
            (&attempt.claim.place, verdict.commit.clone())
            && let Err(git) = self.world.git_sync(branch, &commit)
        {
            verdict = verdict::not_durable(verdict, &git.to_string());
        }
        let text = |c: &Option<CommitId>| c.as_ref().map(|c| c.as_str().to_owned());
        let (seq, hash) = self.record(
            id,
            Some(attempt.number),
            Event::Verdict {
                result: verdict.result.name().to_owned(),
                reason: verdict.reason.clone(),
                commit: text(&verdict.commit),
                verified_at: text(&verdict.verified_at),
            },
        );
        for sentence in &verdict.sentences {
            if verdict.result != VerdictResult::Pass {
                self.notes.push(format!("{id}: {sentence}"));
            }
        }
        let dir = self.ensure_run_dir(id, attempt.number)?;
        let path = dir.join("verdict.json");
        let file = verdict::file(&attempt, &input, &verdict, self.world.now(), seq, &hash);
        self.changed(&path);
        put_derived(&mut self.world, &path, file.as_bytes())
    }

    fn gate_input(&mut self, id: &OrderId, attempt: &Attempt) -> Result<GateInput, Fault> {
        let gate = attempt.gate.clone().unwrap_or_default();
        let mut input = GateInput {
            preconditions: gate.unmet.clone(),
            violations: gate.violations.clone(),
            reason: gate.reason.clone(),
            checks: self.check_results(attempt)?,
            unknown_dod: attempt.claim.sealed.unknown_dod.clone(),
            skip: attempt.asked.as_ref().filter(|a| a.options.skip_verification).map(|a| {
                a.options.reason.clone().unwrap_or_else(|| "no reason given".to_owned())
            }),
            head_before: gate.head.as_deref().and_then(CommitId::parse),
            workspace_none: attempt.claim.place == Place::Root,
            sealed_changed: self.sealed_changed(id, attempt)?,
            ..GateInput::default()
        };
        if !input.preconditions.is_empty() || input.skip.is_some() {
            return Ok(input);
        }
        input.missing_artifacts = self.missing_artifacts(attempt)?;
        if let Place::Tree { path, branch, .. } = &attempt.claim.place {
            match self.tree(attempt, path) {
                Ok(tree) => {
                    let on_branch = tree.branch.as_deref() == Some(branch.as_str());
                    input.head_after = tree.head.clone().filter(|_| on_branch);
                    input.changed_after = tree.changed.clone();
                }
                Err(text) => input.preconditions.push(text),
            }
        }
        Ok(input)
    }

    /// The readable copy of the sealed order was edited. The gate does not use it, but whoever did that
    /// wanted another gate.
    fn sealed_changed(&mut self, id: &OrderId, attempt: &Attempt) -> Result<bool, Fault> {
        let path = paths::run(id, attempt.number).join(paths::SEALED);
        let copy = read_whole(&mut self.world, &path, TICKET_BYTES_MAX)?;
        Ok(copy.is_some_and(|c| sha256_hex(&c.bytes) != attempt.claim.sealed.digest))
    }

    fn check_results(&mut self, attempt: &Attempt) -> Result<Vec<CheckResult>, Fault> {
        let checks = attempt.checks();
        let mut results = Vec::new();
        for command in checks.iter().filter(|c| matches!(c.kind, CommandKind::Check(_))) {
            results.push(self.check_result(attempt, command)?);
        }
        Ok(results)
    }

    fn check_result(&mut self, attempt: &Attempt, command: &Command) -> Result<CheckResult, Fault> {
        let text = match command.kind {
            CommandKind::Check(i) => {
                attempt.claim.sealed.checks.get(i as usize).map(|c| c.command.clone())
            }
            CommandKind::Run(i) => attempt.claim.sealed.run.get(i as usize).cloned(),
        };
        let log = format!("{}/{}", attempt.run_dir(), command.log_name());
        let sha256 = read_whole(&mut self.world, Path::new(&log), HASHED_BYTES_MAX)?
            .map(|s| sha256_hex(&s.bytes));
        let end = match &command.end {
            Some(CommandEnd::Seen(end)) => Some(end.clone()),
            _ => None,
        };
        let text = text.unwrap_or_default();
        Ok(CheckResult::new(&command.name, &text, workdir(attempt), end.as_ref(), &log, sha256))
    }

    /// Required artifacts that no file in the worktree matches.
    fn missing_artifacts(&mut self, attempt: &Attempt) -> Result<Vec<String>, Fault> {
        let wanted = &attempt.claim.sealed.required_artifacts;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let files = self.files_below(workdir(attempt))?;
        Ok(scope::unmatched(wanted, &files))
    }

    /// Files below a directory, relative to it; bounded, `.git` left out.
    fn files_below(&mut self, dir: &str) -> Result<Vec<String>, Fault> {
        const FILES_MAX: usize = 200_000;
        let mut files = Vec::new();
        let mut todo = vec![String::new()];
        while let Some(at) = todo.pop() {
            for entry in self.world.list(&Path::new(dir).join(&at))? {
                let Some(name) = entry.name.to_str().filter(|n| *n != ".git") else { continue };
                let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
                match entry.kind {
                    crate::world::Kind::Dir => todo.push(path),
                    _ => files.push(path),
                }
            }
            if files.len() > FILES_MAX {
                break;
            }
        }
        Ok(files)
    }
}

fn unmet(reason: &str, text: String) -> Gate {
    Gate { reason: Some(reason.to_owned()), unmet: vec![text], ..Gate::default() }
}
