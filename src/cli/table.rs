//! Tables that fit the terminal.
//!
//! Invariants: a row is one line; only the columns marked to give way are cut, the last of them first, and
//! where that is not enough the first of them go as a whole; every cell is safe to print.

use super::out::{self, Colour, Screen};

/// A column.
pub(super) struct Column {
    /// Head.
    pub(super) name: &'static str,
    /// Least columns it keeps while it is shown; `None`: it is never cut.
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

/// Blanks between two columns.
const GAP: usize = 2;

/// The lines of a table, with its head.
pub(super) fn lines(columns: &[Column], rows: &[Vec<Cell>], screen: Screen) -> String {
    let mut widths: Vec<usize> = columns.iter().map(|c| out::width(c.name)).collect();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            widths[at] = widths[at].max(out::width(&cell.text));
        }
    }
    let shown = fit(columns, &mut widths, screen.columns);
    let head: Vec<Cell> =
        columns.iter().map(|c| Cell::coloured(c.name, Some(Colour::Faint))).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate().filter(|(at, _)| shown.contains(at)) {
            let words = out::cut(&cell.text, widths[at]);
            let fill = widths[at].saturating_sub(out::width(&words));
            line.push_str(&screen.paint(cell.colour, &words));
            line.push_str(&" ".repeat(fill + GAP));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Makes the widths fit, as far as they give way; the columns that are shown.
fn fit(columns: &[Column], widths: &mut [usize], room: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let gives = |at: &usize| columns[*at].least.is_some();
    let over = |shown: &[usize], width: &dyn Fn(usize) -> usize| {
        let gaps = GAP * shown.len().saturating_sub(1);
        (shown.iter().map(|at| width(*at)).sum::<usize>() + gaps).saturating_sub(room)
    };
    let least = |at: usize| columns[at].least.map_or(widths[at], |least| least.min(widths[at]));
    while over(&shown, &least) > 0 && shown.iter().filter(|at| gives(at)).count() > 1 {
        let first = shown.iter().position(gives).unwrap_or_default();
        shown.remove(first);
    }
    let mut left = over(&shown, &|at| widths[at]);
    for at in shown.iter().rev().filter(|at| gives(at)) {
        let given = left.min(widths[*at].saturating_sub(columns[*at].least.unwrap_or_default()));
        widths[*at] -= given;
        left -= given;
    }
    // Only the last one is left to give way, and has no more than its least: better short than broken.
    if let Some(last) = shown.iter().rev().find(|at| gives(at)) {
        widths[*last] = widths[*last].saturating_sub(left).max(1);
    }
    shown
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
        for columns in [10, 15, 25, 30, 80, usize::MAX] {
            let text = table(columns, "漢字漢字漢字 and more of it");
            assert!(text.lines().all(|l| out::width(l) <= columns), "{columns}\n{text}");
        }
        assert_eq!(table(20, "t"), "ID    WAITS FOR\nWO-1  needs WO-2\n");
        assert_eq!(table(12, "t"), "ID    WAITS…\nWO-1  needs…\n");
        assert_eq!(table(80, "t"), "ID    TITLE  WAITS FOR\nWO-1  t      needs WO-2\n");
    }

    #[test]
    fn a_title_stays_on_its_line() {
        assert_eq!(table(80, "a\nb\u{1b}[1m").lines().count(), 2);
    }
}
