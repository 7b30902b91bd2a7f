//! How far the ticks of an interval are from where they should be.

use std::time::{Duration, Instant};

use runtime_benches::harness::{Bencher, Workload};
use runtime_benches::{Net, Time};

use super::{BUDGETS_FOR_PERCENTILES, report_spread, spread};

const PERIOD: Duration = Duration::from_millis(1);
/// Even without a budget.
const MIN_TICKS: u32 = 3;

pub(super) fn workload<P: Net + Time>() -> Workload {
    spread("interval_1ms", "distance of a tick of 1 ms from its ideal time", run::<P>)
}

fn run<P: Net + Time>(bencher: &mut Bencher) {
    let peer = P::start_with_drivers(bencher.workers());
    let budget = bencher.budget() * BUDGETS_FOR_PERCENTILES;
    let ticks = u32::try_from(budget.as_nanos() / PERIOD.as_nanos()).unwrap_or(u32::MAX).max(MIN_TICKS);
    let distances = peer.block_on(async { P::spawn(distances::<P>(ticks)).await });
    report_spread(bencher, distances);
}

/// The distances in nanoseconds, of early ticks too.
async fn distances<P: Time>(ticks: u32) -> Vec<u64> {
    let mut distances = Vec::with_capacity(ticks as usize);
    let mut ideal = Instant::now() + PERIOD;
    let mut interval = P::interval_at(ideal, PERIOD);
    for _ in 0..ticks {
        P::tick(&mut interval).await;
        let now = Instant::now();
        let distance = now.saturating_duration_since(ideal).max(ideal.saturating_duration_since(now));
        distances.push(u64::try_from(distance.as_nanos()).expect("not wrong by centuries"));
        ideal += PERIOD;
    }
    distances
}
