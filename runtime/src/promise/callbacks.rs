//! Callbacks of a future: kept in order, run one after the other on the runtimes they were registered for.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::audience::Event;
use super::cell::Cell;
use super::future::Future;
use super::waiters::Key;
use crate::context::{Executor, flatten};
use crate::error::{Error, drop_quietly};
use crate::loom::Arc;
use crate::loom::lock::assert_none_held;

/// As many callbacks one job runs before it queues up again: what a task may do in one poll (`coop`'s budget).
const BATCH: usize = 128;

/// Names one registered callback of one future, for [`Future::remove_done_callback`](super::Future::remove_done_callback).
///
/// It means nothing to other futures, and is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallbackId(Key);

/// The last number that a callback was given.
static LAST: AtomicU64 = AtomicU64::new(0);

impl fmt::Debug for CallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallbackId({})", self.0.0)
    }
}

type Function<T> = Box<dyn FnOnce(&Future<T>) + Send>;
type Launch<T> = fn(StdArc<dyn Executor>, Arc<Cell<T>>);

/// A callback that waits. It is one reader in the cell's handles (P4), released by whoever takes it out.
pub(super) struct Callback<T> {
    function: Function<T>,
    executor: StdArc<dyn Executor>,
    /// [`launch`] for this `T`, kept from where `T` was known to be `Send + Sync + 'static`; settling does not know.
    launch: Launch<T>,
}

/// The callbacks of one future, under the lock of its audience.
pub(super) struct Callbacks<T> {
    waiting: BTreeMap<Key, Callback<T>>,
    /// A [`Drain`] is queued or runs (P3).
    draining: bool,
}

/// The order to queue a [`Drain`]; carried out outside the lock.
#[must_use]
pub(super) struct Start<T> {
    executor: StdArc<dyn Executor>,
    launch: Launch<T>,
}

/// What a drain does next.
enum Next<T> {
    Run(Callback<T>),
    HandOver(Start<T>),
    Finish,
}

impl<T> Callbacks<T> {
    pub(super) fn new() -> Self {
        Callbacks { waiting: BTreeMap::new(), draining: false }
    }

    /// Begins to drain if there is something to run and nobody does it.
    pub(super) fn start(&mut self) -> Option<Start<T>> {
        if self.draining { None } else { self.hand_over() }
    }

    /// Passes the drain on to the executor of the next callback; ends it if there is none.
    fn hand_over(&mut self) -> Option<Start<T>> {
        let next = self.waiting.values().next();
        self.draining = next.is_some();
        next.map(|callback| Start { executor: callback.executor.clone(), launch: callback.launch })
    }

    fn next(&mut self, executor: &StdArc<dyn Executor>) -> Next<T> {
        match self.waiting.first_entry() {
            Some(entry) if StdArc::ptr_eq(&entry.get().executor, executor) => Next::Run(entry.remove()),
            _ => self.hand_over().map_or(Next::Finish, Next::HandOver),
        }
    }
}

impl<T> Start<T> {
    pub(super) fn launch(self, cell: Arc<Cell<T>>) {
        (self.launch)(self.executor, cell);
    }
}

impl<T> Callback<T> {
    /// Runs it; a panic goes to the executor it was registered for.
    fn run(self, cell: &Arc<Cell<T>>) {
        let future = Future::adopt(cell.clone()); // with the callback's own count as a reader
        assert_none_held();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.function)(&future))) {
            cell.report(Some(self.executor), Error::panicked(payload));
        }
    }
}

/// A number that no callback of any future has had. Under a future's lock they rise, which makes them its order.
fn next_key() -> Key {
    // ORDERING: Relaxed, the lock orders those of one future.
    let last = LAST.fetch_add(1, Ordering::Relaxed);
    // 2^64 callbacks at one a nanosecond take 584 years.
    Key(NonZeroU64::MIN.saturating_add(last))
}

impl<T: Send + Sync + 'static> Cell<T> {
    pub(super) fn add_callback(
        cell: &Arc<Cell<T>>,
        executor: StdArc<dyn Executor>,
        function: Function<T>,
    ) -> CallbackId {
        cell.retain_reader();
        let callback = Callback { function, executor, launch: launch::<T> };
        let mut audience = cell.audience.lock();
        let key = next_key();
        audience.callbacks.waiting.insert(key, callback);
        // If it is pending still, the settler starts the drain: it takes this lock after us.
        let start = if cell.has_happened(Event::Done) { audience.callbacks.start() } else { None };
        drop(audience);
        if let Some(start) = start {
            start.launch(cell.clone());
        }
        CallbackId(key)
    }
}

impl<T> Cell<T> {
    /// True if it was there; it is dropped and never runs.
    pub(super) fn remove_callback(&self, id: CallbackId) -> bool {
        let removed = self.audience.lock().callbacks.waiting.remove(&id.0);
        if removed.is_some() {
            self.release_reader();
        }
        assert_none_held();
        removed.is_some()
    }
}

/// The job that runs the callbacks of one future; there is one at a time (P3).
struct Drain<T: Send + Sync + 'static> {
    /// `None` once it ran.
    cell: Option<Arc<Cell<T>>>,
    executor: StdArc<dyn Executor>,
}

fn launch<T: Send + Sync + 'static>(executor: StdArc<dyn Executor>, cell: Arc<Cell<T>>) {
    let drain = Drain { cell: Some(cell), executor: executor.clone() };
    assert_none_held();
    executor.execute(Box::new(move || drain.run()));
}

impl<T: Send + Sync + 'static> Drain<T> {
    /// A loop, so that callbacks that add callbacks do not deepen the stack.
    fn run(mut self) {
        let Some(cell) = self.cell.take() else { return };
        for _ in 0..BATCH {
            let next = cell.audience.lock().callbacks.next(&self.executor);
            match next {
                Next::Run(callback) => callback.run(&cell),
                Next::HandOver(start) => return start.launch(cell),
                Next::Finish => return,
            }
        }
        let next = cell.audience.lock().callbacks.hand_over();
        if let Some(start) = next {
            start.launch(cell);
        }
    }
}

/// The executor dropped the job unrun: it was shut down, and its callbacks can never run.
impl<T: Send + Sync + 'static> Drop for Drain<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            let executor = self.executor.clone();
            flatten(Box::new(move || refuse(&cell, &executor)));
        }
    }
}

/// Drops the callbacks of a dead executor and passes the drain on to those of others.
fn refuse<T: Send + Sync + 'static>(cell: &Arc<Cell<T>>, executor: &StdArc<dyn Executor>) {
    let mut audience = cell.audience.lock();
    // Under one lock, or those of others could not be found meanwhile.
    let all = std::mem::take(&mut audience.callbacks.waiting);
    let (dead, alive): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.into_iter().partition(|(_, callback)| StdArc::ptr_eq(&callback.executor, executor));
    audience.callbacks.waiting = alive;
    let start = audience.callbacks.hand_over();
    drop(audience);
    for callback in dead.into_values() {
        cell.release_reader();
        drop_quietly(callback);
    }
    if let Some(start) = start {
        start.launch(cell.clone());
    }
}
