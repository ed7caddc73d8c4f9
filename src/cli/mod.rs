//! The command line: arguments in, text and an exit code out.
//!
//! Invariants: stdout is data, stderr is talk; every failure says what was attempted, on which path,
//! why it failed and what to do next; exit codes are those of [`code`]; no verb waits without bound.

mod add;
mod ask;
mod audit;
mod completions;
mod config;
mod daemon;
mod demo;
mod deps;
mod dirs;
mod doctor;
mod edit;
mod examples;
mod finish;
mod fmt;
mod gc;
mod groups;
mod heartbeat;
mod history;
mod impact;
mod import;
mod init;
mod lint;
mod list;
mod logs;
mod look;
mod man;
mod mark;
mod notice;
mod out;
mod plan;
mod reconcile;
mod rehearse;
mod request;
pub mod root;
mod say;
mod schema;
mod show;
mod sight;
mod stats;
mod status;
mod status_line;
mod submit;
mod table;
mod take;
mod verify;
mod wait;
mod why;

use crate::world::Fault;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io;
use std::path::{Path, PathBuf};
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

    /// What the disk or its permissions refused.
    pub fn of_disk(act: &str, path: &Path, error: &io::Error) -> Self {
        let cure = cure(error.kind());
        Self::new(code::FAILED, format!("{act} {}: {error}{cure}", path.display()))
    }

    /// The same of a call on the root; `left` says how things stand.
    pub fn of_fault(fault: &Fault, left: &str) -> Self {
        let cure = cure(io::Error::from_raw_os_error(fault.errno).kind());
        Self::new(code::FAILED, format!("{fault}; {left}{cure}"))
    }
}

/// What to do about a refusal, where that is known.
fn cure(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match kind {
        PermissionDenied => "; run this as the user whose files they are",
        QuotaExceeded | ReadOnlyFilesystem | StorageFull => "; try again when the disk takes it",
        _ => "",
    }
}

/// What every verb gives: an exit code, or a failure to print.
pub type Outcome = Result<u8, Failure>;

/// What holds for every verb.
#[derive(clap::Args)]
struct Globals {
    /// Root of the job system (default: JOBYARD_ROOT, else the nearest directory with _ctx/)
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print one JSON object with a schema field
    #[arg(long, global = true)]
    json: bool,
}

impl Globals {
    fn find_root(&self) -> Result<PathBuf, Failure> {
        root::find(self.root.as_deref())
    }
}

/// A directory is the queue: drop a YAML work order, get a verified branch.
#[derive(Parser)]
#[command(name = "jobyard", version, about)]
struct Arguments {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a directory a root
    Init(init::Arguments),
    /// Run the scheduler
    Daemon(daemon::Arguments),
    /// Report the orders of another tree, and adopt them when asked to
    Import(import::Arguments),
    /// Publish work orders
    Submit(submit::Arguments),
    /// Publish a command line as a work order
    Add(add::Arguments),
    /// Plan the tasks of a workflow: a job package, or a manifest
    Plan(plan::Arguments),
    /// Change a pending work order, in an editor or by `--set`
    Edit(edit::Arguments),
    /// Take a work order: lease, branch and worktree for a person or an agent
    Take(take::Arguments),
    /// Run the checks of a taken order and settle it
    Finish(finish::Arguments),
    /// Try the checks of a taken order, or see whether the evidence of a settled one holds
    Verify(verify::Arguments),
    /// End an order: running ones are stopped, pending ones never start
    Cancel(request::Ending),
    /// Make a failed order pending again
    Requeue(request::Ending),
    /// Keep a pending order from starting
    Hold(request::Holding),
    /// Let a held order go
    Unhold(request::Holding),
    /// Give a sign of life for an order you hold
    Heartbeat(heartbeat::Arguments),
    /// List work orders: running, queued, settled
    List(list::Arguments),
    /// Show how the root is: orders, daemon, slots, findings
    Status(status::Arguments),
    /// Show everything about one order
    Show(show::Arguments),
    /// Say why an order does not run, since when, and what would release it
    Why(why::Arguments),
    /// Say what follows for other orders when one ends
    Impact(impact::Arguments),
    /// Show which orders depend on which, and who keeps others back
    Deps(deps::Arguments),
    /// Count orders by state, result, epic and group, and say how long they took
    Stats(stats::Arguments),
    /// List the groups; pause one, let it go on, or give it slots
    Groups(groups::Arguments),
    /// Wait until orders are settled
    Wait(wait::Arguments),
    /// Print what the commands of an order wrote
    Logs(logs::Arguments),
    /// Say what is wrong with the root, or with files that are not submitted yet
    Lint(lint::Arguments),
    /// Say what is wrong with the root and repair what has one safe repair
    Reconcile(reconcile::Arguments),
    /// Say whether this root and this machine are fit, what is wrong, why, and what cures it
    Doctor(doctor::Arguments),
    /// Take away kept worktrees that are merged and clean, with what git ignores in them
    Gc(gc::Arguments),
    /// Put the keys of work orders in the documented order
    Fmt(fmt::Arguments),
    /// Check the ledger, or print what it says
    Audit(audit::Arguments),
    /// Print the JSON Schema of a file that people or jobyard write
    Schema(schema::Arguments),
    /// Print the configuration that counts, and where each value comes from
    Config(config::Arguments),
    /// Print a script that completes verbs, flags and ids in a shell
    Completions(completions::Arguments),
    /// Print a manual page: of the program, or of a verb
    Man(man::Arguments),
    /// Show the whole way of five orders in a scratch repository
    Demo(demo::Arguments),
}

