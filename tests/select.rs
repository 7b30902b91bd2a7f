//! `select!`: which branch runs, what becomes of the others, and that nobody starves.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use runtime::task::yield_now;
use runtime::time::{now, sleep, timeout};
use runtime::{Runtime, select, spawn};
use runtime_tests::{Counts, Gate, PATIENCE, on_each, single, within};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_branch_that_is_ready_runs() {
    on_each(|rt| {
        rt.block_on(async {
            let chosen = select! {
                () = pending() => 1,
                n = async { 2 } => n,
            };
            assert_eq!(chosen, 2);
        });
    });
}

#[test]
fn the_other_futures_are_dropped_before_the_handler_runs() {
    on_each(|rt| {
        rt.block_on(async {
            let counts = Counts::new();
            let drops = select! {
                () = counts.watch(pending()) => 0,
                () = yield_now() => counts.drops(),
            };
            assert_eq!(drops, 1);
        });
    });
}

#[test]
fn a_handler_may_change_what_the_futures_borrowed() {
    on_each(|rt| {
        rt.block_on(async {
            let mut list = vec![1];
            select! {
                n = async { list.len() } => list.push(n),
                () = async { let _len = list.len(); pending().await } => list.clear(),
            }
            assert_eq!(list, [1, 1]);
        });
    });
}

#[test]
fn an_output_that_does_not_fit_disables_its_branch() {
    on_each(|rt| {
        rt.block_on(async {
            let chosen = select! {
                biased;
                Some(n) = ready(None::<u8>) => n,
                Ok(n) = ready(Err::<u8, ()>(())) => n,
                n = async { yield_now().await; 3 } => n,
            };
            assert_eq!(chosen, 3);
        });
    });
}

#[test]
fn else_runs_when_all_branches_are_disabled() {
    on_each(|rt| {
        rt.block_on(async {
            let never = false;
            let chosen = select! {
                Some(n) = ready(None::<u8>) => n,
                n = ready(1), if never => n,
                else => 9,
            };
            assert_eq!(chosen, 9);
            assert_eq!(select! { else => 7 }, 7);
        });
    });
}

#[test]
#[should_panic(expected = "all branches of this select! are disabled, and it has no else branch")]
fn without_else_it_panics_with_a_message() {
    single().block_on(async {
        select! {
            Some(()) = ready(None) => {}
        }
    });
}

#[test]
fn a_branch_whose_precondition_is_false_is_evaluated_and_never_polled() {
    on_each(|rt| {
        rt.block_on(async {
            let (counts, mut order) = (Counts::new(), Vec::new());
            select! {
                biased;
                () = { order.push("future"); counts.watch(ready(())) }, if false => unreachable!(),
                () = yield_now(), if { order.push("condition"); true } => {}
            }
            assert_eq!((counts.polls(), counts.drops()), (0, 1));
            assert_eq!(order, ["condition", "future"]);
        });
    });
}

#[test]
fn patterns_of_all_kinds_bind() {
    struct Point {
        x: u8,
        y: String,
    }
    on_each(|rt| {
        rt.block_on(async {
            let point = || Point { x: 1, y: "why".to_owned() };
            select! { Point { x, ref y } = ready(point()) => assert_eq!((x, y.len()), (1, 3)) }
            select! { Point { mut y, .. } = ready(point()) => { y.push('?'); assert_eq!(y, "why?"); } }
            select! { whole @ Point { x: 1 | 2, .. } = ready(point()) => assert_eq!(whole.y, "why") }
            select! { Some(&n) = ready(Some(&5)) => assert_eq!(n, 5) }
            select! { [first, .., last] = ready([1, 2, 3]) => assert_eq!(first + last, 4) }
            select! { Ok(n) | Err(n) = ready(Err::<u8, u8>(4)) => assert_eq!(n, 4) }
            select! { 0..=9 = ready(5) => {}, else => unreachable!() }
            select! { mut n = ready(5) => { n += 1; assert_eq!(n, 6); } }
        });
    });
}

#[test]
fn handlers_are_blocks_or_expressions_with_and_without_commas() {
    on_each(|rt| {
        rt.block_on(async {
            for wanted in 0..5 {
                let chosen = select! {
                    _ = ready(()), if wanted == 0 => { 0 }
                    _ = ready(()), if wanted == 1 => { 1 },
                    _ = ready(()), if wanted == 2 => 1 + 1,
                    _ = ready(()), if wanted == 3 => { 3 }
                    else => 4
                };
                assert_eq!(chosen, wanted);
            }
        });
    });
}

#[test]
fn break_continue_return_and_the_question_mark_mean_what_they_mean_outside() {
    async fn numbers(mut texts: impl Iterator<Item = &'static str>) -> Result<u32, std::num::ParseIntError> {
        let mut sum = 0;
        loop {
            select! {
                Some(text) = async { texts.next() } => {
                    if text.is_empty() {
                        continue;
                    }
                    if text == "return" {
                        return Ok(0);
                    }
                    sum += async { text.parse::<u32>() }.await?;
                }
                else => break,
            }
        }
        Ok(sum)
    }
    on_each(|rt| {
        rt.block_on(async {
            assert_eq!(numbers(["1", "", "2"].into_iter()).await, Ok(3));
            assert_eq!(numbers(["1", "return", "2"].into_iter()).await, Ok(0));
            assert!(numbers(["1", "two"].into_iter()).await.is_err());
        });
    });
}

