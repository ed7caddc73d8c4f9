//! Pure decisions: facts, policy and time in; actions, reasons and findings out.
//!
//! Invariant: nothing here reads a clock, a disk, the environment or a random source.

pub mod argv;
pub mod scope;
mod shell;
pub mod vacuous;
pub mod verdict;
pub mod verdict_json;
