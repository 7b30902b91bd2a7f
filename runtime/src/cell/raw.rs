//! The cell itself: allocation, layout, poll, completion, and the table of functions behind the type-erased pointer.
//!
//! # Access
//! | part | who may touch it |
//! |---|---|
//! | `stage` as future | whoever holds the runnable (RUNNING) |
//! | `stage` as output | the completing thread until COMPLETE, then the handle; without a handle, the completing thread |
//! | `waiter` | the handle while WAITER is clear; while it is set both may read, and the completing thread owns the waker |
//! | `slot` | whoever holds the runnable |
//! | the rest | anybody, it does not change |
#![expect(unsafe_code, reason = "a type-erased, counted, self-scheduling allocation")]

use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::callbacks::{self, TaskOutcome};
use super::owned::Slot;
use super::state::{Cancel, Complete, Start, State, Suspend, Wake};
use super::{Meta, Schedule, current, waker};
use crate::context::{self, Executor, Unobserved};
use crate::error::{Error, drop_quietly};
use crate::id::TaskId;
use crate::loom::UnsafeCell;
use crate::loom::lock::assert_none_held;

/// What every task begins with, whatever its types. 56 bytes; with a scheduler of one pointer the future begins at 64.
#[repr(C)]
pub(crate) struct Header {
    pub(super) state: State,
    vtable: &'static VTable,
    /// Holds a waker while WAITER is set, and only then.
    pub(super) waiter: UnsafeCell<MaybeUninit<Waker>>,
    slot: UnsafeCell<Option<SlotRef>>,
    pub(super) id: TaskId,
    pub(super) location: &'static Location<'static>,
}

/// Where a bound task is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotRef(pub(super) NonNull<Slot>);

/// Who is to hear of a failure that nobody sees, if it is not standard error.
type Reporter = Option<Arc<dyn Executor>>;

struct VTable {
    run: unsafe fn(NonNull<Header>) -> bool,
    fail: unsafe fn(NonNull<Header>, Error),
    schedule: unsafe fn(NonNull<Header>),
    take_output: unsafe fn(NonNull<Header>, *mut ()) -> bool,
    peek_error: unsafe fn(NonNull<Header>) -> Option<Error>,
    drop_output: unsafe fn(NonNull<Header>, bool),
    name: unsafe fn(NonNull<Header>) -> Option<NonNull<str>>,
    reporter: unsafe fn(NonNull<Header>, &Error) -> Reporter,
    dealloc: unsafe fn(NonNull<Header>),
}

/// What a cell of any future begins with. What asks for no more than this is compiled once for each kind of scheduler, and
/// not again for each future; but each spawn and await is worth the copies of what is marked `inline(always)`.
#[repr(C)]
struct Front<S> {
    header: Header,
    scheduler: S,
}

#[repr(C)]
struct TaskCell<F: Future, S, M> {
    front: Front<S>,
    meta: M,
    stage: UnsafeCell<Stage<F>>,
}

/// First the future, then the output; the state word knows which. Both begin where the stage does.
#[repr(C)]
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Result<F::Output, Error>>,
}

impl<F: Future> Stage<F> {
    /// The place of the future.
    fn future(stage: *mut Self) -> *mut F {
        stage.cast()
    }

    /// The place of the output. Written through this, never as a `Stage`, which on the stack would be as large as the
    /// future.
    fn output(stage: *mut Self) -> *mut Result<F::Output, Error> {
        stage.cast()
    }
}

/// The right to poll a task once.
///
/// Dropped without being run, it completes the task with [`is_shutdown`](Error::is_shutdown): a task can be late but
/// not lost.
#[derive(Debug)]
pub(crate) struct Runnable(NonNull<Header>);

// SAFETY: a runnable may change threads if its future may, which `spawn` requires of the futures whose runnables leave
// their thread; a scheduler that takes others (`LocalSet`) keeps them at home.
unsafe impl Send for Runnable {}

impl Runnable {
    /// Polls the task once and sends it where it belongs next; true if that completed it. Catches whatever panics.
    #[inline]
    pub(crate) fn run(self) -> bool {
        assert_none_held();
        let header = ManuallyDrop::new(self).0;
        // SAFETY: the runnable was the right to poll, and its runtime reference keeps the header alive.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: as above; the table belongs to the types of this cell.
        unsafe { (vtable.run)(header) }
    }

