//! What is sealed at the claim: the base of a branch over all attempts, the order over its retries, the
//! catalogue as it is then, and the files beside the tickets that are no files.

mod base;
mod catalogue;
mod inherit;
mod retry;
mod signs;

use crate::yard::Yard;

/// An order whose `run` does one thing at its first attempt, and another one later.
fn two_attempts(first: &str, later: &str, rest: &str) -> String {
    let script = format!("if [ $JOBYARD_ATTEMPT = 1 ]; then {first}; exit 1; fi; {later}");
    let script = script.replace('\'', "''");
    format!("retry: {{max: 1, backoff: 1ms}}\n{rest}run: '{script}'\n")
}

/// The bases that were sealed, by attempt.
fn bases(yard: &Yard, id: &str) -> Vec<String> {
    let lines = yard.events(id, "claiming");
    lines.iter().map(|l| l["place"]["tree"]["base"].as_str().unwrap().to_owned()).collect()
}
