//! Setting one key of the configuration's text.
//!
//! Invariants: comments, order and line ends stay, and a file with two kinds of line ends is refused; the
//! result is read again and says what was wanted and nothing else, or it is refused and none of it is used.

use super::effective::both;
use super::{Config, Setting};
use crate::model::defect::{Defect, INVALID_CONFIG};
use toml::de::DeTable;
use toml_edit::{DocumentMut, InlineTable, Item, Key, TableLike, Value};

/// What is set of a group, or of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// Whether and why it is paused.
    Paused(Option<&'a str>),
    /// Orders at once.
    Slots(u32),
}

impl Change<'_> {
    const fn name(self) -> &'static str {
        match self {
            Self::Paused(_) => "paused",
            Self::Slots(_) => "slots",
        }
    }

    fn value(self) -> Value {
        match self {
            Self::Paused(Some(reason)) => reason.into(),
            Self::Paused(None) => false.into(),
            Self::Slots(slots) => i64::from(slots).into(),
        }
    }

    /// It is so already.
    fn holds(self, config: &Config, group: Option<&str>) -> bool {
        let paused = &config.paused;
        match (self, group) {
            (Self::Paused(reason), None) => paused.all.as_deref() == reason,
            (Self::Paused(reason), Some(g)) => paused.groups.get(g).map(String::as_str) == reason,
            (Self::Slots(slots), None) => config.slots == Some(slots),
            (Self::Slots(slots), Some(g)) => config.groups.get(g) == Some(&slots),
        }
    }
}

/// The text with this set for a group, or for everything; `None`: it says so already. All that is wrong with
/// it, or with the result, otherwise.
pub fn set(
    text: &str,
    group: Option<&str>,
    change: Change<'_>,
) -> Result<Option<String>, Vec<Defect>> {
    let (before, settings) = both(text)?;
    if change.holds(&before, group) {
        return Ok(None);
    }
    let table: Vec<&str> = group.map_or_else(Vec::new, |group| vec!["groups", group]);
    let (table, name, value) = (table.as_slice(), change.name(), change.value());
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The editor ends every line in the same way.
    let crlf = body.matches("\r\n").count();
    if crlf > 0 && crlf < body.matches('\n').count() {
        let text =
            "some lines end in CR LF and others in LF: make them the same, or set it by hand";
        return Err(vec![Defect::whole(INVALID_CONFIG, text)]);
    }
    let mut document: DocumentMut = body.parse().map_err(|_| not_possible(table, name))?;
    let mut new = in_place(&mut document, table, name, &value)
        .or_else(|| appended(body, table, name, &value))
        .or_else(|| within(&mut document, table, name, &value))
        .ok_or_else(|| not_possible(table, name))?;
    if crlf > 0 {
        new = new.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if body.len() < text.len() {
        new.insert(0, '\u{feff}');
    }
    let (after, new_settings) = both(&new)?;
    let other = |s: &&Setting| s.table != table || (s.name != name && s.line.is_some());
    let same =
        |(a, b): (&Setting, &Setting)| a.table == b.table && a.name == b.name && a.value == b.value;
    let (old, rest) = (settings.iter().filter(other), new_settings.iter().filter(other));
    let good = old.clone().count() == rest.clone().count()
        && old.zip(rest).all(same)
        && change.holds(&after, group);
    if good { Ok(Some(new)) } else { Err(not_possible(table, name)) }
}

fn not_possible(table: &[&str], name: &str) -> Vec<Defect> {
    let key = [table, &[name]].concat().join(".");
    let text = format!("`{key}` cannot be set without changing more than that; set it by hand");
    vec![Defect::whole(INVALID_CONFIG, text)]
}

/// A table that is there already, in whatever form.
fn find<'d>(document: &'d mut DocumentMut, table: &[&str]) -> Option<&'d mut dyn TableLike> {
    let mut at: &mut dyn TableLike = document.as_table_mut();
    for part in table {
        at = at.get_mut(part)?.as_table_like_mut()?;
    }
    Some(at)
}

/// In its table, with the remark behind an old value.
fn in_place(
    document: &mut DocumentMut,
    table: &[&str],
    name: &str,
    value: &Value,
) -> Option<String> {
    let entries = find(document, table)?;
    match entries.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = value.clone();
            *old.decor_mut() = decor;
        }
        None => {
            entries.insert(name, Item::Value(value.clone()));
        }
    }
    Some(document.to_string())
}