#[test]
fn a_future_outside_of_the_loop_goes_on_where_it_was() {
    within(PATIENCE, || {
        let rt = Runtime::builder().current_thread().start_paused(true).build().unwrap();
        rt.block_on(async {
            let (begin, mut ticks) = (now(), 0);
            let long = sleep(10 * SECOND);
            runtime::pin!(long);
            loop {
                select! {
                    () = &mut long => break,
                    () = sleep(3 * SECOND) => ticks += 1,
                }
            }
            assert_eq!((ticks, now() - begin), (3, 10 * SECOND));
        });
    });
}

#[test]
fn biased_begins_with_the_first_branch_each_time() {
    on_each(|rt| {
        rt.block_on(async {
            for _ in 0..100 {
                select! {
                    biased;
                    _ = ready(()) => {}
                    _ = ready(()) => unreachable!(),
                }
            }
        });
    });
}

#[test]
fn without_biased_every_branch_is_first_about_as_often() {
    on_each(|rt| {
        rt.block_on(async {
            let mut chosen = [0; 3];
            for _ in 0..3_000 {
                select! {
                    _ = ready(()) => chosen[0] += 1,
                    _ = ready(()) => chosen[1] += 1,
                    _ = ready(()) => chosen[2] += 1,
                }
            }
            // 1,000 each are expected, with a standard deviation of 26.
            assert!(chosen.iter().all(|n| (700..1300).contains(n)), "{chosen:?}");
        });
    });
}

#[test]
fn a_loop_over_branches_that_are_always_ready_gives_way() {
    within(PATIENCE, || {
        single().block_on(async {
            let rounds = Arc::new(AtomicUsize::new(0));
            let counter = rounds.clone();
            let endless = spawn(async move {
                loop {
                    select! {
                        _ = ready(()) => counter.fetch_add(1, Ordering::SeqCst),
                        _ = ready(()) => counter.fetch_add(1, Ordering::SeqCst),
                    };
                }
            });
            while rounds.load(Ordering::SeqCst) < 10_000 {
                yield_now().await;
            }
            assert!(endless.cancel_and_wait().await.unwrap_err().is_cancelled());
        });
    });
}

/// A future that uses the whole budget up in each poll, and never ends.
async fn greedy() {
    loop {
        runtime::task::coop::consume_budget().await;
    }
}

#[test]
fn a_branch_that_uses_the_budget_up_does_not_hide_the_others() {
    within(PATIENCE, || {
        single().block_on(async {
            let gate = Gate::new();
            let open = gate.clone();
            let task = spawn(async move {
                select! {
                    biased;
                    () = greedy() => unreachable!(),
                    () = sleep(Duration::from_millis(1)) => {}
                }
                select! {
                    biased;
                    () = greedy() => unreachable!(),
                    result = spawn(async move { gate.pass().await }) => result.unwrap(),
                }
            });
            open.open();
            timeout(PATIENCE, task).await.unwrap().unwrap();
        });
    });
}

#[test]
fn sixty_four_branches_are_possible() {
    macro_rules! branches {
        ($($n:literal)*) => {
            select! { $(n = ready($n), if $n == wanted() => n,)* }
        };
    }
    fn wanted() -> u32 {
        63
    }
    single().block_on(async {
        let chosen = branches!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
        assert_eq!(chosen, 63);
    });
}

#[test]
fn a_select_is_as_large_as_its_largest_output_and_is_send() {
    fn sized<F: Future + Send>(future: F) -> usize {
        size_of_val(&future)
    }
    async fn large() -> [u8; 4096] {
        pending().await
    }
    let one = sized(async {
        select! { a = large() => a[0] }
    });
    let four = sized(async {
        select! { a = large() => a[0], a = large() => a[1], a = large() => a[2], a = large() => a[3] }
    });
    assert!(four < one + 2 * 4096, "{one} {four}");
}

#[test]
fn a_loop_over_outputs_that_do_not_fit_gives_way() {
    within(PATIENCE, || {
        single().block_on(async {
            let closed = spawn(async {
                loop {
                    select! {
                        Some(()) = ready(None) => {}
                        else => {}
                    }
                }
            });
            yield_now().await;
            assert!(closed.cancel_and_wait().await.is_err());
        });
    });
}

#[test]
fn a_loop_over_disabled_branches_gives_way() {
    within(PATIENCE, || {
        single().block_on(async {
            let disabled = spawn(async {
                loop {
                    select! {
                        () = ready(()), if false => {}
                        else => {}
                    }
                }
            });
            yield_now().await;
            assert!(disabled.cancel_and_wait().await.is_err());
        });
    });
}

#[test]
fn each_future_is_stored_once() {
    let child = || async {
        let state = [0_u8; 4096];
        yield_now().await;
        std::hint::black_box(&state);
    };
    let child_size = size_of_val(&child());
    let select = async {
        select! {
            () = child() => {}
            () = child() => {}
        }
    };
    let size = size_of_val(&select);
    assert!(size < 2 * child_size + 512, "{size} bytes for two of {child_size}");
}
