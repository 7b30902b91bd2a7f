//! Timers: never early, of any length, at any uptime; under a clock that tests hold.

use std::future::{pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::time::{self, Interval, MissedTickBehavior, Sleep};
use runtime::{Handle, Runtime};
use runtime_tests::{
    CountingWaker, Counts, Gate, PATIENCE, alone, armed, armed_here, multi, on_each, on_each_paused, reports,
    single, turn, until, within,
};

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One poll, with a waker that nobody waits for.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Lengths at which timers have gone wrong, and everyday ones.
fn extremes() -> Vec<Duration> {
    let days = |days: f64| DAY.mul_f64(days);
    vec![
        NS,
        Duration::from_nanos(1023),
        Duration::from_nanos(1024),
        MS - NS,
        MS,
        SECOND,
        days(12.4),
        Duration::from_millis(1 << 31) - MS,
        Duration::from_millis(1 << 31),
        Duration::from_millis(1 << 31) + MS,
        Duration::from_millis(1 << 32) - MS,
        Duration::from_millis(1 << 32),
        Duration::from_millis(1 << 36) - MS,
        Duration::from_millis(1 << 36),
        Duration::from_millis(1 << 36) + MS,
        10 * YEAR,
        100 * YEAR,
    ]
}

/// Lengths that never end while a process lives.
fn endless() -> [Duration; 5] {
    [
        585 * YEAR,
        Duration::from_secs(u64::MAX / 10),
        Duration::from_secs(u64::MAX),
        Duration::MAX - NS,
        Duration::MAX,
    ]
}

/// Something that waits for a length of time, by each of the functions that can.
type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits that begin now.
fn waits(d: Duration) -> Vec<(&'static str, Wait)> {
    let far = pending::<()>;
    let mut waits: Vec<(&str, Wait)> = vec![
        ("sleep", Box::pin(time::sleep(d))),
        ("timeout", {
            let timeout = time::timeout(d, far());
            Box::pin(async { assert!(timeout.await.unwrap_err().is_timeout()) })
        }),
        ("Sleep::reset", {
            let mut sleep = time::sleep(if d.is_zero() { SECOND } else { Duration::ZERO });
            if let Some(deadline) = time::now().checked_add(d) {
                Pin::new(&mut sleep).reset(deadline);
            } else {
                sleep = time::sleep(d);
            }
            Box::pin(sleep)
        }),
        ("Interval::reset_after", {
            let mut interval = time::interval(SECOND);
            interval.reset_after(d);
            Box::pin(async move { _ = interval.tick().await })
        }),
    ];
    if !d.is_zero() {
        let mut first = time::interval(d);
        assert!(poll_fn_once(|cx| first.poll_tick(cx)).is_ready(), "the first tick comes at once");
        waits.push(("interval", Box::pin(async move { _ = first.tick().await })));
        let mut reset = time::interval(d);
        reset.reset();
        waits.push(("Interval::reset", Box::pin(async move { _ = reset.tick().await })));
    }
    if let Some(deadline) = time::now().checked_add(d) {
        waits.push(("sleep_until", Box::pin(time::sleep_until(deadline))));
        let timeout = time::timeout_at(deadline, far());
        waits.push(("timeout_at", Box::pin(async { assert!(timeout.await.is_err()) })));
        let mut interval = time::interval_at(deadline, SECOND);
        waits.push(("interval_at", Box::pin(async move { assert_eq!(interval.tick().await, deadline) })));
        let mut reset = time::interval(SECOND);
        reset.reset_at(deadline);
        waits.push(("Interval::reset_at", Box::pin(async move { _ = reset.tick().await })));
    }
    waits
}

fn poll_fn_once<T>(mut f: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    f(&mut Context::from_waker(Waker::noop()))
}

// --- lengths ---

#[test]
fn every_function_ends_at_its_time_and_not_a_nanosecond_before() {
    on_each_paused(|rt| {
        rt.block_on(async {
            for d in extremes() {
                let mut all = waits(d);
                for (name, wait) in &mut all {
                    assert!(poll_once(wait).is_pending(), "{name} of {d:?} is early");
                }
                time::advance(d - NS).await;
                for (name, wait) in &mut all {
                    assert!(poll_once(wait).is_pending(), "{name} of {d:?} is a nanosecond early");
                }
                time::advance(NS).await;
                for (name, wait) in &mut all {
                    assert!(poll_once(wait).is_ready(), "{name} of {d:?} is late");
                }
            }
        });
    });
}

#[test]
fn every_function_wakes_its_task_at_its_time() {
    on_each_paused(|rt| {
        rt.block_on(async {
            for d in extremes() {
                for (name, wait) in waits(d) {
                    let begin = time::now();
                    let ended = runtime::spawn(async move {
                        wait.await;
                        time::now()
                    });
                    // "sleep_until" and the like were made with the others, and count from there.
                    let took = ended.await.unwrap() - begin;
                    assert!(took <= d, "{name} of {d:?} took {took:?}");
                }
            }
        });
    });
}

#[test]
fn what_is_too_long_for_the_clock_never_ends() {
    on_each_paused(|rt| {
        rt.block_on(async {
            for d in endless() {
                let mut all = waits(d);
                for _ in 0..2 {
                    for (name, wait) in &mut all {
                        assert!(poll_once(wait).is_pending(), "{name} of {d:?}");
                    }
                    time::advance(10 * YEAR).await;
                }
            }
            time::advance(Duration::MAX).await;
            for (name, mut wait) in waits(Duration::MAX) {
                assert!(poll_once(&mut wait).is_pending(), "{name} at the end of time");
            }
        });
    });
}

#[test]
fn zero_and_past_deadlines_are_ready_at_the_first_poll() {
    on_each(|rt| {
        rt.block_on(async {
            for (name, mut wait) in waits(Duration::ZERO) {
                assert!(poll_once(&mut wait).is_ready(), "{name}");
            }
            let past = Instant::now().checked_sub(SECOND).unwrap_or_else(Instant::now);
            assert!(poll_once(&mut time::sleep_until(past)).is_ready());
            assert!(poll_once(&mut time::timeout_at(past, pending::<()>())).is_ready());
            assert!(poll_fn_once(|cx| time::interval_at(past, SECOND).poll_tick(cx)).is_ready());
        });
    });
}

#[test]
fn on_the_system_s_clock_nothing_is_early() {
    on_each(|rt| {
        rt.block_on(async {
            for micros in [1, 10, 50, 200, 1_000, 1_500, 5_000] {
                let d = Duration::from_micros(micros);
                let begin = Instant::now();
                time::sleep(d).await;
                assert!(begin.elapsed() >= d, "{:?} instead of {d:?}", begin.elapsed());
            }
        });
    });
}

#[test]
fn on_the_system_s_clock_a_sleep_runs_from_the_call_on_whoever_asks_it_and_when() {
    let hour = 3_600 * SECOND;
    on_each(move |rt| {
        rt.block_on(async {
            let before = Instant::now();
            let mut asked_first = time::sleep(hour);
            let mut polled_first = time::sleep(hour);
            let after = Instant::now();
            // Whoever counted from the first poll would end later than this.
            while Instant::now() <= after {}
            let due = asked_first.deadline();
            assert!(poll_once(&mut asked_first).is_pending() && poll_once(&mut polled_first).is_pending());
            assert_eq!(asked_first.deadline(), due);
            for sleep in [&asked_first, &polled_first] {
                assert!(before + hour <= sleep.deadline() && sleep.deadline() <= after + hour);
                assert!(!sleep.is_elapsed());
            }
            assert!(time::sleep(Duration::ZERO).is_elapsed());
        });
    });
}

#[test]
fn a_sleep_that_nobody_has_polled_can_be_given_another_deadline() {
    let hour = 3_600 * SECOND;
    on_each(move |rt| {
        rt.block_on(async {
            let mut sleep = time::sleep(hour);
            let due = time::now() + MS;
            Pin::new(&mut sleep).reset(due);
            assert_eq!(sleep.deadline(), due);
            sleep.await;
            assert!(time::now() >= due);
        });
    });
}

/// The timer may go off a little later than it has to, so that others go off with it. A deadline that is between the two is
/// no reason to wake the task, which would set it again in each poll.
#[test]
fn a_sleep_that_waits_and_is_given_a_later_deadline_wakes_nobody() {
    on_each(|rt| {
        rt.block_on(async {
            let (count, waker) = CountingWaker::new();
            let deadline = time::now() + HOUR;
            let mut sleep = time::sleep_until(deadline);
            for later in [Duration::ZERO, NS, MS, HOUR] {
                Pin::new(&mut sleep).reset(deadline + later);
                assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
                Pin::new(&mut sleep).reset(deadline + later);
                assert_eq!(count.wakes(), 0, "{later:?} later");
            }
        });
    });
}

#[test]
fn a_thread_that_stands_in_no_runtime_can_make_and_await_timers() {
    within(PATIENCE, || {
        let begin = Instant::now();
        let sleep = time::sleep(MS);
        runtime::block_on(sleep);
        assert!(begin.elapsed() >= MS && time::now() >= begin + MS);
    });
}

// --- the virtual clock ---

#[test]
fn a_clock_that_stands_still_jumps_to_the_next_timer_when_nothing_else_is_to_do() {
    on_each_paused(|rt| {
        let (virtually, really) = (rt.block_on(async { time::now() }), Instant::now());
        rt.block_on(async {
            time::sleep(DAY).await;
            assert_eq!(time::now() - virtually, DAY);
            let task = runtime::spawn(async {
                time::sleep(YEAR).await;
                time::now()
            });
            assert_eq!(task.await.unwrap() - virtually, DAY + YEAR);
        });
        assert!(really.elapsed() < PATIENCE);
    });
}

/// Writes its number into a list when it is woken.
struct Numbered(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.1.lock().push(self.0);
    }
}

