//! The tables of a page as values.

use std::collections::BTreeSet;

/// One row. `name` is its first cell, `action` its last; `cells` are those in between and both of them.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) action: String,
    cells: Vec<String>,
}

/// A table with its head.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<String>,
    pub(super) rows: Vec<Row>,
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn values(cell: &str) -> impl Iterator<Item = &str> {
    cell.split(',').map(str::trim)
}

impl Table {
    /// The table below `<!-- table: name -->`.
    pub(super) fn read(page: &str, name: &str) -> Result<Self, String> {
        let mark = format!("<!-- table: {name} -->");
        let after = page.split_once(&mark).ok_or_else(|| format!("there is no table {name}"))?.1;
        let mut lines = after.trim_start().lines().take_while(|line| line.starts_with('|'));
        let head = cells(lines.next().ok_or_else(|| format!("the table {name} is empty"))?);
        let mut rows = Vec::new();
        for line in lines.skip(1) {
            let cells = cells(line);
            let [first, .., last] = &cells[..] else { return Err(format!("{name}: {line}")) };
            if cells.len() != head.len() {
                return Err(format!("{name}: {first} has {} cells", cells.len()));
            }
            rows.push(Row { name: first.clone(), action: last.clone(), cells });
        }
        Ok(Self { head, rows })
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.head.iter().position(|h| h == name)
    }

    /// Columns that are missing, and cells with a word that is no value of their column.
    pub(super) fn unknown_words(&self, columns: &[(&str, &[&str])]) -> Vec<String> {
        let mut findings = Vec::new();
        for (name, known) in columns {
            let Some(column) = self.column(name) else {
                findings.push(format!("there is no column {name}"));
                continue;
            };
            for row in &self.rows {
                for word in values(&row.cells[column]).filter(|w| *w != "*" && !known.contains(w)) {
                    findings.push(format!("{}: {name} has no value `{word}`", row.name));
                }
            }
        }
        findings
    }

    /// The rows that a combination of values stands in.
    pub(super) fn rows_of(&self, columns: &[(&str, &[&str])], at: &[&str]) -> Vec<&Row> {
        let holds = |row: &&Row| {
            columns.iter().zip(at).all(|((name, _), value)| {
                let cell = self.column(name).map_or("", |column| row.cells[column].as_str());
                cell == "*" || values(cell).any(|v| v == *value)
            })
        };
        self.rows.iter().filter(holds).collect()
    }

    /// Rows that no combination stands in, and names given twice.
    pub(super) fn unused(&self, used: &BTreeSet<String>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let odd = |row: &&Row| !seen.insert(row.name.clone()) || !used.contains(&row.name);
        let odd: Vec<&Row> = self.rows.iter().filter(odd).collect();
        odd.iter()
            .map(|row| format!("{}: no combination gives it, or it is there twice", row.name))
            .collect()
    }
}
