//! Pure decisions: facts, policy and time in; actions, reasons and findings out.
//!
//! Invariant: nothing here reads a clock, a disk, the environment or a random source.

pub mod scope;
pub mod verdict;
