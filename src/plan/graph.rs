//! Who depends on whom, as a graph that can be walked, drawn as a tree, and asked who keeps others back.
//!
//! Invariants: every walk is linear in orders and dependencies, and a cycle ends it; a row of a tree is
//! at most [`DEPTH_MAX`] levels deep; nothing is decided here.

use super::Policy;
use super::findings::Extra;
use super::ready::{self, Standing};
use crate::model::id::OrderId;
use crate::model::index::Index;
use crate::model::order::{DependsOn, State};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Deepest level of a tree; what lies deeper begins again at the margin, so that rows stay short.
pub const DEPTH_MAX: usize = 8;

/// One dependency of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// The upstream order.
    pub id: OrderId,
    /// Which of its ends counts.
    pub on: DependsOn,
    /// What is known of it.
    pub state: &'static str,
    /// How the dependency stands.
    pub standing: Standing,
}

/// Orders with their dependencies, in the order of the file. An upstream order that does not exist is
/// in it too, without any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    needs: BTreeMap<OrderId, Vec<Need>>,
}

/// An order that keeps others from running.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocker {
    /// Which.
    pub id: OrderId,
    /// Pending orders that wait for it directly.
    pub keeps: Vec<OrderId>,
}

/// What a row of a tree has besides its order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Nothing: what it depends on follows.
    Plain,
    /// What it depends on stands further up.
    Above,
    /// What it depends on stands further down, at the margin.
    Below,
    /// It leads back into a cycle that is shown.
    Cycle,
}

/// A row of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The lines that lead to it.
    pub branch: String,
    /// The order.
    pub id: OrderId,
    /// How the row above depends on it; nothing at the margin.
    pub need: Option<Need>,
    /// What besides.
    pub mark: Mark,
}

/// The graph of all orders that lie in one place.
pub fn of(index: &Index, extra: &Extra, policy: &Policy) -> Graph {
    let mut graph = Graph::default();
    for ((id, state), known) in &extra.orders {
        if index.tickets.get(id).and_then(|t| t.state()) != Some(*state) {
            continue;
        }
        let need = |d: &crate::model::order::Dependency| {
            let (standing, state) = ready::look_up(index, d, policy);
            Need { id: d.id.clone(), on: d.on, state, standing }
        };
        let needs: Vec<Need> = known.order.dependencies.iter().map(need).collect();
        for upstream in &needs {
            graph.needs.entry(upstream.id.clone()).or_default();
        }
        graph.needs.insert(id.clone(), needs);
    }
    graph
}

