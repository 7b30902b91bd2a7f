//! Blocking code on several threads that may borrow from the caller, because the caller blocks until it is done.
//!
//! # Shape
//! Closures wait in a queue of the scope's own. For each, a job on the blocking pool is asked to run one; whoever waits
//! in the scope runs closures itself if no thread has come for them. So a pool without threads, or one whose threads
//! all wait in scopes, delays nothing.
//!
//! # Why not `std::thread::scope`
//! It needs no unsafe code here, but starts a thread of the system for each closure, which stands in no runtime, counts
//! against no limit, and which a virtual clock does not wait for; if the system refuses a thread, it panics.
//!
//! # Soundness
//! A closure that borrows for `'scope` is put into the queue as if it borrowed nothing. [`scope`] does not return or
//! unwind before every closure was called and dropped: it is a blocking function, so there is no future that could be
//! forgotten, and between a spawn and the end of the wait there is no other way out: the user's function is called
//! under `catch_unwind`, and the wait neither panics nor gives up. The jobs on the pool own the queue, which is empty by
//! then, and nothing that borrows. Results lie with the handles, which cannot leave `'scope`.
#![expect(unsafe_code, reason = "closures that borrow, in a queue that outlives what they borrow")]

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::error::{Error, drop_quietly};
use crate::fork::{Birth, end_child};
use crate::handle::Handle;
use crate::inherit;
use crate::loom::lock::{Condvar, Mutex};
use crate::task::block_in_place;

/// A closure whose borrows the compiler was told to forget.
type Erased = Box<dyn FnOnce() + Send>;

/// Where closures are spawned that may borrow; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    work: Arc<Work>,
    /// Invariant: `'scope` must not shrink, or a closure could borrow what lives in the function given to `scope`.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// What the scope shares with the jobs on the pool.
struct Work {
    state: Mutex<State>,
    changed: Condvar,
    birth: Birth,
}

struct State {
    /// In the order of their spawns; a join takes one out of the middle.
    queue: BTreeMap<u64, Erased>,
    next: u64,
    /// Closures that were spawned and are not dropped yet.
    live: usize,
    /// One has panicked, and nobody took its result.
    panicked: bool,
}

/// Runs `f`, and returns when all closures that it spawned with [`Scope::spawn`] are done.
///
/// They run on the blocking pool, several at a time, and may borrow what lives longer than the call. As with
/// [`std::thread::scope`], and for the same reason, this blocks; on a worker as
/// [`block_in_place`](crate::task::block_in_place) does. Async children cannot borrow: see
/// [`task_group`](crate::task_group()).
///
/// Closures see the [inherited task-locals](crate::local) of where they were spawned, and of other keys what the thread has
/// on which they run, the caller's own perhaps.
///
/// At most as many closures run at once as the pool has threads, and one on the calling thread while it waits. Closures
/// that wait for each other need as many.
///
/// ```
/// let mut numbers = [1, 2, 3, 4];
/// let (left, right) = numbers.split_at_mut(2);
/// let sum = runtime::scope(|s| {
///     let doubled = s.spawn(|| left.iter_mut().for_each(|n| *n *= 2));
///     let sum = s.spawn(|| right.iter().sum::<i32>());
///     doubled.join().unwrap();
///     sum.join().unwrap()
/// });
/// assert_eq!((sum, numbers), (7, [2, 4, 3, 4]));
/// ```
///
/// # Panics
/// After all closures are done: with the panic of `f`, or if a closure panicked and its
/// [result](ScopedJob::join) was not taken.
pub fn scope<'env, R>(f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R) -> R {
    block_in_place(|| {
        let state = State { queue: BTreeMap::new(), next: 0, live: 0, panicked: false };
        let work = Arc::new(Work { state: Mutex::new(state), changed: Condvar::new(), birth: Birth::now() });
        let scope = Scope { work, scope: PhantomData, env: PhantomData };
        let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
        let panicked = scope.work.finish();
        match result {
            Err(payload) => resume_unwind(payload),
            Ok(_) if panicked => panic!("a closure of a scope panicked"),
            Ok(result) => result,
        }
    })
}

