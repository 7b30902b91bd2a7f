//! A reference to a runtime that may be cloned, sent and kept; which runtime a thread stands in; the default runtime.
//!
//! # Which runtime is meant
//! The one that the thread stands in: a worker, a thread inside `block_on`, one with an [`EnterGuard`], a thread of the
//! blocking pool. Elsewhere the process-wide default: the one that `#[runtime::main]` installed while it lives, or else
//! one that is built on first use. So there is always a runtime, and library code needs no set-up.

mod config;
mod default;
mod driver;
mod enter;
mod metrics;
mod stop;
mod threads;
mod unobserved;

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::blocking::{Pool, free_threads};
use crate::cell::{self, Meta, Runnable, Task};
use crate::context::{Executor, Host, Job, Role, Stall, Unobserved, print_line};
use crate::driver::duration_to_ns;
use crate::error::drop_quietly;
use crate::inherit;
use crate::scheduler::{self, Shared};
use crate::{fork, id};

pub(crate) use config::{Config, Hook, MAX_WORKERS, ThreadName};
pub(crate) use default::{build_global, install};
pub(crate) use driver::{
    advance_clock, arm, arm_elsewhere, arm_here, clock_changed, clock_now, clock_now_or_before, driver,
    pause_clock, reactor, read_clock, would_arm_with,
};
pub use enter::EnterGuard;
pub use metrics::Metrics;
pub use stop::{ShutdownReport, TaskInfo};
use threads::Threads;
pub use unobserved::UnobservedPolicy;

/// A reference to a runtime: spawns on it, enters it, asks it for figures.
///
/// Clones are cheap. A handle does not keep the runtime running: once that is shut down, spawning gives a
/// [`Task`] that resolves with [`is_shutdown`](crate::Error::is_shutdown).
#[derive(Clone)]
pub struct Handle {
    pub(crate) inner: Arc<Inner>,
}

/// What all handles of one runtime share; the last one to go returns the scheduler to its list.
pub(crate) struct Inner {
    shared: &'static Shared,
    pool: Arc<Pool>,
    config: Config,
    id: u64,
    stop: stop::Stop,
    threads: Arc<Threads>,
    acted: unobserved::Acted,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Inner {
    /// A runtime without threads, open for tasks.
    pub(crate) fn start(config: Config) -> Arc<Self> {
        fork::watch(fork::Who::Runtimes, forget_parent);
        let shared = Shared::obtain(config.flavor, config.workers);
        let pool = Pool::new(config.max_blocking_threads, free_threads, config.blocking_keep_alive);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::new(Inner {
            shared,
            pool,
            config,
            id,
            stop: stop::Stop::default(),
            threads: Arc::default(),
            acted: unobserved::Acted::default(),
        });
        let host: Arc<dyn Host> = inner.clone();
        inner.pool.set_host(Arc::downgrade(&host));
        shared.open(Arc::downgrade(&host), inner.config.monitor());
        if inner.config.start_paused {
            shared.driver().pause();
        }
        inner
    }
}

/// Makes a process that was just forked off like one that has never had a runtime.
fn forget_parent() {
    id::forget_parent();
    cell::forget_parent();
    scheduler::forget_parent();
    default::forget_parent();
    stop::forget_parent();
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.is_lost() {
            // The jobs that it would drop, and the threads that it would let go of, are the parent process's.
            std::mem::forget((self.pool.clone(), self.threads.clone()));
            return;
        }
        // A runtime that was never shut down, only forgotten by everybody, ends here.
        self.pool.close();
        self.shared.stop();
        self.shared.retire();
    }
}

impl Host for Inner {
    fn start_thread(&self, role: Role, body: Job) -> io::Result<()> {
        let handle = self.handle().ok_or_else(|| io::Error::other("the runtime is gone"))?;
        let mut builder = thread::Builder::new().name(self.config.thread_name.next(role));
        if let Some(bytes) = self.config.thread_stack_size {
            builder = builder.stack_size(bytes);
        }
        self.threads.start(builder, move || {
            stop::set_own(handle.id());
            let hooks = handle.inner.config.hooks.clone();
            let _entered = handle.enter();
            // The hooks are for threads on which the user's code runs.
            if role == Role::Monitor {
                return body();
            }
            hooks.run_start();
            body();
            hooks.run_stop();
        })
    }

    fn wake_later(&self, delay: Duration, waker: &Waker) {
        let now = self.shared.driver().clock().now();
        // Nobody takes it back: it goes off, or ends with the runtime.
        if self.shared.arm(now, now.saturating_add(duration_to_ns(delay)), waker).is_none() {
            waker.wake_by_ref();
        }
    }