impl Graph {
    /// What an order depends on.
    pub fn needs_of(&self, id: &OrderId) -> &[Need] {
        self.needs.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every order that depends on another, with what it depends on.
    pub fn dependants(&self) -> impl Iterator<Item = (&OrderId, &[Need])> {
        self.needs.iter().filter(|(_, n)| !n.is_empty()).map(|(id, n)| (id, n.as_slice()))
    }

    /// Every order that has to do with another.
    pub fn joined(&self) -> BTreeSet<&OrderId> {
        self.dependants().flat_map(|(id, n)| n.iter().map(|n| &n.id).chain([id])).collect()
    }

    /// Only this order and everything upstream of it.
    pub fn upstream_of(mut self, id: &OrderId) -> Self {
        let mut graph = Self::default();
        let mut todo = vec![id.clone()];
        while let Some(at) = todo.pop() {
            if let Some(needs) = self.needs.remove(&at) {
                todo.extend(needs.iter().map(|n| n.id.clone()));
                graph.needs.insert(at, needs);
            }
        }
        graph
    }

    /// The orders that pending ones wait for; those that keep most come first.
    pub fn blockers(&self, index: &Index) -> Vec<Blocker> {
        let mut keeps: BTreeMap<&OrderId, BTreeSet<&OrderId>> = BTreeMap::new();
        for (id, needs) in self.dependants() {
            let pending = index.tickets.get(id).and_then(|t| t.state()) == Some(State::Pending);
            for need in needs.iter().filter(|n| pending && n.standing != Standing::Met) {
                keeps.entry(&need.id).or_default().insert(id);
            }
        }
        let blocker = |(id, keeps): (&OrderId, BTreeSet<&OrderId>)| Blocker {
            id: id.clone(),
            keeps: keeps.into_iter().cloned().collect(),
        };
        let mut found: Vec<Blocker> = keeps.into_iter().map(blocker).collect();
        found.sort_by_key(|b| std::cmp::Reverse(b.keeps.len()));
        found
    }

    /// The trees of everything that depends on something, from those nobody depends on; of one order, when
    /// it is named. What an order depends on stands once.
    pub fn tree(&self, root: Option<&OrderId>) -> Vec<Row> {
        let upstreams: BTreeSet<&OrderId> =
            self.needs.values().flatten().map(|need| &need.id).collect();
        let heads = self.dependants().map(|(id, _)| id).filter(|id| !upstreams.contains(*id));
        // What is left then is reached from a cycle only.
        let rest = self.dependants().map(|(id, _)| id);
        let roots: Vec<&OrderId> = match root {
            Some(id) => vec![id],
            None => heads.chain(rest).collect(),
        };
        let mut drawing = Drawing {
            graph: self,
            cycles: self.components(),
            shown: BTreeSet::new(),
            rows: Vec::new(),
        };
        for root in roots {
            let mut later = VecDeque::from([root]);
            while let Some(root) = later.pop_front() {
                if !drawing.shown.contains(root) {
                    drawing.draw(root, &mut later);
                }
            }
        }
        drawing.rows
    }

    /// A number for each order, the same for those that lie on cycles with each other and for no others.
    fn components(&self) -> BTreeMap<&OrderId, usize> {
        let mut finished = Vec::new();
        let mut seen = BTreeSet::new();
        let mut down: BTreeMap<&OrderId, Vec<&OrderId>> = BTreeMap::new();
        for (start, needs) in &self.needs {
            needs.iter().for_each(|n| down.entry(&n.id).or_default().push(start));
            if !seen.insert(start) {
                continue;
            }
            let mut path = vec![(start, needs.iter())];
            while let Some((id, rest)) = path.last_mut() {
                let id = *id;
                match rest.next() {
                    Some(need) if seen.insert(&need.id) => {
                        path.push((&need.id, self.needs_of(&need.id).iter()));
                    }
                    Some(_) => {}
                    None => {
                        finished.push(id);
                        path.pop();
                    }
                }
            }
        }
        let mut numbers = BTreeMap::new();
        for (number, start) in finished.into_iter().rev().enumerate() {
            let mut todo = vec![start];
            while let Some(id) = todo.pop() {
                if !numbers.contains_key(id) {
                    numbers.insert(id, number);
                    todo.extend(down.get(id).into_iter().flatten());
                }
            }
        }
        numbers
    }
}

/// A tree being drawn.
struct Drawing<'a> {
    graph: &'a Graph,
    cycles: BTreeMap<&'a OrderId, usize>,
    shown: BTreeSet<&'a OrderId>,
    rows: Vec<Row>,
}

/// A row that is still to be drawn.
struct Open<'a> {
    id: &'a OrderId,
    from: Option<(&'a OrderId, &'a Need)>,
    branch: String,
    indent: String,
    depth: usize,
}