impl<'scope> Scope<'scope, '_> {
    /// Runs `f` on the blocking pool; it may borrow for as long as the scope lasts.
    ///
    /// Dropping the handle changes nothing: the scope waits.
    ///
    /// # Panics
    /// If there is no runtime and none can be built.
    #[track_caller]
    pub fn spawn<T>(&'scope self, f: impl FnOnce() -> T + Send + 'scope) -> ScopedJob<'scope, T>
    where
        T: Send + 'scope,
    {
        let handle = Handle::current();
        let outcome = Arc::new(Outcome { result: Mutex::new(None), work: self.work.clone() });
        let theirs = outcome.clone();
        // Whoever runs the closure, it sees the values of here, and none of theirs.
        let values = inherit::capture().unwrap_or_default();
        let job: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let run = || inherit::run(Some(values), f);
            let result = catch_unwind(AssertUnwindSafe(run)).map_err(Error::panicked);
            *theirs.result.lock() = Some(result);
            // The last use of the result may be here, and its destructor is the user's.
            drop_quietly(theirs);
        });
        // SAFETY: by the argument at the top, `scope` outlasts the closure: `finish` waits until it was called and
        // dropped, on every way out of `scope`.
        let job = unsafe { erase(job) };
        let key = self.work.push(job);
        let work = self.work.clone();
        // The job finds nothing if whoever waits was faster; refused or shut down, it is not missed.
        let (job, _task) = handle.pool().job(move || work.run_next(), (), Location::caller());
        handle.pool().push(job);
        ScopedJob { outcome, key, scope: PhantomData }
    }
}

/// Makes the compiler forget what a closure borrows.
///
/// # Safety
/// The closure is called and dropped before `'scope` ends.
unsafe fn erase<'scope>(job: Box<dyn FnOnce() + Send + 'scope>) -> Erased {
    // SAFETY: the types differ in a lifetime only, and the caller sees to that.
    unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Erased>(job) }
}

impl Work {
    fn push(&self, job: Erased) -> u64 {
        let mut state = self.state.lock();
        state.next += 1;
        state.live += 1;
        let key = state.next;
        state.queue.insert(key, job);
        key
    }

    /// Ends a child that was forked off in the scope and would wait: the threads that it would wait for are its parent's.
    fn forbid_waiting(&self) {
        if self.birth.is_lost() {
            end_child("scope");
        }
    }

    /// Runs the closure that waits longest, if one waits.
    fn run_next(&self) {
        let next = self.state.lock().queue.pop_first();
        if let Some((_, job)) = next {
            self.run(job);
        }
    }

    /// Runs the closure `key`, unless somebody has come for it. In a child that was forked off in the scope the lock may be held
    /// for ever, and what there is to run it has spawned itself.
    fn run_key(&self, key: u64) {
        let state = if self.birth.is_lost() { self.state.try_lock() } else { Some(self.state.lock()) };
        let job = state.and_then(|mut state| state.queue.remove(&key));
        if let Some(job) = job {
            self.run(job);
        }
    }

    /// Calls a closure, which catches its own panics and is gone afterwards, and counts it out.
    fn run(&self, job: Erased) {
        let birth = Birth::now();
        job();
        if birth.is_lost() {
            end_child("closure");
        }
        self.state.lock().live -= 1;
        self.changed.notify_all();
    }

    /// Returns when every closure is gone; true if a panic was left unseen.
    fn finish(&self) -> bool {
        self.forbid_waiting();
        let mut state = self.state.lock();
        while state.live > 0 {
            if let Some((_, job)) = state.queue.pop_first() {
                drop(state);
                self.run(job);
                state = self.state.lock();
            } else {
                state = self.changed.wait(state);
            }
        }
        state.panicked
    }
}

/// What a closure gave; shared by the closure, until it is done, and its handle.
struct Outcome<T> {
    result: Mutex<Option<Result<T, Error>>>,
    work: Arc<Work>,
}

impl<T> Outcome<T> {
    fn take(&self) -> Option<Result<T, Error>> {
        self.result.lock().take()
    }
}

impl<T> Drop for Outcome<T> {
    fn drop(&mut self) {
        let result = self.take();
        let unseen = matches!(result, Some(Err(_)));
        let panicked = drop_quietly(result);
        if unseen || panicked {
            self.work.state.lock().panicked = true;
        }
    }
}

/// A closure that was given to [`Scope::spawn`]. Dropping it changes nothing.
pub struct ScopedJob<'scope, T> {
    outcome: Arc<Outcome<T>>,
    key: u64,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJob<'_, T> {
    /// Blocks until the closure is done, and gives what it returned. Runs it here if no thread has come for it.
    ///
    /// # Errors
    /// If the closure panicked; the error [is a panic](Error::is_panic), and the scope does not panic for it.
    ///
    /// ```
    /// let caught = runtime::scope(|s| s.spawn(|| panic!("torn")).join().unwrap_err());
    /// assert!(caught.is_panic());
    /// ```
    pub fn join(self) -> Result<T, Error> {
        let work = &self.outcome.work;
        work.run_key(self.key);
        loop {
            if let Some(result) = self.outcome.take() {
                return result;
            }
            work.forbid_waiting();
            // The result is there before its closure is counted out, which is announced: once more under that lock.
            let state = work.state.lock();
            if !self.is_finished() {
                drop(work.changed.wait(state));
            }
        }
    }

    /// True once [`join`](Self::join) would not block.
    pub fn is_finished(&self) -> bool {
        self.outcome.result.lock().is_some()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ScopedJob<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJob").field("is_finished", &self.is_finished()).finish()
    }
}
