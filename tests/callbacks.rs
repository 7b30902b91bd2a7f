//! Done callbacks run once each, one after the other, in the order in which they were added, on the runtime.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::Mutex;
use runtime::{Promise, Runtime, Task, task_group};
use runtime_tests::{Gate, PATIENCE, multi, promptly, reports, single, within};

#[test]
fn a_callback_gets_the_outcome_of_a_task() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (sender, outcomes) = mpsc::channel();
        let tasks: [Task<()>; 2] = [rt.spawn(async {}), rt.spawn(async { panic!("no value") })];
        let ids = [tasks[0].id(), tasks[1].id()];
        let cancelled = rt.spawn(std::future::pending::<()>());
        for task in tasks.iter().chain([&cancelled]) {
            let sender = sender.clone();
            task.add_done_callback(move |outcome| sender.send(outcome).unwrap());
        }
        cancelled.cancel();
        let mut by_task: Vec<_> = (0..3).map(|_| outcomes.recv().unwrap()).collect();
        by_task
            .sort_by_key(|outcome| [ids[0], ids[1]].iter().position(|id| *id == outcome.id()).unwrap_or(2));
        assert!(by_task[0].is_finished() && by_task[0].error().is_none());
        assert!(by_task[1].error().unwrap().is_panic());
        assert!(by_task[2].error().unwrap().is_cancelled());
        let [fine, panicked] = tasks;
        assert!(fine.wait().is_ok() && panicked.wait().is_err());
    });
}

/// Adds callbacks that push their number.
fn push(log: &Arc<Mutex<Vec<u32>>>, n: u32) -> impl FnOnce(runtime::TaskOutcome) + Send + 'static {
    let log = log.clone();
    move |_| log.lock().push(n)
}

#[test]
fn callbacks_of_a_task_run_in_the_order_in_which_they_were_added() {
    within(PATIENCE, || {
        let rt = multi(2);
        let _entered = rt.enter();
        let log = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move { passing.pass().await });
        for n in 0..50 {
            task.add_done_callback(push(&log, n));
        }
        let (sender, ran) = mpsc::channel();
        task.add_done_callback(move |_| sender.send(()).unwrap());
        gate.open();
        ran.recv().unwrap();
        assert_eq!(*log.lock(), (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn a_callback_added_after_the_end_runs() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let mut task = rt.spawn(async {});
        rt.block_on(task.done());
        let (sender, ran) = mpsc::channel();
        task.add_done_callback(move |outcome| sender.send(outcome.is_finished()).unwrap());
        assert_eq!(ran.recv(), Ok(true));
    });
}

#[test]
fn a_callback_added_after_the_end_runs_after_those_added_before() {
    within(PATIENCE, || {
        let rt = multi(2);
        let _entered = rt.enter();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (first_runs, running) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move { passing.pass().await });
        task.add_done_callback({
            let log = log.clone();
            move |_| {
                first_runs.send(()).unwrap();
                let _ = may_go_on.lock().recv();
                log.lock().push(0);
            }
        });
        task.add_done_callback(push(&log, 1));
        gate.open();
        running.recv().unwrap();
        let (sender, ran) = mpsc::channel();
        task.add_done_callback({
            let last = push(&log, 2);
            move |outcome| {
                last(outcome);
                sender.send(()).unwrap();
            }
        });
        // If the late one did not wait for the first, it is over now; what follows is not a wait for it.
        rt.spawn(async {}).wait().unwrap();
        let early = ran.try_recv().is_ok();
        drop(proceed);
        if !early {
            ran.recv().unwrap();
        }
        assert_eq!((early, log.lock().clone()), (false, vec![0, 1, 2]));
    });
}

#[test]
fn the_outcome_of_a_failed_task_is_the_same_after_its_output_was_taken() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let mut task: Task<()> = rt.spawn(async { panic!("seen") });
        rt.block_on(async { (&mut task).await }).unwrap_err();
        let (sender, outcome) = mpsc::channel();
        task.add_done_callback(move |outcome| sender.send(outcome.is_finished()).unwrap());
        assert_eq!(outcome.recv(), Ok(false), "it did not give a value");
    });
}

#[test]
fn a_panic_of_a_callback_is_reported_and_the_next_one_runs() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let _entered = rt.enter();
        let task = rt.spawn(async {});
        task.add_done_callback(|_| panic!("in a callback"));
        let (sender, ran) = mpsc::channel();
        task.add_done_callback(move |_| sender.send(()).unwrap());
        ran.recv().unwrap();
        assert_eq!(reports.recv().unwrap().error().to_string(), "task panicked: in a callback");
        drop(rt.spawn(async {}).wait());
        assert!(reports.try_recv().is_err(), "reported twice");
    });
}

#[test]
fn a_handler_that_panics_does_not_keep_the_next_callback_from_running() {
    within(PATIENCE, || {
        let handler = |_| panic!("in the handler");
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let _entered = rt.enter();
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move { passing.pass().await });
        task.add_done_callback(|_| panic!("in a callback"));
        let (sender, ran) = mpsc::channel();
        task.add_done_callback(move |_| sender.send(()).unwrap());
        gate.open();
        assert_eq!(ran.recv(), Ok(()), "the second callback was dropped without being run");
    });
}

