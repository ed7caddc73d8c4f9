//! Where an edit cuts into the text, and what it puts there.
//!
//! Invariants: every cut lies inside the entry that is meant, comments left standing; cuts do not
//! overlap. Whether the result says what was meant is not judged here but by `agree`.

use super::agree::{is, shown};
use super::place::{
    block_content, block_header, comments, content_end, line_end, line_start, past_newline,
    skip_past, value_start,
};
use super::{Scalar, Target, Want, quote};
use crate::model::defect::{CANNOT_EDIT, Defect};
use crate::model::strict::source::Source;
use crate::model::strict::{Ix, Kind, Style, Tree};

/// A way to bring changes about. The later ones are for block texts that keep the empty lines behind
/// them (`|+`), which a line more or less below them would change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// New keys go before the last entry of a block map instead of behind it.
    before_last: bool,
    /// Removed keys of a block map become `null`, which says the same.
    nulls: bool,
}

impl Way {
    /// All ways, the best first.
    pub(super) const ALL: [Self; 4] = [
        Self { before_last: false, nulls: false },
        Self { before_last: true, nulls: false },
        Self { before_last: false, nulls: true },
        Self { before_last: true, nulls: true },
    ];
}

/// Replace `start..end` by `text`.
struct Cut {
    start: usize,
    end: usize,
    text: String,
}

/// One edit under way.
struct Cutting<'e> {
    source: Source<'e>,
    text: &'e str,
    tree: &'e Tree<'e>,
    newline: &'static str,
    way: Way,
    cuts: Vec<Cut>,
}

