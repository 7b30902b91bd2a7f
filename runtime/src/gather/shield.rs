//! Work that goes on when whoever waits for it is cancelled.

use std::panic::Location;

use crate::error::Error;
use crate::task::spawn_at;

/// Runs a future to its end, whether this call is awaited to its end or not.
///
/// The future becomes a task at once, on the current runtime, which keeps it: no reference of the caller's is needed.
///
/// - **Drop**, **cancel** of the call: the task goes on, detached, also if the call was never polled. A shutdown waits
///   for it as for any other task, for its grace.
/// - **Panic** of the future is the error; if nobody waits any more it is reported as that of a detached task.
///
/// # Errors
/// If the future panics, the runtime is shut down, or no thread can be had.
///
/// # Panics
/// If the default runtime is needed and cannot be built, with the reason.
///
/// ```
/// use std::time::Duration;
/// use runtime::time::{sleep, timeout};
///
/// # runtime::block_on(async {
/// let (done, saved) = runtime::Promise::new();
/// let save = runtime::shield(async move {
///     sleep(Duration::from_millis(5)).await;
///     done.set_result(()).unwrap();
/// });
/// assert!(timeout(Duration::from_millis(1), save).await.is_err());
/// saved.await.unwrap();      // the time was up, the work went on
/// # });
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> impl Future<Output = Result<F::Output, Error>> + Send + Unpin + use<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    spawn_at(future, Location::caller())
}
