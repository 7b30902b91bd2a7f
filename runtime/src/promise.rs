//! A value that somebody sets by hand, once, and that any number of readers wait for.
//!
//! # Shape
//! ```text
//!   Promise<T> ──┐                         ┌─ word      pending, or the kind of the result (word.rs)
//!   Future<T>  ──┼── Arc ──▶ Cell<T> ──────┼─ handles   readers, and whether the promise lives
//!   Drain job  ──┘                         ├─ slot      Result<T, Failure>, written once
//!                                          └─ audience  waiters and callbacks, under the one lock
//! ```
//! `cell.rs` owns the shared state, `waiters.rs` the wakers, `callbacks.rs` the callbacks and the job that runs them,
//! `future.rs` the reading side. This file is the writing side.
//!
//! # Protocol
//! Settle (set, cancel or drop of the promise):
//! 1. look at the word: if it is done, the value goes back;
//! 2. lock the audience and look again: whoever gets here first has won, and the others find that out in step 1 or 2;
//! 3. write the slot;
//! 4. publish the outcome in the word, Release;
//! 5. take the whole audience, unlock, wake in order, start the callbacks.
//!
//! Wait: look at the word; clone the waker; lock; look again; enlist if it is still pending. The settler has not had the
//! lock then and will find the waiter in step 5.
//!
//! Read: one Acquire load of the word, never the lock.
//!
//! # Invariants
//! - **P1** The slot is written once, under the lock, while the word is pending. It is read only after an Acquire load
//!   of the word has seen an outcome.
//! - **P2** A waiter that is in the list is woken by whoever takes the list. It leaves the list only by being taken or
//!   by its own future.
//! - **P3** `draining` is true exactly while one `Drain` job exists, queued or running: callbacks of one
//!   future never overlap and run in the order of registration.
//! - **P4** Every `Future` and every waiting callback is one reader in `handles`; the last handle to go, promise
//!   included, is the one that reports a failure nobody read.
//! - **P5** Nothing foreign runs under the audience's lock (I1): wakers are cloned before and woken or dropped after it.
//!
//! # Rejected
//! - Callbacks inside `set_result`: the setter's stack and locks would be theirs, and chains would recurse.
//! - A list of wakers without keys: abandoned waits would pile up until completion.
//! - A lock around the value: reads of a finished future would write a shared line.
//! - Claiming by a compare-and-swap of the word before the lock is taken for the audience: two more locked operations,
//!   and a loser has to spin until the winner's outcome is there, or else calls done what still reads as pending.

mod audience;
mod callbacks;
mod cell;
mod future;
mod state;
mod wait;
mod waiters;
mod word;

#[cfg(all(test, runtime_loom))]
mod models;
#[cfg(all(test, not(runtime_loom)))]
mod tests;

use std::fmt;
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};

use crate::context::{self, Executor, Unobserved};
use crate::coop;
use crate::error::{BoxError, Error};
use crate::loom::Arc;
use audience::Event;
use cell::{Cell, Claim, Failure};
use waiters::Key;

pub use callbacks::CallbackId;
pub use future::{Future, Wait};
pub use state::{InvalidState, State};

/// The writing side of a [`Future`]: sets its result or exception, once.
///
/// A promise may be shared (`Arc<Promise<T>>`, or by reference): all setting methods take `&self`, one of them wins,
/// and the others get their value back in [`InvalidState`]. A reader that calls [`Future::cancel`] takes part in the
/// same race. Readers are woken in the order in which they began to wait; callbacks run later, on their runtime, never
/// inside the setting method.
///
/// Dropping a promise that was not set completes the future with an error that
/// [is a broken promise](Error::is_broken_promise) and whose text says whether the producer panicked. A waiter never
/// waits for a promise that is gone.
///
/// A panic of a waiter's waker does not reach the setter and does not keep other waiters from being woken; the first
/// one is reported as an unobserved failure.
///
/// ```
/// use runtime::Promise;
///
/// let (promise, future) = Promise::new();
/// std::thread::spawn(move || promise.set_result(6 * 7).unwrap());
/// assert_eq!(runtime::block_on(future).unwrap(), 42);
/// ```
pub struct Promise<T> {
    cell: Arc<Cell<T>>,
}

