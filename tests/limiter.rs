//! `CapacityLimiter`: never too many, first come first served, and no token is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use runtime::time::timeout;
use runtime::{CapacityLimiter, Permit};
use runtime_tests::{CountingWaker, PATIENCE, multi, on_each, promptly, settle, single, within};

/// Polls a future by hand.
macro_rules! poll {
    ($future:expr, $waker:expr) => {
        std::pin::Pin::new(&mut $future).poll(&mut Context::from_waker($waker))
    };
}

fn figures(limiter: &CapacityLimiter) -> (usize, usize, usize) {
    let stats = limiter.stats();
    (stats.used, stats.total, stats.waiting)
}

#[test]
#[should_panic(expected = "needs at least 1 token")]
fn a_limiter_without_tokens_panics() {
    let _ = CapacityLimiter::new(0);
}

#[test]
fn a_thousand_calls_reach_the_limit_and_never_exceed_it() {
    on_each(|rt| {
        let limiter = CapacityLimiter::new(10);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let calls: Vec<_> = (0..1_000)
            .map(|_| {
                let (limiter, now, most) = (limiter.clone(), now.clone(), most.clone());
                rt.spawn(async move {
                    let _permit = limiter.acquire().await;
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    settle().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        calls.into_iter().for_each(|call| rt.block_on(call).unwrap());
        assert_eq!(most.load(Ordering::SeqCst), 10);
        assert_eq!(figures(&limiter), (0, 10, 0));
    });
}

#[test]
fn who_comes_first_is_served_first() {
    let rt = single();
    let limiter = CapacityLimiter::new(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    rt.block_on(async {
        let first = limiter.acquire().await;
        let mut tasks = Vec::new();
        for n in 0..20 {
            let (limiter, order) = (limiter.clone(), order.clone());
            tasks.push(runtime::spawn(async move {
                let _permit = limiter.acquire().await;
                order.lock().push(n);
            }));
            settle().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*order.lock(), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_freed_token_belongs_to_the_waiter_at_once() {
    let limiter = CapacityLimiter::new(1);
    let (count, waker) = CountingWaker::new();
    let permit = limiter.try_acquire();
    let mut waiting = limiter.acquire();
    assert!(poll!(waiting, &waker).is_pending());
    drop(permit);
    assert_eq!(count.wakes(), 1);
    assert_eq!(figures(&limiter), (1, 1, 0));
    assert!(limiter.try_acquire().is_none(), "somebody slipped in");
    assert!(poll!(waiting, &waker).is_ready());
}

#[test]
fn who_comes_late_does_not_pass_those_who_wait() {
    let limiter = CapacityLimiter::new(2);
    let waker = Waker::noop();
    let held: Vec<_> = (0..2).map(|_| limiter.try_acquire().unwrap()).collect();
    let mut first = limiter.acquire();
    let mut late = limiter.acquire();
    assert!(poll!(first, waker).is_pending());
    drop(held);
    assert!(poll!(late, waker).is_ready(), "the second token is free");
    assert!(poll!(first, waker).is_ready());
}

#[test]
fn a_dropped_waiter_leaves_the_line() {
    let limiter = CapacityLimiter::new(1);
    let permit = limiter.try_acquire();
    for _ in 0..2_000 {
        let mut waiting = limiter.acquire();
        assert!(poll!(waiting, Waker::noop()).is_pending());
    }
    assert_eq!(figures(&limiter), (1, 1, 0));
    drop(permit);
    assert_eq!(figures(&limiter), (0, 1, 0));
}

#[test]
fn a_dropped_waiter_that_was_served_passes_the_token_on() {
    let limiter = CapacityLimiter::new(1);
    let (count, waker) = CountingWaker::new();
    let permit = limiter.try_acquire();
    let (mut first, mut second) = (limiter.acquire(), limiter.acquire());
    assert!(poll!(first, Waker::noop()).is_pending());
    assert!(poll!(second, &waker).is_pending());
    drop(permit);
    assert_eq!(count.wakes(), 0);
    drop(first);
    assert_eq!(count.wakes(), 1);
    assert!(poll!(second, &waker).is_ready());
}

#[test]
fn the_latest_waker_is_the_one_that_is_woken() {
    let limiter = CapacityLimiter::new(1);
    let (old_count, old) = CountingWaker::new();
    let (new_count, new) = CountingWaker::new();
    let permit = limiter.try_acquire();
    let mut waiting = limiter.acquire();
    assert!(poll!(waiting, &old).is_pending());
    assert!(poll!(waiting, &new).is_pending());
    drop(old);
    assert_eq!(Arc::strong_count(&old_count), 1, "a replaced waker is not kept");
    drop(permit);
    assert_eq!((old_count.wakes(), new_count.wakes()), (0, 1));
}

#[test]
fn a_wait_that_is_cancelled_by_a_timeout_takes_nothing() {
    within(PATIENCE, || {
        let rt = runtime::Runtime::builder().start_paused(true).worker_threads(2).build().unwrap();
        promptly(|| {
            rt.block_on(async {
                let limiter = CapacityLimiter::new(1);
                let held = limiter.acquire().await;
                let begin = runtime::time::now();
                for _ in 0..100 {
                    assert!(timeout(Duration::from_secs(1), limiter.acquire()).await.is_err());
                }
                assert_eq!(runtime::time::now() - begin, Duration::from_secs(100));
                assert_eq!(figures(&limiter), (1, 1, 0));
                drop(held);
                assert!(limiter.try_acquire().is_some());
            });
        });
    });
}

// --- resizing ---

#[test]
fn raising_the_total_wakes_as_many_as_fit_in_their_order() {
    let limiter = CapacityLimiter::new(1);
    let _held = limiter.try_acquire().unwrap();
    let mut waiting: Vec<_> = (0..100).map(|_| (limiter.acquire(), CountingWaker::new())).collect();
    for (acquire, (_, waker)) in &mut waiting {
        assert!(poll!(*acquire, waker).is_pending());
    }
    limiter.set_total(41);
    let wakes: Vec<_> = waiting.iter().map(|(_, (count, _))| count.wakes()).collect();
    assert_eq!(wakes, [vec![1; 40], vec![0; 60]].concat());
    assert_eq!(figures(&limiter), (41, 41, 60));
}

#[test]
fn lowering_the_total_revokes_nothing_and_grants_nothing_until_it_fits() {
    let limiter = CapacityLimiter::new(3);
    let mut held: Vec<Permit> = (0..3).map(|_| limiter.try_acquire().unwrap()).collect();
    limiter.set_total(1);
    assert_eq!(figures(&limiter), (3, 1, 0));
    let (count, waker) = CountingWaker::new();
    let mut waiting = limiter.acquire();
    assert!(poll!(waiting, &waker).is_pending());
    held.pop();
    held.pop();
    assert_eq!(count.wakes(), 0);
    held.pop();
    assert_eq!(count.wakes(), 1);
    assert!(poll!(waiting, &waker).is_ready());
}

#[test]
fn a_total_of_zero_stops_everything_new_until_it_is_raised() {
    let limiter = CapacityLimiter::new(1);
    limiter.set_total(0);
    let mut waiting = limiter.acquire();
    assert!(limiter.try_acquire().is_none());
    assert!(poll!(waiting, Waker::noop()).is_pending());
    limiter.set_total(1);
    assert!(poll!(waiting, Waker::noop()).is_ready());
}

#[test]
fn resizing_and_cancelling_at_random_loses_no_token() {
    within(PATIENCE, || {
        let rt = multi(2);
        let limiter = CapacityLimiter::new(4);
        let tasks: Vec<_> = (0..400_u64)
            .map(|n| {
                let limiter = limiter.clone();
                rt.spawn(async move {
                    let permit = limiter.acquire().await;
                    for _ in 0..n % 7 {
                        runtime::task::yield_now().await;
                    }
                    if n % 5 == 0 {
                        limiter.set_total(1 + (n % 9) as usize);
                    }
                    drop(permit);
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            if n % 3 == 0 {
                let _ = rt.block_on(task.cancel_and_wait());
            } else {
                rt.block_on(task).unwrap();
            }
        }
        let stats = limiter.stats();
        assert_eq!((stats.used, stats.waiting), (0, 0));
    });
}

// --- wakers that misbehave ---

/// Panics, or goes back into the limiter, when it is woken and when it is dropped.
struct Hostile {
    limiter: CapacityLimiter,
    panics: bool,
}

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        drop(self.limiter.try_acquire());
        let _ = self.limiter.stats();
        assert!(!self.panics, "a hostile waker");
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        drop(self.limiter.try_acquire());
    }
}

#[test]
fn hostile_wakers_neither_deadlock_nor_keep_others_from_being_woken() {
    within(PATIENCE, || {
        for panics in [false, true] {
            let limiter = CapacityLimiter::new(1);
            let held = limiter.try_acquire();
            let hostile = || Waker::from(Arc::new(Hostile { limiter: limiter.clone(), panics }));
            let (mut one, mut two, mut three) = (limiter.acquire(), limiter.acquire(), limiter.acquire());
            let (count, good) = CountingWaker::new();
            assert!(poll!(one, &hostile()).is_pending());
            assert!(poll!(one, &hostile()).is_pending(), "replaced");
            assert!(poll!(two, &hostile()).is_pending());
            assert!(poll!(three, &good).is_pending());
            drop(two);
            limiter.set_total(3);
            assert_eq!(count.wakes(), 1);
            assert!(poll!(one, &good).is_ready());
            assert!(poll!(three, &good).is_ready());
            drop(held);
            assert_eq!(figures(&limiter), (0, 3, 0));
        }
    });
}

#[test]
fn a_loop_that_always_finds_a_token_lets_others_run() {
    within(PATIENCE, || {
        let rt = single();
        let limiter = CapacityLimiter::new(1);
        let turns = Arc::new(AtomicUsize::new(0));
        let other = turns.clone();
        rt.block_on(async {
            let busy = runtime::spawn(async move {
                for _ in 0..100_000 {
                    drop(limiter.acquire().await);
                    if turns.load(Ordering::SeqCst) > 0 {
                        return true;
                    }
                }
                false
            });
            let counting = runtime::spawn(async move {
                other.fetch_add(1, Ordering::SeqCst);
            });
            assert!(busy.await.unwrap(), "the loop never gave way");
            counting.await.unwrap();
        });
    });
}

#[test]
fn a_permit_moves_into_a_task() {
    on_each(|rt| {
        let limiter = CapacityLimiter::new(1);
        rt.block_on(async {
            let permit = limiter.acquire().await;
            let task = runtime::spawn(async move { drop(permit) });
            let _second = limiter.acquire().await;
            task.await.unwrap();
        });
    });
}
