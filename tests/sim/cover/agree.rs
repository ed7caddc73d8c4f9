//! Does a plan say what the page says?
//!
//! Invariants: shares no code with the planner; a row is met when the planner was asked about facts of
//! that row and nothing that the tables leave out (a request, a sync that is due, a hold) stood before it;
//! whatever is planned besides the page's action is a contradiction.

use super::course::{self, under_way};
use super::facts::{self, Way};
use super::name;
use super::page::{Row, Said, tables};
use jobyard::engine::Round;
use jobyard::model::attempt::{Attempt, CommandEnd, CommandKind, Mode, Wish};
use jobyard::model::id::OrderId;
use jobyard::model::index::Ticket;
use jobyard::model::order::State;
use jobyard::plan::action::Action;

/// What the page wants for one ticket.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The rows that its facts stand in.
    pub(super) rows: Vec<&'static str>,
    /// What is to be done, in order.
    says: Vec<Said>,
    /// It is to be queued.
    ready: bool,
    /// A request, or the answer to a take, is to be acted on.
    asked: bool,
}

impl Wanted {
    fn row(&mut self, row: &Row) {
        self.rows.push(row.name);
        self.say(row.action);
    }

    fn say(&mut self, action: Said) {
        match action.0 {
            "wait" => {}
            "Ready" => self.ready = true,
            _ => self.says.push(action),
        }
    }
}

/// What the page wants for one ticket; `None` where it does not speak of such facts.
pub(super) fn wanted(round: &Round<'_>, id: &OrderId, ticket: &Ticket) -> Option<Wanted> {
    let words = facts::words(round, ticket)?;
    let mut wanted = Wanted::default();
    let Some(row) = tables().states.find(&words) else { return Some(wanted) };
    let attempt = ticket.attempt.as_deref();
    let settled = attempt.and_then(|a| a.settled.as_ref());
    match (words[0], attempt, row.action.0) {
        // Not durable yet: neither carried out nor released, and in no row.
        (place, _, action) if settled.is_some_and(|s| s.seq > round.index.durable_seq) => {
            if place != "R" && action != "Release" {
                wanted.say(row.action);
            }
        }
        ("R", Some(attempt), "Start" | "wait" | "OpenGate") if settled.is_none() => {
            running(round, ticket, attempt, row, &mut wanted);
        }
        ("none" | "two" | "ends", Some(attempt), _) => {
            if let Some(command) = under_way(attempt) {
                let words = course::command(round.index, attempt, command);
                tables().command.find(&words).into_iter().for_each(|row| wanted.row(row));
            } else if let Some(asked) =
                attempt.asked.as_ref().filter(|_| words[0] == "none" && row.action.0 == "wait")
            {
                match asked.wish {
                    Wish::Cancel => wanted.say(("Settle", "failed")),
                    _ => wanted.say(("RefuseAsked", "")),
                }
                return Some(wanted);
            }
            wanted.row(row);
        }
        ("P", None, "Ready" | "Intake" | "wait") if words[3] == "order" => {
            pending(round, id, ticket, row, &mut wanted);
        }
        ("R", None, "Claim") => match facts::way(round, id, ticket, State::Running) {
            Way::Free => wanted.row(row),
            _ => wanted.say(("PutBack", "to pending")),
        },
        _ => wanted.row(row),
    }
    Some(wanted)
}

/// S1.2, S1.3 and S1.8: what stands in the way of an order is not in the tables.
fn pending(round: &Round<'_>, id: &OrderId, ticket: &Ticket, row: &Row, wanted: &mut Wanted) {
    let way = facts::way(round, id, ticket, State::Pending);
    let open = has_request(ticket);
    let barred = way != Way::Free || open;
    if row.action.0 != "Ready" || !barred {
        wanted.row(row);
    }
    wanted.asked = open;
    wanted.ready = !barred && ticket.lease.is_none();
    match way {
        Way::Circular => wanted.say(("Why", "")),
        Way::Hopeless if !open => wanted.say(("SettleUnrun", "")),
        _ => {}
    }
}

