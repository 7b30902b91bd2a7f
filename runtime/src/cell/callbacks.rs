//! Done callbacks of tasks: a table beside the cells, because almost no task has one.
//!
//! # Protocol
//! Registration inserts the entry and then sets CALLBACKS; completion reads the bit with the transition that publishes
//! the output and begins to drain the task's queue; if the task completed first, registration does. One drains at a time,
//! one job for each callback, until the queue is empty: so the order holds for late registrations as well.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use crate::context::{self, Executor, Unobserved};
use crate::error::Error;
use crate::id::TaskId;
use crate::loom::lock::Static;

/// How a task ended, as a done callback sees it. The value itself belongs to whoever awaits the task.
#[derive(Clone, Debug)]
pub struct TaskOutcome {
    id: TaskId,
    error: Option<Error>,
}

impl TaskOutcome {
    pub(super) fn new(id: TaskId, error: Option<Error>) -> Self {
        TaskOutcome { id, error }
    }

    /// The task that ended.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// True if the task gave a value.
    pub fn is_finished(&self) -> bool {
        self.error.is_none()
    }

    /// Why there is no value: the task was cancelled, panicked, the runtime was shut down, or the system refused it a thread.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }
}

type Callback = Box<dyn FnOnce(TaskOutcome) + Send>;

pub(super) struct Entry {
    pub(super) executor: Arc<dyn Executor>,
    pub(super) callback: Callback,
    pub(super) location: &'static Location<'static>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("location", &self.location).finish_non_exhaustive()
    }
}

/// The callbacks of one task that have not had their turn.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Somebody takes the entries one after the other, also those that come late.
    draining: bool,
}

/// Sixteen locks: registrations from different threads seldom meet.
static TABLE: [Static<BTreeMap<TaskId, Queue>>; 16] = [const { Static::new(BTreeMap::new()) }; 16];

fn shard(id: TaskId) -> &'static Static<BTreeMap<TaskId, Queue>> {
    &TABLE[id.shard(TABLE.len())]
}

/// Forgets the callbacks of a process that this one was forked off from.
pub(super) fn renew() {
    for table in &TABLE {
        table.renew(BTreeMap::new());
    }
}

pub(super) fn insert(id: TaskId, entry: Entry) {
    shard(id).lock().entry(id).or_default().entries.push_back(entry);
}

/// Begins to run what is registered for the task, in the order of registration, each callback on the runtime that was
/// captured for it.
#[cold]
pub(super) fn run(outcome: TaskOutcome) {
    let begins = match shard(outcome.id).lock().get_mut(&outcome.id) {
        Some(queue) => !std::mem::replace(&mut queue.draining, true),
        None => false,
    };
    if begins {
        drop(Turn(outcome));
    }
}

/// The right to take the next entry; passed on when it is dropped, by a job that ran or by a runtime that refused it.
struct Turn(TaskOutcome);

impl Drop for Turn {
    fn drop(&mut self) {
        let outcome = self.0.clone();
        // A runtime that is gone refuses one after the other.
        context::flatten(Box::new(move || Turn::pass_on(outcome)));
    }
}

impl Turn {
    fn pass_on(outcome: TaskOutcome) {
        let next = {
            let mut table = shard(outcome.id).lock();
            let next = table.get_mut(&outcome.id).and_then(|queue| queue.entries.pop_front());
            if next.is_none() {
                table.remove(&outcome.id);
            }
            next
        };
        let Some(Entry { executor, callback, location }) = next else { return };
        let turn = Turn(outcome);
        let reporter = executor.clone();
        executor.execute(Box::new(move || {
            let argument = turn.0.clone();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(move || callback(argument))) {
                reporter.report(Unobserved::future(Error::panicked(panic), location));
            }
            drop(turn);
        }));
    }
}
