//! The jobs of a [`BlockingPool`](super::BlockingPool) that wait for a worker, and who works.
//!
//! # Protocol
//! A worker is one job of the runtime's blocking pool that takes jobs from here until there are none. *Submit* queues the
//! job and, if fewer than `most` work, counts one more and starts it; a *worker* that finds the queue empty stops counting
//! under the same lock. So a job in the queue always has somebody who will look. A worker that the runtime refuses to run,
//! because it was shut down or the system has no thread, stops counting too; the last one fails what is queued before that.
//! *Close* counts as a worker while it fails the jobs that it takes out: the end is told after the last job's.
//!
//! A worker gives its thread up after a [`SLICE`] if others than those of this queue wait for one, and gets in line behind
//! them: it might have jobs for ever.
//!
//! # A job that is cancelled
//! The promise tells its [`Ticket`] that it was settled from outside; that takes the job out of the queue. The watch is
//! left before the job is queued, when nobody can have cancelled yet.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::blocking::{Dependent, Ended};
use crate::context::ending;
use crate::coop::BudgetGuard;
use crate::error::{Error, drop_quietly};
use crate::fork::Birth;
use crate::handle::Handle;
use crate::loom::lock::{Mutex, MutexGuard};
use crate::promise::{Future, Promise};

/// A job that waits, whatever its type.
pub(super) trait Job: Send {
    /// Runs it and sets its result. Catches its panic.
    fn run(self: Box<Self>);

    /// Sets `error` in place of a result, and drops the rest.
    fn fail(self: Box<Self>, error: Error);

    /// True if a reader cancelled it.
    fn is_cancelled(&self) -> bool;
}

/// For how long a worker keeps a thread that others wait for.
const SLICE: Duration = Duration::from_millis(1);

/// What all of a pool share.
pub(super) struct Queue {
    runtime: Handle,
    birth: Birth,
    most: usize,
    state: Mutex<State>,
    /// Done once the pool is shut down and nothing is left to do.
    ended: Future<()>,
}

struct State {
    waiting: BTreeMap<u64, Box<dyn Job>>,
    next: u64,
    working: usize,
    /// Of those, the ones that have a thread.
    on_threads: usize,
    closed: bool,
    /// Set when it has ended.
    end: Option<Promise<()>>,
}

impl State {
    /// The promise to be kept, outside the lock, if all is over.
    #[must_use]
    fn end(&mut self) -> Option<Promise<()>> {
        let over = self.closed && self.working == 0 && self.waiting.is_empty();
        if over { self.end.take() } else { None }
    }
}

/// Tells those who wait that all is over.
fn announce(end: Option<Promise<()>>) {
    if let Some(end) = end {
        let _ = end.set_result(());
    }
}

impl Queue {
    pub(super) fn new(runtime: Handle, most: usize) -> Arc<Self> {
        let (end, ended) = Promise::inner();
        let state = State {
            waiting: BTreeMap::new(),
            next: 0,
            working: 0,
            on_threads: 0,
            closed: false,
            end: Some(end),
        };
        let queue = Arc::new(Queue { runtime, birth: Birth::now(), most, state: Mutex::new(state), ended });
        let dependent: Weak<dyn Dependent> = Arc::<Queue>::downgrade(&queue);
        queue.runtime.pool().tell_at_close(dependent);
        queue
    }

    /// True in a child process, where nobody works and the lock may be held for ever.
    pub(super) fn is_lost(&self) -> bool {
        self.birth.is_lost()
    }

    pub(super) fn ended(&self) -> Future<()> {
        self.ended.clone()
    }

