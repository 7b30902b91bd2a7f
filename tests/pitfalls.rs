//! The traps that futures of other libraries have, each by its number in the list of them: ours has none.
//!
//! `tests/pitfalls.sh` runs each test whose name begins with a letter and two digits a thousand times under load.

use std::error::Error as _;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use std::{fmt, io};

// Not std's, which ThreadSanitizer cannot see into.
use parking_lot::Mutex;
use runtime::{Error, Future, Promise, Runtime, State, Task, time};
use runtime_tests::{
    CountingWaker, Counts, Gate, PATIENCE, Token, multi, on_each, primitives, promptly, reports, settle,
    single, until, within,
};

/// One thread and a clock that stands still: what passes on it is exact.
fn on_a_paused_clock(body: impl AsyncFnOnce() + Send + 'static) {
    within(PATIENCE, || {
        let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
        rt.block_on(body());
    });
}

// --- one winner ---

#[test]
fn p01_set_cancel_and_exception_race_and_one_wins() {
    within(PATIENCE, || {
        const ROUNDS: usize = 30;
        type Pair = (Promise<Token>, Future<Token>);
        let (counts, start, end) = (Counts::new(), Barrier::new(3), Barrier::new(3));
        let pairs: Vec<Pair> = (0..ROUNDS).map(|_| Promise::new()).collect();
        // Each round all three begin at once and look at the outcome when all three are done.
        let race = |ask: &dyn Fn(&Pair) -> (bool, State)| {
            let round = |pair: &Pair| {
                start.wait();
                let (won, state) = ask(pair);
                end.wait();
                assert!(won || state == pair.1.state(), "the loser is told who won");
                won
            };
            pairs.iter().map(round).collect::<Vec<_>>()
        };
        let won = thread::scope(|scope| {
            let set = scope.spawn(|| {
                race(&|(promise, _)| match promise.set_result(counts.token()) {
                    Ok(()) => (true, State::Finished),
                    Err(lost) => (false, lost.state),
                })
            });
            let fail = scope.spawn(|| {
                race(&|(promise, _)| match promise.set_exception("late") {
                    Ok(()) => (true, State::Failed),
                    Err(lost) => (false, lost.state),
                })
            });
            let cancel = race(&|(_, future)| (future.cancel(), future.state()));
            [set.join().unwrap(), fail.join().unwrap(), cancel]
        });
        for (round, (_, future)) in pairs.iter().enumerate() {
            let winners: Vec<_> = (0..3).filter(|player| won[*player][round]).collect();
            assert_eq!(winners.len(), 1);
            let states = [State::Finished, State::Failed, State::Cancelled];
            assert_eq!(future.state(), states[winners[0]]);
            let _ = future.exception();
        }
        drop(pairs);
        assert_eq!(counts.drops(), ROUNDS, "each value is dropped once, whoever won");
    });
}

#[test]
fn p02_what_comes_after_a_cancel_comes_back_with_the_state() {
    let (counts, (promise, future)) = (Counts::new(), Promise::new());
    assert!(future.cancel() && !future.cancel());
    let lost = promise.set_result(counts.token()).unwrap_err();
    assert_eq!((lost.state, counts.drops()), (State::Cancelled, 0));
    let lost = promise.set(Ok(lost.value)).unwrap_err();
    assert_eq!((lost.state, counts.drops()), (State::Cancelled, 0));
    drop(lost.value);
    let lost = promise.set_exception(io::Error::from(io::ErrorKind::WouldBlock)).unwrap_err();
    let kept = lost.value.downcast_ref::<io::Error>().unwrap().kind();
    assert_eq!((lost.state, kept), (State::Cancelled, io::ErrorKind::WouldBlock));
    // The one setter that has nowhere to give it back to drops it.
    promise.set_with(|| Ok::<_, Error>(counts.token()));
    assert_eq!(counts.drops(), 2);
    assert!(future.cancelled());
}

// --- readers are independent ---

