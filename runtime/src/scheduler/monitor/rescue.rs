//! What is passed on for workers that are stuck, and when a spare worker comes and goes.

use std::time::{Duration, Instant};

use super::super::core::insist;
use super::super::{Processor, Shared};

/// A poll that is younger than this may return by itself before a thread has started.
const SUMMON_AFTER: u32 = 2;

/// So many tasks are moved out of one queue in one look; what is left is moved in the next.
const MOVED: usize = 1024;

/// A spare worker stays at least as long as this after it was needed, so that it need not come again at once.
const STAYS: Duration = Duration::from_millis(20);

/// What one look has found, and what the monitor remembers of its spare workers.
#[derive(Default)]
pub(super) struct Rescue {
    /// Workers that are stuck.
    stuck: usize,
    /// Those of them whose thread waits for something.
    blocked: usize,
    /// Tasks were moved to the injector.
    moved: bool,
    /// Looks in a row in which all that were awake were stuck.
    all_stuck: u32,
    /// When every spare worker was last needed.
    needed: Option<Instant>,
}

impl Rescue {
    pub(super) fn begin(&mut self) {
        (self.stuck, self.blocked, self.moved) = (0, 0, false);
    }

    /// Counts a worker that is stuck.
    pub(super) fn stuck(&mut self, blocked: bool) {
        self.stuck += 1;
        self.blocked += usize::from(blocked);
    }

    /// Moves the task in the worker's next slot where anybody may take it.
    pub(super) fn take_next(&mut self, shared: &'static Shared, processor: &Processor) {
        if let Some(runnable) = processor.next.take() {
            shared.injector.push(runnable);
            self.moved = true;
        }
    }

    /// Moves what is queued behind a poll that is stuck where everybody takes a share, also those who are not out of work:
    /// they would steal it only then.
    pub(super) fn take_queue(&mut self, shared: &'static Shared, processor: &Processor) {
        for _ in 0..MOVED {
            let Some(runnable) = insist(|| processor.stealer.steal()) else { return };
            shared.injector.push(runnable);
            self.moved = true;
        }
    }

    /// Takes the budget of a task while others wait for its worker.
    pub(super) fn curb(&self, shared: &Shared, processor: &Processor) {
        if !processor.stealer.is_empty() || !processor.next.is_empty() || !shared.injector.is_empty() {
            processor.runner.curb();
        }
    }

    /// After all workers were looked at: wakes who can help, calls a spare worker if nobody can, and dismisses one that is
    /// not needed any more.
    pub(super) fn end(&mut self, shared: &'static Shared, awake: usize, now: Instant) {
        if self.moved {
            // As every push that others must find.
            shared.idle.submitted();
            if shared.is_stopping() {
                // The workers fail what they find, and the last one to leave what is left; it may have left before the push.
                shared.sweep_if_idle();
            }
        }
        if self.stuck > 0 || self.moved {
            if shared.has_work() && shared.idle.calls_for_wake() {
                shared.notify();
            }
            // The driver, if it has no leader.
            shared.attend();
        }
        let all_stuck = self.stuck > 0 && self.stuck == awake && !shared.idle.anybody_sleeps();
        self.all_stuck = if all_stuck { self.all_stuck + 1 } else { 0 };
        if self.all_stuck >= SUMMON_AFTER && self.may_summon(shared) && shared.summon() {
            shared.monitor.counts.summoned.fetch_add(1, super::Ordering::Relaxed);
            self.all_stuck = 0;
        }
        self.dismiss(shared, now);
    }

    /// True if there is something to do for a spare worker, and room for one.
    ///
    /// One for each worker whose thread is blocked, because its processor is free; and as many as there are workers for
    /// those that compute, which share the processors with them.
    fn may_summon(&self, shared: &Shared) -> bool {
        let room = shared.spares.in_use() < shared.workers + self.blocked;
        room && (shared.has_work() || shared.driver.has_business())
    }

    fn dismiss(&mut self, shared: &'static Shared, now: Instant) {
        let in_use = shared.spares.in_use();
        if in_use <= self.stuck || in_use == 0 {
            self.needed = Some(now);
        } else if self.needed.is_none_or(|needed| now - needed >= STAYS) {
            shared.dismiss();
        }
    }
}
