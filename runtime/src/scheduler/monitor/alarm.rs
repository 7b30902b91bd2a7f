//! What the monitor sleeps in while all workers are at rest, and how it is woken a little later.
//!
//! A worker that is taken up after a rest may be stuck soon, but most are at rest again before that. To wake the monitor at
//! once costs two context switches, and its look finds nothing yet. So whoever takes a worker up *rings*: sets a timer of
//! the system for when a look may tell something. Whoever is the last to come to rest stops it, so that a server that
//! works in short bursts pays two short system calls for each and the monitor sleeps on. Where one rest follows the other
//! that happens a few times in a millisecond; it takes one to keep the timer from going off.
//!
//! While workers are up the monitor *dozes* on the timer as well, until its next look. Workers that are between two polls look
//! in its place, a few times in a millisecond, and while they find each other well they put the timer off: so a busy server
//! has no looks by a thread that is to be woken for them, each of which takes the processor from somebody.
//!
//! # Protocol
//! The state is [`AWAKE`], [`ASLEEP`], or [`RUNG`] (or [`LEFT`]): asleep with the timer set. Between the latter it changes
//! under the lock, and the timer with it. A monitor that sleeps until its next look is in [`RUNG`] too, by its own hand.
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
#[cfg(all(any(not(target_os = "linux"), runtime_portable), not(runtime_loom)))]
mod none;
#[cfg(all(target_os = "linux", not(runtime_portable), not(runtime_loom)))]
mod timerfd;

use std::time::{Duration, Instant};

use super::LOOK;
use super::bucket::Bucket;
use crate::driver::to_ns;
use crate::loom::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use crate::loom::lock::Mutex;
use crate::loom::{Arc, mutant};
use crate::parker::Parker;

#[cfg(runtime_loom)]
use modelled::Timer;
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

/// As [`RUNG`], and the timer is left alone for a while: it was stopped often enough.
const LEFT: u8 = 3;

/// So often at once the timer may be stopped.
const STOPS: u32 = if cfg!(runtime_loom) { u32::MAX } else { 4 };

/// Afterwards it may be stopped once in this time.
const NEXT_STOP: Duration = Duration::from_nanos(LOOK.as_nanos() as u64 / 4);

/// To the first look after a rest: what is seen is a task that is kept in a next slot, and seen again a little later.
const FIRST_LOOK: Duration = Duration::from_micros(750);

/// From one look of a worker in the monitor's place to the next.
const SIGHT: Duration = Duration::from_nanos(LOOK.as_nanos() as u64 / 4);

/// Where the monitor's thread sleeps. Without a timer it is woken at once.
#[derive(Debug)]
pub(super) struct Alarm {
    state: AtomicU8,
    /// When a timer that was left alone may be stopped.
    retry: AtomicU64,
    /// When a worker may look in the monitor's place.
    sight: AtomicU64,
    parker: Arc<Parker>,
    clock: Mutex<Clock>,
}

#[derive(Debug)]
struct Clock {
    /// `None` while there is no thread to be woken by it.
    timer: Option<Arc<Timer>>,
    stops: Bucket,
    /// When it goes off, unless it was stopped.
    due: Option<Instant>,
    /// The thread is to end: nobody stops the timer any more.
    last: bool,
}

impl Clock {
    /// Lets the timer go off after this time; true if it will.
    fn set(&mut self, now: Instant, after: Duration) -> bool {
        self.due = Some(now + after);
        self.timer.as_ref().is_some_and(|timer| timer.set(after).is_ok())
    }
}

