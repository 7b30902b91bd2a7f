//! The awaiting side: [`Task`], and the two handles made from it, [`AbortHandle`] and [`AbortOnDrop`].
#![expect(unsafe_code, reason = "typed access to the output behind the type-erased header")]

use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::callbacks::{self, Entry, TaskOutcome};
use super::current;
use super::raw::{Header, Runnable};
use super::state::Detach;
use crate::context::{Executor, Unobserved, forbid_blocking};
use crate::coop::{self, BudgetGuard};
use crate::error::{Error, drop_quietly};
use crate::id::TaskId;
use crate::loom::lock::assert_none_held;
use crate::parker::{self, Parker};

/// A coroutine that the runtime is running, and the right to its output.
///
/// Awaiting it moves the output out: `Ok` with the value, or the [`Error`] that says whether the task was cancelled,
/// panicked, the runtime was shut down, or the system refused it a thread.
///
/// - **Drop** detaches: the task goes on. A panic that nobody can see any more is then reported once to
///   [`Builder::on_unobserved`](crate::Builder::on_unobserved). See [`abort_on_drop`](Self::abort_on_drop).
/// - **Cancel** with [`cancel`](Self::cancel): the future is dropped at the await point where it stands, on a thread of
///   the runtime and without another poll; the task completes after its destructors ran.
/// - **Panic** in the future, its destructor or its output's destructor is caught and kept in the error.
///
/// What happened before `spawn` is visible to the first poll; what the task did is visible once it was awaited.
///
/// ```
/// runtime::block_on(async {
///     let task = runtime::spawn(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
pub struct Task<T> {
    /// The header, with TAKEN once the output was moved out, and FAILED if it was an error.
    header: NonNull<Header>,
    output: PhantomData<T>,
}

/// Headers are aligned to eight, so the lowest bits of a pointer to one are free.
const TAKEN: usize = 1;
/// With TAKEN: the output was an error, and a copy of it is still in the cell.
const FAILED: usize = 2;

// SAFETY: the handle moves the output between threads and never gives two threads access to it.
unsafe impl<T: Send> Send for Task<T> {}
// SAFETY: a shared handle reads the state word, and clones the error of an output but never touches a value.
unsafe impl<T: Send> Sync for Task<T> {}
impl<T> Unpin for Task<T> {}
impl<T> UnwindSafe for Task<T> {}
impl<T> RefUnwindSafe for Task<T> {}

impl<T> Task<T> {
    /// The one handle of a new cell.
    pub(super) fn of(runnable: &Runnable) -> Self {
        Task { header: runnable.header(), output: PhantomData }
    }

    #[inline]
    fn pointer(&self) -> NonNull<Header> {
        let header = self.header.as_ptr().map_addr(|addr| addr & !(TAKEN | FAILED));
        // SAFETY: the tag was set on a non-null pointer that is aligned to more than the tag.
        unsafe { NonNull::new_unchecked(header) }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps the header alive.
        unsafe { &*self.pointer().as_ptr() }
    }

    #[inline]
    fn is_taken(&self) -> bool {
        self.header.addr().get() & TAKEN != 0
    }

    /// True if the cell of the finished task still holds something.
    fn holds_output(&self) -> bool {
        self.header.addr().get() & (TAKEN | FAILED) != TAKEN
    }

    /// The number that names this task for as long as the process lives.
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// The name given with [`task::Builder::name`](crate::task::Builder::name).
    pub fn name(&self) -> Option<&str> {
        // SAFETY: the handle's reference outlives the borrow of the handle.
        unsafe { Header::name(self.pointer()) }
    }

    /// True once the output is there and the future's destructors ran.
    pub fn is_finished(&self) -> bool {
        self.header().state.is_complete()
    }

