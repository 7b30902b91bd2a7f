//! A thousand jobs for the blocking pool of a fresh runtime at once, that compute or that sleep.
//!
//! A pool that grows by count starts as many threads as it may; jobs that compute then take turns on the processors.
//! smol's pool is the process's and cannot be fresh: its threads are there from the second burst on.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use runtime_benches::Peer;
use runtime_benches::harness::Bencher;
use rustix::time::{ClockId, clock_gettime};

use super::{ONE_FIGURE, Workload};

const JOBS: u32 = 1_000;
const COMPUTE: Duration = Duration::from_millis(1);
const SLEEP: Duration = Duration::from_millis(50);
/// A burst takes longer than what other workloads are measured for.
const BURSTS: u32 = 3;

pub(super) fn compute<P: Peer>() -> Workload {
    Workload {
        name: "blocking_burst_compute",
        op: "one of 1,000 jobs at once that compute for a millisecond",
        ops: JOBS,
        source: "written for this table",
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: |bencher| run::<P>(bencher, || compute_for(COMPUTE)),
    }
}

pub(super) fn sleep<P: Peer>() -> Workload {
    Workload {
        name: "blocking_burst_sleep",
        op: "one of 1,000 jobs at once that sleep for 50 milliseconds",
        ops: JOBS,
        source: "written for this table",
        of_the_ten: false,
        figures: ONE_FIGURE,
        run: |bencher| run::<P>(bencher, || thread::sleep(SLEEP)),
    }
}

fn run<P: Peer>(bencher: &mut Bencher, job: fn()) {
    let elapsed: Duration = (0..BURSTS).map(|_| burst::<P>(bencher, job)).sum();
    bencher.report("", elapsed.as_nanos() as f64 / f64::from(BURSTS) / f64::from(JOBS));
}

fn burst<P: Peer>(bencher: &Bencher, job: fn()) -> Duration {
    let peer: P = bencher.start();
    peer.block_on(async {
        let begin = Instant::now();
        let jobs: Vec<_> = (0..JOBS).map(|_| P::spawn_blocking(job)).collect();
        for job in jobs {
            job.await;
        }
        begin.elapsed()
    })
}

/// Uses so much processor time.
fn compute_for(time: Duration) {
    let end = thread_time() + time;
    while thread_time() < end {
        for n in 0..1_000_u32 {
            black_box(n);
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
