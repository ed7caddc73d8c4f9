//! The text of a file as it was read, and defects that point into it.
//!
//! Invariants: a [`Source`] is UTF-8 of bounded size without control characters; a snippet is one
//! bounded line, escaped, and never shows a line of an `env` block.

use crate::model::defect::Defect;

/// Longest part of a line that a snippet shows, in characters.
const SNIPPET_CHARS_MAX: usize = 100;

/// A decoded file.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The text, with a leading byte order mark when the file has one.
    pub text: &'a str,
    /// The code of every refusal of this file.
    pub code: &'static str,
}

/// A place in a source: byte offset, line and column, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Byte offset.
    pub at: usize,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl<'a> Source<'a> {
    /// Accepts bytes that are at most `bytes_max` of UTF-8 text without NUL and control characters.
    pub fn decode(bytes: &'a [u8], bytes_max: usize, code: &'static str) -> Result<Self, Defect> {
        if bytes.len() > bytes_max {
            let found = bytes.len();
            return Err(Defect::whole(
                code,
                format!("the file has {found} bytes; at most {bytes_max} are read"),
            ));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => {
                let good = std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or("");
                let place = Source { text: good, code }.place(good.len());
                let byte = bytes[e.valid_up_to()];
                let message =
                    format!("not UTF-8: byte 0x{byte:02x} here; save the file with UTF-8 encoding");
                return Err(Source { text: good, code }.defect(place, message));
            }
        };
        let source = Source { text, code };
        let control = |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || *b == 0x7f;
        match text.as_bytes().iter().position(control) {
            None => Ok(source),
            Some(at) => {
                let name = match text.as_bytes()[at] {
                    0 => "a NUL byte".to_owned(),
                    b => format!("the control character 0x{b:02x}"),
                };
                Err(source.defect(source.place(at), format!("{name} is not allowed; remove it")))
            }
        }
    }

    /// Line and column of a byte offset.
    pub fn place(&self, at: usize) -> Place {
        let at = at.min(self.text.len());
        let before = self.text.get(..at).unwrap_or(self.text);
        let newlines = before.bytes().filter(|b| *b == b'\n').count();
        // Between the two halves of a line end is still the end of the line.
        let half = self.text.get(at..).is_some_and(|rest| rest.starts_with('\n'));
        let before = before.strip_suffix('\r').filter(|_| half).unwrap_or(before);
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        let column = before[start..].trim_start_matches('\u{feff}').chars().count() + 1;
        Place { at, line: number(newlines + 1), column: number(column) }
    }

    /// A defect at a place, with its snippet.
    pub fn defect(&self, place: Place, message: impl Into<String>) -> Defect {
        self.defect_as(self.code, place, message)
    }

    /// The same with another code.
    pub fn defect_as(
        &self,
        code: &'static str,
        place: Place,
        message: impl Into<String>,
    ) -> Defect {
        let snippet = self.snippet(place);
        let Place { line, column, .. } = place;
        Defect { code, line, column, message: message.into(), snippet }
    }

    fn snippet(&self, place: Place) -> String {
        let at = place.at.min(self.text.len());
        let (Some(before), Some(after)) = (self.text.get(..at), self.text.get(at..)) else {
            return String::new();
        };
        let start = before.rfind(['\n', '\r']).map_or(0, |n| n + 1);
        let end = at + after.find(['\n', '\r']).unwrap_or(after.len());
        if self.in_env(start, end) {
            return String::new();
        }
        let head = before[start..].trim_start_matches('\u{feff}');
        let skip = head.chars().count().saturating_sub(SNIPPET_CHARS_MAX * 3 / 4);
        let room = SNIPPET_CHARS_MAX - (head.chars().count() - skip);
        let shown: String = head
            .chars()
            .skip(skip)
            .chain(self.text[at..end].chars().take(room))
            .map(visible)
            .collect();
        if shown.trim().is_empty() {
            return String::new();
        }
        let label = place.line.to_string();
        let caret = " ".repeat(head.chars().count() - skip);
        format!("  {label} | {shown}\n  {0:1$} | {caret}^", "", label.len())
    }

    /// Whether the line that begins at `start` may show a value of `env`: it names the key, or it
    /// belongs to the lines below it that are indented deeper. By lines, for broken files too.
    fn in_env(&self, start: usize, end: usize) -> bool {
        let mut inside: Option<usize> = None;
        let mut at = 0;
        for line in self.text[..end].split('\n') {
            let bare = line.trim();
            let indent = indent_of(line);
            let stays = bare.is_empty() || bare.starts_with(['#', '}', ']']);
            inside = inside.filter(|env| stays || indent > *env);
            if inside.is_none() && names_env(line) {
                inside = Some(indent);
            }
            if at >= start {
                break;
            }
            at += line.len() + 1;
        }
        inside.is_some()
    }
}

fn names_env(line: &str) -> bool {
    line.match_indices("env").any(|(at, word)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].trim_start_matches(['"', '\'']).trim_start();
        let key = after.starts_with(':') || after.is_empty();
        key && before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))
    })
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t', '\u{feff}']).len()
}

/// Control characters and tabs must not reach a terminal; one column each keeps the caret in place.
fn visible(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() {
        '\u{fffd}'
    } else {
        c
    }
}

/// Saturating conversion of counts that the size bound keeps far below the limit.
pub(crate) fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
