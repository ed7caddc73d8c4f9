//! `jobyard deps`: which orders depend on which: as a table, as a tree, for Graphviz, or by who keeps others
//! from running.
//!
//! Invariants: nothing is written; with an id only that order and what it depends on, directly or through
//! others, is looked at; a cycle is shown, not followed.

use super::out::{self, Colour, Screen};
use super::table::{self, Cell, Column};
use super::{Failure, Globals, Outcome, code, look, request, say, sight};
use crate::model::id::OrderId;
use crate::plan::findings;
use crate::plan::graph::{self, Blocker, Graph, Mark, Need, Row};
use crate::plan::ready::Standing;
use crate::scan::View;
use serde_json::{Value, json};

/// Flags of `jobyard deps`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only this order and what it depends on
    id: Option<String>,
    /// The same as ID
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    wo_id: Option<String>,
    /// Draw trees; what an order depends on stands below it
    #[arg(long, conflicts_with_all = ["dot", "list_blocking"])]
    graph: bool,
    /// Print a graph for Graphviz; arrows go to the orders that wait
    #[arg(long, conflicts_with = "list_blocking")]
    dot: bool,
    /// List the orders that keep pending ones from running, by how many wait for them directly
    #[arg(long)]
    list_blocking: bool,
}

/// Runs it.
pub(super) fn run(globals: &Globals, given: Arguments) -> Outcome {
    let id = given.id.as_deref().or(given.wo_id.as_deref()).map(request::order_id).transpose()?;
    let mut seat = look::open(globals)?;
    let view = seat.look()?;
    let mut graph = graph::of(&view.index, &view.extra, &view.settings.policy);
    if let Some(id) = &id {
        if !view.ids().contains(id) && view.attempt(id).is_none() {
            return Err(look::unknown(id));
        }
        graph = graph.upstream_of(id);
    }
    let shown = Shown { view: &view, graph: &graph, id: id.as_ref() };
    match (given.graph, given.dot, given.list_blocking) {
        (true, ..) => shown.tree(globals),
        (_, true, _) => shown.dot(globals),
        (.., true) => shown.blockers(globals),
        _ => shown.table(globals),
    }?;
    Ok(code::DONE)
}

/// What is shown.
struct Shown<'a> {
    view: &'a View,
    graph: &'a Graph,
    id: Option<&'a OrderId>,
}

/// Nothing to show, said on stderr.
fn none() -> Result<(), Failure> {
    say::talk("jobyard: no order depends on another");
    Ok(())
}

