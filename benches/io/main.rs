//! Sockets and timers on this runtime, on tokio and on smol.
//!
//! ```text
//! cargo bench -p runtime-benches --bench io -- [OPTIONS]
//! ```
//!
//! `--help` lists the options and `--list` the workloads. How they are measured is told in
//! [`runtime_benches::harness`]. Where there is a network, the child that measures is the server, and the
//! client is one more process ([`runtime_benches::load`]), the same for all peers; it says how long an
//! exchange took.

mod percentile;
mod workloads;

use std::process::ExitCode;

use runtime_benches::harness::{self, Bench, Workload};
use runtime_benches::{Ours, PeerName, Smol, Tokio, load};

fn main() -> ExitCode {
    if load::was_asked_for() {
        return ExitCode::SUCCESS;
    }
    harness::main(&Bench {
        about: "Compares sockets and timers.",
        peers: &PeerName::ALL,
        workloads: compiled_for,
    })
}

fn compiled_for(peer: PeerName) -> Vec<Workload> {
    match peer {
        PeerName::Ours => workloads::all::<Ours>(),
        PeerName::Tokio => workloads::all::<Tokio>(),
        PeerName::Smol => workloads::all::<Smol>(),
    }
}
