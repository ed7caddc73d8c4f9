//! `jobyard edit`: changes a pending ticket, in an editor or key by key.
//!
//! Invariants: what is put in place is a valid order of the same id; it replaces the very bytes that were
//! read and nothing else, so that neither a claim nor another save is undone; a copy that was edited and not
//! put in place is kept and named.

mod copy;

use super::ask::drive::world;
use super::submit::{self, located};
use super::{Failure, Globals, Outcome, code, look, out, request, say};
use crate::model::defect::Defect;
use crate::model::edit::{Change, Key, Scalar, edit};
use crate::model::form::Form;
use crate::model::id::OrderId;
use crate::model::order::State;
use crate::model::parse::keys::ORDER;
use crate::model::parse::nearest;
use crate::model::paths;
use crate::world::real::RealWorld;
use crate::world::store::{Outcome as Stamped, Snapshot, TICKET_BYTES_MAX, read_whole, replace};
use crate::world::{Fault, World};
use copy::Copy;
use std::fs::File;
use std::io::{self, BufRead, IsTerminal};

/// Flags of `jobyard edit`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the pending work order
    id: String,
    /// Set a key without an editor; `KEY=` removes it
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<Change>,
    /// Print what the order would be; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A ticket as it was read.
type Ticket = Snapshot<File>;

/// Runs it.
pub(super) fn run(globals: &Globals, given: &Arguments) -> Outcome {
    let id = request::order_id(&given.id)?;
    let root = globals.find_root()?;
    let mut world = world(&root)?;
    let path = paths::ticket(State::Pending, &id);
    let read = read_whole(&mut world, &path, TICKET_BYTES_MAX).map_err(|f| failed(&f))?;
    let Some(ticket) = read else { return Err(elsewhere(&mut world, &id)) };
    let (bytes, copy) = match given.set.is_empty() {
        true => by_editor(&id, &ticket)?,
        false => (by_keys(&id, &ticket, &given.set)?, None),
    };
    let changed = bytes != ticket.bytes;
    if changed && !given.dry_run {
        put(&mut world, &id, &ticket, &bytes).map_err(|failure| keeping(failure, copy.as_ref()))?;
    }
    if let Some(copy) = copy {
        copy.remove();
    }
    let text = String::from_utf8_lossy(&bytes);
    if globals.json {
        let fields = [
            ("id", id.as_str().into()),
            ("changed", changed.into()),
            ("dry_run", given.dry_run.into()),
            ("order", given.dry_run.then_some(text.as_ref()).into()),
        ];
        say::object("edit", fields)?;
    } else if given.dry_run {
        out::text(&text)?;
    } else {
        say::line(&format!("{id} {}", if changed { "was changed" } else { "is unchanged" }))?;
    }
    Ok(code::DONE)
}

fn failed(fault: &Fault) -> Failure {
    Failure::of_fault(fault, "nothing was changed")
}

/// What the changes make of it.
fn by_keys(id: &OrderId, ticket: &Ticket, changes: &[Change]) -> Result<Vec<u8>, Failure> {
    let path = ticket.path.to_string_lossy();
    let judge = |bytes| submit::judge(&path, id.as_str(), bytes).map(|draft| draft.bytes);
    let new = match std::str::from_utf8(&ticket.bytes) {
        Ok(text) => edit(text, changes).map(String::into_bytes).map_err(|defect| vec![defect]),
        // It is no order either, and that says where.
        Err(_) => Ok(ticket.bytes.clone()),
    };
    new.and_then(judge).map_err(|defects| refused(&path, &defects))
}

/// What a person makes of it, valid or the same as before.
fn by_editor(id: &OrderId, ticket: &Ticket) -> Result<(Vec<u8>, Option<Copy>), Failure> {
    let editor = copy::editor()?;
    let copy = Copy::make(id, &ticket.bytes)?;
    let name = copy.path.to_string_lossy().into_owned();
    loop {
        copy.edit(&editor)?;
        let bytes = copy.read()?;
        if bytes == ticket.bytes {
            return Ok((bytes, Some(copy)));
        }
        let failure = match submit::judge(&name, id.as_str(), bytes) {
            Ok(draft) => return Ok((draft.bytes, Some(copy))),
            Err(defects) => refused(&name, &defects),
        };
        if !again(&failure).map_err(|failure| keeping(failure, Some(&copy)))? {
            return Err(keeping(failure, Some(&copy)));
        }
    }
}

fn refused(file: &str, defects: &[Defect]) -> Failure {
    let texts: Vec<String> = defects.iter().map(|d| located(file, d)).collect();
    Failure::new(code::REFUSED, format!("{}\nnothing was changed", texts.join("\n")))
}

