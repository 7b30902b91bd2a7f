//! The runtime's figures, for users.

use std::time::Duration;

use super::Handle;
use crate::blocking::Figures;
use crate::scheduler::Snapshot;

/// What a runtime is doing and has done, at one moment; from [`Handle::metrics`].
///
/// Taking it costs a few loads for each worker, and takes the locks of the timers, the reactor and the blocking pool for a
/// moment each; between two calls tasks pay nothing for it. Each figure is exact for some moment of the call, which is not
/// the same moment for all.
#[derive(Clone, Debug)]
pub struct Metrics {
    scheduler: Snapshot,
    blocking: Figures,
    timers: usize,
    registered: usize,
}

impl Handle {
    /// The runtime's figures.
    ///
    /// ```
    /// let rt = runtime::Runtime::builder().worker_threads(3).build().unwrap();
    /// assert_eq!(rt.handle().metrics().workers(), 3);
    /// ```
    pub fn metrics(&self) -> Metrics {
        let driver = self.shared().driver();
        Metrics {
            scheduler: self.shared().snapshot(),
            blocking: self.pool().figures(),
            timers: driver.timers().len(),
            registered: driver.registered(),
        }
    }
}

impl Metrics {
    /// How many tasks can be polled at the same time.
    pub fn workers(&self) -> usize {
        self.scheduler.workers
    }

    /// Workers that have nothing to do.
    pub fn idle_workers(&self) -> usize {
        self.scheduler.parked
    }

    /// Tasks that were spawned and have not finished.
    pub fn live_tasks(&self) -> usize {
        self.scheduler.live
    }

    /// Tasks spawned on this runtime so far.
    pub fn tasks_spawned(&self) -> u64 {
        self.scheduler.spawned
    }

    /// Tasks finished, cancelled or failed.
    pub fn tasks_completed(&self) -> u64 {
        self.scheduler.completed
    }

    /// Tasks that wait in the workers' own queues for their turn.
    pub fn local_queue_depth(&self) -> usize {
        self.scheduler.queued
    }

    /// Tasks that wait in the shared queue for submissions from outside.
    pub fn injector_depth(&self) -> usize {
        self.scheduler.injected
    }

    /// Polls of tasks.
    pub fn polls(&self) -> u64 {
        self.scheduler.polls
    }

    /// Tasks that one worker took from another.
    pub fn tasks_stolen(&self) -> u64 {
        self.scheduler.stolen
    }

    /// How often a worker went to sleep.
    pub fn parks(&self) -> u64 {
        self.scheduler.parks
    }

    /// Spare workers that run at this moment, because tasks keep the others; see
    /// [`Builder::monitor`](crate::Builder::monitor).
    pub fn spare_workers(&self) -> usize {
        self.scheduler.spares
    }

    /// How often a spare worker was started.
    pub fn spare_workers_started(&self) -> u64 {
        self.scheduler.summoned
    }

    /// Reports of polls that took too long.
    pub fn stalls(&self) -> u64 {
        self.scheduler.stalls
    }

    /// Timers that somebody waits for.
    pub fn timers(&self) -> usize {
        self.timers
    }

    /// Sockets and other objects whose events the runtime listens for: those that had to wait at least once.
    pub fn registered_objects(&self) -> usize {
        self.registered
    }

    /// Threads of the blocking pool.
    pub fn blocking_threads(&self) -> usize {
        self.blocking.threads
    }

    /// The most threads that the blocking pool ever had.
    pub fn peak_blocking_threads(&self) -> usize {
        self.blocking.peak
    }

    /// Threads of the blocking pool that wait for a job.
    pub fn idle_blocking_threads(&self) -> usize {
        self.blocking.idle
    }

    /// Blocking jobs that wait for a thread.
    pub fn blocking_queue_depth(&self) -> usize {
        self.blocking.queued
    }

    /// How long the blocking job that has waited longest for a thread has done so; zero if none waits.
    pub fn blocking_queue_delay(&self) -> Duration {
        self.blocking.delay
    }

    /// Blocking jobs that are running.
    pub fn blocking_running(&self) -> usize {
        self.blocking.running
    }
}