#[test]
fn p03_an_awaiter_that_is_cancelled_or_times_out_leaves_the_future_to_the_others() {
    on_a_paused_clock(async || {
        let begin = time::now();
        let (promise, future) = Promise::new();
        let (gone, stays) = (runtime::spawn(future.clone()), runtime::spawn(future.clone()));
        settle().await;
        assert!(gone.cancel_and_wait().await.unwrap_err().is_cancelled());
        assert_eq!(begin.elapsed_here(), Duration::ZERO);
        assert!(time::timeout(Duration::from_secs(3), future.clone()).await.unwrap_err().is_timeout());
        assert!(time::timeout(Duration::from_secs(4), &future).await.unwrap_err().is_timeout());
        assert_eq!(begin.elapsed_here(), Duration::from_secs(7));
        assert_eq!((future.state(), stays.is_finished()), (State::Pending, false));
        promise.set_result(2).unwrap();
        assert_eq!((stays.await.unwrap().unwrap(), future.await.unwrap()), (2, 2));
        assert_eq!(begin.elapsed_here(), Duration::from_secs(7));
    });
}

/// What has passed on the runtime's clock, which may stand still while the system's goes on.
trait ElapsedHere {
    fn elapsed_here(self) -> Duration;
}

impl ElapsedHere for std::time::Instant {
    fn elapsed_here(self) -> Duration {
        time::now() - self
    }
}

// --- callbacks ---

#[test]
fn p04_callbacks_run_once_in_order_though_one_panics_one_is_removed_and_one_is_late() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(2).on_unobserved(handler).build().unwrap();
        let _entered = rt.enter();
        let (promise, future) = Promise::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let add = |n: usize| {
            let log = log.clone();
            future.add_done_callback(move |_| {
                log.lock().push(n);
                assert!(n != 25, "callback {n}");
            })
        };
        let ids: Vec<_> = (0..51).map(add).collect();
        assert!(future.remove_done_callback(ids[40]) && !future.remove_done_callback(ids[40]));
        promise.set_result(()).unwrap();
        add(51);
        let (sender, ran) = mpsc::channel();
        future.add_done_callback(move |_| sender.send(()).unwrap());
        ran.recv().unwrap();
        let expected: Vec<_> = (0..52).filter(|n| *n != 40).collect();
        assert_eq!(*log.lock(), expected);
        assert_eq!(reports.recv().unwrap().error().to_string(), "task panicked: callback 25");
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn p05_a_setter_may_hold_the_lock_that_a_callback_and_a_waker_take() {
    within(PATIENCE, || {
        let rt = multi(2);
        let _entered = rt.enter();
        let users = Arc::new(Mutex::new(0));
        let (promise, future) = Promise::new();
        let (sender, ran) = mpsc::channel();
        future.clone().add_done_callback({
            let (users, future) = (users.clone(), future.clone());
            move |done| {
                *users.lock() += 1;
                // A callback that adds a callback and drops the last handle that the program has.
                done.add_done_callback(move |_| sender.send(()).unwrap());
                drop(future);
            }
        });
        let reader = rt.spawn({
            let (users, future) = (users.clone(), future.clone());
            async move {
                future.await.unwrap();
                *users.lock() += 1;
            }
        });
        drop(future);
        let held = users.lock();
        promise.set_result(()).unwrap();
        drop(promise);
        drop(held);
        ran.recv().unwrap();
        reader.wait().unwrap();
        assert_eq!(*users.lock(), 2);
    });
}

// --- from everywhere ---

#[test]
fn p06_a_future_is_awaited_at_once_from_tasks_threads_tokio_and_smol() {
    within(PATIENCE, || {
        const EACH: usize = 20;
        let (ours, single) = (multi(2), single());
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let smol = Arc::new(smol::Executor::new());
        let (stop, stopped) = Promise::<()>::new();
        let (promise, future) = Promise::new();
        // All of them are waiting before the value comes.
        let waiting = Counts::new();
        let reader = || waiting.watch(future.clone());
        let tasks: Vec<_> = (0..EACH).map(|_| ours.spawn(reader())).collect();
        let others: Vec<_> = (0..EACH).map(|_| tokio.spawn(reader())).collect();
        let more: Vec<_> = (0..EACH).map(|_| smol.spawn(reader())).collect();
        let runner = thread::spawn({
            let smol = smol.clone();
            move || smol::block_on(smol.run(stopped))
        });
        let threads: Vec<_> = (0..EACH)
            .map(|_| {
                let future = future.clone();
                thread::spawn(move || *future.wait().unwrap())
            })
            .collect();
        until(|| waiting.polls() >= 3 * EACH);
        promise.set_result(6).unwrap();
        assert_eq!(single.block_on(async { *(&future).await.unwrap() }), 6);
        assert!(tasks.into_iter().all(|task| task.wait().unwrap().unwrap() == 6));
        assert!(others.into_iter().all(|task| tokio.block_on(task).unwrap().unwrap() == 6));
        assert!(more.into_iter().all(|task| smol::block_on(task).unwrap() == 6));
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 6));
        stop.set_result(()).unwrap();
        runner.join().unwrap().unwrap();
    });
}

