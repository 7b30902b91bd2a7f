//! What the benchmarks share: the runtimes they compare and the child processes they measure in.
//!
//! A workload is written once, over [`Peer`]. Each measurement is a process of its own ([`child`]), so that
//! no peer inherits the threads, the heap or the warm caches of another.

pub mod child;
mod peer;

pub use peer::{Ours, Peer, PeerName, Smol, Tokio};
