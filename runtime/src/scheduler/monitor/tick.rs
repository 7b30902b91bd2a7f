//! The tick of the system's clock, at which the kernel divides the processors among threads anew.
//!
//! A thread that wakes up takes the processor from whoever has it, and when it sleeps again that one need not be the next: it
//! may have had its share. So each look of the monitor could end somebody's slice before the tick does. Where a server and
//! its clients take turns on two processors, that is one half of a pair that works together, and the other half is soon
//! without work and sleeps. A look at the tick itself changes nothing, and needs no interrupt of its own.
//!
//! Source: the coarse clock of Linux stands at the last tick (clock_gettime(2), CLOCK_MONOTONIC_COARSE).

use std::time::Duration;

#[cfg(all(target_os = "linux", not(runtime_loom)))]
use crate::clocks;

/// The time from now to the tick nearest to `after` from now. The same time, where ticks are not known or further apart.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
pub(super) fn nearest(after: Duration) -> Duration {
    let last = clocks::read(libc::CLOCK_MONOTONIC_COARSE);
    let since = last.zip(clocks::read(libc::CLOCK_MONOTONIC)).map(|(last, now)| now.saturating_sub(last));
    since.map_or(after, |since| nearest_to(after, since, length()))
}

/// From one tick to the next.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
fn length() -> Duration {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::time::{ClockId, clock_getres};

    /// In nanoseconds; zero until somebody has asked, which is a system call, unlike asking for the time.
    static LENGTH: AtomicU64 = AtomicU64::new(0);

    // ORDERING: Relaxed, nothing else is published with it, and whoever asks at the same time is told the same.
    let known = LENGTH.load(Ordering::Relaxed);
    if known > 0 {
        return Duration::from_nanos(known);
    }
    let length = Duration::try_from(clock_getres(ClockId::MonotonicCoarse)).unwrap_or_default();
    LENGTH.store(length.as_nanos() as u64, Ordering::Relaxed);
    length
}

#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
pub(super) fn nearest(after: Duration) -> Duration {
    after
}

/// The same, so long `since` the last tick.
#[cfg(any(test, all(target_os = "linux", not(runtime_loom))))]
fn nearest_to(after: Duration, since: Duration, tick: Duration) -> Duration {
    if tick.is_zero() || tick > after {
        return after;
    }
    let past = Duration::from_nanos(((since + after).as_nanos() % tick.as_nanos()) as u64);
    if past < tick / 2 { after - past } else { after + tick - past }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(4);

    #[test]
    fn a_time_ends_at_the_tick_that_is_nearest() {
        assert_eq!(nearest_to(TICK, TICK / 4, TICK), TICK * 3 / 4);
        assert_eq!(nearest_to(TICK, TICK * 3 / 4, TICK), TICK * 5 / 4);
        assert_eq!(nearest_to(TICK, TICK * 1000 + TICK / 4, TICK), TICK * 3 / 4);
    }

    #[test]
    fn a_time_shorter_than_a_tick_is_left_alone() {
        assert_eq!(nearest_to(TICK / 2, TICK / 4, TICK), TICK / 2);
        assert_eq!(nearest_to(TICK, TICK / 4, Duration::ZERO), TICK);
    }

    #[test]
    fn the_system_has_ticks_that_change_a_time_by_half_of_it_at_most() {
        let near = nearest(TICK);
        assert!(near >= TICK / 2 && near <= TICK * 3 / 2, "{near:?}");
    }
}
