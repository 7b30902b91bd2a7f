//! A task that blocks its thread, or computes for long, holds up nobody else; and it is named.
//!
//! Whoever blocks here waits for something that only another task can do: without a monitor these tests hang.

use std::collections::HashSet;
use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::net::TcpListener;
use runtime::task::{self, coop};
use runtime::time::sleep;
use runtime::{Runtime, Stall, StallCause, spawn};
use runtime_tests::{
    PATIENCE, alone, armed, armed_here, multi, open_files, open_timers, promptly, threads_named, until,
    within,
};
use rustix::time::{ClockId, clock_gettime};

/// Blocks every worker until the sender is dropped. They do when this returns.
fn block_all(rt: &Runtime, workers: usize) -> mpsc::SyncSender<()> {
    let barrier = Arc::new(Barrier::new(workers + 1));
    let (sender, receiver) = mpsc::sync_channel(0);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..workers {
        let (barrier, receiver) = (barrier.clone(), receiver.clone());
        drop(rt.spawn(async move {
            barrier.wait();
            let _: Result<(), _> = receiver.lock().recv();
        }));
    }
    barrier.wait();
    sender
}

// --- what a stuck worker holds ---

#[test]
fn a_child_starts_while_its_parent_blocks_if_a_worker_is_idle() {
    within(PATIENCE, || {
        let rt = multi(2);
        for _ in 0..20 {
            let parent = rt.spawn(async {
                let (sender, receiver) = mpsc::channel();
                drop(spawn(async move { sender.send(5).unwrap() }));
                receiver.recv().unwrap()
            });
            assert_eq!(parent.wait().unwrap(), 5);
        }
    });
}

#[test]
fn a_task_that_was_woken_starts_while_who_woke_it_blocks() {
    within(PATIENCE, || {
        let rt = multi(2);
        for _ in 0..20 {
            let (promise, future) = runtime::Promise::new();
            let (sender, receiver) = mpsc::channel();
            drop(rt.spawn(async move { sender.send(future.await.unwrap()).unwrap() }));
            let blocks = rt.spawn(async move {
                promise.set_result(5).unwrap();
                receiver.recv().unwrap()
            });
            assert_eq!(blocks.wait().unwrap(), 5);
        }
    });
}

#[test]
fn the_tasks_behind_one_that_blocks_run_while_all_workers_block() {
    within(PATIENCE, || {
        for workers in [1, 2] {
            let rt = multi(workers);
            let blocked = block_all(&rt, workers);
            let others: Vec<_> = (0..100).map(|n| rt.spawn(async move { n })).collect();
            for (n, task) in others.into_iter().enumerate() {
                assert_eq!(task.wait().unwrap(), n);
            }
            drop(blocked);
        }
    });
}

#[test]
fn timers_go_off_while_all_workers_block() {
    within(PATIENCE, || {
        let rt = multi(2);
        let ticker = rt.spawn(async {
            for _ in 0..10 {
                sleep(Duration::from_millis(2)).await;
            }
        });
        let blocked = block_all(&rt, 2);
        ticker.wait().unwrap();
        drop(blocked);
    });
}

