//! What the monitor sleeps in while all workers are at rest, and how it is woken a little later.
//!
//! A worker that is taken up after a rest may be stuck soon, but most are at rest again before that. To wake the monitor at
//! once costs two context switches, and its look finds nothing yet. So whoever takes a worker up *rings*: sets a timer of
//! the system for when a look is due. Whoever is the last to come to rest stops it, so that the monitor sleeps on; but if its
//! rests have been so short that it is up again long before the timer goes off, it leaves the timer alone.
//!
//! While workers are up the monitor *dozes* on the timer as well, until its next look. Workers that are between two polls look
//! in its place, and while they find each other well they put the timer off: so a busy server has no looks by a thread that
//! is to be woken for them, each of which takes the processor from somebody.
//!
//! # How late
//! A timer that goes off before the next tick of the system's clock is dear: the processor's own timer has to be set for it,
//! and again when it is stopped or put off, which takes a virtual machine from one to ten microseconds each. So the timer is
//! set for [`PATIENCE`], to a [tick](super::tick), while nobody keeps anything from others, or for a little after the next
//! timer of a task that is known then, if that is earlier; by the monitor itself, which has just seen polls, for one more look.
//!
//! What cannot wait so long is a task in a next slot while some worker sleeps. Whoever puts one there *tells*, and so does a
//! worker that parks and sees one; then the timer goes off soon. That costs the push a look at a flag, which says whether it
//! is [`news`].
//!
//! # Protocol
//! The state is [`AWAKE`], [`ASLEEP`], or [`RUNG`]: asleep with the timer set. Between the latter it changes under the lock,
//! and the timer with it. A monitor that sleeps until its next look is in [`RUNG`] too, by its own hand.
//!
//! *Monitor*: 1. say that it is asleep; 2. `fence(SeqCst)`; 3. look whether all workers are at rest; 4. sleep. *Who takes a
//! worker up*: 1. the worker's bit is cleared, or its seat emptied; 2. `fence(SeqCst)`; 3. look whether the monitor is
//! asleep, and ring. *Who comes to rest last* does the monitor's steps for it: 1. stop the timer and say that the monitor is
//! asleep; 2. `fence(SeqCst)`; 3. look whether all workers are at rest, and ring if not. The fences order (1, 3) against
//! (1, 3).

#[cfg(runtime_loom)]
mod modelled;
#[cfg(all(test, runtime_loom))]
mod models;
mod news;
#[cfg(all(any(not(target_os = "linux"), runtime_portable), not(runtime_loom)))]
mod none;
#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
mod timerfd;

use std::time::{Duration, Instant};

use super::{LOOK, PATIENCE};
use crate::driver::to_ns;
use crate::loom::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use crate::loom::lock::Mutex;
use crate::loom::{Arc, mutant};
use crate::parker::Parker;

#[cfg(runtime_loom)]
use modelled::Timer;
use news::News;
#[cfg(all(any(not(target_os = "linux"), runtime_portable), not(runtime_loom)))]
use none::Timer;
#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
use timerfd::Timer;

/// The monitor looks, or is about to.
const AWAKE: u8 = 0;

/// It sleeps until somebody rings.
const ASLEEP: u8 = 1;

/// It sleeps, and the timer wakes it: somebody has rung, or it is to look again.
const RUNG: u8 = 2;

/// To the look at a task that somebody keeps. Who has told has also seen who keeps it, so that this look may be the second.
const SOON: Duration = Duration::from_micros(750);

/// From one look of a worker in the monitor's place to the next.
const SIGHT: Duration = Duration::from_nanos(LOOK.as_nanos() as u64 / 4);

/// Where the monitor's thread sleeps. Without a timer it is woken at once.
#[derive(Debug)]
pub(super) struct Alarm {
    state: AtomicU8,
    /// When a worker may look in the monitor's place.
    sight: AtomicU64,
    news: News,
    parker: Arc<Parker>,
    clock: Mutex<Clock>,
}

