//! A task with a limit to its time, which is waited for to its very end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::crew::output;
use crate::cell::{AbortOnDrop, Task};
use crate::error::Error;
use crate::time::timeout;

/// Waits for a task for at most `limit`, and then cancels it and waits until it has ended.
///
/// The time runs from this call on. Nothing of the task is left when the call returns, so it may take longer than
/// `limit`, by what the task's destructors need; a blocking job that runs is waited for, and one that is queued until its
/// turn. A value that is there at the deadline is given, with a zero limit too, and so is one that the task gives before
/// the cancel reaches it: late values are not lost. Compare [`timeout`](crate::time::timeout), which takes any future and
/// drops it.
///
/// - **Drop**, **cancel** of the call: the task is cancelled, not waited for.
/// - **Panic** of the task, of its destructors after the deadline too, is the error.
///
/// # Errors
/// [`is_timeout`](Error::is_timeout) if the task was cancelled at the deadline; else what the task itself came to: it
/// [was cancelled](Error::is_cancelled) by somebody else before, panicked, or its runtime was shut down.
///
/// ```
/// use std::time::Duration;
///
/// # runtime::block_on(async {
/// let quick = runtime::spawn(async { 7 });
/// assert_eq!(runtime::wait_for(Duration::from_secs(5), quick).await.unwrap(), 7);
///
/// let endless = runtime::spawn(std::future::pending::<()>());
/// assert!(runtime::wait_for(Duration::from_millis(1), endless).await.unwrap_err().is_timeout());
/// # });
/// ```
pub fn wait_for<T>(limit: Duration, task: Task<T>) -> impl Future<Output = Result<T, Error>> + use<T> {
    // The limit begins here, and not at the first poll.
    let mut limited = timeout(limit, Ended(task.abort_on_drop()));
    async move {
        let in_time = (&mut limited).await.is_ok();
        let mut task = limited.into_inner().0;
        // If somebody else asked before, the cancel is theirs.
        let asked = !in_time && task.task().cancel_first();
        task.task().done().await;
        match output(task) {
            Err(error) if asked && error.is_cancelled() => Err(Error::timed_out()),
            result => result,
        }
    }
}

/// Ready when the task has ended; its output stays where it is.
struct Ended<T>(AbortOnDrop<T>);

impl<T> Future for Ended<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.task().poll_done(cx)
    }
}