#[test]
fn timers_go_off_while_all_workers_compute() {
    within(PATIENCE, || {
        let rt = multi(2);
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..2 {
            let over = over.clone();
            drop(rt.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        let ticker = rt.spawn(async {
            for _ in 0..10 {
                sleep(Duration::from_millis(2)).await;
            }
        });
        ticker.wait().unwrap();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn connections_are_served_while_all_workers_block() {
    within(PATIENCE, || {
        let rt = multi(2);
        let listener = rt.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        drop(rt.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            while stream.read(&mut byte).await.unwrap() == 1 {
                stream.write_all(&byte).await.unwrap();
            }
        }));
        let mut client = StdStream::connect(address).unwrap();
        let blocked = block_all(&rt, 2);
        for n in 0..10 {
            client.write_all(&[n]).unwrap();
            let mut echo = [0];
            client.read_exact(&mut echo).unwrap();
            assert_eq!(echo, [n]);
        }
        drop(blocked);
    });
}

#[test]
fn a_spare_worker_that_blocks_as_well_is_helped_too() {
    within(PATIENCE, || {
        let rt = multi(2);
        // Two workers and six spare ones.
        let blocked = block_all(&rt, 8);
        assert_eq!(rt.spawn(async { 1 }).wait().unwrap(), 1);
        assert!(rt.metrics().spare_workers() >= 6, "{:?}", rt.metrics());
        drop(blocked);
    });
}

/// The most spare workers that there are within a time in which another one would come.
fn most_spare_workers(rt: &Runtime) -> usize {
    let begin = Instant::now();
    let mut most = 0;
    while begin.elapsed() < Duration::from_millis(100) {
        most = most.max(rt.metrics().spare_workers());
        thread::yield_now();
    }
    most
}

#[test]
fn there_are_as_many_spare_workers_as_workers_for_those_that_compute() {
    within(PATIENCE, || {
        let rt = multi(2);
        let over = Arc::new(AtomicBool::new(false));
        let spinners: Vec<_> = (0..8)
            .map(|_| {
                let over = over.clone();
                rt.spawn(async move { while !over.load(Ordering::Relaxed) {} })
            })
            .collect();
        until(|| rt.metrics().spare_workers() == 2);
        let most = most_spare_workers(&rt);
        over.store(true, Ordering::Relaxed);
        assert_eq!(most, 2);
        spinners.into_iter().for_each(|spinner| spinner.wait().unwrap());
    });
}

#[test]
fn there_are_sixteen_spare_workers_for_those_that_are_blocked() {
    within(PATIENCE, || {
        let rt = multi(1);
        // The worker, and as many spare ones as there may be.
        let blocked = block_all(&rt, 17);
        // Another one would have something to do.
        let waits = rt.spawn(async {});
        let most = most_spare_workers(&rt);
        drop(blocked);
        assert_eq!(most, 16);
        waits.wait().unwrap();
    });
}

#[test]
fn a_connection_is_served_while_the_task_of_another_blocks_who_woke_for_it() {
    within(PATIENCE, || {
        let rt = multi(2);
        let listener = rt.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || {
            let client = StdStream::connect(address).unwrap();
            (client, rt.block_on(listener.accept()).unwrap().0)
        };
        let ((mut first, blocks), (mut second, frees)) = (connect(), connect());
        let (entered, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let blocked = rt.spawn(async move {
            blocks.read(&mut [0]).await.unwrap();
            entered.send(()).unwrap();
            gone.recv().unwrap();
        });
        let free = rt.spawn(async move {
            frees.read(&mut [0]).await.unwrap();
            go.send(()).unwrap();
        });
        first.write_all(&[1]).unwrap();
        begun.recv().unwrap();
        second.write_all(&[1]).unwrap();
        blocked.wait().unwrap();
        free.wait().unwrap();
    });
}

// --- what comes of it ---

#[test]
fn spare_workers_go_when_the_workers_are_back() {
    within(PATIENCE, || {
        let rt = multi(2);
        let blocked = block_all(&rt, 4);
        assert!(rt.metrics().spare_workers_started() >= 2, "{:?}", rt.metrics());
        drop(blocked);
        until(|| rt.metrics().spare_workers() == 0);
        until(|| rt.metrics().idle_workers() == 2);
        // They come again.
        drop(block_all(&rt, 4));
        until(|| rt.metrics().spare_workers() == 0);
    });
}

#[test]
fn what_a_spare_worker_leaves_behind_is_run() {
    within(PATIENCE, || {
        let rt = multi(1);
        let stop = Arc::new(AtomicBool::new(false));
        // Keep whoever runs them busy: the spare worker is dismissed in the middle of work, and nobody runs dry.
        let busy: Vec<_> = (0..10).map(|_| Arc::new(AtomicUsize::new(0))).collect();
        let tasks: Vec<_> = busy
            .iter()
            .map(|polls| {
                let (polls, stop) = (polls.clone(), stop.clone());
                rt.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        polls.fetch_add(1, Ordering::Relaxed);
                        task::yield_now().await;
                    }
                })
            })
            .collect();
        let polls = || busy.iter().map(|polls| polls.load(Ordering::Relaxed)).collect::<Vec<_>>();
        for _ in 0..3 {
            drop(block_all(&rt, 2));
            until(|| rt.metrics().spare_workers() == 0);
            let before = polls();
            until(|| polls().iter().zip(&before).all(|(now, before)| now > before));
        }
        stop.store(true, Ordering::Relaxed);
        tasks.into_iter().for_each(|task| task.wait().unwrap());
    });
}

#[test]
fn timers_armed_on_a_spare_worker_outlive_it() {
    within(PATIENCE, || {
        let rt = multi(1);
        let blocked = block_all(&rt, 1);
        let (arming, is_armed) = mpsc::channel();
        let sleeper = rt.spawn(async move {
            let timer = armed_here(Duration::from_millis(100), sleep).await;
            arming.send(()).unwrap();
            timer.await;
        });
        is_armed.recv().unwrap();
        drop(blocked);
        until(|| rt.metrics().spare_workers() == 0);
        sleeper.wait().unwrap();
    });
}

#[test]
fn a_runtime_ends_while_spare_workers_block() {
    within(PATIENCE, || {
        let rt = multi(2);
        let blocked = block_all(&rt, 5);
        let waits = rt.spawn(std::future::pending::<()>());
        rt.shutdown_background();
        drop(blocked);
        assert!(waits.wait().unwrap_err().is_shutdown());
    });
}

#[test]
fn the_threads_of_spare_workers_and_of_the_monitor_are_joined() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).thread_name("spares").build().unwrap();
        let blocked = block_all(&rt, 3);
        assert!(threads_named("spares-") >= 2);
        let handle = rt.handle();
        let release = thread::spawn(move || {
            // No spare worker is dismissed before that.
            until(|| handle.spawn(async {}).wait().is_err());
            drop(blocked);
        });
        drop(rt);
        release.join().unwrap();
        assert_eq!(threads_named("spares-"), 0);
    });
}

