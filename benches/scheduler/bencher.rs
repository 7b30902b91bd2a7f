//! Runs one workload long enough to measure it.

use std::time::{Duration, Instant};

use runtime_benches::Peer;

/// The share of the budget spent on warming up: enough for the branch predictors, the allocator's caches and
/// the peers' own tuning (tokio adapts its queue interval within some hundred polls).
const WARM_UP_SHARE: u32 = 4;

/// Even a budget of nothing measures more than one iteration, or the figure would be that of a cold start.
const MIN_ITERATIONS: u32 = 3;

/// Hands a workload its runtime and times the iterations.
pub(crate) struct Bencher {
    workers: usize,
    budget: Duration,
    ns_per_iteration: Option<f64>,
}

impl Bencher {
    pub(crate) fn new(workers: usize, budget: Duration) -> Self {
        Bencher { workers, budget, ns_per_iteration: None }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Starts the runtime that the iterations run on.
    pub(crate) fn start<P: Peer>(&self) -> P {
        P::start(self.workers)
    }

    /// Warms up, then measures as many iterations as fill the budget.
    pub(crate) fn iterate(&mut self, mut iteration: impl FnMut()) {
        let iterations = self.iterations_in_budget(self.warm_up(&mut iteration));
        let start = Instant::now();
        for _ in 0..iterations {
            iteration();
        }
        self.ns_per_iteration = Some(start.elapsed().as_nanos() as f64 / f64::from(iterations));
    }

    /// The time of an iteration, roughly.
    fn warm_up(&self, iteration: &mut impl FnMut()) -> Duration {
        let limit = self.budget / WARM_UP_SHARE;
        let start = Instant::now();
        let mut iterations = 0;
        loop {
            iteration();
            iterations += 1;
            let elapsed = start.elapsed();
            if elapsed >= limit {
                return elapsed / iterations;
            }
        }
    }

    fn iterations_in_budget(&self, one: Duration) -> u32 {
        let fitting = self.budget.as_nanos() / one.as_nanos().max(1);
        u32::try_from(fitting).unwrap_or(u32::MAX).max(MIN_ITERATIONS)
    }

    /// The mean over the measured iterations.
    pub(crate) fn ns_per_iteration(&self) -> f64 {
        self.ns_per_iteration.expect("every workload iterates")
    }
}
