//! Who runs what, where: per-worker deques with stealing, an injector for the rest of the world, one idle word.
//!
//! # Shape
//! ```text
//!   spawn, wake on a worker ──▶ next slot ──▶ deque ◀── steal ── other workers
//!   spawn, wake from outside ─▶ injector ─────────────────────▶ whoever searches
//!   Shared (one per runtime, never freed) ─ Processor × W ─ seat: core, sleeper
//! ```
//! Threads and workers are two things: a worker is a core (deque, rng, counters) in its seat, and any thread may run it:
//! the worker's own thread, started when it is first needed, or a thread that is inside `block_on` anyway.
//!
//! # A submission
//! 1. Push: next slot, deque or injector.
//! 2. If nobody searches and somebody sleeps, wake one as a searcher.
//! 3. A searcher that finds work and was the last to search passes the search on if there is more. See [`idle`].
//!
//! # Shutdown
//! `phase` goes from OPEN to DRAINING (nothing new, what runs may finish) to STOPPING (whatever is dequeued fails with
//! `is_shutdown`). A submitter that is between its decision to push and its push reads the phase again afterwards and,
//! if nobody is left to do it, empties the injector itself. `Shared` is therefore never freed: it goes back to a list
//! of its kind and serves the next runtime, once no task of the last one is left. A late wake of a task of a runtime
//! that is gone finds the task cancelled, and lands in an injector that exists. Whoever starts a thread has the
//! runtime's host in hand first, and with it the certainty that the scheduler serves that runtime until they are done;
//! a call that finds no host passes itself on.
//!
//! # Rejected
//! A reference-counted `Shared` (two writes to one global cache line for each task); freeing it when the last task is
//! gone (the waker that completes the last task is still inside `schedule`: async-executor issue 163).

mod attend;
mod context;
mod core;
mod guest;
mod idle;
mod lost;
mod metrics;
mod monitor;
mod next;
mod refusal;
mod runner;
mod seat;
mod sleep;
mod slice;
mod spare;
mod stop;
mod throttle;
mod virtual_clock;
mod waits;
mod worker;

#[cfg(all(test, runtime_loom))]
mod models;

use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Weak};

use crossbeam_utils::CachePadded;

use crate::cell::{self, Binder, Meta, Owned, Runnable, Schedule, SlotRef, Task};
use crate::context::{Ambient, Executor, Host, Job, Role};
use crate::driver::Driver;
use crate::error::Error;
use crate::fork::Birth;
use crate::id::TaskId;
use crate::inherit::{self, Values};
use crate::loom;
use crate::loom::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use crate::loom::deque::{Injector, Stealer};
use crate::loom::lock::{Condvar, Mutex, Static};
use crate::parker::Parker;

pub(crate) use context::{entered, set_entered};
pub(crate) use guest::{block_in_place, block_on};
pub(crate) use lost::forget_parent;
pub(crate) use metrics::Snapshot;
pub(crate) use monitor::Options as MonitorOptions;

use core::Core;
use idle::Idle;
use monitor::Monitor;
use next::NextSlot;
use refusal::Refusal;
use runner::Runner;
use seat::{Rouse, Seat};
use spare::{Post, Spares};
use virtual_clock::Holds;

/// What one runtime's threads share.
pub(crate) struct Shared {
    /// The workers, and behind them the spare ones.
    processors: Box<[CachePadded<Processor>]>,
    workers: usize,
    spares: Spares,
    monitor: Monitor,
    idle: Idle,
    injector: CachePadded<Injector<Runnable>>,
    /// Read by everybody for each task, written twice in a runtime's life.
    phase: CachePadded<AtomicU8>,
    flavor: Flavor,
    /// Of which process it is. Read for each task, and never written.
    birth: CachePadded<Birth>,
    /// The owner of the runtime, who is not owned by it.
    host: Mutex<Option<Weak<dyn Host>>>,
    life: Mutex<Life>,
    changed: Condvar,
    /// Tasks that first wait on a thread that has no worker at that moment.
    strays: Mutex<Binder>,
    stray_list: loom::Arc<Owned>,
    remote: Remote,
    /// What was counted for the runtimes before this one. The counters go on: a late wake-up may stand between two of them.
    counted_before: Mutex<Snapshot>,
    driver: Driver,
    /// Of a thread for a worker.
    refusal: Refusal,
    /// What a virtual clock has to wait for.
    holds: Holds,
}