/// What the system is asked for together with short slices of the processor.
#[expect(unsafe_code, reason = "the policy of a thread has no safe form")]
fn runs_soon() -> bool {
    // SAFETY: the call reads nothing but the number of the thread, zero for this one.
    let policy = unsafe { libc::sched_getscheduler(0) };
    policy & libc::SCHED_RESET_ON_FORK != 0
}

#[test]
fn spare_workers_and_the_monitor_ask_to_run_soon_and_workers_do_not() {
    within(PATIENCE, || {
        let (tell, told) = mpsc::channel();
        let report = move |_: Stall| tell.send(runs_soon()).unwrap();
        let threshold = Some(Duration::from_millis(5));
        let rt =
            Runtime::builder().worker_threads(1).stall_threshold(threshold).on_stall(report).build().unwrap();
        // Where no spare worker may have come to run it.
        let plain = Runtime::builder().worker_threads(1).monitor(false).build().unwrap();
        assert!(!plain.spawn(async { runs_soon() }).wait().unwrap(), "on a worker");
        let blocked = block_all(&rt, 1);
        assert!(rt.spawn(async { runs_soon() }).wait().unwrap(), "on the spare worker");
        assert!(told.recv().unwrap(), "on the monitor's thread");
        drop(blocked);
    });
}

#[test]
fn the_timer_of_the_monitor_goes_with_the_runtime() {
    alone("monitor::the_timer_of_the_monitor_goes_with_the_runtime", || {
        let rt = multi(1);
        drop(block_all(&rt, 2));
        assert_eq!(open_timers(), usize::from(!cfg!(runtime_portable)));
        drop(rt);
        assert_eq!(open_timers(), 0);
    });
}

