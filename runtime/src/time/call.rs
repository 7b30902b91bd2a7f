//! Callbacks at a time.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::sleep::Sleep;
use crate::cell::AbortHandle;
use crate::driver::{duration_to_ns, from_ns, to_ns};
use crate::handle::Handle;

impl Handle {
    /// Calls `f` on this runtime after a length of time, by its clock.
    ///
    /// A panic of `f` is reported as that of a detached task. If the runtime is shut down before, `f` is dropped and
    /// never called; a shutdown with a grace waits for it as it does for a task, so one that is far away should be
    /// [cancelled](TimerHandle::cancel).
    ///
    /// ```
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let (sender, receiver) = mpsc::channel();
    /// let handle = runtime::Handle::current();
    /// let kept = handle.call_later(Duration::from_millis(1), move || sender.send("hello").unwrap());
    /// assert_eq!(receiver.recv(), Ok("hello"));
    /// assert!(!kept.cancel());
    /// ```
    #[track_caller]
    pub fn call_later(&self, delay: Duration, f: impl FnOnce() + Send + 'static) -> TimerHandle {
        // In a child process, whose call fails, the clock may be in the hands of a thread that is gone.
        let shared = self.shared();
        let now = if shared.is_lost() { 0 } else { shared.driver().clock().now() };
        call(self, now.saturating_add(duration_to_ns(delay)), f, Location::caller())
    }

    /// Calls `f` on this runtime at an instant, by its clock; see [`call_later`](Self::call_later).
    #[track_caller]
    pub fn call_at(&self, deadline: Instant, f: impl FnOnce() + Send + 'static) -> TimerHandle {
        call(self, to_ns(deadline), f, Location::caller())
    }
}

fn call(
    handle: &Handle,
    time: u64,
    f: impl FnOnce() + Send + 'static,
    location: &'static Location<'static>,
) -> TimerHandle {
    let settled = Arc::new(AtomicBool::new(false));
    let mine = settled.clone();
    let body = async move {
        Sleep::until(time).await;
        if !mine.swap(true, Ordering::Relaxed) {
            f();
        }
    };
    let task = handle.shared().spawn(body, (), location);
    TimerHandle { settled, task: task.abort_handle(), time }
}

/// A callback that was asked for with [`Handle::call_later`] or [`Handle::call_at`]. Dropping it changes nothing.
pub struct TimerHandle {
    /// The callback was started, or will never be.
    settled: Arc<AtomicBool>,
    task: AbortHandle,
    time: u64,
}

impl TimerHandle {
    /// Sees to it that the callback is not called; false if it was already, or had been cancelled before.
    pub fn cancel(&self) -> bool {
        // ORDERING: Relaxed, the swap decides and publishes nothing.
        let first = !self.settled.swap(true, Ordering::Relaxed);
        if first {
            // It need not wait for its time to be dropped.
            self.task.cancel();
        }
        first
    }

    /// When the callback is, or was, to be called.
    pub fn when(&self) -> Instant {
        from_ns(self.time)
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle").field("when", &self.when()).finish_non_exhaustive()
    }
}
