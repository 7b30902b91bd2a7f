//! How late a sleep ends, on a runtime that does nothing else.

use std::time::{Duration, Instant};

use runtime_benches::harness::{Bencher, Workload};
use runtime_benches::{Net, Time};

use super::{BUDGETS_FOR_PERCENTILES, report_spread, spread};

/// Even without a budget.
const MIN_SLEEPS: usize = 3;

/// As long as Linux may let a thread oversleep by default.
pub(super) fn micros_50<P: Net + Time>() -> Workload {
    spread("late_50us", "sleep 50 us: how much longer it took", run::<P, 50>)
}

/// A wait for a device, or between attempts.
pub(super) fn micros_200<P: Net + Time>() -> Workload {
    spread("late_200us", "sleep 200 us: how much longer it took", run::<P, 200>)
}

/// The resolution of timers that count milliseconds.
pub(super) fn millis_1<P: Net + Time>() -> Workload {
    spread("late_1ms", "sleep 1 ms: how much longer it took", run::<P, 1_000>)
}

fn run<P: Net + Time, const MICROS: u64>(bencher: &mut Bencher) {
    let peer = P::start_with_drivers(bencher.workers());
    let budget = bencher.budget() * BUDGETS_FOR_PERCENTILES;
    let sleeps = sleep_for::<P>(Duration::from_micros(MICROS), budget);
    let late = peer.block_on(async { P::spawn(sleeps).await });
    report_spread(bencher, late);
}

/// Sleeps again and again. Returns by how many nanoseconds each sleep was late.
async fn sleep_for<P: Time>(duration: Duration, budget: Duration) -> Vec<u64> {
    let mut late = Vec::new();
    let first = Instant::now();
    while late.len() < MIN_SLEEPS || first.elapsed() < budget {
        let start = Instant::now();
        P::sleep(duration).await;
        let excess = start.elapsed().checked_sub(duration).expect("no sleep ends early");
        late.push(u64::try_from(excess.as_nanos()).expect("not late by centuries"));
    }
    late
}
