//! After a runtime is gone everything it had is dropped once, every handle resolves, and nothing was waited for in vain.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::{BlockingPool, Handle, Runtime, ShutdownReport, Task};
use runtime_tests::{
    Counts, Gate, PATIENCE, in_time, multi, on_each, promptly, settle, single, threads_named, until, within,
};

/// Tasks of every kind on `rt`: waiting, yielding, never polled; what they are is dropped counted.
fn populate(rt: &Runtime, counts: &Counts) -> Vec<Task<()>> {
    let mut tasks = Vec::new();
    for n in 0..30 {
        tasks.push(match n % 3 {
            0 => rt.spawn(counts.watch(std::future::pending())),
            1 => rt.spawn(counts.watch(async {
                loop {
                    runtime::task::yield_now().await;
                }
            })),
            _ => rt.spawn(counts.watch(async {
                runtime::spawn(std::future::pending::<()>()).await.unwrap_err();
            })),
        });
    }
    tasks
}

fn all_shut_down(tasks: Vec<Task<()>>) {
    for task in tasks {
        if let Err(error) = promptly(|| task.wait()) {
            assert!(error.is_shutdown(), "{error}");
        }
    }
}

#[test]
fn a_drop_drops_every_task_once_and_every_handle_resolves() {
    on_each(|rt| {
        let counts = Counts::new();
        let tasks = populate(&rt, &counts);
        rt.block_on(settle());
        promptly(|| drop(rt));
        assert_eq!(counts.drops(), 30);
        all_shut_down(tasks);
    });
}

#[test]
fn a_drop_at_once_drops_what_was_never_polled() {
    on_each(|rt| {
        let counts = Counts::new();
        let tasks = populate(&rt, &counts);
        promptly(|| drop(rt));
        assert_eq!(counts.drops(), 30);
        all_shut_down(tasks);
    });
}

#[test]
fn a_drop_joins_the_worker_threads() {
    within(PATIENCE, || {
        // Without spare workers, whose threads would be counted.
        let rt = Runtime::builder().worker_threads(3).monitor(false).thread_name("joined").build().unwrap();
        let all = Arc::new(Barrier::new(3));
        let meet = || {
            let all = all.clone();
            rt.spawn(async move {
                all.wait();
            })
        };
        [meet(), meet(), meet()].into_iter().for_each(|task| task.wait().unwrap());
        rt.spawn_blocking(|| ()).wait().unwrap();
        assert_eq!(threads_named("joined-worker"), 3);
        promptly(|| drop(rt));
        // A joined thread is still listed for a moment.
        until(|| threads_named("joined") == 0);
    });
}

#[test]
fn two_hundred_runtimes_leave_no_thread_behind() {
    within(PATIENCE, || {
        for n in 0..200 {
            let rt = Runtime::builder().worker_threads(n % 3 + 1).thread_name("cycle").build().unwrap();
            rt.spawn(async { runtime::spawn(async {}).await }).wait().unwrap().unwrap();
            drop(rt);
            // A joined thread is still listed for a moment.
            until(|| threads_named("cycle") == 0);
        }
    });
}

// --- destructors at the end ---

/// Calls a function in its destructor.
struct Last<F: FnOnce() + Send>(Option<F>);

impl<F: FnOnce() + Send> Drop for Last<F> {
    fn drop(&mut self) {
        self.0.take().expect("dropped once")();
    }
}

/// A runtime with a waiting task that calls `last` in its destructor is dropped.
fn with_destructor(last: impl FnOnce() + Clone + Send + 'static) {
    ends_with(|error| assert!(error.is_shutdown(), "{error}"), last);
}

/// The same, and `judge` is given what the task ended with.
fn ends_with(judge: fn(runtime::Error), last: impl FnOnce() + Clone + Send + 'static) {
    on_each(move |rt| {
        let last = Last(Some(last.clone()));
        let gate = Gate::new();
        let waiting = gate.clone();
        let task = rt.spawn(async move {
            let _last = last;
            waiting.pass().await;
        });
        rt.block_on(async {
            while !gate.is_waited_at() {
                runtime_tests::turn().await;
            }
        });
        promptly(|| drop(rt));
        judge(task.wait().unwrap_err());
    });
}

#[test]
fn a_destructor_may_spawn_at_the_end() {
    let counts = Counts::new();
    let in_destructor = counts.clone();
    with_destructor(move || {
        let counts = in_destructor.clone();
        drop(runtime::spawn(counts.watch(async {})));
    });
    until(|| counts.drops() == 3);
}

#[test]
fn a_destructor_may_panic_at_the_end() {
    ends_with(|error| assert!(error.is_panic(), "{error}"), || panic!("at the end"));
}

