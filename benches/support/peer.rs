//! A runtime under measurement, reduced to what the workloads need.
//!
//! Everything is statically dispatched: a workload compiled for a peer is what a user of that peer would
//! have written by hand.

mod net;
mod ours;
mod smol;
mod time;
mod tokio;
mod unwrapped;

use std::fmt;
use std::str::FromStr;

pub use self::{net::Net, ours::Ours, smol::Smol, time::Time, tokio::Tokio};

/// A runtime that can run every workload. A value of it is a started runtime; dropping it stops the runtime
/// where the peer can be stopped.
pub trait Peer: Sized + 'static {
    /// The name in the tables.
    const NAME: PeerName;

    /// What `spawn` returns: awaits to the output, and panics if the task did.
    type Handle<T: Send + 'static>: Future<Output = T> + Unpin + Send + 'static;

    /// Starts a runtime with `workers` threads that run tasks.
    fn start(workers: usize) -> Self;

    /// Runs `root` on the calling thread until it finishes.
    fn block_on<F: Future>(&self, root: F) -> F::Output;

    /// Spawns onto the runtime whose context the caller is in.
    fn spawn<F>(future: F) -> Self::Handle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Runs code that blocks on the peer's threads for that.
    fn spawn_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T>;

    /// Lets the task run on without its handle. Dropping the handle means this for some peers and
    /// cancellation for others.
    fn detach<T: Send + 'static>(handle: Self::Handle<T>);

    /// Goes to the back of the queue once.
    fn yield_now() -> impl Future<Output = ()> + Send;

    /// The whole life of a runtime: start, run one spawned task to its end, stop.
    fn start_stop(workers: usize) {
        let peer = Self::start(workers);
        peer.block_on(async { Self::spawn(async {}).await });
    }
}

/// The peers, by the names used in options and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// The runtime of this repository.
    Ours,
    /// tokio's multi-threaded scheduler.
    Tokio,
    /// smol's global executor.
    Smol,
}

impl PeerName {
    /// All of them, in the order in which they are run and shown.
    pub const ALL: [PeerName; 3] = [PeerName::Ours, PeerName::Tokio, PeerName::Smol];

    /// The name as a string.
    pub fn as_str(self) -> &'static str {
        match self {
            PeerName::Ours => "ours",
            PeerName::Tokio => "tokio",
            PeerName::Smol => "smol",
        }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PeerName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = PeerName::ALL.into_iter().find(|peer| peer.as_str() == name);
        known.ok_or_else(|| format!("no peer is called `{name}`; there are ours, tokio and smol"))
    }
}