#[derive(Debug)]
struct Clock {
    /// `None` while there is no thread to be woken by it.
    timer: Option<Arc<Timer>>,
    /// For how long it was set.
    after: Duration,
    /// The thread is to end: nobody stops the timer any more.
    last: bool,
}

impl Clock {
    /// Lets the timer go off after this time; true if it will.
    fn set(&mut self, after: Duration) -> bool {
        self.after = after;
        self.timer.as_ref().is_some_and(|timer| timer.set(after).is_ok())
    }
}

impl Alarm {
    pub(super) fn new() -> Self {
        Alarm {
            state: AtomicU8::new(AWAKE),
            sight: AtomicU64::new(0),
            news: News::new(),
            parker: Parker::new(),
            clock: Mutex::new(Clock { timer: None, after: Duration::ZERO, last: false }),
        }
    }

    /// The monitor's thread is about to be there.
    pub(super) fn open(&self) {
        let timer = Timer::new().map(Arc::new);
        let mut clock = self.clock.lock();
        clock.timer = timer;
        clock.last = false;
    }

    /// It goes, or does not come.
    pub(super) fn close(&self) {
        let timer = self.clock.lock().timer.take();
        drop(timer);
    }

    /// True if whoever [takes a worker up](Self::stir) need not wake a thread for it.
    pub(super) fn has_timer(&self) -> bool {
        self.clock.lock().timer.is_some()
    }

    /// Sleeps until some worker is awake. May end without.
    pub(super) fn sleep(&self, all_at_rest: impl Fn() -> bool) {
        self.state.store(ASLEEP, Ordering::Relaxed);
        if !mutant!("monitor_sleeps_without_fence") {
            // ORDERING: pairs with the fence in `stir`.
            fence(Ordering::SeqCst);
        }
        if all_at_rest() {
            self.wait();
        }
        self.wake_up();
    }

    /// The look that follows sees what was told.
    fn wake_up(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
        self.news.hear();
    }

    fn wait(&self) {
        let timer = self.clock.lock().timer.clone();
        match timer {
            // Nobody is to come back here at once, for ever.
            Some(timer) if timer.wait().is_err() => self.close(),
            Some(_) => {}
            None => self.parker.park(),
        }
    }

    /// Sleeps until somebody [rings](Self::ring_at_once), or for so long.
    pub(super) fn sleep_for(&self, time: Duration) {
        self.parker.park_timeout(time);
    }

    /// Sleeps until the next look is due, which those who find that all is well [put off](Self::put_off).
    pub(super) fn doze(&self, now: Instant) {
        let mut clock = self.clock.lock();
        let set = !clock.last && self.set(&mut clock, now, LOOK);
        if set {
            self.state.store(RUNG, Ordering::Relaxed);
        }
        drop(clock);
        if set {
            self.wait();
        } else {
            self.sleep_for(LOOK);
        }
        self.wake_up();
    }

    /// A worker is between two polls at `now`: it looks whether all is well, if the timer goes off soon and the last look was
    /// some time ago, and puts the timer off if so.
    ///
    /// Not while tasks are kept, unless others use the worker's processor (`crowded`): the timer has to go off soon then, so
    /// that putting it off is dear, and a monitor that runs where a worker sleeps takes nothing from anybody.
    #[inline]
    pub(super) fn put_off(
        &self,
        now: Instant,
        crowded: bool,
        all_well: impl FnOnce() -> bool,
        patience: impl FnOnce() -> Duration,
    ) {
        // Models know no time: there the timer may go off at once, whatever is done to it.
        let rung = !cfg!(runtime_loom) && self.state.load(Ordering::Relaxed) == RUNG;
        let worth = crowded || !self.news.is_told();
        let before = self.sight.load(Ordering::Relaxed);
        if rung && worth && to_ns(now) >= before && !self.is_due_after(now + PATIENCE / 2) {
            let next = to_ns(now + SIGHT);
            // Of those who come here at the same time one looks. ORDERING: Relaxed, what it sees and sets is under locks.
            if self.sight.compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                && all_well()
            {
                self.set_later(now, patience());
            }
        }
    }

