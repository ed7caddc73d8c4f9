//! `jobyard status --watch`: the same screen, kept up to date.
//!
//! Invariants: on a terminal one screen is written over, elsewhere a new text follows whenever something has
//! changed; looking takes at most a tenth of the time; nothing is written to the root.

use super::shown;
use crate::cli::notice::Notice;
use crate::cli::out::{self, Screen};
use crate::cli::{Failure, Globals, Outcome, code, look};
use crate::model::order::State;
use crate::model::paths;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// On a terminal ages move on so often.
const REFRESH: Duration = Duration::from_secs(1);

/// How many times as long as a look took the next one is waited for.
const REST: u32 = 9;

/// Runs it.
pub(super) fn run(globals: &Globals, timeout: Duration) -> Outcome {
    let root = globals.find_root()?;
    let notice = Notice::new(timeout)?;
    let terminal = std::io::stdout().is_terminal() && !globals.json;
    let mut last = String::new();
    loop {
        notice.watch_all(&State::ALL.map(|s| root.join(paths::dir(s))))?;
        // A daemon that comes writes to its own directory; in `_ctx` lies the configuration.
        for dir in [paths::AUDIT, paths::CONTROL, paths::OWN, paths::CTX] {
            notice.watch(&root.join(dir))?;
        }
        let begun = Instant::now();
        let mut seat = look::seat(root.clone())?;
        seat.still_there()?;
        let text = shown(globals, &mut seat, Screen::of_stdout())?;
        if text != last && !print(&text, last.is_empty(), terminal, globals.json)? {
            return Ok(code::DONE);
        }
        last = text;
        let rest = begun.elapsed().saturating_mul(REST);
        if !notice.wait_for(if terminal { REFRESH } else { Duration::MAX })? {
            return Ok(code::DONE);
        }
        std::thread::park_timeout(rest.min(notice.left()));
    }
}

/// `false`: the reader has gone.
fn print(text: &str, first: bool, terminal: bool, json: bool) -> Result<bool, Failure> {
    if !terminal {
        let gap = if first || json { "" } else { "\n" };
        return out::text(&format!("{gap}{text}\n"));
    }
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    let rows = size.map_or(24, |size| usize::from(size.ws_row)).max(2);
    let lines: Vec<&str> = text.lines().take(rows - 1).collect();
    out::text(&format!("\u{1b}[H\u{1b}[J{}\n", lines.join("\n")))
}
