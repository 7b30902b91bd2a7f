//! The report of a task that keeps its worker for too long.

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::id::TaskId;

/// A poll that has gone on for longer than the runtime was asked to bear in silence.
///
/// Handed to [`Builder::on_stall`](crate::Builder::on_stall) while the poll still goes on; its `Display` is the line that
/// goes to standard error by default.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The task that is being polled.
    pub task_id: TaskId,
    /// The name given to it.
    pub task_name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// The worker that polls it.
    pub worker: usize,
    /// How many polls that worker had made before this one.
    pub poll: u64,
    /// How long the poll has gone on, to within a few milliseconds.
    pub duration: Duration,
    /// What its thread does.
    pub cause: StallCause,
}

/// What keeps a poll from returning, as far as the processor time of its thread tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StallCause {
    /// The thread waits: for a lock, a sleep, a file, another thread.
    Blocked,
    /// The thread computes.
    Computing,
    /// The system does not say.
    Unknown,
}

#[cfg(feature = "tracing")]
impl Stall {
    /// Tells whoever listens to `tracing`.
    pub(crate) fn trace(&self) {
        tracing::warn!(
            target: "runtime::stall",
            task_id = %self.task_id,
            task_name = self.task_name,
            spawned_at = %self.location,
            worker = self.worker,
            poll = self.poll,
            duration = ?self.duration,
            cause = %self.cause,
            "a poll keeps its worker",
        );
    }
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StallCause::Blocked => "its thread is blocked",
            StallCause::Computing => "it computes",
            StallCause::Unknown => "for an unknown reason",
        })
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { task_id, task_name, location, worker, poll, duration, cause } = self;
        write!(f, "poll of task {task_id}")?;
        if let Some(name) = task_name {
            write!(f, " \"{name}\"")?;
        }
        write!(
            f,
            ", spawned at {location}, has kept worker {worker} for {duration:.1?} (its poll number {poll}): {cause}; "
        )?;
        f.write_str("long work belongs into spawn_blocking or block_in_place")
    }
}