    /// Asks the task to stop; false if it had already finished, and then the value is kept.
    ///
    /// A task that waits is dropped where it stands, without another poll; one that is being polled is dropped when
    /// that poll returns `Pending`, and keeps its value if it returns `Ready`. Asking again changes nothing, and the
    /// future cannot refuse.
    ///
    /// ```
    /// runtime::block_on(async {
    ///     let task = runtime::spawn(std::future::pending::<()>());
    ///     assert!(task.cancel());
    ///     assert!(task.await.unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn cancel(&self) -> bool {
        // SAFETY: the handle's reference.
        unsafe { Header::cancel(self.pointer()) }
    }

    /// As [`cancel`](Self::cancel); true only if nobody had asked before.
    pub(crate) fn cancel_first(&self) -> bool {
        // SAFETY: the handle's reference.
        unsafe { Header::cancel_first(self.pointer()) == Some(true) }
    }

    /// Asks the task to stop, at once, and waits until its destructors ran; a value that came first is returned.
    ///
    /// Dropping the returned future, also before its first poll, detaches the task, which stops all the same.
    pub fn cancel_and_wait(self) -> impl Future<Output = Result<T, Error>> + use<T> {
        self.cancel();
        self
    }

    /// A handle that can cancel and cannot await; it works after this one was dropped.
    pub fn abort_handle(&self) -> AbortHandle {
        self.header().retain();
        AbortHandle { header: self.pointer() }
    }

    /// The same task, cancelled when its handle is dropped.
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop(self)
    }

    /// Waits until the task has finished, without taking the output.
    ///
    /// Cancel-safe: dropping it leaves the task as it was, and no waker behind.
    pub async fn done(&mut self) {
        Done { task: self, polled: false }.await;
    }

    /// [`done`](Self::done) as a poll function. Only the latest waker is kept.
    ///
    /// # Panics
    /// If a task polls its own handle, which could never become ready.
    pub fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.poll_finished(cx);
        let waits_for_itself =
            polled.is_pending() && !self.is_finished() && current::is_polling(self.pointer().as_ptr());
        if waits_for_itself {
            self.refuse_to_wait();
        }
        polled
    }

    #[cold]
    #[track_caller]
    fn refuse_to_wait(&self) -> ! {
        let name = self.name().map(|name| format!(" {name:?}")).unwrap_or_default();
        panic!("task {}{name} cannot await itself: it would wait for ever", self.id());
    }

    /// [`poll_done`](Self::poll_done) for who does not wait: it may be called by the task itself.
    fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let unit = ready!(coop::poll_proceed(cx));
        if self.is_finished() || self.id().is_lost() || !self.register(cx.waker()) {
            unit.made_progress();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Polls for the output, also while the task itself is being polled here.
    pub(crate) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        ready!(self.poll_finished(cx));
        Poll::Ready(self.output())
    }

    /// The report of a panic that the task gave as its output, and who is to hear of it.
    pub(crate) fn unobserved(&self, panic: Error) -> (Option<Arc<dyn Executor>>, Unobserved) {
        // SAFETY: the handle has a reference.
        let reporter = unsafe { Header::reporter(self.pointer(), &panic) };
        let name = self.name().map(str::to_owned);
        (reporter, Unobserved::task(panic, self.id(), name, self.header().location))
    }

    /// What the task gave, which has finished or was lost.
    #[track_caller]
    fn output(&mut self) -> Result<T, Error> {
        // It is the parent process that goes on with a lost one.
        if self.is_finished() { self.take() } else { Err(Error::lost()) }
    }

    /// Leaves `waker` in the waiter slot; false if the task has finished meanwhile.
    fn register(&mut self, waker: &Waker) -> bool {
        let header = self.header();
        if header.state.has_waiter() {
            // SAFETY: only the handle clears WAITER, so the slot stays written; the completing thread only reads it.
            let same = header.waiter.with(|waiter| unsafe { &*waiter.cast::<Waker>() }.will_wake(waker));
            if same {
                return !self.is_finished();
            }
            if !header.state.unset_waiter() {
                return false;
            }
            // It may be another awaiter's: a panic of its destructor is not ours.
            drop_quietly(self.empty_slot());
        }
        // The clone may run foreign code; the slot is ours meanwhile.
        let waker = waker.clone();
        // SAFETY: WAITER is clear, so the slot is the handle's and empty.
        header.waiter.with_mut(|waiter| unsafe { (*waiter).write(waker) });
        let registered = header.state.set_waiter();
        if !registered {
            drop_quietly(self.empty_slot());
        }
        registered
    }

    /// Takes back the waker of a wait that was given up, unless the task has completed.
    fn withdraw(&mut self) {
        let state = &self.header().state;
        if state.has_waiter() && state.unset_waiter() {
            // This runs in a destructor.
            drop_quietly(self.empty_slot());
        }
    }

    /// Takes the waker back that the handle wrote; WAITER is clear and nobody else will.
    fn empty_slot(&self) -> Waker {
        // SAFETY: the callers wrote the slot and then cleared WAITER, or failed to set it.
        self.header().waiter.with(|waiter| unsafe { waiter.cast::<Waker>().read() })
    }

    /// Gives the waker back that waits for the task, if there is one: nobody is woken when it ends.
    pub(crate) fn stop_waiting(&mut self) {
        self.withdraw();
    }

    /// Why the task has ended without a value, if it has, without taking it.
    pub(crate) fn error(&self) -> Option<Error> {
        if !self.is_finished() || !self.holds_output() {
            return None;
        }
        // SAFETY: the task is complete, and the output or the copy of an error is in the cell.
        unsafe { Header::peek_error(self.pointer()) }
    }

    /// Blocks this thread until the task has finished, and gives its output.
    ///
    /// # Panics
    /// Inside a task, and in a future given to `block_on`, such as the body of `main`: there await the task. In
    /// [`block_in_place`](crate::task::block_in_place) it may be called.
    #[track_caller]
    pub fn wait(mut self) -> Result<T, Error> {
        forbid_blocking("Task::wait", "await the task");
        self.block(None).expect("there was no deadline")
    }

    /// As [`wait`](Self::wait), for at most `timeout`; `None` if the task has not finished by then.
    ///
    /// # Panics
    /// As [`wait`](Self::wait), and if the output was taken before.
    #[track_caller]
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<T, Error>> {
        forbid_blocking("Task::wait_timeout", "await the task");
        self.block(Some(timeout))
    }

    fn block(&mut self, timeout: Option<Duration>) -> Option<Result<T, Error>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let parker = Parker::new();
        let waker = parker::waker(&parker);
        let mut cx = Context::from_waker(&waker);
        // A thread that blocks has nobody to give way to.
        let _free = BudgetGuard::unconstrained();
        loop {
            if let Poll::Ready(output) = Pin::new(&mut *self).poll(&mut cx) {
                return Some(output);
            }
            match deadline {
                None => parker.park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.withdraw();
                        return None;
                    }
                    parker.park_timeout(left);
                }
            }
        }
    }

    /// Registers a callback with the runtime that shall run it.
    pub(crate) fn add_done_callback_on(
        &self,
        executor: Arc<dyn Executor>,
        location: &'static Location<'static>,
        callback: impl FnOnce(TaskOutcome) + Send + 'static,
    ) {
        let id = self.id();
        callbacks::insert(id, Entry { executor, callback: Box::new(callback), location });
        if !self.header().state.set_callbacks() {
            callbacks::run(TaskOutcome::new(id, self.error()));
        }
    }

    /// Moves the output out of a finished task.
    #[track_caller]
    fn take(&mut self) -> Result<T, Error> {
        assert!(!self.is_taken(), "task {} was polled after it had given its output", self.id());
        let mut output = MaybeUninit::<Result<T, Error>>::uninit();
        // SAFETY: the task is complete, the output is there, and its type is this handle's.
        let failed = unsafe { Header::take_output(self.pointer(), output.as_mut_ptr().cast()) };
        let tag = if failed { TAKEN | FAILED } else { TAKEN };
        self.header = self.header.map_addr(|addr| addr | tag);
        // SAFETY: written by the call above.
        unsafe { output.assume_init() }
    }
}

