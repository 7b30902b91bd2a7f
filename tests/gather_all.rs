//! All of some tasks: `gather!`, `gather_all`, `gather_settled`, and what is left of the rest.

use std::future::{Ready, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use runtime::{Task, gather, gather_all, gather_settled, map_concurrent, spawn};
use runtime_tests::{
    CountingWaker, Counts, Gate, PATIENCE, multi, on_each, poll_once, promptly, reports, settle, single,
    within,
};

/// Tasks that give their numbers, after so many turns that the last one ends first.
fn numbers(n: u32) -> impl Iterator<Item = Task<u32>> {
    (0..n).map(move |i| {
        spawn(async move {
            for _ in i..n {
                runtime::task::yield_now().await;
            }
            i
        })
    })
}

/// Lets the others run until so many drops were counted.
async fn counts_reach(counts: &Counts, drops: usize) {
    while counts.drops() < drops {
        runtime::task::yield_now().await;
    }
}

#[test]
fn values_come_in_the_order_of_the_arguments() {
    on_each(|rt| {
        rt.block_on(async {
            assert_eq!(gather_all(numbers(50)).await.unwrap(), (0..50).collect::<Vec<_>>());
            let settled = gather_settled(numbers(50)).await;
            assert!(settled.into_iter().map(Result::unwrap).eq(0..50));
        });
    });
}

#[test]
fn nothing_gives_nothing() {
    on_each(|rt| {
        rt.block_on(async {
            let none = Vec::<Task<u8>>::new;
            assert!(gather_all(none()).await.unwrap().is_empty());
            assert!(gather_settled(none()).await.is_empty());
            gather!().await.unwrap();
        });
    });
}

#[test]
fn tasks_that_have_ended_before_are_gathered_too() {
    on_each(|rt| {
        rt.block_on(async {
            let mut tasks: Vec<_> = numbers(20).collect();
            for task in &mut tasks {
                task.done().await;
            }
            assert_eq!(gather_all(tasks).await.unwrap().len(), 20);
        });
    });
}

#[test]
fn a_failure_does_not_touch_the_others_of_gather_settled() {
    on_each(|rt| {
        rt.block_on(async {
            let cancelled = spawn(pending());
            cancelled.cancel();
            let tasks = [spawn(async { 1 }), spawn(async { panic!("two") }), cancelled, spawn(async { 4 })];
            let results = gather_settled(tasks).await;
            assert_eq!(*results[0].as_ref().unwrap(), 1);
            assert!(results[1].as_ref().unwrap_err().is_panic());
            assert!(results[2].as_ref().unwrap_err().is_cancelled());
            assert_eq!(*results[3].as_ref().unwrap(), 4);
        });
    });
}

#[test]
fn a_task_that_somebody_cancels_fails_gather_all() {
    on_each(|rt| {
        rt.block_on(async {
            let (task, counts) = (spawn(pending::<()>()), Counts::new());
            let handle = task.abort_handle();
            let gathered = gather_all([spawn(counts.watch(pending())), task]);
            handle.cancel();
            assert!(gathered.await.unwrap_err().is_cancelled());
            assert_eq!(counts.drops(), 1);
        });
    });
}

#[test]
fn dropping_the_call_cancels_what_runs() {
    promptly(|| {
        on_each(|rt| {
            let counts = Counts::new();
            let forever = || spawn(counts.watch(pending::<()>()));
            rt.block_on(async {
                drop(gather_all((0..5).map(|_| forever())));
                let mut waiting = Box::pin(gather_settled((0..5).map(|_| forever())));
                assert!(poll_once(waiting.as_mut()).await.is_pending());
                drop((waiting, gather!(counts.watch(pending::<()>()), counts.watch(pending::<u8>()))));
                counts_reach(&counts, 12).await;
            });
        });
    });
}

#[test]
fn gather_runs_futures_of_different_types_at_the_same_time() {
    within(PATIENCE, || {
        let rt = multi(2);
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let other = barrier.clone();
        let gathered = rt.block_on(async {
            gather!(async move { barrier.wait().is_leader() as u32 }, async move {
                if other.wait().is_leader() { "leader" } else { "follower" }
            },)
            .await
        });
        let (leader, name) = gathered.unwrap();
        assert_eq!(name == "leader", leader == 0);
    });
}

#[test]
fn gather_takes_one_future_and_twelve() {
    on_each(|rt| {
        rt.block_on(async {
            assert_eq!(gather!(async { 1 }).await.unwrap(), (1,));
            let f = |n: u8| async move { n };
            let all = gather!(f(0), f(1), f(2), f(3), f(4), f(5), f(6), f(7), f(8), f(9), f(10), f(11));
            assert_eq!(all.await.unwrap().11, 11);
        });
    });
}

#[test]
fn gather_starts_its_tasks_before_it_is_awaited() {
    on_each(|rt| {
        rt.block_on(async {
            let (promise, started) = runtime::Promise::new();
            let gathered = gather!(async move { promise.set_result(7).unwrap() });
            assert_eq!(started.await.unwrap(), 7);
            gathered.await.unwrap();
        });
    });
}

#[test]
fn the_first_failure_of_gather_stops_the_others_before_it_returns() {
    promptly(|| {
        on_each(|rt| {
            let counts = Counts::new();
            let (one, two) = (counts.watch(pending::<u8>()), counts.watch(pending::<String>()));
            let error = rt.block_on(async { gather!(one, async { panic!("boom") }, two).await.map(|_| ()) });
            assert!(error.unwrap_err().to_string().contains("boom"));
            assert_eq!(counts.drops(), 2);
        });
    });
}

#[test]
fn a_panic_after_the_first_failure_is_reported_and_not_lost() {
    struct Grudge;
    impl Drop for Grudge {
        fn drop(&mut self) {
            panic!("second");
        }
    }
    within(PATIENCE, || {
        let (handler, received) = reports();
        let rt = runtime::Runtime::builder().current_thread().on_unobserved(handler).build().unwrap();
        let second = async {
            let _grudge = Grudge;
            pending::<()>().await;
        };
        let error = rt.block_on(async {
            let second = spawn(second);
            settle().await;
            gather_all([second, spawn(async { panic!("first") })]).await.unwrap_err()
        });
        assert!(error.to_string().contains("first"));
        let report = received.recv_timeout(PATIENCE).expect("a report");
        assert!(format!("{report:?}").contains("second"), "{report:?}");
    });
}

/// The call has seen that the task ended, and is dropped before it is ready.
#[test]
fn a_panic_that_nobody_is_given_because_the_call_is_dropped_is_reported_once() {
    type Call = Pin<Box<dyn Future<Output = ()>>>;
    async fn work(panics: bool) {
        if panics {
            panic!("not given");
        }
        pending().await
    }
    let calls: [fn() -> Call; 5] = [
        || Box::pin(async { drop(gather_all([false, true].map(|panics| spawn(work(panics)))).await) }),
        || Box::pin(async { drop(gather_settled([false, true].map(|panics| spawn(work(panics)))).await) }),
        || Box::pin(async { drop(gather!(work(false), work(true)).await) }),
        || Box::pin(async { drop(map_concurrent([false, true], 2, work).await) }),
        || Box::pin(async { drop(map_concurrent([false, true], 2, work).ordered().next().await) }),
    ];
    for (number, call) in calls.into_iter().enumerate() {
        within(PATIENCE, move || {
            let (handler, received) = reports();
            let rt = runtime::Runtime::builder().current_thread().on_unobserved(handler).build().unwrap();
            rt.block_on(async {
                let mut call = call();
                assert!(poll_once(call.as_mut()).await.is_pending());
                settle().await;
                assert!(poll_once(call.as_mut()).await.is_pending());
                assert!(received.try_recv().is_err(), "call {number} may give it");
                drop(call);
                settle().await;
            });
            let report = received.try_recv().unwrap_or_else(|_| panic!("call {number} has lost it"));
            assert!(format!("{report:?}").contains("not given"), "call {number}: {report:?}");
            assert!(received.try_recv().is_err(), "call {number} tells it twice");
        });
    }
}

#[test]
fn ten_thousand_tasks_are_gathered_with_a_poll_for_each_wake_and_no_more() {
    within(PATIENCE, || {
        let rt = single();
        let (gates, counts): (Vec<_>, _) = ((0..10_000).map(|_| Gate::new()).collect(), Counts::new());
        rt.block_on(async {
            let tasks: Vec<_> = gates
                .iter()
                .cloned()
                .map(|gate| spawn(counts.watch(async move { gate.pass().await })))
                .collect();
            let gathered = spawn(gather_all(tasks));
            settle().await;
            gates.iter().rev().for_each(Gate::open);
            assert_eq!(gathered.await.unwrap().unwrap().len(), 10_000);
        });
        assert_eq!(counts.polls(), 20_000);
    });
}

/// The cost of a completion is the number of wake-ups of the caller, not of looks at the others: a caller that is polled
/// only when it is woken sees one poll for each completion, and each takes constant time.
#[test]
fn a_caller_is_woken_once_for_completions_that_come_together() {
    within(PATIENCE, || {
        let rt = single();
        let gates: Vec<_> = (0..100).map(|_| Gate::new()).collect();
        let (count, waker) = CountingWaker::new();
        rt.block_on(async {
            let gathered =
                gather_all(gates.iter().cloned().map(|gate| spawn(async move { gate.pass().await })));
            let mut gathered = pin!(gathered);
            settle().await;
            assert!(gathered.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            gates.iter().for_each(Gate::open);
            settle().await;
            assert_eq!(count.wakes(), 1);
            let polled = gathered.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(values)) if values.len() == 100));
        });
    });
}

