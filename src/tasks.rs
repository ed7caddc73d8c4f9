//! Built-in tasks: small programs, `jobyard task NAME`, that a local channel runs like any other command.
//!
//! Arguments come as one JSON object on standard input, `{"args": […], "kwargs": {…}}`; the result goes as
//! one line of JSON to standard output; a failure says on standard error what was attempted and why it
//! failed, and ends with 1. Invariants: doing a task twice gives what doing it once gives; nothing is read
//! but its arguments and what they name. They know nothing of orders, packages or the daemon.

pub mod gap_fill;
mod system_test;

use serde_json::{Map, Value};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Most bytes of arguments.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// How long a database that somebody else writes to is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// The names of all tasks.
pub const NAMES: [&str; 5] = [
    "system_test.echo",
    "system_test.sleep",
    "system_test.crud",
    gap_fill::ADD_NODE,
    gap_fill::SET_ASIDE_EDGE,
];

/// What a task is given.
#[derive(Debug, Default)]
pub(crate) struct Input {
    args: Vec<Value>,
    kwargs: Map<String, Value>,
}

/// Does the task of this name; the exit code of the process.
pub fn run(name: &OsStr) -> ExitCode {
    let name = name.to_string_lossy();
    let done = read().and_then(|input| call(&name, &input)).and_then(|result| {
        writeln!(io::stdout(), "{result}").map_err(|e| format!("write the result: {e}"))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // Nobody may be reading, and that is no other failure.
            let _ = writeln!(io::stderr(), "jobyard task {name}: {text}");
            ExitCode::FAILURE
        }
    }
}

fn read() -> Result<Input, String> {
    let mut text = String::new();
    let read = io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|e| format!("read the arguments on standard input: {e}"))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Input, String> {
    if text.trim().is_empty() {
        return Ok(Input::default());
    }
    let expected = "expected {\"args\": […], \"kwargs\": {…}} on standard input";
    let value: Value = serde_json::from_str(text).map_err(|e| format!("{expected}: {e}"))?;
    let Value::Object(mut map) = value else { return Err(expected.to_owned()) };
    let args = match map.remove("args") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("`args`: {expected}")),
    };
    let kwargs = match map.remove("kwargs") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map,
        Some(_) => return Err(format!("`kwargs`: {expected}")),
    };
    Ok(Input { args, kwargs })
}

fn call(name: &str, input: &Input) -> Result<Value, String> {
    match name {
        "system_test.echo" => Ok(system_test::echo(input)),
        "system_test.sleep" => system_test::rest(input),
        "system_test.crud" => system_test::crud(input),
        gap_fill::ADD_NODE => gap_fill::add_node(input),
        gap_fill::SET_ASIDE_EDGE => gap_fill::set_aside_edge(input),
        _ => Err(format!("there is no such task; there are: {}", NAMES.join(", "))),
    }
}

impl Input {
    /// The text of a named argument.
    fn text(&self, key: &str) -> Result<&str, String> {
        let value = self.kwargs.get(key).and_then(Value::as_str);
        value.ok_or_else(|| format!("`{key}`: expected text among the named arguments"))
    }

    /// A named whole number, or its usual value.
    fn whole(&self, key: &str, usual: u64) -> Result<u64, String> {
        match self.kwargs.get(key) {
            None | Some(Value::Null) => Ok(usual),
            Some(value) => {
                value.as_u64().ok_or_else(|| format!("`{key}`: expected a whole number"))
            }
        }
    }
}

/// A time of so many seconds, at most a day.
fn seconds(value: Option<&Value>, name: &str) -> Result<Duration, String> {
    const SECONDS_MAX: f64 = 86_400.0;
    let seconds = match value {
        None | Some(Value::Null) => 0.0,
        Some(value) => {
            value.as_f64().filter(|s| (0.0..=SECONDS_MAX).contains(s)).ok_or_else(|| {
                format!("`{name}`: expected a number of seconds from 0 to {SECONDS_MAX}")
            })?
        }
    };
    Ok(Duration::from_secs_f64(seconds))
}

/// Opens a database that is there.
fn open(path: &Path) -> Result<rusqlite::Connection, String> {
    use rusqlite::OpenFlags;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = rusqlite::Connection::open_with_flags(path, flags);
    let connection = opened.map_err(|e| format!("open the database {}: {e}", path.display()))?;
    connection.busy_timeout(BUSY).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_an_object_or_nothing() {
        let input = parse(r#"{"args": [1], "kwargs": {"a": "b"}, "meta": {}}"#).unwrap();
        assert_eq!((input.args.as_slice(), input.text("a")), (&[json!(1)][..], Ok("b")));
        assert!(parse("").unwrap().args.is_empty());
        for text in ["[]", "{", r#"{"args": {}}"#, r#"{"kwargs": []}"#] {
            assert!(parse(text).unwrap_err().contains("expected"), "{text}");
        }
    }

    #[test]
    fn every_name_is_known_and_no_other() {
        for name in NAMES {
            let result = call(name, &Input::default());
            assert!(result.err().is_none_or(|text| !text.contains("no such task")), "{name}");
        }
        assert!(call("system_test.eco", &Input::default()).unwrap_err().contains("no such task"));
    }
}
