//! A work order with its keys in the documented order, and at most one blank line between them.
//!
//! Invariants: every value keeps its bytes, every comment stays with its key; the result is read again and
//! says the same; arranging it once more changes nothing. Where an order of keys cannot be kept apart from
//! what they say (aliases, a text that reaches to the end of the file) only blank lines change.

use super::place::{content_end, line_end, line_start, past_newline};
use crate::model::defect::{CANNOT_EDIT, Defect};
use crate::model::parse::ORDER_BYTES_MAX;
use crate::model::parse::keys::ORDER;
use crate::model::strict::source::Source;
use crate::model::strict::{Ix, Kind, Tree};
use std::collections::BTreeMap;

/// The first key that jobyard writes; keys of the user stand before it.
const FIRST_OF_OURS: &str = "status";

/// One key with what belongs to it.
#[derive(Clone, Debug, Default)]
struct Piece {
    rank: usize,
    /// A blank line stands before it.
    blank: bool,
    /// Comments above.
    lead: String,
    /// Key and value, whole lines.
    body: String,
    /// Comments below: indented ones, and those that a blank line parts from the next key.
    below: String,
}

/// A document in pieces.
struct Parts<'t> {
    newline: &'t str,
    /// Before the first key: marks of the document, comments that a blank line parts from it.
    head: String,
    pieces: Vec<Piece>,
    /// Behind the last key.
    tail: String,
}

/// The arranged text of a work order.
pub fn arrange(text: &str) -> Result<String, Defect> {
    let source = Source::decode(text.as_bytes(), ORDER_BYTES_MAX, CANNOT_EDIT)?;
    let tree = super::read(source)?;
    let root = tree.root();
    if tree.map(root).is_none_or(<[_]>::is_empty) || tree.raw(root).flow {
        return Ok(text.to_owned());
    }
    let text = source.text;
    // A carriage return alone ends a line for YAML and not for editors: what is a line is not sure.
    let unsure = text.matches('\r').count() > text.matches("\r\n").count();
    let parts = if unsure { None } else { cut(text, &tree) };
    let Some(mut parts) = parts else { return Ok(text.to_owned()) };
    let ends_with_newline = text.ends_with('\n');
    let as_it_is = parts.join(ends_with_newline);
    let mut ways = vec![as_it_is];
    if !has_alias(&tree, root) {
        parts.pieces.sort_by_key(|piece| piece.rank);
        ways.insert(0, parts.join(ends_with_newline));
    }
    let same = |new: &String| says_the_same(&tree, new);
    Ok(ways.into_iter().find(same).unwrap_or_else(|| text.to_owned()))
}

/// Where a key belongs.
fn rank(name: &str) -> usize {
    let at = |name: &str| ORDER.iter().position(|key| key.name == name);
    let users = at(FIRST_OF_OURS).unwrap_or(ORDER.len());
    match at(name) {
        Some(at) if at < users => at,
        Some(at) => at + 1,
        None => users,
    }
}

fn has_alias(tree: &Tree<'_>, ix: Ix) -> bool {
    match &tree.raw(ix).kind {
        Kind::Alias(_) => true,
        Kind::Scalar(..) => false,
        Kind::List(items) => items.iter().any(|item| has_alias(tree, *item)),
        Kind::Map(entries) => {
            entries.iter().any(|(key, value)| has_alias(tree, *key) || has_alias(tree, *value))
        }
    }
}

/// Whether a text holds the same keys with the same values.
fn says_the_same(tree: &Tree<'_>, new: &str) -> bool {
    let Ok(source) = Source::decode(new.as_bytes(), ORDER_BYTES_MAX, CANNOT_EDIT) else {
        return false;
    };
    let Ok(new) = super::read(source) else { return false };
    let entries = tree.map(tree.root()).unwrap_or(&[]);
    let Some(found) = new.map(new.root()) else { return false };
    let values: BTreeMap<Option<&str>, Ix> =
        found.iter().map(|(key, value)| (new.text(*key), *value)).collect();
    let kept = |(key, value): &(Ix, Ix)| {
        let found = values.get(&tree.text(*key));
        found.is_some_and(|found| tree.same(*value, &new, *found))
    };
    found.len() == entries.len() && entries.iter().all(kept)
}

/// Cuts a document whose root is a block map; `None` where two keys share a line.
fn cut<'t>(text: &'t str, tree: &Tree<'_>) -> Option<Parts<'t>> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let entries = tree.map(tree.root()).unwrap_or(&[]);
    let start_of = |key: Ix| line_start(text, tree.raw(key).place.at);
    let starts: Vec<usize> = entries.iter().map(|(key, _)| start_of(*key)).collect();
    let mut pieces = Vec::new();
    let mut tail = String::new();
    let (head, mut lead) = split_head(&text[..starts[0]], newline);
    let mut blank = false;
    for (at, (key, value)) in entries.iter().enumerate() {
        let end = end_of(text, tree, *key, *value).max(starts[at]);
        let indent = tree.raw(*key).place.column;
        let until = starts.get(at + 1).copied();
        let gap = text.get(end..until.unwrap_or(text.len()))?;
        let mut piece = Piece { rank: rank(tree.text(*key).unwrap_or("")), ..Piece::default() };
        piece.blank = std::mem::take(&mut blank);
        piece.lead = std::mem::take(&mut lead);
        piece.body = text[starts[at]..end].to_owned();
        let rest = match gap.strip_prefix(&*indented(gap, indent)) {
            Some(rest) => {
                piece.below = gap[..gap.len() - rest.len()].to_owned();
                rest
            }
            None => gap,
        };
        if until.is_none() {
            tail = squeezed(rest, newline);
        } else {
            (blank, lead) = split_gap(rest, newline, &mut piece.below);
        }
        pieces.push(piece);
    }
    Some(Parts { newline, head, pieces, tail })
}