    /// A number for a job, and what takes the job out under it.
    pub(super) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut state = self.state.lock();
        state.next += 1;
        Ticket { number: state.next, queue: Arc::downgrade(self) }
    }

    /// Queues a job under its ticket, and sees to it that somebody will look.
    /// Gives it back if the queue is closed.
    pub(super) fn push(self: &Arc<Self>, ticket: &Ticket, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let mut state = self.state.lock();
        // Under the lock that `pool_closed` takes: of the two the later one sees the other.
        if state.closed || self.runtime.pool().is_closed() || self.runtime.shared().is_closed() {
            return Err(job);
        }
        state.waiting.insert(ticket.number, job);
        if state.working < self.most {
            state.working += 1;
            drop(state);
            Worker(Some(self.clone())).submit();
        }
        Ok(())
    }

    /// Refuses new jobs, and drops those that wait if told so.
    pub(super) fn close(&self, cancel_queued: bool) {
        if self.is_lost() {
            return;
        }
        let mut state = self.state.lock();
        state.closed = true;
        if !cancel_queued {
            let end = state.end();
            drop(state);
            return announce(end);
        }
        self.fail_waiting(state, &Error::cancelled());
    }

    /// Fails the jobs that wait, whose number it returns. Nothing can be queued any more.
    fn fail_waiting(&self, mut state: MutexGuard<'_, State>, error: &Error) -> usize {
        let failed = std::mem::take(&mut state.waiting);
        let count = failed.len();
        // It has not ended before they have failed.
        state.working += 1;
        drop(state);
        ending(|| failed.into_values().for_each(|job| job.fail(error.clone())));
        Queue::leave(self.state.lock());
        count
    }

    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_lost() {
            return f.debug_struct(name).field("max_workers", &self.most).finish_non_exhaustive();
        }
        let (queued, working, closed) = {
            let state = self.state.lock();
            (state.waiting.len(), state.working, state.closed)
        };
        f.debug_struct(name)
            .field("max_workers", &self.most)
            .field("working", &working)
            .field("queued", &queued)
            .field("closed", &closed)
            .finish()
    }

    /// Takes a job out whose reader gave it up.
    fn withdraw(&self, number: u64) {
        if self.is_lost() {
            return;
        }
        let mut state = self.state.lock();
        let cancelled = state.waiting.get(&number).is_some_and(|job| job.is_cancelled());
        let job = if cancelled { state.waiting.remove(&number) } else { None };
        let end = state.end();
        drop(state);
        drop_quietly(job);
        announce(end);
    }

    /// Somebody waits for a thread who is not one of ours.
    fn others_wait(&self, state: &State) -> bool {
        self.runtime.pool().waiting() > state.working - state.on_threads
    }

    /// Stops counting a worker that holds the lock, and lets it go.
    fn leave(mut state: MutexGuard<'_, State>) {
        state.working -= 1;
        let end = state.end();
        drop(state);
        announce(end);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.runtime.pool().forget_dependent(std::ptr::from_ref(self).cast());
    }
}

impl Dependent for Queue {
    /// At once and not by the workers, which may all be in jobs that do not return.
    fn pool_closed(&self) -> Ended {
        if self.is_lost() {
            return Ended::default();
        }
        let state = self.state.lock();
        let stand_ins = state.working - state.on_threads;
        Ended { jobs: self.fail_waiting(state, &Error::shutdown()), stand_ins }
    }
}

/// Names a job in its queue; as a waker, takes it out if it was cancelled.
pub(super) struct Ticket {
    number: u64,
    queue: Weak<Queue>,
}

impl Ticket {
    /// Leaves word with `promise`, which is new.
    pub(super) fn watch<T: Send + Sync + 'static>(self: &Arc<Self>, promise: &Promise<T>) {
        let waker = Waker::from(self.clone());
        // Nobody is polled here: there is no budget to take from.
        let _free = BudgetGuard::unconstrained();
        let polled = promise.poll_closed(&mut Context::from_waker(&waker));
        debug_assert!(matches!(polled, Poll::Pending), "its reader has not been given away");
    }
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(queue) = self.queue.upgrade() {
            queue.withdraw(self.number);
        }
    }
}

/// One that counts as working. `None` once it has stopped.
struct Worker(Option<Arc<Queue>>);

impl Worker {
    /// Has it begin to work, or go on, when those who wait for a thread before it have one.
    fn submit(self) {
        let Some(queue) = self.0.clone() else { return };
        let pool = queue.runtime.pool();
        // Detached: it has nothing to tell. It inherits nothing, each job does.
        let (job, _task) = pool.job(move || self.work(), (), Location::caller());
        pool.push(job);
    }

    fn work(mut self) {
        let Some(queue) = self.0.take() else { return };
        queue.state.lock().on_threads += 1;
        let since = Instant::now();
        loop {
            if queue.is_lost() {
                // The child of a job that forked came back: what is queued is the parent's. Who runs us ends the child.
                return std::mem::forget(queue);
            }
            let closed = queue.runtime.pool().is_closed();
            let mut state = queue.state.lock();
            let gives_way =
                !state.waiting.is_empty() && since.elapsed() >= SLICE && queue.others_wait(&state);
            if closed || gives_way {
                state.on_threads -= 1;
                drop(state);
                // Jobs that have not begun when the pool is closed never do, as those of the runtime itself.
                return if closed {
                    refuse(&queue, &Error::shutdown())
                } else {
                    Worker(Some(queue)).submit()
                };
            }
            let Some((_, job)) = state.waiting.pop_first() else {
                state.on_threads -= 1;
                return Queue::leave(state);
            };
            drop(state);
            // The closure's panic is in its future; this is one of a destructor.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job.run())) {
                drop_quietly(payload);
            }
        }
    }
}

/// The runtime did not run it.
impl Drop for Worker {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        let error = if queue.runtime.pool().is_closed() {
            Error::shutdown()
        } else {
            Error::new(io::Error::other("the system refused a thread for the blocking pool"))
        };
        refuse(&queue, &error);
    }
}

/// A worker leaves for good; if it was the last, nobody will look at the queue, and what is in it fails.
fn refuse(queue: &Queue, error: &Error) {
    loop {
        let mut state = queue.state.lock();
        if state.working > 1 || state.waiting.is_empty() {
            return Queue::leave(state);
        }
        let orphans = std::mem::take(&mut state.waiting);
        drop(state);
        // Before it stops counting: the queue has not ended before they have failed.
        orphans.into_values().for_each(|job| job.fail(error.clone()));
    }
}