impl<T: Send + Sync + 'static> Promise<T> {
    /// A promise and its first reader.
    ///
    /// The place of the call is named in the report of a failure that nobody read.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::new();
    /// promise.set_result("ready").unwrap();
    /// assert_eq!(future.result().unwrap().unwrap(), &"ready");
    /// ```
    #[track_caller]
    pub fn new() -> (Promise<T>, Future<T>) {
        Promise::of(Cell::pending(Location::caller()))
    }

    /// A promise inside of something that users hold, and drop whenever they unwind: that it breaks is no failure of a
    /// producer.
    #[track_caller]
    pub(crate) fn inner() -> (Promise<T>, Future<T>) {
        Promise::of(Cell::pending(Location::caller()).inner())
    }

    fn of(cell: Cell<T>) -> (Promise<T>, Future<T>) {
        let cell = Arc::new(cell);
        let future = Future::adopt(cell.clone());
        (Promise { cell }, future)
    }

    /// One more reader. If there was none left, the promise is no longer [closed](Self::is_closed).
    ///
    /// ```
    /// let (promise, first) = runtime::Promise::<u8>::new();
    /// drop(first);
    /// let second = promise.future();
    /// promise.set_result(1).unwrap();
    /// assert!(second.done());
    /// ```
    pub fn future(&self) -> Future<T> {
        self.cell.retain_reader();
        Future::adopt(self.cell.clone())
    }

    /// Completes the future with a value.
    ///
    /// It succeeds also when no reader is left: [`future`](Self::future) may make one later.
    ///
    /// # Errors
    /// Gives the value back if the future is done already, cancelled included.
    ///
    /// ```
    /// use runtime::{Promise, State};
    ///
    /// let (promise, future) = Promise::new();
    /// future.cancel();
    /// let lost = promise.set_result(5).unwrap_err();
    /// assert_eq!((lost.state, lost.value), (State::Cancelled, 5));
    /// ```
    pub fn set_result(&self, value: T) -> Result<(), InvalidState<T>> {
        match Claim::take(&self.cell) {
            Ok(claim) => {
                claim.settle(Ok(value));
                Ok(())
            }
            Err(state) => Err(InvalidState { state, value }),
        }
    }

    /// Completes the future with an exception.
    ///
    /// An exception that is an [`Error`] is taken as it is, with its kind; one that
    /// [is a cancellation](Error::is_cancelled) makes the future's state [`State::Cancelled`].
    ///
    /// An exception that no reader ever looks at is reported once, when the last handle of the pair goes; that a runtime
    /// [was shut down](Error::is_shutdown) is not.
    ///
    /// # Errors
    /// Gives the exception back, as an [`Error`], if the future is done already.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// promise.set_exception("no paper").unwrap();
    /// assert_eq!(future.exception().unwrap().to_string(), "no paper");
    /// ```
    pub fn set_exception(
        &self,
        exception: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<(), InvalidState<Error>> {
        self.fail(exception_of(exception.into()))
    }

    /// Completes the future with a result that may be either, for instance one that came from a task.
    ///
    /// # Errors
    /// Gives the result back if the future is done already.
    ///
    /// ```
    /// let (first, future) = runtime::Promise::<u8>::new();
    /// first.set_exception("torn").unwrap();
    /// let (second, copy) = runtime::Promise::<u8>::new();
    /// second.set(runtime::block_on(future)).unwrap();
    /// assert_eq!(copy.exception().unwrap().to_string(), "torn");
    /// ```
    pub fn set(&self, result: Result<T, Error>) -> Result<(), InvalidState<Result<T, Error>>> {
        match result {
            Ok(value) => self.set_result(value).map_err(|lost| lost.map(Ok)),
            Err(error) => self.fail(error).map_err(|lost| lost.map(Err)),
        }
    }

    /// Calls `f` and completes the future with what it returns; a panic of `f` becomes an error that
    /// [is a panic](Error::is_panic).
    ///
    /// If the future is done by then, cancelled for instance, what `f` returned is dropped; a panic that is lost this
    /// way is reported. `f` runs in any case: ask [`is_closed`](Self::is_closed) first if that matters.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::new();
    /// promise.set_with(|| "12".parse::<u32>());
    /// assert_eq!(*future.wait().unwrap(), 12);
    ///
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// promise.set_with(|| -> Result<u8, std::fmt::Error> { panic!("out of ink") });
    /// assert!(future.wait().unwrap_err().is_panic());
    /// ```
    pub fn set_with<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        self,
        f: impl FnOnce() -> Result<T, E>,
    ) {
        let result = catch_unwind(AssertUnwindSafe(|| f().map_err(|error| exception_of(error.into()))))
            .unwrap_or_else(|payload| Err(Error::panicked(payload)));
        self.set_or_report(result);
    }

    /// As [`set`](Self::set). A result that comes too late goes; a panic of its producer is reported.
    pub(crate) fn set_or_report(&self, result: Result<T, Error>) {
        if let Err(InvalidState { value: Err(error), .. }) = self.set(result) {
            if error.is_panic() {
                self.cell.report_here(error);
            }
        }
    }

    /// As [`set_or_report`](Self::set_or_report), of a task's output: a panic that nobody sees is the task's.
    pub(crate) fn forward(
        &self,
        output: Result<T, Error>,
        report: impl FnOnce(Error) -> (Option<std::sync::Arc<dyn Executor>>, Unobserved),
    ) {
        match output {
            Err(panic) if panic.is_panic() => {
                let (executor, report) = report(panic);
                if let Err(late) = self.fail_with(Failure::of_task(executor, report)) {
                    late.value.report();
                }
            }
            output => self.set_or_report(output),
        }
    }

    /// True once the future has a result, an exception or was cancelled.
    ///
    /// ```
    /// let (promise, _future) = runtime::Promise::new();
    /// assert!(!promise.is_done());
    /// promise.set_result(()).unwrap();
    /// assert!(promise.is_done());
    /// ```
    pub fn is_done(&self) -> bool {
        self.cell.state() != State::Pending
    }

    /// True if a reader [cancelled](Future::cancel) the future.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// future.cancel();
    /// assert!(promise.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.cell.state() == State::Cancelled
    }

    /// True if setting a value is of no use: the future is done, was cancelled, or has no reader left.
    ///
    /// A callback that waits to run is a reader. Without readers this is advice only: [`future`](Self::future) may make
    /// one again.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// assert!(!promise.is_closed());
    /// drop(future);
    /// assert!(promise.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.cell.has_happened(Event::Closed)
    }

    /// Waits until the promise [is closed](Self::is_closed). Any number of tasks may wait at a time.
    ///
    /// # Cancellation
    /// Dropping it loses nothing and leaves nothing behind.
    ///
    /// ```
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// std::thread::spawn(move || drop(future));
    /// runtime::block_on(promise.closed());
    /// assert!(promise.is_closed());
    /// ```
    pub async fn closed(&self) {
        Closed { cell: &self.cell, key: None }.await;
    }

    /// As [`closed`](Self::closed), for hand-written futures.
    ///
    /// The promise remembers one waker for this method, that of the last call: if several tasks wait, let each await
    /// [`closed`](Self::closed).
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// let (promise, future) = runtime::Promise::<u8>::new();
    /// drop(future);
    /// runtime::block_on(poll_fn(|cx| promise.poll_closed(cx)));
    /// ```
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let unit = ready!(coop::poll_proceed(cx));
        ready!(self.cell.poll_event(Event::Closed, &mut Some(Key::POLLED), cx.waker()));
        unit.made_progress();
        Poll::Ready(())
    }

    fn fail(&self, error: Error) -> Result<(), InvalidState<Error>> {
        // Before the claim, which holds the lock: this asks the runtime for a reference.
        self.fail_with(Failure::new(error)).map_err(|late| late.map(Failure::into_error))
    }

    fn fail_with(&self, failure: Failure) -> Result<(), InvalidState<Failure>> {
        match Claim::take(&self.cell) {
            Ok(claim) => {
                claim.settle(Err(failure));
                Ok(())
            }
            Err(state) => Err(InvalidState { state, value: failure }),
        }
    }
}

