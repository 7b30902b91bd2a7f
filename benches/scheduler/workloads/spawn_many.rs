//! Many empty tasks at once, from inside the runtime and from outside.
//!
//! tokio's own `spawn_many_local` spawns in the root future of `block_on`, which is outside as far as its
//! scheduler is concerned. Here `local` spawns in a task and `remote_*` in the root future.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{self, SyncSender};
use std::time::{Duration, Instant};

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;

use super::{ONE_FIGURE, TOKIO_BENCH, Workload};

/// As in the source.
const TASKS: u32 = 10_000;
/// As in the source: how long a busy task keeps its worker.
const STALL: Duration = Duration::from_micros(10);
/// As in the source.
const BUSY_TASKS_PER_WORKER: usize = 2;

/// A task spawns them all; the last to run tells the root future, which blocks its thread meanwhile.
pub(super) fn local<P: Peer>() -> Workload {
    Workload {
        name: "spawn_many_local",
        op: "spawn and run, detached, spawned by a task",
        ops: TASKS,
        source: TOKIO_BENCH,
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run_local::<P>,
    }
}

/// The root future spawns them all and awaits their handles.
pub(super) fn remote_idle<P: Peer>() -> Workload {
    Workload {
        name: "spawn_many_remote_idle",
        op: "spawn, run and join, spawned by the root of block_on",
        ops: TASKS,
        source: TOKIO_BENCH,
        of_the_ten: true,
        figures: ONE_FIGURE,
        run: run_remote_idle::<P>,
    }
}

/// The same while all workers run tasks that stall and yield (`busy1` in the source).
pub(super) fn remote_busy<P: Peer>() -> Workload {
    Workload {
        name: "spawn_many_remote_busy",
        op: "spawn, run and join, spawned by the root of block_on, the workers being busy",
        ops: TASKS,
        source: TOKIO_BENCH,
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: run_remote_busy::<P>,
    }
}

fn run_local<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    // As in the source. One message is sent per iteration.
    let (done, all_done) = mpsc::sync_channel(1_000);
    let remaining = Arc::new(AtomicU32::new(0));
    bencher.iterate(|| {
        remaining.store(TASKS, Relaxed);
        peer.block_on(async {
            P::detach(P::spawn(spawn_all::<P>(done.clone(), remaining.clone())));
            all_done.recv().unwrap();
        });
    });
}

async fn spawn_all<P: Peer>(done: SyncSender<()>, remaining: Arc<AtomicU32>) {
    for _ in 0..TASKS {
        let (done, remaining) = (done.clone(), remaining.clone());
        P::detach(P::spawn(async move {
            if remaining.fetch_sub(1, Relaxed) == 1 {
                done.send(()).unwrap();
            }
        }));
    }
}

fn run_remote_idle<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    let mut handles = Vec::with_capacity(TASKS as usize);
    bencher.iterate(|| peer.block_on(spawn_and_join::<P>(&mut handles)));
}

async fn spawn_and_join<P: Peer>(handles: &mut Vec<P::Handle<()>>) {
    for _ in 0..TASKS {
        handles.push(P::spawn(async {}));
    }
    for handle in handles.drain(..) {
        handle.await;
    }
}

fn run_remote_busy<P: Peer>(bencher: &mut Bencher) {
    let peer: P = bencher.start();
    let busy = Arc::new(AtomicBool::new(true));
    let stalling: Vec<_> = peer.block_on(async {
        let tasks = 0..BUSY_TASKS_PER_WORKER * bencher.workers();
        tasks.map(|_| P::spawn(stall_and_yield::<P>(busy.clone()))).collect()
    });
    let mut handles = Vec::with_capacity(TASKS as usize);
    bencher.iterate(|| peer.block_on(spawn_and_join::<P>(&mut handles)));
    busy.store(false, Relaxed);
    peer.block_on(async {
        for task in stalling {
            task.await;
        }
    });
}

async fn stall_and_yield<P: Peer>(busy: Arc<AtomicBool>) {
    while busy.load(Relaxed) {
        P::yield_now().await;
        stall();
    }
}

/// As in the source, the operating system's yield included.
fn stall() {
    let start = Instant::now();
    while start.elapsed() < STALL {
        std::thread::yield_now();
    }
}
