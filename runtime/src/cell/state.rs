//! The state word of a task and its transitions; every one says what its caller has to do next.
//!
//! # Bits
//! | bit | set while |
//! |---|---|
//! | SCHEDULED | the task was woken and has not been polled since; in a queue, unless RUNNING |
//! | RUNNING | somebody owns the future: a thread that polls it, or the queue entry of a task born or yielded |
//! | COMPLETE | the output is written or was dropped; nothing but JOIN, WAITER and the count changes any more |
//! | CANCELLED | somebody asked the task to stop; never cleared |
//! | JOIN | the handle exists |
//! | WAITER | the waiter slot holds a waker, which only the completing thread may take |
//! | CALLBACKS | the callback table has entries for this task |
//!
//! The rest counts references: one of the runtime from spawn to completion, which covers every queue entry, one of the
//! handle (with JOIN), one for each waker and abort handle.
//!
//! # Who may do what
//! The *right to enqueue* is the transition that sees neither SCHEDULED nor RUNNING. The *right to poll* is the queue
//! entry. A task is born RUNNING: nobody can hold its waker yet, so its first poll needs no transition at all.
//!
//! # Rejected
//! A count of queue entries (a locked operation for each scheduling); COMPLETE as a count of zero (the handle could not
//! tell an output from a task that was freed).

use crate::loom::atomic::{AtomicUsize, Ordering};
use crate::loom::mutant;

const SCHEDULED: usize = 1;
const RUNNING: usize = 1 << 1;
const COMPLETE: usize = 1 << 2;
const CANCELLED: usize = 1 << 3;
const JOIN: usize = 1 << 4;
const WAITER: usize = 1 << 5;
const CALLBACKS: usize = 1 << 6;
const REF: usize = 1 << 8;

/// The atomic word.
#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// What the thread that dequeued a task has to do with it.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    Poll,
    Cancel,
}

/// What the thread that polled a task to `Pending` has to do with it.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Suspend {
    /// It waits; whoever wakes it enqueues it, and this thread must not touch it any more.
    Idle,
    /// It was woken meanwhile: enqueue it.
    Requeue,
    /// It was cancelled meanwhile: drop the future now.
    Cancel,
}

/// What a waker that gave its reference away has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    Enqueue,
    Nothing,
    /// That was the last reference.
    Dealloc,
}

/// What the thread that completed a task has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Complete {
    /// The handle has the output now; the task must not be touched any more.
    Done { callbacks: bool },
    /// Take the waker, call [`State::release_runtime`], wake.
    Wake { callbacks: bool },
    /// Nobody wants the output: drop it and call [`State::complete_detached`].
    Detached,
}

/// What the handle that asked to cancel has to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    Enqueue,
    Asked,
    /// Too late.
    Finished,
}

/// What the handle has to do to go away.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Detach {
    Done,
    /// The waiter slot is the handle's again: empty it and try once more.
    Waiter,
    /// The output is the handle's: drop it and release the reference.
    Output,
}

impl State {
    /// A task that nobody has polled: one reference of the runtime, one of the handle.
    pub(super) fn new() -> Self {
        State(AtomicUsize::new(RUNNING | JOIN | (2 * REF)))
    }

    /// Begins a poll with the queue entry in hand.
    ///
    /// Free of locked operations for a task that was just spawned or that yielded.
    #[inline]
    pub(super) fn start(&self) -> Start {
        // ORDERING: Acquire, pairs with the Release of `suspend` and of every waker: what they wrote is visible to the
        // poll. The two transitions are AcqRel for the same reason and so that a later waker sees this poll's past.
        let current = self.0.load(Ordering::Acquire);
        debug_assert!(
            current & (SCHEDULED | RUNNING) != 0 && current & COMPLETE == 0,
            "dequeued {current:#x}"
        );
        let seen = if current & SCHEDULED == 0 {
            current
        } else if current & RUNNING == 0 {
            self.0.fetch_add(RUNNING - SCHEDULED, Ordering::AcqRel)
        } else {
            self.0.fetch_and(!SCHEDULED, Ordering::AcqRel)
        };
        if seen & CANCELLED == 0 { Start::Poll } else { Start::Cancel }
    }