#[test]
fn p07_a_value_that_cannot_be_cloned_is_awaited_by_reference_by_all() {
    struct Single(u8);
    on_each(|rt| {
        let (promise, future) = Promise::<Single>::new();
        let readers: Vec<_> = (0..5)
            .map(|_| {
                let future = future.clone();
                rt.spawn(async move { std::ptr::from_ref((&future).await.unwrap()).addr() })
            })
            .collect();
        let setter = rt.spawn(async move { promise.set_result(Single(9)).is_ok() });
        let all = rt.block_on(async {
            assert!(setter.await.unwrap());
            let mut all = Vec::new();
            for reader in readers {
                all.push(reader.await.unwrap());
            }
            all
        });
        let value = future.result().unwrap().unwrap();
        assert_eq!(value.0, 9);
        assert!(all.iter().all(|place| *place == std::ptr::from_ref(value).addr()), "it is one value");
    });
}

// --- who is gone ---

#[test]
fn p08_a_broken_promise_says_whether_its_producer_panicked() {
    on_each(|rt| {
        let (promise, future) = Promise::<u8>::new();
        let producer: Task<()> = rt.spawn(async move {
            let _promise = promise;
            panic!("the producer");
        });
        let error = promptly(|| rt.block_on(future)).unwrap_err();
        assert!(error.is_broken_promise());
        assert!(error.to_string().contains("its producer panicked"), "{error}");
        assert!(rt.block_on(producer).unwrap_err().is_panic());

        let (promise, future) = Promise::<u8>::new();
        rt.block_on(rt.spawn(async move { drop(promise) })).unwrap();
        let error = promptly(|| rt.block_on(future)).unwrap_err();
        assert!(error.is_broken_promise());
        assert!(!error.to_string().contains("panicked"), "{error}");
    });
}

#[test]
fn p09_the_producer_is_woken_when_the_last_reader_goes_and_not_before() {
    on_each(|rt| {
        let (promise, future) = Promise::<u8>::new();
        let counts = Counts::new();
        let producer = rt.spawn(counts.watch(async move {
            promise.closed().await;
            promise.is_cancelled()
        }));
        rt.block_on(async {
            while counts.polls() == 0 {
                runtime_tests::turn().await;
            }
            drop(future.clone());
            let gone = runtime::spawn(future.clone());
            assert!(gone.cancel_and_wait().await.is_err());
            settle().await;
            assert!(!producer.is_finished());
            drop(future);
            assert!(!promptly_await(producer).await, "nobody cancelled it");
        });
        assert_eq!(counts.polls(), 2);
    });
}

/// Awaits it, and fails if that took long.
async fn promptly_await<T>(task: Task<T>) -> T {
    let begin = std::time::Instant::now();
    let value = task.await.unwrap();
    assert!(begin.elapsed() < runtime_tests::PROMPT);
    value
}

// --- nothing is left behind ---

#[test]
fn p10_a_waker_that_was_replaced_is_neither_kept_nor_woken() {
    for primitive in primitives() {
        println!("{}", primitive.name);
        within(PATIENCE, move || {
            let rt = multi(2);
            let _entered = rt.enter();
            let mut scene = primitive.scene(&rt);
            let ((old, old_waker), new) = (CountingWaker::new(), CountingWaker::new());
            let mut wait = scene.begin();
            for _ in 0..3 {
                wait.poll(&old_waker);
            }
            // One that was ready in the meantime has woken it, and keeps nothing either.
            let early = wait.poll_counted(&new) || old.wakes() > 0;
            until(|| Arc::strong_count(&old) == 2 || !early);
            assert_eq!(Arc::strong_count(&old), 2, "this test and its waker");
            thread::spawn(scene.take_finish()).join().unwrap();
            wait.drive(&new);
            assert!(early || old.wakes() == 0);
            drop((wait, scene));
            // Whoever woke it drops its waker a moment later.
            until(|| Arc::strong_count(&new.0) == 2);
        });
    }
}

