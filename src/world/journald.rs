//! The journal of the system, when stderr leads there: lines with fields, so that `journalctl JOBYARD_ID=…`
//! finds what was said of one order.
//!
//! Invariants: used only when `JOURNAL_STREAM` names the very file that stderr is; what cannot be sent is
//! printed to stderr as it would be without a journal. It decides nothing about what is said.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Warnings and the like: all that a daemon says by itself.
const PRIORITY: &str = "5";

/// The journal.
pub struct Journal {
    socket: UnixDatagram,
    root: String,
}

impl Journal {
    /// The journal, if stderr leads there.
    pub fn behind_stderr(root: &Path) -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = std::fs::metadata("/proc/self/fd/2").ok()?;
        if stream != format!("{}:{}", stderr.dev(), stderr.ino()) {
            return None;
        }
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SOCKET).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self { socket, root: root.to_string_lossy().into_owned() })
    }

    /// Whether the journal has taken a line; `id`: the order it is about.
    pub fn say(&self, id: Option<&str>, text: &str) -> bool {
        let fields = [
            ("MESSAGE", text),
            ("PRIORITY", PRIORITY),
            ("SYSLOG_IDENTIFIER", "jobyard"),
            ("JOBYARD_ROOT", &self.root),
        ];
        let entry = entry(fields.into_iter().chain(id.map(|id| ("JOBYARD_ID", id))));
        self.socket.send(&entry).is_ok()
    }
}

/// The form of an entry in which a value may hold any byte: name, newline, length, value, newline.
fn entry<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_a_line_break() {
        let bytes = entry([("A", "x\ny"), ("B", "")].into_iter());
        assert_eq!(bytes, b"A\n\x03\0\0\0\0\0\0\0x\ny\nB\n\0\0\0\0\0\0\0\0\n");
    }
}
