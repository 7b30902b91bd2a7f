//! What the monitor does at a look, and when it looks again.

use std::time::{Duration, Instant};

use super::super::refusal::ASK_AGAIN;
use super::super::{Processor, Shared};
use super::bucket::Bucket;
use super::rescue::Rescue;
use super::sight::{Seen, Sights};
use super::{LOOK, WARY};
use crate::context::{Stall, StallCause};
use crate::loom::atomic::Ordering;

/// Models know no time: whatever is seen twice is stuck.
const fn unless_modelled(time: Duration) -> Duration {
    if cfg!(runtime_loom) { Duration::ZERO } else { time }
}

/// To the second look at a poll that may keep a task from a worker that sleeps.
const SECOND_LOOK: Duration = Duration::from_micros(200);

/// A poll of this age is stuck if it keeps a task in its next slot while somebody sleeps.
const KEEPS: Duration = unless_modelled(Duration::from_micros(150));

/// A poll of this age is stuck.
const STUCK: Duration = unless_modelled(Duration::from_micros(900));

/// A task whose poll is older than this and computes, while others wait for the worker, has used up its budget.
const HOG: Duration = unless_modelled(Duration::from_millis(2));

/// So much processor time since the second look tells a poll that computes from one whose thread is blocked, or is not run
/// by a busy system: that one has not had its share.
const COMPUTED: Duration = Duration::from_micros(500);

/// From one look to the next, at most, at a runtime that has ended but for polls that do not return.
const LONG_LOOK: Duration = Duration::from_secs(1);

/// So many looks more find all workers at rest before the monitor sleeps, where whoever wakes it pays for that.
const CALM: usize = 2;

/// The next report of the same poll comes when it has gone on for so many times as long.
const AGAIN: u32 = 10;

/// At most one report in this time, and as many more as were saved up.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// So many reports may come at once.
const BURST: u32 = 10;

/// What the monitor does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Look(Duration),
    /// As [`LOOK`], and workers that find the others well put it off.
    Doze,
    Sleep,
}

/// The monitor's memory.
pub(super) struct Watch {
    shared: &'static Shared,
    /// Looks in a row that found all workers at rest.
    calm: usize,
    /// How many do so before the monitor sleeps.
    calm_enough: usize,
    /// This look is a second one.
    hurried: bool,
    /// To the next look while the runtime ends.
    ending: Duration,
    rescue: Rescue,
    reports: Bucket,
}

impl Watch {
    pub(super) fn new(shared: &'static Shared) -> Self {
        *shared.monitor.sights.lock() = Sights::default();
        Watch {
            shared,
            calm: 0,
            calm_enough: if shared.monitor.alarm.has_timer() { 1 } else { 1 + CALM },
            hurried: false,
            ending: LOOK,
            rescue: Rescue::default(),
            reports: Bucket::new(REPORT_EVERY, BURST),
        }
    }

    /// Looks at each worker once, and helps where it has to.
    pub(super) fn look(&mut self, now: Instant) -> Next {
        let shared = self.shared;
        let rescues = shared.monitor.rescues();
        let (mut awake, mut hurry) = (0, false);
        let (mut stalls, mut long) = (Vec::new(), None);
        self.rescue.begin();
        let mut sights = shared.monitor.sights.lock();
        sights.begin(shared, now);
        for (worker, processor) in shared.reach().iter().enumerate() {
            if shared.is_at_rest(worker) {
                sights.forget(worker);
                continue;
            }
            awake += 1;
            let Some(seen) = sights.look(shared, worker, now) else { continue };
            let age = seen.age(now);
            if rescues {
                let keeps = !processor.next.is_empty() && shared.idle.parked() > 0;
                hurry |= keeps && age < KEEPS;
                if age >= STUCK || (keeps && age >= KEEPS) {
                    // What the monitor has in hand is in no queue.
                    shared.while_held(|| self.help(worker, seen, age, now));
                    long = (age >= STUCK).then_some((*seen, processor)).or(long);
                }
            }
            stalls.extend(self.report(seen, worker, processor, now));
        }
        let left = |seen: &Seen| STUCK.checked_sub(seen.age(now)).unwrap_or(LOOK);
        let doubt = sights.seen_again().map(left).min();
        drop(sights);
        // Renewed before it is over. To ask the system takes some microseconds, and workers may want to look.
        let wary = shared.monitor.is_wary(now + WARY / 2);
        if long.is_some_and(|(seen, processor)| !wary && seen.is_long(processor, now)) {
            shared.monitor.beware(now);
        }
        if rescues {
            self.rescue.end(shared, awake, now);
        }
        if awake == 0 && shared.is_short_of_threads() {
            shared.offer_work();
        }
        // After the help, because the handler is the user's code.
        self.hand_over(stalls);
        // Last, because where it goes there may be others before it.
        self.rescue.keep_apart(shared);
        self.next(awake, hurry, doubt)
    }

    /// Passes on what the worker holds.
    fn help(&mut self, worker: usize, seen: &Seen, age: Duration, now: Instant) {
        let processor = &*self.shared.processors[worker];
        if age >= HOG && seen.used(processor).is_none_or(|used| used >= COMPUTED) {
            self.rescue.curb(self.shared, processor);
        }
        self.rescue.take_next(self.shared, processor);
        if age >= STUCK {
            self.rescue.take_queue(self.shared, processor);
            self.rescue.stuck(worker, seen.cause(processor, now) == StallCause::Blocked);
        }
    }

    /// The report of a poll that takes too long, when it is time for one.
    fn report(
        &mut self,
        seen: &mut Seen,
        worker: usize,
        processor: &Processor,
        now: Instant,
    ) -> Option<Stall> {
        let age = seen.task.map(|_| seen.age(now))?;
        // What the thread does shows over a time: a busy machine may not have run it at all in the last millisecond.
        let knows = seen.clock.is_none_or(|(then, _)| now - then >= seen.report_at / 2);
        if age < seen.report_at || !knows || !self.reports.take(now) {
            return None;
        }
        seen.report_at = age.saturating_mul(AGAIN);
        let stall = seen.stall(worker, processor, now);
        // What was read belongs together only if the poll still goes on.
        let current = processor.stats.polls.get() == seen.poll && processor.stats.current() == seen.task;
        stall.filter(|_| current)
    }

    fn hand_over(&self, stalls: Vec<Stall>) {
        for stall in stalls {
            let Some(host) = self.shared.host() else { return };
            self.shared.monitor.counts.stalls.fetch_add(1, Ordering::Relaxed);
            host.stalled(stall);
        }
    }

    /// `doubt` is how long it takes until a poll that was seen again is stuck, if there is one.
    fn next(&mut self, awake: usize, hurry: bool, doubt: Option<Duration>) -> Next {
        if awake > 0 || self.shared.spares.in_use() > 0 {
            self.calm = 0;
            if self.shared.is_stopping() {
                // A poll that is left behind may go on for as long as the process.
                self.ending = (self.ending * 2).min(LONG_LOOK);
                return Next::Look(self.ending);
            }
            // Two tasks that wake each other fill the slot at every look.
            self.hurried = hurry && !self.hurried;
            if self.hurried {
                return Next::Look(SECOND_LOOK);
            }
            return match doubt {
                None if self.shared.spares.in_use() == 0 => Next::Doze,
                _ => Next::Look(doubt.unwrap_or(LOOK)),
            };
        }
        if self.shared.is_short_of_threads() {
            return Next::Look(ASK_AGAIN);
        }
        self.calm += 1;
        if self.calm >= self.calm_enough { Next::Sleep } else { Next::Look(LOOK) }
    }
}