#[test]
fn what_a_monitor_reads_for_a_moment_is_not_counted_as_left_open() {
    alone("monitor::what_a_monitor_reads_for_a_moment_is_not_counted_as_left_open", || {
        let before = open_files();
        let reads = File::open("/proc/thread-self/stat").unwrap();
        assert_eq!(open_files(), before);
        drop(reads);
    });
}

// --- when the monitor comes ---

/// A runtime that reports nothing, so that its monitor has no thread before there is something to pass on.
fn unwatched(workers: usize, name: &str) -> Runtime {
    Runtime::builder().worker_threads(workers).thread_name(name).stall_threshold(None).build().unwrap()
}

/// Spawns a task that sends its number on, and waits for that in a plain thread's way.
fn child() -> i32 {
    let (sender, receiver) = mpsc::channel();
    drop(spawn(async move { sender.send(5).unwrap() }));
    receiver.recv().unwrap()
}

#[test]
fn a_runtime_that_runs_one_task_has_no_thread_for_its_monitor() {
    within(PATIENCE, || {
        let rt = unwatched(2, "short");
        assert_eq!(rt.block_on(rt.spawn(async { 5 })).unwrap(), 5);
        until(|| rt.metrics().idle_workers() == 2);
        assert_eq!(threads_named("short-monitor"), 0);
        rt.block_on(rt.spawn(async { drop(spawn(async {})) })).unwrap();
        until(|| threads_named("short-monitor") == 1);
    });
}

#[test]
fn the_child_of_the_first_task_starts_while_its_parent_blocks() {
    within(PATIENCE, || {
        for _ in 0..20 {
            let rt = unwatched(2, "first");
            assert_eq!(rt.spawn(async { child() }).wait().unwrap(), 5);
        }
    });
}

#[test]
fn the_timers_of_a_worker_that_woke_for_the_second_task_go_off_while_that_blocks() {
    within(PATIENCE, || {
        let rt = unwatched(2, "second");
        let (sender, receiver) = mpsc::channel();
        drop(rt.spawn(async move {
            sleep(Duration::from_millis(50)).await;
            sender.send(5).unwrap();
        }));
        // It sleeps for the timer, and there is no other thread yet.
        until(|| rt.metrics().idle_workers() == 2);
        assert_eq!(rt.spawn(async move { receiver.recv().unwrap() }).wait().unwrap(), 5);
    });
}

#[test]
fn a_task_that_comes_while_the_first_ones_block_is_run() {
    within(PATIENCE, || {
        for workers in [1, 2] {
            let rt = unwatched(workers, "full");
            let blocked = block_all(&rt, workers);
            assert_eq!(rt.spawn(async { 5 }).wait().unwrap(), 5);
            drop(blocked);
        }
    });
}

#[test]
fn a_timer_that_is_armed_while_the_first_tasks_block_goes_off() {
    within(PATIENCE, || {
        let rt = unwatched(2, "timer");
        let blocked = block_all(&rt, 2);
        let _inside = rt.enter();
        let (promise, future) = runtime::Promise::new();
        rt.handle().call_later(Duration::from_millis(5), move || promise.set_result(5).unwrap());
        assert_eq!(*future.wait().unwrap(), 5);
        drop(blocked);
    });
}

#[test]
fn tasks_that_were_spawned_by_the_future_of_block_on_are_run_while_the_first_ones_block() {
    within(PATIENCE, || {
        let rt = unwatched(2, "root");
        rt.block_on(async {
            let (senders, tasks): (Vec<_>, Vec<_>) = (0..4)
                .map(|_| {
                    let (sender, receiver) = mpsc::channel::<()>();
                    (sender, spawn(async move { receiver.recv().is_err() }))
                })
                .unzip();
            // The last one lets the others go.
            spawn(async { drop(senders) }).await.unwrap();
            for task in tasks {
                assert!(task.await.unwrap());
            }
        });
    });
}

// --- after blocking code ---