#[test]
fn results_that_are_all_there_are_taken_within_the_budget() {
    within(PATIENCE, || {
        let rt = single();
        rt.block_on(async {
            let mut tasks: Vec<_> = numbers(1_000).collect();
            for task in &mut tasks {
                task.done().await;
            }
            let (gathered, polls) = (Counts::new(), Counts::new());
            let other = spawn(polls.watch(async {
                for _ in 0..5 {
                    runtime::task::yield_now().await;
                }
            }));
            spawn(gathered.watch(gather_all(tasks))).await.unwrap().unwrap();
            assert!(gathered.polls() >= 1_000 / 128, "{} polls", gathered.polls());
            assert!(other.is_finished());
        });
    });
}

#[test]
fn a_call_that_is_polled_with_ever_new_wakers_wakes_the_last() {
    on_each(|rt| {
        rt.block_on(async {
            let gate = Gate::new();
            let gathered = gather_all([spawn({
                let gate = gate.clone();
                async move { gate.pass().await }
            })]);
            let mut gathered = pin!(gathered);
            let (old, first) = CountingWaker::new();
            assert!(gathered.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
            assert!(poll_once(gathered.as_mut()).await.is_pending());
            drop(first);
            assert_eq!(Arc::strong_count(&old), 1);
            gate.open();
            gathered.await.unwrap();
            assert_eq!(old.wakes(), 0);
        });
    });
}

/// A waker that drops a clone of itself and enters the runtime again when it is woken, and panics when told to.
struct Hostile {
    own: parking_lot::Mutex<Option<Waker>>,
    wakes: AtomicUsize,
    panics: AtomicBool,
}

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        drop(self.own.lock().take());
        drop(gather_all([spawn(async {})]));
        assert!(!self.panics.load(Ordering::SeqCst), "a hostile waker");
    }
}