/// An exception that is our own error already is not wrapped again: its kind survives.
fn exception_of(exception: BoxError) -> Error {
    match exception.downcast::<Error>() {
        Ok(error) => *error,
        Err(exception) => Error::new(exception),
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if self.cell.state() == State::Pending {
            let producer_panicked = !self.cell.is_inner && context::is_panicking();
            // A panic has a report of its own: this is one for those who wait for the value, if there are any.
            let failure = Failure::broken(producer_panicked, self.cell.has_readers());
            if let Ok(claim) = Claim::take(&self.cell) {
                claim.settle(Err(failure));
            }
        }
        self.cell.release_promise();
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cell.fmt_as("Promise", f)
    }
}

/// The future of [`Promise::closed`].
struct Closed<'a, T> {
    cell: &'a Cell<T>,
    key: Option<Key>,
}

impl<T> std::future::Future for Closed<'_, T> {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let unit = ready!(coop::poll_proceed(cx));
        ready!(self.cell.poll_event(Event::Closed, &mut self.key, cx.waker()));
        unit.made_progress();
        Poll::Ready(())
    }
}

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        self.cell.withdraw(Event::Closed, self.key.take());
    }
}

// Nothing of the cell can be seen half-written: the value is published whole, the lists survive a panic between steps.
impl<T: RefUnwindSafe> UnwindSafe for Promise<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for Promise<T> {}
impl<T: RefUnwindSafe> UnwindSafe for Future<T> {}
impl<T: RefUnwindSafe> RefUnwindSafe for Future<T> {}

#[expect(dead_code, reason = "compiling it is the check")]
const fn shared_everywhere<T: Send + Sync + 'static>() {
    const fn check<U: Send + Sync>() {}
    const fn check_unpin<U: Unpin>() {}
    check::<Promise<T>>();
    check::<Future<T>>();
    check::<Wait<'static, T>>();
    check::<Closed<'static, T>>();
    check::<InvalidState<T>>();
    check::<CallbackId>();
    check_unpin::<Future<*mut std::marker::PhantomPinned>>();
}

const _: () = assert!(size_of::<Future<[u64; 9]>>() == size_of::<Arc<()>>() + size_of::<Option<Key>>());
