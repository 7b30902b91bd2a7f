//! One thread's bed: it sleeps here until somebody wakes it, and a wake that comes first is not lost.
//!
//! `std::thread::park` would do, but its token is shared with user code, which may consume or leave one.
//!
//! A thread that waits for something else as well sleeps in that ([`Bed`]), and the token's bell is rung there.

use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use crate::loom::atomic::{AtomicU32, Ordering};
use crate::loom::lock::{Condvar, Mutex};
use crate::loom::{Arc, mutant};

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;
/// Parked somewhere else, in a [`Bed`].
const ELSEWHERE: u32 = 3;

/// Something to sleep in that a token has to reach.
pub(crate) trait Bed: Send + Sync {
    /// Ends the sleep of whoever sleeps here or, if nobody does yet, the next one.
    fn ring(&self);
}

/// A token that one thread waits for and any thread may leave.
///
/// # Protocol
/// `unpark` swaps in NOTIFIED and, if the owner was PARKED, takes the lock once before it notifies: the owner is then
/// either before its check of the state (and sees NOTIFIED) or inside the wait (and is woken). What was written before
/// `unpark` is visible after the `park` that consumed the token. An owner that sleeps elsewhere is reached by a ring that
/// is not lost if it comes before the sleep; at worst it ends a later one.
pub(crate) struct Parker {
    state: AtomicU32,
    /// Where the owner sleeps while it is ELSEWHERE.
    bed: Mutex<Option<StdArc<dyn Bed>>>,
    bell: Condvar,
}

impl std::fmt::Debug for Parker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parker").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Parker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Parker { state: AtomicU32::new(EMPTY), bed: Mutex::new(None), bell: Condvar::new() })
    }

    /// Blocks until the token is there, and consumes it.
    pub(crate) fn park(&self) {
        self.park_until(None);
    }

    /// Blocks until the token is there or `timeout` has passed; consumes the token if it was there.
    pub(crate) fn park_timeout(&self, timeout: Duration) {
        self.park_until(Instant::now().checked_add(timeout));
    }

    fn park_until(&self, deadline: Option<Instant>) {
        if self.consume() {
            return;
        }
        let mut guard = self.bed.lock();
        // ORDERING: Acquire on failure, pairs with the Release half of the swap in `unpark`.
        if self.state.compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Acquire).is_err() {
            drop(guard);
            // ORDERING: a swap with Acquire: a second waker may have merged its token since, and what it wrote before
            // must be visible, or this thread would sleep again on an old value.
            let _ = self.state.swap(
                EMPTY,
                if mutant!("parker_drops_merged_token") { Ordering::Relaxed } else { Ordering::Acquire },
            );
            return;
        }
        loop {
            let timed_out = match deadline {
                None => {
                    guard = self.bell.wait(guard);
                    false
                }
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let (back, timed_out) = self.bell.wait_timeout(guard, left);
                    guard = back;
                    timed_out
                }
            };
            // ORDERING: a swap, not a load and a store, so that a token left in between is consumed with what it
            // publishes (Acquire, pairs with `unpark`).
            if timed_out {
                self.state.swap(EMPTY, Ordering::Acquire);
                return;
            }
            if self.consume() {
                return;
            }
        }
    }

    /// Calls `sleep`, which sleeps in `bed`, unless the token is there; consumes the token if it was there or came.
    pub(crate) fn park_in(&self, bed: &StdArc<dyn Bed>, sleep: impl FnOnce()) {
        if self.consume() {
            return;
        }
        let before = {
            let mut place = self.bed.lock();
            let same = place.as_ref().is_some_and(|old| StdArc::ptr_eq(old, bed));
            if same { None } else { place.replace(bed.clone()) }
        };
        drop(before);
        if mutant!("parker_goes_elsewhere_with_a_token") {
            self.state.store(ELSEWHERE, Ordering::Release);
            sleep();
        // ORDERING: Release, so that whoever finds the owner here finds the bed; Acquire as in `park_until`.
        } else if self.state.compare_exchange(EMPTY, ELSEWHERE, Ordering::Release, Ordering::Acquire).is_ok()
        {
            sleep();
        }
        let acquire = if mutant!("parker_elsewhere_relaxed") { Ordering::Relaxed } else { Ordering::Acquire };
        // ORDERING: a swap with Acquire, pairs with `unpark`: tokens merged meanwhile are consumed with what they publish.
        self.state.swap(EMPTY, acquire);
    }

    /// Takes the token if it is there.
    fn consume(&self) -> bool {
        // ORDERING: Acquire, pairs with the Release half of the swap in `unpark`.
        self.state.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Leaves the token and wakes the thread if it sleeps. Never blocks for long and never runs foreign code.
    pub(crate) fn unpark(&self) {
        // ORDERING: Release publishes what the waker wrote; a swap even if NOTIFIED already, so that the parker
        // synchronizes with every waker whose token was merged.
        match self.state.swap(NOTIFIED, Ordering::AcqRel) {
            PARKED => {
                drop(self.bed.lock());
                self.bell.notify_one();
            }
            ELSEWHERE => {
                let bed = self.bed.lock().clone();
                if let Some(bed) = bed {
                    bed.ring();
                }
            }
            _ => {}
        }
    }
}

