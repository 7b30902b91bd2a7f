//! The hello server of the benchmarks as a program, for load generators that we did not write.
//!
//! ```sh
//! cargo run --release -p runtime-benches --bin hello -- --peer tokio          # HTTP/1.1 and nothing else
//! cargo run --release -p runtime-benches --bin hello -- --peer tokio --http   # as the example `http`
//! wrk -t2 -c64 -d10s --latency http://ADDRESS/
//! ```
//! `tests/clients.sh --long` compares the peers in this way.

use std::process::ExitCode;
use std::thread;

use runtime_benches::serve::{self, Service};
use runtime_benches::{Net, Ours, PeerName, Smol, Tokio};

const USAGE: &str = "\
usage: hello --peer ours|tokio|smol [--http]

Prints its address and serves until it is killed, with two workers; smol takes its number of threads from SMOL_THREADS.
";

/// As everywhere in the benchmarks.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (peer, service) = match args.as_slice() {
        ["--peer", peer] => (peer.parse::<PeerName>(), Service::Hello),
        ["--peer", peer, "--http"] => (peer.parse(), Service::Http),
        _ => (Err("which peer?".to_owned()), Service::Hello),
    };
    match peer {
        Ok(PeerName::Ours) => serve_for_ever::<Ours>(service),
        Ok(PeerName::Tokio) => serve_for_ever::<Tokio>(service),
        Ok(PeerName::Smol) => serve_for_ever::<Smol>(service),
        Err(reason) => {
            eprint!("hello: {reason}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve_for_ever<P: Net>(service: Service) -> ExitCode {
    let peer = P::start_with_drivers(WORKERS);
    println!("listening on {}", serve::start(&peer, service));
    loop {
        thread::park();
    }
}
