//! What keeps a living daemon from going on, as whoever looks from outside sees it.
//!
//! Invariants: it asks `/proc` and the text of the root's lock, writes nothing and waits for nothing; what it
//! cannot see it does not say. It does not judge how long is too long: what waits for seconds is named, with
//! its age.

use super::root_lock::{self, Found};
use crate::executor::process_start_time;
use crate::model::paths;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// From this age on a git that the daemon waits for is worth a word, in seconds.
const GIT_SECONDS: u64 = 2;

/// Longest command line that is quoted, in characters.
const WORDS_MAX: usize = 120;

/// Generations below git that are looked at.
const DEPTH_MAX: usize = 8;

/// Why nothing goes on, and what would change that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stall {
    /// Why, for people.
    pub text: String,
    /// What ends it.
    pub release: String,
}

/// Looks what the daemon waits for; nothing when it waits for work.
pub fn look(root: &Path, daemon: &Found) -> Option<Stall> {
    refused(daemon).or_else(|| git(daemon.pid)).or_else(|| executor(root, daemon.pid))
}

/// It said itself what it cannot do.
fn refused(daemon: &Found) -> Option<Stall> {
    let trouble = daemon.trouble.as_deref()?;
    Some(Stall {
        text: format!("the daemon cannot go on: {trouble}"),
        release: "what refuses it is mended; it tries again by itself, at most a minute later"
            .to_owned(),
    })
}

/// It waits for a git, and that perhaps for a hook or a filter.
fn git(daemon: u32) -> Option<Stall> {
    let is_old_git =
        |pid: &u32| name(*pid) == "git" && age(*pid).is_some_and(|age| age >= GIT_SECONDS);
    let pid = children(daemon).into_iter().find(is_old_git)?;
    let deeper = |pid: &u32| children(*pid).first().copied();
    let last = std::iter::successors(Some(pid), deeper).take(DEPTH_MAX).last().unwrap_or(pid);
    let mut text = format!(
        "the daemon waits for git, for {} s now (pid {pid}: {})",
        age(pid).unwrap_or_default(),
        words(pid)
    );
    if last != pid {
        text.push_str(&format!(", and that for pid {last}: {}", words(last)));
    }
    Some(Stall { text, release: format!("that ends, or `kill {last}`") })
}

/// Its executor was stopped (`SIGSTOP`, a debugger): nothing starts, and nothing ends in time.
fn executor(root: &Path, daemon: u32) -> Option<Stall> {
    // Its own child is known at once; one that an earlier daemon began, by its lock.
    let is_child = |pid: &u32| name(*pid) == name(daemon);
    let by_lock = || {
        let lock = fs::metadata(root.join(paths::OWN).join("exec.lock")).ok()?;
        root_lock::locked_by(lock.ino())
    };
    let pid = children(daemon).into_iter().find(is_child).or_else(by_lock)?;
    root_lock::is_stopped(pid).then(|| Stall {
        text: format!("the executor is frozen (pid {pid}): it was stopped"),
        release: format!("`kill -CONT {pid}`"),
    })
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// In seconds.
fn age(pid: u32) -> Option<u64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let up: u64 = uptime.split('.').next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    Some(up.saturating_sub(process_start_time(pid)?.checked_div(ticks)?))
}

fn words(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
    let short: String = line.chars().take(WORDS_MAX).collect();
    if short.len() < line.len() { format!("{short}…") } else { short }
}
