//! The monitor: a thread that looks after workers whose poll does not return.
//!
//! Nothing inside the scheduler can see a poll that blocks or computes for long: its thread is in foreign code, and those
//! that sleep are asleep. So one thread of its own looks at each worker, while some worker is awake and nobody does it in
//! its place: every millisecond, or every few where polls have been short for a while. A worker that has been in the same
//! poll since the last look is *stuck*, and what only it could have passed on is passed on for it ([`rescue`]): the task in
//! its next slot, what is queued behind it, the driver without a leader. So is one that has nothing to do, as far as anybody
//! can see, while its thread sleeps: in a waker of somebody else's that it calls. If all are stuck, a spare worker comes
//! ([`super::spare`]).
//!
//! # The price
//! A worker writes which task it polls, and counts polls: plain stores that the reports of the shutdown need as well. A
//! thread that takes a worker up looks whether the monitor sleeps, and so does one that puts it down; a push to a next slot
//! looks at a flag. Every few milliseconds a worker that is between two polls looks at the others, so that a thread need not
//! be woken for it: see [`alarm`]. All else is the monitor's own time.
//!
//! # Sleep
//! While no worker is awake the monitor sleeps without a limit (I9): see [`alarm`]. Unless the system has refused a thread for
//! what is to be done ([`super::refusal`]).
//!
//! # Start
//! A runtime that runs a task or two and ends has nothing to watch, and a thread costs it a third of its life. So the
//! thread starts when for the first time something can be kept from others ([`Shared::watch`]): a task enters a next slot, or
//! is submitted while no worker sleeps; a worker polls its second task, or one with others behind it; it wakes up, and may
//! have been the driver's leader; or the driver needs one, and nobody sleeps. If stalls are reported it starts with the first
//! worker.
//!
//! Source: the `sysmon` thread of Go's scheduler (runtime/proc.go) retakes processors from system calls in the same way.

mod alarm;
mod bucket;
mod rescue;
mod sight;
mod tick;
mod watch;

use std::time::{Duration, Instant};

use super::refusal::Refusal;
use super::{Flavor, Processor, Shared, context, slice};
use crate::context::Role;
use crate::driver::{Precise, to_ns};
use crate::loom::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::mutant;

use alarm::Alarm;
#[cfg(all(test, runtime_loom))]
pub(super) use rescue::look_twice_at_stuck;
use sight::Sights;
use watch::{Next, Watch};

/// From one look to the next while some worker is awake. Waking a thread costs about 5 microseconds.
const LOOK: Duration = Duration::from_millis(1);

/// The same while the workers find each other well, or have just been taken up: most systems [tick] so often.
const PATIENCE: Duration = Duration::from_millis(4);

/// A program in which a poll took long may do that again, and is looked at more often for this time.
const WARY: Duration = Duration::from_secs(1);

/// A thread that the system refused is asked for again after this time.
const REFUSED: Duration = Duration::from_secs(1);

/// A timer may go off so much later before the monitor looks why: its worker looks at it between two polls.
const GRACE: Duration = Duration::from_micros(500);

/// What a runtime's monitor is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Pass on what stuck workers hold.
    pub(crate) rescue: bool,
    /// Report polls that take longer than this.
    pub(crate) report_after: Option<Duration>,
}

/// One scheduler's monitor, as the workers see it.
#[derive(Debug)]
pub(crate) struct Monitor {
    on: AtomicBool,
    rescues: AtomicBool,
    /// In nanoseconds; never, if there are to be no reports.
    report_after: AtomicU64,
    /// There is to be a thread, and nobody has started it.
    due: AtomicBool,
    /// It was started. ORDERING: Relaxed, nothing is published with it; whoever misses it asks for a worker's thread himself.
    there: AtomicBool,
    /// Of the thread.
    refusal: Refusal,
    /// Until when a long poll is not forgotten.
    wary_until: AtomicU64,
    alarm: Alarm,
    sights: Mutex<Sights>,
    pub(super) counts: Counts,
}

