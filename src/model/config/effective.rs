//! The effective configuration: every setting as it is, and where it comes from.
//!
//! Invariants: a setting for each key of the table, and for each engine and group that is named; what is
//! printed as TOML reads as the same configuration. Values of variables are never in it: the configuration
//! holds their names only.

use super::keys::{KEYS, KeyText};
use super::reading::read_and;
use super::{Config, Unsatisfiable};
use crate::model::defect::Defect;
use crate::model::parse::reader::digits;
use crate::model::strict::source::number;
use std::collections::BTreeSet;
use toml::Value;
use toml::de::DeTable;

/// One setting.
#[derive(Clone, PartialEq, Debug)]
pub struct Setting {
    /// Its table with the names that the user chose; empty for the top level.
    pub table: Vec<String>,
    /// Its name in the table.
    pub name: &'static str,
    /// The value; `None`: not set, and there is no default.
    pub value: Option<Value>,
    /// Its line in the file; `None`: the default.
    pub line: Option<u32>,
    /// What it means.
    pub meaning: &'static str,
}

impl Setting {
    /// The whole name: `log.max`, `engines.claude.command`.
    pub fn key(&self) -> String {
        let parts = self.table.iter().map(String::as_str).chain([self.name]);
        parts.collect::<Vec<_>>().join(".")
    }
}

/// All settings of a configuration, in the order of the default text; all that is wrong with it otherwise.
pub fn effective(text: &str) -> Result<Vec<Setting>, Vec<Defect>> {
    both(text).map(|(_, settings)| settings)
}

/// A configuration and all its settings.
pub(super) fn both(text: &str) -> Result<(Config, Vec<Setting>), Vec<Defect>> {
    read_and(text, |config, tree| {
        let settings = settings(text, &config, tree);
        (config, settings)
    })
}

fn settings(text: &str, config: &Config, tree: &DeTable<'_>) -> Vec<Setting> {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |table: &[String], name: &str| {
        let mut at = tree;
        for part in table {
            at = at.get(part.as_str())?.get_ref().as_table()?;
        }
        let (key, _) = at.get_key_value(name)?;
        Some(number(ends.partition_point(|end| *end < key.span().start) + 1))
    };
    let mut settings = Vec::new();
    let mut add = |table: Vec<String>, key: &KeyText, value: Option<Value>| {
        let line = line(&table, key.name);
        settings.push(Setting { table, name: key.name, value, line, meaning: key.meaning });
    };
    for keys in KEYS.chunk_by(|a, b| a.table == b.table) {
        match keys[0].table {
            "engines.<name>" => {
                for (name, command) in &config.engines {
                    let table = vec!["engines".to_owned(), name.clone()];
                    add(table, &keys[0], Some(command.as_str().into()));
                }
            }
            "groups.<name>" => {
                for name in groups(config) {
                    for key in keys {
                        let table = vec!["groups".to_owned(), name.clone()];
                        add(table, key, of_group(config, name, key.name));
                    }
                }
            }
            "" => keys.iter().for_each(|key| add(Vec::new(), key, value(config, key.name))),
            table => {
                for key in keys {
                    let value = value(config, &format!("{table}.{}", key.name));
                    add(vec![table.to_owned()], key, value);
                }
            }
        }
    }
    settings
}

/// The groups that are named.
fn groups(config: &Config) -> BTreeSet<&String> {
    config.groups.keys().chain(config.paused.groups.keys()).collect()
}

fn of_group(config: &Config, group: &str, key: &str) -> Option<Value> {
    match key {
        "slots" => config.groups.get(group).map(|n| (*n).into()),
        _ => Some(paused(config.paused.groups.get(group))),
    }
}

fn paused(reason: Option<&String>) -> Value {
    reason.map_or(false.into(), |reason| reason.as_str().into())
}

