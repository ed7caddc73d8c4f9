//! Integration tests, one binary.

mod executor;
mod git;
mod hand_moves;
mod states;
mod tidy;
mod verbs;
mod yard;
