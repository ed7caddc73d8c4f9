//! The command line: arguments in, text and an exit code out.
//!
//! Invariants: stdout is data, stderr is talk; every failure says what was attempted, on which path,
//! why it failed and what to do next; exit codes are those of [`code`]; no verb waits without bound.

mod daemon;
pub mod root;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit codes, stable.
pub mod code {
    /// Done.
    pub const DONE: u8 = 0;
    /// Failed.
    pub const FAILED: u8 = 1;
    /// Usage.
    pub const USAGE: u8 = 2;
    /// Not found.
    pub const NOT_FOUND: u8 = 3;
    /// Blocked or refused.
    pub const REFUSED: u8 = 4;
    /// Held by another.
    pub const HELD: u8 = 5;
    /// Checks failed.
    pub const CHECKS: u8 = 6;
    /// Findings.
    pub const FINDINGS: u8 = 7;
    /// Try again.
    pub const AGAIN: u8 = 75;
}

/// A failed verb: what to say and how to exit.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// What to say.
    pub text: String,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What every verb gives: an exit code, or a failure to print.
pub type Outcome = Result<u8, Failure>;

/// A directory is the queue: drop a YAML work order, get a verified branch.
#[derive(Parser)]
#[command(name = "jobyard", version, about)]
struct Arguments {
    /// Root of the job system (default: JOBYARD_ROOT, else the nearest directory with _ctx/)
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print one JSON object with a schema field
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the scheduler
    Daemon(daemon::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { code::USAGE } else { code::DONE });
        }
    };
    let outcome = match arguments.verb {
        Verb::Daemon(daemon) => daemon::run(arguments.root.as_deref(), daemon),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("jobyard: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}
