//! Tasks that do nothing but yield: the cost of going once around the run queue.

use std::sync::mpsc;

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, TOKIO_BENCH, Workload};

/// As in the source.
const TASKS: u32 = 200;
/// As in the source.
const YIELDS: u32 = 1_000;
/// Makes the spawn and the join of the one task a hundredth of a percent of the iteration.
const YIELDS_OF_ONE: u32 = 10_000;

/// Many tasks, so that the queues are never empty.
pub(super) fn many<P: Peer>() -> Workload {
    Workload {
        name: "yield_many",
        op: "one yield of one of 200 tasks",
        ops: TASKS * YIELDS,
        source: TOKIO_BENCH,
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run_many::<P>,
    }
}

/// A single task: nothing else is in any queue, so every yield meets the path that looks for other work.
pub(super) fn one<P: Peer>() -> Workload {
    Workload {
        name: "yield_one",
        op: "one yield of the only task",
        ops: YIELDS_OF_ONE,
        source: "async-executor, benches/executor.rs (yield_now) with one task",
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run_one::<P>,
    }
}

fn run_many<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    let (done, all_done) = mpsc::sync_channel(TASKS as usize);
    bencher.iterate(|| {
        peer.block_on(async {
            for _ in 0..TASKS {
                let done = done.clone();
                P::detach(P::spawn(async move {
                    yield_times::<P>(YIELDS).await;
                    done.send(()).unwrap();
                }));
            }
            // Blocks the root's thread, as the source's plain thread does.
            for _ in 0..TASKS {
                all_done.recv().unwrap();
            }
        });
    });
}

fn run_one<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| peer.block_on(async { P::spawn(yield_times::<P>(YIELDS_OF_ONE)).await }));
}

async fn yield_times<P: Peer>(times: u32) {
    for _ in 0..times {
        P::yield_now().await;
    }
}
