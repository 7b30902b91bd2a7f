//! A thread's budget in another thread's hands.
#![expect(unsafe_code, reason = "a pointer to another thread's thread-local number")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{BUDGET, LEFT};

/// Takes the budget of whatever task a thread is polling.
#[derive(Debug)]
pub(crate) struct Reins(NonNull<AtomicU32>);

// SAFETY: what it points at is atomic, and made to be reached from other threads.
unsafe impl Send for Reins {}

impl Reins {
    /// Those of this thread.
    ///
    /// # Safety
    /// They must be gone before the thread is.
    pub(crate) unsafe fn of_this_thread() -> Self {
        Reins(LEFT.with(|left| NonNull::from(left)))
    }

    /// Leaves the task that the thread is polling no budget, so that it gives way at its next ready operation.
    ///
    /// Where no budget is in force none is set: that code is never made to give way.
    pub(crate) fn pull(&self) {
        // SAFETY: the thread whose number this is has not ended, as who made this promised.
        let left = unsafe { self.0.as_ref() };
        let some = |n| (n <= BUDGET).then_some(0);
        // The owner's plain store may overwrite this at any time, and the next look takes the budget again.
        let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, some);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BudgetGuard, has_budget_remaining};
    use super::*;

    fn own() -> Reins {
        // SAFETY: the tests drop them before they end.
        unsafe { Reins::of_this_thread() }
    }

    #[test]
    fn another_thread_takes_the_budget_of_a_poll() {
        let _budget = BudgetGuard::fresh();
        let reins = own();
        std::thread::scope(|scope| {
            scope.spawn(move || reins.pull());
        });
        assert!(!has_budget_remaining());
    }

    #[test]
    fn code_without_a_budget_is_left_alone() {
        let _budget = BudgetGuard::unconstrained();
        own().pull();
        assert!(has_budget_remaining());
    }
}
