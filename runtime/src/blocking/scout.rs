//! When the pool grows: the thread that looks, and the pace of its looks.
//!
//! # The rule
//! While jobs are queued, one thread, the *scout*, looks at those that run jobs. If they mostly sleep, more threads help:
//! it adds one, after the next such look two, then four, so that a thousand sleeping jobs have hundreds of threads within
//! milliseconds. If they mostly compute (at least as many as there are processors, and more than half of all), another
//! one would only take turns with them: it adds none, halves the number, and looks less often. Either way jobs that only
//! wait for each other end: when no job has begun for a tenth of a second and more, a thread is added without a look.
//!
//! A look is not needed if the queue empties by itself, that is, if since the last look more jobs began than are left.
//!
//! # Who looks
//! Nobody while no job is queued: nothing ticks. The scout leaves its duty when it can take the last job itself, when
//! the queue is empty, or when there is no room for more threads; it then runs jobs as the others do. While the system
//! refuses threads it goes on looking for a while, and then does the same.
//!
//! # Where it comes from
//! Linux's workqueues keep as many *runnable* workers as there are processors and ask the scheduler for their number
//! ("concurrency managed workqueue"); .NET's pool adds a thread when no job was taken for half a second. Growing by count,
//! as tokio and the `blocking` crate do, starts 500 threads for 1,000 jobs of a millisecond.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pressure::{self, Pressure};
use super::thread::{Bench, Duty};
use super::{Pool, State};
use crate::loom;
use crate::loom::mutant;

/// Between two looks while threads are added: longer than a new thread takes to be in its first job.
const SHORT_REST: Duration = Duration::from_micros(500);

/// Between two looks at threads that compute: by then a sleeping job that waits behind them has lost little.
const LONG_REST: Duration = Duration::from_millis(8);

/// After the system refused a thread.
pub(super) const REFUSED_REST: Duration = Duration::from_millis(20);

/// So many refusals in a row, and no job begun meanwhile, and the scout takes a job itself: with the rests between them
/// they take as long as [`STAGNANT`].
const REFUSALS: u32 = if cfg!(runtime_loom) { 2 } else { 5 };

/// When no job has begun for so long, times the threads for each processor, a thread is added whatever they do.
const STAGNANT: Duration = Duration::from_millis(100);

/// What the scouts of a pool remember from look to look.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many threads the next look may add.
    pub(super) step: usize,
    rest: Duration,
    /// No look before this.
    next: Option<Instant>,
    /// How many jobs had been taken at the last look, and since when it was so.
    taken: u64,
    since: Option<Instant>,
    /// How often the system refused threads since a job began.
    refusals: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { step: 1, rest: SHORT_REST, next: None, taken: 0, since: None, refusals: 0 }
    }
}

/// The pool, as a look finds it.
#[derive(Clone, Copy, Debug)]
struct Survey {
    now: Instant,
    queued: usize,
    /// Threads that are about to take a job: new ones, and those that were handed one.
    coming: usize,
    taken: u64,
}

impl Pace {
    /// A burst begins. How the last one was says little of it after a while.
    fn begin(&mut self, now: Instant) {
        if self.next.is_some_and(|next| now.saturating_duration_since(next) > STAGNANT) {
            self.step = 1;
        }
    }

    /// How much longer the scout has to rest.
    fn left(&mut self, now: Instant) -> Option<Duration> {
        if cfg!(runtime_loom) {
            // loom has no time: one rest between two looks.
            return self.next.take().map(|_| Duration::ZERO);
        }
        let left = self.next?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// How many threads to add, after a look that found `pressure`.
    fn judge(&mut self, survey: &Survey, pressure: Pressure) -> usize {
        let Survey { now, queued, coming, taken } = *survey;
        let begun = taken - self.taken;
        self.taken = taken;
        if begun > 0 {
            self.refusals = 0;
        }
        if begun > 0 || self.since.is_none() {
            self.since = Some(now);
        }
        let idle_for = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let add = if idle_for >= pressure.stagnant(STAGNANT) {
            self.since = Some(now);
            1
        } else if coming > 0 || begun >= queued as u64 {
            // Those who come, or those who are there, will do.
            self.rest = SHORT_REST;
            0
        } else if pressure.sleeps(begun) {
            self.rest = SHORT_REST;
            let step = self.step;
            self.step = step.saturating_mul(2);
            step
        } else {
            self.step = (self.step / 2).max(1);
            self.rest = (self.rest * 2).min(LONG_REST);
            0
        };
        self.next = Some(now + self.rest);
        add
    }

    fn refused(&mut self, now: Instant) {
        self.step = 1;
        self.refusals += 1;
        self.next = Some(now + REFUSED_REST);
    }
}

impl Pool {
    /// The scout's duty, until it is done.
    pub(super) fn scout(self: &Arc<Self>, bench: &loom::Arc<Bench>) {
        self.state.lock().begin_scouting(bench);
        loop {
            let (survey, sample) = {
                let mut state = self.state.lock();
                if state.closed || state.queue.is_empty() || state.threads == self.most {
                    return state.end_scouting();
                }
                let now = Instant::now();
                match state.pace.left(now) {
                    Some(left) => {
                        drop(state);
                        doze(bench, left);
                        continue;
                    }
                    None => (state.survey(now), pressure::sample(&state.at_work)),
                }
            };
            // Not under the lock: it asks the system.
            let pressure = sample.ask();
            if self.grow(bench, &survey, pressure) {
                return;
            }
        }
    }

