//! What `/proc` says about processes: who lives, who is whose child, who carries a token or its brand.
//!
//! A brand is a number made of a token. Every process of a command has it as the soft limit of its
//! real-time CPU time (`RLIMIT_RTTIME`), too high ever to be reached: children inherit it whatever they
//! do to their environment, session, parents and output.
//!
//! Invariants: a process is named by its id and its start time, so an id that was given to another
//! process never receives a signal meant for the first; the calling process is never found; a zombie
//! counts as gone. A full scan costs milliseconds and happens only when something must be ended.

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, geteuid, pidfd_open, pidfd_send_signal, waitpid,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest environment that is searched for a token, in bytes; the kernel's own bound for one
/// argument list is smaller by default.
const ENVIRON_BYTES_MAX: u64 = 8 << 20;

/// The lowest brand, in microseconds: a hundred thousand years of a processor.
const BRAND_FIRST: u64 = 1 << 62;

/// One line of `/proc/<pid>/stat`, as far as it is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stat {
    /// Parent.
    pub(crate) parent: u32,
    /// Process group.
    pub(crate) group: u32,
    /// Start in clock ticks since boot.
    pub(crate) start_time: u64,
    /// Nothing of it runs any more, though its status was not collected.
    pub(crate) dead: bool,
}

/// A process that cannot be confused with a later one of the same id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: u32,
    /// Its start time in clock ticks since boot.
    pub(crate) start_time: u64,
}

impl Process {
    /// Whether it still runs.
    pub(crate) fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|now| now.start_time == self.start_time && !now.dead)
    }

    /// Sends the signals in order to this process and no other; `false` when it is gone or not ours.
    pub(crate) fn signal(&self, signals: &[Signal]) -> bool {
        let Some(pid) = raw_pid(self.pid) else { return false };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
        // Only after the handle is held does an equal start time prove that it is the right one.
        if !self.lives() {
            return false;
        }
        signals.iter().all(|signal| pidfd_send_signal(&handle, *signal).is_ok())
    }
}

/// Start time of a process in clock ticks since boot (field 22 of `/proc/<pid>/stat`), also of one that
/// ended and was not waited for; `None` when there is none.
pub fn process_start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_time)
}

/// Ids of the living processes whose environment holds `JOBYARD_TOKEN=<token>`, or that have the token's
/// brand, without the calling process. A token must not be empty.
pub fn survivors(token: &str) -> Vec<u32> {
    let own = std::process::id();
    let found =
        |pid: &u32| *pid != own && carries(*pid, token) && stat(*pid).is_some_and(|s| !s.dead);
    pids().into_iter().filter(found).collect()
}

/// Whether a process has the brand of the token, or the token itself in its environment.
pub(crate) fn carries(pid: u32, token: &str) -> bool {
    !token.is_empty() && (brand_of(pid) == Some(brand(token)) || tells(pid, token))
}

/// Whether this process bears the brand of some attempt: it was made by a command.
pub(crate) fn is_branded() -> bool {
    brand_of(std::process::id()).is_some()
}

/// The number that stands for a token; no other token has it but by a chance of one in 2^62.
pub(crate) fn brand(token: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut hash = token.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    // The last bytes reach the high bits only when they are folded again.
    hash = hash.to_le_bytes().into_iter().fold(hash, fold);
    BRAND_FIRST | (hash >> 2)
}

/// The brand of a process, also of one that ended and was not waited for. Everybody can read the brands of
/// others and take one on: who could not be signalled has none.
pub(crate) fn brand_of(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/limits");
    let text = fs::read_to_string(&path).ok()?;
    let brand = parse_brand(&text)?;
    let own = geteuid();
    let reachable = own.is_root() || fs::metadata(&path).ok()?.uid() == own.as_raw();
    reachable.then_some(brand)
}

fn parse_brand(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_ascii_whitespace().next()?.parse().ok().filter(|soft| *soft >= BRAND_FIRST)
}

/// Whether the environment of a process holds the token, which is not empty.
pub(crate) fn tells(pid: u32, token: &str) -> bool {
    let Ok(file) = File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut environ = Vec::new();
    // A read error in the middle leaves what was read: the process has just gone.
    let _ = file.take(ENVIRON_BYTES_MAX).read_to_end(&mut environ);
    let wanted = format!("JOBYARD_TOKEN={token}");
    environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
}

/// Whether standard output or error of a process is the log of a command in this run directory.
pub(crate) fn writes_log(pid: u32, run_dir: &Path) -> bool {
    let target = |fd| fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    let is_log = |path: PathBuf| path.parent() == Some(run_dir) && is_log_name(&path);
    [1, 2].into_iter().filter_map(|fd| target(fd).ok()).any(is_log)
}

