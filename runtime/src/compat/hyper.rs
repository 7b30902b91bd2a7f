//! What hyper asks of a runtime: somebody who runs its tasks, and a clock.
//!
//! The streams of [`net`](crate::net) are hyper's already: they implement `hyper::rt::{Read, Write}` and need no wrapper.
//!
//! ```
//! use hyper::rt::Executor as _;
//! use runtime::compat::hyper::Executor;
//! use runtime::net::unix::UnixStream;
//!
//! // What a connection of hyper is given: its executor, and a stream of ours as it is.
//! fn serve<I: hyper::rt::Read + hyper::rt::Write + Unpin>(_stream: I) {}
//!
//! # fn main() -> std::io::Result<()> { runtime::block_on(async {
//! let (ours, _theirs) = UnixStream::pair()?;
//! Executor::new().execute(async move { serve(ours) });
//! # Ok(()) }) }
//! ```

mod timer;

use hyper::rt;

pub use timer::Timer;

/// Runs hyper's futures as tasks, detached: a panic of one is reported as that of any task that nobody waits for.
///
/// The runtime is the one that the call to `execute` stands in, or else the default one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor(());

impl Executor {
    /// The only one there is.
    pub const fn new() -> Self {
        Executor(())
    }
}

impl<F> rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(crate::task::spawn(future));
    }
}