#[test]
fn timers_go_off_in_the_order_of_their_deadlines_and_equal_ones_in_that_of_their_first_poll() {
    within(PATIENCE, || {
        let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        rt.block_on(async {
            let mut sleeps: Vec<_> =
                [30, 10, 20, 10, 30, 10].map(|seconds| time::sleep(seconds * SECOND)).into();
            for (n, sleep) in sleeps.iter_mut().enumerate() {
                let waker = Waker::from(Arc::new(Numbered(n, order.clone())));
                assert!(Pin::new(sleep).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            time::advance(60 * SECOND).await;
        });
        assert_eq!(*order.lock(), [1, 3, 5, 2, 0, 4]);
    });
}

/// Whoever stands in no runtime goes by the system's clock, and waits in the default runtime.
#[test]
fn a_sleep_outside_of_every_runtime_leaves_the_clock_of_the_default_one_alone() {
    alone("time::a_sleep_outside_of_every_runtime_leaves_the_clock_of_the_default_one_alone", || {
        Runtime::builder().worker_threads(1).start_paused(true).build_global().unwrap();
        let begin = Instant::now();
        // The system's clock goes on.
        until(|| begin.elapsed() > 2 * MS);
        let sleep_outside = || {
            let mut outside = pin!(time::sleep(DAY));
            assert!(outside.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        };
        within(PATIENCE, move || {
            Handle::current().block_on(async {
                std::thread::spawn(sleep_outside).join().unwrap();
                time::sleep(MS).await;
            });
        });
    });
}

/// Its worker is somebody else's when it comes back, and no poll is there to end.
#[test]
fn a_waker_that_blocks_in_place_does_not_stop_the_clock_for_good() {
    struct Blocks(Handle, Mutex<mpsc::Sender<mpsc::Sender<()>>>);
    impl Wake for Blocks {
        fn wake(self: Arc<Self>) {
            let (began, has_begun) = mpsc::channel();
            let (end, may_end) = mpsc::channel();
            runtime::task::block_in_place(|| {
                drop(self.0.spawn(async move {
                    began.send(()).unwrap();
                    let _ = may_end.recv();
                }));
                has_begun.recv().unwrap();
            });
            self.1.lock().send(end).unwrap();
        }
    }

    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(1).start_paused(true).monitor(false).build().unwrap();
        let (told, tells) = mpsc::channel();
        let waker = Waker::from(Arc::new(Blocks(rt.handle(), Mutex::new(told))));
        let entered = rt.enter();
        let _sleep = armed(SECOND, time::sleep, &waker);
        drop(entered);
        let later = rt.spawn(time::sleep(DAY));
        drop(tells.recv().unwrap());
        later.wait().unwrap();
    });
}

#[test]
fn the_clock_does_not_jump_while_a_blocking_job_runs() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let sleeper = runtime::spawn(async {
                time::sleep(DAY).await;
                time::now()
            });
            turn().await;
            let job = runtime::spawn_blocking(move || {
                // The rest of the runtime goes idle meanwhile.
                for _ in 0..10_000 {
                    std::thread::yield_now();
                    assert_eq!(time::now(), begin);
                }
            });
            job.await.unwrap();
            assert_eq!(sleeper.await.unwrap() - begin, DAY);
        });
    });
}

