//! Control groups: one per running command where the kernel and the permissions allow.
//!
//! Invariants: a command begins inside its group, so that there is no instant at which it could fork
//! outside of it; a group is given to the next command only when it is empty and was never killed as one:
//! Linux 6.18 kills whatever is cloned into such a group later; groups are named after a
//! living executor (`jobyard-<pid>-<start time>`), so those of a dead one can be told and removed when
//! empty.

use super::proc;
use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Empty groups kept for the next commands.
const IDLE_MAX: usize = 64;

/// Deepest nesting inside a command's group that is followed.
const DEPTH_MAX: usize = 32;

/// Set to `off` in the executor's environment, groups are not used.
pub(crate) const SWITCH: &str = "JOBYARD_EXEC_GROUPS";

/// The groups of this executor.
pub(crate) struct Groups {
    /// Directory of this executor's groups.
    dir: PathBuf,
    /// The same as `/proc/<pid>/cgroup` shows it.
    name: String,
    idle: Vec<Group>,
    made: u32,
    usable: bool,
}

/// One group.
pub(crate) struct Group {
    path: PathBuf,
    name: String,
    dir: File,
    events: File,
    killed: Cell<bool>,
}

impl Groups {
    /// Finds the executor's own group and makes a directory for the commands' groups in it; `None` when
    /// there is no unified hierarchy or it may not be written. Removes what dead executors left empty.
    pub(crate) fn discover() -> Option<Self> {
        if std::env::var_os(SWITCH).is_some_and(|value| value == "off") {
            return None;
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let own_name = proc::cgroup(std::process::id())?;
        let own = own_directory(&mountinfo, &own_name)?;
        remove_leftovers(&own);
        let pid = std::process::id();
        let leaf = format!("jobyard-{pid}-{}", proc::process_start_time(pid)?);
        let dir = own.join(&leaf);
        fs::create_dir(&dir).ok()?;
        let name = format!("{}/{leaf}", own_name.trim_end_matches('/'));
        Some(Self { dir, name, idle: Vec::new(), made: 0, usable: true })
    }

    /// An empty group for one command.
    pub(crate) fn obtain(&mut self) -> Option<Group> {
        if !self.usable {
            return None;
        }
        if let Some(group) = self.idle.pop() {
            return Some(group);
        }
        self.made = self.made.checked_add(1)?;
        let path = self.dir.join(self.made.to_string());
        fs::create_dir(&path).ok()?;
        let name = format!("{}/{}", self.name, self.made);
        Group::open(path, name).ok()
    }

    /// The kernel does not let processes begin in groups here: do without from now on.
    pub(crate) fn give_up(&mut self) {
        self.usable = false;
    }

    /// Takes back a group whose command has ended. Groups that the command made inside are removed.
    pub(crate) fn release(&mut self, group: Group) {
        remove_nested(&group.path, DEPTH_MAX);
        if self.usable && self.idle.len() < IDLE_MAX && !group.killed.get() && !group.populated() {
            self.idle.push(group);
        } else {
            // Fails only while something stands in it; the next executor tries again.
            let _ = fs::remove_dir(&group.path);
        }
    }

    /// Removes every empty group of this executor.
    pub(crate) fn remove_all(&mut self) {
        self.idle.clear();
        remove_nested(&self.dir, DEPTH_MAX);
        let _ = fs::remove_dir(&self.dir);
    }
}

impl Group {
    fn open(path: PathBuf, name: String) -> io::Result<Self> {
        let dir = File::open(&path)?;
        let events = File::open(path.join("cgroup.events"))?;
        Ok(Self { path, name, dir, events, killed: Cell::new(false) })
    }

    /// The directory, for a process to begin in.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Path of the group as `/proc/<pid>/cgroup` shows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a process lives in it or in a group inside.
    pub(crate) fn populated(&self) -> bool {
        let mut buffer = [0_u8; 256];
        let Ok(length) = self.events.read_at(&mut buffer, 0) else { return false };
        let said = buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"populated 1");
        // The counter may trail the last process by an instant.
        said && !self.processes().is_empty()
    }

