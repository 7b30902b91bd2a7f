//! A panic affects the task it is in and nothing else, whoever looks or does not look.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use runtime::{Error, Promise, Runtime, UnobservedPolicy};
use runtime_tests::{Counts, Gate, PATIENCE, Token, here, multi, on_each, promptly, reports, until, within};

// --- the product of places, handle operations and runtimes ---

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    FirstPoll,
    LaterPoll,
    FutureDrop,
    OutputDrop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Await,
    DropBefore,
    DropAfter,
    AbortBefore,
    AbortAfterDrop,
    CancelBefore,
    CancelIdle,
    CancelAfter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flavor {
    Single,
    One,
    Two,
}

use Operation::{
    AbortAfterDrop, AbortBefore, Await, CancelAfter, CancelBefore, CancelIdle, DropAfter, DropBefore,
};

const PLACES: [Place; 5] =
    [Place::Nowhere, Place::FirstPoll, Place::LaterPoll, Place::FutureDrop, Place::OutputDrop];
const OPERATIONS: [Operation; 8] =
    [Await, DropBefore, DropAfter, AbortBefore, AbortAfterDrop, CancelBefore, CancelIdle, CancelAfter];

/// Counts its drop and then panics in it, if it is told to.
struct Bomb {
    _token: Token,
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.armed, "boom in a destructor");
    }
}

struct Case {
    place: Place,
    _future: Bomb,
    output: Option<Bomb>,
    polls: usize,
    passing: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Case {
    type Output = Bomb;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bomb> {
        self.polls += 1;
        assert!(!(self.place == Place::FirstPoll && self.polls == 1), "boom in the first poll");
        assert!(!(self.place == Place::LaterPoll && self.polls == 2), "boom in a later poll");
        std::task::ready!(self.passing.as_mut().poll(cx));
        Poll::Ready(self.output.take().expect("ready once"))
    }
}

fn case(place: Place, gate: &Gate, futures: &Counts, outputs: &Counts) -> Case {
    let waiting = gate.clone();
    Case {
        place,
        _future: Bomb { _token: futures.token(), armed: place == Place::FutureDrop },
        output: Some(Bomb { _token: outputs.token(), armed: place == Place::OutputDrop }),
        polls: 0,
        passing: Box::pin(async move { waiting.pass().await }),
    }
}

async fn finished(abort: &runtime::AbortHandle) {
    while !abort.is_finished() {
        runtime_tests::turn().await;
    }
}

/// One cell of the product; what the handle may say is checked against what was asked for.
async fn combination(place: Place, operation: Operation) {
    let (futures, outputs, gate) = (Counts::new(), Counts::new(), Gate::new());
    let future = case(place, &gate, &futures, &outputs);
    let mut task = runtime::spawn(future);
    let abort = task.abort_handle();
    let early = matches!(operation, CancelBefore | AbortBefore);
    let mut asked = false;
    if early {
        asked = if operation == CancelBefore { task.cancel() } else { abort.cancel() };
    }
    if operation != CancelBefore && operation != AbortBefore && place != Place::FirstPoll {
        while !gate.is_waited_at() && !abort.is_finished() {
            runtime_tests::turn().await;
        }
    }
    if operation == CancelIdle {
        asked = task.cancel();
    }
    let mut task = match operation {
        DropBefore => {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
            None
        }
        AbortAfterDrop => {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(task)));
            asked = abort.cancel();
            None
        }
        _ => {
            if operation == Await {
                // The waker is in its slot before the task ends.
                std::future::poll_fn(|cx| {
                    let _ = task.poll_done(cx);
                    Poll::Ready(())
                })
                .await;
            }
            Some(task)
        }
    };
    gate.open();
    finished(&abort).await;
    if operation == CancelAfter {
        assert!(!task.as_ref().expect("kept").cancel(), "too late");
    }
    let result = match (operation, task.take()) {
        (DropAfter, Some(task)) => {
            drop(task);
            None
        }
        (_, Some(task)) => Some(task.await),
        (_, None) => None,
    };
    check(place, asked, result);
    assert_eq!(futures.drops(), 1, "the future is dropped once");
    until(|| outputs.drops() == 1);
    assert!(abort.is_finished() && !abort.cancel());
    // The worker goes on.
    runtime::spawn(async {}).await.expect("the runtime works on");
}

