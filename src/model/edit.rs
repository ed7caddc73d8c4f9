//! Edits of a person's YAML that change the intended keys and nothing else.
//!
//! Invariants: comments, order, quoting, line ends and a missing final newline stay; every result is
//! read again and compared with the original, so what cannot be edited faithfully is refused with
//! [`CANNOT_EDIT`] and never written wrong. Nothing is read from or written to a disk here.

mod agree;
mod arrange;
#[cfg(test)]
mod arrange_tests;
#[cfg(test)]
mod life_tests;
mod place;
mod quote;
mod splice;
#[cfg(test)]
mod tests;

pub use arrange::arrange;
pub use quote::quoted;

use super::defect::{CANNOT_EDIT, Defect};
use super::order::OwnKeys;
use super::parse::ORDER_BYTES_MAX;
use super::strict::source::Source;
use super::strict::{Ix, Kind, Tree};
use super::time::Moment;

/// Name of the map that holds the daemon's own keys.
const OWN: &str = "x_jobyard";

/// Which key an edit means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// A key of the top level.
    Top(&'static str),
    /// A key under `x_jobyard`.
    Own(&'static str),
}

/// What a key is set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scalar {
    /// Text, quoted where YAML would read something else.
    Text(String),
    /// A number.
    Int(i64),
    /// A time, always quoted: readers of older YAML would make an object of it.
    Time(Moment),
    /// `null`
    Null,
}

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Replaces the value; adds the key at the end when absent, `x_jobyard` last.
    Set(Key, Scalar),
    /// Removes the key; its comment stays. Nothing when absent. Where the lines below would change
    /// their meaning, the key stays with the value `null`, which says the same.
    Remove(Key),
}

/// What a key of a map must be after an edit.
#[derive(Clone, Debug)]
pub(super) enum Want<'c> {
    /// This value.
    Is(&'c Scalar),
    /// A map of these values.
    Map(Vec<(&'c str, &'c Scalar)>),
    /// Absent.
    Gone,
}

/// The wanted keys of one map of a tree; all other keys stay as they are.
#[derive(Debug)]
pub(super) struct Target<'c> {
    /// The map.
    pub(super) map: Ix,
    /// Each name once.
    pub(super) wants: Vec<(&'c str, Want<'c>)>,
}

/// Applies all changes in one pass; of two changes of one key the later counts.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, Defect> {
    let source = Source::decode(text.as_bytes(), ORDER_BYTES_MAX, CANNOT_EDIT)?;
    let tree = read(source)?;
    let root = tree.root();
    if tree.map(root).is_none() {
        return Err(Defect::whole(CANNOT_EDIT, "the file is no map of `key: value` lines"));
    }
    let mut top: Vec<(&str, Want<'_>)> = Vec::new();
    let mut own: Vec<(&str, Want<'_>)> = Vec::new();
    for change in changes {
        let (key, want) = match change {
            Change::Set(key, scalar) => (*key, Want::Is(scalar)),
            Change::Remove(key) => (*key, Want::Gone),
        };
        let (list, name) = match key {
            Key::Top(name) => (&mut top, name),
            Key::Own(name) => (&mut own, name),
        };
        list.retain(|(known, _)| *known != name);
        list.push((name, want));
    }
    let mut targets = Vec::new();
    if !own.is_empty() {
        place_own(source, &tree, own, &mut top, &mut targets)?;
    }
    targets.push(Target { map: root, wants: top });
    edit_maps(source, &tree, &targets)
}

/// Decides whether own keys are a target of their own or a new (or vanishing) key of the root.
fn place_own<'c>(
    source: Source<'_>,
    tree: &Tree<'_>,
    own: Vec<(&'c str, Want<'c>)>,
    top: &mut Vec<(&'c str, Want<'c>)>,
    targets: &mut Vec<Target<'c>>,
) -> Result<(), Defect> {
    let entry = tree.entry(tree.root(), OWN);
    let Some((key, value)) = entry.filter(|(_, value)| !tree.is_null(*value)) else {
        let set = |(name, want): &(&'c str, Want<'c>)| match want {
            Want::Is(scalar) => Some((*name, *scalar)),
            _ => None,
        };
        let new: Vec<(&str, &Scalar)> = own.iter().filter_map(set).collect();
        if !new.is_empty() {
            top.push((OWN, Want::Map(new)));
        }
        return Ok(());
    };
    let Kind::Map(entries) = &tree.raw(value).kind else {
        let message = "`x_jobyard` is no map; remove it, jobyard writes it anew";
        return Err(source.defect(tree.raw(value).place, message));
    };
    let gone = |name: &str| own.iter().any(|(n, w)| *n == name && matches!(w, Want::Gone));
    let emptied = entries.iter().all(|(key, _)| tree.text(*key).is_some_and(gone))
        && own.iter().all(|(_, want)| matches!(want, Want::Gone));
    let end = place::content_end(source.text, tree, key, value);
    let commented = source.text[tree.raw(key).place.at..end].contains('#');
    if emptied && !commented {
        top.push((OWN, Want::Gone));
    } else {
        targets.push(Target { map: value, wants: own });
    }
    Ok(())
}

