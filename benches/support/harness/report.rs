//! Turns figures into tables and JSON.

use std::fmt::Write;
use std::fs;
use std::thread;

use super::Workload;
use super::options::Options;
use super::parent::{Cell, Results};
use crate::PeerName;

/// A ratio of the table: its head, and whom it compares with us.
const RATIOS: [(&str, &[PeerName]); 3] = [
    ("tokio/ours", &[PeerName::Tokio]),
    ("smol/ours", &[PeerName::Smol]),
    ("faster/ours", &[PeerName::Tokio, PeerName::Smol]),
];

/// The workloads, one a line.
pub(super) fn list(workloads: &[Workload]) -> String {
    let stars = workloads.iter().any(|workload| workload.of_the_ten);
    let stars = if stars { " (* = of the ten)" } else { "" };
    let mut out = format!("workload{stars}, operations per iteration, operation; source\n");
    for workload in workloads {
        let Workload { name, op, ops, source, .. } = workload;
        let star = star(workload);
        writeln!(out, "{star} {name:<24} {ops:>7}  {op}; {source}").expect("a String takes everything");
    }
    out
}

/// What a reader must know to judge the figures.
pub(super) fn header(options: &Options) -> String {
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let mut out = format!("machine: {cpus} CPUs, {}\n", cpu_model());
    let Options { rounds, workers, budget, .. } = options;
    writeln!(out, "{workers} workers, median of {rounds} rounds of {budget:?}; ns per operation")
        .expect("a String takes everything");
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("RUNTIME_BENCH_")) {
        writeln!(out, "with {name}={value}").expect("a String takes everything");
    }
    if cfg!(debug_assertions) {
        out.push_str("NOT OPTIMIZED: the figures mean nothing\n");
    }
    out.push('\n');
    out
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model).to_owned()
}

/// The table, and below it the geometric means over the ten.
pub(super) fn table(options: &Options, workloads: &[Workload], results: &Results) -> String {
    let mut out = format!("{:<26}", "workload");
    for peer in &options.peers {
        write!(out, "{peer:>12}").expect("a String takes everything");
        if options.verbose {
            write!(out, "{:>24}", "min..max").expect("a String takes everything");
        }
    }
    for (head, _) in RATIOS {
        write!(out, "{head:>12}").expect("a String takes everything");
    }
    out.push('\n');
    for (workload, cells) in workloads.iter().zip(&results.cells) {
        for figure in workload.figures {
            out.push_str(&line(options, workload, figure, cells));
        }
    }
    for (head, rivals) in RATIOS {
        out.push_str(&mean_over_the_ten(options, workloads, results, head, rivals));
    }
    out
}

fn line(options: &Options, workload: &Workload, figure: &str, cells: &[Cell]) -> String {
    let mut out = format!("{} {:<24}", star(workload), workload.row(figure));
    for cell in cells {
        write!(out, "{:>12}", number(cell.median(figure))).expect("a String takes everything");
        if options.verbose {
            let spread = cell.spread(figure).map(|(min, max)| format!("{min:.1}..{max:.1}"));
            write!(out, "{:>24}", spread.unwrap_or_default()).expect("a String takes everything");
        }
    }
    for (_, rivals) in RATIOS {
        write!(out, "{:>12}", factor(ratio(options, figure, cells, rivals)))
            .expect("a String takes everything");
    }
    out.push('\n');
    out
}

/// How many times as long as ours the fastest of `rivals` takes. Nothing if one of them has no figure.
fn ratio(options: &Options, figure: &str, cells: &[Cell], rivals: &[PeerName]) -> Option<f64> {
    let median_of = |peer| {
        let index = options.peers.iter().position(|candidate| *candidate == peer)?;
        cells[index].median(figure)
    };
    let mut fastest = f64::INFINITY;
    for &rival in rivals {
        fastest = fastest.min(median_of(rival)?);
    }
    Some(fastest / median_of(PeerName::Ours)?)
}

fn mean_over_the_ten(
    options: &Options,
    workloads: &[Workload],
    results: &Results,
    head: &str,
    rivals: &[PeerName],
) -> String {
    let ratios: Vec<f64> = workloads
        .iter()
        .zip(&results.cells)
        .filter(|(workload, _)| workload.of_the_ten)
        .filter_map(|(workload, cells)| ratio(options, workload.figures[0], cells, rivals))
        .collect();
    if ratios.is_empty() {
        return String::new();
    }
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    format!("geometric mean of {head} over {} of the ten (*): {mean:.2}\n", ratios.len())
}

/// Every round's figure, for whoever wants to compute something else.
pub(super) fn json(options: &Options, workloads: &[Workload], results: &Results) -> String {
    let mut lines = Vec::new();
    for (workload, cells) in workloads.iter().zip(&results.cells) {
        for figure in workload.figures {
            lines.push(json_line(options, workload, figure, cells));
        }
    }
    format!(
        "{{\n  \"cpu\": {:?},\n  \"workers\": {},\n  \"rounds\": {},\n  \"workloads\": [\n{}\n  ]\n}}\n",
        cpu_model(),
        options.workers,
        options.rounds,
        lines.join(",\n"),
    )
}

fn json_line(options: &Options, workload: &Workload, figure: &str, cells: &[Cell]) -> String {
    let peers: Vec<String> = options
        .peers
        .iter()
        .zip(cells)
        .map(|(peer, cell)| format!("\"{peer}\": {:?}", cell.rounds(figure)))
        .collect();
    let (name, of_the_ten, ns_per_op) = (workload.row(figure), workload.of_the_ten, peers.join(", "));
    format!("    {{\"name\": \"{name}\", \"of_the_ten\": {of_the_ten}, \"ns_per_op\": {{{ns_per_op}}}}}")
}

fn star(workload: &Workload) -> char {
    if workload.of_the_ten { '*' } else { ' ' }
}

fn number(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"))
}

fn factor(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}
