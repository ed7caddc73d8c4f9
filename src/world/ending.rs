//! That this process was told to end, for whatever waits deep inside it.
//!
//! Invariants: set once by whoever handles the signals, and never taken back; asking never waits. It
//! decides nothing: what to do when told is said where it is asked.

use rustix::io::read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Instant;

/// Gets one byte for each signal.
static SIGNALS: OnceLock<UnixStream> = OnceLock::new();
/// When the first one was seen.
static TOLD: OnceLock<Instant> = OnceLock::new();
/// A second one was seen.
static AT_ONCE: OnceLock<()> = OnceLock::new();

/// Takes the stream that gets a byte for each signal that ends the process; it must not block.
pub fn listen(signals: UnixStream) {
    let _ = SIGNALS.set(signals);
}

/// Readable once there is something new to be asked about.
pub fn fd() -> Option<BorrowedFd<'static>> {
    SIGNALS.get().map(AsFd::as_fd)
}

/// When the process was told to end, as far as has been noticed.
pub fn told() -> Option<Instant> {
    let mut bytes = [0_u8; 64];
    let new = fd().and_then(|fd| read(fd, &mut bytes).ok()).unwrap_or(0);
    if new > 0 && (TOLD.set(Instant::now()).is_err() || new > 1) {
        let _ = AT_ONCE.set(());
    }
    TOLD.get().copied()
}

/// Told twice: nothing is waited for any more.
pub fn at_once() -> bool {
    told().is_some() && AT_ONCE.get().is_some()
}
