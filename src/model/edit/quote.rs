//! How values are written into YAML.
//!
//! Invariant: what is written is read back as the same text by YAML 1.1 and 1.2 readers, on one line,
//! inside and outside of `{…}`.

use super::Scalar;
use crate::model::strict::Style;
use std::fmt::Write;

/// Words that some reader takes for something else than text.
const RESERVED: [&str; 12] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "none"];

/// The value in the style of the one it replaces; `json` quotes all text.
pub(super) fn write(scalar: &Scalar, old: Option<Style>, json: bool) -> String {
    match scalar {
        Scalar::Int(number) => number.to_string(),
        Scalar::Null => "null".to_owned(),
        Scalar::Time(moment) => match old {
            Some(Style::SingleQuoted) => format!("'{}'", moment.rfc3339()),
            _ => format!("\"{}\"", moment.rfc3339()),
        },
        Scalar::Text(text) => match old {
            Some(Style::SingleQuoted) if !json && text.chars().all(is_printable) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            Some(Style::DoubleQuoted | Style::SingleQuoted) => double(text),
            _ if !json && is_plain(text) => text.clone(),
            _ => double(text),
        },
    }
}

/// New text as a value, anywhere.
pub fn quoted(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { double(text) }
}

/// A key of a new entry.
pub(super) fn write_key(name: &str, json: bool) -> String {
    if json { double(name) } else { name.to_owned() }
}

/// Text between double quotes, with escapes that JSON knows too.
fn double(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => {
                // A `String` never refuses to be written to.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// Whether a character may stand between quotes as it is. The others are all below U+10000.
fn is_printable(c: char) -> bool {
    let special = matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    !c.is_control() && !special
}

/// Whether text needs no quotes anywhere: words of letters and digits that begin with a letter and
/// are not reserved. Deliberately narrow; more quotes than needed do no harm.
fn is_plain(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = match (bytes.next(), bytes.clone().next()) {
        (Some(b'.' | b'/'), Some(second)) => second.is_ascii_alphabetic(),
        (Some(first), _) => first.is_ascii_alphabetic() || first == b'_',
        (None, _) => false,
    };
    let inner =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/' | b'@' | b'+' | b'-');
    let spaced =
        text.bytes().all(|b| inner(b) || b == b' ') && !text.ends_with(' ') && !text.contains("  ");
    let word = text.trim_start_matches('.');
    first && spaced && !RESERVED.iter().any(|r| r.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_where_needed() {
        let check = |text: &str, want: &str| {
            assert_eq!(write(&Scalar::Text(text.to_owned()), None, false), want, "{text:?}");
        };
        check("running", "running");
        check("feat/wo-WO-1", "feat/wo-WO-1");
        check(".worktrees/WO-1", ".worktrees/WO-1");
        check("exit status 1", "exit status 1");
        check("yes", "\"yes\"");
        check("Null", "\"Null\"");
        check(".inf", "\".inf\"");
        check("123", "\"123\"");
        check("1e5", "\"1e5\"");
        check("", "\"\"");
        check(" a", "\" a\"");
        check("a: b # c", "\"a: b # c\"");
        check("a\nb", "\"a\\nb\"");
        check("- a", "\"- a\"");
        check("~", "\"~\"");
        check("é", "\"é\"");
        check("a\u{7}\u{2028}\u{85}", "\"a\\u0007\\u2028\\u0085\"");
        check("say \"no\" \\", "\"say \\\"no\\\" \\\\\"");
    }

    #[test]
    fn the_old_quotes_are_kept() {
        let text = |t: &str| Scalar::Text(t.to_owned());
        assert_eq!(write(&text("a"), Some(Style::SingleQuoted), false), "'a'");
        assert_eq!(write(&text("it's"), Some(Style::SingleQuoted), false), "'it''s'");
        assert_eq!(write(&text("a\nb"), Some(Style::SingleQuoted), false), "\"a\\nb\"");
        assert_eq!(write(&text("a"), Some(Style::DoubleQuoted), false), "\"a\"");
        assert_eq!(write(&text("a"), Some(Style::Literal), false), "a");
        assert_eq!(write(&text("a"), None, true), "\"a\"");
        let time = Scalar::Time(crate::model::time::Moment(0));
        assert_eq!(write(&time, None, false), "\"1970-01-01T00:00:00.000Z\"");
    }
}
