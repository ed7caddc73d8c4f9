//! Pure values: identities, work orders, facts, events and the wire formats.
//!
//! Invariant: nothing here performs input or output, and nothing here fails but by returning a value.

pub mod config;
pub mod defect;
pub mod dod;
pub mod edit;
pub mod id;
pub mod order;
pub mod protocol;
pub mod time;
pub mod tree;
pub mod verdict;
