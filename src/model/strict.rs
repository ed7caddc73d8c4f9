//! Strict reading of people's YAML into a tree with positions.
//!
//! Invariants: one document, no duplicate keys, keys are text, indentation without tabs, nesting and
//! node count bounded with every alias counted at its full size, so walking a [`Tree`] is cheap.
//! Merge keys, types and meaning are not judged here.

pub mod source;

use crate::model::defect::Defect;
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};
use serde_saphyr::granit_parser::{StructureStyle, Tag};
use source::{Place, Source, number};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Deepest nesting of lists and maps; orders written by people stay below 8.
pub const DEPTH_MAX: usize = 32;

/// Most nodes of a file, each alias counted with all that it repeats.
pub const NODES_MAX: u32 = 20_000;

/// Index of a node in its tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ix(u32);

/// How a scalar is written.
pub type Style = ScalarStyle;

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// Text, after escapes are resolved.
    Scalar(Cow<'a, str>, Style),
    /// Keys and values in the order of the file.
    Map(Vec<(Ix, Ix)>),
    /// Items in the order of the file.
    List(Vec<Ix>),
    /// Stands for another node.
    Alias(Ix),
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// Where its content begins, without anchor and tag.
    pub place: Place,
    /// Where its content ends, in bytes. For block lists and maps this may lie behind comments.
    pub end: usize,
    /// Written as `[…]` or `{…}`.
    pub flow: bool,
    /// A tag that is not one of YAML's own.
    pub foreign_tag: bool,
    /// Tagged `!!str`: text, however it looks.
    pub forced_text: bool,
    /// What it is.
    pub kind: Kind<'a>,
}

/// One YAML document.
#[derive(Debug)]
pub struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    root: Ix,
    /// Where the document ends: its `...` line or the end of the text.
    pub end: usize,
}

impl<'a> Tree<'a> {
    /// Reads the one document of `source`; all that is wrong with it otherwise, never empty.
    pub fn read(source: Source<'a>) -> Result<Self, Vec<Defect>> {
        let mut reading = Reading::new(source);
        reading.run().map_err(|defect| vec![defect])?;
        reading.finish()
    }

    /// The root node.
    pub fn root(&self) -> Ix {
        self.root
    }

