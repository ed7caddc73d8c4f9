//! Tables that fit the terminal.
//!
//! Invariants: a row is one line; only the columns marked to give way are cut, the last of them first;
//! every cell is safe to print.

use super::out::{self, Colour, Screen};

/// A column.
pub(super) struct Column {
    /// Head.
    pub(super) name: &'static str,
    /// Least columns it keeps; `None`: it is never cut.
    pub(super) least: Option<usize>,
}

/// One cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    colour: Option<Colour>,
}

impl Cell {
    /// A cell with this text, made safe.
    pub(super) fn new(text: &str) -> Self {
        Self { text: out::plain(text), colour: None }
    }

    /// In a colour.
    pub(super) fn coloured(text: &str, colour: Option<Colour>) -> Self {
        Self { colour, ..Self::new(text) }
    }
}

/// The lines of a table, with its head.
pub(super) fn lines(columns: &[Column], rows: &[Vec<Cell>], screen: Screen) -> String {
    const GAP: usize = 2;
    let mut widths: Vec<usize> = columns.iter().map(|c| out::width(c.name)).collect();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            widths[at] = widths[at].max(out::width(&cell.text));
        }
    }
    let gaps = GAP * columns.len().saturating_sub(1);
    let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(screen.columns);
    for (at, column) in columns.iter().enumerate().rev() {
        if let Some(least) = column.least {
            let given = over.min(widths[at].saturating_sub(least));
            widths[at] -= given;
            over -= given;
        }
    }
    let head: Vec<Cell> =
        columns.iter().map(|c| Cell::coloured(c.name, Some(Colour::Faint))).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let shown = out::cut(&cell.text, widths[at]);
            let fill = widths[at].saturating_sub(out::width(&shown));
            line.push_str(&screen.paint(cell.colour, &shown));
            if at + 1 < row.len() {
                line.push_str(&" ".repeat(fill + GAP));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: usize, title: &str) -> String {
        let heads = [
            Column { name: "ID", least: None },
            Column { name: "TITLE", least: Some(6) },
            Column { name: "WAITS FOR", least: Some(9) },
        ];
        let row = ["WO-1", title, "needs WO-2"].map(Cell::new).to_vec();
        lines(&heads, &[row], Screen { columns, colour: false })
    }

    #[test]
    fn a_table_fits_where_it_can() {
        for columns in [25, 30, 80] {
            let text = table(columns, "漢字漢字漢字 and more of it");
            assert!(text.lines().all(|l| out::width(l) <= columns), "{columns}\n{text}");
        }
        assert_eq!(table(80, "t"), "ID    TITLE  WAITS FOR\nWO-1  t      needs WO-2\n");
    }

    #[test]
    fn a_title_stays_on_its_line() {
        assert_eq!(table(80, "a\nb\u{1b}[1m").lines().count(), 2);
    }
}
