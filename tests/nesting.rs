//! Runtimes, `block_on` and blocking code inside one another: whatever the order, everything goes on.

use std::pin::Pin;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use runtime::{Promise, Runtime};
use runtime_tests::{Counts, Gate, PATIENCE, multi, on_each, settle, single, within};

#[test]
fn block_on_inside_block_on_gives_the_output() {
    on_each(|rt| {
        let value = rt.block_on(async { rt.block_on(async { runtime::block_on(async { 1 }) }) });
        assert_eq!(value, 1);
    });
}

#[test]
fn block_on_inside_a_task_waits_for_another_task() {
    on_each(|rt| {
        let outer = rt.spawn(async { runtime::block_on(async { runtime::spawn(async { 2 }).await }) });
        assert_eq!(rt.block_on(outer).unwrap().unwrap(), 2);
    });
}

#[test]
fn tasks_that_wait_nested_for_each_others_children_fifty_levels_deep_all_end() {
    const DEPTH: usize = 50;
    type Child = runtime::Task<usize>;
    type Links = Vec<(mpsc::Sender<Child>, mpsc::Receiver<Child>)>;
    /// Spawns a child, gives it to the neighbour, and waits for the neighbour's in its thread.
    fn level(mut links: Links) -> Pin<Box<dyn Future<Output = usize> + Send>> {
        Box::pin(async {
            let Some((give, take)) = links.pop() else { return 0 };
            give.send(runtime::spawn(level(links))).unwrap();
            runtime::block_on(async { take.recv().unwrap().await.unwrap() + 1 })
        })
    }

    within(PATIENCE, || {
        for workers in [1, 2, 4] {
            let rt = multi(workers);
            // At each level a ring: who spawns with one number waits for the child of the next.
            let mut links: Vec<Links> = (0..workers).map(|_| Vec::new()).collect();
            for _ in 0..DEPTH {
                let (givers, mut takers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel()).unzip();
                takers.rotate_left(1);
                for (links, link) in links.iter_mut().zip(givers.into_iter().zip(takers)) {
                    links.push(link);
                }
            }
            let tasks: Vec<_> = links.into_iter().map(|links| rt.spawn(level(links))).collect();
            for task in tasks {
                assert_eq!(task.wait().unwrap(), DEPTH);
            }
        }
    });
}

#[test]
fn block_on_inside_a_task_waits_for_a_wake_from_outside() {
    on_each(|rt| {
        let gate = Gate::new();
        let passing = gate.clone();
        let outer = rt.spawn(async move { runtime::block_on(async { passing.pass().await }) });
        let opener = thread::spawn(move || {
            drop(gate.waker());
            gate.open();
        });
        rt.block_on(outer).unwrap();
        opener.join().unwrap();
    });
}

#[test]
fn a_task_that_stands_in_a_nested_block_on_is_not_polled_again() {
    on_each(|rt| {
        let counts = Counts::new();
        let outer = rt.spawn(counts.watch(async {
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                runtime::block_on(settle());
                std::task::Poll::Ready(())
            })
            .await;
        }));
        rt.block_on(outer).unwrap();
        assert_eq!((counts.polls(), counts.overlaps()), (1, 0));
    });
}

#[test]
fn a_wake_that_comes_during_a_nested_block_on_is_not_lost() {
    on_each(|rt| {
        let counts = Counts::new();
        let mut polls = 0;
        let outer = rt.spawn(counts.watch(std::future::poll_fn(move |cx| {
            polls += 1;
            if polls == 3 {
                return std::task::Poll::Ready(());
            }
            let waker = cx.waker().clone();
            runtime::block_on(async {
                runtime::spawn(async move { waker.wake() }).await.unwrap();
                settle().await;
            });
            std::task::Poll::Pending
        })));
        rt.block_on(outer).unwrap();
        assert_eq!((counts.polls(), counts.overlaps()), (3, 0));
    });
}

