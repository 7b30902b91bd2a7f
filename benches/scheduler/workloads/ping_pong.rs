//! Pairs of tasks that exchange one message each way, all pairs at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{self, SyncSender};

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;
use tokio::sync::oneshot;

use super::{ONE_FIGURE, TOKIO_BENCH, Workload};

/// As in the source.
const PINGS: u32 = 1_000;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "ping_pong",
        op: "two spawns and two oneshots, there and back",
        ops: PINGS,
        source: TOKIO_BENCH,
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    // As in the source. One message is sent per iteration.
    let (done, all_done) = mpsc::sync_channel(1_000);
    let remaining = Arc::new(AtomicU32::new(0));
    bencher.iterate(|| {
        remaining.store(PINGS, Relaxed);
        peer.block_on(async {
            P::detach(P::spawn(spawn_pings::<P>(done.clone(), remaining.clone())));
            all_done.recv().unwrap();
        });
    });
}

async fn spawn_pings<P: Peer>(done: SyncSender<()>, remaining: Arc<AtomicU32>) {
    for _ in 0..PINGS {
        let (done, remaining) = (done.clone(), remaining.clone());
        P::detach(P::spawn(async move {
            ping::<P>().await;
            if remaining.fetch_sub(1, Relaxed) == 1 {
                done.send(()).unwrap();
            }
        }));
    }
}

async fn ping<P: Peer>() {
    let (ping, pinged) = oneshot::channel();
    let (pong, ponged) = oneshot::channel();
    P::detach(P::spawn(async move {
        pinged.await.unwrap();
        pong.send(()).unwrap();
    }));
    ping.send(()).unwrap();
    ponged.await.unwrap();
}
