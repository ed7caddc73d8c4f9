//! From a verdict to the form in which it is kept.

use super::verdict::{CheckResult, GateInput, Verdict};
use crate::model::id::OrderId;
use crate::model::time::Moment;
use crate::model::tree::CommitId;
use crate::model::verdict::{CheckEntry, SCHEMA, VerdictFile, ViolationEntry};

/// What a verdict file says besides the verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerdictContext {
    /// The order.
    pub id: OrderId,
    /// Its attempt.
    pub attempt: u32,
    /// Sealed base commit.
    pub base: Option<CommitId>,
    /// When the gate began.
    pub started: Moment,
    /// When it decided.
    pub ended: Moment,
    /// SHA-256 of the sealed order, hexadecimal.
    pub order_digest: String,
    /// Ledger line of the verdict.
    pub ledger_seq: u64,
    /// Its hash.
    pub ledger_hash: String,
}

/// The file of a verdict.
pub fn verdict_json(context: &VerdictContext, input: &GateInput, verdict: &Verdict) -> VerdictFile {
    let text = |commit: &Option<CommitId>| commit.as_ref().map(ToString::to_string);
    VerdictFile {
        schema: SCHEMA.to_owned(),
        id: context.id.to_string(),
        attempt: context.attempt,
        result: verdict.result.name().to_owned(),
        reason: verdict.reason.to_owned(),
        sentences: verdict.sentences.clone(),
        override_reason: input.skip.clone(),
        base: text(&context.base),
        commit: text(&verdict.commit),
        verified_at_sha: text(&verdict.verified_at),
        started: context.started.rfc3339(),
        ended: context.ended.rfc3339(),
        checks: input.checks.iter().map(entry).collect(),
        scope_violations: input
            .violations
            .iter()
            .map(|v| ViolationEntry {
                path: v.path.clone(),
                rule: v.rule.name().to_owned(),
                text: v.text.clone(),
            })
            .collect(),
        order_digest: context.order_digest.clone(),
        ledger_seq: context.ledger_seq,
        ledger_hash: context.ledger_hash.clone(),
    }
}

fn entry(check: &CheckResult) -> CheckEntry {
    CheckEntry {
        name: check.name.clone(),
        command: check.text.clone(),
        cwd: check.cwd.clone(),
        outcome: check.outcome.name().to_owned(),
        exit: check.exit,
        signal: check.signal,
        started: Moment(check.started_ms).rfc3339(),
        duration_ms: u64::try_from(check.ended_ms.saturating_sub(check.started_ms)).unwrap_or(0),
        timed_out: check.timed_out,
        log: check.log.clone(),
        sha256: check.sha256.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::verdict::decide;

    #[test]
    fn the_file_keeps_its_form() {
        let id = OrderId::parse("WO-1").unwrap();
        let context = VerdictContext {
            id,
            attempt: 2,
            base: CommitId::parse(&"a".repeat(40)),
            started: Moment(0),
            ended: Moment(1500),
            order_digest: "d".to_owned(),
            ledger_seq: 7,
            ledger_hash: "h".to_owned(),
        };
        let input = GateInput {
            skip: Some("why".to_owned()),
            workspace_none: true,
            ..GateInput::default()
        };
        let file = verdict_json(&context, &input, &decide(&input));
        let text = serde_json::to_string(&file).unwrap();
        assert!(text.starts_with(
            "{\"schema\":\"jobyard.verdict.v1\",\"id\":\"WO-1\",\"attempt\":2,\"result\":\"skipped\",\
             \"reason\":\"skipped\",\"sentences\":[\"verification was skipped: why\"],\"override\":\"why\",\
             \"base\":\"aaaa"
        ));
        assert!(text.contains(
            "\"commit\":null,\"verified_at_sha\":null,\"started\":\"1970-01-01T00:00:00.000Z\""
        ));
        assert_eq!(serde_json::from_str::<VerdictFile>(&text).unwrap(), file);
    }
}
