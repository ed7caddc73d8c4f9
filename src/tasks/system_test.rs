//! The tasks of the workflow `system_test`: say something, sleep, work on a database.

use super::{Input, open, seconds};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Most rows of one task.
const ROWS_MAX: u64 = 1_000_000;

/// Gives its arguments back.
pub(super) fn echo(input: &Input) -> Value {
    json!({"args": input.args, "kwargs": input.kwargs})
}

/// Sleeps for as many seconds as its first argument says.
pub(super) fn rest(input: &Input) -> Result<Value, String> {
    let time = seconds(input.args.first(), "args[0]")?;
    pause(time);
    Ok(json!({"slept": time.as_secs_f64()}))
}

fn pause(time: Duration) {
    let end = Instant::now() + time;
    // Whoever is parked may be woken before the time.
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}

/// Creates, reads, updates and deletes `rows` rows of a table of its own, with `pause` seconds between the
/// steps; in the database `db`, else in one that is gone afterwards.
pub(super) fn crud(input: &Input) -> Result<Value, String> {
    let rows = input.whole("rows", 10)?;
    if rows > ROWS_MAX {
        return Err(format!("`rows`: at most {ROWS_MAX}"));
    }
    let time = seconds(input.kwargs.get("pause"), "pause")?;
    let mut database = match input.kwargs.get("db") {
        None | Some(Value::Null) => {
            // An empty name: a file that the system takes away when it is closed.
            Connection::open("").map_err(|e| format!("open a database for a while: {e}"))?
        }
        Some(_) => open(Path::new(input.text("db")?))?,
    };
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let began = Instant::now();
    let counts =
        work(&mut database, rows, time).map_err(|e| format!("work on {rows} rows: {e}"))?;
    if counts.iter().any(|(_, count)| *count != rows) {
        return Err(format!("{rows} rows were meant: {counts:?}"));
    }
    let mut result: serde_json::Map<String, Value> =
        counts.into_iter().map(|(step, count)| (step.to_owned(), count.into())).collect();
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    result.insert("ms".to_owned(), ms.into());
    Ok(Value::Object(result))
}

/// How many rows each step touched. The table is this process's own, and gone afterwards.
fn work(
    database: &mut Connection,
    rows: i64,
    time: Duration,
) -> rusqlite::Result<[(&'static str, i64); 4]> {
    let table = format!("\"jobyard_crud_{}\"", std::process::id());
    let columns = "id INTEGER PRIMARY KEY, text TEXT NOT NULL, n INTEGER";
    let make = format!("DROP TABLE IF EXISTS {table}; CREATE TABLE {table} ({columns})");
    database.execute_batch(&make)?;
    let filled = database.transaction()?;
    {
        let mut insert = filled.prepare(&format!("INSERT INTO {table} VALUES (?1, ?2, 0)"))?;
        for id in 1..=rows {
            insert.execute(params![id, format!("row {id}")])?;
        }
    }
    filled.commit()?;
    pause(time);
    let sum = format!("SELECT count(*) FROM {table} WHERE text = 'row ' || id AND n = ?1");
    let created = database.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0))?;
    let read = database.query_row(&sum, [0], |row| row.get(0))?;
    pause(time);
    database.execute(&format!("UPDATE {table} SET n = 1"), [])?;
    let updated = database.query_row(&sum, [1], |row| row.get(0))?;
    pause(time);
    let deleted = database.execute(&format!("DELETE FROM {table} WHERE n = 1"), [])?;
    database.execute_batch(&format!("DROP TABLE {table}"))?;
    let deleted = i64::try_from(deleted).unwrap_or(i64::MAX);
    Ok([("created", created), ("read", read), ("updated", updated), ("deleted", deleted)])
}

#[cfg(test)]
mod tests {
    use super::super::{call, parse};
    use super::*;

    fn done(name: &str, input: &str) -> Result<Value, String> {
        call(name, &parse(input).unwrap())
    }

    #[test]
    fn rows_are_made_read_changed_and_deleted() {
        let result = done("system_test.crud", r#"{"kwargs": {"rows": 25}}"#).unwrap();
        for step in ["created", "read", "updated", "deleted"] {
            assert_eq!(result[step], 25, "{result}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lasting.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
        let input = json!({"kwargs": {"db": path.to_str().unwrap(), "rows": 3}}).to_string();
        assert_eq!(done("system_test.crud", &input).unwrap()["deleted"], 3);
        let database = Connection::open(&path).unwrap();
        let tables = "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table'";
        let tables: String = database.query_row(tables, [], |row| row.get(0)).unwrap();
        assert_eq!(tables, "mine");
    }

    #[test]
    fn wrong_arguments_are_named() {
        let check = |name: &str, input: &str, part: &str| {
            let text = done(name, input).unwrap_err();
            assert!(text.contains(part), "{input}: {text}");
        };
        check(
            "system_test.sleep",
            r#"{"args": ["long"]}"#,
            "`args[0]`: expected a number of seconds",
        );
        check("system_test.sleep", r#"{"args": [-1]}"#, "`args[0]`");
        check(
            "system_test.crud",
            r#"{"kwargs": {"rows": "many"}}"#,
            "`rows`: expected a whole number",
        );
        check(
            "system_test.crud",
            r#"{"kwargs": {"db": "/nowhere/x.db"}}"#,
            "open the database /nowhere/x.db",
        );
    }

    #[test]
    fn a_sleep_says_how_long() {
        assert_eq!(
            done("system_test.sleep", r#"{"args": [0.01]}"#).unwrap(),
            json!({"slept": 0.01})
        );
        assert_eq!(
            done("system_test.echo", r#"{"args": ["a"]}"#).unwrap(),
            json!({"args": ["a"], "kwargs": {}})
        );
    }
}
