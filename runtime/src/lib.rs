//! A multi-threaded work-stealing async runtime with asyncio's object model.
//!
//! - A **coroutine** is any `impl Future`: lazy, and cancelled by dropping it.
//! - A [`Task`] is the handle of a coroutine that the runtime is already running. Awaiting it moves the output out;
//!   dropping it detaches.
//! - A [`Promise`] and its [`Future`] are a value that somebody sets by hand: one writer, any number of readers, on any
//!   thread or executor.
//!
//! ```
//! #[runtime::main]
//! async fn main() -> Result<(), runtime::Error> {
//!     let task = runtime::spawn(async { 6 * 7 });        // runs on some worker
//!     let (promise, answer) = runtime::Promise::new();   // set by hand
//!     promise.set_result(task.await?).unwrap();
//!     assert_eq!(answer.await?, 42);
//!     Ok(())
//! }
//! ```
//!
//! - [`time`]: sleeping, timeouts, intervals, and a clock that tests can stop.
//! - [`net`]: TCP, UDP and Unix sockets, pipes; [`io`]: whatever else can be waited for, the standard streams, copying.
//!
//! ```
//! use std::time::Duration;
//! use runtime::net::{TcpListener, TcpStream};
//! use runtime::time::timeout;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { runtime::block_on(async {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let client = TcpStream::connect(listener.local_addr()?).await?;
//! client.write_all(b"hello").await?;
//!
//! let (server, _) = listener.accept().await?;
//! let mut word = [0; 5];
//! timeout(Duration::from_secs(5), server.read_exact(&mut word)).await??;
//! assert_eq!(&word, b"hello");
//! # Ok(()) }) }
//! ```
//!
//! There is always a runtime: [`spawn`], timers and sockets use the one that the thread stands in, or else a process-wide
//! default one. There is no prelude, because a glob import of [`Future`] would shadow the trait of that name.
//!
//! # Promises
//! What the crate promises, with the test that holds each line, is listed in the repository's `docs/guarantees.md`.
//! In short: polls of one task never overlap and are at most as many as its wakes plus one; a cancelled task's handle
//! resolves after its destructors ran; a panic never takes a worker down; no foreign code runs under a lock of the
//! runtime; an idle runtime makes no wake-ups; no timer is early; whatever a runtime leaves unfinished resolves with an error.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    runtime_loom,
    allow(dead_code, unreachable_pub, unused_imports, reason = "the models leave out whom this is for")
)]

#[cfg(not(unix))]
compile_error!(
    "the crate `runtime` is for Unix systems: it waits for descriptors, and has no code for those of other systems"
);

// Lowest layer first; a module imports from the layers above its own in this list only.
mod fork;
mod loom;
mod rng;
mod thread_id;

mod clocks;
mod cpu;
mod error;
mod id;

mod context;
mod coop;
mod parker;
mod whereabouts;

mod cell;
mod promise;

mod driver;
mod inherit;

mod blocking;
mod scheduler;

// The models end at the scheduler: what is above it has statics and real threads.
#[cfg(not(runtime_loom))]
mod handle;

#[cfg(not(runtime_loom))]
mod runtime;

#[cfg(not(runtime_loom))]
pub mod task;

#[cfg(not(runtime_loom))]
pub mod io;

#[cfg(not(runtime_loom))]
pub mod time;

#[cfg(not(runtime_loom))]
pub mod local;

#[cfg(not(runtime_loom))]
pub mod net;

pub mod cancel;

#[cfg(not(runtime_loom))]
mod scope;

#[cfg(all(feature = "sync", not(runtime_loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "sync")))]
pub mod sync;

#[cfg(all(feature = "signal", not(runtime_loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
pub mod signal;

#[cfg(all(feature = "hyper", not(runtime_loom)))]
pub mod compat;

#[cfg(not(runtime_loom))]
mod combine;

#[cfg(not(runtime_loom))]
mod gather;

#[cfg(not(runtime_loom))]
pub mod group;

#[cfg(not(runtime_loom))]
mod limit;

#[cfg(all(feature = "macros", feature = "signal", not(runtime_loom)))]
mod graceful;

