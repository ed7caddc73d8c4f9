//! Typed reading of a strict tree: each call gives a value or records what was expected, and where.
//!
//! Invariants: reading goes on after a defect, so that a person sees all of them at once; their
//! number is bounded; an absent value (`null`) is never an error here.

use super::nearest;
use crate::model::defect::{Defect, UNKNOWN_KEY};
use crate::model::strict::source::Source;
use crate::model::strict::{Ix, Kind, Tree, clip};

/// Most defects and most warnings that are kept of one file.
pub(crate) const DEFECTS_MAX: usize = 20;

/// Reads values out of one tree and collects what is wrong.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    /// The text.
    pub(crate) source: Source<'t>,
    /// Its tree.
    pub(crate) tree: &'t Tree<'t>,
    /// What refuses the file.
    pub(crate) defects: Vec<Defect>,
    /// What does not.
    pub(crate) warnings: Vec<Defect>,
}

impl<'t> Reader<'t> {
    /// A reader without findings.
    pub(crate) fn new(source: Source<'t>, tree: &'t Tree<'t>) -> Self {
        Self { source, tree, defects: Vec::new(), warnings: Vec::new() }
    }

    /// Records a refusal at a node.
    pub(crate) fn fail(&mut self, ix: Ix, message: impl Into<String>) {
        if self.defects.len() < DEFECTS_MAX {
            self.defects.push(self.source.defect(self.tree.raw(ix).place, message));
        }
    }

    /// Records a warning at a node.
    pub(crate) fn warn(&mut self, code: &'static str, ix: Ix, message: impl Into<String>) {
        if self.warnings.len() < DEFECTS_MAX {
            let place = self.tree.raw(ix).place;
            self.warnings.push(self.source.defect_as(code, place, message));
        }
    }

    /// Records that a value has another type than `expected`.
    pub(crate) fn fail_type(&mut self, ix: Ix, name: &str, expected: &str) {
        let found = self.describe(ix);
        self.fail(ix, format!("`{name}`: expected {expected}, found {found}"));
    }

