//! One line on a terminal that is written over and over, while a verb waits.
//!
//! Invariants: it goes to stderr, only where a person looks; it is cleared before anything else is said.

use super::out;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How often it is brought up to date.
const REFRESH: Duration = Duration::from_secs(1);

/// The line.
pub(super) struct StatusLine {
    shown: bool,
    written: bool,
}

impl StatusLine {
    /// A line on stderr, if that is a terminal and nobody wants it `quiet`.
    pub(super) fn of_stderr(quiet: bool) -> Self {
        Self { shown: !quiet && io::stderr().is_terminal(), written: false }
    }

    /// Whether anybody sees it.
    pub(super) fn is_shown(&self) -> bool {
        self.shown
    }

    /// How long to wait before it is shown anew.
    pub(super) fn pause(&self) -> Duration {
        if self.shown { REFRESH } else { Duration::MAX }
    }

    /// Writes it, cut to the terminal.
    pub(super) fn show(&mut self, text: &str) {
        if self.shown {
            let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok();
            let columns = size.map_or(80, |size| usize::from(size.ws_col)).max(2);
            let text = out::cut(&out::plain(text), columns - 1);
            // Nobody may be reading.
            let _ = write!(io::stderr(), "\r\u{1b}[K{text}").and_then(|()| io::stderr().flush());
            self.written = true;
        }
    }

    /// Takes it away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.written) {
            let _ = write!(io::stderr(), "\r\u{1b}[K").and_then(|()| io::stderr().flush());
        }
    }
}