impl Alarm {
    pub(super) fn new() -> Self {
        let stops = Bucket::new(NEXT_STOP, STOPS);
        Alarm {
            state: AtomicU8::new(AWAKE),
            retry: AtomicU64::new(0),
            sight: AtomicU64::new(0),
            parker: Parker::new(),
            clock: Mutex::new(Clock { timer: None, stops, due: None, last: false }),
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
        self.state.store(AWAKE, Ordering::Relaxed);
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
        let set = !clock.last && clock.set(now, LOOK);
        if set {
            self.state.store(RUNG, Ordering::Relaxed);
        }
        drop(clock);
        if set {
            self.wait();
        } else {
            self.sleep_for(LOOK);
        }
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// A worker is between two polls at `now`: it looks whether all is well, if the last look was some time ago and the
    /// monitor sleeps, and puts the timer off if so.
    #[inline]
    pub(super) fn put_off(&self, now: Instant, all_well: impl FnOnce() -> bool) {
        // Models know no time: there the timer may go off at once, whatever is done to it.
        let rung = !cfg!(runtime_loom) && self.state.load(Ordering::Relaxed) >= RUNG;
        let before = self.sight.load(Ordering::Relaxed);
        if rung && to_ns(now) >= before {
            let next = to_ns(now + SIGHT);
            // Of those who come here at the same time one looks. ORDERING: Relaxed, what it sees and sets is under locks.
            if self.sight.compare_exchange(before, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
                && all_well()
            {
                self.set_later(now);
            }
        }
    }

    #[cold]
    fn set_later(&self, now: Instant) {
        let mut clock = self.clock.lock();
        let soon = clock.due.is_none_or(|due| due.saturating_duration_since(now) < LOOK / 2);
        if soon && !clock.last && self.state.load(Ordering::Relaxed) >= RUNG {
            // A timer that cannot be set goes off.
            let _ = clock.set(now, LOOK);
        }
    }

    /// Some thread has taken a worker up: there may be something to watch.
    #[inline]
    pub(super) fn stir(&self) {
        if !mutant!("stir_without_fence") {
            // ORDERING: pairs with the fences in `sleep` and `quiet`, see the module's head.
            fence(Ordering::SeqCst);
        }
        if self.state.load(Ordering::Relaxed) == ASLEEP {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        let mut clock = self.clock.lock();
        // One of those who take workers up at the same time is enough.
        if self.change(ASLEEP, RUNG) {
            let set = clock.set(Instant::now(), FIRST_LOOK);
            drop(clock);
            if !set {
                self.parker.unpark();
            }
        }
    }

    /// A worker is at rest, perhaps the last; `now` is when it came to rest, or a little before.
    #[inline]
    pub(super) fn settle(&self, now: Instant, all_at_rest: impl Fn() -> bool) {
        let may_stop = match self.state.load(Ordering::Relaxed) {
            RUNG => true,
            LEFT => to_ns(now) >= self.retry.load(Ordering::Relaxed),
            _ => false,
        };
        if may_stop && all_at_rest() {
            self.quiet(now, all_at_rest);
        }
    }

    #[cold]
    fn quiet(&self, now: Instant, all_at_rest: impl Fn() -> bool) {
        if !self.stop(now) {
            return;
        }
        if !mutant!("quiet_without_fence") {
            // ORDERING: pairs with the fence in `stir`: who saw that the monitor was rung is seen here.
            fence(Ordering::SeqCst);
        }
        if !all_at_rest() && !mutant!("quiet_without_second_look") {
            self.ring();
        }
    }

    /// True if the timer was set and is not any more.
    fn stop(&self, now: Instant) -> bool {
        let mut clock = self.clock.lock();
        let Clock { timer: Some(timer), stops, last, .. } = &mut *clock else { return false };
        if *last && !mutant!("last_ring_is_stopped") {
            return false;
        }
        if !stops.take(now) {
            self.retry.store(to_ns(now + NEXT_STOP), Ordering::Relaxed);
            self.change(RUNG, LEFT);
            return false;
        }
        let stopped = self.change(RUNG, ASLEEP) || self.change(LEFT, ASLEEP);
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
mod tests {
    use std::cell::Cell;

    use super::*;

    fn rung() -> Alarm {
        let alarm = Alarm::new();
        alarm.open();
        alarm.change(AWAKE, ASLEEP);
        alarm.stir();
        alarm
    }

    /// When the timer goes off.
    fn due(alarm: &Alarm) -> Instant {
        alarm.clock.lock().due.unwrap()
    }

    /// The same after a worker was between two polls at `at`.
    fn due_after(alarm: &Alarm, at: Instant, well: bool) -> Instant {
        alarm.put_off(at, || well);
        due(alarm)
    }

    #[test]
    fn the_timer_is_put_off_while_all_is_well() {
        let alarm = rung();
        let before = due(&alarm);
        assert_eq!(due_after(&alarm, before - LOOK / 4, true), before - LOOK / 4 + LOOK);
        assert_eq!(due_after(&alarm, before + LOOK / 2, false), before - LOOK / 4 + LOOK);
    }

    #[test]
    fn a_timer_that_goes_off_late_enough_is_not_put_off() {
        let alarm = rung();
        let before = due(&alarm);
        assert_eq!(due_after(&alarm, before - LOOK / 2, true), before);
    }

    #[test]
    fn workers_look_in_place_of_the_monitor_only_while_it_sleeps_and_not_often() {
        let begin = Instant::now();
        let looks = |alarm: &Alarm| (0..100).filter(|n| looks_at(alarm, begin + LOOK * *n / 100)).count();
        assert_eq!(looks(&Alarm::new()), 0);
        assert_eq!(looks(&rung()), LOOK.div_duration_f64(SIGHT) as usize);
    }

    fn looks_at(alarm: &Alarm, now: Instant) -> bool {
        let looked = Cell::new(false);
        alarm.put_off(now, || looked.replace(true));
        looked.get()
    }

    #[test]
    fn the_last_ring_is_not_put_off() {
        let alarm = rung();
        let before = due(&alarm);
        alarm.ring_at_once();
        assert_eq!(due_after(&alarm, before, true), before);
    }

    #[test]
    fn a_timer_that_was_stopped_often_enough_is_left_alone_for_a_while() {
        let alarm = Alarm::new();
        alarm.open();
        let begin = Instant::now();
        let state_after_a_turn = |at| {
            alarm.change(AWAKE, ASLEEP);
            alarm.stir();
            alarm.settle(at, || true);
            alarm.state.load(Ordering::Relaxed)
        };
        for _ in 0..STOPS {
            assert_eq!(state_after_a_turn(begin), ASLEEP);
        }
        assert_eq!(state_after_a_turn(begin), LEFT);
        assert_eq!(state_after_a_turn(begin + NEXT_STOP / 2), LEFT);
        assert_eq!(state_after_a_turn(begin + 2 * NEXT_STOP), ASLEEP);
    }
}
