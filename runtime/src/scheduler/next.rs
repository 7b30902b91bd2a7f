//! The next-task slot: the task that a worker woke last runs next, while what it works on is still in the cache.
//!
//! Only the worker that owns the slot fills it; others may empty it. Filling it is never announced by a wake-up: a woken
//! worker would take the task away from the cache it is for (tokio issue 8065 measured the cost: 8.5 % CPU). So a worker
//! that is about to sleep looks for slots whose owner has been in one poll for a while; a task that is put in the slot
//! while all others sleep already is seen by the monitor.
#![expect(unsafe_code, reason = "a runnable is stored as a raw pointer")]

use std::ptr::{self, NonNull};

use crate::cell::Runnable;
use crate::loom::atomic::{AtomicPtr, Ordering};
use crate::loom::mutant;

#[derive(Debug)]
pub(super) struct NextSlot(AtomicPtr<()>);

fn into_pointer(runnable: Runnable) -> *mut () {
    runnable.into_raw().as_ptr().cast()
}

fn from_pointer(pointer: *mut ()) -> Option<Runnable> {
    let header = NonNull::new(pointer.cast())?;
    // SAFETY: pointers enter the slot through `into_pointer` and each leaves it once, by a swap.
    Some(unsafe { Runnable::from_raw(header) })
}

impl NextSlot {
    pub(super) fn new() -> Self {
        NextSlot(AtomicPtr::new(ptr::null_mut()))
    }

    /// Fills the slot and gives back what it held. Only for the owner.
    #[inline]
    pub(super) fn put(&self, runnable: Runnable) -> Option<Runnable> {
        let new = into_pointer(runnable);
        if self.is_empty() {
            // Nobody but the owner makes it full, so it is still empty: a store is enough.
            // ORDERING: Release publishes the task to the thread that takes it.
            let release = if mutant!("next_slot_relaxed") { Ordering::Relaxed } else { Ordering::Release };
            self.0.store(new, release);
            return None;
        }
        // ORDERING: AcqRel, as above and as in `take`.
        from_pointer(self.0.swap(new, Ordering::AcqRel))
    }

    /// Empties the slot; for the owner and for thieves.
    #[inline]
    pub(super) fn take(&self) -> Option<Runnable> {
        if self.is_empty() {
            return None;
        }
        // ORDERING: Acquire, pairs with `put`.
        from_pointer(self.0.swap(ptr::null_mut(), Ordering::Acquire))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }
}

impl Drop for NextSlot {
    fn drop(&mut self) {
        drop(self.take());
    }
}