#[test]
fn p11_two_thousand_waits_that_were_abandoned_leave_no_waiter_behind() {
    for primitive in primitives() {
        println!("{}", primitive.name);
        within(PATIENCE, move || {
            let rt = multi(1);
            let _entered = rt.enter();
            let mut scene = primitive.scene(&rt);
            let (count, waker) = CountingWaker::new();
            for _ in 0..2_000 {
                // Each with a waker of its own, as of a task of its own.
                let own = Waker::from(Arc::new(Forward(waker.clone())));
                let mut wait = scene.begin();
                wait.poll(&own);
            }
            // Who polls a thing that is its own leaves one waker there; the next poll replaces it.
            let kept = usize::from(!primitive.shared);
            until(|| Arc::strong_count(&count) <= 2 + kept);
            drop(scene);
            until(|| Arc::strong_count(&count) == 2);
        });
    }
}

struct Forward(Waker);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

// --- failures ---

#[test]
fn p12_a_failure_is_reported_once_unless_somebody_read_it() {
    type Read = fn(&Runtime, &Future<u8>);
    let silent: [Read; 6] = [
        |rt, future| drop(rt.block_on(future.clone())),
        |rt, future| assert!(rt.block_on(async { future.await.is_err() })),
        |_, future| assert!(future.result().unwrap().is_err()),
        |_, future| assert!(future.exception().is_some()),
        |_, future| assert!(future.wait().is_err()),
        |rt, future| {
            let _entered = rt.enter();
            let (sender, ran) = mpsc::channel();
            future.add_done_callback(move |done| sender.send(done.exception().is_some()).unwrap());
            assert!(ran.recv().unwrap());
        },
    ];
    let loud: [Read; 3] = [
        |_, _| {},
        |_, future| assert!(!future.cancel()),
        |_, future| assert_eq!((future.state(), future.done()), (State::Failed, true)),
    ];
    within(PATIENCE, move || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let handle = rt.handle();
        let _entered = handle.enter();
        for read in silent.into_iter().chain(loud) {
            let (promise, future) = Promise::new();
            promise.set_exception("unread").unwrap();
            read(&rt, &future);
            drop((promise, future));
        }
        // The callbacks' own readers are gone with the runtime.
        drop(rt);
        assert_eq!(reports.try_iter().count(), loud.len());
    });
}

// --- tasks ---

#[test]
fn p19_a_task_that_awaits_itself_panics_and_says_so() {
    on_each(|rt| {
        let own: Arc<Mutex<Option<Task<()>>>> = Arc::default();
        let gate = Gate::new();
        let _entered = rt.enter();
        let task = runtime::task::Builder::new().name("narcissus").spawn({
            let (own, gate) = (own.clone(), gate.clone());
            async move {
                gate.pass().await;
                let mut own = own.lock().take().unwrap();
                let _ = (&mut own).await;
            }
        });
        let id = task.id();
        let (sender, receiver) = mpsc::channel();
        task.add_done_callback(move |outcome| sender.send(outcome.error().cloned()).unwrap());
        *own.lock() = Some(task);
        gate.open();
        let error = promptly(|| {
            rt.block_on(async {
                loop {
                    match receiver.try_recv() {
                        Ok(error) => break error,
                        Err(_) => runtime_tests::turn().await,
                    }
                }
            })
        });
        let text = error.expect("it fails").to_string();
        assert!(text.contains(&format!("task {id} \"narcissus\" cannot await itself")), "{text}");
    });
}

