//! A handle refers to its runtime from anywhere; a thread stands where its guards say.

use std::sync::{Arc, mpsc};
use std::thread;

use parking_lot::Mutex;
use runtime::{Handle, Runtime};
use runtime_tests::{PATIENCE, multi, on_each, promptly, single, until, within};

#[test]
fn a_worker_a_root_a_job_and_a_guard_stand_in_the_runtime() {
    on_each(|rt| {
        let own = rt.handle();
        let current = || Handle::try_current().unwrap().id();
        assert_eq!(rt.block_on(async { current() }), own.id());
        assert_eq!(rt.block_on(rt.spawn(async move { current() })).unwrap(), own.id());
        assert_eq!(rt.block_on(rt.spawn_blocking(current)).unwrap(), own.id());
        let _entered = rt.enter();
        assert_eq!(current(), own.id());
    });
}

#[test]
fn a_plain_thread_stands_in_none_and_uses_the_default_one() {
    within(PATIENCE, || {
        assert!(Handle::try_current().is_none());
        let (first, second) = (Handle::current(), Handle::current());
        assert_eq!(first, second);
        assert_eq!(runtime::spawn(async { Handle::current().id() }).wait().unwrap(), first.id());
        assert_eq!(runtime::spawn_blocking(|| Handle::current().id()).wait().unwrap(), first.id());
    });
}

#[test]
fn many_threads_that_need_the_default_runtime_at_once_get_the_same() {
    if runtime_tests::is_child() {
        let ids =
            [(); 16].map(|()| thread::spawn(|| runtime::spawn(async { Handle::current().id() }).wait()));
        let ids: Vec<_> = ids.into_iter().map(|id| id.join().unwrap().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
        return;
    }
    let test = "handle::many_threads_that_need_the_default_runtime_at_once_get_the_same";
    let output = runtime_tests::child(test, &[]);
    runtime_tests::assert_passed(&output);
}

#[test]
fn guards_are_dropped_in_any_order() {
    within(PATIENCE, || {
        let runtimes = [single(), multi(1), single()];
        let id = |n: usize| runtimes[n].handle().id();
        let current = || Handle::try_current().map(|handle| handle.id());
        let (first, second) = (runtimes[0].enter(), runtimes[1].enter());
        let third = runtimes[2].enter();
        assert_eq!(current(), Some(id(2)));
        drop(first);
        assert_eq!(current(), Some(id(2)));
        drop(third);
        assert_eq!(current(), Some(id(1)));
        drop(second);
        assert_eq!(current(), None);
    });
}

#[test]
fn a_guard_outlives_the_runtime() {
    on_each(|rt| {
        let handle = rt.handle();
        let guard = handle.enter();
        drop(rt);
        assert!(promptly(|| runtime::spawn(async {}).wait()).unwrap_err().is_shutdown());
        drop(guard);
        assert!(Handle::try_current().is_none());
    });
}

#[test]
fn guards_and_block_on_nest() {
    within(PATIENCE, || {
        let (outer, inner) = (multi(1), single());
        let _outer = outer.enter();
        inner.block_on(async {
            assert_eq!(Handle::current(), inner.handle());
            let _again = outer.enter();
            assert_eq!(Handle::current(), outer.handle());
        });
        assert_eq!(Handle::current(), outer.handle());
    });
}

#[test]
fn a_forgotten_guard_keeps_the_thread_where_it_stands_and_harms_nobody() {
    within(PATIENCE, || {
        thread::spawn(|| {
            let rt = multi(1);
            std::mem::forget(rt.enter());
            drop(rt);
        })
        .join()
        .unwrap();
        assert!(Handle::try_current().is_none());
    });
}

#[test]
fn call_soon_calls_soon() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (sender, called) = mpsc::channel();
        rt.handle().call_soon(move || sender.send(Handle::current().id()).unwrap());
        assert_eq!(called.recv(), Ok(rt.handle().id()));
    });
}

#[test]
fn call_soon_does_not_call_inside_the_call() {
    within(PATIENCE, || {
        let rt = single();
        let (sender, called) = mpsc::channel();
        let own = sender.clone();
        rt.block_on(async {
            Handle::current().call_soon(move || sender.send(1).unwrap());
            own.send(0).unwrap();
            runtime_tests::settle().await;
        });
        assert_eq!(called.try_iter().collect::<Vec<_>>(), [0, 1]);
    });
}