#[test]
fn a_destructor_may_block_on_at_the_end() {
    with_destructor(|| {
        let handle = Handle::try_current();
        let block = || async { 1 };
        let value = handle.map_or_else(|| runtime::block_on(block()), |handle| handle.block_on(block()));
        assert_eq!(value, 1);
    });
}

#[test]
fn a_destructor_may_block_on_a_task_at_the_end() {
    with_destructor(|| {
        let result = runtime::block_on(async { runtime::spawn(async { 1 }).await });
        assert!(result.is_ok_and(|value| value == 1) || Handle::try_current().is_some());
    });
}

/// On the thread that would have to end that task next.
#[test]
fn a_destructor_that_waits_for_a_task_behind_it_at_the_end_is_told_and_does_not_hang() {
    within(PATIENCE, || {
        let rt = single();
        let (give, take) = mpsc::channel::<runtime::Task<()>>();
        let (told, tells) = mpsc::channel();
        let last = Last(Some(move || {
            let task = take.recv().unwrap();
            let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.wait()));
            told.send(waited.is_err()).unwrap();
        }));
        let first = rt.spawn(async move {
            let _last = last;
            std::future::pending::<()>().await;
        });
        give.send(rt.spawn(std::future::pending())).unwrap();
        rt.block_on(runtime_tests::settle());
        drop(rt);
        assert!(first.wait().is_err());
        assert!(tells.recv().unwrap(), "it waited");
    });
}

/// The thread that shuts down is the only one there is.
#[test]
fn a_destructor_may_block_on_a_task_that_is_to_end_after_its_own() {
    within(PATIENCE, || {
        let rt = single();
        let (give, take) = mpsc::channel::<Task<()>>();
        let (tell, told) = mpsc::channel();
        let last = Last(Some(move || {
            let task = take.recv().unwrap();
            tell.send(runtime::block_on(task.cancel_and_wait())).unwrap();
        }));
        drop(rt.spawn(async move {
            let _last = last;
            std::future::pending::<()>().await;
        }));
        give.send(rt.spawn(std::future::pending())).unwrap();
        rt.block_on(runtime_tests::settle());
        drop(rt);
        assert!(told.recv().unwrap().is_err());
    });
}

/// Each waits for others, of which some end before it and some after it.
#[test]
fn destructors_that_block_on_each_other_s_tasks_at_the_end_have_a_thread_each() {
    const TASKS: usize = 12;
    within(PATIENCE, || {
        let rt = single();
        let (tell, told) = mpsc::channel();
        let places: Vec<_> = (0..TASKS).map(|_| Arc::new(Mutex::new(None::<Task<()>>))).collect();
        let tasks: Vec<_> = places
            .iter()
            .enumerate()
            .map(|(n, place)| {
                let (place, tell) = (place.clone(), tell.clone());
                let last = Last(Some(move || {
                    let task = place.lock().take();
                    if let Some(task) = task {
                        assert!(runtime::block_on(task).is_err());
                    }
                    tell.send(n).unwrap();
                }));
                rt.spawn(async move {
                    let _last = last;
                    std::future::pending::<()>().await;
                })
            })
            .collect();
        // The odd ones up to the end, then the even ones down to the beginning.
        let odd = (1..TASKS).step_by(2);
        let order: Vec<_> = odd.chain((0..TASKS).step_by(2).collect::<Vec<_>>().into_iter().rev()).collect();
        let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
        for pair in order.windows(2) {
            *places[pair[0]].lock() = tasks[pair[1]].take();
        }
        rt.block_on(runtime_tests::settle());
        drop(rt);
        drop(tell);
        assert_eq!(told.iter().collect::<Vec<_>>(), order.into_iter().rev().collect::<Vec<_>>());
    });
}

/// What they wait for comes from another thread.
#[test]
fn destructors_that_block_at_the_end_wait_for_others_however_many_they_are() {
    within(PATIENCE, || {
        let rt = single();
        let (ask, asked) = mpsc::channel::<runtime::Promise<()>>();
        let ends = Arc::new(AtomicUsize::new(0));
        const MANY: usize = 100;
        for _ in 0..MANY {
            let (ask, ends) = (ask.clone(), ends.clone());
            let last = Last(Some(move || {
                let (promise, answer) = runtime::Promise::new();
                ask.send(promise).unwrap();
                runtime::block_on(answer).unwrap();
                ends.fetch_add(1, Ordering::SeqCst);
            }));
            drop(rt.spawn(async move {
                let _last = last;
                std::future::pending::<()>().await;
            }));
        }
        drop(ask);
        rt.block_on(runtime_tests::settle());
        let mut open = 0;
        let answers = thread::spawn(move || {
            for promise in asked {
                // Some soon, some not.
                if open % 20 == 0 {
                    thread::sleep(Duration::from_millis(30));
                }
                open += 1;
                promise.set_result(()).unwrap();
            }
        });
        drop(rt);
        answers.join().unwrap();
        assert_eq!(ends.load(Ordering::SeqCst), MANY);
    });
}

