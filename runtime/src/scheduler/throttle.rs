//! Whether what a worker has queued is worth the wake-up of another.
//!
//! To wake a thread costs the waker some microseconds, and the one that is woken two context switches. A batch of events
//! that is dealt with sooner than help is of use is better left to the worker that has it. So a worker learns roughly what
//! its polls [cost](cost), and calls nobody for less than [`PROMPT`] of work. Where all processors are taken, help would run
//! *instead* of somebody, perhaps of this worker or of the peer that it works for, and is called for [`CROWDED`] of work.
//!
//! That is about parallelism and never about whether a task runs: the worker itself runs what it has queued. If a poll takes
//! much longer than those before it, the monitor passes on what lies behind it; if several do, or the tasks of the batch yield,
//! somebody is called once the worker has not run dry for [`OVERDUE`]. Where no monitor passes anything on, and for what is
//! not of a batch, somebody is called always.

mod cost;
mod usage;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use cost::Cost;
use usage::usage;

/// Less work than this is nearly done when help is there: a thread on a halted processor takes from 5 to 50 microseconds.
const PROMPT: Duration = Duration::from_micros(50);

/// Less work than this is left to the worker while others use its processor.
const CROWDED: Duration = Duration::from_micros(250);

/// A batch whose worker has had something to do for so long is worth a call, whatever is left of it.
const OVERDUE: Duration = Duration::from_millis(1);

/// What the thread of a worker knows of the work that is worth a call.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// So many queued tasks are not worth it: what is left of a batch, if that is little.
    little: Cell<usize>,
    /// The largest batch that is little; none, before anything is known.
    most: Cell<usize>,
    /// When the worker had nothing to do last, and what it had polled until then.
    rested: Cell<Option<Instant>>,
    polls: Cell<u64>,
    /// A call was not worth it since then.
    declined: Cell<bool>,
    /// There was a batch since the cost was last learnt: who has none need not know it.
    batched: Cell<bool>,
    cost: RefCell<Cost>,
}

impl Throttle {
    /// So many tasks are queued after a batch was woken, besides the one that is next.
    pub(super) fn batch(&self, queued: usize) {
        if queued > 0 {
            self.batched.set(true);
        }
        self.little.set(queued.min(self.most.get()));
    }

    /// True if so many queued tasks are worth the wake-up of somebody who sleeps.
    #[inline]
    pub(super) fn is_worth(&self, queued: usize) -> bool {
        queued > self.little.get() || !self.decline(queued, Instant::now)
    }

    /// True unless all of this takes much longer than expected. The clock costs as much as a small poll.
    #[cold]
    fn decline(&self, queued: usize, now: impl FnOnce() -> Instant) -> bool {
        let late = |rested| now().saturating_duration_since(rested) >= OVERDUE;
        let overdue = self.declined.replace(true) && self.rested.get().is_none_or(late);
        // Most picks take a task out of the queue: what makes it longer again is not of the batch.
        self.little.set(if overdue { 0 } else { queued });
        !overdue
    }

    /// The worker has nothing to do, after so many polls of its own.
    pub(super) fn run_dry(&self, polls: u64) {
        self.little.set(0);
        self.declined.set(false);
        self.polls.set(polls);
    }

    /// It had nothing to do from `since` until `now`. Another number of polls says that somebody else has run it.
    pub(super) fn rested(&self, since: Instant, now: Instant, polls: u64) {
        self.rested.set(Some(now));
        let mut cost = self.cost.borrow_mut();
        if self.polls.get() != polls {
            cost.interrupt();
        }
        cost.rested(now.saturating_duration_since(since));
        if self.batched.get() && cost.is_due(now) {
            self.batched.set(false);
            cost.learn(now, usage(), polls);
        }
        self.most.set(cost.of_work(if cost.is_crowded() { CROWDED } else { PROMPT }) - 1);
        // The batch that ended the rest has been woken already.
        self.batch(self.little.get());
    }

    /// Others use the thread's processor, as far as it has learnt from batches.
    pub(super) fn is_crowded(&self) -> bool {
        self.cost.borrow().is_crowded()
    }

    /// The thread has done something else, or goes on with another worker.
    pub(super) fn interrupt(&self) {
        self.cost.borrow_mut().interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows that so many tasks are not worth a call.
    fn throttle(most: usize) -> Throttle {
        let throttle = Throttle::default();
        throttle.most.set(most);
        throttle
    }

    #[test]
    fn a_batch_is_worth_a_call_if_it_is_large_and_everything_else_always() {
        let throttle = throttle(4);
        assert!(throttle.is_worth(1));
        throttle.rested.set(Some(Instant::now() + OVERDUE));
        throttle.batch(5);
        assert!(throttle.is_worth(5));
        assert!(!throttle.is_worth(4));
        throttle.run_dry(1);
        assert!(throttle.is_worth(4));
    }

    #[test]
    fn a_batch_that_gets_longer_is_worth_a_call() {
        let throttle = throttle(4);
        throttle.batch(3);
        assert!(!throttle.is_worth(2));
        assert!(throttle.is_worth(3));
    }

    #[test]
    fn a_batch_whose_worker_does_not_run_dry_is_worth_a_call_after_a_while() {
        let throttle = throttle(4);
        let rested = Instant::now();
        throttle.rested.set(Some(rested));
        throttle.batch(4);
        assert!(throttle.decline(4, || rested + OVERDUE));
        assert!(throttle.decline(4, || rested + OVERDUE / 2));
        assert!(!throttle.decline(4, || rested + OVERDUE));
        assert!(throttle.is_worth(1));
    }
}