/// One worker, as the others see it.
struct Processor {
    seat: Seat<Core>,
    stealer: Stealer<Runnable>,
    owned: loom::Arc<Owned>,
    next: CachePadded<NextSlot>,
    stats: CachePadded<metrics::Stats>,
    runner: Runner,
    post: Post,
}

/// What threads that run no worker count.
#[derive(Debug, Default)]
struct Remote {
    spawned: CachePadded<AtomicU64>,
    completed: AtomicU64,
    polls: AtomicU64,
}

/// Where a worker queues a task; true if the push calls for a wake-up.
type Push = fn(&'static Shared, &mut Core, Runnable) -> bool;

/// Who is alive.
#[derive(Debug, Default)]
struct Life {
    /// Worker threads, and guests that run a worker.
    runners: usize,
    /// Threads inside `block_on`.
    guests: usize,
    /// Threads inside `block_on` that wait for the one worker of a current-thread runtime.
    queue: Vec<loom::Arc<Parker>>,
    /// Tasks in the middle of a poll whose threads do something else meanwhile.
    interrupted: Vec<TaskId>,
}

/// How a runtime comes by its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// It starts its own.
    MultiThread,
    /// It runs on whatever thread is inside `block_on`.
    CurrentThread,
}

const OPEN: u8 = 0;
const DRAINING: u8 = 1;
const STOPPING: u8 = 2;

/// Schedulers without a runtime, to be used again by one with as many workers.
static SPARE: Static<Vec<&'static Shared>> = Static::new(Vec::new());

