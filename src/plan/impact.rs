//! What follows for other orders when one ends: who is released, who waits on, who can never start.
//!
//! Invariants: a pure forecast that changes nothing; what is released is taken to end well, so that the
//! whole chain is followed; each order is weighed once, a cycle ends it. Slots are left out, as is
//! whether anybody is there to start anything.

use super::Policy;
use super::action::Wait;
use super::ready::{self, Standing};
use super::step::CYCLE_MARK;
use crate::model::config::Unsatisfiable;
use crate::model::id::OrderId;
use crate::model::index::{Brief, Index};
use crate::model::order::State;
use crate::model::time::Moment;
use std::collections::{BTreeMap, BTreeSet};

/// How the order is taken to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Into `done/`, and whatever is asked of its checks holds.
    Well,
    /// Into `failed/`, for good.
    Badly,
}

/// What a forecast relies on.
pub struct Facts<'a> {
    /// All facts.
    pub index: &'a Index,
    /// Policy.
    pub policy: &'a Policy,
    /// Wall clock.
    pub now: Moment,
    /// Pending orders on a dependency cycle.
    pub cyclic: &'a BTreeSet<OrderId>,
    /// Valid tickets that something refused nevertheless, and what was said.
    pub refused: &'a BTreeMap<OrderId, (State, String)>,
}

/// An order that nothing keeps back any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Released {
    /// Which.
    pub id: OrderId,
    /// Released orders that must end first; none: it is released at once.
    pub after: Vec<OrderId>,
    /// A person or an agent takes it.
    pub manual: bool,
}

/// An order, and what keeps it nevertheless.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Which.
    pub id: OrderId,
    /// By what.
    pub by: Vec<Wait>,
}

/// The forecast. Only orders that wait for the one that ends, directly or through others, are in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Impact {
    /// Nothing else keeps these; before others, in an order in which they can run.
    pub released: Vec<Released>,
    /// Something else keeps these.
    pub waiting: Vec<Kept>,
    /// These depend on an end that did not come.
    pub never: Vec<Kept>,
}

/// What follows when this order ends so. A done one does not end again: who waits for it waits for ever.
pub fn of(facts: &Facts<'_>, id: &OrderId, end: End) -> Impact {
    let done = facts.index.tickets.get(id).and_then(|t| t.succeeded()) == Some(true);
    if done && end == End::Badly {
        return Impact::default();
    }
    let needs = needs(facts);
    let mut kept: BTreeMap<&OrderId, Vec<&OrderId>> = BTreeMap::new();
    for (down, upstreams) in &needs {
        upstreams.iter().for_each(|up| kept.entry(up).or_default().push(down));
    }
    let downstream = reach(&kept, id);
    let affects = |up: &&&OrderId| **up == id || downstream.contains(**up);
    let mut open: BTreeMap<&OrderId, usize> =
        downstream.iter().map(|d| (*d, needs[d].iter().filter(affects).count())).collect();
    let mut ends = BTreeMap::new();
    if !done {
        ends.insert(id, end == End::Well);
    }
    let mut impact = Impact::default();
    let mut decided = BTreeSet::from([id]);
    while let Some(at) = decided.pop_first() {
        for down in kept.get(at).into_iter().flatten().filter(|d| **d != id) {
            let Some(count) = open.get_mut(down) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(down);
                if let Some(end) = weigh(facts, id, down, &ends, &mut impact) {
                    ends.insert(down, end);
                }
                decided.insert(down);
            }
        }
    }
    // On a cycle, or behind one.
    for down in open.keys() {
        weigh(facts, id, down, &ends, &mut impact);
    }
    impact
}

/// Pending orders with the upstream orders they wait for.
fn needs<'a>(facts: &Facts<'a>) -> BTreeMap<&'a OrderId, BTreeSet<&'a OrderId>> {
    let mut needs = BTreeMap::new();
    for (id, brief) in facts.index.tickets.keys().filter_map(|id| Some((id, pending(facts, id)?))) {
        let unmet = brief
            .dependencies
            .iter()
            .filter(|d| ready::look_up(facts.index, d, facts.policy).0 != Standing::Met);
        needs.insert(id, unmet.map(|d| &d.id).collect());
    }
    needs
}

