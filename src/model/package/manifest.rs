//! A line of a manifest: one task.
//!
//! Invariants: a [`Task`] that exists can be run; a line that is none says why, and where; neither a line
//! nor a manifest is ever held in memory beyond [`LINE_BYTES_MAX`]. A blank line is no task. The number of
//! its line, from 1, is what a task is known by. Reading a file is not done here.

use crate::model::parse::nearest;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Longest line in bytes, without its newline.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Longest name of a task in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// `priority` of a task that has none.
pub const PRIORITY_DEFAULT: i32 = 10;

/// The keys of a line.
pub const KEYS: [&str; 6] = ["task", "args", "kwargs", "meta", "description", "priority"];

/// What each of them must be.
const EXPECTED: [&str; 6] = [
    "text",
    "a list",
    "an object",
    "an object",
    "text",
    "a whole number from -2147483648 to 2147483647",
];

/// Longest text of a person that is shown in a log.
const LABEL_CHARS_MAX: usize = 64;

/// One task of a manifest.
#[derive(Clone, PartialEq, Debug)]
pub struct Task {
    /// Which: the name that a worker or the configuration knows.
    pub name: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Named arguments.
    pub kwargs: Map<String, Value>,
    /// What people and rules know about it.
    pub meta: Map<String, Value>,
    /// One line for people.
    pub description: Option<String>,
    /// Larger ones go first; of equal ones the earlier line.
    pub priority: i32,
    /// Keys that have no effect.
    pub unknown: Vec<String>,
}

impl Task {
    /// What it is called in a log: `meta.id`, else `Unknown`.
    pub fn label(&self) -> String {
        let text = match self.meta.get("id") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let text: String = text.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX).collect();
        if text.is_empty() { "Unknown".to_owned() } else { text }
    }

    /// What it says of keys without effect, with the nearest known one.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.unknown.iter().map(|key| {
            let near = nearest(key, &KEYS);
            let near = near
                .map_or_else(String::new, |near| format!("; the nearest known key is `{near}`"));
            format!("`{key}` is not known and has no effect{near}")
        })
    }
}

/// Reads a line that is not blank; the error says what is wrong with it, with its column where it has one.
pub fn parse_line(line: &[u8]) -> Result<Task, String> {
    let text = std::str::from_utf8(line)
        .map_err(|e| format!("column {}: it is not UTF-8", e.valid_up_to() + 1))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_map(LineVisitor).and_then(|task| reader.end().map(|()| task));
    read.map_err(|error| {
        let text = error.to_string();
        let cut = text.rfind(" at line ").unwrap_or(text.len());
        match error.column() {
            0 => text[..cut].to_owned(),
            column => format!("column {column}: {}", &text[..cut]),
        }
    })
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Task;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task: a JSON object with `task`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Task, A::Error> {
        use serde::de::Error;
        let mut name: Option<String> = None;
        let (mut args, mut kwargs, mut meta) = (Vec::new(), Map::new(), Map::new());
        let (mut description, mut priority) = (None, None);
        let mut unknown: Vec<String> = Vec::new();
        let mut seen = 0_u8;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let Some(at) = KEYS.iter().position(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                if unknown.len() < KEYS.len() {
                    unknown.push(key.chars().take(LABEL_CHARS_MAX).collect());
                }
                continue;
            };
            if seen & (1 << at) != 0 {
                return Err(A::Error::custom(format!("`{key}` stands twice")));
            }
            seen |= 1 << at;
            let value = map.next_value::<Value>()?;
            match (at, value) {
                (0, Value::String(text)) => name = Some(text),
                (1, Value::Array(list)) => args = list,
                (2, Value::Object(map)) => kwargs = map,
                (3, Value::Object(map)) => meta = map,
                (4, Value::String(text)) => description = Some(text),
                (5, Value::Number(number)) if small(&number).is_some() => priority = small(&number),
                (1.., Value::Null) => {}
                (_, value) => {
                    let found = kind(&value);
                    let text = format!("`{key}`: expected {}, found {found}", EXPECTED[at]);
                    return Err(A::Error::custom(text));
                }
            }
        }
        let name = name.ok_or_else(|| A::Error::custom("has no `task`"))?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let text = format!(
                "`task`: expected a name of 1 to {NAME_BYTES_MAX} bytes without control characters"
            );
            return Err(A::Error::custom(text));
        }
        Ok(Task {
            name,
            args,
            kwargs,
            meta,
            description,
            priority: priority.unwrap_or(PRIORITY_DEFAULT),
            unknown,
        })
    }
}

/// A number that a priority can be.
fn small(number: &serde_json::Number) -> Option<i32> {
    number.as_i64().and_then(|n| i32::try_from(n).ok())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// One line of a file that is read in pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Its bytes, without newline; never blank.
    Whole(Vec<u8>),
    /// It is longer than [`LINE_BYTES_MAX`]; so many bytes.
    Long(u64),
}

