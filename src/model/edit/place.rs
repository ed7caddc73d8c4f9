//! Places in the text of a YAML map: where values begin and end, lines, comments.
//!
//! Invariant: offsets come from a tree of the same text and stay on character boundaries.

use crate::model::strict::{Ix, Kind, Style, Tree};

/// The first place behind the colon of an entry, anchors and tags of the value passed over.
pub(super) struct ValueStart {
    /// Behind the colon.
    pub(super) colon_end: usize,
    /// Where the value begins, blanks passed over.
    pub(super) at: usize,
    /// The end of the colon or of the last anchor or tag.
    pub(super) trim_end: usize,
}

pub(super) fn value_start(text: &str, tree: &Tree<'_>, key: Ix) -> Option<ValueStart> {
    let mut at = tree.raw(key).end;
    loop {
        let rest = &text[at..];
        let blank = rest.len() - rest.trim_start().len();
        let rest = &rest[blank..];
        at += blank;
        if rest.starts_with('#') && blank > 0 {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with(':') {
            break;
        } else {
            return None;
        }
    }
    let mut start = ValueStart { colon_end: at + 1, at: at + 1, trim_end: at + 1 };
    loop {
        let rest = &text[start.trim_end..];
        let bare = rest.trim_start_matches([' ', '\t']);
        start.at = start.trim_end + rest.len() - bare.len();
        if !bare.starts_with(['&', '!']) {
            return Some(start);
        }
        let width = bare.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']'));
        start.trim_end = start.at + width.unwrap_or(bare.len());
    }
}

/// The `|-` of a block text.
pub(super) struct Header {
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) fn block_header(text: &str, tree: &Tree<'_>, key: Ix) -> Option<Header> {
    let start = value_start(text, tree, key)?.at;
    let rest = &text[start..];
    let indicators = rest.strip_prefix(['|', '>'])?;
    let more = indicators.find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-')));
    Some(Header { start, end: start + 1 + more.unwrap_or(indicators.len()) })
}

/// What lies between the header line of a block text and the end of its last line, the line break
/// before it included and that behind it not.
pub(super) fn block_content(text: &str, header_end: usize, content_end: usize) -> (usize, usize) {
    let from = line_end(text, header_end);
    let content = text.get(from..content_end).unwrap_or("");
    let content = content.strip_suffix('\n').unwrap_or(content);
    let content = content.strip_suffix('\r').unwrap_or(content);
    (from, from + content.len())
}

/// Where the last character of a value lies; of an absent one, its colon or its key.
pub(super) fn content_end(text: &str, tree: &Tree<'_>, key: Ix, value: Ix) -> usize {
    let node = tree.raw(value);
    match &node.kind {
        Kind::Map(entries) if !node.flow => match entries.last() {
            Some((key, value)) => content_end(text, tree, *key, *value),
            None => node.end,
        },
        Kind::List(items) if !node.flow => match items.last() {
            Some(item) => content_end(text, tree, key, *item).max(tree.raw(*item).place.at),
            None => node.end,
        },
        Kind::Scalar(_, Style::Plain) if node.end == node.place.at => {
            value_start(text, tree, key).map_or(tree.raw(key).end, |start| start.trim_end)
        }
        _ => node.end,
    }
}

/// The comments of a gap between entries, each on a line of its own.
pub(super) fn comments(gap: &str, newline: &str) -> String {
    let mut kept = String::new();
    for line in gap.split('\n') {
        let start = line.char_indices().find(|(n, c)| {
            *c == '#' && line[..*n].chars().next_back().is_none_or(char::is_whitespace)
        });
        if let Some((start, _)) = start {
            kept.push(' ');
            kept.push_str(line[start..].trim_end_matches('\r'));
            kept.push_str(newline);
        }
    }
    kept
}

pub(super) fn line_start(text: &str, at: usize) -> usize {
    match text[..at].rfind('\n') {
        Some(newline) => newline + 1,
        None if text.starts_with('\u{feff}') => '\u{feff}'.len_utf8(),
        None => 0,
    }
}

/// The end of the line, before its line break.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    if end > at && text[..end].ends_with('\r') { end - 1 } else { end }
}

pub(super) fn past_newline(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let width = if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
    at + width
}

pub(super) fn skip_past(text: &str, at: usize, wanted: char) -> usize {
    text[at..].find(wanted).map_or(at, |n| at + n + wanted.len_utf8())
}
