//! Stopping: the flag of `run_forever`, and the shutdown in order.
//!
//! # Order of a shutdown
//! 1. No new tasks from outside; those that exist have the grace to finish.
//! 2. Whatever is dequeued fails, tasks that wait are dequeued, jobs that wait fail but for output on its way.
//! 3. Workers leave; the last one fails what is left.
//! 4. Threads are joined, but for those that are still in code of the user's when the patience is over.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Handle;
use crate::cell::name_of;
use crate::context::{Host, is_async};
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

/// How often a shutdown looks whether it may go on, if no thread can be had that watches.
const LOOK: Duration = Duration::from_millis(5);

/// A stop that was asked for, and those who wait for one.
#[derive(Debug, Default)]
pub(super) struct Stop(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    /// For one call.
    once: bool,
    /// For all, also those to come.
    for_good: bool,
    waiting: Vec<Waker>,
}

impl Handle {
    /// Ends [`Runtime::run_forever`](crate::Runtime::run_forever), also one that has not begun yet.
    ///
    /// One stop ends one call: of several calls at the same time, whichever sees it first. Another stop before that is
    /// the same stop.
    pub fn stop(&self) {
        self.ask_to_stop(|asked| asked.once = true);
    }

    /// Ends every call of `run_forever`, also those that are made later: the runtime is gone.
    pub(super) fn stop_all(&self) {
        self.ask_to_stop(|asked| asked.for_good = true);
    }

    fn ask_to_stop(&self, ask: impl FnOnce(&mut Asked)) {
        if self.shared().is_lost() {
            return;
        }
        let wakers = {
            let mut asked = self.inner.stop.0.lock();
            ask(&mut asked);
            std::mem::take(&mut asked.waiting)
        };
        // All of them: whoever finds that another one was quicker waits again.
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) async fn stopped(&self) {
        std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut asked = self.inner.stop.0.lock();
            if asked.for_good || std::mem::take(&mut asked.once) {
                return Poll::Ready(());
            }
            if !asked.waiting.iter().any(|known| known.will_wake(&waker)) {
                asked.waiting.push(waker);
            }
            Poll::Pending
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
            self.wait_for_tasks(Deadline::after(grace));
        }
        let finished = to_usize(shared.snapshot().completed - before);
        if !inside {
            self.inner.threads.close();
        }
        let cancelled = shared.snapshot().live + pool.close();
        shared.stop();
        let mut report =
            ShutdownReport { finished, cancelled, stuck: Vec::new(), blocking_stuck: 0, threads_left: 0 };
        if inside {
            // The runtime's own threads do the rest; this one is wanted for what it was doing.
            shared.sweep_if_idle();
            return report;
        }
        let deadline = Deadline::after(patience);
        if shared.wait_until_stopped(deadline.left()) > 0 {
            report.stuck = shared.polling().into_iter().map(TaskInfo::of).collect();
        }
        shared.sweep_if_idle();
        if pool.wait_until_stopped(deadline.left()) > 0 {
            report.blocking_stuck = pool.figures().running;
        }
        report.threads_left = self.join_threads(deadline);
        report.cancelled = report.cancelled.saturating_sub(report.stuck.len());
        report
    }

    /// True if the runtime may need this very thread to come to its end.
    fn is_inside(&self) -> bool {
        is_async() || self.shared().is_here() || OWN.with(Cell::get) == Some(self.id())
    }

    fn wait_for_tasks(&self, deadline: Deadline) {
        if self.shared().has_threads() {
            self.wait_for_work(deadline);
        } else {
            self.run_tasks(deadline);
        }
    }

    /// Waits until nothing is left to run. Tasks leave jobs behind, and jobs tasks.
    fn wait_for_work(&self, deadline: Deadline) {
        while !deadline.left().is_zero() && self.has_work() {
            self.shared().wait_until_empty(deadline.left());
            self.pool().wait_until_empty(deadline.left());
        }
    }

    /// True if a task is alive, or a job queued or running.
    fn has_work(&self) -> bool {
        let before = self.shared().snapshot();
        let jobs = !self.pool().is_empty();
        // If no task lived before or since, none can have left a job behind after the look at the pool.
        jobs || before.live > 0 || self.shared().snapshot().spawned != before.spawned
    }

    /// The grace of a current-thread runtime, whose tasks run on this thread or nowhere. Another one watches the clock.
    fn run_tasks(&self, deadline: Deadline) {
        let (promise, over) = Promise::new();
        let handle = self.clone();
        let watch = thread::Builder::new().name("runtime-grace".to_owned()).spawn(move || {
            handle.wait_for_work(deadline);
            let _ = promise.set_result(());
        });
        match watch {
            Ok(watch) => {
                let _ = self.block_on(over);
                join(watch);
            }
            // The system refuses the thread: this one looks from time to time.
            Err(_) => self.block_on(std::future::poll_fn(|cx| {
                if deadline.left().is_zero() || !self.has_work() {
                    return Poll::Ready(());
                }
                self.inner.wake_later(LOOK.min(deadline.left()), cx.waker());
                Poll::Pending
            })),
        }
    }

    /// Joins the threads that end by the deadline; the number of those that do not, and are left behind.
    fn join_threads(&self, deadline: Deadline) -> usize {
        // One that is not loose any more ends next, which is announced.
        let left = self.inner.threads.wait_until(deadline.0, || self.pool().loose());
        self.inner.threads.take().into_iter().for_each(join);
        left
    }

    /// As [`shut_down`](Self::shut_down) without grace, for `shutdown(grace)`: how long to look for stuck tasks.
    pub(crate) fn shut_down_within(&self, grace: Duration) -> ShutdownReport {
        self.shut_down(grace, STUCK)
    }
}

/// The end of a length of time, of which several waits have their share; none if it is past the clock's range.
#[derive(Clone, Copy, Debug)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn after(time: Duration) -> Self {
        Deadline(Instant::now().checked_add(time))
    }

    fn left(self) -> Duration {
        self.0.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A thread that panicked has ended all the same.
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
    /// Tasks and blocking jobs that had not finished when the grace was over, and were dropped. A task that came to its end in
    /// the poll that it was in just then is counted as well.
    pub cancelled: usize,
    /// Tasks whose poll did not return: their threads are left behind.
    pub stuck: Vec<TaskInfo>,
    /// Blocking jobs that did not return: their threads are left behind.
    pub blocking_stuck: usize,
    /// Threads of the runtime that had not ended: in such polls and jobs, in a stop hook, in the handler of stalls,
    /// or in the destructor of a thread-local.
    pub threads_left: usize,
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