    /// What a node is, for messages; never its text when that may be secret.
    fn describe(&self, ix: Ix) -> String {
        let node = self.tree.node(ix);
        match &node.kind {
            Kind::Scalar(..) if self.tree.is_null(ix) => "nothing".to_owned(),
            Kind::Scalar(text, _) => format!("`{}`", clip(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) if node.flow => {
                "a map; a text that begins with `{` must be quoted".to_owned()
            }
            Kind::Map(entries) if entries.len() == 1 => {
                "a map: an unquoted `: ` made one of the text; put the text in quotes".to_owned()
            }
            Kind::Map(_) => "a map".to_owned(),
            Kind::Alias(_) => "an alias".to_owned(),
        }
    }

    /// A text; numbers and words count as written.
    pub(crate) fn text(&mut self, ix: Ix, name: &str) -> Option<String> {
        if self.tree.is_null(ix) {
            return None;
        }
        match (self.tree.text(ix), self.tree.node(ix).foreign_tag) {
            (Some(text), false) => Some(text.to_owned()),
            (Some(_), true) => {
                self.fail(ix, format!("`{name}`: tags of your own have no meaning here"));
                None
            }
            _ => {
                self.fail_type(ix, name, "text");
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, ix: Ix, name: &str) -> Vec<String> {
        if self.tree.is_null(ix) {
            return Vec::new();
        }
        let tree = self.tree;
        let Some(items) = tree.list(ix) else {
            self.fail_type(ix, name, "a list of texts");
            return Vec::new();
        };
        items.iter().filter_map(|item| self.item(*item, name)).collect()
    }

    /// A list of texts, or one text alone.
    pub(crate) fn text_or_texts(&mut self, ix: Ix, name: &str) -> Vec<String> {
        match self.tree.node(ix).kind {
            Kind::Scalar(..) => self.text(ix, name).into_iter().collect(),
            Kind::List(_) => self.texts(ix, name),
            _ => {
                self.fail_type(ix, name, "a text or a list of texts");
                Vec::new()
            }
        }
    }

    /// A text of a list, where an absent one is a defect.
    pub(crate) fn item(&mut self, ix: Ix, name: &str) -> Option<String> {
        if self.tree.is_null(ix) {
            self.fail(
                ix,
                format!("`{name}`: an item of the list is empty; remove it or fill it in"),
            );
            return None;
        }
        self.text(ix, name)
    }

    /// A whole number from 0 to `max`.
    pub(crate) fn whole(&mut self, ix: Ix, name: &str, max: u64) -> Option<u64> {
        if self.tree.is_null(ix) {
            return None;
        }
        let number = self.tree.text(ix).and_then(digits).filter(|n| *n <= max);
        if number.is_none() {
            self.fail_type(ix, name, &format!("a whole number from 0 to {max}"));
        }
        number
    }

    /// The same as `u32`.
    pub(crate) fn count(&mut self, ix: Ix, name: &str) -> Option<u32> {
        self.whole(ix, name, u64::from(u32::MAX)).and_then(|n| u32::try_from(n).ok())
    }

    /// `true` or `false`, unquoted; the words of older YAML versions are understood.
    pub(crate) fn truth(&self, ix: Ix) -> Option<bool> {
        match self.tree.plain(ix)? {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// `true` or `false`, else a defect.
    pub(crate) fn flag(&mut self, ix: Ix, name: &str) -> bool {
        let truth = self.truth(ix);
        if truth.is_none() && !self.tree.is_null(ix) {
            self.fail_type(ix, name, "true or false");
        }
        truth.unwrap_or(false)
    }

    /// The entries of a map; nothing when absent.
    pub(crate) fn entries(&mut self, ix: Ix, name: &str, expected: &str) -> &'t [(Ix, Ix)] {
        let tree = self.tree;
        if tree.is_null(ix) {
            return &[];
        }
        let Some(entries) = tree.map(ix) else {
            self.fail_type(ix, name, expected);
            return &[];
        };
        if let Some((key, _)) = entries.iter().find(|(key, _)| self.is_merge(*key)) {
            self.fail(*key, "merge keys (`<<`) are not read; write the keys out");
        }
        entries
    }

    fn is_merge(&self, key: Ix) -> bool {
        self.tree.plain(key) == Some("<<")
    }

    /// The text of a key.
    pub(crate) fn key(&self, ix: Ix) -> &'t str {
        let tree = self.tree;
        tree.text(ix).unwrap_or("")
    }

    /// Warns when an unknown key looks like one of `known`; keys that begin with `x_` are the user's.
    pub(crate) fn unknown_key(&mut self, key: Ix, prefix: &str, known: &[&str]) {
        let word = self.key(key);
        let told = self.warnings.len() >= DEFECTS_MAX;
        if told || word.starts_with("x_") || word.starts_with("x-") {
            return;
        }
        if let Some(near) = nearest(word, known) {
            let word = clip(word);
            let message = format!(
                "`{prefix}{word}` is not known and has no effect; the nearest known key is \
                 `{prefix}{near}`"
            );
            self.warn(UNKNOWN_KEY, key, message);
        }
    }

    /// Refuses a word that is none of `words`, naming the nearest.
    pub(crate) fn fail_word(&mut self, ix: Ix, name: &str, word: &str, words: &[&str]) {
        let near = nearest(word, words).map_or_else(String::new, |n| format!("; nearest: `{n}`"));
        let list = words.join(", ");
        self.fail(ix, format!("`{name}`: expected one of {list}; found `{}`{near}", clip(word)));
    }
}

/// A number of decimal digits and nothing else.
pub(crate) fn digits(text: &str) -> Option<u64> {
    let clean = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if clean { text.parse().ok() } else { None }
}
