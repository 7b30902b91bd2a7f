//! The blocking pool runs jobs on a bounded number of threads, whatever the jobs do.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use runtime::{Runtime, Task};
use runtime_tests::{
    Counts, PATIENCE, alone, multi, on_each, promptly, single, threads_named, until, within,
};

fn pool(threads: usize, keep_alive: Duration, name: &str) -> Runtime {
    Runtime::builder()
        .worker_threads(1)
        .max_blocking_threads(threads)
        .blocking_keep_alive(keep_alive)
        .thread_name(name)
        .build()
        .unwrap()
}

/// A job that waits until it is let go, and how to do that.
fn held(rt: &Runtime) -> (Task<()>, mpsc::Sender<()>) {
    let (entered, begun) = mpsc::channel();
    let (proceed, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let job = rt.spawn_blocking(move || {
        entered.send(()).unwrap();
        let _ = may_go_on.lock().recv();
    });
    begun.recv().unwrap();
    (job, proceed)
}

#[test]
fn a_job_gives_its_value() {
    on_each(|rt| {
        let job = rt.spawn_blocking(|| 5);
        assert_eq!(rt.block_on(job).unwrap(), 5);
    });
}

#[test]
fn a_job_does_not_run_on_a_worker() {
    within(PATIENCE, || {
        let rt = multi(1);
        let worker = rt.spawn(async { thread::current().id() }).wait().unwrap();
        let job = rt.spawn_blocking(|| thread::current().id()).wait().unwrap();
        assert!(job != worker && job != thread::current().id());
    });
}

#[test]
fn a_job_stands_in_its_runtime() {
    on_each(|rt| {
        let job = rt.spawn_blocking(|| runtime::Handle::current().id());
        assert_eq!(rt.block_on(job).unwrap(), rt.handle().id());
    });
}

#[test]
fn jobs_one_after_the_other_share_a_thread() {
    within(PATIENCE, || {
        let rt = pool(64, Duration::from_secs(3600), "shared");
        let ids: HashSet<_> = (0..50)
            .map(|_| {
                let id = rt.spawn_blocking(|| thread::current().id()).wait().unwrap();
                until(|| rt.metrics().idle_blocking_threads() == 1);
                id
            })
            .collect();
        assert_eq!(ids.len(), 1);
    });
}

#[test]
fn jobs_at_the_same_time_have_threads_of_their_own() {
    within(PATIENCE, || {
        let rt = multi(1);
        let all = Arc::new(Barrier::new(8));
        let job = || {
            let all = all.clone();
            rt.spawn_blocking(move || {
                all.wait();
            })
        };
        let jobs: Vec<_> = (0..8).map(|_| job()).collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
    });
}

#[test]
fn there_are_never_more_threads_than_the_limit_and_every_job_runs() {
    within(PATIENCE, || {
        let rt = pool(3, Duration::from_secs(3600), "limit");
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..300)
            .map(|_| {
                let (now, most) = (now.clone(), most.clone());
                rt.spawn_blocking(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert!(threads_named("limit-blocking") <= 3);
    });
}

#[test]
fn a_job_beyond_the_limit_waits_for_a_thread() {
    within(PATIENCE, || {
        let rt = pool(1, Duration::from_secs(3600), "queue");
        let (first, proceed) = held(&rt);
        let second = rt.spawn_blocking(|| 2);
        assert_eq!(rt.metrics().blocking_queue_depth(), 1);
        assert!(!second.is_finished());
        drop(proceed);
        first.wait().unwrap();
        assert_eq!(second.wait().unwrap(), 2);
    });
}

#[test]
fn a_cancelled_job_that_waits_for_a_thread_never_runs() {
    within(PATIENCE, || {
        let rt = pool(1, Duration::from_secs(3600), "cancel");
        let (first, proceed) = held(&rt);
        let counts = Counts::new();
        let (token, ran) = (counts.token(), Arc::new(AtomicUsize::new(0)));
        let running = ran.clone();
        let queued = rt.spawn_blocking(move || {
            running.fetch_add(1, Ordering::SeqCst);
            drop(token);
        });
        assert!(queued.cancel());
        drop(proceed);
        first.wait().unwrap();
        assert!(promptly(|| queued.wait()).unwrap_err().is_cancelled());
        assert_eq!((ran.load(Ordering::SeqCst), counts.drops()), (0, 1));
    });
}

#[test]
fn a_cancelled_job_that_runs_goes_on_to_its_end() {
    within(PATIENCE, || {
        let rt = multi(1);
        let (entered, begun) = mpsc::channel();
        let (proceed, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let job = rt.spawn_blocking(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.lock().recv();
            7
        });
        begun.recv().unwrap();
        job.cancel();
        drop(proceed);
        assert_eq!(job.wait().unwrap(), 7);
    });
}

#[test]
fn a_panic_of_a_job_is_in_its_error_and_the_thread_is_used_again() {
    within(PATIENCE, || {
        let rt = pool(4, Duration::from_secs(3600), "again");
        let before = rt.spawn_blocking(|| thread::current().id()).wait().unwrap();
        until(|| rt.metrics().idle_blocking_threads() == 1);
        let error = rt.spawn_blocking(|| panic!("in a job")).wait().map(drop::<()>).unwrap_err();
        assert_eq!(error.to_string(), "task panicked: in a job");
        until(|| rt.metrics().idle_blocking_threads() == 1);
        let after = rt.spawn_blocking(|| thread::current().id()).wait().unwrap();
        assert_eq!(before, after);
    });
}

#[test]
fn ten_thousand_panics_leak_no_thread() {
    within(PATIENCE * 2, || {
        let rt = pool(4, Duration::from_secs(3600), "panics");
        let standard = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"quiet: in a job") {
                standard(info);
            }
        }));
        let job = |_| rt.spawn_blocking(|| panic!("quiet: in a job"));
        for _ in 0..10 {
            let jobs: Vec<Task<()>> = (0..1_000).map(job).collect();
            jobs.into_iter().for_each(|job| assert!(job.wait().unwrap_err().is_panic()));
        }
        assert!(threads_named("panics-blocking") <= 4);
        until(|| rt.metrics().blocking_threads() == threads_named("panics-blocking"));
        drop(rt);
        until(|| threads_named("panics") == 0);
    });
}

