//! The comparison after an edit: only what was wanted may differ.

use super::{Scalar, Target, Want};
use crate::model::defect::Defect;
use crate::model::parse::ORDER_BYTES_MAX;
use crate::model::strict::source::Source;
use crate::model::strict::{Ix, Kind, Tree, clip};
use std::collections::BTreeMap;

/// Reads `new` and refuses it when it says more or less than `targets` want of `tree`.
pub(super) fn check(
    source: Source<'_>,
    tree: &Tree<'_>,
    targets: &[Target<'_>],
    new: &str,
) -> Result<(), Defect> {
    let new_source = Source::decode(new.as_bytes(), ORDER_BYTES_MAX, source.code)?;
    let Ok(new_tree) = Tree::read(new_source) else {
        // Its places are those of a text that nobody wrote.
        let at = targets.last().map_or(tree.root(), |target| target.map);
        let message = "an edit would leave something that is not valid YAML; write it in a simpler \
                       way, without anchors and on lines of its own";
        return Err(source.defect(tree.raw(at).place, message));
    };
    let pair = Pair { old: tree, new: &new_tree, targets };
    match pair.differs(tree.root(), new_tree.root()) {
        None => Ok(()),
        Some(at) => {
            let message = "an edit would change this too; write it in a simpler way, without \
                           anchors and on lines of its own";
            Err(source.defect(tree.raw(at).place, message))
        }
    }
}

struct Pair<'p> {
    old: &'p Tree<'p>,
    new: &'p Tree<'p>,
    targets: &'p [Target<'p>],
}

impl Pair<'_> {
    /// The first old node that is not as it should be.
    fn differs(&self, old: Ix, new: Ix) -> Option<Ix> {
        if let Some(target) = self.targets.iter().find(|t| t.map == old) {
            return self.map_differs(target, new);
        }
        match (&self.old.raw(old).kind, &self.new.raw(new).kind) {
            (Kind::List(x), Kind::List(y)) if x.len() == y.len() => {
                x.iter().zip(y).find_map(|(x, y)| self.differs(*x, *y))
            }
            (Kind::Map(x), Kind::Map(y)) if x.len() == y.len() => {
                x.iter().zip(y).find_map(|((k, v), (l, w))| {
                    if self.old.same(*k, self.new, *l) { self.differs(*v, *w) } else { Some(*k) }
                })
            }
            _ => (!self.old.same(old, self.new, new)).then_some(old),
        }
    }

    fn map_differs(&self, target: &Target<'_>, new: Ix) -> Option<Ix> {
        let old = self.old.map(target.map).unwrap_or(&[]);
        let empty = self.new.is_null(new);
        let Some(entries) = self.new.map(new).or(empty.then_some(&[])) else {
            return Some(target.map);
        };
        let want = |name: &str| target.wants.iter().find(|(n, _)| *n == name).map(|(_, want)| want);
        let name_of = |ix: Ix| self.old.text(ix).unwrap_or("");
        let mut stays =
            old.iter().filter(|(key, _)| !matches!(want(name_of(*key)), Some(Want::Gone)));
        let places: BTreeMap<&str, (Ix, Ix)> =
            old.iter().map(|(key, value)| (name_of(*key), (*key, *value))).collect();
        let mut met = 0;
        for (key, value) in entries {
            let name = self.new.text(*key).unwrap_or("");
            if matches!(want(name), Some(Want::Gone)) && self.new.is_null(*value) {
                continue;
            }
            let known = places.get(name).copied();
            let wrong = match want(name) {
                Some(wanted) => !self.meets(wanted, *value),
                None => known.is_none_or(|(_, old)| self.differs(old, *value).is_some()),
            };
            let in_order =
                known.is_none() || stays.next().is_some_and(|(key, _)| name_of(*key) == name);
            if wrong || !in_order {
                return Some(known.map_or(target.map, |(key, _)| key));
            }
            met += usize::from(want(name).is_some());
        }
        let wanted = target.wants.iter().filter(|(_, w)| !matches!(w, Want::Gone)).count();
        let complete = met == wanted && stays.next().is_none();
        (!complete).then_some(target.map)
    }

    fn meets(&self, want: &Want<'_>, new: Ix) -> bool {
        match want {
            Want::Gone => false,
            Want::Is(scalar) => is(self.new, new, scalar),
            Want::Map(values) => self.new.map(new).is_some_and(|entries| {
                entries.len() == values.len()
                    && entries.iter().zip(values).all(|((key, value), (name, scalar))| {
                        self.new.text(*key) == Some(name) && is(self.new, *value, scalar)
                    })
            }),
        }
    }
}

/// Whether a node says what the scalar says.
pub(super) fn is(tree: &Tree<'_>, ix: Ix, scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Null => tree.is_null(ix),
        Scalar::Int(number) => tree.plain(ix) == Some(number.to_string().as_str()),
        Scalar::Time(moment) => tree.text(ix) == Some(moment.rfc3339().as_str()),
        Scalar::Text(text) => tree.text(ix) == Some(text.as_str()) && !tree.is_null(ix),
    }
}

/// The name of a key, for messages.
pub(super) fn shown(tree: &Tree<'_>, key: Ix) -> String {
    clip(tree.text(key).unwrap_or(""))
}