#[test]
fn the_other_tasks_go_on_while_one_is_in_a_nested_block_on() {
    on_each(|rt| {
        let gate = Gate::new();
        let passing = gate.clone();
        let outer = rt.spawn(async move { runtime::block_on(async { passing.pass().await }) });
        let other = rt.spawn(async move {
            settle().await;
            gate.open();
        });
        rt.block_on(async {
            other.await.unwrap();
            outer.await.unwrap();
        });
    });
}

#[test]
fn twenty_levels_of_block_on_come_back() {
    fn level(n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        runtime::block_on(async move { runtime::spawn(async move { level(n - 1) }).await.unwrap() + 1 })
    }
    on_each(|rt| {
        let _entered = rt.enter();
        assert_eq!(level(20), 20);
    });
}

#[test]
fn block_on_inside_a_blocking_job_uses_the_same_runtime() {
    on_each(|rt| {
        let job = rt.spawn_blocking(|| {
            let id = runtime::Handle::current().id();
            runtime::block_on(async move { runtime::spawn(async move { id }).await.unwrap() })
        });
        assert_eq!(rt.block_on(job).unwrap(), rt.handle().id());
    });
}

#[test]
fn every_worker_may_stand_in_block_on_for_the_others_children() {
    within(PATIENCE, || {
        for workers in [1, 2, 4] {
            let rt = multi(workers);
            let all = Arc::new(Barrier::new(workers));
            let parents: Vec<_> = (0..workers)
                .map(|_| {
                    let all = all.clone();
                    rt.spawn(async move {
                        let children: Vec<_> = (0..8).map(|n| runtime::spawn(async move { n })).collect();
                        runtime::task::block_in_place(|| {
                            all.wait();
                        });
                        let mut sum = 0;
                        for child in children {
                            sum += runtime::block_on(child).unwrap();
                        }
                        sum
                    })
                })
                .collect();
            assert!(parents.into_iter().all(|parent| parent.wait().unwrap() == 28));
        }
    });
}

#[test]
fn workers_that_wait_for_each_other_in_block_on_meet() {
    within(PATIENCE, || {
        let rt = multi(2);
        let gates = [Gate::new(), Gate::new()];
        let wait = |mine: usize, other: usize| {
            let (mine, other) = (gates[mine].clone(), gates[other].clone());
            rt.spawn(async move {
                runtime::block_on(async {
                    drop(runtime::spawn(async move { other.open() }));
                    mine.pass().await;
                });
            })
        };
        let (left, right) = (wait(0, 1), wait(1, 0));
        left.wait().unwrap();
        right.wait().unwrap();
    });
}

#[test]
fn a_runtime_may_be_used_inside_a_task_of_another() {
    on_each(|rt| {
        let other = Arc::new(multi(1));
        let inner = other.clone();
        let task = rt.spawn(async move {
            inner.block_on(async { runtime::spawn(async { runtime::Handle::current().id() }).await.unwrap() })
        });
        assert_eq!(rt.block_on(task).unwrap(), other.handle().id());
    });
}

#[test]
fn a_current_thread_runtime_may_be_used_inside_a_task_of_another_runtime() {
    on_each(|rt| {
        let task = rt.spawn(async {
            let other = single();
            other.block_on(async { runtime::spawn(async { 4 }).await.unwrap() })
        });
        assert_eq!(rt.block_on(task).unwrap(), 4);
    });
}

#[test]
fn the_first_of_two_runtimes_may_be_used_again_inside_the_second() {
    on_each(|rt| {
        let other = multi(1);
        let value = rt.block_on(async {
            other.block_on(async { rt.block_on(async { runtime::spawn(async { 5 }).await.unwrap() }) })
        });
        assert_eq!(value, 5);
    });
}

#[test]
fn the_first_of_two_current_thread_runtimes_may_be_used_again_inside_the_second() {
    within(PATIENCE, || {
        let (first, second) = (Arc::new(single()), single());
        let again = first.clone();
        let value = first.block_on(async {
            second.block_on(async { again.block_on(async { runtime::spawn(async { 5 }).await.unwrap() }) })
        });
        assert_eq!(value, 5);
    });
}

