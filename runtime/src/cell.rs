//! The task cell: one allocation that holds a coroutine on its way from spawn to output, and whoever waits for it.
//!
//! # Shape
//! ```text
//!  Task<T> ──┐                          ┌────────────────────────────────────────────┐
//!  Waker ────┼── counted references ──▶ │ Header: state word · vtable · waiter · id  │
//!  Runnable ─┘  (one for all queues)    │ scheduler · meta (name)                    │
//!                                       │ union { future F, output Result<T, Error> }│
//!                                       └────────────────────────────────────────────┘
//! ```
//! A [`Runnable`] is the right to poll the task once; at most one exists. A [`Task`] is the awaiting side. The cell
//! knows nothing of threads: what puts runnables in queues implements [`Schedule`].
//!
//! # Invariants
//! - The future is dropped before the output becomes visible (I5).
//! - Polls of one task never overlap, and there are at most as many polls as wakes plus one (C4).
//! - No foreign code runs between two writes that must both happen: poll, destructors and wakers are called with the
//!   state word consistent, each under its own `catch_unwind`.

mod callbacks;
mod current;
mod join;
mod name;
mod owned;
mod raw;
mod state;
mod waker;

#[cfg(all(test, runtime_loom))]
pub(crate) mod models;
#[cfg(all(test, not(runtime_loom)))]
mod tests;

use std::panic::Location;
use std::sync::Arc;

use crate::context::Executor;
use crate::error::Error;
use crate::id::TaskId;

pub use callbacks::TaskOutcome;
pub use current::current;
pub use join::{AbortHandle, AbortOnDrop, Task};
pub(crate) use name::{Name, name_of};
pub(crate) use owned::{Binder, Owned, unbind};
pub(crate) use raw::{Runnable, SlotRef};

/// In a process that was just forked off: the names, the callbacks and the task that is being polled are the parent's.
pub(crate) fn forget_parent() {
    name::renew();
    callbacks::renew();
    current::forget();
}

/// What a task needs from the scheduler that runs it; implemented in the layers above.
///
/// A clone has to keep the scheduler alive by itself: the task that a runnable belongs to may be gone before the call
/// that queues it returns.
pub(crate) trait Schedule: Clone + Send + Sync + 'static {
    /// Queues a task that was woken.
    fn schedule(&self, runnable: Runnable);

    /// Queues a task that asked to be polled again after the others.
    fn yielded(&self, runnable: Runnable);

    /// Makes a task that is about to wait findable at shutdown. Called by the thread that polls it, at most once.
    fn bind(&self, runnable: &Runnable) -> Option<SlotRef>;

    /// Forgets a task that was bound and is about to complete.
    fn unbind(&self, slot: SlotRef);

    /// What a task is told that was asked to stop.
    fn cancel_error(&self) -> Error {
        Error::cancelled()
    }

    /// The runtime that takes reports of failures that nobody can see any more, unless it is gone.
    fn executor(&self) -> Option<Arc<dyn Executor>>;
}

/// What a task carries besides its future; nothing, unless somebody asked for it.
pub(crate) trait Meta: Send + Sync + 'static {
    /// The name given to the task.
    fn name(&self) -> Option<&str>;

    /// Says which task it is the meta of.
    fn attach(&mut self, _: TaskId) {}
}

impl Meta for () {
    #[inline]
    fn name(&self) -> Option<&str> {
        None
    }
}

/// Makes a coroutine a task: the runnable goes to a queue, the handle to the caller.
///
/// Nothing is polled here. `F` need not be `Send` if `scheduler` keeps the runnable on this thread.
#[inline]
pub(crate) fn new<F, S, M>(
    future: F,
    scheduler: S,
    mut meta: M,
    location: &'static Location<'static>,
) -> (Runnable, Task<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
    M: Meta,
{
    let id = TaskId::next();
    meta.attach(id);
    let runnable = raw::allocate(future, scheduler, meta, id, location);
    let task = Task::of(&runnable);
    (runnable, task)
}
