//! Polls of one task never overlap, there are at most as many as wakes plus one, and no wake is lost.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Poll, Waker};
use std::thread;

use parking_lot::Mutex;
use runtime_tests::{Counts, Gate, PATIENCE, multi, on_each, promptly, settle, single, until, within};

#[test]
fn a_task_is_polled_once_at_first_and_once_for_each_wake() {
    within(PATIENCE, || {
        let rt = single();
        let (counts, gate) = (Counts::new(), Gate::new());
        let passing = gate.clone();
        let task = rt.spawn(counts.watch(async move { passing.pass().await }));
        rt.block_on(async {
            settle().await;
            assert_eq!(counts.polls(), 1);
            for polls in 2..10 {
                gate.waker().wake();
                settle().await;
                assert_eq!(counts.polls(), polls);
            }
            gate.open();
            task.await.unwrap();
        });
        assert_eq!(counts.polls(), 10);
    });
}

#[test]
fn wakes_before_the_poll_are_one_poll() {
    within(PATIENCE, || {
        let rt = single();
        let (counts, gate) = (Counts::new(), Gate::new());
        let passing = gate.clone();
        let task = rt.spawn(counts.watch(async move { passing.pass().await }));
        rt.block_on(async {
            settle().await;
            let waker = gate.waker();
            (0..10).for_each(|_| waker.wake_by_ref());
            settle().await;
            assert_eq!(counts.polls(), 2);
            gate.open();
            task.await.unwrap();
        });
    });
}

#[test]
fn a_wake_during_the_poll_is_one_more_poll() {
    on_each(|rt| {
        let counts = Counts::new();
        let mut polls = 0;
        let task = rt.spawn(counts.watch(poll_fn(move |cx| {
            polls += 1;
            (0..3).for_each(|_| cx.waker().wake_by_ref());
            if polls == 5 { Poll::Ready(()) } else { Poll::Pending }
        })));
        rt.block_on(task).unwrap();
        assert_eq!(counts.polls(), 5);
    });
}

#[test]
fn a_wake_during_the_poll_from_another_thread_is_one_more_poll() {
    within(PATIENCE, || {
        let rt = multi(1);
        let counts = Counts::new();
        let mut polls = 0;
        let task = rt.spawn(counts.watch(poll_fn(move |cx| {
            polls += 1;
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().unwrap();
            if polls == 50 { Poll::Ready(()) } else { Poll::Pending }
        })));
        task.wait().unwrap();
        assert_eq!(counts.polls(), 50);
    });
}

#[test]
#[expect(clippy::waker_clone_wake, reason = "wakes by value are counted on their own")]
fn a_wake_after_the_end_is_nothing() {
    on_each(|rt| {
        let (counts, gate) = (Counts::new(), Gate::new());
        let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
        let keep = kept.clone();
        let task = rt.spawn(counts.watch(poll_fn(move |cx| {
            *keep.lock() = Some(cx.waker().clone());
            Poll::Ready(())
        })));
        rt.block_on(task).unwrap();
        let waker = kept.lock().take().unwrap();
        waker.wake_by_ref();
        waker.clone().wake();
        rt.block_on(settle());
        drop(gate);
        drop(rt);
        waker.wake_by_ref();
        drop(waker);
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
    });
}

