//! `block_on` runs a future on the calling thread, and tasks while it waits.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use parking_lot::Mutex;
use runtime_tests::{Counts, Gate, PATIENCE, multi, on_each, promptly, single, within};

#[test]
fn it_gives_the_output() {
    on_each(|rt| assert_eq!(rt.block_on(async { 6 * 7 }), 42));
}

#[test]
fn the_future_may_borrow() {
    on_each(|rt| {
        let mut text = String::from("a");
        rt.block_on(async { text.push('b') });
        assert_eq!(text, "ab");
    });
}

#[test]
fn the_future_need_not_be_send_and_stays_on_its_thread() {
    on_each(|rt| {
        let shared = Rc::new(thread::current().id());
        rt.block_on(async {
            runtime::spawn(async {}).await.unwrap();
            assert_eq!(*shared, thread::current().id());
        });
    });
}

#[test]
fn the_future_is_polled_once_if_it_is_ready() {
    on_each(|rt| {
        let counts = Counts::new();
        rt.block_on(counts.watch(async {}));
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
    });
}

/// A root future that ends when it has seen `target` in a counter that only wakes make visible.
fn root_woken_by(threads: usize, wakes: usize, rt: &runtime::Runtime) {
    let counts = Counts::new();
    let (sent, gate) = (Arc::new(AtomicUsize::new(0)), Gate::new());
    let wakers: Vec<_> = (0..threads)
        .map(|_| {
            let (sent, gate) = (sent.clone(), gate.clone());
            thread::spawn(move || {
                let waker = gate.waker();
                for _ in 0..wakes {
                    sent.fetch_add(1, Ordering::Relaxed);
                    waker.wake_by_ref();
                }
            })
        })
        .collect();
    let mut pass = Box::pin(gate.pass());
    rt.block_on(counts.watch(poll_fn(|cx| {
        let _ = pass.as_mut().poll(cx);
        if sent.load(Ordering::Relaxed) == threads * wakes { Poll::Ready(()) } else { Poll::Pending }
    })));
    wakers.into_iter().for_each(|waker| waker.join().unwrap());
    assert_eq!(counts.overlaps(), 0);
    assert!(counts.polls() <= threads * wakes + 1, "{} polls", counts.polls());
}

#[test]
fn a_root_woken_a_hundred_thousand_times_from_outside_misses_nothing() {
    on_each(|rt| root_woken_by(4, 25_000, &rt));
}

#[test]
fn a_root_is_polled_exactly_once_for_each_wake_that_waits_for_it() {
    on_each(|rt| {
        let counts = Counts::new();
        let (polled, may_wake) = mpsc::channel();
        let gate = Gate::new();
        let waker = {
            let gate = gate.clone();
            thread::spawn(move || {
                for _ in 0..2_000 {
                    may_wake.recv().unwrap();
                    gate.waker().wake();
                }
            })
        };
        let mut pass = Box::pin(gate.pass());
        let mut polls = 0;
        rt.block_on(counts.watch(poll_fn(|cx| {
            let _ = pass.as_mut().poll(cx);
            polls += 1;
            if polls == 2_001 {
                return Poll::Ready(());
            }
            polled.send(()).unwrap();
            Poll::Pending
        })));
        waker.join().unwrap();
        assert_eq!(counts.polls(), 2_001);
    });
}

#[test]
fn a_root_that_wakes_itself_lets_tasks_run() {
    on_each(|rt| {
        let task = rt.spawn(async { 1 });
        rt.block_on(async {
            while !task.is_finished() {
                runtime::task::yield_now().await;
            }
        });
    });
}

#[test]
fn the_thread_runs_tasks_while_its_future_waits() {
    within(PATIENCE, || {
        let rt = single();
        let task = rt.spawn(async { thread::current().id() });
        assert_eq!(rt.block_on(task).unwrap(), thread::current().id());
    });
}

#[test]
fn a_root_that_blocks_does_not_keep_tasks_from_running() {
    within(PATIENCE, || {
        let rt = multi(1);
        let answer = rt.block_on(async {
            let (sender, receiver) = mpsc::channel();
            drop(runtime::spawn(async move { sender.send(3).unwrap() }));
            receiver.recv().unwrap()
        });
        assert_eq!(answer, 3);
    });
}

#[test]
fn its_waker_may_outlive_it() {
    on_each(|rt| {
        let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
        rt.block_on(poll_fn(|cx| {
            *kept.lock() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        let waker = kept.lock().take().unwrap();
        waker.wake_by_ref();
        drop(rt);
        waker.wake();
    });
}

#[test]
fn ten_threads_may_be_inside_at_the_same_time() {
    on_each(|rt| {
        let sum: usize = thread::scope(|scope| {
            let block = |n: usize| {
                let rt = &rt;
                move || rt.block_on(async move { runtime::spawn(async move { n }).await.unwrap() })
            };
            let threads: Vec<_> = (0..10).map(|n| scope.spawn(block(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, 45);
    });
}

#[test]
fn many_short_calls_from_several_threads_with_spawns_from_outside_lose_nothing() {
    within(PATIENCE * 2, || {
        let rt = multi(2);
        let counts = Counts::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (rt, counts) = (&rt, &counts);
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        let tasks = [(); 3].map(|()| {
                            let token = counts.token();
                            rt.spawn(async move {
                                runtime::task::yield_now().await;
                                drop(token);
                            })
                        });
                        rt.block_on(async move {
                            for task in tasks {
                                task.await.unwrap();
                            }
                        });
                    }
                });
            }
        });
        assert_eq!(counts.drops(), 12_000);
    });
}

#[test]
fn without_a_runtime_it_uses_the_default_one() {
    within(PATIENCE, || {
        let id = runtime::block_on(async { runtime::Handle::current().id() });
        let again = thread::spawn(|| runtime::block_on(async { runtime::Handle::current().id() }));
        assert_eq!(again.join().unwrap(), id);
    });
}

#[test]
fn the_context_of_the_thread_comes_back_afterwards() {
    on_each(|rt| {
        let other = multi(1);
        let _entered = other.enter();
        let inside = rt.block_on(async { runtime::Handle::current().id() });
        assert_eq!(inside, rt.handle().id());
        assert_eq!(runtime::Handle::current().id(), other.handle().id());
    });
}

#[test]
fn a_root_on_a_stopped_runtime_still_runs() {
    on_each(|rt| {
        let handle = rt.handle();
        drop(rt);
        let task = promptly(|| handle.block_on(async { runtime::spawn(async {}).await }));
        assert!(task.unwrap_err().is_shutdown());
    });
}
