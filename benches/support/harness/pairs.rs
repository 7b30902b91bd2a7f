//! Compares ours with a variant of itself, where the difference is smaller than that from one process to the next.
//!
//! A pair is two processes, one after the other, the variant first in every other round. Each pair has a ratio, the figure
//! of a row is the median of its ratios, and the interval is where the median of many more pairs lies with a probability
//! of 95 %. It comes from the ranks alone (the sign test), whatever the distribution.

use std::fmt::Write;

use super::Workload;
use super::options::Options;
use super::parent::{measure, median};
use crate::PeerName;
use crate::child::Variant;

/// Half the width of an interval that holds 95 % of a normal distribution, in standard deviations.
const SIGMAS: f64 = 1.96;

/// One row of the table.
pub(super) struct Row {
    name: String,
    /// Nanoseconds of ours and of the variant, by round.
    pairs: Vec<(f64, f64)>,
    /// Whether it counts in the mean: one row for each workload.
    counts: bool,
}

/// Runs every round.
///
/// # Errors
/// The first that a process ends with.
pub(super) fn run(options: &Options, workloads: &[Workload], variant: &Variant) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Vec<Row>> = workloads.iter().map(rows_of).collect();
    for round in 1..=options.rounds {
        if options.verbose {
            eprintln!("round {round} of {}", options.rounds);
        }
        for (workload, rows) in workloads.iter().zip(&mut rows) {
            let one = |variant| {
                measure(options, workload, PeerName::Ours, variant)
                    .map_err(|error| format!("{}: {error}", workload.name))
            };
            let (ours, theirs) = if round % 2 == 0 {
                let theirs = one(Some(variant))?;
                (one(None)?, theirs)
            } else {
                (one(None)?, one(Some(variant))?)
            };
            for (row, (ours, theirs)) in rows.iter_mut().zip(ours.into_iter().zip(theirs)) {
                row.pairs.push((ours.1, theirs.1));
            }
        }
    }
    Ok(rows.into_iter().flatten().collect())
}

fn rows_of(workload: &Workload) -> Vec<Row> {
    let figures = workload.figures.iter().enumerate();
    figures
        .map(|(index, figure)| Row { name: workload.row(figure), pairs: Vec::new(), counts: index == 0 })
        .collect()
}

/// The rows, and the mean over them.
pub(super) fn table(rows: &[Row]) -> String {
    let mut out =
        format!("{:<26}{:>12}{:>12}{:>14}{:>18}\n", "workload", "ours", "variant", "variant/ours", "95 %");
    for row in rows {
        let side = |of: fn(&(f64, f64)) -> f64| {
            median(&mut row.pairs.iter().map(of).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        };
        let (ours, theirs) = (side(|pair| pair.0), side(|pair| pair.1));
        writeln!(out, "{:<26}{ours:>12.1}{theirs:>12.1}{}", row.name, interval(&mut row.ratios()))
            .expect("a String takes everything");
    }
    writeln!(out, "{:<50}{}", "geometric mean", interval(&mut means(rows)))
        .expect("a String takes everything");
    out
}

impl Row {
    fn ratios(&self) -> Vec<f64> {
        self.pairs.iter().map(|(ours, theirs)| theirs / ours).collect()
    }
}

/// The geometric mean over the workloads, by round.
fn means(rows: &[Row]) -> Vec<f64> {
    let of_each: Vec<_> = rows.iter().filter(|row| row.counts).map(Row::ratios).collect();
    let rounds = of_each.first().map_or(0, Vec::len);
    let logarithms = |round: usize| of_each.iter().map(move |ratios| ratios[round].ln());
    (0..rounds).map(|round| (logarithms(round).sum::<f64>() / of_each.len() as f64).exp()).collect()
}

/// The median of the ratios and its interval.
fn interval(ratios: &mut [f64]) -> String {
    let Some(middle) = median(ratios) else { return "-".to_owned() };
    // `median` has sorted them.
    let count = ratios.len() as f64;
    let low = ((count - SIGMAS * count.sqrt()) / 2.0).floor().max(0.0) as usize;
    let high = ratios.len() - 1 - low;
    let bounds = format!("{:.3}..{:.3}", ratios[low.min(high)], ratios[high.max(low)]);
    format!("{middle:>14.3}{bounds:>18}")
}
