//! A scheduler in a process that was forked off: its threads, and whatever they had in hand, are the parent's.
//!
//! Nothing of it is touched. Its locks may be held by threads that this process does not have; its tasks stay where they
//! are and are neither polled nor dropped, because they go on in the parent.

use super::context;
use super::{SPARE, Shared};
use crate::cell::Runnable;
use crate::context::{replace, set_async};
use crate::fork::{LOST, end_child};

impl Shared {
    /// True in a process that was forked off while this scheduler was there.
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.birth.is_lost()
    }

    /// # Panics
    /// If the scheduler is lost.
    #[track_caller]
    pub(crate) fn assert_not_lost(&self) {
        assert!(!self.is_lost(), "{LOST}");
    }

    /// Ends a child that came back out of the poll in which it was forked off.
    #[inline]
    pub(super) fn forbid_return(&self) {
        if self.is_lost() {
            end_child("task");
        }
    }
}

/// Leaves a task of the parent process alone.
#[cold]
pub(super) fn leave(runnable: Runnable) {
    std::mem::forget(runnable);
}

/// In a process that was just forked off: this thread stands in no runtime, and no scheduler is there to be used again.
pub(crate) fn forget_parent() {
    context::forget();
    context::set_entered(None);
    replace(None);
    set_async(false);
    SPARE.renew(Vec::new());
}
