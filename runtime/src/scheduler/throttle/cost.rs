//! What a worker's polls cost, about, and whether others use its processor.
//!
//! Once in [`EVERY`] a worker that has batches asks, when it comes from a rest, what processor time its thread has used and
//! how often it has given the processor up, which takes 0.2 microseconds. The cost of a poll is the processor time, since a
//! thread that is not run for a while has no more to do for that; but if it gave the processor up more often than it rested,
//! its polls block, and it is all of the time between the rests. Where they do not and the time is not used, others have it.
//!
//! What the short spin before a sleep uses counts as if the polls had: those of a worker with little to do look dearer.

use std::mem;
use std::time::{Duration, Instant};

use super::usage::Usage;

/// From one look at the thread's usage to the next.
const EVERY: Duration = Duration::from_millis(1);

/// A thread that could run and gets less of the time than this shares its processor with others.
const SHARE: f64 = 2. / 3.;

/// Polls block if more than one in so many gives the processor up.
const SELDOM: u64 = 16;

/// A poll costs that much at least, where the system counts time in coarse steps. In nanoseconds.
const LEAST: f64 = 50.;

/// What is kept of what was known, at each look.
const KEEP: f64 = 7. / 8.;

/// What a thread has learnt, and what it has counted since.
#[derive(Debug, Default)]
pub(super) struct Cost {
    looked: Option<Instant>,
    usage: Option<Usage>,
    polls: u64,
    rests: u64,
    resting: Duration,
    known: Sums,
}

/// Of what is remembered, the latest with the most weight. The times are in nanoseconds.
#[derive(Debug, Default)]
struct Sums {
    polls: f64,
    /// Not at rest.
    busy: f64,
    /// What they cost.
    cost: f64,
}

impl Cost {
    /// The worker had nothing to do for so long.
    pub(super) fn rested(&mut self, time: Duration) {
        self.rests += 1;
        self.resting += time;
    }

    /// It is time to [learn](Self::learn).
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= EVERY)
    }

    /// Learns from what the thread has used and polled.
    pub(super) fn learn(&mut self, now: Instant, usage: Option<Usage>, polls: u64) {
        let (looked, before) = (self.looked.replace(now), mem::replace(&mut self.usage, usage));
        let polls = polls.saturating_sub(mem::replace(&mut self.polls, polls));
        let (rests, resting) = (mem::take(&mut self.rests), mem::take(&mut self.resting));
        let (Some(looked), Some(before), Some(usage)) = (looked, before, usage) else { return };
        if polls == 0 {
            return;
        }
        let busy = now.saturating_duration_since(looked).saturating_sub(resting);
        let used = usage.time.saturating_sub(before.time);
        let blocks = usage.given > before.given + rests + polls / SELDOM;
        self.known.add(polls, busy, if blocks { busy } else { used });
    }

    /// What has been counted since the last look is not all, or not the thread's own.
    pub(super) fn interrupt(&mut self) {
        self.looked = None;
    }

    /// The thread shares its processor with others.
    pub(super) fn is_crowded(&self) -> bool {
        self.known.cost < self.known.busy * SHARE
    }

    /// How many polls make so much work; at least one, and one where it is not known what they cost.
    pub(super) fn of_work(&self, work: Duration) -> usize {
        let Sums { polls, cost, .. } = self.known;
        if polls == 0. {
            return 1;
        }
        ((work.as_nanos() as f64 / (cost / polls).max(LEAST)).ceil() as usize).max(1)
    }
}

impl Sums {
    fn add(&mut self, polls: u64, busy: Duration, cost: Duration) {
        let add = |sum: &mut f64, new: f64| *sum = *sum * KEEP + new;
        add(&mut self.polls, polls as f64);
        add(&mut self.busy, busy.as_nanos() as f64);
        add(&mut self.cost, cost.as_nanos() as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Duration = Duration::from_micros(50);
    const SPAN: Duration = Duration::from_millis(2);
    const RESTS: Duration = Duration::from_millis(1);
    const POLLS: u64 = 100;

    /// Has polled so often in each span, and rested once.
    struct Thread {
        cost: Cost,
        now: Instant,
        usage: Usage,
        polls: u64,
    }

    impl Thread {
        fn new() -> Self {
            let mut new =
                Thread { cost: Cost::default(), now: Instant::now(), usage: Usage::default(), polls: 0 };
            new.cost.learn(new.now, Some(new.usage), 0);
            new
        }

        /// One more span, in which it has used a processor for so long and given it up so often.
        fn goes_on(&mut self, used: Duration, given: u64) {
            self.now += SPAN;
            self.polls += POLLS;
            self.usage.time += used;
            self.usage.given += given;
            self.cost.rested(RESTS);
            self.cost.learn(self.now, Some(self.usage), self.polls);
        }
    }

    #[test]
    fn a_poll_costs_its_share_of_the_processor_time() {
        let mut thread = Thread::new();
        assert_eq!(thread.cost.of_work(WORK), 1);
        thread.goes_on(WORK * 10, 1);
        assert_eq!(thread.cost.of_work(WORK), POLLS as usize / 10);
    }

    #[test]
    fn a_poll_that_blocks_costs_the_time_until_it_returns() {
        let mut thread = Thread::new();
        thread.goes_on(WORK, 2 + POLLS / SELDOM);
        let per_poll = (SPAN - RESTS) / POLLS as u32;
        assert_eq!(thread.cost.of_work(per_poll * 7), 7);
    }

    #[test]
    fn dear_polls_are_remembered_for_some_looks() {
        let mut thread = Thread::new();
        thread.goes_on(WORK, 1);
        let cheap = thread.cost.of_work(WORK);
        thread.goes_on(WORK * 100, 1);
        thread.goes_on(WORK, 1);
        assert!(thread.cost.of_work(WORK) < cheap / 10);
        for _ in 0..100 {
            thread.goes_on(WORK, 1);
        }
        assert!(thread.cost.of_work(WORK) > cheap / 2);
    }

    #[test]
    fn a_thread_that_gets_half_of_the_time_that_it_wants_shares_its_processor() {
        let crowded = |used| {
            let mut thread = Thread::new();
            thread.goes_on(used, 1);
            thread.cost.is_crowded()
        };
        assert!(crowded((SPAN - RESTS) / 2));
        assert!(!crowded(SPAN - RESTS));
    }

    #[test]
    fn nothing_is_learnt_from_a_span_in_which_the_thread_did_something_else() {
        let mut thread = Thread::new();
        thread.cost.interrupt();
        thread.goes_on(WORK, 1);
        assert_eq!(thread.cost.of_work(WORK), 1);
        thread.goes_on(WORK * 10, 1);
        assert_eq!(thread.cost.of_work(WORK), POLLS as usize / 10);
    }

    #[test]
    fn nothing_is_known_where_the_system_says_nothing() {
        let mut cost = Cost::default();
        let now = Instant::now();
        cost.learn(now, None, 1);
        cost.learn(now + SPAN, None, 2);
        assert_eq!(cost.of_work(WORK), 1);
        assert!(!cost.is_crowded());
    }
}
