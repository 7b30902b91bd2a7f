//! A token goes around a ring of tasks: at any time one task can run, and its wake comes from another task.
//!
//! The channel is the same for every peer, so what differs is the wake and the poll.

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{ONE_FIGURE, Workload};

/// As in the source.
const TASKS: u32 = 100;
/// A tenth of the source's 100,000 hops; still makes the spawns a hundredth of the operations.
const LAPS: u32 = 100;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "ring",
        op: "one hop of the token: send, wake, receive",
        ops: TASKS * LAPS,
        source: "savina, threadring",
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    bencher.iterate(|| peer.block_on(async { P::spawn(ring::<P>()).await }));
}

/// This task is one of the ring: it starts the laps and counts them.
async fn ring<P: Peer>() {
    let (first, mut previous) = mpsc::unbounded_channel();
    for _ in 1..TASKS {
        let (next, received) = mpsc::unbounded_channel();
        P::detach(P::spawn(forward(previous, next)));
        previous = received;
    }
    for _ in 0..LAPS {
        first.send(()).unwrap();
        previous.recv().await.unwrap();
    }
}

/// Ends when its predecessor does, so dropping `first` takes the ring down.
async fn forward(mut from: UnboundedReceiver<()>, to: UnboundedSender<()>) {
    while from.recv().await.is_some() {
        to.send(()).unwrap();
    }
}