/// Edits maps of a tree in the first way whose result says what was wanted and nothing else.
pub(super) fn edit_maps(
    source: Source<'_>,
    tree: &Tree<'_>,
    targets: &[Target<'_>],
) -> Result<String, Defect> {
    let mut first_error = None;
    for way in splice::Way::ALL {
        let result = splice::apply(source, tree, targets, way)
            .and_then(|new| agree::check(source, tree, targets, &new).map(|()| new));
        match result {
            Ok(new) => return Ok(new),
            Err(defect) => first_error = first_error.or(Some(defect)),
        }
    }
    Err(first_error.unwrap_or_else(|| Defect::whole(CANNOT_EDIT, "no place for the new keys")))
}

/// Reads a tree; the first defect, as one of the edit.
pub(super) fn read(source: Source<'_>) -> Result<Tree<'_>, Defect> {
    Tree::read(source).map_err(|defects| {
        let first = defects.into_iter().next();
        let mut defect = first.unwrap_or_else(|| Defect::whole(CANNOT_EDIT, "not valid YAML"));
        defect.code = CANNOT_EDIT;
        defect
    })
}

/// The changes that turn the own keys `old` into `new`; keys at their default are left out.
pub fn own_changes(old: &OwnKeys, new: &OwnKeys) -> Vec<Change> {
    let (before, after) = (own_values(old), own_values(new));
    let pairs = before.into_iter().zip(after);
    pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((name, _), (_, new))| match new {
            Some(scalar) => Change::Set(Key::Own(name), scalar),
            None => Change::Remove(Key::Own(name)),
        })
        .collect()
}

/// Every own key with its value, `None` at its default.
fn own_values(own: &OwnKeys) -> [(&'static str, Option<Scalar>); 11] {
    let count = |n: u32| (n > 0).then(|| Scalar::Int(i64::from(n)));
    let text = |t: &Option<String>| t.clone().map(Scalar::Text);
    let stamp = own.settled.as_ref();
    let seq =
        |seq: u64| i64::try_from(seq).map_or_else(|_| Scalar::Text(seq.to_string()), Scalar::Int);
    [
        ("attempt", count(own.attempt)),
        ("retries", count(own.retries)),
        ("verify_fails", count(own.verify_fails)),
        ("retry_at", own.retry_at.map(Scalar::Time)),
        ("reason", text(&own.reason)),
        ("hold", text(&own.hold)),
        ("settled_id", stamp.map(|s| Scalar::Text(s.id.clone()))),
        ("settled_state", stamp.map(|s| Scalar::Text(s.state.name().to_owned()))),
        ("settled_attempt", stamp.map(|s| Scalar::Int(i64::from(s.attempt)))),
        ("settled_seq", stamp.map(|s| seq(s.seq))),
        ("settled_hash", stamp.map(|s| Scalar::Text(s.hash.clone()))),
    ]
}
