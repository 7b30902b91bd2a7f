//! The owner of a runtime: builds it, waits in it, shuts it down.

mod builder;
mod entry;

use std::fmt;
use std::time::Duration;

use crate::cell::Task;
use crate::handle::{EnterGuard, Handle, Metrics, ShutdownReport};

pub use builder::Builder;
#[cfg(all(feature = "macros", feature = "signal"))]
pub(crate) use entry::start;
pub use entry::{main, test};

/// How long a drop waits for code of the user's that does not return.
const DROP_PATIENCE: Duration = Duration::from_secs(10);

/// A runtime: worker threads, a blocking pool, and the tasks on them.
///
/// - **Drop** shuts it down: tasks are dropped where they wait and resolve with
///   [`is_shutdown`](crate::Error::is_shutdown), blocking jobs that have not begun never do, threads are joined. Polls,
///   jobs, hooks and handlers that do not return are waited for 10 s in all and then left behind;
///   [`shutdown`](Self::shutdown) gives tasks time to finish first, has another limit, and gives a report. Inside async code the drop does not wait at all and the runtime's own threads do the rest.
/// - **Threads** are started when they are first needed.
///
/// ```
/// use runtime::Runtime;
///
/// let rt = Runtime::new();
/// let sum = rt.block_on(async {
///     let task = runtime::spawn(async { 20 });
///     task.await.unwrap() + 22
/// });
/// assert_eq!(sum, 42);
/// ```
pub struct Runtime {
    handle: Handle,
    shut_down: bool,
}

impl Runtime {
    /// A runtime with default options: as many workers as processors that the process may use, or as the environment
    /// variable `RUNTIME_WORKER_THREADS` says.
    ///
    /// # Panics
    /// With the reason, if it cannot be built; [`Builder::build`] gives it as an error.
    #[track_caller]
    pub fn new() -> Self {
        match Builder::new().build() {
            Ok(runtime) => runtime,
            Err(error) => panic!("cannot build a runtime: {error}"),
        }
    }

    /// For a runtime with other options.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn with_handle(handle: Handle) -> Self {
        Runtime { handle, shut_down: false }
    }

    /// Runs `future` on this thread until it is ready; the thread runs tasks too while the future waits.
    ///
    /// The future may borrow and need not be `Send`; it is not a task and cannot be cancelled. A panic of it goes to the
    /// caller. Works inside a task as well: the worker's other tasks then go to another thread first.
    ///
    /// A task that blocks its thread, and that happens to run on this one, holds up `future` until its poll returns; the
    /// monitor helps other tasks only. What must not wait belongs into a task, and only the call waits then. So a task must
    /// not wait in a `block_on` of its own for something that `future` does later, nor, on a current-thread runtime, for what a
    /// task does after its own nested call: it may stand on top of that one's stack.
    ///
    /// Once the runtime is shut down the future is polled on, and what it spawns there fails with
    /// [`is_shutdown`](crate::Error::is_shutdown).
    ///
    /// # Panics
    /// If the future does, or in a process that was forked off while the runtime was there.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Spawns a task on this runtime; see [`spawn`](crate::spawn()). If no thread can be had the task resolves with the
    /// system's error.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs blocking code on this runtime's blocking pool; see [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<T>(&self, f: impl FnOnce() -> T + Send + 'static) -> Task<T>
    where
        T: Send + 'static,
    {
        self.handle.spawn_blocking(f)
    }

    /// A reference to keep, clone and send.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Makes this thread stand in the runtime until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// The runtime's figures.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Runs tasks until somebody calls [`Handle::stop`]; a stop before the call is remembered and ends it at once.
    ///
    /// ```
    /// let rt = runtime::Runtime::new();
    /// let handle = rt.handle();
    /// rt.spawn(async move { handle.stop() });
    /// rt.run_forever();
    /// ```
    pub fn run_forever(&self) {
        self.block_on(self.handle.stopped());
    }

    /// Shuts the runtime down and says what became of its tasks.
    ///
    /// Tasks and blocking jobs have `grace` to finish, and may spawn others meanwhile, as may whoever else
    /// [stands](Self::enter) in the runtime; tasks and blocking jobs from outside are refused. The grace is over when
    /// nothing is left. Then tasks that wait are dropped where they stand. Whatever has not returned a second later, be it a
    /// poll, a job, a hook, the handler of stalls or the destructor of a thread-local, is reported and its thread left behind.
    ///
    /// Inside async code it cannot wait: the grace is none, and the report knows of nothing stuck.
    pub fn shutdown(mut self, grace: Duration) -> ShutdownReport {
        self.shut_down = true;
        self.handle.shut_down_within(grace)
    }

    /// Shuts the runtime down without waiting for anything.
    pub fn shutdown_background(mut self) {
        self.shut_down = true;
        self.handle.shut_down(Duration::ZERO, Duration::ZERO);
    }
}

impl Default for Runtime {
    #[track_caller]
    fn default() -> Self {
        Runtime::new()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.shut_down {
            self.handle.shut_down(Duration::ZERO, DROP_PATIENCE);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle).finish()
    }
}

/// Runs `future` on this thread until it is ready, on the runtime that the thread stands in, or else the default one.
///
/// See [`Runtime::block_on`].
///
/// ```
/// assert_eq!(runtime::block_on(async { 6 * 7 }), 42);
/// ```
///
/// # Panics
/// If the future does, or if there is no runtime and the default one cannot be built.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    Handle::current().block_on(future)
}
