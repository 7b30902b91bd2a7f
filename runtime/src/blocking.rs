//! The blocking pool: threads for code that blocks, started on demand and kept for a while.
//!
//! # Shape
//! One lock guards a stack of idle threads, a queue of jobs and the number of threads. A job is a task like any other:
//! its future runs the closure in its only poll. A job goes straight into the hands of the thread that went idle last,
//! whose stack is still warm; the one at the bottom of the stack is the first whose time runs out.
//!
//! # Growth
//! A few threads for each processor start at once. Beyond those a job queues, and one thread, the [scout](scout), looks
//! whether another would help: it does if the others sleep, and only takes turns with them if they compute. There is a
//! scout only while jobs are queued and there is room for more threads; the last idle thread becomes it, or a new one.
//! An idle thread and a queued job never exist together.
//!
//! # Protocol
//! Membership in the idle stack is the truth (the lock decides between a job and the end of a thread's patience):
//! *submit* pops a thread and leaves its order on its bench before it wakes it; a *thread whose time is up* removes
//! itself if it is still there, and otherwise takes the order that must be on its bench.
//!
//! # Refusal
//! A thread that the system will not start is no disaster while others run: the job stays queued for them, and because
//! they may wait for that very job, the runtime's timers bring another try every 20 ms. Without any thread the job
//! fails with the system's error. The caller is never kept in the call (tokio issue 8406, and
//! the loop in the `blocking` crate that retries under its lock, are the two ways to get this wrong).

mod pressure;
mod scout;
mod thread;

#[cfg(all(test, runtime_loom))]
mod models;

use std::collections::VecDeque;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::cell::{self, Meta, Runnable, Schedule, SlotRef, Task};
use crate::context::{Executor, Host, Role, ending};
use crate::error::Error;
use crate::fork::Birth;
use crate::loom::lock::{Condvar, Mutex};
use crate::loom::mutant;

pub(crate) use pressure::free_threads;

use scout::{Pace, REFUSED_REST};
use thread::{Bench, Duty, Order};

/// How long the end of a runtime waits for jobs that it need not wait for: a write that somebody takes is done by then.
const MOMENT: Duration = Duration::from_millis(100);

/// A bounded set of threads for jobs that block.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
    /// How many threads start without a look.
    free: fn() -> usize,
    keep_alive: Duration,
    /// Of which process it is.
    birth: Birth,
}

struct State {
    host: Option<Weak<dyn Host>>,
    queue: VecDeque<Queued>,
    idle: Vec<crate::loom::Arc<Bench>>,
    /// Threads that exist, or are being started.
    threads: usize,
    /// Of those, the ones that were started for a job and have not looked at the queue yet.
    coming: usize,
    /// Jobs that lie on the bench of a thread which has not woken up yet: neither queued nor running.
    handed: usize,
    /// Of those, the ones that are [owed](Submitted::owed).
    handed_owed: usize,
    /// The threads that run jobs, one after the other.
    at_work: Slab<crate::loom::Arc<Bench>>,
    /// Of those, the ones that the end of the runtime does not wait for.
    loose: usize,
    /// Somebody looks after the queue.
    scouting: bool,
    /// Who, once it has begun.
    scout: Option<crate::loom::Arc<Bench>>,
    pace: Pace,
    /// A timer of the runtime's brings another try to start a thread, armed at this time.
    retrying: Option<Instant>,
    /// How many jobs were taken out of the queue so far.
    taken: u64,
    /// The most threads there ever were.
    peak: usize,
    /// Queues of others, whose jobs end with the pool.
    dependents: Vec<Weak<dyn Dependent>>,
    closed: bool,
}

/// Whose jobs wait elsewhere until they are run by the pool's threads.
pub(crate) trait Dependent: Send + Sync {
    /// The pool is closed: fails the jobs that wait.
    fn pool_closed(&self) -> Ended;
}

/// What a [`Dependent`] had when the pool was closed.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) jobs: usize,
    /// Jobs of the pool that have not begun, and would have run those.
    pub(crate) stand_ins: usize,
}

/// A job as it was submitted.
#[derive(Debug)]
struct Submitted {
    job: Runnable,
    /// It is run also by a pool that was closed before it began.
    owed: bool,
}

