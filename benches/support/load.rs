//! The client of every server: a process of its own, with plain threads and blocking sockets, so that it
//! costs the same whoever answers.
//!
//! A thread drives its connections in rounds: it sends a message on each, and then receives the answer on
//! each. Hence many connections need few threads, and the server finds work on several at once.

mod client;

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::child;
use crate::harness::{MIN_ITERATIONS, WARM_UP_SHARE};
use crate::limits;
use crate::serve::Service;

/// As many as the workers that they keep busy.
const THREADS: usize = 2;

/// The argument by which a program is told to be the client. The others are a [`Load`]'s.
const FLAG: &str = "--load";

/// What a client does.
pub struct Load {
    /// What the server does.
    pub service: Service,
    /// Where it is.
    pub address: SocketAddr,
    /// How many connections there are at any time.
    pub connections: usize,
    /// How long it goes on.
    pub amount: Amount,
    /// How long a thread waits after each round.
    pub pause: Duration,
}

/// An amount of load.
#[derive(Clone, Copy)]
pub enum Amount {
    /// As many rounds as fit, after a warm-up.
    Budget(Duration),
    /// So many, and none before them.
    Rounds(u32),
}

impl Load {
    /// Lets a child process be the client, and returns the nanoseconds per exchange.
    ///
    /// # Errors
    /// If the client fails.
    pub fn run(&self) -> Result<f64, String> {
        // The number of threads is for peers, of which the client has none.
        let printed = child::run(&self.arguments(), 1)?;
        let ns = printed.trim().parse();
        ns.map_err(|_| format!("the client printed no figure, but {printed:?}"))
    }

    fn arguments(&self) -> Vec<String> {
        let (kind, amount) = match self.amount {
            Amount::Budget(budget) => ("ms", budget.as_millis()),
            Amount::Rounds(rounds) => ("rounds", rounds.into()),
        };
        let Load { service, address, connections, pause, .. } = self;
        let line = format!("{FLAG} {service} {address} {connections} {kind} {amount} {}", pause.as_micros());
        line.split(' ').map(str::to_owned).collect()
    }

    fn parse(args: &[String]) -> Option<Load> {
        let [service, address, connections, kind, amount, pause] = args else { return None };
        let amount = match kind.as_str() {
            "ms" => Amount::Budget(Duration::from_millis(amount.parse().ok()?)),
            "rounds" => Amount::Rounds(amount.parse().ok()?),
            _ => return None,
        };
        Some(Load {
            service: service.parse().ok()?,
            address: address.parse().ok()?,
            connections: connections.parse().ok().filter(|connections| *connections > 0)?,
            amount,
            pause: Duration::from_micros(pause.parse().ok()?),
        })
    }
}

/// Is the client, if that is what the command line asks for, and prints the nanoseconds per exchange. A
/// program whose servers are loaded calls it first and ends if it returns true.
///
/// # Panics
/// If the server does not answer as it should.
pub fn was_asked_for() -> bool {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((FLAG, rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return false;
    };
    limits::allow_many_files();
    let load = Load::parse(rest).expect("SERVICE ADDRESS CONNECTIONS ms|rounds AMOUNT PAUSE_US");
    println!("{}", ns_per_exchange(&load));
    true
}

fn ns_per_exchange(load: &Load) -> f64 {
    let threads = THREADS.min(load.connections);
    let ready = Barrier::new(threads);
    let per_ns: f64 = thread::scope(|scope| {
        let spawn = |index| {
            let ready = &ready;
            let connections = (load.connections + index) / threads;
            scope.spawn(move || exchanges_per_ns(load, connections, ready))
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().expect("the server answers")).sum()
    });
    1.0 / per_ns
}

fn exchanges_per_ns(load: &Load, connections: usize, ready: &Barrier) -> f64 {
    let mut round = client::connect(load, connections);
    ready.wait();
    let (least, budget) = match load.amount {
        Amount::Budget(budget) => {
            repeat(&mut round, 1, budget / WARM_UP_SHARE, load.pause);
            (MIN_ITERATIONS, budget)
        }
        Amount::Rounds(rounds) => (rounds, Duration::ZERO),
    };
    let start = Instant::now();
    let rounds = repeat(&mut round, least, budget, load.pause);
    f64::from(rounds) * connections as f64 / start.elapsed().as_nanos() as f64
}

/// At least `least` rounds, for at least as long as `budget`. Returns how many.
fn repeat(round: &mut impl FnMut(), least: u32, budget: Duration, pause: Duration) -> u32 {
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < least || start.elapsed() < budget {
        round();
        rounds += 1;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    rounds
}
