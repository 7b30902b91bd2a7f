//! Done callbacks of tasks: a table beside the cells, because almost no task has one.
//!
//! # Protocol
//! Registration inserts the entry and then sets CALLBACKS; completion reads the bit with the transition that publishes
//! the output and empties the table entry. If the task completed first, registration takes its entry back and runs it.
//! Whoever removes an entry from the table runs it, so each runs once.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::context::{Executor, Unobserved};
use crate::error::Error;
use crate::id::TaskId;

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

    /// Why there is no value: the task was cancelled, panicked, or the runtime was shut down.
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

/// Sixteen locks: registrations from different threads seldom meet.
static TABLE: [Mutex<BTreeMap<TaskId, Vec<Entry>>>; 16] = [const { Mutex::new(BTreeMap::new()) }; 16];

fn shard(id: TaskId) -> &'static Mutex<BTreeMap<TaskId, Vec<Entry>>> {
    &TABLE[id.shard(TABLE.len())]
}

pub(super) fn insert(id: TaskId, entry: Entry) {
    shard(id).lock().entry(id).or_default().push(entry);
}

/// Runs what is registered for the task, in the order of registration, on the runtimes that were captured then.
#[cold]
pub(super) fn run(outcome: TaskOutcome) {
    let entries = shard(outcome.id).lock().remove(&outcome.id);
    if let Some(entries) = entries {
        hand_over(entries.into_iter(), outcome);
    }
}

/// What is left to run; a runtime that refuses or drops the job passes the rest on to the next one's.
struct Rest {
    entries: std::vec::IntoIter<Entry>,
    outcome: TaskOutcome,
}

impl Drop for Rest {
    fn drop(&mut self) {
        hand_over(std::mem::take(&mut self.entries), self.outcome.clone());
    }
}

fn hand_over(mut entries: std::vec::IntoIter<Entry>, outcome: TaskOutcome) {
    let Some(first) = entries.next() else { return };
    let rest = Rest { entries, outcome };
    let executor = first.executor.clone();
    executor.execute(Box::new(move || {
        let Entry { executor, callback, location } = first;
        let argument = rest.outcome.clone();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(move || callback(argument))) {
            executor.report(Unobserved::future(Error::panicked(panic), location));
        }
        drop(rest);
    }));
}