#[test]
fn a_task_is_watched_after_its_blocking_code() {
    within(PATIENCE, || {
        for workers in [1, 2] {
            let rt = multi(workers);
            let in_place = rt.spawn(async {
                task::block_in_place(|| ());
                child()
            });
            assert_eq!(in_place.wait().unwrap(), 5);
            let nested = rt.spawn(async {
                runtime::block_on(task::yield_now());
                child()
            });
            assert_eq!(nested.wait().unwrap(), 5);
        }
    });
}

#[test]
fn a_task_that_blocks_after_its_blocking_code_is_reported() {
    within(PATIENCE, || {
        let (rt, stalls) = watched(1);
        let (go, gone) = mpsc::channel::<()>();
        let task = rt.spawn(async move {
            task::block_in_place(|| ());
            gone.recv()
        });
        assert_eq!(report_but(StallCause::Computing, &stalls, &task).cause, StallCause::Blocked);
        drop(go);
    });
}

// --- at the end ---

/// Sends a word when it is dropped.
struct Last(mpsc::Sender<()>);

impl Drop for Last {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn the_child_of_a_task_that_blocks_until_its_end_fails_with_the_runtime() {
    within(PATIENCE, || {
        for workers in [1, 2] {
            let rt = multi(workers);
            let (blocks, is_blocked) = mpsc::channel();
            let parent = rt.spawn(async move {
                let (sender, receiver) = mpsc::channel();
                let last = Last(sender);
                let child = spawn(async move {
                    let _last = last;
                    std::future::pending::<()>().await;
                });
                blocks.send(child).unwrap();
                receiver.recv().unwrap();
            });
            let child = is_blocked.recv().unwrap();
            promptly(|| drop(rt));
            assert!(child.wait().unwrap_err().is_shutdown());
            parent.wait().unwrap();
        }
    });
}

/// How often the thread of that name has gone to sleep.
fn sleeps(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.into_iter().find(named).unwrap();
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

#[test]
fn the_monitor_of_a_runtime_that_was_left_behind_looks_ever_more_rarely() {
    // The fact is a rate, so there has to be a time.
    const WINDOW: Duration = Duration::from_millis(500);
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).thread_name("behind").build().unwrap();
        let blocked = block_all(&rt, 1);
        until(|| threads_named("behind-monitor") == 1);
        rt.shutdown_background();
        let before = sleeps("behind-monitor");
        std::thread::sleep(WINDOW);
        let slept = sleeps("behind-monitor") - before;
        // Once a millisecond would be five hundred.
        assert!(slept < 50, "{slept} looks in {WINDOW:?}");
        drop(blocked);
    });
}

#[test]
fn a_destructor_that_waits_for_another_task_to_fail_does_not_hold_up_the_end() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (sender, receiver) = mpsc::channel();
        /// Waits for a word when it is dropped.
        struct Waits(Receiver<()>);
        impl Drop for Waits {
            fn drop(&mut self) {
                self.0.recv().unwrap();
            }
        }
        let _waits = rt.spawn(async move {
            let _waits = Waits(receiver);
            std::future::pending::<()>().await;
        });
        let _tells = rt.spawn(async move {
            let _last = Last(sender);
            std::future::pending::<()>().await;
        });
        until(|| rt.metrics().idle_workers() == 1 && rt.metrics().polls() >= 2);
        promptly(|| drop(rt));
    });
}

#[test]
fn a_runtime_without_a_monitor_has_no_thread_for_it() {
    within(PATIENCE, || {
        let with = Runtime::builder().worker_threads(1).thread_name("with").build().unwrap();
        let without =
            Runtime::builder().worker_threads(1).thread_name("without").monitor(false).build().unwrap();
        with.spawn(async {}).wait().unwrap();
        without.spawn(async {}).wait().unwrap();
        until(|| threads_named("with-monitor") == 1);
        assert_eq!(threads_named("without-monitor"), 0);
    });
}

