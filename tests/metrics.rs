//! The figures say what the runtime is doing, and come back to nothing.

use std::sync::{Arc, Barrier, mpsc};

use parking_lot::Mutex;
use runtime::{Runtime, Task, task};
use runtime_tests::{Counts, Gate, PATIENCE, multi, on_each, settle, single, until, within};

#[test]
fn live_tasks_are_those_that_have_not_ended() {
    on_each(|rt| {
        let gates: Vec<_> = (0..10).map(|_| Gate::new()).collect();
        let spawn = |gate: &Gate| {
            let gate = gate.clone();
            rt.spawn(async move { gate.pass().await })
        };
        let tasks: Vec<_> = gates.iter().map(spawn).collect();
        assert_eq!(rt.metrics().live_tasks(), 10);
        gates.iter().for_each(Gate::open);
        rt.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
            while rt.metrics().live_tasks() > 0 {
                runtime_tests::turn().await;
            }
        });
    });
}

#[test]
fn every_figure_of_tasks_comes_back_to_zero_whatever_becomes_of_them() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(2).on_unobserved(|_| ()).build().unwrap();
        for n in 0..400_u32 {
            let task = rt.spawn(async move {
                match n % 4 {
                    0 => {}
                    1 => std::future::pending().await,
                    2 => panic!("quiet: one of four"),
                    _ => runtime::task::block_in_place(|| {
                        runtime::block_on(async { runtime::spawn(async {}).await.unwrap() });
                    }),
                }
            });
            if n % 4 == 1 {
                task.cancel();
            }
            if n % 3 == 0 {
                let _ = task.wait();
            }
        }
        until(|| rt.metrics().live_tasks() == 0);
        let metrics = rt.metrics();
        assert_eq!((metrics.local_queue_depth(), metrics.injector_depth()), (0, 0));
        assert_eq!(metrics.tasks_spawned(), metrics.tasks_completed());
    });
}

#[test]
fn the_balance_of_spawned_and_completed_holds_after_a_shutdown() {
    on_each(|rt| {
        let counts = Counts::new();
        for _ in 0..20 {
            drop(rt.spawn(counts.watch(std::future::pending::<()>())));
        }
        rt.block_on(settle());
        let handle = rt.handle();
        drop(rt);
        assert_eq!((counts.drops(), handle.metrics().live_tasks()), (20, 0));
    });
}

#[test]
fn polls_are_counted() {
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let yields = async {
            for _ in 0..10 {
                runtime::task::yield_now().await;
            }
        };
        rt.block_on(rt.spawn(counts.watch(yields))).unwrap();
        assert_eq!(rt.metrics().polls(), counts.polls() as u64);
    });
}

#[test]
fn a_new_runtime_counts_from_zero() {
    within(PATIENCE, || {
        let runtime = || Runtime::builder().worker_threads(7).build().unwrap();
        let first = runtime();
        first.block_on(first.spawn(async {})).unwrap();
        assert_eq!(first.metrics().tasks_spawned(), 1);
        drop(first);
        let metrics = runtime().metrics();
        assert_eq!((metrics.tasks_spawned(), metrics.tasks_completed(), metrics.polls()), (0, 0, 0));
    });
}

/// A task that blocks its thread until it is told to go on, in `block_in_place` or without. It does when this returns.
fn blocked(rt: &Runtime, in_place: bool) -> (Task<()>, mpsc::Sender<()>) {
    let (entered, begun) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let blocks = move || {
        entered.send(()).unwrap();
        gone.recv().unwrap();
    };
    let task = rt.spawn(async move { if in_place { task::block_in_place(blocks) } else { blocks() } });
    begun.recv().unwrap();
    (task, go)
}

fn end((task, go): (Task<()>, mpsc::Sender<()>)) {
    go.send(()).unwrap();
    task.wait().unwrap();
}

#[test]
fn a_poll_that_has_lost_its_worker_is_counted() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(2).monitor(false).build().unwrap();
        let others = blocked(&rt, false);
        let loses = blocked(&rt, true);
        let takes = blocked(&rt, false);
        end(loses);
        end(takes);
        end(others);
        until(|| rt.metrics().polls() == 3);
    });
}

/// Both leave their workers, and who comes back first takes the first one, whichever it had.
#[test]
fn a_poll_that_goes_on_with_another_worker_is_counted() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(2).monitor(false).build().unwrap();
        for round in 0..20 {
            let (one, other) = (blocked(&rt, true), blocked(&rt, true));
            let (first, last) = if round % 2 == 0 { (one, other) } else { (other, one) };
            end(first);
            end(last);
            until(|| rt.metrics().polls() == 2 * (round + 1));
        }
    });
}

#[test]
fn workers_without_work_are_idle() {
    within(PATIENCE, || {
        let rt = multi(3);
        let all = Arc::new(Barrier::new(3));
        let meet = || {
            let all = all.clone();
            rt.spawn(async move {
                all.wait();
            })
        };
        [meet(), meet(), meet()].into_iter().for_each(|task| task.wait().unwrap());
        assert_eq!(rt.metrics().workers(), 3);
        until(|| rt.metrics().idle_workers() == 3);
    });
}

#[test]
fn the_figures_of_the_pool_follow_its_jobs() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(2).build().unwrap();
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Arc::new(Mutex::new(may_go_on));
        let job = || {
            let (entered, may_go_on) = (entered.clone(), may_go_on.clone());
            rt.spawn_blocking(move || {
                entered.send(()).unwrap();
                let _ = may_go_on.lock().recv();
            })
        };
        let jobs = [job(), job(), job()];
        begun.recv().unwrap();
        begun.recv().unwrap();
        let metrics = rt.metrics();
        let figures =
            (metrics.blocking_threads(), metrics.blocking_running(), metrics.blocking_queue_depth());
        assert_eq!(figures, (2, 2, 1));
        drop(proceed);
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        until(|| rt.metrics().idle_blocking_threads() == 2);
        assert_eq!((rt.metrics().blocking_running(), rt.metrics().blocking_queue_depth()), (0, 0));
    });
}

#[test]
fn what_piles_up_behind_blocked_workers_shows() {
    within(PATIENCE, || {
        // With a monitor others would run it.
        let rt = Runtime::builder().worker_threads(2).monitor(false).build().unwrap();
        // Each has a worker before the first task is queued that could be stolen.
        let both = Arc::new(Barrier::new(2));
        let gates: Vec<_> = (0..2)
            .map(|_| {
                let both = both.clone();
                let (entered, begun) = mpsc::channel();
                let (go, gone) = mpsc::channel::<()>();
                drop(rt.spawn(async move {
                    both.wait();
                    for _ in 0..10 {
                        drop(runtime::spawn(async {}));
                    }
                    entered.send(()).unwrap();
                    let _ = gone.recv();
                }));
                (begun, go)
            })
            .collect();
        gates.iter().for_each(|(begun, _)| begun.recv().unwrap());
        let tasks: Vec<_> = (0..100).map(|_| rt.spawn(async {})).collect();
        let metrics = rt.metrics();
        assert_eq!((metrics.injector_depth(), metrics.local_queue_depth()), (100, 20));
        assert_eq!(metrics.live_tasks(), 122);
        drop(gates);
        tasks.into_iter().for_each(|task| task.wait().unwrap());
        until(|| rt.metrics().live_tasks() == 0);
        assert_eq!((rt.metrics().injector_depth(), rt.metrics().local_queue_depth()), (0, 0));
    });
}