impl Shared {
    /// A scheduler for a new runtime: a spare one, or one that lives from now on.
    pub(crate) fn obtain(flavor: Flavor, workers: usize) -> &'static Shared {
        let spare = {
            let mut spare = SPARE.lock();
            let fits = |shared: &&Shared| {
                shared.flavor == flavor && shared.workers == workers && shared.is_deserted()
            };
            spare.iter().position(fits).map(|index| spare.swap_remove(index))
        };
        spare.unwrap_or_else(|| Box::leak(Box::new(Shared::new(flavor, workers, spare::most(flavor)))))
    }

    /// Opens the scheduler for tasks.
    pub(crate) fn open(&self, host: Weak<dyn Host>, monitor: MonitorOptions) {
        if loom::mutant!("host_before_phase") {
            *self.host.lock() = Some(host.clone());
        }
        // Over all of it: whoever comes late by a runtime finds no host, or a runtime that is open. A thread that was started
        // in between would end what has just begun.
        let mut place = self.host.lock();
        self.driver.open();
        self.monitor.open(monitor);
        self.begin_to_count();
        // ORDERING: Release, the rest comes before the phase that lets others use it.
        self.phase.store(OPEN, Ordering::Release);
        *place = Some(host);
    }

    /// True if no task of an earlier runtime is left, in the hand of a thread that has just woken it.
    fn is_deserted(&self) -> bool {
        let deserted = self.totals().live == 0;
        // ORDERING: pairs with the Release in `fail_all`, by which the last of them are counted.
        fence(Ordering::Acquire);
        deserted
    }

    /// The owner of the runtime, unless it is gone.
    pub(crate) fn host(&self) -> Option<Arc<dyn Host>> {
        if self.is_lost() {
            return None;
        }
        self.host.lock().as_ref()?.upgrade()
    }

    fn new(flavor: Flavor, workers: usize, spares: usize) -> Self {
        // Before there are threads that could be at it while another one forks.
        loom::deque::prepare();
        // It reads files of the system's once, and whoever asks meanwhile waits: a child that makes its default runtime.
        #[cfg(not(runtime_loom))]
        let _ = num_cpus::get();
        let processor = |index: usize| {
            let owned = Owned::new();
            let core = Core::new(index, Binder::new(owned.clone()));
            CachePadded::new(Processor {
                stealer: core.stealer(),
                seat: Seat::new(core),
                owned,
                next: CachePadded::new(NextSlot::new()),
                stats: CachePadded::default(),
                runner: Runner::default(),
                post: Post::default(),
            })
        };
        let stray_list = Owned::new();
        Shared {
            processors: (0..workers + spares).map(processor).collect(),
            workers,
            spares: Spares::new(workers),
            monitor: Monitor::new(),
            idle: Idle::new(workers, spares, flavor == Flavor::MultiThread),
            injector: CachePadded::new(Injector::new()),
            phase: CachePadded::new(AtomicU8::new(STOPPING)),
            flavor,
            birth: CachePadded::new(Birth::now()),
            host: Mutex::new(None),
            life: Mutex::default(),
            changed: Condvar::new(),
            strays: Mutex::new(Binder::new(stray_list.clone())),
            stray_list,
            remote: Remote::default(),
            counted_before: Mutex::default(),
            // One set of timers for each worker, and one for everybody else.
            driver: Driver::new(workers + 1),
            refusal: Refusal::default(),
            holds: Holds::default(),
        }
    }

    /// Spawns a task on this scheduler; one that comes too late is refused. It inherits the task-local values of whoever
    /// spawns it, if there are any.
    #[inline]
    pub(crate) fn spawn<F, M>(
        &'static self,
        future: F,
        meta: M,
        location: &'static Location<'static>,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        M: Meta,
    {
        match inherit::capture() {
            None => self.spawn_bare(future, meta, location),
            Some(values) => self.spawn_carrying(values, Box::pin(future), meta, location),
        }
    }

    /// As [`spawn`](Self::spawn), with values to take along. Not generic over the future, see [`inherit`].
    #[cold]
    fn spawn_carrying<T, M>(
        &'static self,
        values: Values,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        meta: M,
        location: &'static Location<'static>,
    ) -> Task<T>
    where
        T: Send + 'static,
        M: Meta,
    {
        self.spawn_bare(values.carry(future), meta, location)
    }

    /// As [`spawn`](Self::spawn), for a task that inherits nothing.
    #[inline]
    pub(crate) fn spawn_bare<F, M>(
        &'static self,
        future: F,
        meta: M,
        location: &'static Location<'static>,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        M: Meta,
    {
        self.spawn_with(Some(core::push_spawned), future, meta, location)
    }

    /// Calls `f` as a task. Where one thread runs all tasks they come in the order of the calls: from one queue, whichever
    /// thread calls.
    pub(crate) fn call_soon(
        &'static self,
        f: impl FnOnce() + Send + 'static,
        location: &'static Location<'static>,
    ) {
        let call = async move { f() };
        if self.flavor == Flavor::MultiThread {
            return drop(self.spawn(call, (), location));
        }
        drop(match inherit::capture() {
            None => self.spawn_with(None, call, (), location),
            Some(values) => self.spawn_with(None, values.carry(Box::pin(call)), (), location),
        });
    }

    /// Queues it with `push`, if this thread runs a worker, or else for whoever comes.
    #[inline(always)]
    fn spawn_with<F, M>(
        &'static self,
        push: Option<Push>,
        future: F,
        meta: M,
        location: &'static Location<'static>,
    ) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        M: Meta,
    {
        let (runnable, task) = cell::new(future, self, meta, location);
        // ORDERING: Relaxed, a hint; a submission that races with the shutdown is caught in `inject` or by the worker.
        let phase = self.phase.load(Ordering::Relaxed);
        if phase == STOPPING || self.is_lost() {
            self.refuse(runnable);
        } else if let Err(runnable) = match push {
            Some(push) => self.on_worker(runnable, push),
            None => Err(runnable),
        } {
            self.submit(runnable, phase);
        }
        task
    }

    /// Runs a job that the runtime owes to what it took before, such as a callback: also while it drains, and whatever
    /// thread this is, which has no values for it to inherit.
    pub(crate) fn run_owed(&'static self, job: Job, location: &'static Location<'static>) {
        let (runnable, task) = cell::new(async move { job() }, self, (), location);
        if self.is_stopping() || self.is_lost() {
            self.refuse(runnable);
        } else if let Err(runnable) = self.on_worker(runnable, core::push_spawned) {
            self.accept(runnable);
        }
        drop(task);
    }

    #[cold]
    fn refuse(&self, runnable: Runnable) {
        runnable.fail(if self.is_lost() { Error::lost() } else { Error::shutdown() });
    }

    /// Queues a fresh task of a thread that runs no worker. While the runtime drains, that is for threads that stand in
    /// it: those of its jobs, of `block_on`, and of tasks in blocking code.
    fn submit(&'static self, runnable: Runnable, phase: u8) {
        if self.is_closed_here(phase) {
            return runnable.fail(Error::shutdown());
        }
        self.accept(runnable);
    }

    fn is_closed_here(&self, phase: u8) -> bool {
        phase != OPEN && !entered().is_some_and(|shared| ptr::eq(shared, self))
    }

    /// True if the runtime takes nothing more from this thread.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed_here(self.phase.load(Ordering::Relaxed)) && !self.is_here()
    }

    fn accept(&'static self, runnable: Runnable) {
        // ORDERING: Relaxed, a statistic.
        self.remote.spawned.fetch_add(1, Ordering::Relaxed);
        self.inject(runnable);
    }

    /// Gives the runnable to the worker that this thread runs for this scheduler, or back.
    #[inline]
    fn on_worker(&'static self, runnable: Runnable, push: Push) -> Result<(), Runnable> {
        let wake = context::with(|context| {
            let Some(context) = context.filter(|context| ptr::eq(context.shared, self)) else {
                return Err(runnable);
            };
            match context.core.try_borrow_mut() {
                Ok(mut core) => match core.as_mut() {
                    Some(core) => Ok(push(self, core, runnable) && !context.batches.get()),
                    None => Err(runnable),
                },
                Err(_) => Err(runnable),
            }
        })?;
        if wake {
            self.notify();
        }
        Ok(())
    }

    /// Queues a task from a thread that runs no worker of this scheduler.
    fn inject(&'static self, runnable: Runnable) {
        if self.is_lost() {
            return lost::leave(runnable);
        }
        self.injector.push(runnable);
        // The fence stands between the push and both looks that follow: at the idle word and at the phase.
        self.idle.submitted();
        if self.phase.load(Ordering::Relaxed) != STOPPING || loom::mutant!("stop_without_recheck") {
            self.call();
        } else {
            self.fail_if_deserted();
        }
    }

    /// Wakes somebody who sleeps, for what was submitted; if nobody does, the monitor has to see to it that it gets its turn.
    fn call(&'static self) {
        if self.idle.calls_for_wake() {
            self.notify();
        } else if self.monitor.is_due() && self.idle.parked() == 0 {
            self.watch();
        }
    }

    /// Wakes one sleeper, unless somebody searches already.
    #[cold]
    fn notify(&'static self) {
        if let Some(worker) = self.idle.notify() {
            self.rouse(worker);
        }
    }

    /// The same, also if somebody searches already.
    #[cold]
    fn notify_beside(&'static self) {
        if let Some(worker) = self.idle.notify_beside() {
            self.rouse(worker);
        }
    }

    /// Gets a worker running that was taken out of the bitmap as a searcher.
    fn rouse(&'static self, worker: usize) {
        match self.processors[worker].seat.notify() {
            Rouse::Unpark(parker) => parker.unpark(),
            Rouse::Start => self.start_thread(worker),
        }
    }

    /// Starts the thread of a worker that was notified and has none.
    #[cold]
    fn start_thread(&'static self, worker: usize) {
        if self.flavor == Flavor::CurrentThread {
            return;
        }
        let Some(host) = self.host() else { return self.called_too_late(worker) };
        // The monitor's thread is not to take the place of the first worker's.
        if self.was_just_refused() && self.is_attended() {
            self.watch();
            if self.monitor.is_there() {
                self.never_started(worker);
                // Those who run may have left meanwhile, and relied on this call.
                return if self.is_attended() { self.leave_to_others() } else { self.offer_work() };
            }
        }
        // While this thread has the host, the scheduler goes to no other runtime.
        self.runner_came();
        self.idle.set_manned(worker, true);
        match host.start_thread(Role::Worker, Box::new(move || worker::main(self, worker))) {
            Ok(()) => {
                self.refusal.forget();
                self.watch_first();
            }
            Err(error) => self.start_failed(worker, error),
        }
    }

    /// Announces that the worker is going to sleep, or that nobody runs it. The caller has to look at every source once more.
    fn park(&self, worker: usize, was_searching: bool) {
        self.idle.park(worker, was_searching);
        self.monitor.parked(self);
    }

    /// The runtime is gone, and with it whatever the call was for; but the next one may rely on the search that it began.
    fn called_too_late(&'static self, worker: usize) {
        self.never_started(worker);
        // The second look of everybody who parks. A runtime that has begun to end sees to its tasks itself.
        if self.host().is_some() && !loom::mutant!("late_call_is_dropped") {
            self.offer_work();
        }
    }

    /// Puts the worker back that was to have a thread. The caller has to look at every source once more.
    fn never_started(&self, worker: usize) {
        self.processors[worker].seat.retract();
        self.put_back(worker, true);
    }

    /// Announces that the worker, whose bit somebody has cleared, has no thread.
    fn put_back(&self, worker: usize, searching: bool) {
        self.idle.set_manned(worker, false);
        self.park(worker, searching);
    }

    /// The system refused a thread: somebody else has to do the work, or the callers have to know.
    fn start_failed(&'static self, worker: usize, error: io::Error) {
        // Before others see that somebody is wanted again, and ask.
        self.refusal.note();
        self.never_started(worker);
        self.runner_left();
        if self.is_attended() {
            // It may be that all who run are in blocking code.
            self.leave_to_others();
        } else {
            self.fail_unattended(&Error::new(error));
        }
    }

    /// Some thread is there that runs tasks, now or when its own future waits.
    fn is_attended(&self) -> bool {
        let life = self.life.lock();
        life.runners + life.guests > 0
    }

    /// Those who run come by the injector within a few polls; those who sleep look once more when woken.
    fn leave_to_others(&'static self) {
        self.wake_manned();
        self.next_guest();
        self.watch();
        self.monitor.stir(self);
    }

    /// Wakes every thread that sleeps on a seat; used where a single wake-up may not have reached anybody.
    fn wake_manned(&self) {
        for processor in &self.processors {
            for sleeper in processor.seat.sleepers() {
                sleeper.unpark();
            }
        }
    }

    /// True if some queue that others may take from is not empty.
    fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.reach().iter().any(|processor| !processor.stealer.is_empty())
    }

    /// True once tasks are no longer polled but failed.
    #[inline]
    fn is_stopping(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == STOPPING
    }
}