/// What `wait` does in the middle of a poll takes exactly an hour of a clock that stands still.
#[track_caller]
fn a_nested_wait_lets_the_clock_go_on(wait: fn()) {
    on_each_paused(move |rt| {
        let measured = move || {
            let begin = time::now();
            wait();
            time::now() - begin
        };
        let root = rt.block_on(async move { measured() });
        let task = rt.block_on(async move { runtime::spawn(async move { measured() }).await.unwrap() });
        assert_eq!((root, task), (HOUR, HOUR));
    });
}

#[test]
fn a_clock_that_stands_still_goes_on_while_a_nested_call_waits_for_a_timer() {
    a_nested_wait_lets_the_clock_go_on(|| runtime::block_on(time::sleep(HOUR)));
}

#[test]
fn a_clock_that_stands_still_goes_on_while_a_nested_call_in_a_nested_call_waits_for_a_timer() {
    a_nested_wait_lets_the_clock_go_on(|| runtime::block_on(async { runtime::block_on(time::sleep(HOUR)) }));
}

#[test]
fn a_clock_that_stands_still_goes_on_while_a_nested_call_in_blocking_code_waits_for_a_timer() {
    a_nested_wait_lets_the_clock_go_on(|| {
        runtime::task::block_in_place(|| runtime::block_on(time::sleep(HOUR)));
    });
}

