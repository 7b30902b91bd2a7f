//! When the monitor's timer goes off, and whether whoever set it knows that a worker keeps a task from one that sleeps.
//!
//! # Protocol
//! *Who sets the timer*, under the alarm's lock: 1. say when it goes off; 2. swap [`WANTED`] in; 3. set it for sooner if
//! that was [`TOLD`]. *Who tells*, without the lock, because to set the timer takes as long as a hundred polls: 1. swap
//! [`TOLD`] in; 2. look when the timer goes off, and bring it forward if that is late, with the lock. Of the swaps one is the
//! first: either the setter sees that somebody has told, or the teller when the timer goes off.
//!
//! The monitor that is about to look swaps [`WANTED`] in as well: it sees what was told. Whoever stops the timer forgets it,
//! since all workers are at rest.

use crate::loom::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use crate::loom::mutant;

/// Nobody sleeps, as far as anybody knows: what a worker keeps is kept from nobody.
const UNWANTED: u8 = 0;

/// Whoever keeps a task from somebody is to tell.
const WANTED: u8 = 1;

/// Somebody has told since the timer was set.
const TOLD: u8 = 2;

#[derive(Debug)]
pub(super) struct News {
    state: AtomicU8,
    /// When the timer goes off, unless it was stopped. Stored under the alarm's lock.
    ///
    /// ORDERING: Relaxed everywhere; for a teller the swaps of `state` order it, and who else reads it does without.
    due: AtomicU64,
}

impl News {
    pub(super) fn new() -> Self {
        News { state: AtomicU8::new(UNWANTED), due: AtomicU64::new(0) }
    }

    /// When the timer goes off, as far as this thread knows.
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WANTED
    }

    pub(super) fn is_told(&self) -> bool {
        self.state.load(Ordering::Relaxed) == TOLD
    }

    /// The timer is about to be set: asks for what happens after that, and gives when it is to go off. That is not `due` but
    /// `soon`, if the latter is sooner and somebody has told since the timer was set before.
    pub(super) fn ask(&self, due: u64, soon: u64) -> u64 {
        if !mutant!("timer_says_when_after_asking") {
            self.due.store(due, Ordering::Relaxed);
        }
        // ORDERING: Release in it, pairs with the swap in `tell`: one that comes later sees when the timer goes off.
        let due = if self.hear() { due.min(soon) } else { due };
        self.due.store(due, Ordering::Relaxed);
        due
    }

    /// The timer goes off earlier than was said.
    pub(super) fn hurry(&self, due: u64) {
        self.due.store(due, Ordering::Relaxed);
    }

    /// Asks anew; true if somebody has told. Whoever looks after that sees what was told.
    pub(super) fn hear(&self) -> bool {
        // ORDERING: Acquire, pairs with the swap in `tell`.
        self.state.swap(WANTED, Ordering::AcqRel) == TOLD
    }

    /// Asks anew, while all workers are at rest and keep nothing.
    pub(super) fn forget(&self) {
        // ORDERING: Relaxed; whoever is taken up meanwhile is seen at the look that follows the stop.
        self.state.store(WANTED, Ordering::Relaxed);
    }

    /// A worker sleeps from now on, and there is no news for it yet.
    pub(super) fn want(&self) {
        if self.state.load(Ordering::Relaxed) == UNWANTED {
            // ORDERING: Relaxed, the caller's fence orders it; see `tell`.
            let _ = self.state.compare_exchange(UNWANTED, WANTED, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A worker keeps a task, which matters if anybody sleeps; true if that is news. Then the caller has to look when the timer
    /// goes off.
    pub(super) fn tell(&self, anybody_sleeps: impl FnOnce() -> bool) -> bool {
        let before = self.state.compare_exchange(WANTED, UNWANTED, Ordering::Relaxed, Ordering::Relaxed);
        if before == Err(TOLD) {
            return false;
        }
        if !mutant!("tell_without_fence") {
            // ORDERING: pairs with the fence in `Idle::park`: either this sees the sleeper, or that one sees in `parked` that
            // nobody wants to be told any more.
            fence(Ordering::SeqCst);
        }
        if !anybody_sleeps() {
            return false;
        }
        // ORDERING: AcqRel, pairs with the swap in `hear`: of the two the later one sees what came before the other.
        self.state.swap(TOLD, Ordering::AcqRel);
        true
    }
}

#[cfg(all(test, runtime_loom))]
mod models {
    use super::*;
    use crate::loom::{Arc, thread};

    const SOON: u64 = 1;
    const LATE: u64 = 2;

    /// Somebody tells while the timer is put off: one of the two sees to it that it goes off soon.
    #[test]
    fn what_is_told_while_the_timer_is_set_is_not_late() {
        ::loom::model(|| {
            let news = Arc::new(News::new());
            news.ask(SOON, SOON);
            let setter = {
                let news = news.clone();
                thread::spawn(move || news.ask(LATE, SOON))
            };
            let is_late = news.tell(|| true) && news.due() > SOON;
            let due = setter.join().unwrap();
            assert!(due <= SOON || is_late);
        });
    }
}