    fn stalled(&self, stall: Stall) {
        let tell = || {
            #[cfg(feature = "tracing")]
            stall.trace();
            match &self.config.on_stall {
                Some(handler) => handler(stall),
                None => print_line(&stall),
            }
        };
        // The message of a panic was printed by the hook; the thread is needed all the same.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(tell)) {
            drop_quietly(payload);
        }
    }

    fn is_blocking(&self) -> bool {
        let figures = self.pool.figures();
        // A thread that is not idle has a job, or has just been given one.
        figures.queued > 0 || figures.threads > figures.idle
    }

    fn retry_overdue(&self) {
        self.pool.retry_if_overdue();
    }

    fn executor(self: Arc<Self>) -> Arc<dyn Executor> {
        self
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Executor for Inner {
    fn execute(&self, job: Job) {
        self.shared.run_owed(job, Location::caller());
    }

    fn report(&self, unobserved: Unobserved) {
        self.take_unobserved(unobserved);
    }

    fn id(&self) -> u64 {
        self.id
    }
}

impl Inner {
    /// A counted reference, found through the scheduler, which knows its host.
    fn handle(&self) -> Option<Handle> {
        Handle::of(self.shared)
    }
}

impl Handle {
    fn of(shared: &'static Shared) -> Option<Handle> {
        let inner = shared.host()?.as_any().downcast::<Inner>().ok()?;
        Some(Handle { inner })
    }

    pub(crate) fn shared(&self) -> &'static Shared {
        self.inner.shared
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.inner.pool
    }

    /// The runtime that this thread stands in, or else the default one, which is built if need be.
    ///
    /// ```
    /// let handle = runtime::Handle::current();
    /// assert_eq!(handle.block_on(async { 1 + 1 }), 2);
    /// ```
    ///
    /// # Panics
    /// If the default runtime cannot be built, with the reason.
    #[track_caller]
    pub fn current() -> Handle {
        match Handle::try_current() {
            Some(handle) => handle,
            // Not in a closure, which would hide the caller from the panic.
            None => default::get(),
        }
    }

    /// The runtime that this thread stands in, if it stands in one.
    pub fn try_current() -> Option<Handle> {
        Handle::of(scheduler::entered()?)
    }

    /// Spawns a task on this runtime; see [`spawn`](crate::spawn()). If no thread can be had the task resolves with the
    /// system's error.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared().spawn(future, (), Location::caller())
    }

    /// Runs blocking code on this runtime's blocking pool; see [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<T>(&self, f: impl FnOnce() -> T + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        self.spawn_blocking_with(f, (), Location::caller())
    }

    /// A job of ours that begins also if the runtime ends before it has.
    #[track_caller]
    pub(crate) fn spawn_owed<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Task<T> {
        let (job, task) = self.pool().job(f, (), Location::caller());
        self.submit(job, Pool::push_owed);
        task
    }

    pub(crate) fn spawn_blocking_with<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
        meta: impl Meta,
        location: &'static Location<'static>,
    ) -> Task<T> {
        let pool = self.pool();
        let (job, task) = match inherit::capture() {
            None => pool.job(f, meta, location),
            captured => pool.job(move || inherit::run(captured, f), meta, location),
        };
        self.submit(job, Pool::push);
        task
    }

    /// Gives a job to the pool by `push`, unless the runtime takes no more.
    fn submit(&self, job: Runnable, push: fn(&Arc<Pool>, Runnable)) {
        if self.shared().is_closed() {
            self.pool().refuse(job);
        } else {
            push(self.pool(), job);
        }
    }

    /// Runs a future on this thread until it is ready; see [`Runtime::block_on`](crate::Runtime::block_on).
    ///
    /// Once the runtime is shut down the future is polled on, and what it spawns there fails with
    /// [`is_shutdown`](crate::Error::is_shutdown).
    ///
    /// # Panics
    /// If the future does, or in a process that was forked off while the runtime was there.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.enter();
        scheduler::block_on(self.shared(), future)
    }

    /// Calls `f` on the runtime, soon. On a current-thread runtime the calls of one thread come in order; others have none. A
    /// panic of `f` is reported as that of a detached task. If the runtime is shut down before, `f` is dropped and
    /// never called.
    #[track_caller]
    pub fn call_soon(&self, f: impl FnOnce() + Send + 'static) {
        self.shared().call_soon(f, Location::caller());
    }

    /// The name given with [`Builder::name`](crate::Builder::name).
    pub fn runtime_name(&self) -> Option<&str> {
        self.inner.config.name.as_deref()
    }

    /// A number that no other runtime of this process has.
    pub fn id(&self) -> u64 {
        self.inner.id
    }
}

/// Handles are equal if they refer to the same runtime.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Handle {}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.id()).field("name", &self.runtime_name()).finish()
    }
}

const _: () = {
    const fn shared<T: Clone + Send + Sync>() {}
    shared::<Handle>();
};