impl Ambient for Shared {
    fn executor(&self) -> Option<Arc<dyn Executor>> {
        Some(self.host()?.executor())
    }
}

impl Schedule for &'static Shared {
    #[inline]
    fn schedule(&self, runnable: Runnable) {
        if let Err(runnable) = self.on_worker(runnable, core::push_woken) {
            self.inject(runnable);
        }
    }

    #[inline]
    fn yielded(&self, runnable: Runnable) {
        if let Err(runnable) = self.on_worker(runnable, core::push_yielded) {
            self.inject(runnable);
        }
    }

    #[inline]
    fn bind(&self, runnable: &Runnable) -> Option<SlotRef> {
        self.forbid_return();
        let bound = context::with(|context| {
            let context = context.filter(|context| ptr::eq(context.shared, *self))?;
            Some(context.core.borrow_mut().as_mut()?.binder.bind(runnable))
        });
        let slot = bound.unwrap_or_else(|| self.strays.lock().bind(runnable));
        // The walk of the shutdown may have passed by. Without a fence this look may miss a stop that has just begun; the
        // task is then found by whoever leaves last.
        if self.is_stopping() {
            runnable.cancel();
        }
        Some(slot)
    }

    #[inline]
    fn unbind(&self, slot: SlotRef) {
        let unbound = context::with(|context| {
            let context = context.filter(|context| ptr::eq(context.shared, *self))?;
            context.core.borrow_mut().as_mut()?.binder.unbind(slot);
            Some(())
        });
        if unbound.is_none() {
            cell::unbind(slot);
        }
    }

    fn cancel_error(&self) -> Error {
        if self.is_stopping() { Error::shutdown() } else { Error::cancelled() }
    }

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        Ambient::executor(*self)
    }
}