    /// Ids of the processes in it and in groups inside.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        list_processes(&self.path, DEPTH_MAX, &mut found);
        found
    }

    /// Kills everything in it at once, also what forks without end; `false` where the kernel cannot.
    pub(crate) fn kill(&self) -> bool {
        self.killed.set(true);
        fs::write(self.path.join("cgroup.kill"), "1").is_ok()
    }
}

/// Whether a process whose group is `name` stands in the group `outer`.
pub(crate) fn is_inside(name: &str, outer: &str) -> bool {
    name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The directory of the group that a dead executor made for a command, if that is where `pid` stands.
pub(crate) fn orphaned_group(pid: u32) -> Option<PathBuf> {
    let name = proc::cgroup(pid)?;
    let mut parts: Vec<&str> = name.split('/').collect();
    let at = parts.iter().position(|part| owner_of(part).is_some())?;
    let owner = owner_of(parts[at])?;
    if owner.lives() || parts.len() < at + 2 {
        return None;
    }
    parts.truncate(at + 2);
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").ok()?;
    own_directory(&mountinfo, &parts.join("/"))
}

/// Ids of the processes in the group at `path` and inside.
pub(crate) fn processes_in(path: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    list_processes(path, DEPTH_MAX, &mut found);
    found
}

fn list_processes(path: &Path, depth: usize, found: &mut Vec<u32>) {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 0));
    if depth > 0 {
        nested(path).iter().for_each(|inner| list_processes(inner, depth - 1, found));
    }
}

fn remove_nested(path: &Path, depth: usize) {
    for inner in nested(path) {
        if depth > 0 {
            remove_nested(&inner, depth - 1);
        }
        let _ = fs::remove_dir(inner);
    }
}

fn nested(path: &Path) -> Vec<PathBuf> {
    // Two links mean no directory inside: the usual case, without reading it.
    if fs::metadata(path).is_ok_and(|meta| std::os::unix::fs::MetadataExt::nlink(&meta) == 2) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Removes the groups of executors that no longer live, as far as they are empty.
fn remove_leftovers(own: &Path) {
    for path in nested(own) {
        let owner = path.file_name().and_then(|name| name.to_str()).and_then(owner_of);
        if owner.is_some_and(|owner| !owner.lives()) {
            remove_nested(&path, DEPTH_MAX);
            let _ = fs::remove_dir(path);
        }
    }
}

fn owner_of(name: &str) -> Option<proc::Process> {
    let (pid, start_time) = name.strip_prefix("jobyard-")?.split_once('-')?;
    Some(proc::Process { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
}

/// Where the group `name` is to be found, by the mount table.
fn own_directory(mountinfo: &str, name: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let rest = if root == "/" { name } else { name.strip_prefix(&root)? };
        if rest.split('/').any(|part| part == "..") {
            return None;
        }
        Some(Path::new(&point).join(rest.trim_start_matches('/')))
    })
}

/// Undoes the octal escapes of the mount table (space, tab, newline, backslash).
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found_through_the_mount_table() {
        let table = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     41 31 0:38 / /sys/fs/a\\040b rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(own_directory(table, "/"), Some(PathBuf::from("/sys/fs/a b/")));
        assert_eq!(own_directory(table, "/x/y"), Some(PathBuf::from("/sys/fs/a b/x/y")));
        assert_eq!(own_directory(table, "/../x"), None);
        assert_eq!(own_directory("", "/x"), None);
    }

    #[test]
    fn a_mount_of_a_part_shows_only_that_part() {
        let table = "41 31 0:38 /box /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(own_directory(table, "/box/x"), Some(PathBuf::from("/sys/fs/cgroup/x")));
        assert_eq!(own_directory(table, "/other"), None);
    }

    #[test]
    fn inside_means_a_whole_component() {
        assert!(is_inside("/a/1", "/a/1"));
        assert!(is_inside("/a/1/b", "/a/1"));
        assert!(!is_inside("/a/12", "/a/1"));
    }

    #[test]
    fn only_our_names_have_an_owner() {
        let owner = owner_of("jobyard-12-345").map(|owner| (owner.pid, owner.start_time));
        assert_eq!(owner, Some((12, 345)));
        assert!(owner_of("jobyard-12").is_none());
        assert!(owner_of("user.slice").is_none());
    }
}
