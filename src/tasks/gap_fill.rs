//! The workflow `gap_fill`: finds what a graph in a SQLite database lacks, and the tasks that mend it.
//!
//! A *missing node* is one that an edge names and the table of nodes does not have. A *disconnected edge*
//! has nothing at one of its ends. Invariants: finding changes nothing; a mend touches one node or one edge,
//! in one transaction, and only while it is still needed; nothing is deleted: a disconnected edge goes, as it
//! is, to a table beside its own.

use super::{Input, open};
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The task that adds a node.
pub const ADD_NODE: &str = "gap_fill.add_node";
/// The task that moves an edge aside.
pub const SET_ASIDE_EDGE: &str = "gap_fill.set_aside_edge";

/// Columns but one that may not be empty and have no default.
const BARE: &str = "SELECT name, type FROM pragma_table_info(?1) \
                    WHERE \"notnull\" AND dflt_value IS NULL AND pk = 0 AND name <> ?2";

/// What the tables and columns of a graph are called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The table of nodes.
    pub nodes: String,
    /// Its column by which edges name them.
    pub id: String,
    /// The table of edges.
    pub edges: String,
    /// Its column with the node an edge begins at.
    pub from: String,
    /// Its column with the node it leads to.
    pub to: String,
}

/// Finds every gap of the graph and gives the line of the task that mends it to `take`, missing nodes first,
/// in a fixed order.
pub fn plan(
    database: &Path,
    names: &Names,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let connection = open(database)?;
    let [nodes, id, edges, from, to] = quoted(names);
    let failed = |e: rusqlite::Error| format!("look for gaps in {}: {e}", database.display());
    let path = database.to_str().ok_or("the path of the database is not UTF-8")?;
    let mut kwargs = Map::new();
    kwargs.insert("db".to_owned(), path.into());
    let ends = format!("SELECT {from} AS node FROM {edges} UNION SELECT {to} FROM {edges}");
    let query = format!(
        "SELECT node FROM ({ends}) WHERE node IS NOT NULL AND node <> '' AND NOT EXISTS \
         (SELECT 1 FROM {nodes} WHERE {id} = node) ORDER BY node"
    );
    let mut statement = connection.prepare(&query).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let node = as_json(row.get_ref(0).map_err(failed)?)?;
        let label = node.as_str().map_or_else(|| node.to_string(), str::to_owned);
        let more = [
            ("table", names.nodes.as_str().into()),
            ("column", names.id.as_str().into()),
            ("node", node),
        ];
        let text = format!("Adds the node {label}, which an edge names");
        take(&line(ADD_NODE, &kwargs, more, (&format!("Node-{label}"), "missing_node"), &text))?;
    }
    let query = format!("SELECT rowid FROM {edges} WHERE {} ORDER BY rowid", loose(&from, &to));
    let mut statement = connection.prepare(&query).map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let edge: i64 = row.get(0).map_err(failed)?;
        let more = [
            ("table", names.edges.as_str().into()),
            ("from", names.from.as_str().into()),
            ("to", names.to.as_str().into()),
            ("edge", edge.into()),
        ];
        let text = format!("Sets edge {edge} aside, which has an end without a node");
        let label = format!("Edge-{edge}");
        take(&line(SET_ASIDE_EDGE, &kwargs, more, (&label, "disconnected_edge"), &text))?;
    }
    Ok(())
}

fn line<const N: usize>(
    task: &str,
    kwargs: &Map<String, Value>,
    more: [(&str, Value); N],
    (label, kind): (&str, &str),
    text: &str,
) -> String {
    let mut kwargs = kwargs.clone();
    kwargs.extend(more.map(|(key, value)| (key.to_owned(), value)));
    let meta = json!({"id": label, "kind": kind});
    json!({"task": task, "args": [], "kwargs": kwargs, "meta": meta, "description": text})
        .to_string()
}

