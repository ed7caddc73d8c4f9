//! What one look tells of a file that people change in the same moment.
//!
//! Invariants: the change comes between two chosen calls of the look, on the simulated machine; nothing else
//! happens. It does not look for such moments: lives do (`lives.rs`).

use crate::world::{Machine, SimWorld, When};
use jobyard::model::config::Config;
use jobyard::model::id::OrderId;
use jobyard::model::index::{Reading, Ticket};
use jobyard::model::order::State;
use jobyard::model::time::Millis;
use jobyard::observe::{self, Arrival, Look};
use jobyard::world::World;
use std::collections::BTreeSet;
use std::path::Path;

const ME: u32 = 1000;
const FILE: &str = "S-1.cancel";

#[test]
fn a_request_is_known_by_the_file_that_was_read_and_not_by_what_it_was_before() {
    let machine = Machine::shared(1, ME);
    let path = format!("_ctx/jobs/control/{FILE}");
    let mut editor = {
        let mut machine = machine.borrow_mut();
        ["_ctx", "_ctx/jobs", "_ctx/jobs/control"]
            .into_iter()
            .for_each(|dir| machine.hand(ME).mkdir(dir).unwrap());
        Some(machine.hand(ME).open(&path).unwrap())
    };
    let mut world = SimWorld::new(&machine, ME);
    let config = Config { settle: Millis(0), ..Config::default() };
    let refusals = BTreeSet::new();
    let (tick, now) = (world.tick(), world.now());
    let look = Look { config: &config, tick, now, refusals: &refusals, own_lease: None };
    // The person writes and closes it between the first look at the file and the question who has it open.
    world.hook = Some(Box::new(move |machine, call| {
        if (call.when, call.act) == (When::Before, "open") {
            let mut machine = machine.borrow_mut();
            machine.advance(5);
            if let Some(file) = editor.take() {
                machine.hand(ME).write_open(&file, b"enough\n").unwrap();
            }
        }
    }));
    let mut waiting = None;
    let found =
        observe::request(&mut world, &look, FILE, None, Arrival::Unsure, &mut waiting).unwrap();
    let (_, request) = found.expect("it is whole");
    assert_eq!(request.body.unwrap().reason.as_deref(), Some("enough"));
    let stat = world.stat(Path::new(&path)).unwrap().unwrap();
    assert_eq!(request.ctime_ns, stat.ctime_ns, "the next look must know it again");
}

/// What is read in `failed/` is a settlement, whoever writes there; in `pending/` it would be begun.
#[test]
fn a_ticket_that_somebody_writes_is_no_order_once_it_is_moved_to_pending() {
    let machine = Machine::shared(1, ME);
    let (there, here) = ("_ctx/jobs/failed/S-1.yaml", "_ctx/jobs/pending/S-1.yaml");
    let editor = {
        let mut machine = machine.borrow_mut();
        let mut hand = machine.hand(ME);
        ["_ctx", "_ctx/jobs", "_ctx/jobs/failed", "_ctx/jobs/pending"]
            .into_iter()
            .for_each(|dir| hand.mkdir(dir).unwrap());
        let editor = hand.open(there).unwrap();
        hand.write_open(&editor, b"id: S-1\ntitle: T\nrun: [job pass]\n").unwrap();
        editor
    };
    let mut world = SimWorld::new(&machine, ME);
    let id = OrderId::parse("S-1").unwrap();
    let config = Config { settle: Millis(0), ..Config::default() };
    let refusals = BTreeSet::new();
    let mut seen = |before: &Ticket| {
        let (tick, now) = (world.tick(), world.now());
        let look = Look { config: &config, tick, now, refusals: &refusals, own_lease: None };
        observe::ticket(&mut world, &look, &id, before, Arrival::Renamed).unwrap()
    };
    let is_order = |ticket: &Ticket, state| {
        let place = ticket.place(state).expect("it is there");
        matches!(place.reading, Reading::Order(_))
    };
    let failed = seen(&Ticket::default());
    assert!(is_order(&failed, State::Failed), "{failed:?}");
    machine.borrow_mut().hand(ME).mv(there, here).unwrap();
    let moved = seen(&failed);
    assert!(!is_order(&moved, State::Pending), "it is taken for whole: {moved:?}");
    drop(editor);
    assert!(is_order(&seen(&moved), State::Pending), "it is whole");
}