/// The value of a key without a chosen name.
fn value(config: &Config, key: &str) -> Option<Value> {
    let found = match key {
        "settle" => config.settle.to_string().into(),
        "slots" => config.slots.unwrap_or(0).into(),
        "shell" => config.shell.clone().into(),
        "stale_after" => config.stale_after.to_string().into(),
        "grace" => config.grace.to_string().into(),
        "timeout" => config.timeout.to_string().into(),
        "idle_timeout" => config.idle_timeout?.to_string().into(),
        "check_timeout" => config.check_timeout.to_string().into(),
        "paused" => paused(config.paused.all.as_ref()),
        "log.max" => size(config.log_max).into(),
        "git.base" => config.git_base.clone()?.into(),
        "git.checkout_workers" => config.checkout_workers.into(),
        "git.timeout" => config.git_timeout.to_string().into(),
        "env.pass" => config.env_pass.clone().into(),
        "dependencies.unsatisfiable" => match config.unsatisfiable {
            Unsatisfiable::Hold => "hold".into(),
            Unsatisfiable::Skip => "skip".into(),
            Unsatisfiable::Fail => "fail".into(),
        },
        "hooks.settled" => config.hooks.settled.clone()?.into(),
        "hooks.drained" => config.hooks.drained.clone()?.into(),
        "hooks.timeout" => config.hooks.timeout.to_string().into(),
        "dependencies.require_checks" => config.require_checks.into(),
        _ => return None,
    };
    Some(found)
}

/// Bytes in the largest unit that divides them.
fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// The reverse: `64MiB`, `1GB`, `4096`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (_, bytes) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    digits(number)?.checked_mul(*bytes)
}

#[cfg(test)]
mod tests {
    use super::super::parse_config;
    use super::*;

    /// The settings as a file.
    fn toml(settings: &[Setting]) -> String {
        let mut text = String::new();
        let mut table: &[String] = &[];
        for setting in settings {
            if setting.table != table {
                table = &setting.table;
                let names: Vec<String> =
                    table.iter().map(|t| Value::from(t.as_str()).to_string()).collect();
                text.push_str(&format!("[{}]\n", names.join(".")));
            }
            if let Some(value) = &setting.value {
                text.push_str(&format!("{} = {value}\n", setting.name));
            }
        }
        text
    }

    #[test]
    fn every_setting_says_what_it_is_and_where_it_stands() {
        let text = "slots = 4\n\n[groups.\"a b\"]\nslots = 2\n[groups.c]\npaused = \"x\"\n[log]\n\
                    max = 4096 # here\n[engines]\nx.command = \"a \\\"b\\\"\\n\"\n";
        for (text, first) in [(text.to_owned(), 1), (format!("\u{feff}#\n{text}"), 2)] {
            let settings = effective(&text).unwrap();
            let line = |key: &str| settings.iter().find(|s| s.key() == key).unwrap().line;
            assert_eq!(line("slots"), Some(first));
            assert_eq!(line("groups.a b.slots"), Some(first + 3));
            assert_eq!(line("log.max"), Some(first + 7));
            assert_eq!(line("groups.c.paused"), Some(first + 5));
            assert_eq!(line("groups.c.slots"), None);
            assert_eq!(line("engines.x.command"), Some(first + 9));
            assert_eq!(line("settle"), None);
            assert_eq!(parse_config(&toml(&settings)), parse_config(&text));
        }
        assert_eq!(effective("slots = x"), parse_config("slots = x").map(|_| Vec::new()));
    }

    #[test]
    fn every_key_has_a_value_but_for_those_without_a_default() {
        let settings = effective("").unwrap();
        let unset: Vec<String> =
            settings.iter().filter(|s| s.value.is_none()).map(Setting::key).collect();
        assert_eq!(unset, ["idle_timeout", "git.base", "hooks.settled", "hooks.drained"]);
        assert_eq!(settings.len(), KEYS.len() - 3);
        assert_eq!(parse_config(&toml(&settings)), Ok(Config::default()));
    }
}
