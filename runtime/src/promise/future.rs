//! The reading side: looked at, awaited by value or by reference, cancelled, called back.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, ready};

use super::audience::Event;
use super::callbacks::CallbackId;
use super::cell::{Cell, Claim, Failure};
use super::exception_of;
use super::state::State;
use super::waiters::Key;
use crate::context::Executor;
use crate::coop;
use crate::error::Error;
use crate::loom::Arc;

/// A value that somebody will set through a [`Promise`](super::Promise): one of any number of readers.
///
/// Readers are independent. Each clone, and each `(&future).await`, waits by itself; dropping a reader or aborting a
/// task that awaits one affects nobody else. Only [`cancel`](Self::cancel) cancels. Await it from any task, thread or
/// executor: `future.await` gives a clone of the value, `(&future).await` a reference to it without `T: Clone`. Once it
/// is done it may be awaited and read again and again.
///
/// Waiters are woken in the order in which they began to wait. On several workers that is not the order in which they
/// go on; callbacks are the ones that run in order.
///
/// A failure (an exception, a panic; not a cancellation, nor the end of a runtime, nor a promise that was dropped without a
/// panic) that nobody ever read is reported once when the last handle, promise included, goes: to the runtime on which it
/// was set, else to standard error. One that came from a [task](crate::Task::shared) is reported as the task's. Awaiting,
/// [`result`](Self::result), [`exception`](Self::exception) and the blocking waits read it; [`cancel`](Self::cancel) does not.
///
/// This is not the trait of the same name, which it implements.
///
/// ```
/// use runtime::Promise;
///
/// let (promise, future) = Promise::new();
/// let other = future.clone();
/// promise.set_result(String::from("here")).unwrap();
/// runtime::block_on(async {
///     assert_eq!((&future).await.unwrap(), "here"); // a reference
///     assert_eq!(other.await.unwrap(), "here"); // a clone
/// });
/// ```
pub struct Future<T> {
    pub(super) cell: Arc<Cell<T>>,
    key: Option<Key>,
}

impl<T> Future<T> {
    /// Takes over one reader of the cell's handles.
    pub(super) fn adopt(cell: Arc<Cell<T>>) -> Self {
        Future { cell, key: None }
    }

    /// A future that has its value already.
    ///
    /// ```
    /// assert_eq!(runtime::block_on(runtime::Future::ready(3)).unwrap(), 3);
    /// ```
    #[track_caller]
    pub fn ready(value: T) -> Self {
        Future::adopt(Arc::new(Cell::done(Ok(value), Location::caller())))
    }

    /// A future that has failed already.
    ///
    /// The exception is treated as by [`Promise::set_exception`](super::Promise::set_exception), the report if nobody
    /// reads it included.
    ///
    /// ```
    /// let future = runtime::Future::<u8>::failed("no such luck");
    /// assert_eq!(future.exception().unwrap().to_string(), "no such luck");
    /// ```
    #[track_caller]
    pub fn failed(exception: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let failure = Failure::new(exception_of(exception.into()));
        Future::adopt(Arc::new(Cell::done(Err(failure), Location::caller())))
    }

    /// Where it stands. Says nothing of the failure itself: it is not read by this.
    ///
    /// ```
    /// use runtime::{Future, State};
    /// assert_eq!(Future::ready(1).state(), State::Finished);
    /// ```
    pub fn state(&self) -> State {
        self.cell.state()
    }

    /// True once there is a result, whatever its kind.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// assert!(!future.done());
    /// drop(promise);
    /// assert!(future.done());
    /// ```
    pub fn done(&self) -> bool {
        self.state() != State::Pending
    }

    /// True if it was cancelled.
    ///
    /// ```
    /// assert!(!runtime::Future::ready(1).cancelled());
    /// ```
    pub fn cancelled(&self) -> bool {
        self.state() == State::Cancelled
    }

    /// The result, or `None` while it is pending. Costs one load once the future is done.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::new();
    /// assert!(future.result().is_none());
    /// promise.set_result(7).unwrap();
    /// assert_eq!(future.result().unwrap().unwrap(), &7);
    /// ```
    pub fn result(&self) -> Option<Result<&T, &Error>> {
        self.cell.result()
    }

    /// The failure, a cancellation included; `None` while it is pending and if there is a value.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// drop(promise);
    /// assert!(future.exception().unwrap().is_broken_promise());
    /// ```
    pub fn exception(&self) -> Option<&Error> {
        self.result()?.err()
    }

