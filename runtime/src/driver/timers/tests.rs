//! What holds on one thread; the models are about several.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

/// Counts wakes, and panics at each if it is told to.
#[derive(Default)]
struct Count {
    wakes: AtomicUsize,
    panics: bool,
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "from a waker");
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), Waker::from(count))
}

fn wakes(count: &Arc<Count>) -> usize {
    count.wakes.load(Ordering::Relaxed)
}

const MS: u64 = 1_000_000;

#[test]
fn the_slack_is_at_most_a_64th_of_the_wait() {
    for now in [0, 999, 7 * MS, u64::MAX / 3] {
        for wait in [0, 1, 1000, 65_535, 65_536, MS, 20 * MS, 100 * MS, 60_000 * MS, u64::MAX / 2] {
            let late = with_slack(now, now + wait) - (now + wait);
            assert!(late < (wait / 64).clamp(LEAST_SLACK, MOST_SLACK), "{late} after a wait of {wait}");
        }
    }
    assert_eq!(with_slack(0, u64::MAX), u64::MAX);
    assert_eq!(with_slack(u64::MAX, u64::MAX - 5), u64::MAX);
}

#[test]
fn a_timer_wakes_at_its_deadline_and_not_before() {
    let timers = Timers::new(2);
    let (count, waker) = counting();
    let armed = timers.arm(1, 0, MS, &waker).unwrap();
    assert_eq!(timers.next(), armed.deadline);
    assert_eq!(timers.fire_all(armed.deadline - 1), 0);
    assert!(!timers.is_fired(&armed) && wakes(&count) == 0);
    assert_eq!(timers.fire_all(armed.deadline), 1);
    assert!(timers.is_fired(&armed) && wakes(&count) == 1);
    assert_eq!((timers.next(), timers.len()), (u64::MAX, 0));
}

#[test]
fn the_next_after_the_earliest_was_disarmed_is_the_second() {
    let timers = Timers::new(1);
    let first = timers.arm(0, 0, MS, Waker::noop()).unwrap();
    let second = timers.arm(0, 0, 500 * MS, Waker::noop()).unwrap();
    assert_eq!(timers.next(), first.deadline);
    timers.disarm(first);
    assert_eq!(timers.next(), second.deadline);
    timers.disarm(second);
    assert_eq!(timers.next(), u64::MAX);
}

#[test]
fn what_was_disarmed_wakes_nobody_and_keeps_nothing() {
    let timers = Timers::new(1);
    let (count, waker) = counting();
    let armed = timers.arm(0, 0, MS, &waker).unwrap();
    drop(waker);
    timers.disarm(armed);
    assert_eq!((Arc::strong_count(&count), timers.len()), (1, 0));
    assert_eq!(timers.fire(0, 2 * MS), 0);
    assert_eq!(wakes(&count), 0);
    timers.disarm(armed);
}