#[test]
fn a_clock_that_stands_still_goes_on_while_a_nested_call_waits_in_a_future_that_was_woken() {
    on_each_paused(|rt| {
        let begin = rt.block_on(async { time::now() });
        rt.block_on(async {
            let nested = async { runtime::block_on(time::sleep(HOUR)) };
            let deeper =
                async { runtime::block_on(async { runtime::join!(runtime::task::yield_now(), nested) }) };
            runtime::join!(runtime::task::yield_now(), deeper);
        });
        assert_eq!(rt.block_on(async { time::now() }) - begin, HOUR);
    });
}

#[test]
fn advance_moves_the_clock_by_exactly_that_and_lets_the_due_tasks_run() {
    within(PATIENCE, || {
        let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
        rt.block_on(async {
            let begin = time::now();
            let task = runtime::spawn(time::sleep(5 * SECOND));
            turn().await;
            time::advance(5 * SECOND - NS).await;
            assert!(!task.is_finished());
            time::advance(NS).await;
            assert!(task.is_finished());
            assert_eq!(time::now() - begin, 5 * SECOND);
        });
    });
}

#[test]
fn what_sleeps_already_when_the_clock_is_stopped_wakes_exactly() {
    within(PATIENCE, || {
        single().block_on(async {
            let deadline = time::now() + HOUR;
            let sleep = runtime::spawn(time::sleep_until(deadline));
            let (called, heard) = mpsc::channel();
            let call = Handle::current().call_at(deadline, move || called.send(time::now()).unwrap());
            turn().await;
            time::pause();
            time::advance(deadline - time::now() - NS).await;
            turn().await;
            assert!(!sleep.is_finished() && heard.try_recv().is_err());
            time::advance(NS).await;
            turn().await;
            assert!(sleep.is_finished());
            assert_eq!(heard.try_recv(), Ok(deadline));
            drop(call);
        });
    });
}

#[test]
fn what_sleeps_when_the_clock_is_stopped_from_outside_wakes_in_order() {
    within(PATIENCE, || {
        for _ in 0..20 {
            let (rt, order) = (multi(2), Arc::new(Mutex::new(Vec::new())));
            let deadline = rt.block_on(async { time::now() }) + HOUR;
            let sleepers: Vec<_> = (0..10)
                .rev()
                .map(|n| {
                    let order = order.clone();
                    rt.spawn(async move {
                        time::sleep_until(deadline + n * NS).await;
                        order.lock().push(n);
                    })
                })
                .collect();
            until(|| rt.metrics().timers() == 10);
            {
                let _entered = rt.enter();
                time::pause();
            }
            sleepers.into_iter().for_each(|sleeper| sleeper.wait().unwrap());
            assert_eq!(*order.lock(), Vec::from_iter(0..10));
        }
    });
}

#[test]
fn a_clock_that_goes_on_does_so_from_where_it_stood() {
    on_each(|rt| {
        rt.block_on(async {
            time::pause();
            let begin = time::now();
            time::advance(YEAR).await;
            time::resume();
            let now = time::now();
            assert!(now - begin >= YEAR && now - begin < YEAR + DAY);
            time::sleep(MS).await;
            assert!(time::now() - now >= MS);
        });
    });
}

#[test]
fn the_clock_of_one_runtime_is_not_that_of_another() {
    within(PATIENCE, || {
        let (stopped, going) = (multi(1), multi(1));
        stopped.block_on(async {
            time::pause();
            time::advance(10 * YEAR).await;
        });
        assert!(going.block_on(async { time::now() }) < Instant::now() + DAY);
        assert!(stopped.block_on(async { time::now() }) > Instant::now() + 9 * YEAR);
    });
}

#[test]
fn a_runtime_that_follows_one_with_a_stopped_clock_has_the_system_s() {
    within(PATIENCE, || {
        for _ in 0..3 {
            let rt = single();
            rt.block_on(async {
                assert!(time::now() < Instant::now() + DAY);
                let begin = Instant::now();
                time::sleep(MS).await;
                assert!(begin.elapsed() >= MS);
                time::pause();
                time::sleep(YEAR).await;
            });
        }
    });
}

#[test]
fn misuse_of_the_clock_panics_with_advice() {
    within(PATIENCE, || {
        let message =
            |rt: &Runtime, f: fn()| rt.block_on(rt.spawn(async move { f() })).unwrap_err().to_string();
        let rt = multi(1);
        assert!(message(&rt, time::resume).contains("call time::pause first"));
        let advance = rt.block_on(rt.spawn(time::advance(SECOND))).unwrap_err().to_string();
        assert!(advance.contains("call time::pause first"));
        rt.block_on(async { time::pause() });
        assert!(message(&rt, time::pause).contains("call time::resume first"));
        let outside = std::panic::catch_unwind(time::pause).unwrap_err();
        assert!(outside.downcast_ref::<String>().unwrap().contains("stands in none"));
    });
}

