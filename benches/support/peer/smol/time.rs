//! smol's timers. It has no timeout of its own: its documentation races the future against a timer.

use std::time::{Duration, Instant};

use smol::Timer;
use smol::future::FutureExt;
use smol::stream::StreamExt;

use super::Smol;
use crate::peer::time::Time;

impl Time for Smol {
    type Sleep = Timer;
    type Interval = Timer;

    #[inline]
    fn sleep(duration: Duration) -> Timer {
        Timer::after(duration)
    }

    async fn timeout<F>(limit: Duration, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send,
    {
        let in_time = async { Some(future.await) };
        let too_late = async {
            Timer::after(limit).await;
            None
        };
        in_time.or(too_late).await
    }

    #[inline]
    fn interval_at(first: Instant, period: Duration) -> Timer {
        Timer::interval_at(first, period)
    }

    async fn tick(interval: &mut Timer) {
        interval.next().await;
    }
}
