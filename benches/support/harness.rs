//! Measures workloads on peers in child processes, and compares the peers.
//!
//! ```text
//! parent                                     child (this program again)
//! for each round, workload and peer ──────▶  start the peer, warm up, measure for a fifth of a second
//! medians and ratios              ◀────────  "workload ns_per_op"
//! ```
//! A child measures one workload on one peer. The peers take turns, in an order that changes from round to round, so that
//! a drift of the machine's speed meets all of them alike, and the figure of a peer is the median over the
//! rounds. Where two are close, `--versus` decides: it looks at pairs of processes, and says how sure it is.

mod bencher;
mod options;
mod order;
mod pairs;
mod parent;
mod report;
mod workload;

use std::process::ExitCode;

pub use self::bencher::Bencher;
pub(crate) use self::bencher::{MIN_ITERATIONS, WARM_UP_SHARE};
pub use self::workload::{ONE_FIGURE, Workload};

use self::options::{Action, ChildOptions, Options, Rival};
use crate::PeerName;

/// A benchmark program.
pub struct Bench {
    /// What it does, the first line of its help.
    pub about: &'static str,
    /// The peers that it can measure.
    pub peers: &'static [PeerName],
    /// The workloads, compiled for the given peer, which is one of `peers`. The same ones in the same order
    /// for each.
    pub workloads: fn(PeerName) -> Vec<Workload>,
}

/// Does what the command line asks of `bench`.
pub fn main(bench: &Bench) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match options::parse(&args, bench).and_then(|action| perform(bench, action)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn perform(bench: &Bench, action: Action) -> Result<(), String> {
    match action {
        Action::Help => print!("{}", options::help(bench)),
        Action::List => print!("{}", report::list(&all(bench))),
        Action::Pair(options, rival) => pair(bench, &options, &rival)?,
        Action::Measure(child) => measure(bench, &child)?,
        Action::Compare(options) => compare(bench, &options)?,
    }
    Ok(())
}

fn compare(bench: &Bench, options: &Options) -> Result<(), String> {
    let selected = select(bench, &options.only)?;
    print!("{}", report::header(options));
    let results = parent::run(options, &selected);
    print!("{}", report::table(options, &selected, &results));
    if let Some(path) = &options.json {
        std::fs::write(path, report::json(options, &selected, &results))
            .map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    match results.failures() {
        0 => Ok(()),
        failures => Err(format!("{failures} pairs of workload and peer failed")),
    }
}

fn pair(bench: &Bench, options: &Options, rival: &Rival) -> Result<(), String> {
    let selected = select(bench, &options.only)?;
    println!("ours and {rival}, in pairs");
    print!("{}", report::header(options));
    let (rows, ended) = pairs::run(options, &selected, rival);
    print!("{}", pairs::table(&rows, rival));
    ended
}

/// The workloads as they are listed: for whom they are compiled makes no difference.
fn all(bench: &Bench) -> Vec<Workload> {
    (bench.workloads)(bench.peers[0])
}

/// The workloads called `names`, or all of them if there are no names.
fn select(bench: &Bench, names: &[String]) -> Result<Vec<Workload>, String> {
    let mut all = all(bench);
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|workload| workload.name != **name)) {
        return Err(format!("no workload is called `{unknown}`; `--list` shows them"));
    }
    if !names.is_empty() {
        all.retain(|workload| names.iter().any(|name| name == workload.name));
    }
    Ok(all)
}

fn measure(bench: &Bench, child: &ChildOptions) -> Result<(), String> {
    let workload = (bench.workloads)(child.peer)
        .into_iter()
        .find(|workload| workload.name == child.workload)
        .ok_or_else(|| format!("no workload is called `{}`", child.workload))?;
    let mut bencher = Bencher::new(child.workers, child.budget, workload.ops);
    (workload.run)(&mut bencher);
    for (figure, ns) in bencher.reported() {
        println!("{} {ns}", workload.row(figure));
    }
    Ok(())
}
