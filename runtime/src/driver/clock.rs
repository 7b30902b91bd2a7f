//! What time it is for a runtime: the system's monotonic clock, or a virtual one that stands still or was moved.
//!
//! Times are nanoseconds since a base that the whole process shares; 64 bits of them last for 584 years.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

#[cfg(all(target_os = "linux", not(runtime_loom)))]
use crate::clocks;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::lock::Mutex;
use crate::loom::mutant;

/// What stands in for an instant that the system's clock cannot express.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Farther away than the system's clock has ticks apart.
const FAR: u64 = 1_000_000_000;

/// Instants before the process began are times as well, as far back as the system's clock goes.
const PAST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The zero of all times of this process.
struct Base {
    instant: Instant,
    /// What to add to what the system shows on its clock.
    #[cfg(all(target_os = "linux", not(runtime_loom)))]
    shift: Option<i64>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let now = Instant::now();
    let lengths = std::iter::successors(Some(PAST), |past| Some(*past / 2)).take(40);
    let instant = lengths.filter_map(|past| now.checked_sub(past)).next().unwrap_or(now);
    Base {
        instant,
        #[cfg(all(target_os = "linux", not(runtime_loom)))]
        shift: shift(now.saturating_duration_since(instant)),
    }
});

/// The shift by which the clock shows a little less than the time, which was `time` a moment ago.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
fn shift(time: Duration) -> Option<i64> {
    let shown = clocks::read(libc::CLOCK_MONOTONIC)?;
    i64::try_from(i128::from(duration_to_ns(time)) - i128::from(duration_to_ns(shown))).ok()
}

/// The time of the last tick of the system's clock, some milliseconds ago: it costs a fifth of a look at the clock.
#[cfg(all(target_os = "linux", not(runtime_loom)))]
#[inline]
fn last_tick() -> Option<u64> {
    let shown = clocks::read(libc::CLOCK_MONOTONIC_COARSE)?;
    duration_to_ns(shown).checked_add_signed(BASE.shift?)
}

#[cfg(not(all(target_os = "linux", not(runtime_loom))))]
fn last_tick() -> Option<u64> {
    None
}

/// The zero of all times of this process: some years before somebody first asked.
pub(crate) fn base() -> Instant {
    BASE.instant
}

/// An instant as a time; zero before the base, and `u64::MAX`, which never comes, in the far future.
pub(crate) fn to_ns(instant: Instant) -> u64 {
    duration_to_ns(instant.saturating_duration_since(base()))
}

/// A length of time in nanoseconds; `u64::MAX` if it is longer than that.
#[inline]
pub(crate) fn duration_to_ns(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

/// A time as an instant; a hundred years from now if the system's clock does not go that far.
pub(crate) fn from_ns(time: u64) -> Instant {
    base().checked_add(Duration::from_nanos(time)).unwrap_or_else(|| Instant::now() + FAR_FUTURE)
}

fn real() -> u64 {
    to_ns(Instant::now())
}

/// What a clock showed. It is made a time when somebody asks for that, which few do of a timeout: it takes a sixth of the time
/// of the look at the system's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    System(Instant),
    Virtual(u64),
}

impl Reading {
    #[inline]
    pub(crate) fn time(self) -> u64 {
        match self {
            Reading::System(instant) => to_ns(instant),
            Reading::Virtual(time) => time,
        }
    }
}

/// A clock that can be stopped, moved on and started again. It never goes back, except by [`reset`](Self::reset).
#[derive(Debug)]
pub(crate) struct Clock {
    /// The lock has to be asked. Once set, it stays so until the reset.
    is_virtual: AtomicBool,
    /// Leaf lock: nothing else is taken under it; what [`advance_if`](Self::advance_if) asks takes none.
    hands: Mutex<Hands>,
}

/// The last time there is, `u64::MAX`, never comes.
const LAST: u64 = u64::MAX - 1;

#[derive(Debug, Default)]
struct Hands {
    /// Where the clock stands still.
    stopped_at: Option<u64>,
    /// What it showed at which time of the system's clock when it was last set going.
    set: (u64, u64),
}

impl Hands {
    fn now(&self) -> u64 {
        let (shown, then) = self.set;
        let running = || real().saturating_sub(then).saturating_add(shown).min(LAST);
        self.stopped_at.unwrap_or_else(running)
    }

