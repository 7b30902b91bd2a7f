//! The command line.

use std::slice;
use std::str::FromStr;
use std::time::Duration;

use runtime_benches::PeerName;

pub(crate) const HELP: &str = "\
Compares schedulers. Run without any argument (as `cargo test --benches` does), it is `--quick`.

  --rounds N            processes per workload and peer, interleaved (7)
  --workers N           threads that run tasks, for every peer (2)
  --only NAME[,NAME]    these workloads
  --peer P[,P]          these peers: ours, tokio, smol
  --budget-ms N         measured time per process (200)
  --quick               one round of a few iterations: checks that everything runs
  --verbose             shows min..max over the rounds, and progress
  --json FILE           writes every round's figures
  --list                shows the workloads
";

/// What the command line asks for.
pub(crate) enum Action {
    Help,
    List,
    /// Be the parent.
    Compare(Options),
    /// Be a child.
    Measure(ChildOptions),
}

pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) workers: usize,
    pub(crate) only: Vec<String>,
    pub(crate) peers: Vec<PeerName>,
    pub(crate) budget: Duration,
    pub(crate) verbose: bool,
    pub(crate) json: Option<String>,
}

pub(crate) struct ChildOptions {
    pub(crate) peer: PeerName,
    pub(crate) workload: String,
    pub(crate) workers: usize,
    pub(crate) budget: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            // Odd, so that the median is a measured figure; seven bear three disturbed rounds.
            rounds: 7,
            workers: 2,
            only: Vec::new(),
            peers: PeerName::ALL.to_vec(),
            // With the warm-up a quarter of a second: tens of iterations of the longest workload, and the
            // whole comparison in about two minutes.
            budget: Duration::from_millis(200),
            verbose: false,
            json: None,
        }
    }
}

impl Options {
    fn quick(&mut self) {
        self.rounds = 1;
        self.budget = Duration::ZERO;
    }

    fn check(&mut self) -> Result<(), String> {
        if self.rounds == 0 || self.workers == 0 {
            return Err("rounds and workers are at least 1".to_owned());
        }
        // In the order of the tables, whatever the order of the option.
        let asked = std::mem::take(&mut self.peers);
        self.peers = PeerName::ALL.into_iter().filter(|peer| asked.contains(peer)).collect();
        Ok(())
    }
}

/// The arguments by which a parent makes a child measure `child`.
pub(crate) fn child_arguments(child: &ChildOptions) -> Vec<String> {
    let ChildOptions { peer, workload, workers, budget } = child;
    let budget_ms = budget.as_millis();
    [
        "--child".to_owned(),
        peer.to_string(),
        workload.clone(),
        "--workers".to_owned(),
        workers.to_string(),
        "--budget-ms".to_owned(),
        budget_ms.to_string(),
    ]
    .to_vec()
}

pub(crate) fn parse(args: &[String]) -> Result<Action, String> {
    let mut options = Options::default();
    let mut child = None;
    if args.is_empty() {
        options.quick();
    }
    let mut rest = args.iter();
    while let Some(name) = rest.next() {
        match name.as_str() {
            "--help" | "-h" => return Ok(Action::Help),
            "--list" => return Ok(Action::List),
            // Cargo says this to every benchmark.
            "--bench" => {}
            "--quick" => options.quick(),
            "--verbose" | "-v" => options.verbose = true,
            "--rounds" => options.rounds = value(name, &mut rest)?,
            "--workers" => options.workers = value(name, &mut rest)?,
            "--only" => options.only = values(name, &mut rest)?,
            "--peer" => options.peers = values(name, &mut rest)?,
            "--budget-ms" => options.budget = Duration::from_millis(value(name, &mut rest)?),
            "--json" => options.json = Some(value(name, &mut rest)?),
            "--child" => child = Some((value(name, &mut rest)?, value(name, &mut rest)?)),
            unknown => return Err(format!("unknown option `{unknown}`\n\n{HELP}")),
        }
    }
    options.check()?;
    let Options { workers, budget, .. } = options;
    Ok(match child {
        Some((peer, workload)) => Action::Measure(ChildOptions { peer, workload, workers, budget }),
        None => Action::Compare(options),
    })
}

fn value<T>(name: &str, rest: &mut slice::Iter<'_, String>) -> Result<T, String>
where
    T: FromStr,
    T::Err: ToString,
{
    let text = rest.next().ok_or_else(|| format!("{name} wants a value"))?;
    text.parse().map_err(|error: T::Err| format!("{name} {text}: {}", error.to_string()))
}

fn values<T>(name: &str, rest: &mut slice::Iter<'_, String>) -> Result<Vec<T>, String>
where
    T: FromStr,
    T::Err: ToString,
{
    let list: String = value(name, rest)?;
    list.split(',').map(|item| value(name, &mut [item.to_owned()].iter())).collect()
}