#[test]
fn with_no_keep_alive_the_threads_end_at_once_and_every_job_runs() {
    within(PATIENCE, || {
        let rt = pool(4, Duration::ZERO, "brief");
        for n in 0..2_000 {
            assert_eq!(rt.spawn_blocking(move || n).wait().unwrap(), n);
        }
        until(|| rt.metrics().blocking_threads() == 0);
        until(|| threads_named("brief-blocking") == 0);
    });
}

#[test]
fn with_one_thread_and_no_keep_alive_every_job_runs() {
    within(PATIENCE, || {
        let rt = pool(1, Duration::ZERO, "one");
        for n in 0..3_000 {
            assert_eq!(rt.spawn_blocking(move || n).wait().unwrap(), n);
        }
    });
}

#[test]
fn with_one_thread_and_a_short_keep_alive_every_job_of_four_spawners_runs() {
    within(PATIENCE, || {
        let rt = pool(1, Duration::from_micros(50), "short");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..500 {
                        assert_eq!(rt.spawn_blocking(move || n).wait().unwrap(), n);
                    }
                });
            }
        });
    });
}

#[test]
fn the_longest_keep_alive_is_valid() {
    within(PATIENCE, || {
        let rt = pool(1, Duration::MAX, "long");
        rt.spawn_blocking(|| ()).wait().unwrap();
        rt.spawn_blocking(|| ()).wait().unwrap();
        promptly(|| drop(rt));
    });
}

#[test]
fn a_job_may_spawn_jobs_and_wait_for_them() {
    on_each(|rt| {
        let job = rt.spawn_blocking(|| {
            let inner: Vec<_> = (0..10).map(|n| runtime::spawn_blocking(move || n)).collect();
            inner.into_iter().map(|job| job.wait().unwrap()).sum::<i32>()
        });
        assert_eq!(rt.block_on(job).unwrap(), 45);
    });
}

#[test]
fn an_unobserved_panic_of_a_job_is_reported() {
    within(PATIENCE, || {
        let (handler, reports) = runtime_tests::reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        drop(rt.spawn_blocking(|| panic!("nobody waits")));
        assert_eq!(reports.recv().unwrap().error().to_string(), "task panicked: nobody waits");
    });
}

#[test]
fn a_named_job_has_its_name() {
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let job = runtime::task::Builder::new().name("loader").spawn_blocking(|| ());
        assert_eq!(job.name(), Some("loader"));
        job.wait().unwrap();
    });
}

#[test]
fn the_closure_is_dropped_before_the_value_is_there() {
    within(PATIENCE, || {
        let rt = multi(1);
        let counts = Counts::new();
        for n in 1..=200 {
            let token = counts.token();
            rt.spawn_blocking(move || {
                let _ = &token;
            })
            .wait()
            .unwrap();
            assert_eq!(counts.drops(), n);
        }
    });
}

#[test]
fn churn_of_fresh_runtimes_with_one_job_each_ends() {
    within(PATIENCE, || {
        for _ in 0..256 {
            let rt = single();
            assert_eq!(rt.block_on(rt.spawn_blocking(|| 1)).unwrap(), 1);
        }
    });
}

