//! A future completes exactly once, for every reader, on every executor; its promise cannot be forgotten.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;

use runtime::{Future, Promise, Runtime};
use runtime_tests::{CountingWaker, PATIENCE, multi, on_each, promptly, reports, single, until, within};

#[test]
fn the_promise_of_a_cancelled_task_is_broken() {
    on_each(|rt| {
        let (promise, future) = Promise::<u8>::new();
        let producer = rt.spawn(async move {
            let _promise = promise;
            std::future::pending::<()>().await;
        });
        producer.cancel();
        assert!(promptly(|| rt.block_on(future)).unwrap_err().is_broken_promise());
    });
}

#[test]
fn the_promise_of_a_task_is_broken_when_its_runtime_is_gone() {
    on_each(|rt| {
        let (promise, future) = Promise::<u8>::new();
        drop(rt.spawn(async move {
            let _promise = promise;
            std::future::pending::<()>().await;
        }));
        drop(rt);
        assert!(promptly(|| future.wait().unwrap_err().is_broken_promise()));
    });
}

#[test]
fn a_failure_that_nobody_read_is_reported_once_with_the_place_of_its_promise() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let _entered = rt.enter();
        let (promise, future) = Promise::<u8>::new();
        let line = line!() - 1;
        promise.set_exception("unread").unwrap();
        drop((promise, future));
        let report = reports.recv().unwrap();
        assert_eq!((report.location().line(), report.task_id()), (line, None));
        assert!(report.to_string().contains("was never retrieved: unread"), "{report}");
        drop(rt.spawn(async {}).wait());
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn ready_polls_in_one_task_do_not_keep_the_others_from_running() {
    within(PATIENCE, || {
        let rt = single();
        let ready = Future::ready(1);
        let hog = rt.spawn({
            let ready = ready.clone();
            async move {
                loop {
                    ready.clone().await.unwrap();
                }
            }
        });
        assert_eq!(rt.block_on(rt.spawn(async { 3 })).unwrap(), 3);
        drop(hog);
    });
}

#[test]
fn waiting_for_a_ready_future_many_times_in_blocking_code_of_a_task_ends() {
    within(PATIENCE, || {
        let rt = multi(2);
        let task = rt.spawn(async {
            let ready = Future::ready(1);
            runtime::task::block_in_place(|| (0..500).map(|_| *ready.wait().unwrap()).sum::<i32>())
        });
        assert_eq!(task.wait().unwrap(), 500);
    });
}

#[test]
fn a_waker_is_woken_once_when_the_value_comes() {
    within(PATIENCE, || {
        let (promise, mut future) = Promise::new();
        let (count, waker) = CountingWaker::new();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        }
        thread::spawn(move || promise.set_result(1).unwrap()).join().unwrap();
        assert_eq!(count.wakes(), 1);
        assert!(matches!(Pin::new(&mut future).poll(&mut cx), Poll::Ready(Ok(1))));
    });
}

#[test]
fn what_the_setter_wrote_is_visible_to_the_reader() {
    within(PATIENCE, || {
        let rt = multi(2);
        for n in 1..500 {
            let (promise, future) = Promise::new();
            let data = Arc::new(AtomicUsize::new(0));
            let written = data.clone();
            let setter = thread::spawn(move || {
                written.store(n, Ordering::Relaxed);
                promise.set_result(()).unwrap();
            });
            let reader = rt.spawn(async move {
                future.await.unwrap();
                data.load(Ordering::Relaxed)
            });
            assert_eq!(reader.wait().unwrap(), n);
            setter.join().unwrap();
        }
    });
}

#[test]
fn a_chain_of_a_hundred_thousand_callbacks_on_a_runtime_does_not_grow_the_stack() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (first, mut last) = Promise::new();
        for _ in 0..100_000 {
            let (next, future) = Promise::new();
            last.add_done_callback(move |done: &Future<u32>| {
                let _ = next.set_result(done.result().unwrap().unwrap() + 1);
            });
            last = future;
        }
        first.set_result(0).unwrap();
        assert_eq!(*last.wait().unwrap(), 100_000);
    });
}

#[test]
fn a_task_that_awaits_an_unset_promise_ends_with_the_runtime() {
    on_each(|rt| {
        let (promise, future) = Promise::<u8>::new();
        let (sender, dropped) = mpsc::channel::<()>();
        drop(rt.spawn(async move {
            let _sender = sender;
            let _ = future.await;
        }));
        rt.block_on(runtime_tests::settle());
        drop(rt);
        assert!(dropped.recv().is_err());
        until(|| promise.is_closed());
    });
}
