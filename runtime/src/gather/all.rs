//! The values of all tasks, or the first failure.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::crew::Crew;
use super::kept::Kept;
use crate::cell::Task;
use crate::error::Error;

/// Waits for all tasks, and gives their values in the order of the arguments, or the first failure.
///
/// A task fails if it panics, is cancelled, its runtime is shut down, or no thread can be had for it. At the first failure
/// the other tasks are cancelled, and the call returns only once they have ended and their destructors ran: nothing of it
/// is left. (asyncio leaves them running.) A value of type `Result` is a value, whatever it says; flatten it, or use
/// [`gather_settled`](super::gather_settled) to see each.
///
/// The tasks belong to the call from the moment it is made; no tasks give an empty list. A completion costs the same
/// whatever the number of the other tasks.
///
/// - **Drop**, **cancel**: the tasks that run are cancelled, not waited for; values that are there are dropped.
/// - **Panic** of a task is its failure. One that nobody is given, because it comes after the first failure or the call
///   was dropped, is reported as that of a detached task ([`Builder::on_unobserved`](crate::Builder::on_unobserved)).
///
/// # Errors
/// The first failure in time; of tasks that have ended before the call, that of the first argument.
///
/// # Panics
/// If it is polled after it was ready.
///
/// ```
/// # runtime::block_on(async {
/// let tasks = (0..5).map(|n| runtime::spawn(async move { n * n }));
/// assert_eq!(runtime::gather_all(tasks).await.unwrap(), [0, 1, 4, 9, 16]);
/// # });
/// ```
pub fn gather_all<T>(tasks: impl IntoIterator<Item = Task<T>>) -> GatherAll<T> {
    let crew = Crew::of(tasks);
    GatherAll { values: (0..crew.len()).map(|_| None).collect(), crew, failure: None, done: false }
}

/// The future of [`gather_all`].
#[must_use = "dropping it cancels the tasks"]
pub struct GatherAll<T> {
    crew: Crew<T>,
    values: Vec<Option<T>>,
    failure: Option<Kept<T>>,
    /// The result was given.
    done: bool,
}

impl<T> Unpin for GatherAll<T> {}

impl<T> GatherAll<T> {
    /// Ready once all tasks have ended; values go to their places until one fails.
    fn poll_values(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.failure.is_none() {
            match ready!(self.crew.poll_kept(cx)) {
                None => return Poll::Ready(()),
                Some((place, Kept::Output(Ok(value)))) => self.values[place] = Some(value),
                Some((_, failure)) => {
                    self.crew.cancel();
                    self.failure = Some(failure);
                }
            }
        }
        self.crew.poll_gone(cx)
    }
}

impl<T> Future for GatherAll<T> {
    type Output = Result<Vec<T>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Vec<T>, Error>> {
        assert!(!self.done, "gather_all was polled after it was ready");
        ready!(self.poll_values(cx));
        self.done = true;
        let values = std::mem::take(&mut self.values);
        Poll::Ready(match self.failure.take().map(Kept::give) {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => unreachable!("a failure is no value"),
            None => Ok(values.into_iter().map(|value| value.expect("each task has given a value")).collect()),
        })
    }
}

impl<T> fmt::Debug for GatherAll<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherAll").field("crew", &self.crew).finish_non_exhaustive()
    }
}
