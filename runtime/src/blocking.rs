//! The blocking pool: threads for code that blocks, started on demand and kept for a while.
//!
//! # Shape
//! One lock guards a stack of idle threads, a queue of jobs and the number of threads. A job is a task like any other:
//! its future runs the closure in its only poll. A job goes straight into the hands of the thread that went idle last,
//! whose stack is still warm; the one at the bottom of the stack is the first whose time runs out.
//!
//! # Protocol
//! Membership in the idle stack is the truth (the lock decides between a job and the end of a thread's patience):
//! *submit* pops a thread and leaves the job on its bench before it wakes it; a *thread whose time is up* removes itself
//! if it is still there, and otherwise takes the job that must be on its bench.
//!
//! # Refusal
//! A thread that the system will not start is no disaster while others run: the job stays queued for them. Without any
//! thread the job fails with the system's error. The caller is never kept in the call (tokio issue 8406, and
//! the loop in the `blocking` crate that retries under its lock, are the two ways to get this wrong).

#[cfg(all(test, runtime_loom))]
mod models;

use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::cell::{self, Meta, Runnable, Schedule, SlotRef, Task};
use crate::context::{Executor, Host, Role};
use crate::error::Error;
use crate::loom::lock::{Condvar, Mutex};
use crate::loom::{JoinHandle, mutant};
use crate::parker::Parker;

/// A bounded set of threads for jobs that block.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
    keep_alive: Duration,
}

struct State {
    host: Option<Weak<dyn Host>>,
    queue: VecDeque<Runnable>,
    idle: Vec<crate::loom::Arc<Bench>>,
    threads: usize,
    running: usize,
    closed: bool,
    handles: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { queue, idle, threads, running, closed, .. } = self;
        f.debug_struct("State")
            .field("queued", &queue.len())
            .field("idle", &idle.len())
            .field("threads", threads)
            .field("running", running)
            .field("closed", closed)
            .finish()
    }
}

/// Where a thread waits for its next job.
#[derive(Debug)]
struct Bench {
    job: Mutex<Option<Runnable>>,
    parker: crate::loom::Arc<Parker>,
}

/// How many threads a pool has, and what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) threads: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    pub(crate) running: usize,
}

/// A closure as a future of one poll.
struct Job<F>(Option<F>);

impl<F> Unpin for Job<F> {}

impl<F: FnOnce() -> T, T> Future for Job<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let f = self.0.take().expect("a job is polled once");
        Poll::Ready(f())
    }
}

/// What a job's cell knows of its pool.
#[derive(Clone, Debug)]
struct Owner(Arc<Pool>);

impl Schedule for Owner {
    /// A job is born in the queue and ready after one poll: there is nothing to schedule again.
    fn schedule(&self, runnable: Runnable) {
        self.0.push(runnable);
    }

    fn yielded(&self, runnable: Runnable) {
        self.0.push(runnable);
    }

    fn bind(&self, _: &Runnable) -> Option<SlotRef> {
        None
    }

    fn unbind(&self, _: SlotRef) {}

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        Some(self.0.host()?.executor())
    }
}

impl Pool {
    /// A pool without threads.
    pub(crate) fn new(most: usize, keep_alive: Duration) -> Arc<Self> {
        let state = State {
            host: None,
            queue: VecDeque::new(),
            idle: Vec::new(),
            threads: 0,
            running: 0,
            closed: false,
            handles: Vec::new(),
        };
        Arc::new(Pool { state: Mutex::new(state), changed: Condvar::new(), most, keep_alive })
    }

    /// Says who starts the threads. The host owns the pool, so the pool does not own the host.
    pub(crate) fn set_host(&self, host: Weak<dyn Host>) {
        self.state.lock().host = Some(host);
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.state.lock().host.as_ref()?.upgrade()
    }

    /// Runs `f` on a thread of the pool.
    pub(crate) fn spawn<F, T, M>(
        self: &Arc<Self>,
        f: F,
        meta: M,
        location: &'static Location<'static>,
    ) -> Task<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        M: Meta,
    {
        let (runnable, task) = cell::new(Job(Some(f)), Owner(self.clone()), meta, location);
        self.push(runnable);
        task
    }