/// The condition that an edge has nothing at an end.
fn loose(from: &str, to: &str) -> String {
    format!("({from} IS NULL OR {from} = '' OR {to} IS NULL OR {to} = '')")
}

/// Adds one node, unless it is there.
pub(super) fn add_node(input: &Input) -> Result<Value, String> {
    let mut connection = open(Path::new(input.text("db")?))?;
    let (table, column) = (input.text("table")?, input.text("column")?);
    let node = as_cell(input.kwargs.get("node")).ok_or("`node`: expected text or a number")?;
    let added = add(&mut connection, table, column, &node);
    let added = added.map_err(|e| format!("add a node to {table}: {e}"))?;
    Ok(json!({"added": added}))
}

fn add(
    connection: &mut Connection,
    table: &str,
    column: &str,
    node: &Cell,
) -> rusqlite::Result<bool> {
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (name, id) = (quote(table), quote(column));
    let there = change
        .query_row(&format!("SELECT 1 FROM {name} WHERE {id} = ?1"), params![node], |_| Ok(()))
        .optional()?;
    if there.is_some() {
        return Ok(false);
    }
    // What may not be empty and has no default is as empty as it can be.
    let columns: Vec<(String, String)> = {
        let mut statement = change.prepare(BARE)?;
        let read = statement.query_map(params![table, column], |r| Ok((r.get(0)?, r.get(1)?)))?;
        read.collect::<rusqlite::Result<_>>()?
    };
    let mut names = vec![id];
    let mut values = vec![node.clone()];
    for (column, kind) in columns {
        let kind = kind.to_ascii_uppercase();
        let number = ["INT", "REAL", "FLOA", "DOUB", "NUM", "DEC"].iter().any(|k| kind.contains(k));
        names.push(quote(&column));
        values.push(if number { Cell::Integer(0) } else { Cell::Text(String::new()) });
    }
    let marks: Vec<String> = (1..=values.len()).map(|n| format!("?{n}")).collect();
    let insert = format!("INSERT INTO {name} ({}) VALUES ({})", names.join(", "), marks.join(", "));
    change.execute(&insert, rusqlite::params_from_iter(values))?;
    change.commit()?;
    Ok(true)
}

/// Moves one edge to the table `<edges>_disconnected`, unless it is gone or was mended.
pub(super) fn set_aside_edge(input: &Input) -> Result<Value, String> {
    let mut connection = open(Path::new(input.text("db")?))?;
    let table = input.text("table")?;
    let condition = loose(&quote(input.text("from")?), &quote(input.text("to")?));
    let edge = input.kwargs.get("edge").and_then(Value::as_i64);
    let edge = edge.ok_or("`edge`: expected the number of a row")?;
    let moved = set_aside(&mut connection, table, &condition, edge);
    let moved = moved.map_err(|e| format!("set edge {edge} of {table} aside: {e}"))?;
    Ok(json!({"set_aside": moved}))
}

fn set_aside(
    connection: &mut Connection,
    table: &str,
    condition: &str,
    edge: i64,
) -> rusqlite::Result<bool> {
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let (name, aside) = (quote(table), quote(&format!("{table}_disconnected")));
    change.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {aside} AS SELECT * FROM {name} WHERE 0"
    ))?;
    let this = format!("FROM {name} WHERE rowid = ?1 AND {condition}");
    let copied = change.execute(&format!("INSERT INTO {aside} SELECT * {this}"), [edge])?;
    let removed = change.execute(&format!("DELETE {this}"), [edge])?;
    if copied != removed {
        return Ok(false);
    }
    change.commit()?;
    Ok(removed == 1)
}

fn quoted(names: &Names) -> [String; 5] {
    [&names.nodes, &names.id, &names.edges, &names.from, &names.to].map(|name| quote(name))
}

