//! The rest of a listener that the system has no descriptors or no memory for.
//!
//! A loop that accepts again after an error would spin, because the connection stays there. After such an error nobody
//! tries for a while; then *one* tries for all, and only when that did not fail do the others try as well. So the rate is
//! bounded however many tasks accept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::driver::duration_to_ns;

/// How long nobody tries after a failure.
const LENGTH: Duration = Duration::from_millis(10);

/// Until when nobody is to try, on the runtime's clock; zero if there is no such time.
///
/// ORDERING: Relaxed throughout, the time publishes nothing.
#[derive(Debug, Default)]
pub(super) struct Rest(AtomicU64);

impl Rest {
    /// A failure: nobody is to try for a while.
    pub(super) fn begin(&self, now: u64) {
        self.0.store(after(now), Ordering::Relaxed);
    }

    /// An attempt that did not fail: everybody may try.
    pub(super) fn end(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// True if the caller is to try now. After a rest that is one caller only, until he has told how it went.
    pub(super) fn may_try(&self, now: impl FnOnce() -> u64) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => true,
            until => self.may_try_at(until, now()),
        }
    }

    fn may_try_at(&self, until: u64, now: u64) -> bool {
        // One who never tells, because he was dropped or panicked, keeps the others waiting for no longer than a rest.
        remaining(until, now).is_none()
            && self.0.compare_exchange(until, after(now), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The time, and how much longer nobody is to try, in nanoseconds. The time is read only if there was a failure.
    #[inline]
    pub(super) fn left(&self, now: impl FnOnce() -> u64) -> Option<(u64, u64)> {
        let until = self.0.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        let now = now();
        Some((now, remaining(until, now)?))
    }
}

/// Longer than a rest is none: it was begun by the clock of another runtime, which is ahead.
fn remaining(until: u64, now: u64) -> Option<u64> {
    until.checked_sub(now).filter(|left| *left > 0 && *left <= duration_to_ns(LENGTH))
}

fn after(now: u64) -> u64 {
    now.saturating_add(duration_to_ns(LENGTH))
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_tries_for_all_when_a_rest_is_over() {
        let rest = Rest::default();
        rest.begin(7);
        let until = rest.0.load(Ordering::Relaxed);
        assert!(!rest.may_try_at(until, until - 1), "before it was over");
        assert!(rest.may_try_at(until, until));
        // Who looked before the first one tried.
        assert!(!rest.may_try_at(until, until));
        assert_eq!(rest.left(|| until), Some((until, duration_to_ns(LENGTH))));
        rest.end();
        assert!(rest.may_try(|| 0) && rest.may_try(|| 0));
    }

    #[test]
    fn a_rest_of_a_clock_that_is_ahead_is_over() {
        let rest = Rest::default();
        rest.begin(1 << 40);
        assert_eq!(rest.left(|| 1), None);
        assert!(rest.may_try(|| 1));
    }
}