/// Splits what is read in pieces into lines. Blank lines are counted and passed over.
#[derive(Debug, Default)]
pub struct Lines {
    /// The line that has begun.
    begun: Vec<u8>,
    /// Its length, which may be more than is held.
    length: u64,
    /// Lines that have ended.
    number: u32,
}

impl Lines {
    /// Takes a piece; gives each line that ends in it, with its number from 1, to `take`.
    pub fn push(&mut self, piece: &[u8], mut take: impl FnMut(u32, Line)) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.hold(&rest[..end]);
            self.end(&mut take);
            rest = &rest[end + 1..];
        }
        self.hold(rest);
    }

    /// The last line, where the file does not end with a newline.
    pub fn finish(&mut self, mut take: impl FnMut(u32, Line)) {
        if self.length > 0 {
            self.end(&mut take);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.length <= LINE_BYTES_MAX as u64 {
            self.begun.extend_from_slice(bytes);
        } else {
            self.begun = Vec::new();
        }
    }

    fn end(&mut self, take: &mut impl FnMut(u32, Line)) {
        self.number = self.number.saturating_add(1);
        let length = std::mem::take(&mut self.length);
        if length > LINE_BYTES_MAX as u64 {
            return take(self.number, Line::Long(length));
        }
        let line = std::mem::take(&mut self.begun);
        if !line.iter().all(u8::is_ascii_whitespace) {
            take(self.number, Line::Whole(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_needs_a_name_and_nothing_else() {
        let task = parse_line(br#"{"task": "a.b"}"#).unwrap();
        assert_eq!(
            (task.name.as_str(), task.priority, task.label().as_str()),
            ("a.b", 10, "Unknown")
        );
        let text = r#" {"task": "x", "args": [1, "two"], "kwargs": {"n": 1.5}, "meta": {"id": "Job-01"},
            "description": "d", "priority": -3} "#;
        let task = parse_line(text.as_bytes()).unwrap();
        assert_eq!(task.args, [json!(1), json!("two")]);
        assert_eq!(Value::Object(task.kwargs.clone()), json!({"n": 1.5}));
        assert_eq!((task.label().as_str(), task.priority), ("Job-01", -3));
        assert_eq!(task.description.as_deref(), Some("d"));
        let null =
            parse_line(br#"{"task":"x","args":null,"meta":{"id":7},"priority":null}"#).unwrap();
        assert_eq!((null.args.len(), null.label().as_str(), null.priority), (0, "7", 10));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |text: &[u8], part: &str| {
            let error = parse_line(text).expect_err(part);
            assert!(error.contains(part), "{:?} gave {error}", String::from_utf8_lossy(text));
            assert!(!error.contains("line 1"), "{error}");
        };
        check(b"{", "column 1: EOF while parsing an object");
        check(b"[1]", "expected a task: a JSON object with `task`");
        check(b"{}", "has no `task`");
        check(br#"{"task": 5}"#, "`task`: expected text, found a number");
        check(br#"{"task": ""}"#, "a name of 1 to 256 bytes");
        check(br#"{"task": "a", "args": {}}"#, "`args`: expected a list, found an object");
        check(br#"{"task": "a", "kwargs": []}"#, "`kwargs`: expected an object");
        check(br#"{"task": "a", "priority": 1.5}"#, "`priority`: expected a whole number");
        check(br#"{"task": "a", "task": "b"}"#, "`task` stands twice");
        check(br#"{"task": "a"} x"#, "trailing characters");
        check(b"{\"task\": \"\xff\"}", "column 11: it is not UTF-8");
    }

    #[test]
    fn an_unknown_key_has_no_effect_and_is_named() {
        let task = parse_line(br##"{"task": "a", "#args": [1], "x": {"deep": []}}"##).unwrap();
        let warnings: Vec<String> = task.warnings().collect();
        assert_eq!(
            warnings,
            [
                "`#args` is not known and has no effect; the nearest known key is `args`",
                "`x` is not known and has no effect",
            ]
        );
    }

    #[test]
    fn lines_are_the_same_in_any_pieces() {
        let text = b"a\n\n  \nbc\r\nd";
        let want = [(1, "a"), (4, "bc\r"), (5, "d")];
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                lines.push(piece, |n, line| found.push((n, line)));
            }
            lines.finish(|n, line| found.push((n, line)));
            let want = want.map(|(n, text)| (n, Line::Whole(text.as_bytes().to_vec())));
            assert_eq!(found, want, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let piece = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
        for _ in 0..64 {
            lines.push(&piece, |n, line| found.push((n, line)));
            assert!(lines.begun.capacity() <= 2 * LINE_BYTES_MAX);
        }
        lines.push(b"\ny\n", |n, line| found.push((n, line)));
        let long = 64 * piece.len() as u64;
        assert_eq!(found, [(1, Line::Long(long)), (2, Line::Whole(b"y".to_vec()))]);
    }
}
