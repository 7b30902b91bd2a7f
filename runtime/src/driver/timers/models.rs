//! Every interleaving of arming, disarming, firing and falling asleep, up to loom's bound on preemptions.
//!
//! loom has no time: the models say what time it is, and a sleep that would end too late is one that does not end.

use std::sync::atomic::AtomicUsize as StdUsize;
use std::task::Wake;

use super::*;
use crate::loom::atomic::fence;
use crate::loom::{Arc, thread};
use crate::parker::Parker;

const EARLY: u64 = 10 * LEAST_SLACK;
const LATE: u64 = 20 * LEAST_SLACK;

/// Somebody who sleeps until the next timer, and whoever arms one.
struct Sleeper {
    timers: Timers,
    /// When the sleeper will wake by itself; zero while it does not sleep.
    until: AtomicU64,
    parker: Arc<Parker>,
}

impl Sleeper {
    fn new() -> Arc<Self> {
        Arc::new(Sleeper { timers: Timers::new(1), until: AtomicU64::new(0), parker: Parker::new() })
    }

    /// The half of whoever arms.
    fn arm(&self, deadline: u64) -> Armed {
        let armed = self.timers.arm(0, 0, deadline, Waker::noop()).expect("the timers are open");
        // ORDERING: pairs with the fence in `sleep`.
        fence(Ordering::SeqCst);
        if armed.deadline < self.until.load(Ordering::Relaxed) {
            self.parker.unpark();
        }
        armed
    }

    /// The sleeper's half: sleeps until no later than `wanted`.
    fn sleep(&self, wanted: u64) {
        loop {
            let next = self.timers.next();
            self.until.store(next, Ordering::Relaxed);
            // ORDERING: pairs with the fence in `arm`.
            fence(Ordering::SeqCst);
            if self.timers.next() >= next && next <= wanted {
                return; // it wakes in time
            }
            if self.timers.next() >= next {
                self.parker.park();
            }
        }
    }
}

#[test]
fn a_timer_armed_while_somebody_falls_asleep_wakes_it_in_time() {
    ::loom::model(|| {
        let sleeper = Sleeper::new();
        let other = {
            let sleeper = sleeper.clone();
            thread::spawn(move || sleeper.arm(LATE))
        };
        let third = {
            let sleeper = sleeper.clone();
            thread::spawn(move || sleeper.arm(EARLY))
        };
        sleeper.sleep(EARLY);
        let (late, early) = (other.join().unwrap(), third.join().unwrap());
        assert_eq!(sleeper.timers.next(), early.deadline);
        sleeper.timers.disarm(early);
        assert!(sleeper.timers.next() <= late.deadline);
    });
}

#[test]
fn a_timer_armed_while_another_is_disarmed_is_not_forgotten() {
    ::loom::model(|| {
        let timers = Arc::new(Timers::new(1));
        let first = timers.arm(0, 0, EARLY, Waker::noop()).unwrap();
        let other = {
            let timers = timers.clone();
            thread::spawn(move || timers.disarm(first))
        };
        let second = timers.arm(0, 0, EARLY + LEAST_SLACK, Waker::noop()).unwrap();
        other.join().unwrap();
        assert!(timers.next() <= second.deadline);
        assert_eq!(timers.fire(0, LATE), 1);
    });
}

/// Counts how its wakers end.
#[derive(Default)]
struct Ends {
    woken: StdUsize,
    dropped: StdUsize,
}

struct Ending(std::sync::Arc<Ends>);

impl Wake for Ending {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.woken.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn ending() -> (std::sync::Arc<Ends>, Waker) {
    let ends = std::sync::Arc::new(Ends::default());
    (ends.clone(), Waker::from(std::sync::Arc::new(Ending(ends))))
}

#[test]
fn a_timer_that_is_disarmed_while_it_fires_ends_once() {
    ::loom::model(|| {
        let timers = Arc::new(Timers::new(1));
        let (ends, waker) = ending();
        let armed = timers.arm(0, 0, EARLY, &waker).unwrap();
        drop(waker);
        let other = {
            let timers = timers.clone();
            thread::spawn(move || timers.fire(0, LATE))
        };
        timers.disarm(armed);
        let fired = other.join().unwrap();
        assert_eq!(ends.dropped.load(Ordering::Relaxed), 1);
        assert_eq!(ends.woken.load(Ordering::Relaxed), fired);
        assert_eq!((timers.len(), timers.next()), (0, u64::MAX));
    });
}

#[test]
fn what_has_fired_is_out_of_the_wheel() {
    ::loom::model(|| {
        let timers = Arc::new(Timers::new(1));
        let armed = timers.arm(0, 0, EARLY, Waker::noop()).unwrap();
        let other = {
            let timers = timers.clone();
            thread::spawn(move || timers.fire(0, LATE))
        };
        if timers.is_fired(&armed) {
            assert_eq!(timers.len(), 0);
        }
        assert_eq!(other.join().unwrap(), 1);
    });
}

#[test]
fn a_timer_whose_waker_changes_while_it_fires_wakes_the_new_one_or_says_that_it_fired() {
    ::loom::model(|| {
        let timers = Arc::new(Timers::new(1));
        let ((_, old), (ends, new)) = (ending(), ending());
        let armed = timers.arm(0, 0, EARLY, &old).unwrap();
        let other = {
            let timers = timers.clone();
            thread::spawn(move || timers.fire(0, LATE))
        };
        let updated = timers.update(&armed, &new);
        other.join().unwrap();
        assert_eq!(ends.woken.load(Ordering::Relaxed), usize::from(updated));
    });
}

#[test]
fn a_timer_that_meets_the_close_is_woken_or_refused() {
    ::loom::model(|| {
        let timers = Arc::new(Timers::new(1));
        let (ends, waker) = ending();
        let other = {
            let timers = timers.clone();
            thread::spawn(move || timers.close())
        };
        let armed = timers.arm(0, 0, EARLY, &waker);
        other.join().unwrap();
        assert_eq!(ends.woken.load(Ordering::Relaxed), usize::from(armed.is_some()));
        assert_eq!(timers.len(), 0);
    });
}

#[test]
fn what_fires_beside_a_close_moves_no_wheel_of_the_next_runtime() {
    ::loom::model(|| {
        let timers = Arc::new(Timers::new(1));
        timers.arm(0, 0, EARLY, Waker::noop());
        let other = {
            let timers = timers.clone();
            thread::spawn(move || timers.fire(0, LATE))
        };
        timers.close();
        other.join().unwrap();
        timers.open();
        timers.arm(0, 0, EARLY, Waker::noop());
        assert_eq!(timers.next(), EARLY);
    });
}