/// One that waits for a thread.
struct Queued {
    submitted: Submitted,
    since: Instant,
}

impl Queued {
    fn now(submitted: Submitted) -> Self {
        Queued { submitted, since: Instant::now() }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { queue, idle, threads, at_work, scouting, closed, .. } = self;
        f.debug_struct("State")
            .field("queued", &queue.len())
            .field("idle", &idle.len())
            .field("threads", threads)
            .field("running", &at_work.len())
            .field("scouting", scouting)
            .field("closed", closed)
            .finish()
    }
}

impl State {
    /// Counts a thread that is about to be started.
    fn add_thread(&mut self, duty: Duty) {
        self.threads += 1;
        match duty {
            Duty::Run => self.coming += 1,
            Duty::Scout => self.scouting = true,
        }
    }

    /// One more is there: the system has not refused it.
    fn note_peak(&mut self) {
        let scout_comes = self.scouting && self.scout.is_none();
        self.peak = self.peak.max(self.threads - self.coming - usize::from(scout_comes));
    }

    /// No job is queued, handed to a thread, or running.
    fn is_empty(&self) -> bool {
        let handed = self.handed > 0 && !mutant!("pool_forgets_a_handed_job");
        self.at_work.is_empty() && self.queue.is_empty() && !handed
    }

    /// The next job in the queue.
    fn take(&mut self) -> Option<Submitted> {
        let Queued { submitted, .. } = self.queue.pop_front()?;
        self.taken += 1;
        Some(submitted)
    }
}

/// How many threads a pool has, and what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) threads: usize,
    pub(crate) peak: usize,
    pub(crate) idle: usize,
    pub(crate) queued: usize,
    pub(crate) running: usize,
    /// How long the first job in the queue has waited.
    pub(crate) delay: Duration,
}

/// What a submission leads to, once the lock is free again.
enum Deal {
    Wake(crate::loom::Arc<Bench>),
    Start(Duty),
    Nothing,
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

/// The wake-up after a refusal.
struct Retry(Weak<Pool>);

impl Wake for Retry {
    fn wake(self: Arc<Self>) {
        if let Some(pool) = self.0.upgrade() {
            pool.retry();
        }
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
    /// A pool without threads, that starts `free()` of them without a look and at most `most`.
    pub(crate) fn new(most: usize, free: fn() -> usize, keep_alive: Duration) -> Arc<Self> {
        let state = State {
            host: None,
            queue: VecDeque::new(),
            idle: Vec::new(),
            threads: 0,
            coming: 0,
            handed: 0,
            handed_owed: 0,
            at_work: Slab::new(),
            loose: 0,
            scouting: false,
            scout: None,
            pace: Pace::default(),
            retrying: None,
            taken: 0,
            peak: 0,
            dependents: Vec::new(),
            closed: false,
        };
        Arc::new(Pool {
            state: Mutex::new(state),
            changed: Condvar::new(),
            most,
            free,
            keep_alive,
            birth: Birth::now(),
        })
    }

    /// Says who starts the threads. The host owns the pool, so the pool does not own the host.
    pub(crate) fn set_host(&self, host: Weak<dyn Host>) {
        self.state.lock().host = Some(host);
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        if self.birth.is_lost() {
            return None;
        }
        self.state.lock().host.as_ref()?.upgrade()
    }

    /// A job that calls `f`, for [`push`](Self::push).
    pub(crate) fn job<F, T, M>(
        self: &Arc<Self>,
        f: F,
        meta: M,
        location: &'static Location<'static>,
    ) -> (Runnable, Task<T>)
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
        M: Meta,
    {
        cell::new(Job(Some(f)), Owner(self.clone()), meta, location)
    }

    /// Hands a job to an idle thread, a new one, or the queue.
    pub(crate) fn push(self: &Arc<Self>, job: Runnable) {
        self.submit(Submitted { job, owed: false });
    }

    /// The same, for a job that is run also if the pool is closed before it begins.
    pub(crate) fn push_owed(self: &Arc<Self>, job: Runnable) {
        self.submit(Submitted { job, owed: true });
    }

    fn submit(self: &Arc<Self>, submitted: Submitted) {
        if self.birth.is_lost() {
            return self.refuse(submitted.job);
        }
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return self.refuse(submitted.job);
        }
        let deal = self.deal(&mut state, submitted);
        drop(state);
        match deal {
            Deal::Wake(bench) => bench.parker.unpark(),
            Deal::Start(duty) => self.start_or_retry(duty),
            Deal::Nothing => {}
        }
    }