#[runtime::test(start_paused = true)]
async fn the_attribute_starts_with_a_stopped_clock() {
    let begin = time::now();
    time::sleep(YEAR).await;
    assert_eq!(time::now() - begin, YEAR);
}

#[runtime::test(flavor = "current_thread", start_paused = true)]
async fn the_attribute_starts_with_a_stopped_clock_on_one_thread() {
    let begin = time::now();
    time::sleep(YEAR).await;
    assert_eq!(time::now() - begin, YEAR);
}

#[test]
fn ten_years_of_uptime_change_nothing() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let mut passed = Duration::ZERO;
            let begin = time::now();
            let long = runtime::spawn(time::sleep(10 * YEAR));
            turn().await;
            while passed < 9 * YEAR {
                for d in [MS, SECOND, DAY, 12 * DAY + DAY / 2, 100 * DAY] {
                    time::sleep(d).await;
                    passed += d;
                    assert_eq!(time::now() - begin, passed);
                }
            }
            assert!(!long.is_finished());
            long.await.unwrap();
            assert_eq!(time::now() - begin, 10 * YEAR);
        });
    });
}

// --- Sleep ---

#[test]
fn a_sleep_that_is_dropped_wakes_nobody_and_keeps_no_waker() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (count, waker) = CountingWaker::new();
            let mut sleep = time::sleep(SECOND);
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
            drop((sleep, waker));
            time::advance(2 * SECOND).await;
            assert_eq!((count.wakes(), Arc::strong_count(&count)), (0, 1));
        });
    });
}

#[test]
fn a_sleep_wakes_whoever_polled_it_last() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let ((first, old), (second, new)) = (CountingWaker::new(), CountingWaker::new());
            let mut sleep = time::sleep(SECOND);
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&old)).is_pending());
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&new)).is_pending());
            time::advance(SECOND).await;
            assert_eq!((first.wakes(), second.wakes()), (0, 1));
        });
    });
}

#[test]
fn a_sleep_that_moves_to_another_task_wakes_that_one() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let mut sleep = time::sleep(SECOND);
            assert!(poll_once(&mut sleep).is_pending());
            runtime::spawn(sleep).await.unwrap();
            assert_eq!(time::now() - begin, SECOND);
        });
    });
}

#[test]
fn a_sleep_that_moves_to_another_runtime_ends_there() {
    within(PATIENCE, || {
        let (first, second) = (multi(1), single());
        let sleep = first.block_on(armed_here(5 * MS, time::sleep));
        let deadline = sleep.deadline();
        second.block_on(sleep);
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_sleep_outlives_the_runtime_that_kept_its_time() {
    within(PATIENCE, || {
        let (first, second) = (multi(1), multi(1));
        let (count, waker) = CountingWaker::new();
        let sleep = {
            let _inside = first.enter();
            armed(50 * MS, time::sleep, &waker)
        };
        let deadline = sleep.deadline();
        first.shutdown(Duration::ZERO);
        assert_eq!(count.wakes(), 1, "whoever waits is told");
        second.block_on(sleep);
        assert!(Instant::now() >= deadline);
    });
}

#[test]
fn a_shutdown_does_not_wait_for_sleepers() {
    on_each(|rt| {
        let task = rt.spawn(time::sleep(DAY));
        rt.block_on(turn());
        runtime_tests::promptly(|| rt.shutdown(Duration::ZERO));
        assert!(task.wait().is_err());
    });
}

#[test]
fn a_sleep_is_ready_again_after_it_was_ready() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let mut sleep = time::sleep(SECOND);
            assert!(!sleep.is_elapsed());
            (&mut sleep).await;
            assert!(sleep.is_elapsed());
            (&mut sleep).await;
        });
    });
}

#[test]
fn a_sleep_elapses_without_a_poll() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let sleep = time::sleep(SECOND);
            assert_eq!(sleep.deadline(), time::now() + SECOND);
            time::advance(SECOND).await;
            assert!(sleep.is_elapsed());
        });
    });
}

#[test]
fn a_sleep_that_was_put_off_ends_at_the_new_deadline() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let mut sleep = time::sleep(SECOND);
            assert!(poll_once(&mut sleep).is_pending());
            Pin::new(&mut sleep).reset(begin + 3 * SECOND);
            (&mut sleep).await;
            assert_eq!(time::now() - begin, 3 * SECOND);
            Pin::new(&mut sleep).reset(begin + 4 * SECOND);
            sleep.await;
            assert_eq!(time::now() - begin, 4 * SECOND);
        });
    });
}

#[test]
fn a_sleep_that_was_put_forward_wakes_the_task_that_waits() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let sleep = Arc::new(Mutex::new(time::sleep(DAY)));
            let waiting = sleep.clone();
            let task = runtime::spawn(async move {
                poll_fn(|cx| Pin::new(&mut *waiting.lock()).poll(cx)).await;
                time::now()
            });
            turn().await;
            Pin::new(&mut *sleep.lock()).reset(begin + SECOND);
            assert_eq!(task.await.unwrap() - begin, SECOND);
        });
    });
}

