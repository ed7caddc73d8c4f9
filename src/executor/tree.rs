//! All processes of one command, found and ended: TERM, grace, KILL.
//!
//! Invariants: whatever was once seen as a member stays one until it is gone; a signal never reaches a
//! process that is no member; ending is bounded at every step and is driven by the clock and by dead
//! children, never by waiting here. The cheap question [`Tree::left`] costs no scan of `/proc`.

use super::family::Family;
use super::groups::{self, Group};
use super::proc::{self, Process, Stat};
use crate::model::protocol::CommandKey;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Rounds in which a tree without control group is stopped before it is killed, so that what forks
/// without end stands still; each round sees what the one before let through.
const FREEZE_ROUNDS_MAX: u32 = 64;

/// After two rounds no more of them begin when so much time has passed: what is too fast to be stopped
/// is chased.
const FREEZE_MAX: Duration = Duration::from_millis(200);

/// First pause between two rounds of KILL; doubled each time.
const KILL_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between two rounds of KILL.
const KILL_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What still stands this long after the first KILL sits in an uninterruptible call of the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Strangers whose end is waited for at once; when they are gone the next ones follow.
const HANDLES_MAX: usize = 64;

/// How far the ending of a tree has come.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// TERM was sent; KILL follows.
    Asked { kill_at: Instant },
    /// KILL was sent.
    Killing { began: Instant, again_at: Instant, pause: Duration },
}

/// Where a tree stands after [`Tree::step`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Something is there, and it is not time for anything.
    Waits,
    /// So many processes could not be ended, and no more is tried.
    GivenUp(u32),
}

/// The processes of one command, or of one token.
pub(crate) struct Tree {
    /// The command in the executor's family; absent for the survivors of a dead executor.
    key: Option<CommandKey>,
    /// Main process while it was not waited for.
    pub(crate) main: Option<Process>,
    token: String,
    /// Run directory of an attempt, when that and the token are all that is known of it.
    logs: Option<PathBuf>,
    pub(crate) group: Option<Group>,
    members: BTreeMap<u32, u64>,
    handles: Vec<OwnedFd>,
    ending: Option<Ending>,
    /// Every process that was seen when the ending began or later.
    pub(crate) seen: u32,
}

impl Tree {
    /// The tree of a command that was just started.
    pub(crate) fn of_command(
        key: CommandKey,
        main: Process,
        token: String,
        group: Option<Group>,
    ) -> Self {
        Self { key: Some(key), main: Some(main), group, ..Self::of_token(token) }
    }

    /// Whatever carries a token, or writes to the log of a command in the run directory `logs`.
    pub(crate) fn of_attempt(token: String, logs: PathBuf) -> Self {
        Self { logs: Some(logs), ..Self::of_token(token) }
    }

    fn of_token(token: String) -> Self {
        Self {
            key: None,
            main: None,
            token,
            logs: None,
            group: None,
            members: BTreeMap::new(),
            handles: Vec::new(),
            ending: None,
            seen: 0,
        }
    }

