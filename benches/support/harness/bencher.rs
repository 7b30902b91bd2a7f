//! Runs one workload long enough to measure it.

use std::time::{Duration, Instant};

use crate::Peer;

/// The share of the budget spent on warming up: enough for the branch predictors, the allocator's caches and
/// the peers' own tuning (tokio adapts its queue interval within some hundred polls).
pub(crate) const WARM_UP_SHARE: u32 = 4;

/// Even a budget of nothing measures more than one iteration, or the figure would be that of a cold start.
pub(crate) const MIN_ITERATIONS: u32 = 3;

/// Hands a workload its runtime, times the iterations and collects the figures.
pub struct Bencher {
    workers: usize,
    budget: Duration,
    ops: u32,
    figures: Vec<(&'static str, f64)>,
}

impl Bencher {
    pub(super) fn new(workers: usize, budget: Duration, ops: u32) -> Self {
        Bencher { workers, budget, ops, figures: Vec::new() }
    }

    /// How many threads of the peer run tasks.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// How long to measure. A budget of nothing asks only whether the workload runs.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// Starts the runtime that the iterations run on.
    pub fn start<P: Peer>(&self) -> P {
        P::start(self.workers)
    }

    /// Warms up, then measures as many iterations as fill the budget: the workload's one figure.
    pub fn iterate(&mut self, mut iteration: impl FnMut()) {
        let iterations = self.iterations_in_budget(self.warm_up(&mut iteration));
        let start = Instant::now();
        for _ in 0..iterations {
            iteration();
        }
        let ns_per_iteration = start.elapsed().as_nanos() as f64 / f64::from(iterations);
        self.report("", ns_per_iteration / f64::from(self.ops));
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

    /// Adds a figure, in nanoseconds, that the workload measured in a way of its own.
    pub fn report(&mut self, figure: &'static str, ns: f64) {
        self.figures.push((figure, ns));
    }

    pub(super) fn reported(&self) -> &[(&'static str, f64)] {
        &self.figures
    }
}