/// As [`crate::model::attempt::log_name`] makes them; what the kernel says of removed ones follows.
fn is_log_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    let (number, rest) = name.split_once('-').unwrap_or_default();
    number.len() >= 2 && number.bytes().all(|b| b.is_ascii_digit()) && rest.ends_with(".log")
}

/// The state of one process.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let mut buffer = [0_u8; 1024];
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    let length = file.read(&mut buffer).ok()?;
    parse_stat(&buffer[..length])
}

/// The state of every process.
pub(crate) fn table() -> BTreeMap<u32, Stat> {
    pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// Path of the control group of a process in the unified hierarchy.
pub(crate) fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Name of this boot of the machine; empty when the system does not tell.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Numbers of the signals that this process ignores.
pub(crate) fn ignored_signals() -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0);
    (1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect()
}

/// The children of this process, read through one descriptor that stays open.
pub(crate) struct Children {
    /// Absent when the kernel was built without it.
    list: Option<File>,
}

impl Children {
    /// To be made by the only thread of the process.
    pub(crate) fn new() -> Self {
        let own = std::process::id();
        Self { list: File::open(format!("/proc/self/task/{own}/children")).ok() }
    }

    /// Ids of the children, zombies included.
    pub(crate) fn read(&self) -> Vec<u32> {
        match self.list.as_ref().and_then(read_list) {
            Some(text) => text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
            None => {
                let own = std::process::id();
                let mine = |(pid, stat): (u32, Stat)| (stat.parent == own).then_some(pid);
                table().into_iter().filter_map(mine).collect()
            }
        }
    }
}

fn read_list(file: &File) -> Option<String> {
    let mut text = Vec::new();
    let mut chunk = [0_u8; 4096];
    loop {
        let length = file.read_at(&mut chunk, text.len() as u64).ok()?;
        if length == 0 {
            return String::from_utf8(text).ok();
        }
        text.extend_from_slice(&chunk[..length]);
    }
}

/// Sends a signal to every process of a process group at once.
pub(crate) fn signal_group(group: u32, signal: Signal) {
    if let Some(group) = raw_pid(group) {
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// KILL for a child that was not waited for: its id cannot mean another process.
pub(crate) fn kill_child(pid: u32) {
    if let Some(pid) = raw_pid(pid) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Waits for a child that has ended, whose status nobody wants; whether it was still there.
pub(crate) fn wait_for(child: u32) -> bool {
    let options = WaitOptions::NOHANG;
    raw_pid(child).is_some_and(|pid| matches!(waitpid(Some(pid), options), Ok(Some(_))))
}

/// A process id for the system calls; 0 and ids that do not fit are none.
pub(crate) fn raw_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The command name is in parentheses and may hold anything, so fields are counted after the last one.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
    // The leader of a process may have ended while other threads go on.
    let threads: u64 = fields.get(17)?.parse().ok()?;
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
        dead: matches!(*fields.first()?, "Z" | "X" | "x") && threads <= 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = b"42 (a) b (c) Z 7 42 7 0 -1 4 0 0 0 0 1 2 3 4 20 0 1 0 98765 0 0";
        let expected = Stat { parent: 7, group: 42, start_time: 98765, dead: true };
        assert_eq!(parse_stat(line), Some(expected));
    }

    #[test]
    fn a_leader_that_left_its_threads_behind_is_not_dead() {
        let line = b"42 (x) Z 7 42 7 0 -1 4 0 0 0 0 1 2 3 4 20 0 3 0 98765 0 0";
        assert_eq!(parse_stat(line).map(|stat| stat.dead), Some(false));
    }

    #[test]
    fn a_brand_is_a_limit_that_nothing_reaches() {
        let limits = "Max realtime priority     0                    0                    \n\
                      Max realtime timeout      4611686018427387905  unlimited            us        \n";
        assert_eq!(parse_brand(limits), Some(BRAND_FIRST + 1));
        let usual = limits.replace("4611686018427387905", "unlimited          ");
        assert_eq!(parse_brand(&usual), None);
        assert_eq!(parse_brand("Max realtime timeout      200000    200000    us\n"), None);
        assert!(brand("a") >= BRAND_FIRST && brand("a") < 1 << 63);
        assert_ne!(brand("a"), brand("b"));
    }

    #[test]
    fn a_torn_line_is_no_process() {
        assert_eq!(parse_stat(b"42 (x) S 7 42"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn the_calling_process_is_known_and_never_its_own_survivor() {
        assert!(process_start_time(std::process::id()).is_some());
        assert_eq!(process_start_time(0), None);
        assert!(survivors("").is_empty());
    }
}
