//! Integration tests, one binary.

mod executor;
mod git;
mod tidy;