#[test]
fn a_sleep_in_a_loop_may_be_reset_at_each_turn() {
    on_each_paused(|rt| {
        rt.block_on(async {
            // A connection that is closed after a second without a message.
            let begin = time::now();
            let mut idle = pin!(time::sleep(SECOND));
            let mut messages = time::interval(SECOND / 2);
            let mut seen = 0;
            loop {
                let quiet = poll_fn(|cx| {
                    if seen < 10 && messages.poll_tick(cx).is_ready() {
                        return Poll::Ready(false);
                    }
                    idle.as_mut().poll(cx).map(|()| true)
                });
                if quiet.await {
                    break;
                }
                seen += 1;
                idle.as_mut().reset(time::now() + SECOND);
            }
            assert_eq!(time::now() - begin, 9 * (SECOND / 2) + SECOND);
        });
    });
}

#[test]
fn a_task_that_only_sleeps_lets_others_run() {
    within(PATIENCE, || {
        let rt = single();
        rt.block_on(async {
            let other = runtime::spawn(async {});
            while !other.is_finished() {
                time::sleep(Duration::ZERO).await;
            }
        });
    });
}

/// The other worker sleeps until there is I/O.
#[test]
fn a_sleep_ends_while_its_worker_blocks_and_the_other_is_asleep() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (accepting, address) = mpsc::channel();
        let _waits_for_io = rt.spawn(async move {
            let listener = runtime::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            accepting.send(()).unwrap();
            listener.accept().await
        });
        address.recv().unwrap();
        // Each worker gets a thread: neither task goes on without the other.
        let meeting = Arc::new(Barrier::new(2));
        let met =
            [meeting.clone(), meeting].map(|meeting| rt.spawn(async move { meeting.wait().is_leader() }));
        met.into_iter().for_each(|task| drop(task.wait()));
        until(|| rt.handle().metrics().idle_workers() == 2);
        let blocks = rt.spawn(async {
            let ((done, slept), armed) = (mpsc::channel(), Gate::new());
            let sleeper = {
                let armed = armed.clone();
                runtime::spawn(async move {
                    let mut sleep = pin!(time::sleep(20 * MS));
                    let _first_poll = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await;
                    // Wakes the other task, which runs next on this worker: the timer is this worker's.
                    armed.open();
                    sleep.await;
                    done.send(()).unwrap();
                })
            };
            armed.pass().await;
            runtime::task::block_in_place(|| slept.recv()).unwrap();
            sleeper.await.unwrap();
        });
        blocks.wait().unwrap();
    });
}

#[test]
fn a_sleep_is_small() {
    assert!(size_of::<Sleep>() <= 48, "{} bytes", size_of::<Sleep>());
}

#[test]
fn ten_thousand_sleepers_of_all_lengths_wake_in_order() {
    on_each_paused(|rt| {
        let woken = Arc::new(Mutex::new(Vec::new()));
        rt.block_on(async {
            let tasks: Vec<_> = (0..10_000_u64)
                .map(|n| {
                    // The modulus is a prime: no two are equal.
                    let length = Duration::from_micros(n * 7_919 % 1_000_003);
                    let woken = woken.clone();
                    runtime::spawn(async move {
                        // The clock stands still until all of them wait: the lengths are in the order of the deadlines.
                        time::sleep(length).await;
                        woken.lock().push(length);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        // So it is with two workers as well: the clock goes to the next deadline, and to no other, when all are asleep again,
        // and by then whoever was woken before has written.
        assert!(woken.lock().is_sorted());
    });
}

// --- timeouts ---

#[test]
fn a_value_that_is_ready_at_the_deadline_beats_the_timeout() {
    on_each_paused(|rt| {
        rt.block_on(async {
            assert_eq!(time::timeout(Duration::ZERO, ready(7)).await.unwrap(), 7);
            assert_eq!(time::timeout(Duration::ZERO, async { 8 }).await.unwrap(), 8);
            let late = time::timeout(SECOND, async {
                time::sleep(SECOND).await;
                9
            });
            let mut late = pin!(late);
            assert!(poll_once(&mut late).is_pending());
            time::advance(SECOND).await;
            assert_eq!(late.await.unwrap(), 9);
        });
    });
}

#[test]
fn a_timeout_takes_as_long_as_it_says_and_its_error_says_so() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let error = time::timeout(SECOND, pending::<()>()).await.unwrap_err();
            assert!(error.is_timeout());
            assert_eq!(error.to_string(), "the deadline has passed");
            assert_eq!(time::now() - begin, SECOND);
            assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
        });
    });
}

#[test]
fn the_time_of_a_timeout_runs_from_the_call_on() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let timeout = time::timeout(SECOND, pending::<()>());
            time::advance(SECOND).await;
            assert!(poll_once(&mut pin!(timeout)).is_ready());
        });
    });
}

