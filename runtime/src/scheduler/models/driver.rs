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
        assert!(shared.advance_if_idle());
        let firing = thread::spawn(move || shared.while_held(|| timers.fire_all(near)));
        let leader = thread::spawn(move || shared.advance_if_idle());
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
        shared.advance_if_idle();
        assert_eq!(block_on(task).unwrap(), now);
        assert_eq!(late.join().unwrap(), 0);
        timers.disarm(far);
    });
}