    /// Fails a job that the runtime does not take any more.
    #[cold]
    pub(crate) fn refuse(&self, job: Runnable) {
        job.fail(if self.birth.is_lost() { Error::lost() } else { Error::shutdown() });
    }

    fn deal(&self, state: &mut State, submitted: Submitted) -> Deal {
        let room = state.threads < self.most;
        let free = state.threads - state.idle.len() < (self.free)();
        // The last idle thread looks around first: if it took the job, the next one would need a new scout, and a pool
        // that is busy computing would grow by a thread each time.
        let needs_scout = room && !free && !state.scouting;
        if !(needs_scout && state.idle.len() == 1) {
            if let Some(bench) = state.idle.pop() {
                state.handed += 1;
                state.handed_owed += usize::from(submitted.owed);
                bench.give(Order::Run(submitted));
                return Deal::Wake(bench);
            }
        }
        state.queue.push_back(Queued::now(submitted));
        if needs_scout {
            if let Some(bench) = state.idle.pop() {
                state.scouting = true;
                bench.give(Order::Scout);
                return Deal::Wake(bench);
            }
        } else if !(room && free) {
            return Deal::Nothing;
        }
        let duty = if free { Duty::Run } else { Duty::Scout };
        state.add_thread(duty);
        Deal::Start(duty)
    }

    /// Starts a thread that was counted already; false if the system refuses it.
    fn start_thread(self: &Arc<Self>, duty: Duty) -> bool {
        match self.try_start(duty) {
            Ok(()) => true,
            Err(error) => {
                self.start_failed(duty, error);
                false
            }
        }
    }

    fn try_start(self: &Arc<Self>, duty: Duty) -> io::Result<()> {
        let host = self.host().ok_or_else(|| io::Error::other("the runtime is gone"))?;
        let pool = self.clone();
        host.start_thread(Role::Blocking, Box::new(move || pool.run(duty)))
    }

    #[cold]
    fn start_failed(&self, duty: Duty, error: io::Error) {
        let orphans = {
            let mut state = self.state.lock();
            state.threads -= 1;
            match duty {
                Duty::Run => state.coming -= 1,
                Duty::Scout => state.scouting = false,
            }
            if state.threads > 0 || mutant!("pool_swallows_refusal") {
                VecDeque::new()
            } else {
                std::mem::take(&mut state.queue)
            }
        };
        self.changed.notify_all();
        let error = Error::new(error);
        orphans.into_iter().for_each(|queued| queued.submitted.job.fail(error.clone()));
    }

    /// As [`start_thread`](Self::start_thread), with another try after a while.
    fn start_or_retry(self: &Arc<Self>, duty: Duty) {
        if !self.start_thread(duty) {
            self.retry_later();
        }
    }

    /// The system refused a thread, and nobody looks after what is queued: asks for a wake-up to try again.
    #[cold]
    fn retry_later(self: &Arc<Self>) {
        {
            let mut state = self.state.lock();
            if state.closed || state.queue.is_empty() || state.scouting || state.retrying.is_some() {
                return;
            }
            state.retrying = Some(Instant::now());
        }
        let host = self.host().filter(|_| !mutant!("pool_forgets_a_refusal"));
        if let Some(host) = host {
            host.wake_later(REFUSED_REST, &Waker::from(Arc::new(Retry(Arc::downgrade(self)))));
        }
    }

    /// Tries again if that is overdue: a clock that stands still does so for the sake of the job that waits for the try.
    pub(crate) fn retry_if_overdue(self: &Arc<Self>) {
        let armed = self.state.lock().retrying;
        if armed.is_some_and(|armed| armed.elapsed() >= REFUSED_REST) {
            self.retry();
        }
    }

