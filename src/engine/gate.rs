//! The gate: facts gathered, judged by pure rules, written down.
//!
//! Invariants: what is checked was sealed at the claim; the commit is read before the checks and must
//! be the same after them; its objects and ref are durable before the verdict is; verdict files written by
//! anybody else carry no weight.

use super::Engine;
use super::aside::uninterrupted;
use super::start::workdir;
use crate::model::attempt::{
    Asked, Attempt, Command, CommandEnd, CommandKind, Gate, Objection, Place,
};
use crate::model::event::Event;
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::protocol::Cause;
use crate::model::time::Moment;
use crate::model::tree::{CommitId, TreeFacts};
use crate::model::verdict::VerdictFile;
use crate::plan::artifacts;
use crate::plan::scope::{self, Violation};
use crate::plan::verdict::{self, CheckResult, GateInput, Outcome, Precondition, VerdictResult};
use crate::plan::verdict_json::{VerdictContext, verdict_json};
use crate::world::store::{errno, log_digest};
use crate::world::{Fault, Kind, World};
use std::path::Path;

impl<W: World> Engine<W> {
    /// Looks at the worktree before the checks.
    pub(super) fn open_gate(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let gate = match &attempt.claim.place {
            Place::Root => Gate::default(),
            Place::Tree { path, branch, .. } => self.inspect(&attempt, path, branch)?,
        };
        self.record(id, Some(attempt.number), Event::Gate(Box::new(gate)));
        Ok(())
    }

    fn inspect(&mut self, attempt: &Attempt, path: &str, branch: &str) -> Result<Gate, Fault> {
        let tree = match self.tree(attempt, path)? {
            Ok(tree) => tree,
            Err(unmet) => {
                let unmet = vec![objection(unmet.word(), "", &unmet.to_string())];
                return Ok(Gate { unmet, ..Gate::default() });
            }
        };
        let head = tree.head.as_ref().map(|h| h.as_str().to_owned());
        let preconditions = verdict::preconditions(branch, &tree);
        if !preconditions.is_empty() {
            let unmet = preconditions.iter().map(|p| objection(p.word(), "", &p.to_string()));
            return Ok(Gate { head, unmet: unmet.collect(), violations: Vec::new() });
        }
        let (Some(base), Some(tip)) = (attempt.base(), tree.head.clone()) else {
            return Ok(blocked("the branch has no commit".to_owned()));
        };
        Ok(match self.world.git_changes(path, &base, &tip) {
            Err(git) => {
                uninterrupted(&git)?;
                blocked(git.to_string())
            }
            Ok(changes) => {
                let sealed = &attempt.claim.sealed;
                let found = scope::judge(sealed.scope().as_ref(), &sealed.budget(), &changes);
                let found = found.iter().map(|v| objection(v.rule.name(), &v.path, &v.text));
                Gate { head, unmet: Vec::new(), violations: found.collect() }
            }
        })
    }

    fn tree(
        &mut self,
        attempt: &Attempt,
        path: &str,
    ) -> Result<Result<TreeFacts, Precondition>, Fault> {
        let rules = match self.sealed_rules(attempt, path)? {
            Ok(rules) => rules,
            Err(unmet) => return Ok(Err(unmet)),
        };
        let facts = self.world.git_tree(path, &rules, attempt.claim.sealed.cone().as_ref());
        facts.as_ref().err().map_or(Ok(()), uninterrupted)?;
        Ok(facts.map_err(|git| Precondition::recorded("git", &git.to_string())))
    }

    /// Decides the verdict and writes it down.
    pub(super) fn judge(&mut self, id: &OrderId) -> Result<(), Fault> {
        let Some(attempt) = self.ticket(id).and_then(|t| t.attempt.clone()) else { return Ok(()) };
        let mut input = self.gate_input(id, &attempt)?;
        let mut verdict = verdict::decide(&input);
        if let (Place::Tree { branch, .. }, Some(commit)) =
            (&attempt.claim.place, verdict.commit.clone())
            && let Err(git) = self.world.git_sync(branch, &commit, attempt.base().as_ref())
        {
            uninterrupted(&git)?;
            input.preconditions.push(Precondition::recorded("git", &git.to_string()));
            verdict = verdict::decide(&input);
        }
        let text = |c: &Option<CommitId>| c.as_ref().map(|c| c.as_str().to_owned());
        let event = Event::Verdict {
            result: verdict.result.name().to_owned(),
            reason: verdict.reason.to_owned(),
            commit: text(&verdict.commit),
            verified_at: text(&verdict.verified_at),
        };
        let (ledger_seq, ledger_hash) = self.record(id, Some(attempt.number), event);
        if verdict.result != VerdictResult::Pass {
            let notes = verdict.sentences.iter().map(|s| format!("{id}: {s}"));
            self.notes.extend(notes);
        }
        let began = input.checks.first().map(|c| Moment(c.started_ms));
        let context = VerdictContext {
            id: id.clone(),
            attempt: attempt.number,
            base: attempt.base(),
            started: began.unwrap_or_else(|| self.world.now()),
            ended: self.world.now(),
            order_digest: attempt.claim.sealed.digest.clone(),
            ledger_seq,
            ledger_hash,
        };
        self.write_verdict(id, &attempt, &verdict_json(&context, &input, &verdict))
    }

    fn write_verdict(
        &mut self,
        id: &OrderId,
        attempt: &Attempt,
        file: &VerdictFile,
    ) -> Result<(), Fault> {
        let path = paths::run(id, attempt.number).join(paths::VERDICT);
        let mut text = serde_json::to_string_pretty(file).unwrap_or_default();
        text.push('\n');
        self.put_evidence(id, &path, text.as_bytes())
    }

