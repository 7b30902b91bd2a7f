//! The cooperative budget: how many ready operations a task may see in one poll before it has to let others run.
//!
//! A worker gives each poll [`BUDGET`] units. Every leaf operation that finds its value ready takes one with
//! [`poll_proceed`]; when none is left the operation wakes its own task and answers `Pending`, so that the task goes to
//! the back of the queue. The future given to `block_on` and the tasks of a `LocalSet` have one for each poll as well;
//! other code has none and is never stopped.
//!
//! This module needs nothing else of the runtime: libraries may charge the budget of whoever polls them.
//!
//! Source: Jon Gjengset, "Reducing tail latencies with automatic cooperative task yielding" (tokio blog, 2020).

mod reins;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::loom::local;

pub(crate) use reins::Reins;

/// 128 ready operations are a few microseconds of work; the figure that tokio settled on in 2020.
const BUDGET: u32 = 128;

/// No budget is in force: nothing is counted.
const UNCONSTRAINED: u32 = u32::MAX;

local! {
    /// Atomic, so that another thread may take a hogging task's budget away; its owner uses plain loads and stores.
    static LEFT: AtomicU32 = AtomicU32::new(UNCONSTRAINED);
}

/// Puts the previous budget back, also when the poll unwinds.
#[derive(Debug)]
pub(crate) struct BudgetGuard(u32);

impl BudgetGuard {
    /// A fresh budget for one poll of a task.
    #[inline]
    pub(crate) fn fresh() -> Self {
        BudgetGuard(replace(BUDGET))
    }

    /// A fresh budget for the next poll, under a guard that will put the outer one back.
    #[inline]
    pub(crate) fn refill(&self) {
        LEFT.with(|left| left.store(BUDGET, Ordering::Relaxed));
    }

    /// One unit if none is left, for one of several futures that are polled in turn and share the budget.
    pub(crate) fn one_more() -> Option<Self> {
        (!has_budget_remaining()).then(|| BudgetGuard(replace(1)))
    }

    /// No budget: what follows may go on for as long as it likes.
    pub(crate) fn unconstrained() -> Self {
        BudgetGuard(replace(UNCONSTRAINED))
    }
}

impl Drop for BudgetGuard {
    #[inline]
    fn drop(&mut self) {
        replace(self.0);
    }
}

// ORDERING: Relaxed throughout this module, the number publishes nothing.
#[inline]
fn replace(budget: u32) -> u32 {
    LEFT.with(|left| {
        let old = left.load(Ordering::Relaxed);
        left.store(budget, Ordering::Relaxed);
        old
    })
}

/// True if the task that is being polled may go on, or if no budget is in force.
pub fn has_budget_remaining() -> bool {
    LEFT.with(|left| left.load(Ordering::Relaxed) > 0)
}

/// Takes one unit, or arranges for the task to be polled again later.
///
/// Call it before looking whether the operation is ready, and [`RestoreOnPending::made_progress`] once it was.
/// Dropping the guard without that gives the unit back: an operation that had to wait costs nothing.
///
/// ```
/// # use std::{future::poll_fn, pin::pin, task::{ready, Context, Poll}};
/// use runtime::task::coop;
///
/// fn poll_next(cx: &mut Context<'_>) -> Poll<u32> {
///     let unit = ready!(coop::poll_proceed(cx));
///     let value = 7; // ready at once
///     unit.made_progress();
///     Poll::Ready(value)
/// }
///
/// assert_eq!(runtime::block_on(poll_fn(poll_next)), 7);
/// ```
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<RestoreOnPending> {
    match LEFT.with(|left| left.load(Ordering::Relaxed)) {
        0 => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        UNCONSTRAINED => Poll::Ready(RestoreOnPending(UNCONSTRAINED, PhantomData)),
        n => {
            replace(n - 1);
            Poll::Ready(RestoreOnPending(n, PhantomData))
        }
    }
}