/// The other one has no thread but this, whose call waits inside of its own call.
#[test]
fn a_destructor_at_the_end_of_a_runtime_that_blocks_on_another_ends_nothing_there() {
    within(PATIENCE, || {
        let (ending, other) = (single(), multi(1));
        let handle = other.handle();
        let (promise, answer) = runtime::Promise::new();
        // Long enough for a destructor that would end what is behind it.
        let answerer = move || {
            thread::sleep(Duration::from_millis(100));
            promise.set_result(()).unwrap();
        };
        let last = Last(Some(move || {
            let answerer = thread::spawn(answerer);
            handle.block_on(answer).unwrap();
            answerer.join().unwrap();
        }));
        drop(ending.spawn(async move {
            let _last = last;
            std::future::pending::<()>().await;
        }));
        ending.block_on(runtime_tests::settle());
        let gate = Gate::new();
        other.block_on(async {
            let (spawned, task) = runtime::Promise::new();
            let (root, handle) = (Gate::new(), runtime::Handle::current());
            let spawner = thread::spawn({
                let (gate, root) = (gate.clone(), root.clone());
                move || {
                    // The thread of the runtime runs the task: it sleeps, and no other has been started.
                    until(|| root.is_waited_at());
                    let task = handle.spawn(async move { gate.pass().await });
                    spawned.set_result(parking_lot::Mutex::new(Some(task))).ok().unwrap();
                    root.open();
                }
            });
            root.pass().await;
            while !gate.is_waited_at() {
                runtime::task::yield_now().await;
            }
            drop(ending);
            spawner.join().unwrap();
            let waiting = task.result().unwrap().unwrap().lock().take().unwrap();
            assert!(!waiting.is_finished());
            gate.open();
            waiting.await.unwrap();
        });
    });
}

#[test]
fn a_destructor_may_spawn_blocking_at_the_end() {
    with_destructor(|| drop(runtime::spawn_blocking(|| ())));
}

#[test]
fn a_destructor_may_wake_other_tasks_at_the_end() {
    on_each(|rt| {
        let counts = Counts::new();
        let gates: Vec<_> = (0..20).map(|_| Gate::new()).collect();
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (gate, other) = (gates[n].clone(), gates[(n + 1) % 20].clone());
                let last = Last(Some(move || {
                    if other.is_waited_at() {
                        other.waker().wake();
                    }
                }));
                rt.spawn(counts.watch(async move {
                    let _last = last;
                    gate.pass().await;
                }))
            })
            .collect();
        rt.block_on(async {
            while !gates.iter().all(Gate::is_waited_at) {
                runtime_tests::turn().await;
            }
        });
        promptly(|| drop(rt));
        assert_eq!(counts.drops(), 20);
        drop(tasks);
    });
}

#[test]
fn a_destructor_may_wait_for_another_tasks_destructor() {
    within(PATIENCE, || {
        let rt = multi(2);
        let gates = [Gate::new(), Gate::new()];
        let (first, second) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        // Each says that it has begun and waits for the other to say so.
        let wait = |gate: &Gate, tell: mpsc::Sender<()>, hear: mpsc::Receiver<()>| {
            let hear = Mutex::new(hear);
            let last = Last(Some(move || {
                let _ = tell.send(());
                let _ = hear.lock().recv_timeout(PATIENCE / 3);
            }));
            let gate = gate.clone();
            rt.spawn(async move {
                let _last = last;
                gate.pass().await;
            })
        };
        let tasks = [wait(&gates[0], first.0, second.1), wait(&gates[1], second.0, first.1)];
        gates.iter().for_each(|gate| drop(gate.waker()));
        // Two workers: both destructors run, one on each.
        promptly(|| drop(rt));
        drop(tasks);
    });
}

// --- where a runtime is dropped ---

#[test]
fn a_runtime_is_dropped_inside_its_own_block_on() {
    within(PATIENCE, || {
        for rt in [single(), multi(1), multi(2)] {
            let handle = rt.handle();
            let counts = Counts::new();
            drop(rt.spawn(counts.watch(std::future::pending::<()>())));
            promptly(|| handle.block_on(async move { drop(rt) }));
            until(|| counts.drops() == 1);
        }
    });
}

