//! Edits of tickets: only the keys that are meant may change.
//!
//! The first two bytes of an input choose the changes and a text to set; the rest is the ticket.

use super::promises::{comments_stay, line_ends_stay, refusal};
use super::view::{View, spans};
use super::{Watch, order};
use jobyard::model::defect::{CANNOT_EDIT, Defect};
use jobyard::model::edit::{Change, Key, Scalar, edit, own_changes};
use jobyard::model::order::{Order, OwnKeys, Stamp, State};
use jobyard::model::parse::{ORDER_BYTES_MAX, parse_order};
use jobyard::model::strict::Tree;
use jobyard::model::strict::source::Source;
use jobyard::model::time::Moment;
use std::collections::BTreeMap;

/// Texts that are set, by the second byte.
const TEXTS: [&str; 12] = [
    "done",
    "",
    "yes",
    "a: b # c",
    "it's \"so\" \\ ",
    "two\nlines\r\n",
    " \t",
    "{x}, [y]",
    "\u{85}\u{2028}\u{feff}é\u{1}",
    "- a",
    "1e5",
    "*a &b !c |d >e %f @g `h",
];

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let Some(([which, what], rest)) = input.split_first_chunk::<2>() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let said = TEXTS[usize::from(*what) % TEXTS.len()];
    let changes = changes(*which, said);
    let edited = watch.call("edit", || edit(text, &changes));
    match (&edited, read(text)) {
        (Err(defect), _) => refused(rest, defect),
        (Ok(_), None) => panic!("a text was edited that cannot be read"),
        (Ok(new), Some(tree)) => {
            only_the_meant(text, &tree, new, &changes);
            assert_eq!(edit(new, &changes).as_ref(), Ok(new), "edited twice it changes again");
            let texts = spans(&tree);
            let in_text = |at: usize| texts.iter().any(|(start, end)| (*start..*end).contains(&at));
            comments_stay(text, new, |at| !in_text(at));
            line_ends_stay(text, new);
            assert!(text.ends_with('\n') || !new.ends_with('\n'), "a newline more at the end");
        }
    }
    let stem = order::stem(rest);
    let Ok(parsed) = parse_order(rest, &stem) else { return };
    if let Ok(new) = &edited {
        let after = parse_order(new.as_bytes(), &stem).map(|parsed| without_ours(parsed.order));
        assert_eq!(after, Ok(without_ours(parsed.order.clone())), "the order says something else");
    }
    a_stamp_reads_back(watch, text, &parsed.order, *which, said);
}

fn read(text: &str) -> Option<Tree<'_>> {
    let source = Source::decode(text.as_bytes(), ORDER_BYTES_MAX, CANNOT_EDIT).ok()?;
    Tree::read(source).ok()
}

fn refused(input: &[u8], defect: &Defect) {
    assert_eq!(defect.code, CANNOT_EDIT);
    refusal(input, std::slice::from_ref(defect));
}

/// Changes as jobyard makes them: those whose bit is set.
fn changes(which: u8, said: &str) -> Vec<Change> {
    let text = || Scalar::Text(said.to_owned());
    let all = [
        Change::Set(Key::Top("status"), text()),
        Change::Set(Key::Top("started_at"), Scalar::Time(Moment(1_700_000_000_123))),
        Change::Remove(Key::Top("finished_at")),
        Change::Set(Key::Top("owner"), text()),
        Change::Set(Key::Own("attempt"), Scalar::Int(3)),
        Change::Set(Key::Own("reason"), text()),
        Change::Remove(Key::Own("retry_at")),
        Change::Set(Key::Top("result"), Scalar::Null),
    ];
    let chosen = |(bit, change)| ((which >> bit) & 1 != 0).then_some(change);
    all.into_iter().enumerate().filter_map(chosen).collect()
}

/// What is wanted of the keys of one map: `None` is absent.
type Wanted<'c> = BTreeMap<&'static str, Option<&'c Scalar>>;

fn only_the_meant(text: &str, tree: &Tree<'_>, new: &str, changes: &[Change]) {
    let (mut top, mut own) = (Wanted::new(), Wanted::new());
    for change in changes {
        let (key, scalar) = match change {
            Change::Set(key, scalar) => (key, Some(scalar)),
            Change::Remove(key) => (key, None),
        };
        match key {
            Key::Top(name) => top.insert(name, scalar),
            Key::Own(name) => own.insert(name, scalar),
        };
    }
    let Some(new_tree) = read(new) else { panic!("the result cannot be read: {text:?} {new:?}") };
    let before = View::of(tree, tree.root());
    let after = View::of(&new_tree, new_tree.root());
    assert_eq!(after.is_tagged(), before.is_tagged(), "the tag of the whole changed");
    let (mut before, mut after) = (before.entries(), after.entries());
    if !own.is_empty() {
        let own_before = taken(&mut before, "x_jobyard").entries();
        let own_after = taken(&mut after, "x_jobyard").entries();
        same_but(own_before, own_after, &own);
    }
    same_but(before, after, &top);
}

/// The value of a key, which is then no longer in the list.
fn taken(entries: &mut Vec<(String, View)>, name: &str) -> View {
    let at = entries.iter().position(|(key, _)| key == name);
    at.map_or(View::Absent, |at| entries.remove(at).1)
}

fn same_but(mut before: Vec<(String, View)>, mut after: Vec<(String, View)>, wanted: &Wanted<'_>) {
    for (name, scalar) in wanted {
        taken(&mut before, name);
        let found = taken(&mut after, name);
        let good = match scalar {
            Some(scalar) => found.says(scalar),
            None => found == View::Absent,
        };
        assert!(good, "`{name}` was to be {scalar:?} and is {found:?}");
    }
    assert_eq!(after, before, "other keys changed");
}

/// An order without what the changes may set.
fn without_ours(mut order: Order) -> Order {
    order.status = None;
    order.owner = None;
    order.view = jobyard::model::order::View::default();
    order.own.attempt = 0;
    order.own.reason = None;
    order.own.retry_at = None;
    order
}

/// What the daemon keeps of an attempt is read back as it was written.
fn a_stamp_reads_back(watch: &mut Watch, text: &str, order: &Order, which: u8, said: &str) {
    let some = |bit: u8| (which >> bit) & 1 != 0;
    let own = OwnKeys {
        attempt: u32::from(which),
        retries: u32::from(some(0)),
        verify_fails: if some(1) { u32::MAX } else { 0 },
        retry_at: some(2).then_some(Moment(1_700_000_000_123)),
        reason: some(3).then(|| said.to_owned()),
        hold: some(4).then(|| said.to_owned()),
        settled: some(5).then(|| Stamp {
            id: order.id.to_string(),
            state: if some(6) { State::Done } else { State::Failed },
            attempt: 7,
            seq: if some(7) { u64::MAX } else { 8 },
            hash: "0".repeat(64),
        }),
    };
    let changes = own_changes(&order.own, &own);
    let Ok(new) = watch.call("edit of a stamp", || edit(text, &changes)) else { return };
    let after = parse_order(new.as_bytes(), order.id.as_str()).map(|parsed| parsed.order.own);
    assert_eq!(after, Ok(own), "a stamp reads back as another");
}