/// The text with all targets brought about.
pub(super) fn apply(
    source: Source<'_>,
    tree: &Tree<'_>,
    targets: &[Target<'_>],
    way: Way,
) -> Result<String, Defect> {
    let text = source.text;
    let crlf = text.find('\n').is_some_and(|n| text[..n].ends_with('\r'));
    let newline = if crlf { "\r\n" } else { "\n" };
    let mut cutting = Cutting { source, text, tree, newline, way, cuts: Vec::new() };
    for target in targets {
        cutting.target(target)?;
    }
    let mut new = cutting.join()?;
    if !way.before_last && !text.ends_with('\n') && new.ends_with(newline) {
        new.truncate(new.len() - newline.len());
    }
    Ok(new)
}

impl Cutting<'_> {
    fn target(&mut self, target: &Target<'_>) -> Result<(), Defect> {
        let tree = self.tree;
        let entries = tree.map(target.map).unwrap_or(&[]);
        let flow = tree.raw(target.map).flow;
        let json = flow && entries.first().is_some_and(|(key, _)| self.is_json_key(*key));
        let mut new = Vec::new();
        let mut gone = Vec::new();
        for (name, want) in &target.wants {
            let at = entries.iter().position(|(key, _)| tree.text(*key) == Some(name));
            match (want, at) {
                (Want::Gone, None) => {}
                (Want::Gone, Some(at)) => gone.push(at),
                (want, None) => new.push((*name, want)),
                (Want::Is(scalar), Some(at)) => {
                    let (key, value) = entries[at];
                    if !is(tree, value, scalar) {
                        self.replace(key, value, |old| quote::write(scalar, old, json))?;
                    }
                }
                (Want::Map(values), Some(at)) => {
                    let (key, value) = entries[at];
                    self.replace(key, value, |_| flow_map(values, json))?;
                }
            }
        }
        gone.sort_unstable();
        if flow {
            self.remove_flow(entries, &gone);
        } else {
            for at in gone {
                let (key, value) = entries[at];
                if self.way.nulls {
                    self.empty(key, value);
                } else {
                    self.remove_block(key, value)?;
                }
            }
        }
        match (new.is_empty(), flow) {
            (true, _) => Ok(()),
            (false, true) => {
                self.add_flow(target.map, entries, &new, json);
                Ok(())
            }
            (false, false) if target.map == tree.root() => self.add_root(entries, &new),
            (false, false) => self.add_block(entries, &new),
        }
    }

    fn is_json_key(&self, key: Ix) -> bool {
        matches!(self.tree.raw(key).kind, Kind::Scalar(_, Style::DoubleQuoted))
    }

    fn cut(&mut self, start: usize, end: usize, text: String) {
        self.cuts.push(Cut { start, end, text });
    }

    fn refuse(&self, key: Ix, why: &str) -> Defect {
        let name = shown(self.tree, key);
        self.source.defect(self.tree.raw(key).place, format!("`{name}` cannot be edited: {why}"))
    }

    /// Replaces a value, given its old style.
    fn replace(
        &mut self,
        key: Ix,
        value: Ix,
        write: impl Fn(Option<Style>) -> String,
    ) -> Result<(), Defect> {
        let node = self.tree.raw(value);
        let (at, end) = (node.place.at, node.end);
        match &node.kind {
            Kind::Alias(_) => self.cut(at, end, write(None)),
            Kind::Scalar(_, Style::Plain) if at == end => {
                let (at, colon) = match value_start(self.text, self.tree, key) {
                    Some(start) => (start.trim_end, ""),
                    None => (self.tree.raw(key).end, ":"),
                };
                self.cut(at, at, format!("{colon} {}", write(None)));
            }
            Kind::Scalar(_, Style::Literal | Style::Folded) => {
                let Some(header) = block_header(self.text, self.tree, key) else {
                    return Err(self.refuse(key, "where its text begins was not found"));
                };
                self.cut(header.start, header.end, write(None));
                let (from, to) = block_content(self.text, header.end, end);
                self.cut(from, to, String::new());
            }
            Kind::Scalar(_, style) => self.cut(at, end, write(Some(*style))),
            Kind::List(_) | Kind::Map(_) => {
                return Err(self.refuse(key, "it holds a list or a map where one value belongs"));
            }
        }
        Ok(())
    }

    /// Makes a value `null`, anchor and tag included, where its lines must stay.
    fn empty(&mut self, key: Ix, value: Ix) {
        if let Some(start) = value_start(self.text, self.tree, key) {
            let end = content_end(self.text, self.tree, key, value);
            let value = self.text.get(start.colon_end..end).unwrap_or("");
            let width = value.trim_end_matches(['\r', '\n']).len();
            self.cut(start.colon_end, start.colon_end + width, " null".to_owned());
        }
    }

    /// Removes the lines of an entry; a comment beside it becomes a line of its own.
    fn remove_block(&mut self, key: Ix, value: Ix) -> Result<(), Defect> {
        let key_at = self.tree.raw(key).place.at;
        let start = line_start(self.text, key_at);
        if !self.text[start..key_at].bytes().all(|b| b == b' ') {
            return Err(self.refuse(key, "its line begins with something else"));
        }
        let indent = self.text[start..key_at].to_owned();
        let block = match self.tree.raw(value).kind {
            Kind::Scalar(_, Style::Literal | Style::Folded) => {
                block_header(self.text, self.tree, key)
            }
            _ => None,
        };
        let end = match &block {
            Some(header) => header.end,
            None => content_end(self.text, self.tree, key, value),
        };
        let line_end = line_end(self.text, end);
        let comment = self.text[end..line_end].find('#').map(|n| end + n);
        let past = past_newline(self.text, line_end);
        match comment {
            Some(comment) => self.cut(start, comment, indent),
            None => self.cut(start, past, String::new()),
        }
        if let Some(header) = block {
            let (from, to) = block_content(self.text, header.end, self.tree.raw(value).end);
            let (from, to) = (past_newline(self.text, from), past_newline(self.text, to));
            self.cut(from, to.max(from), String::new());
        }
        Ok(())
    }

    /// Removes runs of entries of a flow map, each with one comma; comments between them stay.
    fn remove_flow(&mut self, entries: &[(Ix, Ix)], gone: &[usize]) {
        let mut next = 0;
        while next < gone.len() {
            let first = gone[next];
            let mut last = first;
            while gone.get(next + 1) == Some(&(last + 1)) {
                next += 1;
                last += 1;
            }
            next += 1;
            let end_of = |at: usize| {
                let (key, value) = entries[at];
                content_end(self.text, self.tree, key, value)
            };
            let start_of = |at: usize| self.tree.raw(entries[at].0).place.at;
            let (start, end) = if last + 1 < entries.len() {
                (start_of(first), start_of(last + 1))
            } else if first > 0 {
                (end_of(first - 1), end_of(last))
            } else {
                let end = end_of(last);
                let comma = self.text[end..].trim_start().starts_with(',');
                (start_of(first), if comma { skip_past(self.text, end, ',') } else { end })
            };
            let mut kept = String::new();
            let mut from = start;
            for at in first..=last {
                kept.push_str(&comments(&self.text[from..start_of(at).max(from)], self.newline));
                from = end_of(at);
            }
            kept.push_str(&comments(&self.text[from..end.max(from)], self.newline));
            self.cut(start, end, kept);
        }
    }

    /// Adds entries behind the last one of a flow map.
    fn add_flow(&mut self, map: Ix, entries: &[(Ix, Ix)], new: &[(&str, &Want<'_>)], json: bool) {
        let list: Vec<String> = new.iter().map(|(name, want)| inline(name, want, json)).collect();
        let list = list.join(", ");
        match entries.last() {
            Some((key, value)) => {
                let end = content_end(self.text, self.tree, *key, *value);
                self.cut(end, end, format!(", {list}"));
            }
            None => {
                let inside = self.tree.raw(map).place.at + 1;
                self.cut(inside, inside, list);
            }
        }
    }

    /// Adds lines behind the last entry of a block map that is not the root.
    fn add_block(&mut self, entries: &[(Ix, Ix)], new: &[(&str, &Want<'_>)]) -> Result<(), Defect> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Err(Defect::whole(
                CANNOT_EDIT,
                "a map without entries has no place for new keys",
            ));
        };
        let key_at = self.tree.raw(first.0).place.at;
        let indent = self.column(key_at);
        let lines = self.lines(new, indent);
        if self.way.before_last {
            return self.add_before(last.0, lines);
        }
        let end = content_end(self.text, self.tree, last.0, last.1);
        let at = if self.text[..end].ends_with('\n') {
            end
        } else {
            past_newline(self.text, line_end(self.text, end))
        };
        self.add_lines(at, lines);
        Ok(())
    }

    /// Adds lines at the end of the root map, before `x_jobyard` when that is the last entry.
    fn add_root(&mut self, entries: &[(Ix, Ix)], new: &[(&str, &Want<'_>)]) -> Result<(), Defect> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Err(Defect::whole(
                CANNOT_EDIT,
                "a map without entries has no place for new keys",
            ));
        };
        let indent = self.column(self.tree.raw(first.0).place.at);
        let lines = self.lines(new, indent);
        let own_last = self.tree.text(last.0) == Some(super::OWN);
        if own_last || self.way.before_last {
            return self.add_before(last.0, lines);
        }
        let marked = self.text.get(self.tree.end..).is_some_and(|rest| rest.starts_with("..."));
        let at = if marked { self.tree.end } else { self.text.len() };
        self.add_lines(at, lines);
        Ok(())
    }

    fn add_before(&mut self, key: Ix, lines: Vec<String>) -> Result<(), Defect> {
        let key_at = self.tree.raw(key).place.at;
        let start = line_start(self.text, key_at);
        if !self.text[start..key_at].bytes().all(|b| b == b' ') {
            return Err(self.refuse(key, "its line begins with something else"));
        }
        self.cut(
            start,
            start,
            lines.iter().map(|line| format!("{line}{}", self.newline)).collect(),
        );
        Ok(())
    }

    /// Inserts whole lines at the start of a line or at the end of the text.
    fn add_lines(&mut self, at: usize, lines: Vec<String>) {
        let newline = self.newline;
        let open_line = at > 0 && !self.text[..at].ends_with('\n');
        let cut_away =
            self.cuts.iter().any(|cut| cut.end == at && cut.start < at && cut.text.is_empty());
        let text = if open_line && !cut_away {
            lines.iter().map(|line| format!("{newline}{line}")).collect()
        } else {
            lines.iter().map(|line| format!("{line}{newline}")).collect()
        };
        self.cut(at, at, text);
    }

    /// New entries as lines; nested ones below their name.
    fn lines(&self, new: &[(&str, &Want<'_>)], indent: usize) -> Vec<String> {
        let pad = " ".repeat(indent);
        let mut lines = Vec::new();
        for (name, want) in new {
            match want {
                Want::Is(scalar) => {
                    lines.push(format!("{pad}{name}: {}", quote::write(scalar, None, false)));
                }
                Want::Map(values) => {
                    lines.push(format!("{pad}{name}:"));
                    lines.extend(values.iter().map(|(name, scalar)| {
                        format!("{pad}  {name}: {}", quote::write(scalar, None, false))
                    }));
                }
                Want::Gone => {}
            }
        }
        lines
    }

    fn column(&self, at: usize) -> usize {
        self.text[line_start(self.text, at)..at].chars().count()
    }

    /// Puts the pieces together.
    fn join(mut self) -> Result<String, Defect> {
        self.cuts.retain(|cut| cut.start < cut.end || !cut.text.is_empty());
        self.cuts.sort_by_key(|cut| (cut.start, cut.end));
        let added: usize = self.cuts.iter().map(|cut| cut.text.len()).sum();
        let mut out = String::with_capacity(self.text.len() + added);
        let mut from = 0;
        for cut in &self.cuts {
            let Some(kept) = self.text.get(from..cut.start) else {
                return Err(Defect::whole(CANNOT_EDIT, "two edits meet in one place of the text"));
            };
            out.push_str(kept);
            out.push_str(&cut.text);
            from = cut.end;
        }
        out.push_str(&self.text[from..]);
        Ok(out)
    }
}

/// `key: value` for the inside of a flow map.
fn inline(name: &str, want: &Want<'_>, json: bool) -> String {
    let key = quote::write_key(name, json);
    match want {
        Want::Is(scalar) => format!("{key}: {}", quote::write(scalar, None, json)),
        Want::Map(values) => format!("{key}: {}", flow_map(values, json)),
        Want::Gone => String::new(),
    }
}

fn flow_map(values: &[(&str, &Scalar)], json: bool) -> String {
    let entry = |(name, scalar): &(&str, &Scalar)| {
        format!("{}: {}", quote::write_key(name, json), quote::write(scalar, None, json))
    };
    let list: Vec<String> = values.iter().map(entry).collect();
    format!("{{{}}}", list.join(", "))
}
