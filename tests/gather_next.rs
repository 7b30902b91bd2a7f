//! The next of some tasks: `wait`, `as_completed`, the streams of `map_concurrent`; and `shield`.

use std::collections::BTreeSet;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_core::Stream;
use runtime::{
    AsCompleted, Runtime, Task, When, as_completed, map_concurrent, shield, spawn, wait, wait_for,
};
use runtime_tests::{
    CountingWaker, Counts, Deed, Gate, Hostile, Op, PATIENCE, on_each, poll_once, promptly, settle, single,
    within,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(gate: &Gate, value: u32) -> Task<u32> {
    let gate = gate.clone();
    spawn(async move {
        gate.pass().await;
        value
    })
}

/// A current-thread runtime whose clock stands still.
fn paused() -> Runtime {
    Runtime::builder().current_thread().start_paused(true).build().expect("a runtime")
}

/// The next item of a stream.
async fn item<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Lets the others run until so many drops were counted.
async fn counts_reach(counts: &Counts, drops: usize) {
    while counts.drops() < drops {
        runtime::task::yield_now().await;
    }
}

// --- wait ---

#[test]
fn nothing_to_wait_for_is_over_at_once() {
    on_each(|rt| {
        rt.block_on(async {
            for when in [When::FirstCompleted, When::FirstError, When::All] {
                assert!(wait(&mut Vec::<Task<u8>>::new(), when, None).await.is_empty());
            }
        });
    });
}

#[test]
fn a_wait_of_no_length_takes_what_has_ended() {
    on_each(|rt| {
        rt.block_on(async {
            let mut tasks: Vec<_> = (0..4).map(|n| spawn(async move { n })).collect();
            tasks[1].done().await;
            tasks.truncate(2);
            tasks[0].done().await;
            tasks.push(spawn(pending()));
            let ended = wait(&mut tasks, When::All, Some(Duration::ZERO)).await;
            assert_eq!((ended.len(), tasks.len()), (2, 1));
        });
    });
}

#[test]
fn the_longest_limit_is_no_limit() {
    on_each(|rt| {
        rt.block_on(async {
            let mut tasks = vec![spawn(async { 1 }), spawn(async { 2 })];
            assert_eq!(wait(&mut tasks, When::All, Some(Duration::MAX)).await.len(), 2);
        });
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_the_list_and_no_waker() {
    within(PATIENCE, || {
        single().block_on(async {
            let gate = Gate::new();
            let mut tasks = vec![at(&gate, 1), at(&Gate::new(), 2)];
            let ids: Vec<_> = tasks.iter().map(Task::id).collect();
            let (count, waker) = CountingWaker::new();
            for _ in 0..2_000 {
                let mut waiting = pin!(wait(&mut tasks, When::All, Some(SECOND)));
                assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            }
            assert!(ids.iter().eq(tasks.iter().map(Task::id).collect::<Vec<_>>().iter()));
            drop(waker);
            assert_eq!(Arc::strong_count(&count), 1);
            gate.open();
            assert_eq!(wait(&mut tasks, When::FirstCompleted, None).await.len(), 1);
            assert_eq!(count.wakes(), 0);
        });
    });
}

#[test]
fn a_task_that_ends_at_the_deadline_is_in_the_wait() {
    within(PATIENCE, || {
        paused().block_on(async {
            let mut tasks =
                vec![spawn(runtime::time::sleep(SECOND)), spawn(runtime::time::sleep(2 * SECOND))];
            settle().await;
            let ended = wait(&mut tasks, When::All, Some(SECOND)).await;
            assert_eq!((ended.len(), tasks.len()), (1, 1));
        });
    });
}

#[test]
fn first_error_looks_for_a_failure_and_not_for_a_cancelled_task() {
    promptly(|| {
        on_each(|rt| {
            rt.block_on(async {
                let cancelled = spawn(pending::<u32>());
                cancelled.cancel();
                let (gate, boom) = (Gate::new(), Gate::new());
                let fails = {
                    let boom = boom.clone();
                    spawn(async move {
                        boom.pass().await;
                        panic!("boom");
                    })
                };
                let mut tasks = vec![at(&gate, 1), cancelled, spawn(async { 2 }), fails];
                tasks[1].done().await;
                tasks[2].done().await;
                {
                    let mut waiting = pin!(wait(&mut tasks, When::FirstError, None));
                    assert!(poll_once(waiting.as_mut()).await.is_pending());
                    boom.open();
                    let ended = waiting.await;
                    assert_eq!(ended.len(), 3);
                }
                gate.open();
                assert_eq!(wait(&mut tasks, When::FirstError, None).await.len(), 1);
            });
        });
    });
}

#[test]
fn ten_thousand_tasks_are_waited_for_with_one_wake_up() {
    within(PATIENCE, || {
        single().block_on(async {
            let gate = Gate::new();
            let mut tasks: Vec<_> = (0..9_999).map(|n| spawn(async move { n })).collect();
            tasks.push(at(&gate, 9_999));
            for task in &mut tasks[..9_999] {
                task.done().await;
            }
            let counts = Counts::new();
            let (ended, left) = counts
                .watch(async {
                    gate.open();
                    (wait(&mut tasks, When::All, None).await.len(), tasks.len())
                })
                .await;
            assert_eq!((ended, left), (10_000, 0));
            assert!(counts.polls() <= 10_000 / 100, "{} polls", counts.polls());
        });
    });
}

// --- as_completed ---

#[test]
fn results_come_in_the_order_in_which_the_tasks_end() {
    on_each(|rt| {
        rt.block_on(async {
            let gates: Vec<_> = (0..5).map(|_| Gate::new()).collect();
            let mut results = as_completed(gates.iter().zip(0..).map(|(gate, n)| at(gate, n)));
            for n in [3, 0, 4, 2, 1] {
                gates[n as usize].open();
                assert_eq!(results.next().await.unwrap().unwrap(), n);
            }
            assert!(results.next().await.is_none() && results.next().await.is_none());
        });
    });
}

#[test]
fn results_that_are_there_already_come_at_once() {
    on_each(|rt| {
        rt.block_on(async {
            let mut tasks: Vec<_> = (0..300).map(|n| spawn(async move { n })).collect();
            for task in &mut tasks {
                task.done().await;
            }
            let (mut results, mut seen) = (as_completed(tasks), BTreeSet::new());
            assert_eq!(results.len(), 300);
            while let Some(result) = results.next().await {
                seen.insert(result.unwrap());
            }
            assert!(seen.into_iter().eq(0..300) && results.is_empty());
        });
    });
}

#[test]
fn no_tasks_give_no_results() {
    on_each(|rt| {
        rt.block_on(async {
            assert!(as_completed(Vec::<Task<u8>>::new()).next().await.is_none());
        });
    });
}

#[test]
fn a_failure_is_one_of_the_results() {
    on_each(|rt| {
        rt.block_on(async {
            let cancelled = spawn(pending());
            cancelled.cancel();
            let mut results = as_completed([spawn(async { 1 }), spawn(async { panic!("two") }), cancelled]);
            let mut kinds = [0; 3];
            while let Some(result) = results.next().await {
                match result {
                    Ok(_) => kinds[0] += 1,
                    Err(error) if error.is_panic() => kinds[1] += 1,
                    Err(error) => kinds[2] += usize::from(error.is_cancelled()),
                }
            }
            assert_eq!(kinds, [1, 1, 1]);
        });
    });
}

#[test]
fn dropping_as_completed_cancels_the_rest() {
    promptly(|| {
        on_each(|rt| {
            let counts = Counts::new();
            rt.block_on(async {
                let mut results = as_completed((0..5).map(|n| {
                    spawn(counts.watch(async move {
                        if n > 0 {
                            pending().await
                        }
                    }))
                }));
                results.next().await.unwrap().unwrap();
                assert!(poll_once(pin!(results.next())).await.is_pending());
                drop(results);
                counts_reach(&counts, 5).await;
            });
        });
    });
}

#[test]
fn as_completed_is_a_stream() {
    on_each(|rt| {
        rt.block_on(async {
            let mut results = as_completed((0..3).map(|n| spawn(async move { n })));
            assert_eq!(results.size_hint(), (3, Some(3)));
            let mut sum = 0;
            while let Some(result) = item(&mut results).await {
                sum += result.unwrap();
            }
            assert_eq!((sum, results.size_hint()), (3, (0, Some(0))));
        });
    });
}

/// With a shared waker each completion would poll all that have not ended.
#[test]
fn a_completion_among_ten_thousand_polls_no_other_task_and_wakes_once() {
    within(PATIENCE, || {
        single().block_on(async {
            let (gates, counts): (Vec<_>, _) = ((0..10_000).map(|_| Gate::new()).collect(), Counts::new());
            let mut results = as_completed(
                gates.iter().cloned().map(|gate| spawn(counts.watch(async move { gate.pass().await }))),
            );
            settle().await;
            let polls = Counts::new();
            polls
                .watch(async {
                    for gate in &gates {
                        gate.open();
                        results.next().await.unwrap().unwrap();
                    }
                })
                .await;
            assert_eq!(counts.polls(), 20_000);
            assert!(polls.polls() <= 20_001, "{} polls", polls.polls());
        });
    });
}

// --- streams of map_concurrent ---

#[test]
fn an_ordered_stream_keeps_the_order_of_the_items() {
    on_each(|rt| {
        rt.block_on(async {
            let mut results = map_concurrent(0..200_u32, 7, |n| async move {
                for _ in 0..n % 5 {
                    runtime::task::yield_now().await;
                }
                n
            })
            .ordered();
            assert_eq!(results.size_hint(), (200, Some(200)));
            for n in 0..200 {
                assert_eq!(item(&mut results).await.unwrap().unwrap(), n);
            }
            assert!(results.next().await.is_none());
        });
    });
}

#[test]
fn results_that_were_there_before_a_stream_was_made_are_given_by_it() {
    on_each(|rt| {
        rt.block_on(async {
            let (ended, all) = (Arc::new(AtomicUsize::new(0)), 5_usize);
            // The first one waits for the gate; the others end one after the other meanwhile.
            let call = |gate: Gate| {
                let ended = ended.clone();
                move |n| {
                    let (gate, ended) = (gate.clone(), ended.clone());
                    async move {
                        if n == 0 {
                            gate.pass().await;
                        }
                        ended.fetch_add(1, Ordering::SeqCst);
                        n
                    }
                }
            };
            let others_have_ended = async |results: &mut (dyn Future<Output = _> + Unpin)| {
                while ended.load(Ordering::SeqCst) % all != all - 1 {
                    assert!(poll_once(Pin::new(&mut *results)).await.is_pending());
                    runtime::task::yield_now().await;
                }
            };
            let gate = Gate::new();
            let mut results = map_concurrent(0..all, 2, call(gate.clone()));
            others_have_ended(&mut results).await;
            gate.open();
            let mut ordered = results.ordered();
            for n in 0..all {
                assert_eq!(ordered.next().await.unwrap().unwrap(), n);
            }
            assert!(ordered.next().await.is_none());

            let gate = Gate::new();
            let mut results = map_concurrent(0..all, 2, call(gate.clone()));
            others_have_ended(&mut results).await;
            gate.open();
            let mut unordered = results.unordered();
            let mut seen = BTreeSet::new();
            while let Some(n) = unordered.next().await {
                seen.insert(n.unwrap());
            }
            assert_eq!(seen.len(), all);
        });
    });
}

#[test]
fn an_unordered_stream_gives_each_result_when_it_is_there() {
    on_each(|rt| {
        rt.block_on(async {
            let gates: Vec<_> = (0..3).map(|_| Gate::new()).collect();
            let mut results = map_concurrent(0..3, 3, |n: usize| {
                let gate = gates[n].clone();
                async move {
                    gate.pass().await;
                    n
                }
            })
            .unordered();
            for n in [2, 0, 1] {
                gates[n].open();
                assert_eq!(item(&mut results).await.unwrap().unwrap(), n);
            }
            assert!(results.next().await.is_none());
        });
    });
}

#[test]
fn a_stream_starts_nothing_for_a_consumer_that_does_not_ask() {
    within(PATIENCE, || {
        single().block_on(async {
            let started = Arc::new(AtomicUsize::new(0));
            let call = |_: u32| {
                started.fetch_add(1, Ordering::SeqCst);
                async {}
            };
            let mut ordered = map_concurrent(0..100, 4, call).ordered();
            let mut unordered = map_concurrent(0..100, 4, call).unordered();
            settle().await;
            assert_eq!(started.load(Ordering::SeqCst), 0);
            ordered.next().await.unwrap().unwrap();
            unordered.next().await.unwrap().unwrap();
            settle().await;
            assert!(started.load(Ordering::SeqCst) <= 10, "{started:?}");
        });
    });
}

#[test]
fn a_slow_head_holds_an_ordered_stream_within_its_limit() {
    within(PATIENCE, || {
        single().block_on(async {
            let (gate, started) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
            let mut results = map_concurrent(0..100, 4, |n| {
                started.fetch_add(1, Ordering::SeqCst);
                let gate = gate.clone();
                async move {
                    if n == 0 {
                        gate.pass().await;
                    }
                    n
                }
            })
            .ordered();
            for _ in 0..10 {
                assert!(poll_once(pin!(results.next())).await.is_pending());
                settle().await;
            }
            assert_eq!(started.load(Ordering::SeqCst), 4);
            gate.open();
            for n in 0..100 {
                assert_eq!(results.next().await.unwrap().unwrap(), n);
            }
        });
    });
}

#[test]
fn dropping_a_stream_cancels_what_runs_and_starts_no_more() {
    promptly(|| {
        on_each(|rt| {
            let counts = Counts::new();
            rt.block_on(async {
                let mut ordered = map_concurrent(0..9, 3, |_| counts.watch(pending::<()>())).ordered();
                let mut unordered = map_concurrent(0..9, 3, |_| counts.watch(pending::<()>())).unordered();
                assert!(poll_once(pin!(ordered.next())).await.is_pending());
                assert!(poll_once(pin!(unordered.next())).await.is_pending());
                drop((ordered, unordered));
                counts_reach(&counts, 6).await;
            });
        });
    });
}

// --- shield ---

#[test]
fn what_is_shielded_goes_on_when_its_caller_is_cancelled() {
    promptly(|| {
        on_each(|rt| {
            rt.block_on(async {
                let (gate, (promise, saved)) = (Gate::new(), runtime::Promise::new());
                let work = {
                    let gate = gate.clone();
                    async move {
                        gate.pass().await;
                        promise.set_result(7).unwrap();
                    }
                };
                let caller = spawn(async move { shield(work).await });
                while !gate.is_waited_at() {
                    runtime::task::yield_now().await;
                }
                assert!(caller.cancel_and_wait().await.unwrap_err().is_cancelled());
                gate.open();
                assert_eq!(saved.await.unwrap(), 7);
            });
        });
    });
}

#[test]
fn a_shield_gives_the_value_or_the_panic() {
    on_each(|rt| {
        rt.block_on(async {
            assert_eq!(shield(async { 7 }).await.unwrap(), 7);
            assert!(shield(async { panic!("boom") }).await.unwrap_err().is_panic());
        });
    });
}

// --- a wait that is given up ---

/// Polls `wait` once, drops it, and tells whether its waker was dropped as well.
fn leaves_no_waker(wait: impl Future) -> bool {
    let (count, waker) = CountingWaker::new();
    let mut wait = Box::pin(wait);
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((wait, waker));
    Arc::strong_count(&count) == 1
}

#[test]
fn a_next_of_as_completed_that_is_dropped_leaves_no_waker() {
    on_each(|rt| {
        let _entered = rt.enter();
        let mut results = as_completed([spawn(pending::<()>())]);
        assert!(leaves_no_waker(results.next()));
    });
}

/// The result comes between the two looks, while the waker is cloned.
#[test]
fn a_next_that_finds_a_result_at_its_second_look_leaves_no_waker() {
    within(PATIENCE, || {
        let (rt, gate) = (single(), Gate::new());
        let passing = gate.clone();
        let mut results =
            as_completed([rt.spawn(pending::<()>()), rt.spawn(async move { passing.pass().await })]);
        let handle = rt.handle().clone();
        let meddle = move || {
            gate.open();
            handle.block_on(settle());
        };
        let (hostile, waker) = Hostile::new(Op::Clone, Deed::Meddle, Arc::new(meddle), Vec::new());
        let mut next = Box::pin(results.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        drop((next, waker));
        assert_eq!((hostile.deeds(), Arc::strong_count(&hostile)), (1, 1));
    });
}

#[test]
fn a_next_of_an_ordered_stream_that_is_dropped_leaves_no_waker() {
    on_each(|rt| {
        let _entered = rt.enter();
        let mut results = map_concurrent(0..3, 2, |_| pending::<()>()).ordered();
        assert!(leaves_no_waker(results.next()));
    });
}

#[test]
fn a_next_of_an_unordered_stream_that_is_dropped_leaves_no_waker() {
    on_each(|rt| {
        let _entered = rt.enter();
        let mut results = map_concurrent(0..3, 2, |_| pending::<()>()).unordered();
        assert!(leaves_no_waker(results.next()));
    });
}

// --- wait_for ---

#[test]
fn a_cancel_by_somebody_else_is_no_timeout() {
    within(PATIENCE, || {
        single().block_on(async {
            let task = spawn(pending::<()>());
            // On this one thread the task cannot end before the call is polled, when its time is up already.
            task.cancel();
            let error = wait_for(Duration::ZERO, task).await.unwrap_err();
            assert!(error.is_cancelled() && !error.is_timeout(), "{error}");
        });
    });
}

// --- tasks that are added ---

#[test]
fn a_task_that_is_added_while_results_are_taken_gives_its_own() {
    on_each(|rt| {
        rt.block_on(async {
            let gates = [Gate::new(), Gate::new()];
            let mut results = AsCompleted::new();
            results.push(at(&gates[0], 0));
            assert!(poll_once(pin!(results.next())).await.is_pending());
            results.push(at(&gates[1], 1));
            gates[1].open();
            assert_eq!(results.next().await.unwrap().unwrap(), 1);
            gates[0].open();
            assert_eq!(results.next().await.unwrap().unwrap(), 0);
        });
    });
}

#[test]
fn a_task_that_is_added_after_the_last_result_gives_one_more() {
    on_each(|rt| {
        rt.block_on(async {
            let mut results = AsCompleted::default();
            assert!(results.next().await.is_none() && results.is_empty());
            results.push(spawn(async { 1 }));
            assert_eq!(results.len(), 1);
            assert_eq!(results.next().await.unwrap().unwrap(), 1);
            assert!(results.next().await.is_none());
        });
    });
}

#[test]
fn a_task_that_had_ended_before_it_was_added_wakes_who_waits() {
    within(PATIENCE, || {
        single().block_on(async {
            let mut ended = spawn(async { 1 });
            ended.done().await;
            let mut results = as_completed([spawn(pending())]);
            let (count, waker) = CountingWaker::new();
            assert!(results.poll_next(&mut Context::from_waker(&waker)).is_pending());
            results.push(ended);
            assert_eq!(count.wakes(), 1);
            assert_eq!(results.next().await.unwrap().unwrap(), 1);
        });
    });
}

#[test]
fn dropping_as_completed_cancels_what_was_added() {
    on_each(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            let mut results = AsCompleted::new();
            results.push(spawn(counts.watch(pending::<()>())));
            drop(results);
            counts_reach(&counts, 1).await;
        });
    });
}