#[test]
fn p21_every_kind_of_payload_is_kept_once_and_its_message_for_every_reader() {
    struct Odd(u8);
    type Panics = fn() -> u8;
    let panics: [(Panics, &str); 3] = [
        (|| panic!("a literal"), "task panicked: a literal"),
        (|| panic!("number {}", std::hint::black_box(5)), "task panicked: number 5"),
        (|| panic_any(Odd(3)), "task panicked: (a payload that is not a string)"),
    ];
    for (panics, text) in panics {
        on_each(move |rt| {
            let future = rt.spawn(async move { panics() }).shared();
            let readers = [future.clone(), future];
            let [first, second] = readers.map(|reader| rt.block_on(reader).unwrap_err());
            assert_eq!([first.to_string(), second.to_string()], [text, text]);
            let payload = first.into_panic().unwrap();
            let message = payload.downcast_ref::<&str>().map(ToString::to_string);
            match message.or_else(|| payload.downcast_ref::<String>().cloned()) {
                Some(message) => assert_eq!(format!("task panicked: {message}"), text),
                None => assert_eq!(payload.downcast::<Odd>().unwrap().0, 3),
            }
            let message = second.into_panic().unwrap().downcast::<String>().expect("the message is left");
            assert_eq!(format!("task panicked: {message}"), text);
        });
    }
}

#[derive(Debug)]
struct Refused {
    attempts: u32,
    cause: io::Error,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused {} times", self.attempts)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[test]
fn p22_an_exception_keeps_its_type_its_source_and_its_io_kind_on_the_way_to_every_reader() {
    on_each(|rt| {
        let (promise, future) = Promise::<u8>::new();
        let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
        rt.block_on(rt.spawn(async move { promise.set_exception(Refused { attempts: 3, cause }).is_ok() }))
            .unwrap();
        for reader in [future.clone(), future] {
            let error = rt.block_on(reader).unwrap_err();
            assert_eq!(error.downcast_ref::<Refused>().unwrap().attempts, 3);
            assert!(error.source().unwrap().is::<io::Error>());
            assert_eq!(error.to_string(), "refused 3 times");
        }

        // Through `?`, in a function of io, while other readers hold the same error.
        let missing = Future::<u8>::failed(io::Error::new(io::ErrorKind::NotFound, "no such page"));
        let other = missing.clone();
        let read = async move { Ok::<u8, io::Error>(missing.await?) };
        let error = rt.block_on(read).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::NotFound, "no such page"));
        assert_eq!(other.exception().unwrap().downcast_ref::<io::Error>().unwrap().kind(), error.kind());

        let late = rt.block_on(time::timeout(Duration::ZERO, std::future::pending::<()>())).unwrap_err();
        assert_eq!(io::Error::from(late).kind(), io::ErrorKind::TimedOut);
        let (promise, future) = Promise::<u8>::new();
        drop(promise);
        assert_eq!(io::Error::from(rt.block_on(future).unwrap_err()).kind(), io::ErrorKind::BrokenPipe);
    });
}

// --- what the list had not covered ---

#[test]
fn a_panic_of_a_task_that_is_detached_already_is_reported_once() {
    within(PATIENCE, || {
        let (handler, reports) = reports();
        let rt = Runtime::builder().worker_threads(1).on_unobserved(handler).build().unwrap();
        let gate = Gate::new();
        let passing = gate.clone();
        let task: Task<()> = rt.spawn(async move {
            passing.pass().await;
            panic!("nobody is there");
        });
        drop(gate.waker());
        drop(task);
        gate.open();
        assert_eq!(reports.recv().unwrap().error().to_string(), "task panicked: nobody is there");
        drop(rt);
        assert!(reports.try_recv().is_err());
    });
}

#[test]
fn a_panic_in_a_destructor_during_a_cancel_completes_the_task_with_the_panic() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("while it is cancelled");
        }
    }
    on_each(|rt| {
        let gate = Gate::new();
        let passing = gate.clone();
        let mut task = rt.spawn(async move {
            let _bomb = Bomb;
            passing.pass().await;
        });
        let (promise, told) = Promise::new();
        let _entered = rt.enter();
        task.add_done_callback(move |outcome| promise.set_result(outcome.error().cloned()).unwrap());
        rt.block_on(async {
            while !gate.is_waited_at() {
                runtime_tests::turn().await;
            }
        });
        assert!(task.cancel());
        promptly(|| rt.block_on(task.done()));
        assert_eq!(rt.block_on(task).unwrap_err().to_string(), "task panicked: while it is cancelled");
        assert!(rt.block_on(told).unwrap().unwrap().is_panic(), "callbacks are told the same");
        rt.block_on(rt.spawn(async {})).unwrap();
    });
}