/// A thread of the one is lent to the other, and a task there waits in the first.
#[test]
fn a_wait_in_a_current_thread_runtime_leaves_the_worker_of_the_one_around_it() {
    within(PATIENCE, || {
        let first = single();
        let again = first.handle();
        let second = Arc::new(Runtime::builder().worker_threads(1).monitor(false).build().unwrap());
        let here = thread::current().id();
        let (done, is_done) = Promise::new();
        let spawner = second.clone();
        let spawner = thread::spawn(move || {
            loop {
                let again = again.clone();
                let wait_here = move || again.block_on(runtime::spawn(async { 7 })).unwrap();
                let task = spawner.spawn(async move { (thread::current().id() == here).then(wait_here) });
                if let Some(value) = task.wait().unwrap() {
                    return done.set_result(value).unwrap();
                }
            }
        });
        // Again and again, because a thread that finds no worker to run waits for no other.
        let turns = async {
            while !is_done.done() {
                runtime::task::yield_now().await;
            }
        };
        first.block_on(async { second.block_on(turns) });
        assert_eq!(*is_done.wait().unwrap(), 7);
        spawner.join().unwrap();
    });
}

#[test]
fn a_task_of_one_runtime_awaits_a_task_of_another() {
    on_each(|rt| {
        let other = Arc::new(multi(1));
        let spawner = other.clone();
        let task = rt.spawn(async move { spawner.spawn(async { 6 }).await.unwrap() });
        assert_eq!(rt.block_on(task).unwrap(), 6);
    });
}

#[test]
fn a_runtime_is_built_and_dropped_inside_a_task() {
    on_each(|rt| {
        let counts = Counts::new();
        let watched = counts.watch(std::future::pending::<()>());
        let task = rt.spawn(async move {
            let inner = multi(1);
            drop(inner.spawn(watched));
        });
        rt.block_on(task).unwrap();
        rt.block_on(async {
            while counts.drops() == 0 {
                runtime_tests::turn().await;
            }
        });
    });
}

#[test]
fn blocking_code_in_place_leaves_the_workers_tasks_to_others() {
    within(PATIENCE, || {
        let rt = multi(1);
        let parent = rt.spawn(async {
            let (sender, receiver) = mpsc::channel();
            let children: Vec<_> = (0..10)
                .map(|n| {
                    let sender = sender.clone();
                    runtime::spawn(async move { sender.send(n).unwrap() })
                })
                .collect();
            drop((sender, children));
            runtime::task::block_in_place(|| receiver.iter().sum::<i32>())
        });
        assert_eq!(parent.wait().unwrap(), 45);
    });
}

#[test]
fn blocking_code_in_place_nests_with_block_on_and_panics_come_through() {
    on_each(|rt| {
        let task = rt.spawn(async {
            runtime::task::block_in_place(|| {
                runtime::block_on(async {
                    runtime::task::block_in_place(|| runtime::block_on(async { panic!("at the bottom") }))
                })
            })
        });
        let error = rt.block_on(task).map(drop::<()>).unwrap_err();
        assert_eq!(error.to_string(), "task panicked: at the bottom");
        rt.block_on(rt.spawn(async {})).unwrap();
    });
}

#[test]
fn a_task_goes_on_after_blocking_in_place() {
    on_each(|rt| {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                rt.spawn(async move {
                    for _ in 0..5 {
                        runtime::task::block_in_place(thread::yield_now);
                        runtime::task::yield_now().await;
                    }
                    n
                })
            })
            .collect();
        let sum = rt.block_on(async {
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, 190);
    });
}

#[test]
fn jobs_in_jobs_in_tasks_in_block_on_come_back() {
    on_each(|rt: Runtime| {
        let value = rt.block_on(async {
            runtime::spawn(async {
                runtime::task::block_in_place(|| {
                    runtime::block_on(async {
                        runtime::spawn_blocking(|| runtime::spawn_blocking(|| 9).wait().unwrap())
                            .await
                            .unwrap()
                    })
                })
            })
            .await
            .unwrap()
        });
        assert_eq!(value, 9);
    });
}