#[expect(clippy::waker_clone_wake, reason = "wakes by value are counted on their own")]
/// Four threads wake one task as fast as they can; what they counted before each wake must all be seen.
fn wakes_from_four_threads(workers: usize) {
    const WAKES: usize = 5_000;
    let rt = multi(workers);
    let counts = Counts::new();
    let (sent, wakes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, over) = (Gate::new(), Arc::new(AtomicBool::new(false)));
    let task = rt.spawn(counts.watch({
        let (sent, waiting) = (sent.clone(), gate.clone());
        async move {
            let mut pass = Box::pin(waiting.pass());
            poll_fn(|cx| {
                let _ = pass.as_mut().poll(cx);
                // Relaxed: only the wake itself makes the writer's count visible.
                if sent.load(Ordering::Relaxed) == 4 * WAKES { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }));
    let waker = gate.waker();
    let start = Arc::new(Barrier::new(4));
    let threads = [(); 4].map(|()| {
        let (waker, sent, wakes, start) = (waker.clone(), sent.clone(), wakes.clone(), start.clone());
        thread::spawn(move || {
            start.wait();
            for n in 0..WAKES {
                sent.fetch_add(1, Ordering::Relaxed);
                wakes.fetch_add(1, Ordering::SeqCst);
                if n % 2 == 0 { waker.wake_by_ref() } else { waker.clone().wake() }
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    promptly(|| task.wait()).unwrap();
    over.store(true, Ordering::SeqCst);
    assert_eq!(counts.overlaps(), 0);
    assert!(counts.polls() <= wakes.load(Ordering::SeqCst) + 1, "{} polls", counts.polls());
}

#[test]
fn wakes_from_four_threads_are_never_lost_on_one_worker() {
    within(PATIENCE, || wakes_from_four_threads(1));
}

#[test]
fn wakes_from_four_threads_are_never_lost_on_two_workers() {
    within(PATIENCE, || wakes_from_four_threads(2));
}

#[test]
fn wakes_from_four_threads_are_never_lost_on_eight_workers() {
    within(PATIENCE, || wakes_from_four_threads(8));
}

#[test]
fn every_wake_is_followed_by_a_poll() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (counts, gate) = (Counts::new(), Gate::new());
        let passing = gate.clone();
        let task = rt.spawn(counts.watch(async move { passing.pass().await }));
        let waker = gate.waker();
        until(|| counts.polls() == 1);
        for polls in 2..3_000 {
            waker.wake_by_ref();
            until(|| counts.polls() >= polls);
            assert_eq!(counts.polls(), polls, "a poll that nobody asked for");
        }
        gate.open();
        task.wait().unwrap();
        assert_eq!(counts.overlaps(), 0);
    });
}

#[test]
fn the_waker_of_a_task_stays_the_same() {
    on_each(|rt| {
        let mut first: Option<Waker> = None;
        let mut polls = 0;
        let task = rt.spawn(poll_fn(move |cx| {
            polls += 1;
            let same = first.get_or_insert_with(|| cx.waker().clone()).will_wake(cx.waker());
            assert!(same);
            cx.waker().wake_by_ref();
            if polls == 10 { Poll::Ready(()) } else { Poll::Pending }
        }));
        rt.block_on(task).unwrap();
    });
}

#[test]
fn clones_of_a_waker_are_dropped_in_any_order_and_the_task_is_freed_once() {
    within(PATIENCE, || {
        let rt = multi(2);
        let counts = Counts::new();
        for round in 0..200 {
            let gate = Gate::new();
            let passing = gate.clone();
            let task = rt.spawn(counts.watch(async move { passing.pass().await }));
            let waker = gate.waker();
            let threads: Vec<_> = (0..3)
                .map(|n| {
                    let waker = waker.clone();
                    thread::spawn(move || {
                        let mut clones: Vec<_> = (0..10).map(|_| waker.clone()).collect();
                        if n == 0 {
                            clones.reverse();
                        }
                        for (index, clone) in clones.into_iter().enumerate() {
                            if index % 3 == 0 { clone.wake() } else { drop(clone) }
                        }
                    })
                })
                .collect();
            gate.open();
            task.wait().unwrap();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            drop(waker);
            assert_eq!(counts.drops(), round + 1);
        }
        assert_eq!(counts.overlaps(), 0);
    });
}

#[test]
fn a_late_waker_of_a_runtime_that_is_gone_is_a_no_op() {
    on_each(|rt| {
        let (counts, gate) = (Counts::new(), Gate::new());
        let passing = gate.clone();
        let task = rt.spawn(counts.watch(async move { passing.pass().await }));
        rt.block_on(settle());
        let waker = gate.waker();
        drop(rt);
        waker.wake_by_ref();
        thread::spawn({
            let waker = waker.clone();
            move || waker.wake()
        })
        .join()
        .unwrap();
        assert!(task.wait().unwrap_err().is_shutdown());
        waker.wake();
        assert_eq!((counts.polls(), counts.drops()), (1, 1));
    });
}

#[test]
fn late_wakes_do_not_disturb_the_next_runtime() {
    within(PATIENCE, || {
        for _ in 0..50 {
            let gate = Gate::new();
            let passing = gate.clone();
            let old = multi(2);
            drop(old.spawn(async move { passing.pass().await }));
            let waker = gate.waker();
            drop(old);
            let late = thread::spawn(move || (0..100).for_each(|_| waker.wake_by_ref()));
            let new = multi(2);
            let tasks: Vec<_> = (0..100).map(|n| new.spawn(async move { n })).collect();
            let sum: i32 = tasks.into_iter().map(|task| task.wait().unwrap()).sum();
            assert_eq!(sum, 4950);
            late.join().unwrap();
        }
    });
}
