//! `jobyard groups`: the groups of orders, and what of them is paused.
//!
//! Invariants: the state is the configuration and nothing else; it is edited in place, durably, over no
//! save of a person; a daemon is only told to read it again.

use super::ask::drive::world;
use super::out::{self, Colour, Screen};
use super::table::{self, Cell, Column};
use super::{Failure, Globals, Outcome, code, look, root, say};
use crate::model::config::{CONFIG_BYTES_MAX, Change, NO_REASON, set};
use crate::model::order::State;
use crate::model::paths;
use crate::observe::plain;
use crate::plan::action::{pause, pause_and_release};
use crate::scan::View;
use crate::world::root_lock::{self, Called};
use crate::world::store::Outcome::{Done, LookAgain};
use crate::world::store::{self, errno, publish};
use crate::world::{Fault, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How often the file is read anew when somebody saves it at the same time.
const TRIES_MAX: u32 = 8;

/// Flags of `jobyard groups`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start no more orders of a group, or none at all; running ones go on
    Pause {
        #[command(flatten)]
        which: Which,
        /// Why, for whoever waits
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let paused orders start again
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Say how many orders of a group run at once
    Slots {
        /// The group
        name: String,
        /// Orders at once
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        slots: u32,
    },
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// The group
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// All orders, with a group or without
    #[arg(long)]
    all: bool,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    match given.action {
        None => list(globals),
        Some(Action::Pause { which, reason }) => {
            let reason = reason.filter(|r| !r.trim().is_empty());
            let reason = reason.unwrap_or_else(|| NO_REASON.to_owned());
            let text = pause(which.name.as_deref(), &reason);
            change(globals, which.name.as_deref(), Change::Paused(Some(&reason)), &text)
        }
        Some(Action::Resume { which }) => {
            let what = which.name.as_ref().map_or("everything".into(), |g| format!("group {g}"));
            let text = format!("{what} is not paused");
            change(globals, which.name.as_deref(), Change::Paused(None), &text)
        }
        Some(Action::Slots { name, slots }) => {
            let text = format!("group {name} has {slots} slot(s)");
            change(globals, Some(&name), Change::Slots(slots), &text)
        }
    }
}

/// Sets it, has a daemon read it, and says how it is now. A daemon may not have read what was so already.
fn change(globals: &Globals, group: Option<&str>, change: Change<'_>, text: &str) -> Outcome {
    let mut seat = look::open(globals)?;
    let changed = write(&seat.root, group, change)?;
    let called = call(&seat.root);
    let exit = if called.is_ok() { code::DONE } else { code::FAILED };
    let said = called.unwrap_or_else(|untold| untold);
    if globals.json {
        let fields = [
            ("group", group.into()),
            ("changed", changed.into()),
            ("text", text.into()),
            ("daemon", said.into()),
        ];
        say::object("group", fields)?;
        return Ok(exit);
    }
    say::line(&out::plain(&format!("{text}{}", if changed { "" } else { "; unchanged" })))?;
    say::talk(&format!("jobyard: {said}"));
    if let Some(group) = group.filter(|_| changed)
        && !orders(&seat.look()?).contains_key(&Some(group.to_owned()))
    {
        say::talk(&format!("jobyard: no order names the group {} yet", out::plain(group)));
    }
    Ok(exit)
}

/// Writes the configuration; whether it had to be changed.
fn write(place: &Path, group: Option<&str>, change: Change<'_>) -> Result<bool, Failure> {
    let path = Path::new(paths::CONFIG);
    let mut world = world(place)?;
    for _ in 0..TRIES_MAX {
        let read = plain::snapshot(&mut world, path, CONFIG_BYTES_MAX)
            .map_err(|fault| failed(&fault))?
            .map_err(|text| Failure::new(code::FAILED, format!("{}: it {text}", path.display())))?;
        let text = std::str::from_utf8(read.as_ref().map_or(&[], |r| &r.bytes)).map_err(|e| {
            Failure::new(code::FAILED, format!("{}: it is not UTF-8: {e}", path.display()))
        })?;
        let Some(new) = set(text, group, change).map_err(|d| root::refused(place, &d))? else {
            return Ok(false);
        };
        let put = match &read {
            Some(read) => store::replace(&mut world, read, new.as_bytes(), &[]),
            None => publish(&mut world, path, new.as_bytes(), 0o644)
                .and_then(|()| world.sync_dir(Path::new(paths::CTX)))
                .map(|()| (Done, None)),
        };
        if let Ok((_, Some(kept))) = &put {
            say::kept(kept);
        }
        match put {
            Ok((Done, _)) => return Ok(true),
            Ok((LookAgain, _)) => {}
            Err(fault) if fault.errno == errno::EEXIST => {}
            Err(fault) => return Err(failed(&fault)),
        }
    }
    let text = format!("write {}: somebody else is saving it; try again", path.display());
    Err(Failure::new(code::AGAIN, text))
}

fn failed(fault: &Fault) -> Failure {
    Failure::new(code::FAILED, format!("write {}: {fault}", paths::CONFIG))
}

/// Has the daemon read the configuration again. The error: it goes on by the old one.
fn call(place: &Path) -> Result<String, String> {
    match root_lock::call(place) {
        Ok(Called::Told(pid)) => Ok(format!("the daemon (pid {pid}) was told to read it")),
        Ok(Called::Starting(_)) => Ok("the daemon is just starting and reads it".to_owned()),
        Ok(Called::Nobody) => Ok("no daemon runs now; the next one reads it".to_owned()),
        Err(error) => Err(format!(
            "the daemon was not told ({error}) and goes on by the old configuration; as its user, or root: \
             `systemctl reload jobyard@$(systemd-escape -p {})`, or `kill -HUP` its process",
            out::plain(&place.to_string_lossy())
        )),
    }
}

/// How many orders are pending and running, by group.
fn orders(view: &View) -> BTreeMap<Option<String>, [usize; 2]> {
    let mut counts: BTreeMap<Option<String>, [usize; 2]> = BTreeMap::new();
    for id in view.ids() {
        let state = view.index.tickets.get(&id).and_then(|t| t.state());
        let at = match state {
            Some(State::Pending) => 0,
            Some(State::Running) => 1,
            _ => continue,
        };
        counts.entry(view.group(&id).map(str::to_owned)).or_default()[at] += 1;
    }
    counts
}

fn list(globals: &Globals) -> Outcome {
    let view = look::open(globals)?.look()?;
    let config = &view.settings.config;
    let mut counts = orders(&view);
    for name in config.groups.keys().chain(config.paused.groups.keys()) {
        counts.entry(Some(name.clone())).or_default();
    }
    let paused = |group: &Option<String>| config.paused.groups.get(group.as_ref()?);
    let slots = |group: &Option<String>| config.groups.get(group.as_ref()?);
    if globals.json {
        let one = |(group, [pending, running]): (&Option<String>, &[usize; 2])| {
            json!({
                "group": group,
                "slots": slots(group),
                "running": running,
                "pending": pending,
                "paused": paused(group),
            })
        };
        let groups: Value = counts.iter().map(one).collect();
        let all = config.paused.all.as_deref();
        say::object("groups", [("groups", groups), ("paused", all.into())])?;
        return Ok(code::DONE);
    }
    if let Some(reason) = &config.paused.all {
        say::talk(&format!("jobyard: {}", out::plain(&pause_and_release(None, reason))));
    }
    let columns = ["GROUP", "SLOTS", "RUNNING", "PENDING", "PAUSED"];
    let columns = columns.map(|name| Column { name, least: (name == "PAUSED").then_some(12) });
    let row = |(group, [pending, running]): (&Option<String>, &[usize; 2])| {
        vec![
            Cell::new(group.as_deref().unwrap_or("(none)")),
            Cell::new(&slots(group).map_or("-".to_owned(), ToString::to_string)),
            Cell::new(&running.to_string()),
            Cell::new(&pending.to_string()),
            Cell::coloured(paused(group).map_or("", String::as_str), Some(Colour::Yellow)),
        ]
    };
    let rows: Vec<Vec<Cell>> = counts.iter().map(row).collect();
    if rows.is_empty() {
        say::talk("jobyard: no groups and no orders; `jobyard groups slots NAME N` makes a group");
        return Ok(code::DONE);
    }
    out::text(&table::lines(&columns, &rows, Screen::of_stdout()))?;
    Ok(code::DONE)
}