    /// Moves a clock that stands still on to `time`; false if it is going. Never moves it back.
    fn advance_to(&mut self, time: u64) -> bool {
        let Some(stopped_at) = &mut self.stopped_at else { return false };
        *stopped_at = time.clamp(*stopped_at, LAST);
        true
    }
}

impl Clock {
    pub(crate) fn new() -> Self {
        // A child that was forked off while another thread made the base would wait for that thread for ever.
        LazyLock::force(&BASE);
        Clock { is_virtual: AtomicBool::new(false), hands: Mutex::new(Hands::default()) }
    }

    /// The time. Who saw one time, or heard of it, never sees an earlier one.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.read().time()
    }

    /// The time, or an earlier one, if that is enough to say that `deadline` has not come. Nearly all deadlines that are
    /// looked at are far: those of timeouts.
    ///
    /// A system that was stopped may be late with its tick. Then a deadline that has come is [`FAR`] for that moment, and its
    /// timer goes off at once.
    #[inline]
    pub(crate) fn now_or_before(&self, deadline: u64) -> u64 {
        match last_tick() {
            // ORDERING: Acquire, as in `read`.
            Some(tick) if deadline.saturating_sub(tick) > FAR && !self.is_virtual.load(Ordering::Acquire) => {
                tick
            }
            _ => self.now(),
        }
    }

    /// As [`now`](Self::now), for whoever may not need the time.
    #[inline]
    pub(crate) fn read(&self) -> Reading {
        let now = Instant::now();
        // ORDERING: Acquire, after the clock was read and not before: who finds the flag down read the clock before
        // `pause` raised it, and `pause` reads the clock afterwards.
        if !self.is_virtual.load(Ordering::Acquire) {
            Reading::System(now)
        } else {
            Reading::Virtual(self.virtual_now())
        }
    }

    #[cold]
    fn virtual_now(&self) -> u64 {
        self.hands.lock().now()
    }

    /// Stops the clock; false if it stood still already.
    pub(crate) fn pause(&self) -> bool {
        let mut hands = self.hands.lock();
        if hands.stopped_at.is_some() {
            return false;
        }
        // ORDERING: a swap, so that the flag is up for everybody before the clock is read; see `read`.
        self.is_virtual.swap(true, Ordering::SeqCst);
        hands.stopped_at = Some(hands.now());
        true
    }

    /// Lets the clock go on from where it stands; false if it was going.
    pub(crate) fn resume(&self) -> bool {
        let mut hands = self.hands.lock();
        let Some(time) = hands.stopped_at.take() else { return false };
        hands.set = (time, real());
        true
    }

    pub(crate) fn is_paused(&self) -> bool {
        // ORDERING: Acquire, as in `read`.
        self.is_virtual.load(Ordering::Acquire) && self.hands.lock().stopped_at.is_some()
    }

    /// Moves a clock that stands still on to `time`, if `quiet` says so, which is asked under the lock: who reads the time
    /// later sees the new one. Never moves it back.
    pub(crate) fn advance_if(&self, time: u64, quiet: impl Fn() -> bool) -> bool {
        let before = mutant!("clock_moves_after_the_look") && quiet();
        let mut hands = self.hands.lock();
        hands.stopped_at.is_some() && (before || quiet()) && hands.advance_to(time)
    }

    /// Moves a clock that stands still on by `time`; false if it is going.
    pub(crate) fn advance_by(&self, time: u64) -> bool {
        let mut hands = self.hands.lock();
        let end = hands.now().saturating_add(time);
        hands.advance_to(end)
    }

    /// Back to the system's clock, for the next runtime.
    pub(crate) fn reset(&self) {
        let mut hands = self.hands.lock();
        *hands = Hands::default();
        // ORDERING: Release, as the flag goes down after the hands were put back.
        self.is_virtual.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(runtime_loom)))]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 24 * 60 * 60 * 1_000_000_000;

    #[test]
    fn a_far_deadline_may_be_compared_with_an_earlier_time() {
        let clock = Clock::new();
        let before = clock.now();
        let seen = clock.now_or_before(before + YEAR);
        assert!(seen <= clock.now());
        assert!(before.saturating_sub(seen) < FAR, "{before} {seen}");
    }

    #[test]
    fn a_near_deadline_is_compared_with_the_time() {
        let clock = Clock::new();
        for deadline in [0, clock.now(), clock.now() + FAR / 2] {
            let before = clock.now();
            assert!(clock.now_or_before(deadline) >= before);
        }
    }

    #[test]
    fn a_stopped_clock_has_no_earlier_time() {
        let clock = Clock::new();
        clock.pause();
        clock.advance_by(YEAR);
        assert_eq!(clock.now_or_before(u64::MAX), clock.now());
    }

    #[test]
    fn a_stopped_clock_stands_still_and_is_moved_by_hand() {
        let clock = Clock::new();
        assert!(clock.pause() && clock.is_paused());
        let stopped_at = clock.now();
        assert_eq!(clock.now(), stopped_at);
        assert!(clock.advance_if(stopped_at + 10 * YEAR, || true));
        assert_eq!(clock.now(), stopped_at + 10 * YEAR);
        assert!(clock.advance_if(stopped_at, || true));
        assert_eq!(clock.now(), stopped_at + 10 * YEAR, "never back");
    }

    #[test]
    fn a_clock_at_its_end_can_be_set_going_stopped_and_moved() {
        let clock = Clock::new();
        clock.pause();
        clock.advance_if(u64::MAX, || true);
        let end = clock.now();
        clock.resume();
        let passed = real();
        while real() == passed {}
        assert!(clock.pause());
        assert!(clock.advance_if(u64::MAX, || true));
        assert_eq!(clock.now(), end, "the last time there is never comes");
    }

    #[test]
    fn a_clock_that_goes_on_does_so_from_where_it_stood() {
        let clock = Clock::new();
        clock.pause();
        let time = clock.now() + YEAR;
        clock.advance_if(time, || true);
        assert!(clock.resume() && !clock.is_paused());
        let (first, second) = (clock.now(), clock.now());
        assert!(time <= first && first <= second && second < time + YEAR);
        assert!(!clock.advance_if(u64::MAX, || true), "it is going");
        assert!(clock.pause() && clock.now() >= second, "stopped again, where it was");
    }

    #[test]
    fn a_clock_is_stopped_and_started_once() {
        let clock = Clock::new();
        assert!(!clock.resume());
        assert!(clock.pause() && !clock.pause());
        assert!(clock.resume() && !clock.resume());
    }

    #[test]
    fn moves_of_several_threads_add_up() {
        let clock = Clock::new();
        clock.pause();
        let (begin, threads, moves) = (clock.now(), 4, 1000);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..moves).for_each(|_| assert!(clock.advance_by(1))));
            }
        });
        assert_eq!(clock.now(), begin + threads * moves);
    }

    #[test]
    fn after_a_reset_it_is_the_system_s_clock() {
        let clock = Clock::new();
        clock.pause();
        clock.advance_if(u64::MAX, || true);
        clock.reset();
        let (before, now, after) = (real(), clock.now(), real());
        assert!(before <= now && now <= after && !clock.is_paused());
    }

    #[test]
    fn a_time_and_its_instant_are_the_same() {
        base();
        let instant = Instant::now() + Duration::from_nanos(12_345);
        assert_eq!(from_ns(to_ns(instant)), instant);
        assert_eq!(to_ns(base()), 0);
    }

    #[test]
    fn times_beyond_every_range_are_clamped() {
        if let Some(past) = base().checked_sub(Duration::from_secs(1)) {
            assert_eq!(to_ns(past), 0);
        }
        assert!(from_ns(u64::MAX) > Instant::now() + Duration::from_secs(99 * 365 * 24 * 60 * 60));
        assert_eq!(duration_to_ns(Duration::MAX), u64::MAX);
        assert_eq!(duration_to_ns(Duration::new(3, 7)), 3_000_000_007);
    }

    #[test]
    fn threads_that_tell_each_other_the_time_never_see_it_go_back() {
        use std::sync::atomic::AtomicU64;
        let (clock, seen, done) = (Clock::new(), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let heard = seen.load(Ordering::Acquire);
                        let now = clock.now();
                        assert!(now >= heard, "{now} after {heard}");
                        seen.fetch_max(now, Ordering::AcqRel);
                    }
                });
            }
            for _ in 0..200 {
                clock.pause();
                clock.advance_if(clock.now() + 1000, || true);
                std::thread::yield_now();
                clock.resume();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