fn check(place: Place, asked: bool, result: Option<Result<Bomb, Error>>) {
    let Some(result) = result else { return };
    match result {
        Ok(mut output) => {
            assert!(matches!(place, Place::Nowhere | Place::OutputDrop));
            output.armed = false;
        }
        Err(error) if error.is_panic() => {
            assert_ne!(place, Place::Nowhere, "{error}");
            assert!(error.to_string().starts_with("task panicked: boom in"), "{error}");
        }
        Err(error) => assert!(asked && error.is_cancelled(), "{place:?}: {error}"),
    }
}

fn quiet(flavor: Flavor) -> Runtime {
    let builder = Runtime::builder().on_unobserved(|_| ());
    match flavor {
        Flavor::Single => builder.current_thread(),
        Flavor::One => builder.worker_threads(1),
        Flavor::Two => builder.worker_threads(2),
    }
    .build()
    .expect("a runtime")
}

fn product(flavor: Flavor) {
    within(PATIENCE, move || {
        let rt = quiet(flavor);
        for place in PLACES {
            for operation in OPERATIONS {
                rt.block_on(combination(place, operation));
                let done = rt.spawn(combination(place, operation));
                rt.block_on(done).unwrap_or_else(|error| panic!("{place:?}, {operation:?}: {error}"));
            }
        }
    });
}

#[test]
fn every_panic_at_every_handle_operation_stays_in_its_task_on_one_thread() {
    product(Flavor::Single);
}

#[test]
fn every_panic_at_every_handle_operation_stays_in_its_task_on_one_worker() {
    product(Flavor::One);
}

#[test]
fn every_panic_at_every_handle_operation_stays_in_its_task_on_two_workers() {
    product(Flavor::Two);
}

// --- payloads ---

struct Grudge(Arc<AtomicBool>);

impl Drop for Grudge {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        panic!("from the payload's destructor");
    }
}

#[test]
fn a_payload_whose_destructor_panics_harms_nobody() {
    on_each(|rt| {
        let dropped = Arc::new(AtomicBool::new(false));
        let grudge = Grudge(dropped.clone());
        let task = rt.spawn(async move { panic_any(grudge) });
        let error = rt.block_on::<_>(task).map(drop::<()>).unwrap_err();
        assert!(error.is_panic());
        drop(error);
        until(|| dropped.load(Ordering::SeqCst));
        rt.block_on(rt.spawn(async {})).unwrap();
    });
}

#[test]
fn a_payload_whose_destructor_panics_in_a_detached_task_harms_nobody() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let grudge = Grudge(Arc::default());
        drop(rt.spawn(async move { panic_any::<Grudge>(grudge) }));
        drop(reports.recv().unwrap());
        rt.spawn(async {}).wait().unwrap();
    });
}

#[test]
fn the_payload_comes_out_of_the_error() {
    on_each(|rt| {
        let task = rt.spawn(async { panic_any(42_u16) });
        let error = rt.block_on(task).map(drop::<()>).unwrap_err();
        assert_eq!(*error.into_panic().unwrap().downcast::<u16>().unwrap(), 42);
    });
}

#[test]
fn the_message_is_the_error_s_text() {
    on_each(|rt| {
        let task = rt.spawn(async { panic!("out of {}", "paper") });
        let error = rt.block_on(task).map(drop::<()>).unwrap_err();
        assert_eq!(error.to_string(), "task panicked: out of paper");
    });
}

#[test]
fn a_panic_of_the_root_future_goes_to_the_caller_of_block_on() {
    on_each(|rt| {
        let root = AssertUnwindSafe(|| rt.block_on(async { panic!("in the root") }));
        let payload = catch_unwind(root).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the root"));
        assert_eq!(rt.block_on(rt.spawn(async { 1 })).unwrap(), 1);
    });
}

#[test]
fn a_panicking_waker_of_an_awaiter_takes_no_worker_down() {
    struct Panicking;
    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let waiting = gate.clone();
        let mut task = rt.spawn(async move { waiting.pass().await });
        drop(gate.waker());
        let waker = Waker::from(Arc::new(Panicking));
        assert!(task.poll_done(&mut Context::from_waker(&waker)).is_pending());
        gate.open();
        task.wait().unwrap();
        rt.spawn(async {}).wait().unwrap();
    });
}

