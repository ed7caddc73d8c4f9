//! Counts: orders by what they belong to, and what the ledger's lines come to.
//!
//! Invariants: a fold over the lines in their order, which holds the open attempts and bounded counts and
//! nothing else; the same lines give the same figures. Nothing is decided by them.

use super::findings::Extra;
use super::retry;
use crate::model::attempt::{Attempt, CommandEnd, Mode};
use crate::model::event::{Event, Line};
use crate::model::index::Index;
use crate::model::order::{Order, RetryOn, State};
use crate::model::time::Moment;
use std::collections::BTreeMap;

/// Orders in each state, in the order of [`State::ALL`].
pub type ByState = [usize; 4];

/// Orders by epic, as they say or as the backlog has them in its queues.
pub fn by_epic(index: &Index, extra: &Extra) -> BTreeMap<String, ByState> {
    let mut queued: BTreeMap<&str, &str> = BTreeMap::new();
    for epic in extra.epics.iter().flatten() {
        for id in &epic.wo_queue {
            queued.entry(id).or_insert(&epic.id);
        }
    }
    by(index, extra, &|order| order.epic_id.as_deref().or(queued.get(order.id.as_str()).copied()))
}

/// Orders by slot group.
pub fn by_group(index: &Index, extra: &Extra) -> BTreeMap<String, ByState> {
    by(index, extra, &|order| order.group.as_deref())
}

fn by<'a>(
    index: &Index,
    extra: &'a Extra,
    key: &dyn Fn(&'a Order) -> Option<&'a str>,
) -> BTreeMap<String, ByState> {
    let mut counts: BTreeMap<String, ByState> = BTreeMap::new();
    for ((id, state), known) in &extra.orders {
        let here = index.tickets.get(id).and_then(|t| t.state()) == Some(*state);
        if let Some(key) = key(&known.order).filter(|_| here) {
            counts.entry(key.to_owned()).or_default()[*state as usize] += 1;
        }
    }
    counts
}

/// Spans in milliseconds, kept by their first three digits: the smallest ones are exact, others a little
/// short, and there are never more than some thousands of kinds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spans {
    counts: BTreeMap<u64, u64>,
    /// How many.
    pub count: u64,
    /// The longest, exact.
    pub max_ms: u64,
}

impl Spans {
    /// One more.
    pub fn add(&mut self, ms: u64) {
        let mut unit = 1;
        while ms / unit >= 1000 {
            unit *= 10;
        }
        *self.counts.entry(ms / unit * unit).or_default() += 1;
        self.count += 1;
        self.max_ms = self.max_ms.max(ms);
    }

    /// The smallest span that this share of all, in percent, does not exceed; `None` without any.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let wanted = (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1);
        let mut passed = 0;
        for (ms, count) in &self.counts {
            passed += u128::from(*count);
            if passed >= wanted {
                return Some(*ms);
            }
        }
        None
    }
}

/// What an open attempt has used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Used {
    attempt: u32,
    /// The daemon carries it.
    process: bool,
    commands: u32,
    ms: u64,
}

/// What the lines of the ledger come to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    now: Moment,
    open: BTreeMap<String, Used>,
    /// Time of the first line.
    pub since: Option<Moment>,
    /// Settlements into `done/` and `failed/`.
    pub settled: u64,
    /// The same by state and result.
    pub results: BTreeMap<(State, String), u64>,
    /// The same in the last hour, day and week.
    pub recent: [u64; 3],
    /// Attempts that were followed by a retry.
    pub retries: u64,
    /// Orders that a person made pending again.
    pub requeued: u64,
    /// Commands whose end nobody saw.
    pub lost: u64,
    /// Time that commands of the settled attempts took, checks included; those of the daemon only.
    pub run_time: Spans,
}

/// Spans of [`Tally::recent`] in milliseconds.
pub const RECENT_MS: [i64; 3] = [3_600_000, 86_400_000, 7 * 86_400_000];

impl Tally {
    /// Nothing counted yet; `now` is the end of the spans that are recent.
    pub fn new(now: Moment) -> Self {
        Self { now, ..Self::default() }
    }

    /// How many settlements into this directory came to this.
    pub fn of(&self, state: State, result: &str) -> u64 {
        self.results.get(&(state, result.to_owned())).copied().unwrap_or(0)
    }

