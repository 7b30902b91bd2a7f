//! A thread that the system refused: when to ask again.
//!
//! Tasks whose worker was refused its thread are left to those who run. But whoever counts as running may stand in blocking
//! code, and then nobody would ever ask again. So while there is something to do and nobody to do it, the monitor asks
//! every [`ASK_AGAIN`], and so does a thread that waits in a nested `block_on`, where there may be no monitor. Other blocking
//! code has nobody else.

use std::time::{Duration, Instant};

use super::Shared;
use crate::driver::{duration_to_ns, to_ns};
use crate::loom::atomic::{AtomicU64, Ordering};

/// From one question to the next: a refusal costs the system more than most polls.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The last refusal, if nothing was given since.
///
/// ORDERING: Relaxed throughout: whoever misses it looks again a little later, and nothing is published with it.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// When that was, zero if never.
    at: AtomicU64,
}

impl Refusal {
    pub(super) fn note(&self) {
        self.at.store(to_ns(Instant::now()).max(1), Ordering::Relaxed);
    }

    /// True for one of those who forget it.
    pub(super) fn forget(&self) -> bool {
        self.is_there() && self.at.swap(0, Ordering::Relaxed) != 0
    }

    #[inline]
    pub(super) fn is_there(&self) -> bool {
        self.at.load(Ordering::Relaxed) != 0
    }

    /// True if there is one, and it was so long ago at least.
    pub(super) fn is_old(&self, now: Instant, age: Duration) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != 0 && to_ns(now) >= at.saturating_add(duration_to_ns(age))
    }
}

impl Shared {
    /// Something is to be done, the system refused a thread for it, and it may be that nobody else comes.
    pub(super) fn is_short_of_threads(&self) -> bool {
        self.refusal.is_there() && (self.has_work() || self.driver.has_business() && !self.driver.is_led())
    }

    /// False for a while after a refusal: the system is not asked more often than a hundred times a second.
    pub(super) fn may_ask_for_threads(&self, now: Instant) -> bool {
        !self.refusal.is_there() || self.refusal.is_old(now, ASK_AGAIN / 2)
    }
}