    /// Ends a poll that returned `Pending`.
    #[inline]
    pub(super) fn suspend(&self) -> Suspend {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            if current & CANCELLED != 0 {
                return Suspend::Cancel;
            }
            if current & SCHEDULED != 0 {
                return Suspend::Requeue;
            }
            // ORDERING: Release hands the future to the next poller (`start`, through the wakers' read-modify-writes,
            // which continue the release sequence); Acquire on failure to see why a waker or canceller came.
            match self.0.compare_exchange_weak(
                current,
                current & !RUNNING,
                if mutant!("suspend_relaxed") { Ordering::Relaxed } else { Ordering::Release },
                Ordering::Acquire,
            ) {
                Ok(_) => return Suspend::Idle,
                Err(now) => current = now,
            }
        }
    }

    /// Ends a poll of a task that woke itself: it stays RUNNING, so the queue's own ordering is enough.
    #[inline]
    pub(super) fn suspend_awake(&self) -> Suspend {
        if self.0.load(Ordering::Acquire) & CANCELLED == 0 { Suspend::Requeue } else { Suspend::Cancel }
    }

    /// Wakes without giving the reference away; true if the caller has to enqueue the task.
    #[inline]
    pub(super) fn wake_by_ref(&self) -> bool {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            if current & COMPLETE != 0 {
                return false;
            }
            if mutant!("wake_skips_release") && current & SCHEDULED != 0 {
                return false;
            }
            // ORDERING: AcqRel, and a write even if SCHEDULED is set already: it pairs with `start`, which may have
            // the bit in hand already and would otherwise poll without what this waker wrote.
            match self.0.compare_exchange_weak(
                current,
                current | SCHEDULED,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return current & (SCHEDULED | RUNNING) == 0,
                Err(now) => current = now,
            }
        }
    }

    /// Wakes and gives the reference away in one operation.
    #[inline]
    pub(super) fn wake_by_value(&self) -> Wake {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let next = if current & COMPLETE == 0 { (current | SCHEDULED) - REF } else { current - REF };
            // ORDERING: as in `wake_by_ref`; the Acquire half also serves the last reference.
            match self.0.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if next < REF => return Wake::Dealloc,
                Ok(_) if current & (COMPLETE | SCHEDULED | RUNNING) == 0 => return Wake::Enqueue,
                Ok(_) => return Wake::Nothing,
                Err(now) => current = now,
            }
        }
    }

    /// Asks the task to stop. The answer is sticky; the future is dropped by whoever polls next.
    pub(super) fn cancel(&self) -> Cancel {
        self.cancel_first().0
    }

    /// As [`cancel`](Self::cancel); true if nobody had asked before.
    pub(super) fn cancel_first(&self) -> (Cancel, bool) {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let first = current & CANCELLED == 0;
            if current & COMPLETE != 0 {
                return (Cancel::Finished, first);
            }
            let next = current | CANCELLED | SCHEDULED;
            // ORDERING: as in `wake_by_ref`: what the canceller wrote is visible to the destructors.
            match self.0.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if current & (SCHEDULED | RUNNING) == 0 => return (Cancel::Enqueue, first),
                Ok(_) if mutant!("cancel_ignores_running") && current & SCHEDULED == 0 => {
                    return (Cancel::Enqueue, first);
                }
                Ok(_) => return (Cancel::Asked, first),
                Err(now) => current = now,
            }
        }
    }

    /// Publishes the output, which is written.
    #[inline]
    pub(super) fn complete(&self) -> Complete {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            debug_assert!(current & (RUNNING | COMPLETE) == RUNNING, "completed {current:#x}");
            let callbacks = current & CALLBACKS != 0;
            let (next, then) = if current & JOIN == 0 {
                return Complete::Detached;
            } else if current & WAITER == 0 {
                (current - RUNNING + COMPLETE - REF, Complete::Done { callbacks })
            } else {
                // RUNNING and the runtime's reference stay until the waker is out of its slot.
                (current | COMPLETE, Complete::Wake { callbacks })
            };
            // ORDERING: Release publishes the output to the handle (`is_complete`); Acquire makes the waker in the
            // slot visible (`set_waiter`).
            match self.0.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return then,
                Err(now) => current = now,
            }
        }
    }

    /// Ends the second half of a completion with a waiter; true if that was the last reference.
    pub(super) fn release_runtime(&self) -> bool {
        // ORDERING: AcqRel, as for every reference that goes away.
        self.0.fetch_sub(RUNNING + REF, Ordering::AcqRel) < 2 * REF
    }

    /// Completes a task whose output was dropped; true if that was the last reference, otherwise whether callbacks
    /// are registered is in the second place.
    pub(super) fn complete_detached(&self) -> (bool, bool) {
        let current = self.0.load(Ordering::Acquire);
        // Sole owner: nobody can come by another reference, so there is nobody to tell.
        if current >> REF.trailing_zeros() == 1 && current & CALLBACKS == 0 {
            return (true, false);
        }
        // ORDERING: AcqRel, as for every reference that goes away.
        let seen = self.0.fetch_add(COMPLETE.wrapping_sub(RUNNING + REF), Ordering::AcqRel);
        (seen < 2 * REF, seen & CALLBACKS != 0)
    }

    /// True once the output is there for the handle.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        // ORDERING: Acquire, pairs with `complete`.
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// True while the waiter slot holds a waker; only the handle may ask.
    #[inline]
    pub(super) fn has_waiter(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WAITER != 0
    }

    /// Hands the waiter slot, which is written, to the completing thread; false if the task completed first.
    #[inline]
    pub(super) fn set_waiter(&self) -> bool {
        self.change_unless_complete(|current| current | WAITER)
    }

    /// Takes the waiter slot back; false if the task completed first.
    pub(super) fn unset_waiter(&self) -> bool {
        self.change_unless_complete(|current| current & !WAITER)
    }

    /// Announces an entry in the callback table; false if the task completed first.
    pub(super) fn set_callbacks(&self) -> bool {
        self.change_unless_complete(|current| current | CALLBACKS)
    }

    #[inline]
    fn change_unless_complete(&self, change: impl Fn(usize) -> usize) -> bool {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            if current & COMPLETE != 0 && !mutant!("join_no_recheck") {
                return false;
            }
            // ORDERING: Release publishes the slot or table entry to `complete`; Acquire takes the slot back.
            match self.0.compare_exchange_weak(current, change(current), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => current = now,
            }
        }
    }

    /// One step of the handle's way out.
    pub(super) fn detach(&self) -> Detach {
        let mut current = self.0.load(Ordering::Acquire);
        loop {
            let (next, then) = if current & COMPLETE != 0 {
                return Detach::Output;
            } else if current & WAITER != 0 {
                (current & !WAITER, Detach::Waiter)
            } else {
                (current - JOIN - REF, Detach::Done)
            };
            // ORDERING: AcqRel, as for every reference that goes away and for the slot.
            match self.0.compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return then,
                Err(now) => current = now,
            }
        }
    }

    /// One more reference.
    #[inline]
    pub(super) fn retain(&self) {
        // ORDERING: Relaxed, a new reference is made from one that the caller has.
        let seen = self.0.fetch_add(REF, Ordering::Relaxed);
        if seen > isize::MAX as usize {
            // 2^55 clones without a drop are a program that forgets wakers; going on would free a live task.
            std::process::abort();
        }
    }

    /// One reference less; true if that was the last one.
    #[inline]
    pub(super) fn release(&self) -> bool {
        // ORDERING: Acquire makes the last owner see everything before it frees; the sole owner needs no write.
        if self.0.load(Ordering::Acquire) < 2 * REF {
            return true;
        }
        // ORDERING: AcqRel rather than Release and a fence, which ThreadSanitizer does not see.
        self.0.fetch_sub(REF, Ordering::AcqRel) < 2 * REF
    }
}
