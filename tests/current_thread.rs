//! A current-thread runtime runs its tasks on whatever thread is inside `block_on`, one at a time.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use parking_lot::Mutex;
use runtime::Runtime;
use runtime_tests::{Counts, Gate, PATIENCE, settle, single, threads_named, until, within};

#[test]
fn it_starts_no_threads() {
    within(PATIENCE, || {
        let rt = Runtime::builder().current_thread().thread_name("lonely").build().unwrap();
        let tasks: Vec<_> = (0..100).map(|n| rt.spawn(async move { n })).collect();
        rt.block_on(async move {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(threads_named("lonely"), 0);
    });
}

#[test]
fn nothing_runs_outside_of_block_on() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let task = rt.spawn(counts.watch(async {}));
        rt.handle().call_soon(|| ());
        assert_eq!(counts.polls(), 0);
        rt.block_on(task).unwrap();
        assert_eq!(counts.polls(), 1);
    });
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_spawned_from_outside() {
    within(PATIENCE, || {
        let rt = single();
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let order = order.clone();
                rt.spawn(async move { order.lock().push(n) })
            })
            .collect();
        rt.block_on(async move {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(*order.lock(), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    within(PATIENCE, || {
        let rt = single();
        let gate = Gate::new();
        let passing = gate.clone();
        let task = rt.spawn(async move { passing.pass().await });
        let opener = thread::spawn(move || {
            drop(gate.waker());
            gate.open();
        });
        rt.block_on(task).unwrap();
        opener.join().unwrap();
    });
}

#[test]
fn a_task_spawned_from_another_thread_ends_the_sleep() {
    within(PATIENCE, || {
        let rt = single();
        let gate = Gate::new();
        let (passing, handle) = (gate.clone(), rt.handle());
        let opener = thread::spawn(move || {
            drop(gate.waker());
            handle.spawn(async move { gate.open() })
        });
        rt.block_on(async { passing.pass().await });
        rt.block_on(opener.join().unwrap()).unwrap();
    });
}

#[test]
fn no_two_tasks_run_at_the_same_time_however_many_threads_are_inside() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let one_at_a_time = Arc::new(Mutex::new(()));
        thread::scope(|scope| {
            for _ in 0..4 {
                let (rt, one_at_a_time, counts) = (&rt, &one_at_a_time, &counts);
                scope.spawn(move || {
                    for _ in 0..250 {
                        let (lock, token) = (one_at_a_time.clone(), counts.token());
                        let task = rt.spawn(async move {
                            drop(lock.try_lock().expect("two tasks at a time"));
                            runtime::task::yield_now().await;
                            drop(lock.try_lock().expect("two tasks at a time"));
                            drop(token);
                        });
                        rt.block_on(task).unwrap();
                    }
                });
            }
        });
        assert_eq!(counts.drops(), 1_000);
    });
}

#[test]
fn another_thread_takes_over_when_the_one_that_runs_the_tasks_leaves() {
    within(PATIENCE, || {
        let rt = Arc::new(single());
        let (first, task_gate) = (Gate::new(), Gate::new());
        let runner = {
            let (rt, first) = (rt.clone(), first.clone());
            thread::spawn(move || rt.block_on(async { first.pass().await }))
        };
        drop(first.waker());
        let passing = task_gate.clone();
        let task = rt.spawn(async move {
            passing.pass().await;
            thread::current().id()
        });
        drop(task_gate.waker());
        let (sender, entered) = mpsc::channel();
        let second = {
            let rt = rt.clone();
            thread::spawn(move || {
                sender.send(()).unwrap();
                (rt.block_on(task).unwrap(), thread::current().id())
            })
        };
        entered.recv().unwrap();
        first.open();
        runner.join().unwrap();
        task_gate.open();
        let (ran_on, joined_on) = second.join().unwrap();
        assert_eq!(ran_on, joined_on);
    });
}

#[test]
fn tasks_go_on_through_a_hundred_hand_overs() {
    within(PATIENCE, || {
        let rt = Arc::new(single());
        let counts = Counts::new();
        let gates: Vec<_> = (0..100).map(|_| Gate::new()).collect();
        let start = Arc::new(Barrier::new(100));
        let threads: Vec<_> = gates
            .iter()
            .map(|gate| {
                let (rt, gate, start) = (rt.clone(), gate.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    rt.block_on(async {
                        runtime::spawn(async {}).await.unwrap();
                        gate.pass().await;
                        runtime::spawn(async { thread::current().id() }).await.unwrap()
                    })
                })
            })
            .collect();
        for gate in &gates {
            drop(gate.waker());
            drop(rt.spawn(counts.watch(async {})));
            gate.open();
        }
        let runners: HashSet<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(!runners.is_empty());
        rt.block_on(settle());
        assert_eq!(counts.drops(), 100);
    });
}

/// Nanoseconds that a thread has run, from the kernel.
fn ran(thread: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn own_id() -> String {
    fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_second_thread_inside_block_on_sleeps_while_there_is_nothing_to_do() {
    within(PATIENCE, || {
        let rt = Arc::new(single());
        let gates = [Gate::new(), Gate::new()];
        let (sender, ids) = mpsc::channel();
        let threads = gates.clone().map(|gate| {
            let (rt, sender) = (rt.clone(), sender.clone());
            thread::spawn(move || {
                sender.send(own_id()).unwrap();
                rt.block_on(async { gate.pass().await });
            })
        });
        let ids = [ids.recv().unwrap(), ids.recv().unwrap()];
        gates.iter().for_each(|gate| drop(gate.waker()));
        let sleeps = |id: &String| {
            let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('S')
        };
        let times = || ids.iter().map(|id| ran(id)).collect::<Vec<_>>();
        // Some milliseconds, in which one that runs now and then would do so. At first they may wait for a processor.
        until(|| {
            let before = times();
            (0..1_000).all(|_| ids.iter().all(sleeps)) && times() == before
        });
        gates.iter().for_each(Gate::open);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn blocking_jobs_run_beside_it() {
    within(PATIENCE, || {
        let rt = single();
        let here = thread::current().id();
        let there = rt.block_on(rt.spawn_blocking(|| thread::current().id())).unwrap();
        assert_ne!(here, there);
    });
}

#[test]
fn block_in_place_just_calls() {
    within(PATIENCE, || {
        let rt = single();
        let here = thread::current().id();
        let task = rt.spawn(async { runtime::task::block_in_place(|| thread::current().id()) });
        assert_eq!(rt.block_on(task).unwrap(), here);
    });
}

#[test]
fn tasks_left_over_are_dropped_with_the_runtime() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let never = rt.spawn(counts.watch(async {}));
        drop(rt);
        assert_eq!((counts.polls(), counts.drops()), (0, 1));
        assert!(never.wait().unwrap_err().is_shutdown());
    });
}
