//! Task-local values that the children of a task inherit: where they lie, and how spawning takes them along.
//!
//! # Shape
//! The values in force are one immutable, shared set in a thread-local, so that taking them along is one clone of an
//! `Arc`. A scope makes a new set: the one outside, with its key's value in place of an older one. A set therefore never
//! holds more values than there are keys, however deep the tree of tasks is.
//!
//! # Who sees them
//! A set is marked with the task that is being polled. Another task that the same thread polls meanwhile (a nested
//! `block_on`, a `LocalSet`) sees another mark and finds nothing.
//!
//! # Cost
//! A spawn without values looks at the thread-local and goes on as ever. One with values boxes its future: the cell for
//! it is compiled once for each output type, not a second time for each future.

use std::any::Any;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::cell::current;
use crate::error::drop_quietly;
use crate::id::TaskId;
use crate::loom::local;

/// Names a key: the address of its static.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) usize);

/// A value as it lies in a set.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// The values in force somewhere, one for each key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(Arc<Vec<(Key, Value)>>);

/// What a thread has in force, and for which task.
#[derive(Debug)]
struct InForce {
    values: Values,
    task: Option<TaskId>,
}

local! {
    /// Filled only while a [`Guard`] on the stack will restore it: nothing is left here when the thread ends, and no
    /// destructor has to be registered, which makes the look that every spawn takes a cheap one.
    static IN_FORCE: RefCell<Option<ManuallyDrop<InForce>>> = RefCell::new(None);
}

/// The values in force for the task that is being polled, if there are any.
#[inline]
pub(crate) fn capture() -> Option<Values> {
    IN_FORCE.with(|place| {
        let place = place.borrow();
        let in_force = place.as_ref()?;
        (in_force.task == current()).then(|| in_force.values.clone())
    })
}

/// The value in force under one key.
pub(crate) fn find(key: Key) -> Option<Value> {
    IN_FORCE.with(|place| {
        let place = place.borrow();
        let in_force = place.as_ref().filter(|in_force| in_force.task == current())?;
        let (_, value) = in_force.values.0.iter().find(|(other, _)| *other == key)?;
        Some(value.clone())
    })
}

impl Values {
    /// The same set, with `value` under `key`.
    pub(crate) fn with(&self, key: Key, value: Value) -> Values {
        let others = self.0.iter().filter(|(other, _)| *other != key).cloned();
        Values(Arc::new(others.chain([(key, value)]).collect()))
    }

    /// True if both are one and the same.
    pub(crate) fn is(&self, other: &Values) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Puts the values in force until the guard is dropped.
    pub(crate) fn enter(self) -> Guard {
        let inner = ManuallyDrop::new(InForce { values: self, task: current() });
        Guard(IN_FORCE.with(|place| place.replace(Some(inner))))
    }

    /// The future, polled and dropped with the values in force.
    pub(crate) fn carry<F: Future + Unpin>(self, future: F) -> Carried<F> {
        Carried { future: Some(future), values: self }
    }
}

/// Puts back what was in force before, also when it is dropped by a panic.
#[derive(Debug)]
pub(crate) struct Guard(Option<ManuallyDrop<InForce>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let inner = IN_FORCE.with(|place| place.replace(self.0.take()));
        // The last reference to a value may go here, with a destructor of the user's.
        drop_quietly(inner.map(ManuallyDrop::into_inner));
    }
}

/// Runs `f` with the values that were captured where it was made.
#[inline]
pub(crate) fn run<R>(captured: Option<Values>, f: impl FnOnce() -> R) -> R {
    match captured {
        None => f(),
        Some(values) => {
            let _entered = values.enter();
            f()
        }
    }
}

/// A future that takes its values along; from [`Values::carry`].
#[derive(Debug)]
pub(crate) struct Carried<F> {
    /// Taken by the drop, which needs the values in force meanwhile.
    future: Option<F>,
    values: Values,
}

impl<F: Future + Unpin> Future for Carried<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = self.values.clone().enter();
        let future = self.future.as_mut().expect("only the drop takes the future out");
        Pin::new(future).poll(cx)
    }
}

impl<F> Drop for Carried<F> {
    fn drop(&mut self) {
        let _entered = self.values.clone().enter();
        drop(self.future.take());
    }
}