#[cfg(not(runtime_loom))]
pub use cancel::{CancelOnDrop, CancelToken};
pub use cell::{AbortHandle, AbortOnDrop, Task, TaskOutcome};
pub use context::{Stall, StallCause, Unobserved};
pub use error::{Error, ErrorKind};
#[cfg(not(runtime_loom))]
pub use gather::{
    AsCompleted, GatherAll, GatherSettled, MapConcurrent, MapOrdered, MapUnordered, When, as_completed,
    gather_all, gather_settled, map_concurrent, shield, wait, wait_for,
};
#[cfg(all(feature = "macros", feature = "signal", not(runtime_loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
pub use graceful::shutdown_token;
#[cfg(not(runtime_loom))]
pub use group::{Failure, GroupError, TaskGroup, task_group};
#[cfg(not(runtime_loom))]
pub use handle::{EnterGuard, Handle, Metrics, ShutdownReport, TaskInfo, UnobservedPolicy};
#[cfg(not(runtime_loom))]
pub use limit::{Acquire, BlockingPool, CapacityLimiter, CapacityStats, Permit, Shutdown};
pub use promise::{CallbackId, Future, InvalidState, Promise, State, Wait};
#[cfg(not(runtime_loom))]
pub use runtime::{Builder, Runtime, block_on};
#[cfg(not(runtime_loom))]
pub use scope::{Scope, ScopedJob, scope};
#[cfg(not(runtime_loom))]
pub use task::{spawn, spawn_blocking};

#[cfg(not(runtime_loom))]
#[doc(hidden)]
pub mod __private {
    pub use crate::combine::support::*;
    pub use crate::gather::gather_tuple;
    #[cfg(all(feature = "macros", feature = "signal"))]
    pub use crate::graceful::main as main_gracefully;
    pub use crate::runtime::{main, test};
}

/// Runs an `async fn` on a runtime of its own, as `main` of a program.
///
/// The function becomes a plain `fn` that builds a runtime, makes it the default one of the process, runs the body
/// in the calling thread until it returns, and then shuts the runtime down. The body itself is no task: it may
/// borrow, and need not be [`Send`]. Spawn what should use the other cores.
///
/// # Examples
/// ```
/// #[runtime::main]
/// async fn main() {
///     let answer = runtime::spawn(async { 6 * 7 });
///     assert_eq!(answer.await.unwrap(), 42);
/// }
/// ```
///
/// With options, and an error for the shell:
/// ```
/// #[runtime::main(worker_threads = 2, name = "api")]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let port: u16 = "8080".parse()?;
///     assert_eq!(port, 8080);
///     Ok(())
/// }
/// ```
///
/// On one thread:
/// ```
/// #[runtime::main(flavor = "current_thread")]
/// async fn main() {
///     let here = std::thread::current().id();
///     let there = runtime::spawn(async { std::thread::current().id() });
///     assert_eq!(there.await.unwrap(), here);
/// }
/// ```
///
/// From a crate that re-exports this one, so that its users need no dependency of their own:
/// ```
/// # mod framework { pub use runtime; }
/// #[framework::runtime::main(crate = framework::runtime)]
/// async fn main() {}
/// ```
///
/// With time for an orderly end (feature `signal`): the first `SIGINT` or `SIGTERM` cancels the process's
/// `shutdown_token()`, and the body has that long to return. If it does not, it is dropped, the runtime is shut down, and
/// the process ends with the code that shells give for the signal, 130 or 143. A second signal, if it comes more than
/// a tenth of a second after the first, ends the process at once, whatever it is doing, and so does the first one after the body
/// has returned. A body that blocks its thread instead of awaiting, or a task that does so on that thread, can be ended by the
/// second signal only.
#[cfg_attr(feature = "signal", doc = "```")]
#[cfg_attr(not(feature = "signal"), doc = "```ignore")]
/// #[runtime::main(graceful = "10s")]
/// async fn main() {
///     let stop = runtime::shutdown_token();
///     let request = async { /* accept and serve */ };
///     let _served = stop.run_until_cancelled(request).await;
///     // finish what was begun, within ten seconds
/// }
/// ```
///
/// # Panics
/// The function panics with the reason if the runtime cannot start, and with the body's own panic.
#[cfg(feature = "macros")]
pub use runtime_macros::main;
/// Makes an `async fn` a test, with a runtime of its own.
///
/// No two tests share workers, timers or a clock. A panic of the body fails the test, and so does an `Err` that it
/// returns.
///
/// # Examples
/// ```
/// #[runtime::test]
/// async fn tasks_have_results() -> Result<(), std::num::ParseIntError> {
///     let number = runtime::spawn(async { "42".parse::<u8>() });
///     assert_eq!(number.await.unwrap()?, 42);
///     Ok(())
/// }
/// ```
///
/// With a clock that stands still and jumps to the next timer when nothing else is to be done:
/// ```
/// use std::time::Duration;
/// use runtime::time::{now, sleep};
///
/// #[runtime::test(start_paused = true)]
/// async fn a_day_takes_no_time() {
///     let begin = now();
///     sleep(Duration::from_secs(86_400)).await;
///     assert_eq!(now() - begin, Duration::from_secs(86_400));
/// }
/// ```
///
/// Attributes of tests keep their meaning:
/// ```
/// #[runtime::test(worker_threads = 2)]
/// #[should_panic(expected = "out of range")]
/// async fn panics_are_seen() {
///     panic!("index out of range");
/// }
/// ```
#[cfg(feature = "macros")]
pub use runtime_macros::test;
