//! A `LocalSet` keeps its tasks on one thread: they are polled, cancelled and dropped nowhere else.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Context;
use std::thread::{self, ThreadId};

use runtime::task::{Builder, LocalSet, spawn_local, yield_now};
use runtime_tests::{CountingWaker, Counts, Gate, PATIENCE, multi, on_each, promptly, within};

/// Lets the set around it have a few turns, which it has when what it runs waits.
async fn turns() {
    for _ in 0..16 {
        yield_now().await;
    }
}

#[test]
fn local_tasks_share_what_is_not_send() {
    on_each(|rt| {
        let set = LocalSet::new();
        let total = Rc::new(Cell::new(0));
        rt.block_on(set.run_until(async {
            let tasks: Vec<_> = (0..100)
                .map(|n| {
                    let total = total.clone();
                    spawn_local(async move {
                        yield_now().await;
                        total.set(total.get() + n);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }));
        assert_eq!(total.get(), 4950);
    });
}

#[test]
fn the_output_need_not_be_send() {
    on_each(|rt| {
        let set = LocalSet::new();
        let value = rt.block_on(set.run_until(async { spawn_local(async { Rc::new(3) }).await.unwrap() }));
        assert_eq!(*value, 3);
    });
}

#[test]
fn the_set_itself_is_awaited_until_it_is_empty() {
    on_each(|rt| {
        let set = LocalSet::new();
        let log = Rc::new(RefCell::new(Vec::new()));
        for n in 0..3 {
            let log = log.clone();
            set.spawn_local(async move {
                yield_now().await;
                log.borrow_mut().push(n);
                let inner = log.clone();
                drop(spawn_local(async move { inner.borrow_mut().push(n + 10) }));
            });
        }
        assert_eq!(set.live_tasks(), 3);
        rt.block_on(set);
        assert_eq!(log.borrow().len(), 6);
    });
}

/// A value that is not `Send` and notes the thread of its drop.
struct Home {
    _not_send: Rc<()>,
    dropped_by: mpsc::Sender<ThreadId>,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.dropped_by.send(thread::current().id()).unwrap();
    }
}

#[test]
fn a_wake_from_another_thread_polls_at_home() {
    on_each(|rt| {
        let (set, gate, counts) = (LocalSet::new(), Gate::new(), Counts::new());
        let passing = gate.clone();
        let home = Rc::new(thread::current().id());
        let task = set.spawn_local(counts.watch(async move {
            passing.pass().await;
            assert_eq!(*home, thread::current().id());
        }));
        let opener = thread::spawn(move || {
            drop(gate.waker());
            gate.open();
        });
        rt.block_on(set.run_until(task)).unwrap();
        opener.join().unwrap();
        assert_eq!(counts.polls(), 2);
    });
}

#[test]
fn thousands_of_wakes_from_four_threads_lose_nothing() {
    on_each(|rt| {
        let set = LocalSet::new();
        let (gates, counts): (Vec<_>, _) = ((0..40).map(|_| Gate::new()).collect(), Counts::new());
        let passing = |gate: &Gate| {
            let gate = gate.clone();
            set.spawn_local(counts.watch(async move { gate.pass().await }))
        };
        let tasks: Vec<_> = gates.iter().map(passing).collect();
        let threads: Vec<_> = gates
            .chunks(10)
            .map(|gates| {
                let gates = gates.to_vec();
                thread::spawn(move || {
                    for _ in 0..100 {
                        gates.iter().for_each(|gate| gate.waker().wake());
                    }
                    gates.iter().for_each(Gate::open);
                })
            })
            .collect();
        rt.block_on(set.run_until(async {
            for task in tasks {
                task.await.unwrap();
            }
        }));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((counts.overlaps(), counts.drops()), (0, 40));
    });
}

#[test]
fn a_cancel_from_another_thread_drops_at_home() {
    on_each(|rt| {
        let (set, gate) = (LocalSet::new(), Gate::new());
        let (dropped_by, dropped) = mpsc::channel();
        let home = Home { _not_send: Rc::new(()), dropped_by };
        let passing = gate.clone();
        let task = set.spawn_local(async move {
            let _home = home;
            passing.pass().await;
        });
        let abort = task.abort_handle();
        let canceller = thread::spawn(move || {
            drop(gate.waker());
            assert!(abort.cancel());
        });
        assert!(rt.block_on(set.run_until(task)).unwrap_err().is_cancelled());
        canceller.join().unwrap();
        assert_eq!(dropped.recv().unwrap(), thread::current().id());
    });
}

#[test]
fn a_cancel_from_another_thread_while_nobody_runs_the_set_drops_at_home() {
    on_each(|rt| {
        let (set, counts) = (LocalSet::new(), Counts::new());
        let (dropped_by, dropped) = mpsc::channel();
        let home = Home { _not_send: Rc::new(()), dropped_by };
        let task = set.spawn_local(counts.watch(async move {
            let _home = home;
            std::future::pending::<()>().await;
        }));
        rt.block_on(set.run_until(turns()));
        let abort = task.abort_handle();
        thread::spawn(move || assert!(abort.cancel())).join().unwrap();
        assert_eq!(counts.drops(), 0);
        assert!(rt.block_on(set.run_until(task)).unwrap_err().is_cancelled());
        assert_eq!(dropped.recv().unwrap(), thread::current().id());
        assert_eq!(counts.polls(), 1);
    });
}

#[test]
fn a_dropped_set_cancels_its_tasks_at_once() {
    on_each(|rt| {
        let (set, counts) = (LocalSet::new(), Counts::new());
        let waiting = set.spawn_local(counts.watch(std::future::pending::<()>()));
        rt.block_on(set.run_until(turns()));
        let fresh = set.spawn_local(counts.watch(async {}));
        promptly(|| drop(set));
        assert_eq!((counts.polls(), counts.drops()), (1, 2));
        assert!(rt.block_on(waiting).unwrap_err().is_cancelled());
        assert!(rt.block_on(fresh).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_set_is_dropped_while_other_threads_wake_its_tasks() {
    within(PATIENCE, || {
        let rt = multi(1);
        for _ in 0..200 {
            let (set, counts) = (LocalSet::new(), Counts::new());
            let gates = [Gate::new(), Gate::new(), Gate::new()];
            for gate in &gates {
                let gate = gate.clone();
                drop(set.spawn_local(counts.watch(async move { gate.pass().await })));
            }
            rt.block_on(set.run_until(turns()));
            let threads = gates.map(|gate| thread::spawn(move || gate.waker().wake()));
            drop(set);
            assert_eq!(counts.drops(), 3);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn a_late_waker_of_a_set_that_is_gone_is_a_no_op() {
    on_each(|rt| {
        let (set, gate) = (LocalSet::new(), Gate::new());
        let passing = gate.clone();
        drop(set.spawn_local(async move { passing.pass().await }));
        rt.block_on(set.run_until(turns()));
        let waker = gate.waker();
        drop(set);
        thread::spawn(move || waker.wake()).join().unwrap();
    });
}

#[test]
fn a_destructor_may_spawn_on_the_set_that_is_dropped() {
    struct Spawns;
    impl Drop for Spawns {
        fn drop(&mut self) {
            drop(spawn_local(async {}));
        }
    }
    on_each(|rt| {
        let set = LocalSet::new();
        let spawns = Spawns;
        drop(set.spawn_local(async move {
            let _spawns = spawns;
            std::future::pending::<()>().await;
        }));
        rt.block_on(set.run_until(turns()));
        promptly(|| drop(set));
    });
}

#[test]
fn a_panic_of_a_local_task_stays_in_it() {
    on_each(|rt| {
        let set = LocalSet::new();
        let task = set.spawn_local(async { panic!("local") });
        let error = rt.block_on(set.run_until(task)).map(drop::<()>).unwrap_err();
        assert_eq!(error.to_string(), "task panicked: local");
        assert_eq!(rt.block_on(set.run_until(async { spawn_local(async { 1 }).await })).unwrap(), 1);
    });
}

#[test]
fn local_tasks_run_only_while_the_set_does() {
    on_each(|rt| {
        let (set, counts) = (LocalSet::new(), Counts::new());
        drop(set.spawn_local(counts.watch(async {})));
        rt.block_on(runtime_tests::settle());
        assert_eq!(counts.polls(), 0);
        rt.block_on(set.run_until(turns()));
        assert_eq!(counts.polls(), 1);
    });
}

#[test]
fn a_busy_set_lets_the_tasks_around_it_run() {
    on_each(|rt| {
        let set = LocalSet::new();
        for _ in 0..3 {
            drop(set.spawn_local(async {
                loop {
                    yield_now().await;
                }
            }));
        }
        let value = rt.block_on(set.run_until(async { runtime::spawn(async { 2 }).await.unwrap() }));
        assert_eq!(value, 2);
    });
}

#[test]
fn spawn_local_outside_of_a_set_panics_with_advice() {
    let payload = catch_unwind(AssertUnwindSafe(|| spawn_local(async {}))).unwrap_err();
    let text = payload
        .downcast_ref::<String>()
        .map_or_else(|| payload.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(), Clone::clone);
    assert!(text.contains("LocalSet::run_until"), "{text}");
}

#[test]
fn a_named_local_task_has_its_name() {
    on_each(|rt| {
        let set = LocalSet::new();
        rt.block_on(set.run_until(async {
            let task = Builder::new().name("near").spawn_local(async {});
            assert_eq!(task.name(), Some("near"));
            task.await.unwrap();
        }));
    });
}

#[test]
fn two_sets_on_one_thread_keep_their_tasks_apart() {
    on_each(|rt| {
        let (first, second) = (LocalSet::new(), LocalSet::new());
        let value = rt.block_on(first.run_until(async {
            let outer = spawn_local(async { 1 });
            let inner = second.run_until(async { spawn_local(async { 2 }).await.unwrap() }).await;
            outer.await.unwrap() + inner
        }));
        assert_eq!(value, 3);
    });
}

#[test]
fn a_local_task_awaits_tasks_and_jobs_of_the_runtime() {
    on_each(|rt| {
        let set = LocalSet::new();
        let value = rt.block_on(set.run_until(async {
            let task = spawn_local(async {
                let shared = Rc::new(runtime::spawn(async { 3 }).await.unwrap());
                runtime::spawn_blocking(|| 4).await.unwrap() + *shared
            });
            task.await.unwrap()
        }));
        assert_eq!(value, 7);
    });
}

#[test]
fn a_local_task_that_is_woken_here_wakes_a_nested_call_that_drives_its_set() {
    within(PATIENCE, || {
        let rt = runtime_tests::single();
        let set = LocalSet::new();
        rt.block_on(set.run_until(async {
            let gate = Gate::new();
            let passing = gate.clone();
            let local = spawn_local(async move { passing.pass().await });
            runtime::block_on(set.run_until(async move {
                while !gate.is_waited_at() {
                    yield_now().await;
                }
                // It runs on this thread, while the call waits.
                drop(runtime::spawn(async move { gate.open() }));
                local.await.unwrap();
            }));
        }));
        assert_eq!(set.live_tasks(), 0);
    });
}

#[test]
fn a_set_that_has_ended_keeps_no_waker() {
    on_each(|_| {
        let mut set = LocalSet::new();
        let (count, waker) = CountingWaker::new();
        let gate = Gate::new();
        let passing = gate.clone();
        drop(set.spawn_local(async move { passing.pass().await }));
        assert!(Pin::new(&mut set).poll(&mut Context::from_waker(&waker)).is_pending());
        gate.open();
        assert!(Pin::new(&mut set).poll(&mut Context::from_waker(&waker)).is_ready());
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1);
    });
}
