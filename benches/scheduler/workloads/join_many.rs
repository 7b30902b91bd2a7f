//! A task spawns many tasks, keeps their handles and then awaits them all.

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, Workload};

/// As many as `spawn_many_local`, so that the difference is the cost of joining.
const TASKS: u32 = 10_000;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "join_many",
        op: "spawn, run and join, spawned by a task",
        ops: TASKS,
        source: "tokio, benches/rt_multi_threaded.rs (spawn_many_remote_idle), moved into a task",
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| peer.block_on(async { P::spawn(spawn_and_join::<P>()).await }));
}

async fn spawn_and_join<P: Peer>() {
    let handles: Vec<_> = (0..TASKS).map(|_| P::spawn(async {})).collect();
    for handle in handles {
        handle.await;
    }
}
