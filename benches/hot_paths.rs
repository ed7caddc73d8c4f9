//! The paths that every order takes: reading, editing, recording, looking and deciding.
//!
//! `cargo bench --bench hot_paths`. Figures, no tests: nothing is asserted about time.

#![allow(clippy::unwrap_used, missing_docs, reason = "a step that fails ends the measurement")]

use criterion::{Criterion, criterion_group, criterion_main};
use jobyard::model::config::Config;
use jobyard::model::edit::{Change, Key, Scalar, edit};
use jobyard::model::event::{Event, GENESIS, Line, Link};
use jobyard::model::id::OrderId;
use jobyard::model::parse::parse_order;
use jobyard::model::time::{Moment, Tick};
use jobyard::plan::{Policy, plan};
use jobyard::scan::{self, Settings};
use jobyard::world::git::Bounds;
use jobyard::world::real::RealWorld;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::{Path, PathBuf};

/// Pending orders of a large root.
const ORDERS: usize = 10_000;

/// A ticket as people write it.
const TICKET: &str = include_str!("../examples/WO-0018A.yaml");

fn files(c: &mut Criterion) {
    c.bench_function("parse a ticket", |b| {
        b.iter(|| parse_order(black_box(TICKET.as_bytes()), "WO-0018A").unwrap());
    });
    let changes = [
        Change::Set(Key::Top("status"), Scalar::Text("running".to_owned())),
        Change::Set(Key::Top("branch"), Scalar::Text("feat/wo-WO-0018A".to_owned())),
        Change::Set(Key::Own("attempt"), Scalar::Int(1)),
    ];
    c.bench_function("edit a ticket, read it again and compare", |b| {
        b.iter(|| edit(black_box(TICKET), &changes).unwrap());
    });
    let line = Line {
        seq: 7,
        time: Moment(1_700_000_000_000),
        id: Some("WO-0018A".to_owned()),
        attempt: Some(1),
        event: Event::Held { reason: "later".to_owned(), request: String::new() },
    };
    c.bench_function("seal a line of the ledger", |b| b.iter(|| black_box(&line).seal(GENESIS)));
    let (text, _) = line.seal(GENESIS);
    let text = text.trim_end();
    c.bench_function("read a line of the ledger", |b| {
        b.iter(|| Link::parse(black_box(text)).unwrap());
    });
}

fn policy() -> Policy {
    Policy::new(jiff::tz::TimeZone::UTC, 2)
}

fn large_root(root: &Path) {
    let pending = root.join("_ctx/jobs/pending");
    std::fs::create_dir_all(&pending).unwrap();
    for number in 0..ORDERS {
        let id = format!("WO-{number}");
        let text = format!("id: {id}\ntitle: t\nrun: 'true'\npriority: P{}\n", number % 4);
        std::fs::write(pending.join(format!("{id}.yaml")), text).unwrap();
    }
}

fn a_large_root(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    large_root(dir.path());
    let mut world = RealWorld::open(dir.path(), PathBuf::new(), Bounds::default()).unwrap();
    let settings = Settings {
        config: Config::default(),
        defects: Vec::new(),
        policy: policy(),
        trees: None,
        tracked: Vec::new(),
        stall: None,
    };
    c.bench_function("look at 10,000 pending orders", |b| {
        b.iter(|| scan::look(&mut world, settings.clone()).unwrap());
    });
    let view = scan::look(&mut world, settings).unwrap();
    let (mut index, now, tick) = (view.index, view.now, view.tick);
    let all: BTreeSet<OrderId> = index.tickets.keys().cloned().collect();
    c.bench_function("decide about 10,000 pending orders", |b| {
        b.iter(|| plan(&mut index, &all, now, tick, &policy()));
    });
    let one = BTreeSet::from([OrderId::parse("WO-77").unwrap()]);
    c.bench_function("decide about one of them", |b| {
        b.iter(|| plan(&mut index, &one, now, Tick(tick.0), &policy()));
    });
}

criterion_group!(all, files, a_large_root);
criterion_main!(all);
