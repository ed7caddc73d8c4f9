//! Integration tests, one binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod claims;
mod crash;
mod executor;
mod git;
mod hand_moves;
mod states;
mod tidy;
mod verbs;
mod yard;
