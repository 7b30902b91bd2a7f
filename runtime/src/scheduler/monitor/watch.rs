//! What the monitor remembers of each worker from one look to the next, and when it looks again.

use std::time::{Duration, Instant};

use super::super::{Processor, Shared};
use super::LOOK;
use super::bucket::Bucket;
use super::rescue::Rescue;
use super::thread_clock::cpu_time;
use crate::cell::name_of;
use crate::context::{Stall, StallCause};
use crate::id::TaskId;
use crate::loom::atomic::Ordering;
use crate::thread_id::ThreadId;

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

/// A thread that has used less of the time than one part in this many is blocked.
const COMPUTING: u32 = 10;

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
    Sleep,
}

/// The monitor's memory.
pub(super) struct Watch {
    shared: &'static Shared,
    seen: Vec<Option<Seen>>,
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

/// One poll.
#[derive(Clone, Copy, Debug)]
struct Seen {
    poll: u64,
    /// `None` between two polls: it wakes somebody else's waker.
    task: Option<TaskId>,
    since: Instant,
    /// When the thread's processor time was read, and what it was.
    clock: Option<(Instant, Duration)>,
    /// Its next report is due at this age.
    report_at: Duration,
}

impl Watch {
    pub(super) fn new(shared: &'static Shared) -> Self {
        Watch {
            shared,
            seen: vec![None; shared.processors.len()],
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
        let (mut awake, mut again) = (0, false);
        let mut stalls = Vec::new();
        self.rescue.begin();
        for (worker, processor) in shared.reach().iter().enumerate() {
            if shared.is_at_rest(worker) {
                self.seen[worker] = None;
                continue;
            }
            awake += 1;
            let Some(age) = self.age(worker, processor, now) else { continue };
            if rescues {
                let keeps = !processor.next.is_empty() && shared.idle.parked() > 0;
                again |= keeps && age < KEEPS;
                if age >= STUCK || (keeps && age >= KEEPS) {
                    // What the monitor has in hand is in no queue.
                    shared.while_held(|| self.help(worker, processor, age, now));
                }
            }
            stalls.extend(self.report(worker, processor, age, now));
        }
        if rescues {
            self.rescue.end(shared, awake, now);
        }
        // After the help, because the handler is the user's code.
        self.hand_over(stalls);
        self.next(awake, again)
    }

    /// How long the worker has been in its poll, or has kept what is queued without one, as far as the monitor has seen;
    /// `None` if it does neither.
    fn age(&mut self, worker: usize, processor: &Processor, now: Instant) -> Option<Duration> {
        let (task, poll) = (processor.stats.current(), processor.stats.polls.get());
        let seen = &mut self.seen[worker];
        if task.is_none() && processor.next.is_empty() && processor.stealer.is_empty() {
            *seen = None;
            return None;
        }
        match seen {
            Some(seen) if seen.poll == poll && seen.task == task => {
                if seen.clock.is_none() {
                    seen.clock = cpu_time(processor.runner.thread()).map(|time| (now, time));
                }
                Some(now - seen.since)
            }
            _ => {
                let report_at =
                    Duration::from_nanos(self.shared.monitor.report_after.load(Ordering::Relaxed));
                *seen = Some(Seen { poll, task, since: now, clock: None, report_at });
                Some(Duration::ZERO)
            }
        }
    }

    /// Passes on what the worker holds.
    fn help(&mut self, worker: usize, processor: &Processor, age: Duration, now: Instant) {
        let Some(seen) = &self.seen[worker] else { return };
        if age >= HOG && seen.used(processor).is_none_or(|used| used >= COMPUTED) {
            self.rescue.curb(self.shared, processor);
        }
        self.rescue.take_next(self.shared, processor);
        if age >= STUCK {
            self.rescue.take_queue(self.shared, processor);
            self.rescue.stuck(seen.cause(processor, now) == StallCause::Blocked);
        }
    }

    /// The report of a poll that takes too long, when it is time for one.
    fn report(&mut self, worker: usize, processor: &Processor, age: Duration, now: Instant) -> Option<Stall> {
        let seen = self.seen[worker].as_mut().filter(|seen| seen.task.is_some())?;
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

    fn next(&mut self, awake: usize, again: bool) -> Next {
        if awake > 0 || self.shared.spares.in_use() > 0 {
            self.calm = 0;
            if self.shared.is_stopping() {
                // A poll that is left behind may go on for as long as the process.
                self.ending = (self.ending * 2).min(LONG_LOOK);
                return Next::Look(self.ending);
            }
            // Two tasks that wake each other fill the slot at every look.
            self.hurried = again && !self.hurried;
            return Next::Look(if self.hurried { SECOND_LOOK } else { LOOK });
        }
        self.calm += 1;
        if self.calm >= self.calm_enough { Next::Sleep } else { Next::Look(LOOK) }
    }
}

impl Seen {
    fn cause(&self, processor: &Processor, now: Instant) -> StallCause {
        let Some((then, _)) = self.clock.filter(|(then, _)| *then < now) else {
            return StallCause::Unknown;
        };
        match self.used(processor) {
            Some(used) if used * COMPUTING >= now - then => StallCause::Computing,
            Some(_) => StallCause::Blocked,
            None => StallCause::Unknown,
        }
    }

    /// The processor time that its thread has used since the second look; `None` if the system does not say.
    fn used(&self, processor: &Processor) -> Option<Duration> {
        let (_, before) = self.clock?;
        Some(cpu_time(processor.runner.thread())?.saturating_sub(before))
    }

    /// As [`cause`](Self::cause); worth the look whether a thread that got no processor wanted one.
    fn reported_cause(&self, processor: &Processor, now: Instant) -> StallCause {
        let cause = self.cause(processor, now);
        let starves = || ThreadId::of(processor.runner.thread())?.is_runnable();
        if cause == StallCause::Blocked && starves() == Some(true) { StallCause::Computing } else { cause }
    }

    fn stall(&self, worker: usize, processor: &Processor, now: Instant) -> Option<Stall> {
        let task_id = self.task?;
        Some(Stall {
            task_id,
            task_name: name_of(task_id),
            location: processor.stats.location()?,
            worker,
            poll: self.poll,
            duration: now - self.since,
            cause: self.reported_cause(processor, now),
        })
    }
}
