//! When a clock that stands still goes on to the next timer: when nobody could do anything before that.
//!
//! # Holds
//! What is in no queue and on no worker *holds* the clock: a future of `block_on` that was woken or is being polled, a poll
//! that was taken off its worker, blocking code, a task or a waker that a thread which runs no worker has in hand. While a nested
//! `block_on` waits, what is around it on its stack cannot go on, and lends its holds ([`super::guest`]).
//!
//! # Two looks
//! The leader looks whether all workers sleep, no queue has a task, no job runs and nothing holds. But one look at several
//! places is no look at one moment: what goes from one place to the next meanwhile may be seen in neither. So it looks
//! twice, and goes on only if between the two nobody parked and nothing began to hold. Whoever was awake in between would
//! have parked before the second look, and whatever was held would have been held at the first; so at the end of the first
//! look there was nobody, and nothing came since but from outside.
//!
//! Between the looks it polls the reactor and reads which timer is next, because who brought an event or armed a timer may
//! have gone to sleep just before the first one.
//!
//! The second look is under the lock of the clock. If a thread outside wakes a task meanwhile, then either that has not
//! read the time, or its worker is seen.

use crossbeam_utils::CachePadded;

use super::Shared;
use crate::loom::atomic::{AtomicU64, Ordering, fence};
use crate::loom::mutant;

/// How many hold a virtual clock, and how many ever did: `ever : 32 | now : 32`.
#[derive(Debug, Default)]
pub(super) struct Holds(CachePadded<AtomicU64>);

const ONE: u64 = 1;
const EVER: u64 = 1 << 32;

impl Holds {
    fn is_none(&self) -> bool {
        // ORDERING: Acquire, pairs with `release`: what came of it is seen.
        self.0.load(Ordering::Acquire) & (EVER - 1) == 0
    }

    fn ever(&self) -> u64 {
        self.0.load(Ordering::Acquire) / EVER
    }
}

/// A hold of a virtual clock, let go at the end.
pub(super) struct Held<'a>(&'a Shared);

impl<'a> Held<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        shared.hold();
        Held(shared)
    }

    /// Lets go of one that somebody else has taken.
    pub(super) fn taken_over(shared: &'a Shared) -> Self {
        Held(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Shared {
    /// Something is going on that may arm an earlier timer: a virtual clock has to wait.
    pub(super) fn hold(&self) {
        // ORDERING: AcqRel, as `release`: a hold comes before what it covers, a release after it.
        self.holds.0.fetch_add(EVER + ONE, Ordering::AcqRel);
    }

    /// It is over.
    pub(super) fn release(&self) {
        self.holds.0.fetch_sub(ONE, Ordering::AcqRel);
    }

    /// Does what takes something from where the leader sees it, before it is where it goes.
    pub(crate) fn while_held<R>(&self, f: impl FnOnce() -> R) -> R {
        if mutant!("fires_without_a_hold") {
            return f();
        }
        let held = Held::new(self);
        // ORDERING: pairs with the fence in `advance_if_idle`: a leader that misses what `f` takes away sees the hold, or, if
        // that is over, what came of it.
        fence(Ordering::SeqCst);
        let result = f();
        drop(held);
        self.look_at_clock();
        result
    }

    /// Something that held a virtual clock is over: the leader looks whether it may go on.
    pub(super) fn look_at_clock(&self) {
        if self.driver.clock().is_paused() {
            self.driver.rouse();
        }
    }

    /// Nothing can happen before the next timer, as far as this runtime can know: a virtual clock goes on to it, unless
    /// there is an event. The caller has the lead, and `has_event` polls.
    pub(super) fn advance_if_idle(&self, mut has_event: impl FnMut() -> bool) -> bool {
        if let Some(host) = self.host() {
            host.retry_overdue();
        }
        let first = self.driver.timers().next();
        if first == u64::MAX || self.is_stopping() {
            return false;
        }
        let polls_first = mutant!("clock_polls_first");
        if polls_first && has_event() {
            return false;
        }
        let before = self.changes();
        if !self.is_quiet() || self.is_blocking() || (!polls_first && has_event()) {
            return false;
        }
        let next = if mutant!("clock_reads_its_timer_first") { first } else { self.driver.timers().next() };
        // ORDERING: pairs with the fence in `while_held`.
        fence(Ordering::SeqCst);
        next != u64::MAX && !self.is_blocking() && {
            self.driver.clock().advance_if(next, || self.is_quiet() && self.changes() == before)
        }
    }

    #[cfg(all(test, runtime_loom))]
    pub(super) fn is_held(&self) -> bool {
        !self.holds.is_none()
    }

    /// One look at what takes no lock.
    fn is_quiet(&self) -> bool {
        !self.has_work() && self.holds.is_none() && self.idle.all_asleep(self.spares.in_use())
    }

    fn is_blocking(&self) -> bool {
        self.host().is_none_or(|host| host.is_blocking())
    }

    /// How often a worker has parked, or something begun to hold. It comes back to the same number only after very many.
    fn changes(&self) -> (u64, u64) {
        if mutant!("clock_counts_no_changes") { (0, 0) } else { (self.idle.parks(), self.holds.ever()) }
    }
}
