//! The timers of this repository.

use std::time::{Duration, Instant};

use runtime::time::{self, Interval, Sleep};

use super::Ours;
use crate::peer::time::Time;

impl Time for Ours {
    type Sleep = Sleep;
    type Interval = Interval;

    #[inline]
    fn sleep(duration: Duration) -> Sleep {
        time::sleep(duration)
    }

    async fn timeout<F>(limit: Duration, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send,
    {
        time::timeout(limit, future).await.ok()
    }

    #[inline]
    fn interval_at(first: Instant, period: Duration) -> Interval {
        time::interval_at(first, period)
    }

    async fn tick(interval: &mut Interval) {
        interval.tick().await;
    }
}
