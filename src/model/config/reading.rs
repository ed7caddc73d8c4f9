//! Typed reading of the configuration's TOML.
//!
//! Invariant: reading goes on after a defect; each names line and column, what was expected and,
//! for unknown words, the nearest known one.

use super::effective::bytes;
use super::keys::{KEYS, TABLES};
use super::{CONFIG_BYTES_MAX, Config, NO_REASON, Unsatisfiable};
use crate::model::defect::{Defect, INVALID_CONFIG};
use crate::model::parse::nearest;
use crate::model::parse::reader::{DEFECTS_MAX, digits};
use crate::model::strict::clip;
use crate::model::strict::source::Source;
use crate::model::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most slots, of the whole and of a group; more processes than any machine runs well.
const SLOTS_MAX: u64 = 10_000;

/// Smallest and largest `log.max`.
const LOG_BYTES: Range<u64> = 1024..(1 << 40) + 1;

const SPAN_EXPECTED: &str = "a duration such as \"500ms\", \"90s\", \"10m\" or \"1h30m\" (a number alone \
     is seconds), above 0 and at most 366d";

struct Reading<'t> {
    source: Source<'t>,
    defects: Vec<Defect>,
    config: Config,
}

/// Where a value stands and what it is.
type Value<'t> = Spanned<DeValue<'t>>;

pub(super) fn read(text: &str) -> Result<Config, Vec<Defect>> {
    read_and(text, |config, _| config)
}