/// In a table of its own at the end, behind all that is commented out.
fn appended(text: &str, table: &[&str], name: &str, value: &Value) -> Option<String> {
    let header: Vec<String> = table.iter().map(|part| Key::new(*part).to_string()).collect();
    let gap = match text.lines().next_back() {
        None => "",
        Some("") => "",
        Some(_) if text.ends_with('\n') => "\n",
        Some(_) => "\n\n",
    };
    let new = format!("{text}{gap}[{}]\n{name} = {value}\n", header.join("."));
    DeTable::parse(&new).is_ok().then_some(new)
}

/// In a new table between braces, where those around it are so.
fn within(document: &mut DocumentMut, table: &[&str], name: &str, value: &Value) -> Option<String> {
    let (last, around) = table.split_last()?;
    let new = InlineTable::from_iter([(name, value.clone())]);
    find(document, around)?.insert(last, Item::Value(Value::InlineTable(new)));
    Some(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::Change::{Paused, Slots};
    use super::*;

    const GPU: Option<&str> = Some("gpu");

    #[track_caller]
    fn check(before: &str, group: Option<&str>, change: Change<'_>, after: &str) {
        assert_eq!(set(before, group, change), Ok(Some(after.to_owned())), "{before:?}");
        assert_eq!(set(after, group, change), Ok(None), "{after:?}");
    }

    #[test]
    fn a_key_is_set_where_it_stands_and_all_else_stays() {
        check(
            "# a\nslots = 4 # all\n\n[groups.gpu] # g\nslots = 1   # one\n# end\n",
            GPU,
            Slots(2),
            "# a\nslots = 4 # all\n\n[groups.gpu] # g\nslots = 2   # one\n# end\n",
        );
        check(
            "[groups.gpu]\nslots = 1\n\n[log]\nmax = 4096\n# end\n",
            GPU,
            Paused(Some("a \"why\"")),
            "[groups.gpu]\nslots = 1\npaused = 'a \"why\"'\n\n[log]\nmax = 4096\n# end\n",
        );
        check("groups.gpu.slots = 1\n", GPU, Slots(2), "groups.gpu.slots = 2\n");
        let inline = "groups = {gpu = {slots = 1}} # x\n";
        check(inline, GPU, Slots(2), "groups = {gpu = {slots = 2}} # x\n");
    }

    #[test]
    fn a_new_table_comes_last() {
        check("", Some("a b"), Slots(1), "[groups.\"a b\"]\nslots = 1\n");
        let comments = "# all\n#slots = 0\n";
        check(comments, GPU, Slots(1), "# all\n#slots = 0\n\n[groups.gpu]\nslots = 1\n");
        check("slots = 4", GPU, Slots(1), "slots = 4\n\n[groups.gpu]\nslots = 1\n");
        check(
            "groups = {a = {slots = 1}}\n",
            Some("b"),
            Slots(2),
            "groups = {a = {slots = 1}, b = { slots = 2 } }\n",
        );
    }

    #[test]
    fn the_top_level_stays_above_all_tables() {
        let text = "# a\nslots = 4\n[log]\nmax = 4096\n";
        let paused = "# a\nslots = 4\npaused = \"x\"\n[log]\nmax = 4096\n";
        check(text, None, Paused(Some("x")), paused);
        check("paused = \"x\" # y\n", None, Paused(None), "paused = false # y\n");
        assert_eq!(set(text, None, Paused(None)), Ok(None));
        assert_eq!(set(text, GPU, Paused(None)), Ok(None));
    }

    #[test]
    fn line_ends_and_the_mark_at_the_beginning_stay() {
        check(
            "\u{feff}slots = 4\r\n[groups.gpu]\r\nslots = 1\r\n",
            GPU,
            Paused(Some("x")),
            "\u{feff}slots = 4\r\n[groups.gpu]\r\nslots = 1\r\npaused = \"x\"\r\n",
        );
    }

    #[test]
    fn what_would_be_no_configuration_is_refused_with_its_place() {
        let refused = |text: &str, slots| set(text, GPU, Slots(slots)).unwrap_err()[0].to_string();
        assert!(refused("slots = 2\n", 3).starts_with("4:9: `groups.gpu.slots` is 3 but"));
        assert!(refused("", 0).contains("could never run"));
        assert!(refused("slotz = 2\n", 1).contains("unknown key"));
        assert!(refused("slots = 2\r\n# a\n", 1).contains("some lines end in CR LF"));
    }
}
