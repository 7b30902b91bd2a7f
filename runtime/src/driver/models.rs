//! Every interleaving of the driver's protocols, up to loom's bound on preemptions.
//!
//! loom has no time: the timers of the models are due at once or in a hundred years, and a sleep that would end too late
//! is one that does not end.

use std::os::fd::AsFd;
use std::sync::atomic::AtomicUsize as StdUsize;
use std::task::{Poll, Wake};
use std::time::Instant;

use super::readiness::{READ, READABLE, WRITE};
use super::source::Source;
use super::*;
use crate::loom::{Arc, thread};
use crate::parker;

/// A time that has passed when [`model`] begins.
pub(crate) const DUE: u64 = 1 << 20;

/// A time that does not come.
pub(crate) const LATE: u64 = 100 * 365 * 24 * 60 * 60 * 1_000_000_000;

/// Waits until `DUE` is over, so that what a model sees of the clock is the same in every execution.
pub(crate) fn let_the_clock_run() {
    while to_ns(Instant::now()) <= 2 * DUE {
        std::thread::yield_now();
    }
}

/// An object for a poller that never looks at it.
pub(crate) fn register(reactor: &std::sync::Arc<Reactor>) -> io::Result<Registration> {
    reactor.register(io::stdin().as_fd())
}

fn model(body: impl Fn() + Send + Sync + 'static) {
    let_the_clock_run();
    ::loom::model(body);
}

fn set(source: &Source, bits: u8) {
    let mut woken = Vec::new();
    source.set(bits, &mut woken);
    woken.into_iter().for_each(wake);
}

/// Waits on this thread until the source is ready for reading.
fn until_readable(source: &Source) -> io::Result<Seen> {
    let parker = Parker::new();
    let waker = parker::waker(&parker);
    let mut key = None;
    loop {
        if let Poll::Ready(found) = source.ready(READ) {
            return found;
        }
        match source.wait(None, key, READ, &waker) {
            Ok(same) => key = Some(same),
            Err(found) => return found,
        }
        parker.park();
    }
}

#[test]
fn at_most_one_thread_has_the_lead() {
    model(|| {
        let driver = Arc::new(Driver::new(1));
        let leaders = Arc::new(AtomicU64::new(0));
        let try_twice = |driver: Arc<Driver>, leaders: Arc<AtomicU64>| {
            move || {
                for _ in 0..2 {
                    if let Some(lead) = driver.lead() {
                        assert_eq!(leaders.fetch_add(1, Ordering::Relaxed), 0);
                        leaders.fetch_sub(1, Ordering::Relaxed);
                        drop(lead);
                    }
                }
            }
        };
        let other = thread::spawn(try_twice(driver.clone(), leaders.clone()));
        try_twice(driver, leaders)();
        other.join().unwrap();
    });
}

