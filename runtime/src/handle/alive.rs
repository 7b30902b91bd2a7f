//! Which of a runtime's threads have not ended, counted so that a shutdown can wait for them with a limit, which a join
//! cannot.

use std::sync::Arc;
use std::time::Instant;

use crate::loom::lock::{Condvar, Mutex};

/// The threads that a runtime started and that have not ended. One counts until it has left whatever code of the user's
/// it is in: a poll, a job, a hook, the handler of stalls.
#[derive(Debug, Default)]
pub(super) struct Alive {
    count: Mutex<usize>,
    changed: Condvar,
}

/// One thread, counted until this is dropped.
#[derive(Debug)]
pub(super) struct One(Arc<Alive>);

impl Alive {
    /// Counts a thread that is about to be started.
    pub(super) fn one_more(self: &Arc<Self>) -> One {
        *self.count.lock() += 1;
        One(self.clone())
    }

    /// Waits until every thread has ended but for so many as are `loose`, until `deadline` at most; the number of those that
    /// have not.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, loose: impl Fn() -> usize) -> usize {
        *self.changed.wait_while(self.count.lock(), deadline, |count| *count > loose())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        *self.0.count.lock() -= 1;
        self.0.changed.notify_all();
    }
}
