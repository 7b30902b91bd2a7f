//! What a thread has in hand while it runs a worker, reachable from the wake-ups of the tasks that it polls.
#![expect(unsafe_code, reason = "a thread-local pointer into the frame of the thread's run loop")]

use std::cell::{Cell, OnceCell, RefCell};
use std::ptr;

use super::Shared;
use super::attend::Housekeeping;
use super::core::Core;
use super::guest::Signals;
use super::throttle::Throttle;
use crate::driver::Precise;
use crate::id::TaskId;
use crate::loom::{Arc, local};
use crate::parker::Parker;
use crate::whereabouts::Whereabouts;

/// The run loop's frame.
pub(super) struct Context {
    pub(super) shared: &'static Shared,
    /// Empty while the worker is somebody else's: asleep, lent, or left behind for blocking code.
    pub(super) core: RefCell<Option<Box<Core>>>,
    pub(super) parker: Arc<Parker>,
    /// A guest inside `block_on` rather than a worker thread.
    pub(super) guest: bool,
    /// Counted among the runners of the scheduler.
    pub(super) counted: Cell<bool>,
    pub(super) housekeeping: Housekeeping,
    pub(super) throttle: Throttle,
    /// This thread has polled a task since the monitor's thread became due.
    pub(super) polled: Cell<bool>,
    /// This thread is waking a batch of tasks, and calls nobody for them before its end.
    pub(super) batches: Cell<bool>,
    /// The current poll goes on without a worker, and holds a virtual clock until its end.
    pub(super) holds: Cell<bool>,
    /// The task of the current poll, if it goes on without a worker: it is noted as interrupted until then.
    pub(super) unseated: Cell<Option<TaskId>>,
    /// Holds of a virtual clock by what is on this thread's stack: polls of futures of `block_on`, blocking code.
    pub(super) stacked_holds: Cell<usize>,
    /// Of the futures given to `block_on` for this runtime on this thread's stack.
    pub(super) roots: RefCell<Signals>,
    /// A guest's thread is woken on time while it waits for timers, and as it was before afterwards.
    pub(super) precise: OnceCell<Precise>,
    /// Made when this thread first sleeps for timers while somebody sees to it that it wakes up; `None` in it where nobody can.
    pub(super) whereabouts: OnceCell<Option<Arc<Whereabouts>>>,
    /// The context that this one is nested in.
    outer: Cell<*const Context>,
}

impl Context {
    pub(super) fn new(shared: &'static Shared, guest: bool) -> Self {
        Context {
            shared,
            core: RefCell::new(None),
            parker: Parker::new(),
            guest,
            counted: Cell::new(false),
            housekeeping: Housekeeping::default(),
            throttle: Throttle::default(),
            polled: Cell::new(false),
            batches: Cell::new(false),
            holds: Cell::new(false),
            unseated: Cell::new(None),
            stacked_holds: Cell::new(0),
            roots: RefCell::default(),
            precise: OnceCell::new(),
            whereabouts: OnceCell::new(),
            outer: Cell::new(ptr::null()),
        }
    }
}

local! {
    static CURRENT: Cell<*const Context> = Cell::new(ptr::null());
}

thread_local! {
    /// The runtime that `spawn` and the like mean on this thread.
    static ENTERED: Cell<Option<&'static Shared>> = const { Cell::new(None) };
}

/// Makes `context` this thread's while `f` runs.
pub(super) fn scope<R>(context: &Context, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Context);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| current.set(self.0));
        }
    }
    let outer = CURRENT.with(|current| current.replace(context));
    context.outer.set(outer);
    let _restore = Restore(outer);
    f()
}

/// This thread runs no worker: those of its stack are the parent process's.
pub(super) fn forget() {
    CURRENT.with(|current| current.set(ptr::null()));
}

/// Calls `f` with this thread's context, if it runs a worker.
#[inline]
pub(super) fn with<R>(f: impl FnOnce(Option<&Context>) -> R) -> R {
    let context = CURRENT.with(Cell::get);
    // SAFETY: `scope` set the pointer from a reference that outlives the scope, and takes it back when the scope ends.
    f(unsafe { context.as_ref() })
}

/// Calls `f` with this thread's innermost context of `shared`, if there is one.
pub(super) fn find<R>(shared: &Shared, f: impl FnOnce(Option<&Context>) -> R) -> R {
    let mut context = CURRENT.with(Cell::get);
    loop {
        // SAFETY: the pointers of a chain were set by scopes that have not ended.
        match unsafe { context.as_ref() } {
            Some(found) if !ptr::eq(found.shared, shared) => context = found.outer.get(),
            end => return f(end),
        }
    }
}

/// The runtime that this thread stands in.
#[inline]
pub(crate) fn entered() -> Option<&'static Shared> {
    ENTERED.with(Cell::get)
}

/// Sets the runtime that this thread stands in.
pub(crate) fn set_entered(shared: Option<&'static Shared>) {
    ENTERED.with(|entered| entered.set(shared));
}