#[test]
fn a_hundred_thousand_tasks_are_woken_by_a_setter_that_runs_none_of_them() {
    const WAITERS: usize = 100_000;
    within(PATIENCE, || {
        let rt = single();
        let counts = Counts::new();
        let (promise, future) = Promise::new();
        rt.block_on(async {
            let read = |n: usize| {
                let future = future.clone();
                counts.watch(async move { *(&future).await.unwrap() + n })
            };
            let tasks: Vec<_> = (0..WAITERS).map(|n| runtime::spawn(read(n))).collect();
            while counts.polls() < WAITERS {
                runtime_tests::turn().await;
            }
            promise.set_result(1).unwrap();
            assert_eq!(counts.polls(), WAITERS, "nothing was polled inside of set_result");
            for (n, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), n + 1);
            }
        });
        assert_eq!(counts.polls(), 2 * WAITERS, "each was woken once");
    });
}

#[test]
fn a_hundred_thousand_wakers_run_in_the_setter_without_a_lock_of_ours() {
    const WAITERS: usize = 100_000;
    within(PATIENCE, || {
        let rt = multi(1);
        let _entered = rt.enter();
        let (promise, future) = Promise::new();
        let (count, waker) = CountingWaker::new();
        let mut waits: Vec<_> = (0..WAITERS).map(|_| future.clone()).collect();
        let (called, calls) = mpsc::channel();
        for (n, wait) in waits.iter_mut().enumerate() {
            let last = Asks { future: future.clone(), called: called.clone(), waker: waker.clone() };
            let asks = Waker::from(Arc::new(last));
            // The first, the last and some between ask for the lock, on another thread, and wait for it.
            let waker = if n % 20_000 == 0 || n == WAITERS - 1 { &asks } else { &waker };
            assert!(Pin::new(wait).poll(&mut Context::from_waker(waker)).is_pending());
        }
        promise.set_result(()).unwrap();
        assert_eq!(count.wakes(), WAITERS, "all of them before set_result returned");
        assert_eq!(calls.try_iter().count(), 6);
    });
}

/// Waits in `wake` for another thread that registers a callback, which takes the future's lock.
struct Asks {
    future: Future<()>,
    called: mpsc::Sender<()>,
    waker: Waker,
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        let future = self.future.clone();
        let handle = runtime::Handle::current();
        let other = thread::spawn(move || {
            let _entered = handle.enter();
            future.add_done_callback(|_| {});
        });
        other.join().unwrap();
        self.called.send(()).unwrap();
        self.waker.wake_by_ref();
    }
}

#[test]
fn a_shutdown_ends_every_wait_of_foreign_threads_with_an_error() {
    within(PATIENCE, || {
        let rt = multi(2);
        let (gate, started) = (Gate::new(), Arc::new(Barrier::new(7)));
        let waiting = |passing: Gate| rt.spawn(async move { passing.pass().await });
        let shared = waiting(Gate::new()).shared();
        let (promise, future) = Promise::<()>::new();
        drop(rt.spawn(async move {
            let _promise = promise;
            std::future::pending::<()>().await;
        }));
        let (mut polled, by_wait, by_poll) =
            (waiting(Gate::new()), waiting(gate.clone()), waiting(Gate::new()));
        let copy = shared.clone();
        type Waits = Vec<Box<dyn FnOnce() -> Error + Send>>;
        let waits: Waits = vec![
            Box::new(move || by_wait.wait().unwrap_err()),
            Box::new(move || smol::block_on(by_poll).unwrap_err()),
            Box::new(move || shared.wait().unwrap_err().clone()),
            Box::new(move || smol::block_on(copy).unwrap_err()),
            Box::new(move || future.wait().unwrap_err().clone()),
            Box::new(move || {
                smol::block_on(polled.done());
                polled.wait().unwrap_err()
            }),
        ];
        let threads: Vec<_> = waits
            .into_iter()
            .map(|wait| {
                let started = started.clone();
                thread::spawn(move || {
                    started.wait();
                    wait()
                })
            })
            .collect();
        drop(gate.waker());
        started.wait();
        promptly(|| drop(rt));
        for thread in threads {
            let error = thread.join().unwrap();
            assert!(error.is_shutdown() || error.is_broken_promise(), "{error}");
        }
    });
}

