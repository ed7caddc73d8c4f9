//! The keys of people's files as tables: names, forms, meanings.
//!
//! Invariants: parsers take the names they know from these tables; the published schemas are made of them
//! (`schema`) and refuse nothing that the parsers accept. Reading values is not done here.

/// One key of a map.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub form: Form,
    /// What it means, in one line for people.
    pub text: &'static str,
    /// It must be there and have a value.
    pub required: bool,
}

/// A key that may be left out.
pub const fn key(name: &'static str, form: Form, text: &'static str) -> Key {
    Key { name, form, text, required: false }
}

/// A key that must be there.
pub const fn needed(name: &'static str, form: Form, text: &'static str) -> Key {
    Key { name, form, text, required: true }
}

/// The names of a table, in its order.
pub const fn names<const N: usize>(keys: &[Key; N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = keys[at].name;
        at += 1;
    }
    names
}

/// What a value may be. An absent value (`null`) is always allowed for a key that is not needed.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Kept and not read, or read in so many shapes that none is refused.
    Any,
    /// Text; numbers and words count as written.
    Text,
    /// Text that is not empty.
    Filled,
    /// The id of an order.
    Id,
    /// A git revision.
    Revision,
    /// Text that begins so.
    Beginning(&'static str),
    /// The number 1.
    One,
    /// One of these words as they stand.
    Words(&'static [&'static str]),
    /// One of these words in any case.
    AnyCase(&'static [&'static str]),
    /// One of these words; `_` counts as `-`.
    Dashed(&'static [&'static str]),
    /// A date, or a time with its offset.
    When,
    /// A time with its offset.
    Time,
    /// A duration, 0 included.
    Span,
    /// A duration above 0.
    Limit,
    /// A whole number from 0 to this.
    Whole(u64),
    /// A number in this range with at most two decimals, or a percentage.
    Share(u32, u32),
    /// A map of names of variables and texts.
    Variables,
    /// A map with these keys; others are left alone.
    Map(&'static [Key]),
    /// A list of such values, none of them absent.
    List(&'static Self),
    /// One of several.
    Either(&'static [Self]),
}

/// A text alone, or a list of texts.
pub const TEXTS: Form = Form::Either(&[Form::Text, Form::List(&Form::Text)]);

/// A shell command, or a list of them.
pub const COMMANDS: Form = Form::Either(&[Form::Filled, Form::List(&Form::Filled)]);