/// The waker of a thread that polls something by itself.
struct Unpark(Arc<Parker>);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that leaves the token.
pub(crate) fn waker(parker: &Arc<Parker>) -> Waker {
    Waker::from(std::sync::Arc::new(Unpark(parker.clone())))
}

#[cfg(all(test, runtime_loom))]
mod models {
    use super::*;

    /// Somewhere else to sleep.
    #[derive(Default)]
    struct Couch {
        rung: Mutex<bool>,
        bell: Condvar,
    }

    impl Bed for Couch {
        fn ring(&self) {
            *self.rung.lock() = true;
            self.bell.notify_all();
        }
    }

    impl Couch {
        fn sleep(&self) {
            let mut rung = self.rung.lock();
            while !*rung {
                rung = self.bell.wait(rung);
            }
            *rung = false;
        }
    }

    /// A couch, and the same as the parker sees it.
    fn couch() -> (StdArc<Couch>, StdArc<dyn Bed>) {
        let couch = StdArc::new(Couch::default());
        (couch.clone(), couch)
    }

    /// Calls `sleep` until two threads have each written something and left a token.
    fn until_two_have_come(mut sleep: impl FnMut(&Parker)) {
        let parker = Parker::new();
        let flags = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let wakers: Vec<_> = (0..2)
            .map(|index| {
                let (parker, flags) = (parker.clone(), flags.clone());
                loom::thread::spawn(move || {
                    flags[index].store(1, Ordering::Relaxed);
                    parker.unpark();
                })
            })
            .collect();
        while flags.iter().any(|flag| flag.load(Ordering::Relaxed) == 0) {
            sleep(&parker);
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
    }

    #[test]
    fn a_token_left_before_or_during_the_park_ends_it() {
        loom::model(|| {
            let parker = Parker::new();
            let waker = {
                let parker = parker.clone();
                loom::thread::spawn(move || parker.unpark())
            };
            parker.park();
            waker.join().unwrap();
        });
    }

    #[test]
    fn tokens_that_were_merged_are_all_seen() {
        loom::model(|| until_two_have_come(Parker::park));
    }

    #[test]
    fn a_token_left_before_or_during_a_sleep_elsewhere_ends_it() {
        loom::model(|| {
            let parker = Parker::new();
            let waker = {
                let parker = parker.clone();
                loom::thread::spawn(move || parker.unpark())
            };
            let (couch, bed) = couch();
            parker.park_in(&bed, || couch.sleep());
            waker.join().unwrap();
        });
    }

    #[test]
    fn tokens_that_were_merged_elsewhere_are_all_seen() {
        loom::model(|| {
            let (couch, bed) = couch();
            until_two_have_come(|parker| parker.park_in(&bed, || couch.sleep()));
        });
    }

    #[test]
    fn tokens_reach_a_thread_that_changes_its_bed() {
        loom::model(|| {
            let (couch, bed) = couch();
            let mut elsewhere = false;
            until_two_have_come(|parker| {
                elsewhere = !elsewhere;
                if elsewhere {
                    parker.park_in(&bed, || couch.sleep());
                } else {
                    parker.park();
                }
            });
        });
    }
}
