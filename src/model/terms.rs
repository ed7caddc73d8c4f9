//! The terms of an order: what of it decides what runs and what the work is worth.
//!
//! Invariants: keys that jobyard writes, comments, order and layout are no terms, so an order that nobody
//! changed has the same terms at every attempt; values of `env` are in the digest only. Priority,
//! deadline, dependencies and texts for people are no terms either: they can be changed at any time.

use super::event::sha256_hex;
use super::order::{Checkout, Order, Workspace};
use super::sealed::SealedRetry;
use serde_json::json;

/// A digest over the terms of an order.
pub fn terms(order: &Order) -> String {
    let workspace = match &order.workspace {
        Workspace::Worktree => "worktree".to_owned(),
        Workspace::None => "none".to_owned(),
        Workspace::Inherit(other) => format!("inherit:{other}"),
    };
    let mut text = json!([
        order.run,
        order.engine,
        order.checks,
        order.check_timeout.map(|m| m.0),
        order.dod_id,
        order.scope.as_ref().map(|s| (&s.allow, &s.deny)),
        order.diff_budget.max_files,
        order.diff_budget.max_loc,
        SealedRetry::of(&order.retry),
        order.timeout.map(|m| m.0),
        order.idle_timeout.map(|m| m.0),
        order.env,
        workspace,
        order.base,
        order.artifacts,
        order.package,
    ]);
    // Only where it is asked for: the terms of all other orders stay what older programs wrote down.
    if order.checkout == Checkout::Scope
        && let Some(texts) = text.as_array_mut()
    {
        texts.push(json!("checkout: scope"));
    }
    sha256_hex(text.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse::parse_order;

    fn of(rest: &str) -> String {
        let text = format!("id: A\ntitle: T\nrun: make\n{rest}");
        terms(&parse_order(text.as_bytes(), "A").unwrap().order)
    }

    #[test]
    fn what_jobyard_and_people_may_change_is_no_term() {
        let plain = of("");
        for same in [
            "status: running\nresult: fail\nowner: me\n",
            "x_jobyard: {attempt: 3, retries: 2}\n",
            "priority: P0\ndeadline: 2030-01-01\ntags: [a]\n# a comment\n",
            "hold: later\ndependencies: [B]\nx_mine: 1\n",
            "checkout: full\n",
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
    }

    #[test]
    fn whatever_decides_a_verdict_is_a_term() {
        let mut seen = vec![of("")];
        for rest in [
            "verify: {commands: [make test]}\n",
            "verify: {commands: [make test], timeout: 5s}\n",
            "scope: {allow: [src/**]}\n",
            "scope: {deny: [src/**]}\n",
            "scope: {allow: [src/**]}\ncheckout: scope\n",
            "diff_budget: {max_files: 1}\n",
            "diff_budget: {max_loc: 1}\n",
            "dod_id: D\n",
            "retry: {max: 1}\n",
            "retry: {max: 2}\n",
            "timeout: 1m\n",
            "idle_timeout: 1m\n",
            "env: {A: a}\n",
            "env: {A: b}\n",
            "workspace: none\n",
            "workspace: {inherit: B}\n",
            "base: next\n",
            "artifacts: [a]\n",
        ] {
            let digest = of(rest);
            assert!(!seen.contains(&digest), "{rest}");
            seen.push(digest);
        }
    }
}