/// Blocks its thread when it is woken, until so many tasks have run.
struct BlocksUntil(usize, Mutex<Receiver<()>>, mpsc::Sender<bool>);

impl Wake for BlocksUntil {
    fn wake(self: Arc<Self>) {
        let ran = self.1.lock();
        let all = (0..self.0).all(|_| ran.recv_timeout(PATIENCE / 2).is_ok());
        self.2.send(all).unwrap();
    }
}

#[test]
fn tasks_that_were_woken_before_a_waker_that_blocks_run_meanwhile() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(2).start_paused(true).build().unwrap();
        let ((run, ran), (report, reported)) = (mpsc::channel(), mpsc::channel());
        let blocks = Waker::from(Arc::new(BlocksUntil(2, Mutex::new(ran), report)));
        let (left, leaves) = mpsc::channel();
        let waits = || {
            let (run, left, mut polled) = (run.clone(), left.clone(), false);
            drop(rt.spawn(poll_fn(move |cx| {
                if std::mem::replace(&mut polled, true) {
                    run.send(()).unwrap();
                    return Poll::Ready(());
                }
                left.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })));
            leaves.recv().unwrap()
        };
        let tasks: Vec<Waker> = (0..4).map(|_| waits()).collect();
        rt.spawn(async move {
            // One set of timers, all due at once; two tasks stand before the one that blocks, whichever end is the first.
            let all: Vec<_> = tasks[..2].iter().chain([&blocks]).chain(&tasks[2..]).collect();
            let mut sleeps: Vec<_> = all.iter().map(|_| Box::pin(sleep(Duration::from_secs(1)))).collect();
            for (sleep, waker) in sleeps.iter_mut().zip(all) {
                assert!(sleep.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            }
            std::future::pending::<()>().await;
        });
        assert!(reported.recv().unwrap(), "they waited for the waker");
    });
}

#[test]
fn a_timer_goes_off_while_the_only_worker_that_is_awake_is_in_a_waker_that_blocks() {
    within(PATIENCE, || {
        let rt = multi(2);
        let ((run, ran), (report, reported)) = (mpsc::channel(), mpsc::channel());
        let blocks = Waker::from(Arc::new(BlocksUntil(1, Mutex::new(ran), report)));
        rt.spawn(async move {
            let _first = armed(Duration::from_millis(1), sleep, &blocks);
            sleep(Duration::from_millis(20)).await;
            run.send(()).unwrap();
        });
        assert!(reported.recv().unwrap(), "it waited for the waker");
    });
}

#[test]
fn a_task_that_keeps_its_worker_loses_its_budget_while_others_wait() {
    within(PATIENCE, || {
        let rt = multi(1);
        // Nobody else can run what waits: all the spare workers that come are kept busy in the same way.
        let begin = Arc::new(Barrier::new(1));
        let hog = rt.spawn(async move {
            begin.wait();
            // Nobody waits yet, and so nobody takes it.
            let had_budget = coop::has_budget_remaining();
            drop(spawn(std::future::pending::<()>()));
            while coop::has_budget_remaining() {
                let spun = std::time::Instant::now();
                while spun.elapsed() < Duration::from_millis(1) {}
                // Always something in the queue, whoever takes it away.
                drop(spawn(async {}));
            }
            had_budget
        });
        // No unit was spent: only the monitor can have taken the budget.
        assert!(hog.wait().unwrap());
    });
}

/// How much processor time the calling thread has used.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