#[test]
fn a_future_that_timed_out_is_dropped_with_its_timeout() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            assert!(time::timeout(SECOND, counts.watch(pending::<()>())).await.is_err());
            assert_eq!(counts.drops(), 1);
        });
    });
}

#[test]
fn a_timeout_that_is_not_needed_leaves_nothing_behind() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let (count, waker) = CountingWaker::new();
            let mut timeout = Box::pin(time::timeout(SECOND, pending::<()>()));
            assert!(timeout.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop((timeout, waker));
            assert_eq!(Arc::strong_count(&count), 1);
        });
    });
}

#[test]
fn a_future_that_uses_its_budget_up_does_not_starve_its_timeout() {
    on_each(|rt| {
        rt.block_on(async {
            let hog = runtime::spawn(time::timeout(10 * MS, async {
                loop {
                    runtime::task::coop::consume_budget().await;
                }
            }));
            let outcome: Result<(), _> = hog.await.unwrap();
            assert!(outcome.unwrap_err().is_timeout());
        });
    });
}

#[test]
fn a_loop_over_timeouts_that_have_passed_lets_others_run() {
    within(PATIENCE, || {
        let rt = single();
        rt.block_on(async {
            let other = runtime::spawn(async {});
            while !other.is_finished() {
                assert!(time::timeout(Duration::ZERO, pending::<()>()).await.is_err());
            }
        });
    });
}

#[test]
fn a_timeout_gives_its_future_back() {
    within(PATIENCE, || {
        let rt = single();
        rt.block_on(async {
            let mut timeout = time::timeout(SECOND, ready(1));
            assert_eq!(timeout.get_ref().clone().await, 1);
            *timeout.get_mut() = ready(2);
            assert_eq!(timeout.into_inner().await, 2);
        });
    });
}

// --- intervals ---

/// The times of the next ticks, when each is taken after a delay, relative to `begin`; in milliseconds.
async fn ticks(interval: &mut Interval, begin: Instant, delays: &[u32]) -> Vec<u128> {
    let mut taken = Vec::new();
    for delay in delays {
        time::advance(*delay * MS).await;
        interval.tick().await;
        taken.push((time::now() - begin).as_millis());
    }
    taken
}

/// Ticks of 100 ms; the second is taken 250 ms late.
fn taken_with(behavior: MissedTickBehavior) -> Vec<u128> {
    within(PATIENCE, move || {
        let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
        rt.block_on(async {
            let begin = time::now();
            let mut interval = time::interval(100 * MS);
            assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Burst);
            interval.set_missed_tick_behavior(behavior);
            ticks(&mut interval, begin, &[0, 350, 0, 0, 0, 0]).await
        })
    })
}

#[test]
fn missed_ticks_come_in_a_burst_by_default() {
    assert_eq!(taken_with(MissedTickBehavior::Burst), [0, 350, 350, 350, 400, 500]);
}

#[test]
fn missed_ticks_delay_those_that_follow_if_asked() {
    assert_eq!(taken_with(MissedTickBehavior::Delay), [0, 350, 450, 550, 650, 750]);
}

/// As many as fit into what the system makes late by itself.
#[test]
fn missed_ticks_of_a_short_period_come_once_if_those_that_follow_are_to_be_delayed() {
    within(PATIENCE, || {
        let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
        rt.block_on(async {
            let begin = time::now();
            let mut interval = time::interval(MS);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            assert_eq!(ticks(&mut interval, begin, &[0, 4, 0, 0]).await, [0, 4, 5, 6]);
        });
    });
}

#[test]
fn missed_ticks_are_skipped_if_asked() {
    assert_eq!(taken_with(MissedTickBehavior::Skip), [0, 350, 400, 500, 600, 700]);
}

#[test]
fn an_interval_does_not_drift() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let mut interval = time::interval(Duration::from_micros(1_001));
            for n in 0..1_000 {
                let due = interval.tick().await;
                assert_eq!(due - begin, n * Duration::from_micros(1_001));
                // Work that takes a part of the period.
                time::advance(Duration::from_micros(u64::from(n) % 1_000)).await;
            }
        });
    });
}

#[test]
fn an_interval_can_be_reset_in_every_way() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let mut interval = time::interval_at(begin + DAY, SECOND);
            assert_eq!(interval.period(), SECOND);
            interval.reset_immediately();
            assert_eq!(interval.tick().await, begin);
            interval.reset_after(5 * SECOND);
            assert_eq!(interval.tick().await, begin + 5 * SECOND);
            assert_eq!(interval.tick().await, begin + 6 * SECOND);
            time::advance(SECOND / 2).await;
            interval.reset();
            assert_eq!(interval.tick().await, begin + 7 * SECOND + SECOND / 2);
            interval.reset_at(begin + 20 * SECOND);
            assert_eq!(interval.tick().await, begin + 20 * SECOND);
            assert_eq!(interval.tick().await, begin + 21 * SECOND);
        });
    });
}

