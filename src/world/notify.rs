//! What a service manager is told: ready, reloading, stopping, alive, and one line of status.
//!
//! Invariants: without `NOTIFY_SOCKET` nothing is sent and nothing ever wakes for it; a message that cannot
//! be sent within a second is lost, and nobody fails for it; only the process that called [`listen`] speaks,
//! never its children. Whether the process is alive is said by whoever does its work, not by a timer of its
//! own: a loop that hangs falls silent.

use crate::executor::MANAGER_VARIABLES;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line of status is said at most so often.
const STATUS_PAUSE: Duration = Duration::from_millis(200);

static LINK: OnceLock<Link> = OnceLock::new();

struct Link {
    socket: UnixDatagram,
    address: SocketAddr,
    /// Half of the time after which a silent process is killed.
    half: Option<Duration>,
    began: Instant,
    /// When it last said that it is alive, in milliseconds since `began`.
    fed_ms: AtomicU64,
}

/// Takes up the link to the service manager, if there is one.
pub fn listen() {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let [place, limit, pid] = MANAGER_VARIABLES;
    let Some(address) = variable(place).and_then(|name| address(&name)) else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let _ = socket.set_write_timeout(Some(PATIENCE));
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    let meant = number(pid).is_none_or(|pid| pid == u64::from(std::process::id()));
    let limit = number(limit).filter(|usec| *usec > 0 && meant);
    let half = limit.map(|usec| Duration::from_micros(usec / 2));
    let (began, fed_ms) = (Instant::now(), AtomicU64::new(0));
    let _ = LINK.set(Link { socket, address, half, began, fed_ms });
}

/// A path, or with `@` the name of an abstract socket.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

/// Says something: lines of `KEY=value`.
pub fn tell(text: &str) {
    if let Some(link) = LINK.get() {
        let _ = link.socket.send_to_addr(text.as_bytes(), &link.address);
    }
}

/// Says that the configuration is being read again; `READY=1` says when that is over.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let usec = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\n"));
}

/// Says that the loop goes on, when it is time to.
pub fn alive() {
    if let Some(link) = LINK.get()
        && link.feed_in().is_some_and(|left| left.is_zero())
    {
        let now = u64::try_from(link.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        link.fed_ms.store(now, Ordering::Relaxed);
        tell("WATCHDOG=1");
    }
}

/// How long a wait may last before [`alive`] has to be said. `None`: for ever.
pub fn alive_in() -> Option<Duration> {
    LINK.get()?.feed_in()
}

impl Link {
    fn feed_in(&self) -> Option<Duration> {
        let fed = Duration::from_millis(self.fed_ms.load(Ordering::Relaxed));
        Some((fed + self.half?).saturating_sub(self.began.elapsed()))
    }
}

/// The line of status: said when it has changed, at most five times a second.
#[derive(Debug, Default)]
pub struct Status {
    said: String,
    said_at: Option<Instant>,
}

impl Status {
    /// Says the line if it is new. How long until it has to be tried again, because it was too soon.
    pub fn say(&mut self, line: impl FnOnce() -> String) -> Option<Duration> {
        LINK.get()?;
        let line = line();
        if line == self.said {
            return None;
        }
        let passed = self.said_at.map_or(STATUS_PAUSE, |at| at.elapsed());
        if passed < STATUS_PAUSE {
            return Some(STATUS_PAUSE - passed);
        }
        tell(&format!("STATUS={line}"));
        (self.said, self.said_at) = (line, Some(Instant::now()));
        None
    }
}
