//! The command line.

use std::convert::Infallible;
use std::fmt;
use std::slice;
use std::str::FromStr;
use std::time::Duration;

use super::Bench;
use crate::PeerName;
use crate::child::Variant;

const HELP: &str = "\
Run without any argument (as `cargo test --benches` does), it is `--quick`.

  --rounds N            processes per workload and peer, interleaved (7)
  --workers N           threads that run tasks, for every peer (2)
  --only NAME[,NAME]    these workloads
  --peer P[,P]          these peers: ours, tokio, smol
  --budget-ms N         measured time per process (200)
  --versus tokio|smol   ours and this peer, in pairs of processes (101 rounds)
  --versus NAME=VALUE   ours without and with this variable, in pairs of processes (101 rounds)
  --versus PROGRAM      ours and another build of this program, in pairs of processes (101 rounds)
  --quick               one round of a few iterations: checks that everything runs
  --verbose             shows min..max over the rounds, and progress
  --json FILE           writes every round's figures
  --list                shows the workloads
";

pub(super) fn help(bench: &Bench) -> String {
    format!("{} {HELP}", bench.about)
}

/// Processes differ by some per cent from one to the next: so many pairs tell one per cent.
const ROUNDS_OF_PAIRS: usize = 101;

/// What the command line asks for.
pub(super) enum Action {
    Help,
    List,
    /// Be the parent.
    Compare(Options),
    /// Be the parent of pairs.
    Pair(Options, Rival),
    /// Be a child.
    Measure(ChildOptions),
}

/// Whom ours is paired with.
pub(super) enum Rival {
    Peer(PeerName),
    /// Ours, in another way.
    Variant(Variant),
}

impl FromStr for Rival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(PeerName::Ours) => Err("ours against ours says nothing".to_owned()),
            Ok(peer) => Ok(Rival::Peer(peer)),
            Err(_) => text.parse().map(Rival::Variant).map_err(|never: Infallible| match never {}),
        }
    }
}

impl Rival {
    /// The head of its column.
    pub(super) fn name(&self) -> &str {
        match self {
            Rival::Peer(peer) => peer.as_str(),
            Rival::Variant(_) => "variant",
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rival::Peer(peer) => peer.fmt(f),
            Rival::Variant(variant) => write!(f, "the variant {variant}"),
        }
    }
}

pub(super) struct Options {
    pub(super) rounds: usize,
    pub(super) workers: usize,
    pub(super) only: Vec<String>,
    pub(super) peers: Vec<PeerName>,
    pub(super) budget: Duration,
    pub(super) verbose: bool,
    pub(super) json: Option<String>,
}

pub(super) struct ChildOptions {
    pub(super) peer: PeerName,
    pub(super) workload: String,
    pub(super) workers: usize,
    pub(super) budget: Duration,
}

impl Options {
    fn new(bench: &Bench) -> Self {
        Options {
            // Odd, so that the median is a measured figure; seven bear three disturbed rounds.
            rounds: 7,
            workers: 2,
            only: Vec::new(),
            peers: bench.peers.to_vec(),
            // With the warm-up a quarter of a second: tens of iterations of the longest workload, and the
            // whole comparison in two or three minutes.
            budget: Duration::from_millis(200),
            verbose: false,
            json: None,
        }
    }

    fn quick(&mut self) {
        self.rounds = 1;
        self.budget = Duration::ZERO;
    }

    fn check(&mut self, bench: &Bench) -> Result<(), String> {
        if self.rounds == 0 || self.workers == 0 {
            return Err("rounds and workers are at least 1".to_owned());
        }
        if let Some(unable) = self.peers.iter().find(|peer| !bench.peers.contains(peer)) {
            return Err(format!("this benchmark was built without {unable}"));
        }
        // In the order of the tables, whatever the order of the option.
        let asked = std::mem::take(&mut self.peers);
        self.peers = PeerName::ALL.into_iter().filter(|peer| asked.contains(peer)).collect();
        Ok(())
    }
}

/// The arguments by which a parent makes a child measure `child`.
pub(super) fn child_arguments(child: &ChildOptions) -> Vec<String> {
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

pub(super) fn parse(args: &[String], bench: &Bench) -> Result<Action, String> {
    let mut options = Options::new(bench);
    let (mut child, mut versus, mut rounds) = (None, None, None);
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
            "--rounds" => rounds = Some(value(name, &mut rest)?),
            "--workers" => options.workers = value(name, &mut rest)?,
            "--only" => options.only = values(name, &mut rest)?,
            "--peer" => options.peers = values(name, &mut rest)?,
            "--budget-ms" => options.budget = Duration::from_millis(value(name, &mut rest)?),
            "--json" => options.json = Some(value(name, &mut rest)?),
            "--versus" => versus = Some(value(name, &mut rest)?),
            "--child" => child = Some((value(name, &mut rest)?, value(name, &mut rest)?)),
            unknown => return Err(format!("unknown option `{unknown}`\n\n{}", help(bench))),
        }
    }
    if versus.is_some() && (options.json.is_some() || options.peers != bench.peers) {
        return Err("--versus compares ours with one rival: it has no --peer, and no --json".to_owned());
    }
    let usual = if versus.is_some() && !options.budget.is_zero() { ROUNDS_OF_PAIRS } else { options.rounds };
    options.rounds = rounds.unwrap_or(usual);
    options.check(bench)?;
    let Options { workers, budget, .. } = options;
    Ok(match (child, versus) {
        (Some((peer, workload)), _) => Action::Measure(ChildOptions { peer, workload, workers, budget }),
        (None, Some(rival)) => Action::Pair(options, rival),
        (None, None) => Action::Compare(options),
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
