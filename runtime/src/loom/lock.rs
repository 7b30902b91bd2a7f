//! Mutex and condition variable without poisoning, and the rule that nothing foreign runs under them (I1).
//!
//! Debug builds count the locks that the thread holds; [`assert_none_held`] stands before every call into user code.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

#[cfg(not(any(target_os = "linux", target_os = "android")))]
use parking_lot as plain;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::futex as plain;

#[cfg(runtime_loom)]
use loom::sync as base;
#[cfg(not(runtime_loom))]
use plain as base;

/// A lock for a `static`, whose values outlive the runs of a model.
#[derive(Debug)]
pub(crate) struct Static<T>(plain::Mutex<T>);

impl<T> Static<T> {
    pub(crate) const fn new(value: T) -> Self {
        Static(plain::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> plain::MutexGuard<'_, T> {
        self.0.lock()
    }

    /// Puts `value` into a lock that a thread which is gone may have held.
    ///
    /// Only for the one thread of a process that was just forked off.
    pub(crate) fn renew(&self, value: T) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        plain::renew(&self.0, value);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            *self.lock() = value;
        }
    }
}

/// A mutual exclusion lock; a panic under it does not poison it.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(base::Mutex<T>);

/// The right to what a [`Mutex`] guards.
pub(crate) struct MutexGuard<'a, T>(base::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    #[cfg(not(runtime_loom))]
    pub(crate) const fn new(value: T) -> Self {
        Mutex(base::Mutex::new(value))
    }

    #[cfg(runtime_loom)]
    pub(crate) fn new(value: T) -> Self {
        Mutex(base::Mutex::new(value))
    }

    /// As [`Static::renew`].
    #[cfg(not(runtime_loom))]
    pub(crate) fn renew(&self, value: T) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        base::renew(&self.0, value);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            *self.lock() = value;
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(not(runtime_loom))]
        let guard = self.0.lock();
        #[cfg(runtime_loom)]
        let guard = self.0.lock().expect("loom locks are not poisoned");
        depth::enter();
        MutexGuard(guard)
    }

    /// The same, if nobody else has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        #[cfg(not(runtime_loom))]
        let guard = self.0.try_lock()?;
        #[cfg(runtime_loom)]
        let guard = self.0.try_lock().ok()?;
        depth::enter();
        Some(MutexGuard(guard))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(not(runtime_loom))]
impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        depth::leave();
    }
}

/// A condition variable for one [`Mutex`].
#[derive(Debug, Default)]
pub(crate) struct Condvar(base::Condvar);

impl Condvar {
    #[cfg(not(runtime_loom))]
    pub(crate) const fn new() -> Self {
        Condvar(base::Condvar::new())
    }

    #[cfg(runtime_loom)]
    pub(crate) fn new() -> Self {
        Condvar(base::Condvar::new())
    }

    /// Blocks until notified.
    #[cfg(not(runtime_loom))]
    pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard.0);
        guard
    }

    /// Blocks until notified.
    #[cfg(runtime_loom)]
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        MutexGuard(self.0.wait(guard.0).expect("loom locks are not poisoned"))
    }

    /// Blocks until notified or until `timeout` has passed; true if it was the timeout.
    #[cfg(not(runtime_loom))]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        // A deadline past the clock's range is no deadline.
        match Instant::now().checked_add(timeout) {
            Some(deadline) => {
                let result = self.0.wait_until(&mut guard.0, deadline);
                (guard, result.timed_out())
            }
            None => (self.wait(guard), false),
        }
    }

    /// loom has no time: a timed wait is a wait.
    #[cfg(runtime_loom)]
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        (self.wait(guard), false)
    }

    /// Blocks while `busy`, until `deadline` at most; without one for ever.
    pub(crate) fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
        busy: impl Fn(&T) -> bool,
    ) -> MutexGuard<'a, T> {
        while busy(&guard) {
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            (guard, _) = self.wait_timeout(guard, left);
        }
        guard
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Panics in debug builds if this thread holds one of our locks: the caller is about to run foreign code (I1).
#[inline]
#[track_caller]
pub(crate) fn assert_none_held() {
    depth::assert_none();
}

#[cfg(all(debug_assertions, not(runtime_loom)))]
mod depth {
    use std::cell::Cell;

    std::thread_local! { static HELD: Cell<u32> = const { Cell::new(0) }; }

    pub(super) fn enter() {
        HELD.with(|held| held.set(held.get() + 1));
    }

    pub(super) fn leave() {
        HELD.with(|held| held.set(held.get() - 1));
    }

    #[track_caller]
    pub(super) fn assert_none() {
        let held = HELD.with(Cell::get);
        assert!(held == 0, "foreign code is about to run under {held} lock(s) of the runtime");
    }
}

#[cfg(any(not(debug_assertions), runtime_loom))]
mod depth {
    #[inline(always)]
    pub(super) fn enter() {}
    #[inline(always)]
    pub(super) fn leave() {}
    #[inline(always)]
    pub(super) fn assert_none() {}
}
