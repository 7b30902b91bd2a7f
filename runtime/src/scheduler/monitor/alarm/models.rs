//! Workers that are taken up and come to rest, and the monitor: one who sleeps on although a worker is up shows as a
//! deadlock.

use super::*;
use crate::loom::atomic::AtomicUsize;
use crate::loom::thread;

/// Which workers are up, as a bitmap.
struct Workers {
    up: AtomicUsize,
    alarm: Alarm,
}

impl Workers {
    fn model(body: impl Fn(Arc<Workers>) + Send + Sync + 'static) {
        let body = std::sync::Arc::new(body);
        for timer in [true, false] {
            let body = body.clone();
            ::loom::model(move || {
                let workers = Workers { up: AtomicUsize::new(0), alarm: Alarm::new() };
                if timer {
                    workers.alarm.open();
                }
                body(Arc::new(workers));
            });
        }
    }

    fn all_at_rest(&self) -> bool {
        self.up.load(Ordering::Relaxed) == 0
    }

    fn take_up(&self, bit: usize) {
        self.up.fetch_or(bit, Ordering::Relaxed);
        self.alarm.stir(|| PATIENCE);
    }

    /// The fence is the one in `Idle::park`.
    fn rest(&self, bit: usize) {
        self.up.fetch_and(!bit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.alarm.parked(|| false);
        self.alarm.settle(Instant::now(), Duration::ZERO, || self.all_at_rest());
    }
}

/// One worker is taken up and stays up until the monitor has seen it, while `other` does something with another one.
fn is_seen(workers: Arc<Workers>, other: fn(&Workers)) {
    let seen = Parker::new();
    let monitor = {
        let (workers, seen) = (workers.clone(), seen.clone());
        thread::spawn(move || {
            if workers.alarm.state.load(Ordering::Relaxed) != AWAKE {
                workers.alarm.wait();
            }
            while workers.up.load(Ordering::Relaxed) & 2 == 0 {
                // Without a timer it would look at times of its own, of which a model knows none.
                if workers.all_at_rest() || !workers.alarm.has_timer() {
                    workers.alarm.sleep(|| workers.all_at_rest());
                } else {
                    workers.alarm.doze(Instant::now());
                }
                thread::yield_now();
            }
            seen.unpark();
        })
    };
    let other = {
        let workers = workers.clone();
        thread::spawn(move || other(&workers))
    };
    workers.take_up(2);
    seen.park();
    monitor.join().unwrap();
    other.join().unwrap();
}

#[test]
fn a_worker_that_is_taken_up_while_the_monitor_falls_asleep_is_seen() {
    Workers::model(|workers| {
        is_seen(workers, |workers| {
            workers.take_up(1);
            workers.rest(1);
        });
    });
}

/// The monitor sleeps and was rung for the worker that comes to rest.
#[test]
fn a_worker_that_is_taken_up_while_another_stops_the_timer_is_seen() {
    Workers::model(|workers| {
        workers.alarm.state.store(ASLEEP, Ordering::Relaxed);
        workers.take_up(1);
        is_seen(workers, |workers| workers.rest(1));
    });
}

/// Whoever tells sees the worker that parks, or that one wants to be told.
#[test]
fn what_is_kept_is_news_to_a_worker_that_parks_meanwhile() {
    Workers::model(|workers| {
        workers.alarm.state.store(ASLEEP, Ordering::Relaxed);
        workers.take_up(1);
        workers.take_up(2);
        let other = {
            let workers = workers.clone();
            thread::spawn(move || workers.rest(1))
        };
        workers.alarm.tell(|| workers.up.load(Ordering::Relaxed) & 1 == 0);
        other.join().unwrap();
        let rung = workers.alarm.state.load(Ordering::Relaxed) == RUNG;
        assert!(!rung || workers.alarm.is_curious() || workers.alarm.news.is_told());
    });
}

/// The last ring reaches a monitor whose timer somebody is about to stop.
#[test]
fn the_last_ring_is_not_stopped() {
    Workers::model(|workers| {
        let monitor = {
            let workers = workers.clone();
            thread::spawn(move || workers.alarm.sleep(|| true))
        };
        let other = {
            let workers = workers.clone();
            thread::spawn(move || {
                workers.take_up(1);
                workers.rest(1);
            })
        };
        workers.alarm.ring_at_once();
        monitor.join().unwrap();
        other.join().unwrap();
    });
}
