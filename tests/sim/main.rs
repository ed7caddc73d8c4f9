//! The simulator: random lives of the engine on a simulated machine, each decided by one seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod cover;
mod judge;
mod life;
mod lives;
mod mutation;
mod observed;
mod planted;
mod rng;
mod world;