impl Shown<'_> {
    fn title(&self, id: &OrderId) -> Option<&str> {
        self.view.known(id).map(|k| k.order.title.as_str())
    }

    fn word(&self, id: &OrderId) -> &'static str {
        sight::word(self.view, id)
    }

    fn table(&self, globals: &Globals) -> Result<(), Failure> {
        if globals.json {
            return say::object("deps", [("orders", self.orders())]);
        }
        let columns = [
            Column { name: "ID", least: None },
            Column { name: "STATE", least: Some(9) },
            Column { name: "DEPENDS ON", least: None },
            Column { name: "END", least: Some(7) },
            Column { name: "WHICH IS", least: None },
            Column { name: "MET", least: Some(5) },
        ];
        let mut rows = Vec::new();
        for (id, needs) in self.graph.dependants() {
            for need in needs {
                let colour = (need.standing == Standing::Never).then_some(Colour::Red);
                rows.push(vec![
                    Cell::new(id.as_str()),
                    Cell::new(self.word(id)),
                    Cell::new(need.id.as_str()),
                    Cell::new(need.on.name()),
                    Cell::new(need.state),
                    Cell::coloured(met(need), colour),
                ]);
            }
        }
        match (rows.is_empty(), self.id) {
            (true, None) => none(),
            (true, Some(id)) => out::text(&format!("{id} depends on no other order\n")).map(|_| ()),
            _ => out::text(&table::lines(&columns, &rows, Screen::of_stdout())).map(|_| ()),
        }
    }

    /// Every order that depends on another, for machines; the one that is named in any case.
    fn orders(&self) -> Value {
        let alone = self.id.filter(|id| self.graph.needs_of(id).is_empty());
        let rest = alone.map(|id| (id, self.graph.needs_of(id)));
        let one = |(id, needs): (&OrderId, &[Need])| {
            json!({
                "id": id.as_str(),
                "word": self.word(id),
                "title": self.title(id),
                "needs": needs.iter().map(of_need).collect::<Value>(),
            })
        };
        self.graph.dependants().chain(rest).map(one).collect()
    }

    fn tree(&self, globals: &Globals) -> Result<(), Failure> {
        if globals.json {
            return self.nodes_and_edges();
        }
        let rows = self.graph.tree(self.id);
        if rows.is_empty() {
            return none();
        }
        let screen = Screen::of_stdout();
        let mut text = String::new();
        for row in &rows {
            let line = self.row(row, screen.columns);
            text.push_str(&format!("{line}\n"));
        }
        out::text(&text).map(|_| ())
    }

    /// One line. Only the title gives way to the width.
    fn row(&self, row: &Row, columns: usize) -> String {
        let Row { branch, id, need, mark } = row;
        let mut text = format!("{branch}{id} ({})", self.word(id));
        if let Some(need) = need {
            text.push_str(&format!(" {}: {}", need.on.name(), met(need)));
        }
        text.push_str(match mark {
            Mark::Plain => "",
            Mark::Above => " [see above]",
            Mark::Below => " [see below]",
            Mark::Cycle => " [cycle]",
        });
        let rest = columns.saturating_sub(out::width(&text) + 2);
        if let Some(title) = self.title(id).filter(|_| rest > 0) {
            text.push_str(&format!("  {}", out::cut(&out::plain(title), rest)));
        }
        text
    }

    fn nodes_and_edges(&self) -> Result<(), Failure> {
        let mut ids = self.graph.joined();
        ids.extend(self.id);
        let node = |id: &&OrderId| {
            let (word, title) = (self.word(id), self.title(id));
            json!({ "id": id.as_str(), "word": word, "title": title })
        };
        let mut edges = Vec::new();
        for (id, needs) in self.graph.dependants() {
            for need in needs {
                let (from, to, on) = (need.id.as_str(), id.as_str(), need.on.name());
                edges.push(json!({ "from": from, "to": to, "on": on, "met": met(need) }));
            }
        }
        let here = |members: &Vec<OrderId>| members.iter().any(|id| ids.contains(id));
        let names = |members: Vec<OrderId>| -> Value {
            members.iter().map(|id| Value::from(id.as_str())).collect()
        };
        let cycles = findings::cycles(&self.view.index, &self.view.extra);
        let cycles: Value = cycles.into_iter().filter(here).map(names).collect();
        let nodes: Value = ids.iter().map(node).collect();
        say::object("deps-graph", [("nodes", nodes), ("edges", edges.into()), ("cycles", cycles)])
    }

    fn dot(&self, globals: &Globals) -> Result<(), Failure> {
        let mut text = "digraph jobyard {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        let mut ids = self.graph.joined();
        ids.extend(self.id);
        for id in ids {
            let (name, word) = (quoted(id.as_str()), self.word(id));
            let title = self.title(id).map_or_else(String::new, |t| format!("{}\\n", escaped(t)));
            let style = if word == "unknown" { ", style=dashed" } else { "" };
            text.push_str(&format!("  {name} [label=\"{id}\\n{title}{word}\"{style}];\n"));
        }
        for (id, needs) in self.graph.dependants() {
            for need in needs {
                let (from, to, on) =
                    (quoted(need.id.as_str()), quoted(id.as_str()), need.on.name());
                let style = match need.standing {
                    Standing::Met => "",
                    Standing::Open => ", style=dashed",
                    Standing::Never => ", style=dashed, color=red",
                };
                text.push_str(&format!("  {from} -> {to} [label=\"{on}\"{style}];\n"));
            }
        }
        text.push_str("}\n");
        if globals.json {
            return say::object("deps-dot", [("dot", text.into())]);
        }
        out::text(&text).map(|_| ())
    }

    fn blockers(&self, globals: &Globals) -> Result<(), Failure> {
        let found = self.graph.blockers(&self.view.index);
        if globals.json {
            let one = |b: &Blocker| {
                let orders: Value = b.keeps.iter().map(|id| Value::from(id.as_str())).collect();
                let (id, word) = (b.id.as_str(), self.word(&b.id));
                json!({ "id": id, "word": word, "keeps": b.keeps.len(), "orders": orders })
            };
            return say::object("deps-blocking", [("blocking", found.iter().map(one).collect())]);
        }
        if found.is_empty() {
            say::talk("jobyard: no order keeps another from running");
            return Ok(());
        }
        let columns = [
            Column { name: "ID", least: None },
            Column { name: "STATE", least: None },
            Column { name: "KEEPS", least: None },
            Column { name: "ORDERS", least: Some(12) },
        ];
        let row = |b: &Blocker| {
            let names: Vec<&str> = b.keeps.iter().map(OrderId::as_str).collect();
            let (count, word) = (b.keeps.len().to_string(), self.word(&b.id));
            [b.id.as_str(), word, &count, &names.join(", ")].map(Cell::new).to_vec()
        };
        let rows: Vec<Vec<Cell>> = found.iter().map(row).collect();
        out::text(&table::lines(&columns, &rows, Screen::of_stdout())).map(|_| ())
    }
}

/// Whether a dependency is met, in a word.
fn met(need: &Need) -> &'static str {
    match need.standing {
        Standing::Met => "met",
        Standing::Open => "open",
        Standing::Never => "never",
    }
}

fn of_need(need: &Need) -> Value {
    let (id, on, state) = (need.id.as_str(), need.on.name(), need.state);
    json!({ "id": id, "on": on, "state": state, "met": met(need) })
}

/// Text inside a quoted string of Graphviz, on one line.
fn escaped(text: &str) -> String {
    out::plain(text).replace('\\', "\\\\").replace('"', "\\\"")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_quoted_string() {
        assert_eq!(quoted("a\"b\\c"), r#""a\"b\\c""#);
        assert_eq!(quoted("漢\n\u{1b}"), r#""漢\\n\\u{1b}""#);
    }
}
