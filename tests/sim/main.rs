//! The simulator: random lives of the engine on a simulated machine, each decided by one seed.

mod cover;
mod judge;
mod life;
mod lives;
mod rng;
mod world;
