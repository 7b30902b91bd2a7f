//! tokio's multi-threaded scheduler with as many workers as everybody has.
//!
//! The scheduler's workloads do no I/O and wait for no timer, so no driver is enabled for them: a tokio
//! without drivers parks on a condition variable and never enters epoll, which is the faster tokio of the two.

mod net;
mod time;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::unwrapped::Unwrapped;
use super::{Peer, PeerName};

/// See the module.
pub struct Tokio(Runtime);

impl Peer for Tokio {
    const NAME: PeerName = PeerName::Tokio;

    type Handle<T: Send + 'static> = Unwrapped<JoinHandle<T>>;

    fn start(workers: usize) -> Self {
        Tokio(Builder::new_multi_thread().worker_threads(workers).build().expect("tokio starts"))
    }

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        self.0.block_on(root)
    }

    fn spawn<F>(future: F) -> Self::Handle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Unwrapped(tokio::spawn(future))
    }

    fn spawn_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        Unwrapped(tokio::task::spawn_blocking(job))
    }

    fn detach<T: Send + 'static>(handle: Self::Handle<T>) {
        drop(handle);
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
}
