//! The rest of a listener that the system has no descriptors or no memory for.
//!
//! A loop that accepts again after an error would spin, because the connection stays there. After such an error nobody
//! tries for a while; then *one* tries for all, and only when that did not fail do the others try as well. So the rate is
//! bounded however many tasks accept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::driver::{duration_to_ns, to_ns};

/// How long nobody tries after a failure.
const LENGTH: Duration = Duration::from_millis(10);

/// Until when nobody is to try, on the system's clock; zero if there is no such time.
///
/// ORDERING: Relaxed throughout, the time publishes nothing.
#[derive(Debug, Default)]
pub(super) struct Rest(AtomicU64);

impl Rest {
    /// A failure: nobody is to try for a while.
    pub(super) fn begin(&self) {
        self.0.store(after(system_now()), Ordering::Relaxed);
    }

    /// An attempt that did not fail: everybody may try.
    pub(super) fn end(&self) {
        if self.0.load(Ordering::Relaxed) != 0 {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// True if the caller is to try now. After a rest that is one caller only, until he has told how it went.
    pub(super) fn may_try(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => true,
            until => self.may_try_at(until, system_now()),
        }
    }

    fn may_try_at(&self, until: u64, now: u64) -> bool {
        // One who never tells, because he was dropped or panicked, keeps the others waiting for no longer than a rest.
        until <= now
            && self.0.compare_exchange(until, after(now), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// How much longer nobody is to try, in nanoseconds.
    pub(super) fn left(&self) -> Option<u64> {
        let until = self.0.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        Some(until.saturating_sub(system_now())).filter(|left| *left > 0)
    }
}

fn system_now() -> u64 {
    to_ns(Instant::now())
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
        rest.begin();
        let until = rest.0.load(Ordering::Relaxed);
        assert!(!rest.may_try_at(until, until - 1), "before it was over");
        assert!(rest.may_try_at(until, until));
        // Who looked before the first one tried.
        assert!(!rest.may_try_at(until, until));
        assert!(rest.left().is_some());
        rest.end();
        assert!(rest.may_try() && rest.may_try());
    }
}
