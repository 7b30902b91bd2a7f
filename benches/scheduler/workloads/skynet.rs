//! A tree of tasks, ten children to a node; every node sums what its children return.

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, Workload};

/// As in the source.
const FAN_OUT: u64 = 10;
/// A tenth of the source's million, so that an iteration takes a tenth of the time budget and not all of it.
const LEAVES: u64 = 100_000;
/// Leaves, their parents, and so on up to the root.
const TASKS: u32 = 111_111;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "skynet",
        op: "spawn, run and join one task of the tree",
        ops: TASKS,
        source: "github.com/atemerev/skynet",
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| {
        let sum = peer.block_on(async { P::spawn(node::<P>(0, LEAVES)).await });
        assert_eq!(sum, LEAVES * (LEAVES - 1) / 2);
    });
}

/// The sum of the leaves `first..first + leaves`.
#[expect(
    clippy::manual_async_fn,
    reason = "a future that spawns itself must say that it is Send: the compiler is still finding out"
)]
fn node<P: Peer>(first: u64, leaves: u64) -> impl Future<Output = u64> + Send {
    async move {
        if leaves == 1 {
            return first;
        }
        let share = leaves / FAN_OUT;
        let mut children = Vec::with_capacity(FAN_OUT as usize);
        for child in 0..FAN_OUT {
            children.push(P::spawn(node::<P>(first + child * share, share)));
        }
        let mut sum = 0;
        for child in children {
            sum += child.await;
        }
        sum
    }
}