/// Computes until the thread has used so much processor time; other programs on the machine do not shorten it.
fn compute(time: Duration) {
    let used = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let nanoseconds =
        |time: rustix::time::Timespec| time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128;
    let end = nanoseconds(used()) + time.as_nanos();
    while nanoseconds(used()) < end {
        std::hint::black_box((0..1_000).sum::<u32>());
    }
}

fn processors() -> usize {
    thread::available_parallelism().unwrap().get()
}

/// A thousand such jobs, and a thousand more, have at most four threads for each processor.
///
/// Alone in a process, and with one waiter: other tests keep jobs that are to compute from the processors, and while the
/// race detector reports on those, or on what a `wait` frees, such jobs sleep in its locks.
#[track_caller]
fn a_thousand_have_few_threads(test: &str, job: fn()) {
    alone(test, || {
        let rt = multi(1);
        for _ in 0..2 {
            let jobs: Vec<_> = (0..1_000).map(|_| rt.spawn_blocking(job)).collect();
            rt.block_on(async {
                for job in jobs {
                    job.await.unwrap();
                }
            });
        }
        let peak = rt.metrics().peak_blocking_threads();
        assert!(peak <= 4 * processors(), "{peak} threads on {} processors", processors());
    });
}

/// How many bytes of addresses the process uses.
fn mapped() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').next().unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn the_last_thread_that_ends_gives_its_stack_back() {
    alone("blocking::the_last_thread_that_ends_gives_its_stack_back", || {
        let stack = 512 << 20;
        let rt = Runtime::builder().worker_threads(1).thread_stack_size(stack);
        let rt = rt.blocking_keep_alive(Duration::ZERO).build().unwrap();
        let before = mapped();
        rt.spawn_blocking(|| ()).wait().unwrap();
        until(|| rt.metrics().blocking_threads() == 0);
        until(|| {
            // The system frees what it got back when another thread ends.
            thread::spawn(|| ()).join().unwrap();
            mapped() < before + stack / 2
        });
    });
}

#[test]
fn a_thousand_jobs_that_compute_have_at_most_four_threads_for_each_processor() {
    a_thousand_have_few_threads(
        "blocking::a_thousand_jobs_that_compute_have_at_most_four_threads_for_each_processor",
        || compute(Duration::from_millis(1)),
    );
}

#[test]
fn a_thousand_jobs_that_do_next_to_nothing_have_few_threads() {
    a_thousand_have_few_threads("blocking::a_thousand_jobs_that_do_next_to_nothing_have_few_threads", || ());
}

#[test]
fn jobs_that_wait_for_each_other_all_have_threads_up_to_the_limit() {
    within(PATIENCE, || {
        let rt = multi(1);
        let all = Arc::new(Barrier::new(512));
        let job = || {
            let all = all.clone();
            rt.spawn_blocking(move || {
                all.wait();
            })
        };
        let jobs: Vec<_> = (0..512).map(|_| job()).collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        assert_eq!(rt.metrics().peak_blocking_threads(), 512);
    });
}

#[test]
fn jobs_that_spin_until_another_one_runs_end() {
    within(PATIENCE, || {
        let rt = multi(1);
        // More than start at once: the last one sets the flag, and those before it use the processors up.
        let count = 2 * processors() + 1;
        let flag = Arc::new(AtomicUsize::new(0));
        let jobs: Vec<_> = (0..count)
            .map(|n| {
                let flag = flag.clone();
                rt.spawn_blocking(move || {
                    flag.fetch_add(usize::from(n == count - 1), Ordering::SeqCst);
                    while flag.load(Ordering::SeqCst) == 0 {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
    });
}

#[test]
fn the_delay_of_the_queue_is_visible_while_a_job_waits() {
    within(PATIENCE, || {
        let rt = pool(1, Duration::from_secs(3600), "delay");
        assert_eq!(rt.metrics().blocking_queue_delay(), Duration::ZERO);
        let (first, proceed) = held(&rt);
        let second = rt.spawn_blocking(|| ());
        until(|| rt.metrics().blocking_queue_delay() > Duration::from_millis(2));
        drop(proceed);
        first.wait().unwrap();
        second.wait().unwrap();
        assert_eq!(rt.metrics().blocking_queue_delay(), Duration::ZERO);
    });
}

#[test]
fn a_pool_that_has_run_more_jobs_than_threads_comes_to_rest() {
    within(PATIENCE, || {
        let rt = multi(1);
        let jobs: Vec<_> =
            (0..200).map(|_| rt.spawn_blocking(|| thread::sleep(Duration::from_millis(2)))).collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        // The scout too: a virtual clock waits for whoever does not rest.
        until(|| rt.metrics().idle_blocking_threads() == rt.metrics().blocking_threads());
    });
}
