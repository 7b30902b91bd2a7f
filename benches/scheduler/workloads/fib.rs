//! Fork and join: one branch is spawned, the other runs in place, then the spawned one is awaited.

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, Workload};

/// About as many tasks as the `spawn_many` workloads have.
const N: u64 = 20;
const RESULT: u64 = 6_765;
/// Every call with n >= 2 spawns one task: fib(N + 1) - 1 of them.
const SPAWNS: u32 = 10_945;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "fib",
        op: "fork and join one branch of fib(20)",
        ops: SPAWNS,
        source: "cilk's and rayon's fib, with tasks",
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| {
        let result = peer.block_on(async { P::spawn(fib::<P>(N)).await });
        assert_eq!(result, RESULT);
    });
}

#[expect(
    clippy::manual_async_fn,
    reason = "a future that spawns itself must say that it is Send: the compiler is still finding out"
)]
fn fib<P: Peer>(n: u64) -> impl Future<Output = u64> + Send {
    async move {
        if n < 2 {
            return n;
        }
        let forked = P::spawn(fib::<P>(n - 1));
        let here = Box::pin(fib::<P>(n - 2)).await;
        here + forked.await
    }
}
