//! What is sealed at the claim: the base of a branch over all attempts, the order over its retries, the
//! catalogue as it is then, and the files beside the tickets that are no files.

mod base;
mod catalogue;
mod inherit;
mod retry;
mod signs;

use crate::yard::Yard;
use std::process::{Command, Output, Stdio};

/// Runs a verb on the root; its exit code and all it said. A verb that hangs fails the test.
fn verb(yard: &Yard, args: &[&str]) -> (i32, String) {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "15"]).arg(&yard.program).args(args).arg("--root").arg(&yard.root);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

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