/// One unit of budget, given back on drop unless the operation [made progress](Self::made_progress).
#[derive(Debug)]
#[must_use = "dropping it at once gives the unit back"]
pub struct RestoreOnPending(u32, PhantomData<*const ()>);

impl RestoreOnPending {
    /// The operation was ready: the unit is spent.
    #[inline]
    pub fn made_progress(mut self) {
        self.0 = UNCONSTRAINED;
    }
}

impl Drop for RestoreOnPending {
    #[inline]
    fn drop(&mut self) {
        // It may have outlived its poll: where no budget is in force, it brings none.
        let gives = |left: &AtomicU32| {
            if left.load(Ordering::Relaxed) != UNCONSTRAINED {
                left.store(self.0, Ordering::Relaxed);
            }
        };
        if self.0 != UNCONSTRAINED {
            LEFT.with(gives);
        }
    }
}

/// Takes one unit if there is one, for progress that cannot be taken back.
pub(crate) fn spend() {
    LEFT.with(|left| {
        let n = left.load(Ordering::Relaxed);
        if n != 0 && n != UNCONSTRAINED {
            left.store(n - 1, Ordering::Relaxed);
        }
    });
}

/// Takes one unit; yields to the scheduler if none is left. For loops whose steps are always ready.
///
/// Cancel-safe: nothing is lost when it is dropped.
pub async fn consume_budget() {
    std::future::poll_fn(|cx| {
        let unit = ready!(poll_proceed(cx));
        unit.made_progress();
        Poll::Ready(())
    })
    .await;
}

/// The future, which takes one unit of the budget when it is ready and waits for its turn when none is left.
///
/// For operations of libraries that do not charge the budget, such as those of `runtime::sync`, in loops that may
/// always find them ready. One that had to wait costs nothing.
///
/// Cancel-safe if the future is: nothing is held back.
///
/// ```
/// use runtime::task::coop::cooperative;
///
/// let ready = cooperative(async { 7 });
/// assert_eq!(runtime::block_on(ready), 7);
/// ```
pub fn cooperative<F: Future>(future: F) -> Cooperative<F> {
    Cooperative { future }
}

pin_project! {
    /// The future of [`cooperative`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Cooperative<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Cooperative<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let unit = ready!(poll_proceed(cx));
        let output = ready!(self.project().future.poll(cx));
        unit.made_progress();
        Poll::Ready(output)
    }
}

/// Polls `future` without a budget: it is never made to yield. The budget outside is neither used nor changed.
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained(Box::pin(future))
}

/// The future of [`unconstrained`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Unconstrained<F>(Pin<Box<F>>);

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _free = BudgetGuard::unconstrained();
        self.0.as_mut().poll(cx)
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn the_budget_runs_out_after_as_many_ready_operations() {
        let _budget = BudgetGuard::fresh();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..BUDGET {
            let Poll::Ready(unit) = poll_proceed(&mut cx) else { panic!("stopped too early") };
            unit.made_progress();
        }
        assert!(poll_proceed(&mut cx).is_pending());
        assert!(!has_budget_remaining());
    }

    #[test]
    fn an_operation_that_had_to_wait_costs_nothing() {
        let _budget = BudgetGuard::fresh();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..BUDGET * 2 {
            assert!(poll_proceed(&mut cx).is_ready());
        }
    }

    #[test]
    fn one_unit_more_is_given_only_if_none_is_left_and_is_taken_back() {
        let _budget = BudgetGuard(replace(1));
        assert!(BudgetGuard::one_more().is_none());
        spend();
        let more = BudgetGuard::one_more();
        assert!(more.is_some() && has_budget_remaining());
        spend();
        assert!(!has_budget_remaining());
        drop(more);
        assert!(!has_budget_remaining());
    }

    #[test]
    fn the_outer_budget_comes_back_after_an_inner_one() {
        let _outer = BudgetGuard(replace(3));
        drop(BudgetGuard::fresh());
        assert_eq!(LEFT.with(|left| left.load(Ordering::Relaxed)), 3);
    }
}