/// Reads a configuration, and makes something of it and of the table that it was read from.
pub(super) fn read_and<T>(
    text: &str,
    make: impl FnOnce(Config, &DeTable<'_>) -> T,
) -> Result<T, Vec<Defect>> {
    let source =
        Source::decode(text.as_bytes(), CONFIG_BYTES_MAX, INVALID_CONFIG).map_err(|d| vec![d])?;
    let body = text.strip_prefix('\u{feff}').map_or_else(|| text.to_owned(), |b| format!("   {b}"));
    let table = DeTable::parse(&body).map_err(|e| vec![syntax(source, &e)])?;
    let mut reading = Reading { source, defects: Vec::new(), config: Config::default() };
    for (key, value) in table.get_ref().iter() {
        reading.top(key, value);
    }
    if let Some(groups) = table.get_ref().get("groups") {
        reading.check_groups(groups);
    }
    if let Some(idle) = table.get_ref().get("idle_timeout") {
        reading.check_idle(idle);
    }
    let Reading { defects, config, .. } = reading;
    if defects.is_empty() { Ok(make(config, table.get_ref())) } else { Err(defects) }
}

fn syntax(source: Source<'_>, error: &toml::de::Error) -> Defect {
    let message: String = error.message().chars().take(200).filter(|c| !c.is_control()).collect();
    let message = format!("not valid TOML: {message}");
    match error.span() {
        Some(span) => source.defect(source.place(span.start), message),
        None => Defect::whole(INVALID_CONFIG, message),
    }
}

impl Reading<'_> {
    fn fail(&mut self, span: Range<usize>, message: String) {
        if self.defects.len() < DEFECTS_MAX {
            self.defects.push(self.source.defect(self.source.place(span.start), message));
        }
    }

    fn fail_type(&mut self, value: &Value<'_>, name: &str, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(text) => format!("\"{}\"", clip(text)),
            DeValue::Integer(number) => format!("the number {}", clip(number.as_str())),
            DeValue::Boolean(truth) => truth.to_string(),
            DeValue::Table(_) => "a table".to_owned(),
            other => format!("a value of type {}", other.type_str()),
        };
        self.fail(value.span(), format!("`{name}`: expected {expected}, found {found}"));
    }

    fn top(&mut self, key: &Spanned<std::borrow::Cow<'_, str>>, value: &Value<'_>) {
        let name: &str = key.get_ref();
        match name {
            "settle" => self.config.settle = self.span(value, name, self.config.settle),
            "slots" => {
                let slots = self.count(value, name, SLOTS_MAX);
                self.config.slots = slots.filter(|n| *n > 0);
            }
            "shell" => self.shell(value),
            "stale_after" => {
                self.config.stale_after = self.span(value, name, self.config.stale_after);
            }
            "grace" => self.config.grace = self.span(value, name, self.config.grace),
            "timeout" => self.config.timeout = self.span(value, name, self.config.timeout),
            "idle_timeout" => {
                self.config.idle_timeout = Some(self.span(value, name, Millis::MAX));
            }
            "check_timeout" => {
                self.config.check_timeout = self.span(value, name, self.config.check_timeout);
            }
            "paused" => self.config.paused.all = self.paused(value, name),
            "engines" | "groups" => self.named_tables(value, name),
            _ if TABLES.contains(&name) => self.table(value, name),
            _ => self.unknown(key.span(), "", name),
        }
    }

    fn table(&mut self, value: &Value<'_>, table: &str) {
        let Some(entries) = value.get_ref().as_table() else {
            return self.fail_type(value, table, &format!("a table `[{table}]`"));
        };
        for (key, value) in entries.iter() {
            let name: &str = key.get_ref();
            let full = format!("{table}.{name}");
            match full.as_str() {
                "log.max" => self.log_max(value),
                "git.base" => self.git_base(value),
                "git.timeout" => {
                    self.config.git_timeout = self.span(value, &full, self.config.git_timeout);
                }
                "git.checkout_workers" => {
                    let count = self.count(value, &full, SLOTS_MAX);
                    self.config.checkout_workers = count.unwrap_or(0);
                }
                "env.pass" => self.env_pass(value),
                "hooks.settled" => {
                    self.config.hooks.settled = self.text(value, &full, "shell text, not empty");
                }
                "hooks.drained" => {
                    self.config.hooks.drained = self.text(value, &full, "shell text, not empty");
                }
                "hooks.timeout" => {
                    self.config.hooks.timeout = self.span(value, &full, self.config.hooks.timeout);
                }
                "dependencies.unsatisfiable" => self.unsatisfiable(value),
                "dependencies.require_checks" => match value.get_ref().as_bool() {
                    Some(truth) => self.config.require_checks = truth,
                    None => self.fail_type(value, &full, "true or false"),
                },
                _ => self.unknown(key.span(), table, name),
            }
        }
    }

    /// `[engines.<name>]` and `[groups.<name>]`, each with its one key.
    fn named_tables(&mut self, value: &Value<'_>, table: &str) {
        let pattern = format!("{table}.<name>");
        let Some(members) = value.get_ref().as_table() else {
            return self.fail_type(value, table, &format!("tables `[{pattern}]`"));
        };
        for (member, value) in members.iter() {
            let member_name: &str = member.get_ref();
            let full = format!("{table}.{}", clip(member_name));
            let Some(entries) = value.get_ref().as_table() else {
                self.fail_type(value, &full, &format!("a table `[{full}]`"));
                continue;
            };
            if member_name.trim().is_empty() {
                self.fail(member.span(), format!("`[{pattern}]`: the name is empty"));
            }
            for (key, value) in entries.iter() {
                let key_name: &str = key.get_ref();
                let name = format!("{full}.{}", clip(key_name));
                match (table, key_name) {
                    ("engines", "command") => {
                        if let Some(command) = self.text(value, &name, "shell text, not empty") {
                            self.config.engines.insert(member_name.to_owned(), command);
                        }
                    }
                    ("groups", "slots") => self.group(value, &name, member_name),
                    ("groups", "paused") => {
                        if let Some(reason) = self.paused(value, &name) {
                            self.config.paused.groups.insert(member_name.to_owned(), reason);
                        }
                    }
                    _ => self.unknown(key.span(), &pattern, key_name),
                }
            }
            if entries.is_empty() {
                let wanted = if table == "engines" { "command" } else { "slots" };
                self.fail(member.span(), format!("`[{full}]` needs the key `{wanted}`"));
            }
        }
    }

    fn group(&mut self, value: &Value<'_>, name: &str, group: &str) {
        match self.count(value, name, SLOTS_MAX) {
            Some(0) => {
                let message =
                    format!("`{name}` is 0: its orders could never run; set `paused` instead");
                self.fail(value.span(), message);
            }
            Some(slots) => {
                self.config.groups.insert(group.to_owned(), slots);
            }
            None => {}
        }
    }

    /// Why it is paused; `None`: it is not.
    fn paused(&mut self, value: &Value<'_>, name: &str) -> Option<String> {
        match value.get_ref().as_bool() {
            Some(paused) => paused.then(|| NO_REASON.to_owned()),
            None => self.text(value, name, "true, false or the reason"),
        }
    }

    /// A group cannot use more slots than there are.
    fn check_groups(&mut self, groups: &Value<'_>) {
        let Some(slots) = self.config.slots else { return };
        let too_many: BTreeMap<String, u32> = self
            .config
            .groups
            .iter()
            .filter(|(_, n)| **n > slots)
            .map(|(g, n)| (g.clone(), *n))
            .collect();
        for (group, wanted) in too_many {
            let place = groups.get_ref().get(group.as_str()).and_then(|g| g.get_ref().get("slots"));
            let message = format!(
                "`groups.{}.slots` is {wanted} but `slots` is {slots}; no more than that run at once",
                clip(&group)
            );
            self.fail(place.map_or(groups.span(), Spanned::span), message);
        }
    }

    /// A silence as long as the whole time could never be noticed.
    fn check_idle(&mut self, idle: &Value<'_>) {
        let (Some(silence), whole) = (self.config.idle_timeout, self.config.timeout) else {
            return;
        };
        if silence >= whole && self.defects.is_empty() {
            let message = format!(
                "`idle_timeout` is {silence} but `timeout` is {whole}; it would never take effect"
            );
            self.fail(idle.span(), message);
        }
    }

    fn span(&mut self, value: &Value<'_>, name: &str, default: Millis) -> Millis {
        let read = match value.get_ref() {
            DeValue::String(text) => Millis::parse(text),
            DeValue::Integer(number) => {
                digits(number.as_str()).and_then(|s| Millis::parse(&s.to_string()))
            }
            _ => None,
        };
        let zero_is_legal = matches!(name, "settle" | "grace");
        let read = read.filter(|span| zero_is_legal || *span > Millis(0));
        if read.is_none() {
            self.fail_type(value, name, SPAN_EXPECTED);
        }
        read.unwrap_or(default)
    }

    fn count(&mut self, value: &Value<'_>, name: &str, max: u64) -> Option<u32> {
        let number = value.get_ref().as_integer().filter(|n| n.radix() == 10);
        let count = number.and_then(|n| digits(&n.as_str().replace('_', ""))).filter(|n| *n <= max);
        if count.is_none() {
            self.fail_type(value, name, &format!("a whole number from 0 to {max}"));
        }
        count.and_then(|n| u32::try_from(n).ok())
    }

    fn text(&mut self, value: &Value<'_>, name: &str, expected: &str) -> Option<String> {
        let text = value.get_ref().as_str().filter(|t| !t.trim().is_empty() && !t.contains('\0'));
        if text.is_none() {
            self.fail_type(value, name, expected);
        }
        text.map(str::to_owned)
    }

    fn texts(
        &mut self,
        value: &Value<'_>,
        name: &str,
        expected: &str,
    ) -> Vec<(String, Range<usize>)> {
        let Some(items) = value.get_ref().as_array() else {
            self.fail_type(value, name, expected);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            texts.extend(self.text(item, name, expected).map(|text| (text, item.span())));
        }
        texts
    }

    fn shell(&mut self, value: &Value<'_>) {
        let words = self.texts(value, "shell", "a list of words such as [\"bash\", \"-c\"]");
        if value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            self.fail(
                value.span(),
                "`shell` is empty; name a program, such as \"bash\"".to_owned(),
            );
        } else {
            self.config.shell = words.into_iter().map(|(word, _)| word).collect();
        }
    }

    fn env_pass(&mut self, value: &Value<'_>) {
        let names = self.texts(value, "env.pass", "a list of names of variables");
        let mut known = BTreeSet::new();
        for (name, span) in names {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if !name.bytes().all(word) || name.as_bytes()[0].is_ascii_digit() {
                let message = format!("`env.pass`: `{}` is no name of a variable", clip(&name));
                self.fail(span, message);
            } else if name.starts_with("JOBYARD_") {
                self.fail(span, format!("`env.pass`: `{}` is set by jobyard itself", clip(&name)));
            } else if known.insert(name.clone()) {
                self.config.env_pass.push(name);
            }
        }
    }

    fn git_base(&mut self, value: &Value<'_>) {
        let expected = "a git revision such as \"main\"";
        let base = self.text(value, "git.base", expected);
        if base.as_deref().is_some_and(|b| b.starts_with('-') || b.contains(char::is_whitespace)) {
            self.fail_type(value, "git.base", expected);
        }
        self.config.git_base = base;
    }

    fn log_max(&mut self, value: &Value<'_>) {
        let bytes = match value.get_ref() {
            DeValue::String(text) => bytes(text),
            DeValue::Integer(number) => digits(&number.as_str().replace('_', "")),
            _ => None,
        };
        match bytes.filter(|n| LOG_BYTES.contains(n)) {
            Some(bytes) => self.config.log_max = bytes,
            None => {
                let expected = "a size from 1KiB to 1024GiB, such as \"64MiB\"";
                self.fail_type(value, "log.max", expected);
            }
        }
    }

    fn unsatisfiable(&mut self, value: &Value<'_>) {
        const WORDS: [&str; 3] = ["hold", "skip", "fail"];
        let name = "dependencies.unsatisfiable";
        match value.get_ref().as_str() {
            Some("hold") => self.config.unsatisfiable = Unsatisfiable::Hold,
            Some("skip") => self.config.unsatisfiable = Unsatisfiable::Skip,
            Some("fail") => self.config.unsatisfiable = Unsatisfiable::Fail,
            other => {
                let near = other.and_then(|word| nearest(word, &WORDS));
                let near = near.map_or_else(String::new, |n| format!(" (nearest: \"{n}\")"));
                self.fail_type(value, name, &format!("\"hold\", \"skip\" or \"fail\"{near}"));
            }
        }
    }

    fn unknown(&mut self, span: Range<usize>, table: &str, name: &str) {
        if self.defects.len() >= DEFECTS_MAX {
            return;
        }
        let shown = clip(name);
        if table.is_empty()
            && let Some(key) = KEYS.iter().find(|key| key.name == name)
        {
            let message = format!("`{shown}` belongs under `[{}]`", key.table);
            return self.fail(span, message);
        }
        let here = KEYS.iter().filter(|key| key.table == table).map(|key| key.name);
        let tables = TABLES.iter().copied().filter(|_| table.is_empty());
        let known: Vec<&str> = here.chain(tables).collect();
        let near = nearest(name, &known)
            .map_or_else(|| format!("known: {}", known.join(", ")), |n| format!("nearest: `{n}`"));
        let place = if table.is_empty() { String::new() } else { format!(" in `[{table}]`") };
        self.fail(span, format!("unknown key `{shown}`{place}; {near}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Hooks, Pauses};
    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = "settle = \"500ms\"\nslots = 4\nshell = [\"sh\", \"-ec\"]\nstale_after = 60\ngrace = \
                    \"5s\"\ntimeout = \"2h\"\nidle_timeout = \"10m\"\ncheck_timeout = \"5m\"\n[log]\nmax = \
                    \"1GB\"\n[git]\nbase = \"dev\"\ncheckout_workers = 2\ntimeout = \"1m\"\n[env]\n\
                    pass = [\"HOME\", \"HOME\"]\n[engines.claude]\ncommand = \"claude -p x\"\n\
                    [groups.gpu]\nslots = 1\npaused = \"dear\"\n\
                    [groups.a]\npaused = true\n[groups.b]\npaused = false\n\
                    [hooks]\nsettled = \"a\"\ndrained = \"b\"\ntimeout = 5\n\
                    [dependencies]\nunsatisfiable = \"skip\"\nrequire_checks = true\n";
        let want = Config {
            settle: Millis(500),
            slots: Some(4),
            shell: vec!["sh".to_owned(), "-ec".to_owned()],
            stale_after: Millis::from_secs(60),
            grace: Millis::from_secs(5),
            timeout: Millis::from_secs(7200),
            idle_timeout: Some(Millis::from_secs(600)),
            check_timeout: Millis::from_secs(300),
            log_max: 1_000_000_000,
            git_base: Some("dev".to_owned()),
            checkout_workers: 2,
            git_timeout: Millis::from_secs(60),
            env_pass: vec!["HOME".to_owned()],
            engines: BTreeMap::from([("claude".to_owned(), "claude -p x".to_owned())]),
            groups: BTreeMap::from([("gpu".to_owned(), 1)]),
            paused: Pauses {
                all: None,
                groups: BTreeMap::from([
                    ("a".to_owned(), "no reason given".to_owned()),
                    ("gpu".to_owned(), "dear".to_owned()),
                ]),
            },
            hooks: Hooks {
                settled: Some("a".to_owned()),
                drained: Some("b".to_owned()),
                timeout: Millis::from_secs(5),
            },
            unsatisfiable: Unsatisfiable::Skip,
            require_checks: true,
        };
        assert_eq!(read(text), Ok(want));
        assert_eq!(read(""), Ok(Config::default()));
        assert_eq!(read("\u{feff}slots = 0\npaused = false\n"), Ok(Config::default()));
        let all = read("paused = \"over night\"\n").unwrap().paused.all;
        assert_eq!(all.as_deref(), Some("over night"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let check = |text: &str, part: &str| {
            let defects = read(text).expect_err(text);
            assert_eq!(defects[0].code, INVALID_CONFIG);
            assert!(defects[0].to_string().contains(part), "{text:?} gave {}", defects[0]);
        };
        check(
            "\nslotz = 1\n",
            "2:1: unknown key `slotz`; nearest: `slots`\n  2 | slotz = 1\n    | ^",
        );
        check("[lgo]\nmax = 1\n", "1:2: unknown key `lgo`; nearest: `log`");
        check("[log]\nmaxx = 1\n", "2:1: unknown key `maxx` in `[log]`; nearest: `max`");
        check(
            "[engines.a]\ncmd = \"x\"\n",
            "unknown key `cmd` in `[engines.<name>]`; known: command",
        );
        check("require_checks = true\n", "1:1: `require_checks` belongs under `[dependencies]`");
        check("slots = \"4\"\n", "1:9: `slots`: expected a whole number");
        check("slots = -1\n", "a whole number");
        check("settle = \"soon\"\n", "1:10: `settle`: expected a duration");
        check("timeout = 0\n", "above 0");
        check("timeout = 1.5\n", "a duration");
        check("shell = []\n", "`shell` is empty");
        check("shell = \"bash\"\n", "a list of words");
        check("log = 5\n", "a table `[log]`");
        check("[log]\nmax = \"1\"\n", "a size from 1KiB");
        check("[log]\nmax = \"5 parsecs\"\n", "a size from 1KiB");
        check("[env]\npass = [\"A=B\"]\n", "no name of a variable");
        check("[env]\npass = [\"JOBYARD_ID\"]\n", "set by jobyard");
        check("[git]\nbase = \"-x\"\n", "a git revision");
        check("[groups]\ngpu = 1\n", "a table `[groups.gpu]`");
        check("[groups.gpu]\n", "needs the key `slots`");
        check("[groups.gpu]\nslots = 0\n", "could never run");
        check(
            "slots = 2\n[groups.gpu]\nslots = 3\n",
            "3:9: `groups.gpu.slots` is 3 but `slots` is 2",
        );
        check("timeout = \"1m\"\nidle_timeout = \"1m\"\n", "2:16: `idle_timeout` is 1m but");
        check("[dependencies]\nunsatisfiable = \"hodl\"\n", "(nearest: \"hold\")");
        check(
            "paused = 1\n",
            "1:10: `paused`: expected true, false or the reason, found the number 1",
        );
        check("[groups.gpu]\npaused = \"\"\n", "`groups.gpu.paused`: expected true, false or the");
        check("slots = 1\nslots = 2\n", "not valid TOML: duplicate key");
        check("slots =\n", "not valid TOML");
        check("a\0", "NUL");
    }
}
