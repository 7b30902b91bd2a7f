//! Many calls at once: within their limit, in order, and each on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::map_concurrent;
use runtime_tests::{Counts, PATIENCE, multi, on_each, settle, single, within};

#[test]
fn results_come_in_the_order_of_the_items() {
    on_each(|rt| {
        let results = rt.block_on(map_concurrent(0..200_u32, 7, |n| async move {
            for _ in 0..n % 5 {
                runtime::task::yield_now().await;
            }
            n * 2
        }));
        let values: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(values, (0..200).map(|n| n * 2).collect::<Vec<_>>());
    });
}

#[test]
fn a_thousand_calls_never_exceed_the_limit() {
    on_each(|rt| {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let results = rt.block_on(map_concurrent(0..1_000, 10, |_| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                runtime::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
            }
        }));
        assert_eq!(results.len(), 1_000);
        let most = most.load(Ordering::SeqCst);
        assert!(most <= 10, "{most} at a time");
    });
}

#[test]
fn one_that_fails_does_not_touch_the_others() {
    on_each(|rt| {
        let results = rt.block_on(map_concurrent(0..50, 4, |n| async move {
            assert_ne!(n, 17, "seventeen");
            n
        }));
        let failed: Vec<_> = results.iter().enumerate().filter(|(_, result)| result.is_err()).collect();
        assert!(matches!(failed[..], [(17, Err(error))] if error.is_panic()));
    });
}

#[test]
fn dropping_the_call_cancels_what_runs_and_starts_no_more() {
    within(PATIENCE, || {
        let rt = single();
        let (counts, started) = (Counts::new(), Arc::new(AtomicUsize::new(0)));
        rt.block_on(async {
            let call = map_concurrent(0..100, 5, |_| {
                started.fetch_add(1, Ordering::SeqCst);
                counts.watch(std::future::pending::<()>())
            });
            let mut call = Box::pin(call);
            std::future::poll_fn(|cx| {
                assert!(call.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            settle().await;
            drop(call);
            settle().await;
        });
        assert_eq!((started.load(Ordering::SeqCst), counts.drops()), (5, 5));
    });
}

#[test]
fn items_are_taken_only_when_there_is_room() {
    within(PATIENCE, || {
        let rt = single();
        let (taken, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counter, ended) = (taken.clone(), done.clone());
        let items = std::iter::from_fn(move || {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            assert!(n - ended.load(Ordering::SeqCst) <= 3);
            (n < 50).then_some(n)
        });
        rt.block_on(map_concurrent(items, 3, |_| {
            let done = done.clone();
            async move {
                runtime::task::yield_now().await;
                done.fetch_add(1, Ordering::SeqCst);
            }
        }));
        assert_eq!(done.load(Ordering::SeqCst), 50);
    });
}

#[test]
fn no_items_give_no_results() {
    on_each(|rt| {
        let none: Vec<u32> = Vec::new();
        assert!(rt.block_on(map_concurrent(none, 1, |n| async move { n })).is_empty());
    });
}

#[test]
#[should_panic(expected = "at least 1")]
fn a_limit_of_zero_panics_with_a_message() {
    drop(map_concurrent(0..3, 0, |n| async move { n }));
}

#[test]
fn on_a_runtime_that_is_gone_every_call_fails() {
    within(PATIENCE, || {
        let rt = multi(1);
        let handle = rt.handle();
        drop(rt);
        let results = handle.block_on(map_concurrent(0..20, 3, |n| async move { n }));
        assert!(
            results.len() == 20 && results.iter().all(|result| result.as_ref().unwrap_err().is_shutdown())
        );
    });
}

#[test]
fn a_thousand_calls_with_limit_ten_reach_exactly_ten() {
    on_each(|rt| {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        rt.block_on(map_concurrent(0..1_000, 10, |_| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The first ten wait for each other; after that the limit has been reached.
                while most.load(Ordering::SeqCst) < 10 {
                    runtime::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
            }
        }));
        assert_eq!((most.load(Ordering::SeqCst), now.load(Ordering::SeqCst)), (10, 0));
    });
}

#[test]
fn a_panic_names_the_place_of_the_call() {
    within(PATIENCE, || {
        let (handler, received) = runtime_tests::reports();
        let rt = runtime::Runtime::builder().current_thread().on_unobserved(handler).build().unwrap();
        let line = line!() + 2;
        rt.block_on(async {
            let mut call = Box::pin(map_concurrent(0..1, 1, |_| async { panic!("nobody waits") }));
            assert!(runtime_tests::poll_once(call.as_mut()).await.is_pending());
            settle().await;
            drop::<std::pin::Pin<Box<dyn Future<Output = Vec<Result<(), _>>>>>>(call);
        });
        let report = format!("{:?}", received.recv_timeout(PATIENCE).expect("a report"));
        assert!(
            report.contains(&format!("gather.rs:{line}")) || report.contains(&format!("line: {line}")),
            "{report}"
        );
    });
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn a_call_that_is_polled_after_its_results_panics() {
    single().block_on(async {
        let mut none = map_concurrent(Vec::<u8>::new(), 1, |n| async move { n });
        assert!((&mut none).await.is_empty());
        let _ = (&mut none).await;
    });
}
