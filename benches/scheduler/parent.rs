//! Lets the peers take turns, and collects what their processes print.

use runtime_benches::{PeerName, child};

use crate::options::{self, ChildOptions, Options};
use crate::workloads::Workload;

/// Every figure of a comparison.
pub(crate) struct Results {
    /// By workload, then by peer, in the order of the selection and of the options.
    pub(crate) cells: Vec<Vec<Cell>>,
}

impl Results {
    pub(crate) fn failures(&self) -> usize {
        self.cells.iter().flatten().filter(|cell| cell.failed).count()
    }
}

/// The rounds of one workload on one peer.
#[derive(Default)]
pub(crate) struct Cell {
    /// Nanoseconds per operation, one figure per round that succeeded.
    pub(crate) rounds: Vec<f64>,
    /// No further rounds: a peer that hangs in a workload would do so in each, up to the time limit.
    failed: bool,
}

impl Cell {
    fn add(&mut self, measured: Result<f64, String>, what: &str) {
        match measured {
            Ok(ns_per_op) => self.rounds.push(ns_per_op),
            Err(error) => {
                eprintln!("{what}: {error}");
                self.failed = true;
            }
        }
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
        Some((sorted[low] + sorted[high]) / 2.0)
    }

    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let min = self.rounds.iter().copied().reduce(f64::min)?;
        let max = self.rounds.iter().copied().reduce(f64::max)?;
        Some((min, max))
    }
}

/// Runs every round. The peers are the innermost loop: what is compared is measured side by side.
pub(crate) fn run(options: &Options, workloads: &[Workload]) -> Results {
    let cells_of = |_| options.peers.iter().map(|_| Cell::default()).collect();
    let mut results = Results { cells: workloads.iter().map(cells_of).collect() };
    for round in 1..=options.rounds {
        if options.verbose {
            eprintln!("round {round} of {}", options.rounds);
        }
        for (workload, cells) in workloads.iter().zip(&mut results.cells) {
            for (&peer, cell) in options.peers.iter().zip(cells) {
                if !cell.failed {
                    cell.add(measure(options, workload, peer), &format!("{} on {peer}", workload.name));
                }
            }
        }
    }
    results
}

fn measure(options: &Options, workload: &Workload, peer: PeerName) -> Result<f64, String> {
    let Options { workers, budget, .. } = *options;
    let child = ChildOptions { peer, workload: workload.name.to_owned(), workers, budget };
    let printed = child::run(&options::child_arguments(&child), workers)?;
    printed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == workload.name)
        .and_then(|(_, ns_per_op)| ns_per_op.parse().ok())
        .ok_or_else(|| format!("the child printed no figure, but {printed:?}"))
}
