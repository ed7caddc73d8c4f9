//! A simulated machine behind `trait World`: disk, git, processes, clocks and executor, all decided by
//! one seed, with crashes, faults and power cuts between any two raw calls.
//!
//! - [`Machine`] is what actors share ([`Shared`]); [`SimWorld`] is one actor on it.
//! - [`Fuse`] strikes single calls of an actor; [`Hook`] runs others' acts around each of its calls.
//! - [`Hand`] is a person at the files. [`Effects`] is what really ran, whatever the disk says.
//!
//! Invariants: no real clock, file, process or random number; ordered maps only. It decides nothing
//! about work orders and checks nothing: the driver does.

#![allow(dead_code, unused_imports, reason = "the driver chooses what it uses")]

mod actor;
mod content;
mod disk;
mod effects;
mod executor;
mod fuse;
mod git;
mod git_steps;
mod hand;
mod jobs;
mod lies;
mod machine;
mod names;
mod power;
mod raw;

#[cfg(test)]
mod actor_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod executor_tests;
#[cfg(test)]
mod git_tests;
#[cfg(test)]
mod power_tests;

pub(crate) use actor::SimWorld;
pub(crate) use content::SimFile;
pub(crate) use disk::{Disk, Errno, Health, Ino};
pub(crate) use effects::{Effects, Run, RunEnd};
pub(crate) use executor::{Executor, JOURNAL, Traffic};
pub(crate) use fuse::{Blow, CRASHED, Call, Fuse, Hook, When};
pub(crate) use git::{Branch, Commit, Git, Head, Worktree};
pub(crate) use hand::Hand;
pub(crate) use jobs::{Deeds, Job, Mix};
pub(crate) use machine::{Clock, Machine, Proc, Role, Shared};
pub(crate) use power::Style;
