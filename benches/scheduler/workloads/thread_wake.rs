//! A plain thread wakes a task: what a callback of a foreign library, or a channel fed by a thread, costs.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;
use tokio::sync::oneshot;

use super::{ONE_FIGURE, Workload};

/// Makes the spawn of the task a tenth of a percent of the iteration.
const ROUND_TRIPS: u32 = 1_000;

type Reply = oneshot::Sender<()>;

pub(super) fn workload<P: Peer>() -> Workload {
    Workload {
        name: "thread_wake",
        op: "round trip: a task wakes a blocked thread, which wakes the task",
        ops: ROUND_TRIPS,
        source: "written for this table",
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: run::<P>,
    }
}

fn run<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    let (requests, received) = mpsc::channel();
    let thread = thread::spawn(move || answer(&received));
    bencher.iterate(|| {
        let requests = requests.clone();
        peer.block_on(async { P::spawn(ask(requests)).await });
    });
    drop(requests);
    thread.join().unwrap();
}

async fn ask(requests: Sender<Reply>) {
    for _ in 0..ROUND_TRIPS {
        let (reply, replied) = oneshot::channel();
        requests.send(reply).unwrap();
        replied.await.unwrap();
    }
}

fn answer(requests: &Receiver<Reply>) {
    for reply in requests {
        reply.send(()).unwrap();
    }
}
