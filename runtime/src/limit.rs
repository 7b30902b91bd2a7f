//! How much may happen at a time: tokens for work in tasks, workers for work that blocks.

mod capacity;
mod executor;
mod queue;

pub use capacity::{Acquire, CapacityLimiter, CapacityStats, Permit};
pub use executor::{BlockingPool, Shutdown};
