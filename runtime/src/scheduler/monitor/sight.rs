//! What was seen of each worker last: by the monitor, or by a worker that looked in its place.

use std::time::{Duration, Instant};

use super::super::{Flavor, Processor, Shared};
use super::LOOK;
use crate::cell::name_of;
use crate::clocks::cpu_time;
use crate::context::{Stall, StallCause};
use crate::id::TaskId;
use crate::loom::atomic::Ordering;
use crate::thread_id::ThreadId;

/// A thread that has used less of the time than one part in this many is blocked.
const COMPUTING: u32 = 10;

/// What a worker has done since it was seen before that says little about how it is now.
const RECENT: Duration = Duration::from_nanos(LOOK.as_nanos() as u64 / 2);

/// For so long a thread may wait for a processor in the middle of a poll without being looked after: a few slices of others.
const STARVING: Duration = Duration::from_millis(10);

/// To ask the system for the state of a thread takes five microseconds; a look asks for no more of those in a poll.
const MOST_ASKED: usize = 4;

/// What was seen at the last look.
#[derive(Debug, Default)]
pub(super) struct Sights {
    of: Vec<Option<Seen>>,
    /// When somebody looked last.
    at: Option<Instant>,
}

/// One poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) poll: u64,
    /// How often the worker had slept.
    parks: u64,
    /// `None` between two polls: it wakes somebody else's waker.
    pub(super) task: Option<TaskId>,
    /// It had neither a task in hand nor one queued.
    idle: bool,
    since: Instant,
    /// It was seen before.
    again: bool,
    /// When the thread's processor time was read, and what it was.
    pub(super) clock: Option<(Instant, Duration)>,
    /// Its next report is due at this age.
    pub(super) report_at: Duration,
}

impl Sights {
    /// Somebody looks at all workers.
    pub(super) fn begin(&mut self, shared: &Shared, now: Instant) {
        self.fit(shared);
        self.at = Some(now);
    }

    fn fit(&mut self, shared: &Shared) {
        self.of.resize(shared.reach().len(), None);
    }

    /// Somebody has seen the workers of this kind, and nothing of the others.
    pub(super) fn note(&mut self, shared: &Shared, now: Instant, kind: impl Fn(&Processor) -> bool) {
        self.fit(shared);
        // The reach may grow meanwhile.
        for worker in 0..self.of.len() {
            if kind(&shared.processors[worker]) {
                self.look(shared, worker, now);
            }
        }
    }

    /// The worker needs nobody to watch it.
    pub(super) fn forget(&mut self, worker: usize) {
        self.of[worker] = None;
    }

    /// The poll that the worker is in, or what it keeps without one; `None` if it does neither, unless it is found so again
    /// and its thread is stuck in foreign code.
    pub(super) fn look(&mut self, shared: &Shared, worker: usize, now: Instant) -> Option<&mut Seen> {
        let processor = &shared.processors[worker];
        let stats = &processor.stats;
        let (task, poll, parks) = (stats.current(), stats.polls.get(), stats.parks.get());
        let seen = &mut self.of[worker];
        let idle = task.is_none() && processor.next.is_empty() && processor.stealer.is_empty();
        // A poll may sleep in the middle, in a nested `block_on`.
        let same = |seen: &Seen| {
            (seen.poll, seen.task, seen.idle) == (poll, task, idle) && (!idle || seen.parks == parks)
        };
        if seen.as_ref().is_some_and(same) && (!idle || is_in_foreign_code(shared, worker)) {
            let seen = seen.as_mut()?;
            seen.again = true;
            if seen.clock.is_none() {
                seen.clock = cpu_time(processor.runner.thread()).map(|time| (now, time));
            }
            return Some(seen);
        }
        let report_at = Duration::from_nanos(shared.monitor.report_after.load(Ordering::Relaxed));
        *seen = Some(Seen { poll, parks, task, idle, since: now, again: false, clock: None, report_at });
        seen.as_mut().filter(|_| !idle)
    }

    /// The polls in which somebody was seen more than once.
    pub(super) fn seen_again(&self) -> impl Iterator<Item = &Seen> {
        self.of.iter().flatten().filter(|seen| seen.again)
    }