/// S3.3 to S3.5: what follows says one of the other two tables.
fn running(round: &Round<'_>, ticket: &Ticket, attempt: &Attempt, row: &Row, wanted: &mut Wanted) {
    if attempt.claim.request.is_some() || has_request(ticket) {
        wanted.asked = true;
        return;
    }
    let follows = match under_way(attempt) {
        Some(command) => tables().command.find(&course::command(round.index, attempt, command)),
        None => tables().course.find(&course::course(attempt)),
    };
    let Some(follows) = follows else { return };
    if follows.action.0 == "OpenGate" && course::nothing_to_look_at(attempt) {
        return wanted.say(("Judge", ""));
    }
    if follows.action == row.action {
        wanted.rows.push(row.name);
    }
    // A verb starts no command of `run`.
    match follows.action == ("Start", "run") && !round.policy.runs {
        true => wanted.rows.push(follows.name),
        false => wanted.row(follows),
    }
}

fn has_request(ticket: &Ticket) -> bool {
    ticket.requests.iter().any(|request| !request.refused)
}

/// What is planned for one ticket.
#[derive(Debug, Default)]
struct Found {
    says: Vec<Said>,
    asked: bool,
}

/// What of a round's plan contradicts the page.
pub(super) fn contradiction(
    round: &Round<'_>,
    id: &OrderId,
    ticket: &Ticket,
    wanted: &Wanted,
) -> Option<String> {
    let mut found = Found::default();
    for (_, action) in round.plan.actions.iter().filter(|(of, _)| of == id) {
        match kind(action) {
            Kind::Table => found.says.push((name(action), argument(action))),
            Kind::Request => found.asked = true,
            Kind::View | Kind::Queue => {}
        }
    }
    let ready = round.index.queued.contains_key(id);
    let answers = ticket.attempt.as_deref().is_some_and(|a| a.claim.request.is_some());
    let unasked = found.asked && !answers && !has_request(ticket);
    let missed = wanted.asked && !found.asked;
    if found.says == wanted.says && ready == wanted.ready && !unasked && !missed {
        return None;
    }
    let words = facts::words(round, ticket);
    Some(format!("{id}: {words:?} wants {wanted:?}, but planned is {found:?}, ready {ready}"))
}

/// How an action stands to the tables.
enum Kind {
    Table,
    /// What somebody asked; the tables leave it out.
    Request,
    /// A view for people.
    View,
    /// The best of the queue, which is nobody's row.
    Queue,
}

fn kind(action: &Action) -> Kind {
    match action {
        Action::Accept { .. }
        | Action::Refuse { .. }
        | Action::Confirm { .. }
        | Action::Hold { .. }
        | Action::Takeover { .. }
        | Action::AnswerTake
        | Action::Claim { request: Some(_), .. }
        | Action::SettleUnrun { request: Some(_), .. }
        | Action::Requeue { request: Some(_), .. } => Kind::Request,
        Action::ClearWhy { .. } | Action::RestoreHold { .. } | Action::StampRunning => Kind::View,
        Action::Claim { mode: Mode::Process, .. } => Kind::Queue,
        _ => Kind::Table,
    }
}

/// The most important argument of an action, as the page has it.
fn argument(action: &Action) -> &'static str {
    match action {
        Action::PutBack { to: State::Pending, .. } => "to pending",
        Action::PutBack { to: State::Running, .. } => "to running",
        Action::PutBack { to: State::Done, .. } => "to done",
        Action::PutBack { to: State::Failed, .. } => "to failed",
        Action::PullBack { wish, .. } => wish.name(),
        Action::Settle { state, .. } => state.name(),
        Action::Start { kind: CommandKind::Run(_) } => "run",
        Action::Start { kind: CommandKind::Check(_) } => "check",
        Action::RecordEnd { end: CommandEnd::Lost } => "lost",
        Action::RecordEnd { end: CommandEnd::Seen(_) } => "seen",
        _ => "",
    }
}
