//! The configuration: reading it, saying what counts, setting one key of it.
//!
//! The first byte of an input chooses what is set; the rest is the file.

use super::promises::{comments_stay, line_ends_stay, refusal};
use super::{Watch, owned};
use jobyard::model::config::{
    CONFIG_BYTES_MAX, Change, Config, default_text, effective, parse_config, set,
};

/// What is set, by the first byte.
const CHANGES: [(Option<&str>, Change<'_>); 8] = [
    (None, Change::Paused(Some("over night"))),
    (None, Change::Paused(None)),
    (None, Change::Slots(3)),
    (Some("gpu"), Change::Paused(Some("a \"why\"\\ '''"))),
    (Some("gpu"), Change::Paused(None)),
    (Some("gpu"), Change::Slots(2)),
    (Some("a.b c"), Change::Slots(1)),
    (Some("gpu"), Change::Slots(20_000)),
];

pub(super) fn check(watch: &mut Watch, input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let config = match watch.call("parse_config", || parse_config(text)) {
        Ok(config) => config,
        Err(defects) => {
            assert_eq!(effective(text), Err(defects.clone()));
            return refusal(rest, &defects);
        }
    };
    let Ok(settings) = watch.call("effective", || effective(text)) else {
        panic!("a configuration that is read and cannot be told");
    };
    let lines = text.split('\n').count();
    let mut whole = toml::Table::new();
    for setting in settings {
        assert!(setting.line.is_none_or(|line| (1..=lines).contains(&(line as usize))));
        let Some(value) = setting.value else { continue };
        let mut table = &mut whole;
        for part in setting.table {
            let below = table.entry(part).or_insert_with(|| toml::Table::new().into());
            let toml::Value::Table(below) = below else { panic!("a table that is none") };
            table = below;
        }
        table.insert(setting.name.to_owned(), value);
    }
    let told = whole.to_string();
    if told.len() <= CONFIG_BYTES_MAX {
        assert_eq!(parse_config(&told).as_ref(), Ok(&config), "told it reads as another");
    }
    let (group, change) = CHANGES[usize::from(*first) % CHANGES.len()];
    setting_one(watch, text, &config, group, change);
}

fn setting_one(
    watch: &mut Watch,
    text: &str,
    config: &Config,
    group: Option<&str>,
    change: Change<'_>,
) {
    let wanted = changed(config, group, change);
    match watch.call("set", || set(text, group, change)) {
        Err(defects) => {
            assert!(!defects.is_empty() && wanted != *config, "refused: {defects:?}");
        }
        Ok(None) => assert_eq!(wanted, *config, "it was said that nothing changes"),
        Ok(Some(new)) => {
            assert_eq!(parse_config(&new).as_ref(), Ok(&wanted), "more changed than was wanted");
            assert_eq!(set(&new, group, change), Ok(None), "set twice it changes again");
            let no_long_texts = !text.contains("'''") && !text.contains("\"\"\"");
            comments_stay(text, &new, |_| no_long_texts);
            line_ends_stay(text, &new);
        }
    }
}

/// What a change makes of a configuration.
fn changed(config: &Config, group: Option<&str>, change: Change<'_>) -> Config {
    let mut config = config.clone();
    let paused = &mut config.paused;
    match (change, group) {
        (Change::Paused(reason), None) => paused.all = reason.map(str::to_owned),
        (Change::Paused(Some(reason)), Some(group)) => {
            paused.groups.insert(group.to_owned(), reason.to_owned());
        }
        (Change::Paused(None), Some(group)) => {
            paused.groups.remove(group);
        }
        (Change::Slots(slots), None) => config.slots = Some(slots),
        (Change::Slots(slots), Some(group)) => {
            config.groups.insert(group.to_owned(), slots);
        }
    }
    config
}

pub(super) fn words() -> Vec<String> {
    let bare = |line: &str| line.trim_start_matches("# ").trim_start_matches('#').to_owned() + "\n";
    let mut words: Vec<String> =
        default_text().lines().filter(|line| line.contains(['=', '['])).map(bare).collect();
    words.extend(owned(&[
        "\n[groups.gpu]\n",
        "groups.gpu.slots = 1\n",
        "groups = {gpu = {slots = 1}}\n",
        "\n[[",
        "]]\n",
        "= ",
        ".",
        "\"\"\"",
        "'''",
        "0x1f",
        "1_000",
        "1979-05-27T07:32:00Z",
        "inf",
        "{",
        "}",
        "[",
        "]",
        ",",
        "# ",
        "\r\n",
        "\u{feff}",
        "\\u0000",
        "\\e",
        "\n",
        "\"a.b c\"",
        "paused = true\n",
    ]));
    words
}