    /// Tries again to start a thread, if there is still something for it to do.
    fn retry(self: &Arc<Self>) {
        let duty = {
            let mut state = self.state.lock();
            state.retrying = None;
            if state.closed || state.queue.is_empty() || state.scouting || state.threads == self.most {
                return;
            }
            let free = state.threads - state.idle.len() < (self.free)();
            let duty = if free { Duty::Run } else { Duty::Scout };
            state.add_thread(duty);
            duty
        };
        self.start_or_retry(duty);
    }

    /// Tells `dependent` when the pool is closed; it looks itself whether that has happened already.
    pub(crate) fn tell_at_close(&self, dependent: Weak<dyn Dependent>) {
        if self.birth.is_lost() {
            return;
        }
        self.state.lock().dependents.push(dependent);
    }

    /// The dependent at this address is about to be gone.
    pub(crate) fn forget_dependent(&self, dependent: *const ()) {
        if !self.birth.is_lost() {
            self.state.lock().dependents.retain(|known| known.as_ptr().cast::<()>() != dependent);
        }
    }

    /// Refuses new jobs and fails those that have not begun, whose number it returns; running ones go on, and those that are
    /// owed begin.
    pub(crate) fn close(&self) -> usize {
        let (queued, handed, dependents, asleep) = {
            let mut state = self.state.lock();
            state.closed = true;
            let asleep: Vec<_> = state.idle.iter().chain(&state.scout).cloned().collect();
            let dependents: Vec<_> = state.dependents.drain(..).filter_map(|weak| weak.upgrade()).collect();
            let queue = std::mem::take(&mut state.queue).into_iter();
            let (owed, queued): (VecDeque<_>, VecDeque<_>) = queue.partition(|queued| queued.submitted.owed);
            state.queue = owed;
            (queued, state.handed - state.handed_owed, dependents, asleep)
        };
        let mut failed = queued.len() + handed;
        // First: the failure of a stand-in fails what nobody else would run.
        for dependent in dependents {
            let ended = dependent.pool_closed();
            failed = (failed + ended.jobs).saturating_sub(ended.stand_ins);
        }
        ending(|| queued.into_iter().for_each(|queued| queued.submitted.job.fail(Error::shutdown())));
        asleep.iter().for_each(|bench| bench.parker.unpark());
        failed
    }

    /// Waits until every job is done, for at most `grace`.
    pub(crate) fn wait_until_empty(&self, grace: Duration) {
        self.wait_while(grace, |state| !state.is_empty());
    }

    /// True if no job is queued, handed to a thread, or running.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().is_empty()
    }

    /// Waits until every thread has ended, for at most `grace`; the number of those that have not. For those that are
    /// [loose](Self::loosely) only for a moment.
    pub(crate) fn wait_until_stopped(&self, grace: Duration) -> usize {
        let moment = grace.min(MOMENT);
        self.wait_while(moment, |state| state.threads > 0);
        self.wait_while(grace - moment, |state| state.threads > state.loose);
        self.figures().threads
    }

    /// How many threads are in code that the end of the runtime does not wait for.
    pub(crate) fn loose(&self) -> usize {
        self.state.lock().loose
    }

    /// Runs a part of a job that may never end, and that the end of the runtime does not wait for. It does not panic.
    pub(crate) fn loosely<R>(&self, f: impl FnOnce() -> R) -> R {
        let change = |by: isize| {
            let mut state = self.state.lock();
            state.loose = state.loose.wrapping_add_signed(by);
            drop(state);
            self.changed.notify_all();
        };
        change(1);
        let result = f();
        change(-1);
        result
    }

    fn wait_while(&self, grace: Duration, busy: impl Fn(&State) -> bool) {
        let deadline = Instant::now().checked_add(grace);
        drop(self.changed.wait_while(self.state.lock(), deadline, busy));
    }

    /// How many jobs are queued, beside those for which a thread is on its way.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.state.lock();
        state.queue.len().saturating_sub(state.coming)
    }

    /// True once [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(crate) fn figures(&self) -> Figures {
        if self.birth.is_lost() {
            return Figures::default();
        }
        let state = self.state.lock();
        Figures {
            threads: state.threads,
            peak: state.peak,
            idle: state.idle.len(),
            queued: state.queue.len(),
            running: state.at_work.len(),
            delay: state.queue.front().map_or(Duration::ZERO, |queued| queued.since.elapsed()),
        }
    }
}