fn keeping(mut failure: Failure, copy: Option<&Copy>) -> Failure {
    if let Some(copy) = copy {
        failure.text.push_str(&format!("; your version is in {}", copy.path.display()));
    }
    failure
}

/// Whether somebody who sits there wants to go on.
fn again(failure: &Failure) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    say::talk(&failure.text);
    say::ask("Edit again? [Y/n] ");
    let mut typed = String::new();
    let read = io::stdin().lock().read_line(&mut typed);
    let read = read.map_err(|e| Failure::new(code::FAILED, format!("read the answer: {e}")))?;
    Ok(read > 0 && !typed.trim_start().starts_with(['n', 'N']))
}

/// Puts it in the place of what was read, if that is still there.
fn put(world: &mut RealWorld, id: &OrderId, ticket: &Ticket, bytes: &[u8]) -> Result<(), Failure> {
    let places = State::ALL.map(|state| paths::ticket(state, id));
    let (stamped, kept) = replace(world, ticket, bytes, &places).map_err(|f| failed(&f))?;
    if let Some(kept) = kept {
        say::kept(&kept);
    }
    if stamped == Stamped::Done {
        return Ok(());
    }
    let pending = world.stat(&ticket.path).map_err(|f| failed(&f))?.is_some();
    Err(match pending {
        true => {
            let text =
                format!("{id} was changed meanwhile, or is being: nothing of it was changed");
            Failure::new(code::REFUSED, text)
        }
        false => elsewhere(world, id),
    })
}

/// It is not pending: where it is, and what can be done there.
fn elsewhere(world: &mut RealWorld, id: &OrderId) -> Failure {
    let there =
        |state: &State| world.stat(&paths::ticket(*state, id)).is_ok_and(|found| found.is_some());
    let state = State::ALL.into_iter().find(there);
    let Some(state) = state else { return look::unknown(id) };
    let (exit, text) = match state {
        State::Pending => (code::AGAIN, "it has just become pending; try again".to_owned()),
        State::Running => (
            code::HELD,
            format!(
                "it is running, by what was sealed when it was claimed; `jobyard cancel {id}` ends it, and \
                 in failed/ it can be changed"
            ),
        ),
        State::Failed => (
            code::REFUSED,
            format!(
                "it has failed; change {} with an editor, then `jobyard requeue {id}`",
                paths::ticket(state, id).display()
            ),
        ),
        State::Done => (
            code::REFUSED,
            "it is done, and stays as it was; `jobyard add` or `submit` another order".to_owned(),
        ),
    };
    Failure::new(exit, format!("edit {id}: {text}; nothing was changed"))
}

/// `KEY=VALUE` as a change of a key that holds one word or text.
fn setting(text: &str) -> Result<Change, String> {
    let (name, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as priority=high")?;
    let plain = |form: &Form| {
        matches!(form, Form::Filled | Form::Text | Form::AnyCase(_) | Form::When | Form::Limit)
    };
    let ours = |key: &&crate::model::form::Key| {
        (plain(&key.form) || ["workspace", "base"].contains(&key.name))
            && !key.text.starts_with("Written by jobyard")
    };
    let names: Vec<&'static str> = ORDER.iter().filter(ours).map(|key| key.name).collect();
    let Some(name) = names.iter().find(|known| **known == name) else {
        let near = nearest(name, &names).map(|near| format!("; nearest: {near}"));
        let text = format!("--set knows {}", names.join(", "));
        return Err(near.map_or(text.clone(), |near| format!("{text}{near}")));
    };
    Ok(match value {
        "" => Change::Remove(Key::Top(name)),
        value => Change::Set(Key::Top(name), Scalar::Text(value.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_value_can_be_set_and_no_others() {
        let set =
            |name, value: &str| Ok(Change::Set(Key::Top(name), Scalar::Text(value.to_owned())));
        assert_eq!(setting("priority=high"), set("priority", "high"));
        assert_eq!(setting("title=a = b"), set("title", "a = b"));
        assert_eq!(setting("workspace=none"), set("workspace", "none"));
        assert_eq!(setting("group="), Ok(Change::Remove(Key::Top("group"))));
        for text in ["id=x", "run=x", "status=done", "x_jobyard=x", "dependencies=A", "x=y"] {
            assert!(setting(text).is_err(), "{text}");
        }
        assert!(setting("prioritty=high").unwrap_err().ends_with("nearest: priority"));
        assert!(setting("priority").unwrap_err().contains("KEY=VALUE"));
    }
}