#[test]
fn a_runtime_is_dropped_inside_its_own_task() {
    within(PATIENCE, || {
        for rt in [multi(1), multi(2)] {
            let (handle, counts) = (rt.handle(), Counts::new());
            drop(rt.spawn(counts.watch(std::future::pending::<()>())));
            let task = handle.spawn(async move { drop(rt) });
            promptly(|| task.wait()).unwrap();
            until(|| counts.drops() == 1);
        }
    });
}

#[test]
fn a_runtime_is_dropped_inside_a_task_of_another_without_waiting() {
    on_each(|rt| {
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let other = multi(1);
        drop(other.spawn_blocking(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
        }));
        begun.recv().unwrap();
        promptly(|| rt.block_on(rt.spawn(async move { drop(other) }))).unwrap();
        drop(proceed);
    });
}

#[test]
fn a_runtime_is_dropped_in_its_own_blocking_thread_without_waiting_for_itself() {
    within(PATIENCE, || {
        for rt in [single(), multi(1)] {
            let handle = rt.handle();
            let job = handle.spawn_blocking(move || promptly(|| drop(rt)));
            job.wait().unwrap();
        }
    });
}

#[test]
fn a_runtime_is_dropped_in_blocking_code_of_its_own_task_without_waiting_for_itself() {
    within(PATIENCE, || {
        let rt = multi(1);
        let handle = rt.handle();
        let task = handle.spawn(async move { runtime::task::block_in_place(|| promptly(|| drop(rt))) });
        task.wait().unwrap();
    });
}

#[test]
fn the_last_handle_may_be_a_tasks_own() {
    within(PATIENCE, || {
        let rt = Arc::new(multi(1));
        let counts = Counts::new();
        let gate = Gate::new();
        let task = rt.spawn(counts.watch({
            let (rt, gate) = (rt.clone(), gate.clone());
            async move {
                gate.pass().await;
                drop(rt);
            }
        }));
        drop(gate.waker());
        drop(rt);
        gate.open();
        let _ = promptly(|| task.wait());
        until(|| counts.drops() == 1);
    });
}

// --- shutdown(grace) ---

/// Nobody runs them before.
#[test]
fn the_report_of_a_current_thread_runtime_counts_all_that_finished_within_the_grace() {
    within(PATIENCE, || {
        let rt = single();
        let tasks = [(); 3].map(|()| rt.spawn(async {}));
        let report = rt.shutdown(PATIENCE);
        assert_eq!((report.finished, report.cancelled), (tasks.len(), 0));
    });
}

/// Shuts a runtime down while three jobs of a pool wait behind the one that `run` begins; how many it says were cancelled.
fn cancelled_behind(rt: Runtime, pool: &BlockingPool, run: impl FnOnce(Box<dyn FnOnce() + Send>)) -> usize {
    let (begin, began) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    run(Box::new(move || {
        begin.send(()).unwrap();
        let _ = may_end.recv();
    }));
    began.recv().unwrap();
    let waiting: Vec<_> = (0..3).map(|n| pool.submit(move || n).unwrap()).collect();
    let ender = thread::spawn(move || {
        for waiting in &waiting {
            assert!(waiting.wait().unwrap_err().is_shutdown());
        }
        drop(end);
    });
    let cancelled = rt.shutdown(Duration::ZERO).cancelled;
    ender.join().unwrap();
    cancelled
}

fn pool_of_one(rt: &Runtime) -> BlockingPool {
    let _entered = rt.enter();
    BlockingPool::new(1)
}

/// They wait for the one thread that their pool may have.
#[test]
fn the_report_counts_the_jobs_that_wait_in_a_blocking_pool() {
    within(PATIENCE, || {
        let rt = multi(1);
        let pool = pool_of_one(&rt);
        assert_eq!(cancelled_behind(rt, &pool, |job| drop(pool.submit(job))), 3);
    });
}

/// The worker of the pool waits for a thread, as they do for the worker.
#[test]
fn the_report_counts_the_jobs_of_a_blocking_pool_that_has_no_thread_and_not_its_worker() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let (pool, handle) = (pool_of_one(&rt), rt.handle());
        assert_eq!(cancelled_behind(rt, &pool, |job| drop(handle.spawn_blocking(job))), 3);
    });
}

#[test]
fn the_report_counts_what_finished_within_the_grace() {
    within(PATIENCE, || {
        let rt = multi(2);
        let gate = Gate::new();
        let waiting = gate.clone();
        drop(rt.spawn(async move {
            waiting.pass().await;
            // Tasks may spawn others meanwhile.
            runtime::spawn(async {}).await.unwrap();
        }));
        let waker = gate.waker();
        let opener = thread::spawn(move || {
            gate.open();
            drop(waker);
        });
        let report = rt.shutdown(PATIENCE);
        opener.join().unwrap();
        assert!(report.finished <= 2 && report.cancelled == 0, "{report:?}");
        assert!(report.stuck.is_empty() && report.blocking_stuck == 0);
    });
}

