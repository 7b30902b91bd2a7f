//! Compares ours with a rival, a peer or a variant of itself, where the difference is smaller than that from one process to
//! the next.
//!
//! A pair is two processes, one after the other; which of them is the first is left to chance. Each pair has a ratio, the
//! figure of a row is the median of its ratios, and the interval is where the median of many more pairs lies with a
//! probability of 95 %. It comes from the ranks alone (the sign test), whatever the distribution.
//!
//! The two are level if the interval lies within [`LEVEL`] of one. An interval that neither does nor lies on one side of
//! one decides nothing: more pairs make it narrower, with the root of their number.

use std::fmt::Write;

use super::Workload;
use super::options::{Options, Rival};
use super::order::Order;
use super::parent::{Figure, measure_with, median};
use crate::PeerName;
use crate::child;

/// A difference that nobody would notice.
const LEVEL: f64 = 0.02;

/// How often the median lies outside of the interval.
const MISSED: f64 = 0.05;

/// One row of the table.
pub(super) struct Row {
    name: String,
    /// Nanoseconds of ours and of the rival, by round.
    pairs: Vec<(f64, f64)>,
    /// Whether it counts in the mean: one row for each workload.
    counts: bool,
}

/// Runs every round, up to the first process that fails: the rows, and what that one said.
pub(super) fn run(
    options: &Options,
    workloads: &[Workload],
    rival: &Rival,
) -> (Vec<Row>, Result<(), String>) {
    let mut rows: Vec<Vec<Row>> = workloads.iter().map(rows_of).collect();
    let ended = run_rounds(options, workloads, rival, &mut rows);
    (rows.into_iter().flatten().collect(), ended)
}

fn run_rounds(
    options: &Options,
    workloads: &[Workload],
    rival: &Rival,
    rows: &mut [Vec<Row>],
) -> Result<(), String> {
    let mut order = Order::new();
    for round in 1..=options.rounds {
        if options.verbose {
            eprintln!("round {round} of {}", options.rounds);
        }
        for (workload, rows) in workloads.iter().zip(&mut *rows) {
            let mut sides = [Vec::new(), Vec::new()];
            for side in order.shuffled(2) {
                sides[side] = one(options, workload, rival, side == 1)
                    .map_err(|error| format!("{}: {error}", workload.name))?;
            }
            let [ours, theirs] = sides;
            for (row, (ours, theirs)) in rows.iter_mut().zip(ours.into_iter().zip(theirs)) {
                row.pairs.push((ours.1, theirs.1));
            }
        }
    }
    Ok(())
}

fn one(options: &Options, workload: &Workload, rival: &Rival, is_rival: bool) -> Result<Vec<Figure>, String> {
    let workers = options.workers;
    match rival {
        Rival::Peer(peer) if is_rival => {
            measure_with(options, workload, *peer, |args| child::run(args, workers))
        }
        Rival::Peer(_) => measure_with(options, workload, PeerName::Ours, |args| child::run(args, workers)),
        Rival::Variant(variant) => measure_with(options, workload, PeerName::Ours, |args| {
            child::run_side(args, workers, variant, is_rival)
        }),
    }
}

fn rows_of(workload: &Workload) -> Vec<Row> {
    let figures = workload.figures.iter().enumerate();
    figures
        .map(|(index, figure)| Row { name: workload.row(figure), pairs: Vec::new(), counts: index == 0 })
        .collect()
}

/// The rows, and the mean over them.
pub(super) fn table(rows: &[Row], rival: &Rival) -> String {
    let name = rival.name();
    let ratio = format!("{name}/ours");
    let mut out = format!("{:<26}{:>12}{name:>12}{ratio:>14}{:>18}  ours is\n", "workload", "ours", "95 %");
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
    // Whoever failed in a round left it to those before it alone.
    let rounds = of_each.iter().map(Vec::len).min().unwrap_or(0);
    let logarithms = |round: usize| of_each.iter().map(move |ratios| ratios[round].ln());
    (0..rounds).map(|round| (logarithms(round).sum::<f64>() / of_each.len() as f64).exp()).collect()
}

/// The median of the ratios, its interval, and what that says of ours.
fn interval(ratios: &mut [f64]) -> String {
    let Some(middle) = median(ratios) else { return format!("{:>14}", "-") };
    let Some(rank) = outer_rank(ratios.len()) else { return format!("{middle:>14.3}{:>18}", "-") };
    // `median` has sorted them.
    let (low, high) = (ratios[rank], ratios[ratios.len() - 1 - rank]);
    let bounds = format!("{low:.3}..{high:.3}");
    format!("{middle:>14.3}{bounds:>18}  {}", verdict(low, high))
}

/// How many of the smallest, and of the largest, of `count` figures lie outside of an interval that holds their median with
/// a probability of 95 %: as many heads are thrown as seldom. `None` if all of them are too few for that.
fn outer_rank(count: usize) -> Option<usize> {
    let (mut throws, mut at_most, mut rank) = (0.5_f64.powi(count as i32), 0.0, 0);
    loop {
        at_most += throws;
        if 2.0 * at_most > MISSED || rank > count / 2 {
            return rank.checked_sub(1);
        }
        throws *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
}

/// What an interval of rival/ours says of ours. "Level" first: a difference that is sure may still be too small to matter.
fn verdict(low: f64, high: f64) -> &'static str {
    if low >= 1.0 - LEVEL && high <= 1.0 + LEVEL {
        "level"
    } else if low > 1.0 {
        "faster"
    } else if high < 1.0 {
        "slower"
    } else {
        "undecided"
    }
}
