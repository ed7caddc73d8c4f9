//! Integration tests, one binary.

mod executor;
