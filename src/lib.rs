//! jobyard: a directory is the queue.
//!
//! The library holds everything but argument parsing and printing. Layers, from the inside out:
//! [`model`] (pure values) and [`plan`] (pure decisions) know no clock, no disk and no process;
//! [`world`] performs single raw calls; [`observe`] turns the disk into facts and [`perform`] turns
//! actions into raw calls; [`engine`] joins them into the one loop that the daemon and every verb run.
//!
//! It does not print, does not read the environment and does not change the working directory.

pub mod cli;
pub mod daemon;
pub mod engine;
pub mod executor;
pub mod model;
pub mod observe;
pub mod plan;
pub mod scan;
pub mod world;