    #[cold]
    fn set_later(&self, now: Instant, patience: Duration) {
        let mut clock = self.clock.lock();
        let half_over = !self.is_due_after(now + clock.after / 2);
        if half_over && !clock.last && self.state.load(Ordering::Relaxed) == RUNG {
            // A timer that cannot be set goes off.
            let _ = self.set(&mut clock, now, patience);
        }
    }

    /// The next look is to be at `then` at the latest.
    pub(super) fn look_by(&self, then: Instant) {
        if self.state.load(Ordering::Relaxed) == RUNG && self.is_due_after(then) {
            self.set_sooner(then);
        }
    }

    #[cold]
    fn set_sooner(&self, then: Instant) {
        let mut clock = self.clock.lock();
        if self.is_due_after(then) && !clock.last && self.state.load(Ordering::Relaxed) == RUNG {
            let now = Instant::now();
            // A timer that cannot be set goes off.
            let _ = self.set(&mut clock, now, then.saturating_duration_since(now));
        }
    }

    /// True if whoever keeps a task from others is to [tell](Self::tell).
    #[inline]
    pub(super) fn is_curious(&self) -> bool {
        self.news.is_wanted()
    }

    /// A worker keeps a task in its next slot; it matters if anybody sleeps, who could take it.
    ///
    /// No fence stands between the push and the look whether that is news, which would cost as much as the push. So a push
    /// that meets a setting of the timer, or a worker that parks, within nanoseconds may be missed, and is looked at as late
    /// as if nobody kept anything. True if it was news.
    #[cold]
    pub(super) fn tell(&self, anybody_sleeps: impl FnOnce() -> bool) -> bool {
        let news = self.news.tell(anybody_sleeps);
        if news && self.is_due_after(Instant::now() + LOOK) {
            self.bring_forward(&mut self.clock.lock());
        }
        news
    }

    /// Lets the timer go off soon, if it would go off late.
    #[cold]
    fn bring_forward(&self, clock: &mut Clock) {
        let now = Instant::now();
        if self.is_due_after(now + LOOK) && !clock.last && self.state.load(Ordering::Relaxed) == RUNG {
            self.news.hurry(to_ns(now + SOON));
            // A timer that cannot be set goes off.
            let _ = clock.set(SOON);
        }
    }

    /// A worker sleeps from now on, or is free: from it tasks can be kept, and perhaps one is. Its bit is set, and the fence
    /// after that stands before this. True if one is, and that was news.
    #[inline]
    pub(super) fn parked(&self, is_kept: impl FnOnce() -> bool) -> bool {
        if self.state.load(Ordering::Relaxed) != RUNG || self.news.is_told() {
            return false;
        }
        if is_kept() {
            return self.tell(|| true);
        }
        self.news.want();
        false
    }

    /// Lets the timer go off after this time, or soon if tasks are kept; true if it will.
    fn set(&self, clock: &mut Clock, now: Instant, after: Duration) -> bool {
        if clock.timer.is_none() {
            return false;
        }
        let due = self.news.ask(to_ns(now + after), to_ns(now + LOOK));
        let set = clock.set(Duration::from_nanos(due - to_ns(now)));
        if self.news.is_told() {
            // Whoever has told meanwhile waits for the lock, perhaps for a processor as well then, and others keep quiet.
            self.bring_forward(clock);
        }
        set
    }

    /// As far as this thread knows. Models know no time: there the timer may go off at once.
    fn is_due_after(&self, then: Instant) -> bool {
        !cfg!(runtime_loom) && self.news.due() > to_ns(then)
    }