    pub(super) fn gate_input(
        &mut self,
        id: &OrderId,
        attempt: &Attempt,
    ) -> Result<GateInput, Fault> {
        let gate = attempt.gate.clone().unwrap_or_default();
        let skip = attempt.asked.as_ref().filter(|a| a.options.skip_verification);
        let reason = |a: &Asked| a.options.reason.clone().unwrap_or_default();
        let mut input = GateInput {
            preconditions: gate
                .unmet
                .iter()
                .map(|o| Precondition::recorded(&o.word, &o.text))
                .collect(),
            violations: gate.violations.iter().filter_map(violation).collect(),
            checks: self.check_results(attempt)?,
            unknown_dod: attempt.claim.sealed.unknown_dod.clone(),
            skip: skip.map(reason),
            head_before: gate.head.as_deref().and_then(CommitId::parse),
            workspace_none: attempt.claim.place == Place::Root,
            ..GateInput::default()
        };
        if let Some(text) = self.copy_changed(id, attempt)? {
            input.preconditions.push(Precondition::recorded("sealed-changed", &text));
        }
        let strayed = |c: &Command| Some(format!("{} began at {}", c.name, c.strayed.as_ref()?));
        input.strayed = attempt.checks().iter().filter_map(strayed).collect();
        input.head_after.clone_from(&input.head_before);
        if input.checks.is_empty() && attempt.claim.sealed.required_artifacts.is_empty() {
            return Ok(input);
        }
        input.missing_artifacts = self.missing_artifacts(attempt)?;
        if let Place::Tree { path, branch, .. } = &attempt.claim.place {
            match self.tree(attempt, path)? {
                Ok(tree) => {
                    let on_branch = tree.branch.as_deref() == Some(branch.as_str());
                    input.head_after = tree.head.clone().filter(|_| on_branch);
                    input.changed_after.clone_from(&tree.changed);
                }
                Err(unmet) => input.preconditions.push(unmet),
            }
        }
        Ok(input)
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
        let CommandKind::Check(index) = command.kind else {
            return Ok(unrun(command, String::new(), attempt));
        };
        let sealed = attempt.claim.sealed.checks.get(index as usize);
        let text = sealed.map(|c| c.command.clone()).unwrap_or_default();
        let mut result = unrun(command, text, attempt);
        if let Some(CommandEnd::Seen(end)) = &command.end {
            result.outcome = verdict::outcome(end, &result.text);
            result.exit = end.exit;
            result.signal = end.signal;
            result.started_ms = end.started_ms;
            result.ended_ms = end.ended_ms;
            result.unrun = verdict::unrun(end);
            result.timed_out = matches!(end.cause, Cause::Timeout | Cause::IdleTimeout);
        }
        let digest = log_digest(&mut self.world, Path::new(&result.log))?;
        result.sha256 = digest.unwrap_or_default();
        Ok(result)
    }

    /// Required artifacts that no file in the worktree matches.
    fn missing_artifacts(&mut self, attempt: &Attempt) -> Result<Vec<String>, Fault> {
        let wanted = &attempt.claim.sealed.required_artifacts;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let files = self.files_below(workdir(attempt))?;
        Ok(artifacts::unmatched(wanted, &files))
    }

    /// Regular files below a directory, relative to it; bounded, `.git` left out. A link or a FIFO is no
    /// artifact: nothing needs to be behind it.
    fn files_below(&mut self, dir: &str) -> Result<Vec<String>, Fault> {
        const FILES_MAX: usize = 200_000;
        let mut files = Vec::new();
        let mut todo = vec![String::new()];
        while let Some(at) = todo.pop() {
            let entries = match self.world.list(&Path::new(dir).join(&at)) {
                // What cannot be looked into, or has just gone, holds no artifact.
                Err(fault) if fault.is_obstacle() || fault.errno == errno::ENOENT => continue,
                entries => entries?,
            };
            for entry in entries {
                let Some(name) = entry.name.to_str().filter(|n| *n != ".git") else { continue };
                let path = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
                let kind = match entry.kind {
                    // Some file systems do not say it in the directory.
                    Kind::Other => self.world.stat(&Path::new(dir).join(&path))?.map(|s| s.kind),
                    known => Some(known),
                };
                match kind {
                    Some(Kind::Dir) => todo.push(path),
                    Some(Kind::File) => files.push(path),
                    _ => {}
                }
            }
            if files.len() > FILES_MAX {
                break;
            }
        }
        Ok(files)
    }
}

fn objection(word: &str, path: &str, text: &str) -> Objection {
    Objection { word: word.to_owned(), path: path.to_owned(), text: text.to_owned() }
}

/// A gate that git keeps shut.
fn blocked(text: String) -> Gate {
    Gate { unmet: vec![objection("git", "", &text)], ..Gate::default() }
}

fn violation(objection: &Objection) -> Option<Violation> {
    let rule = scope::Rule::parse(&objection.word)?;
    Some(Violation { path: objection.path.clone(), rule, text: objection.text.clone() })
}

/// A check whose end is not known.
fn unrun(command: &Command, text: String, attempt: &Attempt) -> CheckResult {
    CheckResult {
        name: command.name.clone(),
        text,
        cwd: workdir(attempt).to_owned(),
        outcome: Outcome::CouldNotRun,
        exit: None,
        signal: None,
        started_ms: 0,
        ended_ms: 0,
        timed_out: false,
        unrun: String::new(),
        log: format!("{}/{}", attempt.run_dir(), command.log_name()),
        sha256: String::new(),
    }
}