    /// Takes the next line into account.
    pub fn take(&mut self, line: &Line) {
        self.since.get_or_insert(line.time);
        if let Event::Checkpoint { open, .. } = &line.event {
            self.open = open.iter().map(|a| (a.id.clone(), used(a))).collect();
        }
        let Some(id) = &line.id else { return };
        let attempt = line.attempt.unwrap_or(0);
        match &line.event {
            Event::Claiming(claim) => {
                let process = claim.mode == Mode::Process;
                self.open.insert(id.clone(), Used { attempt, process, commands: 0, ms: 0 });
            }
            Event::Released { .. } => {
                self.open.remove(id);
            }
            Event::Ended { end, .. } => {
                self.lost += u64::from(is_lost(end));
                if let Some(used) = self.open.get_mut(id).filter(|u| u.attempt == attempt) {
                    used.add(end);
                }
            }
            Event::Settled { state, result, retry_at, .. } => {
                let used = self.open.remove(id).filter(|u| Some(u.attempt) == line.attempt);
                match State::parse(state) {
                    Some(state @ (State::Done | State::Failed)) => {
                        self.settle(line.time, state, result, used);
                    }
                    _ => self.retries += u64::from(retry_at.is_some()),
                }
            }
            Event::Requeued { .. } => self.requeued += 1,
            _ => {}
        }
    }

    fn settle(&mut self, at: Moment, state: State, result: &str, used: Option<Used>) {
        self.settled += 1;
        *self.results.entry((state, result.to_owned())).or_default() += 1;
        for (count, span) in self.recent.iter_mut().zip(RECENT_MS) {
            *count += u64::from(at.0 > self.now.0.saturating_sub(span));
        }
        if let Some(used) = used.filter(|u| u.process && u.commands > 0) {
            self.run_time.add(used.ms);
        }
    }
}

impl Used {
    fn add(&mut self, end: &CommandEnd) {
        if let CommandEnd::Seen(end) = end {
            let ms = end.ended_ms.saturating_sub(end.started_ms);
            self.commands += 1;
            self.ms = self.ms.saturating_add(u64::try_from(ms).unwrap_or(0));
        }
    }
}

fn used(attempt: &Attempt) -> Used {
    let process = attempt.is_process();
    let mut used = Used { attempt: attempt.number, process, commands: 0, ms: 0 };
    attempt.commands.iter().filter_map(|c| c.end.as_ref()).for_each(|end| used.add(end));
    used
}

