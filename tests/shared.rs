//! A task with many readers: what they ask for reaches the task, also from inside it.

use std::future::pending;
use std::sync::Arc;

use parking_lot::Mutex;
use runtime::task::Builder;
use runtime::{Future, Promise, Runtime, Task};
use runtime_tests::{Counts, Gate, PATIENCE, reports, until, within};

/// A runtime, a task that is given its own shared future, and what is left to be seen from outside.
fn given_itself<Fut>(body: impl FnOnce(Future<()>) -> Fut + Send + 'static)
where
    Fut: std::future::Future<Output = ()> + Send + 'static,
{
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let counts = Counts::new();
        let token = counts.token();
        let place = Arc::new(Mutex::new(None));
        let (placed, there) = Promise::new();
        let task = {
            let place = place.clone();
            rt.spawn(async move {
                let _token = token;
                there.await.unwrap();
                let own = place.lock().take().expect("it was placed");
                body(own).await;
            })
        };
        *place.lock() = Some(task.shared());
        placed.set_result(()).unwrap();
        until(|| counts.drops() == 1);
        drop(rt);
        assert!(received.try_recv().is_err(), "nothing went wrong");
    });
}

#[test]
fn a_task_may_cancel_its_own_shared_future() {
    given_itself(|own| async move {
        own.cancel();
        pending().await
    });
}

#[test]
fn a_task_may_be_the_last_reader_of_its_own_shared_future() {
    given_itself(|own| async move { drop(own) });
}

#[test]
fn a_task_may_share_its_own_handle() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let place = Arc::new(Mutex::new(None::<runtime::Task<u8>>));
        let (placed, there) = Promise::new();
        let (out, shared) = Promise::new();
        let task = {
            let place = place.clone();
            rt.spawn(async move {
                there.await.unwrap();
                let own = place.lock().take().expect("it was placed");
                out.set_result(own.shared()).unwrap();
                7
            })
        };
        *place.lock() = Some(task);
        placed.set_result(()).unwrap();
        assert_eq!(shared.wait().unwrap().wait().unwrap(), &7);
        drop(rt);
        assert!(received.try_recv().is_err(), "nothing went wrong");
    });
}

#[test]
fn the_end_of_the_runtime_is_no_failure_that_nobody_saw() {
    within(PATIENCE, || {
        let (handler, seen) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let future = rt.spawn(pending::<()>()).shared();
        drop(rt);
        drop(future);
        assert!(seen.recv().is_err());
    });
}

#[test]
fn a_panic_that_no_reader_of_a_shared_future_saw_is_reported_with_the_task() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let gate = Gate::new();
        let opened = gate.clone();
        let body = async move {
            opened.pass().await;
            panic!("unread")
        };
        let spawned = {
            let _entered = rt.enter();
            (Builder::new().name("db").spawn::<_>(body), line!())
        };
        let (task, line): (Task<()>, u32) = spawned;
        let (id, shared) = (task.id(), task.shared());
        gate.open();
        rt.block_on(async {
            while !shared.done() {
                runtime::task::yield_now().await
            }
        });
        assert!(received.try_recv().is_err(), "it may still be read");
        drop(shared);
        let report = received.recv().unwrap();
        assert_eq!((report.task_id(), report.task_name()), (Some(id), Some("db")));
        assert_eq!(report.location().line(), line);
        assert_eq!(report.error().to_string(), "task panicked: unread");
        drop(rt);
        assert!(received.try_recv().is_err(), "once");
    });
}

/// It is shared outside of every runtime, when it has panicked already.
#[test]
fn a_panic_that_no_reader_saw_is_reported_to_the_runtime_of_the_task() {
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let task = rt.spawn(async { panic!("unread") });
        let (id, finished) = (task.id(), task.abort_handle());
        until(|| finished.is_finished());
        drop::<Future<()>>(task.shared());
        assert_eq!(received.recv().unwrap().task_id(), Some(id));
    });
}
