//! The scheduler and its monitor: what nobody passes on shows as a deadlock.

use super::super::idle::Prefer;
use super::super::monitor::look_twice_at_stuck;
use super::*;
use crate::cell::models::block_on;

/// As [`super::model`], with a monitor that is played by the model.
fn model(workers: usize, spares: usize, body: impl Fn(&'static Shared) + Send + Sync + 'static) {
    model_of(Flavor::MultiThread, workers, spares, MANY, move |shared| {
        shared.monitor.without_a_thread();
        body(shared);
    });
}

/// The task blocks its thread until the monitor is awake.
#[test]
fn whoever_takes_a_worker_up_wakes_the_monitor() {
    model(1, 0, |shared| {
        let parker = Parker::new();
        let monitor = {
            let parker = parker.clone();
            thread::spawn(move || {
                shared.sleep_as_monitor();
                parker.unpark();
            })
        };
        block_on(spawn(shared, async move { parker.park() })).unwrap();
        monitor.join().unwrap();
    });
}

/// The parent blocks its thread until its child has run, which lies in its next slot; the other worker may be about to sleep.
#[test]
fn a_task_that_is_passed_on_meets_a_worker_that_falls_asleep() {
    model(2, 0, |shared| {
        ::loom::stop_exploring();
        let (blocks, done) = (Parker::new(), Parker::new());
        let parent = {
            let (blocks, done) = (blocks.clone(), done.clone());
            spawn(shared, async move {
                let child = done.clone();
                drop(spawn(shared, async move { child.unpark() }));
                blocks.unpark();
                done.park();
            })
        };
        blocks.park();
        // Something for the other worker, from which it goes to sleep.
        block_on(spawn(shared, async {})).unwrap();
        ::loom::explore();
        shared.look_as_monitor();
        block_on(parent).unwrap();
    });
}

/// A worker that counts as searching goes no further, and a task is submitted while the other worker falls asleep.
#[test]
fn a_task_that_relies_on_a_search_that_is_stuck_is_run_by_who_is_called_beside_it() {
    model(2, 0, |shared| {
        ::loom::stop_exploring();
        let stuck = shared.idle.claim(Prefer::Vacant).expect("nobody runs yet");
        block_on(spawn(shared, async {})).unwrap();
        assert!(shared.idle.search(stuck));
        ::loom::explore();
        let task = spawn(shared, async {});
        look_twice_at_stuck(shared, stuck);
        block_on(task).unwrap();
        ::loom::stop_exploring();
        shared.park(stuck, true);
        ::loom::explore();
    });
}

/// A task that blocks the only worker until the token is there, and does when this returns.
fn blocked(shared: &'static Shared) -> (Task<()>, loom::Arc<Parker>) {
    let (blocks, parker) = (Parker::new(), Parker::new());
    let token = parker.clone();
    let blocked = blocks.clone();
    let task = spawn(shared, async move {
        blocked.unpark();
        token.park();
    });
    blocks.park();
    (task, parker)
}

/// The only worker is blocked until a spare one has run the second task.
#[test]
fn a_spare_worker_runs_what_waits_and_goes() {
    model(1, 1, |shared| {
        ::loom::stop_exploring();
        let (first, parker) = blocked(shared);
        ::loom::explore();
        let second = spawn(shared, async move { parker.unpark() });
        assert!(shared.summon());
        block_on(second).unwrap();
        assert_eq!(shared.monitor.counts.summoned.load(Ordering::Relaxed), 1);
        shared.dismiss();
        block_on(first).unwrap();
    });
}

/// A spare worker is dismissed while it has something queued, and the worker falls asleep.
#[test]
fn what_a_dismissed_spare_worker_has_queued_is_run() {
    model(1, 1, |shared| {
        ::loom::stop_exploring();
        let (first, parker) = blocked(shared);
        let second = spawn(shared, async move {
            ::loom::explore();
            // The worker goes to sleep.
            parker.unpark();
            let third = spawn(shared, async {});
            // This one is asked to go before it has run that.
            shared.dismiss();
            third
        });
        assert!(shared.summon());
        let third = block_on(second).unwrap();
        block_on(third).unwrap();
        block_on(first).unwrap();
    });
}
