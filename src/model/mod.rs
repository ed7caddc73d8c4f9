//! Pure values: identities, work orders, facts, events and the wire formats.
//!
//! Invariant: nothing here performs input or output, and nothing here fails but by returning a value.

pub mod attempt;
pub mod backlog;
pub mod cone;
pub mod config;
pub mod defect;
pub mod dod;
pub mod edit;
pub mod event;
pub mod form;
pub mod hold;
pub mod id;
pub mod index;
pub mod lease;
pub mod order;
pub mod package;
pub mod parse;
pub mod paths;
pub mod progress;
pub mod protocol;
pub mod request;
pub mod schema;
pub mod sealed;
pub mod strict;
pub mod terms;
pub mod time;
pub mod tree;
pub mod verdict;