    /// Some thread has taken a worker up: there may be something to watch.
    #[inline]
    pub(super) fn stir(&self, patience: impl FnOnce() -> Duration) {
        if !mutant!("stir_without_fence") {
            // ORDERING: pairs with the fences in `sleep` and `quiet`, see the module's head.
            fence(Ordering::SeqCst);
        }
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            self.ring(patience());
        }
    }

    #[cold]
    fn ring(&self, patience: Duration) {
        let mut clock = self.clock.lock();
        // One of those who take workers up at the same time is enough.
        if self.change(ASLEEP, RUNG) {
            let set = !clock.last && self.set(&mut clock, Instant::now(), patience);
            drop(clock);
            if !set {
                self.parker.unpark();
            }
        }
    }

    /// A worker is at rest since `now` or a little after, perhaps the last, and expects to be up again after `rest`.
    #[inline]
    pub(super) fn settle(&self, now: Instant, rest: Duration, all_at_rest: impl Fn() -> bool) {
        let rung = self.state.load(Ordering::Relaxed) == RUNG;
        if rung && !self.is_due_after(now + 2 * rest) && all_at_rest() {
            self.quiet(all_at_rest);
        }
    }

    #[cold]
    fn quiet(&self, all_at_rest: impl Fn() -> bool) {
        if !self.stop() {
            return;
        }
        if !mutant!("quiet_without_fence") {
            // ORDERING: pairs with the fence in `stir`: who saw that the monitor was rung is seen here.
            fence(Ordering::SeqCst);
        }
        if !all_at_rest() && !mutant!("quiet_without_second_look") {
            self.ring(LOOK);
        }
    }

    /// True if the timer was set and is not any more.
    fn stop(&self) -> bool {
        let clock = self.clock.lock();
        let Some(timer) = &clock.timer else { return false };
        if clock.last && !mutant!("last_ring_is_stopped") {
            return false;
        }
        // For the one who sees it rung before whoever rings has said so.
        self.news.forget();
        let stopped = self.change(RUNG, ASLEEP);
        if stopped {
            // A timer that cannot be stopped goes off, and finds all workers at rest.
            let _ = timer.stop();
        }
        stopped
    }

    fn change(&self, from: u8, to: u8) -> bool {
        // ORDERING: Relaxed, the fences around it order what matters, and the lock the timer.
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Wakes the monitor now, for the last time.
    pub(super) fn ring_at_once(&self) {
        let mut clock = self.clock.lock();
        clock.last = true;
        if let Some(timer) = &clock.timer {
            // A timer that can be made can be set: it has tried.
            let _ = timer.set(Duration::ZERO);
        }
        drop(clock);
        self.parker.unpark();
    }
}

#[cfg(all(test, target_os = "linux", not(runtime_portable), not(runtime_loom)))]
pub(super) mod testing {
    use super::*;
    use crate::driver::from_ns;

    /// Longer than any machine may hold up a test.
    const FAR: Duration = Duration::from_secs(3600);

    /// The monitor sleeps and was rung for a worker.
    pub(in super::super) fn rung() -> Alarm {
        let alarm = Alarm::new();
        alarm.open();
        alarm.change(AWAKE, ASLEEP);
        alarm.stir(|| FAR);
        alarm
    }

    /// When the timer goes off.
    pub(in super::super) fn due(alarm: &Alarm) -> Instant {
        from_ns(alarm.news.due())
    }
}

#[cfg(all(test, target_os = "linux", not(runtime_portable), not(runtime_loom)))]
mod tests {
    use std::cell::Cell;

    use super::testing::{due, rung};
    use super::*;

    /// The same after a worker was between two polls at `at`.
    fn due_after(alarm: &Alarm, at: Instant, well: bool) -> Instant {
        alarm.put_off(at, true, || well, || PATIENCE);
        due(alarm)
    }

    #[test]
    fn the_timer_is_put_off_while_all_is_well() {
        let alarm = rung();
        let at = due(&alarm) - PATIENCE / 4;
        assert_eq!(due_after(&alarm, at, true), at + PATIENCE);
        assert_eq!(due_after(&alarm, at + PATIENCE, false), at + PATIENCE);
    }

