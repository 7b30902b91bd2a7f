//! Lets the peers take turns, and collects what their processes print.

use super::Workload;
use super::options::{self, ChildOptions, Options};
use super::order::Order;
use crate::PeerName;
use crate::child;

/// Its name, and nanoseconds per operation.
pub(super) type Figure = (&'static str, f64);

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
    rounds: Vec<Vec<Figure>>,
    /// No further rounds: a peer that hangs in a workload would do so in each, up to the time limit.
    failed: bool,
}

impl Cell {
    fn add(&mut self, measured: Result<Vec<Figure>, String>, what: &str) {
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

/// Runs every round. The peers are the innermost loop, in an order that changes: what is compared is measured side by side,
/// and what a process leaves behind meets each of them.
pub(super) fn run(options: &Options, workloads: &[Workload]) -> Results {
    let cells_of = |_| options.peers.iter().map(|_| Cell::default()).collect();
    let mut results = Results { cells: workloads.iter().map(cells_of).collect() };
    let mut order = Order::new();
    for round in 1..=options.rounds {
        if options.verbose {
            eprintln!("round {round} of {}", options.rounds);
        }
        for (workload, cells) in workloads.iter().zip(&mut results.cells) {
            for index in order.shuffled(options.peers.len()) {
                let (peer, cell) = (options.peers[index], &mut cells[index]);
                if !cell.failed {
                    cell.add(measure(options, workload, peer), &format!("{} on {peer}", workload.name));
                }
            }
        }
    }
    results
}

/// The figures of one process.
fn measure(options: &Options, workload: &Workload, peer: PeerName) -> Result<Vec<Figure>, String> {
    measure_with(options, workload, peer, |args| child::run(args, options.workers))
}

/// The figures of a process that is started so.
pub(super) fn measure_with(
    options: &Options,
    workload: &Workload,
    peer: PeerName,
    run: impl FnOnce(&[String]) -> Result<String, String>,
) -> Result<Vec<Figure>, String> {
    let Options { workers, budget, .. } = *options;
    let child = ChildOptions { peer, workload: workload.name.to_owned(), workers, budget };
    let printed = run(&options::child_arguments(&child))?;
    let figure = |name: &&'static str| Some((*name, printed_figure(&printed, &workload.row(name))?));
    let figures: Option<Vec<_>> = workload.figures.iter().map(figure).collect();
    figures.ok_or_else(|| format!("the child did not print every figure, but {printed:?}"))
}

fn printed_figure(printed: &str, row: &str) -> Option<f64> {
    let mut lines = printed.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(name, _)| *name == row).and_then(|(_, ns_per_op)| ns_per_op.parse().ok())
}
