//! Thread-local destructors may use the runtime, whichever thread ends.

use std::cell::RefCell;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use runtime::{Promise, Runtime, Task};
use runtime_tests::{PATIENCE, child, is_child, multi, until, within};

/// Calls a function when its thread's locals are destroyed.
struct AtExit(Option<Box<dyn FnOnce()>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

thread_local! {
    static FIRST: RefCell<AtExit> = const { RefCell::new(AtExit(None)) };
}

/// Registers `f` before the runtime's own locals exist, so that they are destroyed first.
fn at_exit(f: impl FnOnce() + 'static) {
    FIRST.with_borrow_mut(|first| first.0 = Some(Box::new(f)));
}

/// Runs `f` at the end of a thread that has used the runtime, and fails if it did not get to its end.
fn at_the_end_of_a_thread(f: impl FnOnce(Sender<i32>) + Send + 'static) {
    within(PATIENCE, || {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            at_exit(move || f(sender));
            let rt = multi(1);
            rt.block_on(async { runtime::spawn(async {}).await }).unwrap();
            let _entered = rt.enter();
            drop(runtime::spawn(async {}));
        })
        .join()
        .unwrap();
        assert_eq!(receiver.recv(), Ok(1));
    });
}

#[test]
fn a_destructor_spawns_on_the_default_runtime() {
    at_the_end_of_a_thread(|sender| drop(runtime::spawn(async move { sender.send(1).unwrap() })));
}

#[test]
fn a_destructor_blocks_on_a_future() {
    at_the_end_of_a_thread(|sender| {
        let value = runtime::block_on(async { runtime::spawn(async { 1 }).await.unwrap() });
        sender.send(value).unwrap();
    });
}

#[test]
fn a_destructor_waits_for_a_blocking_job() {
    at_the_end_of_a_thread(|sender| sender.send(runtime::spawn_blocking(|| 1).wait().unwrap()).unwrap());
}

#[test]
fn a_destructor_builds_enters_and_drops_a_runtime() {
    at_the_end_of_a_thread(|sender| {
        let rt = multi(1);
        let entered = rt.enter();
        let value = runtime::spawn(async { 1 }).wait().unwrap();
        drop(entered);
        drop(rt);
        sender.send(value).unwrap();
    });
}

#[test]
fn a_destructor_runs_a_current_thread_runtime() {
    at_the_end_of_a_thread(|sender| {
        let rt = runtime_tests::single();
        sender.send(rt.block_on(async { runtime::spawn(async { 1 }).await.unwrap() })).unwrap();
    });
}

#[test]
fn a_destructor_sets_a_promise_with_callbacks() {
    at_the_end_of_a_thread(|sender| {
        let (promise, future) = Promise::new();
        future.add_done_callback(move |done| sender.send(*done.result().unwrap().unwrap()).unwrap());
        promise.set_result(1).unwrap();
    });
}

#[test]
fn a_destructor_uses_a_local_set() {
    at_the_end_of_a_thread(|sender| {
        let set = runtime::task::LocalSet::new();
        let task = set.spawn_local(async { 1 });
        drop(set);
        assert!(task.wait().is_err());
        sender.send(1).unwrap();
    });
}

#[test]
fn a_destructor_of_a_workers_local_spawns_wakes_and_drops() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (sender, receiver) = mpsc::channel();
        let waiting: Task<()> = rt.spawn(std::future::pending());
        rt.spawn(async move {
            at_exit(move || {
                waiting.cancel();
                drop(waiting);
                drop(runtime::spawn(async {}));
                sender.send(1).unwrap();
            });
        })
        .wait()
        .unwrap();
        drop(rt);
        assert_eq!(receiver.recv(), Ok(1));
    });
}

#[test]
fn a_destructor_of_a_blocking_threads_local_uses_the_runtime() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (sender, receiver) = mpsc::channel();
        rt.spawn_blocking(move || {
            at_exit(move || {
                let _ = runtime::spawn(async {}).wait();
                sender.send(1).unwrap();
            });
        })
        .wait()
        .unwrap();
        drop(rt);
        assert_eq!(receiver.recv(), Ok(1));
    });
}

#[test]
fn the_end_of_a_runtime_waits_for_the_destructors_of_a_thread_that_had_no_patience_left() {
    within(PATIENCE, || {
        let rt = Runtime::builder().blocking_keep_alive(Duration::ZERO).build().unwrap();
        let ((begun, has_begun), (done, is_done)) = (mpsc::channel(), mpsc::channel());
        let handle = rt.handle();
        rt.spawn_blocking(move || {
            at_exit(move || {
                begun.send(()).unwrap();
                until(|| handle.spawn_blocking(|| ()).wait().is_err());
                // Time for whoever would not wait.
                (0..100).for_each(|_| thread::yield_now());
                done.send(()).unwrap();
            });
        })
        .wait()
        .unwrap();
        has_begun.recv().unwrap();
        drop(rt);
        is_done.try_recv().expect("joined");
    });
}

#[test]
fn a_destructor_that_does_not_return_does_not_keep_the_end_of_the_runtime() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (proceed, may_go_on) = mpsc::channel::<()>();
        rt.spawn_blocking(move || at_exit(move || _ = may_go_on.recv())).wait().unwrap();
        assert_eq!(rt.shutdown(Duration::ZERO).threads_left, 1);
        drop(proceed);
    });
}

#[test]
fn a_runtime_in_a_thread_local_is_dropped_with_its_thread() {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    within(PATIENCE, || {
        let (sender, task) = mpsc::channel();
        thread::spawn(move || {
            let rt = multi(1);
            sender.send(rt.spawn(std::future::pending::<()>())).unwrap();
            RUNTIME.with_borrow_mut(|slot| *slot = Some(rt));
        })
        .join()
        .unwrap();
        assert!(task.recv().unwrap().wait().unwrap_err().is_shutdown());
    });
}

#[test]
fn the_main_threads_destructors_may_use_the_runtime() {
    if is_child() {
        at_exit(|| {
            assert_eq!(runtime::block_on(async { runtime::spawn(async { 1 }).await.unwrap() }), 1);
        });
        runtime::block_on(async { runtime::spawn(async {}).await }).unwrap();
        return;
    }
    let output = child("tls::the_main_threads_destructors_may_use_the_runtime", &[]);
    runtime_tests::assert_passed(&output);
}

#[test]
fn a_destructor_drops_a_local_set_with_a_task_that_waits() {
    within(PATIENCE, || {
        thread::spawn(|| {
            at_exit(|| {
                let set = runtime::task::LocalSet::new();
                drop(set.spawn_local(std::future::pending::<()>()));
                runtime::block_on(set.run_until(runtime::task::yield_now()));
                drop(set);
            });
            // What this thread uses for sets is made later, and goes first.
            drop(runtime::task::LocalSet::new());
        })
        .join()
        .unwrap();
    });
}

/// A group with a child, whose value it gives.
async fn group() -> i32 {
    let body = |group: runtime::TaskGroup<runtime::Error>| async move { group.spawn(async { Ok(1) }).await };
    runtime::task_group(body).await.unwrap().flatten().unwrap()
}

#[test]
fn a_destructor_runs_a_group() {
    within(PATIENCE, || {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            at_exit(move || sender.send(runtime::block_on(group())).unwrap());
            // What this thread uses for groups is made later, and goes first.
            runtime::block_on(group());
        })
        .join()
        .unwrap();
        assert_eq!(receiver.recv(), Ok(1));
    });
}
