//! Stopping: the flag of `run_forever`, and the shutdown in order.
//!
//! # Order of a shutdown
//! 1. No new tasks from outside; those that exist have the grace to finish. 2. Whatever is dequeued fails, tasks that
//! wait are dequeued, jobs that wait fail. 3. Workers leave; the last one fails what is left. 4. Threads are joined.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::Handle;
use crate::cell::name_of;
use crate::context::is_async;
use crate::error::drop_quietly;
use crate::id::TaskId;
use crate::loom::lock::Mutex;

/// How long a poll may go on after the shutdown has begun before its task is called stuck.
const STUCK: Duration = Duration::from_secs(1);

/// A stop that was asked for, or somebody who waits for one.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<(bool, Option<Waker>)>);

impl Handle {
    /// Ends [`Runtime::run_forever`](crate::Runtime::run_forever), also one that has not begun yet.
    pub fn stop(&self) {
        let waker = {
            let mut stop = self.inner.stop.0.lock();
            stop.0 = true;
            stop.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) async fn stopped(&self) {
        std::future::poll_fn(|cx| {
            let mut new = Some(cx.waker().clone());
            let (ready, old) = {
                let mut stop = self.inner.stop.0.lock();
                let ready = std::mem::take(&mut stop.0);
                (ready, std::mem::replace(&mut stop.1, if ready { None } else { new.take() }))
            };
            drop((old, new));
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The whole shutdown; waits for `grace` while tasks finish, and for as long as `patience` says for what is stuck.
    pub(crate) fn shut_down(&self, grace: Duration, patience: Duration) -> ShutdownReport {
        let (shared, pool) = (self.shared(), self.pool());
        let begin = Instant::now();
        let before = shared.snapshot().completed;
        shared.drain();
        if !grace.is_zero() && !is_async() {
            shared.wait_until_empty(grace);
            pool.wait_until_empty(grace.saturating_sub(begin.elapsed()));
        }
        let finished = shared.snapshot().completed - before;
        let cancelled = shared.snapshot().live + pool.figures().queued;
        pool.close();
        shared.stop();
        let mut report =
            ShutdownReport { finished: to_usize(finished), cancelled, stuck: Vec::new(), blocking_stuck: 0 };
        if is_async() {
            shared.sweep_if_idle();
            // The runtime's own threads do the rest; this one is wanted for the task that called.
            return report;
        }
        if shared.wait_until_stopped(patience) == 0 {
            shared.threads().into_iter().for_each(join);
        } else {
            report.stuck = shared.polling().into_iter().map(TaskInfo::of).collect();
        }
        shared.sweep_if_idle();
        report.blocking_stuck = pool.wait_until_stopped(patience);
        if report.blocking_stuck == 0 {
            pool.threads().into_iter().for_each(join);
        }
        report.cancelled = report.cancelled.saturating_sub(report.stuck.len());
        report
    }

    /// As [`shut_down`](Self::shut_down) without grace, for `shutdown(grace)`: how long to look for stuck tasks.
    pub(crate) fn shut_down_within(&self, grace: Duration) -> ShutdownReport {
        self.shut_down(grace, STUCK)
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A thread of the runtime whose stop hook panicked has ended all the same.
fn join(thread: std::thread::JoinHandle<()>) {
    if thread.thread().id() == std::thread::current().id() {
        return;
    }
    if let Ok(Err(payload)) = catch_unwind(AssertUnwindSafe(|| thread.join())) {
        drop_quietly(payload);
    }
}

/// What became of the tasks at a shutdown; from [`Runtime::shutdown`](crate::Runtime::shutdown).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that finished within the grace.
    pub finished: usize,
    /// Tasks and blocking jobs that were dropped unfinished.
    pub cancelled: usize,
    /// Tasks whose poll did not return: their threads are left behind.
    pub stuck: Vec<TaskInfo>,
    /// Blocking jobs that did not return: their threads are left behind.
    pub blocking_stuck: usize,
}

/// A task, as reports show it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The task's id.
    pub id: TaskId,
    /// The name given to the task.
    pub name: Option<String>,
}

impl TaskInfo {
    fn of(id: TaskId) -> Self {
        TaskInfo { id, name: name_of(id) }
    }
}
