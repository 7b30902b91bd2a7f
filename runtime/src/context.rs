//! What the lower layers may know of the runtime they stand in: somebody who runs jobs and takes reports.
//!
//! Promises and tasks need a place for callbacks and for failures that nobody saw, and must not name the runtime that
//! gives it. The upper layers implement [`Executor`] and set [`Ambient`] for the threads they start or enter.

mod stall;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use crate::error::{Error, drop_quietly};
use crate::id::TaskId;

pub use stall::{Stall, StallCause};

/// A piece of work without a result.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A running runtime, as seen from below.
pub(crate) trait Executor: Send + Sync {
    /// Runs `job` soon, on a thread of the runtime and never inside this call; a panic of it is reported. Dropped if the
    /// runtime is shut down.
    fn execute(&self, job: Job);

    /// Takes a failure that nobody saw.
    fn report(&self, unobserved: Unobserved);

    /// A number that no other runtime of this process has; not zero.
    fn id(&self) -> u64;
}

/// Who starts threads for the scheduler and the blocking pool: the owner of the runtime.
pub(crate) trait Host: Send + Sync {
    /// Starts a thread that stands in the runtime and runs `body`.
    fn start_thread(&self, role: Role, body: Job) -> io::Result<()>;

    /// Wakes `waker` after `delay`, if some thread of the runtime or of the user's attends its timers; at once if it has
    /// none any more.
    fn wake_later(&self, delay: Duration, waker: &Waker);

    /// Takes the report of a task that keeps its worker for too long.
    fn stalled(&self, stall: Stall);

    /// True while jobs that block wait or run: a virtual clock has to wait for them.
    fn is_blocking(&self) -> bool;

    /// A virtual clock stands still: what was to be tried again by it is, if that is overdue.
    fn retry_overdue(&self) {}

    /// The same, for callbacks.
    fn executor(self: Arc<Self>) -> Arc<dyn Executor>;

    /// The same, as the type that it is.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// What a thread is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Blocking,
    /// Runs no code of the user's but the handler of stalls.
    Monitor,
}

/// The runtime that a thread stands in, without a reference count.
pub(crate) trait Ambient: Sync {
    /// A counted reference, for what outlives the current call.
    fn executor(&self) -> Option<Arc<dyn Executor>>;
}

thread_local! {
    static AMBIENT: Cell<Option<&'static dyn Ambient>> = const { Cell::new(None) };
}

/// Sets what this thread stands in and gives back what it stood in before.
pub(crate) fn replace(ambient: Option<&'static dyn Ambient>) -> Option<&'static dyn Ambient> {
    AMBIENT.with(|current| current.replace(ambient))
}

/// The runtime that this thread stands in.
pub(crate) fn executor() -> Option<Arc<dyn Executor>> {
    AMBIENT.with(Cell::get)?.executor()
}

thread_local! {
    /// What [`is_panicking`] says, where the standard library does not know.
    static PANICKING: Cell<Option<bool>> = const { Cell::new(None) };
}

/// True if whoever owns what is being dropped on this thread has panicked.
pub(crate) fn is_panicking() -> bool {
    PANICKING.with(Cell::get).unwrap_or_else(std::thread::panicking)
}

/// Calls `drop_it`, which drops something whose owner has panicked or not, and does not unwind.
pub(crate) fn dropping<R>(panicked: bool, drop_it: impl FnOnce() -> R) -> R {
    if panicked == is_panicking() {
        return drop_it();
    }
    let before = PANICKING.with(|panicking| panicking.replace(Some(panicked)));
    let dropped = drop_it();
    PANICKING.with(|panicking| panicking.set(before));
    dropped
}

thread_local! {
    /// True while the thread polls tasks of a runtime: what it does must not block.
    static ASYNC: Cell<bool> = const { Cell::new(false) };

    /// True in [`ending`].
    static ENDING: Cell<bool> = const { Cell::new(false) };

    /// How often `ASYNC` was set.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Says whether this thread polls tasks from here on; gives back what it said before.
pub(crate) fn set_async(on: bool) -> bool {
    CHANGES.with(|changes| changes.set(changes.get().wrapping_add(1)));
    ASYNC.with(|flag| flag.replace(on))
}

/// True while this thread polls tasks of a runtime.
pub(crate) fn is_async() -> bool {
    ASYNC.with(Cell::get)
}

/// Calls `f`, which drops one after the other what a runtime leaves unfinished: a destructor among that must not wait for
/// what this thread ends after it.
pub(crate) fn ending<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENDING.with(|ending| ending.set(self.0));
        }
    }
    let _restore = Restore(ENDING.with(|ending| ending.replace(true)));
    f()
}

