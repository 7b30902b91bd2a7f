//! `BlockingPool`: so many jobs at a time, in order, and each comes to an end that its future tells.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::{BlockingPool, Runtime};
use runtime_tests::{Counts, PATIENCE, multi, on_each, poll_once, reports, single, until, within};

runtime::task_local! {
    inherit static REQUEST: u32;
    inherit static GRUDGE: Arc<Grudge>;
}

fn pool(rt: &Runtime, workers: usize) -> BlockingPool {
    let _entered = rt.enter();
    BlockingPool::new(workers)
}

/// A job that holds its worker until the sender is dropped, and the news that it runs.
fn blocked(pool: &BlockingPool) -> (runtime::Future<()>, mpsc::Sender<()>) {
    let (begun, begins) = mpsc::channel();
    let (release, held) = mpsc::channel::<()>();
    let job = pool
        .submit(move || {
            begun.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
    begins.recv_timeout(PATIENCE).expect("the job begins");
    (job, release)
}

#[test]
#[should_panic(expected = "needs at least 1 worker")]
fn a_pool_without_workers_panics() {
    let _ = BlockingPool::new(0);
}

#[test]
fn a_job_gives_its_result() {
    on_each(|rt| {
        let pool = pool(&rt, 1);
        assert_eq!(rt.block_on(pool.submit(|| 42).unwrap()).unwrap(), 42);
    });
}

#[test]
fn as_many_jobs_run_at_a_time_as_there_are_workers() {
    on_each(|rt| {
        let pool = pool(&rt, 3);
        let together = Arc::new(Barrier::new(3));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..99)
            .map(|_| {
                let (together, now, most) = (together.clone(), now.clone(), most.clone());
                let job = pool.submit(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    together.wait(); // hangs with fewer
                    now.fetch_sub(1, Ordering::SeqCst);
                    together.wait();
                });
                job.unwrap()
            })
            .collect();
        jobs.into_iter().for_each(|job| rt.block_on(job).unwrap());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn jobs_begin_in_the_order_of_their_submission() {
    on_each(|rt| {
        let pool = pool(&rt, 1);
        let (sender, receiver) = mpsc::channel();
        for n in 0..100 {
            let sender = sender.clone();
            drop(pool.submit(move || sender.send(n).unwrap()).unwrap());
        }
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_panic_fails_its_future_and_the_worker_goes_on() {
    on_each(|rt| {
        let pool = pool(&rt, 1);
        let bad = pool.submit(|| -> u8 { std::panic::resume_unwind(Box::new("no paper")) }).unwrap();
        let good = pool.submit(|| 7).unwrap();
        let error = rt.block_on(bad).unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.to_string(), "task panicked: no paper");
        assert_eq!(rt.block_on(good).unwrap(), 7);
    });
}

#[test]
fn cancelling_a_job_that_waits_drops_it_at_once() {
    on_each(|rt| {
        let (counts, pool) = (Counts::new(), pool(&rt, 1));
        let (first, release) = blocked(&pool);
        let (ran, token) = (Arc::new(AtomicUsize::new(0)), counts.token());
        let watched = ran.clone();
        let waiting = pool
            .submit(move || {
                let _token = token;
                watched.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
        assert!(waiting.cancel());
        assert_eq!(counts.drops(), 1, "while the worker is still busy");
        drop(release);
        rt.block_on(first).unwrap();
        rt.block_on(pool.shutdown(true, false));
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert!(rt.block_on(waiting).unwrap_err().is_cancelled());
    });
}

#[test]
fn a_job_that_runs_cannot_be_stopped_and_its_result_is_dropped() {
    on_each(|rt| {
        let (counts, pool) = (Counts::new(), pool(&rt, 1));
        let (begun, begins) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let token = counts.token();
        let job = pool
            .submit(move || {
                begun.send(()).unwrap();
                let _ = held.recv();
                token
            })
            .unwrap();
        begins.recv_timeout(PATIENCE).unwrap();
        assert!(job.cancel());
        assert_eq!(counts.drops(), 0);
        drop(release);
        rt.block_on(pool.shutdown(true, false));
        assert_eq!(counts.drops(), 1);
        assert!(job.cancelled());
    });
}

#[test]
fn a_job_without_readers_runs_all_the_same() {
    on_each(|rt| {
        let pool = pool(&rt, 1);
        let (first, release) = blocked(&pool);
        let (sender, receiver) = mpsc::channel();
        drop(pool.submit(move || sender.send(3).unwrap()).unwrap());
        drop(release);
        rt.block_on(first).unwrap();
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(3));
    });
}

#[test]
fn dropping_the_pool_lets_its_jobs_run() {
    on_each(|rt| {
        let pool = pool(&rt, 1);
        let (first, release) = blocked(&pool);
        let second = pool.submit(|| 5).unwrap();
        drop(pool);
        drop(release);
        rt.block_on(first).unwrap();
        assert_eq!(rt.block_on(second).unwrap(), 5);
    });
}

#[test]
fn jobs_inherit_the_values_of_their_submitter() {
    on_each(|rt| {
        let pool = pool(&rt, 1);
        let jobs: Vec<_> =
            (0..5).map(|n| REQUEST.sync_scope(n, || pool.submit(|| REQUEST.get()).unwrap())).collect();
        let seen: Vec<_> = jobs.into_iter().map(|job| rt.block_on(job).unwrap()).collect();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        let outside = pool.submit(|| REQUEST.try_with(|_| ()).is_err()).unwrap();
        assert!(rt.block_on(outside).unwrap());
    });
}

// --- map ---

#[test]
fn map_keeps_the_order_of_the_items_and_each_its_own_end() {
    on_each(|rt| {
        let pool = pool(&rt, 4);
        let results = rt.block_on(pool.map(0..50_u32, |n| {
            if n == 17 {
                std::panic::resume_unwind(Box::new("seventeen"));
            }
            n * n
        }));
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(square) => assert_eq!(square, n * n),
                Err(error) => assert!(n == 17 && error.is_panic()),
            }
        }
    });
}

#[test]
fn dropping_a_map_drops_the_jobs_that_wait() {
    on_each(|rt| {
        let (counts, pool) = (Counts::new(), pool(&rt, 1));
        let (first, release) = blocked(&pool);
        let tokens: Vec<_> = (0..20).map(|_| counts.token()).collect();
        let mut map = Box::pin(pool.map(tokens, drop));
        rt.block_on(async { assert!(poll_once(map.as_mut()).await.is_pending()) });
        assert_eq!(counts.drops(), 0);
        drop(map);
        assert_eq!(counts.drops(), 20);
        drop(release);
        rt.block_on(first).unwrap();
    });
}

// --- shutdown ---

#[test]
fn shutdown_refuses_new_jobs_and_runs_those_that_wait() {
    on_each(|rt| {
        let (counts, pool) = (Counts::new(), pool(&rt, 1));
        let (first, release) = blocked(&pool);
        let second = pool.submit(|| 2).unwrap();
        drop(pool.shutdown(false, false));
        let token = counts.token();
        assert!(pool.submit(move || drop(token)).unwrap_err().is_shutdown());
        assert_eq!(counts.drops(), 1);
        drop(release);
        rt.block_on(first).unwrap();
        assert_eq!(rt.block_on(second).unwrap(), 2);
    });
}

#[test]
fn shutdown_that_cancels_drops_the_jobs_that_wait() {
    on_each(|rt| {
        let (counts, pool) = (Counts::new(), pool(&rt, 1));
        let (first, release) = blocked(&pool);
        let token = counts.token();
        let second = pool.submit(move || drop(token)).unwrap();
        drop(pool.shutdown(false, true));
        assert_eq!(counts.drops(), 1);
        assert!(second.cancelled());
        drop(release);
        rt.block_on(first).unwrap();
    });
}

#[test]
fn shutdown_waits_for_the_last_job_if_told_so() {
    on_each(|rt| {
        let pool = pool(&rt, 2);
        let (first, release) = blocked(&pool);
        let mut waiting = Box::pin(pool.shutdown(true, false));
        rt.block_on(async {
            assert!(poll_once(waiting.as_mut()).await.is_pending());
            pool.shutdown(false, false).await;
        });
        drop(release);
        rt.block_on(waiting);
        assert!(first.done());
        rt.block_on(pool.shutdown(true, true));
    });
}

#[test]
fn the_shutdown_of_the_runtime_fails_the_jobs_that_wait() {
    within(PATIENCE, || {
        let rt = multi(1);
        let pool = pool(&rt, 1);
        let (first, release) = blocked(&pool);
        let second = pool.submit(|| 2).unwrap();
        rt.shutdown_background();
        assert!(second.wait().unwrap_err().is_shutdown(), "while its worker is in the first");
        drop(release);
        first.wait().unwrap();
        assert!(pool.submit(|| 3).unwrap_err().is_shutdown());
        runtime::block_on(pool.shutdown(true, false));
    });
}

#[test]
fn a_refused_submission_is_no_failure_that_nobody_saw() {
    within(PATIENCE, || {
        let (handler, seen) = reports();
        let rt = Runtime::builder().current_thread().on_unobserved(handler).build().unwrap();
        let pool = pool(&rt, 1);
        rt.block_on(pool.shutdown(true, false));
        rt.block_on(async { assert!(pool.submit(|| 3).unwrap_err().is_shutdown()) });
        drop((pool, rt));
        assert!(seen.recv().is_err());
    });
}

#[test]
fn a_job_that_the_shutdown_fails_is_no_failure_that_nobody_saw() {
    within(PATIENCE, || {
        let (handler, seen) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let pool = pool(&rt, 1);
        let (first, release) = blocked(&pool);
        drop(pool.submit(|| ()).unwrap());
        rt.shutdown_background();
        drop(release);
        first.wait().unwrap();
        runtime::block_on(pool.shutdown(true, false));
        drop((pool, first));
        assert!(seen.recv().is_err());
    });
}

#[test]
fn submissions_from_many_threads_are_all_answered() {
    within(PATIENCE, || {
        let rt = single();
        let pool = Arc::new(pool(&rt, 2));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let pool = pool.clone();
                std::thread::spawn(move || {
                    (0..200).map(|n| pool.submit(move || n).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            for (n, job) in (0..).zip(thread.join().unwrap()) {
                assert_eq!(*job.wait().unwrap(), n);
            }
        }
        until(|| format!("{pool:?}").contains("working: 0"));
    });
}

/// A closure's luggage whose drop tells that it has begun, and then waits for its word.
struct SlowDrop {
    begins: mpsc::Sender<()>,
    may_end: mpsc::Receiver<()>,
}

impl Drop for SlowDrop {
    fn drop(&mut self) {
        let _ = self.begins.send(());
        let _ = self.may_end.recv();
    }
}

fn slow_drop() -> (SlowDrop, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begins, begun) = mpsc::channel();
    let (let_end, may_end) = mpsc::channel();
    (SlowDrop { begins, may_end }, begun, let_end)
}

#[test]
fn a_pool_has_not_ended_before_the_jobs_that_the_runtime_refused_have_failed() {
    within(PATIENCE, || {
        let rt = multi(1);
        let pool = pool(&rt, 1);
        let (_first, release) = blocked(&pool);
        let (slow, begun, let_end) = slow_drop();
        let second = pool.submit(move || drop(slow)).unwrap();
        let ender = std::thread::spawn(|| rt.shutdown_background());
        begun.recv().unwrap();
        drop(release);
        let mut ended = Box::pin(pool.shutdown(true, false));
        runtime::block_on(async { assert!(poll_once(ended.as_mut()).await.is_pending()) });
        drop(let_end);
        runtime::block_on(ended);
        assert!(second.done());
        ender.join().unwrap();
    });
}

#[test]
fn a_pool_has_not_ended_before_the_jobs_that_it_dropped_have_failed() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let pool = Arc::new(pool(&rt, 1));
        let (_first, release) = blocked(&pool);
        let (slow, begun, let_end) = slow_drop();
        let second = pool.submit(move || drop(slow)).unwrap();
        let closing = pool.clone();
        let closer = std::thread::spawn(move || drop(closing.shutdown(false, true)));
        begun.recv().unwrap();
        drop(release);
        // There is one thread: when it does this the pool's worker has gone.
        rt.spawn_blocking(|| ()).wait().unwrap();
        let mut ended = Box::pin(pool.shutdown(true, false));
        runtime::block_on(async { assert!(poll_once(ended.as_mut()).await.is_pending()) });
        drop(let_end);
        runtime::block_on(ended);
        assert!(second.done());
        closer.join().unwrap();
    });
}

/// A value whose destructor panics, unless the thread panics already.
struct Grudge;

impl Drop for Grudge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("a grudge"));
        }
    }
}

