//! The workloads, each written once for every peer.
//!
//! None counts in a mean: an exchange is mostly the kernel's work, a timeout mostly the runtime's, and a
//! delay nobody's.

mod armed;
mod jitter;
mod lateness;
mod server;
mod sleepers;
mod udp_ping;

use std::time::Duration;

use runtime_benches::harness::{Bencher, ONE_FIGURE, Workload};
use runtime_benches::{Net, Time};
use rustix::time::{ClockId, clock_gettime};

use crate::percentile::{P50_AND_P99, Sorted};

/// How many budgets the rows with percentiles take: at a budget of 200 ms, a thousand waits of a millisecond.
const BUDGETS_FOR_PERCENTILES: u32 = 5;

/// All of them, in the order of the table.
pub(crate) fn all<P: Net + Time>() -> Vec<Workload> {
    vec![
        server::echo_1::<P>(),
        server::echo_64::<P>(),
        server::echo_1000::<P>(),
        server::short::<P>(),
        server::hello::<P>(),
        udp_ping::workload::<P>(),
        sleepers::workload::<P>(),
        armed::timeout::<P>(),
        armed::polled::<P>(),
        armed::created::<P>(),
        lateness::micros_50::<P>(),
        lateness::micros_200::<P>(),
        lateness::millis_1::<P>(),
        jitter::workload::<P>(),
    ]
}

/// A workload with one figure.
fn plain(name: &'static str, op: &'static str, ops: u32, run: fn(&mut Bencher)) -> Workload {
    Workload { name, op, ops, source: "written for this table", of_the_ten: false, figures: ONE_FIGURE, run }
}

/// A workload that measures single operations.
fn spread(name: &'static str, op: &'static str, run: fn(&mut Bencher)) -> Workload {
    Workload { figures: P50_AND_P99, ..plain(name, op, 1, run) }
}

fn report_spread(bencher: &mut Bencher, measured: Vec<u64>) {
    let sorted = Sorted::new(measured);
    bencher.report("p50", sorted.percentile(50));
    bencher.report("p99", sorted.percentile(99));
}

/// What all threads of this process have used, in user mode and in the kernel.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs().try_into().expect("below a second"))
}
