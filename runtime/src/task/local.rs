//! Tasks whose futures are not `Send`: they stay on the thread of their [`LocalSet`].
//!
//! # Protocol
//! A wake on the set's own thread, while the set runs, queues the task locally. Any other wake queues it under a lock and
//! wakes the task that the set itself runs in. Where a `block_on` inside of the set drives it as well and waits, a wake is
//! on the set's own thread and nobody looks into the local queue: so a driver that *rests* is woken for local wakes too.
//!
//! Nothing of a local task is polled or dropped anywhere but on the set's thread: a cancel from another thread is a wake like
//! any other (RUSTSEC-2021-0072 is what happens otherwise).
//!
//! A set that is dropped fails its tasks. A waker on another thread may be between its decision to queue a task and
//! doing so; the drop waits for those few instructions, because it must not leave the future behind.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crate::cell::{self, Binder, Meta, Owned, Runnable, Schedule, SlotRef, Task};
use crate::context::{self, Executor};
use crate::coop::BudgetGuard;
use crate::driver::wake;
use crate::error::{Error, drop_quietly};
use crate::fork::Birth;
use crate::inherit;
use crate::loom::lock::Mutex;

/// Local tasks polled in a row before the surrounding task lets others run.
const BATCH: usize = 61;

/// A set of tasks that all stay on one thread, so that their futures need not be `Send`.
///
/// The tasks run while [`run_until`](Self::run_until) is polled, or the set itself is awaited. **Drop** fails the tasks
/// that are left with [`is_cancelled`](Error::is_cancelled).
///
/// ```
/// use std::rc::Rc;
/// use runtime::task::{LocalSet, spawn_local};
///
/// let local = LocalSet::new();
/// let total = runtime::block_on(local.run_until(async {
///     let shared = Rc::new(20);
///     let task = spawn_local({
///         let shared = shared.clone();
///         async move { *shared + 1 }
///     });
///     task.await.unwrap() + *shared + 1
/// }));
/// assert_eq!(total, 42);
/// ```
pub struct LocalSet {
    queue: Rc<Queue>,
}

/// What only the set's thread may touch.
struct Queue {
    remote: Arc<Remote>,
    ready: RefCell<VecDeque<Runnable>>,
    binder: RefCell<Binder>,
    owned: crate::loom::Arc<Owned>,
    live: Cell<usize>,
    closed: Cell<bool>,
    last_driver: Cell<u64>,
    /// Drivers that have had their turn and wait for the next.
    resting: Cell<usize>,
    birth: Birth,
}

/// What wakers on any thread may touch.
struct Remote {
    woken: Mutex<VecDeque<Runnable>>,
    pending: AtomicBool,
    /// Everybody who drives the set at the moment: any of them will do, and any of them may be about to stop. Each under
    /// a key of its own, so that it leaves one waker here however often it is polled, and takes that along.
    drivers: Mutex<Vec<(DriverKey, Waker)>>,
}

/// Which driver of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct DriverKey(u64);

impl DriverKey {
    /// Whoever polls the set itself, which takes exclusive access to it.
    const SET: DriverKey = DriverKey(0);
}

/// What a local task's cell knows of its set.
#[derive(Clone)]
struct Owner(Arc<Remote>);

thread_local! {
    /// Without a destructor, so that it is there while those of others run: whoever fills it empties it.
    static CURRENT: RefCell<Option<ManuallyDrop<Rc<Queue>>>> = const { RefCell::new(None) };
}

/// The set that this thread runs.
fn current() -> Option<Rc<Queue>> {
    CURRENT.with_borrow(|current| current.as_deref().cloned())
}

/// The set that this thread runs, if it is the one that `owner` belongs to.
fn with_own<R>(owner: &Owner, f: impl FnOnce(&Queue) -> R) -> Option<R> {
    let queue = current()?;
    Arc::ptr_eq(&queue.remote, &owner.0).then(|| f(&queue))
}

impl Schedule for Owner {
    fn schedule(&self, runnable: Runnable) {
        let mut runnable = Some(runnable);
        with_own(self, |queue| {
            queue.ready.borrow_mut().extend(runnable.take());
            if queue.resting.get() > 0 {
                self.0.wake_drivers();
            }
        });
        if let Some(runnable) = runnable {
            self.0.push(runnable);
        }
    }

    fn yielded(&self, runnable: Runnable) {
        self.schedule(runnable);
    }

