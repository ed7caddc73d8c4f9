//! Integration tests, one binary.

mod executor;
mod git;
mod hand_moves;
mod look;
mod tidy;
mod yard;