#[test]
fn ten_thousand_panics_leave_every_worker_in_place() {
    within(PATIENCE, || {
        let rt = Runtime::builder().worker_threads(2).thread_name("of-panics").build().unwrap();
        std::panic::set_hook(quiet_hook());
        for _ in 0..10_000 {
            assert!(
                rt.spawn(async { panic!("quiet: once more") }).wait().map(drop::<()>).unwrap_err().is_panic()
            );
        }
        let both = Arc::new(std::sync::Barrier::new(2));
        let meet = || {
            let both = both.clone();
            rt.spawn(async move {
                both.wait();
            })
        };
        [meet(), meet()].into_iter().for_each(|task| task.wait().unwrap());
    });
}

/// The standard hook, without the thousands of messages of the tests here.
fn quiet_hook() -> Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Send + Sync> {
    let standard = std::panic::take_hook();
    Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>();
        if !text.is_some_and(|text| text.starts_with("quiet:")) {
            standard(info);
        }
    })
}

// --- reports ---

#[test]
fn a_panic_of_a_detached_task_is_reported_once_with_its_name_and_location() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let (line, id) = {
            let _entered = rt.enter();
            let builder = runtime::task::Builder::new().name("loner");
            let (task, line) = (builder.spawn(async { panic!("nobody looks") }), here().line());
            let task: runtime::Task<()> = task;
            let id = task.id();
            drop(task);
            (line, id)
        };
        let report = reports.recv().unwrap();
        assert_eq!((report.task_name(), report.task_id()), (Some("loner"), Some(id)));
        assert_eq!((report.location().file(), report.location().line()), (file!(), line));
        assert_eq!(report.error().to_string(), "task panicked: nobody looks");
        assert!(report.to_string().contains("panicked"), "{report}");
        drop(rt);
        assert!(reports.try_recv().is_err(), "reported twice");
    });
}

#[test]
fn a_panic_that_happened_before_the_handle_was_dropped_is_reported_once() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let task: runtime::Task<()> = rt.spawn(async { panic!("kept") });
        until(|| task.is_finished());
        assert!(reports.try_recv().is_err(), "somebody may still look");
        drop(task);
        assert_eq!(reports.recv().unwrap().error().to_string(), "task panicked: kept");
        drop(rt);
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn a_panic_that_somebody_saw_is_not_reported() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let task: runtime::Task<()> = rt.spawn(async { panic!("seen") });
        drop(task.wait().unwrap_err());
        drop(rt);
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn a_cancelled_task_is_not_reported() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let task = rt.spawn(std::future::pending::<()>());
        let abort = task.abort_handle();
        drop(task);
        abort.cancel();
        until(|| abort.is_finished());
        drop(rt);
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn a_panic_of_a_destructor_of_an_unwanted_output_is_reported() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let counts = Counts::new();
        let bomb = Bomb { _token: counts.token(), armed: true };
        drop(rt.spawn(async move { bomb }));
        let report = reports.recv().unwrap();
        assert!(report.error().to_string().contains("boom in a destructor"), "{report}");
        assert_eq!(counts.drops(), 1);
    });
}

#[test]
fn a_handler_that_panics_harms_nobody() {
    within(PATIENCE, || {
        let called = Arc::new(AtomicBool::new(false));
        let seen = called.clone();
        let handler = move |_| {
            seen.store(true, Ordering::SeqCst);
            panic!("in the handler");
        };
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        drop(rt.spawn(async { panic!("unseen") }));
        until(|| called.load(Ordering::SeqCst));
        rt.spawn(async {}).wait().unwrap();
    });
}

#[test]
fn a_panic_of_call_soon_is_reported() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        rt.handle().call_soon(|| panic!("soon"));
        assert_eq!(reports.recv().unwrap().error().to_string(), "task panicked: soon");
    });
}

