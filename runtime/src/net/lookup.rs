//! Names turned into addresses.

use std::io;
use std::net::SocketAddr;

use super::addr::{self, ToSocketAddrs};

/// Looks up the addresses of a host.
///
/// The system's resolver does it, on a thread of the blocking pool, and there is no limit of time; text that is an
/// address already needs no thread.
///
/// # Cancellation
/// The answer is lost. A lookup that still waits for a thread never asks the resolver, and leaves the queue when its
/// turn comes; one that has begun keeps its thread until the resolver gives up.
///
/// # Errors
/// Those of the resolver; if no thread could be had, or the runtime was shut down.
///
/// ```
/// # fn main() -> std::io::Result<()> { runtime::block_on(async {
/// let found: Vec<_> = runtime::net::lookup_host("127.0.0.1:80").await?.collect();
/// assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
/// # Ok(()) }) }
/// ```
pub async fn lookup_host<T: ToSocketAddrs>(host: T) -> io::Result<impl Iterator<Item = SocketAddr>> {
    // The future need not keep the name, which may not be `Send`.
    let resolving = addr::resolve(&host);
    drop(host);
    resolving.await
}
