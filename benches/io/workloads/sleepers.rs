//! A crowd of tasks, each of which sleeps once.

use std::time::{Duration, Instant};

use runtime_benches::harness::{Bencher, Workload};
use runtime_benches::{Net, Time};

use super::{cpu_time, plain};

const SLEEPERS: u32 = 100_000;
const QUICK_SLEEPERS: u32 = 1_000;
const LONGEST_MS: u64 = 200;

/// Two figures of different kinds: what a sleeper costs, and how long all of them take in excess of the
/// longest sleep, which is the time that the spawns take plus the time by which the runtime fell behind.
pub(super) fn workload<P: Net + Time>() -> Workload {
    Workload {
        figures: &["cpu", "excess"],
        ..plain("sleepers", "cpu: one of 100,000 sleepers of 1..200 ms; excess: all of them", 1, run::<P>)
    }
}

fn run<P: Net + Time>(bencher: &mut Bencher) {
    let sleepers = if bencher.budget().is_zero() { QUICK_SLEEPERS } else { SLEEPERS };
    let peer = P::start_with_drivers(bencher.workers());
    // Warms up.
    peer.block_on(async { P::spawn(all_sleep::<P>(QUICK_SLEEPERS)).await });

    let (start, cpu_start) = (Instant::now(), cpu_time());
    peer.block_on(async { P::spawn(all_sleep::<P>(sleepers)).await });
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu_start);

    let excess = elapsed.saturating_sub(Duration::from_millis(LONGEST_MS));
    bencher.report("cpu", cpu.as_nanos() as f64 / f64::from(sleepers));
    bencher.report("excess", excess.as_nanos() as f64);
}

async fn all_sleep<P: Time>(sleepers: u32) {
    let spawn = |index| P::spawn(sleep_once::<P>(duration(index)));
    let running: Vec<_> = (0..sleepers).map(spawn).collect();
    for sleeper in running {
        sleeper.await;
    }
}

async fn sleep_once<P: Time>(duration: Duration) {
    P::sleep(duration).await;
}

/// Pseudo-random, to the nanosecond, and the same in every run: splitmix64 of the index.
fn duration(index: u32) -> Duration {
    let mut z = (u64::from(index) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let millisecond = 1_000_000;
    Duration::from_nanos(millisecond + (z ^ (z >> 31)) % ((LONGEST_MS - 1) * millisecond))
}