#[test]
fn a_tick_that_is_dropped_is_not_lost() {
    on_each_paused(|rt| {
        rt.block_on(async {
            let begin = time::now();
            let mut interval = time::interval(SECOND);
            interval.tick().await;
            assert!(time::timeout(SECOND / 2, interval.tick()).await.is_err());
            assert_eq!(interval.tick().await, begin + SECOND);
        });
    });
}

#[test]
#[should_panic(expected = "more than zero")]
fn an_interval_of_zero_panics_with_a_message() {
    drop(time::interval(Duration::ZERO));
}

// --- callbacks ---

#[test]
fn a_callback_is_called_at_its_time_on_its_runtime() {
    on_each_paused(|rt| {
        let handle = rt.handle();
        rt.block_on(async {
            let begin = time::now();
            let (promise, called) = runtime::Promise::new();
            let timer = handle.call_later(DAY, move || {
                let _ = promise.set_result((time::now(), Handle::current().id()));
            });
            assert_eq!(timer.when(), begin + DAY);
            assert_eq!(called.await.unwrap(), (begin + DAY, handle.id()));
            assert!(!timer.cancel(), "it was called");
        });
    });
}

#[test]
fn a_callback_may_be_asked_for_from_outside_and_for_an_instant() {
    on_each(|rt| {
        let (sender, receiver) = mpsc::channel();
        let deadline = Instant::now() + 2 * MS;
        drop(rt.handle().call_at(deadline, move || sender.send(Instant::now()).unwrap()));
        rt.block_on(async {
            while receiver.try_recv().map_or(true, |called| called < deadline) {
                time::sleep(MS).await;
            }
        });
    });
}

#[test]
fn a_callback_that_was_cancelled_is_dropped_and_never_called() {
    on_each_paused(|rt| {
        let (counts, calls) = (Counts::new(), Arc::new(AtomicUsize::new(0)));
        let (token, count) = (counts.token(), calls.clone());
        rt.block_on(async {
            let timer = Handle::current().call_later(SECOND, move || {
                drop(token);
                count.fetch_add(1, Ordering::SeqCst);
            });
            assert!(timer.cancel() && !timer.cancel());
            time::sleep(2 * SECOND).await;
        });
        assert_eq!((calls.load(Ordering::SeqCst), counts.drops()), (0, 1));
    });
}

#[test]
fn a_callback_that_panics_is_reported() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        drop(rt.handle().call_later(MS, || panic!("from a callback")));
        let report = reports.recv_timeout(PATIENCE).unwrap();
        assert!(
            report.to_string().contains("from a callback") && report.location().file().ends_with("time.rs")
        );
    });
}

#[test]
fn a_sleep_that_leaves_a_runtime_without_a_thread_ends_elsewhere() {
    within(PATIENCE, || {
        let (first, second) = (single(), multi(1));
        let sleeps: [fn(Duration) -> Wait; 2] = [
            |length| Box::pin(time::sleep(length)),
            |length| {
                let timeout = time::timeout(length, pending::<()>());
                Box::pin(async { assert!(timeout.await.unwrap_err().is_timeout()) })
            },
        ];
        for make in sleeps {
            second.block_on(first.block_on(armed_here(200 * MS, make)));
            // On a plain thread the default runtime goes on with it.
            smol::future::block_on(first.block_on(armed_here(200 * MS, make)));
        }
        assert_eq!((first.metrics().timers(), second.metrics().timers()), (0, 0));
    });
}

#[test]
fn a_task_that_sleeps_while_its_runtime_ends_makes_no_other_one() {
    alone("time::a_task_that_sleeps_while_its_runtime_ends_makes_no_other_one", || {
        let rt = multi(1);
        let (entered, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let task = rt.spawn(async move {
            entered.send(()).unwrap();
            let _ = gone.recv();
            time::sleep(SECOND).await;
        });
        begun.recv().unwrap();
        rt.shutdown_background();
        drop(go);
        assert!(task.wait().unwrap_err().is_shutdown());
        // There is no default runtime yet.
        Runtime::builder().build_global().unwrap();
    });
}

#[test]
fn a_value_that_is_ready_at_the_deadline_is_not_lost_for_want_of_a_budget() {
    on_each(|rt| {
        let ready = async || {
            while runtime::task::coop::has_budget_remaining() {
                runtime::task::coop::consume_budget().await;
            }
            // Two operations, of which the first one would have to wait for a budget.
            runtime::task::coop::consume_budget().await;
            7
        };
        let task = rt.spawn(async move { time::timeout(Duration::ZERO, ready()).await });
        assert_eq!(rt.block_on(task).unwrap().unwrap(), 7);
    });
}
