//! Spawn one task, await it, spawn the next: the latency of a spawn, in a task and in the root future.

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, Workload};

/// Makes the start of the outer task a tenth of a percent of the iteration.
const TASKS: u32 = 1_000;

/// In a spawned task: the awaited task can run on the same worker.
pub(super) fn inside<P: Peer>() -> Workload {
    Workload {
        name: "spawn_await",
        op: "spawn and await, in a task",
        ops: TASKS,
        source: "async-executor, benches/executor.rs (spawn_one)",
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run_inside::<P>,
    }
}

/// In the root future of `block_on`: another thread must wake, unless the root's own thread runs tasks.
pub(super) fn main<P: Peer>() -> Workload {
    Workload {
        name: "spawn_await_main",
        op: "spawn and await, in the root of block_on",
        ops: TASKS,
        source: "async-executor, benches/executor.rs (spawn_one)",
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: run_main::<P>,
    }
}

fn run_inside<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| peer.block_on(async { P::spawn(one_at_a_time::<P>()).await }));
}

fn run_main<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| peer.block_on(one_at_a_time::<P>()));
}

async fn one_at_a_time<P: Peer>() {
    for _ in 0..TASKS {
        P::spawn(async {}).await;
    }
}