    /// Cancels it for all readers, and tells the producer; false if it was done already.
    ///
    /// The future completes with an error that [is a cancellation](Error::is_cancelled). The producer is not stopped:
    /// it learns of it from [`Promise::closed`](super::Promise::closed), or when its setting method fails.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// assert!(future.cancel());
    /// assert!(!future.cancel());
    /// assert!(promise.is_cancelled());
    /// ```
    pub fn cancel(&self) -> bool {
        if self.done() {
            return false;
        }
        let failure = Failure::cancelled();
        Claim::take(&self.cell).map(|claim| claim.settle(Err(failure))).is_ok()
    }

    /// Drops a callback that has not begun to run; false if it has, or if `id` is of another future.
    ///
    /// A callback may be removed also after completion, as long as its turn has not come. A panic of its destructor
    /// goes to the caller.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::new();
    /// let id = future.add_done_callback(|_| unreachable!("it was removed"));
    /// assert!(future.remove_done_callback(id));
    /// assert!(!future.remove_done_callback(id));
    /// promise.set_result(1).unwrap();
    /// ```
    pub fn remove_done_callback(&self, id: CallbackId) -> bool {
        self.cell.remove_callback(id)
    }
}

impl<T: Send + Sync + 'static> Future<T> {
    /// Registers `function` to run on `executor` when this future is done, soon if it is done already.
    ///
    /// Callbacks of one future run one at a time in the order of registration, over several executors too. A panic is
    /// reported to the callback's executor and does not keep the next from running. If the executor is shut down, its
    /// callbacks are dropped. Until it has run, a callback is a reader: the promise is not closed.
    pub(crate) fn add_done_callback_on(
        &self,
        executor: StdArc<dyn Executor>,
        function: impl FnOnce(&Future<T>) + Send + 'static,
    ) -> CallbackId {
        Cell::add_callback(&self.cell, executor, Box::new(function))
    }
}

/// One more reader, which waits by itself.
impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        self.cell.retain_reader();
        Future::adopt(self.cell.clone())
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        self.cell.withdraw(Event::Done, self.key.take());
        self.cell.release_reader();
    }
}

/// A clone of the result. It may be polled again after it was ready.
impl<T: Clone> std::future::Future for Future<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let result = ready!(poll_result(&this.cell, &mut this.key, cx));
        Poll::Ready(result.cloned().map_err(Error::clone))
    }
}

impl<'a, T> IntoFuture for &'a Future<T> {
    type Output = Result<&'a T, &'a Error>;
    type IntoFuture = Wait<'a, T>;

    fn into_future(self) -> Wait<'a, T> {
        Wait { cell: &self.cell, key: None }
    }
}

/// The future of `(&future).await`: gives a reference to the result. Dropping it leaves nothing behind.
///
/// ```
/// struct NotClone(u8);
///
/// let (promise, future) = runtime::Promise::new();
/// promise.set_result(NotClone(9)).unwrap();
/// assert_eq!(runtime::block_on(async { (&future).await.unwrap().0 }), 9);
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Wait<'a, T> {
    cell: &'a Cell<T>,
    key: Option<Key>,
}

impl<'a, T> Wait<'a, T> {
    /// As `poll`, without a charge to the task's budget.
    pub(super) fn poll_free(&mut self, cx: &Context<'_>) -> Poll<Result<&'a T, &'a Error>> {
        poll_free(self.cell, &mut self.key, cx)
    }
}

impl<'a, T> std::future::Future for Wait<'a, T> {
    type Output = Result<&'a T, &'a Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        poll_result(this.cell, &mut this.key, cx)
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        self.cell.withdraw(Event::Done, self.key.take());
    }
}

fn poll_result<'a, T>(
    cell: &'a Cell<T>,
    key: &mut Option<Key>,
    cx: &mut Context<'_>,
) -> Poll<Result<&'a T, &'a Error>> {
    let unit = ready!(coop::poll_proceed(cx));
    let result = ready!(poll_free(cell, key, cx));
    unit.made_progress();
    Poll::Ready(result)
}

fn poll_free<'a, T>(
    cell: &'a Cell<T>,
    key: &mut Option<Key>,
    cx: &Context<'_>,
) -> Poll<Result<&'a T, &'a Error>> {
    ready!(cell.poll_event(Event::Done, key, cx.waker()));
    Poll::Ready(cell.result().expect("a future that is done has a result"))
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt_as("Future", f)
    }
}

impl<T> fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt_as("Wait", f)
    }
}
