//! Performs operations of a peer for `tests/syscalls.sh`, which counts their system calls.
//!
//! A server runs in this process and its client in another, which is not traced:
//! ```text
//! strace -f -c syscalls 2 serve tokio echo        prints its address; ends when its input does
//! syscalls --load echo ADDRESS 1 rounds 2000 0
//! strace -f -c syscalls 2 sleep tokio 2000
//! ```
//! Calls per operation = (calls of 2N operations - calls of N) / N: whatever happens once cancels out.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use runtime_benches::Ours;
use runtime_benches::serve::{self, Service};
use runtime_benches::{Net, PeerName, Smol, Time, Tokio, load};

const USAGE: &str = "\
usage: syscalls WORKERS serve PEER echo|short|hello     until the end of its input
       syscalls WORKERS sleep PEER N                    N sleeps of 2 ms, one after the other
       syscalls --load SERVICE ADDRESS CONNECTIONS rounds N PAUSE_US
";

/// Long enough that the runtime certainly waits.
const NAP: Duration = Duration::from_millis(2);

enum Operation {
    Serve(Service),
    Sleep(u32),
}

fn main() -> ExitCode {
    if load::was_asked_for() {
        return ExitCode::SUCCESS;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((workers, peer, operation)) = parse(&args) else {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match peer {
        PeerName::Ours => perform::<Ours>(workers, &operation),
        PeerName::Tokio => perform::<Tokio>(workers, &operation),
        PeerName::Smol => perform::<Smol>(workers, &operation),
    }
    ExitCode::SUCCESS
}

fn parse(args: &[String]) -> Option<(usize, PeerName, Operation)> {
    let [workers, operation, peer, what] = args else { return None };
    let operation = match operation.as_str() {
        "serve" => Operation::Serve(what.parse().ok()?),
        "sleep" => Operation::Sleep(what.parse().ok()?),
        _ => return None,
    };
    Some((workers.parse().ok()?, peer.parse().ok()?, operation))
}

fn perform<P: Net + Time>(workers: usize, operation: &Operation) {
    let peer = P::start_with_drivers(workers);
    match *operation {
        Operation::Serve(service) => serve_until_told(&peer, service),
        Operation::Sleep(times) => peer.block_on(async { P::spawn(naps::<P>(times)).await }),
    }
}

fn serve_until_told<P: Net>(peer: &P, service: Service) {
    println!("{}", serve::start(peer, service));
    io::stdout().flush().expect("somebody reads the address");
    let _ = io::stdin().read_to_end(&mut Vec::new());
}

async fn naps<P: Time>(times: u32) {
    for _ in 0..times {
        P::sleep(NAP).await;
    }
}
