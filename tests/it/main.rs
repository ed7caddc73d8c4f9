//! Integration tests, one binary.

mod git;
