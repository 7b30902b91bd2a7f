//! Blocking waits, for threads that are not the runtime's.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::future::Future;
use crate::context;
use crate::error::Error;
use crate::parker::{self, Parker};

impl<T> Future<T> {
    /// Blocks this thread until there is a result.
    ///
    /// # Panics
    /// Inside a task, and in a future given to `block_on`, such as the body of `main`, even if there is a result already: the
    /// thread has other tasks to run. Await the future there. In [`block_in_place`](crate::task::block_in_place) it may be
    /// called.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::new();
    /// std::thread::spawn(move || promise.set_result("done").unwrap());
    /// assert_eq!(future.wait().unwrap(), &"done");
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<&T, &Error> {
        assert_may_block();
        self.wait_until(None).expect("there is no deadline")
    }

    /// Blocks this thread until there is a result or `timeout` has passed; `None` if there is no result by then.
    ///
    /// Any duration is valid. A result that is there at the deadline is given.
    ///
    /// # Panics
    /// Inside a task, and in a future given to `block_on`, such as the body of `main`, even if there is a result already: the
    /// thread has other tasks to run. Await the future there. In [`block_in_place`](crate::task::block_in_place) it may be
    /// called.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (promise, future) = runtime::Promise::new();
    /// assert!(future.wait_timeout(Duration::from_millis(1)).is_none());
    /// promise.set_result(1).unwrap();
    /// assert_eq!(*future.wait_timeout(Duration::ZERO).unwrap().unwrap(), 1);
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<&T, &Error>> {
        assert_may_block();
        // A deadline past the clock's range is no deadline.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<Result<&T, &Error>> {
        if let Some(result) = self.result() {
            return Some(result);
        }
        let parker = Parker::new();
        let waker = parker::waker(&parker);
        let cx = Context::from_waker(&waker);
        let mut wait = self.into_future();
        loop {
            // Without a charge to a budget: a thread that used its own up would spin here.
            if let Poll::Ready(result) = wait.poll_free(&cx) {
                return Some(result);
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => parker.park(),
                Some(Duration::ZERO) => return self.result(),
                Some(left) => parker.park_timeout(left),
            }
        }
    }
}

/// Checked before looking at the result: a mistake that shows only when the wait is long shows too late.
#[track_caller]
fn assert_may_block() {
    context::forbid_blocking("a blocking wait for a Future", "await it");
}
