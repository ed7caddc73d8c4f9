//! The verbs that write, with the real binary on real repositories: daemon down, up and frozen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod add;
mod config;
mod down;
mod edit;
mod files;
mod fmt;
mod frozen;
mod groups;
mod hooks;
mod import;
mod json;
mod plan;
mod rehearse;
mod root;
mod shell;
mod up;
mod verify;
