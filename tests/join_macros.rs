//! `join!`, `try_join!`, `race!` and `pin!`: several futures in one task.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use runtime::task::yield_now;
use runtime::time::{now, sleep};
use runtime::{Runtime, join, pin, race, spawn, try_join};
use runtime_tests::{Counts, PATIENCE, on_each, single, within};

const SECOND: Duration = Duration::from_secs(1);

/// A current-thread runtime whose clock stands still.
fn paused() -> Runtime {
    Runtime::builder().current_thread().start_paused(true).build().expect("a runtime")
}

#[test]
fn join_gives_all_outputs_after_the_longest_time() {
    within(PATIENCE, || {
        paused().block_on(async {
            let begin = now();
            let after = |n: u32| async move {
                sleep(n * SECOND).await;
                n
            };
            assert_eq!(join!(after(3), after(1), async { "two" }), (3, 1, "two"));
            assert_eq!(now() - begin, 3 * SECOND);
        });
    });
}

#[test]
fn none_and_one_future_can_be_joined() {
    on_each(|rt| {
        rt.block_on(async {
            let () = join!();
            assert_eq!(join!(async { 1 },), (1,));
            let none: Result<(), u8> = try_join!();
            assert_eq!(none, Ok(()));
        });
    });
}

#[test]
fn joined_futures_may_borrow_and_need_not_be_send() {
    on_each(|rt| {
        rt.block_on(async {
            let (count, text) = (Rc::new(Cell::new(0)), String::from("text"));
            let add = |n| {
                let count = &count;
                async move {
                    yield_now().await;
                    count.set(count.get() + n);
                }
            };
            let ((), (), length) = join!(add(1), add(2), async { text.len() });
            assert_eq!((count.get(), length), (3, 4));
        });
    });
}

#[test]
fn a_joined_future_is_dropped_when_it_is_ready_and_polled_no_more() {
    on_each(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            join!(counts.watch(ready(())), async {
                yield_now().await;
                assert_eq!((counts.polls(), counts.drops()), (1, 1));
                yield_now().await;
            });
            assert_eq!(counts.polls(), 1);
        });
    });
}

#[test]
fn try_join_ends_at_the_first_error_and_drops_the_rest() {
    on_each(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            let fails = async {
                yield_now().await;
                Err::<u8, _>("failed")
            };
            let joined =
                try_join!(counts.watch(pending::<Result<(), _>>()), fails, async { Ok(counts.token()) });
            assert_eq!(joined.map(|_| ()), Err("failed"));
            assert_eq!(counts.drops(), 2);
            assert_eq!(try_join!(async { Ok::<_, ()>(1) }, async { Ok("two") }), Ok((1, "two")));
        });
    });
}

#[test]
fn race_gives_the_first_output_and_drops_the_others() {
    within(PATIENCE, || {
        paused().block_on(async {
            let (counts, begin) = (Counts::new(), now());
            let winner = race!(counts.watch(pending()), async {
                sleep(SECOND).await;
                "winner"
            });
            assert_eq!((winner, counts.drops(), now() - begin), ("winner", 1, SECOND));
        });
    });
}

#[test]
fn race_begins_with_any_future_unless_it_is_biased() {
    on_each(|rt| {
        rt.block_on(async {
            let mut first = 0;
            for _ in 0..1_000 {
                first += race!(ready(1), ready(0));
                assert_eq!(race!(biased; ready(1), ready(0)), 1);
            }
            assert!((300..700).contains(&first), "{first}");
        });
    });
}

#[test]
fn join_takes_turns_unless_it_is_biased() {
    on_each(|rt| {
        rt.block_on(async {
            let order = std::cell::RefCell::new(String::new());
            let steps = |name: char| {
                let order = &order;
                async move {
                    for _ in 0..2 {
                        order.borrow_mut().push(name);
                        yield_now().await;
                    }
                }
            };
            join!(steps('a'), steps('b'));
            assert_eq!(order.take(), "abba");
            join!(biased; steps('a'), steps('b'));
            assert_eq!(order.take(), "abab");
        });
    });
}

#[test]
fn a_panic_of_one_future_goes_to_the_caller_and_drops_the_others() {
    on_each(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            let other = counts.watch(pending::<()>());
            let task = spawn(async { join!(other, async { panic!("boom") }) });
            assert!(task.await.map(|((), ())| ()).unwrap_err().is_panic());
            assert_eq!(counts.drops(), 1);
        });
    });
}

#[test]
fn a_loop_over_joins_that_are_always_ready_gives_way() {
    within(PATIENCE, || {
        single().block_on(async {
            let task = spawn(async {
                loop {
                    join!(ready(1), ready(2));
                    let _: Result<_, ()> = try_join!(ready(Ok(1)));
                    race!(ready(1), ready(2));
                }
            });
            yield_now().await;
            assert!(task.cancel_and_wait().await.unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn a_future_that_uses_the_budget_up_does_not_hold_up_the_joined_ones() {
    within(PATIENCE, || {
        single().block_on(async {
            let done = Rc::new(Cell::new(false));
            let greedy = async {
                while !done.get() {
                    runtime::task::coop::consume_budget().await;
                }
            };
            join!(biased; greedy, async {
                sleep(Duration::from_millis(1)).await;
                done.set(true);
            });
        });
    });
}

#[test]
fn pinned_names_are_polled_by_reference() {
    on_each(|rt| {
        rt.block_on(async {
            let (one, two) = (async { 1 }, async { 2 });
            pin!(one, two);
            assert_eq!(join!(&mut one, &mut two), (1, 2));
            pin! {
                let three = async { 3 };
                let four = async { 4 };
            }
            assert_eq!(three.await + four.await, 7);
            let five = pin!(async { 5 });
            assert_eq!(five.await, 5);
        });
    });
}

/// A future with a state of four kilobytes.
async fn large() {
    let state = [0_u8; 4096];
    yield_now().await;
    std::hint::black_box(&state);
}

#[track_caller]
fn holds_two_of_the_large<F: Future>(future: &F) {
    let (child, size) = (size_of_val(&large()), size_of_val(future));
    assert!(size < 2 * child + 512, "{size} bytes for two of {child}");
}

#[test]
fn join_stores_each_future_once() {
    holds_two_of_the_large(&async { join!(large(), large()) });
}

#[test]
fn try_join_stores_each_future_once() {
    let fallible = || async {
        large().await;
        Ok::<_, ()>(())
    };
    holds_two_of_the_large(&async { try_join!(fallible(), fallible()) });
}

#[test]
fn race_stores_each_future_once() {
    holds_two_of_the_large(&async { race!(large(), large()) });
}

#[test]
fn each_poll_of_a_join_begins_with_the_branch_after_the_last_ones_first() {
    let order = RefCell::new(Vec::new());
    let branch = |n: usize| {
        let order = &order;
        poll_fn(move |_| {
            order.borrow_mut().push(n);
            Poll::<()>::Pending
        })
    };
    let mut joined = std::pin::pin!(async { join!(branch(0), branch(1), branch(2)) });
    for turn in 0..100 {
        order.borrow_mut().clear();
        assert!(joined.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(order.borrow()[0], turn % 3, "in poll {turn}");
    }
}
