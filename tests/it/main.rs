//! Integration tests, one binary.

mod executor;
mod git;
mod hand_moves;
mod tidy;
mod verbs;
mod yard;
