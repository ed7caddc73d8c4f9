//! The simulator: random lives of the engine on a simulated machine, each decided by one seed.

mod rng;
mod world;
