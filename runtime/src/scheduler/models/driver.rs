//! The scheduler and its driver: a timer or an event that nobody attends shows as a deadlock.
//!
//! What the models arm is due at once or never, see the driver's own models. Nothing goes off by itself all the same:
//! somebody has to look.

use std::sync::Arc as StdArc;
use std::task::Wake;

use super::*;
use crate::cell::models::block_on;
use crate::driver::models::{DUE, LATE, let_the_clock_run, register};
use crate::driver::readiness::{READ, READABLE};
use crate::driver::{Armed, Registration};
use crate::parker;

/// As [`super::model`], with what the driver's models need.
fn model(workers: usize, body: impl Fn(&'static Shared) + Send + Sync + 'static) {
    let_the_clock_run();
    super::model(workers, MANY, body);
}

/// An object of which there is news only when the model says so.
fn object(shared: &'static Shared) -> StdArc<Registration> {
    let registration = register(&shared.driver().reactor().unwrap()).unwrap();
    shared.attend();
    StdArc::new(registration)
}

async fn readable(object: StdArc<Registration>) {
    let mut key = None;
    poll_fn(|cx| {
        if object.source().ready(READ).is_ready() {
            return Poll::Ready(());
        }
        match object.wait(key, READ, cx.waker()) {
            Ok(same) => {
                key = Some(same);
                Poll::Pending
            }
            Err(_) => Poll::Ready(()),
        }
    })
    .await;
}

fn arm(shared: &'static Shared, deadline: u64, waker: &Waker) -> Armed {
    shared.arm(0, deadline, waker).expect("the runtime is open")
}

/// Waits for a timer that is due, after it has called `armed`.
async fn due(shared: &'static Shared, armed: impl FnOnce()) {
    let (mut timer, mut armed) = (None, Some(armed));
    poll_fn(|cx| {
        let timer = timer.get_or_insert_with(|| arm(shared, DUE, cx.waker()));
        armed.take().into_iter().for_each(|armed| armed());
        if shared.driver().timers().is_fired(timer) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Runs a task, so that a worker of the model has a thread which is about to sleep.
fn run_one(shared: &'static Shared) {
    block_on(spawn(shared, async {})).unwrap();
}

/// Has two workers sleep on threads of their own, or be about to.
fn run_two(shared: &'static Shared) {
    let parker = Parker::new();
    let first = {
        let parker = parker.clone();
        spawn(shared, async move { parker.park() })
    };
    let second = spawn(shared, async move { parker.unpark() });
    block_on(first).unwrap();
    block_on(second).unwrap();
}

#[test]
fn an_event_that_comes_while_the_worker_falls_asleep_runs_its_task() {
    model(1, |shared| {
        let object = object(shared);
        let task = spawn(shared, readable(object.clone()));
        object.happen(READABLE);
        block_on(task).unwrap();
    });
}

#[test]
fn an_object_registered_while_all_fall_asleep_is_attended() {
    model(1, |shared| {
        run_one(shared);
        let object = object(shared);
        let parker = Parker::new();
        let waits = object.wait(None, READ, &parker::waker(&parker));
        object.happen(READABLE);
        if waits.is_ok() {
            parker.park();
        }
    });
}

/// Without the fence of `Driver::hasten`, so that nothing but that of `attend` can order the two.
#[test]
fn what_was_left_to_the_driver_before_a_call_for_attention_is_seen() {
    model(1, |shared| {
        run_one(shared);
        let parker = Parker::new();
        let timers = shared.driver().timers();
        timers.arm(shared.outsiders(), 0, DUE, &parker::waker(&parker)).unwrap();
        shared.attend();
        parker.park();
    });
}

/// The leader wakes up for a timer that is gone, finds nothing that needs a leader, and lays the lead down for good.
#[test]
fn a_timer_armed_while_the_lead_is_laid_down_goes_off() {
    model(1, |shared| {
        run_one(shared);
        let late = arm(shared, LATE, Waker::noop());
        shared.driver().timers().disarm(late);
        shared.driver().rouse();
        let parker = Parker::new();
        arm(shared, DUE, &parker::waker(&parker));
        parker.park();
    });
}

/// As for a task: the next runtime relies on the call for its timer as well.
#[test]
fn a_call_between_two_runtimes_is_one_for_the_timers_of_the_next() {
    let_the_clock_run();
    between_two_runtimes(|shared, host| {
        shared.open(host, MonitorOptions::default());
        let parker = Parker::new();
        arm(shared, DUE, &parker::waker(&parker));
        parker.park();
    });
}

#[test]
fn a_guest_that_leaves_passes_the_driver_on() {
    model(1, |shared| {
        let (event, object) = (Event::new(), object(shared));
        let other = {
            let (event, object) = (event.clone(), object.clone());
            thread::spawn(move || {
                let task = spawn(shared, readable(object));
                event.set();
                task
            })
        };
        guest::block_on(shared, event.wait());
        let task = other.join().unwrap();
        object.happen(READABLE);
        block_on(task).unwrap();
    });
}

/// The timer is the guest's worker's own, and the other worker sleeps for an event that does not come.
#[test]
fn a_guest_that_leaves_a_timer_behind_hastens_the_leader() {
    model(2, |shared| {
        ::loom::stop_exploring();
        let _object = object(shared);
        run_one(shared);
        ::loom::explore();
        let event = Event::new();
        let task = {
            let event = event.clone();
            spawn(shared, due(shared, move || event.set()))
        };
        guest::block_on(shared, event.wait());
        block_on(task).unwrap();
    });
}

#[test]
fn a_worker_that_sleeps_behind_a_timer_hastens_the_leader() {
    model(2, |shared| {
        ::loom::stop_exploring();
        let _object = object(shared);
        run_two(shared);
        ::loom::explore();
        block_on(spawn(shared, due(shared, || {}))).unwrap();
    });
}

/// Holds the clock when it is woken, as the future of `block_on` does, which then wants to go on.
struct Root(&'static Shared);

impl Wake for Root {
    fn wake(self: StdArc<Self>) {
        self.0.hold();
    }
}

/// A leader without a seat fires a timer while all workers sleep, and another one leads already.
#[test]
fn a_stopped_clock_stands_still_while_a_timer_is_being_fired() {
    super::model(1, 0, |shared| {
        let (timers, clock) = (shared.driver().timers(), shared.driver().clock());
        shared.driver().pause();
        let now = clock.now();
        let (near, far) = (now + 1_000, now + 1_000_000);
        let root = Waker::from(StdArc::new(Root(shared)));
        let _near = timers.arm(shared.outsiders(), now, near, &root).unwrap();
        let _far = timers.arm(shared.outsiders(), now, far, &root).unwrap();
        assert!(shared.advance_if_idle(|| false));
        let firing = thread::spawn(move || shared.while_held(|| timers.fire_all(near)));
        let leader = thread::spawn(move || shared.advance_if_idle(|| false));
        assert_eq!(firing.join().unwrap(), 1);
        leader.join().unwrap();
        assert_eq!(clock.now(), near);
        shared.release();
    });
}

/// A thread that woke something in the last runtime has a task of this one in hand, and gives it back.
#[test]
fn a_stopped_clock_stands_still_while_a_task_is_in_a_late_hand() {
    super::model(1, MANY, |shared| {
        ::loom::stop_exploring();
        let (timers, clock) = (shared.driver().timers(), shared.driver().clock());
        shared.driver().pause();
        let now = clock.now();
        let far = timers.arm(shared.outsiders(), now, now + 1_000_000, Waker::noop()).unwrap();
        let (runnable, task) = cell::new(async { clock.now() }, shared, (), Location::caller());
        // As whoever has pushed it and not called yet.
        shared.remote.spawned.fetch_add(1, Ordering::Relaxed);
        shared.injector.push(runnable);
        ::loom::explore();
        let late = thread::spawn(move || shared.fail_injected());
        shared.advance_if_idle(|| false);
        assert_eq!(block_on(task).unwrap(), now);
        assert_eq!(late.join().unwrap(), 0);
        timers.disarm(far);
    });
}

/// A scheduler whose clock stands still, with a timer that is far away; its first worker is up, run by the model.
fn paused(workers: usize, threads: usize, body: impl Fn(&'static Shared, u64) + Send + Sync + 'static) {
    super::model(workers, threads, move |shared| {
        ::loom::stop_exploring();
        shared.driver().pause();
        let (timers, now) = (shared.driver().timers(), shared.driver().clock().now());
        let far = timers.arm(shared.outsiders(), now, now + FAR, Waker::noop()).unwrap();
        assert_eq!(shared.idle.claim(idle::Prefer::Vacant), Some(0));
        ::loom::explore();
        body(shared, now);
        timers.disarm(far);
    });
}

const NEAR: u64 = 1_000;
const FAR: u64 = 1_000_000;

#[test]
fn a_stopped_clock_goes_on_to_the_timer_that_a_worker_armed_before_it_slept() {
    paused(1, 0, |shared, now| {
        let (timers, clock) = (shared.driver().timers(), shared.driver().clock());
        let worker = thread::spawn(move || {
            let near = timers.arm(0, now, now + NEAR, Waker::noop()).unwrap();
            shared.park(0, false);
            near
        });
        shared.advance_if_idle(|| false);
        let near = worker.join().unwrap();
        assert!(clock.now() <= now + NEAR);
        timers.disarm(near);
    });
}

#[test]
fn a_stopped_clock_stands_still_when_a_worker_brought_an_event_before_it_slept() {
    let_the_clock_run();
    paused(1, 0, |shared, _| {
        let object = register(&shared.driver().reactor().unwrap()).unwrap();
        let object = StdArc::new(object);
        let worker = {
            let object = object.clone();
            thread::spawn(move || {
                object.happen(READABLE);
                shared.park(0, false);
            })
        };
        let lead = shared.driver().lead().unwrap();
        let moved = shared.advance_if_idle(|| {
            let batch = lead.poll();
            let any = !batch.is_empty();
            batch.dispatch();
            any
        });
        drop(lead);
        assert!(!moved);
        worker.join().unwrap();
    });
}

/// The worker wakes a future of `block_on` and sleeps; that hands on to another worker.
#[test]
fn a_stopped_clock_stands_still_while_what_is_to_do_goes_from_one_to_the_other() {
    paused(2, 0, |shared, now| {
        let worker = thread::spawn(move || {
            shared.hold();
            shared.park(0, false);
            let other = shared.idle.claim(idle::Prefer::Vacant).unwrap();
            shared.release();
            assert_eq!(shared.driver().clock().now(), now);
            shared.park(other, false);
        });
        shared.advance_if_idle(|| false);
        worker.join().unwrap();
    });
}

/// A thread outside wakes the worker, which is run by the model.
#[test]
fn a_worker_that_is_woken_while_a_stopped_clock_goes_on_sees_one_time() {
    paused(1, 0, |shared, _| {
        ::loom::stop_exploring();
        shared.park(0, false);
        ::loom::explore();
        let clock = shared.driver().clock();
        let worker = thread::spawn(move || {
            shared.idle.claim(idle::Prefer::Vacant).unwrap();
            assert_eq!(clock.now(), clock.now());
            shared.park(0, false);
        });
        shared.advance_if_idle(|| false);
        worker.join().unwrap();
    });
}

/// Between the two looks of the leader a worker is up, or a future of `block_on` is woken: either may have armed a timer.
#[test]
fn a_stopped_clock_stands_still_when_somebody_was_up_between_the_two_looks() {
    paused(1, 0, |shared, _| {
        shared.park(0, false);
        let worker = || {
            shared.idle.claim(idle::Prefer::Vacant).unwrap();
            shared.park(0, false);
            false
        };
        assert!(!shared.advance_if_idle(worker));
        let root = || {
            shared.hold();
            shared.release();
            false
        };
        assert!(!shared.advance_if_idle(root));
        assert!(shared.advance_if_idle(|| false));
    });
}

/// The future of an outer call is woken while a nested one begins and ends its wait.
#[test]
fn a_root_that_is_woken_behind_a_nested_call_holds_a_stopped_clock_once_and_not_meanwhile() {
    super::model(1, 0, |shared| {
        let signal = guest::Signal::new(shared, Parker::new());
        assert!(signal.take());
        shared.release();
        let waker = {
            let signal = signal.clone();
            thread::spawn(move || Waker::from(signal).wake())
        };
        assert!(signal.bury());
        signal.unearth();
        waker.join().unwrap();
        assert!(shared.is_held(), "of the wake-up");
        assert!(signal.bury());
        assert!(!shared.is_held(), "the nested call waits");
        signal.unearth();
        assert!(signal.take());
        shared.release();
        assert!(!shared.is_held());
    });
}
