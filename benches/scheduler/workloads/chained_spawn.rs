//! Each task spawns the next and ends: never more than two tasks, and a spawn per hop.

use std::sync::mpsc::{self, SyncSender};

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, TOKIO_BENCH, Workload};

/// As in the source.
const LINKS: u32 = 1_000;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "chained_spawn",
        op: "spawn and run one link of the chain",
        ops: LINKS,
        source: TOKIO_BENCH,
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    // As in the source. One message is sent per iteration.
    let (done, chain_done) = mpsc::sync_channel(1_000);
    bencher.iterate(|| {
        let done = done.clone();
        peer.block_on(async {
            P::detach(P::spawn(async move { link::<P>(done, LINKS) }));
            chain_done.recv().unwrap();
        });
    });
}

fn link<P: Peer>(done: SyncSender<()>, left: u32) {
    if left == 0 {
        done.send(()).unwrap();
    } else {
        P::detach(P::spawn(async move { link::<P>(done, left - 1) }));
    }
}