/// A name of SQL, whatever it holds.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn as_json(cell: ValueRef<'_>) -> Result<Value, String> {
    match cell {
        ValueRef::Integer(n) => Ok(n.into()),
        ValueRef::Real(n) => Ok(n.into()),
        ValueRef::Text(text) => std::str::from_utf8(text)
            .map(Value::from)
            .map_err(|_| "a node's name is not UTF-8".to_owned()),
        ValueRef::Null | ValueRef::Blob(_) => {
            Err("a node's name is neither text nor number".to_owned())
        }
    }
}

fn as_cell(value: Option<&Value>) -> Option<Cell> {
    match value? {
        Value::String(text) => Some(Cell::Text(text.clone())),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(Cell::Integer(whole)),
            None => number.as_f64().map(Cell::Real),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{call, parse};
    use super::*;
    use crate::model::package::manifest::parse_line;

    /// The example of the documents.
    const GRAPH: &str = include_str!("../../examples/graph/graph.sql");

    fn names() -> Names {
        let [nodes, id, edges, from, to] =
            ["nodes", "id", "edges", "source", "target"].map(str::to_owned);
        Names { nodes, id, edges, from, to }
    }

    fn lines(database: &Path, names: &Names) -> Vec<String> {
        let mut lines = Vec::new();
        plan(database, names, |line| {
            lines.push(line.to_owned());
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn gaps_are_found_and_their_tasks_mend_them_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("graph.db");
        let database = Connection::open(&path).unwrap();
        database.execute_batch(GRAPH).unwrap();
        let before: i64 =
            database.query_row("SELECT count(*) FROM nodes", [], |r| r.get(0)).unwrap();
        let found = lines(&path, &names());
        let labels: Vec<String> =
            found.iter().map(|line| parse_line(line.as_bytes()).unwrap().label()).collect();
        assert_eq!(labels, ["Node-gihon", "Node-havilah", "Edge-7", "Edge-8"]);
        for (round, want) in [(1, true), (2, false)] {
            for line in &found {
                let task = parse_line(line.as_bytes()).unwrap();
                let input = json!({"args": task.args, "kwargs": task.kwargs}).to_string();
                let result = call(&task.name, &parse(&input).unwrap()).unwrap();
                let key = if task.name == ADD_NODE { "added" } else { "set_aside" };
                assert_eq!(result[key], want, "round {round}: {line}");
            }
            assert_eq!(lines(&path, &names()), [""; 0], "round {round}");
        }
        let after: i64 =
            database.query_row("SELECT count(*) FROM nodes", [], |r| r.get(0)).unwrap();
        assert_eq!(after, before + 2);
        let aside = "SELECT count(*) FROM edges_disconnected";
        assert_eq!(database.query_row(aside, [], |r| r.get::<_, i64>(0)), Ok(2));
    }

    #[test]
    fn any_names_will_do_and_wrong_ones_are_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd.db");
        let database = Connection::open(&path).unwrap();
        let odd = "CREATE TABLE \"a \"\" b\" (\"the id\" INTEGER PRIMARY KEY, size REAL NOT NULL); \
                   CREATE TABLE e (f, t); INSERT INTO e VALUES (1, 2), (2, 3); \
                   INSERT INTO \"a \"\" b\" VALUES (1, 0.5);";
        database.execute_batch(odd).unwrap();
        let [nodes, id, edges, from, to] = ["a \" b", "the id", "e", "f", "t"].map(str::to_owned);
        let names = Names { nodes, id, edges, from, to };
        let found = lines(&path, &names);
        assert_eq!(found.len(), 2, "{found:?}");
        let task = parse_line(found[0].as_bytes()).unwrap();
        let input = json!({"kwargs": task.kwargs}).to_string();
        assert_eq!(call(ADD_NODE, &parse(&input).unwrap()), Ok(json!({"added": true})));
        let wrong = Names { nodes: "nodes".to_owned(), ..names };
        let text = plan(&path, &wrong, |_| Ok(())).unwrap_err();
        assert!(text.contains("look for gaps in") && text.contains("no such table"), "{text}");
    }
}