    /// Adds as many threads as the look allows; true if the scout is one of them.
    fn grow(self: &Arc<Self>, bench: &loom::Arc<Bench>, survey: &Survey, pressure: Pressure) -> bool {
        let (fresh, joins) = {
            let mut state = self.state.lock();
            let queued = state.queue.len();
            // The scout counts: it is a thread without a job.
            let add = state.pace.judge(survey, pressure).min(queued).min(self.most - state.threads + 1);
            let joins = add > 0 && (add == queued || mutant!("pool_scout_leaves_the_rest"));
            let fresh = add - usize::from(joins);
            let fresh = fresh.min(self.most - state.threads);
            for _ in 0..fresh {
                state.add_thread(Duty::Run);
            }
            if joins {
                state.end_scouting();
            }
            (fresh, joins)
        };
        if self.start_threads(fresh) { joins } else { self.refused(bench, joins) }
    }

    /// What becomes of the scout after a refusal; true if it runs jobs.
    ///
    /// It keeps looking at first: a job that it took might wait for one that it leaves behind, which nobody would look at
    /// again. If that brings nothing it takes a job all the same, for those that run may wait for one of two that could
    /// run one after the other; then a timer brings the next try.
    #[cold]
    fn refused(self: &Arc<Self>, bench: &loom::Arc<Bench>, joins: bool) -> bool {
        {
            let mut state = self.state.lock();
            let hopeful = state.pace.refusals < REFUSALS;
            let stays = hopeful && state.queue.len() > 1;
            if joins && stays && !state.scouting && !state.closed {
                state.scouting = true;
                state.scout = Some(bench.clone());
                return false;
            }
            if !joins {
                if hopeful || mutant!("pool_refused_scout_stays") {
                    return false;
                }
                state.end_scouting();
            }
        }
        self.retry_later();
        true
    }
}

impl Pool {
    /// Starts threads that were counted already. After a refusal the rest are not tried, and the answer is false.
    fn start_threads(self: &Arc<Self>, count: usize) -> bool {
        let started = (0..count).take_while(|_| self.start_thread(Duty::Run)).count();
        if started < count {
            let untried = count - started - 1;
            let mut state = self.state.lock();
            state.threads -= untried;
            state.coming -= untried;
            state.pace.refused(Instant::now());
        }
        started == count
    }
}

impl State {
    fn survey(&self, now: Instant) -> Survey {
        let coming = self.coming + self.handed;
        Survey { now, queued: self.queue.len(), coming, taken: self.taken }
    }

    fn begin_scouting(&mut self, bench: &loom::Arc<Bench>) {
        self.scout = Some(bench.clone());
        self.pace.begin(Instant::now());
        self.note_peak();
    }

    fn end_scouting(&mut self) {
        self.scout = None;
        self.scouting = mutant!("pool_scout_keeps_its_duty");
    }
}

/// Sleeps for `time`, or until the pool is closed.
#[cfg(not(runtime_loom))]
fn doze(bench: &Bench, time: Duration) {
    bench.parker.park_timeout(time);
}

/// loom has no time: it goes on once the others have.
#[cfg(runtime_loom)]
fn doze(_: &Bench, _: Duration) {
    loom::thread::yield_now();
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    /// How many threads a look adds at which nobody is at work and five jobs are queued.
    fn added(state: &mut State) -> usize {
        let survey = Survey { queued: 5, ..state.survey(Instant::now()) };
        let nobody = pressure::sample(&state.at_work).ask();
        state.pace.judge(&survey, nobody)
    }

    #[test]
    fn no_thread_is_added_while_one_that_was_handed_a_job_has_not_woken_up() {
        let pool = Pool::new(8, || 1, Duration::ZERO);
        let mut state = pool.state.lock();
        state.handed = 1;
        assert_eq!(added(&mut state), 0);
        state.handed = 0;
        assert_eq!(added(&mut state), 1);
    }

    #[test]
    fn a_burst_long_after_another_begins_with_one_thread_more_again() {
        let now = Instant::now();
        let pace = || Pace { step: 64, next: Some(now), ..Pace::default() };
        let step_after = |rest| {
            let mut pace = pace();
            pace.begin(now + rest);
            pace.step
        };
        assert_eq!((step_after(STAGNANT), step_after(STAGNANT + SHORT_REST)), (64, 1));
    }
}
