//! smol's global executor, what `smol::spawn` gives a user.
//!
//! It has one thread unless `SMOL_THREADS` says otherwise when it is first used, hence [`crate::child`] sets
//! the variable. It cannot be stopped: `start_stop` builds an executor of its own.

mod net;
mod time;

use std::thread;

use smol::{Executor, Task, channel, future};

use super::{Peer, PeerName};

/// See the module.
pub struct Smol(());

impl Peer for Smol {
    const NAME: PeerName = PeerName::Smol;

    type Handle<T: Send + 'static> = Task<T>;

    fn start(workers: usize) -> Self {
        let threads = std::env::var("SMOL_THREADS").ok().and_then(|threads| threads.parse().ok());
        assert_eq!(threads, Some(workers), "SMOL_THREADS must give smol as many threads as its peers");
        // The executor starts its threads at the first spawn; without this, the first iteration would.
        smol::block_on(smol::spawn(async {}));
        Smol(())
    }

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        smol::block_on(root)
    }

    fn spawn<F>(future: F) -> Self::Handle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        smol::spawn(future)
    }

    fn spawn_blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Self::Handle<T> {
        smol::unblock(job)
    }

    fn detach<T: Send + 'static>(handle: Self::Handle<T>) {
        handle.detach();
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        future::yield_now()
    }

    /// As the documentation of `Executor` does it: threads run the executor until a channel closes.
    fn start_stop(workers: usize) {
        let executor = Executor::new();
        let (keep_running, stopped) = channel::bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| future::block_on(executor.run(stopped.recv())));
            }
            future::block_on(executor.spawn(async {}));
            drop(keep_running);
        });
    }
}