    /// Drops the future and completes the task with `error`. Catches whatever panics.
    pub(crate) fn fail(self, error: Error) {
        assert_none_held();
        let header = ManuallyDrop::new(self).0;
        // SAFETY: as in `run`.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: as in `run`.
        unsafe { (vtable.fail)(header, error) }
    }

    pub(super) fn header(&self) -> NonNull<Header> {
        self.0
    }

    #[inline]
    pub(crate) fn id(&self) -> TaskId {
        // SAFETY: the runnable's runtime reference keeps the header alive.
        unsafe { self.0.as_ref() }.id
    }

    /// Where the task was spawned.
    #[inline]
    pub(crate) fn location(&self) -> &'static Location<'static> {
        // SAFETY: as in `id`.
        unsafe { self.0.as_ref() }.location
    }

    /// Asks the task to stop when its poll ends.
    pub(crate) fn cancel(&self) {
        // SAFETY: the runnable's runtime reference keeps the header alive.
        let cancelled = unsafe { self.0.as_ref() }.state.cancel();
        debug_assert_eq!(cancelled, Cancel::Asked, "a task in somebody's hands is queued by nobody else");
    }

    /// Takes the runnable apart, for a queue of pointers.
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    /// `header` came from [`into_raw`](Self::into_raw) and is put together again only once.
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Runnable(header)
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        Runnable(self.0).fail(Error::shutdown());
    }
}

impl Header {
    pub(super) fn retain(&self) {
        self.state.retain();
    }

    /// # Safety
    /// The caller has a reference and gives it away.
    pub(super) unsafe fn release(header: NonNull<Header>) {
        // SAFETY: the caller's reference.
        if unsafe { header.as_ref() }.state.release() {
            // SAFETY: it was the last one.
            unsafe { Header::dealloc(header) };
        }
    }

    /// # Safety
    /// The caller had the last reference.
    #[inline]
    unsafe fn dealloc(header: NonNull<Header>) {
        // SAFETY: the last reference keeps the header alive until the call below.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: nobody else can reach the cell.
        unsafe { (vtable.dealloc)(header) };
    }

    /// # Safety
    /// The caller has the right to enqueue.
    #[inline]
    unsafe fn schedule(header: NonNull<Header>) {
        // SAFETY: a task that is not complete is kept alive by the runtime's reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: the caller's right becomes the runnable.
        unsafe { (vtable.schedule)(header) };
    }

    /// # Safety
    /// The caller has a reference.
    pub(super) unsafe fn wake_by_ref(header: NonNull<Header>) {
        // SAFETY: the caller's reference.
        if unsafe { header.as_ref() }.state.wake_by_ref() {
            // SAFETY: the transition gave the right to enqueue.
            unsafe { Header::schedule(header) };
        }
    }

    /// # Safety
    /// The caller has a reference and gives it away.
    pub(super) unsafe fn wake_by_value(header: NonNull<Header>) {
        // SAFETY: the caller's reference.
        match unsafe { header.as_ref() }.state.wake_by_value() {
            Wake::Nothing => {}
            // SAFETY: the transition gave the right to enqueue.
            Wake::Enqueue => unsafe { Header::schedule(header) },
            // SAFETY: it was the last reference.
            Wake::Dealloc => unsafe { Header::dealloc(header) },
        }
    }

    /// Asks the task to stop; false if it had finished.
    ///
    /// # Safety
    /// The caller has a reference, or otherwise knows that the task is not complete.
    pub(super) unsafe fn cancel(header: NonNull<Header>) -> bool {
        // SAFETY: passed on to the caller.
        unsafe { Header::cancel_first(header) }.is_some()
    }

    /// Asks the task to stop; true if nobody had asked before, `None` if it had finished.
    ///
    /// # Safety
    /// As for [`cancel`](Self::cancel).
    pub(super) unsafe fn cancel_first(header: NonNull<Header>) -> Option<bool> {
        // SAFETY: the caller's reference.
        let (cancel, first) = unsafe { header.as_ref() }.state.cancel_first();
        match cancel {
            Cancel::Finished => return None,
            Cancel::Asked => {}
            // SAFETY: the transition gave the right to enqueue.
            Cancel::Enqueue => unsafe { Header::schedule(header) },
        }
        Some(first)
    }

