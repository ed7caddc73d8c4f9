//! Facts for tests of pure functions, written in short: `B pending A C:failure` is an order in
//! `pending/` that waits for A and for the failure of C. Nothing here ships.

use super::Policy;
use super::findings::{Extra, Known};
use crate::model::id::OrderId;
use crate::model::index::{Brief, Index, Place, Reading};
use crate::model::order::{Dependency, DependsOn, Order, Priority, State, Workspace};
use jiff::tz::TimeZone;
use std::collections::BTreeMap;

pub(super) fn id(text: &str) -> OrderId {
    OrderId::parse(text).unwrap()
}

pub(super) fn policy() -> Policy {
    Policy::new(TimeZone::UTC, 1)
}

/// An order in short: its id, its state (`held` and `manual` are pending ones), what it depends on.
fn parse(line: &str) -> (OrderId, &str, Vec<Dependency>) {
    let mut words = line.split(' ');
    let (name, state) = (id(words.next().unwrap()), words.next().unwrap());
    let dependency = |word: &str| {
        let (up, on) = word.split_once(':').unwrap_or((word, "success"));
        Dependency { id: id(up), on: DependsOn::parse(on).unwrap() }
    };
    (name, state, words.map(dependency).collect())
}

pub(super) fn index(orders: &[&str]) -> Index {
    let mut index = Index::default();
    for line in orders {
        let (id, word, dependencies) = parse(line);
        let state = State::parse(word).unwrap_or(State::Pending);
        let brief = Brief {
            priority: Priority::Medium,
            deadline: None,
            not_before: None,
            retry_at: None,
            dependencies: dependencies.into(),
            group: None,
            workspace: Workspace::None,
            hold: (word == "held").then(|| "budget".into()),
            executable: word != "manual",
            attempt: 0,
            stamp: None,
            warned: false,
        };
        let reading = match state {
            State::Done | State::Failed => Reading::Settled { attempt: 1, unverified: false },
            State::Pending | State::Running => Reading::Order(Box::new(brief)),
        };
        let place =
            Place { inode: 1, size: 1, mtime_ns: 0, intake_ns: 0, uid: 0, why: false, reading };
        index.ticket_mut(&id).places[state as usize] = Some(Box::new(place));
    }
    index
}

/// The whole orders of the same.
pub(super) fn extra(orders: &[&str]) -> Extra {
    let mut extra = Extra::default();
    for line in orders {
        let (id, word, dependencies) = parse(line);
        let state = State::parse(word).unwrap_or(State::Pending);
        let order = Order { dependencies, ..Order::new(id.clone(), "T".to_owned()) };
        let known = Known { order, warnings: Vec::new(), lines: BTreeMap::new(), changed_ms: 0 };
        extra.orders.insert((id, state), known);
    }
    extra
}
