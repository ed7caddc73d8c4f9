//! A YAML document as a plain value, for comparisons that share no code with the editor.

use jobyard::model::edit::Scalar;
use jobyard::model::strict::{Ix, Kind, Tree};

/// What a node says, aliases followed.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum View {
    /// Nothing, `~` or `null`.
    Absent,
    /// Without quotes: it may be a number or a word.
    Plain(String),
    /// Text and nothing else.
    Text(String),
    /// With a tag of its own.
    Tagged(Box<Self>),
    /// A list.
    List(Vec<Self>),
    /// A map in its order.
    Map(Vec<(Self, Self)>),
}

impl View {
    /// What stands at a node.
    pub(super) fn of(tree: &Tree<'_>, ix: Ix) -> Self {
        let bare = match &tree.node(ix).kind {
            Kind::List(items) => Self::List(items.iter().map(|i| Self::of(tree, *i)).collect()),
            Kind::Map(entries) => {
                let pair = |(k, v): &(Ix, Ix)| (Self::of(tree, *k), Self::of(tree, *v));
                Self::Map(entries.iter().map(pair).collect())
            }
            _ if tree.is_null(ix) => Self::Absent,
            _ => match (tree.plain(ix), tree.text(ix)) {
                (Some(text), _) => Self::Plain(text.to_owned()),
                (None, text) => Self::Text(text.unwrap_or_default().to_owned()),
            },
        };
        if tree.node(ix).foreign_tag { Self::Tagged(Box::new(bare)) } else { bare }
    }

    /// Its keys and values by name, whatever its tag; nothing when it is no map.
    pub(super) fn entries(self) -> Vec<(String, Self)> {
        let entries = match self {
            Self::Map(entries) => entries,
            Self::Tagged(bare) => return bare.entries(),
            _ => return Vec::new(),
        };
        let named = |(key, value): (Self, Self)| match key {
            Self::Plain(name) | Self::Text(name) => (name, value),
            other => (format!("{other:?}"), value),
        };
        entries.into_iter().map(named).collect()
    }

    /// It has a tag of its own.
    pub(super) fn is_tagged(&self) -> bool {
        matches!(self, Self::Tagged(_))
    }

    /// Whether it says what an edit was told to write.
    pub(super) fn says(&self, scalar: &Scalar) -> bool {
        let text = match self {
            Self::Plain(text) | Self::Text(text) => text,
            Self::Absent => return *scalar == Scalar::Null,
            _ => return false,
        };
        match scalar {
            Scalar::Text(wanted) => text == wanted,
            Scalar::Int(number) => *text == number.to_string(),
            Scalar::Time(moment) => *text == moment.rfc3339() && matches!(self, Self::Text(_)),
            Scalar::Null => false,
        }
    }
}

/// Where the texts of a document lie, in bytes: what looks like a comment in there is none.
pub(super) fn spans(tree: &Tree<'_>) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut open = vec![tree.root()];
    while let Some(ix) = open.pop() {
        let node = tree.raw(ix);
        match &node.kind {
            Kind::Scalar(..) => spans.push((node.place.at, node.end)),
            Kind::List(items) => open.extend(items),
            Kind::Map(entries) => open.extend(entries.iter().flat_map(|(k, v)| [*k, *v])),
            Kind::Alias(_) => {}
        }
    }
    spans
}