#[test]
fn a_job_that_was_just_handed_to_an_idle_thread_has_the_grace() {
    within(PATIENCE, || {
        for _ in 0..100 {
            let rt = multi(1);
            let idle = || rt.metrics().idle_blocking_threads() == 1;
            rt.spawn_blocking(|| ()).wait().unwrap();
            until(idle);
            let job = rt.spawn_blocking(|| 1);
            rt.shutdown(PATIENCE);
            assert_eq!(job.wait().unwrap(), 1);
        }
    });
}

/// Shuts `rt` down with a long grace, and calls `then` once nothing is taken from outside any more.
fn drain(rt: Runtime, then: impl FnOnce()) -> ShutdownReport {
    let handle = rt.handle();
    let closing = thread::spawn(move || rt.shutdown(PATIENCE));
    until(|| handle.spawn(async {}).wait().is_err());
    then();
    promptly(|| closing.join().unwrap())
}

/// A sender whose drop lets `wait` return.
fn hold() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel::<()>();
    let wait = move || {
        let _ = receiver.recv();
    };
    (sender, wait)
}

#[test]
fn nothing_is_taken_from_outside_within_the_grace() {
    within(PATIENCE, || {
        let rt = multi(1);
        let handle = rt.handle();
        let (go, wait) = hold();
        let job = rt.spawn_blocking(wait);
        let pool = {
            let _entered = rt.enter();
            runtime::BlockingPool::new(1)
        };
        let report = drain(rt, || {
            assert!(handle.spawn(async {}).wait().unwrap_err().is_shutdown());
            assert!(handle.spawn_blocking(|| ()).wait().unwrap_err().is_shutdown());
            assert!(pool.submit(|| ()).unwrap_err().is_shutdown());
            drop(go);
        });
        job.wait().unwrap();
        assert_eq!(report.cancelled, 0);
    });
}

#[test]
fn a_task_may_spawn_from_blocking_code_within_the_grace() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (go, wait) = hold();
        let task = rt.spawn(async move {
            let inner = runtime::task::block_in_place(|| {
                wait();
                runtime::spawn(async { 1 })
            });
            inner.await
        });
        drain(rt, || drop(go));
        assert_eq!(task.wait().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_task_may_spawn_from_a_nested_block_on_within_the_grace() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (go, wait) = hold();
        let task = rt.spawn(async move {
            runtime::block_on(async move {
                wait();
                runtime::spawn(async { 1 }).await
            })
        });
        drain(rt, || drop(go));
        assert_eq!(task.wait().unwrap().unwrap(), 1);
    });
}

#[test]
fn the_future_of_block_on_may_spawn_within_the_grace() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (handle, gate) = (rt.handle(), Gate::new());
        // Keeps the grace from ending before the spawn.
        let passing = gate.clone();
        drop(rt.spawn(async move { passing.pass().await }));
        let (go, wait) = hold();
        let root = thread::spawn(move || {
            handle.block_on(async move {
                wait();
                let inner = runtime::spawn(async { 1 }).await;
                gate.open();
                inner
            })
        });
        drain(rt, || drop(go));
        assert_eq!(root.join().unwrap().unwrap(), 1);
    });
}

#[test]
fn a_blocking_job_may_spawn_within_the_grace_and_wait_for_the_task() {
    for make in [single, || multi(1)] {
        within(PATIENCE, move || {
            let rt = make();
            let (go, wait) = hold();
            let job = rt.spawn_blocking(move || {
                wait();
                runtime::spawn(async { 1 }).wait()
            });
            drain(rt, || drop(go));
            assert_eq!(job.wait().unwrap().unwrap(), 1);
        });
    }
}

#[test]
fn a_task_that_a_blocking_job_leaves_behind_has_the_grace_too() {
    for make in [single, || multi(1)] {
        within(PATIENCE, move || {
            let rt = make();
            let (go, wait) = hold();
            let job = rt.spawn_blocking(move || {
                wait();
                runtime::spawn(async {
                    for _ in 0..100 {
                        runtime::task::yield_now().await;
                    }
                })
            });
            drain(rt, || drop(go));
            job.wait().unwrap().wait().unwrap();
        });
    }
}

#[test]
fn a_callback_runs_within_the_grace_wherever_the_future_was_completed() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (promise, future) = runtime::Promise::new();
        let (called, heard) = runtime::sync::oneshot::channel();
        {
            let _entered = rt.enter();
            future.add_done_callback(move |_| {
                let _ = called.send(());
            });
        }
        let task = rt.spawn(async move { heard.await.is_ok() });
        drain(rt, || promise.set_result(()).unwrap());
        assert!(task.wait().unwrap(), "the callback was dropped");
    });
}