/// What a valid pending order says.
fn pending<'a>(facts: &Facts<'a>, id: &OrderId) -> Option<&'a Brief> {
    let ticket = facts.index.tickets.get(id)?;
    ticket.brief().filter(|_| ticket.state() == Some(State::Pending))
}

/// Everyone downstream of an order.
fn reach<'a>(
    kept: &BTreeMap<&'a OrderId, Vec<&'a OrderId>>,
    id: &OrderId,
) -> BTreeSet<&'a OrderId> {
    let mut seen = BTreeSet::new();
    let mut todo: Vec<&OrderId> = kept.get(id).into_iter().flatten().copied().collect();
    while let Some(at) = todo.pop() {
        if at != id && seen.insert(at) {
            todo.extend(kept.get(at).into_iter().flatten());
        }
    }
    seen
}

/// Notes what becomes of one order; how it ends, when that follows.
fn weigh(
    facts: &Facts<'_>,
    cause: &OrderId,
    id: &OrderId,
    ends: &BTreeMap<&OrderId, bool>,
    impact: &mut Impact,
) -> Option<bool> {
    let brief = pending(facts, id)?;
    let mut by = ready::unstarted(facts.index, id, brief, facts.now, facts.policy);
    by.retain(|w| !matches!(w, Wait::Dependency { id, .. } if ends.contains_key(id)));
    if facts.cyclic.contains(id) {
        by.insert(0, Wait::Refused(CYCLE_MARK.to_owned()));
    }
    if let Some((_, text)) = facts.refused.get(id) {
        by.insert(0, Wait::Refused(text.clone()));
    }
    let mut never = Vec::new();
    let mut after = BTreeSet::new();
    for d in &brief.dependencies {
        let Some(end) = ends.get(&d.id) else { continue };
        let state = if *end { State::Done } else { State::Failed };
        match ready::standing(d.on, Some(*end)) {
            Standing::Met if d.id != *cause => {
                after.insert(d.id.clone());
            }
            Standing::Met | Standing::Open => {}
            Standing::Never => never.push(Wait::Dependency {
                id: d.id.clone(),
                state: state.name().to_owned(),
                on: d.on.name(),
                possible: false,
            }),
        }
    }
    let id = id.clone();
    match (facts.cyclic.contains(&id), never.is_empty(), by.is_empty()) {
        (false, false, _) => {
            impact.never.push(Kept { id, by: never });
            // By policy it stays pending, or goes to `failed/`, which others may wait for.
            (facts.policy.unsatisfiable != Unsatisfiable::Hold).then_some(false)
        }
        (false, true, true) => {
            let after = after.into_iter().collect();
            impact.released.push(Released { id, after, manual: !brief.executable });
            Some(true)
        }
        _ => {
            by.extend(never);
            impact.waiting.push(Kept { id, by });
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{id, index, policy};
    use super::*;

    const NOW: Moment = Moment(0);

    /// The forecast in short: `+A` at once, `+C<B` after B, `?D(..)` waits on, `-E` never.
    fn forecast(orders: &[&str], policy: &Policy, end: End) -> String {
        let index = index(orders);
        let on_cycle = |id: &&OrderId| ready::cycle(&index, id).is_some();
        let cyclic = index.tickets.keys().filter(on_cycle).cloned().collect();
        let refused = BTreeMap::from([(id("R"), (State::Pending, "no git".to_owned()))]);
        let facts = Facts { index: &index, policy, now: NOW, cyclic: &cyclic, refused: &refused };
        let impact = of(&facts, &id("A"), end);
        let names = |ids: &[OrderId]| ids.iter().map(OrderId::as_str).collect::<Vec<_>>().join(",");
        let kind = |w: &Wait| match w {
            Wait::Dependency { id, on, possible, .. } => {
                format!("{on} {id}{}", if *possible { "" } else { "!" })
            }
            Wait::Held(_) => "held".to_owned(),
            Wait::Refused(text) => text.clone(),
            other => format!("{other:?}"),
        };
        let kinds = |by: &[Wait]| by.iter().map(kind).collect::<Vec<_>>().join(",");
        let mut words: Vec<String> = Vec::new();
        for r in &impact.released {
            let after = if r.after.is_empty() { "" } else { "<" };
            let manual = if r.manual { "*" } else { "" };
            words.push(format!("+{}{manual}{after}{}", r.id, names(&r.after)));
        }
        words.extend(impact.waiting.iter().map(|w| format!("?{}({})", w.id, kinds(&w.by))));
        words.extend(impact.never.iter().map(|n| format!("-{}({})", n.id, kinds(&n.by))));
        words.join(" ")
    }

    #[track_caller]
    fn check(orders: &[&str], well: &str, badly: &str) {
        assert_eq!(forecast(orders, &policy(), End::Well), well, "{orders:?}, well");
        assert_eq!(forecast(orders, &policy(), End::Badly), badly, "{orders:?}, badly");
    }

    #[test]
    fn chains_are_followed_to_their_end() {
        check(&["A pending"], "", "");
        check(&["A pending", "B pending A"], "+B", "-B(success A!)");
        check(
            &["A running", "B pending A", "C pending B"],
            "+B +C<B",
            "?C(success B) -B(success A!)",
        );
        let diamond = ["A pending", "D pending B C", "B pending A", "C manual A"];
        check(&diamond, "+B +C* +D<B,C", "?D(success B,success C) -B(success A!) -C(success A!)");
        // Met already, or not about A.
        check(&["A pending", "X done", "B pending X"], "", "");
    }

    #[test]
    fn what_else_keeps_an_order_is_named() {
        check(
            &["A pending", "X pending", "B pending A X", "C held A", "D pending C", "R pending A"],
            "?B(success X) ?C(held) ?R(no git) ?D(success C)",
            "?D(success C) -B(success A!) -C(success A!) -R(success A!)",
        );
        check(
            &["A pending", "X failed", "B pending A X", "C pending A Z"],
            "?B(success X!) ?C(success Z)",
            "-B(success A!) -C(success A!)",
        );
    }

    #[test]
    fn each_condition_has_its_end() {
        let all = ["A pending", "F pending A:failure", "V pending A:always", "W pending F"];
        check(&all, "+V ?W(success F) -F(failure A!)", "+F +V +W<F");
        // A failed one that starts over releases who waits for its success only.
        check(&["A failed", "F pending A:failure", "S pending A"], "+S", "-S(success A!)");
        check(&["A done", "S pending A", "F pending A:failure"], "?F(failure A!)", "");
    }

    #[test]
    fn by_policy_those_that_never_start_fail_and_others_follow() {
        let orders = ["A pending", "B pending A", "C pending B:failure", "D pending B"];
        let skip = Policy { unsatisfiable: Unsatisfiable::Skip, ..policy() };
        let short = forecast(&orders, &skip, End::Badly);
        assert_eq!(short, "+C<B -B(success A!) -D(success B!)");
        let held = forecast(&orders, &policy(), End::Badly);
        assert_eq!(held, "?C(failure B) ?D(success B) -B(success A!)");
    }

    #[test]
    fn cycles_end() {
        let cycle = "dependency cycle";
        check(
            &["A pending", "B pending A C", "C pending B", "D pending C"],
            &format!("?B({cycle},success C) ?C({cycle},success B) ?D(success C)"),
            &format!("?B({cycle},success C,success A!) ?C({cycle},success B) ?D(success C)"),
        );
        check(
            &["A pending B", "B pending A"],
            &format!("?B({cycle})"),
            &format!("?B({cycle},success A!)"),
        );
        check(&["A pending A"], "", "");
    }

    #[test]
    fn ten_thousand_in_a_chain_and_in_a_fan_are_weighed_once_each() {
        let chain: Vec<String> = (0..10_000)
            .map(
                |n| if n == 0 { "O0 pending A".into() } else { format!("O{n} pending O{}", n - 1) },
            )
            .collect();
        let fan = (0..10_000).map(|n| format!("P{n} pending A O9999"));
        let names: Vec<String> = (0..10_000).map(|n| format!("P{n}")).collect();
        let last = format!("Z pending {}", names.join(" "));
        let all: Vec<String> =
            ["A pending".to_owned(), last].into_iter().chain(chain).chain(fan).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let index = index(&all);
        let (cyclic, refused, policy) = (BTreeSet::new(), BTreeMap::new(), policy());
        let facts =
            Facts { index: &index, policy: &policy, now: NOW, cyclic: &cyclic, refused: &refused };
        let impact = of(&facts, &id("A"), End::Well);
        assert_eq!(impact.released.len(), 20_001);
        assert_eq!(impact.released[20_000].after.len(), 10_000);
        assert_eq!(impact.released[9999].id, id("O9999"));
    }
}