/// # Panics
/// If it is polled after it was ready, or by the task itself.
impl<T> Future for Task<T> {
    type Output = Result<T, Error>;

    #[inline]
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        ready!(self.poll_done(cx));
        Poll::Ready(self.output())
    }
}

/// The future of [`Task::done`].
struct Done<'a, T> {
    task: &'a mut Task<T>,
    /// The waker in the slot, if there is one, is this wait's.
    polled: bool,
}

impl<T> Future for Done<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polled = true;
        self.task.poll_done(cx)
    }
}

impl<T> Drop for Done<'_, T> {
    fn drop(&mut self) {
        if self.polled {
            self.task.withdraw();
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        assert_none_held();
        let header = self.pointer();
        loop {
            match self.header().state.detach() {
                Detach::Done => return,
                Detach::Waiter => {
                    // A foreign waker's destructor must not keep the handle from going away.
                    drop_quietly(self.empty_slot());
                }
                Detach::Output => break,
            }
        }
        if self.holds_output() {
            // SAFETY: the task is complete and the cell holds its output or the copy of an error.
            unsafe { Header::drop_output(header, self.is_taken()) };
        }
        // SAFETY: the handle's reference is given away here, once.
        unsafe { Header::release(header) };
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Task");
        out.field("id", &self.id())
            .field("name", &self.name())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Cancels a task from wherever it is kept; made by [`Task::abort_handle`].
///
/// Keeps a little memory of the task alive, never its future or its output. Dropping it does nothing else.
///
/// ```
/// runtime::block_on(async {
///     let task = runtime::spawn(std::future::pending::<()>());
///     let handle = task.abort_handle();
///     assert!(handle.cancel());
///     assert!(task.await.unwrap_err().is_cancelled());
///     assert!(handle.is_finished() && !handle.cancel());
/// });
/// ```
pub struct AbortHandle {
    header: NonNull<Header>,
}

// SAFETY: an abort handle reaches the state word and constant fields only.
unsafe impl Send for AbortHandle {}
// SAFETY: as above.
unsafe impl Sync for AbortHandle {}
impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl AbortHandle {
    fn header(&self) -> &Header {
        // SAFETY: the handle's reference keeps the header alive.
        unsafe { self.header.as_ref() }
    }

    /// As [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        // SAFETY: the handle's reference.
        unsafe { Header::cancel(self.header) }
    }

    /// As [`Task::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.header().state.is_complete()
    }

    /// As [`Task::id`].
    pub fn id(&self) -> TaskId {
        self.header().id
    }
}

impl Clone for AbortHandle {
    fn clone(&self) -> Self {
        self.header().retain();
        AbortHandle { header: self.header }
    }
}

impl Drop for AbortHandle {
    fn drop(&mut self) {
        // SAFETY: the handle's reference is given away here, once.
        unsafe { Header::release(self.header) };
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// A [`Task`] that is cancelled when its handle goes away; made by [`Task::abort_on_drop`].
///
/// Awaiting it is awaiting the task. The drop does not wait for the task's destructors.
#[must_use = "dropping it cancels the task"]
pub struct AbortOnDrop<T>(Task<T>);

impl<T> AbortOnDrop<T> {
    /// The plain handle again, which detaches on drop.
    pub fn detach(self) -> Task<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: read once, and the original is not dropped.
        unsafe { std::ptr::read(&raw const this.0) }
    }

    pub(crate) fn task(&mut self) -> &mut Task<T> {
        &mut self.0
    }

    /// As [`Task::cancel`].
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }

    /// As [`Task::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// As [`Task::id`].
    pub fn id(&self) -> TaskId {
        self.0.id()
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl<T> fmt::Debug for AbortOnDrop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AbortOnDrop").field(&self.0).finish()
    }
}