    /// As [`cancel`](Self::cancel), but the right to enqueue goes to the caller.
    ///
    /// # Safety
    /// As for [`cancel`](Self::cancel).
    pub(super) unsafe fn cancel_quietly(header: NonNull<Header>) -> Option<Runnable> {
        // SAFETY: the caller's reference.
        match unsafe { header.as_ref() }.state.cancel() {
            Cancel::Enqueue => Some(Runnable(header)),
            Cancel::Asked | Cancel::Finished => None,
        }
    }

    /// Wakes whoever awaits the handle, after the last access to the cell.
    ///
    /// # Safety
    /// The caller got `Complete::Wake`.
    #[inline(always)]
    unsafe fn wake_waiter(header: NonNull<Header>) {
        // SAFETY: the runtime's reference keeps the cell alive until `release_runtime`.
        let this = unsafe { header.as_ref() };
        // A read, not a take: the handle may be comparing the waker's pointers at this moment.
        // SAFETY: COMPLETE and WAITER are set, so the slot holds a waker, and it is the completing thread's.
        let waker = this.waiter.with(|waiter| unsafe { waiter.cast::<Waker>().read() });
        if this.state.release_runtime() {
            // SAFETY: that was the last reference.
            unsafe { Header::dealloc(header) };
        }
        // A waker of another executor may panic; the task is complete and the worker goes on.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            drop_quietly(payload);
        }
    }

    /// Moves the output to `*out`, which holds a `Result<T, Error>`; true if it leaves a copy of an error behind.
    ///
    /// # Safety
    /// The caller is the handle, saw COMPLETE, calls this once, and `out` points to room for the task's output.
    #[inline]
    pub(super) unsafe fn take_output(header: NonNull<Header>, out: *mut ()) -> bool {
        // SAFETY: the handle's reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: passed on to the caller.
        unsafe { (vtable.take_output)(header, out) }
    }

    /// # Safety
    /// The caller is the handle, saw COMPLETE, and has not taken the output.
    pub(super) unsafe fn peek_error(header: NonNull<Header>) -> Option<Error> {
        // SAFETY: the handle's reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: passed on to the caller.
        unsafe { (vtable.peek_error)(header) }
    }

    /// Drops the output, or the copy of an error that was left behind (`read`).
    ///
    /// # Safety
    /// The caller is the handle, saw COMPLETE, and the stage holds an output or a copy of an error.
    pub(super) unsafe fn drop_output(header: NonNull<Header>, read: bool) {
        // SAFETY: the handle's reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: passed on to the caller.
        unsafe { (vtable.drop_output)(header, read) };
    }

    /// # Safety
    /// The caller has a reference and lets the name live no longer than that.
    pub(super) unsafe fn name<'a>(header: NonNull<Header>) -> Option<&'a str> {
        // SAFETY: the caller's reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: as above.
        let name = unsafe { (vtable.name)(header) }?;
        // SAFETY: the name lives in the cell and does not change.
        Some(unsafe { name.as_ref() })
    }

    /// Who is to hear of a failure that nobody sees.
    ///
    /// # Safety
    /// The caller has a reference.
    pub(super) unsafe fn reporter(header: NonNull<Header>, error: &Error) -> Reporter {
        // SAFETY: the caller's reference.
        let vtable = unsafe { header.as_ref() }.vtable;
        // SAFETY: as above.
        unsafe { (vtable.reporter)(header, error) }
    }
}

/// Allocates the cell and moves the future straight into it.
#[inline]
pub(super) fn allocate<F, S, M>(
    future: F,
    scheduler: S,
    meta: M,
    id: TaskId,
    location: &'static Location<'static>,
) -> Runnable
where
    F: Future + 'static,
    S: Schedule,
    M: Meta,
{
    let header = Header {
        state: State::new(),
        vtable: const { &TaskCell::<F, S, M>::VTABLE },
        waiter: UnsafeCell::new(MaybeUninit::uninit()),
        slot: UnsafeCell::new(None),
        id,
        location,
    };
    let stage = UnsafeCell::new(Stage { future: ManuallyDrop::new(future) });
    // Written through the box's memory, an optimized build moves the future straight into its place.
    let mut memory = Box::new_uninit();
    memory.write(TaskCell { front: Front { header, scheduler }, meta, stage });
    // SAFETY: a box's pointer is not null, and a repr(C) cell begins with its header.
    Runnable(unsafe { NonNull::new_unchecked(Box::into_raw(memory).cast::<Header>()) })
}