#[test]
fn a_stall_handler_that_does_not_return_is_left_behind() {
    let left_behind = || {
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let rt = Runtime::builder()
            .worker_threads(1)
            .thread_name("handles")
            .stall_threshold(Duration::from_millis(1))
            .on_stall(move |_| {
                let _ = entered.send(());
                let _ = may_go_on.lock().recv();
            })
            .build()
            .unwrap();
        let (end, wait) = hold();
        let task = rt.spawn(async move { wait() });
        begun.recv().unwrap();
        drop(end);
        task.wait().unwrap();
        let report = promptly(|| rt.shutdown(Duration::ZERO));
        until(|| threads_named("handles-worker") == 0);
        drop(proceed);
        report.threads_left
    };
    within(PATIENCE, move || {
        until(|| {
            let left = left_behind();
            assert!(left > 0, "nobody is left behind");
            // On a busy machine the worker's thread may end too late, and count as well.
            left == 1
        });
    });
}

#[test]
fn a_stop_hook_that_does_not_return_is_left_behind() {
    within(PATIENCE, || {
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        // Without a monitor, whose thread may end too late on a busy machine, and count as well.
        let rt = Runtime::builder()
            .worker_threads(1)
            .monitor(false)
            .on_thread_stop(move || {
                let _ = may_go_on.lock().recv();
            })
            .build()
            .unwrap();
        rt.spawn(async {}).wait().unwrap();
        let report = promptly(|| rt.shutdown(Duration::ZERO));
        assert_eq!(report.threads_left, 1);
        drop(proceed);
    });
}

#[test]
fn a_shutdown_leaves_no_thread_behind_that_ends() {
    within(PATIENCE, || {
        let left = in_time(|| {
            let rt = Runtime::builder().worker_threads(2).thread_name("ends").build().unwrap();
            rt.spawn(async {}).wait().unwrap();
            rt.spawn_blocking(|| ()).wait().unwrap();
            let report = rt.shutdown(Duration::ZERO);
            // Also those that were too late.
            until(|| threads_named("ends-") == 0);
            report.threads_left
        });
        assert_eq!(left, 0);
    });
}

// --- run_forever ---

#[test]
fn each_stop_ends_one_of_several_calls() {
    within(PATIENCE, || {
        let rt = Arc::new(multi(2));
        let before = rt.metrics().parks();
        let calls = [(); 2].map(|()| {
            let rt = rt.clone();
            thread::spawn(move || rt.run_forever())
        });
        // Each call lends its thread to a worker of its own, and both have nothing to do.
        until(|| rt.metrics().parks() - before >= 2);
        for stops in 1..=2 {
            rt.handle().stop();
            until(|| calls.iter().filter(|call| call.is_finished()).count() == stops);
        }
    });
}

#[test]
fn the_grace_ends_as_soon_as_nothing_is_left() {
    within(PATIENCE, || {
        let rt = multi(1);
        rt.spawn(async {}).wait().unwrap();
        promptly(|| rt.shutdown(Duration::from_secs(3600)));
    });
}

#[test]
fn the_longest_grace_is_valid() {
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let waiting = gate.clone();
        drop(rt.spawn(async move { waiting.pass().await }));
        let opener = thread::spawn(move || {
            drop(gate.waker());
            gate.open();
        });
        promptly(|| rt.shutdown(Duration::MAX));
        opener.join().unwrap();
    });
}

#[test]
fn the_report_counts_what_was_cancelled() {
    within(PATIENCE, || {
        let counted = in_time(|| {
            let rt = multi(2);
            let counts = Counts::new();
            let spawn = |_| rt.spawn(counts.watch(std::future::pending::<()>()));
            let tasks: Vec<_> = (0..10).map(spawn).collect();
            until(|| counts.polls() == 10);
            let report = promptly(|| rt.shutdown(Duration::ZERO));
            let counted = (report.finished, report.cancelled, counts.drops());
            all_shut_down(tasks);
            counted
        });
        assert_eq!(counted, (0, 10, 10));
    });
}

#[test]
fn the_report_names_the_task_whose_poll_does_not_return() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let task = {
            let _entered = rt.enter();
            runtime::task::Builder::new().name("stubborn").spawn(async move {
                entered.send(()).unwrap();
                let _ = may_go_on.lock().recv();
            })
        };
        begun.recv().unwrap();
        let report = promptly(|| rt.shutdown(Duration::ZERO));
        let names: Vec<_> = report.stuck.iter().map(|stuck| stuck.name.as_deref()).collect();
        assert_eq!(names, [Some("stubborn")]);
        assert_eq!(report.stuck[0].id, task.id());
        drop(proceed);
        task.wait().unwrap();
    });
}