#[test]
fn a_task_that_blocks_its_thread_keeps_its_budget() {
    /// A poll that has used so much has computed, and be it on its way to the lock, on a busy machine.
    const COMPUTED: Duration = Duration::from_micros(500);
    within(PATIENCE, || {
        let rt = multi(1);
        let (begun, all_begun) = mpsc::channel();
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock();
        let blocked = || {
            let (begun, lock) = (begun.clone(), lock.clone());
            rt.spawn(async move {
                let before = processor_time();
                begun.send(()).unwrap();
                drop(lock.lock());
                coop::has_budget_remaining() || processor_time() - before >= COMPUTED
            })
        };
        let first = blocked();
        all_begun.recv().unwrap();
        // More than there are spare workers: the last ones wait. While those come, one after some looks at the other, all
        // that the monitor takes from a poll is taken from the first.
        let rest: Vec<_> = (0..20).map(|_| blocked()).collect();
        until(|| rt.metrics().spare_workers() == 16);
        drop(held);
        assert!(first.wait().unwrap());
        rest.into_iter().for_each(|task| assert!(task.wait().unwrap()));
    });
}

// --- reports ---

/// A runtime that reports polls of more than 20 ms, and where the reports come.
fn watched(workers: usize) -> (Runtime, Receiver<Stall>) {
    let (sender, stalls) = mpsc::channel();
    let rt = Runtime::builder()
        .worker_threads(workers)
        .stall_threshold(Duration::from_millis(20))
        .on_stall(move |stall| drop(sender.send(stall)))
        .build()
        .unwrap();
    (rt, stalls)
}

/// The next report of that task, whatever else a slow machine brings.
fn report_of<T>(stalls: &Receiver<Stall>, task: &runtime::Task<T>) -> Stall {
    stalls.iter().find(|stall| stall.task_id == task.id()).unwrap()
}

/// The next one with another cause than what it may seem to be at first, on a busy machine: the thread of a task that is
/// about to block may wait for a processor, and that of one that computes for a page of memory. The same poll is reported
/// again at ten times its age.
fn report_but<T>(seeming: StallCause, stalls: &Receiver<Stall>, task: &runtime::Task<T>) -> Stall {
    loop {
        let stall = report_of(stalls, task);
        if stall.cause != seeming {
            return stall;
        }
    }
}

#[test]
fn a_task_that_blocks_is_reported_with_its_name_and_where_it_was_spawned() {
    within(PATIENCE, || {
        let (rt, stalls) = watched(2);
        let (go, gone) = mpsc::channel::<()>();
        let _inside = rt.enter();
        let line = line!() + 1;
        let task = task::Builder::new().name("culprit").spawn(async move { gone.recv() });
        let stall = report_but(StallCause::Computing, &stalls, &task);
        assert_eq!(stall.cause, StallCause::Blocked);
        assert_eq!((stall.location.file().ends_with("monitor.rs"), stall.location.line()), (true, line));
        assert_eq!(stall.task_name.as_deref(), Some("culprit"));
        assert!(stall.duration >= Duration::from_millis(20));
        let text = stall.to_string();
        assert!(text.contains("\"culprit\"") && text.contains("blocked"), "{text}");
        drop(go);
    });
}

/// The report has the cause, and the place where this task was spawned.
#[track_caller]
fn is_of(stall: &Stall, cause: StallCause, line: u32) {
    assert_eq!(stall.cause, cause);
    assert_eq!((stall.location.file().ends_with("monitor.rs"), stall.location.line()), (true, line));
    assert!(stall.duration >= Duration::from_millis(20));
}

#[test]
fn a_task_that_waits_for_a_lock_of_the_system_is_reported_as_blocked() {
    within(PATIENCE, || {
        let (rt, stalls) = watched(2);
        let lock = Arc::new(std::sync::Mutex::new(()));
        let held = lock.lock().unwrap();
        let contended = lock.clone();
        let line = line!() + 1;
        let task = rt.spawn(async move { drop(contended.lock()) });
        is_of(&report_but(StallCause::Computing, &stalls, &task), StallCause::Blocked, line);
        drop(held);
        task.wait().unwrap();
    });
}

#[test]
fn a_task_that_sleeps_with_its_thread_is_reported_as_blocked() {
    within(PATIENCE, || {
        let (rt, stalls) = watched(2);
        let over = Arc::new(AtomicBool::new(false));
        let sleeps = over.clone();
        let line = line!() + 1;
        let task = rt.spawn(async move {
            // Hardly a moment between them.
            while !sleeps.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_secs(1));
            }
        });
        is_of(&report_but(StallCause::Computing, &stalls, &task), StallCause::Blocked, line);
        over.store(true, Ordering::Relaxed);
        task.wait().unwrap();
    });
}

