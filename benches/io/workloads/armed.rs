//! Timers that are armed and never fire, as nearly all of them are.

use std::future;
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use runtime_benches::harness::{Bencher, Workload};
use runtime_benches::{Net, Time};

use super::plain;

/// Never reached.
const LIMIT: Duration = Duration::from_secs(60);
/// Makes the start of the outer task a tenth of a percent of the iteration.
const TIMES: u32 = 1_000;

/// Includes the yield, which the scheduler's `yield_one` shows alone.
pub(super) fn timeout<P: Net + Time>() -> Workload {
    plain("timeout_unfired", "a timeout of 60 s around one yield", TIMES, |bencher| {
        in_a_task::<P, _>(bencher, timeouts::<P>);
    })
}

/// Registers the timer and takes it out again.
pub(super) fn polled<P: Net + Time>() -> Workload {
    plain("sleep_polled_dropped", "create a sleep of 60 s, poll it, drop it", TIMES, |bencher| {
        in_a_task::<P, _>(bencher, polled_sleeps::<P>);
    })
}

/// The timer of an operation that turns out to be ready at once.
pub(super) fn created<P: Net + Time>() -> Workload {
    plain("sleep_dropped", "create a sleep of 60 s, drop it", TIMES, |bencher| {
        in_a_task::<P, _>(bencher, created_sleeps::<P>);
    })
}

fn in_a_task<P: Net, F: Future<Output = ()> + Send + 'static>(bencher: &mut Bencher, iteration: fn() -> F) {
    let peer = P::start_with_drivers(bencher.workers());
    bencher.iterate(|| peer.block_on(async { P::spawn(iteration()).await }));
}

async fn timeouts<P: Time>() {
    for _ in 0..TIMES {
        P::timeout(LIMIT, P::yield_now()).await.expect("a yield takes less than a minute");
    }
}

async fn polled_sleeps<P: Time>() {
    for _ in 0..TIMES {
        let mut sleep = pin!(P::sleep(LIMIT));
        future::poll_fn(|cx| {
            assert!(sleep.as_mut().poll(cx).is_pending(), "a sleep of a minute is not over");
            Poll::Ready(())
        })
        .await;
    }
}

async fn created_sleeps<P: Time>() {
    for _ in 0..TIMES {
        drop(black_box(P::sleep(LIMIT)));
    }
}
