//! Lets the peers take turns, and collects what their processes print.

use super::Workload;
use super::options::{self, ChildOptions, Options};
use crate::PeerName;
use crate::child::{self, Variant};

/// Every figure of a comparison.
pub(super) struct Results {
    /// By workload, then by peer, in the order of the selection and of the options.
    pub(super) cells: Vec<Vec<Cell>>,
}

impl Results {
    pub(super) fn failures(&self) -> usize {
        self.cells.iter().flatten().filter(|cell| cell.failed).count()
    }
}

/// The rounds of one workload on one peer.
#[derive(Default)]
pub(super) struct Cell {
    /// The figures of each round that succeeded, by name.
    rounds: Vec<Vec<(&'static str, f64)>>,
    /// No further rounds: a peer that hangs in a workload would do so in each, up to the time limit.
    failed: bool,
}

impl Cell {
    fn add(&mut self, measured: Result<Vec<(&'static str, f64)>, String>, what: &str) {
        match measured {
            Ok(figures) => self.rounds.push(figures),
            Err(error) => {
                eprintln!("{what}: {error}");
                self.failed = true;
            }
        }
    }

    /// What each round measured of `figure`, in nanoseconds per operation.
    pub(super) fn rounds(&self, figure: &str) -> Vec<f64> {
        let all = self.rounds.iter().flatten();
        all.filter(|(name, _)| *name == figure).map(|(_, ns_per_op)| *ns_per_op).collect()
    }

    pub(super) fn median(&self, figure: &str) -> Option<f64> {
        median(&mut self.rounds(figure))
    }

    pub(super) fn spread(&self, figure: &str) -> Option<(f64, f64)> {
        let rounds = self.rounds(figure);
        let min = rounds.iter().copied().reduce(f64::min)?;
        let max = rounds.iter().copied().reduce(f64::max)?;
        Some((min, max))
    }
}

/// The middle one; between the middle two of an even number. Sorts the figures.
pub(super) fn median(figures: &mut [f64]) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures[low] + figures[high]) / 2.0)
}

/// Runs every round. The peers are the innermost loop: what is compared is measured side by side.
pub(super) fn run(options: &Options, workloads: &[Workload]) -> Results {
    let cells_of = |_| options.peers.iter().map(|_| Cell::default()).collect();
    let mut results = Results { cells: workloads.iter().map(cells_of).collect() };
    for round in 1..=options.rounds {
        if options.verbose {
            eprintln!("round {round} of {}", options.rounds);
        }
        for (workload, cells) in workloads.iter().zip(&mut results.cells) {
            for (&peer, cell) in options.peers.iter().zip(cells) {
                if !cell.failed {
                    cell.add(measure(options, workload, peer, None), &format!("{} on {peer}", workload.name));
                }
            }
        }
    }
    results
}

/// The figures of one process.
pub(super) fn measure(
    options: &Options,
    workload: &Workload,
    peer: PeerName,
    variant: Option<&Variant>,
) -> Result<Vec<(&'static str, f64)>, String> {
    let Options { workers, budget, .. } = *options;
    let child = ChildOptions { peer, workload: workload.name.to_owned(), workers, budget };
    let printed = child::run_variant(&options::child_arguments(&child), workers, variant)?;
    let figure = |name: &&'static str| Some((*name, printed_figure(&printed, &workload.row(name))?));
    let figures: Option<Vec<_>> = workload.figures.iter().map(figure).collect();
    figures.ok_or_else(|| format!("the child did not print every figure, but {printed:?}"))
}

fn printed_figure(printed: &str, row: &str) -> Option<f64> {
    let mut lines = printed.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(name, _)| *name == row).and_then(|(_, ns_per_op)| ns_per_op.parse().ok())
}