/// Where the lines of an entry end. Blank lines at the end of a text belong to it only where it keeps them.
fn end_of(text: &str, tree: &Tree<'_>, key: Ix, value: Ix) -> usize {
    let end = content_end(text, tree, key, value);
    let end =
        if text[..end].ends_with('\n') { end } else { past_newline(text, line_end(text, end)) };
    let start = line_start(text, tree.raw(key).place.at).min(end);
    let body = &text[start..end];
    if keeps_blanks(body) {
        return end;
    }
    let bare = body.trim_end_matches([' ', '\t', '\r', '\n']);
    past_newline(text, line_end(text, start + bare.len())).min(end)
}

/// Whether a value may be a text that keeps its last blank lines (`|+`).
fn keeps_blanks(body: &str) -> bool {
    let mut header = body.split(['|', '>']).skip(1);
    header.any(|after| after.chars().take(2).any(|c| c == '+'))
}

/// The comments at the beginning of a gap that are indented deeper than the keys.
fn indented(gap: &str, column: u32) -> String {
    let deeper = |line: &&str| {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        line.trim_start().starts_with('#') && indent >= column as usize
    };
    gap.split_inclusive('\n').take_while(deeper).collect()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// What stands before the first key: the head, and the comments right above that key.
fn split_head(text: &str, newline: &str) -> (String, String) {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mark = |line: &&str| {
        let bare = line.trim_start_matches('\u{feff}').trim_start();
        !bare.is_empty() && !bare.starts_with('#')
    };
    let marks = lines.iter().rposition(mark).map_or(0, |at| at + 1);
    let blank = lines.iter().rposition(|line| is_blank(line)).map_or(0, |at| at + 1);
    let (head, lead) = lines.split_at(marks.max(blank));
    let (bom, head) = match head.concat().strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest.to_owned()),
        None => ("", head.concat()),
    };
    let lead = lead.concat();
    // A byte order mark is no part of a comment that moves.
    let (bom, lead) = match lead.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest.to_owned()),
        None => (bom, lead),
    };
    let head = squeezed(&head, newline);
    let head = head.trim_start_matches(['\r', '\n']);
    (format!("{bom}{head}"), lead)
}

/// What stands between two keys: comments right below the first go to `below` where a blank line follows
/// them; the others lead the second. Gives whether a blank line stands before these, and them.
fn split_gap(gap: &str, newline: &str, below: &mut String) -> (bool, String) {
    let lines: Vec<&str> = gap.split_inclusive('\n').collect();
    let Some(first_blank) = lines.iter().position(|line| is_blank(line)) else {
        return (false, gap.to_owned());
    };
    below.push_str(&lines[..first_blank].concat());
    let rest = squeezed(&lines[first_blank..].concat(), newline);
    (true, rest.trim_start_matches(['\r', '\n']).to_owned())
}

/// At most one blank line in a row.
fn squeezed(text: &str, newline: &str) -> String {
    let mut kept = String::new();
    let mut after_blank = false;
    for line in text.split_inclusive('\n') {
        let blank = is_blank(line);
        match (blank, after_blank) {
            (true, true) => {}
            (true, false) => kept.push_str(newline),
            (false, _) => kept.push_str(line),
        }
        after_blank = blank;
    }
    kept
}

impl Parts<'_> {
    fn join(&self, ends_with_newline: bool) -> String {
        let mut text = self.head.clone();
        let mut parted = true;
        for piece in &self.pieces {
            if piece.blank && !parted {
                text.push_str(self.newline);
            }
            for part in [&piece.lead, &piece.body, &piece.below] {
                self.add(&mut text, part);
            }
            // A comment below, with no blank line behind it, would be one above the next key.
            let loose = piece.below.lines().next_back().is_some_and(|l| l.starts_with('#'));
            if loose {
                text.push_str(self.newline);
            }
            parted = loose || piece.below.is_empty() && keeps_blanks(&piece.body);
        }
        if self.tail.is_empty() || is_blank(&self.tail) {
            let bare = text.trim_end_matches(['\r', '\n']).len();
            let keeps = self.pieces.last().is_some_and(|p| keeps_blanks(&p.body));
            if !keeps {
                text.truncate(bare);
                text.push_str(self.newline);
            }
        }
        let tail = if is_blank(&self.tail) { "" } else { &self.tail };
        let tail = if parted { tail.trim_start_matches(['\r', '\n']) } else { tail };
        self.add(&mut text, tail);
        if !ends_with_newline {
            let bare = text.trim_end_matches(['\r', '\n']).len();
            text.truncate(bare);
        }
        text
    }

    /// Adds lines; a last one without its end gets it.
    fn add(&self, text: &mut String, part: &str) {
        text.push_str(part);
        if !part.is_empty() && !part.ends_with('\n') {
            text.push_str(self.newline);
        }
    }
}
