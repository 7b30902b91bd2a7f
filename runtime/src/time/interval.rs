//! Ticks at a steady pace.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::sleep::Sleep;
use crate::driver::{duration_to_ns, from_ns, to_ns};
use crate::handle;

/// Lateness up to this is the system's, not the user's: [`MissedTickBehavior::Delay`] does not count it.
const NEGLIGIBLE: u64 = 5_000_000;

/// Ticks at once, and then once every `period`.
///
/// The ticks stand at fixed times: a late one does not move those that follow, unless
/// [`MissedTickBehavior::Delay`] is chosen.
///
/// ```
/// use std::time::Duration;
///
/// runtime::block_on(async {
///     let mut ticks = runtime::time::interval(Duration::from_millis(2));
///     let first = ticks.tick().await;
///     let second = ticks.tick().await;
///     assert_eq!(second - first, Duration::from_millis(2));
/// });
/// ```
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::new(handle::clock_now(), period)
}

/// Ticks at `start`, and then once every `period`.
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::new(to_ns(start), period)
}

/// What an [`Interval`] does about ticks that nobody was there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTickBehavior {
    /// Ticks at once for each of them, and is back in time after that.
    #[default]
    Burst,
    /// Ticks once, and counts the period from there.
    ///
    /// A tick that is late by 5 milliseconds or less, and by less than a period, counts as one in time: so late is what the
    /// system makes of a timer under load, and the ticks that follow stay where they are.
    Delay,
    /// Ticks once, and goes on at the next time that it would have ticked anyway.
    Skip,
}

/// The ticks of [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    behavior: MissedTickBehavior,
}

impl Interval {
    #[track_caller]
    fn new(start: u64, period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval needs a period of more than zero: its ticks would never end");
        Interval { sleep: Sleep::until(start), period, behavior: MissedTickBehavior::default() }
    }

    /// Waits for the next tick, and gives the time that it was due at.
    ///
    /// Cancel-safe: no tick is lost with a call that is dropped.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Self::tick) as a poll function. Only the latest waker is kept.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.time();
        self.sleep.set(self.after(due));
        Poll::Ready(from_ns(due))
    }

    /// When it ticks after the tick that was due at `due` and is taken now.
    fn after(&self, due: u64) -> u64 {
        let period = duration_to_ns(self.period);
        let next = due.saturating_add(period);
        if self.behavior == MissedTickBehavior::Burst {
            return next;
        }
        let now = handle::clock_now();
        let late = now.saturating_sub(due);
        match self.behavior {
            MissedTickBehavior::Delay if late > NEGLIGIBLE || late >= period => now.saturating_add(period),
            // The first that is still to come; one that is due right now is missed.
            MissedTickBehavior::Skip if late >= period => now.saturating_add(period - late % period),
            _ => next,
        }
    }

    /// Makes the next tick come one period from now.
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Makes the next tick come at once.
    pub fn reset_immediately(&mut self) {
        self.reset_after(Duration::ZERO);
    }

    /// Makes the next tick come after `after`; the period counts from there.
    pub fn reset_after(&mut self, after: Duration) {
        self.sleep.set(handle::clock_now().saturating_add(duration_to_ns(after)));
    }

    /// Makes the next tick come at `deadline`; the period counts from there.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.set(to_ns(deadline));
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.behavior
    }

    /// Chooses what is done about missed ticks. Default: [`MissedTickBehavior::Burst`].
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.behavior = behavior;
    }
}