    /// Hands a job to an idle thread, a new one, or the queue.
    fn push(self: &Arc<Self>, job: Runnable) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return job.fail(Error::shutdown());
        }
        if let Some(bench) = state.idle.pop() {
            *bench.job.lock() = Some(job);
            drop(state);
            return bench.parker.unpark();
        }
        state.queue.push_back(job);
        if state.threads == self.most {
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = self.start_thread() {
            self.start_failed(error);
        }
    }

    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let host = self.host().ok_or_else(|| io::Error::other("the runtime is gone"))?;
        let pool = self.clone();
        let thread = host.start_thread(Role::Blocking, Box::new(move || pool.run()))?;
        let mut state = self.state.lock();
        state.handles.retain(|thread| !thread.is_finished());
        state.handles.push(thread);
        Ok(())
    }

    #[cold]
    fn start_failed(&self, error: io::Error) {
        let orphans = {
            let mut state = self.state.lock();
            state.threads -= 1;
            if state.threads > 0 || mutant!("pool_swallows_refusal") {
                VecDeque::new()
            } else {
                std::mem::take(&mut state.queue)
            }
        };
        let error = Error::new(error);
        orphans.into_iter().for_each(|job| job.fail(error.clone()));
    }

    /// The life of a thread.
    fn run(&self) {
        let parker = Parker::new();
        let bench = crate::loom::Arc::new(Bench { job: Mutex::new(None), parker });
        let mut state = self.state.lock();
        loop {
            while let Some(job) = state.queue.pop_front() {
                if mutant!("pool_idle_counted_early") {
                    state.idle.push(bench.clone());
                }
                state.running += 1;
                let closed = state.closed;
                drop(state);
                if closed {
                    job.fail(Error::shutdown());
                } else {
                    job.run();
                }
                state = self.state.lock();
                state.running -= 1;
                self.changed.notify_all();
            }
            if state.closed {
                break;
            }
            state.idle.push(bench.clone());
            drop(state);
            let job = self.wait(&bench);
            state = self.state.lock();
            match job {
                Some(job) => state.queue.push_front(job),
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

    /// Waits for a job; none if the thread's time is up, or the pool's.
    fn wait(&self, bench: &crate::loom::Arc<Bench>) -> Option<Runnable> {
        let deadline = Instant::now().checked_add(self.keep_alive);
        loop {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => bench.parker.park(),
                // No patience at all: one look at the bench will do.
                Some(Duration::ZERO) => {}
                Some(left) => bench.parker.park_timeout(left),
            }
            if let Some(job) = bench.job.lock().take() {
                return Some(job);
            }
            let mut state = self.state.lock();
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if let (true, Some(index)) = (
                late || state.closed,
                state.idle.iter().position(|other| crate::loom::Arc::ptr_eq(other, bench)),
            ) {
                state.idle.remove(index);
                return None;
            }
        }
    }

    /// Refuses new jobs and fails those that wait; running ones go on.
    pub(crate) fn close(&self) {
        let (queued, idle) = {
            let mut state = self.state.lock();
            state.closed = true;
            (std::mem::take(&mut state.queue), state.idle.clone())
        };
        queued.into_iter().for_each(|job| job.fail(Error::shutdown()));
        idle.iter().for_each(|bench| bench.parker.unpark());
    }

    /// Waits until every job is done, for at most `grace`.
    pub(crate) fn wait_until_empty(&self, grace: Duration) {
        self.wait_while(grace, |state| state.running > 0 || !state.queue.is_empty());
    }

    /// Waits until every thread has ended, for at most `grace`; the number of those that have not.
    pub(crate) fn wait_until_stopped(&self, grace: Duration) -> usize {
        self.wait_while(grace, |state| state.threads > 0);
        self.figures().threads
    }

    fn wait_while(&self, grace: Duration, busy: impl Fn(&State) -> bool) {
        let deadline = Instant::now().checked_add(grace);
        let mut state = self.state.lock();
        while busy(&state) {
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            (state, _) = self.changed.wait_timeout(state, left);
        }
    }

    /// The threads that the pool started, to be joined by whoever may wait.
    pub(crate) fn threads(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.state.lock().handles)
    }

    /// True once [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(crate) fn figures(&self) -> Figures {
        let state = self.state.lock();
        Figures {
            threads: state.threads,
            idle: state.idle.len(),
            queued: state.queue.len(),
            running: state.running,
        }
    }
}