    /// The token its processes carry.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Opens descriptors that become readable when members end which are no children of the executor.
    pub(crate) fn watch(&mut self) {
        let ended = |handle: &OwnedFd| {
            let mut fds = [PollFd::new(handle, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
        };
        self.handles.retain(|handle| !ended(handle));
        if self.handles.is_empty() {
            let open = |process: Process| {
                pidfd_open(proc::raw_pid(process.pid)?, PidfdFlags::empty()).ok()
            };
            self.handles =
                self.processes().into_iter().filter_map(open).take(HANDLES_MAX).collect();
        }
    }

    /// What [`Self::watch`] opened.
    pub(crate) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.handles.iter().map(AsFd::as_fd)
    }

    /// Whether it is being ended.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// When [`Self::step`] is due, if it is being ended.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.ending.map(|ending| match ending {
            Ending::Asked { kill_at } => kill_at,
            Ending::Killing { again_at, .. } => again_at,
        })
    }

    /// Whether a process is left. Cheap: no scan of `/proc`, and the list of children only when it decides.
    pub(crate) fn left(&mut self, family: &mut Family) -> bool {
        if self.main.is_some() || self.group.as_ref().is_some_and(Group::populated) {
            return true;
        }
        self.members
            .retain(|pid, start_time| Process { pid: *pid, start_time: *start_time }.lives());
        let Some(key) = self.key.as_ref().filter(|_| self.members.is_empty()) else {
            return !self.members.is_empty();
        };
        family.look();
        // What has just ended may have made another one: its end is still to be heard of.
        !family.strays_of(key).is_empty() || !family.ended_groups_of(key).is_empty()
    }

    /// Members that were alive at the last look.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Begins to end it: TERM, and CONT for what is stopped. Returns how many processes there are.
    pub(crate) fn ask(&mut self, family: &mut Family, now: Instant, grace: Duration) -> u32 {
        let table = self.gather(family, Reach::Everything);
        let signals = [Signal::TERM, Signal::CONT];
        let leader = self.main.and_then(|main| proc::raw_pid(main.pid));
        if let Some(leader) = leader {
            // At once for the whole group, so that a shell does not see its child end first and go on.
            let _ = rustix::process::kill_process_group(leader, Signal::TERM);
            let _ = rustix::process::kill_process_group(leader, Signal::CONT);
        }
        let main = self.main.map(|main| main.pid);
        for process in self.processes() {
            let in_group = table.get(&process.pid).is_some_and(|stat| Some(stat.group) == main);
            if !in_group {
                process.signal(&signals);
            }
        }
        self.ending = Some(Ending::Asked { kill_at: now + grace });
        self.count()
    }

    /// Makes KILL due now.
    pub(crate) fn hasten(&mut self, now: Instant) {
        if let Some(Ending::Asked { kill_at }) = &mut self.ending {
            *kill_at = now.min(*kill_at);
        }
    }

    /// Does what is due.
    pub(crate) fn step(&mut self, family: &mut Family, now: Instant) -> Standing {
        match self.ending {
            Some(Ending::Asked { kill_at }) if now >= kill_at => {
                self.kill(family);
                let (again_at, pause) = (now + KILL_PAUSE, KILL_PAUSE);
                self.ending = Some(Ending::Killing { began: now, again_at, pause });
            }
            Some(Ending::Killing { began, again_at, pause }) if now >= again_at => {
                self.kill(family);
                if now >= began + KILL_PATIENCE {
                    return Standing::GivenUp(self.count());
                }
                let pause = (pause * 2).min(KILL_PAUSE_MAX);
                self.ending = Some(Ending::Killing { began, again_at: now + pause, pause });
            }
            _ => {}
        }
        Standing::Waits
    }

    /// KILL for everything, however fast it forks.
    fn kill(&mut self, family: &mut Family) {
        // Where the kernel kills the group as one, only what left it can still fork.
        let _ = self.group.as_ref().is_some_and(Group::kill);
        let mut reach = Reach::Everything;
        let mut stopped = BTreeSet::new();
        let mut groups = BTreeSet::new();
        let until = Instant::now() + FREEZE_MAX;
        for round in 0..FREEZE_ROUNDS_MAX {
            let table = self.gather(family, reach);
            reach = Reach::Kin;
            // A signal to a process group reaches each of its processes before that can fork again.
            for group in self.process_groups(family, &table) {
                if groups.insert(group) {
                    proc::signal_group(group, Signal::STOP);
                }
            }
            let fresh: Vec<Process> = self
                .processes()
                .into_iter()
                .filter(|process| stopped.insert((process.pid, process.start_time)))
                .collect();
            for process in &fresh {
                process.signal(&[Signal::STOP]);
            }
            if fresh.is_empty() || round > 0 && Instant::now() > until {
                break;
            }
        }
        for group in groups {
            proc::signal_group(group, Signal::KILL);
        }
        for process in self.processes() {
            process.signal(&[Signal::KILL]);
        }
        if let Some(key) = &self.key {
            family.chase(key);
        }
    }

    /// The process groups of members, and of children that have ended, that hold nobody else. An id that
    /// is no longer in use is given again only after all others were.
    fn process_groups(&self, family: &Family, table: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
        let group = |pid: &u32| Some(table.get(pid)?.group);
        let ended = self.key.iter().flat_map(|key| family.ended_groups_of(key));
        let groups = self.members.keys().filter_map(group).chain(ended);
        let mut groups: BTreeSet<u32> = groups.filter(|id| *id > 1).collect();
        let executor = std::process::id();
        let strangers = table.iter().filter(|(pid, stat)| {
            let newest = stat.parent == executor && family.is_unknown(**pid);
            !stat.dead && !newest && !self.members.contains_key(pid)
        });
        for (_, stat) in strangers {
            groups.remove(&stat.group);
        }
        groups
    }

    fn processes(&self) -> Vec<Process> {
        let make = |(pid, start_time): (&u32, &u64)| Process { pid: *pid, start_time: *start_time };
        self.members.iter().map(make).collect()
    }

    /// Renews the members by a full scan, and returns the scan.
    fn gather(&mut self, family: &mut Family, reach: Reach) -> BTreeMap<u32, Stat> {
        family.look();
        let table = proc::table();
        self.members.retain(|pid, start_time| {
            table.get(pid).is_some_and(|stat| stat.start_time == *start_time && !stat.dead)
        });
        let mut roots: Vec<u32> = self.members.keys().copied().collect();
        roots.extend(self.main.map(|main| main.pid));
        roots.extend(self.group.iter().flat_map(Group::processes));
        roots.extend(self.key.iter().flat_map(|key| family.strays_of(key)));
        let tells = self.key.as_ref().is_none_or(|key| family.token_is_own(key, &self.token));
        if reach == Reach::Everything && tells {
            // What is older than a command is none of its processes.
            let since = self.key.as_ref().and_then(|key| family.start_of(key)).unwrap_or_default();
            let young = table.iter().filter(|(_, stat)| !stat.dead && stat.start_time >= since);
            let own = std::process::id();
            let carrying = young.filter(|(pid, stat)| {
                let other =
                    self.key.as_ref().is_some_and(|key| family.is_main_of_other(**pid, key));
                // What has the id by now may be another process than the one of the scan.
                let is_same = || proc::process_start_time(**pid) == Some(stat.start_time);
                **pid != own && !other && proc::carries(**pid, &self.token) && is_same()
            });
            roots.extend(carrying.map(|(pid, _)| *pid));
            if let Some(logs) = &self.logs {
                let groups = same_groups(&roots, &table);
                roots.extend(table.keys().filter(|pid| proc::writes_log(**pid, logs)));
                roots.extend(same_places(&roots));
                roots.extend(groups);
            }
        }
        for pid in with_descendants(roots, &table) {
            let Some(stat) = table.get(&pid).filter(|stat| !stat.dead) else { continue };
            if self.members.insert(pid, stat.start_time) != Some(stat.start_time) {
                self.seen = self.seen.saturating_add(1);
            }
        }
        table
    }
}