#[test]
fn callbacks_registered_from_two_runtimes_run_in_order_each_on_its_own() {
    within(PATIENCE, || {
        let runtimes = [multi(1), multi(2)];
        let ids = [runtimes[0].handle().id(), runtimes[1].handle().id()];
        let (promise, future) = Promise::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        for n in 0..40 {
            let (_entered, log) = (runtimes[n % 2].enter(), log.clone());
            future.add_done_callback(move |_| {
                log.lock().push((n, runtime::Handle::current().id()));
            });
        }
        promise.set_result(()).unwrap();
        until(|| log.lock().len() == 40);
        let expected: Vec<_> = (0..40).map(|n| (n, ids[n % 2])).collect();
        assert_eq!(*log.lock(), expected);
    });
}

#[test]
fn a_runtime_that_is_gone_keeps_no_callback_of_another_one_from_running() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the destructor of a callback");
        }
    }
    within(PATIENCE, || {
        let (gone, stays) = (multi(1), multi(1));
        let gate = Gate::new();
        let passing = gate.clone();
        let task = stays.spawn(async move { passing.pass().await });
        let (promise, future) = Promise::new();
        let (sender, ran) = mpsc::channel();
        for n in 0..10 {
            let (rt, bomb) = if n % 2 == 0 { (&gone, Some(Bomb)) } else { (&stays, None) };
            let (_entered, sender) = (rt.enter(), [sender.clone(), sender.clone()]);
            let bombs = (bomb, (n % 2 == 0).then(|| Bomb));
            let [of_task, of_future] = sender;
            task.add_done_callback(move |_| {
                drop(bombs.0);
                of_task.send(n).unwrap();
            });
            future.add_done_callback(move |_| {
                drop(bombs.1);
                of_future.send(100 + n).unwrap();
            });
        }
        drop((gone, sender));
        gate.open();
        promise.set_result(()).unwrap();
        let mut log: Vec<_> = ran.iter().collect();
        log.sort_unstable();
        assert_eq!(log, [1, 3, 5, 7, 9, 101, 103, 105, 107, 109]);
        stays.spawn(async {}).wait().unwrap();
    });
}

#[test]
fn a_hundred_thousand_callbacks_of_a_task_are_refused_without_growing_the_stack() {
    within(PATIENCE, || {
        let (gone, stays) = (multi(1), multi(1));
        let counts = Counts::new();
        let gate = Gate::new();
        let passing = gate.clone();
        let task = stays.spawn(async move { passing.pass().await });
        let entered = gone.enter();
        for _ in 0..100_000 {
            let token = counts.token();
            task.add_done_callback(move |_| drop(token));
        }
        drop(entered);
        drop(gone);
        gate.open();
        task.wait().unwrap();
        until(|| counts.drops() == 100_000);
    });
}

#[test]
fn the_longest_timeout_gives_the_value_and_never_ends_by_itself() {
    on_a_paused_clock(async || {
        let (promise, future) = Promise::new();
        let begin = time::now();
        let reader = runtime::spawn(time::timeout(Duration::MAX, future));
        time::sleep(Duration::from_secs(100 * 365 * 86_400)).await;
        assert!(!reader.is_finished());
        promise.set_result(4).unwrap();
        assert_eq!(reader.await.unwrap().unwrap().unwrap(), 4);
        assert_eq!(begin.elapsed_here(), Duration::from_secs(100 * 365 * 86_400));
        let never = time::timeout(Duration::MAX, std::future::pending::<()>());
        assert!(time::timeout(Duration::from_secs(9), never).await.unwrap_err().is_timeout());
    });
}

#[test]
fn a_wait_for_done_that_is_dropped_takes_its_waker_along() {
    within(PATIENCE, || {
        let rt = multi(1);
        let gate = Gate::new();
        let passing = gate.clone();
        let mut task = rt.spawn(async move { passing.pass().await });
        drop(gate.waker());
        let (count, waker) = CountingWaker::new();
        let mut wait = Box::pin(task.done());
        assert!(matches!(wait.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
        drop(wait);
        assert_eq!(Arc::strong_count(&count), 2, "this test and its waker");
        gate.open();
        task.wait().unwrap();
        assert_eq!(count.wakes(), 0);
    });
}