/// Counts its wake-ups; and its wakers, as references.
#[derive(Default)]
struct Count(StdUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn new() -> (std::sync::Arc<Self>, Waker) {
        let count = std::sync::Arc::new(Count::default());
        (count.clone(), Waker::from(count))
    }

    fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// --- source ---

#[test]
fn an_event_that_meets_a_wait_ends_it() {
    model(|| {
        let source = Arc::new(Source::new());
        let system = {
            let source = source.clone();
            thread::spawn(move || set(&source, READABLE))
        };
        assert_eq!(until_readable(&source).unwrap().ready(), READABLE);
        system.join().unwrap();
        assert_eq!(source.wanted(), 0);
    });
}

/// The object is said to be ready and is not; it becomes so around the time when that is found out.
#[test]
fn an_event_between_a_try_and_the_clearing_stays() {
    model(|| {
        let (source, full) = (Arc::new(Source::new()), Arc::new(AtomicBool::new(false)));
        set(&source, READABLE);
        let system = {
            let (source, full) = (source.clone(), full.clone());
            thread::spawn(move || {
                // Relaxed: the event alone has to make it visible.
                full.store(true, Ordering::Relaxed);
                set(&source, READABLE);
            })
        };
        loop {
            let seen = until_readable(&source).unwrap();
            if full.load(Ordering::Relaxed) {
                break;
            }
            source.clear(seen, READ);
        }
        system.join().unwrap();
    });
}

#[test]
fn an_abandoned_wait_beside_an_event_takes_nobody_elses_waker() {
    model(|| {
        let source = Arc::new(Source::new());
        let ((first, first_waker), (second, second_waker)) = (Count::new(), Count::new());
        let key = source.wait(None, None, READ, &first_waker).unwrap();
        source.wait(None, None, READ, &second_waker).unwrap();
        drop((first_waker, second_waker));
        let system = {
            let source = source.clone();
            thread::spawn(move || set(&source, READABLE))
        };
        source.leave(key);
        system.join().unwrap();
        assert!(first.wakes() <= 1);
        assert_eq!(second.wakes(), 1);
        // Neither waker is left behind.
        assert_eq!((std::sync::Arc::strong_count(&first), std::sync::Arc::strong_count(&second)), (1, 1));
        assert_eq!(source.wanted(), 0);
    });
}

#[test]
fn a_wait_that_is_given_up_beside_another_leaves_no_waker_behind() {
    model(|| {
        let source = Arc::new(Source::new());
        let ((first, first_waker), (second, second_waker)) = (Count::new(), Count::new());
        let key = source.wait(None, None, WRITE, &first_waker).unwrap();
        let other = {
            let source = source.clone();
            thread::spawn(move || source.leave(key))
        };
        let key = source.wait(None, None, READ, &second_waker).unwrap();
        source.leave(key);
        other.join().unwrap();
        drop((first_waker, second_waker));
        assert_eq!((std::sync::Arc::strong_count(&first), std::sync::Arc::strong_count(&second)), (1, 1));
    });
}

/// hyper waits twice in a poll: the second time with the waker that lies there, unless an event has taken it.
#[test]
fn a_second_wait_with_the_same_waker_beside_an_event_ends() {
    model(|| {
        let source = Arc::new(Source::new());
        let (count, waker) = Count::new();
        let key = source.wait(None, None, READ, &waker).unwrap();
        let system = {
            let source = source.clone();
            thread::spawn(move || set(&source, READABLE))
        };
        let found = source.wait(None, Some(key), READ, &waker).is_err();
        system.join().unwrap();
        assert!(found || count.wakes() > 0);
        source.leave(key);
        drop(waker);
        assert_eq!(std::sync::Arc::strong_count(&count), 1);
    });
}

/// Of two who poll, one finds the event, and the other that it was used up already.
#[test]
fn who_polls_and_finds_an_event_takes_the_waker_of_nobody_else_who_polls() {
    model(|| {
        let source = Arc::new(Source::new());
        let ((_, first_waker), (second, second_waker)) = (Count::new(), Count::new());
        set(&source, READABLE);
        let seen = source.look();
        let first = {
            let source = source.clone();
            thread::spawn(move || source.wait(None, Some(Key::POLL_READ), READ, &first_waker).is_err())
        };
        source.clear(seen, READ);
        let waits = source.wait(None, Some(Key::POLL_READ), READ, &second_waker).is_ok();
        let found = first.join().unwrap();
        set(&source, READABLE);
        // If the first one waits as well, the last of the two counts.
        assert!(!waits || !found || second.wakes() == 1, "the second one's waker is gone");
    });
}

// --- reactor ---

#[test]
fn a_wait_that_meets_the_close_fails() {
    model(|| {
        let reactor = Reactor::new().unwrap();
        let owner = {
            let reactor = reactor.clone();
            thread::spawn(move || reactor.close())
        };
        match register(&reactor) {
            Ok(registration) => assert!(until_readable(registration.source()).is_err()),
            Err(error) => assert!(error.get_ref().is_some_and(|inner| inner.is::<Error>())),
        }
        owner.join().unwrap();
        assert_eq!(reactor.registered(), 0);
    });
}

#[test]
fn an_event_of_a_former_owner_reaches_nobody() {
    model(|| {
        let reactor = Reactor::new().unwrap();
        let former = register(&reactor).unwrap();
        former.happen(READABLE);
        drop(former);
        let owner = register(&reactor).unwrap();
        reactor.dispatch(reactor.wait(Some(Duration::ZERO)));
        assert_eq!(owner.source().look().ready(), 0);
        owner.happen(READABLE);
        reactor.dispatch(reactor.wait(Some(Duration::ZERO)));
        assert_eq!(owner.source().look().ready(), READABLE);
    });
}

// --- leader ---

/// A driver that is open, and the parker of its leader.
fn driver() -> (Arc<Driver>, Arc<Parker>) {
    let driver = Arc::new(Driver::new(1));
    driver.open();
    (driver, Parker::new())
}

/// One sleep with the lead, and what it brought.
fn sleep(driver: &Driver, parker: &Arc<Parker>) -> Batch {
    let lead = driver.lead().expect("nobody else leads");
    lead.sleep(parker, None)
}

fn arm(driver: &Driver, deadline: u64) -> Armed {
    let armed = driver.timers().arm(0, 0, deadline, Waker::noop()).expect("the timers are open");
    driver.hasten(armed.deadline);
    armed
}

#[test]
fn a_timer_armed_while_the_leader_falls_asleep_ends_its_sleep() {
    model(|| {
        let (driver, parker) = driver();
        let outsider = {
            let driver = driver.clone();
            thread::spawn(move || {
                arm(&driver, LATE);
                arm(&driver, DUE);
            })
        };
        while driver.timers().next() > 2 * DUE {
            sleep(&driver, &parker).dispatch();
        }
        outsider.join().unwrap();
    });
}

#[test]
fn a_reactor_made_while_the_leader_falls_asleep_is_slept_in() {
    model(|| {
        let (driver, parker) = driver();
        let outsider = {
            let driver = driver.clone();
            thread::spawn(move || {
                let registration = register(&driver.reactor().unwrap()).unwrap();
                registration.happen(READABLE);
                registration
            })
        };
        loop {
            let batch = sleep(&driver, &parker);
            if !batch.is_empty() {
                batch.dispatch();
                break;
            }
        }
        assert_eq!(outsider.join().unwrap().source().look().ready(), READABLE);
    });
}

#[test]
fn a_token_for_the_leader_ends_its_sleep_in_the_reactor() {
    model(|| {
        let (driver, parker) = driver();
        driver.reactor().unwrap();
        let other = {
            let parker = parker.clone();
            thread::spawn(move || parker.unpark())
        };
        sleep(&driver, &parker).dispatch();
        other.join().unwrap();
    });
}
