//! The scheduler's workloads on this runtime, on tokio and on smol.
//!
//! ```text
//! cargo bench -p runtime-benches --bench scheduler -- [OPTIONS]
//! ```
//!
//! `--help` lists the options and `--list` the workloads.
//!
//! # Shape
//! ```text
//! parent                                     child (this program again)
//! for each round, workload and peer ──────▶  start the peer, warm up, measure for a fifth of a second
//! medians and ratios              ◀────────  "workload ns_per_op"
//! ```
//! A child measures one workload on one peer. The peers take turns (ours, tokio, smol, ours, ...), so that
//! a drift of the machine's speed meets all of them alike, and the figure of a peer is the median over the
//! rounds.

mod bencher;
mod options;
mod parent;
mod report;
mod workloads;

use std::process::ExitCode;

use runtime_benches::{Ours, Peer, PeerName, Smol, Tokio};

use bencher::Bencher;
use options::{Action, ChildOptions, Options};
use workloads::Workload;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match options::parse(&args).and_then(perform) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn perform(action: Action) -> Result<(), String> {
    match action {
        Action::Help => print!("{}", options::HELP),
        Action::List => print!("{}", report::list(&workloads::all::<Ours>())),
        Action::Measure(child) => measure(&child)?,
        Action::Compare(options) => compare(&options)?,
    }
    Ok(())
}

fn compare(options: &Options) -> Result<(), String> {
    let selected = select(&options.only)?;
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

/// The workloads called `names`, or all of them if there are no names.
fn select(names: &[String]) -> Result<Vec<Workload>, String> {
    let mut all = workloads::all::<Ours>();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|workload| workload.name != **name)) {
        return Err(format!("no workload is called `{unknown}`; `--list` shows them"));
    }
    if !names.is_empty() {
        all.retain(|workload| names.iter().any(|name| name == workload.name));
    }
    Ok(all)
}

fn measure(child: &ChildOptions) -> Result<(), String> {
    match child.peer {
        PeerName::Ours => measure_on::<Ours>(child),
        PeerName::Tokio => measure_on::<Tokio>(child),
        PeerName::Smol => measure_on::<Smol>(child),
    }
}

fn measure_on<P: Peer>(child: &ChildOptions) -> Result<(), String> {
    let workload = workloads::all::<P>()
        .into_iter()
        .find(|workload| workload.name == child.workload)
        .ok_or_else(|| format!("no workload is called `{}`", child.workload))?;
    let mut bencher = Bencher::new(child.workers, child.budget);
    (workload.run)(&mut bencher);
    println!("{} {}", workload.name, bencher.ns_per_iteration() / workload.ops as f64);
    Ok(())
}