#[test]
fn the_latest_waker_is_woken() {
    let timers = Timers::new(1);
    let ((old, old_waker), (new, new_waker)) = (counting(), counting());
    let armed = timers.arm(0, 0, MS, &old_waker).unwrap();
    assert!(timers.update(&armed, &old_waker) && timers.update(&armed, &new_waker));
    timers.fire(0, 2 * MS);
    assert_eq!((wakes(&old), wakes(&new)), (0, 1));
    assert!(!timers.update(&armed, &new_waker));
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_being_woken() {
    let timers = Timers::new(1);
    let bad = Waker::from(Arc::new(Count { panics: true, ..Count::default() }));
    let (count, good) = counting();
    for n in 0..200 {
        timers.arm(0, 0, MS, if n % 2 == 0 { &bad } else { &good }).unwrap();
    }
    assert_eq!(timers.fire(0, 2 * MS), 200);
    assert_eq!(wakes(&count), 100);
}

#[test]
fn a_deadline_that_the_shard_has_passed_wakes_at_once() {
    let timers = Timers::new(1);
    timers.arm(0, 0, MS, Waker::noop()).unwrap();
    timers.fire(0, 5 * MS);
    let (count, waker) = counting();
    let armed = timers.arm(0, MS, 2 * MS, &waker).unwrap();
    assert!(timers.is_fired(&armed) && wakes(&count) == 1 && timers.len() == 0);
}

#[test]
fn a_deadline_before_the_time_of_whoever_arms_it_has_fired() {
    let timers = Timers::new(1);
    let (count, waker) = counting();
    let armed = timers.arm(0, 2 * MS, MS, &waker).unwrap();
    assert!(timers.is_fired(&armed) && wakes(&count) == 1);
}

#[test]
fn a_close_wakes_everybody_and_lets_nobody_in() {
    let timers = Timers::new(2);
    let (count, waker) = counting();
    let old = timers.arm(0, 0, MS, &waker).unwrap();
    timers.arm(1, 0, u64::MAX, &waker).unwrap();
    timers.close();
    timers.close();
    assert_eq!((wakes(&count), timers.next(), timers.len()), (2, u64::MAX, 0));
    assert!(timers.arm(0, 0, MS, &waker).is_none());
    assert!(!timers.is_fired(&old) && !timers.update(&old, &waker));
}

#[test]
fn timers_from_before_a_close_stay_lost() {
    let timers = Timers::new(1);
    let (count, waker) = counting();
    let old = timers.arm(0, 0, MS, &waker).unwrap();
    timers.close();
    timers.open();
    timers.open();
    let new = timers.arm(0, 0, 2 * MS, &waker).unwrap();
    timers.disarm(old);
    assert!(!timers.update(&old, &waker) && timers.len() == 1);
    timers.fire(0, 3 * MS);
    assert!(timers.is_fired(&new) && !timers.is_fired(&old));
    assert_eq!(wakes(&count), 2);
}

#[test]
fn a_clock_that_went_back_between_two_runtimes_fires_nothing_early() {
    let timers = Timers::new(1);
    let far = 10 * 365 * 24 * 3600 * 1000 * MS;
    timers.arm(0, far, far + MS, Waker::noop()).unwrap();
    timers.fire(0, far + 2 * MS);
    timers.close();
    timers.open();
    let (count, waker) = counting();
    let armed = timers.arm(0, MS, 2 * MS, &waker).unwrap();
    assert!(!timers.is_fired(&armed) && timers.fire(0, 2 * MS - 1) == 0);
    assert_eq!((timers.fire(0, armed.deadline), wakes(&count)), (1, 1));
}

#[test]
fn a_clock_that_went_back_fires_nothing_early_though_the_close_came_in_the_middle_of_a_batch() {
    struct Closes(Arc<Timers>);
    impl Wake for Closes {
        fn wake(self: Arc<Self>) {
            self.0.close();
        }
    }
    let timers = Arc::new(Timers::new(1));
    let closes = Waker::from(Arc::new(Closes(timers.clone())));
    for _ in 0..=BATCH {
        timers.arm(0, 0, MS, &closes).unwrap();
    }
    assert_eq!(timers.fire(0, 60_000 * MS), BATCH);
    timers.open();
    let armed = timers.arm(0, MS, 2 * MS, Waker::noop()).unwrap();
    assert!(!timers.is_fired(&armed) && timers.next() == armed.deadline);
}

#[test]
fn under_a_virtual_clock_deadlines_are_exact() {
    let timers = Timers::new(1);
    timers.set_exact();
    let armed = timers.arm(0, 1, 60_000 * MS + 3, Waker::noop()).unwrap();
    assert_eq!((armed.deadline, timers.next()), (60_000 * MS + 3, 60_000 * MS + 3));
    timers.close();
    timers.open();
    assert!(timers.arm(0, 1, 60_000 * MS + 3, Waker::noop()).unwrap().deadline > armed.deadline);
}
