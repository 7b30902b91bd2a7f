//! Where a thread finds the value of one key: a pointer to it, which lies in the scope that is being polled.
//!
//! No borrow is held while code of the user's runs, so scopes of the key may begin and end inside a read of it, in any
//! task that the thread polls meanwhile.
//!
//! # Soundness
//! A pointer is in the slot only while its [`Entered`] lives, which borrows the value. Only [`Slot::enter`] makes one, in
//! its own frame around the call of a closure: it ends when the closure has returned or unwound, and not before. A read
//! that finds the pointer happens inside that closure, on the same thread, and is over before it. Scopes inside the read
//! put other pointers into the slot and take them out again; the value that the read refers to stays where it is.
#![expect(unsafe_code, reason = "a thread-local that refers to a value in a frame further down the stack")]

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::thread::LocalKey;

use crate::cell::current;
use crate::id::TaskId;

/// Where a thread finds the value of one key, while a scope of it is being polled.
#[doc(hidden)]
pub struct Slot<T>(Cell<Option<Entry<T>>>);

struct Entry<T> {
    value: NonNull<T>,
    /// Whom the value is for. Another task that the thread polls meanwhile finds nothing.
    task: Option<TaskId>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Entry<T> {}

impl<T: 'static> Slot<T> {
    #[doc(hidden)]
    #[must_use]
    pub const fn new() -> Self {
        Slot(Cell::new(None))
    }

    /// Calls `f` with `value` in the slot, or with none.
    pub(super) fn enter<R>(slot: &'static LocalKey<Self>, value: Option<&T>, f: impl FnOnce() -> R) -> R {
        let _entered = Entered::new(slot, value);
        f()
    }

    /// Calls `f` with the value, if there is one for the task that asks.
    pub(super) fn read<R>(slot: &'static LocalKey<Self>, f: impl FnOnce(&T) -> R) -> Option<R> {
        let entry = slot.try_with(|slot| slot.0.get()).ok().flatten()?;
        if entry.task != current() {
            return None;
        }
        // SAFETY: it is in the slot, so the borrow that its `Entered` holds lasts, in a frame below this one.
        let value = unsafe { entry.value.as_ref() };
        Some(f(value))
    }
}

/// The value is in the slot until this is dropped, by a panic as well.
struct Entered<'a, T: 'static> {
    slot: &'static LocalKey<Slot<T>>,
    outer: Option<Entry<T>>,
    value: PhantomData<&'a T>,
}

impl<'a, T: 'static> Entered<'a, T> {
    fn new(slot: &'static LocalKey<Slot<T>>, value: Option<&'a T>) -> Self {
        let entry = value.map(|value| Entry { value: NonNull::from(value), task: current() });
        // Without a thread-local any more, at the end of its thread, the code inside sees no value.
        let outer = slot.try_with(|slot| slot.0.replace(entry)).unwrap_or_default();
        Entered { slot, outer, value: PhantomData }
    }
}

impl<T: 'static> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        let _ = self.slot.try_with(|slot| slot.0.set(self.outer));
    }
}