#[test]
fn an_inherited_value_that_panics_when_it_goes_does_not_harm_who_shuts_the_pool_down() {
    within(PATIENCE, || {
        let rt = multi(1);
        let pool = pool(&rt, 1);
        let (first, release) = blocked(&pool);
        let grudge = Arc::new(Grudge);
        // The job keeps the last one.
        let second = GRUDGE.sync_scope(grudge, || pool.submit(|| ()).unwrap());
        drop(pool.shutdown(false, true));
        assert!(second.cancelled());
        drop(release);
        first.wait().unwrap();
    });
}

/// There is one thread, and the pool has always something to do.
#[test]
fn a_pool_lets_others_have_its_thread_between_two_jobs() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).max_blocking_threads(1).build().unwrap();
        let pool = pool(&rt, 1);
        let (_first, release) = blocked(&pool);
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |who| {
            let order = order.clone();
            move || order.lock().push(who)
        };
        let jobs = ["pool's second", "pool's third"].map(|who| pool.submit(note(who)).unwrap());
        let other = rt.spawn_blocking(note("other's"));
        let begin = Instant::now();
        // Longer than a worker keeps its thread.
        until(|| begin.elapsed() > Duration::from_millis(2));
        drop(release);
        other.wait().unwrap();
        jobs.iter().for_each(|job| _ = job.wait().unwrap());
        assert_eq!(*order.lock(), ["other's", "pool's second", "pool's third"]);
    });
}

/// With one worker the first job has ended when the second begins.
#[test]
fn a_panic_that_a_map_has_taken_and_gives_to_nobody_is_reported() {
    within(PATIENCE, || {
        let (handler, seen) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let (begin, began) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let mut map = Box::pin(pool(&rt, 1).map([true, false], move |panics| {
            assert!(!panics, "not given");
            begin.send(()).unwrap();
            let _ = released.lock().recv();
        }));
        began.recv().unwrap();
        rt.block_on(async {
            assert!(poll_once(map.as_mut()).await.is_pending());
            drop(map);
        });
        assert!(seen.recv().unwrap().to_string().contains("not given"));
        drop(release);
    });
}
