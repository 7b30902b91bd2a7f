//! A peer's timers.

use std::time::{Duration, Instant};

use super::Peer;

/// A runtime that can run the workloads with timers.
pub trait Time: Peer {
    /// What `sleep` returns: the peer's own future, so that nothing of ours is measured.
    type Sleep: Future<Output: Send> + Send;
    /// Ticks at a fixed rate.
    type Interval: Send;

    /// Waits for `duration`.
    fn sleep(duration: Duration) -> Self::Sleep;

    /// The output of `future`, or nothing if it takes longer than `limit`.
    fn timeout<F>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send
    where
        F: Future<Output: Send> + Send;

    /// Ticks at `first` and then once in each `period`.
    fn interval_at(first: Instant, period: Duration) -> Self::Interval;

    /// Waits for the next tick.
    fn tick(interval: &mut Self::Interval) -> impl Future<Output = ()> + Send;
}
