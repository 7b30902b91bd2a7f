//! Several tasks at once: all of them, the first of them, whichever is next, or only so many at a time.
//!
//! Whoever waits for many tasks is told which one has ended (`board`), so that the end of one costs the same whatever the
//! number of the others.

mod all;
mod as_completed;
mod board;
mod crew;
mod kept;
mod map;
mod settled;
mod shield;
mod tuple;
mod wait;
mod wait_for;

pub use all::{GatherAll, gather_all};
pub use as_completed::{AsCompleted, as_completed};
pub use map::{MapConcurrent, MapOrdered, MapUnordered, map_concurrent};
pub use settled::{GatherSettled, gather_settled};
pub use shield::shield;
pub use tuple::gather_tuple;
pub use wait::{When, wait};
pub use wait_for::wait_for;