    /// The node itself, aliases not followed.
    pub fn raw(&self, ix: Ix) -> &Node<'a> {
        &self.nodes[ix.0 as usize]
    }

    /// The node an index stands for.
    pub fn node(&self, ix: Ix) -> &Node<'a> {
        match self.raw(ix).kind {
            Kind::Alias(target) => self.raw(target),
            _ => self.raw(ix),
        }
    }

    /// Keys and values, if the node is a map.
    pub fn map(&self, ix: Ix) -> Option<&[(Ix, Ix)]> {
        match &self.node(ix).kind {
            Kind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Items, if the node is a list.
    pub fn list(&self, ix: Ix) -> Option<&[Ix]> {
        match &self.node(ix).kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub fn text(&self, ix: Ix) -> Option<&str> {
        match &self.node(ix).kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar that is written without quotes, so that it may be a number or a word.
    pub fn plain(&self, ix: Ix) -> Option<&str> {
        let node = self.node(ix);
        match &node.kind {
            Kind::Scalar(text, Style::Plain) if !node.forced_text => Some(text),
            _ => None,
        }
    }

    /// Whether the value is absent: nothing, `~` or `null`.
    pub fn is_null(&self, ix: Ix) -> bool {
        matches!(self.plain(ix), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key of a map.
    pub fn get(&self, map: Ix, key: &str) -> Option<Ix> {
        self.entry(map, key).map(|(_, value)| value)
    }

    /// Key and value nodes of a key of a map.
    pub fn entry(&self, map: Ix, key: &str) -> Option<(Ix, Ix)> {
        self.map(map)?.iter().copied().find(|(k, _)| self.text(*k) == Some(key))
    }

    /// Whether two nodes say the same: aliases followed, how text is quoted left aside, but not
    /// whether it is quoted at all.
    pub fn same(&self, ix: Ix, other: &Tree<'_>, other_ix: Ix) -> bool {
        let (a, b) = (self.node(ix), other.node(other_ix));
        let tags = a.foreign_tag == b.foreign_tag && a.forced_text == b.forced_text;
        tags && match (&a.kind, &b.kind) {
            (Kind::Scalar(x, p), Kind::Scalar(y, q)) => {
                x == y && (*p == Style::Plain) == (*q == Style::Plain)
            }
            (Kind::List(x), Kind::List(y)) => {
                x.len() == y.len() && x.iter().zip(y).all(|(x, y)| self.same(*x, other, *y))
            }
            (Kind::Map(x), Kind::Map(y)) => {
                let pair = |((k, v), (l, w)): (&(Ix, Ix), &(Ix, Ix))| {
                    self.same(*k, other, *l) && self.same(*v, other, *w)
                };
                x.len() == y.len() && x.iter().zip(y).all(pair)
            }
            _ => false,
        }
    }
}

/// A list or map whose end was not met yet.
struct Open {
    ix: Ix,
    anchor: usize,
    children: Vec<Ix>,
    is_map: bool,
    total_before: u32,
}

struct Reading<'a> {
    source: Source<'a>,
    nodes: Vec<Node<'a>>,
    open: Vec<Open>,
    /// Anchored nodes that are complete, with the number of nodes each stands for.
    anchors: BTreeMap<usize, (Ix, u32)>,
    root: Option<Ix>,
    documents: u32,
    total: u32,
    end: usize,
    defects: Vec<Defect>,
}

impl<'a> Reading<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            nodes: Vec::with_capacity(32),
            open: Vec::new(),
            anchors: BTreeMap::new(),
            root: None,
            documents: 0,
            total: 0,
            end: source.text.len(),
            defects: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Defect> {
        let mut options = granit_parser::Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = DEPTH_MAX;
        options.block_nesting_limit = DEPTH_MAX;
        for event in Parser::new_from_str_with_options(self.source.text, options) {
            match event {
                Ok((event, span)) => self.take(event, span)?,
                Err(e) => return Err(syntax_defect(self.source, &e)),
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'a>, span: Span) -> Result<(), Defect> {
        match event {
            Event::DocumentStart(..) => self.start_document(&span),
            Event::DocumentEnd => {
                self.end = span.start.byte_offset().unwrap_or(self.source.text.len());
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, &span),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(text, style, anchor, tag.as_deref(), &span)
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.push_open(false, style, anchor, tag.as_deref(), &span)
            }
            Event::MappingStart(style, anchor, tag) => {
                self.push_open(true, style, anchor, tag.as_deref(), &span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close(&span);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start_document(&mut self, span: &Span) -> Result<(), Defect> {
        self.documents += 1;
        if self.documents == 1 {
            return Ok(());
        }
        let message = "a second document begins here; one file holds one document: remove this \
                       `---` or put what follows into a file of its own";
        Err(self.source.defect(place_of(span), message))
    }

    fn scalar(
        &mut self,
        text: Cow<'a, str>,
        style: Style,
        anchor: usize,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<(), Defect> {
        let place = place_of(span);
        if text.contains('\0') {
            return Err(self.source.defect(place, "the text holds an escaped NUL; remove it"));
        }
        // A value that is left out is reported as `~` of no width.
        let empty = style == Style::Plain && span.is_empty();
        let text = if empty { Cow::Borrowed("") } else { text };
        let ix = self.add(Kind::Scalar(text, style), tag, span)?;
        if anchor > 0 {
            self.anchors.insert(anchor, (ix, 1));
        }
        self.place_child(ix);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<(), Defect> {
        let Some(&(target, size)) = self.anchors.get(&anchor) else {
            let message = "this alias stands inside what it repeats; write the value out";
            return Err(self.source.defect(place_of(span), message));
        };
        self.total = self.total.saturating_add(size);
        let ix = self.add(Kind::Alias(target), None, span)?;
        self.place_child(ix);
        Ok(())
    }

    fn push_open(
        &mut self,
        is_map: bool,
        style: StructureStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<(), Defect> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(self.source, place_of(span)));
        }
        let kind = if is_map { Kind::Map(Vec::new()) } else { Kind::List(Vec::new()) };
        let total_before = self.total;
        let ix = self.add(kind, tag, span)?;
        self.nodes[ix.0 as usize].flow = matches!(style, StructureStyle::Flow);
        self.open.push(Open { ix, anchor, children: Vec::new(), is_map, total_before });
        Ok(())
    }

    fn close(&mut self, span: &Span) {
        let Some(open) = self.open.pop() else { return };
        let node = &mut self.nodes[open.ix.0 as usize];
        node.end = span.end.byte_offset().unwrap_or(node.end);
        if open.is_map {
            let entries: Vec<(Ix, Ix)> =
                open.children.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
            self.check_keys(&entries);
            self.nodes[open.ix.0 as usize].kind = Kind::Map(entries);
        } else {
            node.kind = Kind::List(open.children);
        }
        if open.anchor > 0 {
            self.anchors.insert(open.anchor, (open.ix, self.total - open.total_before));
        }
        self.place_child(open.ix);
    }

    fn add(&mut self, kind: Kind<'a>, tag: Option<&Tag>, span: &Span) -> Result<Ix, Defect> {
        let place = place_of(span);
        self.total = self.total.saturating_add(1);
        if self.total > NODES_MAX {
            let message = format!(
                "more than {NODES_MAX} values up to here, each alias counted with all that it repeats"
            );
            return Err(self.source.defect(place, message));
        }
        let (foreign_tag, forced_text) = tag.map_or((false, false), |t| {
            let own = t.is_yaml_core_schema();
            (!own, own && t.suffix() == "str")
        });
        let end = span.end.byte_offset().unwrap_or(place.at);
        let ix = Ix(number(self.nodes.len()));
        self.nodes.push(Node { place, end, flow: false, foreign_tag, forced_text, kind });
        Ok(ix)
    }

    fn place_child(&mut self, ix: Ix) {
        match self.open.last_mut() {
            Some(open) => open.children.push(ix),
            None => self.root = Some(ix),
        }
    }

    /// Refuses keys that are no text and keys that stand twice.
    fn check_keys(&mut self, entries: &[(Ix, Ix)]) {
        let mut keys: Vec<(&str, u32, Place)> = Vec::with_capacity(entries.len());
        for (key, _) in entries {
            let node = &self.nodes[key.0 as usize];
            if let Kind::Scalar(text, _) = &node.kind {
                keys.push((text, key.0, node.place));
            } else if self.defects.len() < 20 {
                let message = "a key must be plain text here; quote a value that begins with `{`, \
                               `[` or `*`";
                self.defects.push(self.source.defect(node.place, message));
            }
        }
        keys.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        for pair in keys.windows(2) {
            let ((name, _, first), (again, _, second)) = (pair[0], pair[1]);
            if name == again && self.defects.len() < 20 {
                let message = format!(
                    "the key `{}` stands twice, on line {} and on line {}; keep one of them",
                    clip(name),
                    first.line,
                    second.line
                );
                self.defects.push(self.source.defect(second, message));
            }
        }
    }

    fn finish(self) -> Result<Tree<'a>, Vec<Defect>> {
        let Some(root) = self.root else {
            let message = if self.source.text.trim().is_empty() {
                "the file is empty; expected `key: value` lines"
            } else {
                "the file holds nothing but comments; expected `key: value` lines"
            };
            return Err(vec![Defect::whole(self.source.code, message)]);
        };
        let tree = Tree { nodes: self.nodes, root, end: self.end };
        let mut defects = self.defects;
        if self.source.text.contains('\t') {
            defects.extend(tab_defect(self.source, &tree));
        }
        if defects.is_empty() { Ok(tree) } else { Err(defects) }
    }
}

/// At most 60 characters of a name, escaped, for messages.
pub(crate) fn clip(text: &str) -> String {
    let mut short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

fn place_of(span: &Span) -> Place {
    let at = span.start.byte_offset().unwrap_or(0);
    Place { at, line: number(span.start.line()), column: number(span.start.col() + 1) }
}

fn too_deep(source: Source<'_>, place: Place) -> Defect {
    source.defect(place, format!("lists and maps are nested deeper than {DEPTH_MAX} levels here"))
}

/// The first line whose indentation holds a tab and that is not part of a text.
fn tab_defect(source: Source<'_>, tree: &Tree<'_>) -> Option<Defect> {
    let scalars = tree.nodes.iter().filter(|n| matches!(n.kind, Kind::Scalar(..)));
    let mut spans = scalars.map(|n| (n.place.at, n.end)).peekable();
    let mut at = 0;
    for line in source.text.split('\n') {
        let bare = line.trim_start_matches([' ', '\t']);
        let indent = &line[..line.len() - bare.len()];
        if let Some(tab) = indent.find('\t').filter(|_| !bare.trim().is_empty()) {
            let tab_at = at + tab;
            while spans.next_if(|(_, end)| *end <= tab_at).is_some() {}
            let in_text = spans.peek().is_some_and(|(start, _)| *start <= tab_at);
            if !in_text && !bare.starts_with('#') {
                return Some(source.defect(source.place(tab_at), TAB_MESSAGE));
            }
        }
        at += line.len() + 1;
    }
    None
}

const TAB_MESSAGE: &str = "a tab in the indentation; indent with spaces";

/// What the reader of the syntax found, with the cure where it is known.
fn syntax_defect(source: Source<'_>, error: &ScanError) -> Defect {
    let marker = error.marker();
    let at = marker.byte_offset().unwrap_or(0).min(source.text.len());
    let place = Place { at, line: number(marker.line()), column: number(marker.col() + 1) };
    let line_start = source.text.get(..at).and_then(|t| t.rfind('\n')).map_or(0, |n| n + 1);
    let line = source.text.get(line_start..).unwrap_or("").lines().next().unwrap_or("");
    let bare = line.trim_start_matches([' ', '\t']);
    let indent = &line[..line.len() - bare.len()];
    if let Some(tab) = indent.find('\t') {
        return source.defect(source.place(line_start + tab), TAB_MESSAGE);
    }
    let hint = match error.kind() {
        ErrorKind::RecursionLimitExceeded => return too_deep(source, place),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "; put a text that holds `: ` in quotes, and give keys of one map the same indentation"
        }
        ErrorKind::UnexpectedCharacter { .. } => {
            "; put a text that begins with this character in quotes"
        }
        ErrorKind::UnknownAnchor => "; put a text that begins with `*` in quotes",
        ErrorKind::InvalidQuotedScalarIndent | ErrorKind::UnclosedQuotedScalar => {
            "; a quote further up is not closed"
        }
        ErrorKind::BlockSequenceEntryNotAllowed => "; begin a list on a line of its own",
        _ => "",
    };
    let info: String = error.info().chars().take(200).filter(|c| !c.is_control()).collect();
    source.defect(place, format!("not valid YAML: {info}{hint}"))
}
