//! Whose is a process that the executor did not start but is now the parent of?
//!
//! The executor is a child subreaper: a process of a command whose parent ended becomes the executor's
//! child. So when a command's main process has ended and the executor has no child it cannot name,
//! nothing of any command is hidden: one look at the list of children, no scan of `/proc`.
//!
//! Invariants: a child is classified once and stays known until it is waited for (its id cannot be reused
//! before that); a child that cannot be told apart belongs to the last command that could have made it; one
//! that was there before the executor began, or before all commands that run, belongs to none.

use super::groups::is_inside;
use super::proc::{self, Children};
use crate::model::protocol::CommandKey;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// So many looks in a row that find no new child end a chase.
const CHASE_QUIET: u32 = 8;

/// Longest chase; another one follows.
const CHASE_MAX: Duration = Duration::from_millis(100);

/// How the processes of one command are told.
pub(crate) struct Mark {
    /// Main process; also its process group.
    pub(crate) pid: u32,
    /// Its start time in clock ticks since boot.
    pub(crate) start_time: u64,
    /// Value of `JOBYARD_TOKEN`.
    pub(crate) token: String,
    /// Name of its control group.
    pub(crate) group: Option<String>,
    /// Device and inode of its log.
    pub(crate) log: (u64, u64),
}

/// A child that was not started by the executor.
#[derive(Clone)]
struct Stray {
    start_time: u64,
    /// Absent: any of the commands that ran at its start.
    owner: Option<CommandKey>,
}

/// The executor's children.
pub(crate) struct Family {
    children: Children,
    marks: BTreeMap<CommandKey, Mark>,
    mains: BTreeMap<u32, CommandKey>,
    strays: BTreeMap<u32, Stray>,
    /// Children of what this process was before it became the executor.
    foreign: BTreeSet<u32>,
    /// Process groups of those that had ended when they were met at the last look.
    ended_groups: Vec<(u32, Stray)>,
    /// The last wait said that there is no child at all.
    childless: bool,
}

impl Family {
    /// Of an executor that has started nothing.
    pub(crate) fn new() -> Self {
        let children = Children::new();
        Self {
            foreign: children.read().into_iter().collect(),
            children,
            marks: BTreeMap::new(),
            mains: BTreeMap::new(),
            strays: BTreeMap::new(),
            ended_groups: Vec::new(),
            childless: true,
        }
    }

    /// A command was started.
    pub(crate) fn enter(&mut self, key: CommandKey, mark: Mark) {
        self.childless = false;
        self.mains.insert(mark.pid, key.clone());
        self.marks.insert(key, mark);
    }

    /// A command and its tree are gone.
    pub(crate) fn leave(&mut self, key: &CommandKey) {
        self.marks.remove(key);
    }

    /// A child was waited for; the command whose main process it was.
    pub(crate) fn reaped(&mut self, pid: u32) -> Option<CommandKey> {
        self.strays.remove(&pid);
        self.foreign.remove(&pid);
        self.mains.remove(&pid)
    }

    /// What the last wait said about further children.
    pub(crate) fn set_childless(&mut self, childless: bool) {
        self.childless = childless;
    }

    /// Looks for children that are not known yet. Those that have ended are waited for at once, so that what
    /// forks without end does not fill the list; of them the process group stays known.
    pub(crate) fn look(&mut self) {
        self.ended_groups.clear();
        if self.childless {
            self.strays.clear();
            return;
        }
        for pid in self.children.read() {
            if self.is_unknown(pid) {
                self.meet(pid, None);
            }
        }
    }

    /// Takes a child into account, as one of `owner` when that is known; none when it is gone already.
    fn meet(&mut self, pid: u32, owner: Option<&CommandKey>) -> Option<Stray> {
        let stat = proc::stat(pid)?;
        let owner = owner.cloned().or_else(|| self.owner(pid, &stat));
        let stray = Stray { start_time: stat.start_time, owner };
        if stat.dead && proc::wait_for(pid) {
            self.ended_groups.push((stat.group, stray.clone()));
        } else {
            self.strays.insert(pid, stray.clone());
        }
        Some(stray)
    }

    /// Process groups of the children of a command that had ended at the last look.
    pub(crate) fn ended_groups_of(&self, key: &CommandKey) -> Vec<u32> {
        let ended = self.ended_groups.iter();
        ended.filter(|(_, stray)| self.belongs(stray, key)).map(|(group, _)| *group).collect()
    }