    /// Looks in the monitor's place, from the worker `own` that is between two polls. True if all others are at rest, or have
    /// ended a poll since somebody looked a moment ago, or wait for a processor: the monitor would take one from somebody.
    pub(super) fn all_well(&mut self, shared: &Shared, own: usize, now: Instant) -> bool {
        let recent = self.at.is_some_and(|at| now.saturating_duration_since(at) <= RECENT);
        self.begin(shared, now);
        let mut all_idle = true;
        for worker in 0..self.of.len() {
            if worker == own || shared.is_at_rest(worker) {
                self.forget(worker);
            } else {
                all_idle &= self.look(shared, worker, now).is_none();
            }
        }
        shared.spares.in_use() == 0 && (all_idle || recent && self.nobody_seems_stuck(shared, now))
    }

    /// All that were seen in the same poll twice wait for a processor. Where they are many it is not worth the questions.
    fn nobody_seems_stuck(&self, shared: &Shared, now: Instant) -> bool {
        let starves = |worker: usize| {
            let seen = self.of[worker].as_ref();
            seen.is_none_or(|seen| !seen.again || seen.is_starving(&shared.processors[worker], now))
        };
        self.seen_again().count() <= MOST_ASKED && (0..self.of.len()).all(starves)
    }
}

impl Seen {
    /// How long it has gone on, as far as anybody has seen.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.since
    }

    pub(super) fn cause(&self, processor: &Processor, now: Instant) -> StallCause {
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
    pub(super) fn used(&self, processor: &Processor) -> Option<Duration> {
        let (_, before) = self.clock?;
        Some(cpu_time(processor.runner.thread())?.saturating_sub(before))
    }

    /// As [`cause`](Self::cause); worth the look whether a thread that got no processor wanted one.
    fn reported_cause(&self, processor: &Processor, now: Instant) -> StallCause {
        let cause = self.cause(processor, now);
        if cause == StallCause::Blocked && starves(processor) { StallCause::Computing } else { cause }
    }

    /// True if the poll takes long of itself, and not because its thread gets no processor.
    pub(super) fn is_long(&self, processor: &Processor, now: Instant) -> bool {
        match self.cause(processor, now) {
            StallCause::Computing => true,
            StallCause::Blocked => !starves(processor),
            _ => false,
        }
    }

    /// Its thread waits for a processor, and has not for long.
    fn is_starving(&self, processor: &Processor, now: Instant) -> bool {
        self.age(now) < STARVING && self.cause(processor, now) == StallCause::Blocked && starves(processor)
    }

    pub(super) fn stall(&self, worker: usize, processor: &Processor, now: Instant) -> Option<Stall> {
        let task_id = self.task?;
        Some(Stall {
            task_id,
            task_name: name_of(task_id),
            location: processor.stats.location()?,
            worker,
            poll: self.poll,
            duration: self.age(now),
            cause: self.reported_cause(processor, now),
        })
    }
}

/// The worker looks for work, as far as anybody can see, but its thread sleeps: in somebody else's waker that it has called,
/// where it neither looks at the driver nor lets others do it in its place.
fn is_in_foreign_code(shared: &Shared, worker: usize) -> bool {
    if shared.flavor == Flavor::CurrentThread {
        return false; // It polls the future given to `block_on`, for which it puts its worker not down.
    }
    let processor = &shared.processors[worker];
    // The core of one that was called and has not come yet still lies in its seat; the thread is whoever ran it before. Whether
    // the one that is to come is itself in a foreign waker nobody knows.
    let is_run = processor.seat.with_core(|_| ()).is_none();
    let thread = ThreadId::of(processor.runner.thread()).filter(|_| is_run);
    // In this order: the worker may be about to rest.
    thread.and_then(ThreadId::is_asleep) == Some(true) && !shared.is_at_rest(worker)
}

