//! The lease: the lock file of a running order.
//!
//! Invariants: the first four lines are `Locked by`, `PID`, `User`, `Hostname`, as older readers expect
//! them; what follows is `Key: value`. A body that is not of this form is *foreign*: it is never
//! trusted, stolen or deleted. Age is not read here: age is not death.

use super::attempt::{Attempt, Holder};
use super::time::Moment;
use jiff::tz::TimeZone;

/// As much of a lock file is read; ours are shorter.
pub const LEASE_BYTES_MAX: usize = 4096;

/// What a lease of ours says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Who carries the attempt.
    pub mode: LeaseMode,
    /// Process that made it.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_time: u64,
    /// Its user.
    pub user: String,
    /// Its host.
    pub host: String,
    /// Its boot.
    pub boot: String,
    /// Its instance.
    pub instance: String,
}

/// Who carries the attempt of a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseMode {
    /// The daemon; the lease is a link to one file of the instance, the attempt is in the ledger.
    Process,
    /// A person.
    Manual {
        /// The attempt.
        attempt: u32,
        /// Who took it.
        holder: Holder,
    },
}

/// A lock file as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseBody {
    /// Ours.
    Ours(Lease),
    /// Of another tool, torn, or edited. Holds the first line.
    Foreign(String),
}

impl Lease {
    /// The text of the lock file.
    pub fn render(&self, at: Moment, zone: &TimeZone) -> String {
        let (verb, attempt, mode) = match &self.mode {
            LeaseMode::Process => ("daemon", "in the ledger".to_owned(), "process".to_owned()),
            LeaseMode::Manual { attempt, holder } => {
                ("take", attempt.to_string(), format!("manual {} {}", holder.uid, holder.name))
            }
        };
        format!(
            "Locked by jobyard {verb} at {}\nPID: {}\nUser: {}\nHostname: {}\nAttempt: {attempt}\n\
             Mode: {mode}\nBoot: {}\nStart: {}\nInstance: {}\n",
            at.with_offset(zone),
            self.pid,
            self.user,
            self.host,
            self.boot,
            self.start_time,
            self.instance,
        )
    }
}

impl LeaseBody {
    /// The lease of this attempt: a process lease of the daemon's, a person's of its very number.
    pub fn is_of(&self, attempt: &Attempt) -> bool {
        match self {
            Self::Ours(lease) => match &lease.mode {
                LeaseMode::Process => attempt.is_process(),
                LeaseMode::Manual { attempt: number, .. } => *number == attempt.number,
            },
            Self::Foreign(_) => false,
        }
    }

    /// Whose it is, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Foreign(first) => format!("not made by jobyard: {first:?}"),
            Self::Ours(lease) => {
                let attempt = match &lease.mode {
                    LeaseMode::Process => String::new(),
                    LeaseMode::Manual { attempt, holder } => {
                        format!(", attempt {attempt} of {}", holder.name)
                    }
                };
                format!("process {} of {} on {}{attempt}", lease.pid, lease.user, lease.host)
            }
        }
    }

    /// Reads a lock file.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        parse_ours(&text).map_or_else(
            || Self::Foreign(text.lines().next().unwrap_or("").chars().take(120).collect()),
            Self::Ours,
        )
    }
}

fn parse_ours(text: &str) -> Option<Lease> {
    // A last line without its end is torn, however much of it is there.
    let whole = text.strip_suffix('\n')?;
    let mut lines = whole.split('\n');
    if whole.contains(|c: char| c.is_control() && c != '\n') {
        return None;
    }
    lines.next().filter(|l| l.starts_with("Locked by jobyard "))?;
    let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(": ");
    let pid = value("PID")?.parse().ok()?;
    let user = value("User")?.to_owned();
    let host = value("Hostname")?.to_owned();
    let attempt = value("Attempt")?;
    let mode = match value("Mode")? {
        "process" => LeaseMode::Process,
        manual => {
            let (uid, name) = manual.strip_prefix("manual ")?.split_once(' ')?;
            let holder = Holder { uid: uid.parse().ok()?, name: name.to_owned() };
            LeaseMode::Manual { attempt: attempt.parse().ok()?, holder }
        }
    };
    let boot = value("Boot")?.to_owned();
    let start_time = value("Start")?.parse().ok()?;
    let instance = value("Instance")?.to_owned();
    Some(Lease { mode, pid, start_time, user, host, boot, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_lease_reads_back_and_begins_like_older_locks() {
        for mode in [
            LeaseMode::Process,
            LeaseMode::Manual { attempt: 3, holder: Holder { uid: 7, name: "ann b".into() } },
        ] {
            let lease = Lease {
                mode,
                pid: 42,
                start_time: 9,
                user: "ann".into(),
                host: "box".into(),
                boot: "b".into(),
                instance: "0123456789abcdef".into(),
            };
            let text = lease.render(Moment(1_700_000_000_123), &TimeZone::UTC);
            assert_eq!(LeaseBody::parse(text.as_bytes()), LeaseBody::Ours(lease));
            let keys: Vec<_> = text.lines().skip(1).take(3).collect();
            assert_eq!(keys, ["PID: 42", "User: ann", "Hostname: box"]);
        }
    }

    #[test]
    fn other_bodies_are_foreign() {
        for body in ["WO-1\n", "", "Locked by ctx_wo_take.py at x\nPID: 1\nUser: u\nHostname: h\n"]
        {
            assert!(matches!(LeaseBody::parse(body.as_bytes()), LeaseBody::Foreign(_)), "{body}");
        }
    }

    #[test]
    fn a_torn_or_edited_lease_is_foreign() {
        let ours = "Locked by jobyard daemon at x\nPID: 1\nUser: u\nHostname: h\nAttempt: in the \
                    ledger\nMode: process\nBoot: b\nStart: 2\nInstance: 0123456789abcdef\n";
        let foreign =
            |text: &str| matches!(LeaseBody::parse(text.as_bytes()), LeaseBody::Foreign(_));
        assert!(!foreign(ours) && !foreign(&format!("{ours}Later: x\n")));
        for end in 0..ours.len() {
            assert!(foreign(&ours[..end]), "torn at {end}");
        }
        for (part, by) in
            [("\n", "\r\n"), ("process", "x"), ("u\n", "\u{1b}[31mu\n"), ("b\n", "\u{85}\n")]
        {
            assert!(foreign(&ours.replace(part, by)), "{part:?} by {by:?}");
        }
    }
}
