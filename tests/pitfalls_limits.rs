//! Traps that other libraries have fallen into, by their number in the list of pitfalls: limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use runtime::{BlockingPool, CapacityLimiter, Permit};
use runtime_tests::{Counts, PATIENCE, multi, promptly, within};

/// How many work, and how many ever did at a time.
#[derive(Default)]
struct Seen {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Counted from here to the drop, which comes before that of the permit.
struct Working(Arc<Seen>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn work(permit: Permit, seen: Arc<Seen>) {
    let _permit = permit;
    seen.most.fetch_max(seen.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let _working = Working(seen);
    runtime::task::yield_now().await;
}

/// anyio issue 1170: a non-blocking acquire slipped in between a release and the waiter it had woken, and one token was
/// out twice. asyncio and Trio: a waiter that was cancelled after it had been woken took the token with it.
#[test]
fn p20_a_limiter_never_grants_too_much_serves_in_order_and_survives_cancelled_waiters() {
    within(PATIENCE, || {
        let rt = multi(2);
        promptly(|| {
            let limiter = CapacityLimiter::new(3);
            let seen = Arc::new(Seen::default());
            let waiters: Vec<_> = (0..300)
                .map(|_| {
                    let (limiter, seen) = (limiter.clone(), seen.clone());
                    rt.spawn(async move { work(limiter.acquire().await, seen).await })
                })
                .collect();
            // They slip in wherever they can.
            let thieves: Vec<_> = (0..300)
                .map(|_| {
                    let (limiter, seen) = (limiter.clone(), seen.clone());
                    rt.spawn(async move {
                        if let Some(permit) = limiter.try_acquire() {
                            work(permit, seen).await;
                        }
                    })
                })
                .collect();
            for (n, task) in waiters.into_iter().enumerate() {
                if n % 2 == 0 {
                    // Too early, too late, or between the grant and the poll.
                    let _ = rt.block_on(task.cancel_and_wait());
                } else {
                    rt.block_on(task).unwrap();
                }
            }
            thieves.into_iter().for_each(|task| rt.block_on(task).unwrap());
            assert!(limiter.stats().used == 0 && limiter.stats().waiting == 0, "{limiter:?}");
            let most = seen.most.load(Ordering::SeqCst);
            assert!((1..=3).contains(&most), "{most} at a time");
        });

        // In order, each step by hand.
        let limiter = CapacityLimiter::new(1);
        let mut cx = Context::from_waker(Waker::noop());
        let held = limiter.try_acquire();
        let mut line: Vec<_> = (0..4).map(|_| Box::pin(limiter.acquire())).collect();
        for waiting in &mut line {
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        drop(held);
        assert!(limiter.try_acquire().is_none(), "granted twice");
        drop(line.remove(0)); // granted, and passes it on
        assert!(limiter.try_acquire().is_none(), "granted twice");
        assert!(line[1].as_mut().poll(&mut cx).is_pending(), "not its turn");
        assert!(line[0].as_mut().poll(&mut cx).is_ready());
        assert!(line[1].as_mut().poll(&mut cx).is_ready(), "the permit was dropped at once");
    });
}

/// concurrent.futures: `cancel` works while a job waits and is refused once it runs; `shutdown(cancel_futures)` drops
/// what waits; a submission afterwards is an error and not a job that never runs (tokio issue 8406 orphaned one).
#[test]
fn p23_an_executor_cancels_what_waits_finishes_what_runs_and_refuses_what_comes_late() {
    within(PATIENCE, || {
        let rt = multi(1);
        let pool = {
            let _entered = rt.enter();
            BlockingPool::new(1)
        };
        promptly(|| {
            let counts = Counts::new();
            let (begun, begins) = mpsc::channel();
            let (release, held) = mpsc::channel::<()>();
            let running = pool
                .submit(move || {
                    begun.send(()).unwrap();
                    held.recv_timeout(PATIENCE)
                        .is_err_and(|error| error == mpsc::RecvTimeoutError::Disconnected)
                })
                .unwrap();
            begins.recv_timeout(PATIENCE).unwrap();
            let mut waiting: Vec<_> = (0..10)
                .map(|_| {
                    let token = counts.token();
                    pool.submit(move || drop(token)).unwrap()
                })
                .collect();

            let given_up = waiting.remove(3);
            assert!(given_up.cancel() && counts.drops() == 1);
            drop(pool.shutdown(false, true));
            assert_eq!(counts.drops(), 10);
            assert!(waiting.iter().all(runtime::Future::cancelled));
            assert!(pool.submit(|| ()).unwrap_err().is_shutdown());

            assert!(running.wait_timeout(Duration::ZERO).is_none());
            drop(release);
            assert!(running.wait().unwrap());
            rt.block_on(pool.shutdown(true, false));
        });
    });
}