#[test]
fn a_callback_runs_after_the_handle_was_dropped() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move { passing.pass().await });
        let (sender, ran) = mpsc::channel();
        task.add_done_callback(move |_| sender.send(()).unwrap());
        drop(task);
        gate.open();
        ran.recv().unwrap();
    });
}

#[test]
fn a_callback_of_a_promise_never_runs_inside_set_result() {
    within(PATIENCE, || {
        let rt = single();
        let _entered = rt.enter();
        let (promise, future) = Promise::new();
        let (sender, ran) = mpsc::channel();
        future.add_done_callback(move |done| sender.send(*done.result().unwrap().unwrap()).unwrap());
        promise.set_result(3).unwrap();
        assert!(ran.try_recv().is_err());
        rt.block_on(runtime_tests::settle());
        assert_eq!(ran.try_recv(), Ok(3));
    });
}

#[test]
fn callbacks_of_a_promise_run_in_order_also_those_added_late() {
    within(PATIENCE, || {
        let rt = multi(2);
        let _entered = rt.enter();
        let (promise, future) = Promise::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let add = |n: u32| {
            let log = log.clone();
            future.add_done_callback(move |_| log.lock().push(n));
        };
        (0..20).for_each(add);
        promise.set_result(()).unwrap();
        (20..40).for_each(add);
        let (sender, ran) = mpsc::channel();
        future.add_done_callback(move |_| sender.send(()).unwrap());
        ran.recv().unwrap();
        assert_eq!(*log.lock(), (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn a_removed_callback_never_runs() {
    within(PATIENCE, || {
        let rt = single();
        let _entered = rt.enter();
        let (promise, future) = Promise::new();
        let (sender, ran) = mpsc::channel::<()>();
        let id = future.add_done_callback(move |_| sender.send(()).unwrap());
        assert!(future.remove_done_callback(id) && !future.remove_done_callback(id));
        promise.set_result(()).unwrap();
        rt.block_on(runtime_tests::settle());
        assert!(ran.try_recv().is_err());
    });
}

#[test]
fn callbacks_run_on_the_runtimes_they_were_added_in() {
    within(PATIENCE, || {
        let runtimes = [multi(1), multi(1)];
        let (promise, future) = Promise::new();
        let (sender, ids) = mpsc::channel();
        for rt in &runtimes {
            let (_entered, sender) = (rt.enter(), sender.clone());
            future.add_done_callback(move |_| sender.send(runtime::Handle::current().id()).unwrap());
        }
        promise.set_result(()).unwrap();
        let ids = [ids.recv().unwrap(), ids.recv().unwrap()];
        assert_eq!(ids, [runtimes[0].handle().id(), runtimes[1].handle().id()]);
    });
}

#[test]
fn callbacks_of_a_runtime_that_is_gone_are_dropped() {
    within(PATIENCE, || {
        let rt = single();
        let (promise, future) = Promise::new();
        let (sender, ran) = mpsc::channel::<()>();
        {
            let _entered = rt.enter();
            future.add_done_callback(move |_| sender.send(()).unwrap());
        }
        drop(rt);
        promptly(|| promise.set_result(()).unwrap());
        assert!(ran.recv().is_err());
    });
}

#[test]
fn a_callback_that_is_dropped_may_wait_for_a_group_in_its_destructor() {
    struct Waits(mpsc::Sender<Option<u8>>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let group = task_group(|group| async move {
                let child = group.spawn(async { Ok::<u8, ()>(7) });
                Ok(child.await.unwrap().unwrap())
            });
            let _ = self.0.send(single().block_on(group).unwrap());
        }
    }

    within(PATIENCE, || {
        let (gone, stays) = (multi(1), multi(1));
        let (promise, future) = Promise::new();
        let task = stays.spawn(async {});
        let (sender, outcomes) = mpsc::channel();
        {
            let _entered = gone.enter();
            let waits = Waits(sender.clone());
            future.add_done_callback(move |_| drop(waits));
            let waits = Waits(sender);
            task.add_done_callback(move |_| drop(waits));
        }
        drop(gone);
        promise.set_result(()).unwrap();
        task.wait().unwrap();
        assert_eq!(outcomes.iter().collect::<Vec<_>>(), [Some(7), Some(7)]);
    });
}

#[test]
fn the_name_of_a_callback_is_never_used_again() {
    let rt = single();
    let _entered = rt.enter();
    let ids = (0..100).map(|_| {
        // Each in its turn, so that the next one lies where this one lay.
        let (_promise, future) = Promise::<u8>::new();
        let id = future.add_done_callback(|_| {});
        assert!(future.remove_done_callback(id));
        id
    });
    assert_eq!(ids.collect::<HashSet<_>>().len(), 100);
}
