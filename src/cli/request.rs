//! `cancel`, `requeue`, `hold`, `unhold`; and what all verbs that ask have in common.
//!
//! Invariants: a flag that overrides something needs a reason; with `--json` an answer is one object on
//! stdout whatever it says.

use super::ask::{self, Answer, Ask, Done};
use super::{Failure, Globals, Outcome, code, rehearse, say};
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::request::{RequestBody, Verb};
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

/// How long to wait, and whether to do it at all.
#[derive(clap::Args)]
pub(super) struct Asking {
    /// Longest wait in seconds (default 10)
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Print what would be done; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Flags of `cancel` and `requeue`.
#[derive(clap::Args)]
pub(super) struct Ending {
    /// Id of the work order
    id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do it over a holder that is silent or unknown
    #[arg(long)]
    takeover: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Flags of `hold` and `unhold`.
#[derive(clap::Args)]
pub(super) struct Holding {
    /// Id of the work order
    id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    asking: Asking,
}

pub(super) fn cancel(globals: &Globals, given: Ending) -> Outcome {
    end(globals, Verb::Cancel, given)
}

pub(super) fn requeue(globals: &Globals, given: Ending) -> Outcome {
    end(globals, Verb::Requeue, given)
}

pub(super) fn hold(globals: &Globals, given: Holding) -> Outcome {
    let body = RequestBody { reason: given.reason, ..RequestBody::default() };
    plain(globals, Verb::Hold, &given.id, body, &given.asking)
}

pub(super) fn unhold(globals: &Globals, given: Holding) -> Outcome {
    let body = RequestBody { reason: given.reason, ..RequestBody::default() };
    plain(globals, Verb::Unhold, &given.id, body, &given.asking)
}

fn end(globals: &Globals, verb: Verb, given: Ending) -> Outcome {
    let mut reason = given.reason;
    if given.takeover {
        let line = format!("jobyard {} {} --takeover --reason TEXT", verb.name(), given.id);
        reason = Some(needed_reason(reason, "--takeover", &line)?);
    }
    let body = RequestBody { reason, takeover: given.takeover, ..RequestBody::default() };
    plain(globals, verb, &given.id, body, &given.asking)
}

/// Asks and prints the answer as it is.
fn plain(globals: &Globals, verb: Verb, id: &str, body: RequestBody, asking: &Asking) -> Outcome {
    let id = order_id(id)?;
    let root = globals.find_root()?;
    let asked = asking.ask(id, verb, body);
    if asking.dry_run {
        return rehearse::run(globals, &root, &asked);
    }
    let Done { answer, .. } = ask::ask(&root, &asked)?;
    report(globals, &asked, &answer)
}

/// Prints an answer: on stdout when it was done, else on stderr.
pub(super) fn report(globals: &Globals, asked: &Ask, answer: &Answer) -> Outcome {
    if globals.json {
        let fields = [
            ("id", asked.id.as_str().into()),
            ("attempt", answer.attempt.into()),
            ("code", answer.code.into()),
            ("text", answer.text.as_str().into()),
        ];
        say::object(asked.verb.name(), fields)?;
    } else if answer.code == code::DONE {
        say::line(&answer.text)?;
    }
    if answer.code != code::DONE {
        say::talk(&format!("jobyard: {} {}: {}", asked.verb.name(), asked.id, answer.text));
    }
    Ok(answer.code)
}

impl Asking {
    /// What to ask with these flags.
    pub(super) fn ask(&self, id: OrderId, verb: Verb, body: RequestBody) -> Ask {
        Ask { id, verb, body, wait: self.wait.map(Duration::from_secs) }
    }
}

/// The id a person typed; the path of a ticket counts too.
pub(super) fn order_id(text: &str) -> Result<OrderId, Failure> {
    let named = match text.rsplit_once('/') {
        Some((dir, name)) => {
            let dir = dir.rsplit('/').next().unwrap_or(dir);
            name.strip_suffix(".yaml").filter(|_| State::parse(dir).is_some())
        }
        None => Some(text.strip_suffix(".yaml").unwrap_or(text)),
    };
    OrderId::parse(named.unwrap_or(text)).map_err(|rule| Failure::new(code::USAGE, rule))
}

/// The reason that `flag` needs: as given, else asked for on a terminal.
pub(super) fn needed_reason(
    given: Option<String>,
    flag: &str,
    line: &str,
) -> Result<String, Failure> {
    let good = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let mut reason = given.as_deref().and_then(good);
    let asks = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if reason.is_none() && asks {
        say::ask(&format!("Reason for {flag}: "));
        let mut typed = String::new();
        let read = std::io::stdin().lock().read_line(&mut typed);
        reason = read.ok().and_then(|_| good(&typed));
    }
    reason.ok_or_else(|| Failure::new(code::USAGE, format!("{flag} needs a reason; type: {line}")))
}
