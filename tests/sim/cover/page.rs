//! The tables of `docs/states.md` as sets of values, for looking up many combinations quickly.
//!
//! Invariants: the page is read, never copied; a word that no cell of its column holds cannot be asked
//! for, so that a slip in the classifier does not pass for `*`. That no two rows overlap is what
//! `tests/it/states.rs` tests, not this.

use std::sync::LazyLock;

const PAGE: &str = include_str!("../../../docs/states.md");

/// A value of a column that only `*` stands for.
pub(super) const ANY: &str = "";

/// An action as a cell of the page names it: its name, and its most important argument.
pub(super) type Said = (&'static str, &'static str);

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: &'static str,
    /// What is to be done.
    pub(super) action: Said,
    /// For each column the values that it holds, one bit each.
    holds: Vec<u32>,
}

/// One table.
#[derive(Debug)]
pub(super) struct Table {
    /// The words of each column that decides.
    words: Vec<Vec<&'static str>>,
    /// Its rows.
    pub(super) rows: Vec<Row>,
}

/// The tables that say what is done.
#[derive(Debug)]
pub(super) struct Tables {
    /// What a ticket, its lease and its attempt mean.
    pub(super) states: Table,
    /// A command under way.
    pub(super) command: Table,
    /// Between two commands.
    pub(super) course: Table,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    states: Table::read("states"),
    command: Table::read("command"),
    course: Table::read("course"),
});

/// The tables of the page.
pub(super) fn tables() -> &'static Tables {
    &TABLES
}

fn cells(line: &'static str) -> Vec<&'static str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}

impl Table {
    /// The table below `<!-- table: name -->`. Its first column is the row's name, the last two are its
    /// meaning and its action; those in between decide.
    fn read(name: &str) -> Self {
        let mark = format!("<!-- table: {name} -->");
        let (_, after) = PAGE.split_once(&mark).expect("the table is on the page");
        let lines = after.trim_start().lines().take_while(|line| line.starts_with('|'));
        let lines: Vec<_> = lines.skip(2).map(cells).collect();
        let deciding = lines[0].len() - 3;
        let mut table = Self { words: vec![Vec::new(); deciding], rows: Vec::new() };
        for cells in lines {
            let holds = (0..deciding).map(|column| table.set(column, cells[column + 1])).collect();
            let action = cells[cells.len() - 1];
            let action = action.split_once(' ').unwrap_or((action, ""));
            table.rows.push(Row { name: cells[0], action, holds });
        }
        table
    }

    /// The values of a cell; words that are new in this column get the next bit.
    fn set(&mut self, column: usize, cell: &'static str) -> u32 {
        if cell == "*" {
            return u32::MAX;
        }
        let known = &mut self.words[column];
        let bit = |word: &'static str| match known.iter().position(|k| *k == word) {
            Some(at) => 1 << at,
            None => {
                known.push(word);
                1 << (known.len() - 1)
            }
        };
        cell.split(',').map(str::trim).map(bit).sum()
    }

    /// The row that a combination of values stands in.
    pub(super) fn find(&self, values: &[&str]) -> Option<&Row> {
        let mut bits = [0; 8];
        for (at, value) in values.iter().enumerate() {
            let known = self.words[at].iter().position(|w| w == value);
            assert!(known.is_some() || *value == ANY, "no row says `{value}`");
            bits[at] = known.map_or(1 << 31, |at| 1 << at);
        }
        self.rows.iter().find(|row| row.holds.iter().zip(bits).all(|(set, bit)| set & bit != 0))
    }
}
