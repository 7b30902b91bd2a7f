//! What users call to make tasks and to live well inside one.

mod builder;
mod local;
mod shared;

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cell::{Task, TaskOutcome};
use crate::handle::Handle;
use crate::inherit;
use crate::promise;
use crate::scheduler;

pub use crate::cell::current;
pub use crate::coop::{Unconstrained, unconstrained};
pub use crate::id::TaskId;
pub use builder::Builder;
pub use local::{LocalSet, spawn_local};

/// The cooperative budget: how long a task may go on before it has to let others run.
///
/// A poll of a task has 128 units. Each operation of this crate that finds its value ready takes one, but for those of
/// [`sync`](crate::sync), which are tokio's; when none is left it wakes its task and answers `Pending`, so that the task goes
/// to the back of the queue. Libraries may charge the
/// budget too: the functions here work, and do nothing, outside of the runtime.
pub mod coop {
    pub use crate::coop::{
        Cooperative, RestoreOnPending, Unconstrained, consume_budget, cooperative, has_budget_remaining,
        poll_proceed, unconstrained,
    };
}

/// Starts to run a coroutine as a task, on whichever worker has time, and gives the handle to its output.
///
/// It runs on the runtime that the thread stands in, or else on the process-wide default one, which is built if need
/// be: this works in `main`, in a plain thread, in a task of another executor. The future is never polled by this call.
/// Dropping the handle detaches the task. On a runtime that is shut down the task resolves with
/// [`is_shutdown`](crate::Error::is_shutdown); on one for which no thread can be had, with the system's error.
///
/// # Panics
/// If the default runtime is needed and cannot be built, with the reason.
///
/// ```
/// let tasks: Vec<_> = (0..10).map(|n| runtime::spawn(async move { n * n })).collect();
/// let mut sum = 0;
/// for task in tasks {
///     sum += runtime::block_on(task).unwrap();
/// }
/// assert_eq!(sum, 285);
/// ```
#[inline]
#[track_caller]
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn_at(future, Location::caller())
}

/// As [`spawn`], for a call that stands elsewhere.
#[inline]
#[track_caller]
pub(crate) fn spawn_at<F>(future: F, location: &'static Location<'static>) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match scheduler::entered() {
        Some(shared) => shared.spawn(future, (), location),
        None => Handle::current().shared().spawn(future, (), location),
    }
}

/// Runs code that blocks on a thread where it may, and gives the handle to its output.
///
/// The thread stands in the runtime. A job that is cancelled while it waits for a thread never runs; its handle resolves
/// when its turn comes. One that runs goes on to its end. If the system refuses a thread and none exists, the task resolves
/// with the system's error.
///
/// # Panics
/// If the default runtime is needed and cannot be built, with the reason.
///
/// ```
/// let text = runtime::spawn_blocking(|| std::fs::read_to_string("Cargo.toml"));
/// assert!(runtime::block_on(text).unwrap().is_ok());
/// ```
#[track_caller]
pub fn spawn_blocking<T>(f: impl FnOnce() -> T + Send + 'static) -> Task<T>
where
    T: Send + 'static,
{
    Handle::current().spawn_blocking_with(f, (), Location::caller())
}

/// Lets the other tasks of the worker run first.
///
/// Cancel-safe. Works under any executor: it wakes its own waker and is ready the second time.
///
/// ```
/// runtime::block_on(async {
///     runtime::task::yield_now().await;
/// });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Runs code that blocks here and now, on this thread, after the worker's other tasks went to another one.
///
/// For blocking calls in the middle of a task that cannot move; [`spawn_blocking`] is the usual way. Works everywhere:
/// on a current-thread runtime and outside of any it just calls `f`.
///
/// ```
/// let task = runtime::spawn(async { runtime::task::block_in_place(|| std::fs::read("Cargo.toml").is_ok()) });
/// assert!(runtime::block_on(task).unwrap());
/// ```
pub fn block_in_place<R>(f: impl FnOnce() -> R) -> R {
    scheduler::block_in_place(f)
}

impl<T> Task<T> {
    /// Calls `callback` on the current runtime once the task has ended, also if it has already.
    ///
    /// Callbacks of one task run one after the other, in the order in which they were added; a panic of one is reported
    /// and the next one runs. If that runtime is shut down before, `callback` is dropped and never called.
    ///
    /// A callback is told of a panic, and does not see it in the sense of [`Builder::on_unobserved`]: of a detached task that is
    /// reported all the same.
    ///
    /// [`Builder::on_unobserved`]: crate::Builder::on_unobserved
    ///
    /// # Panics
    /// If the default runtime is needed and cannot be built, with the reason.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let task = runtime::spawn(async {});
    /// task.add_done_callback(move |outcome| sender.send(outcome.is_finished()).unwrap());
    /// assert_eq!(receiver.recv(), Ok(true));
    /// ```
    #[track_caller]
    pub fn add_done_callback(&self, callback: impl FnOnce(TaskOutcome) + Send + 'static) {
        let captured = inherit::capture();
        let callback = move |outcome| inherit::run(captured, || callback(outcome));
        self.add_done_callback_on(Handle::current().inner, Location::caller(), callback);
    }
}

impl<T: Send + Sync + 'static> promise::Future<T> {
    /// Calls `callback` on the current runtime once the future is done, also if it is already.
    ///
    /// Callbacks of one future run one after the other, in the order in which they were added, and never inside
    /// `set_result`; a panic of one is reported and the next one runs. If that runtime is shut down before, `callback` is
    /// dropped and never called.
    ///
    /// # Panics
    /// If the default runtime is needed and cannot be built, with the reason.
    ///
    /// ```
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let (promise, future) = runtime::Promise::new();
    /// future.add_done_callback(move |done| sender.send(*done.result().unwrap().unwrap()).unwrap());
    /// promise.set_result(7).unwrap();
    /// assert_eq!(receiver.recv(), Ok(7));
    /// ```
    #[track_caller]
    pub fn add_done_callback(
        &self,
        callback: impl FnOnce(&promise::Future<T>) + Send + 'static,
    ) -> promise::CallbackId {
        let captured = inherit::capture();
        let callback = move |done: &promise::Future<T>| inherit::run(captured, || callback(done));
        self.add_done_callback_on(Handle::current().inner, callback)
    }
}