#[test]
fn calls_from_one_thread_come_in_order_on_a_current_thread_runtime() {
    within(PATIENCE, || {
        let rt = single();
        let (sender, called) = mpsc::channel();
        for n in 0..100 {
            let sender = sender.clone();
            rt.handle().call_soon(move || sender.send(n).unwrap());
        }
        rt.block_on(async {
            while rt.metrics().live_tasks() > 0 {
                runtime_tests::turn().await
            }
        });
        assert_eq!(called.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_call_from_before_block_on_comes_before_those_in_it_on_a_current_thread_runtime() {
    within(PATIENCE, || {
        let rt = single();
        let called = Arc::new(Mutex::new(Vec::new()));
        let call = |n| {
            let calls = called.clone();
            rt.handle().call_soon(move || calls.lock().push(n));
        };
        call(0);
        rt.block_on(async {
            call(1);
            runtime_tests::settle().await;
        });
        assert_eq!(*called.lock(), [0, 1]);
    });
}

/// Whatever else is woken between them.
#[test]
fn calls_of_a_task_come_in_order_on_a_current_thread_runtime() {
    within(PATIENCE, || {
        let rt = single();
        let called = Arc::new(Mutex::new(Vec::new()));
        rt.block_on(async {
            let (promise, set) = runtime::Promise::new();
            let woken = runtime::spawn(set);
            runtime_tests::settle().await;
            let (handle, calls) = (Handle::current(), called.clone());
            let caller = runtime::spawn(async move {
                for n in 0..3 {
                    let calls = calls.clone();
                    handle.call_soon(move || calls.lock().push(n));
                }
                promise.set_result(()).unwrap();
            });
            caller.await.unwrap();
            woken.await.unwrap().unwrap();
            runtime_tests::settle().await;
        });
        assert_eq!(*called.lock(), [0, 1, 2]);
    });
}

#[test]
fn run_forever_runs_until_stop() {
    on_each(|rt| {
        let handle = rt.handle();
        let task = rt.spawn(async move {
            runtime_tests::settle().await;
            handle.stop();
        });
        rt.run_forever();
        drop(task);
    });
}

#[test]
fn a_stop_from_another_thread_ends_run_forever() {
    on_each(|rt| {
        let handle = rt.handle();
        let (sender, running) = mpsc::channel();
        drop(rt.spawn(async move { sender.send(()).unwrap() }));
        let stopper = thread::spawn(move || {
            running.recv().unwrap();
            handle.stop();
        });
        rt.run_forever();
        stopper.join().unwrap();
    });
}

#[test]
fn a_stop_before_run_forever_is_remembered_once() {
    on_each(|rt| {
        rt.handle().stop();
        rt.handle().stop();
        rt.run_forever();
        // The memory of it is used up: the next call needs a stop of its own.
        let handle = rt.handle();
        let (sender, ran) = mpsc::channel();
        drop(rt.spawn(async move {
            runtime_tests::settle().await;
            sender.send(()).unwrap();
            handle.stop();
        }));
        rt.run_forever();
        assert_eq!(ran.try_recv(), Ok(()));
    });
}

#[test]
fn a_runtime_has_the_name_it_was_given_and_an_id_of_its_own() {
    within(PATIENCE, || {
        let (named, plain) = (Runtime::builder().name("api").worker_threads(1).build().unwrap(), multi(1));
        assert_eq!(named.handle().runtime_name(), Some("api"));
        assert_eq!(plain.handle().runtime_name(), None);
        assert_ne!(named.handle().id(), plain.handle().id());
        assert_ne!(named.handle(), plain.handle());
    });
}

#[test]
fn a_handle_works_on_other_threads() {
    within(PATIENCE, || {
        let rt = multi(1);
        let handle = rt.handle();
        let there = thread::spawn(move || handle.block_on(handle.spawn(async { 1 })).unwrap());
        assert_eq!(there.join().unwrap(), 1);
    });
}

#[test]
fn a_handle_does_not_keep_the_runtime_running() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).thread_name("kept").build().unwrap();
        rt.spawn(async {}).wait().unwrap();
        let handle = rt.handle();
        drop(rt);
        until(|| runtime_tests::threads_named("kept") == 0);
        assert!(handle.spawn(async {}).wait().unwrap_err().is_shutdown());
    });
}

#[test]
fn a_guard_in_a_task_leaves_the_thread_in_the_runtime_whose_task_it_is() {
    within(PATIENCE, || {
        let (a, b) = (single(), multi(1));
        let ids = a.block_on(async {
            let _in_b = b.enter();
            a.spawn(async {
                let before = Handle::current();
                drop(before.enter());
                (before.id(), Handle::current().id())
            })
            .await
            .unwrap()
        });
        assert_eq!(ids, (a.handle().id(), a.handle().id()));
    });
}

#[test]
fn guards_dropped_in_any_order_leave_the_thread_where_the_last_one_that_lives_put_it() {
    within(PATIENCE, || {
        let [a, b, c] = [(); 3].map(|()| single().handle());
        let here = || Handle::try_current().map(|handle| handle.id());
        let (in_a, in_b, in_c) = (a.enter(), b.enter(), c.enter());
        drop(in_b);
        assert_eq!(here(), Some(c.id()));
        drop(in_c);
        assert_eq!(here(), Some(a.id()));
        let in_b = b.enter();
        drop(in_a);
        assert_eq!(here(), Some(b.id()));
        drop(in_b);
        assert_eq!(here(), None);
    });
}