impl<S: Schedule> Front<S> {
    /// # Safety
    /// `header` belongs to a live cell with this scheduler, and the reference does not outlive the caller's right to it.
    #[inline(always)]
    unsafe fn of<'a>(header: NonNull<Header>) -> &'a Self {
        // SAFETY: the caller's contract; all that changes in it is atomic or in an UnsafeCell.
        unsafe { header.cast::<Self>().as_ref() }
    }

    unsafe fn schedule(header: NonNull<Header>) {
        // SAFETY: the caller has the right to enqueue, so the task is not complete and its cell is alive.
        let scheduler = unsafe { Self::of(header) }.scheduler.clone();
        // From here on the runnable may run, finish and free the cell on another thread: only the clone is ours.
        scheduler.schedule(Runnable(header));
    }

    /// Makes the task findable before it waits for the first time.
    #[inline]
    fn bind(&self, header: NonNull<Header>) {
        self.header.slot.with_mut(|slot| {
            // SAFETY: the caller holds RUNNING, and with it the slot field.
            let slot = unsafe { &mut *slot };
            if slot.is_none() {
                *slot = self.scheduler.bind(&ManuallyDrop::new(Runnable(header)));
            }
        });
    }

    /// Takes a task that is about to complete out of the scheduler's books.
    #[inline(always)]
    fn unbind(&self) {
        // SAFETY: the caller holds RUNNING, and with it the slot field.
        let slot = self.header.slot.with_mut(|slot| unsafe { &mut *slot }.take());
        if let Some(slot) = slot {
            self.scheduler.unbind(slot);
        }
    }

    /// If a task ends with a panic, the error keeps whose task it was.
    #[cold]
    fn set_origin(&self, error: &Error) {
        if error.is_panic() {
            self.scheduler.executor().inspect(|executor| error.set_origin(executor.id()));
        }
    }

    /// Reports the panic of an output's destructor or, if there is none, the one that the output was, if nobody has seen it.
    #[inline]
    fn report_unseen(&self, name: Option<&str>, dropped: Result<(), Error>, unread: Option<Error>) {
        if let Some(error) = dropped.err().or(unread.filter(Error::is_panic)) {
            self.report(name, error);
        }
    }

    #[cold]
    fn report(&self, name: Option<&str>, error: Error) {
        let reporter = self.reporter(&error);
        let unobserved =
            Unobserved::task(error, self.header.id, name.map(str::to_owned), self.header.location);
        context::report(reporter, unobserved);
    }

    unsafe fn reporter_of(header: NonNull<Header>, error: &Error) -> Reporter {
        // SAFETY: the caller has a reference.
        unsafe { Self::of(header) }.reporter(error)
    }

    /// The task's own runtime: the scheduler may serve another one by now, which has no business with the error.
    fn reporter(&self, error: &Error) -> Reporter {
        let origin = error.origin();
        let is_own = |executor: &Arc<dyn Executor>| origin.is_none_or(|origin| origin == executor.id());
        self.scheduler.executor().filter(is_own)
    }
}

