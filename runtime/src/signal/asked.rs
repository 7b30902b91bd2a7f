//! Whether a program has been asked to end before. For signal handlers: no lock, no allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Two signals within this time are one request: `timeout` sends one to the process and one to its group, at the same
/// moment. Nobody presses Ctrl-C twice as fast.
const MOMENT: Duration = Duration::from_millis(100);

/// Since when the end has been asked for; zero, if it has not.
#[derive(Debug, Default)]
pub(crate) struct Asked(AtomicU64);

impl Asked {
    /// From here on a signal asks again, also the first one.
    pub(crate) fn before_all(&self) {
        let _ = self.first(1);
    }

    /// A signal has come, so long after the system was started. False for the first one, and for what is one with it.
    pub(super) fn asks_again(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.first(now).is_some_and(|first| now.saturating_sub(first) >= MOMENT.as_nanos() as u64)
    }

    /// When the end was asked for before; otherwise it is from `now` on.
    fn first(&self, now: u64) -> Option<u64> {
        // ORDERING: Relaxed, the time publishes nothing.
        self.0.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Duration = Duration::from_secs(1);

    #[test]
    fn a_signal_soon_after_the_first_is_the_same_request() {
        let asked = Asked::default();
        let again =
            [Duration::ZERO, Duration::ZERO, MOMENT / 2, MOMENT].map(|at| asked.asks_again(BEGIN + at));
        assert_eq!(again, [false, false, false, true]);
    }

    #[test]
    fn after_the_end_of_the_body_the_first_signal_asks_again() {
        let asked = Asked::default();
        asked.before_all();
        assert!(asked.asks_again(BEGIN));
    }

    #[test]
    fn a_body_that_ends_between_two_signals_does_not_make_two_requests_of_them() {
        let asked = Asked::default();
        assert!(!asked.asks_again(BEGIN));
        asked.before_all();
        assert!(!asked.asks_again(BEGIN + MOMENT / 2));
        assert!(asked.asks_again(BEGIN + MOMENT));
    }
}