    #[test]
    fn a_timer_that_goes_off_late_enough_is_not_put_off() {
        let alarm = rung();
        let before = due(&alarm);
        let looked = Cell::new(false);
        alarm.put_off(before - PATIENCE / 2 - SIGHT, true, || looked.replace(true), || PATIENCE);
        assert_eq!((due(&alarm), looked.get()), (before, false));
    }

    #[test]
    fn workers_look_in_place_of_the_monitor_only_while_it_sleeps_and_not_often() {
        let looks = |alarm: &Alarm| {
            let from = due(alarm) - PATIENCE / 2;
            (0..100).filter(|n| looks_at(alarm, from + LOOK * *n / 100)).count()
        };
        let awake = rung();
        awake.change(RUNG, AWAKE);
        assert_eq!(looks(&awake), 0);
        assert_eq!(looks(&rung()), LOOK.div_duration_f64(SIGHT) as usize);
    }

    fn looks_at(alarm: &Alarm, now: Instant) -> bool {
        let looked = Cell::new(false);
        alarm.put_off(now, true, || looked.replace(true), || PATIENCE);
        looked.get()
    }

    #[test]
    fn the_last_ring_is_not_put_off() {
        let alarm = rung();
        let before = due(&alarm);
        alarm.ring_at_once();
        assert_eq!(due_after(&alarm, before, true), before);
        alarm.tell(|| true);
        assert_eq!(due(&alarm), before);
    }

    #[test]
    fn a_task_that_is_kept_from_somebody_who_sleeps_brings_the_look_forward() {
        let alarm = rung();
        let before = due(&alarm);
        alarm.tell(|| false);
        assert_eq!(due(&alarm), before);
        alarm.tell(|| true);
        assert!(due(&alarm) <= Instant::now() + SOON);
    }

    #[test]
    fn a_task_that_is_kept_is_news_once_for_each_setting_of_the_timer() {
        let alarm = rung();
        assert!(alarm.is_curious());
        alarm.tell(|| true);
        assert!(!alarm.is_curious());
        let soon = due(&alarm);
        assert_eq!(due_after(&alarm, soon, true), soon + LOOK, "tasks are kept: not put off by much");
        assert!(alarm.is_curious());
        assert_eq!(due_after(&alarm, soon + LOOK, true), soon + LOOK + PATIENCE, "none was kept since");
    }

    #[test]
    fn the_timer_is_not_put_off_while_tasks_are_kept_and_a_processor_is_idle() {
        let alarm = rung();
        alarm.tell(|| true);
        let soon = due(&alarm);
        alarm.put_off(soon, false, || true, || PATIENCE);
        assert_eq!(due(&alarm), soon);
    }

    #[test]
    fn a_task_that_is_kept_is_news_again_when_a_worker_has_come_to_rest() {
        let alarm = rung();
        alarm.tell(|| false);
        alarm.parked(|| false);
        assert!(alarm.is_curious());
    }

    #[test]
    fn a_worker_that_parks_tells_what_it_could_have_taken() {
        let alarm = rung();
        alarm.tell(|| false);
        alarm.parked(|| true);
        assert!(alarm.news.is_told());
        assert!(due(&alarm) <= Instant::now() + SOON);
    }

    #[test]
    fn a_timer_is_stopped_at_a_rest_that_may_outlast_it() {
        let state_after_a_rest_of = |rest| {
            let alarm = rung();
            let now = due(&alarm) - PATIENCE;
            alarm.settle(now, rest, || true);
            alarm.state.load(Ordering::Relaxed)
        };
        assert_eq!(state_after_a_rest_of(PATIENCE / 2), ASLEEP);
        assert_eq!(state_after_a_rest_of(PATIENCE / 3), RUNG);
    }

    #[test]
    fn a_timer_is_not_stopped_while_somebody_is_up() {
        let alarm = rung();
        alarm.settle(due(&alarm), Duration::ZERO, || false);
        assert_eq!(alarm.state.load(Ordering::Relaxed), RUNG);
    }
}
