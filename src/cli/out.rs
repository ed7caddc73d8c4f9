//! Text for terminals: what is safe to print, how wide it is, and where it goes.
//!
//! Invariants: no text from a file reaches the terminal with control or direction characters in it; colour
//! only where somebody looks and does not mind; a reader that has gone is no failure.

use super::{Failure, code};
use std::io::{self, IsTerminal, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// Colours that mean something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Colour {
    /// Ended well.
    Green,
    /// Ended badly, or wrong.
    Red,
    /// Under way, or worth a look.
    Yellow,
    /// Of little weight.
    Faint,
}

/// The terminal on stdout, if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Screen {
    /// Columns to fill.
    pub(super) columns: usize,
    /// Whether to colour.
    pub(super) colour: bool,
}

impl Screen {
    /// What stdout is.
    pub(super) fn of_stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let said = std::env::var("COLUMNS").ok().and_then(|c| c.trim().parse().ok());
        let asked = || {
            let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
            Some(usize::from(size.ws_col)).filter(|c| *c > 0)
        };
        let columns = match said.filter(|c| *c > 0) {
            Some(columns) => columns,
            None if terminal => asked().unwrap_or(COLUMNS),
            // A pipe or a file has room for everything.
            None => usize::MAX,
        };
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self { columns, colour: terminal && !unwanted }
    }

    /// Text in a colour, where colours are wanted.
    pub(super) fn paint(self, colour: Option<Colour>, text: &str) -> String {
        let number = match colour.filter(|_| self.colour) {
            None => return text.to_owned(),
            Some(Colour::Green) => 32,
            Some(Colour::Red) => 31,
            Some(Colour::Yellow) => 33,
            Some(Colour::Faint) => 2,
        };
        format!("\u{1b}[{number}m{text}\u{1b}[0m")
    }
}

/// Text without anything that moves the cursor, rings, or turns the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let turns = |c: char| {
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || turns(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// The same with line ends kept, for texts of several lines.
pub(super) fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// The first line of a text, cut.
pub(super) fn first_line(text: &str) -> String {
    const COLUMNS_MAX: usize = 60;
    let text = text.trim();
    let line = text.lines().next().unwrap_or_default().trim_end();
    match (line.len() < text.len(), width(line) <= COLUMNS_MAX) {
        (true, true) => format!("{line} …"),
        _ => cut(line, COLUMNS_MAX),
    }
}

/// Columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// At most `columns` columns of a text; `…` where it is cut.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide + 1 > columns {
            break;
        }
        taken += wide;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Writes bytes to stdout as they are. `false`: the reader has gone.
pub(super) fn bytes(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::new(code::FAILED, format!("write to stdout: {e}"))),
    }
}

/// Writes text to stdout. `false`: the reader has gone.
pub(super) fn text(text: &str) -> Result<bool, Failure> {
    bytes(text.as_bytes())
}

/// A span of milliseconds for people, in its largest units.
pub(super) fn span(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match s {
        0..120 => format!("{s}s"),
        120..7200 => format!("{}m{:02}s", s / 60, s % 60),
        7200..172_800 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_as_wide() {
        assert_eq!(width("漢字"), 4);
        assert_eq!(width("🎉"), 2);
        assert_eq!(width("é"), 1);
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("漢字漢字", 4), "漢…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("abcd", 0), "");
    }

    #[test]
    fn nothing_that_moves_the_cursor_gets_through() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{202e}d\u{9b}"), "a\\u{1b}[2Jb\\nc\\u{202e}d\\u{9b}");
        assert_eq!(plain("ü 漢 🎉"), "ü 漢 🎉");
    }

    #[test]
    fn spans_are_short() {
        let texts = [0, 119_000, 125_000, 7_260_000, 200_000_000].map(span);
        assert_eq!(texts, ["0s", "119s", "2m05s", "2h01m", "2d07h"]);
    }
}