    fn bind(&self, runnable: &Runnable) -> Option<SlotRef> {
        with_own(self, |queue| queue.binder.borrow_mut().bind(runnable))
    }

    fn unbind(&self, slot: SlotRef) {
        if with_own(self, |queue| queue.binder.borrow_mut().unbind(slot)).is_none() {
            cell::unbind(slot);
        }
    }

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        context::executor()
    }
}

impl Remote {
    fn push(&self, runnable: Runnable) {
        self.woken.lock().push_back(runnable);
        // ORDERING: Release, pairs with the Acquire swap in `take_woken`: who sees the flag finds the task.
        self.pending.store(true, Ordering::Release);
        self.wake_drivers();
    }

    fn wake_drivers(&self) {
        let drivers = std::mem::take(&mut *self.drivers.lock());
        // One that panics keeps nobody else from being woken, nor harms whoever wakes the set.
        drivers.into_iter().for_each(|(_, driver)| wake(driver));
    }

    /// Leaves `waker` for the driver under `key`, in the place of the one that it left before.
    fn register(&self, key: DriverKey, waker: &Waker) {
        let known = |(other, driver): &(DriverKey, Waker)| *other == key && driver.will_wake(waker);
        if self.drivers.lock().iter().any(known) {
            return;
        }
        // Cloned before and dropped after the lock: both are foreign code.
        let waker = waker.clone();
        let replaced = {
            let mut drivers = self.drivers.lock();
            match drivers.iter_mut().find(|(other, _)| *other == key) {
                Some((_, driver)) => Some(std::mem::replace(driver, waker)),
                None => {
                    drivers.push((key, waker));
                    None
                }
            }
        };
        drop_quietly(replaced);
    }

    /// Takes the waker of a driver that stops.
    fn leave(&self, key: DriverKey) {
        let left = {
            let mut drivers = self.drivers.lock();
            let index = drivers.iter().position(|(other, _)| *other == key);
            index.map(|index| drivers.swap_remove(index))
        };
        drop_quietly(left);
    }
}

/// Makes a queue the thread's current one, and puts the former one back.
struct Entered(Option<Rc<Queue>>);

impl Entered {
    fn new(queue: &Rc<Queue>) -> Self {
        let former = CURRENT.replace(Some(ManuallyDrop::new(queue.clone())));
        Entered(former.map(ManuallyDrop::into_inner))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let former = self.0.take().map(ManuallyDrop::new);
        drop(CURRENT.replace(former).map(ManuallyDrop::into_inner));
    }
}

impl Queue {
    /// Moves what other threads woke to the local queue.
    fn take_woken(&self) {
        if self.remote.pending.swap(false, Ordering::Acquire) {
            let woken = std::mem::take(&mut *self.remote.woken.lock());
            self.ready.borrow_mut().extend(woken);
        }
    }

    fn pop(&self) -> Option<Runnable> {
        self.ready.borrow_mut().pop_front()
    }

    /// Polls ready tasks; true if some are left.
    fn run_batch(&self) -> bool {
        for _ in 0..BATCH {
            self.take_woken();
            let Some(runnable) = self.pop() else { return false };
            let _budget = BudgetGuard::fresh();
            if runnable.run() {
                self.live.set(self.live.get() - 1);
            }
        }
        true
    }

    fn new_driver(&self) -> DriverKey {
        let key = self.last_driver.get() + 1;
        self.last_driver.set(key);
        DriverKey(key)
    }

    /// One turn of the set inside the surrounding task.
    fn turn(&self, key: DriverKey, cx: &mut Context<'_>) {
        self.remote.register(key, cx.waker());
        if self.run_batch() || self.remote.pending.load(Ordering::Acquire) {
            cx.waker().wake_by_ref();
        }
    }

    fn spawn<F, M>(&self, future: F, meta: M, location: &'static Location<'static>) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
        M: Meta,
    {
        match inherit::capture() {
            None => self.spawn_bare(future, meta, location),
            Some(values) => {
                let future: Pin<Box<dyn Future<Output = F::Output>>> = Box::pin(future);
                self.spawn_bare(values.carry(future), meta, location)
            }
        }
    }

