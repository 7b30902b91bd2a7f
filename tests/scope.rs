//! Blocking closures that borrow: done when the scope is, wherever it stands.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use runtime::{Handle, Runtime, scope};
use runtime_tests::{Counts, PATIENCE, on_each, promptly, within};

#[test]
fn closures_may_borrow_and_are_done_when_the_scope_returns() {
    on_each(|rt| {
        let _entered = rt.enter();
        let mut numbers: Vec<u32> = (0..1_000).collect();
        let seen = AtomicUsize::new(0);
        scope(|s| {
            for chunk in numbers.chunks_mut(10) {
                s.spawn(|| {
                    chunk.iter_mut().for_each(|n| *n *= 2);
                    seen.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(seen.into_inner(), 100);
        assert_eq!(numbers, (0..1_000).map(|n| n * 2).collect::<Vec<_>>());
    });
}

#[test]
fn closures_run_at_the_same_time_and_stand_in_the_runtime() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).name("here").build().unwrap();
        let _entered = rt.enter();
        let meeting = Barrier::new(4);
        scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    meeting.wait();
                    assert_eq!(Handle::try_current().unwrap().runtime_name(), Some("here"));
                });
            }
        });
    });
}

#[test]
fn a_result_comes_through_the_handle_and_may_borrow() {
    let text = String::from("one two");
    let words = scope(|s| s.spawn(|| text.split(' ').collect::<Vec<_>>()).join().unwrap());
    assert_eq!(words, ["one", "two"]);
}

#[test]
fn a_panic_goes_to_the_handle_or_else_to_the_scope() {
    let joined = scope(|s| s.spawn(|| panic!("torn")).join());
    assert_eq!(joined.unwrap_err().to_string(), "task panicked: torn");
    let unjoined = std::panic::catch_unwind(|| {
        scope(|s| {
            s.spawn(|| panic!("torn"));
        });
    });
    let payload = unjoined.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"a closure of a scope panicked"));
}

#[test]
fn a_scope_that_panics_waits_for_its_closures_first() {
    let counts = Counts::new();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let ended = Mutex::new(0);
        scope(|s| {
            for _ in 0..20 {
                let token = counts.token();
                let ended = &ended;
                s.spawn(move || {
                    let _token = token;
                    *ended.lock() += 1;
                });
            }
            panic!("the function itself");
        })
    }));
    let payload = unwound.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"the function itself"));
    assert_eq!(counts.drops(), 20);
}

#[test]
fn closures_may_spawn_more() {
    on_each(|rt| {
        let _entered = rt.enter();
        let count = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    for _ in 0..10 {
                        s.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 100);
    });
}

#[test]
fn a_pool_of_one_thread_that_waits_itself_is_enough() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let nested = rt.spawn_blocking(|| {
            let count = AtomicUsize::new(0);
            scope(|s| {
                let outer = s.spawn(|| {
                    scope(|s| {
                        for _ in 0..10 {
                            s.spawn(|| count.fetch_add(1, Ordering::Relaxed));
                        }
                    });
                });
                outer.join().unwrap();
                s.spawn(|| count.fetch_add(1, Ordering::Relaxed));
            });
            count.into_inner()
        });
        assert_eq!(rt.block_on(nested).unwrap(), 11);
    });
}

#[test]
fn joining_the_last_of_many_closures_costs_no_more_than_the_first() {
    const MANY: usize = 100_000;
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).build().unwrap();
        let handle = rt.handle();
        // No thread takes any of them: each is run by its join.
        drop(rt);
        let _entered = handle.enter();
        let sum = scope(|s| {
            let jobs: Vec<_> = (0..MANY).map(|n| s.spawn(move || n)).collect();
            jobs.into_iter().rev().map(|job| job.join().unwrap()).sum::<usize>()
        });
        assert_eq!(sum, MANY * (MANY - 1) / 2);
    });
}

#[test]
fn a_scope_works_where_the_runtime_is_shut_down() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).build().unwrap();
        let handle = rt.handle();
        drop(rt);
        let _entered = handle.enter();
        let sum = promptly(|| scope(|s| s.spawn(|| 1).join().unwrap() + s.spawn(|| 2).join().unwrap()));
        assert_eq!(sum, 3);
    });
}

#[test]
fn the_worker_s_other_tasks_go_on_while_a_scope_blocks_in_a_task() {
    within(PATIENCE, || {
        let rt = runtime_tests::multi(1);
        let task = rt.spawn(async {
            let (sender, receiver) = std::sync::mpsc::channel();
            runtime::spawn(async move { sender.send(7).unwrap() });
            let receiver = Mutex::new(receiver);
            scope(|s| s.spawn(|| receiver.lock().recv().unwrap()).join().unwrap())
        });
        assert_eq!(rt.block_on(task).unwrap(), 7);
    });
}

#[test]
fn a_closure_sees_the_inherited_values_of_where_it_was_spawned() {
    runtime::task_local! {
        inherit static KEY: u32;
    }
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let _entered = rt.enter();
        let (busy, idle) = (Barrier::new(2), Barrier::new(2));
        scope(|s| {
            // The only thread of the pool is kept while the others are spawned.
            s.spawn(|| {
                busy.wait();
                idle.wait();
            });
            busy.wait();
            let value = || KEY.try_with(|value| *value).ok();
            let first = KEY.sync_scope(1, || s.spawn(value));
            let second = KEY.sync_scope(2, || s.spawn(value));
            let third = s.spawn(value);
            // Run here, where another value is in force.
            KEY.sync_scope(4, || assert_eq!(third.join().unwrap(), None));
            assert_eq!(first.join().unwrap(), Some(1));
            idle.wait();
            while !second.is_finished() {
                std::thread::yield_now();
            }
            assert_eq!(second.join().unwrap(), Some(2));
        });
    });
}
