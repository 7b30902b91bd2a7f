//! Counters: each written by one worker with plain stores, read by anybody.
#![expect(unsafe_code, reason = "a reference that lives for ever, kept in an atomic")]

use std::panic::Location;
use std::ptr;

use super::Shared;
use crate::id::TaskId;
use crate::loom::atomic::{AtomicPtr, AtomicU64, Ordering};

/// What one worker counts.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) polls: Counter,
    pub(super) spawned: Counter,
    pub(super) completed: Counter,
    pub(super) stolen: Counter,
    pub(super) parks: Counter,
    current: AtomicU64,
    /// Where that task was spawned.
    location: AtomicPtr<Location<'static>>,
}

impl Stats {
    /// Notes the task that is about to be polled.
    #[inline]
    pub(super) fn enter(&self, id: TaskId, location: &'static Location<'static>) {
        // ORDERING: Relaxed, for the monitor and for reports only, which bear a task with another's location.
        self.current.store(id.get(), Ordering::Relaxed);
        self.location.store(ptr::from_ref(location).cast_mut(), Ordering::Relaxed);
    }

    /// No task is being polled any more.
    #[inline]
    pub(super) fn leave(&self) {
        self.current.store(0, Ordering::Relaxed);
    }

    /// The task that is being polled.
    pub(super) fn current(&self) -> Option<TaskId> {
        TaskId::from_raw(self.current.load(Ordering::Relaxed))
    }

    /// Where the task that was polled last was spawned.
    pub(super) fn location(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or stored by `enter` from a reference that lives for ever.
        unsafe { self.location.load(Ordering::Relaxed).as_ref() }
    }
}

/// A number with one writer at a time.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// ORDERING: Relaxed, and a load and a store rather than a locked addition: there is one writer, the thread that
    /// has the worker's core, and the core's hand-over orders one writer's stores before the next one's loads.
    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The scheduler's figures at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) workers: usize,
    pub(crate) parked: usize,
    pub(crate) queued: usize,
    pub(crate) injected: usize,
    pub(crate) live: usize,
    pub(crate) spawned: u64,
    pub(crate) completed: u64,
    pub(crate) polls: u64,
    pub(crate) stolen: u64,
    pub(crate) parks: u64,
    pub(crate) spares: usize,
    pub(crate) summoned: u64,
    pub(crate) stalls: u64,
}

impl Snapshot {
    /// What was counted after `before`; the rest is as it is.
    fn since(self, before: &Snapshot) -> Snapshot {
        Snapshot {
            spawned: self.spawned.saturating_sub(before.spawned),
            completed: self.completed.saturating_sub(before.completed),
            polls: self.polls.saturating_sub(before.polls),
            stolen: self.stolen.saturating_sub(before.stolen),
            parks: self.parks.saturating_sub(before.parks),
            summoned: self.summoned.saturating_sub(before.summoned),
            stalls: self.stalls.saturating_sub(before.stalls),
            ..self
        }
    }
}

impl Shared {
    /// The tasks that are being polled at this moment, or would be, if they did not block in a way that leaves their worker
    /// to others.
    pub(crate) fn polling(&self) -> Vec<TaskId> {
        // The lock is kept: whoever is interrupted is noted there before its worker forgets it.
        let life = self.life.lock();
        let mut polling = life.interrupted.clone();
        for task in self.reach().iter().filter_map(|processor| processor.stats.current()) {
            // The one worker of a current-thread runtime stays with a poll that waits, and may show it as well.
            if !polling.contains(&task) {
                polling.push(task);
            }
        }
        polling
    }

    /// Figures of this moment; each is exact, together they are not of one instant. What is counted is counted since this
    /// runtime began.
    pub(crate) fn snapshot(&self) -> Snapshot {
        if self.is_lost() {
            // Whoever had the lock at the fork has it for ever.
            return Snapshot::default();
        }
        let snapshot = self.totals();
        snapshot.since(&self.counted_before.lock())
    }

    /// A new runtime counts from here on.
    pub(super) fn begin_to_count(&self) {
        *self.counted_before.lock() = self.totals();
    }

    /// As [`snapshot`](Self::snapshot), with what was counted for earlier runtimes.
    pub(super) fn totals(&self) -> Snapshot {
        // Completions first: a task that ends in between is then counted as alive, never as a negative.
        let mut snapshot = Snapshot {
            workers: self.workers,
            parked: self.idle.parked(),
            injected: self.injector.len(),
            completed: self.remote.completed.load(Ordering::Relaxed),
            spares: self.spares.in_use(),
            summoned: self.monitor.counts.summoned.load(Ordering::Relaxed),
            stalls: self.monitor.counts.stalls.load(Ordering::Relaxed),
            ..Snapshot::default()
        };
        for processor in &self.processors {
            snapshot.completed += processor.stats.completed.get();
        }
        snapshot.spawned = self.remote.spawned.load(Ordering::Relaxed);
        snapshot.polls = self.remote.polls.load(Ordering::Relaxed);
        for processor in &self.processors {
            let stats = &processor.stats;
            snapshot.spawned += stats.spawned.get();
            snapshot.polls += stats.polls.get();
            snapshot.stolen += stats.stolen.get();
            snapshot.parks += stats.parks.get();
            snapshot.queued += processor.stealer.len() + usize::from(!processor.next.is_empty());
        }
        snapshot.live =
            usize::try_from(snapshot.spawned.saturating_sub(snapshot.completed)).unwrap_or(usize::MAX);
        snapshot
    }
}