fn is_lost(end: &CommandEnd) -> bool {
    retry::failure(end).is_some_and(|(kind, _)| kind == RetryOn::Lost)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{extra, id, index};
    use super::*;
    use crate::model::attempt::{Claim, Holder, Place};
    use crate::model::backlog::Epic;
    use crate::model::protocol::{Cause, End};

    fn line(ms: i64, id: &str, attempt: u32, event: Event) -> Line {
        let attempt = (attempt > 0).then_some(attempt);
        Line { seq: 1, time: Moment(ms), id: Some(id.to_owned()), attempt, event }
    }

    fn claim(mode: Mode) -> Claim {
        Claim {
            mode,
            place: Place::Root,
            token: String::new(),
            boot: String::new(),
            request: None,
            forced: None,
            sealed: serde_json::from_str(r#"{"digest":"","timeout_ms":1,"check_timeout_ms":1}"#)
                .unwrap(),
        }
    }

    fn ended(ms: i64) -> Event {
        let end = End {
            exit: Some(0),
            signal: None,
            cause: Cause::Exited,
            detail: None,
            started_ms: 1000,
            ended_ms: 1000 + ms,
            leftovers: 0,
            log_bytes: 0,
        };
        Event::Ended { number: 1, end: CommandEnd::Seen(end) }
    }

    fn settled(state: &str, result: &str, retry_at: Option<&str>) -> Event {
        Event::Settled {
            state: state.to_owned(),
            result: result.to_owned(),
            reason: String::new(),
            retry_at: retry_at.map(str::to_owned),
            request: String::new(),
        }
    }

    #[test]
    fn lines_add_up() {
        let process = || Event::Claiming(Box::new(claim(Mode::Process)));
        let person = Mode::Manual(Holder { uid: 1, name: "ann".to_owned() });
        let day = 86_400_000;
        let lines = [
            line(0, "A", 0, Event::Intake),
            line(1, "A", 1, process()),
            line(2, "A", 1, Event::Ended { number: 1, end: CommandEnd::Lost }),
            line(3, "A", 1, settled("pending", "fail", Some("1970-01-01T00:00:01Z"))),
            line(4, "A", 2, process()),
            line(5, "A", 2, ended(1234)),
            line(6, "A", 2, ended(10)),
            line(7, "A", 2, settled("done", "pass", None)),
            line(8, "B", 0, settled("failed", "skipped", None)),
            line(9, "C", 1, Event::Claiming(Box::new(claim(person)))),
            line(10, "C", 1, ended(5)),
            line(9 * day, "C", 1, settled("done", "unverified", None)),
            line(10 * day - 3_600_000, "D", 1, process()),
            line(10 * day - 1, "D", 1, ended(20)),
            line(10 * day, "D", 1, settled("failed", "fail", None)),
            line(
                10 * day,
                "D",
                0,
                Event::Requeued { reason: String::new(), request: String::new() },
            ),
        ];
        let mut tally = Tally::new(Moment(10 * day));
        lines.iter().for_each(|l| tally.take(l));
        assert_eq!(tally.since, Some(Moment(0)));
        assert_eq!((tally.settled, tally.retries, tally.lost, tally.requeued), (4, 1, 1, 1));
        assert_eq!(tally.recent, [1, 1, 2]);
        assert_eq!(tally.of(State::Done, "unverified"), 1);
        assert_eq!(tally.of(State::Failed, "skipped"), 1);
        assert_eq!(tally.of(State::Done, "skipped"), 0);
        assert_eq!((tally.run_time.count, tally.run_time.max_ms), (2, 1244));
        assert_eq!(tally.run_time.percentile(50), Some(20));
        assert!(tally.open.is_empty());
    }

    #[test]
    fn a_checkpoint_stands_for_the_lines_before_it() {
        let mut attempt = Attempt::begin(&id("A"), 3, Moment(0), claim(Mode::Process));
        let started = Event::Started {
            number: 1,
            kind: crate::model::attempt::CommandKind::Run(0),
            name: "run".to_owned(),
            boot: String::new(),
            strayed: None,
        };
        attempt.apply(Moment(0), &started, 1, "");
        attempt.apply(Moment(0), &ended(70), 2, "");
        let open = vec![attempt];
        let event =
            Event::Checkpoint { open, pending: Vec::new(), held: BTreeMap::new(), adopting: false };
        let mut tally = Tally::new(Moment(0));
        tally.take(&Line { seq: 1, time: Moment(5), id: None, attempt: None, event });
        tally.take(&line(6, "A", 3, ended(7)));
        tally.take(&line(7, "A", 3, settled("done", "pass", None)));
        assert_eq!((tally.run_time.count, tally.run_time.max_ms), (1, 77));
        assert_eq!(tally.since, Some(Moment(5)));
    }

    #[test]
    fn percentiles_are_the_smallest_that_cover_the_share() {
        let mut spans = Spans::default();
        assert_eq!(spans.percentile(50), None);
        (1..=100).for_each(|ms| spans.add(ms));
        assert_eq!([0, 1, 50, 95, 100].map(|p| spans.percentile(p)), [1, 1, 50, 95, 100].map(Some));
        let mut spans = Spans::default();
        spans.add(123_456);
        assert_eq!((spans.percentile(50), spans.max_ms), (Some(123_000), 123_456));
        // However many there are, little is kept.
        let mut spans = Spans::default();
        (0..200_000).for_each(|n| spans.add(n * 7919));
        spans.add(u64::MAX);
        assert!(spans.counts.len() < 10_000, "{}", spans.counts.len());
    }

    #[test]
    fn orders_are_counted_by_epic_and_group() {
        let orders = ["A pending", "B done", "C failed", "D pending"];
        let (index, mut extra) = (index(&orders), extra(&orders));
        for (name, state) in [("A", State::Pending), ("B", State::Done)] {
            let known = extra.orders.get_mut(&(id(name), state)).unwrap();
            known.order.epic_id = Some("E-1".to_owned());
            known.order.group = Some("gpu".to_owned()).filter(|_| name == "A");
        }
        let wo_queue = ["A", "C", "none"].map(str::to_owned).to_vec();
        extra.epics = Some(vec![Epic { id: "E-2".to_owned(), wo_queue, status: None }]);
        let epics = by_epic(&index, &extra);
        let want = [("E-1", [1, 0, 1, 0]), ("E-2", [0, 0, 0, 1])];
        assert_eq!(epics, want.map(|(e, n)| (e.to_owned(), n)).into());
        assert_eq!(by_group(&index, &extra), BTreeMap::from([("gpu".to_owned(), [1, 0, 0, 0])]));
    }
}
