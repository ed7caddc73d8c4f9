//! What a line of the ledger leaves behind on the disk: logs of commands, files of consumed requests.
//!
//! Invariants: only what comes about after its line was written is a trace, so that one without a line means
//! that lines are missing; nothing is read but names.

use super::verify::list;
use crate::model::id::OrderId;
use crate::model::paths;
use crate::model::request::parse_request_name;
use crate::world::real::RealWorld;
use crate::world::{Fault, Kind};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// What a line must say.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Trace {
    /// The start of a command: order, attempt, number.
    Start(String, u64, u64),
    /// What became of the request with these 16 hexadecimal digits.
    Request(String),
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(id, attempt, number) => {
                write!(f, "that command {number} of attempt {attempt} of {id} was started")
            }
            Self::Request(_) => f.write_str("what became of this request"),
        }
    }
}

/// Files by what a line must say.
pub(super) type Traces = BTreeMap<Trace, String>;

/// All traces there are.
pub(super) fn gather(world: &mut RealWorld) -> Result<Traces, Fault> {
    let mut traces = Traces::new();
    let answered = Path::new(paths::ANSWERED);
    for entry in list(world, answered)? {
        request(answered, entry.name.to_str(), &mut traces);
    }
    for entry in list(world, Path::new(paths::RUNS))? {
        let Some(id) = entry.name.to_str().and_then(|n| OrderId::parse(n).ok()) else { continue };
        if entry.kind != Kind::Dir {
            continue;
        }
        for attempt in list(world, &paths::runs(&id))? {
            let number = attempt.name.to_str().and_then(|n| n.parse::<u32>().ok());
            let Some(number) = number.filter(|_| attempt.kind == Kind::Dir) else { continue };
            let dir = paths::run(&id, number);
            for file in list(world, &dir)? {
                let name = file.name.to_str();
                request(&dir, name, &mut traces);
                if let Some((command, name)) = name.and_then(|n| Some((command(n)?, n))) {
                    let start = Trace::Start(id.to_string(), u64::from(number), command);
                    traces.insert(start, dir.join(name).display().to_string());
                }
            }
        }
    }
    Ok(traces)
}

/// A request that the command line filed; one that a person wrote has no digits.
fn request(dir: &Path, name: Option<&str>, traces: &mut Traces) {
    if let Some(name) = name
        && let Some((_, _, Some(hex))) = parse_request_name(name)
    {
        traces.insert(Trace::Request(hex), dir.join(name).display().to_string());
    }
}

/// The number in the name of a command's log.
fn command(name: &str) -> Option<u64> {
    let (number, rest) = name.strip_suffix(".log")?.split_once('-')?;
    let digits = number.len() >= 2 && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| digits && !rest.is_empty())
}

/// Takes away what a line says.
pub(super) fn find(traces: &mut Traces, line: &Map<String, Value>) {
    let text = |key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or(0);
    match text("event") {
        "started" => {
            let start = Trace::Start(text("id").to_owned(), number("attempt"), number("number"));
            traces.remove(&start);
        }
        "answer" | "request" => {
            traces.remove(&Trace::Request(text("request").to_owned()));
        }
        "claiming" => {
            let hex = parse_request_name(text("request")).and_then(|(_, _, hex)| hex);
            traces.remove(&Trace::Request(hex.unwrap_or_default()));
        }
        _ => {}
    }
}
