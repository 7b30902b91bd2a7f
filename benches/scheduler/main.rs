//! The scheduler's workloads on this runtime, on tokio and on smol.
//!
//! ```text
//! cargo bench -p runtime-benches --bench scheduler -- [OPTIONS]
//! ```
//!
//! `--help` lists the options and `--list` the workloads. How they are measured is told in
//! [`runtime_benches::harness`].

mod workloads;

use std::process::ExitCode;

use runtime_benches::harness::{self, Bench, Workload};
use runtime_benches::{Ours, PeerName, Smol, Tokio};

fn main() -> ExitCode {
    harness::main(&Bench { about: "Compares schedulers.", peers: &PeerName::ALL, workloads: compiled_for })
}

fn compiled_for(peer: PeerName) -> Vec<Workload> {
    match peer {
        PeerName::Ours => workloads::all::<Ours>(),
        PeerName::Tokio => workloads::all::<Tokio>(),
        PeerName::Smol => workloads::all::<Smol>(),
    }
}
