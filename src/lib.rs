//! jobyard: a directory is the queue.
//!
//! Layers, from the inside out: [`model`] (pure values) and [`plan`] (pure decisions) know no clock, no
//! disk and no process; [`world`] performs single raw calls; [`observe`] turns the disk into facts;
//! [`engine`] turns actions into raw calls and is the one loop that [`daemon`] and every verb run;
//! [`executor`] is the parent of the commands, [`tasks`] are some of them; only [`cli`] parses arguments and
//! prints.

pub mod cli;
pub mod daemon;
pub mod engine;
pub mod executor;
pub mod model;
pub mod observe;
pub mod plan;
pub mod scan;
pub mod tasks;
pub mod world;