/// How far a scan looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Also into the environment of every process.
    Everything,
    /// Parents, children and control group.
    Kin,
}

/// What shares a process group with a process that a command made.
fn same_groups(roots: &[u32], table: &BTreeMap<u32, Stat>) -> Vec<u32> {
    let own_group = table.get(&std::process::id()).map(|stat| stat.group);
    let groups: BTreeSet<u32> = roots
        .iter()
        .filter_map(|pid| table.get(pid))
        .map(|stat| stat.group)
        .filter(|group| *group > 1 && Some(*group) != own_group)
        .collect();
    table.iter().filter(|(_, stat)| groups.contains(&stat.group)).map(|(pid, _)| *pid).collect()
}

/// What shares a dead executor's control group with one of the roots: that held nothing but a command.
fn same_places(roots: &[u32]) -> Vec<u32> {
    let places: BTreeSet<_> = roots.iter().filter_map(|pid| groups::orphaned_group(*pid)).collect();
    places.iter().flat_map(|place| groups::processes_in(place)).collect()
}

fn with_descendants(roots: Vec<u32>, table: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, stat) in table {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let own = std::process::id();
    let mut found = BTreeSet::new();
    let mut open = roots;
    while let Some(pid) = open.pop() {
        if pid > 1 && pid != own && found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: u32, group: u32) -> Stat {
        Stat { parent, group, start_time: 1, dead: false }
    }

    #[test]
    fn descendants_are_followed_and_strangers_are_not() {
        let table = BTreeMap::from([
            (10, stat(1, 10)),
            (11, stat(10, 11)),
            (12, stat(11, 12)),
            (20, stat(1, 20)),
        ]);
        let found: Vec<u32> = with_descendants(vec![10], &table).into_iter().collect();
        assert_eq!(found, [10, 11, 12]);
    }

    #[test]
    fn a_process_group_is_one_family() {
        let table = BTreeMap::from([(10, stat(1, 10)), (11, stat(1, 10)), (12, stat(1, 12))]);
        let mut found = same_groups(&[11], &table);
        found.sort_unstable();
        assert_eq!(found, [10, 11]);
    }

    #[test]
    fn process_one_and_the_executor_itself_are_never_members() {
        let own = std::process::id();
        let table = BTreeMap::from([(1, stat(0, 1)), (own, stat(1, own)), (10, stat(own, own))]);
        assert!(with_descendants(vec![1, own], &table).is_empty());
    }
}