/// The worker's thread could run, and does not if it has used no time.
pub(super) fn starves(processor: &Processor) -> bool {
    ThreadId::of(processor.runner.thread()).and_then(ThreadId::is_runnable) == Some(true)
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use std::panic::Location;

    use super::super::super::idle::Prefer;
    use super::*;

    /// Two workers that are up, and the other one polls.
    fn shared() -> Shared {
        let shared = Shared::new(Flavor::MultiThread, 2, 0);
        while shared.idle.claim(Prefer::Vacant).is_some() {}
        poll(&shared);
        shared
    }

    const OWN: usize = 0;

    fn poll(shared: &Shared) {
        let stats = &shared.processors[1 - OWN].stats;
        stats.polls.add(1);
        stats.enter(TaskId::from_raw(1).unwrap(), Location::caller());
    }

    #[test]
    fn who_ends_a_poll_after_the_other_is_well() {
        let (shared, begin) = (shared(), Instant::now());
        let mut sights = Sights::default();
        let mut is_well_after = |looks| sights.all_well(&shared, OWN, begin + RECENT * looks);
        assert!(!is_well_after(0), "nobody has looked before");
        assert!(!is_well_after(1), "it is in the same poll");
        poll(&shared);
        assert!(is_well_after(2));
        assert!(!is_well_after(3), "it is in the same poll again");
    }

    #[test]
    fn what_was_seen_long_ago_says_nothing() {
        let (shared, begin) = (shared(), Instant::now());
        let mut sights = Sights::default();
        sights.all_well(&shared, OWN, begin);
        poll(&shared);
        assert!(!sights.all_well(&shared, OWN, begin + 2 * RECENT));
    }

    #[cfg(target_os = "linux")]
    mod on_a_thread {
        use std::sync::atomic::AtomicBool;
        use std::sync::{LazyLock, mpsc};
        use std::thread;

        use super::*;
        use crate::thread_id::ThreadId;

        /// The looks that are less than [`STARVING`] after the first.
        const EARLY: u32 = (STARVING.as_nanos() / RECENT.as_nanos()) as u32;

        /// `well` gets what is seen of a poll on a thread that does `poll` meanwhile: at each look whether all is well.
        fn watched(
            shared: &'static Shared,
            poll: impl FnOnce(ThreadId) + Send + 'static,
            well: impl FnOnce(&mut dyn FnMut() -> Vec<bool>),
        ) {
            let (tell, told) = mpsc::channel();
            let thread = thread::spawn(move || {
                shared.processors[1 - OWN].runner.set();
                tell.send(()).unwrap();
                poll(ThreadId::current());
            });
            told.recv().unwrap();
            well(&mut || {
                let (mut sights, begin) = (Sights::default(), Instant::now());
                (0..=EARLY).map(|n| sights.all_well(shared, OWN, begin + RECENT * n)).collect()
            });
            thread.join().unwrap();
        }

        /// The looks are made much faster than they say, so that the thread seems to get no time.
        #[test]
        fn who_waits_for_a_processor_is_well_for_a_while() {
            static SHARED: LazyLock<Shared> = LazyLock::new(super::shared);
            static END: AtomicBool = AtomicBool::new(false);
            let spin = |_| {
                while !END.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            };
            watched(&SHARED, spin, |looks| {
                // A machine that holds this thread up gives the other one time.
                let seen = (0..1000).map(|_| looks()).find(|seen| seen[2..].contains(&true));
                END.store(true, Ordering::Relaxed);
                let seen = seen.expect("a thread that wants a processor and got none is well");
                assert!(!seen[0] && !seen[1], "nothing is known of its time yet");
                assert!(!seen[EARLY as usize], "it has waited for long");
            });
        }

        #[test]
        fn who_is_blocked_is_not_well() {
            static SHARED: LazyLock<Shared> = LazyLock::new(super::shared);
            let (who, known) = mpsc::channel();
            let (end, ended) = mpsc::channel::<()>();
            let block = move |thread| {
                who.send(thread).unwrap();
                let _ = ended.recv();
            };
            watched(&SHARED, block, |looks| {
                let thread = known.recv().unwrap();
                assert!(thread.once_asleep(|| !looks().contains(&true)));
                drop(end);
            });
        }
    }

    #[test]
    fn who_looks_and_who_sleeps_is_well() {
        let (shared, begin) = (shared(), Instant::now());
        let mut sights = Sights::default();
        shared.processors[OWN].stats.enter(TaskId::from_raw(2).unwrap(), Location::caller());
        shared.idle.park(1 - OWN, false);
        assert!(sights.all_well(&shared, OWN, begin));
    }
}