/// What the monitor has done, for metrics.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Reports of polls that took too long, each time a poll was reported.
    pub(super) stalls: AtomicU64,
    /// Spare workers started.
    pub(super) summoned: AtomicU64,
}

impl Monitor {
    pub(super) fn new() -> Self {
        Monitor {
            on: AtomicBool::new(false),
            rescues: AtomicBool::new(false),
            report_after: AtomicU64::new(u64::MAX),
            due: AtomicBool::new(false),
            there: AtomicBool::new(false),
            refusal: Refusal::default(),
            wary_until: AtomicU64::new(0),
            alarm: Alarm::new(),
            sights: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// Serves a new runtime, once its first thread is there. Nobody watches meanwhile.
    pub(super) fn open(&self, options: Options) {
        let Options { rescue, report_after } = options;
        let after =
            report_after.map_or(u64::MAX, |after| u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
        self.report_after.store(after, Ordering::Relaxed);
        self.rescues.store(rescue, Ordering::Relaxed);
        self.wary_until.store(0, Ordering::Relaxed);
        let on = rescue || report_after.is_some();
        self.refusal.forget();
        self.there.store(false, Ordering::Relaxed);
        self.due.store(on, Ordering::Relaxed);
        self.on.store(on, Ordering::Relaxed);
    }

    /// The last worker of a runtime that ends has left. Its monitor's thread keeps the runtime, so that a late one finds
    /// itself closed and not opened again by the next.
    pub(super) fn close(&self) {
        self.due.store(false, Ordering::Relaxed);
        self.on.store(false, Ordering::Relaxed);
        self.alarm.ring_at_once();
    }

    /// What a stuck worker holds is passed on, or will be once there is a thread for that.
    pub(super) fn rescues(&self) -> bool {
        self.rescues.load(Ordering::Relaxed) && !self.refusal.is_there()
    }

    /// There is a thread that passes on what a stuck worker holds.
    pub(super) fn is_there(&self) -> bool {
        self.rescues.load(Ordering::Relaxed) && self.there.load(Ordering::Relaxed)
    }

    /// There is to be a thread, and nobody has started it.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed)
    }

    /// A task that waits while its worker polls another is news.
    #[inline]
    fn is_curious(&self) -> bool {
        self.is_due() || self.alarm.is_curious()
    }

    /// Some thread has taken a worker up: there may be something to watch.
    #[inline]
    pub(super) fn stir(&self, shared: &Shared) {
        if self.on.load(Ordering::Relaxed) {
            self.alarm.stir(|| self.patience_after(shared, shared.driver.clock().now()));
        }
    }

    /// Timers were fired. The one that is next now may be sooner than the next look.
    pub(super) fn fired(&self, shared: &Shared) {
        if self.on.load(Ordering::Relaxed) {
            let until_timer = self.until_timer(shared, 0);
            if until_timer < PATIENCE {
                self.alarm.look_by(Instant::now() + until_timer);
            }
        }
    }

    /// A worker of `shared` sleeps from now on, or is free. Its bit is set, and the fence after that stands before this.
    #[inline]
    pub(super) fn parked(&self, shared: &Shared) {
        if self.alarm.parked(|| shared.reach().iter().any(|processor| keeps(processor))) {
            self.note_keepers(shared);
        }
    }

    /// Sees for the monitor who keeps a task, and in which poll. Whoever looks just now sees for himself.
    fn note_keepers(&self, shared: &Shared) {
        if let Some(mut sights) = self.sights.try_lock() {
            sights.note(shared, Instant::now(), keeps);
        }
    }

    /// Some worker of `shared` is at rest since `now` or a little after, and expects to be up again after `rest`. Its bit is
    /// set, and the fence after that stands before this.
    #[inline]
    pub(super) fn settle(&self, shared: &Shared, now: Instant, rest: Duration) {
        self.alarm.settle(now, rest, || shared.all_at_rest());
    }

    /// The worker is between two polls at `now`: it looks at the others if it is time, so that the monitor need not.
    #[inline]
    pub(super) fn relieve(&self, shared: &Shared, worker: usize, now: Instant, crowded: bool) {
        if self.refusal.is_old(now, REFUSED) {
            return self.ask_again();
        }
        // Who looks just now need not be waited for, and may have lost its processor in the middle of it.
        let all_well =
            || self.sights.try_lock().is_some_and(|mut sights| sights.all_well(shared, worker, now));
        self.alarm.put_off(now, crowded, all_well, || self.patience(shared));
    }

    /// The system may give the thread that it has refused.
    #[cold]
    fn ask_again(&self) {
        // Once for each refusal: a second one would start a second thread.
        if self.refusal.forget() {
            self.due.store(self.on.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// A poll took long, some milliseconds.
    fn beware(&self, now: Instant) {
        self.wary_until.store(to_ns(now + WARY), Ordering::Relaxed);
    }

    /// One did not long before.
    fn is_wary(&self, now: Instant) -> bool {
        to_ns(now) < self.wary_until.load(Ordering::Relaxed)
    }

    /// How long the monitor may sleep while nobody is known to keep anything.
    fn patience(&self, shared: &Shared) -> Duration {
        self.patience_after(shared, 0)
    }

    /// The same, if somebody sees to the timers that are due at `seen_to`: whoever is taken up for those is about to
    /// [fire](Self::fired) them. A look so soon is dear, and most of those who are taken up for a timer sleep again before it.
    fn patience_after(&self, shared: &Shared, seen_to: u64) -> Duration {
        if self.is_wary(Instant::now()) {
            return LOOK;
        }
        let report_after = Duration::from_nanos(self.report_after.load(Ordering::Relaxed));
        tick::nearest(PATIENCE).min(self.until_timer(shared, seen_to)).min(LOOK.max(report_after / 4))
    }

    /// How long it is until the monitor looks after the next timer, unless that was due at `seen_to`.
    fn until_timer(&self, shared: &Shared, seen_to: u64) -> Duration {
        let driver = &shared.driver;
        let next = driver.timers().next();
        if next <= seen_to || next == u64::MAX || driver.clock().is_paused() {
            return Duration::MAX;
        }
        Duration::from_nanos(next.saturating_sub(driver.clock().now())).saturating_add(GRACE)
    }

    /// Sleeps until some worker is awake.
    fn sleep(&self, shared: &Shared) {
        self.alarm.sleep(|| shared.all_at_rest());
    }
}

#[cfg(all(test, runtime_loom))]
impl Monitor {
    /// Watches, but has no thread: the model is the monitor.
    pub(super) fn without_a_thread(&self) {
        self.open(Options { rescue: true, report_after: None });
        self.due.store(false, Ordering::Relaxed);
    }

    /// What others did with it comes before what this thread does: for the count of std's Arc, which loom does not see.
    pub(super) fn see_the_last_life(&self) {
        self.due.swap(false, Ordering::AcqRel);
    }
}

#[cfg(all(test, runtime_loom))]
impl Shared {
    /// Sleeps as the monitor does, until some worker is awake.
    pub(super) fn sleep_as_monitor(&self) {
        while self.all_at_rest() {
            self.monitor.sleep(self);
        }
    }

    /// One look of a monitor that has seen nothing yet.
    pub(super) fn look_as_monitor(&'static self) {
        Watch::new(self).look(Instant::now());
    }
}

/// A task waits in the worker's next slot, and its thread is in a poll. One that is between two polls, as while it wakes a
/// batch, is about to take what lies there.
fn keeps(processor: &Processor) -> bool {
    !processor.next.is_empty() && processor.stats.current().is_some()
}

/// The body of the monitor's thread.
fn run(shared: &'static Shared) {
    let monitor = &shared.monitor;
    let _precise = Precise::set();
    slice::shorten();
    let mut watch = Watch::new(shared);
    while monitor.on.load(Ordering::Relaxed) {
        let now = Instant::now();
        match watch.look(now) {
            Next::Look(after) => monitor.alarm.sleep_for(after),
            Next::Doze => monitor.alarm.doze(now),
            Next::Sleep => monitor.sleep(shared),
        }
    }
    monitor.alarm.close();
}

impl Shared {
    /// Something may be kept from others from here on: starts the monitor's thread, unless it is there or not wanted.
    #[inline]
    pub(super) fn watch(&'static self) {
        if self.monitor.is_due() {
            self.start_monitor();
        }
    }

    /// A task waits in a next slot, where only the worker of this thread finds it soon.
    #[inline]
    pub(super) fn kept(&'static self) {
        if self.monitor.is_curious() {
            self.tell();
        }
    }

    #[cold]
    fn tell(&'static self) {
        self.watch();
        // The tasks of a batch are woken between two polls: the worker is about to take the one in the slot.
        let in_batch = context::with(|context| context.is_some_and(|context| context.batches.get()));
        if !in_batch && self.monitor.alarm.tell(|| self.idle.parked() > 0) {
            self.monitor.note_keepers(self);
        }
    }

    /// A worker's thread was started, so that another may be had as well, and there is somebody to report on.
    pub(super) fn watch_first(&'static self) {
        let monitor = &self.monitor;
        if monitor.refusal.is_there() {
            monitor.ask_again();
        }
        if monitor.report_after.load(Ordering::Relaxed) != u64::MAX {
            self.watch();
        }
    }

    /// Without a thread for it the runtime does without, until a worker's thread is started or some time has passed.
    #[cold]
    fn start_monitor(&'static self) {
        let monitor = &self.monitor;
        // Whose host this is, their monitor it will be: the scheduler goes to no other runtime as long as this thread has it.
        let Some(mut host) = self.host() else { return };
        if !monitor.due.swap(false, Ordering::Relaxed) {
            return;
        }
        if mutant!("monitor_before_host") {
            drop(host);
            // Here loom sees that others may come between.
            let _ = self.is_stopping();
            let Some(next) = self.host() else { return };
            host = next;
        }
        monitor.alarm.open();
        match host.start_thread(Role::Monitor, Box::new(move || run(self))) {
            Ok(()) => monitor.there.store(true, Ordering::Relaxed),
            Err(_) => {
                monitor.alarm.close();
                monitor.refusal.note();
            }
        }
    }

    /// The worker needs nobody to watch it: it sleeps, or nobody runs it.
    fn is_at_rest(&self, worker: usize) -> bool {
        if self.idle.is_parked(worker) {
            return true;
        }
        let processor = &self.processors[worker];
        if self.is_spare(worker) {
            return !processor.post.is_taken();
        }
        self.flavor == Flavor::CurrentThread && processor.seat.is_free()
    }

    fn all_at_rest(&self) -> bool {
        !self.is_short_of_threads()
            && self.spares.in_use() == 0
            && (0..self.workers).all(|worker| self.is_at_rest(worker))
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    use std::{panic::Location, sync::LazyLock};

    use super::*;
    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    use crate::cell;
    use crate::driver::duration_to_ns;
    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    use crate::id::TaskId;

    fn shared(report_after: Option<Duration>) -> Shared {
        let shared = Shared::new(Flavor::MultiThread, 2, 0);
        shared.monitor.open(Options { rescue: true, report_after });
        shared
    }

    fn patience(shared: &Shared) -> Duration {
        shared.monitor.patience(shared)
    }

    /// The tick that is nearest may be half of it away.
    fn is_patient(shared: &Shared) -> bool {
        (PATIENCE / 2..=PATIENCE * 3 / 2).contains(&patience(shared))
    }

    #[test]
    fn a_monitor_is_patient_until_a_poll_took_long() {
        let shared = shared(None);
        assert!(is_patient(&shared));
        shared.monitor.beware(Instant::now());
        assert_eq!(patience(&shared), LOOK);
        shared.monitor.beware(Instant::now() - 2 * WARY);
        assert!(is_patient(&shared));
    }

    /// Its monitor was rung and sleeps.
    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    fn rung() -> Shared {
        let monitor = Monitor { alarm: alarm::testing::rung(), ..Monitor::new() };
        monitor.open(Options { rescue: true, report_after: None });
        Shared { monitor, ..shared(None) }
    }

    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    #[test]
    fn a_task_that_is_kept_from_a_worker_is_looked_at_soon() {
        static SHARED: LazyLock<Shared> = LazyLock::new(rung);
        let shared = &*SHARED;
        let before = alarm::testing::due(&shared.monitor.alarm);
        while shared.idle.claim(super::super::idle::Prefer::Vacant).is_some() {}
        shared.kept();
        assert_eq!(alarm::testing::due(&shared.monitor.alarm), before, "nobody sleeps");
        shared.park(0, false);
        shared.kept();
        assert!(alarm::testing::due(&shared.monitor.alarm) < before);
    }

    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    #[test]
    fn a_task_that_is_kept_from_a_worker_is_passed_on_at_the_first_look_after_the_push() {
        static SHARED: LazyLock<Shared> = LazyLock::new(rung);
        let shared = &*SHARED;
        let mut watch = Watch::new(shared);
        while shared.idle.claim(super::super::idle::Prefer::Vacant).is_some() {}
        shared.park(0, false);
        let keeper = &shared.processors[1];
        keeper.stats.enter(TaskId::from_raw(1).unwrap(), Location::caller());
        let (runnable, _task) = cell::new(async {}, shared, (), Location::caller());
        keeper.next.put(runnable);
        shared.kept();
        watch.look(Instant::now() + LOOK / 2);
        assert!(keeper.next.is_empty());
    }

    #[test]
    fn a_monitor_looks_in_time_for_the_reports_that_are_wanted() {
        assert_eq!(patience(&shared(Some(2 * PATIENCE))), PATIENCE / 2);
        assert_eq!(patience(&shared(Some(LOOK))), LOOK);
        assert!(is_patient(&shared(Some(100 * PATIENCE))));
    }

    /// Arms a timer for so long from now; returns its time.
    fn arm(shared: &Shared, after: Duration) -> u64 {
        shared.driver.open();
        let now = shared.driver.clock().now();
        let deadline = now + duration_to_ns(after);
        shared.driver.timers().arm(0, now, deadline, std::task::Waker::noop()).unwrap().deadline
    }

    #[test]
    fn who_is_taken_up_for_a_timer_sees_to_it_and_not_to_the_next() {
        let shared = shared(None);
        let deadline = arm(&shared, PATIENCE / 2);
        let after = |seen_to| shared.monitor.patience_after(&shared, seen_to);
        assert!((PATIENCE / 2..=PATIENCE * 3 / 2).contains(&after(deadline)));
        assert!(after(deadline - 1) <= PATIENCE / 2 + GRACE + LOOK);
    }

    #[cfg(all(target_os = "linux", not(runtime_portable)))]
    #[test]
    fn a_monitor_looks_after_the_timer_that_is_next_when_others_were_fired() {
        let shared = rung();
        let before = alarm::testing::due(&shared.monitor.alarm);
        shared.monitor.fired(&shared);
        assert_eq!(alarm::testing::due(&shared.monitor.alarm), before, "there is no other");
        arm(&shared, PATIENCE / 2);
        shared.monitor.fired(&shared);
        assert!(alarm::testing::due(&shared.monitor.alarm) < before);
    }

    #[test]
    fn a_monitor_looks_soon_after_the_next_timer() {
        let shared = shared(None);
        arm(&shared, PATIENCE / 2);
        assert!(patience(&shared) <= PATIENCE / 2 + GRACE + LOOK);
        shared.driver.pause();
        assert!(is_patient(&shared));
    }
}