impl<'a> Drawing<'a> {
    /// One tree. What lies too deep is left for `later`.
    fn draw(&mut self, root: &'a OrderId, later: &mut VecDeque<&'a OrderId>) {
        let (branch, indent) = (String::new(), String::new());
        let mut todo = vec![Open { id: root, from: None, branch, indent, depth: 0 }];
        while let Some(open) = todo.pop() {
            let Open { id, from, branch, indent, depth } = open;
            let needs = self.graph.needs_of(id);
            let round = from.is_some_and(|(up, _)| self.cycles.get(up) == self.cycles.get(id));
            let mark = match (needs.is_empty(), self.shown.contains(id)) {
                (true, _) => Mark::Plain,
                (false, true) if round => Mark::Cycle,
                (false, true) => Mark::Above,
                (false, false) if depth == DEPTH_MAX => Mark::Below,
                (false, false) => Mark::Plain,
            };
            let need = from.map(|(_, need)| need.clone());
            self.rows.push(Row { branch, id: id.clone(), need, mark });
            match mark {
                Mark::Below => later.push_back(id),
                Mark::Above | Mark::Cycle => {}
                Mark::Plain => {
                    self.shown.insert(id);
                    for (at, need) in needs.iter().enumerate().rev() {
                        let last = at + 1 == needs.len();
                        let (joint, line) =
                            if last { ("└── ", "    ") } else { ("├── ", "│   ") };
                        todo.push(Open {
                            id: &need.id,
                            from: Some((id, need)),
                            branch: format!("{indent}{joint}"),
                            indent: format!("{indent}{line}"),
                            depth: depth + 1,
                        });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{extra, id, index, policy};
    use super::*;

    fn graph(orders: &[&str]) -> Graph {
        of(&index(orders), &extra(orders), &policy())
    }

    fn drawn(rows: &[Row]) -> String {
        let mark = |m: Mark| match m {
            Mark::Plain => "",
            Mark::Above => " ^",
            Mark::Below => " v",
            Mark::Cycle => " @",
        };
        rows.iter().map(|r| format!("{}{}{}\n", r.branch, r.id, mark(r.mark))).collect()
    }

    #[test]
    fn dependencies_stand_as_the_planner_sees_them() {
        let orders = ["A done", "B failed A", "C pending A B B:always Z A:failure"];
        let graph = graph(&orders);
        let needs: Vec<_> = graph
            .needs_of(&id("C"))
            .iter()
            .map(|n| (n.id.as_str(), n.on.name(), n.state, n.standing))
            .collect();
        let want = [
            ("A", "success", "done", Standing::Met),
            ("B", "success", "failed", Standing::Never),
            ("B", "always", "failed", Standing::Met),
            ("Z", "success", "unknown", Standing::Open),
            ("A", "failure", "done", Standing::Never),
        ];
        assert_eq!(needs, want);
        let names: Vec<&str> = graph.joined().iter().map(|id| id.as_str()).collect();
        assert_eq!(names, ["A", "B", "C", "Z"]);
    }

    #[test]
    fn shared_orders_and_cycles_stand_once() {
        let diamond = ["D pending B C", "B pending A", "C pending A B", "A pending X", "N pending"];
        let want = "D\n├── B\n│   └── A\n│       └── X\n└── C\n    ├── A ^\n    └── B ^\n";
        assert_eq!(drawn(&graph(&diamond).tree(None)), want);
        assert_eq!(drawn(&graph(&diamond).tree(Some(&id("N")))), "N\n");
        let cycle = ["A pending B", "B pending C", "C pending A", "D pending B"];
        let want = "D\n└── B\n    └── C\n        └── A\n            └── B @\n";
        assert_eq!(drawn(&graph(&cycle).tree(None)), want);
        assert_eq!(
            drawn(&graph(&["A pending B", "B pending A"]).tree(None)),
            "A\n└── B\n    └── A @\n"
        );
        assert_eq!(drawn(&graph(&["A pending A"]).tree(None)), "A\n└── A @\n");
    }

    #[test]
    fn blockers_are_told_by_how_many_they_keep() {
        let orders = [
            "A pending",
            "B running",
            "X failed",
            "C pending A B",
            "D held A X Z",
            "E done A",
            "F pending A A:always",
        ];
        let graph = graph(&orders);
        let found: Vec<(String, usize)> = graph
            .blockers(&index(&orders))
            .iter()
            .map(|b| (b.id.to_string(), b.keeps.len()))
            .collect();
        let want = [("A", 3), ("B", 1), ("X", 1), ("Z", 1)].map(|(id, n)| (id.to_owned(), n));
        assert_eq!(found, want);
        let upstream = graph.upstream_of(&id("C"));
        assert_eq!(upstream.joined().len(), 3);
        assert_eq!(upstream.blockers(&index(&orders)).len(), 2);
    }

    #[test]
    fn long_chains_and_cycles_are_drawn_in_short_rows() {
        for round in [false, true] {
            let mut orders: Vec<String> =
                (1..10_000).map(|n| format!("O{n} pending O{}", n - 1)).collect();
            orders.push(if round { "O0 pending O9999".into() } else { "O0 pending".into() });
            let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
            let rows = graph(&orders).tree(None);
            let longest = rows.iter().map(|r| r.branch.chars().count()).max();
            assert_eq!(longest, Some(4 * DEPTH_MAX));
            let plain: BTreeSet<&OrderId> =
                rows.iter().filter(|r| r.mark == Mark::Plain).map(|r| &r.id).collect();
            assert_eq!(plain.len(), 10_000);
            assert_eq!(rows.iter().filter(|r| r.mark == Mark::Cycle).count(), usize::from(round));
            assert!(rows.len() < 11_400, "{}", rows.len());
        }
    }
}
