//! What the benchmarks share: the runtimes they compare, the harness that measures them in child processes,
//! and the servers and clients of those that need a network.
//!
//! A workload is written once, over [`Peer`]. Each measurement is a process of its own ([`child`]), so that
//! no peer inherits the threads, the heap or the warm caches of another.

pub mod child;
pub mod harness;
pub mod limits;
pub mod load;
mod peer;
pub mod serve;

pub use peer::{Net, Ours, Peer, PeerName, Smol, Time, Tokio};