#[test]
fn the_default_report_goes_to_standard_error() {
    if runtime_tests::is_child() {
        let rt = multi(1);
        drop(rt.spawn(async { panic!("to the terminal") }));
        until(|| rt.metrics().live_tasks() == 0);
        return;
    }
    let output = runtime_tests::child("panic::the_default_report_goes_to_standard_error", &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().filter(|line| line.starts_with("runtime: task"));
    let lines: Vec<_> = lines.collect();
    assert!(matches!(lines[..], [line] if line.contains("panicked: to the terminal")), "{text}");
}

// --- nested ---

#[test]
fn a_second_panic_in_a_destructor_while_the_future_is_dropped_stays_in_the_task() {
    on_each(|rt| {
        let (first, second) = (Counts::new(), Counts::new());
        // Dropped one after the other, not one during the unwinding of the other, which would abort any program.
        let bombs =
            (Bomb { _token: first.token(), armed: true }, Bomb { _token: second.token(), armed: false });
        let task = rt.spawn(async move {
            let _bombs = bombs;
            std::future::pending::<()>().await;
        });
        task.cancel();
        assert!(rt.block_on(task).unwrap_err().is_panic());
        assert_eq!((first.drops(), second.drops()), (1, 1));
    });
}

#[test]
fn a_panic_in_a_task_polled_by_a_nested_block_on_stays_in_that_task() {
    on_each(|rt| {
        let outer = rt.spawn(async {
            runtime::block_on(async {
                runtime::spawn(async { panic!("inner") }).await.map(drop::<()>).unwrap_err().is_panic()
            })
        });
        assert!(rt.block_on(outer).unwrap());
    });
}

#[test]
fn resume_unwind_goes_on_with_the_same_payload() {
    within(PATIENCE, || {
        let rt = multi(1);
        let error = rt.spawn(async { panic_any(3_i8) }).wait().map(drop::<()>).unwrap_err();
        let payload = thread::spawn(move || error.resume_unwind()).join().map(drop::<()>).unwrap_err();
        assert_eq!(*payload.downcast::<i8>().unwrap(), 3);
    });
}

#[test]
fn a_runtime_that_shuts_down_on_a_failure_nobody_saw_resolves_every_handle() {
    within(PATIENCE, || {
        for single in [true, false] {
            let (handler, reports) = runtime_tests::reports();
            let mut builder =
                Runtime::builder().on_unobserved(handler).unobserved(UnobservedPolicy::Shutdown);
            if single {
                builder = builder.current_thread();
            }
            let rt = builder.build().unwrap();
            let waiting = rt.spawn(std::future::pending::<()>());
            drop(rt.spawn(async { panic!("quiet: nobody sees it") }));
            // The future of `block_on` is polled on, and every `run_forever` ends.
            assert!(rt.block_on(waiting).unwrap_err().is_shutdown());
            promptly(|| rt.run_forever());
            promptly(|| rt.run_forever());
            assert!(rt.spawn(async {}).wait().unwrap_err().is_shutdown());
            assert!(rt.spawn_blocking(|| ()).wait().unwrap_err().is_shutdown());
            assert!(reports.recv().unwrap().to_string().contains("nobody sees it"));
        }
    });
}

#[test]
fn the_future_of_block_on_may_wait_for_a_timer_after_the_shutdown_on_a_failure() {
    within(PATIENCE, || {
        let rt = Runtime::builder()
            .current_thread()
            .on_unobserved(|_| ())
            .unobserved(UnobservedPolicy::Shutdown)
            .build()
            .unwrap();
        let polls = Counts::new();
        rt.block_on(polls.watch(async {
            let waiting = runtime::spawn(std::future::pending::<()>());
            drop(runtime::spawn(async { panic!("quiet: nobody sees it") }));
            assert!(waiting.await.unwrap_err().is_shutdown());
            runtime::time::sleep(Duration::from_millis(20)).await;
        }));
        // The end of the task, that of the sleep, and whatever the shutdown wakes.
        assert!(polls.polls() < 10, "{} polls", polls.polls());
    });
}

#[test]
fn an_exception_that_nobody_saw_shuts_down_as_a_panic_does() {
    within(PATIENCE, || {
        let (handler, reports) = runtime_tests::reports();
        let rt = Runtime::builder()
            .worker_threads(1)
            .on_unobserved(handler)
            .unobserved(UnobservedPolicy::Shutdown)
            .build()
            .unwrap();
        let waiting = rt.spawn(std::future::pending::<()>());
        let unseen = rt.spawn(async {
            let (promise, future) = runtime::Promise::<()>::new();
            promise.set_exception("nobody sees it").unwrap();
            drop(future);
        });
        unseen.wait().unwrap();
        assert!(waiting.wait().unwrap_err().is_shutdown());
        assert!(reports.recv().unwrap().to_string().contains("nobody sees it"));
    });
}

#[test]
fn a_handler_that_panics_does_not_keep_the_runtime_from_shutting_down() {
    within(PATIENCE, || {
        let rt = Runtime::builder()
            .on_unobserved(|_| panic!("quiet: in the handler"))
            .unobserved(UnobservedPolicy::Shutdown)
            .build()
            .unwrap();
        let waiting = rt.spawn(std::future::pending::<()>());
        drop(rt.spawn(async { panic!("quiet: nobody sees it") }));
        assert!(waiting.wait().unwrap_err().is_shutdown());
    });
}

#[test]
fn a_failure_that_somebody_sees_shuts_nothing_down() {
    within(PATIENCE, || {
        let rt = Runtime::builder().unobserved(UnobservedPolicy::Shutdown).build().unwrap();
        assert!(rt.spawn(async { panic!("quiet: seen") }).wait().map(drop::<()>).unwrap_err().is_panic());
        assert_eq!(rt.spawn(async { 1 }).wait().unwrap(), 1);
    });
}

/// What goes while a task unwinds is nobody's failure, though it holds promises that nobody has kept.
#[test]
fn what_a_panic_takes_along_is_no_failure_of_its_own() {
    use runtime::{BlockingPool, CancelToken};

    fn promise() -> (runtime::Future<u8>, Promise<u8>) {
        let (promise, future) = Promise::new();
        // As local variables are dropped: the last one first.
        (future, promise)
    }

    let bystanders: [fn() -> Box<dyn std::any::Any>; 4] = [
        || Box::new(promise()),
        || Box::new(CancelToken::new()),
        || Box::new(BlockingPool::new(1)),
        || Box::new(runtime::spawn(std::future::pending::<()>()).shared()),
    ];
    for bystander in bystanders {
        within(PATIENCE, move || {
            let rt = Runtime::builder().unobserved(UnobservedPolicy::Shutdown).build().unwrap();
            let task = rt.spawn(async move {
                let _taken_along = bystander();
                panic!("quiet: seen")
            });
            assert!(task.wait().map(drop::<()>).unwrap_err().is_panic());
            assert_eq!(rt.spawn(async { 1 }).wait().unwrap(), 1);
        });
    }
}

#[test]
fn a_process_that_aborts_on_a_failure_nobody_saw_reports_it_first() {
    use std::os::unix::process::ExitStatusExt;

    const NAME: &str = "panic::a_process_that_aborts_on_a_failure_nobody_saw_reports_it_first";
    if runtime_tests::is_child() {
        let rt = Runtime::builder().unobserved(UnobservedPolicy::Abort).build().unwrap();
        let task = runtime::task::Builder::new().name("culprit");
        let _entered = rt.enter();
        drop(task.spawn(async { panic!("nobody sees it") }));
        std::thread::sleep(PATIENCE);
        return;
    }
    let mut command = runtime_tests::child_command(NAME);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    // The program that limits the child's time passes the signal on, or says 128 and its number.
    assert!(
        output.status.signal() == Some(6) || output.status.code() == Some(134),
        "{}: {text}",
        output.status
    );
    let reports = text.lines().filter(|line| line.contains("\"culprit\"") && line.contains("was detached"));
    assert_eq!(reports.count(), 1, "{text}");
}

/// A future of the user's own, whose fields are dropped when its panic is over.
struct PanicsWith(#[expect(dead_code, reason = "dropped")] Promise<u8>);

impl Future for PanicsWith {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        panic!("quiet: in the poll")
    }
}

#[test]
fn who_waits_for_a_promise_is_told_whether_its_task_has_panicked() {
    within(PATIENCE, || {
        let says_that_it_panicked = |future: &runtime::Future<u8>| {
            let error = future.wait().unwrap_err();
            assert!(error.is_broken_promise());
            error.to_string().contains("panicked")
        };
        let rt = Runtime::builder().current_thread().build().unwrap();
        let (promise, future) = Promise::new();
        let task = rt.spawn(PanicsWith(promise));
        assert!(rt.block_on(task).unwrap_err().is_panic());
        assert!(says_that_it_panicked(&future));

        let (promise, future) = Promise::new();
        let waiting = rt.spawn(async move {
            let _promise = promise;
            std::future::pending::<()>().await;
        });
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let rt = rt;
            rt.block_on(runtime::task::yield_now());
            panic!("quiet: the thread, and not the task");
        }));
        assert!(unwound.is_err() && waiting.is_finished());
        assert!(!says_that_it_panicked(&future));
    });
}
