//! The life of one of the pool's threads: run what is queued, wait for an order, leave when it has waited for long.

use std::sync::Arc;
// Of the standard library in models as well: a hint, which nothing waits for.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Pool, Queued, State, Submitted};
use crate::error::Error;
use crate::fork::end_child;
use crate::loom;
use crate::loom::lock::{Mutex, MutexGuard};
use crate::loom::mutant;
use crate::parker::Parker;
use crate::thread_id::ThreadId;

/// What a thread is to do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Run jobs.
    Run,
    /// Look after the queue.
    Scout,
}

/// What a thread finds on its bench.
#[derive(Debug)]
pub(super) enum Order {
    Run(Submitted),
    Scout,
}

/// Where a thread waits for its next order.
#[derive(Debug)]
pub(super) struct Bench {
    order: Mutex<Option<Order>>,
    pub(super) parker: loom::Arc<Parker>,
    thread: ThreadId,
    in_job: AtomicBool,
}

impl Bench {
    /// The calling thread's.
    pub(super) fn new() -> loom::Arc<Self> {
        loom::Arc::new(Bench {
            order: Mutex::new(None),
            parker: Parker::new(),
            thread: ThreadId::current(),
            in_job: AtomicBool::new(false),
        })
    }

    /// Runs a job, or fails it.
    pub(super) fn work(&self, job: impl FnOnce()) {
        // ORDERING: Relaxed, both are hints for whoever asks meanwhile.
        self.in_job.store(true, Ordering::Relaxed);
        job();
        self.in_job.store(false, Ordering::Relaxed);
    }

    /// True if its thread computes, in a job or to get to the next one: where many wait for the pool's lock, because the
    /// one that has it waits for a processor, more threads would not help. None if the system does not say.
    pub(super) fn is_computing(&self) -> Option<bool> {
        let runnable = self.thread.is_runnable()?;
        Some(runnable || !self.in_job.load(Ordering::Relaxed))
    }

    /// Its thread sleeps, in a job or not.
    #[cfg(all(test, target_os = "linux", not(runtime_loom)))]
    pub(super) fn is_asleep(&self, in_job: bool) -> bool {
        self.in_job.load(Ordering::Relaxed) == in_job && self.thread.is_asleep() == Some(true)
    }

    /// Leaves an order, which the thread finds when it is woken.
    pub(super) fn give(&self, order: Order) {
        *self.order.lock() = Some(order);
    }
}

impl Pool {
    /// The life of a thread.
    pub(super) fn run(self: &Arc<Self>, duty: Duty) {
        let bench = Bench::new();
        if duty == Duty::Scout {
            self.scout(&bench);
        }
        let mut state = self.state.lock();
        if duty == Duty::Run {
            state.coming -= 1;
            state.note_peak();
        }
        loop {
            state = self.empty_queue(state, &bench);
            if state.closed {
                break;
            }
            state.idle.push(bench.clone());
            drop(state);
            let order = self.wait(&bench);
            if matches!(order, Some(Order::Scout)) {
                self.scout(&bench);
            }
            state = self.state.lock();
            match order {
                Some(Order::Run(submitted)) => {
                    state.handed -= 1;
                    state.handed_owed -= usize::from(submitted.owed);
                    state.queue.push_front(Queued::now(submitted));
                }
                Some(Order::Scout) => {}
                // A job that came while the thread was on its way out found no idle thread and maybe no room for
                // another: it relies on this look.
                None if state.queue.is_empty() || mutant!("pool_leaves_without_a_look") => break,
                None => {}
            }
        }
        state.threads -= 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Runs jobs while there are any.
    fn empty_queue<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        bench: &loom::Arc<Bench>,
    ) -> MutexGuard<'a, State> {
        let Some(first) = state.take() else { return state };
        let place = state.at_work.insert(bench.clone());
        let mut next = Some(first);
        while let Some(Submitted { job, owed }) = next {
            if mutant!("pool_idle_counted_early") {
                state.idle.push(bench.clone());
            }
            let late = state.closed && !owed;
            drop(state);
            bench.work(|| {
                if late {
                    job.fail(Error::shutdown());
                } else {
                    job.run();
                }
            });
            self.forbid_return();
            state = self.state.lock();
            self.changed.notify_all();
            next = state.take();
        }
        state.at_work.remove(place);
        state
    }

    /// The child of a job that forked came back: it has the parent's locks, and jobs that the parent runs.
    fn forbid_return(&self) {
        if self.birth.is_lost() {
            end_child("job");
        }
    }

    /// Waits for an order; none if the thread's time is up, or the pool's.
    fn wait(&self, bench: &loom::Arc<Bench>) -> Option<Order> {
        let deadline = Instant::now().checked_add(self.keep_alive);
        loop {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => bench.parker.park(),
                // No patience at all: one look at the bench will do.
                Some(Duration::ZERO) => {}
                Some(left) => bench.parker.park_timeout(left),
            }
            if let Some(order) = bench.order.lock().take() {
                return Some(order);
            }
            let mut state = self.state.lock();
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if let (true, Some(index)) =
                (late || state.closed, state.idle.iter().position(|other| loom::Arc::ptr_eq(other, bench)))
            {
                state.idle.remove(index);
                return None;
            }
        }
    }
}