/// A task that calls `block` in the middle of its poll is stuck in the report, and nobody else is. `block` is to call the first
/// function when the shutdown may begin, and the second one to be stuck.
fn is_stuck_in(block: fn(&dyn Fn(), &dyn Fn())) {
    within(PATIENCE, move || {
        let rt = multi(2);
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let task = rt.spawn(async move {
            block(&|| entered.send(()).unwrap(), &|| _ = may_go_on.lock().recv());
        });
        begun.recv().unwrap();
        let report = promptly(|| rt.shutdown(Duration::ZERO));
        let stuck: Vec<_> = report.stuck.iter().map(|stuck| stuck.id).collect();
        assert_eq!((stuck, report.cancelled), (vec![task.id()], 0));
        drop(proceed);
        task.wait().unwrap();
    });
}

#[test]
fn the_report_names_a_task_that_has_left_its_worker_to_others() {
    is_stuck_in(|begin, wait| {
        runtime::task::block_in_place(|| {
            begin();
            wait();
        });
    });
    is_stuck_in(|begin, wait| {
        runtime::block_on(async {
            begin();
            wait();
        });
    });
}

#[test]
fn the_report_names_a_task_that_has_come_back_and_found_no_worker() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).monitor(false).build().unwrap();
        let gate = Arc::new(Barrier::new(2));
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Arc::new(Mutex::new(may_go_on));
        let comes_back = {
            let (gate, may_go_on, entered) = (gate.clone(), may_go_on.clone(), entered.clone());
            rt.spawn(async move {
                runtime::task::block_in_place(|| gate.wait());
                entered.send(()).unwrap();
                let _ = may_go_on.lock().recv();
            })
        };
        let has_the_worker = rt.spawn(async move {
            gate.wait();
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
        });
        (0..2).for_each(|_| begun.recv().unwrap());
        let report = promptly(|| rt.shutdown(Duration::ZERO));
        let stuck: HashSet<_> = report.stuck.iter().map(|stuck| stuck.id).collect();
        assert_eq!((stuck, report.cancelled), (HashSet::from([comes_back.id(), has_the_worker.id()]), 0));
        drop(proceed);
        comes_back.wait().unwrap();
        has_the_worker.wait().unwrap();
    });
}

#[test]
fn the_report_counts_blocking_jobs_that_do_not_return() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let job = rt.spawn_blocking(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
        });
        begun.recv().unwrap();
        let report = promptly(|| rt.shutdown(Duration::ZERO));
        assert_eq!(report.blocking_stuck, 1);
        drop(proceed);
        job.wait().unwrap();
    });
}

#[test]
fn a_shutdown_inside_async_code_does_not_wait() {
    on_each(|rt| {
        let handle = rt.handle();
        let counts = Counts::new();
        drop(rt.spawn(counts.watch(std::future::pending::<()>())));
        promptly(|| handle.block_on(async move { rt.shutdown(Duration::MAX) }));
        until(|| counts.drops() == 1);
    });
}

#[test]
fn shutdown_background_does_not_wait_for_a_blocking_job() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let job = rt.spawn_blocking(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
        });
        begun.recv().unwrap();
        promptly(|| rt.shutdown_background());
        assert!(!job.is_finished());
        drop(proceed);
        job.wait().unwrap();
    });
}

#[test]
fn shutdown_background_drops_the_tasks_soon() {
    on_each(|rt| {
        let counts = Counts::new();
        let tasks = populate(&rt, &counts);
        rt.block_on(settle());
        promptly(|| rt.shutdown_background());
        until(|| counts.drops() == 30);
        all_shut_down(tasks);
    });
}

// --- afterwards ---

#[test]
fn spawning_after_the_shutdown_resolves_with_is_shutdown() {
    on_each(|rt| {
        let (handle, counts) = (rt.handle(), Counts::new());
        drop(rt);
        let task = handle.spawn(counts.watch(async {}));
        assert!(promptly(|| task.wait()).unwrap_err().is_shutdown());
        let job = handle.spawn_blocking(|| ());
        assert!(promptly(|| job.wait()).unwrap_err().is_shutdown());
        assert_eq!((counts.polls(), counts.drops()), (0, 1));
        handle.call_soon(|| unreachable!("nobody is there to call it"));
        handle.stop();
    });
}

#[test]
fn a_task_that_was_queued_for_a_blocking_thread_resolves_at_the_shutdown() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        drop(rt.spawn_blocking(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
        }));
        begun.recv().unwrap();
        let queued = rt.spawn_blocking(|| ());
        rt.shutdown_background();
        assert!(promptly(|| queued.wait()).unwrap_err().is_shutdown());
        drop(proceed);
    });
}

