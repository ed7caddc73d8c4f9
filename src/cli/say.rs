//! Saying: data to stdout, as text or as one JSON object.
//!
//! Invariants: a reader that has gone is no failure; a full disk is; nothing is printed in colour.

use super::{Failure, code, out};
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::path::Path;

/// Prints text and a newline.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(code::FAILED, format!("write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// Prints one object whose first field is `schema`: `jobyard.<name>.v1`.
pub(super) fn object<const N: usize>(
    name: &str,
    fields: [(&str, Value); N],
) -> Result<(), Failure> {
    line(&object_text(name, fields))
}

/// The same as text.
pub(super) fn object_text<const N: usize>(name: &str, fields: [(&str, Value); N]) -> String {
    let mut map = Map::new();
    map.insert("schema".to_owned(), Value::from(format!("jobyard.{name}.v1")));
    map.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Value::Object(map).to_string()
}

/// Talks on stderr; nobody may be reading.
pub(super) fn talk(text: &str) {
    let _ = writeln!(io::stderr(), "{}", out::plain_lines(text));
}

/// Asks on stderr; the answer is typed on the same line.
pub(super) fn ask(text: &str) {
    let _ = write!(io::stderr(), "{text}");
}

/// Says where the earlier of two saves at once is.
pub(super) fn kept(kept: &Path) {
    talk(&format!("jobyard: of two saves at once the earlier is in {}", kept.display()));
}
