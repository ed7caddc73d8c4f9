//! `jobyard impact`: what follows for other orders when one ends, well or badly.
//!
//! Invariants: a forecast made of the facts and the planner's own rules; nothing is written; each order
//! that waits for this one, directly or through others, stands once in each of the two cases.

use super::{Globals, Outcome, code, look, out, request, say, sight};
use crate::model::config::Unsatisfiable;
use crate::model::id::OrderId;
use crate::plan::action::{Wait, wait_text};
use crate::plan::impact::{self, End, Impact, Kept, Released};
use crate::scan::View;
use serde_json::{Value, json};

/// Flags of `jobyard impact`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Id of the work order
    id: String,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let id = request::order_id(&given.id)?;
    let mut seat = look::open(globals)?;
    let view = seat.look()?;
    if !view.ids().contains(&id) && view.attempt(&id).is_none() {
        return Err(look::unknown(&id));
    }
    let well = forecast(&view, &id, End::Well);
    let badly = forecast(&view, &id, End::Badly);
    let word = sight::word(&view, &id);
    let policy = policy(&view);
    if globals.json {
        let [released, waiting, never] = lists(&well);
        let [released_then, waiting_then, never_then] = lists(&badly);
        let fields = [
            ("id", id.as_str().into()),
            ("word", word.into()),
            ("released", released),
            ("waiting", waiting),
            ("never", never),
            (
                "if_it_fails",
                json!({ "released": released_then, "waiting": waiting_then, "never": never_then }),
            ),
            ("unsatisfiable", policy.into()),
        ];
        say::object("impact", fields)?;
        return Ok(code::DONE);
    }
    if well == Impact::default() && badly == Impact::default() {
        out::text(&format!("{id} is {word}; no order waits for it\n"))?;
        return Ok(code::DONE);
    }
    let mut text = format!("{id} is {word}\n");
    if view.index.tickets.get(&id).and_then(|t| t.succeeded()) == Some(true) {
        section(&mut text, "it does not end again", &well, policy);
    } else {
        section(&mut text, "if it ends well", &well, policy);
        section(&mut text, "if it fails for good", &badly, policy);
    }
    out::text(&text)?;
    Ok(code::DONE)
}

fn forecast(view: &View, id: &OrderId, end: End) -> Impact {
    let facts = impact::Facts {
        index: &view.index,
        policy: &view.settings.policy,
        now: view.now,
        cyclic: &view.cyclic,
        refused: &view.extra.refused,
    };
    impact::of(&facts, id, end)
}

/// What becomes of orders that can never start.
fn policy(view: &View) -> &'static str {
    match view.settings.policy.unsatisfiable {
        Unsatisfiable::Hold => "hold",
        Unsatisfiable::Skip => "skip",
        Unsatisfiable::Fail => "fail",
    }
}

fn lists(impact: &Impact) -> [Value; 3] {
    let ids = |ids: &[OrderId]| ids.iter().map(|id| Value::from(id.as_str())).collect::<Value>();
    let released = |r: &Released| {
        let (id, after) = (r.id.as_str(), ids(&r.after));
        json!({ "id": id, "at_once": r.after.is_empty(), "after": after, "manual": r.manual })
    };
    let kept =
        |k: &Kept| json!({ "id": k.id.as_str(), "also": k.by.iter().map(also).collect::<Value>() });
    [
        impact.released.iter().map(released).collect(),
        impact.waiting.iter().map(kept).collect(),
        impact.never.iter().map(kept).collect(),
    ]
}

fn also(wait: &Wait) -> Value {
    let (kind, upstream) = match wait {
        Wait::Refused(_) => ("refused", None),
        Wait::Held(_) => ("held", None),
        Wait::Paused { .. } => ("paused", None),
        Wait::NotBefore(_) => ("not-before", None),
        Wait::RetryAt(_) => ("retry", None),
        Wait::Dependency { id, .. } => ("dependency", Some(id.as_str())),
        Wait::Workspace(_) => ("workspace", None),
        Wait::Lease(_) => ("lease", None),
        _ => ("other", None),
    };
    json!({ "kind": kind, "text": wait_text(wait), "upstream": upstream })
}

fn section(text: &mut String, head: &str, impact: &Impact, policy: &str) {
    text.push_str(&format!("{head}:\n"));
    if *impact == Impact::default() {
        text.push_str("  nothing follows\n");
        return;
    }
    let (at_once, in_turn): (Vec<&Released>, Vec<&Released>) =
        impact.released.iter().partition(|r| r.after.is_empty());
    let taken = |r: &Released| if r.manual { "  (a person or an agent takes it)" } else { "" };
    let mut list = |head: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("  {head}:\n    {}\n", lines.join("\n    ")));
        }
    };
    let one = |r: &&Released| format!("{}{}", r.id, taken(r));
    list("released at once", at_once.iter().map(one).collect());
    let one = |r: &&Released| {
        let after: Vec<&str> = r.after.iter().map(OrderId::as_str).collect();
        format!("{}  after {}{}", r.id, after.join(", "), taken(r))
    };
    list("released in turn, as those before them end well", in_turn.iter().map(one).collect());
    let one = |k: &Kept| {
        let words: Vec<String> = k.by.iter().map(words).collect();
        format!("{}  {}", k.id, words.join("; "))
    };
    list("still waiting", impact.waiting.iter().map(one).collect());
    let never = match policy {
        "hold" => "never started (they stay pending)",
        "skip" => "never started (they go to failed/, skipped)",
        _ => "never started (they go to failed/)",
    };
    list(never, impact.never.iter().map(one).collect());
}

/// The first line of a reason, safe to print.
fn words(wait: &Wait) -> String {
    out::plain(wait_text(wait).lines().next().unwrap_or_default())
}
