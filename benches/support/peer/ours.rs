//! The runtime of this repository, multi-threaded, with its defaults.

mod net;
mod time;

use runtime::{Runtime, Task};

use super::unwrapped::Unwrapped;
use super::{Peer, PeerName};

/// See the module.
pub struct Ours(Runtime);

impl Peer for Ours {
    const NAME: PeerName = PeerName::Ours;

    type Handle<T: Send + 'static> = Unwrapped<Task<T>>;

    fn start(workers: usize) -> Self {
        // What the monitor costs is the difference.
        let monitor = std::env::var_os("RUNTIME_BENCH_NO_MONITOR").is_none();
        let builder = Runtime::builder().worker_threads(workers).monitor(monitor);
        Ours(builder.build().expect("the runtime starts"))
    }

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        self.0.block_on(root)
    }

    fn spawn<F>(future: F) -> Self::Handle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Unwrapped(runtime::spawn(future))
    }

    fn spawn_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        Unwrapped(runtime::spawn_blocking(job))
    }

    fn detach<T: Send + 'static>(handle: Self::Handle<T>) {
        drop(handle);
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        runtime::task::yield_now()
    }
}
