//! The client of every server: a process of its own, with plain threads and blocking sockets, so that it
//! costs the same whoever answers.
//!
//! A thread drives its connections in rounds: it sends a message on each, and then receives the answer on
//! each. Hence many connections need few threads, and the server finds work on several at once.

mod client;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use std::{panic, process, thread};

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

/// What a client has done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// How long an exchange took, after the warm-up.
    pub ns_per_exchange: f64,
    /// How many exchanges there were, those of the warm-up among them.
    pub exchanges: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.ns_per_exchange, self.exchanges)
    }
}

impl FromStr for Done {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ns, exchanges) = text.split_once(' ').ok_or(())?;
        let ns_per_exchange = ns.parse().map_err(|_| ())?;
        Ok(Done { ns_per_exchange, exchanges: exchanges.parse().map_err(|_| ())? })
    }
}

impl Load {
    /// Lets a child process be the client.
    ///
    /// # Errors
    /// If the client fails.
    pub fn run(&self) -> Result<Done, String> {
        let printed = child::run_client(&self.arguments())?;
        printed.trim().parse().map_err(|()| format!("the client printed no figures, but {printed:?}"))
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

/// Is the client, if that is what the command line asks for, and prints what it has [`Done`]. A
/// program whose servers are loaded calls it first and ends if it returns true.
///
/// # Panics
/// If the server does not answer as it should.
pub fn was_asked_for() -> bool {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((FLAG, rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return false;
    };
    end_with_the_first_panic();
    limits::allow_many_files();
    let load = Load::parse(rest).expect("SERVICE ADDRESS CONNECTIONS ms|rounds AMOUNT PAUSE_US");
    println!("{}", exchange(&load));
    true
}

/// The other threads would wait for one that is gone.
fn end_with_the_first_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        process::exit(1);
    }));
}

fn exchange(load: &Load) -> Done {
    let threads = THREADS.min(load.connections);
    let ready = Barrier::new(threads);
    thread::scope(|scope| {
        let spawn = |index| {
            let ready = &ready;
            let connections = (load.connections + index) / threads;
            scope.spawn(move || exchange_on(load, connections, ready))
        };
        let running: Vec<_> = (0..threads).map(spawn).collect();
        let done: Vec<_> =
            running.into_iter().map(|thread| thread.join().expect("the server answers")).collect();
        let per_ns: f64 = done.iter().map(|done| 1.0 / done.ns_per_exchange).sum();
        Done { ns_per_exchange: 1.0 / per_ns, exchanges: done.iter().map(|done| done.exchanges).sum() }
    })
}

/// What one thread does. Those that are ready early wait for the others, before the warm-up and after it.
fn exchange_on(load: &Load, connections: usize, ready: &Barrier) -> Done {
    let mut round = client::connect(load, connections);
    ready.wait();
    let (before, least, budget) = match load.amount {
        Amount::Budget(budget) => {
            (repeat(&mut round, 1, budget / WARM_UP_SHARE, load.pause), MIN_ITERATIONS, budget)
        }
        Amount::Rounds(rounds) => (0, rounds, Duration::ZERO),
    };
    ready.wait();
    let start = Instant::now();
    let rounds = repeat(&mut round, least, budget, load.pause);
    let measured = f64::from(rounds) * connections as f64;
    Done {
        ns_per_exchange: start.elapsed().as_nanos() as f64 / measured,
        exchanges: u64::from(before + rounds) * connections as u64,
    }
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