#[test]
fn a_waker_that_enters_the_runtime_again_or_panics_loses_no_wake_up() {
    for panics in [false, true] {
        on_each(move |rt| {
            rt.block_on(async move {
                let gates = [Gate::new(), Gate::new()];
                let waiting = |gate: &Gate| {
                    let gate = gate.clone();
                    spawn(async move { gate.pass().await })
                };
                let mut gathered = pin!(gather_all(gates.iter().map(waiting)));
                let hostile = Arc::new(Hostile {
                    own: parking_lot::Mutex::new(None),
                    wakes: AtomicUsize::new(0),
                    panics: AtomicBool::new(panics),
                });
                let waker = Waker::from(hostile.clone());
                *hostile.own.lock() = Some(waker.clone());
                assert!(gathered.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                gates[0].open();
                while hostile.wakes.load(Ordering::SeqCst) == 0 {
                    runtime::task::yield_now().await;
                }
                gates[1].open();
                assert_eq!(gathered.await.unwrap().len(), 2);
            });
        });
    }
}

#[test]
fn an_argument_that_exits_early_leaves_no_task_behind() {
    on_each(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            let early = async {
                let all = gather!(counts.watch(pending::<()>()), Err::<Ready<()>, _>("no")?);
                Ok(all.await.is_ok())
            };
            assert_eq!(early.await, Err("no"));
            counts_reach(&counts, 1).await;
        });
    });
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn gather_all_that_is_polled_after_a_failure_panics() {
    single().block_on(async {
        let task = spawn(pending::<()>());
        task.cancel();
        let mut all = gather_all([task]);
        assert!((&mut all).await.is_err());
        let _ = (&mut all).await;
    });
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn gather_all_that_is_polled_after_its_values_panics() {
    single().block_on(async {
        let mut all = gather_all([spawn(async { 1 })]);
        assert_eq!((&mut all).await.unwrap(), [1]);
        let _ = (&mut all).await;
    });
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn gather_settled_that_is_polled_after_its_results_panics() {
    single().block_on(async {
        let mut all = gather_settled([spawn(async { 1 })]);
        assert_eq!((&mut all).await.len(), 1);
        let _ = (&mut all).await;
    });
}