impl Verb {
    fn run(self, globals: &Globals) -> Outcome {
        match self {
            Self::Init(given) => init::run(globals, given),
            Self::Daemon(given) => daemon::run(globals, given),
            Self::Import(given) => import::run(globals, &given),
            Self::Submit(given) => submit::run(globals, given),
            Self::Add(given) => add::run(globals, given),
            Self::Plan(given) => plan::run(globals, &given),
            Self::Edit(given) => edit::run(globals, &given),
            Self::Take(given) => take::run(globals, given),
            Self::Finish(given) => finish::run(globals, given),
            Self::Verify(given) => verify::run(globals, &given),
            Self::Cancel(given) => request::cancel(globals, given),
            Self::Requeue(given) => request::requeue(globals, given),
            Self::Hold(given) => request::hold(globals, given),
            Self::Unhold(given) => request::unhold(globals, given),
            Self::Heartbeat(given) => heartbeat::run(globals, given),
            Self::List(given) => list::run(globals, given),
            Self::Status(given) => status::run(globals, &given),
            Self::Show(given) => show::run(globals, given),
            Self::Why(given) => why::run(globals, given),
            Self::Impact(given) => impact::run(globals, given),
            Self::Deps(given) => deps::run(globals, given),
            Self::Stats(given) => stats::run(globals, given),
            Self::Groups(given) => groups::run(globals, given),
            Self::Wait(given) => wait::run(globals, given),
            Self::Logs(given) => logs::run(globals, given),
            Self::Lint(given) => lint::run(globals, given),
            Self::Reconcile(given) => reconcile::run(globals, given),
            Self::Doctor(given) => doctor::run(globals, given),
            Self::Gc(given) => gc::run(globals, given),
            Self::Fmt(given) => fmt::run(globals, &given),
            Self::Audit(given) => audit::run(globals, given),
            Self::Schema(given) => schema::run(globals, given),
            Self::Config(given) => config::run(globals, &given),
            Self::Completions(given) => completions::run(globals, &given, command()),
            Self::Man(given) => man::run(globals, &given, command()),
            Self::Demo(given) => demo::run(globals, given),
        }
    }
}

/// The command line, with examples.
fn command() -> clap::Command {
    examples::add_to(Arguments::command())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let matches = command().try_get_matches();
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => return unparsed(&error),
    };
    let Arguments { globals, verb } = arguments;
    match verb.run(&globals) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say::talk(&format!("jobyard: {}", failure.text));
            if globals.json {
                explain(&failure);
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Help and the version, or what is wrong with the command line.
fn unparsed(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::from(code::DONE);
    }
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    if words.any(|word| word == "--json") {
        let text = error.render().to_string();
        explain(&Failure::new(code::USAGE, text.trim_end().trim_start_matches("error: ")));
    }
    ExitCode::from(code::USAGE)
}

/// A failure as one object; a reader that has gone is told nothing.
fn explain(failure: &Failure) {
    let fields = [("code", failure.code.into()), ("error", failure.text.as_str().into())];
    let _ = say::object("error", fields);
}