#[test]
fn a_foreign_thread_that_awaits_a_task_learns_of_the_shutdown() {
    within(PATIENCE, || {
        let rt = multi(1);
        let task = rt.spawn(std::future::pending::<()>());
        let waiter = thread::spawn(move || task.wait());
        drop(rt);
        assert!(waiter.join().unwrap().unwrap_err().is_shutdown());
    });
}

#[test]
fn spawns_from_other_threads_race_with_the_shutdown_and_none_is_lost() {
    within(PATIENCE, || {
        for _ in 0..100 {
            let rt = multi(2);
            let (handle, counts) = (rt.handle(), Counts::new());
            let start = Arc::new(Barrier::new(3));
            let spawners = [(); 2].map(|()| {
                let (handle, counts, start) = (handle.clone(), counts.clone(), start.clone());
                thread::spawn(move || {
                    start.wait();
                    (0..50).map(|_| handle.spawn(counts.watch(async {}))).collect::<Vec<_>>()
                })
            });
            start.wait();
            drop(rt);
            for spawner in spawners {
                for task in spawner.join().unwrap() {
                    if let Err(error) = promptly(|| task.wait()) {
                        assert!(error.is_shutdown());
                    }
                }
            }
            assert_eq!(counts.drops(), 100);
        }
    });
}

#[test]
fn wakes_from_other_threads_race_with_the_shutdown_and_none_is_lost() {
    within(PATIENCE, || {
        for _ in 0..100 {
            let rt = multi(2);
            let counts = Counts::new();
            let gates: Vec<_> = (0..20).map(|_| Gate::new()).collect();
            let passing = |gate: &Gate| {
                let gate = gate.clone();
                rt.spawn(counts.watch(async move { gate.pass().await }))
            };
            let tasks: Vec<_> = gates.iter().map(passing).collect();
            let wakers: Vec<_> = gates.iter().map(Gate::waker).collect();
            let start = Arc::new(Barrier::new(2));
            let waking = {
                let start = start.clone();
                thread::spawn(move || {
                    start.wait();
                    wakers.into_iter().for_each(std::task::Waker::wake);
                })
            };
            start.wait();
            drop(rt);
            waking.join().unwrap();
            all_shut_down(tasks);
            assert_eq!(counts.drops(), 20);
        }
    });
}

#[test]
fn main_may_return_with_a_live_runtime_and_detached_tasks() {
    if runtime_tests::is_child() {
        let rt = multi(2);
        let counter = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            let counter = counter.clone();
            drop(rt.spawn(async move {
                loop {
                    counter.fetch_add(1, Ordering::Relaxed);
                    runtime::task::yield_now().await;
                }
            }));
        }
        until(|| counter.load(Ordering::Relaxed) > 10);
        std::mem::forget(rt);
        return;
    }
    let output =
        runtime_tests::child("shutdown::main_may_return_with_a_live_runtime_and_detached_tasks", &[]);
    runtime_tests::assert_passed(&output);
}

#[test]
fn a_runtime_in_a_static_is_never_dropped_and_harms_nobody() {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    within(PATIENCE, || {
        let rt = RUNTIME.get_or_init(|| multi(1));
        assert_eq!(rt.block_on(rt.spawn(async { 1 })).unwrap(), 1);
    });
}

/// Foreign code may wake a task with a lock in hand that the task's destructor wants: no destructor runs inside of a wake-up
/// while there is somebody else to run it.
#[test]
fn a_wake_that_meets_the_shutdown_runs_no_destructor() {
    /// Leaves its waker in the list, and wants the list when it goes.
    struct Listed(Arc<Mutex<Vec<Waker>>>, bool);

    impl std::future::Future for Listed {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            if !std::mem::replace(&mut self.1, true) {
                self.0.lock().push(cx.waker().clone());
            }
            Poll::Pending
        }
    }

    impl Drop for Listed {
        fn drop(&mut self) {
            drop(self.0.lock());
        }
    }

    const TASKS: usize = 20_000;
    within(PATIENCE, || {
        let rt = multi(2);
        let list = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..TASKS {
            drop(rt.spawn(Listed(list.clone(), false)));
        }
        until(|| list.lock().len() == TASKS);
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let waker = {
            let (over, rounds, list) = (over.clone(), rounds.clone(), list.clone());
            thread::spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    // The last first, which the shutdown comes to last.
                    list.lock().iter().rev().for_each(Waker::wake_by_ref);
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        until(|| rounds.load(Ordering::SeqCst) > 0);
        drop(rt);
        over.store(true, Ordering::SeqCst);
        waker.join().unwrap();
    });
}