#[test]
fn a_task_that_computes_is_reported_as_computing() {
    within(PATIENCE, || {
        let (rt, stalls) = watched(2);
        let over = Arc::new(AtomicBool::new(false));
        let spins = over.clone();
        let line = line!() + 1;
        let task = rt.spawn(async move { while !spins.load(Ordering::Relaxed) {} });
        is_of(&report_but(StallCause::Blocked, &stalls, &task), StallCause::Computing, line);
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_a_task_does_is_known_with_the_lowest_threshold() {
    within(PATIENCE, || {
        let (sender, stalls) = mpsc::channel();
        let rt = Runtime::builder()
            .worker_threads(1)
            .stall_threshold(Duration::from_millis(1))
            .on_stall(move |stall| drop(sender.send(stall)))
            .build()
            .unwrap();
        let (go, gone) = mpsc::channel::<()>();
        let task = rt.spawn(async move { gone.recv() });
        assert_eq!(report_but(StallCause::Computing, &stalls, &task).cause, StallCause::Blocked);
        drop(go);
    });
}

#[test]
fn a_task_of_a_current_thread_runtime_is_reported() {
    within(PATIENCE, || {
        let (sender, stalls) = mpsc::channel();
        let rt = Runtime::builder()
            .current_thread()
            .stall_threshold(Duration::from_millis(20))
            .on_stall(move |stall| drop(sender.send(stall)))
            .build()
            .unwrap();
        // Of this very poll; as in `report_but`.
        let reported = async move { stalls.iter().find(|stall| stall.cause != StallCause::Computing) };
        let stall = rt.block_on(async { spawn(reported).await.unwrap() });
        assert_eq!(stall.unwrap().cause, StallCause::Blocked);
    });
}

#[test]
fn each_of_many_that_stall_at_once_is_reported() {
    within(PATIENCE, || {
        let (rt, stalls) = watched(2);
        // More than may be reported at once.
        let blocked = block_all(&rt, 14);
        let mut reported = HashSet::new();
        while reported.len() < 14 {
            reported.insert(stalls.recv().unwrap().task_id);
        }
        drop(blocked);
    });
}

#[test]
fn a_handler_that_panics_does_not_end_the_watch() {
    within(PATIENCE, || {
        let (sender, stalls) = mpsc::channel();
        let rt = Runtime::builder()
            .worker_threads(1)
            .stall_threshold(Duration::from_millis(5))
            .on_stall(move |stall| {
                drop(sender.send(stall));
                panic!("no");
            })
            .build()
            .unwrap();
        for _ in 0..3 {
            let (go, gone) = mpsc::channel::<()>();
            let task = rt.spawn(async move { gone.recv() });
            report_of(&stalls, &task);
            drop(go);
        }
    });
}

/// The task numbers of the stalls that `tracing` was told of.
struct Listener(Mutex<mpsc::Sender<String>>);

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "runtime::stall"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let _ = self.0.lock().send(fields.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn tracing_is_told_of_a_stall() {
    within(PATIENCE, || {
        let (sender, told) = mpsc::channel();
        // For the process, because the event comes from the monitor's thread.
        tracing::subscriber::set_global_default(Listener(Mutex::new(sender))).unwrap();
        let (rt, _stalls) = watched(1);
        let (go, gone) = mpsc::channel::<()>();
        let task = rt.spawn(async move { gone.recv() });
        let own = format!("task_id={} ", task.id());
        // As in `report_but`.
        let seeming = "cause=it computes";
        let event = told.iter().find(|event| event.contains(&own) && !event.contains(seeming)).unwrap();
        assert!(event.contains("cause=its thread is blocked"), "{event}");
        drop(go);
    });
}
