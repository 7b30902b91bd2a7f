//! Stopping: the flag of `run_forever`, and the shutdown in order.
//!
//! # Order of a shutdown
//! 1. No new tasks from outside; those that exist have the grace to finish.
//! 2. Whatever is dequeued fails, tasks that wait are dequeued, jobs that wait fail.
//! 3. Workers leave; the last one fails what is left.
//! 4. Threads are joined.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Handle;
use crate::cell::name_of;
use crate::context::is_async;
use crate::error::drop_quietly;
use crate::id::TaskId;
use crate::loom::lock::Mutex;
use crate::promise::Promise;

thread_local! {
    /// The runtime that started this thread.
    static OWN: Cell<Option<u64>> = const { Cell::new(None) };
}

/// In a process that was just forked off: no runtime of this one started the thread.
pub(super) fn forget_parent() {
    OWN.with(|own| own.set(None));
}

/// Notes which runtime started this thread.
pub(super) fn set_own(id: u64) {
    OWN.with(|own| own.set(Some(id)));
}

/// How long a poll may go on after the shutdown has begun before its task is called stuck.
const STUCK: Duration = Duration::from_secs(1);

/// A stop that was asked for, or somebody who waits for one.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<(bool, Option<Waker>)>);

impl Handle {
    /// Ends [`Runtime::run_forever`](crate::Runtime::run_forever), also one that has not begun yet.
    ///
    /// One stop ends one call: of several calls at the same time, the one that began last.
    pub fn stop(&self) {
        if self.shared().is_lost() {
            return;
        }
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
        if shared.is_lost() {
            // It goes on in the parent process; here is nothing that could be stopped.
            return ShutdownReport::default();
        }
        let inside = self.is_inside();
        // Destructors that run here belong to the runtime: what they spawn is refused, not given to another one.
        let _entered = self.enter();
        let before = shared.snapshot().completed;
        shared.drain();
        if !grace.is_zero() && !inside {
            self.wait_for_tasks(grace);
        }
        let finished = to_usize(shared.snapshot().completed - before);
        let cancelled = shared.snapshot().live + pool.close();
        shared.stop();
        let mut report = ShutdownReport { finished, cancelled, stuck: Vec::new(), blocking_stuck: 0 };
        if inside {
            // The runtime's own threads do the rest; this one is wanted for what it was doing.
            shared.sweep_if_idle();
            return report;
        }
        if shared.wait_until_stopped(patience) == 0 {
            join_ended(shared.threads(), patience);
        } else {
            report.stuck = shared.polling().into_iter().map(TaskInfo::of).collect();
        }
        shared.sweep_if_idle();
        if pool.wait_until_stopped(patience) == 0 {
            join_ended(pool.threads(), patience);
        } else {
            report.blocking_stuck = pool.figures().running;
        }
        report.cancelled = report.cancelled.saturating_sub(report.stuck.len());
        report
    }

    /// True if the runtime may need this very thread to come to its end.
    fn is_inside(&self) -> bool {
        is_async() || self.shared().is_here() || OWN.with(Cell::get) == Some(self.id())
    }

    fn wait_for_tasks(&self, grace: Duration) {
        let begin = Instant::now();
        if self.shared().has_threads() {
            self.shared().wait_until_empty(grace);
        } else {
            self.run_tasks(grace);
        }
        self.pool().wait_until_empty(grace.saturating_sub(begin.elapsed()));
    }

    /// The grace of a current-thread runtime, whose tasks run on this thread or nowhere. Another one watches the clock.
    fn run_tasks(&self, grace: Duration) {
        let (promise, over) = Promise::new();
        let shared = self.shared();
        let watch = thread::Builder::new().name("runtime-grace".to_owned()).spawn(move || {
            shared.wait_until_empty(grace);
            let _ = promise.set_result(());
        });
        // Without a thread to watch the clock there is no grace.
        if let Ok(watch) = watch {
            let _ = self.block_on(over);
            join(watch);
        }
    }

    /// As [`shut_down`](Self::shut_down) without grace, for `shutdown(grace)`: how long to look for stuck tasks.
    pub(crate) fn shut_down_within(&self, grace: Duration) -> ShutdownReport {
        self.shut_down(grace, STUCK)
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Joins threads that have nothing left to do but their stop hooks, or without patience only those that have ended.
fn join_ended(threads: Vec<JoinHandle<()>>, patience: Duration) {
    threads.into_iter().filter(|thread| !patience.is_zero() || thread.is_finished()).for_each(join);
}

/// A thread of the runtime whose stop hook panicked has ended all the same.
fn join(thread: JoinHandle<()>) {
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