/// Refuses to block a thread on which other tasks wait for their turn.
///
/// # Panics
/// Inside a task or the future given to `block_on`, and in a destructor at the [end](ending) of a runtime.
#[track_caller]
pub(crate) fn forbid_blocking(what: &str, instead: &str) {
    assert!(
        is_async() || !ENDING.with(Cell::get),
        "{what} in a destructor at the end of a runtime, on a thread that ends other tasks next: {instead} before that"
    );
    assert!(
        !is_async(),
        "{what} would block a thread of the runtime, on which the tasks that could end the wait may have to run: \
         {instead}, or move the call into spawn_blocking or block_in_place"
    );
}

thread_local! {
    /// `Some` while [`flatten`] runs on this thread.
    static REFUSALS: RefCell<Option<Refusals>> = const { RefCell::new(None) };
}

/// The jobs that were put off.
struct Refusals {
    queue: Vec<Job>,
    /// [`CHANGES`] at the beginning of the job that runs.
    changes: u64,
}

/// Runs `job` after the one that is under way on this thread, if there is one.
///
/// For what a job does that its executor drops unrun. A callback that is dropped may drop the next promise of a chain,
/// whose callback is refused as well, and so on: a chain of any length unwinds in this loop and not on the stack.
///
/// A destructor may block on a runtime of its own. What the thread polls meanwhile does not wait for that destructor: its
/// jobs have a loop of their own.
pub(crate) fn flatten(job: Job) {
    let changes = CHANGES.try_with(Cell::get).unwrap_or_default();
    let mut next = Some(job);
    let outer = REFUSALS.try_with(|refusals| match &mut *refusals.borrow_mut() {
        Some(refusals) if refusals.changes == changes => {
            refusals.queue.extend(next.take());
            None
        }
        other => Some(other.replace(Refusals { queue: Vec::new(), changes })),
    });
    while let Some(job) = next.take() {
        // The thread-local may be gone, at the end of its thread; then the stack must do.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
            drop_quietly(payload);
        }
        next = REFUSALS.try_with(|refusals| refusals.borrow_mut().as_mut()?.next()).ok().flatten();
    }
    if let Ok(Some(outer)) = outer {
        let empty = REFUSALS.try_with(|refusals| refusals.replace(outer));
        drop(empty);
    }
}

impl Refusals {
    /// The next job, which begins here: the one before may have polled something.
    fn next(&mut self) -> Option<Job> {
        self.changes = CHANGES.try_with(Cell::get).unwrap_or_default();
        self.queue.pop()
    }
}

/// A failure that nobody can see any more: a panic of a detached task, an exception of a future that was never read.
///
/// Handed to [`Builder::on_unobserved`](crate::Builder::on_unobserved); its `Display` is the line that goes to standard
/// error by default.
#[derive(Clone, Debug)]
pub struct Unobserved {
    error: Error,
    task: Option<(TaskId, Option<String>)>,
    location: &'static Location<'static>,
}

impl Unobserved {
    pub(crate) fn task(
        error: Error,
        id: TaskId,
        name: Option<String>,
        location: &'static Location<'static>,
    ) -> Self {
        Unobserved { error, task: Some((id, name)), location }
    }

    pub(crate) fn future(error: Error, location: &'static Location<'static>) -> Self {
        Unobserved { error, task: None, location }
    }

    /// The failure itself.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// The task that failed; `None` for a [`Future`](crate::Future) that nobody read and that is not a
    /// [shared task](crate::Task::shared), a done callback, a child of a
    /// [group](crate::task_group()) that was dropped or has forgiven it, and a waker in a
    /// [`CapacityLimiter`](crate::CapacityLimiter).
    pub fn task_id(&self) -> Option<TaskId> {
        self.task.as_ref().map(|(id, _)| *id)
    }

    /// The name given to the task, if [`task_id`](Self::task_id) says which it was.
    pub fn task_name(&self) -> Option<&str> {
        self.task.as_ref()?.1.as_deref()
    }

    /// Where the task was spawned or the promise was made; where a task's callback was added, and where the group or the
    /// limiter was made. For a callback of a future that is where its promise was made.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl fmt::Display for Unobserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unobserved { error, task, location } = self;
        match task {
            None => write!(f, "future exception was never retrieved: {error} (promise made at {location})"),
            Some((id, None)) => write!(f, "task {id}, spawned at {location}, was detached: {error}"),
            Some((id, Some(name))) => {
                write!(f, "task {id} \"{name}\", spawned at {location}, was detached: {error}")
            }
        }
    }
}

/// Gives the report to `executor`, or to standard error if there is none. The handler is the user's: a panic of it ends here.
pub(crate) fn report(executor: Option<Arc<dyn Executor>>, unobserved: Unobserved) {
    let tell = || match executor {
        Some(executor) => executor.report(unobserved),
        None => print_line(&unobserved),
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(tell)) {
        drop_quietly(payload);
    }
}

/// What becomes of reports by default. A standard error that is closed is no reason to panic.
pub(crate) fn print_line(report: &impl fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "runtime: {report}");
}
