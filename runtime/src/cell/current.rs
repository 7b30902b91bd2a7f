//! Which task this thread is polling, and whether that task has woken itself.
//!
//! A task that wakes itself from inside its own poll needs no atomic operation: the thread that polls it is the one
//! that will requeue it. The flag belongs to one poll and is saved and restored around nested ones.

use std::cell::Cell;
use std::ptr;

use super::raw::Header;
use crate::id::TaskId;
use crate::loom::local;

local! {
    static CURRENT: Current = Current { header: Cell::new(ptr::null()), id: Cell::new(None), woken: Cell::new(false) };
}

struct Current {
    header: Cell<*const Header>,
    id: Cell<Option<TaskId>>,
    woken: Cell<bool>,
}

/// What the thread was polling before.
#[derive(Debug)]
pub(super) struct Outer {
    header: *const Header,
    id: Option<TaskId>,
    woken: bool,
}

/// Enters the poll of a task.
#[inline]
pub(super) fn enter(header: *const Header, id: TaskId) -> Outer {
    CURRENT.with(|current| Outer {
        header: current.header.replace(header),
        id: current.id.replace(Some(id)),
        woken: current.woken.replace(false),
    })
}

/// Leaves the poll of a task; true if the task woke itself.
#[inline]
pub(super) fn leave(outer: &Outer) -> bool {
    CURRENT.with(|current| {
        current.header.set(outer.header);
        current.id.set(outer.id);
        current.woken.replace(outer.woken)
    })
}

/// Notes the wake of a task by its own poll; false if this thread is not polling it.
#[inline]
pub(super) fn wake(header: *const Header) -> bool {
    CURRENT.with(|current| {
        let own = ptr::eq(current.header.get(), header);
        if own {
            current.woken.set(true);
        }
        own
    })
}

/// This thread polls no task: the one it polled is the parent process's.
pub(super) fn forget() {
    CURRENT.with(|current| {
        current.header.set(ptr::null());
        current.id.set(None);
    });
}

/// True if this thread is polling that very task.
pub(super) fn is_polling(header: *const Header) -> bool {
    CURRENT.with(|current| ptr::eq(current.header.get(), header))
}

/// The task that is being polled on this thread, if any.
///
/// ```
/// let task = runtime::spawn(async { runtime::task::current() });
/// let id = task.id();
/// assert_eq!(runtime::block_on(task).unwrap(), Some(id));
/// assert_eq!(runtime::task::current(), None);
/// ```
pub fn current() -> Option<TaskId> {
    CURRENT.with(|current| current.id.get())
}