    /// As [`spawn`](Self::spawn), for a task that inherits nothing.
    fn spawn_bare<F, M>(&self, future: F, meta: M, location: &'static Location<'static>) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
        M: Meta,
    {
        let (runnable, task) = cell::new(future, Owner(self.remote.clone()), meta, location);
        if self.closed.get() {
            runnable.fail(Error::cancelled());
            return task;
        }
        self.live.set(self.live.get() + 1);
        self.ready.borrow_mut().push_back(runnable);
        self.remote.wake_drivers();
        task
    }
}

impl LocalSet {
    /// An empty set for this thread.
    pub fn new() -> Self {
        let owned = Owned::new();
        let remote = Remote {
            woken: Mutex::new(VecDeque::new()),
            pending: AtomicBool::new(false),
            drivers: Mutex::new(Vec::new()),
        };
        LocalSet {
            queue: Rc::new(Queue {
                remote: Arc::new(remote),
                ready: RefCell::default(),
                binder: RefCell::new(Binder::new(owned.clone())),
                owned,
                live: Cell::new(0),
                closed: Cell::new(false),
                last_driver: Cell::new(DriverKey::SET.0),
                resting: Cell::new(0),
                birth: Birth::now(),
            }),
        }
    }

    /// Spawns a task on the set; it runs when the set does.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.queue.spawn(future, (), Location::caller())
    }

    /// Runs the set's tasks until `future` is ready. Inside, [`spawn_local`] means this set.
    ///
    /// Cancel-safe: dropping it leaves the tasks in the set.
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        /// Whoever stops driving the set leaves what is queued to the others.
        struct Driver<'a> {
            queue: &'a Queue,
            key: DriverKey,
            rests: bool,
        }
        impl Driver<'_> {
            fn rest(&mut self, rests: bool) {
                let others = self.queue.resting.get() - usize::from(self.rests);
                self.queue.resting.set(others + usize::from(rests));
                self.rests = rests;
            }
        }
        impl Drop for Driver<'_> {
            fn drop(&mut self) {
                self.rest(false);
                self.queue.remote.leave(self.key);
                self.queue.remote.wake_drivers();
            }
        }

        let mut driver = Driver { queue: &self.queue, key: self.queue.new_driver(), rests: false };
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            let _entered = Entered::new(&self.queue);
            driver.rest(false);
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            self.queue.turn(driver.key, cx);
            driver.rest(true);
            Poll::Pending
        })
        .await
    }

    /// How many tasks of the set have not ended.
    pub fn live_tasks(&self) -> usize {
        self.queue.live.get()
    }
}

/// Runs the set's tasks until none is left.
impl Future for LocalSet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _entered = Entered::new(&self.queue);
        self.queue.turn(DriverKey::SET, cx);
        if self.queue.live.get() > 0 {
            return Poll::Pending;
        }
        self.queue.remote.leave(DriverKey::SET);
        Poll::Ready(())
    }
}

impl Default for LocalSet {
    fn default() -> Self {
        LocalSet::new()
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        let queue = &self.queue;
        queue.closed.set(true);
        let _entered = Entered::new(queue);
        while queue.live.get() > 0 {
            queue.ready.borrow_mut().extend(queue.owned.cancel_all());
            queue.take_woken();
            let mut idle = true;
            while let Some(runnable) = queue.pop() {
                idle = false;
                queue.live.set(queue.live.get() - 1);
                runnable.fail(Error::cancelled());
            }
            if idle && queue.birth.is_lost() {
                // Whoever was about to queue what is left has stayed with the parent process.
                break;
            }
            if idle {
                // A waker on another thread is about to queue what is left.
                std::thread::yield_now();
            }
        }
        let drivers = std::mem::take(&mut *queue.remote.drivers.lock());
        // One by one: two destructors that panic at a time would end the process.
        for driver in drivers {
            drop_quietly(driver);
        }
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").field("live_tasks", &self.live_tasks()).finish_non_exhaustive()
    }
}

/// Spawns a task that stays on this thread, in the [`LocalSet`] that runs here.
///
/// # Panics
/// Outside a `LocalSet`: there is nobody who would run the task.
#[track_caller]
pub fn spawn_local<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_here(future, (), Location::caller())
}

#[track_caller]
pub(super) fn spawn_here<F, M>(future: F, meta: M, location: &'static Location<'static>) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
    M: Meta,
{
    let queue = current().expect("spawn_local needs a LocalSet around it: await LocalSet::run_until(..)");
    queue.spawn(future, meta, location)
}
