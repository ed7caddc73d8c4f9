//! Integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bad_input;
mod basics;
mod bystanders;
mod claims;
mod clock;
mod crash;
mod executor;
mod fuzz;
mod gate;
mod gc;
mod git;
mod golden;
mod hand_moves;
mod idle;
mod lifecycle;
mod local_faults;
mod look;
mod matrix;
mod migration;
mod misplaced;
mod operations;
mod package;
mod pages;
mod readme;
mod resist;
mod schema;
mod sealing;
mod secrets;
mod states;
mod systemd;
mod tidy;
mod troubleshooting;
mod verbs;
mod yard;
