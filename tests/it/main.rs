//! Integration tests, one binary.

mod bad_input;
mod claims;
mod crash;
mod executor;
mod gate;
mod git;
mod hand_moves;
mod look;
mod states;
mod tidy;
mod verbs;
mod yard;