impl<F, S, M> TaskCell<F, S, M>
where
    F: Future + 'static,
    S: Schedule,
    M: Meta,
{
    const VTABLE: VTable = VTable {
        run: Self::run,
        fail: Self::fail,
        schedule: Front::<S>::schedule,
        take_output: Self::take_output,
        peek_error: Self::peek_error,
        drop_output: Self::drop_output,
        name: Self::name,
        reporter: Front::<S>::reporter_of,
        dealloc: Self::dealloc,
    };

    /// # Safety
    /// `header` belongs to a live cell of these types, and the reference does not outlive the caller's right to it.
    #[inline(always)]
    unsafe fn of<'a>(header: NonNull<Header>) -> &'a Self {
        // SAFETY: the caller's contract; all that changes in the cell is atomic or in an UnsafeCell.
        unsafe { header.cast::<Self>().as_ref() }
    }

    unsafe fn run(header: NonNull<Header>) -> bool {
        // SAFETY: the caller holds the runnable.
        match unsafe { Self::of(header) }.front.header.state.start() {
            // SAFETY: the runnable is spent here.
            Start::Poll => unsafe { Self::poll(header) },
            Start::Cancel => {
                // SAFETY: the runtime's reference keeps the cell alive.
                let error = unsafe { Self::of(header) }.front.scheduler.cancel_error();
                // SAFETY: the runnable is spent here.
                unsafe { Self::stop(header, error) };
                true
            }
        }
    }

    unsafe fn fail(header: NonNull<Header>, error: Error) {
        // The transition makes later wakes see a task that is owned, as they would during a poll.
        // SAFETY: the caller holds the runnable.
        let _ = unsafe { Self::of(header) }.front.header.state.start();
        // SAFETY: the runnable is spent here.
        unsafe { Self::stop(header, error) };
    }

    // What follows passes the pointer along instead of `&self`: the cell may be freed, here or by another thread,
    // before the function returns, and a reference among the arguments must be good until then.

    /// Polls once; true if that completed the task.
    ///
    /// # Safety
    /// The caller holds RUNNING and gives it away.
    #[inline]
    unsafe fn poll(header: NonNull<Header>) -> bool {
        // SAFETY: RUNNING and the runtime's reference keep the cell alive.
        let cell = unsafe { Self::of(header) };
        let outer = current::enter(header.as_ptr(), cell.front.header.id);
        let waker = waker::borrowed(header);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            cell.stage.with_mut(|stage| {
                // SAFETY: RUNNING is ours, so the stage holds the future and nobody else touches it.
                let future = unsafe { &mut *Stage::future(stage) };
                // SAFETY: the future stays in its cell until it is dropped there.
                let future = unsafe { Pin::new_unchecked(future) };
                future.poll(&mut Context::from_waker(&waker))
            })
        }));
        let woke_itself = current::leave(&outer);
        let output = match polled {
            // SAFETY: RUNNING goes with the call.
            Ok(Poll::Pending) => return unsafe { Self::suspend(header, woke_itself) },
            Ok(Poll::Ready(value)) => match cell.drop_future() {
                Ok(()) => Ok(value),
                Err(panic) => {
                    drop_quietly(value);
                    Err(panic)
                }
            },
            Err(payload) => {
                let _ = cell.drop_unfinished(true);
                Err(Error::panicked(payload))
            }
        };
        // SAFETY: RUNNING goes with the call, and the future is gone.
        unsafe { Self::complete(header, output) };
        true
    }

    /// True if the task turned out to be cancelled and is complete.
    ///
    /// # Safety
    /// The caller holds RUNNING and gives it away.
    #[inline]
    unsafe fn suspend(header: NonNull<Header>, woke_itself: bool) -> bool {
        // SAFETY: RUNNING keeps the cell alive until one of the transitions gives it away.
        let front = unsafe { Front::<S>::of(header) };
        let next = if woke_itself {
            front.header.state.suspend_awake()
        } else {
            front.bind(header);
            front.header.state.suspend()
        };
        match next {
            Suspend::Idle => false,
            Suspend::Requeue => {
                front.scheduler.clone().yielded(Runnable(header));
                false
            }
            Suspend::Cancel => {
                let error = front.scheduler.cancel_error();
                // SAFETY: RUNNING is still ours and goes with the call.
                unsafe { Self::stop(header, error) };
                true
            }
        }
    }

    /// Drops a future that was not ready, whose destructors may be wherever it has waited: they are the task's. Says of it
    /// whether it has `panicked`.
    #[cold]
    fn drop_unfinished(&self, panicked: bool) -> Result<(), Error> {
        let header = &self.front.header;
        let outer = current::enter(header, header.id);
        let dropped = context::dropping(panicked, || self.drop_future());
        current::leave(&outer);
        dropped
    }

    /// Drops the future; the error is the panic of its destructor.
    fn drop_future(&self) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: RUNNING is ours and the stage holds the future, which nobody touches after this.
            self.stage.with_mut(|stage| unsafe { Stage::future(stage).drop_in_place() });
        }))
        .map_err(Error::panicked)
    }

    /// Ends a task without a value.
    ///
    /// # Safety
    /// The caller holds RUNNING and gives it away.
    #[cold]
    unsafe fn stop(header: NonNull<Header>, error: Error) {
        // SAFETY: RUNNING keeps the cell alive.
        let cell = unsafe { Self::of(header) };
        // Whoever ends the task may be unwinding; the task is not.
        let error = cell.drop_unfinished(false).err().unwrap_or(error);
        // SAFETY: RUNNING goes with the call, and the future is gone.
        unsafe { Self::complete(header, Err(error)) };
    }

    /// Publishes the output.
    ///
    /// # Safety
    /// The caller holds RUNNING and gives it away, and has dropped the future.
    #[inline]
    unsafe fn complete(header: NonNull<Header>, output: Result<F::Output, Error>) {
        // SAFETY: RUNNING keeps the cell alive until `State::complete`.
        let cell = unsafe { Self::of(header) };
        let error = output.as_ref().err().cloned();
        cell.front.unbind();
        if let Some(error) = &error {
            cell.front.set_origin(error);
        }
        let id = cell.front.header.id;
        // SAFETY: the future is gone and the stage is still ours.
        cell.stage.with_mut(|stage| unsafe { Stage::output(stage).write(output) });
        let callbacks = match cell.front.header.state.complete() {
            Complete::Done { callbacks } => callbacks,
            Complete::Wake { callbacks } => {
                // SAFETY: RUNNING is still ours and goes with the call.
                unsafe { Header::wake_waiter(header) };
                callbacks
            }
            // SAFETY: RUNNING is still ours and goes with the call.
            Complete::Detached => unsafe { Self::complete_detached(header, error.clone()) },
        };
        if callbacks {
            callbacks::run(TaskOutcome::new(id, error));
        }
    }

    /// Drops an output that nobody wants, reports what nobody saw, and gives the cell back; true if callbacks wait.
    ///
    /// # Safety
    /// The caller got `Complete::Detached`.
    unsafe fn complete_detached(header: NonNull<Header>, error: Option<Error>) -> bool {
        // SAFETY: RUNNING keeps the cell alive until `State::complete_detached`.
        let cell = unsafe { Self::of(header) };
        cell.front.report_unseen(cell.meta.name(), cell.drop_stage_output(), error);
        let (last, callbacks) = cell.front.header.state.complete_detached();
        if last {
            // SAFETY: that was the last reference.
            unsafe { Self::dealloc(header) };
        }
        callbacks
    }

    fn drop_stage_output(&self) -> Result<(), Error> {
        catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the stage holds the output and is the caller's, see the table at the top; dropped once.
            self.stage.with_mut(|stage| unsafe { Stage::output(stage).drop_in_place() });
        }))
        .map_err(Error::panicked)
    }

    unsafe fn take_output(header: NonNull<Header>, out: *mut ()) -> bool {
        // SAFETY: the caller is the handle.
        let cell = unsafe { Self::of(header) };
        // SAFETY: COMPLETE was seen, so the stage holds the output; it is moved out once.
        let output = cell.stage.with_mut(|stage| unsafe { Stage::output(stage).read() });
        let error = output.as_ref().err().cloned();
        // SAFETY: the caller gives room for a value of this type.
        unsafe { out.cast::<Result<F::Output, Error>>().write(output) };
        let failed = error.is_some();
        if let Some(error) = error {
            // Callbacks that are added later are told this error.
            // SAFETY: the stage is empty and the handle's.
            cell.stage.with_mut(|stage| unsafe { Stage::output(stage).write(Err(error)) });
        }
        failed
    }

    unsafe fn peek_error(header: NonNull<Header>) -> Option<Error> {
        // SAFETY: the caller is the handle.
        let cell = unsafe { Self::of(header) };
        cell.stage.with(|stage| {
            // SAFETY: COMPLETE was seen and the output not taken; the handle is borrowed, so nobody takes it now.
            let output = unsafe { &*Stage::output(stage.cast_mut()) };
            output.as_ref().err().cloned()
        })
    }

    unsafe fn drop_output(header: NonNull<Header>, read: bool) {
        // SAFETY: the caller is the handle.
        let cell = unsafe { Self::of(header) };
        // SAFETY: the caller's contract is that of `peek_error`.
        let unread = if read { None } else { unsafe { Self::peek_error(header) } };
        cell.front.report_unseen(cell.meta.name(), cell.drop_stage_output(), unread);
    }

    unsafe fn name(header: NonNull<Header>) -> Option<NonNull<str>> {
        // SAFETY: the caller has a reference.
        let cell = unsafe { Self::of(header) };
        cell.meta.name().map(NonNull::from)
    }

    unsafe fn dealloc(header: NonNull<Header>) {
        // The stage holds nothing any more; the waiter slot is empty unless the handle was forgotten, which leaks the
        // waker.
        // SAFETY: the memory came from a box of this type, and the last reference is gone.
        drop(unsafe { Box::from_raw(header.cast::<Self>().as_ptr()) });
    }
}