    /// Kills the children of a command that were not known yet, and those that they have left meanwhile,
    /// faster than a process makes its next one and ends; returns when no more of them come.
    pub(crate) fn chase(&mut self, key: &CommandKey) {
        let until = Instant::now() + CHASE_MAX;
        let mut quiet = 0;
        while quiet < CHASE_QUIET && Instant::now() < until {
            quiet += 1;
            let alone = self.marks.len() == 1;
            // The last are the newest.
            for pid in self.children.read().into_iter().rev() {
                if !self.is_unknown(pid) {
                    continue;
                }
                if alone {
                    // A child keeps its id until it is waited for, so this one is meant.
                    proc::kill_child(pid);
                }
                let met = self.meet(pid, alone.then_some(key));
                if met.is_some_and(|stray| self.belongs(&stray, key)) {
                    if self.strays.contains_key(&pid) {
                        proc::kill_child(pid);
                    }
                    quiet = 0;
                }
            }
        }
    }

    /// Whether a process is a child that nothing is known of yet.
    pub(crate) fn is_unknown(&self, pid: u32) -> bool {
        let known = self.mains.contains_key(&pid) || self.strays.contains_key(&pid);
        !known && !self.foreign.contains(&pid)
    }

    /// Whether a process is the main one of another command.
    pub(crate) fn is_main_of_other(&self, pid: u32, key: &CommandKey) -> bool {
        self.mains.get(&pid).is_some_and(|of| of != key)
    }

    /// The known strays of a command: its own, and those that no other command could have made.
    pub(crate) fn strays_of(&self, key: &CommandKey) -> Vec<u32> {
        let strays = self.strays.iter();
        strays.filter(|(_, stray)| self.belongs(stray, key)).map(|(pid, _)| *pid).collect()
    }

    /// Whether the token tells the processes of this command from those of every other one that runs.
    pub(crate) fn token_is_own(&self, key: &CommandKey, token: &str) -> bool {
        !self.marks.iter().any(|(other, mark)| other != key && mark.token == token)
    }

    fn belongs(&self, stray: &Stray, key: &CommandKey) -> bool {
        let began_before = |mark: &Mark| mark.start_time <= stray.start_time;
        let others = || self.marks.iter().any(|(other, mark)| other != key && began_before(mark));
        match &stray.owner {
            Some(owner) if self.marks.contains_key(owner) => owner == key,
            // The owner was given up on: whoever ends next takes it along.
            Some(_) => !others(),
            None => self.marks.get(key).is_some_and(began_before) && !others(),
        }
    }

    /// The command whose brand a process has, unless another one that runs has the same.
    fn branded(&self, pid: u32) -> Option<CommandKey> {
        let brand = proc::brand_of(pid)?;
        let mut alike = self.marks.iter().filter(|(_, mark)| proc::brand(&mark.token) == brand);
        let (key, _) = alike.next()?;
        alike.next().is_none().then(|| key.clone())
    }

    /// When the main process of a command was started, in clock ticks since boot.
    pub(crate) fn start_of(&self, key: &CommandKey) -> Option<u64> {
        self.marks.get(key).map(|mark| mark.start_time)
    }

    fn owner(&self, pid: u32, stat: &proc::Stat) -> Option<CommandKey> {
        let by = |is: &dyn Fn(&Mark) -> bool| {
            self.marks.iter().find(|(_, mark)| is(mark)).map(|(key, _)| key.clone())
        };
        // What is known or cheap first: of a job that forks without end this is asked very often.
        let inside = || {
            let group =
                self.marks.values().any(|mark| mark.group.is_some()).then(|| proc::cgroup(pid));
            let group = group.flatten()?;
            by(&|mark| mark.group.as_deref().is_some_and(|outer| is_inside(&group, outer)))
        };
        by(&|mark| mark.pid == stat.group)
            .or_else(inside)
            .or_else(|| self.branded(pid))
            .or_else(|| {
                let outputs = outputs(pid);
                by(&|mark| outputs.contains(&mark.log))
            })
            .or_else(|| by(&|mark| proc::tells(pid, &mark.token)))
    }
}

/// Device and inode of standard output and error.
fn outputs(pid: u32) -> Vec<(u64, u64)> {
    let look = |fd| std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok();
    [1, 2].into_iter().filter_map(look).map(|meta| (meta.dev(), meta.ino())).collect()
}
